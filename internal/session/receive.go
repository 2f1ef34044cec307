package session

import (
	"slices"
	"strings"
	"time"

	"github.com/nlsgo/nls/internal/wire"
)

// event takes a text message. It reports whether to read on.
func (t *task) event(l *link, e wire.Event) bool {
	ev := &Event{Event: e}
	ev.StatusText = t.redact(ev.StatusText)
	if text := string(e.Raw); t.redact(text) != text {
		ev.Redacted = t.redact(text)
	}
	switch {
	case e.Name == "TaskFailed":
		if t.refuses(l, ev) {
			return false
		}
		t.finalEvent(ev, true)
		return false
	case slices.Contains(t.p.Final, e.Name):
		t.finalEvent(ev, false)
		return false
	}
	started := slices.Contains(t.p.Started, e.Name)
	t.mu.Lock()
	if t.phase >= closing {
		t.mu.Unlock()
		return false
	}
	again := started && t.answered
	if !again {
		if started {
			t.answered = true
		} else {
			t.resultLocked()
		}
		t.pushLocked(&Delivery{Kind: KindEvent, TaskID: t.id, Event: ev, ready: started})
	}
	t.mu.Unlock()
	if again {
		t.cfg.Log.Warn("nls: second answer skipped", "name", e.Name, "task_id", e.TaskID)
	}
	return true
}

// finalEvent takes the message that ends the task.
func (t *task) finalEvent(ev *Event, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase >= closing {
		return
	}
	t.resultLocked()
	t.pushLocked(&Delivery{Kind: KindEvent, TaskID: t.id, Event: ev})
	if failed {
		t.failed = ev
		t.closeLocked(&TaskFailed{ev})
	} else {
		t.closeLocked(nil)
	}
}

// refuses reports whether ev, the first thing that the gateway says, refuses the
// token, and Start will try another.
func (t *task) refuses(l *link, ev *Event) bool {
	text := strings.ToLower(ev.StatusText)
	if ev.Status != statusAccessDenied || !strings.Contains(text, "token") && !strings.Contains(text, "authorization") {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !l.mayRetry || t.phase >= closing {
		return false
	}
	l.refusedWith = ev
	close(l.refused)
	return true
}

// data takes a binary message. It reports whether to read on.
func (t *task) data(data []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase >= closing {
		return false
	}
	t.resultLocked()
	t.pushLocked(&Delivery{Kind: KindData, TaskID: t.id, Data: data})
	return true
}

func (t *task) resultLocked() {
	if t.firstResult == 0 {
		t.firstResult = time.Since(t.begin)
	}
}
