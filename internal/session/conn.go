package session

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// readLimit is the longest message that is read. The service sends frames of at
// most 64 KiB (protocol §1.8).
const readLimit = 1 << 20

// closeTimeout bounds what is waited for when a connection is closed.
const closeTimeout = time.Second

// errClosing says that nothing may be written any more, since Close will be.
var errClosing = errors.New("closing")

// errGone says that the write lock is not waited for any more.
var errGone = errors.New("gone")

// receiver is who owns a connection. Its methods are called on the reader, but
// for lost, which any goroutine may call, and must not block but in wait.
type receiver interface {
	// wait returns when the next message may come; false ends the reader.
	wait(c *conn) bool
	// receive takes a message, whose data is lent until it returns. If then is
	// not nil it is run when the reader has gone on. If on is false the reader
	// ends.
	receive(c *conn, opcode byte, data []byte) (then func(), on bool)
	// lost is told that the connection has ended or cannot go on.
	lost(c *conn, err error)
	ponged(c *conn, rtt time.Duration)
}

// conn is an open websocket: its reader, write lock, ping clock and goodbye. It
// knows no task.
type conn struct {
	net          net.Conn // what frames go through
	raw          net.Conn // what that stands on; closing it frees every call at once
	writeTimeout time.Duration
	owner        atomic.Pointer[receiver]
	frames       *wsframe.Reader
	readerDone   chan struct{} // closed when the reader has returned

	// writing is the write lock. A channel and not a mutex, since it is held
	// over I/O, and whoever waits for it gives up at a time of his own. Who shuts
	// the connection takes it for good.
	writing chan struct{}
	closing atomic.Bool // Close waits for the lock; no other message follows

	control controls
	pings   atomic.Pointer[pinger] // nil without pings

	aborting sync.Once
	closed   chan struct{} // closed when raw is

	// The Close frame of the peer, when readerDone is closed; -1 if it sent none.
	closeCode   int
	closeReason string
}

// newConn makes a connection of one that has been upgraded. ahead has been read
// from it already.
func newConn(through, raw net.Conn, ahead []byte, writeTimeout time.Duration) *conn {
	return &conn{
		net: through, raw: raw, writeTimeout: writeTimeout, frames: wsframe.NewReader(through, ahead, readLimit),
		readerDone: make(chan struct{}), writing: make(chan struct{}, 1), closed: make(chan struct{}), closeCode: -1,
	}
}

// handTo makes r the owner of c. The first owner calls serve once it is ready for
// messages.
func (c *conn) handTo(r receiver) { c.owner.Store(&r) }

func (c *conn) serve() { go c.read() }

// read is the reader: it reads until the connection ends or its owner has
// enough.
func (c *conn) read() {
	for (*c.owner.Load()).wait(c) {
		opcode, data, err := c.frames.Next()
		switch {
		case err != nil:
			c.readFailed(err)
		case opcode == wsframe.Ping:
			c.pong(data)
			continue
		case opcode == wsframe.Pong:
			if p := c.pings.Load(); p != nil {
				if rtt, ok := p.pong(); ok {
					(*c.owner.Load()).ponged(c, rtt)
				}
			}
			continue
		case opcode == wsframe.Close:
			c.closedByPeer(data)
		default:
			then, on := (*c.owner.Load()).receive(c, opcode, data)
			if then != nil {
				// What receive and then do has grown the stack; a fresh
				// goroutine waits on 2 KiB and not on 8.
				if on {
					go c.read()
				} else {
					c.readEnded()
				}
				then()
				return
			}
			if on {
				continue
			}
		}
		break
	}
	c.readEnded()
}

func (c *conn) readEnded() {
	c.frames.Release()
	close(c.readerDone)
}

// readFailed says how the connection ended, and tells a peer that broke the
// protocol.
func (c *conn) readFailed(err error) {
	lost := &CloseError{Code: -1, Err: err}
	if err == io.EOF {
		lost.Err = io.ErrUnexpectedEOF // it came before the task's end
	}
	if e, ok := errors.AsType[*wsframe.Error](err); ok {
		lost.Code = e.Code
		c.writeClose(e.Code, closeTimeout)
	}
	(*c.owner.Load()).lost(c, lost)
}

// closedByPeer answers the peer's Close.
func (c *conn) closedByPeer(data []byte) {
	code, reason, err := wsframe.ParseClose(data)
	if err != nil {
		c.readFailed(err)
		return
	}
	if code != wsframe.CloseNoStatus {
		c.closeCode, c.closeReason = code, reason
	}
	c.writeClose(code, closeTimeout)
	(*c.owner.Load()).lost(c, &CloseError{Code: code, Reason: reason})
}

// lock takes the write lock. It gives up when gone is closed or the deadline has
// passed; a zero one never does.
func (c *conn) lock(gone <-chan struct{}, deadline time.Time) error {
	select {
	case c.writing <- struct{}{}:
		return nil
	default:
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
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
		c.writeControls()
		<-c.writing
		if !c.control.waiting.Load() {
			return
		}
		select {
		case c.writing <- struct{}{}:
		default:
			return // whoever has it now writes them
		}
	}
}

// writeDeadline is when a call that begins now has to have written.
func (c *conn) writeDeadline() time.Time {
	if c.writeTimeout < 0 {
		return time.Time{}
	}
	return time.Now().Add(c.writeTimeout)
}

// shut takes the write lock for good. It reports false if it did not get it, or
// has been called before.
func (c *conn) shut(timeout time.Duration) bool {
	return !c.closing.Swap(true) && c.lock(nil, time.Now().Add(timeout)) == nil
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
		_ = c.write(wsframe.Close, payload, time.Now().Add(timeout))
	}
}

// abort breaks the connection. It does not wait, neither for the peer nor for
// the Close of a net.Conn that is the user's.
func (c *conn) abort() {
	c.aborting.Do(func() {
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
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	for _, ended := range []<-chan struct{}{c.closed, c.readerDone} {
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

// farewell is the Close frame of the peer, if there was one: its code, else -1.
func (c *conn) farewell() (code int, reason string) {
	select {
	case <-c.readerDone:
		return c.closeCode, c.closeReason
	default:
		return -1, ""
	}
}
