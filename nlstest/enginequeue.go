package nlstest

import (
	"context"
	"slices"
	"time"
)

const (
	// maxBacklog is how many bytes may wait for the engine of a task: 16 seconds of
	// audio. With more the connection reads nothing, pings included, until the engine
	// has caught up. callCost is what a call counts besides its audio.
	maxBacklog = 512 << 10
	callCost   = 512

	// engineGrace is how long a message waits for what the engine says about those
	// before it. So the events of an engine that keeps up come in the order of the
	// audio, whatever the scheduler does, and one that does not holds nothing up.
	engineGrace = 100 * time.Millisecond
)

// engineQueue calls the engine of one recognition, on a goroutine of its own and
// in the order of the calls, so that an engine that takes its time holds up neither
// pings nor directives. It belongs to the task: the goroutine ends with the context
// of the task, once the call that it may be in has returned.
//
// The zero engineQueue is that of a connection without a recognition. Its methods
// are for the goroutine of the connection.
type engineQueue struct {
	calls   chan engineCall // has room for the one that is made next
	results chan func()

	waiting []engineCall // the first is being made
	backlog int          // bytes of those
	slow    bool         // the first has outlasted engineGrace
}

// engineCall is made on the goroutine of the queue. What it returns, if anything, is
// then done on that of the connection.
type engineCall struct {
	size int
	do   func() (then func())
}

// newEngineQueue returns a queue whose goroutine ends with ctx, and calls free then.
// exited is done on that of the connection if the engine ends it, as t.FailNow does.
func (s *Server) newEngineQueue(ctx context.Context, exited, free func()) engineQueue {
	q := engineQueue{calls: make(chan engineCall, 1), results: make(chan func())}
	s.running.Go(func() {
		defer free()
		serveEngine(ctx, q.calls, q.results, exited)
	})
	return q
}

func serveEngine(ctx context.Context, calls <-chan engineCall, results chan<- func(), exited func()) {
	over := false
	defer func() {
		if over {
			return
		}
		select {
		case results <- exited:
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		select {
		case c := <-calls:
			then := c.do()
			select {
			case results <- then:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}
	over = true
}

// call has do called with size bytes of audio, after the calls before it.
func (q *engineQueue) call(size int, do func() (then func())) {
	c := engineCall{size + callCost, do}
	q.waiting = append(q.waiting, c)
	q.backlog += c.size
	if len(q.waiting) == 1 {
		q.calls <- c
	}
}

// next goes on to the next call, after a result.
func (q *engineQueue) next() {
	q.backlog -= q.waiting[0].size
	q.waiting = slices.Delete(q.waiting, 0, 1)
	if q.slow = q.slow && len(q.waiting) > 0; len(q.waiting) > 0 {
		q.calls <- q.waiting[0]
	}
}

// full reports whether no more is to be read from the client.
func (q *engineQueue) full() bool { return q.backlog >= maxBacklog }

// first reports whether the engine's results go before the next message.
func (q *engineQueue) first() bool { return len(q.waiting) > 0 && !q.slow }
