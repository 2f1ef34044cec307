package session_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
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
		if err := f.s.Task().Stop(t.Context()); err != nil {
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
		if err := f.s.Task().Err(); err != nil {
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
			if !ok || e.Event.Status != 40000005 || e.Event.TaskID != f.s.Task().TaskID() {
				t.Errorf("with id %q: Start = %v, %+v", id, err, e)
			}
		})
	}
}

func TestCompleteTimeoutsHoldWhenACallbackIsStuck(t *testing.T) {
	spec := session.Spec{Namespace: "SpeechSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
	audio := func(p *peer) { p.frame(0x82, make([]byte, 320)) }
	completed := func(p *peer) { audio(p); p.event("SynthesisCompleted", 20000000, "") }
	for _, c := range []struct {
		name, stuck    string
		script         func(*peer)
		complete, idle time.Duration
		after          time.Duration
	}{
		{"a callback, no end", "data", audio, time.Minute, 0, time.Minute},
		{"a callback, no message", "data", audio, 0, time.Minute, time.Minute},
		{"a callback, completed", "data", completed, time.Minute, 0, time.Minute},
		{"OnCompleted", "SynthesisCompleted", completed, time.Minute, 0, time.Minute},
		{"OnError", "failed", audio, time.Minute, 0, time.Minute + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newScriptedFixture(t, func(p *peer) { c.script(p); <-p.gone })
				f.params.Spec, f.params.WaitDone = spec, true
				f.params.CompleteTimeout, f.params.IdleTimeout = c.complete, c.idle
				release := make(chan struct{})
				f.on[c.stuck] = func(*session.Delivery) { <-release }
				start := goCall(f.start)
				begin := time.Now()
				select {
				case <-start.done:
					if took := time.Since(begin); !errors.Is(start.err, session.ErrCompleteTimeout) || took != c.after {
						t.Errorf("Start = %v after %v", start.err, took)
					}
				case <-time.After(time.Hour):
					t.Error("Start does not return")
				}
				close(release)
				<-start.done
				<-f.s.Task().Done()
			})
		})
	}
}

// What OnClose has been told is what everybody gets.
func TestABoundThatPassesInOnCloseChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		release := make(chan struct{})
		f.on["closed"] = func(*session.Delivery) { <-release }
		f.mustStart()
		begin := time.Now()
		if err := f.s.Task().Stop(t.Context()); err != nil || time.Since(begin) != 10*time.Second || f.s.Task().Err() != nil {
			t.Errorf("Stop = %v after %v, Err = %v", err, time.Since(begin), f.s.Task().Err())
		}
		close(release)
	})
}

func TestCallbacksThatOutlastTheIdleBoundAreNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			for range 10 {
				p.frame(0x82, make([]byte, 320))
			}
			p.event("SynthesisCompleted", 20000000, "")
			<-p.gone
		})
		f.params.Spec = session.Spec{Namespace: "SpeechLongSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
		f.params.WaitDone, f.params.IdleTimeout = true, time.Minute
		f.on["data"] = func(*session.Delivery) { time.Sleep(20 * time.Second) } // as if it played
		if err := f.start(); err != nil {
			t.Errorf("Start = %v", err)
		}
	})
}

// The end of a stall and the end of a bound at almost the same moment.
func TestAStallThatEndsWithABoundIsStillOurOwn(t *testing.T) {
	for _, stall := range []time.Duration{4 * time.Second, 8 * time.Second, 13 * time.Second, 16 * time.Second, time.Minute, 64 * time.Second, 2 * time.Minute} {
		for range 5 {
			synctest.Test(t, func(t *testing.T) {
				f := newScriptedFixture(t, func(p *peer) {
					for range 5 {
						p.frame(0x82, make([]byte, 320))
					}
					p.sleep(stall / 2)
					p.event("SynthesisCompleted", 20000000, "")
					<-p.gone
				})
				f.pongs = true
				f.params.Spec = session.Spec{Namespace: "SpeechLongSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
				f.params.WaitDone, f.params.IdleTimeout = true, stall
				f.params.PingInterval, f.params.PingTimeout = 8*time.Second, 3*time.Second
				f.cfg.MaxPending = 1
				f.on["data"] = func(*session.Delivery) { time.Sleep(stall - 1) }
				if err := f.start(); err != nil {
					t.Errorf("%v: Start = %v", stall, err)
				}
			})
		}
	}
}

func TestEventsOfAnotherTaskAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			for _, id := range []string{strings.Repeat("a", 32), p.taskID, strings.Repeat("a", 32)} {
				p.taskID = id
				p.event("TranscriptionStarted", 20000000, "")
				p.event("SentenceEnd", 20000000, "")
			}
			p.event("TaskFailed", 50000000, "boom")
			p.event("TranscriptionCompleted", 20000000, "")
			<-p.gone
		})
		f.mustStart()
		synctest.Wait()
		if got := f.deliveries(); got != "TranscriptionStarted SentenceEnd" || f.s.Task().Err() != nil {
			t.Errorf("delivered %s, Err %v", got, f.s.Task().Err())
		}
	})
}

