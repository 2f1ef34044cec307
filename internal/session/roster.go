package session

import (
	"context"
	"sync"
	"time"
)

// Roster knows the tasks of a client that run. A nil Roster knows none and admits
// all. It is a function, since printers that use package reflect follow all else, and
// would read what changes.
type Roster func() *roster

// NewRoster returns an empty one.
func NewRoster() Roster {
	r := &roster{}
	return func() *roster { return r }
}

// Member is a task, or another call that Drain waits for. It is a pointer.
type Member interface{ Shutdown() }

type roster struct {
	mu      sync.Mutex // never held over I/O or user code
	tasks   map[Member]struct{}
	drained chan struct{} // nil before Drain; then closed when no task is left
}

// Enter adds t. It reports false if no task may start any more.
func (f Roster) Enter(t Member) bool {
	if f == nil {
		return true
	}
	r := f()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drained != nil {
		return false
	}
	if r.tasks == nil {
		r.tasks = map[Member]struct{}{}
	}
	r.tasks[t] = struct{}{}
	return true
}

// Leave removes t, which has ended, if it is there.
func (f Roster) Leave(t Member) {
	if f == nil {
		return
	}
	r := f()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.tasks[t]; !ok {
		return
	}
	delete(r.tasks, t)
	if r.drained != nil && len(r.tasks) == 0 {
		close(r.drained)
	}
}

// Drain lets nobody enter any more and waits until all have left. When ctx ends it
// shuts down those that are there, and waits no longer than lastResort for their
// callbacks.
func (f Roster) Drain(ctx context.Context) error {
	r := f()
	r.mu.Lock()
	if r.drained == nil {
		r.drained = make(chan struct{})
		if len(r.tasks) == 0 {
			close(r.drained)
		}
	}
	drained := r.drained
	r.mu.Unlock()
	if isClosed(drained) { // before ctx is looked at
		return nil
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	left := make([]Member, 0, len(r.tasks))
	for t := range r.tasks {
		left = append(left, t)
	}
	r.mu.Unlock()
	for _, t := range left {
		t.Shutdown()
	}
	timer := time.NewTimer(lastResort)
	defer timer.Stop()
	select {
	case <-drained:
	case <-timer.C:
	}
	return ContextEnd(ctx, nil)
}
