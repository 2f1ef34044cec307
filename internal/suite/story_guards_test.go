package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

// Changes of the code that no test had noticed.

// Audio that waited for its turn when Stop was called does not go out any more.
func TestNoAudioGoesOutAfterStop(t *testing.T) {
	for _, name := range []string{"Recognizer", "Transcriber"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := senders[slices.IndexFunc(senders, func(p sender) bool { return p.name == name })]
				names := answers[name]
				g := newPeers(t, func(g *peer) {
					g.pause()
					g.event(names[0], 20000000, "")
					g.sleep(2 * time.Second)
					g.resume()
					g.saw(func(f sentFrame) bool { return strings.HasPrefix(f.name, "Stop") })
					g.sleep(time.Second)
					g.event(names[2], 20000000, "")
				})
				s, send := p.new(g.client())
				settle(t, s)
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				// The connection is full, and its lock is busy.
				blocked := make([]byte, 16<<10)
				var first []*running
				for range 8 {
					first = append(first, goCall(func() error { return send(blocked) }))
				}
				time.Sleep(time.Second / 2)
				var waiting []*running
				for range 8 {
					waiting = append(waiting, goCall(func() error { return send([]byte("late")) }))
				}
				synctest.Wait()
				stop := goCall(func() error { return s.stop(t.Context()) })
				for _, call := range waiting {
					if err := call.within(t, "SendAudio", patience); !errors.Is(err, nls.ErrStopping) {
						t.Errorf("SendAudio = %v", err)
					}
				}
				if err := stop.within(t, "Stop", patience); err != nil {
					t.Errorf("Stop = %v", err)
				}
				for _, call := range first {
					if err := call.within(t, "SendAudio", patience); err != nil && !errors.Is(err, nls.ErrStopping) {
						t.Errorf("SendAudio = %v", err)
					}
				}
				stopped := false
				for _, f := range g.last().sent() {
					switch {
					case strings.HasPrefix(f.name, "Stop"):
						stopped = true
					case isAudio(f) && (stopped || string(f.payload) == "late"):
						t.Errorf("%d bytes of audio came, after the Stop: %v", len(f.payload), stopped)
					}
				}
			})
		})
	}
}

// A long slice that Stop interrupts ends before it.
func TestNoPartOfALongSliceGoesOutAfterStop(t *testing.T) {
	forEachSender(t, func(t *testing.T, p sender) {
		if p.name == "CommonProto" {
			return // has no Stop
		}
		names := answers[p.name]
		g := newPeers(t, func(g *peer) {
			g.slow(64 << 10)
			g.event(names[0], 20000000, "")
			g.saw(func(f sentFrame) bool { return strings.HasPrefix(f.name, "Stop") })
			g.sleep(time.Second)
			g.event(names[2], 20000000, "")
		})
		s, send := p.new(g.client())
		settle(t, s)
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		long := goCall(func() error { return send(make([]byte, 512<<10)) })
		time.Sleep(time.Second)
		stop := goCall(func() error { return s.stop(t.Context()) })
		sent := long.within(t, "SendAudio", patience)
		if err := stop.within(t, "Stop", patience); err != nil {
			t.Errorf("Stop = %v", err)
		}
		size, stopped := 0, false
		for _, f := range g.last().sent() {
			switch {
			case strings.HasPrefix(f.name, "Stop"):
				stopped = true
			case isAudio(f):
				size += len(f.payload)
				if stopped {
					t.Error("audio came after the Stop")
				}
			}
		}
		if sent == nil && size != 512<<10 || sent != nil && !errors.Is(sent, nls.ErrStopping) {
			t.Errorf("SendAudio = %v, %d bytes came", sent, size)
		}
	})
}

