// Package session is the core of every NLS session: one task over one websocket.
// It knows the wire's envelope but no product; a product is a [Spec] and a
// function that takes what the session delivers.
//
// Its parts know nothing of each other; a Task joins them, one for each Start:
//
//	Session (session.go)    one Task after the other
//	  Task (task.go)        joins the parts below; start.go begins it, send.go sends
//	    outcome             phases, the first cause, the channels   (where a phase changes)
//	    bounds              start, stop, complete, silence          (where a time-out lives)
//	    queue               from the reader to the callbacks        (where back-pressure is)
//	    attempt             what the service says, as deliveries; a refused token makes a second
//	      conn              websocket: reader, write lock, goodbye; frame.go writes
//	        controls        pings and pongs that wait for the lock  (where a ping is sent)
//	        pinger          the ping clock
//	      dialer, route, upgrading   how a conn comes to be
//	    observer            hooks and log lines of what the reader sees
//
//	in:   conn.read ─▶ attempt.receive ─▶ queue ─▶ dispatch ─▶ Params.Deliver
//	out:  Task.SendBinary ─▶ conn.write ─▶ the socket
//	end:  whoever ends it ─▶ outcome ─▶ conn.abort, queue.close ─▶ last: OnError, OnClose, done
//
// These goroutines touch a task. The caller's send. The reader, one for each
// connection, reads the socket and never runs user code. The dispatcher runs the
// callbacks; it exists only while something waits, outlives the others, and closes
// the done channel as its last act. Timers write pings and end what is late. What
// dials runs beside Start, since it is user code in part, and ends with that code.
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
// value has never been started. All methods are safe for concurrent use.
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
	first, err := t.newAttempt(1)
	if err != nil { // before I/O, and before anything is lost
		return err
	}
	if err := s.claim(ctx, t); err != nil {
		return err
	}
	return t.run(ctx, first)
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
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	defer last.hint("Start")()
	select {
	case <-last.outcome.done:
	case <-ctx.Done():
		err := deadlineError(ctx, ErrStartTimeout)
		if !last.queue.runningSince().IsZero() && err == ErrStartTimeout {
			err = &stuckError{err, last.callback()}
		}
		return t.cfg.Explain("", err)
	}
	t.startBound.used += time.Since(begin)
	return s.claim(ctx, t)
}

// Done is that of the current task or the last one, as are the methods below.
func (s *Session) Done() <-chan struct{} { return s.Task().Done() }

// Err returns why the task ended.
func (s *Session) Err() error { return s.Task().Err() }

// TaskID returns the id of the task.
func (s *Session) TaskID() string { return s.Task().TaskID() }

// SendBinary sends binary data.
func (s *Session) SendBinary(data []byte) error { return s.Task().SendBinary(data) }

// Send sends directives.
func (s *Session) Send(name string, context any, payloads ...any) error {
	return s.Task().Send(name, context, payloads...)
}

// Stop ends the input and waits for the end.
func (s *Session) Stop(ctx context.Context) error { return s.Task().Stop(ctx) }

// Wait waits for the end.
func (s *Session) Wait(ctx context.Context) error { return s.Task().Wait(ctx) }

// Shutdown ends the task now.
func (s *Session) Shutdown() { s.Task().Shutdown() }

// deadlineError is the error of a call whose context has ended: timeout if it
// was a deadline that passed, else the context's own.
func deadlineError(ctx context.Context, timeout error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeout
	}
	return ctx.Err()
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
		if strings.Contains(f, "/session.(*queue[") && strings.HasSuffix(f, ".runBatch") || strings.HasSuffix(f, "/session.(*Task).last") {
			return true
		}
	}
	return false
}
