package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

func TestAConnectionIsReusedForEightSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pause    time.Duration // between the sessions
		callback time.Duration // OnCompleted
		want     string
	}{
		{0, 0, "dialed reused reused"},
		{7999 * time.Millisecond, 0, "dialed reused reused"},
		{8 * time.Second, 0, "dialed dialed dialed"},
		{2999 * time.Millisecond, 5 * time.Second, "dialed reused reused"},
		{3 * time.Second, 5 * time.Second, "dialed dialed dialed"},
		{0, 9 * time.Second, "dialed dialed dialed"},
		{30 * time.Second, 0, "dialed dialed dialed"},
	} {
		t.Run(fmt.Sprintf("%v after a callback of %v", c.pause, c.callback), func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					var w wires
					client := clientOf(t, server, w.keeps(0, true))
					s := p.new(client)
					s.wait = true
					var ids []string
					for range 3 {
						s.on(p.handlers[len(p.handlers)-2], sync.OnceFunc(func() { time.Sleep(c.callback) }))
						if err := s.run(startCtx(t.Context())); err != nil {
							t.Fatal(err)
						}
						mustBeDone(t, s)
						if got := firsts(s.called()); got != p.calls {
							t.Errorf("called %s", got)
						}
						if e := s.closes[len(s.closes)-1]; e.Err != nil || e.TaskID != s.TaskID() {
							t.Errorf("OnClose got %+v", e)
						}
						ids = append(ids, s.TaskID())
						time.Sleep(c.pause)
						synctest.Wait()
					}
					if got := w.taken(); got != c.want {
						t.Errorf("the connections of Start: %s, want %s", got, c.want)
					}
					if dials, _ := w.count(); dials != strings.Count(c.want, "dialed") {
						t.Errorf("%d dials", dials)
					}
					if slices.Sort(ids); len(slices.Compact(ids)) != 3 {
						t.Errorf("task IDs %q", ids)
					}
					time.Sleep(8 * time.Second)
					synctest.Wait()
					if _, open := w.count(); open != 0 {
						t.Errorf("%d connections after eight seconds", open)
					}
					w.mustLeaveNothing(t, client)
				})
			})
		})
	}
}

// A connection whose session did not end in good order, or on which something was
// said after that, is not used again; nor does the next Start fail because of it.
func TestWhichConnectionsAreNotReused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault string // of the first connection
		set   func(s *subject, cancel context.CancelFunc, completed string)
		fails bool
	}{
		{name: "TaskFailed", fault: "taskfailed@during-events", fails: true},
		{name: "reset", fault: "reset@during-events", fails: true},
		{name: "Shutdown in the callback of the result", set: func(s *subject, _ context.CancelFunc, completed string) { s.on(completed, s.Shutdown) }},
		{name: "a context that ends in the callback of the result", set: func(s *subject, cancel context.CancelFunc, completed string) {
			s.on(completed, func() {
				cancel()
				time.Sleep(time.Second)
			})
		}, fails: true},
		{name: "a callback of the result that is stuck", set: func(s *subject, _ context.CancelFunc, completed string) {
			s.complete = time.Second
			s.on(completed, func() { time.Sleep(3 * time.Second) })
		}, fails: true},
		{name: "a late message", fault: "late@after-stop"},
		{name: "Completed twice", fault: "twice@after-stop"},
		{name: "a late TaskFailed", fault: "taskfailed@after-stop"},
		{name: "a Close frame", fault: "close@after-stop,code=1000"},
		{name: "EOF", fault: "eof@after-stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				if p.name == "CommonProto" && c.fails && c.fault == "" {
					return // its Wait ends nothing
				}
				opts := nlstest.Options{}
				if c.fault != "" {
					opts.Fault = faultOnce(c.fault)
				}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					var w wires
					client := clientOf(t, server, w.keeps(0, true), func(cfg *nls.Config) { cfg.StopTimeout = time.Second })
					s := p.new(client)
					s.wait = true
					ctx, cancel := context.WithCancel(startCtx(t.Context()))
					defer cancel()
					if c.set != nil {
						c.set(s, cancel, p.handlers[len(p.handlers)-2])
					}
					stop := s.stop
					s.stop = func(context.Context) error { return stop(ctx) }
					if err := s.run(ctx); (err != nil) != c.fails {
						t.Errorf("the first session: %v", err)
					}
					mustBeDone(t, s)
					synctest.Wait()
					s.stop = stop
					s.on("", nil)
					s.called()
					if err := s.run(startCtx(t.Context())); err != nil {
						t.Fatal(err)
					}
					mustBeDone(t, s)
					if got := firsts(s.called()); got != p.calls {
						t.Errorf("called %s", got)
					}
					if got := w.taken(); got != "dialed dialed" {
						t.Errorf("the connections of Start: %s", got)
					}
					w.mustLeaveNothing(t, client)
				})
			})
		})
	}
}

