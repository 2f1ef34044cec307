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

// object is what every session object can do.
type object interface {
	Shutdown()
	Done() <-chan struct{}
	Err() error
	TaskID() string
}

// subject is a session object of one product under test: what it calls, by the
// name of the handler, and how it is used.
type subject struct {
	object
	start func(context.Context) error // opens a session
	send  func() error                // adds input; nil if Start has it all
	ctrl  func() error                // sends a command; nil if there is none
	stop  func(context.Context) error // waits for the end of a session that was opened

	// The bounds of start: PingInterval, PingTimeout, Timeout, CompleteTimeout. A
	// Synthesizer waits for completion if wait is set.
	ping, pong, timeout, complete time.Duration
	wait                          bool

	mu     sync.Mutex
	calls  []string          // handlers called, OnEvent left out
	hooks  map[string]func() // what a handler does besides
	text   strings.Builder   // final texts
	audio  []byte
	errs   []*nls.ErrorEvent
	closes []*nls.CloseEvent
}

// note is the body of every handler.
func (s *subject) note(handler string) {
	s.mu.Lock()
	s.calls = append(s.calls, handler)
	hook := s.hooks[handler]
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
}

// called lists the handlers called since the last time, repetitions once.
func (s *subject) called() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := slices.Compact(s.calls)
	s.calls = nil
	return strings.Join(calls, " ")
}

func (s *subject) on(handler string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = map[string]func(){handler: f}
}

func (s *subject) onEvent(e *nls.Event)   { _ = e.String() }
func (s *subject) onStart(*nls.Event)     { s.note("OnStart") }
func (s *subject) onCompleted(*nls.Event) { s.note("OnCompleted") }

func (s *subject) onData(a nls.AudioEvent) {
	s.audio = append(s.audio, a.Data...)
	s.note("OnData")
}

func (s *subject) onError(e *nls.ErrorEvent) {
	s.errs = append(s.errs, e)
	s.note("OnError")
}

func (s *subject) onClose(e *nls.CloseEvent) {
	s.closes = append(s.closes, e)
	s.note("OnClose")
}

// run is a session from Start to its end.
func (s *subject) run(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	if s.send != nil {
		if err := s.send(); err != nil {
			return err
		}
	}
	return s.stop(ctx)
}

// spoken is the text that all products speak or hear in these tests.
const spoken = "你好，Go 🎙。"

// product makes subjects of one product.
type product struct {
	name     string
	new      func(c *nls.Client) *subject
	calls    string   // of a session that completes
	handlers []string // all that such a session calls
}

var products = []product{
	{"Recognizer", newRecognizerSubject, "OnStart OnResultChanged OnCompleted OnClose",
		[]string{"OnStart", "OnResultChanged", "OnCompleted", "OnClose"}},
	{"Transcriber", newTranscriberSubject, "OnStart OnSentenceBegin OnResultChanged OnSentenceEnd OnCompleted OnClose",
		[]string{"OnStart", "OnSentenceBegin", "OnResultChanged", "OnSentenceEnd", "OnCompleted", "OnClose"}},
	{"Synthesizer", newSynthesizerSubject, "OnMetaInfo OnData OnCompleted OnClose",
		[]string{"OnMetaInfo", "OnData", "OnCompleted", "OnClose"}},
	{"Synthesizer, long text", newLongSynthesizerSubject, "OnMetaInfo OnData OnCompleted OnClose",
		[]string{"OnMetaInfo", "OnData", "OnCompleted", "OnClose"}},
	{"StreamSynthesizer", newStreamSubject, "OnStart OnSentenceBegin OnSentenceSynthesis OnData OnSentenceEnd OnCompleted OnClose",
		[]string{"OnStart", "OnSentenceBegin", "OnSentenceSynthesis", "OnData", "OnSentenceEnd", "OnCompleted", "OnClose"}},
	{"CommonProto", newCommonSubject, "OnOpen RecognitionStarted RecognitionResultChanged RecognitionCompleted OnClose",
		[]string{"OnOpen", "RecognitionStarted", "RecognitionResultChanged", "RecognitionCompleted", "OnClose"}},
}

