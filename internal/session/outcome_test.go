package session_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

// What calls return when several things happen at the same moment.

func TestAHandshakeThatMeetsTheDeadlineIsAStartTimeout(t *testing.T) {
	// The connection has the deadline of the context. Whichever is first, and
	// however much of the answer is there, the error is the same.
	for _, name := range []string{"hang@handshake", "halfopen@handshake", "trickle@handshake"} {
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nlstest.Options{Fault: fault(name)})
				begin := time.Now()
				if err := f.start(); !errors.Is(err, session.ErrStartTimeout) || time.Since(begin) != 10*time.Second {
					t.Errorf("%s: Start = %v after %v", name, err, time.Since(begin))
				}
			})
		}
	}
}

func TestATaskThatCompletesRightAfterItsAnswerHasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{Fault: fault("early@after-start")})
		// Completed is there before this has returned.
		f.on["TranscriptionStarted"] = func(*session.Delivery) { time.Sleep(time.Second) }
		if err := f.start(); err != nil {
			t.Errorf("Start = %v", err)
		}
		if err := f.s.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if got := f.deliveries(); got != "TranscriptionStarted TranscriptionCompleted closed" {
			t.Errorf("delivered %s", got)
		}
	})
}

func TestATaskThatCompletesWithoutAnAnswerHasNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{Fault: fault("early@on-start")})
		if err := f.start(); !errors.Is(err, session.ErrCompleted) {
			t.Errorf("Start = %v", err)
		}
		if err := f.s.Err(); err != nil {
			t.Errorf("Err = %v", err)
		}
	})
}

func TestAFailureWithoutATaskIDIsThatOfTheTask(t *testing.T) {
	for _, id := range []string{"", strings.Repeat("0", 32)} {
		synctest.Test(t, func(t *testing.T) {
			f := newScriptedFixture(t, func(p *peer) {
				p.taskID = id
				p.event("TaskFailed", 40000005, "busy")
				<-p.gone
			})
			err := f.start()
			e, ok := errors.AsType[*session.TaskFailed](err)
			if !ok || e.Event.Status != 40000005 || e.Event.TaskID != f.s.TaskID() {
				t.Errorf("with id %q: Start = %v, %+v", id, err, e)
			}
		})
	}
}
