package nls_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// Who comes back to an overloaded service as soon as to a broken one is refused again.
func TestRetryWaitsTwiceAsLongAfterAnOverload(t *testing.T) {
	task := func(status int) error { return &nls.TaskError{Event: nls.Event{Status: status}} }
	for _, c := range []struct {
		name  string
		err   error
		twice bool
	}{
		{"too many requests", task(nls.StatusTooManyRequests), true},
		{"too many sessions", task(nls.StatusConcurrencyExceeded), true},
		{"the service broken", task(50000000), false},
		{"a file, HTTP 429", &nls.TaskError{HTTPStatus: 429}, true},
		{"a file, HTTP 503", &nls.TaskError{HTTPStatus: 503}, false},
		{"a handshake, HTTP 429", &nls.HandshakeError{HTTPStatus: 429}, true},
		{"a handshake, HTTP 503", &nls.HandshakeError{HTTPStatus: 503}, false},
		{"a call, throttled", &nls.APIError{Code: "Throttling.Api", HTTPStatus: 400}, true},
		{"a call, HTTP 429", &nls.APIError{HTTPStatus: 429}, true},
		{"a call, HTTP 503", &nls.APIError{Code: "ServiceUnavailable", HTTPStatus: 503}, false},
		{"a token, throttled", &nls.TokenError{Code: "Throttling", HTTPStatus: 400}, true},
		{"a token, HTTP 429", &nls.TokenError{HTTPStatus: 429}, true},
		{"a token, HTTP 503", &nls.TokenError{Code: "ServiceUnavailable", HTTPStatus: 503}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin, calls := time.Now(), 0
			err := nls.Retry(t.Context(), func(context.Context) error {
				if calls++; calls > 2 {
					t.Fatalf("%s: f is called again and again", c.name)
				}
				if time.Since(begin) == 0 {
					return c.err
				}
				return nil
			})
			least, most := 250*time.Millisecond, 500*time.Millisecond
			if c.twice {
				least, most = 2*least, 2*most
			}
			if took := time.Since(begin); err != nil || took < least || took >= most {
				t.Errorf("%s: %v after %v", c.name, err, took)
			}
		})
	}
}

// The context is the only bound that Retry has.
func TestRetryReturnsAtTheEndOfItsContextHoweverItEnds(t *testing.T) {
	broken := &nls.HandshakeError{HTTPStatus: 503}
	for _, ended := range []bool{true, false} { // before or in the pause
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			begin, calls := time.Now(), 0
			err := nls.Retry(ctx, func(context.Context) error {
				switch calls++; {
				case calls > 1:
					t.Fatal("f is called again")
				case ended:
					cancel()
				default:
					time.AfterFunc(time.Millisecond, cancel)
				}
				return broken
			})
			if took := time.Since(begin); !errors.Is(err, broken) || calls != 1 || took > time.Millisecond {
				t.Errorf("%v after %d calls and %v", err, calls, took)
			}
		})
	}
}
