package session

import (
	"log/slog"
	"testing"
	"time"
)

// What becomes of the connection of a refused attempt is nothing to the task,
// which has another by then.
func TestTheLossOfARefusedConnectionIsNoFailure(t *testing.T) {
	task := newTask(&Config{Log: slog.New(slog.DiscardHandler), Explain: func(_ string, err error) error { return err }}, Params{})
	first, err := newAttempt(task, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newAttempt(task, 2)
	if err != nil {
		t.Fatal(err)
	}
	second.conn = newConn(&tray{}, &tray{}, nil, time.Second)
	for _, current := range []*attempt{nil, second} {
		task.current.Store(current)
		(&receiving{Task: task, a: first}).lost(nil, ErrPingTimeout)
		if task.phase() != starting || task.Err() != nil {
			t.Fatalf("phase %d, %v", task.phase(), task.Err())
		}
	}
}
