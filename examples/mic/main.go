// Command mic transcribes 16 kHz PCM from standard input for as long as it comes,
// whatever breaks meanwhile:
//
//	arecord -q -f S16_LE -r 16000 -c 1 -t raw | go run ./examples/mic
//
// The service ends a session that gets no audio for ten seconds. So while the
// source is silent, as a muted microphone is, silence is sent in its place.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.Live, transcribe) }

func transcribe(ctx context.Context, s *cli.Session) error {
	var text strings.Builder
	ct := s.Client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnResultChanged: func(e *nls.Sentence) { s.Log.Printf("%d: %s ...", e.Index, e.Text) },
		OnSentenceEnd: func(e *nls.Sentence) {
			s.Log.Printf("%d: %s", e.Index, e.Text)
			text.WriteString(e.Text)
		},
		OnInterrupted: func(i *nls.Interruption) { s.Log.Printf("%v; again in %v", i.Err, i.Wait) },
	}, nls.ContinuousOptions{FillSilence: true})
	if err := ct.Start(ctx, nls.TranscriptionParams{EnableIntermediateResult: true, EnablePunctuationPrediction: true}); err != nil {
		return err
	}
	defer ct.Bind(ctx)()
	if _, err := nls.Pump(ctx, ct, os.Stdin, nls.PumpOptions{}); err != nil && ct.Err() == nil {
		ct.Shutdown()
		return err
	}
	if err := ct.Stop(ctx); err != nil {
		return err
	}
	s.Result(text.String())
	return nil
}
