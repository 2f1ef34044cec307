package session

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// summarize tells the hooks and the log of the end of t, once: of every task whose
// Start has begun. Nobody else has t by then.
func summarize(t *Task) {
	w := &t.watch
	if w.summed {
		return
	}
	w.summed = true
	cause := t.outcome.err()
	s := Summary{
		Namespace: t.p.Namespace, TaskID: t.TaskID(), Start: t.stats.begin, End: time.Now(),
		FirstResult: time.Duration(t.stats.firstResult.Load()),
		SentBytes:   t.stats.sent.Load(), RcvBytes: t.stats.received.Load(), Err: cause,
	}
	if s.Start.IsZero() {
		s.Start = t.created
	}
	level, msg := slog.LevelWarn, "nls: session failed"
	switch {
	case cause == nil:
		level, msg = slog.LevelInfo, "nls: session completed"
	case interrupted(cause):
		level, msg = slog.LevelInfo, "nls: session interrupted"
	}
	if w.log.Enabled(context.Background(), level) {
		args := w.who("took", s.End.Sub(s.Start), "first_result", s.FirstResult, "sent_bytes", s.SentBytes, "received_bytes", s.RcvBytes)
		if cause != nil {
			args = append(args, "err", cause)
		}
		w.log.Log(context.Background(), level, msg, args...)
	}
	if w.hooks != nil {
		w.hooks.SessionDone(s)
	}
}

// interrupted reports whether it was the caller who ended a task with cause.
func interrupted(cause error) bool {
	if _, ok := errors.AsType[*ContextError](cause); ok {
		return true
	}
	return errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrDrained)
}
