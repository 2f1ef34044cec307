// Package mailbox hands over what callbacks bring to somebody who is slower.
package mailbox

import (
	"sync"
	"time"
)

// Mailbox keeps what is put into it, in order, until it is taken, so that
// callbacks return at once and their session goes on. When it is full they are
// held after all, and with them the session and the service. One goroutine puts
// and another takes.
type Mailbox[T any] struct {
	limit  int
	quit   <-chan struct{}
	failed func() bool

	mu      sync.Mutex
	waiting []letter[T]
	size    int
	more    chan struct{} // has one slot, filled when something was put
	room    chan struct{} // has one slot, filled when something was taken
}

type letter[T any] struct {
	v    T
	size int
}

const (
	// cost is what a letter costs beside the bytes that it brings, about as the
	// session core has it.
	cost = 512

	// failurePoll is how often a Put that is held looks whether the session has
	// failed. There is no event for that: OnError comes after the callback.
	failurePoll = 20 * time.Millisecond
)

// New returns a Mailbox that is full when limit bytes are in it. When quit is
// closed nobody takes any more, and what comes is dropped. Failed reports whether
// the session has failed: then Put drops rather than waits, since the session needs
// its callbacks to end.
func New[T any](limit int, quit <-chan struct{}, failed func() bool) *Mailbox[T] {
	return &Mailbox[T]{limit: limit, quit: quit, failed: failed, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// Put puts v, which brings so many bytes, and waits while the Mailbox is full.
func (m *Mailbox[T]) Put(v T, bytes int) {
	for !m.tryPut(letter[T]{v, bytes + cost}) {
		if m.failed() {
			return
		}
		select {
		case <-m.room:
		case <-m.quit:
			return
		case <-time.After(failurePoll):
		}
	}
	signal(m.more)
}

func (m *Mailbox[T]) tryPut(l letter[T]) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size >= m.limit {
		return false
	}
	m.waiting = append(m.waiting, l)
	m.size += l.size
	return true
}

// Next returns what has waited longest, and waits for it. It reports false when
// over is closed, after which nothing is put, and nothing is left; and when quit
// is closed.
func (m *Mailbox[T]) Next(over <-chan struct{}) (v T, ok bool) {
	for {
		if isClosed(m.quit) {
			return v, false
		}
		last := isClosed(over) // which it was before the look into the Mailbox
		if v, ok = m.take(); ok || last {
			return v, ok
		}
		select {
		case <-m.more:
		case <-over:
		case <-m.quit:
		}
	}
}

func (m *Mailbox[T]) take() (v T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		m.waiting = nil
		return v, false
	}
	l := m.waiting[0]
	m.waiting[0], m.waiting = letter[T]{}, m.waiting[1:]
	m.size -= l.size
	signal(m.room)
	return l.v, true
}

// Empty reports whether nothing waits.
func (m *Mailbox[T]) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) == 0
}

// signal fills the slot of ch.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
