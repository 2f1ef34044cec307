package nlstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/recording"
	"github.com/nlsgo/nls/internal/redact"
)

// ReplayOptions configures Replay.
type ReplayOptions struct {
	Pipe   bool // no TCP: in-memory connections, for testing/synctest
	AtOnce bool // answers come as soon as they may, not at the recorded times
}

// Replayer is a gateway that answers as a recording says. Its methods are safe for
// concurrent use. ExpireTokens, Stats and what else a Server has mean what they mean
// there, but nothing that a Replayer is told is understood: it is compared.
type Replayer struct {
	*Server
	script *replay
}

// Replay starts a gateway that answers with the sessions in r, which Config.Record
// has written. Each Start gets the first session that began with the same directive
// and has not been taken; then each answer comes when the client has sent what it had
// sent before it in the recording, as much later as it was then. Task IDs are those
// of the client. Audio of which the recording has only the hash is silence of its
// length. A session that lost its connection loses it again.
//
// Reach it with Server.Config; the AppKey need not be the recorded one. The caller must call Close.
func Replay(r io.Reader, o ReplayOptions) (*Replayer, error) {
	sessions, err := recording.Read(r)
	if err != nil {
		return nil, fmt.Errorf("nlstest: replay: %w", err)
	}
	if len(sessions) == 0 {
		return nil, errors.New("nlstest: replay: the recording has no session")
	}
	script := &replay{atOnce: o.AtOnce}
	for i, lines := range sessions {
		first, err := parseSent(lines[0].Text)
		if lines[0].Kind != recording.Send || err != nil {
			return nil, fmt.Errorf("nlstest: replay: session %d does not begin with a directive", i+1)
		}
		script.sessions = append(script.sessions, &replaySession{number: i + 1, first: first.title(), lines: lines})
	}
	s, err := newServer(Options{Pipe: o.Pipe})
	if err != nil {
		return nil, err
	}
	s.replay.Store(script)
	return &Replayer{s, script}, nil
}

// Departures says where clients have sent something else than the recording has, and
// which of its sessions nobody has started. Call it when the client is done. Message
// IDs, task IDs, the AppKey, the context of directives and when they came do not
// count; audio does, message by message.
func (r *Replayer) Departures() []string {
	p := r.script
	p.mu.Lock()
	defer p.mu.Unlock()
	all := append([]string(nil), p.departures...)
	for _, s := range p.sessions {
		if !s.taken {
			all = append(all, fmt.Sprintf("session %d (%s) was not started", s.number, s.first))
		}
	}
	return all
}

// replay is what all connections of a Replayer share.
type replay struct {
	atOnce bool

	mu         sync.Mutex
	sessions   []*replaySession
	departures []string
}

// maxDepartures bounds what is remembered of a client that has gone astray.
const maxDepartures = 100

type replaySession struct {
	number int
	first  string // title of the directive that it began with
	lines  []recording.Line
	taken  bool // guarded by replay.mu
}

func (p *replay) depart(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.departures) < maxDepartures {
		p.departures = append(p.departures, fmt.Sprintf(format, args...))
	}
}

// take returns the first session that begins with a directive of this title, nil if
// none is left.
func (p *replay) take(title string) *replaySession {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if !s.taken && s.first == title {
			s.taken = true
			return s
		}
	}
	return nil
}

// sentDirective is a directive, whatever is in it.
type sentDirective struct {
	Header  map[string]any `json:"header"`
	Payload any            `json:"payload"`
}

func parseSent(text string) (d sentDirective, err error) {
	if err = json.Unmarshal([]byte(text), &d); err == nil && d.name() == "" {
		err = errors.New("no header.name")
	}
	return d, err
}

func (d sentDirective) name() string { s, _ := d.Header["name"].(string); return s }

func (d sentDirective) taskID() string { s, _ := d.Header["task_id"].(string); return s }

func (d sentDirective) title() string { return fmt.Sprint(d.Header["namespace"], ".", d.name()) }

// replayConn is a connection to a Replayer.
type replayConn struct {
	*replay
	ctx   context.Context
	ws    *websocket.Conn
	link  *link
	token string
	in    chan replayMessage // closed at the end
}

type replayMessage struct {
	binary bool
	data   []byte
}

// serve answers until the client or the recording ends the connection.
func (c *replayConn) serve(s *Server) {
	done := make(chan struct{})
	defer close(done)
	defer c.link.Close()
	s.running.Go(func() {
		defer close(c.in)
		for {
			kind, data, err := c.ws.ReadMessage()
			if err != nil {
				return
			}
			select {
			case c.in <- replayMessage{kind == websocket.BinaryMessage, data}:
			case <-done:
				return
			}
		}
	})
	for m := range c.in {
		d, err := parseSent(string(m.data))
		if m.binary || err != nil {
			c.depart("a message that belongs to no session: %s", m.describe())
			continue
		}
		session := c.take(d.title())
		if session == nil {
			c.depart("%s: no session of the recording that begins so is left", d.title())
			c.close(websocket.ClosePolicyViolation, "nlstest: no such session in the recording")
			return
		}
		if !c.play(session, m, d.taskID()) {
			return
		}
	}
}