// A session that Start did not wait for is refused afterwards: nobody is there to try
// again, so it ends.
func TestARefusedSessionThatNobodyWaitsForEnds(t *testing.T) {
	t.Parallel()
	for _, refused := range []time.Duration{0, time.Second} {
		for _, name := range []string{"Synthesizer", "Synthesizer, long text", "CommonProto"} {
			t.Run(fmt.Sprintf("%s/after %v", name, refused), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					rounds := 1
					if refused == 0 {
						rounds = 300 // it meets the end of Start
					}
					retried := 0
					for range rounds {
						g := newPeers(t, func(p *peer) {
							if p.number == 1 {
								p.sleep(refused)
								p.refuseToken()
								return
							}
							p.event("SynthesisCompleted", 20000000, "")
						})
						client := g.client(withSource(new(renewable)))
						var errs, closes []error
						onError := func(e *nls.ErrorEvent) { errs = append(errs, e.Err) }
						onClose := func(e *nls.CloseEvent) { closes = append(closes, e.Err) }
						var o object
						var start func() error
						if name == "CommonProto" {
							proto := client.NewCommonProto("SpeechSynthesizer", nls.CommonHandlers{OnError: onError, OnClose: onClose})
							o, start = proto, func() error {
								return proto.Start(t.Context(), "StartSynthesis", nls.CommonParams{Final: []string{"SynthesisCompleted"}})
							}
						} else {
							tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnError: onError, OnClose: onClose})
							o, start = tts, func() error {
								return tts.Start(t.Context(), nls.SynthesisParams{Text: spoken, NoWait: true, LongText: name != "Synthesizer"})
							}
						}
						settle(t, o)
						err := goCall(start).within(t, "Start", patience)
						if !closedWithin(o.Done(), time.Second+refused) {
							t.Fatalf("Start = %v, and the session does not end; Err = %v, %d connections", err, o.Err(), g.count())
						}
						switch cause := o.Err(); {
						case cause == nil && refused == 0 && err == nil && g.count() == 2 && len(errs) == 0: // tried again in time
							retried++
						case errors.Is(cause, nls.ErrAccessDenied) && err == nil && len(errs) == 1 && errs[0] == cause && g.count() == 1:
						default:
							t.Fatalf("Start = %v, Err = %v, OnError %v, %d connections", err, cause, errs, g.count())
						}
						if len(closes) != 1 || closes[0] != o.Err() {
							t.Fatalf("OnClose %v, Err = %v", closes, o.Err())
						}
					}
					t.Logf("%d of %d were tried again", retried, rounds)
				})
			})
		}
	}
}

// userContext is a context with code of the user in it.
type userContext struct {
	context.Context
	at func()
}

func (c userContext) Done() <-chan struct{} { c.at(); return c.Context.Done() }

// The refusal comes while Start is about to return, which here takes it a while. It
// has tried again, or has returned nil and the session has ended.
func TestARefusalThatMeetsTheEndOfAStartThatDoesNotWait(t *testing.T) {
	for _, long := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			g := newPeers(t, func(p *peer) {
				if p.number == 1 {
					p.refuseToken()
					return
				}
				p.event("SynthesisCompleted", 20000000, "")
			})
			var sent, slept atomic.Bool
			s := newSynthesisSubject(g.client(withSource(new(renewable)), func(cfg *nls.Config) {
				cfg.Trace = &nls.Trace{Command: func(nls.TraceMessage) { sent.Store(true) }}
			}), long)
			s.timeout = -1
			settle(t, s)
			ctx := userContext{t.Context(), func() {
				if sent.Load() && !slept.Swap(true) {
					time.Sleep(time.Second)
				}
			}}
			err := goCall(func() error { return s.start(ctx) }).within(t, "Start", patience)
			if !closedWithin(s.Done(), 10*time.Second) {
				t.Fatalf("Start = %v, and the session does not end", err)
			}
			if cause := s.Err(); err != nil || cause != nil && !errors.Is(cause, nls.ErrAccessDenied) || cause == nil && g.count() != 2 {
				t.Errorf("Start = %v, Err = %v, %d connections", err, cause, g.count())
			}
		})
	}
}

