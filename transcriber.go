package nls

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// TranscriberHandlers are the callbacks of a Transcriber. Any may be nil.
type TranscriberHandlers struct {
	OnStart         func(*Event)      // TranscriptionStarted: audio may be sent
	OnSentenceBegin func(*Sentence)   // SentenceBegin
	OnResultChanged func(*Sentence)   // TranscriptionResultChanged, if enabled
	OnSentenceEnd   func(*Sentence)   // SentenceEnd: the sentence is final
	OnCompleted     func(*Event)      // TranscriptionCompleted
	OnError         func(*ErrorEvent) // the session failed
	OnClose         func(*CloseEvent) // the connection is gone
	OnEvent         func(*Event)      // every text message, first
	CallbackArgs    []any             // handed to every callback as Args
}

// TranscriptionParams are the parameters of one transcription. See
// [RecognitionParams] for the fields not described here.
type TranscriptionParams struct {
	Format     Format
	SampleRate int
	Channels   int

	EnableIntermediateResult       bool
	EnablePunctuationPrediction    bool
	EnableInverseTextNormalization bool

	EnableWords        bool          // word timing in Sentence.Words
	MaxSentenceSilence time.Duration // pause that ends a sentence; 0 leaves it to the service
	VocabularyID       string
	CustomizationID    string
	Disfluency         bool // drop filler words

	// EnableSemanticSentenceDetection splits sentences by meaning and not by
	// pauses. It needs EnableIntermediateResult.
	EnableSemanticSentenceDetection bool

	// SpeechNoiseThreshold is from -1, where noise counts as speech, to 1, where
	// speech counts as noise. Nil leaves it to the service.
	SpeechNoiseThreshold *float64

	Timeout      time.Duration
	PingInterval time.Duration
	PingTimeout  time.Duration
	Extra        map[string]any
}

// Sentence is a sentence that began, changed or ended. Times are places in the
// audio; one too large for a Duration is the largest Duration.
type Sentence struct {
	Event
	ID         string        // payload.sentence_id, in SentenceEnd
	Index      int           // counts from 1
	Final      bool          // in SentenceEnd: Text does not change any more
	Begin      time.Duration // where the sentence began
	Time       time.Duration // how far the service had got, silence after the sentence included; see End
	Text       string        // the whole sentence so far; it replaces earlier text
	Confidence float64       // 0 to 1
	Words      []Word
	Stash      *Stash // in SentenceEnd, if the next sentence has begun

	// FixedText is the part of Text that will not change any more, and
	// UnfixedText the rest, where the service tells them apart.
	FixedText, UnfixedText string

	// In SentenceEnd, if bought or offered for the model; else empty and 0.
	Emotion           string  // "positive", "negative" or "neutral"
	EmotionConfidence float64 // 0 to 1
	Gender            string
	GenderScore       float64

	// ResultStatus is payload.status: 0 or StatusOK when all is well, and the
	// reason when the service gave up on this one sentence.
	ResultStatus int
}

// End is where speech ended: the end of the last of Words. Without words (see
// EnableWords) it is Time, which speech cannot have ended after, but for the
// silence that ends a sentence, or more, before.
func (s *Sentence) End() time.Duration {
	end := time.Duration(0)
	for _, w := range s.Words {
		end = max(end, w.End)
	}
	if end == 0 {
		return s.Time
	}
	return end
}

// Stash is what is already known of the next sentence.
type Stash struct {
	Index      int
	Begin, Now time.Duration
	Text       string
	Words      []Word

	FixedText, UnfixedText string // as in Sentence
}

// Transcriber transcribes a stream of audio. Create it with
// [Client.NewTranscriber]. Its concurrency rules are those of [Recognizer].
type Transcriber struct {
	_ noCopy
	o object
	h TranscriberHandlers
}

// NewTranscriber returns a Transcriber with no open session. It does no I/O.
func (c *Client) NewTranscriber(h TranscriberHandlers) *Transcriber {
	return &Transcriber{o: object{client: &c.client, audio: true}, h: h}
}

