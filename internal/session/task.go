package session

import (
	"sync/atomic"
	"time"
)

// grace is how long a call that gave up, or a failed write, still waits for the
// last callbacks, or for the reason.
const grace = time.Second

// Task is one Start. It joins a connection, a queue, an outcome and the bounds,
// and decides nothing that one of these can decide: opening begins it, sending and
// receiving use its connection, delivering runs its callbacks. Its methods mean
// this Start and no other; those of a nil Task mean one that was never started.
type Task struct {
	cfg *Config
	p   Params

	outcome  outcome
	bounds   bounds
	queue    queue[*Delivery]
	watch    watcher
	recorded atomic.Int64 // frames
	opening  opening
	deliver  delivering

	id       atomic.Pointer[string]  // of the attempt
	current  atomic.Pointer[attempt] // nil before a connection is open, and after the end
	pooled   atomic.Int32            // what the pool knows of the task: 1, that it has started; 2, that it has ended
	parking  atomic.Pointer[parked]  // its connection, once it has completed and another may have it
	failed   *Event                  // the TaskFailed that ended the task; guarded by outcome
	dispatch func()                  // queue.dispatch

	created time.Time
	stats   stats
}

// stats is what the Summary of a task has.
type stats struct {
	begin          time.Time // when the first directive was sent
	firstResult    atomic.Int64
	sent, received atomic.Int64 // bytes
}

func newTask(cfg *Config, p Params) *Task {
	now := time.Now()
	t := &Task{cfg: cfg, p: p, outcome: newOutcome()}
	t.opening = opening{Task: t, mayBeStale: true, bound: bound{limit: p.StartTimeout, ofStart: true, timeout: ErrStartTimeout}}
	t.deliver.Task = t
	t.watch.log, t.watch.limit, t.watch.product, t.watch.id = cfg.Log, cfg.MaxPending, p.Namespace, &t.id
	t.created, t.bounds.base, t.bounds.patient, t.bounds.expire, t.bounds.busy = now, now, p.Patient, t.expired, t.queue.runningSince
	t.queue.base, t.queue.limit = now, cfg.MaxPending
	t.queue.run, t.queue.last, t.queue.exited = t.deliver.deliver, t.deliver.last, t.deliver.exited
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
func explain(t *Task, err error) error {
	id := ""
	if a := t.current.Load(); a != nil {
		id = a.id
	}
	return t.cfg.Explain(id, err)
}

// fail ends the task with err, unless it has ended. What waits is still
// delivered.
func (t *Task) fail(err error) {
	if t.outcome.fail(func() error { return explain(t, err) }) {
		t.wrapUp()
	}
}

// end ends the task with err even if it has completed, as long as its result has
// not been delivered, and drops what waits.
func (t *Task) end(ofStart bool, err error) { t.cut(ofStart, err)() }

// cut is end in two steps: then does what may block or take locks.
func (t *Task) cut(ofStart bool, err error) (then func()) {
	if !t.outcome.end(ofStart, func() error { return explain(t, err) }) {
		return doNothing
	}
	return func() {
		t.queue.discard()
		t.wrapUp()
	}
}

// Shutdown ends the task now. No callback but OnClose starts any more.
func (t *Task) Shutdown() {
	if t != nil && t.outcome.shutdown(func() error { return explain(t, ErrShutdown) }) {
		t.queue.discard()
		t.wrapUp()
	}
}

// wrapUp breaks the connection and has the end delivered. A task without a
// connection is left to Start.
func (t *Task) wrapUp() {
	t.bounds.answer(true)
	if a := t.current.Load(); a != nil {
		if !t.outcome.handedOn.Load() {
			a.conn.abort()
		}
		if t.queue.close() {
			go t.queue.dispatch()
		}
	}
}

// expired ends the task over a bound.
func (t *Task) expired(b bound, ours bool) (then func()) {
	if ours {
		return t.cut(b.ofStart, &stuckError{b.timeout, t.deliver.callback()})
	}
	return t.cut(b.ofStart, late(&t.opening, b.timeout))
}

// join tells the pool that the task has started.
func (t *Task) join() {
	if t.outcome.phase() < closing && t.pooled.CompareAndSwap(0, 1) {
		t.p.Pool.enter()
	}
}

// ready lets Start return.
func (t *Task) ready() {
	t.outcome.setReady()
	t.bounds.stopStart()
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
