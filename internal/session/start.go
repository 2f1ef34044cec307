package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// refusal is an answer to the token of the first attempt: by HTTP, or by a
// TaskFailed.
type refusal struct {
	http  error
	event *Event
}

func (r *refusal) err() error {
	if r.event != nil {
		return &TaskFailed{r.event}
	}
	return r.http
}

// opening is Start, from its call to the moment when it may return.
type opening struct {
	*Task
	bound   bound                   // of Start, and what has been used of it
	sent    atomic.Bool             // with WaitDone: the first directive is
	dialing atomic.Pointer[dialer]  // nil before the first dial
	refused atomic.Pointer[refusal] // of the first attempt; nil if there was none
	place   func()                  // gives its place back; nil if it has none
	waiting atomic.Bool             // for that place
	tries   int                     // connections that were tried
	// mayBeStale says that a connection which waits may be tried.
	mayBeStale bool
}

// run opens the task and, with WaitDone, waits for its end. If the gateway
// refuses the token, it tries once more with another.
func (o *opening) run(ctx context.Context, a *attempt) error {
	returned := false
	defer func() {
		if !returned { // user code has panicked or ended this goroutine
			o.fail(&exitError{"user code in Start"})
			if o.current.Load() == nil {
				o.leave()
				summarize(o.Task)
				conclude(o.Task)
			}
			o.bounds.stop()
		}
	}()
	o.bounds.start(o.bound)
	defer context.AfterFunc(ctx, func() { o.ended(ctx) })()
	if begin := o.p.Begin; begin != nil {
		o.watch.hooks = begin(ctx, Beginning{o.p.Namespace, a.id, o.p.BytesPerSecond})
	}
	err := ErrDrained
	if o.cfg.Roster.Enter(o.Task) {
		err = o.admit(ctx)
	}
	if err == nil {
		err = o.open(ctx, a)
	} else {
		o.fail(err)
		err = o.giveUp()
	}
	o.p.Payload = nil // sessions are long, and it may be large
	o.dialing.Store(nil)
	if err == nil && o.p.WaitDone {
		err = waitEnd(context.Background(), o.Task, "Start")
	}
	returned = true
	return err
}

// ended ends the task because the context of Start has ended, unless Start
// may return.
func (o *opening) ended(ctx context.Context) {
	if o.sent.Load() {
		o.end(false, ContextEnd(ctx, ErrCompleteTimeout))
	} else {
		o.end(true, late(o, ContextEnd(ctx, ErrStartTimeout)))
	}
}

// open makes attempts until the task is ready, in WaitDone until it cannot be
// refused any more, or has ended.
func (o *opening) open(ctx context.Context, a *attempt) error {
	for {
		err := newConnecting(o, a).connect(ctx)
		if err != nil {
			if r := refusedBy(err); r != nil && a.number == 1 && o.renew(a, r) {
				a = o.next(2)
				continue
			} else if deadline, ok := ctx.Deadline(); r == nil && (ctx.Err() != nil || ok && !time.Now().Before(deadline)) {
				<-ctx.Done() // the connection has the same deadline, and may have been first
				o.ended(ctx)
			}
			o.fail(err)
			return o.giveUp()
		}
		var ready <-chan struct{}
		if !o.p.WaitDone {
			ready = o.outcome.ready
		}
		select {
		case <-ready:
			return nil
		case ev := <-a.failed:
			if ev != nil && !o.refuse(a, ev) {
				a = o.next(2)
				continue
			}
			if ev == nil && o.again(a) {
				a = o.next(a.number)
				continue
			}
		case <-o.outcome.over:
		}
		return o.overBeforeReady()
	}
}

// overBeforeReady is what Start returns if the task has ended before Start could
// see that it is ready.
func (o *opening) overBeforeReady() error {
	if o.p.WaitDone {
		return nil // its end is waited for
	}
	if isClosed(o.outcome.ready) {
		return nil
	}
	err := waitEnd(context.Background(), o.Task, "Start")
	if err == nil && !isClosed(o.outcome.ready) { // else it completed right after its answer
		return ErrCompleted // without having started
	}
	return err
}

// giveUp ends a task of which no session came to be, so that there is nothing to
// deliver. One that has a connection ends by itself.
func (o *opening) giveUp() error {
	if o.current.Load() != nil {
		return waitEnd(context.Background(), o.Task, "Start")
	}
	o.bounds.stop()
	o.leave()
	summarize(o.Task)
	conclude(o.Task)
	return o.outcome.err()
}

// next is newAttempt with what has been encoded before.
func (o *opening) next(number int) *attempt {
	a, _ := newAttempt(o.Task, number)
	return a
}

// refusedBy is the refusal of a token in err, if it is one.
func refusedBy(err error) *refusal {
	if e, ok := errors.AsType[*HandshakeError](err); ok && (e.HTTPStatus == 401 || e.HTTPStatus == 403) {
		return &refusal{http: err}
	}
	return nil
}

// again ends the attempt a, whose connection was dead before the service had said
// anything. It reports false if there can be no other: the task has ended, or the
// service was heard meanwhile.
func (o *opening) again(a *attempt) bool {
	o.mayBeStale = false
	a.conn.close(0) // the last has been heard then
	if a.heard.Load() {
		o.fail(*a.dead.Load())
		return false
	}
	return o.undo(a)
}

// undo ends the attempt a, and gives the bound of Start its turn again. It reports
// false if the task has ended, and leaves a to it.
func (o *opening) undo(a *attempt) bool {
	a.conn.close(0)
	b := o.bounds.stop()
	if !o.outcome.unless(func() { o.current.Store(nil) }) {
		o.wrapUp()
		return false
	}
	if !b.ofStart {
		b = o.bound
	}
	o.sent.Store(false)
	o.bounds.start(b)
	return true
}

// refuse ends the attempt a, whose token was refused with ev. It reports whether
// the task has ended with it, since there can be no other.
func (o *opening) refuse(a *attempt, ev *Event) bool {
	if !o.undo(a) {
		return true
	}
	if o.renew(a, &refusal{event: ev}) {
		return false
	}
	o.current.Store(a)
	if (&receiving{Task: o.Task, a: a}).final(ev, true) {
		go o.queue.dispatch()
	}
	o.wrapUp() // if it had ended by then
	return true
}

// renew prepares a second attempt. It reports false if there can be none.
func (o *opening) renew(a *attempt, r *refusal) bool {
	if !o.cfg.Invalidate(a.token.Value()) || o.outcome.phase() != starting {
		return false
	}
	o.refused.Store(r)
	return true
}

// completeBound is the bound on a task without Stop.
func (p *Params) completeBound() bound {
	if p.CompleteTimeout > 0 {
		return bound{limit: p.CompleteTimeout, timeout: ErrCompleteTimeout}
	}
	return bound{limit: p.IdleTimeout, silence: true, timeout: ErrCompleteTimeout}
}

// late is timeout, or the refusal of the token if that is why the time was short.
func late(o *opening, timeout error) error {
	if !errors.Is(timeout, ErrStartTimeout) {
		return timeout
	}
	if o.waiting.Load() {
		return &placeError{timeout, o.p.Namespace}
	}
	if r := o.refused.Load(); r != nil {
		return r.err()
	}
	if d := o.dialing.Load(); d != nil && d.status.Load() != 0 {
		return &HandshakeError{HTTPStatus: int(d.status.Load()), Err: websocket.ErrBadHandshake}
	}
	return timeout
}
