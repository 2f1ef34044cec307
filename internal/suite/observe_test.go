package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// logged are the lines of a JSON log.
func logged(t *testing.T, log *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(log.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	return lines
}

func jsonLog(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var log bytes.Buffer // a JSONHandler writes under a lock
	return slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level})), &log
}

// An operator sees each session begin and end, at a level that says whether to look.
func TestTheLogTellsOfEachSession(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fault string
		end         func(*subject) // nil: it is run to its end
		ctx         func(context.Context) (context.Context, context.CancelFunc)
		want        string
	}{
		{name: "completed", want: "DEBUG started, INFO completed"},
		{name: "failed", fault: "taskfailed@after-start,code=50000000", want: "DEBUG started, WARN failed"},
		{name: "refused", fault: "refuse@handshake,code=503", want: "WARN failed"},
		{name: "no answer", fault: "hang@on-start", want: "WARN failed"},
		{name: "shut down", end: func(s *subject) { s.Shutdown() }, want: "DEBUG started, INFO interrupted"},
		{name: "its context has ended in Start", fault: "hang@on-start", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, want: "INFO interrupted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, level := range []slog.Level{slog.LevelDebug, nls.LevelTrace} {
				inBubble(t, nlstest.Options{Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
					logger, log := jsonLog(level)
					s := newTranscriberSubject(clientOf(t, server, func(cfg *nls.Config) { cfg.Logger = logger }))
					ctx := t.Context()
					if c.ctx != nil {
						var cancel context.CancelFunc
						ctx, cancel = c.ctx(ctx)
						defer cancel()
					}
					if c.end != nil {
						if err := s.start(ctx); err != nil {
							t.Fatal(err)
						}
						c.end(s)
					} else {
						_ = s.run(ctx)
					}
					<-s.Done()
					var sessions []string
					frames := 0
					for _, line := range logged(t, log) {
						msg := line["msg"].(string)
						if line["product"] != "SpeechTranscriber" || line["task_id"] != s.TaskID() {
							t.Errorf("whose is %v", line)
						}
						if what, ok := strings.CutPrefix(msg, "nls: session "); ok {
							sessions = append(sessions, line["level"].(string)+" "+what)
						}
						if line["frame"] != nil || line["bytes"] != nil {
							frames++
							if want := map[string]string{"nls: send": "out", "nls: receive": "in"}[msg]; line["direction"] != want {
								t.Errorf("which way is %v", line)
							}
						}
					}
					if got := strings.Join(sessions, ", "); got != c.want {
						t.Errorf("logged %s, want %s\n%s", got, c.want, log)
					}
					if frames == 0 && level == nls.LevelTrace && c.fault != "refuse@handshake,code=503" {
						t.Error("no frames")
					}
				})
			}
		})
	}
}

// A token that cannot be renewed is no failure yet, and seen while there is time.
func TestARenewalThatFailsIsSeenWithTheTimeThatIsLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		logger, log := jsonLog(slog.LevelInfo)
		token, lookups := server.Config().Token, 0
		source := nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) {
			if lookups++; lookups == 2 {
				return nil, &nls.TokenError{Code: "Throttling.User", HTTPStatus: 400}
			}
			return &nls.Token{Value: token, Expiry: time.Now().Add(time.Hour)}, nil
		})
		var mu sync.Mutex
		var seen []nls.TraceToken
		client := clientOf(t, server, func(cfg *nls.Config) {
			cfg.Logger = logger
			cfg.TokenSource = nls.CacheTokens(source, 5*time.Minute)
			cfg.Trace = &nls.Trace{TokenDone: func(v nls.TraceToken) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, v)
			}}
		})
		var ids []string
		for _, wait := range []time.Duration{0, 56 * time.Minute, time.Minute} {
			time.Sleep(wait)
			s := newTranscriberSubject(client)
			if err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			ids = append(ids, s.TaskID())
		}
		type lookup struct {
			id                 string
			cached, background bool
			failed             bool
			left               time.Duration
		}
		var got []lookup
		for _, v := range seen {
			got = append(got, lookup{v.TaskID, v.Cached, v.Background, v.Err != nil, v.Left.Round(time.Minute)})
		}
		slices.SortFunc(got, func(a, b lookup) int { // those in the background come when they come
			if a.id == b.id && a.background != b.background {
				return map[bool]int{false: -1, true: 1}[a.background]
			}
			return slices.Index(ids, a.id) - slices.Index(ids, b.id)
		})
		want := []lookup{
			{ids[0], false, false, false, 0},
			{ids[1], true, false, false, 0}, {ids[1], false, true, true, 4 * time.Minute},
			{ids[2], true, false, false, 0}, {ids[2], false, true, false, 0},
		}
		if !slices.Equal(got, want) {
			t.Errorf("seen %+v\nwant %+v", got, want)
		}
		var lines []string
		for _, line := range logged(t, log) {
			if msg := line["msg"].(string); strings.HasPrefix(msg, "nls: token") {
				lines = append(lines, line["level"].(string)+" "+strings.TrimPrefix(msg, "nls: token "))
				if line["product"] != "SpeechTranscriber" || !slices.Contains(ids, line["task_id"].(string)) {
					t.Errorf("whose is %v", line)
				}
				if left, _ := line["left"].(float64); (time.Duration(left).Round(time.Minute) == 4*time.Minute) != (line["level"] == "WARN") {
					t.Errorf("what is left: %v", line)
				}
			}
		}
		if got := strings.Join(lines, ", "); got != "INFO renewed, WARN renewal failed, INFO renewed" {
			t.Errorf("logged %s\n%s", got, log)
		}
	})
}

