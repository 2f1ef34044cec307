package session

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

func TestAGoodbyeIsWrittenOnceAndIsTheLast(t *testing.T) {
	for code, want := range map[int]string{wsframe.CloseNormal: "88:03e8@0s", 3000: "88:0bb8@0s", wsframe.CloseNoStatus: "88:@0s"} {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.listen()
			l.writeClose(code, time.Second)
			l.writeClose(wsframe.CloseProtocol, time.Second)
			expect(t, l.told, want)
			for _, opcode := range []byte{wsframe.Text, wsframe.Binary, wsframe.Ping, wsframe.Pong} {
				if err := l.write(opcode, nil, noDeadline); err != errClosing {
					t.Errorf("write(%x) = %v after it", opcode, err)
				}
			}
			if err := l.lock(nil, l.age()+time.Hour); err != ErrWriteTimeout {
				t.Errorf("the lock is free after it: %v", err)
			}
			expect(t, l.told, want)
		})
	}
}

// A message that is being written holds the goodbye up, and then a peer that does
// not read it; each for no longer than its bound.
func TestHowLongAGoodbyeTakes(t *testing.T) {
	for _, c := range []struct {
		name    string
		busy    time.Duration // until the lock is free; never if negative
		listens bool
		after   time.Duration
		want    string
	}{
		{"no time", 0, true, 0, "88:03e8@0s"},
		{"until the lock is free", time.Second, true, time.Second, "88:03e8@1s"},
		{"no longer than its bound", -1, true, 3 * time.Second, ""},
		{"no longer than its bound, though nobody reads", 0, false, 3 * time.Second, ""},
		{"twice that, if both", 2 * time.Second, false, 5 * time.Second, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLine(t, time.Hour, func(t *testing.T, l *line) {
				if c.listens {
					l.listen()
				}
				if c.busy != 0 {
					l.take()
				}
				if c.busy > 0 {
					time.AfterFunc(c.busy, l.unlock)
				}
				begin := time.Now()
				l.writeClose(wsframe.CloseNormal, 3*time.Second)
				if took := time.Since(begin); took != c.after {
					t.Errorf("it took %v", took)
				}
				expect(t, l.told, c.want)
			})
		})
	}
}

// stubborn is a net.Conn of a user whose Close takes its time.
type stubborn struct {
	net.Conn
	linger time.Duration
	closes *atomic.Int32
}

func (c stubborn) Close() error {
	c.closes.Add(1)
	time.Sleep(c.linger)
	return c.Conn.Close()
}