func newRecognizerSubject(c *nls.Client) *subject {
	s := &subject{}
	r := c.NewRecognizer(nls.RecognizerHandlers{
		OnStart:         s.onStart,
		OnResultChanged: func(*nls.RecognitionResult) { s.note("OnResultChanged") },
		OnCompleted: func(r *nls.RecognitionResult) {
			s.text.WriteString(r.Text)
			s.note("OnCompleted")
		},
		OnError: s.onError, OnClose: s.onClose, OnEvent: s.onEvent,
	})
	s.object, s.stop = r, r.Stop
	s.start = func(ctx context.Context) error {
		return r.Start(ctx, nls.RecognitionParams{
			EnableIntermediateResult: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout,
		})
	}
	s.send = func() error { return sendSpoken(r.SendAudio) }
	return s
}

func newTranscriberSubject(c *nls.Client) *subject {
	s := &subject{}
	t := c.NewTranscriber(nls.TranscriberHandlers{
		OnStart:         s.onStart,
		OnSentenceBegin: func(*nls.Sentence) { s.note("OnSentenceBegin") },
		OnResultChanged: func(*nls.Sentence) { s.note("OnResultChanged") },
		OnSentenceEnd: func(e *nls.Sentence) {
			s.text.WriteString(e.Text)
			s.note("OnSentenceEnd")
		},
		OnCompleted: s.onCompleted, OnError: s.onError, OnClose: s.onClose, OnEvent: s.onEvent,
	})
	s.object, s.stop = t, t.Stop
	s.start = func(ctx context.Context) error {
		return t.Start(ctx, nls.TranscriptionParams{
			EnableIntermediateResult: true, EnableWords: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout,
		})
	}
	s.send = func() error { return sendSpoken(t.SendAudio) }
	s.ctrl = func() error { return t.Ctrl(map[string]any{"max_sentence_silence": 800}) }
	return s
}

func newSynthesizerSubject(c *nls.Client) *subject     { return newSynthesisSubject(c, false) }
func newLongSynthesizerSubject(c *nls.Client) *subject { return newSynthesisSubject(c, true) }

func newSynthesisSubject(c *nls.Client, long bool) *subject {
	s := &subject{}
	t := c.NewSynthesizer(nls.SynthesizerHandlers{
		OnStart:    s.onStart,
		OnMetaInfo: func(*nls.MetaInfo) { s.note("OnMetaInfo") },
		OnData:     s.onData, OnCompleted: s.onCompleted, OnError: s.onError, OnClose: s.onClose, OnEvent: s.onEvent,
	})
	s.object, s.stop = t, t.Wait
	s.start = func(ctx context.Context) error {
		return t.Start(ctx, nls.SynthesisParams{
			Text: spoken, EnableSubtitle: true, LongText: long, NoWait: !s.wait, PingInterval: s.ping, PingTimeout: s.pong,
			StartTimeout: s.timeout, CompleteTimeout: s.complete,
		})
	}
	return s
}

func newStreamSubject(c *nls.Client) *subject {
	s := &subject{}
	t := c.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{
		OnStart:             s.onStart,
		OnSentenceBegin:     func(*nls.MetaInfo) { s.note("OnSentenceBegin") },
		OnSentenceSynthesis: func(*nls.MetaInfo) { s.note("OnSentenceSynthesis") },
		OnSentenceEnd:       func(*nls.MetaInfo) { s.note("OnSentenceEnd") },
		OnData:              s.onData, OnCompleted: s.onCompleted, OnError: s.onError, OnClose: s.onClose, OnEvent: s.onEvent,
	})
	s.object, s.stop = t, t.Stop
	s.start = func(ctx context.Context) error {
		return t.Start(ctx, nls.StreamSynthesisParams{
			EnableSubtitle: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout, CompleteTimeout: s.complete,
		})
	}
	s.send = func() error { return t.SendText(spoken) }
	return s
}

