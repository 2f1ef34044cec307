package session

import (
	"context"
	"errors"
)

// ContextError is the end of a context that a caller gave, and of what it bounded.
type ContextError struct {
	end   error // context.Canceled; or what a deadline is called, which is context.DeadlineExceeded too
	cause error // context.Cause; what end says already if there is none of its own
}

// ContextEnd is the error of what ctx, which has ended and is a caller's, bounded.
// timeout is what a deadline is called there; nil means context.DeadlineExceeded.
func ContextEnd(ctx context.Context, timeout error) error {
	end := ctx.Err()
	if timeout != nil && errors.Is(end, context.DeadlineExceeded) {
		end = timeout
	}
	return &ContextError{end, context.Cause(ctx)}
}

func (e *ContextError) Error() string {
	text := e.end.Error()
	if e.end == context.Canceled || e.end == context.DeadlineExceeded {
		text = "nls: " + text
	}
	if e.cause != e.end {
		text += ": " + e.cause.Error()
	}
	return text
}

// Timeout reports whether a deadline has passed.
func (e *ContextError) Timeout() bool { return errors.Is(e.end, context.DeadlineExceeded) }

func (e *ContextError) Unwrap() []error { return []error{e.end, e.cause} }

// Bind ends the task with the end of ctx, until stop is called.
func (t *Task) Bind(ctx context.Context) (stop func() bool) {
	if t == nil {
		return func() bool { return false }
	}
	cut := func() {
		var timeout error
		if t.p.Stop != "" { // a Stop with the same context says the same
			timeout = ErrStopTimeout
		}
		t.end(false, ContextEnd(ctx, timeout))
	}
	if ctx.Err() != nil {
		cut() // and not by chance
	}
	return context.AfterFunc(ctx, cut)
}
