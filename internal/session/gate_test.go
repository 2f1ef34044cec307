package session

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAGateIsFullAtItsLimit(t *testing.T) {
	for _, c := range []struct {
		taken, given int
		full         bool
	}{{0, 0, false}, {9, 0, false}, {10, 0, true}, {11, 0, true}, {11, 1, true}, {11, 2, false}} {
		g := gate{limit: 10}
		g.take(c.taken)
		g.give(c.given)
		if g.full() != c.full || g.pending.Load() != int64(c.taken-c.given) {
			t.Errorf("%d of 10 taken, %d given back: full is %v, pending %d", c.taken, c.given, g.full(), g.pending.Load())
		}
	}
}

func TestHowLongAGateHolds(t *testing.T) {
	for _, c := range []struct {
		name  string
		taken int
		gives []int // one a second
		abort time.Duration
		want  string
	}{
		{"not at all", 9, nil, 0, "back@0s"},
		{"not at all, when it is aborted already", 9, nil, -1, "back@0s"},
		{"until there is space", 10, []int{1}, 0, "stall@0s go@1s back@1s"},
		{"until there is enough", 12, []int{1, 1, 1, 1}, 0, "stall@0s go@3s back@3s"},
		{"until it is aborted", 12, []int{1, 1}, 5 * time.Second, "stall@0s go@5s back@5s"},
		{"when it is aborted already", 12, nil, -1, "stall@0s go@0s back@0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate{limit: 10}
				g.take(c.taken)
				log, abort, done := newDiary(), make(chan struct{}), make(chan struct{})
				if c.abort < 0 {
					close(abort)
				}
				go func() {
					defer close(done)
					g.wait(abort, func(stalled bool) {
						if stalled {
							log.now("stall")
						} else {
							log.now("go")
						}
					})
					log.now("back")
				}()
				for _, n := range c.gives {
					time.Sleep(time.Second)
					g.give(n)
				}
				if c.abort > 0 {
					log.till(c.abort)
					close(abort)
				}
				<-done
				if got := log.String(); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

// A gate holds as often as it is full, after an abort too.
func TestAGateHoldsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{limit: 1}
		aborted := make(chan struct{})
		close(aborted)
		g.take(1)
		g.wait(aborted, func(bool) {})
		for range 3 {
			begin := time.Now()
			time.AfterFunc(time.Second, func() { g.give(1); g.take(1); g.give(1) })
			g.wait(nil, func(bool) {})
			if took := time.Since(begin); took != time.Second {
				t.Errorf("it held for %v", took)
			}
			g.take(1)
		}
		g.give(1) // nobody waits
		g.wait(nil, func(bool) { t.Error("a stall of a gate that is not full") })
	})
}

// The space that comes while somebody is about to wait is seen.
func TestAGateMissesNoSpace(t *testing.T) {
	g := gate{limit: 1}
	turns := make(chan struct{})
	go func() {
		for range turns {
			g.give(1)
		}
	}()
	for range 5000 {
		g.take(1)
		turns <- struct{}{}
		g.wait(nil, func(bool) {})
	}
	close(turns)
}
