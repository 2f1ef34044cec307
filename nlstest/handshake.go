package nlstest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gatewayPath is the path of every product (protocol §1.1).
const gatewayPath = "/ws/v1"

// notFound is what the REST side of the gateway answers to whatever is no
// websocket upgrade at the right path (protocol §1.3).
const notFound = `{"task_id":"` + noTask + `","result":"","status":40000003,"message":"Gateway:PARAMETER_INVALID:appkey not set"}`

// noTask stands for a task ID where there is none.
const noTask = "00000000000000000000000000000000"

// upgrader takes every origin and never compresses: the clients of protocol
// §1.2 send any Origin and cannot inflate. With a pool a connection keeps no
// write buffer, which it has no use for.
var upgrader = websocket.Upgrader{
	WriteBufferPool: new(sync.Pool),
	CheckOrigin:     func(*http.Request) bool { return true },
	Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		refuse(w, status, "application/json", notFound)
	},
}

// serveGateway answers a handshake, and hands what becomes a websocket to a conn.
func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		return
	}
	defer s.running.Done()

	if r.URL.Path == flashPath && r.Method == http.MethodPost {
		s.serveFlash(w, r)
		return
	}
	if r.URL.Path != gatewayPath || !websocket.IsWebSocketUpgrade(r) {
		refuse(w, http.StatusBadRequest, "application/json", notFound)
		return
	}
	fault, err := s.faultOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "text/plain", err.Error())
		return
	}
	token, present := tokenOf(r)
	if strings.HasPrefix(token, faultPrefix) {
		_, token, _ = s.accounts.defaults()
	}
	account, refusal := s.accounts.checkToken(token, present)
	if refusal != "" {
		refuse(w, http.StatusForbidden, "text/plain", refusal)
		return
	}
	link := r.Context().Value(linkKey{}).(*link)
	if fault != nil && fault.At == AtHandshake {
		if w = fault.handshake(w, r, link); w == nil {
			return
		}
		fault = nil
	}

	if p := s.replay.Load(); p != nil {
		ws, err := upgrader.Upgrade(w, r, http.Header{"Server": {"Tengine"}})
		if err != nil {
			return
		}
		s.connections.Add(1)
		(&replayConn{replay: p, ctx: s.ctx, ws: ws, link: link, token: token, in: make(chan replayMessage)}).serve(s)
		return
	}

	// Neither the order of the header fields nor their case matters, but the
	// service names its proxy in every answer.
	ws, err := upgrader.Upgrade(mutedWriter{w}, r, http.Header{"Server": {"Tengine"}})
	if err != nil {
		return
	}
	if !s.enter() {
		link.Close()
		return
	}
	number := int(s.connections.Add(1))
	c := newConn(s, ws, link, account, number, fault)
	// The handler returns, so that net/http lets go of what it keeps for a request.
	go func() {
		defer s.running.Done()
		c.run()
	}()
}

// mutedWriter is a ResponseWriter for an upgrade to a mutedConn.
type mutedWriter struct{ http.ResponseWriter }

func (w mutedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return &mutedConn{Conn: c}, rw, err
}

// mutedConn is what gorilla/websocket writes to. After the handshake it has only
// one thing to say, the close frame for a frame that it refuses, and says it while
// events may still be on their way; so it is kept here, for run to send in its turn.
type mutedConn struct {
	net.Conn
	upgraded bool
	refusal  []byte
}

func (c *mutedConn) Write(p []byte) (int, error) {
	if !c.upgraded {
		c.upgraded = true
		return c.Conn.Write(p)
	}
	c.refusal = bytes.Clone(p)
	return len(p), nil
}

// SetWriteDeadline does nothing: the deadline would hold for run too.
func (c *mutedConn) SetWriteDeadline(time.Time) error { return nil }

// tokenOf returns the token of a handshake and whether there is one. The query
// goes first (protocol §1.2).
func tokenOf(r *http.Request) (token string, present bool) {
	if q := r.URL.Query(); q.Has("token") {
		return q.Get("token"), true
	}
	values := r.Header.Values("X-NLS-Token")
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// faultOf returns the fault of the connection of r, nil for none.
func (s *Server) faultOf(r *http.Request) (*Fault, error) {
	if s.opts.Fault != nil {
		if f := s.opts.Fault(r); f != nil {
			return f, f.check()
		}
	}
	if name := r.URL.Query().Get("fault"); name != "" {
		return ParseFault(name)
	}
	token, _ := tokenOf(r)
	if name, ok := strings.CutPrefix(token, faultPrefix); ok {
		return ParseFault(name)
	}
	return nil, nil
}

// refuse answers a handshake with an error.
func refuse(w http.ResponseWriter, status int, contentType, body string) {
	h := w.Header()
	h.Set("Server", "Tengine")
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	io.Copy(w, strings.NewReader(body))
}
