// Command synthesizer speaks a text: the program TestTts of the Python SDK.
// Without an account it runs against a local gateway:
//
//	go run ./examples/synthesizer -text 你好，世界 -out hello.wav
package main

import (
	"context"
	"flag"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

var long = flag.Bool("long", false, "use the long-text service, for more than 300 characters")

func main() { cli.Main(cli.Text, synthesize) }

func synthesize(ctx context.Context, s *cli.Session) error {
	var speech *cli.Speech
	var tts *nls.Synthesizer
	tts = s.Client.NewSynthesizer(nls.SynthesizerHandlers{
		OnMetaInfo: func(e *nls.MetaInfo) {
			for _, w := range e.Subtitles {
				s.Log.Printf("subtitle %v to %v: %q", w.Begin, w.End, w.Text)
			}
		},
		OnData: func(a nls.AudioEvent) {
			s.Log.Println("audio:", len(a.Data), "bytes")
			if _, err := speech.Write(a.Data); err != nil {
				tts.Shutdown() // Finish returns err
			}
		},
		OnCompleted: func(e *nls.Event) { s.Log.Println("completed, task", e.TaskID) },
		OnError:     func(e *nls.ErrorEvent) { s.Log.Println("failed:", e.Err) },
		OnClose:     func(e *nls.CloseEvent) { s.Log.Println("closed") },
	})

	for range s.Repeat {
		var err error
		if speech, err = s.Speech(ctx); err != nil {
			return err
		}
		err = tts.Start(ctx, nls.SynthesisParams{
			Text:           s.Text,
			Voice:          s.Voice,
			SampleRate:     s.SampleRate,
			EnableSubtitle: s.Subtitle,
			LongText:       *long,
		})
		if err := speech.Finish(err); err != nil {
			return err
		}
	}
	return nil
}
