package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
)

// LevelTrace is the level at which frames are logged.
const LevelTrace = slog.LevelDebug - 4

// noTask is the id that the service puts where it knows of no task (protocol §1.3).
const noTask = "00000000000000000000000000000000"

// closeTimeout bounds the goodbye after a completed task.
const closeTimeout = time.Second

// errClosing says that nothing may be written any more, since Close will be.
var errClosing = errors.New("closing")

// link is a connection of a task.
type link struct {
	conn *websocket.Conn
	raw  net.Conn // what conn stands on; closing it frees every call at once

	// writing is the write lock. A channel and not a mutex, since it is held
	// over I/O and waiters give up when the task ends.
	writing chan struct{}
	closing atomic.Bool // Close waits for the lock; no other message follows

	ping       *pinger       // nil without pings
	readerDone chan struct{} // closed when the reader has returned

	// mayRetry says that a refusal of the token is not delivered but makes Start
	// try again. It is guarded by task.mu and false from the first message on.
	mayRetry    bool
	refused     chan struct{} // closed when that happened
	refusedWith *Event

	// The Close frame of the peer. Written by the reader.
	closeCode   int
	closeReason string
}

func newLink(t *task, conn *websocket.Conn, raw net.Conn, mayRetry bool) *link {
	return &link{
		conn: conn, raw: raw, mayRetry: mayRetry, closeCode: -1,
		writing: make(chan struct{}, 1), readerDone: make(chan struct{}), refused: make(chan struct{}),
	}
}

// keep forgoes a second attempt. It reports false if the first has been refused.
func (l *link) keep(t *task) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.mayRetry = false
	return l.refusedWith == nil
}

// lock takes the write lock. It reports false if the task ended first.
func (l *link) lock(t *task) bool {
	select {
	case l.writing <- struct{}{}:
		return true
	case <-t.over:
		return false
	}
}

func (l *link) unlock() { <-l.writing }

// write writes one message. The caller has the write lock or is alone.
func (l *link) write(t *task, messageType int, name string, data []byte) error {
	if l.closing.Load() {
		return errClosing
	}
	if t.cfg.Log.Enabled(context.Background(), LevelTrace) {
		t.logFrame("nls: send", messageType, data)
	}
	start := time.Now()
	err := l.writeFrame(messageType, data, t.writeDeadline(start))
	t.mu.Lock()
	if err == nil {
		t.sentBytes += int64(len(data))
	}
	m := Message{Namespace: t.p.Namespace, Name: name, TaskID: t.id, Size: len(data), Pending: len(t.queue), Err: err}
	t.mu.Unlock()
	if t.p.Hooks != nil {
		m.Duration = time.Since(start)
		if messageType == websocket.BinaryMessage {
			t.p.Hooks.Audio(m)
		} else {
			t.p.Hooks.Command(m)
		}
	}
	return err
}

func (t *task) writeDeadline(now time.Time) time.Time {
	if t.cfg.WriteTimeout < 0 {
		return time.Time{}
	}
	return now.Add(t.cfg.WriteTimeout)
}

// answerControl makes the reader answer the peer's pings and its Close with the
// write lock held, which gorilla's own answers know nothing of. A failure to
// answer shows in the next read or write.
func (l *link) answerControl(t *task) {
	l.conn.SetPingHandler(func(data string) error {
		if l.lock(t) {
			_ = l.conn.WriteControl(websocket.PongMessage, []byte(data), t.writeDeadline(time.Now()))
			l.unlock()
		}
		return nil
	})
	l.conn.SetCloseHandler(func(code int, _ string) error {
		l.writeClose(code, closeTimeout)
		return nil
	})
}

// writeClose says goodbye, unless a message cannot be written to its end within
// timeout.
func (l *link) writeClose(code int, timeout time.Duration) {
	l.closing.Store(true)
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	select {
	case l.writing <- struct{}{}:
		defer l.unlock()
		// The peer may be gone already, which is fine.
		_ = l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(timeout))
	case <-deadline.C:
	}
}

// startPings starts the ping clock. It is called before the reader starts.
func (l *link) startPings(t *task) {
	if t.p.PingInterval <= 0 {
		return
	}
	l.ping = newPinger(t.p.PingInterval, t.p.PingTimeout, func() bool { return l.sendPing(t) }, func() { t.fail(ErrPingTimeout) })
	l.conn.SetPongHandler(func(string) error {
		if rtt, ok := l.ping.pong(); ok && t.p.Hooks != nil {
			t.p.Hooks.Pong(Pong{TaskID: t.id, RTT: rtt})
		}
		return nil
	})
}

