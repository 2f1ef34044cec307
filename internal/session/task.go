package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// grace is how long a call that gave up, or a failed write, still waits for the
// last callbacks, or for the reason.
const grace = time.Second

// errRefused says that the gateway refused the token of the first attempt.
var errRefused = errors.New("token refused")

// Task is one Start. It joins a connection, a queue, an outcome and the bounds,
// and decides nothing that one of these can decide. Its methods mean this Start
// and no other; those of a nil Task mean one that was never started.
type Task struct {
	cfg *Config
	p   Params

	outcome outcome
	bounds  bounds
	queue   queue[*Delivery]

	id       atomic.Pointer[string]   // of the attempt
	current  atomic.Pointer[attempt]  // nil before a connection is open
	watching atomic.Pointer[observer] // nil while there is nothing to observe
	dialing  atomic.Pointer[dialer]   // nil before the first dial
	refused  atomic.Pointer[refusal]  // of the first attempt; nil if there was none
	calling  atomic.Pointer[Delivery] // what the callback that runs was called with
	failed   *Event                   // the TaskFailed that ended the task; guarded by outcome

	sent       atomic.Bool // the first directive is, and Start waits for the end
	startBound bound       // and what has been used of it; of Start alone

	dispatch func() // queue.dispatch
	ending   int    // how far last has come; of the dispatcher alone

	stats struct {
		begin          time.Time // when the first directive was sent
		firstResult    atomic.Int64
		sent, received atomic.Int64
	}
}

func newTask(cfg *Config, p Params) *Task {
	now := time.Now()
	t := &Task{cfg: cfg, p: p, outcome: newOutcome()}
	t.startBound = bound{limit: p.StartTimeout, ofStart: true, timeout: ErrStartTimeout}
	t.bounds.base, t.bounds.expire, t.bounds.busy = now, t.expired, t.queue.runningSince
	t.queue.base, t.queue.limit = now, cfg.MaxPending
	t.queue.run, t.queue.last, t.queue.exited = t.deliver, t.last, t.exited
	t.dispatch = t.queue.dispatch
	return t
}

// phase is that of the task; starting if there is none.
func (t *Task) phase() phase {
	if t == nil {
		return starting
	}
	return t.outcome.phase()
}

// explain turns err into what callers see.
func (t *Task) explain(err error) error {
	id := ""
	if a := t.current.Load(); a != nil {
		id = a.id
	}
	return t.cfg.Explain(id, err)
}

// fail ends the task with err, unless it has ended. What waits is still
// delivered.
func (t *Task) fail(err error) {
	if t.outcome.fail(func() error { return t.explain(err) }) {
		t.wrapUp()
	}
}

// end ends the task with err even if it has completed, as long as its result has
// not been delivered, and drops what waits.
func (t *Task) end(ofStart bool, err error) {
	if t.outcome.end(ofStart, func() error { return t.explain(err) }) {
		t.queue.discard()
		t.wrapUp()
	}
}

// Shutdown ends the task now. No callback but OnClose starts any more.
func (t *Task) Shutdown() {
	if t != nil && t.outcome.shutdown(func() error { return t.explain(ErrShutdown) }) {
		t.queue.discard()
		t.wrapUp()
	}
}

// wrapUp breaks the connection and has the end delivered. A task without a
// connection is left to Start.
func (t *Task) wrapUp() {
	t.bounds.answer(true)
	if a := t.current.Load(); a != nil {
		a.conn.abort()
		if t.queue.close() {
			go t.queue.dispatch()
		}
	}
}

// expired ends the task over a bound.
func (t *Task) expired(b bound, ours bool) {
	if ours {
		t.end(b.ofStart, &stuckError{b.timeout, t.callback()})
	} else {
		t.end(b.ofStart, t.late(b.timeout))
	}
}

// late is timeout, or the refusal of the token if that is why the time was short.
func (t *Task) late(timeout error) error {
	if timeout != ErrStartTimeout {
		return timeout
	}
	if r := t.refused.Load(); r != nil {
		return r.err()
	}
	if d := t.dialing.Load(); d != nil && d.status.Load() != 0 {
		return &HandshakeError{HTTPStatus: int(d.status.Load()), Err: websocket.ErrBadHandshake}
	}
	return timeout
}

// callback is the name of the callback that runs.
func (t *Task) callback() string {
	if d := t.calling.Load(); d != nil && t.p.Callback != nil {
		return t.p.Callback(d)
	}
	return "a callback"
}

// deliver runs the callbacks for d.
func (t *Task) deliver(d *Delivery) {
	if d.result && !t.outcome.delivering() {
		return
	}
	t.calling.Store(d)
	var start time.Time
	if t.p.Hooks != nil {
		start = time.Now()
	}
	t.p.Deliver(d)
	t.calling.Store(nil)
	if t.p.Hooks != nil {
		m := Message{
			Namespace: t.p.Namespace, TaskID: d.TaskID, Pending: int(t.queue.waiting.Load()), Err: d.Err,
			Size: len(d.Data), Duration: time.Since(start),
		}
		if d.Event != nil {
			m.Name, m.Status, m.Size = d.Event.Name, d.Event.Status, len(d.Event.Raw)
		}
		t.p.Hooks.Callback(m)
	}
	if d.ready {
		t.ready()
	}
	if d.result {
		t.outcome.setDelivered()
	}
}

