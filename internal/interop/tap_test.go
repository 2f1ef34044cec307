package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/conformance"
	"github.com/nlsgo/nls/internal/wsframe"
)

// tap passes connections on to a gateway and keeps every byte of them. When the
// test ends, all that the gateway sent must have been as the official SDKs can read it.
type tap struct {
	URL      string
	gateway  string // host and port
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []*tapped
}

// tapped is what went over one connection.
type tapped struct {
	mu             sync.Mutex
	sent, received bytes.Buffer // by the client
}

// newTap starts a tap of the gateway at gatewayURL.
func newTap(t *testing.T, gatewayURL string) *tap {
	t.Helper()
	u, err := url.Parse(gatewayURL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{gateway: u.Host, listener: l}
	u.Host = l.Addr().String()
	p.URL = u.String()
	p.running.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.running.Wait()
		for i, c := range p.conns {
			c.check(t, i)
		}
	})
	return p
}

func (p *tap) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.gateway)
		if err != nil {
			client.Close()
			continue
		}
		c := new(tapped)
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		p.running.Go(func() {
			// Nothing here is still open when a test ends, unless something hangs.
			hung := time.AfterFunc(time.Minute, func() { client.Close(); server.Close() })
			defer hung.Stop()
			var both sync.WaitGroup
			both.Go(func() { c.pass(server, client, &c.sent) })
			both.Go(func() { c.pass(client, server, &c.received) })
			both.Wait()
			client.Close()
			server.Close()
		})
	}
}

// pass copies one direction and passes on its end, a reset as a reset.
func (c *tapped) pass(dst, src net.Conn, kept *bytes.Buffer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		c.mu.Lock()
		kept.Write(buf[:n])
		c.mu.Unlock()
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				src.Close()
				return
			}
		}
		switch {
		case err == io.EOF:
			dst.(*net.TCPConn).CloseWrite()
			return
		case err != nil:
			dst.(*net.TCPConn).SetLinger(0)
			dst.Close()
			return
		}
	}
}

// check checks all that the server sent on a connection that has ended.
func (c *tapped) check(t *testing.T, number int) {
	if c.received.Len() == 0 {
		return // the client left before the answer
	}
	r := bufio.NewReader(bytes.NewReader(c.received.Bytes()))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Errorf("connection %d: %v", number, err)
		return
	}
	if got := resp.Header.Get("Server"); got != "Tengine" {
		t.Errorf("connection %d: Server: %q", number, got)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("connection %d: extensions %q, which C++ does not know", number, got)
	}
	var checker conformance.Checker
	for {
		f, err := wsframe.Read(r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return // half a frame may be what a client has dropped
		}
		if err == nil {
			err = checker.Check(f)
		}
		if err != nil {
			t.Errorf("connection %d: %v", number, err)
			return
		}
	}
}

// request is the handshake of a connection, and directives are the text messages
// that its client sent.
func (c *tapped) directives(t *testing.T) (request *http.Request, directives []map[string]any) {
	t.Helper()
	c.mu.Lock()
	r := bufio.NewReader(bytes.NewReader(bytes.Clone(c.sent.Bytes())))
	c.mu.Unlock()
	request, err := http.ReadRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		f, err := wsframe.Read(r)
		if err != nil {
			return request, directives
		}
		if f.Opcode() != wsframe.Text {
			continue
		}
		var d map[string]any
		dec := json.NewDecoder(strings.NewReader(string(f.Payload)))
		dec.UseNumber()
		if err := dec.Decode(&d); err != nil {
			t.Fatalf("%v: %s", err, f.Payload)
		}
		directives = append(directives, d)
	}
}