// The callbacks of a session may outlive its hold on the connection. What they do
// to their session does nothing to the one that has the connection now.
func TestTheLastSessionOnAConnectionDoesNotTouchTheNext(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(t *testing.T, old *nls.Session){
		"Shutdown":  func(_ *testing.T, old *nls.Session) { old.Shutdown() },
		"SendAudio": func(_ *testing.T, old *nls.Session) { _ = old.SendAudio(spokenAudio()) },
		"Stop":      func(t *testing.T, old *nls.Session) { _ = old.Stop(cancelled()) },
	} {
		for _, inside := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, in OnClose %v", name, inside), func(t *testing.T) {
				forSomeProducts(t, func(t *testing.T, p product) {
					gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
						var w wires
						client := clientOf(t, server, w.keeps(0, true))
						first := newTranscriberSubject(client)
						now, done := make(chan struct{}), make(chan struct{})
						var old *nls.Session
						if inside {
							first.on("OnClose", func() {
								<-now
								meddle(t, old)
							})
						}
						if err := first.start(startCtx(t.Context())); err != nil {
							t.Fatal(err)
						}
						old = first.object.(*nls.Transcriber).Session()
						stop := goCall(func() error { return first.stop(t.Context()) })
						synctest.Wait()

						s := p.new(client)
						s.wait = true
						s.on(p.handlers[0], sync.OnceFunc(func() {
							close(now)
							if !inside {
								meddle(t, old)
							}
							close(done)
							time.Sleep(time.Second)
							synctest.Wait()
						}))
						if err := s.run(startCtx(t.Context())); err != nil {
							t.Error(err)
						}
						mustBeDone(t, s)
						<-done
						if err := stop.within(t, "Stop", patience); err != nil {
							t.Errorf("the first session: %v", err)
						}
						mustBeDone(t, first)
						if got := firsts(s.called()); got != p.calls {
							t.Errorf("called %s", got)
						}
						if got := w.taken(); got != "dialed reused" {
							t.Errorf("the connections of Start: %s", got)
						}
						if e := first.closes[0]; e.Code != -1 || e.Reason != "" {
							t.Errorf("OnClose of the first got %+v", e)
						}
						w.mustLeaveNothing(t, client)
					})
				})
			})
		}
	}
}

// twoTasks is a gateway whose connections serve one transcription after another.
// then runs when the second directive has come, before it is answered.
func twoTasks(t *testing.T, between, then func(p *peer, first string)) *peers {
	g := newPeers(t, func(p *peer) {
		if !p.directive() {
			return
		}
		p.event("TranscriptionStarted", nls.StatusOK, "")
		if between != nil {
			between(p, p.taskID)
		} else if !p.saw(isDirective("StopTranscription")) {
			return
		}
		first := p.taskID
		p.event("TranscriptionCompleted", nls.StatusOK, "")
		starts := 0
		if !p.saw(func(f sentFrame) bool {
			if isDirective("StartTranscription")(f) {
				starts++
				p.taskID = taskIDIn(f.payload)
			}
			return starts == 1 // the first is not in what was seen
		}) {
			return
		}
		if then != nil {
			then(p, first)
		}
		p.event("TranscriptionStarted", nls.StatusOK, "")
		stops := 0
		want := 2
		if between != nil {
			want = 1
		}
		if p.saw(func(f sentFrame) bool {
			if isDirective("StopTranscription")(f) {
				stops++
			}
			return stops == want
		}) {
			p.event("TranscriptionCompleted", nls.StatusOK, "")
		}
	})
	g.shake = upgrade
	return g
}