func TestNothingIsReadAfterTheTerminalEvent(t *testing.T) {
	for _, terminal := range []string{"TranscriptionCompleted", "TaskFailed"} {
		synctest.Test(t, func(t *testing.T) {
			sent := 0
			f := newScriptedFixture(t, func(p *peer) {
				p.event("TranscriptionStarted", 20000000, "")
				p.event(terminal, 20000000, "")
				for p.event("SentenceEnd", 20000000, "") {
					sent++
				}
			})
			f.on[terminal] = func(*session.Delivery) { time.Sleep(time.Second) }
			_ = f.start()
			<-f.s.Task().Done()
			synctest.Wait()
			if sent != 0 {
				t.Errorf("%d events read after %s", sent, terminal)
			}
		})
	}
}

func TestTheClientSaysGoodbyeAfterCompletedOnly(t *testing.T) {
	const goodbye = "88 03e8"
	for end, want := range map[string]bool{"TranscriptionCompleted": true, "TaskFailed": false, "Shutdown": false} {
		synctest.Test(t, func(t *testing.T) {
			var p *peer
			f := newScriptedFixture(t, func(c *peer) {
				p = c
				p.event("TranscriptionStarted", 20000000, "")
				if end != "Shutdown" {
					p.event(end, 20000000, "")
				}
				<-p.gone
			})
			_ = f.start()
			if end == "Shutdown" {
				f.s.Task().Shutdown()
			}
			<-f.s.Task().Done()
			synctest.Wait()
			if got := p.sent(); slices.Contains(got, goodbye) != want {
				t.Errorf("%s: the client sent %q", end, got)
			}
		})
	}
}

func TestARefusalThatIsNotTheFirstMessageIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			p.frame(0x82, make([]byte, 320))
			p.event("TaskFailed", 40000001, "the token has expired")
			<-p.gone
		})
		f.params.Spec = session.Spec{Namespace: "SpeechSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
		f.params.WaitDone = true
		f.cfg.Invalidate = func(string) bool { t.Error("the token was given up"); return true }
		if _, ok := errors.AsType[*session.TaskFailed](f.start()); !ok {
			t.Errorf("Start = %v", f.s.Task().Err())
		}
		if got := f.deliveries(); got != "data TaskFailed failed closed" {
			t.Errorf("delivered %s", got)
		}
	})
}

func TestNothingIsWrittenAfterDone(t *testing.T) {
	for _, end := range []string{"TranscriptionCompleted", "TaskFailed", "Shutdown"} {
		synctest.Test(t, func(t *testing.T) {
			f := newScriptedFixture(t, func(p *peer) {
				p.event("TranscriptionStarted", 20000000, "")
				p.sleep(time.Second)
				if end != "Shutdown" {
					p.event(end, 20000000, "")
				}
				<-p.gone
			})
			f.params.PingInterval = 300 * time.Millisecond
			f.mustStart()
			if end == "Shutdown" {
				f.s.Task().Shutdown()
			}
			<-f.s.Task().Done()
			late := f.late.Load() // a ping may have met the end
			time.Sleep(time.Hour)
			if n := f.late.Load() - late; n != 0 {
				t.Errorf("%s: %d writes after Done", end, n)
			}
		})
	}
}

func TestShutdownFreesABlockedSenderWhileACallbackIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			p.event("TranscriptionStarted", 20000000, "")
			p.event("SentenceEnd", 20000000, "")
			p.pause()
			<-p.gone
		})
		f.cfg.WriteTimeout = -1
		release := make(chan struct{})
		f.on["SentenceEnd"] = func(*session.Delivery) { <-release }
		f.mustStart()
		sender := goCall(func() (err error) {
			for err == nil {
				err = f.s.Task().SendBinary(make([]byte, 16<<10))
			}
			return err
		})
		time.Sleep(time.Hour)
		f.s.Task().Shutdown()
		synctest.Wait()
		if got := sender.String(); got != session.ErrShutdown.Error() {
			t.Errorf("the sender: %s", got)
		}
		close(release)
		<-f.s.Task().Done()
	})
}

func TestASecondAnswerIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			for range 3 {
				p.event("TranscriptionStarted", 20000000, "")
			}
			<-p.gone
		})
		f.mustStart()
		synctest.Wait()
		if got := f.deliveries(); got != "TranscriptionStarted" {
			t.Errorf("delivered %s", got)
		}
	})
}

// deafConn is a connection that the peer reads no more, but may still say why.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (c deafConn) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

func TestAFailedWriteWaitsForTheReasonThatTheServiceGives(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // until the service says why
		want  string
		took  time.Duration
	}{
		{"it comes", 500 * time.Millisecond, "task failed: boom", 500 * time.Millisecond},
		{"it comes too late", 2 * time.Second, "connection closed: -1", time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newScriptedFixture(t, func(p *peer) {
					p.event("TranscriptionStarted", 20000000, "")
					p.sleep(c.after)
					p.event("TaskFailed", 50000000, "boom")
					<-p.gone
				})
				var deaf atomic.Bool
				f.wrap(func(conn net.Conn) net.Conn { return deafConn{conn, &deaf} })
				f.mustStart()
				deaf.Store(true)
				begin := time.Now()
				err := f.s.Task().SendBinary([]byte{1, 2})
				if err == nil || err.Error() != c.want || time.Since(begin) != c.took {
					t.Errorf("SendBinary = %v after %v", err, time.Since(begin))
				}
				<-f.s.Task().Done()
			})
		})
	}
}
