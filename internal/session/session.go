// Package session is the core of every NLS session: one task over one websocket.
// It knows the wire's envelope but no product; a product is a [Spec] and a
// function that takes what the session delivers.
//
// Its parts know nothing of each other. A Task, one for each Start, joins them:
//
//	outcome   the phases, the first cause, the channels      where a phase changes
//	bounds    start, stop, complete, silence                 where a time-out lives
//	queue     from the reader to the callbacks, one by one
//	  gate    how much may wait in it                        where back-pressure is
//	conn      a websocket: write lock, goodbye; frame.go writes
//	  reader    the goroutine that reads, for whoever owns it
//	  controls  pings and pongs, when the lock is free       where a ping is sent
//	  pinger    when a ping is due
//	dialer    how a conn comes to be, by a route and while upgrading
//	watcher   hooks and log lines, beside the reader
//
// What a Task does with them has a type for each part of its life: opening and
// connecting (Start), sending, receiving, delivering (the callbacks and the end).
//
//	out:  Task.SendBinary ─▶ conn.write ─▶ the socket
//	in:   reader.read ─▶ receiving.receive ─▶ queue ─▶ delivering.deliver ─▶ Params.Deliver
//	end:  whoever ends it ─▶ outcome ─▶ conn.abort, queue.close ─▶ delivering.last
//
// These goroutines touch a task. The caller's send. The reader, one for each
// connection, never runs user code. The dispatcher runs the callbacks; it exists
// only while something waits, outlives the others, and closes the done channel as
// its last act. Timers write pings and end what is late. What dials runs beside
// Start, since it is user code in part, and ends with that code.
package session

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Session is a reusable session object: each Start makes a new task. The zero
// value has never been started. It is safe for concurrent use.
type Session struct {
	mu   sync.Mutex
	task *Task // current or last
}

// Task is the current task or the last one; nil if there was none.
func (s *Session) Task() *Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.task
}

// Start opens a task. See nls.Recognizer.Start.
func (s *Session) Start(ctx context.Context, cfg *Config, p Params) error {
	t := newTask(cfg, p)
	first, err := newAttempt(t, 1)
	if err != nil { // before I/O, and before anything is lost
		return err
	}
	if err := s.claim(ctx, t); err != nil {
		return err
	}
	return t.opening.run(ctx, first)
}

// lastResort bounds a call without a bound that was made from a callback, which
// it would wait for.
const lastResort = 10 * time.Second

// claim makes t the current task, after the end of the one before.
func (s *Session) claim(ctx context.Context, t *Task) error {
	s.mu.Lock()
	last := s.task
	if last == nil || last.phase() == ended {
		s.task = t
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if last.phase() < closing {
		return ErrAlreadyStarted
	}
	begin, limit := time.Now(), t.p.StartTimeout
	if limit <= 0 && inCallback() {
		limit = lastResort
	}
	var late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	defer hint(last, "Start")()
	var err error
	select {
	case <-last.outcome.done:
	case <-late:
		err = ErrStartTimeout
	case <-ctx.Done():
		err = ContextEnd(ctx, ErrStartTimeout)
	}
	if err != nil {
		if !last.queue.runningSince().IsZero() && errors.Is(err, ErrStartTimeout) {
			err = &stuckError{err, last.deliver.callback()}
		}
		return t.cfg.Explain("", err)
	}
	t.opening.bound.used += time.Since(begin)
	return s.claim(ctx, t)
}

// callers are the functions on the stack of this goroutine.
func callers(yield func(function string) bool) {
	pcs := make([]uintptr, 512)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if !yield(f.Function) || !more {
			return
		}
	}
}

// isGoexit reports whether a deferred function runs because of runtime.Goexit and
// not of a panic or a return.
func isGoexit() bool {
	for f := range callers {
		switch f {
		case "runtime.Goexit":
			return true
		case "runtime.gopanic":
			return false
		}
	}
	return false
}

// inCallback reports whether this goroutine runs a callback, of whatever session.
func inCallback() bool {
	for f := range callers {
		if strings.HasSuffix(f, "/session.(*delivering).deliver") {
			return true
		}
	}
	return false
}
