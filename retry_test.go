package nls_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

func TestRetry(t *testing.T) {
	broken := error(&nls.CloseError{Code: -1, Err: io.ErrUnexpectedEOF})
	busy := error(&nls.TaskError{Event: nls.Event{Status: nls.StatusTooManyRequests}})
	refused := error(&nls.HandshakeError{HTTPStatus: 403})
	for _, c := range []struct {
		name     string
		errs     []error // of the calls; the last one goes on
		deadline time.Duration
		cancel   time.Duration
		calls    int // at least, for the pauses are random
		most     int
		took     [2]time.Duration
		want     error
	}{
		{name: "success", errs: []error{nil}, calls: 1, most: 1},
		{name: "success at last", errs: []error{broken, broken, nil}, calls: 3, most: 3, took: [2]time.Duration{750 * time.Millisecond, 1500 * time.Millisecond}},
		{name: "an overload waits longer", errs: []error{busy, busy, nil}, calls: 3, most: 3, took: [2]time.Duration{1500 * time.Millisecond, 3 * time.Second}},
		{name: "a throttled lookup waits longer", errs: []error{&nls.TokenError{Code: "Throttling.User", HTTPStatus: 400}, nil},
			calls: 2, most: 2, took: [2]time.Duration{500 * time.Millisecond, time.Second}},
		{name: "HTTP 429 waits longer", errs: []error{&nls.HandshakeError{HTTPStatus: 429}, nil},
			calls: 2, most: 2, took: [2]time.Duration{500 * time.Millisecond, time.Second}},
		{name: "an error that stays", errs: []error{broken, refused}, calls: 2, most: 2, took: [2]time.Duration{250 * time.Millisecond, 500 * time.Millisecond}, want: refused},
		{name: "a deadline ends it, and early", errs: []error{broken}, deadline: time.Minute, calls: 6, most: 9, took: [2]time.Duration{15 * time.Second, time.Minute - 1}, want: broken},
		{name: "pauses have a bound", errs: []error{broken}, deadline: time.Hour, calls: 110, most: 260, took: [2]time.Duration{59 * time.Minute, time.Hour - 1}, want: broken},
		{name: "pauses after overloads have it too", errs: []error{busy}, deadline: time.Hour, calls: 110, most: 260, took: [2]time.Duration{59 * time.Minute, time.Hour - 1}, want: busy},
		{name: "a cancellation ends a pause", errs: []error{broken}, cancel: 100 * time.Millisecond, calls: 1, most: 1, took: [2]time.Duration{100 * time.Millisecond, 100 * time.Millisecond}, want: broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				if c.cancel > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					time.AfterFunc(c.cancel, cancel)
				}
				begin, calls := time.Now(), 0
				err := nls.Retry(ctx, func(got context.Context) error {
					if got != ctx {
						t.Error("f got another context")
					}
					if calls++; calls > c.most {
						t.Fatalf("f is called more than %d times", c.most) // and not without end
					}
					return c.errs[min(calls, len(c.errs))-1]
				})
				took := time.Since(begin)
				if err != c.want || calls < c.calls || calls > c.most || took < c.took[0] || took > c.took[1] {
					t.Errorf("%v after %d calls and %v", err, calls, took)
				}
			})
		})
	}
}

// Whatever f makes of the end of the caller's context.
func TestRetryDoesNotTryAgainOnceItsContextHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls := 0
		err := nls.Retry(ctx, func(ctx context.Context) error {
			if calls++; calls > 1 {
				t.Fatal("f is called again")
			}
			<-ctx.Done()
			return nls.ErrStartTimeout
		})
		if calls != 1 || !errors.Is(err, nls.ErrStartTimeout) {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}