func newCommonSubject(c *nls.Client) *subject {
	s := &subject{}
	event := func(name string) func(*nls.Event) { return func(*nls.Event) { s.note(name) } }
	p := c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{
		OnOpen: func(*nls.OpenEvent) { s.note("OnOpen") },
		OnData: s.onData, OnError: s.onError, OnClose: s.onClose, OnEvent: s.onEvent,
		Events: map[string]func(*nls.Event){
			"RecognitionStarted":       event("RecognitionStarted"),
			"RecognitionResultChanged": event("RecognitionResultChanged"),
			"RecognitionCompleted": func(e *nls.Event) {
				var result struct{ Result string }
				if err := e.Payload(&result); err == nil {
					s.text.WriteString(result.Result)
				}
				s.note("RecognitionCompleted")
			},
			"TaskFailed": event("TaskFailed"),
		},
	})
	s.object = p
	s.start = func(ctx context.Context) error {
		return p.Start(ctx, "StartRecognition", nls.CommonParams{
			Payload: map[string]any{"format": "pcm", "sample_rate": 16000, "enable_intermediate_result": true},
			Started: []string{"RecognitionStarted"},
			Final:   []string{"RecognitionCompleted"}, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout,
		})
	}
	s.send = func() error { return sendSpoken(p.SendBinary) }
	s.stop = func(ctx context.Context) error {
		if err := p.SendText("StopRecognition", nil, nil); err != nil && !errors.Is(err, nls.ErrCompleted) {
			<-p.Done()
			return p.Err()
		}
		return p.Wait(ctx)
	}
	return s
}

// spokenAudio is spoken as the gateway speaks it.
var spokenAudio = sync.OnceValue(func() []byte {
	var pcm []byte
	err := nlstest.Loopback().Synthesize(context.Background(), spoken,
		nlstest.Voice{Name: nls.DefaultVoice, SampleRate: nls.DefaultSampleRate, Volume: nls.DefaultVolume},
		func(piece []byte, _ []nls.Subtitle) error {
			pcm = append(pcm, piece...)
			return nil
		})
	if err != nil {
		panic(err)
	}
	return pcm
})

func sendSpoken(send func([]byte) error) error {
	for chunk := range slices.Chunk(spokenAudio(), 3200) {
		if err := send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// inBubble runs f in a synctest bubble with a gateway over in-memory connections.
func inBubble(t *testing.T, opts nlstest.Options, f func(t *testing.T, server *nlstest.Server)) {
	t.Helper()
	spokenAudio() // made outside, once
	synctest.Test(t, func(t *testing.T) {
		opts.Pipe = true
		server := nlstest.NewServer(opts)
		defer server.Close()
		f(t, server)
	})
}

func clientOf(t testing.TB, server *nlstest.Server, change ...func(*nls.Config)) *nls.Client {
	t.Helper()
	cfg := server.Config()
	for _, f := range change {
		f(&cfg)
	}
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func forEachProduct(t *testing.T, f func(t *testing.T, p product)) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) { f(t, p) })
	}
}

// heard is what the gateway recognises in audio.
func heard(t *testing.T, c *nls.Client, audio []byte) string {
	t.Helper()
	s := newTranscriberSubject(c)
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.object.(*nls.Transcriber).SendAudio(audio); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.text.String()
}

// result is what the last session of s has understood or said.
func (s *subject) result(t *testing.T, c *nls.Client) string {
	t.Helper()
	text := s.text.String()
	if text == "" && len(s.audio) > 0 {
		text = heard(t, c, s.audio)
	}
	s.text.Reset()
	s.audio = nil
	return text
}

func TestASessionCallsItsHandlersInOrderAndGetsTheRightResult(t *testing.T) {
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

func TestEveryObjectStartsAgain(t *testing.T) {
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
