package nls

import (
	"context"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// StreamSynthesizerHandlers are the callbacks of a StreamSynthesizer. Any may be nil.
type StreamSynthesizerHandlers struct {
	OnStart             func(*Event)     // SynthesisStarted: text may be sent
	OnSentenceBegin     func(*MetaInfo)  // SentenceBegin, without subtitles
	OnSentenceSynthesis func(*MetaInfo)  // SentenceSynthesis: timing so far
	OnSentenceEnd       func(*MetaInfo)  // SentenceEnd: timing of the sentence
	OnData              func(AudioEvent) // a chunk of audio
	OnCompleted         func(*Event)     // SynthesisCompleted
	OnError             func(*ErrorEvent)
	OnClose             func(*CloseEvent)
	OnEvent             func(*Event)
	CallbackArgs        []any
}

// StreamSynthesisParams are the parameters of one streaming synthesis. See
// [SynthesisParams] for the fields not described here.
type StreamSynthesisParams struct {
	Voice          string
	Format         Format
	SampleRate     int
	Volume         *int
	SpeechRate     int
	PitchRate      int
	EnableSubtitle bool
	EnablePhonemes bool

	// EnableSSML says that the text is SSML: one document in one SendText, which has
	// to fit a message of 16 KiB.
	EnableSSML bool

	Timeout         time.Duration // bounds Start; see RecognitionParams
	CompleteTimeout time.Duration // bounds Stop; zero bounds the time without a message, by DefaultCompleteTimeout
	PingInterval    time.Duration
	PingTimeout     time.Duration
	Extra           map[string]any
}

// StreamSynthesizer speaks text as it is being produced, for example by a
// language model. Create it with [Client.NewStreamSynthesizer]. Its concurrency rules
// are those of Recognizer; SendText and Flush are like SendAudio there.
type StreamSynthesizer struct {
	_ noCopy
	o object
	h StreamSynthesizerHandlers
}

// NewStreamSynthesizer returns a StreamSynthesizer with no open session. It does no
// I/O.
func (c *Client) NewStreamSynthesizer(h StreamSynthesizerHandlers) *StreamSynthesizer {
	return &StreamSynthesizer{o: object{client: &c.client}, h: h}
}

var streamSynthesis = session.Spec{
	Namespace: "FlowingSpeechSynthesizer",
	Start:     "StartSynthesis",
	Started:   []string{"SynthesisStarted"},
	Final:     []string{"SynthesisCompleted"},
	Stop:      "StopSynthesis",
}

// Start opens a session and blocks until text may be sent. See [Recognizer.Start].
func (s *StreamSynthesizer) Start(ctx context.Context, p StreamSynthesisParams) error {
	return s.start(ctx, p, session.Params{})
}

func (s *StreamSynthesizer) start(ctx context.Context, p StreamSynthesisParams, core session.Params) error {
	m, err := p.payload()
	if err != nil {
		return err
	}
	payload, err := encode("Extra", m)
	if err != nil {
		return err
	}
	core.Spec, core.Payload, core.BytesPerSecond, core.StopTimeout = streamSynthesis, payload, audioRate(m), p.CompleteTimeout
	if p.CompleteTimeout == 0 {
		core.StopTimeout, core.IdleTimeout = -1, DefaultCompleteTimeout
	}
	if s.o.client != nil {
		core.URL, core.Pool = s.o.client.streamURL, s.o.client.streamPool
	}
	return encodable("Extra", s.o.start(ctx, core, timing{"Timeout", p.Timeout, p.PingInterval, p.PingTimeout},
		&callbacks{
			args: s.h.CallbackArgs, onEvent: s.h.OnEvent, onData: s.h.OnData, onError: s.h.OnError, onClose: s.h.OnClose,
			typed: s.h.typed,
		}))
}

func (p *StreamSynthesisParams) payload() (map[string]any, error) {
	m, err := voicePayload(voiceParams{p.Voice, p.Format, p.SampleRate, p.Volume, p.SpeechRate, p.PitchRate,
		p.EnableSubtitle, p.EnablePhonemes})
	if err != nil {
		return nil, err
	}
	if err := checkDuration("CompleteTimeout", p.CompleteTimeout); err != nil {
		return nil, err
	}
	if p.EnableSSML {
		m["enable_ssml"] = true
	}
	return withExtra(m, p.Extra), nil
}

func (h *StreamSynthesizerHandlers) typed(e Event) {
	switch e.Name {
	case "SynthesisStarted":
		call(h.OnStart, &e)
	case "SentenceBegin":
		call(h.OnSentenceBegin, newMetaInfo(e))
	case "SentenceSynthesis":
		call(h.OnSentenceSynthesis, newMetaInfo(e))
	case "SentenceEnd":
		call(h.OnSentenceEnd, newMetaInfo(e))
	case "SynthesisCompleted":
		call(h.OnCompleted, &e)
	}
}

// SendText adds text. The pieces need not be words or sentences; the service
// splits them. Long text is sent as several messages of 1,000 characters, which
// every document of the service allows; the strictest allows 100,000 in a session.
// A whole SSML document, known by its root <speak>, is sent as one message, and is a
// *ParamError if it is longer than a frame of 16 KiB, as is text that is no UTF-8.
// Empty text does nothing. Other errors are those of [Recognizer.SendAudio].
//
// The service ends a session with StatusIdleTimeout when no text comes for ten
// seconds, or for about 23 with pings, which are on by default.
func (s *StreamSynthesizer) SendText(text string) error {
	if err := checkText(text); err != nil {
		return err
	}
	var pieces []any
	if isSSML(text) {
		pieces, text = []any{map[string]any{"text": withoutBOM(text)}}, ""
	}
	for text != "" {
		var piece string
		piece, text = cutText(text)
		pieces = append(pieces, map[string]any{"text": piece})
	}
	return encodable("Text", s.o.core.Task().Send("RunSynthesis", sdkContext, pieces...))
}

// Flush makes the service speak what it has of the text, as it does at the end of a
// sentence. The service does not answer. The vendor advises against it where
// punctuation does the same: the voice knows only what is before. Errors are those of
// [Recognizer.SendAudio].
func (s *StreamSynthesizer) Flush() error {
	return s.o.core.Task().Send("FlushText", sdkContext, map[string]any{})
}

// Stop says that the text is complete and waits for the rest of the audio, as
// [Recognizer.Stop] does. Text sent before a Stop is always spoken; without one
// the end of it may be lost. CompleteTimeout bounds it if ctx does not.
func (s *StreamSynthesizer) Stop(ctx context.Context) error { return s.o.session().Stop(ctx) }

// Shutdown drops the session, for example when the listener interrupts. See
// [Recognizer.Shutdown].
func (s *StreamSynthesizer) Shutdown() { s.o.session().Shutdown() }

// Done reports the end of the session. See [Recognizer.Done].
func (s *StreamSynthesizer) Done() <-chan struct{} { return s.o.session().Done() }

// Err says why the session ended. See [Recognizer.Err].
func (s *StreamSynthesizer) Err() error { return s.o.session().Err() }

// TaskID returns the session ID. See [Recognizer.TaskID].
func (s *StreamSynthesizer) TaskID() string { return s.o.session().TaskID() }

// Session returns the current session or the last one; nil before the first Start.
func (s *StreamSynthesizer) Session() *Session { return s.o.handle() }
