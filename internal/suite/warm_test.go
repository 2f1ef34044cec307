package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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

// wires are the connections of a Client, whatever dials them.
type wires struct {
	begin time.Time
	wrap  func(ctx context.Context, number int, c net.Conn) net.Conn // may be nil
	down  atomic.Bool                                                // no background dial succeeds

	onTake func(nls.TraceDial) // a Start has taken a connection that was open; may be nil

	mu            sync.Mutex
	dials         []time.Duration // when, since begin
	addrs         []string
	open          int
	dialing, most int // background dials, now and at a time
	conns         string
}

// startKey is in the contexts of Starts, and so tells their dials from those of
// the pool.
type startKey struct{}

func startCtx(ctx context.Context) context.Context { return context.WithValue(ctx, startKey{}, true) }

// use puts w around the connections of cfg, and listens to where Starts have theirs
// from.
func (w *wires) use(cfg *nls.Config) {
	w.begin = time.Now()
	dial := cfg.NetDialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		background := ctx.Value(startKey{}) == nil
		w.mu.Lock()
		w.dials = append(w.dials, time.Since(w.begin).Round(time.Millisecond))
		w.addrs = append(w.addrs, addr)
		number := len(w.dials)
		if background {
			w.dialing++
			w.most = max(w.most, w.dialing)
		}
		w.mu.Unlock()
		defer func() {
			if background {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.dialing--
			}
		}()
		if background && w.down.Load() {
			return nil, errors.New("down")
		}
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		w.open++
		w.mu.Unlock()
		c = &strand{Conn: c, wires: w}
		if w.wrap != nil {
			c = w.wrap(ctx, number, c)
		}
		return c, nil
	}
	cfg.Trace = &nls.Trace{DialDone: w.dialDone}
}

func (w *wires) dialDone(d nls.TraceDial) {
	if w.onTake != nil && d.Conn != "dialed" {
		w.onTake(d)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns += " " + d.Conn
}

// taken lists where the connections of Starts came from, since the last time.
func (w *wires) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	conns := strings.TrimPrefix(w.conns, " ")
	w.conns = ""
	return conns
}

func (w *wires) count() (dials, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dials), w.open
}

// strand is one of them.
type strand struct {
	net.Conn
	wires *wires
	once  sync.Once
}

func (c *strand) Close() error {
	c.once.Do(func() {
		c.wires.mu.Lock()
		defer c.wires.mu.Unlock()
		c.wires.open--
	})
	return c.Conn.Close()
}

// keeps is a Config with warm connections and w.
func (w *wires) keeps(warm int, reuse bool) func(*nls.Config) {
	return func(cfg *nls.Config) {
		cfg.WarmConnections, cfg.ReuseConnections = warm, reuse
		w.use(cfg)
	}
}

// mustLeaveNothing fails the test if anything is left once the idle connections
// are closed.
func (w *wires) mustLeaveNothing(t *testing.T, c *nls.Client) {
	t.Helper()
	c.CloseIdleConnections()
	synctest.Wait()
	if _, open := w.count(); open != 0 {
		t.Errorf("%d connections left open", open)
	}
	mustHaveNoGoroutine(t)
}

// firsts are the words of s, each where it is first.
func firsts(s string) string {
	var words []string
	for word := range strings.FieldsSeq(s) {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func TestStartTakesAWarmConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		warm  int
		reuse bool
		first bool // Warm
		want  string
		dials int // after the last Start
	}{
		{name: "zero values", want: "dialed dialed dialed", dials: 3},
		{name: "WarmConnections", warm: 2, want: "dialed warm warm", dials: 5},
		{name: "WarmConnections and Warm", warm: 1, first: true, want: "warm warm warm", dials: 4},
		{name: "ReuseConnections", reuse: true, want: "dialed reused reused", dials: 1},
		{name: "both", warm: 1, reuse: true, want: "dialed reused reused", dials: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				inBubble(t, nlstest.Options{ReplyDelay: 10 * time.Millisecond}, func(t *testing.T, server *nlstest.Server) {
					var w wires
					client := clientOf(t, server, w.keeps(c.warm, c.reuse))
					if c.first {
						if err := client.Warm(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					var ids []string
					for range 3 {
						s := p.new(client)
						s.wait = true
						if err := s.run(startCtx(t.Context())); err != nil {
							t.Fatal(err)
						}
						<-s.Done()
						if got := firsts(s.called()); got != p.calls {
							t.Errorf("called %s", got)
						}
						ids = append(ids, s.TaskID())
						synctest.Wait()
					}
					if got := w.taken(); got != c.want {
						t.Errorf("the connections of Start: %s, want %s", got, c.want)
					}
					if dials, _ := w.count(); dials != c.dials {
						t.Errorf("%d dials, want %d", dials, c.dials)
					}
					if slices.Sort(ids); len(slices.Compact(ids)) != 3 {
						t.Errorf("task IDs %q", ids)
					}
					if w.most > c.warm {
						t.Errorf("%d dials at a time", w.most)
					}
					w.mustLeaveNothing(t, client)
				})
			})
		})
	}
}

