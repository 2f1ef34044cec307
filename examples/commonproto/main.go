// Command commonproto recognises a recording with the protocol that all services
// share, as the program TestSrCommon of the Python SDK does. It is the way to a
// service, or a new feature of one, that this SDK has no type for.
//
//	go run ./examples/commonproto -file testdata/test1.wav
package main

import (
	"context"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

func main() { cli.Main(cli.Recording, recognize) }

func recognize(ctx context.Context, s *cli.Session) error {
	proto := s.Client.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{
		OnOpen:  func(e *nls.OpenEvent) { s.Log.Println("open, task", e.TaskID) },
		OnError: func(e *nls.ErrorEvent) { s.Log.Println("failed:", e.Err) },
		OnClose: func(e *nls.CloseEvent) { s.Log.Println("closed") },
		Events: map[string]func(*nls.Event){
			"RecognitionStarted":       func(e *nls.Event) { s.Log.Println("started:", e) },
			"RecognitionResultChanged": func(e *nls.Event) { s.Log.Println("partial:", e) },
			"RecognitionCompleted": func(e *nls.Event) {
				s.Log.Println("completed:", e)
				var payload struct{ Result string }
				if err := e.Payload(&payload); err != nil {
					s.Log.Println(err)
				}
				s.Result(payload.Result)
			},
		},
	})

	for range s.Repeat {
		if err := proto.Start(ctx, "StartRecognition", nls.CommonParams{
			Payload: map[string]any{
				"format":                        "pcm",
				"sample_rate":                   s.SampleRate,
				"enable_intermediate_result":    true,
				"enable_punctuation_prediction": true,
			},
			Started: []string{"RecognitionStarted"},   // Start waits for it
			Final:   []string{"RecognitionCompleted"}, // ends the session
		}); err != nil {
			return err
		}
		unbind := proto.Session().Bind(ctx) // Wait alone leaves the session running
		// Whatever ends the sending early, Wait has the reason.
		_, _ = nls.Pump(ctx, proto.Session(), s.Audio(), s.Pace)
		_ = proto.SendText("StopRecognition", nil, nil)
		err := proto.Wait(ctx)
		unbind()
		if err != nil {
			return err
		}
	}
	return nil
}