// After Shutdown there is no second attempt.
func TestShutdownEndsTheAttemptsOfStart(t *testing.T) {
	for _, by := range []string{"a message", "the handshake"} {
		for _, where := range []string{"Invalidate", "Trace.DialDone", "a goroutine"} {
			if where == "Trace.DialDone" && by == "a message" {
				continue // there the connection was open
			}
			t.Run(by+"/"+where, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					var s *subject
					shutdown := make(chan struct{})
					g := newPeers(t, func(p *peer) {
						if p.number == 1 {
							p.refuseToken()
							return
						}
						p.event("RecognitionStarted", 20000000, "")
					})
					if by == "the handshake" {
						g.shake = func(p *peer, r *http.Request) bool {
							if p.number > 1 {
								return p.accept(r)
							}
							_, _ = p.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
							return false
						}
					}
					source := new(renewable)
					source.onInvalidate = func() {
						switch where {
						case "Invalidate":
							s.Shutdown()
						case "a goroutine":
							go func() { s.Shutdown(); close(shutdown) }()
							<-shutdown
						}
					}
					s = newRecognizerSubject(g.client(withSource(source), func(cfg *nls.Config) {
						if where == "Trace.DialDone" {
							cfg.Trace = &nls.Trace{DialDone: func(nls.TraceDial) { s.Shutdown() }}
						}
					}))
					settle(t, s)
					err := goCall(func() error { return s.start(t.Context()) }).within(t, "Start", patience)
					mustBeDone(t, s)
					if !errors.Is(err, nls.ErrShutdown) || s.Err() != err || g.count() != 1 || source.lookups != 1 {
						t.Errorf("Start = %v, Err = %v, after %d lookups and %d connections", err, s.Err(), source.lookups, g.count())
					}
					for _, e := range append(s.callsSoFar(), "OnClose") {
						if e != "OnClose" {
							t.Errorf("called %s", e)
						}
					}
					g.mustLeaveNothing()
				})
			})
		}
	}
}

// Shutdown in the middle of connecting ends Start at once, from outside while it
// waits and from within.
func TestShutdownEndsConnecting(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		where string
		with  func(cfg *nls.Config, at func(context.Context) error)
		ctx   func(ctx context.Context, at func(context.Context) error) context.Context
	}{
		{"TokenSource", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.TokenSource = nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) {
				return &nls.Token{Value: "token"}, at(ctx)
			})
		}, nil},
		{"CacheTokens", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.TokenSource = nls.CacheTokens(nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) {
				return &nls.Token{Value: "token"}, at(ctx)
			}), 0)
		}, nil},
		{"Proxy", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.Proxy = func(r *http.Request) (*url.URL, error) { return nil, at(r.Context()) }
		}, nil},
		{"NetDialContext", func(cfg *nls.Config, at func(context.Context) error) {
			dial := cfg.NetDialContext
			cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if err := at(ctx); err != nil {
					return nil, err
				}
				return dial(ctx, network, addr)
			}
		}, nil},
		{"Trace.TokenDone", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.Trace = &nls.Trace{TokenDone: func(nls.TraceToken) { _ = at(nil) }}
		}, nil},
		{"Trace.DialStart", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.Trace = &nls.Trace{DialStart: func(nls.TraceDial) { _ = at(nil) }}
		}, nil},
		{"Trace.DialDone", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.Trace = &nls.Trace{DialDone: func(nls.TraceDial) { _ = at(nil) }}
		}, nil},
		{"Trace.Command", func(cfg *nls.Config, at func(context.Context) error) {
			cfg.Trace = &nls.Trace{Command: func(nls.TraceMessage) { _ = at(nil) }}
		}, nil},
		{"httptrace.GotConn", nil, func(ctx context.Context, at func(context.Context) error) context.Context {
			return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { _ = at(nil) }})
		}},
		{"the handshake", nil, nil},
		{"the answer", nil, nil},
	} {
		for _, within := range []bool{false, true} {
			outside := strings.HasPrefix(c.where, "the ")
			if within && outside || !within && (strings.HasPrefix(c.where, "Trace.") || c.ctx != nil) {
				continue
			}
			t.Run(fmt.Sprintf("%s/within %v", c.where, within), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newPeers(t, func(p *peer) {
						if c.where != "the answer" {
							p.event("RecognitionStarted", 20000000, "")
						}
					})
					if c.where == "the handshake" {
						g.shake = func(*peer, *http.Request) bool { return false }
					}
					var s *subject
					at := func(ctx context.Context) error {
						if within {
							s.Shutdown()
							return nil
						}
						return wait(ctx)
					}
					s = newRecognizerSubject(g.client(func(cfg *nls.Config) {
						if c.with != nil {
							c.with(cfg, at)
						}
					}))
					settle(t, s)
					ctx := t.Context()
					if c.ctx != nil {
						ctx = c.ctx(ctx, at)
					}
					begin := time.Now()
					call := goCall(func() error { return s.start(ctx) })
					if !within {
						time.Sleep(time.Second)
						s.Shutdown()
						begin = time.Now()
					}
					err := call.within(t, "Start", patience)
					mustBeDone(t, s)
					if !errors.Is(err, nls.ErrShutdown) || s.Err() != err || time.Since(begin) != 0 {
						t.Errorf("Start = %v after %v, Err = %v", err, time.Since(begin), s.Err())
					}
					want := ""
					if c.where == "the answer" || c.where == "Trace.Command" {
						want = "OnClose" // the connection was open
					}
					if got := s.called(); got != want {
						t.Errorf("called %q", got)
					}
					g.mustLeaveNothing()
				})
			})
		}
	}
}

