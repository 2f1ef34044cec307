package session

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// parts is a net.Conn that gives one part after another.
type parts struct {
	net.Conn
	left     []string
	deadline time.Time
}

func (c *parts) Read(p []byte) (int, error) {
	for len(c.left) > 0 && c.left[0] == "" {
		c.left = c.left[1:]
	}
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[0])
	c.left[0] = c.left[0][n:]
	return n, nil
}

func (c *parts) SetReadDeadline(t time.Time) error { c.deadline = t; return nil }

func newUpgrading(t *testing.T, c net.Conn) *upgrading {
	return &upgrading{Conn: c, raw: c, ctx: t.Context(), status: new(atomic.Int32)}
}

// handedOut is what u hands out until its header is complete, in reads of n bytes.
func handedOut(t *testing.T, u *upgrading, n int) string {
	var got strings.Builder
	for !u.complete {
		p := make([]byte, n)
		n, err := u.Read(p)
		if err != nil || n == 0 {
			t.Fatalf("%d bytes, %v after %q", n, err, got.String())
		}
		got.Write(p[:n])
	}
	return got.String()
}

// The header is handed out alone, wherever the network cuts it, and what follows
// it stays for our own reader.
func TestTheHeaderOfAnAnswerIsHandedOutAlone(t *testing.T) {
	const after = "\x81\x02\r\n\r\nand more"
	for _, header := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 101\nUpgrade: websocket\n\n",
		"HTTP/1.1 101 Mixed\r\nA: b\n\r\n",
		"HTTP/1.1 101 Mixed\nA: b\r\n\n",
		"HTTP/1.1 101 With a carriage return\r\nA: b\rc\r\n\r\n",
		"HTTP/1.1 101\r\nLong: " + strings.Repeat("x", 100) + "\r\n\r\n",
	} {
		all := header + after
		for cut := 0; cut <= len(all); cut++ {
			for _, n := range []int{1, 7, 4096} {
				c := &parts{left: []string{all[:cut], all[cut:]}}
				u := newUpgrading(t, c)
				got := handedOut(t, u, n)
				if rest := string(u.ahead) + strings.Join(c.left, ""); got != header || rest != after {
					t.Fatalf("%q cut at %d, read by %d: header %q, then %q", header, cut, n, got, rest)
				}
				if u.status.Load() != 0 || !c.deadline.IsZero() {
					t.Fatalf("an upgrade has status %d and deadline %v", u.status.Load(), c.deadline)
				}
			}
		}
	}
}

func TestByteAfterByteOfAnAnswer(t *testing.T) {
	const header, body = "HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\n", "no\r\n\r\n!"
	u := newUpgrading(t, readerConn{iotest.OneByteReader(strings.NewReader(header + body))})
	if got := handedOut(t, u, 100); got != header || u.status.Load() != 403 {
		t.Errorf("header %q, status %d", got, u.status.Load())
	}
	if rest, err := io.ReadAll(u); string(rest) != body || err != nil {
		t.Errorf("body %q, %v", rest, err)
	}
}

func TestABodyIsReadInPieces(t *testing.T) {
	u := newUpgrading(t, &parts{left: []string{"HTTP/1.1 403\n\nforbidden"}})
	handedOut(t, u, 100)
	for _, want := range []string{"for", "bid", "den"} {
		p := make([]byte, 3)
		if n, err := u.Read(p); n != 3 || err != nil || string(p) != want {
			t.Fatalf("%q, %d, %v, want %q", p, n, err, want)
		}
	}
}

// readerConn is a net.Conn that can only be read.
type readerConn struct{ io.Reader }

func (readerConn) Write(b []byte) (int, error)      { return len(b), nil }
func (readerConn) Close() error                     { return nil }
func (readerConn) LocalAddr() net.Addr              { return nil }
func (readerConn) RemoteAddr() net.Addr             { return nil }
func (readerConn) SetDeadline(time.Time) error      { return nil }
func (readerConn) SetReadDeadline(time.Time) error  { return nil }
func (readerConn) SetWriteDeadline(time.Time) error { return nil }

// The status is known as soon as the header is there, and the body is not waited
// for long.
func TestTheStatusOfAnAnswer(t *testing.T) {
	for line, want := range map[string]int32{
		"HTTP/1.1 403 Forbidden\r":                  403,
		"HTTP/1.1 403\r":                            403,
		"HTTP/1.1 503":                              503,
		"HTTP/1.1   401 Unauthorized\r":             401,
		"HTTP/1.1 200 " + strings.Repeat("OK ", 40): 200,
		"HTTP/1.1 101 Switching Protocols\r":        0,
		"HTTP/1.1\r":                                0,
		"HTTP/1.1 none\r":                           0,
		"":                                          0,
		strings.Repeat("x", 64) + " 403 too late":   0,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &parts{left: []string{line + "\nA: 403\n\n"}}
			u := newUpgrading(t, c)
			_, _ = u.Read(make([]byte, 4096))
			wantDeadline := time.Time{}
			if want != 0 {
				wantDeadline = time.Now().Add(time.Second)
			}
			if u.status.Load() != want || !c.deadline.Equal(wantDeadline) {
				t.Errorf("%q: status %d, deadline %v", line, u.status.Load(), c.deadline)
			}
		})
	}
}

// A deadline that comes first bounds the body too.
func TestTheBodyIsNotWaitedForBeyondTheContext(t *testing.T) {
	for within, want := range map[time.Duration]time.Duration{time.Second / 4: time.Second / 4, time.Minute: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			c := &parts{left: []string{"HTTP/1.1 403\r\n\r\n"}}
			u := newUpgrading(t, c)
			u.ctx = ctx
			handedOut(t, u, 100)
			if got := c.deadline.Sub(begin); got != want {
				t.Errorf("with %v: the body is waited for until %v", within, got)
			}
		})
	}
}

func TestWhetherThereWasAnAnswer(t *testing.T) {
	u := newUpgrading(t, &parts{})
	if n, err := u.Read(make([]byte, 10)); n != 0 || err != io.EOF || u.answered {
		t.Errorf("%d, %v, answered %v", n, err, u.answered)
	}
	u = newUpgrading(t, &parts{left: []string{"H"}})
	if n, err := u.Read(make([]byte, 10)); n != 1 || err != nil || !u.answered {
		t.Errorf("%d, %v, answered %v", n, err, u.answered)
	}
}

// Only so much is read before a connection is open, and as much as comes after.
func TestWhatIsReadOfAHandshakeIsBounded(t *testing.T) {
	c := &boundedConn{Conn: readerConn{iotest.HalfReader(endless{})}, left: 1000}
	read, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	if read != 1000 || !errors.Is(err, errTooLong) {
		t.Errorf("%d bytes, %v", read, err)
	}
	c.left = -1
	if read, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20)); read != 1<<20 || err != nil {
		t.Errorf("%d bytes, %v once it is open", read, err)
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
