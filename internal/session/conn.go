package session

import (
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// noDeadline never passes. Deadlines are counted from when a connection was opened.
const noDeadline = time.Duration(math.MaxInt64)

// closeTimeout bounds what is waited for when a connection is closed.
const closeTimeout = time.Second

// errClosing says that nothing may be written any more, since Close will be.
var errClosing = errors.New("closing")

// errGone says that the write lock is not waited for any more.
var errGone = errors.New("gone")

// conn is an open websocket: its reader, write lock, ping clock and goodbye. It
// knows no task; its owner is whoever receives, and it can be handed over.
type conn struct {
	socket       socket   // what frames go through; of who has the write lock
	raw          net.Conn // what that stands on; closing it frees every call at once
	writeTimeout time.Duration
	opened       time.Time // what deadlines are counted from: that costs half of a time.Time
	owner        atomic.Pointer[receiver]
	reader       reader

	// writing is the write lock. A channel and not a mutex, since it is held
	// over I/O, and whoever waits for it gives up at a time of his own. Who shuts
	// the connection takes it for good.
	writing chan struct{}
	closing atomic.Bool // Close waits for the lock; no other message follows
	torn    atomic.Bool // a write has failed, in the middle of a frame perhaps

	controls controls
	pings    atomic.Pointer[pinger] // nil without pings

	aborting sync.Once
	closed   chan struct{} // closed when raw is
}

// newConn makes a connection of one that has been upgraded. ahead has been read
// from it already.
func newConn(through, raw net.Conn, ahead []byte, writeTimeout time.Duration) *conn {
	c := &conn{
		socket: socket{Conn: through}, raw: raw, writeTimeout: writeTimeout, opened: time.Now(),
		writing: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c.socket.opened = c.opened
	_, c.socket.resumes = through.(syscall.Conn)
	c.reader = reader{conn: c, frames: wsframe.NewReader(through, ahead, readLimit), done: make(chan struct{}), code: -1}
	c.controls.conn = c
	return c
}

// handTo makes r the owner of c. The first owner calls serve once it is ready for
// messages.
func (c *conn) handTo(r receiver) { c.owner.Store(&r) }

func (c *conn) receiver() receiver { return *c.owner.Load() }

func (c *conn) serve() { go c.reader.read() }

// startPings starts the ping clock of c's owner, in place of the one before.
func (c *conn) startPings(p *pinger) {
	if last := c.pings.Swap(p); last != nil {
		last.stop()
	}
	if p != nil {
		p.start(c.controls.ping, func() { c.receiver().lost(c, ErrPingTimeout) })
	}
}

// lock takes the write lock. It gives up when gone is closed or the deadline has
// passed.
func (c *conn) lock(gone <-chan struct{}, deadline time.Duration) error {
	select {
	case c.writing <- struct{}{}:
		return nil
	default:
	}
	var late <-chan time.Time
	if deadline != noDeadline {
		timer := time.NewTimer(deadline - c.age())
		defer timer.Stop()
		late = timer.C
	}
	select {
	case c.writing <- struct{}{}:
		return nil
	case <-gone:
		return errGone
	case <-late:
		return ErrWriteTimeout
	}
}

// unlock gives the write lock back, and writes the pings and pongs that have
// waited for it.
func (c *conn) unlock() {
	for {
		c.controls.write()
		<-c.writing
		if !c.controls.waiting.Load() || c.closing.Load() {
			return
		}
		select {
		case c.writing <- struct{}{}:
		default:
			return // whoever has it now writes them
		}
	}
}

// age is the time since c was opened.
func (c *conn) age() time.Duration { return time.Since(c.opened) }

// writeDeadline is when a call that begins now has to have written.
func (c *conn) writeDeadline() time.Duration {
	if c.writeTimeout < 0 {
		return noDeadline
	}
	return c.age() + c.writeTimeout
}

// shut takes the write lock for good. It reports false if it did not get it, or
// has been called before.
func (c *conn) shut(timeout time.Duration) bool {
	return !c.closing.Swap(true) && c.lock(nil, c.age()+timeout) == nil
}

// writeClose says goodbye, unless a message cannot be written to its end within
// timeout.
func (c *conn) writeClose(code int, timeout time.Duration) {
	var payload []byte
	if code != wsframe.CloseNoStatus {
		payload = wsframe.AppendClose(nil, code)
	}
	if c.shut(timeout) {
		// The peer may be gone already, which is fine.
		_ = c.write(wsframe.Close, payload, c.age()+timeout)
	}
}

// abort breaks the connection. It does not wait, neither for the peer nor for
// the Close of a net.Conn that is the user's.
func (c *conn) abort() {
	c.aborting.Do(func() {
		if _, own := c.raw.(*net.TCPConn); own {
			_ = c.raw.Close()
			close(c.closed)
			return
		}
		go func() {
			defer close(c.closed)
			_ = c.raw.SetDeadline(time.Unix(1, 0)) // frees calls even if Close blocks
			_ = c.raw.Close()
		}()
	})
}

// close ends the connection, with a goodbye if the code is not 0, and waits for
// the reader and for who writes; not for long if user code keeps them.
func (c *conn) close(code int) {
	if p := c.pings.Load(); p != nil {
		p.stop()
	}
	if code != 0 {
		timeout := closeTimeout
		if c.writeTimeout > 0 {
			timeout = min(timeout, c.writeTimeout)
		}
		c.writeClose(code, timeout)
	}
	c.abort()
	if code != 0 && isClosed(c.closed) && isClosed(c.reader.done) {
		return
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	for _, ended := range []<-chan struct{}{c.closed, c.reader.done} {
		select {
		case <-ended:
		case <-timer.C:
			return
		}
	}
	if code == 0 {
		c.shut(closeTimeout)
	}
}
