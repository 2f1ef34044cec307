package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// User code that ends: by runtime.Goexit, as t.FailNow and t.Fatal do, or by a panic.

func TestGoexitInACallbackEndsTheSessionAndSaysSo(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		for _, handler := range append(p.handlers[:len(p.handlers):len(p.handlers)], "OnError") {
			t.Run(handler, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1}
				if handler == "OnError" {
					opts.Fault = faultOnce("eof@after-start")
				}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					settle(t, s)
					s.on(handler, runtime.Goexit)
					call := goCall(func() error { return s.use(t.Context(), 0) })
					said := call.within(t, "the session", patience)
					mustBeDone(t, s)
					err := s.Err()
					calls := s.callsSoFar()
					switch handler {
					case "OnClose": // it was told that the task had completed, or is told that it had not
					case "OnError":
						if describe(err) != "*CloseError -1" || said != err {
							t.Errorf("the session says %v, Err %v", said, err)
						}
					default:
						if err == nil || !strings.Contains(strings.ToLower(err.Error()), "exit") || nls.TaskID(err) != s.TaskID() {
							t.Errorf("Err = %v", err)
						}
						if said != err {
							t.Errorf("the session says %v, Err %v", said, err)
						}
						for _, e := range s.errs {
							if e.Err != err {
								t.Errorf("OnError says %v, Err %v", e.Err, err)
							}
						}
						for _, e := range s.closes {
							if e.Err != err {
								t.Errorf("OnClose says %v, Err %v", e.Err, err)
							}
						}
						if n := len(s.errs); n != 1 {
							t.Errorf("OnError was called %d times", n)
						}
					}
					if len(s.closes) != 1 || calls[len(calls)-1] != "OnClose" {
						t.Errorf("called %s", calls)
					}
					if again := s.stop(cancelled()); again != err {
						t.Errorf("Stop or Wait says %v, Err %v", again, err)
					}
					synctest.Wait()
					mustHaveNoGoroutine(t)

					s.on("", nil)
					s.calls, s.errs, s.closes, s.audio = nil, nil, nil, nil
					s.text.Reset()
					if err := goCall(func() error { return s.run(t.Context()) }).within(t, "the next session", patience); err != nil {
						t.Fatalf("the next session: %v", err)
					}
					if got := s.result(t, client); got != spoken {
						t.Errorf("the next session gets %q", got)
					}
				})
			})
		}
	})
}

// watchedConn tells when it is closed.
type watchedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *watchedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// endInUserCode are the places where code of the user runs on the goroutine of Start.
// Each makes a client whose code calls end there, if end is not nil.
var endInUserCode = []struct {
	where string
	tls   bool
	with  func(cfg *nls.Config, end func())
	ctx   func(ctx context.Context, end func()) context.Context
}{
	{where: "TokenSource", with: func(cfg *nls.Config, end func()) {
		token := cfg.Token
		cfg.Token, cfg.TokenSource = "", nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) {
			end()
			return &nls.Token{Value: token}, nil
		})
	}},
	{where: "Proxy", with: func(cfg *nls.Config, end func()) {
		cfg.Proxy = func(*http.Request) (*url.URL, error) { end(); return nil, nil }
	}},
	{where: "NetDialContext", with: func(cfg *nls.Config, end func()) {
		dial := cfg.NetDialContext
		cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			end()
			return dial(ctx, network, addr)
		}
	}},
	{where: "VerifyConnection", tls: true, with: func(cfg *nls.Config, end func()) {
		cfg.TLSConfig.VerifyConnection = func(tls.ConnectionState) error { end(); return nil }
	}},
	{where: "Trace.TokenDone", with: func(cfg *nls.Config, end func()) { cfg.Trace = &nls.Trace{TokenDone: func(nls.TraceToken) { end() }} }},
	{where: "Trace.DialStart", with: func(cfg *nls.Config, end func()) { cfg.Trace = &nls.Trace{DialStart: func(nls.TraceDial) { end() }} }},
	{where: "Trace.DialDone", with: func(cfg *nls.Config, end func()) { cfg.Trace = &nls.Trace{DialDone: func(nls.TraceDial) { end() }} }},
	{where: "Trace.Command", with: func(cfg *nls.Config, end func()) {
		cfg.Trace = &nls.Trace{Command: func(nls.TraceMessage) { end() }}
	}},
	{where: "httptrace.GotConn", ctx: func(ctx context.Context, end func()) context.Context {
		return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { end() }})
	}},
}

