package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// sized is what a queue takes: size is what it costs while it waits, in bytes.
type sized interface{ size() int }

// queue is the way from the reader to user code: in order, one item at a time,
// lossless, and bounded by back-pressure. Its goroutine exists only while
// something waits.
type queue[T sized] struct {
	gate
	run func(T) // calls the user code for an item
	// exited is called where run ended its goroutine with runtime.Goexit. The
	// queue goes on.
	exited func()
	last   func() // called once, after close, when nothing waits any more
	base   time.Time

	waiting atomic.Int32 // items that wait
	dropped atomic.Bool  // discard was called
	since   atomic.Int64 // when the item that runs began, as nanoseconds after base, plus one; 0 if none runs

	mu      sync.Mutex // never held over user code
	items   []T
	spare   []T // the array of the last batch
	running bool
	closed  bool // nothing follows
}

// push adds an item. If it returns true, the caller has to call dispatch, on
// whatever goroutine suits it. What comes after close or discard is dropped.
func (q *queue[T]) push(item T) (dispatch bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.dropped.Load() {
		return false
	}
	q.items = append(q.items, item)
	q.take(item.size())
	q.waiting.Add(1)
	return q.begin()
}

// close says that nothing follows. See push for what it returns.
func (q *queue[T]) close() (dispatch bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	return q.begin()
}

func (q *queue[T]) begin() (dispatch bool) {
	if q.running {
		return false
	}
	q.running = true
	return true
}

// discard drops what waits and what will come. An item that runs is left alone.
func (q *queue[T]) discard() {
	q.dropped.Store(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, item := range q.items {
		q.ran(item)
	}
	q.items, q.spare = nil, nil
}

// dispatch runs what waits, batch after batch. It returns when nothing does.
func (q *queue[T]) dispatch() {
	for {
		q.mu.Lock()
		if len(q.items) == 0 {
			q.items, q.spare = nil, nil
			over := q.closed
			q.running = over // for good
			q.mu.Unlock()
			if over {
				q.finish()
			}
			return
		}
		batch := q.items
		q.items, q.spare = q.spare[:0], nil
		q.mu.Unlock()
		q.runBatch(batch)
		clear(batch)
		q.mu.Lock()
		q.spare = batch[:0]
		q.mu.Unlock()
	}
}

func (q *queue[T]) runBatch(batch []T) {
	i := 0
	defer func() {
		if i < len(batch) && isGoexit() {
			q.resume(batch[i:])
		}
	}()
	for i < len(batch) {
		if !q.dropped.Load() {
			q.mark(true)
			q.run(batch[i])
			q.mark(false)
		}
		q.ran(batch[i])
		i++
	}
}

// ran makes room for what is as large as item.
func (q *queue[T]) ran(item T) {
	q.waiting.Add(-1)
	q.give(item.size())
}

// resume goes on, on another goroutine, after batch[0] has ended this one.
func (q *queue[T]) resume(batch []T) {
	q.exited()
	q.mark(false)
	q.ran(batch[0])
	q.mu.Lock()
	q.items = append(batch[1:len(batch):len(batch)], q.items...)
	q.mu.Unlock()
	go q.dispatch()
}

// finish runs last. If that ends its goroutine, it is run again: it knows what
// it has done.
func (q *queue[T]) finish() {
	returned := false
	defer func() {
		if !returned && isGoexit() {
			q.exited()
			q.mark(false)
			go q.finish()
		}
	}()
	q.last()
	returned = true
}

// mark notes that user code runs, or has returned. What last calls marks itself.
func (q *queue[T]) mark(runs bool) {
	since := int64(0)
	if runs {
		since = int64(time.Since(q.base)) + 1
	}
	q.since.Store(since)
}

// runningSince is when the item that runs began; zero if none runs.
func (q *queue[T]) runningSince() time.Time {
	if n := q.since.Load(); n != 0 {
		return q.base.Add(time.Duration(n - 1))
	}
	return time.Time{}
}
