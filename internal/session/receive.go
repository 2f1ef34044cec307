package session

import (
	"bytes"
	"log/slog"
	"slices"
	"time"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// noTask is the id that the service puts where it knows of no task (protocol §1.3).
const noTask = "00000000000000000000000000000000"

// receiving owns the connection of an attempt: what the service says there
// becomes deliveries.
type receiving struct {
	*Task
	a *attempt
}

// wait holds the reader while a queue is full. It reports whether to read on.
func (r *receiving) wait(c *conn) bool {
	hold(r.Task, c, r.a.id)
	return r.outcome.phase() < closing
}

// hold waits until the queues have room, or the task has ended.
func hold(t *Task, c *conn, id string) {
	if t.queue.full() {
		t.queue.wait(t.outcome.over, func(stalled bool) {
			t.bounds.stall(stalled)
			stall(c, stalled)
			if h := t.watch.hooks; h != nil {
				s := Stall{TaskID: id, Stalled: stalled, PendingBytes: int(t.queue.pending.Load())}
				t.watch.later(func() { h.Stalled(s) })
			}
		})
	}
	if q := t.watch.queue.Load(); q != nil && q.full() {
		q.wait(t.outcome.over, func(stalled bool) { stall(c, stalled) })
	}
}

func stall(c *conn, stalled bool) {
	if p := c.pings.Load(); p != nil {
		p.stall(stalled)
	}
}

// receive takes a message.
func (r *receiving) receive(_ *conn, opcode byte, data []byte) (then func(), on bool) {
	r.bounds.message()
	r.stats.received.Add(int64(len(data)))
	data = bytes.Clone(data)
	if r.watch.tracing() {
		r.watch.later(func() { r.watch.frame(false, r.a.id, opcode, data, r.a.redact) })
	}
	if r.cfg.Record != nil {
		f := r.recordFrame(r.a, false, opcode, data)
		r.watch.later(func() { r.record(r.a, f) })
	}
	if opcode == wsframe.Text {
		dispatch, on := r.text(data)
		if then = doNothing; dispatch {
			then = r.dispatch
		}
		return then, on
	}
	r.observe(Message{Namespace: r.p.Namespace, TaskID: r.a.id, Size: len(data)})
	if r.outcome.phase() >= closing {
		return nil, false
	}
	if dispatch := r.accept(true); r.queue.push(&Delivery{Kind: KindData, TaskID: r.a.id, Data: data}) || dispatch {
		go r.queue.dispatch()
	}
	return nil, true
}

func doNothing() {}

// observe tells the hook of a message.
func (r *receiving) observe(m Message) {
	if h := r.watch.hooks; h != nil {
		m.Pending = int(r.queue.waiting.Load())
		r.watch.later(func() { h.Event(m) })
	}
}

// text takes a text message. It reports whether the queue has to be dispatched,
// and whether to read on.
func (r *receiving) text(data []byte) (dispatch, on bool) {
	m := Message{Namespace: r.p.Namespace, TaskID: r.a.id, Size: len(data)}
	e, err := wire.DecodeEvent(data)
	if err != nil {
		m.Err = err
		r.observe(m)
		r.watch.warn("nls: message skipped", "err", err)
		return false, true
	}
	if r.a.idled(e, r.outcome.phase()) {
		r.a.isStale(errStale)
		return false, false
	}
	// One without an id is ours: the connection has no other task.
	if e.TaskID == "" || e.TaskID == noTask {
		e.TaskID = r.a.id
	}
	m.Namespace, m.Name, m.TaskID, m.Status = e.Namespace, e.Name, e.TaskID, e.Status
	r.observe(m)
	if e.TaskID != r.a.id {
		r.watch.warn("nls: event of another task skipped", "name", r.a.redact(e.Name), "event_task_id", r.a.redact(e.TaskID))
		return false, true
	}
	ev := &Event{Event: e}
	text := string(e.Raw)
	if clean := r.a.redact(text); clean != text {
		ev.Redacted, ev.StatusText = clean, r.a.redact(ev.StatusText)
	}
	return r.event(ev)
}

// event takes a text message of the task.
func (r *receiving) event(ev *Event) (dispatch, on bool) {
	switch {
	case ev.Name == "TaskFailed":
		if r.a.refuses(ev, r.outcome.phase()) {
			r.a.failed <- ev
			return false, false
		}
		return r.final(ev, true), false
	case slices.Contains(r.p.Final, ev.Name):
		dispatch = r.final(ev, false)
		return dispatch, r.parking.Load() != nil
	case r.outcome.phase() >= closing:
		return false, false
	}
	answer := slices.Contains(r.p.Started, ev.Name)
	if answer && !r.outcome.advance(starting, answered) {
		r.watch.warn("nls: second answer skipped", "name", ev.Name)
		return false, true
	}
	dispatch = r.accept(!answer)
	if answer {
		r.bounds.answer(false)
	}
	return r.queue.push(&Delivery{Kind: KindEvent, TaskID: r.a.id, Event: ev, ready: answer}) || dispatch, true
}

// accept notes that the service has said something that is no refusal. A task
// that waits for an answer is not open before, since another may take its place.
func (r *receiving) accept(result bool) (dispatch bool) {
	if result && r.stats.firstResult.Load() == 0 {
		r.stats.firstResult.Store(int64(time.Since(r.stats.begin)))
	}
	first := !r.a.heard.Swap(true)
	if first {
		r.watch.info(slog.LevelDebug, "nls: session started", "took", time.Since(r.created))
		r.join()
		if why := r.a.dead.Load(); why != nil { // there will be no other
			r.fail(*why)
		}
	}
	return first && r.p.Open && len(r.p.Started) > 0 && r.queue.push(&Delivery{Kind: KindOpen, TaskID: r.a.id})
}

// final takes the message that ends the task.
func (r *receiving) final(ev *Event, failed bool) (dispatch bool) {
	ended := false
	if failed {
		ended = r.outcome.fail(func() error {
			r.failed = ev
			return explain(r.Task, &TaskFailed{ev})
		})
	} else {
		ended = r.outcome.complete()
	}
	if !ended {
		return false
	}
	if p := r.p.Pool; p != nil && p.reuse && !failed {
		r.parking.Store(p.adopt(r.a))
	}
	r.bounds.answer(true)
	dispatch = r.accept(!failed)
	dispatch = r.queue.push(&Delivery{Kind: KindEvent, TaskID: r.a.id, Event: ev, result: !failed}) || dispatch
	return r.queue.close() || dispatch
}

// lost ends the task, whose connection has ended or cannot go on.
func (r *receiving) lost(_ *conn, err error) {
	if r.current.Load() != r.a {
		return // it was refused
	}
	if e, ok := err.(*CloseError); ok {
		e.Reason = r.a.redactCut(e.Reason)
	}
	if r.a.mayRedial(r.outcome.phase()) {
		r.a.isStale(err)
		if !r.a.heard.Load() {
			return // or accept sees that it is dead
		}
	}
	if why := r.a.dead.Load(); why != nil { // Start has closed it for that
		err = *why
	}
	r.fail(err)
}

func (r *receiving) ponged(_ *conn, rtt time.Duration) {
	if h := r.watch.hooks; h != nil {
		r.watch.later(func() { h.Pong(Pong{TaskID: r.a.id, RTT: rtt}) })
	}
}
