package nls

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
	"github.com/nlsgo/nls/internal/mailbox"
)

// continuousRun is one Start of a ContinuousTranscriber. Two goroutines are its own:
// one conducts the sessions, which come one after another, and one runs the callbacks.
type continuousRun struct {
	t    *ContinuousTranscriber
	p    TranscriptionParams
	rate int

	ctx    context.Context // of all sessions but the first; ends when there is to be none
	cancel func()
	tape   *continuous.Tape
	box    *mailbox.Mailbox[func()] // callbacks that wait

	stopping chan struct{} // closed by Stop
	over     chan struct{} // closed when nothing is put into box any more
	done     chan struct{} // closed when OnClose has returned

	mu       sync.Mutex
	leg      *leg // the current session or the last
	live     bool // Start has returned nil
	stopped  bool // stopping is closed
	ended    bool // before its time; ctx has ended
	complete bool // the last session has completed, as it was asked to
	dropping bool // callbacks that wait are dropped
	silent   bool // Shutdown: of the callbacks only OnClose is still called
	cause    error

	index   int                 // of the last sentence that began
	open    bool                // it has not ended
	covered continuous.Position // up to where finished sentences go

	failures int // of sessions, since one was of use; the conductor's
	step     int // how far the last callbacks have come; theirs
}

// leg is one session.
type leg struct {
	tr      *Transcriber
	begin   time.Time
	follows bool          // another session
	resumed bool          // it follows an interruption
	pause   chan struct{} // closed at a pause after MaxSession

	// Guarded by the run's mu.
	axis    continuous.Axis
	heard   bool // there was a result
	retired bool // what else it says is not asked for

	asked bool // to complete; the conductor's

	// Of the callbacks; to be read when the session is done.
	started, completed *Event
	failed             *ErrorEvent
	closed             *CloseEvent
}

func newContinuousRun(ctx context.Context, t *ContinuousTranscriber, p TranscriptionParams) *continuousRun {
	r := &continuousRun{
		t: t, p: p, rate: orDefault(p.SampleRate, DefaultSampleRate),
		stopping: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.tape = continuous.NewTape(int(pcmBytes(orDefault(t.o.Buffer, defaultBuffer), r.rate)))
	r.box = mailbox.New[func()](maxWaiting, nil, func() bool { return r.ctx.Err() != nil })
	return r
}

// start opens the first session.
func (r *continuousRun) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)() // Shutdown
	l := &leg{}
	err := r.openLeg(ctx, l)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended && err == nil {
		l.tr.Shutdown()
		err = r.cause
	}
	if err != nil {
		if !r.ended {
			r.cause = err
		}
		err = r.cause
		r.cancel()
		close(r.done)
		return err
	}
	r.live = true
	go r.deliver()
	go r.conduct(l)
	return nil
}

// openLeg starts l where the last finished sentence ended.
func (r *continuousRun) openLeg(ctx context.Context, l *leg) error {
	h := &r.t.h
	l.tr = r.t.c.NewTranscriber(TranscriberHandlers{
		OnStart: func(e *Event) {
			switch l.started = e; {
			case l.resumed:
				enqueue(r, h.OnResumed, e, len(e.Raw))
			case !l.follows:
				enqueue(r, h.OnStart, e, len(e.Raw))
			}
		},
		OnSentenceBegin: func(s *Sentence) { r.sentence(l, s, sentenceBegan) },
		OnResultChanged: func(s *Sentence) { r.sentence(l, s, sentenceChanged) },
		OnSentenceEnd:   func(s *Sentence) { r.sentence(l, s, sentenceEnded) },
		OnCompleted:     func(e *Event) { l.completed = e },
		OnError:         func(e *ErrorEvent) { l.failed = e },
		OnClose:         func(e *CloseEvent) { l.closed = e },
		CallbackArgs:    h.CallbackArgs,
	})
	l.begin, l.pause = time.Now(), make(chan struct{})
	from := r.rewind()
	r.mu.Lock()
	l.axis = continuous.NewAxis(pcmTime(from, r.rate))
	if r.ended {
		defer r.mu.Unlock()
		return r.cause
	}
	r.leg = l
	r.mu.Unlock()
	return l.tr.Start(ctx, r.p)
}

// rewind goes back to where the last finished sentence ended, or to what is left: the
// oldest may have made room.
func (r *continuousRun) rewind() continuous.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.covered = max(r.covered, r.tape.Start())
	r.tape.Rewind(r.covered)
	return r.covered
}

// conduct runs the sessions.
func (r *continuousRun) conduct(l *leg) {
	for l != nil {
		r.feed(l)
		r.rewind() // what l was sent and has not finished waits for the next
		l = r.next(l)
	}
	r.tape.Stop()
	r.cancel()
	close(r.over)
}

