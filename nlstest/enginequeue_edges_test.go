package nlstest

import (
	"context"
	"testing"
)

func TestAnEngineIsSlowUntilItHasCaughtUp(t *testing.T) {
	q := engineQueue{calls: make(chan engineCall, 1)}
	state := func(when string, first, slow bool) {
		t.Helper()
		if q.first() != first || q.slow != slow {
			t.Errorf("%s: first %t, slow %t", when, q.first(), q.slow)
		}
	}
	done := func() { <-q.calls; q.next() }
	state("nothing waits", false, false)
	q.call(1, nil)
	state("one call", true, false)
	q.slow = true
	q.call(1, nil)
	state("two calls after the grace", false, true)
	done()
	state("one of them done", false, true)
	done()
	state("both done", false, false)
	q.call(1, nil)
	q.call(1, nil)
	state("two more", true, false)
	done()
	state("one of these done", true, false)
}

func TestTheBacklogOfAnEngineIsExact(t *testing.T) {
	for _, tc := range []struct {
		calls, size int
		full        bool
	}{{1, maxBacklog - 512, true}, {1, maxBacklog - 513, false}, {maxBacklog / 512, 0, true}, {maxBacklog/512 - 1, 0, false}} {
		q := engineQueue{calls: make(chan engineCall, 1)}
		for range tc.calls {
			q.call(tc.size, nil)
		}
		if q.full() != tc.full {
			t.Errorf("%d calls of %d bytes: full %t", tc.calls, tc.size, q.full())
		}
		for range tc.calls {
			<-q.calls
			q.next()
		}
		if q.backlog != 0 {
			t.Errorf("%d bytes wait for nobody", q.backlog)
		}
	}
}

// The end of a task is no end of its engine's making.
func TestAQueueWhoseTaskIsOverSaysNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 30 { // select takes either of two
		results := make(chan func(), 1)
		serveEngine(ctx, nil, results, func() {})
		if len(results) > 0 {
			t.Fatal("it says that the engine has ended its goroutine")
		}
	}
}
