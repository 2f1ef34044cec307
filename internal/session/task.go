package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
)

// phase is where in its life a task is. It only grows, unless a refused token
// makes Start begin anew.
type phase int

const (
	starting phase = iota // until the answer to the first directive was delivered
	started
	stopping // the stop directive is on its way
	closing  // completed or failed; callbacks still run
	ended    // the last callback has returned
)

// statusAccessDenied is the status of a refused token, among others.
const statusAccessDenied = 40000001

// grace is how long a call whose deadline has passed still waits for the last
// callbacks, unless one that ran before is stuck.
const grace = time.Second

// errRefused says that the gateway refused the token of the first attempt.
var errRefused = errors.New("token refused")

// task is one Start: a task id, a connection, a queue, an outcome. A refused
// token gives it a second id and connection.
type task struct {
	cfg *Config
	p   Params

	ready chan struct{} // closed when the answer to the first directive was delivered
	over  chan struct{} // closed when the phase becomes closing
	done  chan struct{} // closed when the phase becomes ended

	// Set by the goroutine of Start before the others exist.
	token, urlToken Secret

	mu            sync.Mutex // never held over I/O or user code
	cancelConnect context.CancelFunc
	phase         phase
	id            string
	link          *link // nil before the connection is open
	answered      bool  // sending is legal
	cause         error // why the task ended, as callers see it; nil if it completed
	failed        *Event
	discard       bool // Shutdown: no callback but OnClose starts any more

	queue         []*Delivery
	pending       int           // bytes in queue and in the running callback
	space         chan struct{} // closed when pending falls below the bound; nil if nobody waits
	dispatching   bool
	callbackSince time.Time // when the running callback began; zero if none runs
	end           time.Time // when the phase became closing

	completeTimer, idleTimer *time.Timer
	expired                  chan struct{} // closed when one of them ends the wait for the end
	heard                    time.Time     // when the last message came or, if later, the last stall ended

	begin               time.Time // when the first directive was sent
	firstResult         time.Duration
	sentBytes, rcvBytes int64
}

func newTask(cfg *Config, p Params) *task {
	t := &task{
		cfg: cfg, p: p, id: wire.NewID(),
		ready: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
		cancelConnect: func() {},
	}
	if p.CompleteTimeout > 0 || p.IdleTimeout > 0 {
		t.expired = make(chan struct{})
	}
	return t
}

func (t *task) getPhase() phase {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.phase
}

func (t *task) ended() bool { return t.getPhase() == ended }

func (t *task) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

// run opens the task within open and, with WaitDone, waits for its end within
// ctx. If the gateway refuses the token, it tries once more with another.
func (t *task) run(ctx, open context.Context) error {
	defer func() { t.p.Payload = nil }() // sessions are long, and it may be large
	for attempt := 1; ; attempt++ {
		l, err := t.open(open, attempt)
		if err == nil && t.p.WaitDone {
			select {
			case <-l.refused:
				err = t.refusal(ctx, l, ErrCompleteTimeout)
			case <-t.over:
				err = t.wait(ctx, ErrCompleteTimeout, "Start")
			case <-ctx.Done():
				err = t.wait(ctx, ErrCompleteTimeout, "Start")
			}
		}
		if err != errRefused {
			return err
		}
	}
}

// open connects, sends the first directive and waits for the answer to be
// delivered.
func (t *task) open(ctx context.Context, attempt int) (*link, error) {
	defer context.AfterFunc(ctx, func() { t.fail(deadlineError(ctx, ErrStartTimeout)) })()
	l, err := t.connect(ctx, attempt)
	if err != nil {
		if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
			<-ctx.Done() // the connection has the same deadline, and may have been first
		}
		if e, ok := errors.AsType[*HandshakeError](err); ok && (e.HTTPStatus == 401 || e.HTTPStatus == 403) &&
			attempt == 1 && ctx.Err() == nil && t.renew() {
			return nil, errRefused
		}
		if ctx.Err() != nil {
			err = deadlineError(ctx, ErrStartTimeout)
		}
		t.fail(err)
		// No session came to be, so there is nothing to deliver.
		t.mu.Lock()
		defer t.mu.Unlock()
		t.phase = ended
		close(t.done)
		return nil, t.cause
	}
	select {
	case <-t.ready:
	case <-l.refused:
		return nil, t.refusal(ctx, l, ErrStartTimeout)
	case <-t.over:
		select {
		case <-t.ready:
		default:
			if err := t.wait(ctx, ErrStartTimeout, "Start"); err != nil {
				return nil, err
			}
			select {
			case <-t.ready: // it completed right after its answer
			default:
				return nil, ErrCompleted // without having started
			}
		}
	}
	if !t.p.WaitDone && !l.keep(t) {
		return nil, t.refusal(ctx, l, ErrStartTimeout)
	}
	return l, nil
}

