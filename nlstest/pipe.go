package nlstest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is how many bytes one direction of an in-memory connection holds,
// in the order of a socket buffer.
const pipeBuffer = 64 << 10

// pipeAddr is the address of an in-memory listener. It looks like a TCP address
// on loopback, so that no proxy setting applies to it.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// pipeListener accepts in-memory connections. net.Pipe has no buffer and no
// reset: two sides that write at the same time would wait for each other for ever.
// Everything that waits here waits on a channel, so that testing/synctest sees it
// as blocked.
type pipeListener struct {
	addr   pipeAddr
	accept chan *pipeConn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener(addr string) *pipeListener {
	return &pipeListener{addr: pipeAddr(addr), accept: make(chan *pipeConn), closed: make(chan struct{})}
}

func (l *pipeListener) Addr() net.Addr { return l.addr }

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, opError("accept", l.addr, net.ErrClosed)
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// dial connects to l.
func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := newPipe(l.addr)
	select {
	case l.accept <- server:
		return client, nil
	case <-l.closed:
		return nil, opError("dial", l.addr, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, opError("dial", l.addr, ctx.Err())
	}
}

func opError(op string, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "pipe", Addr: addr, Err: err}
}

// pipeConn is one end of an in-memory connection.
type pipeConn struct {
	in, out     *pipeStream // what the other end writes, and what it reads
	addr        net.Addr
	read, write deadline
}

// newPipe returns the two ends of a connection to addr.
func newPipe(addr net.Addr) (client, server *pipeConn) {
	up, down := newPipeStream(), newPipeStream()
	client = &pipeConn{in: down, out: up, addr: addr}
	server = &pipeConn{in: up, out: down, addr: addr}
	return client, server
}

func (c *pipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, &c.read)
	if err != nil && err != io.EOF {
		err = opError("read", c.addr, err)
	}
	return n, err
}

func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p, &c.write)
	if err != nil {
		err = opError("write", c.addr, err)
	}
	return n, err
}

// Close ends both directions. The other end may read what was written before.
func (c *pipeConn) Close() error {
	c.in.change(func(s *pipeStream) { s.setReadErr(net.ErrClosed); s.setWriteErr(syscall.EPIPE); s.buf = nil })
	c.out.change(func(s *pipeStream) { s.setReadErr(io.EOF); s.setWriteErr(net.ErrClosed) })
	return nil
}

// CloseWrite ends one direction: the other end reads io.EOF.
func (c *pipeConn) CloseWrite() error {
	c.out.change(func(s *pipeStream) { s.setReadErr(io.EOF); s.setWriteErr(syscall.EPIPE) })
	return nil
}

// reset is Close as a TCP reset does it: what is on its way is lost.
func (c *pipeConn) reset() error {
	c.in.change(func(s *pipeStream) { s.setReadErr(net.ErrClosed); s.setWriteErr(syscall.ECONNRESET); s.buf = nil })
	c.out.change(func(s *pipeStream) { s.readErr = syscall.ECONNRESET; s.setWriteErr(net.ErrClosed); s.buf = nil })
	return nil
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.addr }
func (c *pipeConn) RemoteAddr() net.Addr { return c.addr }

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

func (c *pipeConn) SetReadDeadline(t time.Time) error  { c.read.set(t); return nil }
func (c *pipeConn) SetWriteDeadline(t time.Time) error { c.write.set(t); return nil }

// pipeStream is one direction of a connection.
type pipeStream struct {
	writing chan struct{} // one slot: a Write is not interleaved with another

	mu       sync.Mutex // held for a moment only, never while waiting
	buf      []byte
	readErr  error         // once buf is empty
	writeErr error         // at once
	waiting  chan struct{} // closed at the next change; nil when nobody waits
}

func newPipeStream() *pipeStream { return &pipeStream{writing: make(chan struct{}, 1)} }

// setReadErr and setWriteErr keep the first error, except that closing one's own
// end is always reported as such.
func (s *pipeStream) setReadErr(err error) {
	if s.readErr == nil || err == net.ErrClosed {
		s.readErr = err
	}
}

func (s *pipeStream) setWriteErr(err error) {
	if s.writeErr == nil || err == net.ErrClosed {
		s.writeErr = err
	}
}

// change runs f and wakes who waits.
func (s *pipeStream) change(f func(*pipeStream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
	s.wake()
}

func (s *pipeStream) wake() {
	if s.waiting != nil {
		close(s.waiting)
		s.waiting = nil
	}
}

// wait returns a channel that is closed at the next change. s.mu is held.
func (s *pipeStream) wait() <-chan struct{} {
	if s.waiting == nil {
		s.waiting = make(chan struct{})
	}
	return s.waiting
}

func (s *pipeStream) read(p []byte, d *deadline) (int, error) {
	for {
		expired, passed := d.done()
		if passed {
			return 0, os.ErrDeadlineExceeded
		}
		s.mu.Lock()
		switch {
		case errors.Is(s.readErr, net.ErrClosed):
			s.mu.Unlock()
			return 0, net.ErrClosed
		case len(s.buf) > 0 || len(p) == 0:
			n := copy(p, s.buf)
			if s.buf = s.buf[n:]; len(s.buf) == 0 {
				s.buf = nil // idle connections hold no buffer
			}
			s.wake()
			s.mu.Unlock()
			return n, nil
		case s.readErr != nil:
			err := s.readErr
			s.mu.Unlock()
			return 0, err
		}
		changed := s.wait()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-expired:
		}
	}
}

func (s *pipeStream) write(p []byte, d *deadline) (n int, err error) {
	expired, _ := d.done()
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	}
	for {
		expired, passed := d.done()
		if passed {
			return n, os.ErrDeadlineExceeded
		}
		s.mu.Lock()
		if s.writeErr != nil {
			err := s.writeErr
			s.mu.Unlock()
			return n, err
		}
		if room := min(pipeBuffer-len(s.buf), len(p)-n); room > 0 {
			s.buf = append(s.buf, p[n:n+room]...)
			n += room
			s.wake()
		}
		if n == len(p) {
			s.mu.Unlock()
			return n, nil
		}
		changed := s.wait()
		s.mu.Unlock()
		select {
		case <-changed:
		case <-expired:
		}
	}
}

// deadline is a read or write deadline that can be waited for.
type deadline struct {
	mu    sync.Mutex
	at    time.Time // zero for none
	timer *time.Timer
	ch    chan struct{} // closed when the deadline has passed
}

// done returns a channel that is closed when the deadline passes, and whether it
// has. A deadline that is moved reaches those who wait already.
func (d *deadline) done() (expired <-chan struct{}, passed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	return d.ch, !d.at.IsZero() && !time.Now().Before(d.at)
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ch == nil || isClosed(d.ch) {
		d.ch = make(chan struct{})
	}
	if d.at = t; t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		close(d.ch)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // else set has come too late to stop it
			close(d.ch)
		}
	})
	d.timer = timer
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
