package suite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// boundRuns are sessions that are tied to ctx for life, as the documentation has it.
var boundRuns = []struct {
	name string
	run  func(ctx context.Context, c *nls.Client) error
}{
	{"Recognizer", func(ctx context.Context, c *nls.Client) error {
		r := c.NewRecognizer(nls.RecognizerHandlers{})
		if err := r.Start(ctx, nls.RecognitionParams{}); err != nil {
			return err
		}
		defer r.Session().Bind(ctx)()
		_, _ = nls.Pump(ctx, r, bytes.NewReader(spokenAudio()), nls.PumpOptions{})
		return r.Stop(ctx)
	}},
	{"Transcriber, sending without a context", func(ctx context.Context, c *nls.Client) error {
		tr := c.NewTranscriber(nls.TranscriberHandlers{})
		if err := tr.Start(ctx, nls.TranscriptionParams{}); err != nil {
			return err
		}
		defer tr.Session().Bind(ctx)()
		if _, err := nls.Pump(context.Background(), tr, bytes.NewReader(spokenAudio()), nls.PumpOptions{}); err != nil {
			return err
		}
		return tr.Stop(context.Background())
	}},
	{"StreamSynthesizer", func(ctx context.Context, c *nls.Client) error {
		tts := c.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{})
		if err := tts.Start(ctx, nls.StreamSynthesisParams{}); err != nil {
			return err
		}
		defer tts.Session().Bind(ctx)()
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			if err := tts.SendText("你好。"); err != nil {
				return err
			}
		}
		return tts.Stop(ctx)
	}},
	{"CommonProto", func(ctx context.Context, c *nls.Client) error {
		p := c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
		if err := p.Start(ctx, "StartRecognition", nls.CommonParams{
			Payload: map[string]any{"format": "pcm", "sample_rate": 16000},
			Started: []string{"RecognitionStarted"}, Final: []string{"RecognitionCompleted"},
		}); err != nil {
			return err
		}
		defer p.Session().Bind(ctx)()
		_, _ = nls.Pump(ctx, p.Session(), bytes.NewReader(spokenAudio()), nls.PumpOptions{})
		_ = p.SendText("StopRecognition", nil, nil)
		return p.Wait(ctx)
	}},
	{"ContinuousTranscriber", func(ctx context.Context, c *nls.Client) error {
		ct := c.NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{})
		if err := ct.Start(ctx, nls.TranscriptionParams{}); err != nil {
			return err
		}
		defer ct.Bind(ctx)()
		if _, err := nls.Pump(context.Background(), ct, bytes.NewReader(spokenAudio()), nls.PumpOptions{}); err != nil {
			return err
		}
		return ct.Stop(ctx)
	}},
	{"Synthesizer", func(ctx context.Context, c *nls.Client) error {
		return c.NewSynthesizer(nls.SynthesizerHandlers{}).Start(ctx, nls.SynthesisParams{Text: "你好。"})
	}},
	{"Recognize", func(ctx context.Context, c *nls.Client) error {
		_, err := c.Recognize(ctx, bytes.NewReader(spokenAudio()), nls.RecognitionParams{}, nls.PumpOptions{})
		return err
	}},
	{"Transcribe", func(ctx context.Context, c *nls.Client) error {
		for _, err := range c.Transcribe(ctx, bytes.NewReader(spokenAudio()), nls.TranscriptionParams{}, nls.PumpOptions{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"TranscribeContinuously", func(ctx context.Context, c *nls.Client) error {
		for _, err := range c.TranscribeContinuously(ctx, bytes.NewReader(spokenAudio()), nls.TranscriptionParams{}, nls.PumpOptions{}, nls.ContinuousOptions{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"Synthesize", func(ctx context.Context, c *nls.Client) error {
		return c.Synthesize(ctx, io.Discard, nls.SynthesisParams{Text: "你好。"})
	}},
	{"SynthesizeStream", func(ctx context.Context, c *nls.Client) error {
		return c.SynthesizeStream(ctx, io.Discard, func(yield func(string, error) bool) {
			for range 10 {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done(): // as the stream of a language model does
					yield("", ctx.Err())
					return
				}
				if !yield("你好。", nil) {
					return
				}
			}
		}, nls.StreamSynthesisParams{})
	}},
}

// One cancellation, one error: whenever the context ends that a session is tied to, the
// error is that of the context, with its cause, and never ErrShutdown.
func TestABoundSessionEndsWithTheErrorOfItsContext(t *testing.T) {
	t.Parallel()
	const step = 75 * time.Millisecond
	hungUp := errors.New("the caller has hung up")
	tried := effort.OneIn(3)
	for _, c := range boundRuns {
		for _, deadline := range []bool{false, true} {
			if !tried() {
				continue
			}
			t.Run(c.name+map[bool]string{false: ", cancelled", true: ", deadline"}[deadline], func(t *testing.T) {
				inBubble(t, nlstest.Options{ReplyDelay: 200 * time.Millisecond, MaxSessions: -1}, func(t *testing.T, server *nlstest.Server) {
					cut := 0
					for at := time.Duration(0); ; at += step {
						ctx, cancel := context.WithCancelCause(t.Context())
						if deadline {
							var stop context.CancelFunc
							ctx, stop = context.WithTimeoutCause(t.Context(), at, hungUp)
							t.Cleanup(stop)
						} else if at == 0 {
							cancel(hungUp)
						} else {
							time.AfterFunc(at, func() { cancel(hungUp) })
						}
						var task string
						trace := &nls.Trace{DialStart: func(d nls.TraceDial) { task = d.TaskID }}
						err := c.run(nls.WithTrace(ctx, trace), clientOf(t, server))
						if ctx.Err() == nil {
							if cancel(nil); err != nil {
								t.Fatalf("after %v: %v", at, err)
							}
							break
						}
						cut++
						want := context.Canceled
						if deadline {
							want = context.DeadlineExceeded
						}
						if !errors.Is(err, want) || !errors.Is(err, hungUp) || errors.Is(err, nls.ErrShutdown) || nls.Retryable(err) {
							t.Errorf("after %v: %v", at, err)
						}
						if at > 300*time.Millisecond && (task == "" || nls.TaskID(err) == "") {
							t.Errorf("after %v: no task id: %v", at, err)
						}
						cancel(nil)
					}
					if cut < 3 {
						t.Errorf("cut at %d moments", cut)
					}
				})
			})
		}
	}
}

// A session that is not bound any more is left alone, and so is one that has ended.
func TestBindCanBeUndone(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		r := clientOf(t, server).NewRecognizer(nls.RecognizerHandlers{})
		if err := r.Start(t.Context(), nls.RecognitionParams{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if undo := r.Session().Bind(ctx); !undo() {
			t.Error("stop says that it was too late")
		}
		cancel()
		time.Sleep(time.Second)
		if r.Err() != nil {
			t.Error(r.Err())
		}
		if err := errors.Join(r.SendAudio(spokenAudio()), r.Stop(t.Context())); err != nil {
			t.Error(err)
		}
		r.Session().Bind(ctx)
		if r.Err() != nil {
			t.Error(r.Err())
		}
	})
}

// Whatever a Start waits for when the caller's deadline passes, it is no reason to try
// again, and a loop that asks Retryable ends.
func TestTheCallersDeadlineEndsALoopThatAsksRetryable(t *testing.T) {
	t.Parallel()
	never := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, change := range map[string]func(*nls.Config){
		"its place": func(cfg *nls.Config) {
			cfg.Limiter = limiterFunc(func(ctx context.Context, _ string) (func(), error) { return nil, never(ctx) })
		},
		"its token": func(cfg *nls.Config) {
			cfg.TokenSource = nls.CacheTokens(nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) { return nil, never(ctx) }), 0)
		},
		"its key": func(cfg *nls.Config) {
			cfg.Token = ""
			cfg.Credentials = nls.CredentialSourceFunc(func(ctx context.Context) (nls.AccessKey, error) { return nls.AccessKey{}, never(ctx) })
		},
		"its connection": func(cfg *nls.Config) {
			cfg.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, never(ctx) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, change)
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				begin, tries := time.Now(), 0
				var err error
				for tries == 0 || nls.Retryable(err) && tries < 10 {
					tries++
					err = client.NewRecognizer(nls.RecognizerHandlers{}).Start(ctx, nls.RecognitionParams{})
				}
				if took := time.Since(begin); tries != 3 || took != 25*time.Second || !errors.Is(err, nls.ErrStartTimeout) {
					t.Errorf("%d tries in %v: %v", tries, took, err)
				}
			})
		})
	}
}

// What a Limiter or a TokenSource bounds for itself is not the end of the caller's
// context: another try may do better.
func TestADeadlineOfASourceIsNotTheCallers(t *testing.T) {
	t.Parallel()
	late := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	for name, change := range map[string]func(*nls.Config){
		"Limiter": func(cfg *nls.Config) {
			cfg.Limiter = limiterFunc(func(ctx context.Context, _ string) (func(), error) { return nil, late(ctx) })
		},
		"TokenSource": func(cfg *nls.Config) {
			cfg.TokenSource = nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) { return nil, late(ctx) })
		},
		"Credentials": func(cfg *nls.Config) {
			cfg.Token = ""
			cfg.Credentials = nls.CredentialSourceFunc(func(ctx context.Context) (nls.AccessKey, error) { return nls.AccessKey{}, late(ctx) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				err := clientOf(t, server, change).NewRecognizer(nls.RecognizerHandlers{}).Start(t.Context(), nls.RecognitionParams{})
				if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nls.ErrStartTimeout) || !nls.Retryable(err) {
					t.Errorf("%v, Retryable %v", err, nls.Retryable(err))
				}
			})
		})
	}
}
