package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

func TestTheWriteLock(t *testing.T) {
	const never = -time.Second
	for _, c := range []struct {
		name              string
		free, gone, bound time.Duration // when it is; never if negative, before if zero
		want              error
		after             time.Duration
	}{
		{"free", 0, never, never, nil, 0},
		{"free, though its bound has passed", 0, never, 0, nil, 0},
		{"free, though nobody waits", 0, 0, never, nil, 0},
		{"free after a while", time.Hour, never, never, nil, time.Hour},
		{"free in time", 3 * time.Second, 5 * time.Second, 4 * time.Second, nil, 3 * time.Second},
		{"free too late", 3 * time.Second, never, 2 * time.Second, ErrWriteTimeout, 2 * time.Second},
		{"not waited for any more", 3 * time.Second, time.Second, 2 * time.Second, errGone, time.Second},
		{"not waited for", never, 0, never, errGone, 0},
		{"busy, and the bound has passed", never, never, 0, ErrWriteTimeout, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLine(t, 0, func(t *testing.T, l *line) {
				if c.free != 0 {
					l.take()
				}
				if c.free > 0 {
					time.AfterFunc(c.free, l.unlock)
				}
				gone := make(chan struct{})
				if c.gone == 0 {
					close(gone)
				} else if c.gone > 0 {
					time.AfterFunc(c.gone, func() { close(gone) })
				}
				begin := time.Now()
				deadline := l.age() + c.bound
				if c.bound < 0 {
					deadline = noDeadline
				}
				if err := l.lock(gone, deadline); err != c.want || time.Since(begin) != c.after {
					t.Errorf("lock = %v after %v", err, time.Since(begin))
				}
				time.Sleep(time.Minute)
				if free := len(l.writing) == 0; free != (c.want != nil && c.free > 0) {
					t.Errorf("then it is free: %v", free)
				}
			})
		})
	}
}

// Who has waited gets the lock before whoever gives it back.
func TestTheWriteLockGoesToWhoWaits(t *testing.T) {
	inLine(t, 0, func(t *testing.T, l *line) {
		l.take()
		order := newDiary()
		go func() {
			_ = l.lock(nil, noDeadline)
			order.note("waited")
			l.unlock()
		}()
		synctest.Wait()
		l.unlock()
		_ = l.lock(nil, noDeadline)
		order.note("back")
		expect(t, order, "waited back")
	})
}

func TestWhenACallHasToHaveWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := time.Now()
		time.Sleep(time.Minute)
		for timeout, want := range map[time.Duration]time.Duration{-1: noDeadline, 0: time.Minute, time.Second: time.Minute + time.Second} {
			if got := (&conn{writeTimeout: timeout, opened: opened}).writeDeadline(); got != want {
				t.Errorf("%v: %v, want %v", timeout, got, want)
			}
		}
	})
}

// The pings and pongs that wait are written by whoever has the lock, when it gives
// it back: only what the last ping said is answered.
func TestControlsAreWrittenBetweenMessages(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.startPings(newPinger(time.Second, 0))
		l.listen()
		l.take()
		time.Sleep(5 * time.Second) // the clock has asked for a ping
		l.controls.pong([]byte("one"))
		l.controls.pong([]byte("two"))
		if err := l.write(wsframe.Binary, []byte("message"), l.writeDeadline()); err != nil {
			t.Error(err)
		}
		expect(t, l.told, "82:6d657373616765@5s")
		l.unlock()
		expect(t, l.told, "82:6d657373616765@5s 8a:74776f@5s 89:@5s")
		time.Sleep(1500 * time.Millisecond) // and the clock goes on
		expect(t, l.told, "82:6d657373616765@5s 8a:74776f@5s 89:@5s 89:@6s")
		l.close(0)
	})
}

// A pong that comes while the lock is given back is not forgotten.
func TestControlsThatComeAtTheLastMoment(t *testing.T) {
	for range 200 {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.listen()
			l.take()
			go l.unlock()
			l.controls.pong(nil)
			synctest.Wait()
			expect(t, l.told, "8a:@0s")
		})
	}
}