// ready lets Start return.
func (t *Task) ready() {
	t.outcome.setReady()
	t.bounds.stopStart()
}

// exited ends the task, whose callback has ended its goroutine.
func (t *Task) exited() {
	err := &exitError{t.callback()}
	t.calling.Store(nil)
	t.end(false, err)
}

// last closes the connection, then delivers the failure and the end. It runs on
// the dispatcher when nothing is left to deliver; again if OnError or OnClose
// ended its goroutine, and goes on where it was.
func (t *Task) last() {
	a := t.current.Load()
	step := func(n int) bool {
		if t.ending != n {
			return false
		}
		t.ending++
		return true
	}
	if step(0) {
		code := 0
		if cause, silent := t.outcome.get(); cause == nil && !silent {
			code = wsframe.CloseNormal
		}
		a.conn.close(code)
	}
	cause, silent := t.outcome.settle()
	if step(1) && cause != nil && !silent {
		t.queue.mark(true)
		t.deliver(&Delivery{Kind: KindFailed, TaskID: a.id, Event: t.failed, Err: cause})
	}
	if step(2) {
		code, reason := a.conn.farewell()
		t.queue.mark(true)
		t.deliver(&Delivery{Kind: KindClosed, TaskID: a.id, Err: cause, Code: code, Reason: a.redact(reason)})
	}
	t.queue.mark(true)
	if o := t.watching.Load(); o != nil {
		o.flush()
	}
	if step(3) && t.p.Hooks != nil {
		t.p.Hooks.SessionDone(Summary{
			Namespace: t.p.Namespace, TaskID: a.id, Start: t.stats.begin, End: time.Now(),
			FirstResult: time.Duration(t.stats.firstResult.Load()),
			SentBytes:   t.stats.sent.Load(), RcvBytes: t.stats.received.Load(), Err: cause,
		})
	}
	t.bounds.stop()
	t.outcome.finish()
}

// encode makes a directive of the attempt with this id.
func (t *Task) encode(id, name string, payload, context any) ([]byte, error) {
	frame, err := wire.Marshal(wire.Directive{
		Header: wire.DirectiveHeader{
			AppKey: t.cfg.AppKey, MessageID: wire.NewID(), TaskID: id, Namespace: t.p.Namespace, Name: name,
		},
		Payload: payload,
		Context: context,
	})
	if err != nil {
		return nil, &EncodeError{err.Error()}
	}
	return frame, nil
}

// waitEnd waits for the end of the task, or of ctx. It does not wait for a
// callback that still runs when a bound or a context has ended the task.
func (t *Task) waitEnd(ctx context.Context, call string) error {
	defer t.hint(call)()
	select {
	case <-t.outcome.done: // before ctx is looked at
		return t.outcome.err()
	default:
	}
	select {
	case <-t.outcome.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.outcome.cut:
		if since := t.queue.runningSince(); since.IsZero() || !since.Before(t.outcome.cutTime()) {
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-t.outcome.done:
			case <-timer.C:
			}
		}
	}
	return t.outcome.err()
}

// hint logs that call waits for a callback that was running when call began and
// still is after a second: perhaps the very callback that call was made from.
func (t *Task) hint(call string) (stop func() bool) {
	return time.AfterFunc(time.Second, func() {
		if since := t.queue.runningSince(); !since.IsZero() && time.Since(since) >= time.Second {
			t.cfg.Log.Warn("nls: "+call+" waits for a callback that has not returned",
				"callback", t.callback(), "task_id", t.TaskID())
		}
	}).Stop
}

// Stop sends the stop directive, if nobody has, and waits for the end. Where there
// is no such directive it is Wait.
func (t *Task) Stop(ctx context.Context) error {
	if t != nil && t.p.Stop == "" {
		return t.Wait(ctx)
	}
	switch p := t.phase(); {
	case p < started:
		return ErrNotStarted
	case p == ended:
		return t.outcome.err()
	}
	first := t.outcome.advance(started, stopping)
	b := bound{limit: t.p.StopTimeout, timeout: ErrStopTimeout}
	if b.limit <= 0 && t.p.IdleTimeout <= 0 && inCallback() {
		b.limit = lastResort
	}
	t.bounds.startFirst(b)
	defer context.AfterFunc(ctx, func() { t.end(false, deadlineError(ctx, ErrStopTimeout)) })()
	if first {
		t.sendStop()
	}
	return t.waitEnd(context.Background(), "Stop")
}

// Wait waits for the end of the task or of ctx, and leaves the task alone.
func (t *Task) Wait(ctx context.Context) error {
	if t == nil {
		return ErrNotStarted
	}
	return t.waitEnd(ctx, "Wait")
}

// Done is closed when the last callback of the task has returned.
func (t *Task) Done() <-chan struct{} {
	if t == nil {
		return closedChan
	}
	return t.outcome.done
}

// Err is why the task ended; nil while it runs and when it completed.
func (t *Task) Err() error {
	if t == nil {
		return nil
	}
	return t.outcome.err()
}

// TaskID is the id of the task, or of its last attempt.
func (t *Task) TaskID() string {
	if t == nil {
		return ""
	}
	return *t.id.Load()
}

// closedChan is the Done of a session that was never started.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()
