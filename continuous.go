package nls

import (
	"context"
	"io"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
)

// ContinuousHandlers are the callbacks of a ContinuousTranscriber. Any may be nil.
// They are called one at a time, in order, beside the sessions: a slow one holds up
// nothing but those after it.
//
// A sentence that had begun when a connection broke changes again under the same
// Index; it begins once and ends once. OnInterrupted and OnResumed come in pairs, but
// for an interruption that is the last.
type ContinuousHandlers struct {
	OnStart         func(*Event)        // of the first session
	OnSentenceBegin func(*Sentence)     // a sentence began
	OnResultChanged func(*Sentence)     // its text changed, if enabled
	OnSentenceEnd   func(*Sentence)     // it is final
	OnInterrupted   func(*Interruption) // a session failed and another will be tried
	OnResumed       func(*Event)        // TranscriptionStarted of that other one
	OnCompleted     func(*Event)        // of the last session, after Stop
	OnError         func(*ErrorEvent)   // given up
	OnClose         func(*CloseEvent)   // the last callback
	CallbackArgs    []any               // handed to every callback as Args
}

// Interruption says why a session ended and when the next is tried.
type Interruption struct {
	TaskID  string        // of the session that failed
	Err     error         // why; ErrCompleted if the service completed it unasked
	Attempt int           // of the next session, from 1 since one got a result or lasted ten seconds
	Wait    time.Duration // until that is tried
	From    time.Duration // place in the audio from which it is sent again
	Args    []any
}

// ContinuousOptions says how to go on. Zero values mean the defaults.
type ContinuousOptions struct {
	// Buffer is how much audio is kept until a finished sentence covers it; zero
	// means 60 s. SendAudio blocks while it is full. It is full for longer only
	// while there is no session, or one that has to catch up: where a session has
	// had audio for ten seconds and no sentence has ended, the oldest makes room.
	Buffer time.Duration

	// GiveUpAfter bounds the time without a session. Zero means two minutes,
	// negative no bound.
	GiveUpAfter time.Duration

	// CatchUp is the speed at which audio is sent again until nothing waits, as a
	// multiple of that at which it plays. Zero means 2; less than 1 is a *ParamError.
	// The service refuses what is much faster.
	CatchUp float64

	// FillSilence sends silence when no audio has come for a second, until some
	// comes, as for a microphone that is muted. It is no part of the times. Without
	// it the service ends a session that gets nothing for ten seconds.
	FillSilence bool

	// MaxSession is how long a session lasts at least before the next pause
	// between sentences begins another one; zero means for ever. Nobody sees it. Set
	// Config.ReuseConnections or WarmConnections to have the connection open by then.
	MaxSession time.Duration
}

// ContinuousTranscriber transcribes for as long as audio comes, across broken
// connections and failures of the service. It is a [Transcriber] that opens a new
// session when [Retryable] says so, after a pause that grows from half a second to
// half a minute, sends again what no finished sentence covers, and keeps indices and
// times those of the audio that it was given: Index counts on, and times are places
// in what SendAudio has had, over all sessions. Every sample given is in a finished
// sentence, or was heard by the service up to Completed; ContinuousOptions.Buffer says
// where that ends.
//
// Create it with [Client.NewContinuousTranscriber]. Its methods may be called from
// any goroutine, Stop not from a callback, for whose return it waits. After its end
// it may be started again.
type ContinuousTranscriber struct {
	_ noCopy
	c *Client
	h ContinuousHandlers
	o ContinuousOptions

	mu  sync.Mutex
	run *continuousRun // the current Start or the last; nil before the first
}

// The defaults of ContinuousOptions.
const (
	defaultBuffer      = time.Minute
	defaultGiveUpAfter = 2 * time.Minute
	defaultCatchUp     = 2
)

// NewContinuousTranscriber returns a ContinuousTranscriber with no open session. It
// does no I/O.
func (c *Client) NewContinuousTranscriber(h ContinuousHandlers, o ContinuousOptions) *ContinuousTranscriber {
	return &ContinuousTranscriber{c: c, h: h, o: o}
}

func (o *ContinuousOptions) check() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Buffer", o.Buffer}, {"MaxSession", o.MaxSession}} {
		if d.value < 0 {
			return &ParamError{d.name, d.value, "must not be negative"}
		}
		if err := checkDuration(d.name, d.value); err != nil {
			return err
		}
	}
	if err := checkDuration("GiveUpAfter", o.GiveUpAfter); err != nil {
		return err
	}
	if o.Buffer > 24*time.Hour {
		return &ParamError{"Buffer", o.Buffer, "must be a day at most"}
	}
	if o.CatchUp != 0 && !(o.CatchUp >= 1) || math.IsInf(o.CatchUp, 0) {
		return &ParamError{"CatchUp", o.CatchUp, "must be 1 or more"}
	}
	return nil
}