var transcription = session.Spec{
	Namespace: "SpeechTranscriber",
	Start:     "StartTranscription",
	Started:   []string{"TranscriptionStarted"},
	Final:     []string{"TranscriptionCompleted"},
	Stop:      "StopTranscription",
}

// Start opens a session. See [Recognizer.Start].
func (t *Transcriber) Start(ctx context.Context, p TranscriptionParams) error {
	return t.start(ctx, p, session.Params{})
}

func (t *Transcriber) start(ctx context.Context, p TranscriptionParams, core session.Params) error {
	m, err := p.payload()
	if err != nil {
		return err
	}
	payload, err := encode("Extra", m)
	if err != nil {
		return err
	}
	core.Spec, core.Payload, core.BytesPerSecond = transcription, payload, audioRate(m)
	return encodable("Extra", t.o.start(ctx, core,
		timing{"Timeout", p.Timeout, p.PingInterval, p.PingTimeout},
		&callbacks{
			args: t.h.CallbackArgs, onEvent: t.h.OnEvent, onError: t.h.OnError, onClose: t.h.OnClose,
			typed: t.h.typed(),
		}))
}

func (p *TranscriptionParams) payload() (map[string]any, error) {
	m, err := audioPayload(audioParams{p.Format, p.SampleRate, p.Channels,
		p.EnableIntermediateResult, p.EnablePunctuationPrediction, p.EnableInverseTextNormalization,
		p.VocabularyID, p.CustomizationID})
	if err != nil {
		return nil, err
	}
	if err := putSilence(m, "max_sentence_silence", "MaxSentenceSilence", p.MaxSentenceSilence); err != nil {
		return nil, err
	}
	if p.EnableWords {
		m["enable_words"] = true
	}
	if p.Disfluency {
		m["disfluency"] = true
	}
	if p.EnableSemanticSentenceDetection {
		if !p.EnableIntermediateResult {
			return nil, &ParamError{"EnableSemanticSentenceDetection", true, "needs EnableIntermediateResult"}
		}
		m["enable_semantic_sentence_detection"] = true
	}
	if v := p.SpeechNoiseThreshold; v != nil {
		if !(*v >= -1 && *v <= 1) {
			return nil, &ParamError{"SpeechNoiseThreshold", *v, "must be from -1 to 1"}
		}
		m["speech_noise_threshold"] = *v
	}
	return withExtra(m, p.Extra), nil
}

// typed returns the function that turns the events of one session into calls of
// the handlers.
func (h *TranscriberHandlers) typed() func(Event) {
	// Where the sentences that have not ended began, which some events do not say.
	// There are one or two of them.
	begins := make(map[int]time.Duration)
	return func(e Event) {
		switch e.Name {
		case "TranscriptionStarted":
			call(h.OnStart, &e)
		case "SentenceBegin":
			s := newSentence(e, begins)
			if len(begins) > 100 { // they do not end
				clear(begins)
			}
			begins[s.Index] = s.Begin
			call(h.OnSentenceBegin, s)
		case "TranscriptionResultChanged":
			call(h.OnResultChanged, newSentence(e, begins))
		case "SentenceEnd":
			s := newSentence(e, begins)
			s.Final = true
			delete(begins, s.Index)
			call(h.OnSentenceEnd, s)
		case "TranscriptionCompleted":
			call(h.OnCompleted, &e)
		}
	}
}

// sentencePayload is what is read of a payload that tells of a sentence.
type sentencePayload[S ~string, I ~int64, F ~float64] struct {
	ID                S               `json:"sentence_id"`
	Index             I               `json:"index"`
	Begin             I               `json:"begin_time"` // not in every event
	Time              I               `json:"time"`
	Result            S               `json:"result"`
	Fixed             S               `json:"fixed_result"`
	Unfixed           S               `json:"unfixed_result"`
	Confidence        F               `json:"confidence"`
	Status            I               `json:"status"`
	Words             json.RawMessage `json:"words"`
	Emotion           S               `json:"emo_tag"`
	EmotionConfidence F               `json:"emo_confidence"`
	Gender            S               `json:"gender"`
	GenderScore       F               `json:"gender_score"`
	Stash             struct {
		Index   I               `json:"sentenceId"`
		Begin   I               `json:"beginTime"`
		Now     I               `json:"currentTime"`
		Text    S               `json:"text"`
		Words   json.RawMessage `json:"words"`
		Fixed   S               `json:"fixedText"`
		Unfixed S               `json:"unfixedText"`
	} `json:"stash_result"`

	begins map[int]time.Duration // where sentences began
}