// clogged is a connection whose writes block once it is full, although nobody holds
// the write lock.
type clogged struct {
	net.Conn
	full atomic.Bool
	once sync.Once
	gone chan struct{}

	mu sync.Mutex
	by time.Time
}

func (c *clogged) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *clogged) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	c.by = t
	c.mu.Unlock()
	return c.Conn.SetWriteDeadline(t)
}

func (c *clogged) Write(p []byte) (int, error) {
	if !c.full.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	by := c.by
	c.mu.Unlock()
	var late <-chan time.Time
	if !by.IsZero() {
		timer := time.NewTimer(time.Until(by))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-late:
		return 0, timeoutOf{}
	case <-c.gone:
		return 0, net.ErrClosed
	}
}

func (c *clogged) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

type timeoutOf struct{}

func (timeoutOf) Error() string   { return "i/o timeout" }
func (timeoutOf) Timeout() bool   { return true }
func (timeoutOf) Temporary() bool { return true }

// clog wraps the connections of g and returns what fills the last one.
func (g *peers) clog() (fill func()) {
	var last *clogged
	g.wrap = func(_ int, c net.Conn) net.Conn {
		last = &clogged{Conn: c, gone: make(chan struct{})}
		return last
	}
	return func() { last.full.Store(true) }
}

func TestAPingThatCannotBeWrittenInTimeEndsTheSession(t *testing.T) {
	for _, pong := range []time.Duration{0, 5 * time.Second} {
		t.Run(fmt.Sprintf("PingTimeout %v", pong), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) { p.event("RecognitionStarted", 20000000, "") })
				fill := g.clog()
				s := newRecognizerSubject(g.client(func(cfg *nls.Config) { cfg.WriteTimeout = 3 * time.Second }))
				settle(t, s)
				s.ping, s.pong = 8*time.Second, pong
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				fill()
				if !closedWithin(s.Done(), patience) || !errors.Is(s.Err(), nls.ErrWriteTimeout) || time.Since(begin) != 11*time.Second {
					t.Errorf("after %v Err = %v", time.Since(begin), s.Err())
				}
				if len(s.errs) != 1 || s.errs[0].Err != s.Err() {
					t.Errorf("OnError %v", s.errs)
				}
			})
		})
	}
}

