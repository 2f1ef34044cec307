package session

import (
	"testing"
	"testing/synctest"
	"time"
)

// A timer that fires while its bound is stopped comes when another bound runs, or
// none. It ends neither.
func TestATimerOfABoundThatIsGoneEndsNoOther(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(l *timeline)
		want string
	}{
		{"another runs", func(l *timeline) { l.start(seconds(10, errB)) }, "service: B@20s"},
		{"another has just been met", func(l *timeline) { l.start(seconds(10, errB)); l.answer(false) }, ""},
		{"one of silence runs", func(l *timeline) { l.start(silence(10, errB)) }, "service: B@20s"},
		{"none runs", func(l *timeline) { l.stop() }, ""},
		{"it goes on, since a stall has ended", func(l *timeline) { l.bounds.stall(true); l.bounds.stall(false) }, "service: A@20s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newTimeline()
				l.start(bound{limit: 20 * time.Second, timeout: errA})
				time.Sleep(10 * time.Second)
				c.then(l)
				l.fire() // the timer of A, that waited for the lock
				if got := l.String(); got != "" {
					t.Errorf("it ended %q at once", got)
				}
				time.Sleep(time.Hour)
				if got := l.String(); got != c.want {
					t.Errorf("it ended %q, want %q", got, c.want)
				}
			})
		})
	}
}

// A bound that has passed ends what it bounds once, and is none any more.
func TestABoundPassesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline()
		l.expire = func(b bound, ours bool) func() {
			return func() {
				if left := l.stop(); left != (bound{}) { // and no lock is held
					t.Errorf("%+v still runs", left)
				}
				l.now("%v", b.timeout)
			}
		}
		l.start(seconds(10, errA))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		l.fire()
		l.fire()
		if got := l.String(); got != "A@10s" {
			t.Errorf("it ended %q", got)
		}
	})
}

// The reader notes messages while timers fire, callbacks run and calls begin.
func TestBoundsAreForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTimeline()
		l.expire = func(bound, bool) func() {
			t.Error("it ended though messages came")
			return doNothing
		}
		l.start(silence(10, errA))
		done := make(chan struct{})
		for _, f := range []func(){l.message, func() { l.startFirst(seconds(1, errB)) }, l.stopStart, l.fire} {
			go func() {
				for !isClosed(done) {
					f()
					time.Sleep(time.Second)
				}
			}()
		}
		for range 100 {
			time.Sleep(time.Second)
			l.stall(true)
			l.stall(false)
		}
		close(done)
		time.Sleep(time.Second)
		l.stop()
	})
}