func TestUserCodeThatEndsOnTheGoroutineOfStartLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, c := range endInUserCode {
		for how, end := range map[string]func(){"panic": func() { panic("of the user") }, "Goexit": runtime.Goexit} {
			for _, product := range []string{"Recognizer", "Synthesizer"} {
				t.Run(c.where+"/"+how+"/"+product, func(t *testing.T) {
					gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, TLS: c.tls}, func(t *testing.T, server *nlstest.Server) {
						var open atomic.Int64
						ends := true
						endOnce := func() {
							if ends {
								ends = false
								end()
							}
						}
						s := productNamed(product).new(clientOf(t, server, func(cfg *nls.Config) {
							dial := cfg.NetDialContext
							cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
								conn, err := dial(ctx, network, addr)
								if err != nil {
									return nil, err
								}
								open.Add(1)
								return &watchedConn{Conn: conn, open: &open}, nil
							}
							if c.with != nil {
								c.with(cfg, endOnce)
							}
						}))
						s.wait = true
						settle(t, s)
						ctx := t.Context()
						if c.ctx != nil {
							ctx = c.ctx(ctx, endOnce)
						}
						var recovered any
						call := goCall(func() (err error) {
							defer func() { recovered = recover() }()
							return s.start(ctx)
						})
						err := call.within(t, "Start", patience)
						switch {
						case ends:
							t.Fatalf("%s was not called", c.where)
						case how == "panic" && (recovered == nil || !strings.Contains(fmt.Sprint(recovered), "of the user")):
							t.Errorf("recovered %v, Start = %v", recovered, err)
						case how == "Goexit" && err == nil:
							t.Error("Start = nil")
						}
						mustBeDone(t, s)
						synctest.Wait()
						if n := open.Load(); n != 0 {
							t.Errorf("%d connections left open", n)
						}
						mustHaveNoGoroutine(t)
						if err := goCall(func() error { return s.run(t.Context()) }).within(t, "the next session", patience); err != nil {
							t.Errorf("the next session: %v", err)
						}
					})
				})
			}
		}
	}
}

// A lookup whose source exits has failed, for everybody who waits, and the next one
// asks again.
func TestASourceThatExitsUnderCacheTokensHasFailed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lookups := 0
		cache := nls.CacheTokens(nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) {
			lookups++
			time.Sleep(time.Second)
			switch lookups {
			case 1, 4:
				runtime.Goexit()
			case 2:
				return &nls.Token{Value: "token", Expiry: time.Now().Add(time.Hour)}, nil
			}
			return &nls.Token{Value: "renewed", Expiry: time.Now().Add(time.Hour)}, nil
		}), 5*time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), patience/2)
		defer cancel()
		get := func() (*nls.Token, error) { return cache.Token(ctx) }

		var waiters []*running
		for range 3 {
			waiters = append(waiters, goCall(func() error {
				tok, err := get()
				if tok != nil {
					t.Errorf("got %v", tok)
				}
				return err
			}))
		}
		for _, w := range waiters {
			if err := w.within(t, "Token", patience); err == nil || errors.Is(err, context.DeadlineExceeded) || w.took > 2*time.Second {
				t.Errorf("Token = %v after %v", err, w.took)
			}
		}
		if t.Failed() {
			return
		}
		time.Sleep(2 * time.Minute) // longer than any pause
		if tok, err := get(); err != nil || tok.Value != "token" || lookups != 2 {
			t.Fatalf("Token = %v, %v after %d lookups", tok, err, lookups)
		}
		// One in the background exits, and the token serves on.
		lookups = 3
		time.Sleep(time.Hour - 5*time.Minute + time.Second)
		ctx = t.Context()
		for range 2 {
			if tok, err := get(); err != nil || tok.Value != "token" {
				t.Fatalf("Token = %v, %v", tok, err)
			}
			time.Sleep(65 * time.Second)
		}
		time.Sleep(2 * time.Second)
		if tok, err := get(); err != nil || tok.Value != "renewed" {
			t.Errorf("Token = %v, %v after %d lookups", tok, err, lookups)
		}
	})
}

