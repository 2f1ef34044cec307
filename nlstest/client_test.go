package nlstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
)

// client is a websocket client that sends what it is told to and checks nothing,
// as the clients of other languages may.
type client struct {
	t      testing.TB
	ws     *websocket.Conn
	space  string
	taskID string
	appKey string
}

// start starts a Server that ends with the test.
func start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := NewServer(opts)
	t.Cleanup(s.Close)
	return s
}

// handshake opens a websocket to s, with more in its URL.
func handshake(t testing.TB, s *Server, query string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	cfg := s.Config()
	if header == nil {
		header = http.Header{"X-NLS-Token": {cfg.Token}}
	}
	d := websocket.Dialer{TLSClientConfig: cfg.TLSConfig, NetDialContext: cfg.NetDialContext}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	return d.DialContext(ctx, cfg.URL+query, header)
}

// dial opens a websocket to s for a product.
func dial(t testing.TB, s *Server, space, query string) *client {
	t.Helper()
	ws, resp, err := handshake(t, s, query, nil)
	if err != nil {
		t.Fatalf("handshake: %v %v", err, resp)
	}
	t.Cleanup(func() { ws.Close() })
	if got := resp.Header.Get("Server"); got != "Tengine" {
		t.Errorf("Server: %q in the 101", got)
	}
	return &client{t: t, ws: ws, space: space, taskID: wire.NewID(), appKey: s.Config().AppKey}
}

// text sends a text message as it is.
func (c *client) text(s string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) binary(data []byte) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.BinaryMessage, data); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// directive returns a directive; payload is JSON or "" for none.
func (c *client) directive(name, payload string) string {
	d := fmt.Sprintf(`{"header":{"appkey":%q,"message_id":%q,"task_id":%q,"namespace":%q,"name":%q}`,
		c.appKey, wire.NewID(), c.taskID, c.space, name)
	if payload != "" {
		d += `,"payload":` + payload
	}
	return d + "}"
}

func (c *client) send(name, payload string) {
	c.t.Helper()
	c.text(c.directive(name, payload))
}

// reply is a message of the server.
type reply struct {
	raw   string
	audio []byte // of a binary message
	event
	err error // why there are no more
}

func (c *client) read() reply {
	kind, data, err := c.ws.ReadMessage()
	switch {
	case err != nil:
		return reply{err: err}
	case kind == websocket.BinaryMessage:
		return reply{audio: data}
	}
	r := reply{raw: string(data)}
	if err := json.Unmarshal(data, &r.event); err != nil {
		r.err = fmt.Errorf("%q is no event: %w", data, err)
	}
	return r
}

// want reads an event and checks its name.
func (c *client) want(name string) reply {
	c.t.Helper()
	r := c.read()
	if r.err != nil || r.Header.Name != name {
		c.t.Fatalf("got %s %v, want %s", r.raw, r.err, name)
	}
	return r
}

// until reads events up to one of the given name and returns all of them.
func (c *client) until(name string) (all []reply) {
	c.t.Helper()
	for {
		r := c.read()
		if r.err != nil {
			c.t.Fatalf("%v, waiting for %s", r.err, name)
		}
		all = append(all, r)
		if r.Header.Name == name {
			return all
		}
		if r.Header.Name == "TaskFailed" {
			c.t.Fatalf("got %s, waiting for %s", r.raw, name)
		}
	}
}

// wantFailed reads a TaskFailed and the end of the connection.
func (c *client) wantFailed(status int, text string) reply {
	c.t.Helper()
	r := c.want("TaskFailed")
	if r.Header.Status != status || r.Header.StatusText != text {
		c.t.Errorf("got %d %s\nwant %d %s", r.Header.Status, r.Header.StatusText, status, text)
	}
	c.wantClosed(websocket.CloseNormalClosure)
	return r
}

// wantClosed reads a close frame.
func (c *client) wantClosed(code int) {
	c.t.Helper()
	r := c.read()
	if e, ok := errors.AsType[*websocket.CloseError](r.err); !ok || e.Code != code {
		c.t.Errorf("got %s %v, want close %d", r.raw, r.err, code)
	}
}

// wantSilence checks that nothing comes for a while, and ends the connection.
func (c *client) wantSilence(d time.Duration) {
	c.t.Helper()
	c.ws.SetReadDeadline(time.Now().Add(d))
	r := c.read()
	if e, ok := errors.AsType[net.Error](r.err); !ok || !e.Timeout() {
		c.t.Fatalf("got %s %v, want nothing", r.raw, r.err)
	}
}

// names are the names of events, and "audio" for any number of audio messages.
func names(replies []reply) string {
	var b []string
	for _, r := range replies {
		name := r.Header.Name
		if r.audio != nil {
			name = "audio"
		}
		if name != "audio" || len(b) == 0 || b[len(b)-1] != name {
			b = append(b, name)
		}
	}
	return strings.Join(b, " ")
}