func TestCloseCodes(t *testing.T) {
	closeFrame := func(payload string) func(*peer) {
		return func(p *peer) { p.frame(wsframe.Fin|wsframe.Close, []byte(payload)) }
	}
	for _, c := range []struct {
		name   string
		end    func(p *peer)
		code   int
		reason string
		err    string
	}{
		{"a code and a reason", closeFrame("\x03\xf3overload"), 1011, "overload", "*CloseError 1011"},
		{"a code", closeFrame("\x03\xe9"), 1001, "", "*CloseError 1001"},
		{"a private code", closeFrame("\x0f\xa1x"), 4001, "x", "*CloseError 4001"},
		{"no code", closeFrame(""), -1, "", "*CloseError 1005"},
		{"no Close", func(p *peer) { p.Close() }, -1, "", "*CloseError -1"},
		{"half a frame", func(p *peer) { _, _ = p.Write([]byte{0x81, 0x7e}); p.Close() }, -1, "", "*CloseError -1"},
		{"no frame", func(p *peer) { p.frame(0x83, nil) }, -1, "", "*CloseError 1002"},
		{"Completed", func(p *peer) { p.event("RecognitionCompleted", 20000000, "") }, -1, "", ""},
		{"Completed, then Close", func(p *peer) {
			p.event("RecognitionCompleted", 20000000, "")
			closeFrame("\x03\xe8")(p)
		}, -1, "", ""},
		{"TaskFailed", func(p *peer) { p.event("TaskFailed", 50000000, "boom") }, -1, "", "*TaskError 50000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.event("RecognitionStarted", 20000000, "")
					p.sleep(time.Second)
					c.end(p)
				})
				s := newRecognizerSubject(g.client())
				settle(t, s)
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				mustBeDone(t, s)
				if len(s.closes) != 1 {
					t.Fatalf("OnClose was called %d times", len(s.closes))
				}
				if e := s.closes[0]; e.Code != c.code || e.Reason != c.reason || describe(e.Err) != c.err {
					t.Errorf("CloseEvent %+v, a %q; want %d %q %q", e, describe(e.Err), c.code, c.reason, c.err)
				}
			})
		})
	}
}

// The goodbye after a completed task has a second, or WriteTimeout if that is less.
func TestTheGoodbyeIsBounded(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{
		0: time.Second, -1: time.Second, 300 * time.Millisecond: 300 * time.Millisecond,
	} {
		for _, how := range []string{"the connection is full", "a sender has the lock", "both"} {
			t.Run(fmt.Sprintf("%s/WriteTimeout %v", how, timeout), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					complete := make(chan struct{})
					g := newPeers(t, func(p *peer) {
						p.event("RecognitionStarted", 20000000, "")
						if how != "the connection is full" {
							p.pause()
						}
						<-complete
						p.event("RecognitionCompleted", 20000000, "")
					})
					fill := func() {}
					if how != "a sender has the lock" {
						fill = g.clog()
					}
					s, send := senders[0].new(g.client(func(cfg *nls.Config) { cfg.WriteTimeout = timeout }))
					settle(t, s)
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					sender := goCall(func() error { return nil })
					if how != "the connection is full" {
						sender = goCall(func() (err error) {
							for err == nil {
								err = send(make([]byte, 16<<10))
								if how == "both" {
									fill()
								}
							}
							return err
						})
						synctest.Wait()
					}
					fill()
					begin := time.Now()
					close(complete)
					mustBeDone(t, s)
					if took := time.Since(begin); took > want || s.Err() != nil {
						t.Errorf("Done after %v, Err = %v", took, s.Err())
					}
					if err := sender.within(t, "SendAudio", patience); err != nil && !errors.Is(err, nls.ErrCompleted) {
						t.Errorf("SendAudio = %v", err)
					}
					if got := s.called(); got != "OnStart OnCompleted OnClose" {
						t.Errorf("called %s", got)
					}
				})
			})
		}
	}
}

