package suite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

func TestOneShotCalls(t *testing.T) {
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client, ctx := clientOf(t, server), t.Context()
		var audio bytes.Buffer
		if err := client.Synthesize(ctx, &audio, nls.SynthesisParams{Text: spoken, NoWait: true}); err != nil {
			t.Fatal(err)
		}
		result, err := client.Recognize(ctx, bytes.NewReader(audio.Bytes()), nls.RecognitionParams{}, nls.PumpOptions{})
		if err != nil || result.Text != spoken {
			t.Errorf("Recognize = %v, %v", result, err)
		}
		var text strings.Builder
		begin := time.Now()
		for s, err := range client.Transcribe(ctx, bytes.NewReader(audio.Bytes()), nls.TranscriptionParams{}, nls.PumpOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(s.Text)
			time.Sleep(time.Minute) // results wait for a slow loop body
		}
		if text.String() != spoken {
			t.Errorf("Transcribe yields %q", &text)
		}
		if took, speech := time.Since(begin), time.Duration(audio.Len())*time.Second/32000; took < speech-time.Second {
			t.Errorf("%v of audio sent in %v", speech, took)
		}
	})
}

func TestTranscribeYieldsEverySentenceToASlowLoopBody(t *testing.T) {
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(c *nls.Config) { c.MaxPendingBytes = 1 })
		var audio bytes.Buffer
		if err := client.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: strings.Repeat(spoken, 5)}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for s, err := range client.Transcribe(t.Context(), &audio, nls.TranscriptionParams{}, nls.PumpOptions{Speed: -1}) {
			if err != nil || s.Text != spoken {
				t.Fatalf("sentence %d: %v, %v", n, s, err)
			}
			n++
			time.Sleep(8 * time.Second)
		}
		if n != 5 {
			t.Errorf("%d sentences", n)
		}
	})
}

func TestTranscribeEndsWithTheLoop(t *testing.T) {
	for _, how := range []string{"break", "context", "source", "refused"} {
		t.Run(how, func(t *testing.T) {
			opts := nlstest.Options{}
			if how == "refused" {
				opts.Fault = faultOnce("refuse@handshake,code=503,text=busy")
			}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				boom := errors.New("boom")
				src := io.MultiReader(bytes.NewReader(spokenAudio()), iotest.ErrReader(boom))
				if how != "source" {
					src = io.MultiReader(bytes.NewReader(spokenAudio()), bytes.NewReader(make([]byte, 1<<20)))
				}
				var last error
				rounds := 0
				for _, err := range client.Transcribe(ctx, src, nls.TranscriptionParams{}, nls.PumpOptions{}) {
					rounds++
					last = err
					if how == "break" {
						break
					}
					if how == "context" {
						cancel()
					}
				}
				var handshake *nls.HandshakeError
				switch how {
				case "break":
					if last != nil || rounds != 1 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "context":
					if !errors.Is(last, context.Canceled) || rounds != 2 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "source":
					if !errors.Is(last, boom) || rounds != 2 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "refused":
					if !errors.As(last, &handshake) || rounds != 1 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				}
			})
		})
	}
}

func TestOneShotErrors(t *testing.T) {
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client, boom := clientOf(t, server), errors.New("boom")
		if err := client.Synthesize(t.Context(), failingWriter{boom}, nls.SynthesisParams{Text: spoken}); !errors.Is(err, boom) {
			t.Errorf("Synthesize = %v", err)
		}
		if err := client.Synthesize(t.Context(), io.Discard, nls.SynthesisParams{}); !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("Synthesize = %v", err)
		}
		_, err := client.Recognize(t.Context(), iotest.ErrReader(boom), nls.RecognitionParams{}, nls.PumpOptions{})
		if !errors.Is(err, boom) {
			t.Errorf("Recognize = %v", err)
		}
		_, err = client.Recognize(t.Context(), strings.NewReader(""), nls.RecognitionParams{}, nls.PumpOptions{})
		if nls.StatusCode(err) != nls.StatusClientError {
			t.Errorf("Recognize = %v", err)
		}
		_, err = client.Recognize(t.Context(), strings.NewReader(""), nls.RecognitionParams{Channels: 2}, nls.PumpOptions{})
		if !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("Recognize = %v", err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