// next is the session after l, which is done; nil if there is none.
func (r *continuousRun) next(l *leg) *leg {
	err := l.tr.Err()
	switch {
	case r.ctx.Err() != nil:
		return nil
	case r.isRetired(l):
		n := &leg{follows: true}
		if err = r.openLeg(r.ctx, n); err == nil {
			return n
		}
		l = n
	case err == nil && l.asked:
		r.mu.Lock()
		r.complete = true
		r.mu.Unlock()
		enqueue(r, r.t.h.OnCompleted, l.completed, 0)
		return nil
	case err == nil:
		err = &sessionError{l.tr.TaskID(), ErrCompleted}
	}
	return r.resume(l, err)
}

func (r *continuousRun) isRetired(l *leg) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.retired
}

// ofUse is how long a session has to last, or else get a result, for its end to be
// the first of a series and not one more.
const ofUse = 10 * time.Second

// resume is the session after l, which ended with err.
func (r *continuousRun) resume(l *leg, err error) *leg {
	limit := orDefault(r.t.o.GiveUpAfter, defaultGiveUpAfter)
	ctx, lost, told := r.ctx, time.Now(), false
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, lost.Add(limit))
		defer cancel()
	}
	for {
		if !Retryable(err) && !errors.Is(err, ErrCompleted) {
			r.end(err, false)
			return nil
		}
		if r.heard(l) || !l.begin.IsZero() && time.Since(l.begin) >= ofUse {
			r.failures = 0
		}
		r.failures++
		wait := continuous.Pause(r.failures, overloaded(err))
		if !told || l.started != nil {
			told = true
			r.interrupted(l, err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		failed := err
		if ctx.Err() == nil {
			l = &leg{follows: true, resumed: true}
			if err = r.openLeg(ctx, l); err == nil {
				return l
			}
		}
		switch {
		case r.ctx.Err() != nil:
			return nil
		case ctx.Err() != nil: // and err may be about no more than that
			r.end(fmt.Errorf("nls: no session for %v: %w", limit, failed), false)
			return nil
		}
	}
}

func (r *continuousRun) heard(l *leg) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return l.heard
}

// interrupted tells of the end of l.
func (r *continuousRun) interrupted(l *leg, err error, wait time.Duration) {
	r.mu.Lock()
	from := pcmTime(r.covered, r.rate)
	r.mu.Unlock()
	r.t.c.log.Info("nls: another session follows", "product", transcription.Namespace, "task_id", l.tr.TaskID(),
		"attempt", r.failures, "wait", wait, "from", from)
	enqueue(r, r.t.h.OnInterrupted, &Interruption{
		TaskID: l.tr.TaskID(), Err: err, Attempt: r.failures, Wait: wait, From: from, Args: r.t.h.CallbackArgs,
	}, 0)
}

// sentenceStep is what a session says of a sentence.
type sentenceStep int

const (
	sentenceBegan sentenceStep = iota
	sentenceChanged
	sentenceEnded
)

// sentence takes what l says of one.
func (r *continuousRun) sentence(l *leg, s *Sentence, what sentenceStep) {
	begins, ok := r.note(l, s, what)
	if !ok {
		return
	}
	if begins {
		first := *s
		first.Final = false
		enqueue(r, r.t.h.OnSentenceBegin, &first, len(s.Raw))
	}
	switch what {
	case sentenceChanged:
		enqueue(r, r.t.h.OnResultChanged, s, len(s.Raw))
	case sentenceEnded:
		enqueue(r, r.t.h.OnSentenceEnd, s, len(s.Raw))
	}
}

// note gives s its place, and takes note of what it means. It reports whether s is
// the first of its sentence, which in a session after an interruption it may not be;
// ok is false if nobody asks l any more.
func (r *continuousRun) note(l *leg, s *Sentence, what sentenceStep) (begins, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.retired || r.ended {
		return false, false
	}
	l.heard = true
	if begins = !r.open; begins {
		r.index++
		r.open = true
	}
	end := s.Time // on the wire: what is sent again begins here
	if s.Stash != nil && s.Stash.Begin > s.Begin {
		end = min(end, s.Stash.Begin)
	}
	r.place(l, s)
	if what != sentenceEnded {
		return begins, true
	}
	r.open = false
	r.covered = max(r.covered, pcmBytes(l.axis.Given(end), r.rate))
	r.tape.Erase(r.covered)
	l.axis.Forget(end)
	if limit := r.t.o.MaxSession; limit > 0 && time.Since(l.begin) >= limit && !r.stopped {
		l.retired = true
		close(l.pause)
	}
	return begins, true
}