// Neither the reader nor the clock waits for a lock that is busy or for a peer
// that does not read.
func TestNobodyWaitsOnBehalfOfControls(t *testing.T) {
	inLine(t, 3*time.Second, func(t *testing.T, l *line) {
		begin := time.Now()
		l.controls.pong([]byte("x")) // the peer does not read
		synctest.Wait()
		l.controls.pong([]byte("y")) // the lock is busy
		l.controls.ping()
		if took := time.Since(begin); took != 0 {
			t.Errorf("they waited %v", took)
		}
		time.Sleep(time.Second)
		l.listen()
		expect(t, l.told, "8a:78@1s 8a:79@1s")
	})
}

// A ping waits as long as the lock is busy; its timeout begins when it is written.
func TestAPingComesWhenTheLockIsFree(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.startPings(newPinger(8*time.Second, 5*time.Second))
		l.listen()
		l.take()
		time.Sleep(20 * time.Second)
		expect(t, l.told, "")
		l.unlock()
		expect(t, l.told, "89:@20s")
		time.Sleep(10 * time.Second)
		expect(t, l.owner, "lost:nls: no pong from the service@25s")
	})
}

func TestAControlThatCannotBeWrittenInTimeIsAWriteTimeout(t *testing.T) {
	for name, write := range map[string]func(l *line){
		"pong": func(l *line) { l.controls.pong(nil) },
		"ping": func(l *line) { l.startPings(newPinger(time.Second, 0)) },
		"both": func(l *line) {
			l.startPings(newPinger(time.Second, 0))
			l.take()
			l.controls.pong(nil)
			time.Sleep(1500 * time.Millisecond)
			l.unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inLine(t, 3*time.Second, func(t *testing.T, l *line) {
				l.aborts = true
				write(l)
				time.Sleep(10 * time.Second)
				l.startPings(nil)
				expect(t, l.owner, "lost:nls: write timed out@"+map[string]string{"pong": "3s", "ping": "4s", "both": "4.5s"}[name])
			})
		})
	}
}

// Nothing follows a goodbye, and who gives the lock back does not wait for it.
func TestNoControlFollowsAGoodbye(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.startPings(newPinger(time.Hour, 0))
		l.take()
		l.controls.ping()
		l.controls.pong(nil)
		l.writeClose(wsframe.CloseNormal, time.Second) // gives up
		l.listen()
		l.unlock()
		expect(t, l.told, "")
	})
}

// A pong that the last owner waits for is nobody's when it comes.
func TestTheNextOwnerWaitsForNoPongOfTheLast(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.listen()
		l.startPings(newPinger(time.Second, time.Second))
		time.Sleep(1500 * time.Millisecond)
		l.startPings(newPinger(time.Hour, time.Second))
		time.Sleep(10 * time.Second)
		expect(t, l.told, "89:@1s")
		expect(t, l.owner, "")
		l.startPings(nil)
	})
}

// A ping that the clock of the last owner has asked for is not the next one's,
// whose clock may not even run yet.
func TestAPingOfTheLastOwnerIsNotWritten(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.startPings(newPinger(time.Second, 0))
		l.listen()
		l.take()
		time.Sleep(5 * time.Second)
		next := newPinger(2*time.Second, time.Second)
		l.pings.Swap(next).stop()
		l.unlock()
		expect(t, l.told, "")
		next.start(l.controls.ping, func() {})
		time.Sleep(2500 * time.Millisecond)
		expect(t, l.told, "89:@7s")
		l.startPings(nil)
	})
}

func TestAPingThatWaitedIsNotWrittenAfterStop(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.startPings(newPinger(time.Second, 0))
		l.listen()
		l.take()
		time.Sleep(5 * time.Second)
		l.pings.Load().stop()
		l.unlock()
		expect(t, l.told, "")
	})
}