// After Shutdown the connection is gone at once, whatever the session had come to.
func TestNoGoodbyeAfterShutdown(t *testing.T) {
	for _, full := range []bool{false, true} {
		for _, handler := range []string{"", "OnStart", "OnCompleted", "none, completed"} {
			t.Run(fmt.Sprintf("in %q/full %v", handler, full), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newPeers(t, func(p *peer) {
						p.event("RecognitionStarted", 20000000, "")
						p.saw(isDirective("StopRecognition"))
						p.event("RecognitionCompleted", 20000000, "")
					})
					fill := g.clog()
					s := newRecognizerSubject(g.client())
					settle(t, s)
					var begin time.Time
					s.on(handler, func() {
						if full {
							fill()
						}
						begin = time.Now()
						s.Shutdown()
					})
					if err := s.start(t.Context()); err == nil && handler != "" {
						_ = goCall(func() error { return s.stop(t.Context()) }).within(t, "Stop", patience)
					} else if handler == "" {
						if full {
							fill()
						}
						begin = time.Now()
						s.Shutdown()
					}
					mustBeDone(t, s)
					synctest.Wait()
					goodbye := slices.ContainsFunc(g.last().sent(), func(f sentFrame) bool { return f.opcode == wsframe.Close })
					if handler == "none, completed" {
						if !goodbye || s.Err() != nil {
							t.Errorf("goodbye %v after a completed task, Err = %v", goodbye, s.Err())
						}
						return
					}
					if took := time.Since(begin); goodbye || took != 0 {
						t.Errorf("goodbye %v, Done %v after Shutdown", goodbye, took)
					}
				})
			})
		}
	}
}

// A connection whose Close takes its time could still be written to.
func TestNoGoodbyeAfterShutdownOfALingeringConnection(t *testing.T) {
	for _, end := range []string{"RecognitionCompleted", "TaskFailed"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.event("RecognitionStarted", 20000000, "")
					p.event(end, 20000000, "")
				})
				release := make(chan struct{})
				time.AfterFunc(time.Minute, func() { close(release) })
				g.wrap = func(_ int, c net.Conn) net.Conn { return lingering{c, release} }
				s := newRecognizerSubject(g.client())
				settle(t, s)
				pause := func() { time.Sleep(2 * time.Second) }
				s.hooks = map[string]func(){"OnCompleted": pause, "OnError": pause}
				_ = goCall(func() error { return s.start(t.Context()) })
				time.Sleep(time.Second)
				go s.Shutdown()
				mustBeDone(t, s)
				synctest.Wait()
				if slices.ContainsFunc(g.last().sent(), func(f sentFrame) bool { return f.opcode == wsframe.Close }) {
					t.Error("the client said goodbye")
				}
				<-release // Close is still running
				synctest.Wait()
			})
		})
	}
}

func TestNoGoodbyeAfterAFailure(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"TaskFailed":  func(p *peer) { p.event("TaskFailed", 50000000, "boom") },
		"PingTimeout": func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.event("RecognitionStarted", 20000000, "")
					end(p)
				})
				s := newRecognizerSubject(g.client())
				settle(t, s)
				s.ping, s.pong = 8*time.Second, 5*time.Second
				_ = goCall(func() error { return s.start(t.Context()) }).within(t, "Start", patience)
				mustBeDone(t, s)
				synctest.Wait()
				if s.Err() == nil || slices.ContainsFunc(g.last().sent(), func(f sentFrame) bool { return f.opcode == wsframe.Close }) {
					t.Errorf("Err = %v, and the client sent %d frames", s.Err(), len(g.last().sent()))
				}
			})
		})
	}
}