// exits is an engine that exits the goroutine that it is called on, in one method.
type exits struct {
	nlstest.Engine
	in string
}

func (e exits) Recognize(ctx context.Context, q nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	if e.in == "Recognize" {
		runtime.Goexit()
	}
	r, err := e.Engine.Recognize(ctx, q)
	return exitingRecognition{r, e.in}, err
}

func (e exits) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	if e.in == "Synthesize" {
		runtime.Goexit()
	}
	return e.Engine.Synthesize(ctx, text, v, func(pcm []byte, words []nls.Subtitle) error {
		err := emit(pcm, words)
		if e.in == "Synthesize, after a piece" {
			runtime.Goexit()
		}
		return err
	})
}

type exitingRecognition struct {
	nlstest.Recognition
	in string
}

func (r exitingRecognition) Write(pcm []byte) ([]nlstest.Hypothesis, error) {
	if r.in == "Write" {
		runtime.Goexit()
	}
	return r.Recognition.Write(pcm)
}

func (r exitingRecognition) Finish() ([]nlstest.Hypothesis, error) {
	if r.in == "Finish" {
		runtime.Goexit()
	}
	return r.Recognition.Finish()
}

// A t.Fatal in the code that a test gives to the gateway is a failed test and not one
// that hangs. On the clock of the system, for Close waits for a sync.WaitGroup.
func TestGoexitInTheCodeOfAGatewayDoesNotHangItsClose(t *testing.T) {
	for _, c := range []struct{ in, product string }{
		{"OnFrame, received", "Recognizer"}, {"OnFrame, sent", "Recognizer"}, {"OnFrame, sent", "Synthesizer"},
		{"Recognize", "Recognizer"}, {"Write", "Recognizer"}, {"Finish", "Recognizer"}, {"Write", "Transcriber"}, {"Finish", "Transcriber"},
		{"Synthesize", "Synthesizer"}, {"Synthesize, after a piece", "Synthesizer"},
		{"Synthesize", "StreamSynthesizer"}, {"Synthesize, after a piece", "StreamSynthesizer"},
	} {
		t.Run(c.in+"/"+c.product, func(t *testing.T) {
			t.Parallel()
			opts := nlstest.Options{IdleTimeout: -1, Engine: exits{nlstest.Loopback(), c.in}}
			if kind, which, ok := strings.Cut(c.in, ", "); ok && kind == "OnFrame" {
				opts.OnFrame = func(f nlstest.Frame) {
					if f.Sent == (which == "sent") {
						runtime.Goexit()
					}
				}
			}
			server := nlstest.NewServer(opts)
			s := productNamed(c.product).new(clientOf(t, server))
			session := goCall(func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				return s.use(ctx, 0)
			})
			if err := session.within(t, "the session", 20*time.Second); err == nil {
				t.Error("the session completed")
			}
			s.Shutdown()
			mustBeDone(t, s)
			closing := goCall(func() error { server.Close(); return nil })
			_ = closing.within(t, "Server.Close", 5*time.Second)
		})
	}
}

// Calls that wait for callbacks to return, made in one.

func TestStartInOnCloseEndsWithAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, 3 * time.Second, -1} {
		forSomeProducts(t, func(t *testing.T, p product) {
			t.Run(fmt.Sprint(timeout), func(t *testing.T) {
				gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
					log := &logbook{level: slog.LevelInfo}
					s := p.new(clientOf(t, server, func(cfg *nls.Config) { cfg.Logger = slog.New(log) }))
					s.timeout = timeout
					settle(t, s)
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					var begin time.Time
					var took time.Duration
					var err error
					s.on("OnClose", func() {
						begin = time.Now()
						err = s.start(ctx)
						took = time.Since(begin)
					})
					// Its bounds are those of the SDK; whoever waits for OnClose waits longer.
					_ = goCall(func() error { return s.run(t.Context()) }).within(t, "the session", 2*patience)
					mustBeDone(t, s)
					if err == nil || !strings.Contains(err.Error(), "OnClose") {
						t.Errorf("Start = %v", err)
					}
					if took > patience/2 || timeout == 3*time.Second && took > 3*time.Second {
						t.Errorf("Start took %v", took)
					}
					mustHaveWarned(t, log, "OnClose", begin)
					s.on("", nil)
					s.timeout = 0
					if err := goCall(func() error { return s.run(t.Context()) }).within(t, "the next session", patience); err != nil {
						t.Errorf("the next session: %v", err)
					}
				})
			})
		})
	}
}

// mustHaveWarned checks that a Warn named what a second after begin.
func mustHaveWarned(t *testing.T, log *logbook, what string, begin time.Time) {
	t.Helper()
	at := log.warned(what)
	if len(at) == 0 {
		t.Errorf("no Warn names %s:\n%s", what, log)
		return
	}
	if after := at[0].Sub(begin); after < time.Second || after > 1500*time.Millisecond {
		t.Errorf("a Warn names %s after %v", what, after)
	}
}

func TestStopInACallbackEndsWithAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, 3 * time.Second, -1} {
		for _, name := range []string{"Recognizer", "Transcriber", "StreamSynthesizer"} {
			p := productNamed(name)
			for _, handler := range append(p.handlers[:len(p.handlers):len(p.handlers)], "OnError") {
				if handler == "OnStart" {
					continue // where Stop returns ErrNotStarted
				}
				t.Run(fmt.Sprintf("%s/%s/%v", name, handler, timeout), func(t *testing.T) {
					opts := nlstest.Options{IdleTimeout: -1}
					if handler == "OnError" {
						opts.Fault = faultOnce("eof@on-stop")
					}
					gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
						log := &logbook{level: slog.LevelInfo}
						s := p.new(clientOf(t, server, func(cfg *nls.Config) {
							cfg.Logger, cfg.StopTimeout = slog.New(log), timeout
						}))
						s.complete = timeout
						settle(t, s)
						ctx, cancel := context.WithTimeout(context.Background(), patience)
						defer cancel()
						var begin time.Time
						var took time.Duration
						var err error
						entered := false
						s.on(handler, func() {
							if entered {
								return
							}
							entered = true
							begin = time.Now()
							err = s.stop(ctx)
							took = time.Since(begin)
						})
						_ = goCall(func() error { return s.use(t.Context(), 0) }).within(t, "the session", 2*patience)
						mustBeDone(t, s)
						if !entered {
							t.Fatalf("%s was not called", handler)
						}
						// Inside, handlers may go by the names of their events.
						what := strings.TrimPrefix(handler, "On")
						if handler == "OnClose" || handler == "OnError" || handler == "OnData" {
							what = handler
						}
						told := handler == "OnClose" || handler == "OnError" // how the session ended
						if named := err != nil && strings.Contains(err.Error(), what); !named && !(told && err == s.Err()) {
							t.Errorf("Stop = %v", err)
						}
						if took > patience/2 || timeout == 3*time.Second && took > 4*time.Second {
							t.Errorf("Stop took %v", took)
						}
						mustHaveWarned(t, log, what, begin)
					})
				})
			}
		}
	}
}