func TestClose(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name         string
		code         int
		writeTimeout time.Duration
		deaf         bool          // the peer reads nothing
		busy         time.Duration // until who writes gives the lock back; never if negative
		linger       time.Duration // in the Close of the net.Conn
		reader       time.Duration // until the reader's owner lets it go
		after        time.Duration
		want         string
	}{
		{name: "with a goodbye", code: 1000, writeTimeout: 10 * second, want: "88:03e8@0s end@0s"},
		{name: "without", writeTimeout: 10 * second, want: "end@0s"},
		{name: "a goodbye that nobody reads", code: 1000, writeTimeout: 10 * second, deaf: true, after: second},
		{name: "a goodbye that nobody reads, short", code: 1000, writeTimeout: second / 4, deaf: true, after: second / 4},
		{name: "a goodbye that nobody reads, unbounded", code: 1000, writeTimeout: -1, deaf: true, after: second},
		{name: "a goodbye that nobody reads, zero", code: 1000, deaf: true, after: second},
		{name: "a goodbye behind a message", code: 1000, writeTimeout: 10 * second, busy: second / 2, after: second / 2, want: "88:03e8@500ms end@500ms"},
		{name: "a goodbye behind a long message", code: 1000, writeTimeout: 10 * second, busy: -1, after: second, want: "end@1s"},
		{name: "a goodbye behind a long message, short", code: 1000, writeTimeout: second / 4, busy: -1, after: second / 4, want: "end@250ms"},
		{name: "none, so who writes is waited for", writeTimeout: 10 * second, busy: second / 2, after: second / 2, want: "end@0s"},
		{name: "none, and not for long", writeTimeout: 10 * second, busy: -1, after: second, want: "end@0s"},
		{name: "a slow Close", writeTimeout: second, linger: second / 2, after: second / 2, want: "end@500ms"},
		{name: "a Close that does not return", writeTimeout: second, linger: 2 * second, after: second, want: "end@2s"},
		{name: "a reader that is kept", writeTimeout: second, reader: second / 2, after: second / 2, want: "end@0s"},
		{name: "a reader that is kept for long", writeTimeout: second, reader: 2 * second, after: second, want: "end@0s"},
		{name: "a Close and a reader for long", writeTimeout: second, linger: 2 * second, reader: 2 * second, after: second, want: "end@2s"},
		{name: "a slow Close and a reader that is kept", writeTimeout: second, linger: second / 2, reader: 2 * second, after: second, want: "end@500ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closes atomic.Int32
				l := newLine(t, c.writeTimeout, func(conn net.Conn) net.Conn { return stubborn{conn, c.linger, &closes} })
				if !c.deaf {
					l.listen()
				}
				gone := make(chan struct{})
				l.hold = func() bool {
					if c.reader > 0 {
						<-gone
					}
					return true
				}
				l.startPings(newPinger(time.Hour, 0))
				l.serve()
				if c.busy != 0 {
					l.take()
				}
				if c.busy > 0 {
					time.AfterFunc(c.busy, l.unlock)
				}
				time.AfterFunc(c.reader, func() { close(gone) })
				begin := time.Now()
				l.close(c.code)
				if took := time.Since(begin); took != c.after {
					t.Errorf("it took %v", took)
				}
				if !l.pings.Load().stopped {
					t.Error("the ping clock goes on")
				}
				time.Sleep(5*time.Second - time.Since(begin))
				if !c.deaf {
					expect(t, l.told, c.want)
				}
				if n := closes.Load(); n != 1 {
					t.Errorf("the net.Conn was closed %d times", n)
				}
			})
		})
	}
}

// A connection without pings closes too.
func TestCloseWithoutPings(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.serve()
		l.listen()
		l.close(wsframe.CloseNormal)
		expect(t, l.told, "88:03e8@0s end@0s")
	})
}

// Nobody writes any more when close has returned.
func TestAfterCloseTheLockIsTaken(t *testing.T) {
	for _, code := range []int{0, wsframe.CloseNormal} {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.serve()
			l.listen()
			l.close(code)
			if !l.closing.Load() || len(l.writing) == 0 {
				t.Errorf("after close(%d) somebody may write", code)
			}
		})
	}
}

// abort waits for nothing, and frees who reads and who writes, even if the Close
// of the net.Conn does not.
func TestAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closes atomic.Int32
		l := newLine(t, -1, func(conn net.Conn) net.Conn { return stubborn{conn, time.Minute, &closes} })
		l.serve()
		writes := newDiary()
		go func() {
			err := l.write(wsframe.Binary, []byte("x"), noDeadline)
			writes.now("%v", err)
		}()
		time.Sleep(time.Second)
		l.abort()
		l.abort()
		if time.Since(writes.begin) != time.Second || isClosed(l.closed) {
			t.Error("it waited for Close")
		}
		expect(t, writes, "write pipe: i/o timeout@1s")
		expect(t, l.owner, "lost:-1:read pipe: i/o timeout")
		if n := closes.Load(); n != 1 {
			t.Errorf("%d calls of Close", n)
		}
		time.Sleep(2 * time.Minute)
		if !isClosed(l.closed) || closes.Load() != 1 {
			t.Errorf("closed after %d calls of Close: %v", closes.Load(), isClosed(l.closed))
		}
	})
}

// What is closed is what the connection stands on: TLS says goodbye first, which
// takes five seconds on a full socket.
func TestAbortClosesWhatTheConnectionStandsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		var through, raw atomic.Int32
		c := newConn(stubborn{near, 0, &through}, stubborn{near, 0, &raw}, nil, time.Second)
		c.abort()
		<-c.closed
		if through.Load() != 0 || raw.Load() != 1 {
			t.Errorf("TLS was closed %d times, what it stands on %d times", through.Load(), raw.Load())
		}
	})
}
