package suite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
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
			EnableIntermediateResult: true, EnablePunctuationPrediction: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout,
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
			EnableIntermediateResult: true, EnablePunctuationPrediction: true, EnableWords: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout,
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
			Text: spoken, Voice: "siqi", EnableSubtitle: true, LongText: long, NoWait: !s.wait, PingInterval: s.ping, PingTimeout: s.pong,
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
			Voice: "siqi", EnableSubtitle: true, PingInterval: s.ping, PingTimeout: s.pong, Timeout: s.timeout, CompleteTimeout: s.complete,
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
			Payload: map[string]any{"format": "pcm", "sample_rate": 16000, "enable_intermediate_result": true, "enable_punctuation_prediction": true},
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

func sendSpoken(send func([]byte) error) error {
	for chunk := range slices.Chunk(spokenAudio(), 3200) {
		if err := send(chunk); err != nil {
			return err
		}
	}
	return nil
}

func forEachProduct(t *testing.T, f func(t *testing.T, p product)) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) { f(t, p) })
	}
}

// forSomeProducts is forEachProduct for one of many cases: it goes on where it was left
// with the last one, for a third of the products or, with NLS_THOROUGH, all.
func forSomeProducts(t *testing.T, f func(t *testing.T, p product)) {
	forEachProduct(t, func(t *testing.T, p product) {
		if turnOfProducts() {
			f(t, p)
		}
	})
}

var turnOfProducts = effort.OneIn(3)

func productNamed(name string) product {
	i := slices.IndexFunc(products, func(p product) bool { return p.name == name })
	return products[i]
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
