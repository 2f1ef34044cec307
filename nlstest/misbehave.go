package nlstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// misbehaviour is the fault of one connection, and how far it has come.
type misbehaviour struct {
	Fault
	ofTask   bool // not of the connection
	happened bool
	waits    usual // the message that the action is waiting for
	skip     bool  // leave the next message out
}

// faultOfAppKey takes the fault out of an AppKey that names one.
func (c *conn) faultOfAppKey(d *directive) (*Fault, *failure) {
	name, ok := strings.CutPrefix(d.appKey, faultPrefix)
	if !ok {
		return nil, nil
	}
	d.appKey, _, _ = c.server.accounts.defaults()
	f, err := ParseFault(name)
	if err == nil {
		err = f.checkTask()
	}
	if err != nil {
		return nil, &failure{nls.StatusAppKeyNotExist, quotable(err.Error())}
	}
	return f, nil
}

// taskFault gives the task that starts the fault that Options want, or else f.
func (c *conn) taskFault(f *Fault) *failure {
	if choose := c.server.opts.TaskFault; choose != nil {
		if g := choose(c.taskInfo()); g != nil {
			if err := g.checkTask(); err != nil {
				return &failure{nls.StatusServerError, quotable(err.Error())}
			}
			f = g
		}
	}
	if c.fault != nil && c.fault.ofTask {
		c.fault = nil // of the task before
	}
	if f != nil {
		c.fault = &misbehaviour{Fault: *f, ofTask: true}
		c.checker = nil
	}
	return nil
}

// taskInfo is the task that runs.
func (c *conn) taskInfo() Task {
	return Task{Conn: c.number, Number: c.tasks, AppKey: c.appKey, Namespace: c.product.namespace, TaskID: c.taskID}
}

// checkTask is check for a Fault of a task.
func (f *Fault) checkTask() error {
	if f.At < OnStart {
		return fmt.Errorf("nlstest: fault %s: a task has no point %s", f.Do, f.At)
	}
	return f.check()
}

// usual says which message the action of a fault deals with.
type usual int

const (
	none       usual = iota
	answer           // the first message of the task
	completion       // Completed
	next             // whatever comes next
)

// at is called at each point of a session and lets the fault of the connection,
// if there is one, happen there. It reports whether the task goes on.
func (c *conn) at(p Point) bool {
	if f := c.fault; f != nil && f.due(p) {
		t := c.task
		f.happen(c, p)
		return c.runs(t)
	}
	return true
}

// due reports whether the fault happens now that the session has come to p.
func (f *misbehaviour) due(p Point) bool {
	if f.happened || f.At != p {
		return false
	}
	if f.After > 0 {
		f.After--
		return false
	}
	f.happened = true
	return true
}

// happen does what the fault does, or makes it wait for the usual message of p.
func (f *misbehaviour) happen(c *conn, p Point) {
	if f.atOnce(c) {
		return
	}
	switch f.Do {
	case Twice:
		if p == AfterStart || p == AfterStop {
			c.write(c.sent)
			return
		}
		fallthrough
	case Delay, Trickle, Fragmented:
		f.waits = next
	}
	switch {
	case p == OnStart:
		f.waits = answer
	case p == OnStop:
		f.waits = completion
	case f.waits == none:
		f.insert(c, c.sent)
		f.skip = f.Only
	}
}

// send is conn.send for a connection with a fault.
func (f *misbehaviour) send(c *conn, m outgoing, isAnswer bool) {
	result := !m.last && !m.failed && (m.event == nil || m.event.Header.Name != c.product.started)
	switch {
	case f.skip:
		f.skip = false
	case f.waits == next, f.waits == answer && isAnswer, f.waits == completion && m.last:
		f.waits = none
		f.deform(c, m)
	case result && f.due(DuringEvents):
		t := c.task
		if f.atOnce(c) {
			if !f.Only && c.task == t {
				c.write(m)
			}
			return
		}
		f.deform(c, m)
	default:
		c.write(m)
	}
}