func taskIDIn(directive []byte) string {
	_, rest, _ := strings.Cut(string(directive), `"task_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// What the service says of the last task when the next has begun is none of the
// next one's business.
func TestALateMessageOfTheLastTaskIsSkipped(t *testing.T) {
	for name, say := range map[string]func(p *peer, id string){
		"a result":  func(p *peer, id string) { p.says(id, "SentenceEnd", nls.StatusOK, "") },
		"Started":   func(p *peer, id string) { p.says(id, "TranscriptionStarted", nls.StatusOK, "") },
		"Completed": func(p *peer, id string) { p.says(id, "TranscriptionCompleted", nls.StatusOK, "") },
		"TaskFailed": func(p *peer, id string) {
			p.says(id, "TaskFailed", nls.StatusServerError, "late")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := twoTasks(t, nil, say)
				var w wires
				client := g.client(w.keeps(0, true))
				for range 2 {
					s := newTranscriberSubject(client)
					s.send = nil
					if err := s.run(startCtx(t.Context())); err != nil {
						t.Error(err)
					}
					mustBeDone(t, s)
					if got := s.called(); got != "OnStart OnCompleted OnClose" {
						t.Errorf("called %s", got)
					}
				}
				if got := w.taken(); got != "dialed reused" {
					t.Errorf("the connections of Start: %s", got)
				}
				w.mustLeaveNothing(t, client)
			})
		})
	}
}

// A sender may be in the middle of SendAudio when its task completes. Its frame is
// written to its end before the next task begins, and no other follows; or the
// connection is not used again.
func TestASenderNeverWritesIntoTheNextTask(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration // WriteTimeout
		stuck time.Duration // how long the gateway reads nothing after Completed
		want  string
	}{
		{"soon", 10 * time.Second, 500 * time.Millisecond, "dialed reused"},
		{"late", 10 * time.Second, 1500 * time.Millisecond, "dialed dialed"},
		{"after its write has timed out", 600 * time.Millisecond, 900 * time.Millisecond, "dialed dialed"},
	} {
		t.Run("the gateway reads on "+c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := twoTasks(t, func(p *peer, _ string) {
					p.pause()
					p.sleep(time.Second)
					time.AfterFunc(c.stuck, p.resume)
				}, nil)
				g.size = 4 << 10 // less than a frame
				var w wires
				client := g.client(w.keeps(0, true), func(cfg *nls.Config) { cfg.WriteTimeout = c.limit })
				first := newTranscriberSubject(client)
				if err := first.start(startCtx(t.Context())); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second - c.limit/2)
				var senders sync.WaitGroup
				for range 4 {
					senders.Go(func() {
						err := first.object.(*nls.Transcriber).SendAudio(make([]byte, 50<<10))
						if !errors.Is(err, nls.ErrCompleted) {
							t.Errorf("SendAudio = %v", err)
						}
					})
				}
				mustBeDone(t, first)
				if err := first.Err(); err != nil {
					t.Errorf("the first session: %v", err)
				}
				g2 := g.last()
				second := newTranscriberSubject(client)
				start := goCall(func() error { return second.start(startCtx(t.Context())) })
				if err := start.within(t, "Start", patience); err != nil {
					t.Errorf("the second session: %v", err)
				}
				second.Shutdown()
				mustBeDone(t, second)
				senders.Wait()
				synctest.Wait()
				if got := w.taken(); got != c.want {
					t.Errorf("the connections of Start: %s, want %s", got, c.want)
				}
				if strings.HasSuffix(c.want, "reused") {
					got := g2.sent()
					i := slices.IndexFunc(got, isDirective("StartTranscription"))
					if i < 0 || slices.ContainsFunc(got[i:], func(f sentFrame) bool { return f.opcode == wsframe.Binary }) {
						t.Errorf("the gateway got %d messages, the second directive as number %d, and audio after it", len(got), i)
					}
				}
				w.mustLeaveNothing(t, client)
			})
		})
	}
}
