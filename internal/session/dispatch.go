package session

import "time"

// pushLocked hands d to the dispatcher.
func (t *task) pushLocked(d *Delivery) {
	if t.discard {
		return
	}
	t.queue = append(t.queue, d)
	t.pending += d.size()
	t.dispatchLocked()
}

// dispatchLocked makes sure that there is a dispatcher.
func (t *task) dispatchLocked() {
	if !t.dispatching {
		t.dispatching = true
		go t.dispatch()
	}
}

// dispatch is the dispatcher: it delivers what is queued and, once the task has
// ended, the end.
func (t *task) dispatch() {
	for {
		t.mu.Lock()
		if len(t.queue) == 0 {
			t.queue = nil
			over := t.phase >= closing
			t.dispatching = over
			t.mu.Unlock()
			if over {
				t.finish()
			}
			return
		}
		d := t.queue[0]
		t.queue[0], t.queue = nil, t.queue[1:]
		t.mu.Unlock()

		t.deliver(d)

		t.mu.Lock()
		t.pending -= d.size()
		t.spaceLocked()
		if d.ready {
			t.readyLocked()
		}
		t.mu.Unlock()
	}
}

// deliver runs the callbacks for d.
func (t *task) deliver(d *Delivery) {
	start := time.Now()
	t.mu.Lock()
	t.callbackSince = start
	t.mu.Unlock()
	t.p.Deliver(d)
	t.mu.Lock()
	t.callbackSince = time.Time{}
	m := Message{Namespace: t.p.Namespace, TaskID: d.TaskID, Pending: len(t.queue), Err: d.Err}
	t.mu.Unlock()
	if t.p.Hooks == nil {
		return
	}
	m.Size, m.Duration = len(d.Data), time.Since(start)
	if d.Event != nil {
		m.Name, m.Status, m.Size = d.Event.Name, d.Event.Status, len(d.Event.Raw)
	}
	t.p.Hooks.Callback(m)
}

// finish closes the connection, then delivers the failure and the end. It runs
// on the dispatcher when nothing is left to deliver.
func (t *task) finish() {
	t.mu.Lock()
	l, cause, goodbye := t.link, t.cause, t.cause == nil && !t.discard
	t.mu.Unlock()
	l.close(t, goodbye)

	t.mu.Lock()
	failed := cause != nil && !t.discard
	t.mu.Unlock()
	if failed {
		t.deliver(&Delivery{Kind: KindFailed, TaskID: t.id, Event: t.failed, Err: cause})
	}
	t.deliver(&Delivery{
		Kind: KindClosed, TaskID: t.id, Err: cause, Code: l.closeCode, Reason: l.closeReason,
	})

	t.mu.Lock()
	s := Summary{
		Namespace: t.p.Namespace, TaskID: t.id, Start: t.begin, End: time.Now(),
		FirstResult: t.firstResult, SentBytes: t.sentBytes, RcvBytes: t.rcvBytes, Err: cause,
	}
	t.mu.Unlock()
	if t.p.Hooks != nil {
		t.p.Hooks.SessionDone(s)
	}
	t.stopTimers() // not before: OnClose may be stuck, and Start has its bound
	t.mu.Lock()
	t.phase, t.link = ended, nil // the object may live on, its buffers need not
	t.mu.Unlock()
	close(t.done)
}

// waitSpace pauses the reader while the bound on pending bytes is reached. It
// reports false if the task ended meanwhile.
func (t *task) waitSpace(l *link) bool {
	t.mu.Lock()
	if t.pending < t.cfg.MaxPending {
		t.mu.Unlock()
		return true
	}
	space := make(chan struct{})
	t.space = space
	stall := Stall{TaskID: t.id, Stalled: true, PendingBytes: t.pending}
	t.mu.Unlock()

	t.stall(l, stall)
	select {
	case <-space:
	case <-t.over:
		return false
	}
	t.mu.Lock()
	stall.Stalled, stall.PendingBytes = false, t.pending
	t.mu.Unlock()
	t.stall(l, stall)
	return true
}

func (t *task) stall(l *link, s Stall) {
	if l.ping != nil {
		l.ping.stall(s.Stalled)
	}
	if t.p.Hooks != nil {
		t.p.Hooks.Stalled(s)
	}
}

// spaceLocked lets the reader go on if there is room again.
func (t *task) spaceLocked() {
	if t.space != nil && t.pending < t.cfg.MaxPending {
		close(t.space)
		t.space = nil
		t.heard = time.Now()
	}
}