// A ping that is unanswered when a stall begins has all of PingTimeout when the stall
// has ended, for its pong could not be read; and not more.
func TestPingTimeoutBeginsAgainAfterAStall(t *testing.T) {
	for _, c := range []struct {
		name  string
		pong  time.Duration // when the pong comes; zero for never
		lives bool
	}{
		{"no pong", 0, false},
		{"a pong in the stall", 15 * time.Second, true},
		{"a pong after the stall", 26 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.event("RecognitionStarted", 20000000, "")
					p.sleep(9 * time.Second) // the ping was sent at 8 s
					for range 2 {
						p.event("RecognitionResultChanged", 20000000, "")
					}
					if c.pong == 0 {
						return
					}
					p.sleep(c.pong - time.Since(p.begin))
					p.pongs.Store(true)
					for _, f := range p.sent() {
						if f.opcode == wsframe.Ping {
							p.frame(wsframe.Fin|wsframe.Pong, f.payload)
						}
					}
				})
				s := newRecognizerSubject(g.client(func(cfg *nls.Config) { cfg.MaxPendingBytes = 1 }))
				settle(t, s)
				s.ping, s.pong = 8*time.Second, 5*time.Second
				var once sync.Once
				s.on("OnResultChanged", func() { once.Do(func() { time.Sleep(13 * time.Second) }) }) // until 22 s
				begin := time.Now()
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				closedWithin(s.Done(), time.Minute)
				switch took := time.Since(begin); {
				case c.lives && s.Err() != nil, !c.lives && (!errors.Is(s.Err(), nls.ErrPingTimeout) || took != 27*time.Second):
					t.Errorf("after %v Err = %v", took, s.Err())
				}
			})
		})
	}
}

// pensiveConn takes its time to come back from writing a ping.
type pensiveConn struct {
	net.Conn
	pause time.Duration
}

func (c pensiveConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if b[0]&0x0f == wsframe.Ping {
		time.Sleep(c.pause)
	}
	return n, err
}

// A pong may come before the write of its ping has returned.
func TestAPongThatComesWhileItsPingIsSent(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, 6 * time.Second} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.pongs.Store(true)
					p.event("RecognitionStarted", 20000000, "")
				})
				g.wrap = func(_ int, c net.Conn) net.Conn { return pensiveConn{c, pause} }
				var pongs atomic.Int64
				s := newRecognizerSubject(g.client(func(cfg *nls.Config) {
					cfg.Trace = &nls.Trace{Pong: func(nls.TracePong) { pongs.Add(1) }}
				}))
				settle(t, s)
				s.ping, s.pong = 8*time.Second, 5*time.Second
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				if err := s.Err(); err != nil {
					t.Fatalf("Err = %v", err)
				}
				var pings []time.Duration
				for _, f := range g.last().sent() {
					if f.opcode == wsframe.Ping {
						pings = append(pings, f.at)
					}
				}
				if len(pings) < 8 || pongs.Load() < int64(len(pings)-1) {
					t.Errorf("pings at %v, %d pongs", pings, pongs.Load())
				}
				for i := 1; i < len(pings); i++ {
					if d := pings[i] - pings[i-1]; d < 8*time.Second || d > 8*time.Second+pause {
						t.Errorf("pings at %v", pings)
						break
					}
				}
				s.Shutdown()
				mustBeDone(t, s)
				time.Sleep(pause) // of the connection, which is the user's
			})
		})
	}
}

// After a session has ended there are no pings of it, and no failure of its clock.
func TestThePingClockStopsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newPeers(t, func(p *peer) {
			p.event("RecognitionStarted", 20000000, "")
			p.saw(isDirective("StopRecognition"))
			p.event("RecognitionCompleted", 20000000, "")
		})
		s := newRecognizerSubject(g.client())
		settle(t, s)
		s.ping, s.pong = time.Second, time.Second-time.Millisecond
		for range 3 {
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond) // a ping is unanswered
			if err := goCall(func() error { return s.stop(t.Context()) }).within(t, "Stop", patience); err != nil {
				t.Errorf("Stop = %v", err)
			}
			g.mustLeaveNothing()
			time.Sleep(time.Minute)
			if n := len(g.last().sent()); n > 3 { // ping, Stop, Close
				t.Errorf("the client sent %d frames", n)
			}
		}
	})
}

