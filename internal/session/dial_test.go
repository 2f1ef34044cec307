package session

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// accept is the answer to the upgrade that req asks for.
func accept(req *http.Request, more string) string {
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n" + more + "\r\n"
}

// dialing is a dialer and the gateway at the other end, which answers with a
// function of the request and then does no more.
type dialing struct {
	*dialer
	peer    net.Conn
	request *http.Request
	written atomic.Int64 // bytes that the gateway got rid of
	served  chan struct{}
	closed  atomic.Bool // the client's end is
}

// tellsClose tells of Close.
type tellsClose struct {
	net.Conn
	closed *atomic.Bool
}

func (c tellsClose) Close() error { c.closed.Store(true); return c.Conn.Close() }

func newDialing(t *testing.T, answer func(*http.Request, io.Writer)) *dialing {
	near, far := net.Pipe()
	d := &dialing{peer: far, served: make(chan struct{})}
	d.dialer = &dialer{
		url: NewSecret("ws://gateway.example:1234/ws/v1?token=t0ken"), token: "s3cret",
		secrets: []string{"s3cret", "t0ken"},
		cfg: &Config{
			WriteTimeout: time.Second,
			NetDialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != "gateway.example:1234" {
					t.Errorf("dial %s %s", network, addr)
				}
				return tellsClose{near, &d.closed}, nil
			},
		},
	}
	go func() {
		defer close(d.served)
		var err error
		if d.request, err = http.ReadRequest(bufio.NewReader(far)); err == nil {
			answer(d.request, counting{far, &d.written})
		}
	}()
	t.Cleanup(func() {
		_, _ = near.Close(), far.Close()
		<-d.served
	})
	return d
}

// counting counts what is written.
type counting struct {
	net.Conn
	n *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// answering sends parts of an answer, and waits where one is empty.
func answering(parts ...string) func(*http.Request, io.Writer) {
	return func(_ *http.Request, w io.Writer) {
		for _, part := range parts {
			switch part {
			case "":
				time.Sleep(time.Second / 2)
			case "end":
				_ = w.(io.Closer).Close()
				return
			}
			if _, err := io.WriteString(w, part); err != nil {
				return
			}
		}
	}
}

func TestWhatDialMakesOfAnAnswer(t *testing.T) {
	const forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\n"
	for _, c := range []struct {
		name   string
		answer func(*http.Request, io.Writer)
		within time.Duration // the deadline of the context; none if zero
		after  time.Duration
		status int // of a HandshakeError; -1 if it is none, -2 if it may be one of status 0
		body   string
		known  int32 // the status before dial returns
	}{
		{"a refusal", answering(forbidden, "token s3cret!"), 0, 0, 403, "token ***!", 403},
		{"a refusal with a late body", answering(forbidden, "", "token s3cret!"), 0, time.Second / 2, 403, "token ***!", 403},
		{"a refusal with half a body", answering(forbidden, "token"), 0, time.Second, 403, "token", 403},
		{"a refusal with no body", answering(forbidden), 0, time.Second, 403, "", 403},
		{"a refusal at the deadline", answering(forbidden, "token"), time.Second / 4, time.Second / 4, 403, "token", 403},
		{"a refusal long before the deadline", answering(forbidden, "token"), time.Minute, time.Second, 403, "token", 403},
		{"another answer", answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), 0, 0, 200, "hi", 200},
		{"half a header", answering("HTTP/1.1 403 Forbidden\r\nA: "), 3 * time.Second, 3 * time.Second, -2, "", 0},
		{"half a header and the end", answering("HTTP/1.1 403 Forbidden\r\nA: ", "end"), 0, 0, -1, "", 0},
		{"nothing and the end", answering("end"), 0, 0, -1, "", 0},
		{"nothing", answering(), 3 * time.Second, 3 * time.Second, -1, "", 0},
		{"no HTTP", answering("SSH-2.0-OpenSSH\r\n\r\n"), 0, 0, 0, "", 0},
		{"an extension", func(req *http.Request, w io.Writer) {
			_, _ = io.WriteString(w, accept(req, "Sec-WebSocket-Extensions: another\r\n"))
		}, 0, 0, 101, "", 0},
		{"a header without end", func(_ *http.Request, w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}, 0, 0, 0, "", 0},
		{"a line without end", func(_ *http.Request, w io.Writer) { _, _ = io.Copy(w, endless{}) }, 0, 0, 0, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDialing(t, c.answer)
				ctx, begin := t.Context(), time.Now()
				if c.within > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.within)
					defer cancel()
				}
				var conn *conn
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					conn, err = d.dial(ctx)
				}()
				synctest.Wait()
				if got := d.status.Load(); got != c.known {
					t.Errorf("status %d before dial returns", got)
				}
				<-done
				status, body := -1, ""
				if e, ok := errors.AsType[*HandshakeError](err); ok {
					status, body = e.HTTPStatus, e.Body
				}
				if c.status == -2 && status <= 0 {
					status = -2
				}
				if conn != nil || err == nil || status != c.status || body != c.body || time.Since(begin) != c.after {
					t.Errorf("dial = %v (status %d, body %q) after %v", err, status, body, time.Since(begin))
				}
				if !d.closed.Load() {
					t.Error("the connection stays open")
				}
				if n := d.written.Load(); n > 300<<10 {
					t.Errorf("%d bytes of an answer were read", n)
				}
				if want := max(c.status, 0); d.answer != want || d.remote == nil {
					t.Errorf("answer %d from %v", d.answer, d.remote)
				}
			})
		})
	}
}

func TestWhatDialAsksFor(t *testing.T) {
	for _, header := range []http.Header{nil, {"X-Nls-Token": {"another"}, "Host": {"virtual.example"}, "A": {"b"}}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDialing(t, func(req *http.Request, w io.Writer) { _, _ = io.WriteString(w, accept(req, "")) })
			d.cfg.Header = header
			c, err := d.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.abort()
			r, host := d.request, "gateway.example:1234"
			if header != nil {
				host = "virtual.example"
			}
			if token := r.Header["X-Nls-Token"]; len(token) != 1 || token[0] != "s3cret" || r.Host != host || r.Header.Get("A") != header.Get("A") ||
				r.URL.String() != "/ws/v1?token=t0ken" || r.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Errorf("%s of %s with %v", r.URL, r.Host, r.Header)
			}
			if header != nil && header.Get("X-Nls-Token") != "another" {
				t.Error("the caller's header was changed")
			}
			if d.answer != 101 || d.status.Load() != 0 || d.closed.Load() || c.writeTimeout != time.Second {
				t.Errorf("answer %d, status %d, closed %v", d.answer, d.status.Load(), d.closed.Load())
			}
		})
	}
}

// The context of dial is none of the connection's.
func TestTheEndOfAContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := newDialing(t, answering())
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		if c, err := d.dial(ctx); c != nil || err == nil || time.Since(begin) != time.Second || !d.closed.Load() {
			t.Errorf("dial = %v, %v after %v", c, err, time.Since(begin))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d := newDialing(t, func(req *http.Request, w io.Writer) {
			_, _ = io.WriteString(w, accept(req, "")+string(wsframe.Append(nil, 0x81, []byte("at once"))))
			time.Sleep(time.Minute)
			_, _ = w.Write(wsframe.Append(nil, 0x81, []byte("much later")))
		})
		c, err := d.dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		o := &owner{diary: newDiary()}
		c.handTo(o)
		c.serve()
		expect(t, o, "1:at once")
		time.Sleep(2 * time.Minute)
		expect(t, o, "1:at once 1:much later")
		c.abort()
		<-c.reader.done
	})
}
