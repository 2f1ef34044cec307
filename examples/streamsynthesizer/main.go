// Command streamsynthesizer speaks text while it is being written, for example by
// a language model. Without an account it runs against a local gateway:
//
//	printf '床前明月光，\n疑是地上霜。\n' | go run ./examples/streamsynthesizer -out poem.wav
package main

import (
	"context"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.TextStream, synthesize) }

func synthesize(ctx context.Context, s *cli.Session) error {
	var speech *cli.Speech
	var tts *nls.StreamSynthesizer
	tts = s.Client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{
		OnStart:         func(e *nls.Event) { s.Log.Println("started, task", e.TaskID) },
		OnSentenceBegin: func(e *nls.MetaInfo) { s.Log.Println("sentence", e.Index, "begins") },
		OnSentenceEnd: func(e *nls.MetaInfo) {
			s.Log.Println("sentence", e.Index, "ends")
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
		OnCompleted: func(e *nls.Event) { s.Log.Println("completed") },
		OnError:     func(e *nls.ErrorEvent) { s.Log.Println("failed:", e.Err) },
		OnClose:     func(e *nls.CloseEvent) { s.Log.Println("closed") },
	})

	for range s.Repeat {
		var err error
		if speech, err = s.Speech(ctx); err != nil {
			return err
		}
		if err := speech.Finish(speak(ctx, s, tts)); err != nil {
			return err
		}
	}
	return nil
}

// speak is one session: the audio of the first lines comes before the last lines
// are sent.
func speak(ctx context.Context, s *cli.Session, tts *nls.StreamSynthesizer) error {
	if err := tts.Start(ctx, nls.StreamSynthesisParams{
		Voice:          s.Voice,
		SampleRate:     s.SampleRate,
		EnableSubtitle: s.Subtitle,
	}); err != nil {
		return err
	}
	defer tts.Session().Bind(ctx)()
	for line, err := range s.Lines() {
		if err != nil {
			tts.Shutdown()
			return err
		}
		if tts.SendText(line) != nil {
			break // Stop has the reason
		}
	}
	return tts.Stop(ctx)
}