// Start opens the first session; its error is that of [Transcriber.Start], and
// nothing is tried again. Formats but FormatPCM are a *ParamError, since no other can
// be cut anywhere. ctx bounds Start alone; its values, such as those of [WithTrace],
// are those of all sessions.
func (t *ContinuousTranscriber) Start(ctx context.Context, p TranscriptionParams) error {
	if err := t.o.check(); err != nil {
		return err
	}
	if _, err := p.payload(); err != nil {
		return err
	}
	if orDefault(p.Format, FormatPCM) != FormatPCM {
		return &ParamError{"Format", p.Format, "must be pcm, which can be cut anywhere"}
	}
	r := newContinuousRun(ctx, t, p)
	t.mu.Lock()
	if t.run != nil && !isClosed(t.run.done) {
		t.mu.Unlock()
		return ErrAlreadyStarted
	}
	t.run = r
	t.mu.Unlock()
	return r.start(ctx)
}

// current is the current Start or the last; nil if there was none.
func (t *ContinuousTranscriber) current() *continuousRun {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.run
}

// SendAudio takes 16-bit samples, which may be cut anywhere. It returns when they are
// in the buffer, and blocks while that is full. It returns ErrNotStarted before Start
// has returned, ErrStopping after Stop, and the cause once given up.
func (t *ContinuousTranscriber) SendAudio(data []byte) error {
	if r := t.current(); r != nil {
		return r.sendAudio(data)
	}
	return ErrNotStarted
}

// Stop sends what is in the buffer, waits for the last results, and returns when
// OnClose has. A session that fails meanwhile is tried again as any other. The end of
// ctx ends everything at once; the error then matches ErrStopTimeout or
// context.Canceled, and is the one that Err, OnError and OnClose have.
func (t *ContinuousTranscriber) Stop(ctx context.Context) error {
	if r := t.current(); r != nil {
		return r.stop(ctx)
	}
	return ErrNotStarted
}

// Bind ties the current transcription, which Start has started, to ctx until stop is
// called. See [Session.Bind].
func (t *ContinuousTranscriber) Bind(ctx context.Context) (stop func() bool) {
	if r := t.current(); r != nil {
		return r.bind(ctx)
	}
	return func() bool { return false }
}

// Shutdown ends everything at once. Of the callbacks only OnClose is still called,
// with ErrShutdown.
func (t *ContinuousTranscriber) Shutdown() {
	if r := t.current(); r != nil {
		r.end(ErrShutdown, true)
	}
}

// Done is closed when OnClose has returned.
func (t *ContinuousTranscriber) Done() <-chan struct{} {
	if r := t.current(); r != nil {
		return r.done
	}
	return closedDone
}

// closedDone is the Done of what was never started.
var closedDone = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// Err says why the transcription ended; nil while it goes on and when it completed.
func (t *ContinuousTranscriber) Err() error {
	if r := t.current(); r != nil {
		return r.err()
	}
	return nil
}

// TaskID is the ID of the current session, or of the last one.
func (t *ContinuousTranscriber) TaskID() string {
	if r := t.current(); r != nil {
		return r.taskID()
	}
	return ""
}

// TranscribeContinuously is [Client.Transcribe] with a ContinuousTranscriber: broken
// connections and failures that pass are not seen, but for a pause. The source has to
// be raw PCM, or a WAV file of it.
func (c *Client) TranscribeContinuously(ctx context.Context, r io.Reader, p TranscriptionParams, o PumpOptions, co ContinuousOptions) iter.Seq2[*Sentence, error] {
	return c.transcribe(ctx, r, p, o, func(take func(*Sentence), p TranscriptionParams) (listener, error) {
		h := ContinuousHandlers{OnSentenceEnd: take}
		if p.EnableIntermediateResult {
			h.OnResultChanged = take
		}
		t := c.NewContinuousTranscriber(h, co)
		return t, t.Start(ctx, p)
	})
}

// pcmTime is how long n bytes of 16-bit mono audio play.
func pcmTime(n continuous.Position, rate int) time.Duration {
	second := continuous.Position(2 * rate)
	return time.Duration(n/second)*time.Second + time.Duration(n%second)*time.Second/time.Duration(second)
}

// pcmBytes is how many bytes of whole samples play for d, rounded down.
func pcmBytes(d time.Duration, rate int) continuous.Position {
	samples := int64(d/time.Second)*int64(rate) + int64(d%time.Second)*int64(rate)/int64(time.Second)
	return continuous.Position(2 * samples)
}
