package nls_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// isTaken reports whether namespace has no place left.
func isTaken(t *testing.T, l nls.Limiter, namespace string) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan bool, 1)
	go func() {
		release, err := l.Acquire(ctx, namespace)
		if err == nil {
			defer release()
		}
		got <- err != nil
	}()
	synctest.Wait()
	cancel()
	return <-got
}

// The service refuses who comes above the quota.
func TestAPlaceThatIsHandedOnIsStillTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nls.NewLimiter(nls.Limits{Each: 1})
		first, err := l.Acquire(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		handed := make(chan func())
		go func() {
			release, err := l.Acquire(t.Context(), "A")
			if err != nil {
				t.Error(err)
			}
			handed <- release
		}()
		synctest.Wait()
		first()
		second := <-handed
		if !isTaken(t, l, "A") {
			t.Error("two sessions run where one may")
		}
		second()
		if isTaken(t, l, "A") {
			t.Error("the place is lost")
		}
	})
}

// Else a Client can start fewer and fewer sessions, and at last none.
func TestNoPlaceIsLostToWhoGivesUpAsItIsGiven(t *testing.T) {
	l := nls.NewLimiter(nls.Limits{Each: 1})
	for i := range 200 {
		namespace := fmt.Sprint(i)
		release, err := l.Acquire(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		waits := waitingContext{ctx, make(chan struct{}, 1)}
		go func() {
			defer close(done)
			if release, err := l.Acquire(waits, namespace); err == nil {
				release()
			}
		}()
		<-waits.begun
		cancel()
		release() // at the same moment
		<-done
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		release, err = l.Acquire(ctx, namespace)
		cancel()
		if err != nil {
			t.Fatalf("the place is lost: %v", err)
		}
		release()
	}
}

// waitingContext tells when somebody begins to wait for its end.
type waitingContext struct {
	context.Context
	begun chan struct{}
}

func (c waitingContext) Done() <-chan struct{} {
	select {
	case c.begun <- struct{}{}:
	default:
	}
	return c.Context.Done()
}

// Limits are looked at by many sessions at a time, and are the caller's own.
func TestLimitsThatChangeLaterChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := nls.Limits{ByNamespace: map[string]int{"A": 1}}
		l := nls.NewLimiter(limits)
		limits.ByNamespace["A"] = 0
		release, err := l.Acquire(t.Context(), "A")
		if err != nil || !isTaken(t, l, "A") {
			t.Errorf("a second place of one, %v", err)
		}
		release()
	})
}