// Nobody could dial again for a Start that waits for no answer.
func TestAStartThatWaitsForNoAnswerDials(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(ctx context.Context, c *nls.Client) error{
		"NoWait": func(ctx context.Context, c *nls.Client) error {
			s := newSynthesizerSubject(c)
			return s.run(ctx)
		},
		"CommonProto without Started": func(ctx context.Context, c *nls.Client) error {
			p := c.NewCommonProto("SpeechSynthesizer", nls.CommonHandlers{})
			payload := map[string]any{"text": spoken, "voice": nls.DefaultVoice, "format": "pcm", "sample_rate": 16000}
			if err := p.Start(ctx, "StartSynthesis", nls.CommonParams{Payload: payload, Final: []string{"SynthesisCompleted"}}); err != nil {
				return err
			}
			return p.Wait(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				var w wires
				client := clientOf(t, server, w.keeps(1, true))
				if err := client.Warm(t.Context()); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := start(startCtx(t.Context()), client); err != nil {
						t.Fatal(err)
					}
				}
				if got := w.taken(); got != "dialed dialed" {
					t.Error(got)
				}
				w.mustLeaveNothing(t, client)
			})
		})
	}
}

// The pool is filled while the first session runs, also one whose Start waits for
// its end, and not by one that is refused.
func TestThePoolIsFilledWhenTheFirstSessionHasStarted(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		for _, c := range []struct {
			fault string
			dials int // while the session runs
		}{{"delay@on-stop", 4}, {"taskfailed@on-start,code=40000005", 1}} {
			inBubble(t, nlstest.Options{Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
				var w wires
				client := clientOf(t, server, w.keeps(3, false))
				s := p.new(client)
				s.wait = true
				running := -1
				s.on(p.handlers[0], sync.OnceFunc(func() {
					synctest.Wait()
					running, _ = w.count()
				}))
				err := s.run(startCtx(t.Context()))
				<-s.Done()
				synctest.Wait()
				dials, _ := w.count()
				refused := nls.StatusCode(err) == nls.StatusTooManyRequests
				if err != nil && !refused || refused != (c.dials == 1) {
					t.Fatal(err)
				}
				if dials != c.dials || !refused && running != c.dials {
					t.Errorf("%q: %d dials, %d while it ran; want %d", c.fault, dials, running, c.dials)
				}
				w.mustLeaveNothing(t, client)
			})
		}
	})
}

func TestAStreamSynthesizerHasThePoolOfItsGateway(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var w wires
		client := clientOf(t, server, func(cfg *nls.Config) {
			cfg.URL, cfg.Internal = "", true
			gateway := strings.TrimSuffix(strings.TrimPrefix(server.URL, "ws://"), "/ws/v1")
			dial := cfg.NetDialContext
			cfg.NetDialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, gateway) }
		}, w.keeps(2, false))
		if err := client.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		run := func(p string) {
			s := productNamed(p).new(client)
			if err := s.run(startCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			synctest.Wait()
		}
		run("StreamSynthesizer") // opens its own
		run("StreamSynthesizer")
		run("Recognizer")
		if got := w.taken(); got != "dialed warm warm" {
			t.Error(got)
		}
		counts := map[string]int{}
		for _, addr := range w.addrs {
			counts[strings.TrimSuffix(addr, "-internal.aliyuncs.com:80")]++
		}
		want := map[string]int{"nls-gateway-cn-shanghai": 3, "nls-gateway-cn-beijing": 4}
		if fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("dials: %v, want %v", counts, want)
		}
		w.mustLeaveNothing(t, client)
	})
}

// talk keeps a session alive with audio, until so much time has passed.
func talk(t *testing.T, s *subject, until time.Time) {
	for time.Now().Before(until) {
		if err := s.send(); err != nil {
			t.Error(err)
			return
		}
		time.Sleep(min(time.Second, time.Until(until)))
	}
}