// sendPing writes a ping unless a message is being written: then the connection
// is alive, or the write deadline will tell.
func (l *link) sendPing(t *task) bool {
	select {
	case l.writing <- struct{}{}:
	default:
		return false
	}
	defer l.unlock()
	err := l.conn.WriteControl(websocket.PingMessage, nil, t.writeDeadline(time.Now()))
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.fail(ErrWriteTimeout)
	}
	return err == nil // any other error shows in the next read
}

// readBuffers hold a message while it arrives; it is then copied to its size.
var readBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read is the reader: it reads until the connection or the task has ended.
func (l *link) read(t *task) {
	for t.waitSpace(l) {
		// A session spends its life in this call, so little may be on the stack.
		messageType, r, err := l.conn.NextReader()
		if err != nil {
			t.fail(t.readError(l, err))
			break
		}
		if !l.readMessage(t, messageType, r) {
			break
		}
		if messageType == websocket.TextMessage {
			// Decoding has grown the stack; a fresh goroutine waits on 2 KiB
			// and not on 8.
			go l.read(t)
			return
		}
	}
	close(l.readerDone)
}

// readMessage reads a message to its end and takes it. It reports whether to
// read on.
func (l *link) readMessage(t *task, messageType int, r io.Reader) bool {
	buf := readBuffers.Get().(*bytes.Buffer)
	defer readBuffers.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(r); err != nil {
		t.fail(t.readError(l, err))
		return false
	}
	return l.received(t, messageType, bytes.Clone(buf.Bytes()))
}

// readError says how the connection ended.
func (t *task) readError(l *link, err error) error {
	if e, ok := errors.AsType[*websocket.CloseError](err); ok && e.Code != websocket.CloseAbnormalClosure {
		l.closeCode, l.closeReason = e.Code, t.redact(e.Text)
		if e.Code == websocket.CloseNoStatusReceived {
			l.closeCode = -1
		}
		return &CloseError{Code: e.Code, Reason: l.closeReason}
	} else if ok {
		err = io.ErrUnexpectedEOF
	}
	// gorilla's complaints about the peer's framing and its length have no type
	// but this prefix. It has told the peer 1002 or 1009.
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		return &CloseError{Code: websocket.CloseMessageTooBig, Err: err}
	case strings.HasPrefix(err.Error(), "websocket: "):
		return &CloseError{Code: websocket.CloseProtocolError, Err: err}
	}
	return &CloseError{Code: -1, Err: err}
}

// received takes a message. It reports whether to read on.
func (l *link) received(t *task, messageType int, data []byte) bool {
	if t.cfg.Log.Enabled(context.Background(), LevelTrace) {
		t.logFrame("nls: receive", messageType, data)
	}
	t.mu.Lock()
	t.rcvBytes += int64(len(data))
	t.heard = time.Now()
	id := t.id
	m := Message{Namespace: t.p.Namespace, TaskID: id, Size: len(data), Pending: len(t.queue)}
	t.mu.Unlock()

	var e wire.Event
	if messageType == websocket.TextMessage {
		if e, m.Err = wire.DecodeEvent(data); m.Err == nil {
			// One without an id is ours: the connection has no other task.
			if e.TaskID == "" || e.TaskID == noTask {
				e.TaskID = id
			}
			m.Namespace, m.Name, m.TaskID, m.Status = e.Namespace, e.Name, e.TaskID, e.Status
		}
	}
	if t.p.Hooks != nil {
		t.p.Hooks.Event(m)
	}
	on := true
	switch {
	case messageType == websocket.BinaryMessage:
		on = t.data(data)
	case m.Err != nil:
		t.cfg.Log.Warn("nls: message skipped", "err", m.Err, "task_id", id)
		return true
	case e.TaskID != id:
		t.cfg.Log.Warn("nls: event of another task skipped", "name", e.Name, "task_id", id, "event_task_id", e.TaskID)
		return true
	default:
		on = t.event(l, e)
	}
	t.mu.Lock()
	l.mayRetry = false
	t.mu.Unlock()
	return on
}

// logFrame logs a message; the size only if it is audio.
func (t *task) logFrame(what string, messageType int, data []byte) {
	attr := slog.Int("bytes", len(data))
	if messageType == websocket.TextMessage {
		attr = slog.String("frame", t.redact(string(data)))
	}
	t.cfg.Log.Log(context.Background(), LevelTrace, what, attr)
}

// close ends the connection of a task that has ended and waits for the reader
// and the ping clock.
func (l *link) close(t *task, goodbye bool) {
	if goodbye {
		timeout := closeTimeout
		if t.cfg.WriteTimeout > 0 {
			timeout = min(timeout, t.cfg.WriteTimeout)
		}
		l.writeClose(websocket.CloseNormalClosure, timeout)
	}
	l.raw.Close()
	<-l.readerDone
	if l.ping != nil {
		l.ping.stop()
	}
}
