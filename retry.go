package nls

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
)

// Retry calls f until it succeeds, fails with an error that is not [Retryable], or
// ctx ends. It returns what the last call returned. f gets ctx as it is.
//
// Between calls it pauses: for 500 ms, doubling to 30 s, and twice as long where
// the service was overloaded (too many sessions or requests, throttled lookups), 30 s
// at most. Each pause is shortened at random, by half at most. There is no bound but
// ctx: give it a deadline. A pause that would outlast the deadline is not begun. The
// end of ctx itself is never a reason to try again. Nor is that of a context that f
// makes of it: bound an attempt by the Timeout of its params.
//
// f opens a new session each time, and the task begins from its beginning.
func Retry(ctx context.Context, f func(ctx context.Context) error) error {
	for n := 1; ; n++ {
		err := f(ctx)
		if !Retryable(err) { // nil is not
			return err
		}
		wait := continuous.Pause(n, overloaded(err))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// overloaded reports whether err says that there was too much to do.
func overloaded(err error) bool {
	switch StatusCode(err) {
	case StatusTooManyRequests, StatusConcurrencyExceeded:
		return true
	}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		return e.HTTPStatus == http.StatusTooManyRequests
	}
	if e, ok := errors.AsType[*TaskError](err); ok {
		return e.HTTPStatus == http.StatusTooManyRequests
	}
	if e, ok := errors.AsType[*APIError](err); ok {
		return isThrottled(e.Code, e.HTTPStatus)
	}
	e, ok := errors.AsType[*TokenError](err)
	return ok && isThrottled(e.Code, e.HTTPStatus)
}

// isThrottled reports whether an answer of the POP layer says that calls come too often.
func isThrottled(code string, status int) bool {
	return strings.HasPrefix(code, "Throttling") || status == http.StatusTooManyRequests
}