// The service drops a connection on which nothing is sent: after 10 s, after 23 s
// with pings. The pool is always sooner.
func TestWarmConnectionsAreReplacedBeforeTheServiceDropsThem(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int64
	opts := nlstest.Options{Engine: nlstest.Script("one"), OnFrame: func(f nlstest.Frame) {
		if f.Sent && strings.Contains(string(f.Payload), "TaskFailed") {
			dropped.Add(1)
		}
	}}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		var w wires
		client := clientOf(t, server, w.keeps(2, false))
		s := newTranscriberSubject(client)
		if err := s.start(startCtx(t.Context())); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		talk(t, s, begin.Add(60*time.Second))
		if err := s.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		var seconds []int
		for _, d := range w.dials {
			seconds = append(seconds, int(d/time.Second))
		}
		if want := []int{0, 0, 0, 18, 18, 36, 36, 54, 54}; !slices.Equal(seconds, want) {
			t.Errorf("dials after %v s, want %v", seconds, want)
		}
		if n := server.Stats().Pings; n < 2*2*3 {
			t.Errorf("%d pings", n)
		}

		// After the last session they are there for 18 s of their lives.
		time.Sleep(time.Until(begin.Add(54*time.Second + 17900*time.Millisecond)))
		s = newTranscriberSubject(client)
		if err := s.start(startCtx(t.Context())); err != nil {
			t.Fatal(err)
		}
		s.Shutdown()
		<-s.Done()
		synctest.Wait()
		if got := w.taken(); got != "dialed warm" {
			t.Error(got)
		}
		before, _ := w.count()
		time.Sleep(18*time.Second - 1)
		if _, open := w.count(); open == 0 {
			t.Error("they are gone too early")
		}
		time.Sleep(2 * time.Second) // with the goodbye
		synctest.Wait()
		dials, open := w.count()
		if n, stacks := goroutinesOfSessions(); n != 0 || open != 0 || dials != before {
			t.Errorf("%d connections, %d more dials, %d goroutines left:\n%s", open, dials-before, n, stacks)
		}
		if dropped.Load() > 0 {
			t.Errorf("%d connections were dropped", dropped.Load())
		}
	})
}

func TestCloseIdleConnectionsLeavesSessionsAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Engine: nlstest.Script("one")}, func(t *testing.T, server *nlstest.Server) {
		var w wires
		client := clientOf(t, server, w.keeps(3, true))
		for range 2 {
			s := newTranscriberSubject(client)
			if err := s.start(startCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if _, open := w.count(); open != 4 {
				t.Errorf("%d connections", open)
			}
			client.CloseIdleConnections()
			client.CloseIdleConnections()
			talk(t, s, time.Now().Add(40*time.Second))
			if _, open := w.count(); open != 1 {
				t.Errorf("%d connections after CloseIdleConnections", open)
			}
			if err := s.stop(t.Context()); err != nil {
				t.Error(err)
			}
			w.mustLeaveNothing(t, client)
		}
		if got := w.taken(); got != "dialed dialed" {
			t.Error(got)
		}
	})
}

// rotating is a source of tokens that can be replaced.
type rotating struct {
	mu     sync.Mutex
	tokens []string // the first is the current one
	asked  int      // Invalidate
}

func (r *rotating) Token(context.Context) (*nls.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &nls.Token{Value: r.tokens[0]}, nil
}

func (r *rotating) Invalidate(t *nls.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if t.Value == r.tokens[0] && len(r.tokens) > 1 {
		r.tokens = r.tokens[1:]
	}
}

func (r *rotating) rotate() { r.Invalidate(&nls.Token{Value: r.tokens[0]}) }

func TestNoSessionStartsOnAConnectionOfATokenThatWasReplaced(t *testing.T) {
	t.Parallel()
	opts := nlstest.Options{ReplyDelay: time.Millisecond, Tokens: map[string]string{"one": "a", "two": "a"}, AppKeys: map[string]string{"key": "a"}}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		var w wires
		tokens := &rotating{tokens: []string{"one", "two"}}
		client := clientOf(t, server, withSource(tokens), w.keeps(2, true))
		for i := range 4 {
			s := newTranscriberSubject(client)
			if err := s.run(startCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			synctest.Wait()
			if i == 1 {
				tokens.rotate()
			}
		}
		if got := w.taken(); got != "dialed reused dialed reused" {
			t.Error(got)
		}
		if _, open := w.count(); open != 3 {
			t.Errorf("%d connections", open)
		}
		w.mustLeaveNothing(t, client)
	})
}

func TestAGatewayThatIsDownForThePoolIsNoErrorOfStart(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var w wires
		log := &logbook{}
		client := clientOf(t, server, w.keeps(3, false), func(cfg *nls.Config) { cfg.Logger = slog.New(log) })
		w.down.Store(true)
		begin := time.Now()
		starts := 0
		for time.Since(begin) < 70*time.Second {
			if err := newRecognizerSubject(client).run(startCtx(t.Context())); err != nil {
				t.Fatal(err)
			}
			starts++
			time.Sleep(700 * time.Millisecond)
		}
		dials, _ := w.count()
		var warned []time.Duration
		for _, at := range log.warned("no warm connection") {
			warned = append(warned, at.Sub(begin).Round(time.Second))
		}
		// The pause ends with a session only, and there is one every 0.7 s.
		if len(warned) < 6 || len(warned) > 8 || dials != starts+3*len(warned) {
			t.Errorf("%d dials for %d sessions; warned after %v", dials, starts, warned)
		}
		for i := 1; i < len(warned); i++ {
			if pause, want := warned[i]-warned[i-1], min(time.Second<<(i-1), 30*time.Second); pause < want || pause > want+2*time.Second {
				t.Errorf("pause %d is %v, want %v", i, pause, want)
			}
		}
		w.mustLeaveNothing(t, client)
	})
}

func TestWarmSaysWhatStartWouldSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault string
		cfg   func(*nls.Config)
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		want  func(error) bool
		took  time.Duration
		dials int
	}{
		{name: "nothing wrong", want: func(err error) bool { return err == nil }, dials: 2},
		{name: "no warm connections", cfg: func(cfg *nls.Config) { cfg.WarmConnections = 0 }, want: func(err error) bool { return err == nil }},
		{name: "refused", fault: "refuse@handshake,code=503,text=busy", want: handshake(503), dials: 2},
		{name: "no token", cfg: withSource(nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) { return nil, errNobody })),
			want: func(err error) bool { return errors.Is(err, errNobody) }},
		{name: "the token is refused", cfg: func(cfg *nls.Config) { withToken(cfg); cfg.Token = "other" }, dials: 2,
			want: func(err error) bool { return errors.Is(err, nls.ErrAccessDenied) }},
		{name: "the token is refused, and there is another", cfg: withSource(&rotating{tokens: []string{"other", "one"}}), dials: -1, // one may see that the other was refused
			want: func(err error) bool { return err == nil }},
		{name: "no answer", fault: "hang@handshake", want: func(err error) bool { return errors.Is(err, nls.ErrStartTimeout) }, took: nls.DefaultStartTimeout, dials: 2},
		{name: "its time is over", fault: "hang@handshake", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, want: func(err error) bool { return errors.Is(err, nls.ErrStartTimeout) }, took: time.Second, dials: 2},
		{name: "cancelled", fault: "hang@handshake", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, want: func(err error) bool { return errors.Is(err, context.Canceled) }, took: time.Second, dials: 2},
		{name: "cut in the handshake", fault: "eof@handshake", want: func(err error) bool { return err != nil && nls.Retryable(err) }, dials: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := nlstest.Options{Fault: faultAlways(c.fault), Tokens: map[string]string{"one": "a"}, AppKeys: map[string]string{"key": "a"}}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				var w wires
				client := clientOf(t, server, w.keeps(2, false), func(cfg *nls.Config) {
					if c.cfg != nil {
						c.cfg(cfg)
					}
				})
				ctx := t.Context()
				if c.ctx != nil {
					var cancel context.CancelFunc
					ctx, cancel = c.ctx(ctx)
					defer cancel()
				}
				begin := time.Now()
				err := client.Warm(ctx)
				if took := time.Since(begin); !c.want(err) || took != c.took {
					t.Errorf("Warm = %v after %v", err, took)
				}
				synctest.Wait()
				if dials, _ := w.count(); dials != c.dials && c.dials >= 0 {
					t.Errorf("%d dials", dials)
				}
				w.mustLeaveNothing(t, client)
			})
		})
	}
	var zero nls.Client
	if _, ok := errors.AsType[*nls.ParamError](zero.Warm(t.Context())); !ok {
		t.Error("Warm of a zero Client")
	}
	zero.CloseIdleConnections()
}

var errNobody = errors.New("nobody has a token")

func handshake(status int) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*nls.HandshakeError](err)
		return ok && e.HTTPStatus == status
	}
}

func TestWarmTwiceAndAtTheSameTimeOpensThemOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var w wires
		client := clientOf(t, server, w.keeps(3, false))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := client.Warm(t.Context()); err != nil {
					t.Error(err)
				}
				if _, open := w.count(); open != 3 {
					t.Errorf("Warm returned with %d connections", open)
				}
			})
		}
		wg.Wait()
		if err := client.Warm(t.Context()); err != nil {
			t.Error(err)
		}
		if dials, open := w.count(); dials != 3 || open != 3 {
			t.Errorf("%d dials, %d connections", dials, open)
		}
		w.mustLeaveNothing(t, client)
	})
}

func TestCloseIdleConnectionsEndsWarmAndTheDials(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Fault: faultAlways("hang@handshake")}, func(t *testing.T, server *nlstest.Server) {
		var w wires
		client := clientOf(t, server, w.keeps(2, false))
		warm := goCall(func() error { return client.Warm(t.Context()) })
		time.Sleep(time.Second)
		synctest.Wait()
		client.CloseIdleConnections()
		if err := warm.within(t, "Warm", 2*time.Second); !errors.Is(err, nls.ErrShutdown) {
			t.Errorf("Warm = %v", err)
		}
		w.mustLeaveNothing(t, client)
	})
}