// atOnce does the actions that do not deal with a message, and reports false for
// the others.
func (f *misbehaviour) atOnce(c *conn) bool {
	switch f.Do {
	case Hang:
		for ended := false; !ended && !c.over; {
			select {
			case m := <-c.rx:
				c.received(m)
				if m.kind == pingMessage {
					c.pong(m)
				}
				recycle(m)
				ended = m.kind == endMessage
			case <-c.link.gone:
				ended = true
			}
		}
		c.over = true
	case HalfOpen:
		<-c.link.gone
		c.over = true
	case Reset:
		c.link.reset()
		c.over = true
	case EOF:
		c.hangUp()
	case CloseFrame:
		c.close(f.Code, f.Text)
	case TaskFailed:
		code := orDefault(f.Code, nls.StatusServerError)
		c.fail(&failure{code, orDefault(f.Text, usualText(code))})
	case Idle:
		c.fail(c.idle())
	case NoPong:
		c.noPong = true
	case StopReading:
		c.rx = nil
	case Early:
		if c.task != nil {
			c.unasked = c.taskID
			c.completeNow()
		}
	case Late:
		if c.product.text {
			c.write(outgoing{audio: make([]byte, 320)})
		} else {
			name, payload := c.product.late()
			c.write(c.event(name, payload))
		}
	default:
		return false
	}
	return true
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// deform sends the usual message m as the fault wants it.
func (f *misbehaviour) deform(c *conn, m outgoing) {
	switch f.Do {
	case Delay:
		c.sleep(orDefault(f.Delay, time.Second))
		c.write(m)
	case Trickle:
		first, data := f.frame(c, m)
		for _, b := range wsframe.Append(nil, wsframe.Fin|first, data) {
			c.raw([]byte{b})
			// A pong would fall between the bytes of the frame, so it waits too.
			if c.over || !c.link.sleep(orDefault(f.Delay, time.Second)) {
				c.over = true
				return
			}
		}
	case Twice:
		c.write(m)
		c.write(m)
	case Fragmented:
		first, data := f.frame(c, m)
		third := len(data) / 3
		c.raw(wsframe.Append(nil, first, data[:third]))
		c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Ping, []byte("nlstest")))
		c.raw(wsframe.Append(nil, 0, data[third:2*third]))
		c.raw(wsframe.Append(nil, wsframe.Fin, data[2*third:]))
	default:
		f.insert(c, m)
		if !f.Only {
			c.write(m)
		}
	}
}

// frame returns the opcode and the payload of m, and counts it as sent.
func (f *misbehaviour) frame(c *conn, m outgoing) (byte, []byte) {
	opcode, data := byte(wsframe.Binary), m.audio
	if m.event != nil {
		opcode = wsframe.Text
		data, _ = wire.Marshal(m.event)
	}
	c.count(opcode, data)
	return opcode, data
}

// insert sends a message that does not belong. If it is an event it is like m.
func (f *misbehaviour) insert(c *conn, m outgoing) {
	e := newEvent("Default", c.taskID, "Hello", nil) // if there is none to take after
	if c.product != nil {
		e.Header.Namespace = c.product.namespace
	}
	if m.event != nil {
		*e = *m.event
	}
	e.Header.MessageID = wire.NewID()
	encoded := func() []byte {
		data, _ := wire.Marshal(e)
		return data
	}
	text := func(data string) { c.writeData(wsframe.Text, []byte(data)) }
	broken := func(first byte, data []byte) {
		c.count(wsframe.Text, data)
		c.raw(wsframe.Append(nil, first, data))
	}
	switch f.Do {
	case NotJSON:
		text("this is not JSON")
	case JSONArray:
		text("[]")
	case EmptyText:
		text("")
	case NoHeader:
		text(`{"payload":{}}`)
	case NullPayload:
		e.Payload = json.RawMessage("null")
		c.writeData(wsframe.Text, encoded())
	case WrongTypes:
		text(`{"header":{"namespace":1,"name":["` + e.Header.Name + `"],"status":"20000000","message_id":{},"task_id":null,"status_text":true}}`)
	case UnknownName:
		e.Header.Name = "SomethingNew"
		c.writeData(wsframe.Text, encoded())
	case WrongSpace:
		e.Header.Namespace = "SpeechSomethingElse"
		c.writeData(wsframe.Text, encoded())
	case WrongTask:
		e.Header.TaskID = wire.NewID()
		c.writeData(wsframe.Text, encoded())
	case InvalidUTF8:
		e.Header.StatusText = "\x00"
		text(strings.Replace(string(encoded()), `\u0000`, "\xff\xfe\xfd", 1))
	case HugeText:
		f.huge(c, e)
	case Binary:
		c.writeData(wsframe.Binary, make([]byte, 320))
	case BadOpcode:
		broken(wsframe.Fin|0x3, encoded())
	case ReservedBit:
		broken(wsframe.Fin|wsframe.Reserved|wsframe.Text, encoded())
	case Masked:
		data := encoded()
		c.count(wsframe.Text, data)
		c.raw(wsframe.AppendMasked(nil, wsframe.Fin|wsframe.Text, data, [4]byte{0x12, 0x34, 0x56, 0x78}))
	case Truncated:
		frame := wsframe.Append(nil, wsframe.Fin|wsframe.Text, encoded())
		c.raw(frame[:len(frame)/2])
		c.hangUp()
	case BigPing:
		c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Ping, make([]byte, 126)))
	}
}

