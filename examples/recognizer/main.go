// Command recognizer turns a recording of up to 60 seconds into text: the program
// TestSr of the Python SDK. Without an account it runs against a local gateway:
//
//	go run ./examples/recognizer -file testdata/test1.wav
package main

import (
	"context"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.Recording, recognize) }

func recognize(ctx context.Context, s *cli.Session) error {
	rec := s.Client.NewRecognizer(nls.RecognizerHandlers{
		OnStart:         func(e *nls.Event) { s.Log.Println("started, task", e.TaskID) },
		OnResultChanged: func(r *nls.RecognitionResult) { s.Log.Printf("partial: %q", r.Text) },
		OnCompleted: func(r *nls.RecognitionResult) {
			s.Log.Printf("completed after %v of audio: %q", r.Duration, r.Text)
			s.Result(r.Text)
		},
		OnError: func(e *nls.ErrorEvent) { s.Log.Println("failed:", e.Err) },
		OnClose: func(e *nls.CloseEvent) { s.Log.Println("closed") },
	})

	for range s.Repeat {
		if err := rec.Start(ctx, nls.RecognitionParams{
			SampleRate:                  s.SampleRate,
			EnableIntermediateResult:    true,
			EnablePunctuationPrediction: true,
			Extra:                       map[string]any{"hello": 123},
		}); err != nil {
			return err
		}
		unbind := rec.Session().Bind(ctx)
		// Whatever ends the sending early, Stop has the reason.
		_, _ = nls.Pump(ctx, rec, s.Audio(), s.Pace)
		err := rec.Stop(ctx)
		unbind()
		if err != nil {
			return err
		}
	}
	return nil
}
