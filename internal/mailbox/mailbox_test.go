package mailbox

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func never() bool { return false }

func TestWhatIsPutIsTakenInOrder(t *testing.T) {
	m, over := New[int](1<<20, nil, never), make(chan struct{})
	go func() {
		for i := range 10000 {
			m.Put(i, 1)
		}
		close(over)
	}()
	for i := range 10000 {
		if v, ok := m.Next(over); v != i || !ok {
			t.Fatalf("Next = %d, %v; want %d", v, ok, i)
		}
	}
	if v, ok := m.Next(over); ok || !m.Empty() {
		t.Errorf("Next = %d after the last", v)
	}
}

func TestNextReturnsWhatIsLeftWhenItIsOver(t *testing.T) {
	m, over := New[string](1<<20, nil, never), make(chan struct{})
	m.Put("a", 1)
	m.Put("b", 1)
	close(over)
	for _, want := range []string{"a", "b", ""} {
		if v, ok := m.Next(over); v != want || ok != (want != "") {
			t.Errorf("Next = %q, %v; want %q", v, ok, want)
		}
	}
}

func TestNextWaits(t *testing.T) {
	for _, end := range []string{"put", "over", "quit"} {
		synctest.Test(t, func(t *testing.T) {
			quit, over := make(chan struct{}), make(chan struct{})
			m := New[int](10, quit, never)
			time.AfterFunc(time.Hour, func() {
				switch end {
				case "put":
					m.Put(1, 1)
				case "over":
					close(over)
				case "quit":
					close(quit)
				}
			})
			begin := time.Now()
			v, ok := m.Next(over)
			if took := time.Since(begin); ok != (end == "put") || took != time.Hour {
				t.Errorf("%s: Next = %d, %v after %v", end, v, ok, took)
			}
		})
	}
}

func TestNothingIsTakenAfterTheEnd(t *testing.T) {
	quit := make(chan struct{})
	m := New[int](10, quit, never)
	m.Put(1, 1)
	close(quit)
	if v, ok := m.Next(nil); ok || m.Empty() {
		t.Errorf("Next = %d", v)
	}
}

func TestAFullMailboxHoldsPut(t *testing.T) {
	const after = 10*time.Second + 7*time.Millisecond // when nobody polls
	for _, end := range []string{"taken", "quit", "failed"} {
		synctest.Test(t, func(t *testing.T) {
			var failed atomic.Bool
			quit := make(chan struct{})
			m := New[int](3*(cost+1), quit, failed.Load)
			begin := time.Now()
			for i := range 3 {
				m.Put(i, 1)
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("a Put into a Mailbox with room took %v", took)
			}
			go func() {
				time.Sleep(after)
				switch end {
				case "taken":
					m.Next(nil)
				case "quit":
					close(quit)
				case "failed":
					failed.Store(true)
				}
			}()
			m.Put(3, 1)
			most := after
			if end == "failed" {
				most += failurePoll
			}
			if took := time.Since(begin); took < after || took > most {
				t.Errorf("%s: Put took %v", end, took)
			}
			if end == "failed" { // no poll any more
				begin = time.Now()
				m.Put(4, 1)
				if took := time.Since(begin); took != 0 {
					t.Errorf("another Put took %v", took)
				}
			}
			if end != "taken" {
				return
			}
			for want := 1; want <= 3; want++ {
				if v, _ := m.Next(nil); v != want {
					t.Errorf("Next = %d, want %d", v, want)
				}
			}
		})
	}
}

// A letter of no bytes costs something too.
func TestEmptyLettersFillAMailbox(t *testing.T) {
	quit := make(chan struct{})
	close(quit)
	m := New[int](10*cost, quit, never)
	for range 20 {
		m.Put(0, 0)
	}
	if n := len(m.waiting); n != 10 {
		t.Errorf("%d letters", n)
	}
}