// connect opens the connection and sends the first directive.
func (t *task) connect(ctx context.Context, attempt int) (*link, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.phase >= closing {
		cancel()
	}
	t.cancelConnect = cancel
	t.mu.Unlock()
	token, err := t.cfg.Token(ctx)
	if err != nil {
		return nil, err
	}
	t.token, t.urlToken = NewSecret(token), NewSecret(queryToken(t.p.URL.Value()))
	frame, err := t.encode(t.p.Start, t.p.Payload, t.p.Context)
	if err != nil {
		return nil, err
	}
	conn, raw, err := t.dial(ctx, attempt, token)
	if err != nil {
		return nil, err
	}
	l := newLink(t, conn, raw, attempt == 1)

	t.mu.Lock()
	if t.phase >= closing {
		t.mu.Unlock()
		raw.Close()
		return nil, t.err()
	}
	t.link = l
	t.begin = time.Now()
	t.mu.Unlock()

	err = l.write(t, websocket.TextMessage, t.p.Start, frame)
	if err == nil {
		t.opened(l)
	}
	l.answerControl(t)
	l.startPings(t)
	go l.read(t)
	if err != nil {
		t.writeFailed(err)
	}
	return l, nil
}

// opened notes that the first directive is on its way.
func (t *task) opened(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase >= closing {
		return
	}
	if t.p.Open {
		l.mayRetry = false
		t.pushLocked(&Delivery{Kind: KindOpen, TaskID: t.id, ready: len(t.p.Started) == 0})
	}
	if len(t.p.Started) > 0 {
		return
	}
	t.answered = true
	if !t.p.Open {
		t.readyLocked()
	}
	if t.p.Stop == "" {
		if t.p.CompleteTimeout > 0 {
			t.completeTimer = time.AfterFunc(t.p.CompleteTimeout, func() { t.expire(ErrCompleteTimeout) })
		}
		t.startIdleLocked(ErrCompleteTimeout)
	}
}

// readyLocked lets Start return.
func (t *task) readyLocked() {
	if t.phase == starting {
		t.phase = started
	}
	close(t.ready)
}

// startIdleLocked starts the clock of IdleTimeout.
func (t *task) startIdleLocked(timeout error) {
	if t.p.IdleTimeout <= 0 {
		return
	}
	t.heard = time.Now()
	t.idleTimer = time.AfterFunc(t.p.IdleTimeout, func() {
		t.mu.Lock()
		wait := t.p.IdleTimeout - time.Since(t.heard)
		if t.space != nil { // the silence is our own
			wait = t.p.IdleTimeout
		}
		over := t.phase >= closing
		if wait > 0 && !over {
			t.idleTimer.Reset(wait)
		}
		t.mu.Unlock()
		if wait <= 0 && !over {
			t.expire(timeout)
		}
	})
}

// expire ends the task with timeout, and the calls that wait for its end even if
// a callback is stuck.
func (t *task) expire(timeout error) {
	t.fail(timeout)
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.expired:
	default:
		close(t.expired)
	}
}

// renew prepares a second attempt. It reports false if there can be none.
func (t *task) renew() bool {
	if !t.cfg.Invalidate(t.token.Value()) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase >= closing {
		return false
	}
	t.link, t.answered, t.id, t.phase = nil, false, wire.NewID(), starting
	t.ready = make(chan struct{})
	return true
}

