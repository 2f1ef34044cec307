package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

func TestASessionCallsItsHandlersInOrderAndGetsTheRightResult(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			c := clientOf(t, server)
			s := p.new(c)
			if err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := firstCalls(s.called()); got != p.calls {
				t.Errorf("called %s\nwant   %s", got, p.calls)
			}
			if got := s.result(t, c); got != spoken {
				t.Errorf("got %q, want %q", got, spoken)
			}
			if e := s.closes[0]; e.Err != nil || e.TaskID != s.TaskID() {
				t.Errorf("CloseEvent %+v", e)
			}
		})
	})
}

// firstCalls leaves of each name the first.
func firstCalls(calls string) string {
	var first []string
	for _, name := range strings.Fields(calls) {
		if !slices.Contains(first, name) {
			first = append(first, name)
		}
	}
	return strings.Join(first, " ")
}

// inBubble asks for a gateway that answers at once. This one takes its time.
func TestEveryProductWaitsForTheServiceAsItIs(t *testing.T) {
	t.Parallel()
	spokenAudio() // made outside the bubble
	for name, opts := range map[string]nlstest.Options{"by default": {}, "as captures show": {Latency: true, RealTime: true}} {
		t.Run(name, func(t *testing.T) {
			forEachProduct(t, func(t *testing.T, p product) {
				synctest.Test(t, func(t *testing.T) {
					opts.Pipe = true
					server := nlstest.NewServer(opts)
					defer server.Close()
					client := clientOf(t, server)
					s, begin := p.new(client), time.Now()
					if err := s.run(t.Context()); err != nil {
						t.Fatal(err)
					}
					if d := time.Since(begin); d < 40*time.Millisecond {
						t.Errorf("took %v, so the gateway did not wait", d)
					}
					if got := s.result(t, client); got != spoken {
						t.Errorf("got %q, want %q", got, spoken)
					}
				})
			})
		})
	}
}

func TestEveryObjectStartsAgain(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		for _, c := range []struct {
			after string
			end   func(t *testing.T, s *subject)
		}{
			{"Stop", func(t *testing.T, s *subject) {
				if err := s.run(t.Context()); err != nil {
					t.Fatal(err)
				}
			}},
			{"Shutdown", func(t *testing.T, s *subject) {
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.Shutdown()
			}},
			{"a failed Start", func(t *testing.T, s *subject) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := s.start(ctx); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}},
			{"a session on another goroutine", func(t *testing.T, s *subject) {
				done := make(chan error)
				go func() { done <- s.run(t.Context()) }()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}},
		} {
			t.Run(c.after, func(t *testing.T) {
				inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					c.end(t, s)
					first := s.TaskID()
					if err := waitAndReset(s); err != nil {
						t.Fatal(err)
					}
					for range 2 {
						if err := s.run(t.Context()); err != nil {
							t.Fatal(err)
						}
						if got := s.result(t, client); got != spoken {
							t.Errorf("got %q, want %q", got, spoken)
						}
						if s.TaskID() == first || s.Err() != nil {
							t.Errorf("task %s after %s, Err %v", s.TaskID(), first, s.Err())
						}
					}
				})
			})
		}
	})
}

// waitAndReset waits for the end of a session and forgets what it said.
func waitAndReset(s *subject) error {
	<-s.Done()
	s.called()
	s.text.Reset()
	s.audio = nil
	return nil
}

func TestShutdownInsideEachHandler(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		for _, handler := range append(slices.Clone(p.handlers), "OnError") {
			t.Run(handler, func(t *testing.T) {
				opts := nlstest.Options{}
				if handler == "OnError" {
					opts.Fault = faultOnce("eof@after-start")
				}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					entered := false
					s.on(handler, func() {
						entered = true
						s.Shutdown()
						s.Shutdown()
					})
					_ = s.run(t.Context())
					<-s.Done()
					if !entered {
						t.Fatalf("%s was not called", handler)
					}
					got := strings.Fields(s.called())
					if i := slices.Index(got, handler); handler != "OnClose" && !slices.Equal(got[i:], []string{handler, "OnClose"}) {
						t.Errorf("called %s after %s", got[i:], handler)
					}
					s.on(handler, nil)
					if err := waitAndReset(s); err != nil {
						t.Fatal(err)
					}
					if err := s.run(t.Context()); err != nil || s.result(t, client) != spoken {
						t.Errorf("the next session: %v", err)
					}
				})
			})
		}
	})
}

func TestShortAndLongSynthesisDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				s := newSynthesisSubject(client, i%2 == 0)
				for range 3 {
					if err := s.run(t.Context()); err != nil {
						t.Error(err)
					}
					if got := s.result(t, client); got != spoken {
						t.Errorf("got %q", got)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestSynthesizerStartWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{ReplyDelay: 3 * time.Second}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		closed := false
		tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnClose: func(*nls.CloseEvent) { closed = true }})
		if err := tts.Start(t.Context(), nls.SynthesisParams{Text: spoken}); err != nil || !closed {
			t.Errorf("Start = %v before OnClose had returned: %v", err, !closed)
		}
	})
}

func TestZeroObjectsAreNeverStarted(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		object
		start func() error
		rest  []error
	}{
		{&nls.Recognizer{}, func() error { return new(nls.Recognizer).Start(ctx, nls.RecognitionParams{}) },
			[]error{new(nls.Recognizer).SendAudio(nil), new(nls.Recognizer).Stop(ctx)}},
		{&nls.Transcriber{}, func() error { return new(nls.Transcriber).Start(ctx, nls.TranscriptionParams{}) },
			[]error{new(nls.Transcriber).SendAudio(nil), new(nls.Transcriber).Stop(ctx), new(nls.Transcriber).Ctrl(nil)}},
		{&nls.Synthesizer{}, func() error { return new(nls.Synthesizer).Start(ctx, nls.SynthesisParams{Text: "x"}) },
			[]error{new(nls.Synthesizer).Wait(ctx)}},
		{&nls.StreamSynthesizer{}, func() error { return new(nls.StreamSynthesizer).Start(ctx, nls.StreamSynthesisParams{}) },
			[]error{new(nls.StreamSynthesizer).SendText("x"), new(nls.StreamSynthesizer).Stop(ctx)}},
		{&nls.CommonProto{}, func() error { return new(nls.CommonProto).Start(ctx, "StartRecognition", nls.CommonParams{}) },
			[]error{new(nls.CommonProto).SendText("x", nil, nil), new(nls.CommonProto).SendBinary(nil), new(nls.CommonProto).Wait(ctx)}},
	} {
		if err := c.start(); !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("%T: Start = %v", c.object, err)
		}
		for _, err := range c.rest {
			if !errors.Is(err, nls.ErrNotStarted) {
				t.Errorf("%T: %v", c.object, err)
			}
		}
		c.Shutdown()
		<-c.Done()
		if c.Err() != nil || c.TaskID() != "" {
			t.Errorf("%T: Err %v, TaskID %q", c.object, c.Err(), c.TaskID())
		}
	}
}

func TestWhatJSONCannotSayIsABadParameterAndLosesNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		bad := map[string]any{"x": func() {}}
		long := map[string]any{"x": strings.Repeat("x", 17<<10)}
		client := clientOf(t, server)
		tr := client.NewTranscriber(nls.TranscriberHandlers{})
		param := func(err error) string {
			var e *nls.ParamError
			errors.As(err, &e)
			if e == nil {
				return fmt.Sprint(err)
			}
			return e.Param
		}
		if got := param(tr.Start(t.Context(), nls.TranscriptionParams{Extra: bad})); got != "Extra" {
			t.Error(got)
		}
		p := client.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
		if got := param(p.Start(t.Context(), "StartRecognition", nls.CommonParams{Payload: bad})); got != "Payload" {
			t.Error(got)
		}
		if server.Stats().Connections != 0 {
			t.Error("a bad parameter reached the gateway")
		}
		if err := tr.Start(t.Context(), nls.TranscriptionParams{Extra: long}); err != nil { // a long Start is legal
			t.Fatal(err)
		}
		for _, ex := range []map[string]any{bad, long} {
			if got := param(tr.Ctrl(ex)); got != "ex" {
				t.Error(got)
			}
		}
		if err := tr.Ctrl(nil); err != nil {
			t.Error(err)
		}
		if err := tr.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