// The protocols of TLSConfig are those of the gateway. A proxy that agreed to one would
// speak it.
func TestNextProtosAreNotForTheProxy(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{TLS: true})
	defer server.Close()
	var mu sync.Mutex
	var offered [][]string
	p := &proxy{status: http.StatusOK, asked: make(chan struct{}, 1)}
	p.Server = httptest.NewUnstartedServer(p)
	p.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		offered = append(offered, hello.SupportedProtos)
		return nil, nil
	}}
	p.StartTLS()
	defer func() {
		p.CloseClientConnections()
		p.Close()
		p.serving.Wait()
	}()
	s := newRecognizerSubject(clientOf(t, server, p.use, func(cfg *nls.Config) {
		cfg.TLSConfig.NextProtos = []string{"acme/1", "h2"}
	}))
	err := goCall(func() error { return s.run(t.Context()) }).within(t, "the session", time.Minute)
	if err != nil {
		t.Errorf("the session: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(offered) != 1 || len(offered[0]) != 0 {
		t.Errorf("the proxy was offered %q", offered)
	}
}

// lookups counts the lookups of a source, which takes no time.
type lookups struct {
	life time.Duration
	fail error
	at   []time.Duration
	zero time.Time
}

func (l *lookups) Token(context.Context) (*nls.Token, error) {
	l.at = append(l.at, time.Since(l.zero))
	if l.fail != nil {
		return nil, l.fail
	}
	return &nls.Token{Value: fmt.Sprint("token-", len(l.at)), Expiry: time.Now().Add(l.life)}, nil
}

func TestALookupInTheBackgroundThatFailsPauses(t *testing.T) {
	for _, fail := range []error{errors.New("broken"), &nls.TokenError{Code: "Throttling.User", HTTPStatus: 400}, &nls.TokenError{HTTPStatus: 500}} {
		bubble(t, func(t *testing.T) {
			src := &lookups{life: time.Hour, zero: time.Now()}
			cache := nls.CacheTokens(src, 5*time.Minute)
			get := func() {
				t.Helper()
				if tok, err := cache.Token(t.Context()); err != nil || tok.Value != "token-1" {
					t.Fatalf("Token = %v, %v", tok, err)
				}
				synctest.Wait()
			}
			get()
			src.fail = fail
			time.Sleep(55 * time.Minute)
			due := time.Since(src.zero)
			for time.Since(src.zero) < due+4*time.Minute {
				get()
				time.Sleep(100 * time.Millisecond)
			}
			// At once, then after 1, 2, 4, 8, 16 and 32 s, then a minute each.
			var want, got []time.Duration
			for _, s := range []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183} {
				want = append(want, s*time.Second)
			}
			for _, at := range src.at[1:] {
				got = append(got, (at - due).Truncate(time.Second))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v: lookups %v after the first, want %v", fail, got, want)
			}
		})
	}
}

func TestATokenOfAShortLifeIsReplacedAtHalfOfIt(t *testing.T) {
	for _, c := range []struct{ life, early, renew time.Duration }{
		{time.Hour, 5 * time.Minute, 55 * time.Minute},
		{6 * time.Minute, 5 * time.Minute, 3 * time.Minute},
		{4 * time.Minute, 5 * time.Minute, 2 * time.Minute},
		{20 * time.Minute, 15 * time.Minute, 10 * time.Minute},
		{11 * time.Minute, 5 * time.Minute, 6 * time.Minute},
	} {
		bubble(t, func(t *testing.T) {
			src := &lookups{life: c.life, zero: time.Now()}
			cache := nls.CacheTokens(src, c.early)
			for time.Since(src.zero) <= c.renew {
				if _, err := cache.Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(10 * time.Second)
			}
			if want := []time.Duration{0, c.renew}; !slices.Equal(src.at, want) {
				t.Errorf("life %v, early %v: lookups at %v, want %v", c.life, c.early, src.at, want)
			}
		})
	}
}