// refusal ends an attempt that the gateway refused with a TaskFailed. If there
// can be no other, the TaskFailed is delivered after all.
func (t *task) refusal(ctx context.Context, l *link, timeout error) error {
	t.stopTimers()
	l.raw.Close()
	<-l.readerDone
	if l.ping != nil {
		l.ping.stop()
	}
	if t.renew() {
		return errRefused
	}
	t.finalEvent(l.refusedWith, true)
	return t.wait(ctx, timeout, "Start")
}

func (t *task) stopTimers() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, timer := range []*time.Timer{t.completeTimer, t.idleTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// wait waits for the end of the session. When ctx ends first, it ends the
// session with timeout or, if ctx was cancelled, with ctx's error. It does not
// wait for a callback that is stuck by then.
func (t *task) wait(ctx context.Context, timeout error, call string) error {
	defer t.hint(call)()
	err := timeout
	select {
	case <-t.done:
		return t.err()
	case <-t.expired:
	case <-ctx.Done():
		err = deadlineError(ctx, timeout)
	}
	t.fail(err)
	t.mu.Lock()
	since, id := t.callbackSince, t.id
	stuck := !since.IsZero() && (since.Before(t.end) || time.Since(since) >= grace)
	t.mu.Unlock()
	if !stuck {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-t.done:
		case <-timer.C:
		}
	}
	if cause := t.err(); cause != nil {
		return cause
	}
	return t.cfg.Explain(id, err) // completed, and a callback is stuck
}

// hint logs that call waits for a callback that was running when call began and
// still is after a second: perhaps the very callback that call was made from.
func (t *task) hint(call string) (stop func() bool) {
	return time.AfterFunc(time.Second, func() {
		t.mu.Lock()
		since, id := t.callbackSince, t.id
		t.mu.Unlock()
		if !since.IsZero() && time.Since(since) >= time.Second {
			t.cfg.Log.Warn("nls: "+call+" waits for a callback that has not returned", "task_id", id)
		}
	}).Stop
}

// stop sends the stop directive, if nobody has, and waits for the end.
func (t *task) stop(ctx context.Context) error {
	t.mu.Lock()
	phase, l := t.phase, t.link
	if phase == started {
		t.phase = stopping
	}
	t.mu.Unlock()
	switch phase {
	case starting:
		return ErrNotStarted
	case started:
		unwatch := context.AfterFunc(ctx, func() { t.fail(deadlineError(ctx, ErrStopTimeout)) })
		t.sendStop(l)
		unwatch()
	}
	return t.wait(ctx, ErrStopTimeout, "Stop")
}

func (t *task) sendStop(l *link) {
	frame, err := t.encode(t.p.Stop, nil, t.p.Context)
	if err == nil && l.lock(t) {
		err = l.write(t, websocket.TextMessage, t.p.Stop, frame)
		l.unlock()
	}
	if err != nil {
		t.writeFailed(err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase == stopping {
		t.startIdleLocked(ErrStopTimeout)
	}
}

// fail ends the task with err, unless it has ended already.
func (t *task) fail(err error) {
	t.mu.Lock()
	if t.phase < closing {
		t.closeLocked(err)
	}
	t.mu.Unlock()
	t.abort()
}

// closeLocked makes the phase closing. The first to call it has the last word on
// the outcome.
func (t *task) closeLocked(err error) {
	t.phase = closing
	t.end = time.Now()
	if err != nil {
		id := ""
		if t.link != nil {
			id = t.id
		}
		t.cause = t.cfg.Explain(id, err)
	}
	close(t.over)
	t.cancelConnect()
	if t.link != nil {
		t.dispatchLocked()
	}
}

// abort breaks the connection.
func (t *task) abort() {
	t.mu.Lock()
	l := t.link
	t.mu.Unlock()
	if l != nil {
		l.raw.Close()
	}
}

// shutdown ends the task with ErrShutdown; whatever its outcome, no callback but
// OnClose starts any more.
func (t *task) shutdown() {
	t.mu.Lock()
	if t.phase == ended {
		t.mu.Unlock()
		return
	}
	t.discard = true
	for _, d := range t.queue {
		t.pending -= d.size()
	}
	t.queue = nil
	t.spaceLocked()
	t.mu.Unlock()
	t.fail(ErrShutdown)
}
