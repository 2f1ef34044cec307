package session

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// noTask is the id that the service puts where it knows of no task (protocol §1.3).
const noTask = "00000000000000000000000000000000"

// statusAccessDenied is the status of a refused token, among others.
const statusAccessDenied = 40000001

// attempt is a task on one connection: what the service says there becomes
// deliveries. A refused token gives a task a second attempt, with an id of its
// own, and nothing of the first can touch it.
type attempt struct {
	t      *Task
	number int
	id     string
	frame  []byte // the first directive

	// Set when the attempt dials, before anybody else knows it.
	token, urlToken Secret
	conn            *conn

	// Read and written by the reader alone.
	heard bool // the service has said something

	refused chan *Event // the refusal that a second attempt may answer
}

// redact shows the tokens of the session as ***: the source's, and the one that
// the URL may have, which the service prefers.
func (a *attempt) redact(s string) string {
	for _, token := range []Secret{a.token, a.urlToken} {
		if token.Value() != "" {
			s = strings.ReplaceAll(s, token.Value(), "***")
		}
	}
	return s
}

// wait holds the reader while the queue is full. It reports whether to read on.
func (a *attempt) wait(c *conn) bool {
	t := a.t
	if t.queue.full() {
		t.queue.wait(t.outcome.over, func(stalled bool) {
			t.bounds.stall(stalled)
			a.stall(c, stalled)
			if h := t.p.Hooks; h != nil {
				s := Stall{TaskID: a.id, Stalled: stalled, PendingBytes: int(t.queue.pending.Load())}
				t.observer().observe(func() { h.Stalled(s) })
			}
		})
	}
	if o := t.watching.Load(); o != nil && o.queue.full() {
		o.queue.wait(t.outcome.over, func(stalled bool) { a.stall(c, stalled) })
	}
	return t.outcome.phase() < closing
}

func (a *attempt) stall(c *conn, stalled bool) {
	if p := c.pings.Load(); p != nil {
		p.stall(stalled)
	}
}

// receive takes a message.
func (a *attempt) receive(_ *conn, opcode byte, data []byte) (then func(), on bool) {
	t := a.t
	t.bounds.message()
	t.stats.received.Add(int64(len(data)))
	data = bytes.Clone(data)
	if t.tracing() {
		t.observer().observe(func() { t.trace("nls: receive", opcode, data, a.redact) })
	}
	if opcode == wsframe.Text {
		dispatch, on := a.text(data)
		if dispatch {
			return t.dispatch, on
		}
		return doNothing, on
	}
	a.observe(Message{Namespace: t.p.Namespace, TaskID: a.id, Size: len(data)})
	if t.outcome.phase() >= closing {
		return nil, false
	}
	dispatch := a.accept(true)
	if t.queue.push(&Delivery{Kind: KindData, TaskID: a.id, Data: data}) || dispatch {
		go t.queue.dispatch()
	}
	return nil, true
}

func doNothing() {}

// observe tells the hook of a message.
func (a *attempt) observe(m Message) {
	if h := a.t.p.Hooks; h != nil {
		m.Pending = int(a.t.queue.waiting.Load())
		a.t.observer().observe(func() { h.Event(m) })
	}
}

// text takes a text message. It reports whether the queue has to be dispatched,
// and whether to read on.
func (a *attempt) text(data []byte) (dispatch, on bool) {
	t := a.t
	m := Message{Namespace: t.p.Namespace, TaskID: a.id, Size: len(data)}
	e, err := wire.DecodeEvent(data)
	if err != nil {
		m.Err = err
		a.observe(m)
		t.warn("nls: message skipped", "err", err, "task_id", a.id)
		return false, true
	}
	// One without an id is ours: the connection has no other task.
	if e.TaskID == "" || e.TaskID == noTask {
		e.TaskID = a.id
	}
	m.Namespace, m.Name, m.TaskID, m.Status = e.Namespace, e.Name, e.TaskID, e.Status
	a.observe(m)
	if e.TaskID != a.id {
		t.warn("nls: event of another task skipped", "name", e.Name, "task_id", a.id, "event_task_id", e.TaskID)
		return false, true
	}
	ev := &Event{Event: e}
	ev.StatusText = a.redact(ev.StatusText)
	if text := string(e.Raw); a.redact(text) != text {
		ev.Redacted = a.redact(text)
	}
	return a.event(ev)
}

// event takes a text message of the task.
func (a *attempt) event(ev *Event) (dispatch, on bool) {
	t := a.t
	switch {
	case ev.Name == "TaskFailed":
		if a.refuses(ev) {
			a.refused <- ev
			return false, false
		}
		return a.final(ev, true), false
	case slices.Contains(t.p.Final, ev.Name):
		return a.final(ev, false), false
	case t.outcome.phase() >= closing:
		return false, false
	}
	answer := slices.Contains(t.p.Started, ev.Name)
	if answer && !t.outcome.advance(starting, answered) {
		t.warn("nls: second answer skipped", "name", ev.Name, "task_id", a.id)
		return false, true
	}
	dispatch = a.accept(!answer)
	if answer {
		t.bounds.answer(false)
	}
	return t.queue.push(&Delivery{Kind: KindEvent, TaskID: a.id, Event: ev, ready: answer}) || dispatch, true
}

// accept notes that the service has said something that is no refusal. A task
// that waits for an answer is not open before, since another may take its place.
func (a *attempt) accept(result bool) (dispatch bool) {
	t := a.t
	if result && t.stats.firstResult.Load() == 0 {
		t.stats.firstResult.Store(int64(time.Since(t.stats.begin)))
	}
	first := !a.heard
	a.heard = true
	return first && t.p.Open && len(t.p.Started) > 0 && t.queue.push(&Delivery{Kind: KindOpen, TaskID: a.id})
}

// final takes the message that ends the task.
func (a *attempt) final(ev *Event, failed bool) (dispatch bool) {
	t := a.t
	if failed {
		if !t.outcome.fail(func() error {
			t.failed = ev
			return t.explain(&TaskFailed{ev})
		}) {
			return false
		}
	} else if !t.outcome.complete() {
		return false
	}
	t.bounds.answer(true)
	dispatch = a.accept(true)
	dispatch = t.queue.push(&Delivery{Kind: KindEvent, TaskID: a.id, Event: ev, result: !failed}) || dispatch
	return t.queue.close() || dispatch
}

// refuses reports whether ev, the first thing that the gateway says, refuses the
// token, and Start will try another.
func (a *attempt) refuses(ev *Event) bool {
	text := strings.ToLower(ev.StatusText)
	return ev.Status == statusAccessDenied && (strings.Contains(text, "token") || strings.Contains(text, "authorization")) &&
		a.number == 1 && !a.heard && a.t.outcome.phase() == starting
}

// lost ends the task, whose connection has ended or cannot go on.
func (a *attempt) lost(_ *conn, err error) {
	if a.t.current.Load() != a {
		return // it was refused
	}
	if e, ok := err.(*CloseError); ok {
		e.Reason = a.redact(e.Reason)
	}
	a.t.fail(err)
}

func (a *attempt) ponged(_ *conn, rtt time.Duration) {
	if h := a.t.p.Hooks; h != nil {
		a.t.observer().observe(func() { h.Pong(Pong{TaskID: a.id, RTT: rtt}) })
	}
}