// place gives s its place among all sentences and in all the audio. The caller holds
// mu.
func (r *continuousRun) place(l *leg, s *Sentence) {
	at := func(words []Word) {
		for i := range words {
			words[i].Start, words[i].End = l.axis.Given(words[i].Start), l.axis.Given(words[i].End)
		}
	}
	s.Index, s.Begin, s.Time = r.index, l.axis.Given(s.Begin), l.axis.Given(s.Time)
	at(s.Words)
	if s.Stash != nil {
		s.Stash.Index, s.Stash.Begin, s.Stash.Now = r.index+1, l.axis.Given(s.Stash.Begin), l.axis.Given(s.Stash.Now)
		at(s.Stash.Words)
	}
}

// end ends everything before its time, with what waits if it is by the caller. Of the
// causes the first counts.
func (r *continuousRun) end(cause error, silent bool) {
	r.mu.Lock()
	if r.ended || isClosed(r.done) {
		r.mu.Unlock()
		return
	}
	if cause == ErrShutdown && r.leg != nil {
		cause = &sessionError{r.leg.tr.TaskID(), cause}
	}
	if !r.complete {
		r.cause = cause
	}
	r.ended, r.silent, r.dropping = true, silent, r.dropping || silent
	l := r.leg
	r.mu.Unlock()
	r.cancel()
	if l != nil {
		l.tr.Shutdown()
	}
}

func (r *continuousRun) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

func (r *continuousRun) taskID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leg == nil {
		return ""
	}
	return r.leg.tr.TaskID()
}

func (r *continuousRun) sendAudio(data []byte) error {
	if err := r.sendable(); err != nil {
		return err
	}
	if r.tape.Record(data, r.ctx.Done()) {
		return nil
	}
	return r.sendable()
}

// sendable returns nil if the caller may send now.
func (r *continuousRun) sendable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.cause != nil:
		return r.cause
	case !r.live:
		return ErrNotStarted
	case r.complete:
		return ErrCompleted
	case r.stopped:
		return ErrStopping
	}
	return nil
}

// bind ends everything with ctx.
func (r *continuousRun) bind(ctx context.Context) (stop func() bool) {
	cut := func() {
		r.mu.Lock()
		r.dropping = true
		r.mu.Unlock()
		r.end(contextError(ctx, ErrStopTimeout, r.taskID()), false)
	}
	if ctx.Err() != nil {
		cut() // and not by chance
	}
	return context.AfterFunc(ctx, cut)
}

func (r *continuousRun) stop(ctx context.Context) error {
	r.mu.Lock()
	if !r.live {
		defer r.mu.Unlock()
		if r.cause != nil {
			return r.cause
		}
		return ErrNotStarted
	}
	first := !r.stopped
	r.stopped = true
	r.mu.Unlock()
	if first {
		close(r.stopping)
		r.tape.Stop()
	}
	if isClosed(r.done) {
		return r.err()
	}
	defer r.bind(ctx)()
	select {
	case <-r.done:
	case <-ctx.Done(): // a callback that runs is not waited for
		select {
		case <-r.done:
		case <-time.After(time.Second):
		}
	}
	return r.err()
}

// errCallbackExited is why a transcription ends whose callback has.
var errCallbackExited = errors.New("nls: a callback has ended its goroutine, as FailNow of a test does")

// enqueue has f called with e, which takes so many bytes, on the goroutine of the
// callbacks.
func enqueue[E any](r *continuousRun, f func(E), e E, bytes int) {
	if f != nil {
		r.box.Put(func() { f(e) }, bytes)
	}
}

// deliver runs the callbacks. If one ends its goroutine it goes on where it was, on
// another.
func (r *continuousRun) deliver() {
	returned := false
	defer func() {
		if !returned {
			r.end(&sessionError{r.taskID(), errCallbackExited}, false)
			go r.deliver()
		}
	}()
	for {
		f, ok := r.box.Next(r.over)
		if !ok {
			break
		}
		if !r.drops() {
			f()
		}
	}
	r.last()
	returned = true
	close(r.done)
}

func (r *continuousRun) drops() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropping
}

// last calls the last callbacks.
func (r *continuousRun) last() {
	r.mu.Lock()
	cause, silent, l := r.cause, r.silent, r.leg
	r.mu.Unlock()
	if r.step == 0 {
		r.step++
		if cause != nil && !silent {
			e := &ErrorEvent{Event: Event{TaskID: l.tr.TaskID(), Args: r.t.h.CallbackArgs}, Err: cause}
			if f := l.failed; f != nil && errors.Is(cause, f.Err) {
				e.Event = f.Event
			}
			call(r.t.h.OnError, e)
		}
	}
	if r.step == 1 {
		r.step++
		e := &CloseEvent{TaskID: l.tr.TaskID(), Code: -1, Err: cause, Args: r.t.h.CallbackArgs}
		if l.closed != nil {
			e.Code, e.Reason = l.closed.Code, l.closed.Reason
		}
		call(r.t.h.OnClose, e)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
