package nls

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// SynthesizerHandlers are the callbacks of a Synthesizer. Any may be nil.
type SynthesizerHandlers struct {
	OnStart      func(*Event)      // SynthesisStarted; the public service does not send it
	OnMetaInfo   func(*MetaInfo)   // MetaInfo: subtitles, with EnableSubtitle
	OnData       func(AudioEvent)  // a chunk of audio
	OnCompleted  func(*Event)      // SynthesisCompleted
	OnError      func(*ErrorEvent) // the session failed
	OnClose      func(*CloseEvent) // the connection is gone
	OnEvent      func(*Event)      // every text message, first
	CallbackArgs []any             // handed to every callback as Args
}

// SynthesisParams are the parameters of one synthesis.
type SynthesisParams struct {
	Text       string // required, UTF-8, at most 300 characters unless it is SSML; see LongText
	Voice      string // "" means DefaultVoice
	Format     Format // "" means FormatPCM; FormatWAV and FormatMP3 also work
	SampleRate int    // hertz; 0 means DefaultSampleRate
	Volume     *int   // 0 to 100; nil means DefaultVolume, new(0) is silence
	SpeechRate int    // -500, half the speed, to 500, twice the speed
	PitchRate  int    // -500 to 500

	EnableSubtitle bool // word timing, delivered to OnMetaInfo; some voices, such as xiaoyun, have none, and the task fails
	EnablePhonemes bool // Subtitle.Phonemes, and subtitles with it

	// LongText uses the long-text service (SpeechLongSynthesizer), which takes
	// far longer texts and is bought separately.
	LongText bool

	// NoWait makes Start return as soon as the request is on its way. Use Wait
	// or Done to learn of the end.
	NoWait bool

	// StartTimeout bounds the connection phase of Start; CompleteTimeout bounds
	// what follows until the service has completed, with NoWait too. It stands
	// still while MaxPendingBytes of audio wait for OnData; a single callback that
	// runs for longer ends the session. Zero means DefaultStartTimeout and
	// DefaultCompleteTimeout; negative, no bound. With LongText a zero
	// CompleteTimeout bounds the time without a message instead, since a long text
	// speaks for longer than a minute.
	StartTimeout    time.Duration
	CompleteTimeout time.Duration

	PingInterval time.Duration  // see RecognitionParams
	PingTimeout  time.Duration  // see RecognitionParams
	Extra        map[string]any // see RecognitionParams
}

// MetaInfo carries the timing of the words being spoken.
type MetaInfo struct {
	Event
	Index     int // sentence, as the service counts; StreamSynthesizer only
	Subtitles []Subtitle
}

// Subtitle is a spoken unit, such as one Chinese character, or a sentence, with
// its place in the audio and in the input. Units follow the pronunciation: "12"
// gives two of them. They are for timing, not for display.
type Subtitle struct {
	Text                 string
	Begin, End           time.Duration
	BeginIndex, EndIndex int // units from the start of the text, end exclusive
	Sentence             bool
	Phoneme              string
	Phonemes             []Phoneme // with EnablePhonemes
}

// Phoneme is a part of a Subtitle.
type Phoneme struct {
	Text, Tone string
	Begin, End time.Duration
}

// Synthesizer speaks one text per session. Create it with
// [Client.NewSynthesizer]. Its concurrency rules are those of [Recognizer].
type Synthesizer struct {
	_ noCopy
	o object
	h SynthesizerHandlers
}

// NewSynthesizer returns a Synthesizer with no open session. It does no I/O.
func (c *Client) NewSynthesizer(h SynthesizerHandlers) *Synthesizer {
	return &Synthesizer{o: object{client: &c.client}, h: h}
}

