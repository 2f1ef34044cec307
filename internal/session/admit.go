package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// placeError is a Start that has waited for its place for too long.
type placeError struct {
	timeout   error
	namespace string
}

func (e *placeError) Error() string {
	return fmt.Sprintf("%v: waiting for the Limiter to admit a session of %s", e.timeout, e.namespace)
}
func (e *placeError) Timeout() bool { return true }
func (e *placeError) Unwrap() error { return e.timeout }

// admit waits for the place of the task. The limiter is the user's and may ignore
// its context: then a place that comes too late is given back.
func (o *opening) admit(ctx context.Context) error {
	if o.cfg.Acquire == nil {
		return nil
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	o.waiting.Store(true)
	begin := time.Now()
	e := runErrand(&o.watch, func() (func(), error) { return o.cfg.Acquire(wait, o.p.Namespace) }, func(release func()) {
		if release != nil {
			release()
		}
	})
	defer e.forget()
	var err error
	select {
	case r := <-e.result:
		if o.place, err = r.get(); err != nil && ctx.Err() != nil {
			o.ended(ctx)
			err = o.outcome.err()
		} else if errors.Is(err, context.DeadlineExceeded) { // one of its own
			err = &placeError{ErrStartTimeout, o.p.Namespace}
		} else if err != nil {
			err = fmt.Errorf("nls: limiter: %w", err)
		}
	case <-o.outcome.over:
		err = o.outcome.err()
	}
	o.waiting.Store(false)
	if o.watch.hooks != nil {
		o.watch.hooks.LimitDone(Limit{Namespace: o.p.Namespace, TaskID: o.TaskID(), Duration: time.Since(begin), Err: err})
	}
	return err
}

// leave gives the place back, whose connection is gone.
func (o *opening) leave() {
	if place := o.place; place != nil {
		o.place = nil
		place()
	}
}

// conclude is the end of t for everybody who waits for it.
func conclude(t *Task) {
	t.outcome.finish()
	t.cfg.Roster.Leave(t)
}
