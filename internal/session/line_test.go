package session

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// owner is a receiver that is no task: it notes what it is told.
type owner struct {
	*diary
	hold   func() bool           // wait
	take   func() (func(), bool) // receive
	aborts bool                  // when it is lost
}

func (o *owner) wait(*conn) bool { return o.hold == nil || o.hold() }

func (o *owner) receive(_ *conn, opcode byte, data []byte) (then func(), on bool) {
	o.note("%x:%.20s", opcode, data)
	if o.take != nil {
		return o.take()
	}
	return nil, true
}

func (o *owner) lost(c *conn, err error) {
	if o.aborts {
		defer c.abort()
	}
	e, ok := errors.AsType[*CloseError](err)
	switch {
	case ok && e.Err != nil:
		o.note("lost:%d:%v", e.Code, e.Err)
	case ok:
		o.note("lost:%d:%s", e.Code, e.Reason)
	default:
		o.now("lost:%v", err)
	}
}

func (o *owner) ponged(_ *conn, rtt time.Duration) { o.note("pong:%v", rtt) }

// line is a connection with both its ends.
type line struct {
	*conn
	*owner
	peer   net.Conn
	told   *diary // what the peer has read, once it reads
	reads  sync.WaitGroup
	served atomic.Bool
}

// newLine opens a connection without a handshake. wrap may be nil.
func newLine(t *testing.T, writeTimeout time.Duration, wrap func(net.Conn) net.Conn) *line {
	near, far := net.Pipe()
	if wrap != nil {
		near = wrap(near)
	}
	l := &line{peer: far, told: newDiary(), owner: &owner{diary: newDiary()}}
	l.conn = newConn(near, near, nil, writeTimeout)
	l.handTo(l.owner)
	t.Cleanup(func() {
		l.abort()
		_ = far.Close()
		l.reads.Wait()
		if l.served.Load() {
			<-l.reader.done
		}
	})
	return l
}

func (l *line) serve() {
	l.served.Store(true)
	l.conn.serve()
}

// listen makes the peer read.
func (l *line) listen() {
	l.reads.Go(func() {
		for {
			f, err := wsframe.Read(l.peer)
			if err != nil {
				l.told.now("end")
				return
			}
			l.told.now("%x:%x", f.First, f.Payload[:min(len(f.Payload), 8)])
		}
	})
}

// says makes the peer send a frame.
func (l *line) says(first byte, payload string) {
	_, _ = l.peer.Write(wsframe.Append(nil, first, []byte(payload)))
}

// take takes the write lock, as a sender does whose message takes its time.
func (l *line) take() { l.writing <- struct{}{} }

// inLine runs a test with a line in a bubble.
func inLine(t *testing.T, writeTimeout time.Duration, f func(t *testing.T, l *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, writeTimeout, nil)
		defer time.AfterFunc(24*time.Hour, func() { // a deadlock would panic
			t.Error("not over after a day: the line is cut")
			l.abort()
			_ = l.peer.Close()
		}).Stop()
		f(t, l)
	})
}

// expect compares what parts of the line have noted.
func expect(t *testing.T, what fmt.Stringer, want string) {
	t.Helper()
	synctest.Wait()
	if got := what.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
