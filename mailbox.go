package nls

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// mailbox takes what callbacks bring, in order, for somebody slower, so that the
// callbacks return at once and the session goes on. When maxWaiting bytes wait,
// they are held after all, and with them the session and the service. Use
// newMailbox. One goroutine takes.
type mailbox[T any] struct {
	quit   <-chan struct{} // nobody takes any more; what comes is dropped
	failed func() bool     // whether the session has, which needs its callbacks to end

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
	maxWaiting = DefaultMaxPending

	// letterCost is what a letter costs beside the bytes that it brings, about as
	// the session core has it.
	letterCost = 512

	// failurePoll is how often a callback that is held looks whether its session
	// has failed. There is no event for that: OnError comes after the callback.
	failurePoll = 20 * time.Millisecond
)

func newMailbox[T any](quit <-chan struct{}, failed func() bool) *mailbox[T] {
	return &mailbox[T]{quit: quit, failed: failed, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put puts v, which brings so many bytes. It waits while the mailbox is full,
// unless it has quit or the session has failed.
func (m *mailbox[T]) put(v T, bytes int) {
	for !m.tryPut(letter[T]{v, bytes + letterCost}) {
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

func (m *mailbox[T]) tryPut(l letter[T]) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.size >= maxWaiting {
		return false
	}
	m.waiting = append(m.waiting, l)
	m.size += l.size
	return true
}

// next returns what has waited longest, and waits for it. It reports false when
// over is closed and nothing is left, and when the mailbox has quit.
func (m *mailbox[T]) next(over <-chan struct{}) (v T, ok bool) {
	for {
		if isClosed(m.quit) {
			return v, false
		}
		last := isClosed(over) // before looking: then nothing comes after
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

func (m *mailbox[T]) take() (v T, ok bool) {
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

func (m *mailbox[T]) empty() bool {
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

// errDropped says that a mailbox has quit with something in it, or before its time.
var errDropped = errors.New("dropped")

// writeTo writes what is in m to w, until over is closed and all is written.
func writeTo(w io.Writer, m *mailbox[[]byte], over <-chan struct{}) error {
	for {
		data, ok := m.next(over)
		switch {
		case !ok && isClosed(over) && m.empty():
			return nil
		case !ok:
			return errDropped
		}
		n, err := w.Write(data)
		if err == nil && n != len(data) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("nls: write audio: %w", err)
		}
	}
}