// close sends a close frame.
func (c *replayConn) close(code int, reason string) {
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(linger))
}

// play plays s, whose first message is m. It reports whether the connection lives on.
func (c *replayConn) play(s *replaySession, m replayMessage, taskID string) bool {
	c.compare(s, 0, m)
	last := s.lines[0].Time
	for i := 1; i < len(s.lines); i++ {
		l := &s.lines[i]
		switch l.Kind {
		case recording.Send:
			j, ok := c.expect(s, i)
			if !ok {
				return false
			}
			for _, skipped := range s.lines[i:j] { // the answers to what was left out
				if skipped.Kind == recording.Receive && !c.write(&skipped, taskID) {
					return false
				}
			}
			i, l = j, &s.lines[j]
		case recording.Receive:
			if !c.pause(l.Time.Sub(last)) || !c.write(l, taskID) {
				c.depart("session %d, line %d: the client hung up before %s", s.number, i+1, describeLine(l))
				return false
			}
		case recording.End:
			return c.end(l)
		}
		last = l.Time
	}
	return true
}

// end ends a session as l says.
func (c *replayConn) end(l *recording.Line) bool {
	switch {
	case l.Lost:
		if l.Code > 0 {
			c.close(l.Code, "")
		}
		return false
	case l.Error != "": // the client's own doing: a timeout, or Shutdown
		for range c.in {
		}
		return false
	}
	return true
}

// expect waits for what s.lines[i] has, and returns the line that came, a later one
// if the client has left something out.
func (c *replayConn) expect(s *replaySession, i int) (int, bool) {
	for m := range c.in {
		for j := i; j < len(s.lines); j++ {
			if l := &s.lines[j]; l.Kind == recording.Send && l.Binary == m.binary && nameOfText(l.Text) == m.name() {
				if j > i && m.binary {
					break // audio is not what comes next
				}
				if j > i {
					c.depart("session %d, line %d: %s came instead of %s", s.number, i+1, m.describe(), describeLine(&s.lines[i]))
				}
				c.compare(s, j, m)
				return j, true
			}
		}
		if s.lines[i].Binary != m.binary || nameOfText(s.lines[i].Text) != m.name() {
			c.depart("session %d, line %d: %s came before %s", s.number, i+1, m.describe(), describeLine(&s.lines[i]))
		}
	}
	if !slices.ContainsFunc(s.lines[i:], func(l recording.Line) bool { return l.Kind == recording.Receive }) {
		return 0, false // it has been told all, and what it sent after that was too late
	}
	c.depart("session %d, line %d: the client hung up before it sent %s", s.number, i+1, describeLine(&s.lines[i]))
	return 0, false
}

// compare notes how m differs from line i, which has the same name.
func (c *replayConn) compare(s *replaySession, i int, m replayMessage) {
	l := &s.lines[i]
	if m.binary {
		switch {
		case len(m.data) != l.Bytes:
			c.depart("session %d, line %d: %d bytes of audio, not %d", s.number, i+1, len(m.data), l.Bytes)
		case recording.Hash(m.data) != l.SHA256:
			c.depart("session %d, line %d: other audio", s.number, i+1)
		}
		return
	}
	// What the recording hides is hidden here too.
	got, _ := parseSent(redact.Text(string(m.data), c.token))
	want, _ := parseSent(l.Text)
	if !reflect.DeepEqual(got.Payload, want.Payload) {
		c.depart("session %d, line %d: %s with payload %s, not %s", s.number, i+1, want.name(), asJSON(got.Payload), asJSON(want.Payload))
	}
	if got.title() != want.title() {
		c.depart("session %d, line %d: %s, not %s", s.number, i+1, got.title(), want.title())
	}
}

// pause waits for d. It reports false if the server is closed meanwhile.
func (c *replayConn) pause(d time.Duration) bool {
	if c.atOnce || d <= 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.link.gone:
		return false
	case <-c.ctx.Done():
		return false
	}
}

// write sends what the client has received in the recording.
func (c *replayConn) write(l *recording.Line, taskID string) bool {
	kind, data := websocket.TextMessage, l.Data
	switch {
	case l.Binary:
		kind = websocket.BinaryMessage
		if data == nil {
			data = make([]byte, min(max(l.Bytes, 0), maxMessage))
		}
	case data == nil:
		data = []byte(strings.ReplaceAll(l.Text, l.TaskID, taskID))
	}
	return c.ws.WriteMessage(kind, data) == nil
}

// name is the name of a directive, "" of what is none.
func (m replayMessage) name() string {
	if m.binary {
		return ""
	}
	return nameOfText(string(m.data))
}

func nameOfText(text string) string {
	d, _ := parseSent(text)
	return d.name()
}

func (m replayMessage) describe() string {
	if m.binary {
		return fmt.Sprintf("%d bytes of audio", len(m.data))
	}
	if name := m.name(); name != "" {
		return name
	}
	return fmt.Sprintf("a text of %d bytes", len(m.data))
}

func describeLine(l *recording.Line) string {
	if l.Binary {
		return fmt.Sprintf("%d bytes of audio", l.Bytes)
	}
	return replayMessage{data: []byte(l.Text)}.describe()
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
