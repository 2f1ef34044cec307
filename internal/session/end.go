package session

import (
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// delivering runs the callbacks, and tells them of the end. All of it happens on
// the dispatcher.
type delivering struct {
	*Task
	calling atomic.Pointer[Delivery] // what the callback that runs was called with
	step    int                      // how far last has come
	kept    bool                     // the connection lives on
}

// deliver runs the callbacks for d.
func (r *delivering) deliver(d *Delivery) {
	if d.result && !r.outcome.delivering() {
		return
	}
	r.calling.Store(d)
	var start time.Time
	if r.watch.hooks != nil {
		start = time.Now()
	}
	r.p.Deliver(d)
	r.calling.Store(nil)
	if r.watch.hooks != nil {
		m := Message{
			Namespace: r.p.Namespace, TaskID: d.TaskID, Pending: int(r.queue.waiting.Load()), Err: d.Err,
			Size: len(d.Data), Duration: time.Since(start),
		}
		if d.Event != nil {
			m.Name, m.Status, m.Size = d.Event.Name, d.Event.Status, len(d.Event.Raw)
		}
		r.watch.hooks.Callback(m)
	}
	if d.ready {
		r.ready()
	}
	if d.result {
		r.outcome.setDelivered()
	}
}

// callback is the name of the callback that runs.
func (r *delivering) callback() string {
	if d := r.calling.Load(); d != nil && r.p.Callback != nil {
		return r.p.Callback(d)
	}
	return "a callback"
}

// exited ends the task, whose callback has ended its goroutine.
func (r *delivering) exited() {
	err := &exitError{r.callback()}
	r.calling.Store(nil)
	r.end(false, err)
}

// last closes the connection, then delivers the failure and the end. It runs when
// nothing is left to deliver; again if OnError or OnClose ended its goroutine, and
// goes on where it was.
func (r *delivering) last() {
	a := r.current.Load()
	if r.next(0) {
		r.part(a.conn)
		r.opening.leave()
	}
	if r.outcome.begun.Load() {
		r.tell(a)
	}
	summarize(r.Task)
	r.bounds.stop()
	if r.pooled.Swap(2) == 1 {
		r.p.Pool.leave()
	}
	r.current.Store(nil) // the object may live on, its buffers need not
	conclude(r.Task)
}

// tell tells the callbacks and the hooks of the end.
func (r *delivering) tell(a *attempt) {
	cause, silent := r.outcome.state(true)
	if r.next(1) && cause != nil && !silent {
		r.queue.mark(true)
		r.deliver(&Delivery{Kind: KindFailed, TaskID: a.id, Event: r.failed, Err: cause})
	}
	if r.next(2) {
		code, reason := -1, ""
		if !r.kept {
			code, reason = a.conn.reader.farewell()
		}
		r.queue.mark(true)
		r.deliver(&Delivery{Kind: KindClosed, TaskID: a.id, Err: cause, Code: code, Reason: a.redactCut(reason)})
	}
	r.queue.mark(true)
	r.watch.flush()
	if r.next(3) {
		r.recordEnd(a, cause)
	}
}

// part says goodbye after a task that has completed, or hands the connection on.
func (r *delivering) part(c *conn) {
	cause, silent := r.outcome.state(false)
	if cause != nil || silent {
		c.close(0)
		return
	}
	k := r.parking.Load()
	if k != nil && r.outcome.handOn() && c.lock(nil, c.age()+closeTimeout) == nil {
		c.unlock() // whoever was sending has seen the end
		r.kept = r.p.Pool.put(k)
	}
	if !r.kept {
		c.close(wsframe.CloseNormal)
	}
}

// next reports whether step n is the next one, and takes it.
func (r *delivering) next(n int) bool {
	if r.step != n {
		return false
	}
	r.step++
	return true
}
