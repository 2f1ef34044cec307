// Command transcriber turns a recording of any length into sentences: the program
// TestSt of the Python SDK. Without an account it runs against a local gateway:
//
//	go run ./examples/transcriber
package main

import (
	"context"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.Recording, transcribe) }

func transcribe(ctx context.Context, s *cli.Session) error {
	var text strings.Builder
	tr := s.Client.NewTranscriber(nls.TranscriberHandlers{
		OnStart: func(e *nls.Event) {
			s.Log.Println("started, task", e.TaskID)
			text.Reset()
		},
		OnSentenceBegin: func(e *nls.Sentence) { s.Log.Printf("sentence %d begins at %v", e.Index, e.Begin) },
		OnResultChanged: func(e *nls.Sentence) { s.Log.Printf("sentence %d so far: %q", e.Index, e.Text) },
		OnSentenceEnd: func(e *nls.Sentence) {
			s.Log.Printf("sentence %d, %v to %v: %q", e.Index, e.Begin, e.Time, e.Text)
			for _, w := range e.Words {
				s.Log.Printf("  word %v to %v: %q", w.Start, w.End, w.Text)
			}
			text.WriteString(e.Text)
		},
		OnCompleted: func(*nls.Event) {
			s.Log.Println("completed")
			s.Result(text.String())
		},
		OnError: func(e *nls.ErrorEvent) { s.Log.Println("failed:", e.Err) },
		OnClose: func(e *nls.CloseEvent) { s.Log.Println("closed") },
	})

	for range s.Repeat {
		if err := tr.Start(ctx, nls.TranscriptionParams{
			SampleRate:                     s.SampleRate,
			EnableIntermediateResult:       true,
			EnablePunctuationPrediction:    true,
			EnableInverseTextNormalization: true,
			EnableWords:                    true,
		}); err != nil {
			return err
		}
		unbind := tr.Session().Bind(ctx)
		// Whatever ends the sending early, Stop has the reason.
		_, _ = nls.Pump(ctx, tr, s.Audio(), s.Pace)
		_ = tr.Ctrl(map[string]any{"test": "tttt"})
		err := tr.Stop(ctx)
		unbind()
		if err != nil {
			return err
		}
	}
	return nil
}