// huge sends e with a text of Code MiB in its payload. The text is never in
// memory as a whole, so that a test can measure the memory of the client; OnFrame
// sees its head only.
func (f *misbehaviour) huge(c *conn, e *event) {
	const filler = "filler"
	e.Payload = map[string]string{"text": filler}
	data, _ := wire.Marshal(e)
	head, tail, _ := strings.Cut(string(data), filler)
	size := orDefault(f.Code, 1) << 20
	c.count(wsframe.Text, []byte(head))
	c.raw(append(wsframe.AppendHeader(nil, wsframe.Fin|wsframe.Text, len(head)+size+len(tail)), head...))
	chunk := []byte(strings.Repeat("x", 64<<10))
	for ; size > 0; size -= len(chunk) {
		c.raw(chunk)
	}
	c.raw([]byte(tail))
}

// sleep waits, and answers pings meanwhile. Other messages wait.
func (c *conn) sleep(d time.Duration) {
	late := time.After(d)
	for {
		rx := c.rx
		if c.held != nil {
			rx = nil
		}
		select {
		case m := <-rx:
			switch m.kind {
			case pingMessage:
				c.received(m)
				c.pong(m)
			case endMessage:
				c.handleEnd(m.err)
				return
			default:
				c.held = &m
			}
		case <-late:
			return
		case <-c.link.gone:
			c.over = true
			return
		}
	}
}

// handshake does what a fault does instead of the upgrade. It returns a
// ResponseWriter for the upgrade if that still takes place, and else nil.
func (f *Fault) handshake(w http.ResponseWriter, r *http.Request, l *link) http.ResponseWriter {
	switch f.Do {
	case Refuse:
		code, contentType := orDefault(f.Code, http.StatusForbidden), "text/plain"
		switch {
		case code/100 == 3:
			w.Header().Set("Location", orDefault(f.Text, "/"))
		case strings.HasPrefix(f.Text, "<"):
			contentType = "text/html"
		}
		refuse(w, code, contentType, f.Text)
		return nil
	case Delay:
		if !l.sleep(orDefault(f.Delay, time.Second)) {
			return nil
		}
		return w
	case Trickle:
		return &trickleWriter{w, l, orDefault(f.Delay, time.Second)}
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	defer l.Close() // which is all that EOF wants
	switch f.Do {
	case Garbage:
		answer := "\x00\x01\x02 this is not HTTP\r\n\r\n"
		if f.Code == http.StatusSwitchingProtocols {
			answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: broken\r\n\r\n"
		}
		if _, err := io.WriteString(c, answer); err == nil {
			io.Copy(io.Discard, c) // until the client hangs up
		}
	case Hang:
		io.Copy(io.Discard, c)
	case HalfOpen:
		<-l.gone
	case Reset:
		l.reset()
	}
	return nil
}

// sleep waits, and reports false if the connection ends meanwhile.
func (l *link) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.gone:
		return false
	}
}

// trickleWriter is a ResponseWriter for an upgrade whose answer comes byte by
// byte.
type trickleWriter struct {
	http.ResponseWriter
	link  *link
	delay time.Duration
}

func (w *trickleWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &trickleConn{Conn: c, link: w.link, delay: w.delay}, rw, nil
}

// trickleConn writes the first of what it is given byte by byte.
type trickleConn struct {
	net.Conn
	link  *link
	delay time.Duration
	done  bool
}

func (c *trickleConn) Write(p []byte) (int, error) {
	if c.done {
		return c.Conn.Write(p)
	}
	c.done = true
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
		if !c.link.sleep(c.delay) {
			return i + 1, net.ErrClosed
		}
	}
	return len(p), nil
}
