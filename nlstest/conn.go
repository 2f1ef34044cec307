package nlstest

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/conformance"
	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

const (
	// maxMessage is the longest message that is read: 100,000 characters of text,
	// the most that a synthesis takes, in their longest JSON spelling.
	maxMessage = 2 << 20

	// maxFrame is the longest frame that the Java SDK reads (protocol §1.8).
	maxFrame = 64 << 10

	// linger is how long the server waits for the client to hang up after a close
	// frame. Python waits 3 seconds for the server's (protocol §1.6).
	linger = 3 * time.Second
)

// state is the state of a connection (protocol §12). There is none for a failed
// task: its connection closes.
type state int

const (
	ready    state = iota // no task
	starting              // Start accepted, not yet answered; ROUTING in error texts
	working
	stopping // the last results are on their way
)

func (s state) String() string {
	return [...]string{starting: "starting", working: "working", stopping: "stopping"}[s]
}

// conn is one websocket. Everything about it happens on the goroutine of run:
// what the reader reads and what an engine says comes to it by channels, so there
// is nothing to lock and every frame has its place.
type conn struct {
	server  *Server
	link    *link
	ws      *websocket.Conn // read by the reader only
	muted   *mutedConn      // below ws
	net     net.Conn        // what frames are written to: link, or TLS over it
	account string
	number  int

	in     chan message   // from the reader
	pushed chan push      // by Server.Push
	rx     <-chan message // in, or nil when no more is to be read
	held   *message       // read too early, to be handled next; meanwhile nothing is read
	spoken chan utterance // from the synthesis of the running task, nil if there is none
	engine engineQueue    // of the running recognition, zero if there is none
	done   chan struct{}  // closed when run ends

	state    state
	product  *product
	task     task
	taskID   string // of the running task, or else of the last one
	unasked  string // ID of the task that completed before it was stopped
	answered bool   // the task has sent its first message

	lastDirective               string
	lastData, lastPing, lastPCM time.Time
	gotPCM                      bool        // of the running task
	timer                       *time.Timer // looks for deadlines that have passed
	grace                       *time.Timer // of the engine, while a message is held for it

	reply   <-chan time.Time // ends the delay of onReply
	onReply func()

	noPong  bool
	over    bool // nothing more is read or written
	fault   *misbehaviour
	appKey  string               // of the running task
	tasks   int                  // that were started
	sent    outgoing             // the last message
	checker *conformance.Checker // of what is sent, in the tests of this module
}

// message is what the reader reads.
type message struct {
	kind messageKind
	data []byte
	buf  *bytes.Buffer // of data, to be put back
	err  error         // why it ended
}

type messageKind int

