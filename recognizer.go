package nls

import (
	"context"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// RecognizerHandlers are the callbacks of a Recognizer. Any may be nil.
type RecognizerHandlers struct {
	OnStart         func(*Event)             // RecognitionStarted: audio may be sent
	OnResultChanged func(*RecognitionResult) // RecognitionResultChanged, if enabled
	OnCompleted     func(*RecognitionResult) // RecognitionCompleted: the final result
	OnError         func(*ErrorEvent)        // the session failed
	OnClose         func(*CloseEvent)        // the connection is gone

	// OnEvent sees every text message, known or not, before the callback for
	// it does.
	OnEvent func(*Event)

	// CallbackArgs is handed to every callback as Args. A closure is usually
	// the better way to pass values in.
	CallbackArgs []any
}

// RecognitionParams are the parameters of one recognition.
type RecognitionParams struct {
	Format     Format // "" means FormatPCM; Recognize and Transcribe look at the audio first
	SampleRate int    // 8000 or 16000 hertz, that of the model; 0 means DefaultSampleRate
	Channels   int    // 0 means 1, the only count supported

	EnableIntermediateResult       bool
	EnablePunctuationPrediction    bool
	EnableInverseTextNormalization bool

	EnableVoiceDetection bool          // stop at the end of speech
	MaxStartSilence      time.Duration // with EnableVoiceDetection: before speech; 0 leaves it to the service
	MaxEndSilence        time.Duration // with EnableVoiceDetection: after speech; 0 leaves it to the service
	VocabularyID         string        // hot words
	CustomizationID      string        // custom language model

	// Timeout bounds Start, from dialling to readiness, when its context has
	// no earlier deadline. Zero means DefaultStartTimeout; negative, no bound.
	Timeout time.Duration

	// PingInterval is the time between pings. Zero means DefaultPingInterval;
	// negative sends none.
	PingInterval time.Duration

	// PingTimeout ends the session with ErrPingTimeout when a ping stays
	// unanswered that long. Zero means PingInterval, once a ping of the session
	// has been answered; negative means never. It must be shorter than
	// PingInterval. The clock stands still while reading is paused for a slow
	// callback.
	PingTimeout time.Duration

	// Extra is merged into the payload last: it adds fields this struct does
	// not know and overrides those it does.
	Extra map[string]any
}

// RecognitionResult is a partial or final recognition.
type RecognitionResult struct {
	Event
	Text     string        // the whole text so far; it replaces earlier results
	Duration time.Duration // audio processed

	// In RecognitionCompleted, if offered for the model; else 0 and empty.
	Confidence        float64 // 0 to 1
	Emotion           string  // "positive", "negative" or "neutral"
	EmotionConfidence float64 // 0 to 1
}

// Recognizer recognises one short utterance per session. Create it with
// [Client.NewRecognizer]. SendAudio, Shutdown, Done, Err and TaskID are safe
// for concurrent use; Start and Stop are too, and fail rather than overlap.
type Recognizer struct {
	_ noCopy
	o object
	h RecognizerHandlers
}

// NewRecognizer returns a Recognizer with no open session. It does no I/O.
func (c *Client) NewRecognizer(h RecognizerHandlers) *Recognizer {
	return &Recognizer{o: object{client: &c.client, audio: true}, h: h}
}

var recognition = session.Spec{
	Namespace: "SpeechRecognizer",
	Start:     "StartRecognition",
	Started:   []string{"RecognitionStarted"},
	Final:     []string{"RecognitionCompleted"},
	Stop:      "StopRecognition",
}

// Start opens a session and blocks until the service is ready for audio and
// OnStart has returned. If the previous session is still running its last
// callbacks, Start waits for them first. RecognitionParams.Timeout measures the
// service; once it has answered, only an OnStart that takes longer than that ends
// the session. After a nil nothing but the session's own end ends it. On failure
// the connection is gone and no goroutine is left, except one in code of the
// caller's that has not returned: a callback, or a TokenSource, Proxy or
// NetDialContext that does not heed its context. Start must not be called from a
// callback.
func (r *Recognizer) Start(ctx context.Context, p RecognitionParams) error {
	m, err := p.payload()
	if err != nil {
		return err
	}
	payload, err := encode("Extra", m)
	if err != nil {
		return err
	}
	return encodable("Extra", r.o.start(ctx, session.Params{Spec: recognition, Payload: payload, BytesPerSecond: audioRate(m)},
		timing{"Timeout", p.Timeout, p.PingInterval, p.PingTimeout},
		&callbacks{
			args: r.h.CallbackArgs, onEvent: r.h.OnEvent, onError: r.h.OnError, onClose: r.h.OnClose,
			typed: r.h.typed,
		}))
}

func (p *RecognitionParams) payload() (map[string]any, error) {
	m, err := audioPayload(audioParams{p.Format, p.SampleRate, p.Channels,
		p.EnableIntermediateResult, p.EnablePunctuationPrediction, p.EnableInverseTextNormalization,
		p.VocabularyID, p.CustomizationID})
	if err != nil {
		return nil, err
	}
	if p.EnableVoiceDetection {
		m["enable_voice_detection"] = true
	}
	if err := putSilence(m, "max_start_silence", "MaxStartSilence", p.MaxStartSilence); err != nil {
		return nil, err
	}
	if err := putSilence(m, "max_end_silence", "MaxEndSilence", p.MaxEndSilence); err != nil {
		return nil, err
	}
	return withExtra(m, p.Extra), nil
}

func (h *RecognizerHandlers) typed(e Event) {
	switch e.Name {
	case "RecognitionStarted":
		call(h.OnStart, &e)
	case "RecognitionResultChanged":
		call(h.OnResultChanged, newRecognitionResult(e))
	case "RecognitionCompleted":
		call(h.OnCompleted, newRecognitionResult(e))
	}
}

// recognitionPayload is what is read of a payload with a result.
type recognitionPayload[S ~string, I ~int64, F ~float64] struct {
	Result            S `json:"result"`
	Duration          I `json:"duration"`
	Confidence        F `json:"confidence"`
	Emotion           S `json:"emo_tag"`
	EmotionConfidence F `json:"emo_confidence"`
}

func newRecognitionResult(e Event) *RecognitionResult {
	return decodePayload(&e, new(recognitionPayload[string, int64, float64]), func() payload[*RecognitionResult] {
		return new(recognitionPayload[wire.Text, wire.Int, wire.Float])
	})
}

func (p *recognitionPayload[S, I, F]) of(e *Event) *RecognitionResult {
	return &RecognitionResult{
		Event: *e, Text: string(p.Result), Duration: wire.Int(p.Duration).Milliseconds(), Confidence: float64(p.Confidence),
		Emotion: string(p.Emotion), EmotionConfidence: float64(p.EmotionConfidence),
	}
}

// SendAudio sends data in the format given to Start. It returns when data has
// been handed to the connection; data may then be reused. It blocks while the
// network is slower than the audio, or while others send, for Config.WriteTimeout
// in all. An empty data does nothing. It returns ErrNotStarted before the service
// has answered the Start (from the moment OnStart is called, sending is legal),
// ErrStopping after Stop, ErrCompleted once the service has ended the task by
// itself (see EnableVoiceDetection), and the reason once the session has failed.
//
// Send 20 to 200 ms of audio at a time, about as fast as it plays. More than
// 16 KiB is sent as several messages, between which those of other goroutines may
// come. SendAudio allocates nothing.
func (r *Recognizer) SendAudio(data []byte) error { return r.o.session().SendAudio(data) }

// Stop tells the service that the audio is over and blocks until OnCompleted
// and OnClose have returned.
//
// Config.StopTimeout measures the service, and stands still while
// Config.MaxPendingBytes of events wait for callbacks. Callbacks may take longer
// in all; a single one that runs for longer than StopTimeout is stuck. A bound
// that is passed, or the end of ctx, ends the session for everybody: what waits is
// dropped, Stop does not wait for the callback that runs, and its error, which
// matches ErrStopTimeout (context.Canceled if ctx was cancelled), is the one that
// Err, OnError and OnClose have. It is nil if the result has been delivered
// before.
//
// If the session has already ended, Stop returns Err, so one check after Stop is
// enough; before the first Start it returns ErrNotStarted. Stop must not be called
// from a callback, which it would wait for.
func (r *Recognizer) Stop(ctx context.Context) error { return r.o.session().Stop(ctx) }

// Shutdown drops the session at once: calls that block return ErrShutdown,
// OnClose runs, no other callback starts. A result that waits for a callback is
// dropped with it, and the session has failed with ErrShutdown; one that is being
// delivered stands. It does not wait; receive from Done to wait. It may be called
// from callbacks, any number of times.
func (r *Recognizer) Shutdown() { r.o.session().Shutdown() }

// Done returns a channel that is closed when the current session, or the last
// one, has ended and its last callback has returned. It is closed if there was
// none.
func (r *Recognizer) Done() <-chan struct{} { return r.o.session().Done() }

// Err returns nil while a session runs and after one that completed, and
// otherwise why the last session ended.
func (r *Recognizer) Err() error { return r.o.session().Err() }

// TaskID returns the ID of the current session or of the last one. Quote it in
// support requests.
func (r *Recognizer) TaskID() string { return r.o.session().TaskID() }

// Session returns the current session or the last one; nil before the first Start.
func (r *Recognizer) Session() *Session { return r.o.handle() }
