package session

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// LevelTrace is the level at which frames are logged.
const LevelTrace = slog.LevelDebug - 4

// Hooks observe a session. Every field is set; the structs have the fields of
// their namesakes in package nls, which converts them.
type Hooks struct {
	DialStart   func(Dial)
	DialDone    func(Dial)
	Command     func(Message)
	Audio       func(Message)
	Event       func(Message)
	Callback    func(Message)
	Pong        func(Pong)
	Stalled     func(Stall)
	SessionDone func(Summary)
}

type (
	// Dial is a connection attempt.
	Dial struct {
		URL, TaskID string
		Attempt     int
		RemoteAddr  net.Addr
		StatusCode  int
		Duration    time.Duration
		Err         error
	}
	// Message is one message.
	Message struct {
		Namespace, Name, TaskID string
		Size                    int
		Status                  int
		Duration                time.Duration
		Pending                 int
		Err                     error
	}
	// Pong is an answered ping.
	Pong struct {
		TaskID string
		RTT    time.Duration
	}
	// Stall is a full event queue.
	Stall struct {
		TaskID       string
		Stalled      bool
		PendingBytes int
	}
	// Summary sums up a session.
	Summary struct {
		Namespace, TaskID   string
		Start, End          time.Time
		FirstResult         time.Duration
		SentBytes, RcvBytes int64
		Err                 error
	}
)

// observer runs hooks, and the logger, for what the reader sees. They are the
// user's and may be slow, so they run beside the reader and not on it.
type observer struct{ queue queue[observation] }

type observation func()

// observationCost is an estimate of what an observation keeps.
const observationCost = 512

func (observation) size() int { return observationCost }

func newObserver(limit int) *observer {
	return &observer{queue[observation]{
		limit: limit, base: time.Now(), run: func(f observation) { f() }, exited: func() {}, last: func() {},
	}}
}

// observe runs f later, in order.
func (o *observer) observe(f observation) {
	if o.queue.push(f) {
		go o.queue.dispatch()
	}
}

// flush returns when everything has been observed.
func (o *observer) flush() {
	done := make(chan struct{})
	o.observe(func() { close(done) })
	<-done
}

// observer returns the task's, which most tasks never need.
func (t *Task) observer() *observer {
	if o := t.watching.Load(); o != nil {
		return o
	}
	t.watching.CompareAndSwap(nil, newObserver(t.cfg.MaxPending))
	return t.watching.Load()
}

// warn logs what the reader has noticed.
func (t *Task) warn(msg string, args ...any) {
	if t.cfg.Log.Enabled(context.Background(), slog.LevelWarn) {
		t.observer().observe(func() { t.cfg.Log.Warn(msg, args...) })
	}
}

// tracing reports whether frames are logged.
func (t *Task) tracing() bool { return t.cfg.Log.Enabled(context.Background(), LevelTrace) }

// trace logs a frame; the size alone if it is audio.
func (t *Task) trace(msg string, opcode byte, data []byte, redact func(string) string) {
	attr := slog.Int("bytes", len(data))
	if opcode == wsframe.Text {
		attr = slog.String("frame", redact(string(data)))
	}
	t.cfg.Log.LogAttrs(context.Background(), LevelTrace, msg, attr)
}

// wrote tells the hooks of a message that has been written, or could not be. The
// caller has no lock, since they may send.
func (t *Task) wrote(a *attempt, m Message, opcode byte) {
	m.Namespace, m.TaskID, m.Pending = t.p.Namespace, a.id, int(t.queue.waiting.Load())
	if opcode == wsframe.Binary {
		t.p.Hooks.Audio(m)
	} else {
		t.p.Hooks.Command(m)
	}
}