const (
	textMessage messageKind = iota
	binaryMessage
	pingMessage
	endMessage // the last
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func newConn(s *Server, ws *websocket.Conn, l *link, account string, number int, f *Fault) *conn {
	muted := ws.NetConn().(*mutedConn)
	c := &conn{
		server: s, link: l, ws: ws, muted: muted, net: muted.Conn, account: account, number: number,
		in: make(chan message), pushed: make(chan push), done: make(chan struct{}),
		taskID: noTask,
	}
	if t, ok := c.net.(*trickleConn); ok {
		c.net = t.Conn
	}
	c.rx = c.in
	switch {
	case f != nil:
		c.fault = &misbehaviour{Fault: *f}
	case conformance.Strict.Load():
		c.checker = new(conformance.Checker)
	}
	return c
}

// run serves the connection until it ends.
func (c *conn) run() {
	c.server.running.Go(c.read)
	c.lastData = time.Now()
	c.timer = time.NewTimer(time.Hour)
	c.grace = time.NewTimer(time.Hour)
	defer func() { // also when OnFrame or the engine has ended this goroutine, as t.FailNow does
		defer c.link.Close()
		defer close(c.done)
		c.dropTask()
	}()
	c.arm()
	c.at(BeforeStart)
	for !c.over {
		if m := c.held; m != nil && !c.engine.first() {
			c.held = nil
			c.handle(*m)
			continue
		}
		rx, grace := c.rx, (<-chan time.Time)(nil)
		if c.held != nil {
			rx, grace = nil, c.grace.C
		} else if c.engine.full() {
			rx = nil
		}
		select {
		case m := <-rx:
			if c.engine.first() && m.kind != pingMessage {
				held := m // which would else be on the heap each time
				c.held = &held
				c.grace.Reset(engineGrace)
				break
			}
			c.handle(m)
		case then := <-c.engine.results:
			c.heard(then)
		case <-grace:
			c.engine.slow = true
		case u := <-c.spoken:
			c.task.(*synthesis).hear(u)
		case p := <-c.pushed:
			p.err <- c.push(p)
		case <-c.timer.C:
			c.checkDeadlines()
		case <-c.reply:
			c.onReply()
		case <-c.link.gone:
			c.over = true
		}
	}
}

// heard goes on with what the engine has said.
func (c *conn) heard(then func()) {
	full := c.engine.full()
	c.engine.next()
	if then != nil {
		then()
	}
	if full { // the client could not be heard meanwhile
		c.lastData = time.Now()
		c.lastPCM = c.lastData
		c.arm()
	}
}

// read passes on what comes, until the connection ends.
func (c *conn) read() {
	c.ws.SetReadLimit(maxMessage)
	c.ws.SetPingHandler(func(data string) error {
		c.pass(message{kind: pingMessage, data: []byte(data)})
		return nil
	})
	for {
		kind, r, err := c.ws.NextReader()
		buf := buffers.Get().(*bytes.Buffer)
		buf.Reset()
		if err == nil {
			_, err = buf.ReadFrom(r)
		}
		if err != nil {
			c.pass(message{kind: endMessage, err: err})
			return
		}
		m := message{kind: textMessage, data: buf.Bytes(), buf: buf}
		if kind == websocket.BinaryMessage {
			m.kind = binaryMessage
		}
		c.pass(m)
	}
}

func (c *conn) pass(m message) {
	select {
	case c.in <- m:
	case <-c.done:
	}
}

// handle handles one message of the client.
func (c *conn) handle(m message) {
	c.received(m)
	switch m.kind {
	case textMessage:
		if !utf8.Valid(m.data) {
			// The service says nothing (protocol §1.6).
			c.close(websocket.CloseInvalidFramePayloadData, "")
		} else {
			c.lastData = time.Now()
			c.handleText(m.data)
		}
	case binaryMessage:
		if c.state != ready { // there the idle timer runs on (protocol §12)
			c.lastData = time.Now()
		}
		c.handleBinary(m.data)
	case pingMessage:
		c.pong(m)
	case endMessage:
		c.handleEnd(m.err)
	}
	recycle(m)
}

// received counts and reports a message.
func (c *conn) received(m message) {
	switch m.kind {
	case textMessage, binaryMessage:
		c.server.framesIn.Add(1)
		c.server.bytesIn.Add(int64(len(m.data)))
		c.report(false, m.kind == binaryMessage, m.data)
	case pingMessage:
		c.server.pings.Add(1)
	}
}

func (c *conn) report(sent, isBinary bool, data []byte) {
	if f := c.server.opts.OnFrame; f != nil {
		f(Frame{Conn: c.number, Sent: sent, Binary: isBinary, Payload: bytes.Clone(data)})
	}
}

// recycle puts the buffer of m back, unless one long message has grown it.
func recycle(m message) {
	if m.buf != nil && m.buf.Cap() <= maxFrame {
		buffers.Put(m.buf)
	}
}

func (c *conn) pong(m message) {
	c.lastPing = time.Now()
	if !c.noPong {
		c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Pong, m.data))
	}
}

