package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// phase is where in its life a task is. It only grows.
type phase int32

const (
	starting phase = iota // until the service has answered the first directive
	answered              // what it said is being delivered; sending is legal
	started               // Start has returned, or may
	stopping              // the stop directive is on its way
	closing               // completed or failed; callbacks still run
	ended                 // the last callback has returned
)

// outcome is how far a task has come and why it ended. It is the only place where
// a phase changes. Everybody who asks gets the same error from it: the first.
//
// A task that completed can still fail until its result has been delivered, since
// a result that nobody got is no success.
type outcome struct {
	ready chan struct{} // closed when Start may return nil
	over  chan struct{} // closed when the phase becomes closing
	cut   chan struct{} // closed when a bound or a context has ended what was left to do
	done  chan struct{} // closed when the phase becomes ended

	now   atomic.Int32 // the phase; written with mu held, as is
	begun atomic.Bool  // the first directive may have been sent: there is a session, and an end to tell of

	mu        sync.Mutex // never held over I/O or user code
	cause     error      // nil while the task runs and when it completed
	isReady   bool
	cutAt     time.Time // when cut was closed
	result    bool      // the callback of the result has been called
	delivered bool      // and has returned; nothing fails the task any more
	silent    bool      // Shutdown: of the callbacks only OnClose is still called

	handedOn atomic.Bool // the connection is not the task's any more; see handOn
}

func newOutcome() outcome {
	return outcome{
		ready: make(chan struct{}), over: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}),
	}
}

func (o *outcome) phase() phase { return phase(o.now.Load()) }

// set makes p the phase. The caller holds mu.
func (o *outcome) set(p phase) { o.now.Store(int32(p)) }

// unless runs f, which must not block, if the task has not ended. It reports
// whether it did. Whoever ends the task then sees what f has done.
func (o *outcome) unless(f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase() < closing {
		f()
	}
	return o.phase() < closing
}

// advance makes to the phase if it is from.
func (o *outcome) advance(from, to phase) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase() != from {
		return false
	}
	o.set(to)
	return true
}

// setReady lets Start return nil. It does nothing after a failure.
func (o *outcome) setReady() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause != nil || o.isReady {
		return
	}
	if o.phase() < started {
		o.set(started)
	}
	o.isReady = true
	close(o.ready)
}

// complete notes that the service has completed the task. It reports whether
// that was the end.
func (o *outcome) complete() bool { return o.fail(func() error { return nil }) }

// fail ends the task with what explain returns, which is called once at most and
// with mu held. It reports whether that was the first cause.
func (o *outcome) fail(explain func() error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase() >= closing {
		return false
	}
	o.cause = explain()
	o.close()
	return true
}

// end is fail for a bound or a context that ends: it also ends a task that has
// completed, whose result waits to be delivered, and what else waits. If it is of
// Start it does nothing once Start may return nil. It reports whether what waits
// has to go.
func (o *outcome) end(ofStart bool, explain func() error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase() == ended || ofStart && o.isReady {
		return false
	}
	if o.cause == nil && !o.delivered {
		o.cause = explain()
	}
	o.close()
	if o.cutAt.IsZero() {
		o.cutAt = time.Now()
		close(o.cut) // frees who waits for the end
	}
	return true
}

// shutdown is end for Shutdown, which interrupts no result that is being
// delivered. It reports whether what waits has to go.
func (o *outcome) shutdown(explain func() error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase() == ended {
		return false
	}
	if o.cause == nil && !o.result {
		o.cause = explain()
	}
	o.silent = true
	o.close()
	return true
}

// close makes the phase closing. The caller holds mu.
func (o *outcome) close() {
	if o.phase() < closing {
		o.set(closing)
		close(o.over)
	}
}

// delivering reports whether the result of a completed task may still be
// delivered, and is about to be.
func (o *outcome) delivering() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.result = o.cause == nil
	return o.result
}

// setDelivered notes that it has been.
func (o *outcome) setDelivered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.delivered = o.cause == nil
}

// state is what OnError and OnClose are told. If it is settled nothing changes it
// any more.
func (o *outcome) state(settle bool) (cause error, silent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if settle {
		o.result, o.delivered = true, true
	}
	return o.cause, o.silent
}

// handOn gives up the connection of a task that has completed, for the next one.
// It reports false if something else has ended the task since; what does so later
// finds no connection to break.
func (o *outcome) handOn() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handedOn.Store(o.cause == nil && !o.silent && o.cutAt.IsZero())
	return o.handedOn.Load()
}

// finish is the end.
func (o *outcome) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.close()
	o.set(ended)
	close(o.done)
}

// cutTime is when cut was closed.
func (o *outcome) cutTime() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cutAt
}

// err is why the task ended; nil while it runs and when it completed.
func (o *outcome) err() error { cause, _ := o.state(false); return cause }

// sendable returns nil if the caller may send now.
func (o *outcome) sendable() error {
	switch o.phase() {
	case starting:
		return ErrNotStarted
	case answered, started:
		return nil
	case stopping:
		return ErrStopping
	}
	if err := o.err(); err != nil {
		return err
	}
	return ErrCompleted
}
