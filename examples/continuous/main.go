// Command continuous transcribes a long recording over a bad network. Where a session
// breaks another one goes on from the end of the last finished sentence: nothing is
// lost, nothing comes twice, and times stay those of the recording.
//
//	go run ./examples/continuous -file testdata/test1.wav
package main

import (
	"context"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.Recording, transcribe) }

func transcribe(ctx context.Context, s *cli.Session) error {
	for range s.Repeat {
		text, err := transcribeAll(ctx, s)
		if err != nil {
			return err
		}
		s.Result(text)
	}
	return nil
}

func transcribeAll(ctx context.Context, s *cli.Session) (string, error) {
	var text strings.Builder
	ct := s.Client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnSentenceEnd: func(e *nls.Sentence) {
			s.Log.Printf("%v to %v: %q", e.Begin, e.Time, e.Text)
			text.WriteString(e.Text)
		},
		OnInterrupted: func(i *nls.Interruption) { s.Log.Printf("%v; again from %v in %v", i.Err, i.From, i.Wait) },
		OnResumed:     func(e *nls.Event) { s.Log.Printf("resumed as %s", e.TaskID) },
	}, nls.ContinuousOptions{})
	if err := ct.Start(ctx, nls.TranscriptionParams{SampleRate: s.SampleRate, EnablePunctuationPrediction: true}); err != nil {
		return "", err
	}
	defer ct.Bind(ctx)()
	if _, err := nls.Pump(ctx, ct, s.Audio(), s.Pace); err != nil && ct.Err() == nil {
		ct.Shutdown()
		return "", err
	}
	err := ct.Stop(ctx)
	return text.String(), err
}
