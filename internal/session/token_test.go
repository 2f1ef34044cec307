package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

// firstConnections makes the first n connections misbehave.
func firstConnections(n int32, name string) func(*http.Request) *nlstest.Fault {
	f := fault(name)
	var count atomic.Int32
	return func(r *http.Request) *nlstest.Fault {
		if count.Add(1) > n {
			return nil
		}
		return f(r)
	}
}

func TestStartTriesOnceMoreWhenTheTokenIsRefused(t *testing.T) {
	const (
		handshake = "refuse@handshake,code=403,text=Meta:ACCESS_DENIED:The token 'x' is invalid!"
		message   = "taskfailed@on-start,code=40000001,text=Meta:ACCESS_DENIED:The token 'x' is invalid!"
		voice     = "taskfailed@on-start,code=40000001,text=Gateway:ACCESS_DENIED:No privilege to this voice! (voice: x)"
	)
	for _, c := range []struct {
		name       string
		fault      string
		refusals   int32
		renewable  bool
		ok         bool
		lookups    int
		deliveries string // when Start returns
	}{
		{"at the handshake", handshake, 1, true, true, 2, "TranscriptionStarted"},
		{"by a TaskFailed", message, 1, true, true, 2, "TranscriptionStarted"},
		{"twice at the handshake", handshake, 2, true, false, 2, ""},
		{"twice by a TaskFailed", message, 2, true, false, 2, "TaskFailed failed closed"},
		{"at the handshake, by a source with one token", handshake, 1, false, false, 1, ""},
		{"by a TaskFailed, with a source of one token", message, 1, false, false, 1, "TaskFailed failed closed"},
		{"for a voice, which no token mends", voice, 1, true, false, 1, "TaskFailed failed closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nlstest.Options{Fault: firstConnections(c.refusals, c.fault)})
				token := f.cfg.Token
				var lookups int
				var invalidated []string
				f.cfg.Token = func(ctx context.Context, who *session.Asker) (string, error) { lookups++; return token(ctx, who) }
				f.cfg.Invalidate = func(token string) bool {
					if c.renewable {
						invalidated = append(invalidated, token)
					}
					return c.renewable
				}
				var ids []string
				hooks := noHooks()
				f.params.Begin = always(hooks)
				hooks.DialStart = func(d session.Dial) { ids = append(ids, d.TaskID) }
				done := make(chan struct{})
				err := f.start()
				if (err == nil) != c.ok {
					t.Fatalf("Start = %v", err)
				}
				close(done)
				if got := f.deliveries(); got != c.deliveries {
					t.Errorf("delivered %q, want %q", got, c.deliveries)
				}
				if lookups != c.lookups {
					t.Errorf("%d lookups, want %d", lookups, c.lookups)
				}
				if len(ids) != c.lookups || len(slices.Compact(slices.Clone(ids))) != len(ids) || ids[len(ids)-1] != f.s.Task().TaskID() {
					t.Errorf("task ids %v, now %s", ids, f.s.Task().TaskID())
				}
				if c.renewable && c.fault != voice && len(invalidated) == 0 {
					t.Error("the refused token was not given up")
				}
				if c.ok {
					if err := f.s.Task().Stop(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// always is a Begin that returns hooks.
func always(hooks *session.Hooks) func(context.Context, session.Beginning) *session.Hooks {
	return func(context.Context, session.Beginning) *session.Hooks { return hooks }
}

func noHooks() *session.Hooks {
	message := func(session.Message) {}
	return &session.Hooks{
		DialStart: func(session.Dial) {}, DialDone: func(session.Dial) {},
		Command: message, Audio: message, Event: message, Callback: message,
		Pong: func(session.Pong) {}, Stalled: func(session.Stall) {}, SessionDone: func(session.Summary) {},
	}
}

func TestARefusalAfterTheFirstMessageIsNoReasonToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{Fault: fault("taskfailed@on-stop,code=40000001,text=the token has expired")})
		f.cfg.Invalidate = func(string) bool { t.Error("invalidated"); return true }
		f.mustStart()
		if err := f.s.Task().Stop(t.Context()); err == nil {
			t.Error("Stop returned nil")
		}
	})
}

func TestSynthesisIsTriedAgainUntilTheServiceHasSaidSomething(t *testing.T) {
	spec := session.Spec{Namespace: "SpeechSynthesizer", Start: "StartSynthesis", Final: []string{"SynthesisCompleted"}}
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{Fault: firstConnections(1, "taskfailed@on-start,code=40000001,text=the token has expired")})
		f.cfg.Invalidate = func(string) bool { return true }
		f.params.Spec, f.params.WaitDone, f.params.CompleteTimeout = spec, true, time.Minute
		f.params.Payload = map[string]any{"text": "hello", "voice": "xiaoyun", "format": "pcm", "sample_rate": 16000}
		if err := f.start(); err != nil {
			t.Error(err)
		}
	})
}

func TestATokenSourceThatFailsEndsStartWithItsError(t *testing.T) {
	boom := errors.New("boom")
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		f.cfg.Token = func(context.Context, *session.Asker) (string, error) { return "", boom }
		if err := f.start(); !errors.Is(err, boom) || !errors.Is(f.s.Task().Err(), boom) {
			t.Errorf("Start = %v, Err = %v", err, f.s.Task().Err())
		}
		if got := f.deliveries(); got != "" {
			t.Errorf("delivered %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		f.cfg.Token = func(ctx context.Context, _ *session.Asker) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		begin := time.Now()
		if err := f.start(); !errors.Is(err, session.ErrStartTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("Start = %v after %v", err, time.Since(begin))
		}
	})
}

func TestShutdownEndsStartInEachOfItsSteps(t *testing.T) {
	for _, step := range []string{"token", "dial", "hang@handshake", "hang@on-start"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := nlstest.Options{}
				if step != "token" && step != "dial" {
					opts.Fault = fault(step)
				}
				f := newFixture(t, opts)
				switch step {
				case "token":
					f.cfg.Token = func(ctx context.Context, _ *session.Asker) (string, error) { <-ctx.Done(); return "", ctx.Err() }
				case "dial":
					f.cfg.NetDialContext = blockingDial
				}
				start := goCall(f.start)
				synctest.Wait()
				if start.String() != "waits" {
					t.Fatalf("Start returned %v", start)
				}
				begin := time.Now()
				f.s.Task().Shutdown()
				<-start.done
				<-f.s.Task().Done()
				if !errors.Is(start.err, session.ErrShutdown) || time.Since(begin) != 0 {
					t.Errorf("Start = %v after %v", start.err, time.Since(begin))
				}
				want := ""
				if step == "hang@on-start" { // the connection was open
					want = "closed"
				}
				if got := f.deliveries(); got != want {
					t.Errorf("delivered %q, want %q", got, want)
				}
			})
		})
	}
}

func TestACancelledStartLeavesNothingBehind(t *testing.T) {
	for _, step := range []string{"hang@handshake", "hang@on-start"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nlstest.Options{Fault: fault(step)})
			ctx, cancel := context.WithCancel(t.Context())
			start := goCall(func() error { return f.s.Start(ctx, f.cfg, f.params) })
			synctest.Wait()
			cancel()
			<-start.done
			if !errors.Is(start.err, context.Canceled) || errors.Is(start.err, session.ErrStartTimeout) {
				t.Error(fmt.Sprint(step, ": ", start.err))
			}
			synctest.Wait()
			if n, stacks := sessionGoroutines(); n != 0 {
				t.Errorf("%s: %d goroutines:\n%s", step, n, stacks)
			}
		})
	}
}
