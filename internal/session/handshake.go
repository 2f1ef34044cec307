package session

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// handshakeLimit is what may be read before the connection is open: certificates
// and headers, of the gateway and of a proxy, some ten times over.
const handshakeLimit = 256 << 10

// bodyTimeout bounds the wait for the body of a refusal.
const bodyTimeout = time.Second

var errTooLong = errors.New("the answer is too long")

// boundedConn is a connection of which at most left bytes are read while it is
// opened: nothing else bounds the headers of an HTTP response.
type boundedConn struct {
	net.Conn
	left int // negative once it is open
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, errTooLong
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// upgrading is a connection while gorilla upgrades it. It hands out the header of
// the answer alone, so that what came with it stays for our own reader; it knows
// of a refusal before its body has come; and it does not wait long for that body.
type upgrading struct {
	net.Conn
	raw    net.Conn // what it stands on
	ctx    context.Context
	status *atomic.Int32 // of an answer other than 101, from when it is known

	answered bool   // something has been read of the answer
	ahead    []byte // read and not handed out
	first    []byte // the start of the status line
	line     int    // how much there is of the line that is being handed out, without its end
	complete bool   // the header has been handed out
}

// statusLine is enough of a status line to find the status in.
const statusLine = 64

// Close does not say goodbye to TLS, which takes five seconds on a full socket.
func (u *upgrading) Close() error { return u.raw.Close() }

func (u *upgrading) Read(p []byte) (int, error) {
	if len(u.ahead) == 0 {
		n, err := u.Conn.Read(p)
		if n == 0 {
			return 0, err
		}
		u.answered = true
		u.ahead = append(u.ahead, p[:n]...)
	}
	n := min(len(p), len(u.ahead))
	if !u.complete {
		n = u.headerEnd(n)
	}
	copy(p, u.ahead[:n])
	u.ahead = u.ahead[n:]
	return n, nil
}

// headerEnd returns how much of the first n bytes of ahead is header. An empty
// line ends it.
func (u *upgrading) headerEnd(n int) int {
	for i, b := range u.ahead[:n] {
		if len(u.first) < statusLine {
			u.first = append(u.first, b)
		}
		switch {
		case b == '\n' && u.line == 0:
			u.complete = true
			u.answer()
			return i + 1
		case b == '\n':
			u.line = 0
		case b != '\r':
			u.line++
		}
	}
	return n
}

// answer looks at the status line.
func (u *upgrading) answer() {
	line, _, _ := strings.Cut(string(u.first), "\n")
	_, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	status, err := strconv.Atoi(strings.TrimSpace(code))
	if err != nil || status == 101 {
		return
	}
	u.status.Store(int32(status))
	deadline := time.Now().Add(bodyTimeout)
	if end, ok := u.ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	_ = u.Conn.SetReadDeadline(deadline)
}