// What counts up in SessionStart and down in SessionDone is a gauge, whatever comes of
// the Start.
func TestSessionStartAndSessionDoneComeInPairs(t *testing.T) {
	t.Parallel()
	panics := func(cfg *nls.Config) {
		cfg.TokenSource = nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) { panic("a bug") })
	}
	for _, c := range []struct {
		name, fault string
		change      func(*nls.Config)
		before      func(*nls.Client)
		panics      bool
	}{
		{name: "completed"},
		{name: "refused", fault: "refuse@handshake,code=503"},
		{name: "token refused twice", fault: "refuse@handshake,code=403"},
		{name: "token refused twice, by TaskFailed", fault: "taskfailed@on-start,code=40000001,text=The token has expired"},
		{name: "reset", fault: "reset@on-start"},
		{name: "no answer", fault: "hang@on-start"},
		{name: "drained", before: func(c *nls.Client) { _ = c.Drain(context.Background()) }},
		{name: "not admitted", change: func(cfg *nls.Config) {
			cfg.Limiter = limiterFunc(func(context.Context, string) (func(), error) { return nil, errors.New("no") })
		}},
		{name: "a TokenSource panics", change: panics, panics: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nlstest.Options{Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
				type key struct{}
				var running, started, own atomic.Int32
				var last nls.TraceSession
				client := clientOf(t, server, func(cfg *nls.Config) {
					if c.change != nil {
						c.change(cfg)
					}
					cfg.Trace = &nls.Trace{
						SessionStart: func(ctx context.Context, s nls.TraceStart) *nls.Trace {
							running.Add(1)
							if started.Add(1); ctx.Value(key{}) != "mine" || s.Namespace != "SpeechTranscriber" || s.TaskID == "" {
								t.Errorf("began with %v, %+v", ctx.Value(key{}), s)
							}
							return &nls.Trace{SessionDone: func(s nls.TraceSession) { own.Add(1) }}
						},
						SessionDone: func(s nls.TraceSession) { running.Add(-1); last = s },
					}
				})
				if c.before != nil {
					c.before(client)
				}
				s := newTranscriberSubject(client)
				ctx := context.WithValue(t.Context(), key{}, "mine")
				for n := range int32(2) {
					err := func() (err error) {
						defer func() {
							if p := recover(); (p != nil) != c.panics {
								t.Errorf("panicked with %v", p)
							}
						}()
						return s.run(ctx)
					}()
					<-s.Done()
					if running.Load() != 0 || started.Load() != n+1 || own.Load() != n+1 {
						t.Errorf("%d run, %d started, %d told", running.Load(), started.Load(), own.Load())
					}
					if !c.panics && last.Err != err || last.Start.IsZero() || last.End.IsZero() || last.TaskID != s.TaskID() {
						t.Errorf("%+v of %v", last, err)
					}
				}
			})
		})
	}
}

