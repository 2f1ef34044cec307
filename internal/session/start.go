package session

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
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

// run opens the task and, with WaitDone, waits for its end. If the gateway
// refuses the token, it tries once more with another.
func (t *Task) run(ctx context.Context, a *attempt) error {
	returned := false
	defer func() {
		if !returned { // user code has panicked or ended this goroutine
			t.fail(&exitError{"user code in Start"})
			if t.current.Load() == nil {
				t.outcome.finish()
			}
			t.bounds.stop()
		}
	}()
	t.bounds.start(t.startBound)
	defer context.AfterFunc(ctx, func() { t.startEnded(ctx) })()
	err := t.open(ctx, a)
	t.p.Payload = nil // sessions are long, and it may be large
	if err == nil && t.p.WaitDone {
		err = t.waitEnd(context.Background(), "Start")
	}
	returned = true
	return err
}

// startEnded ends the task because the context of Start has ended, unless Start
// may return.
func (t *Task) startEnded(ctx context.Context) {
	if t.sent.Load() {
		t.end(false, deadlineError(ctx, ErrCompleteTimeout))
	} else {
		t.end(true, t.late(deadlineError(ctx, ErrStartTimeout)))
	}
}

// open makes attempts until the task is ready, in WaitDone until it cannot be
// refused any more, or has ended.
func (t *Task) open(ctx context.Context, a *attempt) error {
	for {
		if err := t.connect(ctx, a); err != nil {
			if r := refusedBy(err); r != nil && a.number == 1 && t.renew(a, r) {
				a = t.secondAttempt()
				continue
			} else if deadline, ok := ctx.Deadline(); r == nil && (ctx.Err() != nil || ok && !time.Now().Before(deadline)) {
				<-ctx.Done() // the connection has the same deadline, and may have been first
				t.startEnded(ctx)
			}
			t.fail(err)
			return t.giveUp()
		}
		var ready <-chan struct{}
		if !t.p.WaitDone {
			ready = t.outcome.ready
		}
		select {
		case <-ready:
			return nil
		case ev := <-a.refused:
			if !t.refuse(a, ev) {
				a = t.secondAttempt()
				continue
			}
		case <-t.outcome.over:
		}
		return t.overBeforeReady()
	}
}

// overBeforeReady is what Start returns if the task has ended before Start could
// see that it is ready.
func (t *Task) overBeforeReady() error {
	if t.p.WaitDone {
		return nil // its end is waited for
	}
	select {
	case <-t.outcome.ready:
		return nil
	default:
	}
	if err := t.waitEnd(context.Background(), "Start"); err != nil {
		return err
	}
	select {
	case <-t.outcome.ready: // it completed right after its answer
		return nil
	default:
		return ErrCompleted // without having started
	}
}

// giveUp ends a task of which no session came to be, so that there is nothing to
// deliver. One that has a connection ends by itself.
func (t *Task) giveUp() error {
	if t.current.Load() != nil {
		return t.waitEnd(context.Background(), "Start")
	}
	t.bounds.stop()
	t.outcome.finish()
	return t.outcome.err()
}

func (t *Task) newAttempt(number int) (*attempt, error) {
	a := &attempt{t: t, number: number, id: wire.NewID(), refused: make(chan *Event, 1)}
	a.urlToken = NewSecret(queryToken(t.p.URL.Value()))
	t.id.Store(&a.id)
	var err error
	a.frame, err = t.encode(a.id, t.p.Start, t.p.Payload, t.p.Context)
	return a, err
}

// secondAttempt is newAttempt with what has been encoded before.
func (t *Task) secondAttempt() *attempt {
	a, _ := t.newAttempt(2)
	return a
}

// refusedBy is the refusal of a token in err, if it is one.
func refusedBy(err error) *refusal {
	if e, ok := errors.AsType[*HandshakeError](err); ok && (e.HTTPStatus == 401 || e.HTTPStatus == 403) {
		return &refusal{http: err}
	}
	return nil
}

// refuse ends the attempt a, whose token was refused with ev. It reports whether
// the task has ended with it, since there can be no other.
func (t *Task) refuse(a *attempt, ev *Event) bool {
	b := t.bounds.stop()
	t.current.Store(nil)
	a.conn.close(0)
	renewed := t.renew(a, &refusal{event: ev})
	if renewed && !b.ofStart {
		b = t.startBound
	}
	t.bounds.start(b)
	if renewed {
		return false
	}
	t.current.Store(a)
	if a.final(ev, true) {
		go t.queue.dispatch()
	}
	t.wrapUp() // if it had ended by then
	return true
}

// renew prepares a second attempt. It reports false if there can be none.
func (t *Task) renew(a *attempt, r *refusal) bool {
	if !t.cfg.Invalidate(a.token.Value()) || t.outcome.phase() != starting {
		return false
	}
	t.refused.Store(r)
	t.sent.Store(false)
	return true
}

