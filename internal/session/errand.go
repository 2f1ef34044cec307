package session

import (
	"context"
	"runtime"
	"runtime/debug"
)

// errand is user code that runs beside whoever waits for it, for as long as they
// care to: it may ignore its context. Its goroutine ends with it.
type errand[T any] struct {
	result chan outcomeOf[T]
	gone   chan struct{} // closed when nobody waits any more
}

// outcomeOf is what user code came to.
type outcomeOf[T any] struct {
	v       T
	err     error
	exited  bool // it has ended its goroutine
	failure any  // it has panicked with this
}

// runErrand runs f. What it returns when nobody waits any more is given to drop.
func runErrand[T any](w *watcher, f func() (T, error), drop func(T)) *errand[T] {
	e := &errand[T]{make(chan outcomeOf[T]), make(chan struct{})}
	go e.run(w, f, drop)
	return e
}

func (e *errand[T]) run(w *watcher, f func() (T, error), drop func(T)) {
	r := outcomeOf[T]{exited: true}
	defer func() {
		if r.exited && !isGoexit() {
			r.exited, r.failure = false, recover()
			w.log.Error("nls: user code in Start has panicked", w.who("stack", string(debug.Stack()))...)
		}
		select {
		case e.result <- r:
		case <-e.gone:
			if r.failure != nil {
				panic(r.failure)
			}
			drop(r.v)
		}
	}()
	r.v, r.err = f()
	r.exited = false
}

// wait returns what f did, and does what its user code has done: a panic or an exit
// becomes one of the caller. It returns the error of ctx if that ends before.
func (e *errand[T]) wait(ctx context.Context) (v T, err error) {
	select {
	case r := <-e.result:
		return r.get()
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (r outcomeOf[T]) get() (T, error) {
	switch {
	case r.exited:
		runtime.Goexit()
	case r.failure != nil:
		panic(r.failure)
	}
	return r.v, r.err
}

// forget says that nobody waits any more.
func (e *errand[T]) forget() { close(e.gone) }