// The public service does not answer StartSynthesis in these two namespaces, so
// its being sent is the start (protocol §5.1).
var (
	synthesis     = session.Spec{Namespace: "SpeechSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
	longSynthesis = session.Spec{Namespace: "SpeechLongSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
)

// Start opens a session and sends the text. Unless p.NoWait is set it blocks
// until OnCompleted and OnClose have returned. Text that is empty or not valid
// UTF-8 is a *ParamError: the service drops the connection over it. So is one of
// more than 300 characters (Unicode code points) without LongText, of which the
// service would speak the first 300: [Client.Synthesize] takes any length. An SSML
// document, known by its root <speak>, is not counted, since the service does not
// count tags. A byte order mark before the text is not sent. Extra may have a
// "text" that nobody checks.
func (s *Synthesizer) Start(ctx context.Context, p SynthesisParams) error {
	return s.start(ctx, p, session.Params{})
}

func (s *Synthesizer) start(ctx context.Context, p SynthesisParams, core session.Params) error {
	m, err := p.payload()
	if err != nil {
		return err
	}
	payload, err := encode("Extra", m)
	if err != nil {
		return err
	}
	core.Spec, core.Payload, core.WaitDone, core.CompleteTimeout = synthesis, payload, !p.NoWait, p.CompleteTimeout
	core.BytesPerSecond = audioRate(m)
	if p.LongText {
		core.Spec = longSynthesis
	}
	if p.CompleteTimeout == 0 {
		if p.LongText {
			core.IdleTimeout = DefaultCompleteTimeout
		} else {
			core.CompleteTimeout = DefaultCompleteTimeout
		}
	}
	return encodable("Extra", s.o.start(ctx, core, timing{"StartTimeout", p.StartTimeout, p.PingInterval, p.PingTimeout},
		&callbacks{
			args: s.h.CallbackArgs, onEvent: s.h.OnEvent, onData: s.h.OnData, onError: s.h.OnError, onClose: s.h.OnClose,
			typed: s.h.typed,
		}))
}

func (p *SynthesisParams) payload() (map[string]any, error) {
	text := withoutBOM(p.Text)
	if _, overridden := p.Extra["text"]; !overridden {
		if err := p.checkText(text); err != nil {
			return nil, err
		}
	}
	m, err := voicePayload(voiceParams{p.Voice, p.Format, p.SampleRate, p.Volume, p.SpeechRate, p.PitchRate,
		p.EnableSubtitle, p.EnablePhonemes})
	if err != nil {
		return nil, err
	}
	if err := checkDuration("CompleteTimeout", p.CompleteTimeout); err != nil {
		return nil, err
	}
	m["text"] = text
	return withExtra(m, p.Extra), nil
}

func (p *SynthesisParams) checkText(text string) error {
	if text == "" {
		return &ParamError{"Text", nil, "must not be empty"}
	}
	if err := checkText(text); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(text); n > maxShortText && !p.unlimited() {
		return &ParamError{"Text", nil, fmt.Sprintf("has %d characters, of which the service would speak %d; use Client.Synthesize or LongText",
			n, maxShortText)}
	}
	return nil
}

// unlimited reports whether the length of the text is the service's business.
func (p *SynthesisParams) unlimited() bool {
	_, overridden := p.Extra["text"]
	return p.LongText || overridden || isSSML(p.Text)
}

func (h *SynthesizerHandlers) typed(e Event) {
	switch e.Name {
	case "SynthesisStarted":
		call(h.OnStart, &e)
	case "MetaInfo":
		call(h.OnMetaInfo, newMetaInfo(e))
	case "SynthesisCompleted":
		call(h.OnCompleted, &e)
	}
}

func newMetaInfo(e Event) *MetaInfo {
	var p struct {
		Index     wire.Int        `json:"index"`
		Subtitles json.RawMessage `json:"subtitles"`
	}
	_ = e.Payload(&p) // its lists are most of it, and decoded element by element
	type subtitle struct {
		Text       wire.Text       `json:"text"`
		Begin      wire.Int        `json:"begin_time"`
		End        wire.Int        `json:"end_time"`
		BeginIndex wire.Int        `json:"begin_index"`
		EndIndex   wire.Int        `json:"end_index"`
		Sentence   wire.Bool       `json:"sentence"`
		Phoneme    wire.Text       `json:"phoneme"`
		Phonemes   json.RawMessage `json:"phoneme_list"`
	}
	m := &MetaInfo{Event: e, Index: p.Index.Int()}
	budget := elementBudget(&e)
	for s := range wire.Elements[subtitle](p.Subtitles, &budget) {
		sub := Subtitle{
			Text: string(s.Text), Begin: s.Begin.Milliseconds(), End: s.End.Milliseconds(),
			BeginIndex: s.BeginIndex.Int(), EndIndex: s.EndIndex.Int(), Sentence: bool(s.Sentence),
			Phonemes: decodePhonemes(s.Phonemes, &budget),
		}
		if s.Phoneme != "null" { // the service's word for none (protocol §5.4)
			sub.Phoneme = string(s.Phoneme)
		}
		m.Subtitles = append(m.Subtitles, sub)
	}
	return m
}

// decodePhonemes decodes a list of phonemes in either of its spellings (protocol
// §5.4).
func decodePhonemes(list json.RawMessage, budget *int) []Phoneme {
	type phoneme struct {
		Text    wire.Text `json:"text"`
		Phoneme wire.Text `json:"phoneme"`
		Tone    wire.Text `json:"tone"`
		Begin   wire.Int  `json:"begin_time"`
		End     wire.Int  `json:"end_time"`
	}
	var phonemes []Phoneme
	for p := range wire.Elements[phoneme](list, budget) {
		phonemes = append(phonemes, Phoneme{
			Text: string(cmp.Or(p.Text, p.Phoneme)), Tone: string(p.Tone), Begin: p.Begin.Milliseconds(), End: p.End.Milliseconds(),
		})
	}
	return phonemes
}

// Wait blocks until the session has completed and its callbacks have returned,
// or ctx ends. It returns Err, or ctx's error. It does not shut down.
func (s *Synthesizer) Wait(ctx context.Context) error { return s.o.session().Wait(ctx) }

// Shutdown drops the session. See [Recognizer.Shutdown].
func (s *Synthesizer) Shutdown() { s.o.session().Shutdown() }

// Done reports the end of the session. See [Recognizer.Done].
func (s *Synthesizer) Done() <-chan struct{} { return s.o.session().Done() }

// Err says why the session ended. See [Recognizer.Err].
func (s *Synthesizer) Err() error { return s.o.session().Err() }

// TaskID returns the session ID. See [Recognizer.TaskID].
func (s *Synthesizer) TaskID() string { return s.o.session().TaskID() }

// Session returns the current session or the last one; nil before the first Start.
func (s *Synthesizer) Session() *Session { return s.o.handle() }