func newSentencePayload[S ~string, I ~int64, F ~float64](begins map[int]time.Duration) payload[*Sentence] {
	return &sentencePayload[S, I, F]{Begin: math.MinInt64, begins: begins}
}

// newSentence decodes e. begins has where sentences began whose events may not say.
func newSentence(e Event, begins map[int]time.Duration) *Sentence {
	return decodePayload(&e, newSentencePayload[string, int64, float64](begins), func() payload[*Sentence] {
		return newSentencePayload[wire.Text, wire.Int, wire.Float](begins)
	})
}

func (p *sentencePayload[S, I, F]) of(e *Event) *Sentence {
	budget := elementBudget(e)
	s := &Sentence{
		Event: *e, ID: string(p.ID), Index: wire.Int(p.Index).Int(), Time: wire.Int(p.Time).Milliseconds(),
		Text: string(p.Result), FixedText: string(p.Fixed), UnfixedText: string(p.Unfixed),
		Confidence: float64(p.Confidence), Words: decodeWords(p.Words, &budget),
		Emotion: string(p.Emotion), EmotionConfidence: float64(p.EmotionConfidence),
		Gender: string(p.Gender), GenderScore: float64(p.GenderScore),
		ResultStatus: wire.Int(p.Status).Int(),
	}
	switch {
	case p.Begin != math.MinInt64:
		s.Begin = wire.Int(p.Begin).Milliseconds()
	case e.Name == "SentenceBegin":
		s.Begin = s.Time
	default:
		s.Begin = p.begins[s.Index]
	}
	if stash := &p.Stash; stash.Text != "" || stash.Now > stash.Begin {
		s.Stash = &Stash{
			Index: wire.Int(stash.Index).Int(), Begin: wire.Int(stash.Begin).Milliseconds(), Now: wire.Int(stash.Now).Milliseconds(),
			Text: string(stash.Text), FixedText: string(stash.Fixed), UnfixedText: string(stash.Unfixed),
			Words: decodeWords(stash.Words, &budget),
		}
	}
	return s
}

// SendAudio sends audio. See [Recognizer.SendAudio]. The service ends a session
// that gets no audio for ten seconds, with StatusAudioTimeout or
// StatusIdleTimeout; send silence to keep it, and do not rely on pings.
func (t *Transcriber) SendAudio(data []byte) error { return t.o.session().SendAudio(data) }

// Ctrl sends a ControlTranscriber command with ex as its payload. The service
// does not answer it. A command of more than 16 KiB is a *ParamError.
func (t *Transcriber) Ctrl(ex map[string]any) error {
	payload, err := encode("ex", jsonObject(ex))
	if err != nil {
		return err
	}
	return encodable("ex", t.o.core.Task().Send("ControlTranscriber", sdkContext, payload))
}

// Stop ends the audio and waits for the last results. See [Recognizer.Stop].
func (t *Transcriber) Stop(ctx context.Context) error { return t.o.session().Stop(ctx) }

// Shutdown drops the session. See [Recognizer.Shutdown].
func (t *Transcriber) Shutdown() { t.o.session().Shutdown() }

// Done reports the end of the session. See [Recognizer.Done].
func (t *Transcriber) Done() <-chan struct{} { return t.o.session().Done() }

// Err says why the session ended. See [Recognizer.Err].
func (t *Transcriber) Err() error { return t.o.session().Err() }

// TaskID returns the session ID. See [Recognizer.TaskID].
func (t *Transcriber) TaskID() string { return t.o.session().TaskID() }

// Session returns the current session or the last one; nil before the first Start.
func (t *Transcriber) Session() *Session { return t.o.handle() }
