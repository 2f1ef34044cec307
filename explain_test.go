package nls

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/nlsgo/nls/internal/session"
)

// What the session core says becomes what callers test for, with the task.
func TestErrorsOfTheCoreAreExplained(t *testing.T) {
	lost := explain("t", &session.CloseError{Code: 1011})
	if e, ok := errors.AsType[*CloseError](lost); !ok || e.Code != 1011 || TaskID(lost) != "t" || !Retryable(lost) {
		t.Errorf("%v of task %q, retryable %v", lost, TaskID(lost), Retryable(lost))
	}
	if err := explain("", io.EOF); err != io.EOF {
		t.Errorf("%v, before there is a task", err)
	}
	for err, want := range map[error]bool{io.EOF: false, ErrPingTimeout: true} {
		var timeout interface{ Timeout() bool }
		if !errors.As(explain("t", err), &timeout) || timeout.Timeout() != want {
			t.Errorf("%v is a timeout: %v", err, !want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(lost)
	if err := session.ContextEnd(ctx, nil); Retryable(err) || !errors.Is(err, lost) {
		t.Errorf("%v, the end of the caller's own context, is retryable", err)
	}
}