// connect opens the connection of a and sends the first directive.
func (t *Task) connect(ctx context.Context, a *attempt) error {
	c, err := t.dialInTime(ctx, a)
	if err != nil {
		return err
	}
	a.conn = c
	c.handTo(a)
	t.stats.begin = time.Now()
	t.current.Store(a)
	if t.outcome.phase() >= closing { // while nobody could see the connection
		c.abort()
		c.serve()
		t.wrapUp()
		return nil
	}
	err = t.writeFirst(a)
	if err == nil {
		t.opened(a)
	}
	if t.p.PingInterval > 0 {
		c.startPings(newPinger(t.p.PingInterval, t.p.PingTimeout))
	}
	c.serve()
	if err != nil {
		_ = t.writeFailed(err)
	}
	return nil
}

// writeFirst writes the first directive. Nobody else writes yet.
func (t *Task) writeFirst(a *attempt) error {
	if t.tracing() {
		t.trace("nls: send", wsframe.Text, a.frame, a.redact)
	}
	s := sending{t: t, a: a, start: time.Now()}
	err := a.conn.write(wsframe.Text, a.frame, a.conn.writeDeadline())
	s.after(Message{Name: t.p.Start, Size: len(a.frame), Err: err})
	for _, m := range s.written {
		t.wrote(a, m, wsframe.Text)
	}
	a.frame = nil
	return err
}

// opened notes that the first directive is on its way.
func (t *Task) opened(a *attempt) {
	switch {
	case len(t.p.Started) > 0:
	case t.p.WaitDone:
		// Until the service has said something, the token may be refused.
		t.sent.Store(true)
		t.startBound = t.bounds.stop()
		t.bounds.start(t.p.completeBound())
	case !t.outcome.advance(starting, answered):
	case t.p.Open:
		t.bounds.answer(false)
		if t.queue.push(&Delivery{Kind: KindOpen, TaskID: a.id, ready: true}) {
			go t.queue.dispatch()
		}
	default:
		t.ready()
		t.bounds.start(t.p.completeBound())
	}
}

// completeBound is the bound on a task without Stop.
func (p *Params) completeBound() bound {
	if p.CompleteTimeout > 0 {
		return bound{limit: p.CompleteTimeout, timeout: ErrCompleteTimeout}
	}
	return bound{limit: p.IdleTimeout, silence: true, timeout: ErrCompleteTimeout}
}

// dialed is what a dial came to.
type dialed struct {
	conn    *conn
	err     error
	exited  bool // user code has ended the goroutine
	failure any  // user code has panicked with it
}

// dialInTime dials on a goroutine of its own, since the token source, the proxy
// function, the dialer and the hooks are the user's and may ignore ctx. A panic
// or an exit there becomes one of Start, where the caller can see it.
func (t *Task) dialInTime(ctx context.Context, a *attempt) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result, gone := make(chan dialed), make(chan struct{})
	defer close(gone)
	go func() {
		d := dialed{exited: true}
		defer func() {
			if d.exited && !isGoexit() {
				d.exited, d.failure = false, recover()
				t.cfg.Log.Error("nls: user code in Start has panicked", "stack", string(debug.Stack()))
			}
			select {
			case result <- d:
			case <-gone:
				if d.failure != nil {
					panic(d.failure)
				}
				if d.conn != nil {
					d.conn.abort()
				}
			}
		}()
		d.conn, d.err = a.dial(ctx)
		d.exited = false
	}()
	select {
	case d := <-result:
		switch {
		case d.exited:
			runtime.Goexit()
		case d.failure != nil:
			panic(d.failure)
		}
		return d.conn, d.err
	case <-t.outcome.over:
		return nil, t.outcome.err()
	}
}

// dial opens the connection of a. It runs beside Start and may outlive it.
func (a *attempt) dial(ctx context.Context) (*conn, error) {
	t := a.t
	token, err := t.cfg.Token(ctx)
	if err != nil {
		return nil, err
	}
	a.token = NewSecret(token)
	d := &dialer{cfg: t.cfg, url: t.p.URL, token: token, redact: a.redact}
	t.dialing.Store(d)
	info := Dial{URL: withoutQuery(t.p.URL.Value()), TaskID: a.id, Attempt: a.number}
	if t.p.Hooks != nil {
		t.p.Hooks.DialStart(info)
	}
	start := time.Now()
	c, err := d.dial(ctx)
	info.Duration, info.Err, info.StatusCode, info.RemoteAddr = time.Since(start), err, d.answer, d.remote
	if t.p.Hooks != nil {
		told := false
		defer func() {
			if c != nil && !told { // the hook has panicked
				c.abort()
			}
		}()
		t.p.Hooks.DialDone(info)
		told = true
	}
	return c, err
}
