package session

import (
	"context"
	"time"
)

// waitEnd waits for the end of the task, or of ctx. It does not wait for a
// callback that still runs when a bound or a context has ended the task.
func waitEnd(ctx context.Context, t *Task, call string) error {
	defer hint(t, call)()
	if isClosed(t.outcome.done) { // before ctx is looked at
		return t.outcome.err()
	}
	select {
	case <-t.outcome.done:
	case <-ctx.Done():
		id := ""
		if t.outcome.begun.Load() {
			id = t.TaskID()
		}
		return t.cfg.Explain(id, ContextEnd(ctx, nil))
	case <-t.outcome.cut:
		if since := t.queue.runningSince(); since.IsZero() || !since.Before(t.outcome.cutTime()) {
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-t.outcome.done:
			case <-timer.C:
			}
		}
	}
	return t.outcome.err()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hint logs that call waits for a callback that was running when call began and
// still is after a second: perhaps the very callback that call was made from.
func hint(t *Task, call string) (stop func() bool) {
	if t.p.Patient {
		return func() bool { return false }
	}
	return time.AfterFunc(time.Second, func() {
		if since := t.queue.runningSince(); !since.IsZero() && time.Since(since) >= time.Second {
			t.watch.log.Warn("nls: "+call+" waits for a callback that has not returned",
				t.watch.who("callback", t.deliver.callback())...)
		}
	}).Stop
}

// Stop sends the stop directive, if nobody has, and waits for the end. Where there
// is no such directive it is Wait.
func (t *Task) Stop(ctx context.Context) error {
	if t != nil && t.p.Stop == "" {
		return t.Wait(ctx)
	}
	switch p := t.phase(); {
	case p < started:
		return ErrNotStarted
	case p == ended:
		return t.outcome.err()
	}
	first := t.outcome.advance(started, stopping)
	b := bound{limit: t.p.StopTimeout, timeout: ErrStopTimeout}
	if b.limit <= 0 && t.p.IdleTimeout <= 0 && inCallback() {
		b.limit = lastResort
	}
	t.bounds.startFirst(b)
	defer t.Bind(ctx)()
	if first {
		sendStop(t)
	}
	return waitEnd(context.Background(), t, "Stop")
}

// Wait waits for the end of the task or of ctx, and leaves the task alone.
func (t *Task) Wait(ctx context.Context) error {
	if t == nil {
		return ErrNotStarted
	}
	return waitEnd(ctx, t, "Wait")
}