// A SessionDone that ends its goroutine, as FailNow of a test does, is called once.
func TestSessionDoneIsCalledOnceAlsoIfItExits(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var calls atomic.Int32
		s := newTranscriberSubject(clientOf(t, server, func(cfg *nls.Config) {
			cfg.Trace = &nls.Trace{SessionDone: func(nls.TraceSession) {
				if calls.Add(1) < 5 {
					runtime.Goexit()
				}
			}}
		}))
		if err := s.run(t.Context()); err != nil {
			t.Error(err)
		}
		<-s.Done()
		if calls.Load() != 1 {
			t.Errorf("called %d times", calls.Load())
		}
	})
}

// Each hook may do what a callback may.
func TestHooksMaySendAndShutDown(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{
		"SessionStart", "TokenDone", "LimitDone", "DialStart", "DialDone", "Command", "Audio", "Event", "Callback", "Pong", "Stalled", "SessionDone",
	} {
		for _, shutdown := range []bool{false, true} {
			t.Run(hook+map[bool]string{false: " sends", true: " shuts down"}[shutdown], func(t *testing.T) {
				inBubble(t, nlstest.Options{ReplyDelay: time.Second, IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
					var s *subject
					var called atomic.Int32
					does := func(name string) {
						if name != hook || called.Add(1) > 1 { // who sends in Audio is told of it
							return
						}
						if shutdown {
							s.Shutdown()
						} else if s.TaskID() != "" {
							_ = s.send()
						}
						_, _ = s.Err(), s.Done()
					}
					trace := &nls.Trace{
						SessionStart: func(context.Context, nls.TraceStart) *nls.Trace { does("SessionStart"); return nil },
						TokenDone:    func(nls.TraceToken) { does("TokenDone") },
						LimitDone:    func(nls.TraceLimit) { does("LimitDone") },
						DialStart:    func(nls.TraceDial) { does("DialStart") },
						DialDone:     func(nls.TraceDial) { does("DialDone") },
						Command:      func(nls.TraceMessage) { does("Command") },
						Audio:        func(nls.TraceMessage) { does("Audio") },
						Event:        func(nls.TraceMessage) { does("Event") },
						Callback:     func(nls.TraceMessage) { does("Callback") },
						Pong:         func(nls.TracePong) { does("Pong") },
						Stalled:      func(nls.TraceStall) { does("Stalled") },
						SessionDone:  func(nls.TraceSession) { does("SessionDone") },
					}
					s = newTranscriberSubject(clientOf(t, server, func(cfg *nls.Config) {
						cfg.Trace, cfg.MaxPendingBytes, cfg.Limiter = trace, 1, nls.NewLimiter(nls.Limits{Each: 1})
					}))
					s.on("OnSentenceBegin", func() { time.Sleep(time.Second) }) // or there is no stall
					begin := time.Now()
					err := s.start(t.Context())
					if err == nil {
						time.Sleep(9 * time.Second) // a ping
						_ = s.send()
						err = s.stop(t.Context())
					}
					<-s.Done()
					if took := time.Since(begin); called.Load() == 0 || took > 15*time.Second {
						t.Errorf("called %d times, and took %v", called.Load(), took)
					}
					if err != nil && !errors.Is(err, nls.ErrShutdown) {
						t.Error(err)
					}
				})
			})
		}
	}
}

// Hooks that SessionStart returns are kept for the session, its context is not.
func TestHooksOfASessionKeepNothingOfItsContext(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	type key struct{}
	var dials atomic.Int32
	client := clientOf(t, server, func(cfg *nls.Config) {
		cfg.Trace = &nls.Trace{SessionStart: func(ctx context.Context, _ nls.TraceStart) *nls.Trace {
			n := int32(len(ctx.Value(key{}).(*[1 << 10]byte)))
			return &nls.Trace{DialDone: func(nls.TraceDial) { dials.Add(n) }}
		}}
	})
	s := newTranscriberSubject(client)
	freed := make(chan struct{})
	func() {
		value := new([1 << 10]byte)
		runtime.AddCleanup(value, func(freed chan struct{}) { close(freed) }, freed)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, value))
		defer cancel()
		if err := s.start(ctx); err != nil {
			t.Fatal(err)
		}
	}()
	for begin := time.Now(); ; runtime.GC() {
		select {
		case <-freed:
		case <-time.After(time.Millisecond):
			if time.Since(begin) < 10*time.Second {
				continue
			}
			t.Error("a value of the context is still there")
		}
		break
	}
	if dials.Load() != 1<<10 {
		t.Errorf("%d dials", dials.Load())
	}
	s.Shutdown()
	<-s.Done()
}