// handleEnd ends a connection whose reader has ended.
func (c *conn) handleEnd(err error) {
	closed, ok := errors.AsType[*websocket.CloseError](err)
	switch {
	case ok && closed.Code == websocket.CloseNoStatusReceived:
		c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Close, nil))
	case ok && closed.Code != websocket.CloseAbnormalClosure:
		c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Close, closePayload(closed.Code, "")))
	default:
		// gorilla/websocket may have refused a frame. What the client sends
		// meanwhile is read, else the system resets the connection and the close
		// frame may be lost.
		if c.muted.refusal != nil {
			c.raw(c.muted.refusal)
		}
		c.closeWrite()
		c.net.SetReadDeadline(time.Now().Add(linger))
		for buf := make([]byte, 4<<10); ; {
			if _, err := c.net.Read(buf); err != nil {
				break
			}
		}
	}
	c.over = true
}

// handleText handles a directive.
func (c *conn) handleText(data []byte) {
	d, f := parseDirective(data)
	if f == nil {
		f = c.directive(&d)
	}
	if f != nil {
		if c.task == nil && d.taskID != "" {
			c.taskID = d.taskID
		}
		c.fail(f)
	}
}

// directive checks d in the order of protocol §12 and obeys it.
func (c *conn) directive(d *directive) *failure {
	fault, f := c.faultOfAppKey(d)
	if f != nil {
		return f
	}
	if c.server.opts.Expired {
		return errTrialExpired
	}
	if status, text := c.server.accounts.checkAppKey(d.appKey, c.account); status != 0 {
		return &failure{status, text}
	}
	p := c.server.products[d.namespace]
	if p == nil {
		return errUnknownSpace
	}
	role, ok := p.directives[d.name]
	if !ok {
		return unsupportedDirective(d)
	}
	if role == roleStart {
		if c.state != ready {
			return &failure{nls.StatusTaskStateError, fmt.Sprintf("Gateway:TASK_STATE_ERROR:Got start directive while task is %s!", c.state)}
		}
		return c.start(p, d, fault)
	}
	if role == roleStop && d.taskID == c.unasked {
		return nil // it met a task that had just completed (protocol §11.9)
	}
	switch {
	case c.state == ready:
		return errNotWorking
	case d.taskID != c.taskID || p != c.product:
		return invalidTaskID(d.taskID)
	case c.state == stopping && role == roleStop:
		return &failure{nls.StatusTaskStateError, "Gateway:TASK_STATE_ERROR:Got stop directive while task is stopping!"}
	case c.state != working:
		return errNotWorking
	}
	c.lastDirective = d.name
	if role == roleStop {
		c.state = stopping
		if !c.at(OnStop) {
			return nil
		}
		return c.task.stop(d)
	}
	if !c.at(DuringText) {
		return nil
	}
	return c.task.control(d)
}

// start starts a task, which has a fault unless that is nil.
func (c *conn) start(p *product, d *directive, fault *Fault) *failure {
	t, f := p.open(c, d)
	if f != nil {
		return f
	}
	if f := c.server.quota.take(place{c.account, p.namespace}); f != nil {
		return f
	}
	c.server.started.Add(1)
	c.product, c.task, c.taskID, c.appKey = p, t, d.taskID, d.appKey
	c.unasked, c.answered = "", false
	c.lastDirective = d.name
	c.state = starting
	c.tasks++
	c.server.register(c)
	if f := c.taskFault(fault); f != nil {
		return f
	}
	if !c.at(OnStart) {
		return nil
	}
	begin := func() {
		c.state = working
		if p.started != "" {
			c.send(c.event(p.started, nil))
		}
		if c.task != t {
			return
		}
		c.lastPCM = time.Now()
		c.lastData, c.gotPCM = c.lastPCM, false
		c.arm()
		t.begin()
	}
	t.prepare(func() {
		if p.started == "" {
			begin()
		} else {
			c.afterDelay(c.server.delays.started, begin)
		}
	})
	return nil
}

// afterDelay calls f after d, unless the task ends before.
func (c *conn) afterDelay(d time.Duration, f func()) {
	if d > 0 {
		c.reply, c.onReply = time.After(d), f
	} else {
		f()
	}
}

// handleBinary handles audio, or what is taken for audio.
func (c *conn) handleBinary(data []byte) {
	switch c.state {
	case starting, working:
		if c.state == starting || c.product.text {
			name := "ROUTING"
			if c.state == working {
				name = "WORKING"
			}
			c.fail(&failure{nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is '" + name + "'"})
			return
		}
		c.lastPCM = c.lastData
		if len(data) > maxAudio {
			return
		}
		c.gotPCM = true
		if !c.at(DuringAudio) {
			return
		}
		c.task.audio(data)
	}
}

// complete ends the task with Completed. Nothing is left to be sent for it.
func (c *conn) complete() {
	c.state = stopping
	c.afterDelay(c.server.delays.completed, c.completeNow)
}

func (c *conn) completeNow() {
	m := c.event(c.product.completed, nil)
	m.payload(c.task.completed())
	m.last = true
	// Whoever sees Completed may start again, so the quota is free by then.
	c.endTask(time.Time{})
	c.state = ready
	c.lastData = time.Now()
	c.arm()
	c.send(m)
	c.at(AfterStop)
}

// completeUnasked is complete for a task that was not stopped. The Stop that the
// client may have sent by now is ignored.
func (c *conn) completeUnasked() {
	c.unasked = c.taskID
	c.complete()
}

// runs reports whether t has not ended, perhaps while it was sending.
func (c *conn) runs(t task) bool { return c.task == t && !c.over }

// dropTask is endTask for a task whose client has gone, which the service notices
// at the idle cut.
func (c *conn) dropTask() {
	noticed, _ := c.deadline()
	if idle := c.server.opts.IdleTimeout; noticed.IsZero() {
		noticed = time.Now().Add(idle)
	}
	c.endTask(noticed)
}

// endTask lets go of the running task, if any. Its place is free from the given
// time on.
func (c *conn) endTask(free time.Time) {
	if c.task == nil {
		return
	}
	defer c.server.quota.free(place{c.account, c.product.namespace}, free)
	c.server.unregister(c)
	task := c.task
	c.task, c.reply = nil, nil
	task.end()
}

// fail ends the task, if any, and the connection.
func (c *conn) fail(f *failure) {
	c.endTask(time.Time{})
	c.send(outgoing{event: newTaskFailed(c.taskID, f), failed: true})
	c.close(websocket.CloseNormalClosure, "")
}

// close sends a close frame, waits a moment for the client to hang up, and ends
// the connection.
func (c *conn) close(code int, reason string) {
	c.raw(wsframe.Append(nil, wsframe.Fin|wsframe.Close, closePayload(code, reason)))
	c.hangUp()
}

// hangUp ends the connection in good order: a socket closed with unread input
// would be reset, and what was just sent might be lost.
func (c *conn) hangUp() {
	if c.over {
		return
	}
	c.closeWrite()
	late := time.After(linger)
	for ended := false; !ended; {
		select {
		case m := <-c.in:
			c.received(m)
			recycle(m)
			ended = m.kind == endMessage
		case <-late:
			ended = true
		case <-c.link.gone:
			ended = true
		}
	}
	c.over = true
}

func (c *conn) closeWrite() {
	if t, ok := c.net.(*tls.Conn); ok {
		t.CloseWrite()
	}
	c.link.CloseWrite()
}

// arm sets the timer to the next deadline. It is called when one may have come
// nearer; one that has moved away is found by checkDeadlines.
func (c *conn) arm() {
	if at, _ := c.deadline(); !at.IsZero() {
		c.timer.Reset(time.Until(at))
	}
}

func (c *conn) checkDeadlines() {
	at, f := c.deadline()
	switch {
	case at.IsZero():
	case time.Now().Before(at):
		c.arm()
	default:
		c.fail(f)
	}
}

// deadline is when the service loses its patience, and with what words (protocol
// §1.5). It is zero while the client need not send anything.
func (c *conn) deadline() (time.Time, *failure) {
	idle := c.server.opts.IdleTimeout
	if idle < 0 || c.rx == nil || c.engine.full() || c.state == starting || c.state == stopping || c.state == working && c.product.oneShot {
		return time.Time{}, nil
	}
	at := c.lastData.Add(idle)
	if c.lastPing.After(c.lastData) {
		at = c.lastPing.Add(idle)
		if ceiling := c.lastData.Add(idle * 23 / 10); ceiling.Before(at) {
			at = ceiling
		}
	}
	if c.state == working && !c.product.text && !c.product.described {
		// The engine speaks first, but one that has had nothing yet waits for no more.
		if starved := c.lastPCM.Add(idle); starved.Before(at) || c.gotPCM {
			return starved, errAudioTimeout
		}
	}
	return at, c.idle()
}

// idle is what the service says when it gives up waiting.
func (c *conn) idle() *failure {
	text := "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time"
	if c.lastDirective != "" {
		text += ", the last directive is '" + c.lastDirective + "'"
	}
	return &failure{nls.StatusIdleTimeout, text + "!"}
}

// outgoing is a message of the server: an event, or audio.
type outgoing struct {
	event *event
	audio []byte

	last   bool // Completed
	failed bool // TaskFailed
}

// payload sets the payload of an event, nil for none.
func (m *outgoing) payload(v any) { m.event.Payload = v }

// event returns an event of the running task.
func (c *conn) event(name string, payload any) outgoing {
	return outgoing{event: newEvent(c.product.namespace, c.taskID, name, payload)}
}

// send sends a message, or does with it what the fault of the connection wants.
func (c *conn) send(m outgoing) {
	if c.over {
		return
	}
	answer := !c.answered && !m.failed
	c.answered = c.answered || answer
	if c.fault == nil {
		c.write(m)
		return
	}
	c.fault.send(c, m, answer)
	if answer {
		c.at(AfterStart)
	}
}

// write writes a message.
func (c *conn) write(m outgoing) {
	if c.fault != nil {
		c.sent = m
	}
	if m.event == nil {
		c.writeData(wsframe.Binary, m.audio)
		return
	}
	data, err := wire.Marshal(m.event)
	if len(data) > maxFrame {
		if p, ok := m.event.Payload.(interface{ withoutWords() any }); ok {
			m.event.Payload = p.withoutWords()
			data, err = wire.Marshal(m.event)
		}
	}
	if (err != nil || len(data) > maxFrame) && !m.failed {
		c.fail(errServer) // an engine that cannot be served
		return
	}
	c.writeData(wsframe.Text, data)
}

// closePayload is the payload of a close frame. Code zero is a close frame
// without a code.
func closePayload(code int, reason string) []byte {
	if code == 0 {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

// frames holds buffers in which frames are put together.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// writeData writes data as a message of one frame.
func (c *conn) writeData(opcode byte, data []byte) {
	if c.over {
		return
	}
	c.count(opcode, data)
	frame := frames.Get().(*[]byte)
	*frame = wsframe.Append((*frame)[:0], wsframe.Fin|opcode, data)
	c.raw(*frame)
	frames.Put(frame)
}

// count counts and reports a message that is about to be written.
func (c *conn) count(opcode byte, data []byte) {
	c.server.framesOut.Add(1)
	c.server.bytesOut.Add(int64(len(data)))
	c.report(true, opcode == wsframe.Binary, data)
}

// raw writes bytes, which are one frame unless the connection has a fault. An
// error means that the client has gone.
func (c *conn) raw(b []byte) {
	if c.over {
		return
	}
	if c.checker != nil {
		c.checker.MustPass(b)
	}
	if _, err := c.net.Write(b); err != nil {
		c.over = true
	}
}
