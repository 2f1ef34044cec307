package session_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var transcription = session.Spec{
	Namespace: "SpeechTranscriber",
	Start:     "StartTranscription",
	Started:   []string{"TranscriptionStarted"},
	Final:     []string{"TranscriptionCompleted"},
	Stop:      "StopTranscription",
}

// fixture is a session on a gateway over in-memory connections, in a synctest
// bubble.
type fixture struct {
	t      *testing.T
	server *nlstest.Server
	cfg    *session.Config
	params session.Params
	s      session.Session

	mu   sync.Mutex
	seen []string                           // what was delivered
	on   map[string]func(*session.Delivery) // callbacks by event name, "data", "failed", "closed", "open"

	// With a scripted peer.
	pongs bool         // it answers pings
	late  atomic.Int64 // writes to a connection that the session has closed
}

func newFixture(t *testing.T, opts nlstest.Options) *fixture {
	f := &fixture{t: t, on: map[string]func(*session.Delivery){}}
	opts.Pipe = true
	opts.ReplyDelay = cmp.Or(opts.ReplyDelay, -1) // what a test measures is the session
	if opts.Engine == nil {
		opts.Engine = nlstest.Script("one", "two")
	}
	f.server = nlstest.NewServer(opts)
	t.Cleanup(func() {
		f.s.Task().Shutdown()
		<-f.s.Task().Done()
		f.server.Close()
	})
	c := f.server.Config()
	f.cfg = &session.Config{
		AppKey: c.AppKey, WriteTimeout: 10 * time.Second, MaxPending: 8 << 20,
		TLSConfig: c.TLSConfig, NetDialContext: c.NetDialContext,
		Log:        discard,
		Token:      func(context.Context, *session.Asker) (string, error) { return c.Token, nil },
		Invalidate: func(string) bool { return false },
		Explain:    func(_ string, err error) error { return err },
	}
	f.params = session.Params{
		Spec: transcription, URL: session.NewSecret(c.URL), Payload: map[string]any{},
		StartTimeout: 10 * time.Second, StopTimeout: 10 * time.Second, Deliver: f.deliver,
	}
	return f
}

func (f *fixture) deliver(d *session.Delivery) {
	name := map[session.Kind]string{
		session.KindOpen: "open", session.KindData: "data", session.KindFailed: "failed", session.KindClosed: "closed",
	}[d.Kind]
	if d.Kind == session.KindEvent {
		name = d.Event.Name
	}
	f.mu.Lock()
	f.seen = append(f.seen, name)
	on := f.on[name]
	f.mu.Unlock()
	if on != nil {
		on(d)
	}
}

func (f *fixture) deliveries() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.seen, " ")
}

func (f *fixture) start() error { return f.s.Start(f.t.Context(), f.cfg, f.params) }

func (f *fixture) mustStart() {
	f.t.Helper()
	if err := f.start(); err != nil {
		f.t.Fatal("Start: ", err)
	}
}

// wrap puts wrapper around each connection of the client.
func (f *fixture) wrap(wrapper func(net.Conn) net.Conn) {
	dial := f.cfg.NetDialContext
	f.cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return wrapper(conn), nil
	}
}

// fault makes every connection of a gateway behave so.
func fault(name string) func(*http.Request) *nlstest.Fault {
	fault, err := nlstest.ParseFault(name)
	if err != nil {
		panic(err)
	}
	return func(*http.Request) *nlstest.Fault { return fault }
}

// running is a call that may not return.
type running struct {
	done chan struct{}
	err  error
}

func goCall(f func() error) *running {
	r := &running{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = f()
	}()
	return r
}

func (r *running) String() string {
	select {
	case <-r.done:
		return fmt.Sprint(r.err)
	default:
		return "waits"
	}
}

// The states of design §4, each brought about with the real gateway. A state's
// function returns when the session is in it; release lets it leave.
var states = []struct {
	name  string
	fault string
	enter func(f *fixture) (release func())
}{
	{"never started", "", func(*fixture) func() { return func() {} }},
	{"starting", "hang@on-start", func(f *fixture) func() {
		start := goCall(f.start)
		synctest.Wait()
		return func() { <-start.done }
	}},
	{"started", "", func(f *fixture) func() {
		f.mustStart()
		return func() {}
	}},
	{"stopping", "hang@on-stop", func(f *fixture) func() {
		f.mustStart()
		stop := goCall(func() error { return f.s.Task().Stop(context.Background()) })
		synctest.Wait()
		return func() { <-stop.done }
	}},
	{"closing after completion", "", func(f *fixture) func() {
		return enterClosing(f, func() error { return f.s.Task().Stop(context.Background()) })
	}},
	{"closing after a failure", "taskfailed@on-stop,code=50000000,text=boom", func(f *fixture) func() {
		return enterClosing(f, func() error { return f.s.Task().Stop(context.Background()) })
	}},
	{"ended after completion", "", func(f *fixture) func() {
		f.mustStart()
		if err := f.s.Task().Stop(context.Background()); err != nil {
			f.t.Fatal(err)
		}
		return func() {}
	}},
	{"ended after a failure", "taskfailed@on-stop,code=50000000,text=boom", func(f *fixture) func() {
		f.mustStart()
		if err := f.s.Task().Stop(context.Background()); err == nil {
			f.t.Fatal("no failure")
		}
		return func() {}
	}},
	{"ended by a failed Start", "refuse@handshake,code=503,text=busy", func(f *fixture) func() {
		if err := f.start(); err == nil {
			f.t.Fatal("no failure")
		}
		return func() {}
	}},
}

// enterClosing ends the session while OnClose does not return.
func enterClosing(f *fixture, end func() error) func() {
	stuck := make(chan struct{})
	f.on["closed"] = func(*session.Delivery) { <-stuck }
	f.mustStart()
	call := goCall(end)
	synctest.Wait()
	return func() {
		close(stuck)
		f.mu.Lock()
		delete(f.on, "closed")
		f.mu.Unlock()
		<-call.done
	}
}

func TestEachCallInEachState(t *testing.T) {
	const (
		nothing = "<nil>"
		waits   = "waits"
		boom    = "task failed: boom"
		refused = "handshake refused: HTTP 503"
	)
	isErr := func(err error) string { return err.Error() }
	calls := []struct {
		name string
		call func(f *fixture) func() error
		want []string // in the order of states
	}{
		{"Start", func(f *fixture) func() error { return f.start }, []string{
			nothing, isErr(session.ErrAlreadyStarted), isErr(session.ErrAlreadyStarted), isErr(session.ErrAlreadyStarted),
			waits, waits, nothing, nothing, refused}},
		{"SendBinary", func(f *fixture) func() error { return func() error { return f.s.Task().SendBinary([]byte{1, 2}) } }, []string{
			isErr(session.ErrNotStarted), isErr(session.ErrNotStarted), nothing, isErr(session.ErrStopping),
			isErr(session.ErrCompleted), boom, isErr(session.ErrCompleted), boom, refused}},
		{"Send", func(f *fixture) func() error {
			return func() error { return f.s.Task().Send("ControlTranscriber", nil, map[string]any{}) }
		}, []string{
			isErr(session.ErrNotStarted), isErr(session.ErrNotStarted), nothing, isErr(session.ErrStopping),
			isErr(session.ErrCompleted), boom, isErr(session.ErrCompleted), boom, refused}},
		{"Stop", func(f *fixture) func() error { return func() error { return f.s.Task().Stop(f.t.Context()) } }, []string{
			isErr(session.ErrNotStarted), isErr(session.ErrNotStarted), nothing, waits, waits, waits, nothing, boom, refused}},
		{"Wait", func(f *fixture) func() error { return func() error { return f.s.Task().Wait(f.t.Context()) } }, []string{
			isErr(session.ErrNotStarted), waits, waits, waits, waits, waits, nothing, boom, refused}},
		{"Shutdown", func(f *fixture) func() error { return func() error { f.s.Task().Shutdown(); return f.s.Task().Err() } }, []string{
			nothing, isErr(session.ErrShutdown), isErr(session.ErrShutdown), isErr(session.ErrShutdown),
			nothing, boom, nothing, boom, refused}},
		{"Done", func(f *fixture) func() error { return func() error { <-f.s.Task().Done(); return nil } }, []string{
			nothing, waits, waits, waits, waits, waits, nothing, nothing, nothing}},
		{"Err", func(f *fixture) func() error { return func() error { return f.s.Task().Err() } }, []string{
			nothing, nothing, nothing, nothing, nothing, boom, nothing, boom, refused}},
		{"TaskID", func(f *fixture) func() error {
			return func() error {
				if id := f.s.Task().TaskID(); id == "" || len(id) == 32 {
					return errors.New(id[:min(len(id), 1)])
				}
				return errors.New("bad id")
			}
		}, nil},
	}
	for _, c := range calls {
		for i, state := range states {
			t.Run(c.name+"/"+state.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := nlstest.Options{}
					if state.fault != "" {
						opts.Fault = fault(state.fault)
					}
					f := newFixture(t, opts)
					release := state.enter(f)
					got := goCall(c.call(f))
					synctest.Wait()
					if c.want == nil { // TaskID
						if id := f.s.Task().TaskID(); (id == "") != (state.name == "never started") || got.err.Error() == "bad id" {
							t.Errorf("TaskID = %q", id)
						}
					} else if got.String() != c.want[i] {
						t.Errorf("%s: got %s, want %s", c.name, got, c.want[i])
					}
					f.s.Task().Shutdown()
					release()
					<-got.done
					f.s.Task().Shutdown() // a Start that waited has begun another session
				})
			})
		}
	}
}

// What a callback may call, in each callback.
func TestEachCallInEachCallback(t *testing.T) {
	type results struct{ send, err, done string }
	observe := func(f *fixture) results {
		r := results{send: fmt.Sprint(f.s.Task().SendBinary([]byte{1, 2})), err: fmt.Sprint(f.s.Task().Err()), done: "open"}
		select {
		case <-f.s.Task().Done():
			r.done = "closed"
		default:
		}
		if len(f.s.Task().TaskID()) != 32 {
			f.t.Errorf("TaskID = %q", f.s.Task().TaskID())
		}
		return r
	}
	completed, boom := session.ErrCompleted.Error(), "task failed: boom"
	for _, c := range []struct {
		callback, fault string
		want            results
		shutdown        string // deliveries when the callback calls Shutdown
		err             string // Err then
	}{
		{"TranscriptionStarted", "", results{"<nil>", "<nil>", "open"},
			"TranscriptionStarted closed", session.ErrShutdown.Error()},
		{"SentenceBegin", "", results{"<nil>", "<nil>", "open"},
			"TranscriptionStarted SentenceBegin closed", session.ErrShutdown.Error()},
		{"TranscriptionCompleted", "", results{completed, "<nil>", "open"},
			"TranscriptionStarted SentenceBegin SentenceEnd TranscriptionCompleted closed", "<nil>"},
		{"TaskFailed", "taskfailed@on-stop,code=50000000,text=boom", results{boom, boom, "open"},
			"TranscriptionStarted SentenceBegin TaskFailed closed", boom},
		{"failed", "taskfailed@on-stop,code=50000000,text=boom", results{boom, boom, "open"},
			"TranscriptionStarted SentenceBegin TaskFailed failed closed", boom},
		{"closed", "", results{completed, "<nil>", "open"},
			"TranscriptionStarted SentenceBegin SentenceEnd TranscriptionCompleted closed", "<nil>"},
	} {
		run := func(name string, do func(f *fixture), check func(f *fixture)) {
			t.Run(c.callback+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := nlstest.Options{}
					if c.fault != "" {
						opts.Fault = fault(c.fault)
					}
					f := newFixture(t, opts)
					called := false
					f.on[c.callback] = func(*session.Delivery) {
						called = true
						do(f)
					}
					if f.start() == nil {
						_ = f.s.Task().SendBinary(loud(500 * time.Millisecond))
						synctest.Wait() // the sentence has begun
						_ = f.s.Task().Stop(t.Context())
					}
					<-f.s.Task().Done()
					if !called {
						t.Fatalf("no %s in %s", c.callback, f.deliveries())
					}
					check(f)
				})
			})
		}
		var got results
		run("observe", func(f *fixture) { got = observe(f) }, func(f *fixture) {
			if got != c.want {
				f.t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
		run("Shutdown", func(f *fixture) { f.s.Task().Shutdown(); f.s.Task().Shutdown() }, func(f *fixture) {
			if got := f.deliveries(); got != c.shutdown {
				f.t.Errorf("delivered %s\nwant      %s", got, c.shutdown)
			}
			if got := fmt.Sprint(f.s.Task().Err()); got != c.err {
				f.t.Errorf("Err = %s, want %s", got, c.err)
			}
		})
	}
}

// loud is a sound: 16-bit mono at 16 kHz.
func loud(d time.Duration) []byte {
	b := make([]byte, int(d/time.Millisecond)*32)
	for i := 0; i < len(b); i += 2 {
		if i/80%2 == 0 {
			b[i+1] = 0x30
		} else {
			b[i+1] = 0xD0
		}
	}
	return b
}

func TestStopInACallbackEndsAtItsTimeoutAndIsHintedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		var log lockedBuffer
		f.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		var err error
		var took time.Duration
		f.on["SentenceBegin"] = func(*session.Delivery) {
			begin := time.Now()
			err = f.s.Task().Stop(t.Context())
			took = time.Since(begin)
		}
		f.mustStart()
		if err := f.s.Task().SendBinary(loud(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		<-f.s.Task().Done()
		if !errors.Is(err, session.ErrStopTimeout) || took != 10*time.Second {
			t.Errorf("Stop = %v after %v", err, took)
		}
		if !strings.Contains(log.String(), "nls: Stop waits for a callback that has not returned") {
			t.Errorf("log: %s", &log)
		}
	})
}

func TestDeadlinesHoldWhenACallbackIsStuck(t *testing.T) {
	for _, c := range []struct {
		name, fault, stuck string
		call               func(f *fixture) error
		want               error
		after              time.Duration
	}{
		{"Start, stuck in OnStart", "", "TranscriptionStarted", (*fixture).start, session.ErrStartTimeout, 10 * time.Second},
		{"Start, no answer, stuck in OnError", "hang@on-start", "failed", (*fixture).start, session.ErrStartTimeout, 11 * time.Second},
		{"Start, stuck in OnClose", "taskfailed@on-start,code=50000000,text=boom", "closed", (*fixture).start, nil, 10 * time.Second},
		{"Stop, stuck in a result", "", "SentenceBegin", nil, session.ErrStopTimeout, 10 * time.Second},
		{"Stop, stuck in OnCompleted", "", "TranscriptionCompleted", nil, session.ErrStopTimeout, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1}
				if c.fault != "" {
					opts.Fault = fault(c.fault)
				}
				f := newFixture(t, opts)
				release := make(chan struct{})
				f.on[c.stuck] = func(*session.Delivery) { <-release }
				call := c.call
				if call == nil {
					f.mustStart()
					if err := f.s.Task().SendBinary(loud(time.Second)); err != nil {
						t.Fatal(err)
					}
					call = func(f *fixture) error { return f.s.Task().Stop(t.Context()) }
				}
				begin := time.Now()
				err := call(f)
				if took := time.Since(begin); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
				if c.want != nil && !errors.Is(err, c.want) || err == nil {
					t.Errorf("got %v, want %v", err, c.want)
				}
				select {
				case <-f.s.Task().Done():
					t.Error("Done is closed before the callback has returned")
				default:
				}
				close(release)
				<-f.s.Task().Done()
				if got := f.deliveries(); !strings.HasSuffix(got, "closed") || strings.Count(got, "closed") != 1 {
					t.Errorf("delivered %s", got)
				}
			})
		})
	}
}

// lockedBuffer is a bytes.Buffer that a test may read while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// sessionGoroutines counts the goroutines that package session has made.
func sessionGoroutines() (n int, stacks string) {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	var ours []string
	for _, g := range strings.Split(b.String(), "\n\n") {
		if i := strings.LastIndex(g, "created by "); i >= 0 && strings.Contains(g[i:], "internal/session.(*") {
			ours = append(ours, g)
		}
	}
	return len(ours), strings.Join(ours, "\n\n")
}

func TestAnIdleSessionHasOneGoroutineAndAnEndedOneNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{IdleTimeout: -1})
		f.params.PingInterval = 8 * time.Second
		f.mustStart()
		synctest.Wait()
		if n, stacks := sessionGoroutines(); n != 1 {
			t.Errorf("%d goroutines:\n%s", n, stacks)
		}
		if err := f.s.Task().Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n, stacks := sessionGoroutines(); n != 0 {
			t.Errorf("%d goroutines after Done:\n%s", n, stacks)
		}
	})
}

func TestASlowCallbackDoesNotBreakPings(t *testing.T) {
	// The queue is small and full, so the reader is paused and sees no pong for
	// a minute; that must not count as the peer's silence.
	for _, maxPending := range []int{1, 16 << 10, 8 << 20} {
		t.Run(fmt.Sprint(maxPending), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nlstest.Options{IdleTimeout: -1})
				f.cfg.MaxPending = maxPending
				f.params.PingInterval, f.params.PingTimeout = 8*time.Second, 5*time.Second
				f.params.Payload = map[string]any{"enable_intermediate_result": true}
				slow := true
				f.on["TranscriptionResultChanged"] = func(*session.Delivery) {
					if slow {
						slow = false
						time.Sleep(time.Minute)
					}
				}
				f.mustStart()
				for range 60 {
					if err := f.s.Task().SendBinary(loud(time.Second)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if err := f.s.Task().Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
				if slow {
					t.Error("the slow callback was never called")
				}
				if f.server.Stats().Pings < 5 {
					t.Errorf("%d pings", f.server.Stats().Pings)
				}
			})
		})
	}
}

func TestPingTimeoutEndsTheSessionAtIntervalPlusTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{IdleTimeout: -1, Fault: fault("nopong@before-start")})
		f.params.PingInterval, f.params.PingTimeout = 8*time.Second, 5*time.Second
		f.mustStart()
		begin := time.Now()
		<-f.s.Task().Done()
		if took := time.Since(begin); took != 13*time.Second {
			t.Errorf("after %v", took)
		}
		if !errors.Is(f.s.Task().Err(), session.ErrPingTimeout) {
			t.Error(f.s.Task().Err())
		}
	})
}

func TestAnsweredPingsKeepTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{IdleTimeout: -1})
		f.params.PingInterval, f.params.PingTimeout = 8*time.Second, 5*time.Second
		f.mustStart()
		time.Sleep(8*time.Second*100 + time.Second)
		if err := f.s.Task().Err(); err != nil {
			t.Error(err)
		}
		if got := f.server.Stats().Pings; got != 100 {
			t.Errorf("%d pings in 800 s", got)
		}
	})
}

func TestBlockedSendersReturnAtTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{IdleTimeout: -1, Fault: fault("stopreading@after-start")})
		f.mustStart()
		begin := time.Now()
		var calls []*running
		for range 3 {
			calls = append(calls, goCall(func() error {
				for {
					if err := f.s.Task().SendBinary(make([]byte, 16<<10)); err != nil {
						return err
					}
				}
			}))
		}
		for _, c := range calls {
			<-c.done
			if !errors.Is(c.err, session.ErrWriteTimeout) || time.Since(begin) != 10*time.Second {
				t.Errorf("%v after %v", c.err, time.Since(begin))
			}
		}
		<-f.s.Task().Done()
		if got := f.deliveries(); got != "TranscriptionStarted failed closed" {
			t.Errorf("delivered %s", got)
		}
	})
}

func TestShutdownFreesABlockedSenderAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{IdleTimeout: -1, TLS: true, Fault: fault("stopreading@after-start")})
		f.mustStart()
		call := goCall(func() error {
			for {
				if err := f.s.Task().SendBinary(make([]byte, 16<<10)); err != nil {
					return err
				}
			}
		})
		time.Sleep(time.Second)
		begin := time.Now()
		f.s.Task().Shutdown()
		<-call.done
		<-f.s.Task().Done()
		if time.Since(begin) != 0 || !errors.Is(call.err, session.ErrShutdown) {
			t.Errorf("%v after %v", call.err, time.Since(begin))
		}
	})
}

func TestFirstCauseWinsAndEverybodyGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{Fault: fault("taskfailed@on-stop,code=50000000,text=boom")})
		var failed, closed error
		f.on["failed"] = func(d *session.Delivery) { failed = d.Err }
		f.on["closed"] = func(d *session.Delivery) { closed = d.Err }
		f.mustStart()
		wait := goCall(func() error { return f.s.Task().Wait(t.Context()) })
		stop2 := goCall(func() error { time.Sleep(time.Millisecond); return f.s.Task().Stop(t.Context()) })
		stop := f.s.Task().Stop(t.Context())
		<-wait.done
		<-stop2.done
		all := []error{failed, closed, stop, stop2.err, wait.err, f.s.Task().Err(), f.s.Task().SendBinary([]byte{1}), f.s.Task().Stop(t.Context())}
		for i, err := range all {
			if err == nil || err != all[0] {
				t.Errorf("number %d got %v, the first %v", i, err, all[0])
			}
		}
	})
}

func TestAStartWhileTheLastSessionClosesWaitsAndThenOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		release := enterClosing(f, func() error { return f.s.Task().Stop(context.Background()) })
		first := f.s.Task().TaskID()
		start := goCall(f.start)
		time.Sleep(3 * time.Second)
		release()
		<-start.done
		if start.err != nil || f.s.Task().TaskID() == first {
			t.Errorf("Start = %v, task %s after %s", start.err, f.s.Task().TaskID(), first)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		release := enterClosing(f, func() error { return f.s.Task().Stop(context.Background()) })
		begin := time.Now()
		if err := f.start(); !errors.Is(err, session.ErrStartTimeout) || time.Since(begin) != 10*time.Second {
			t.Errorf("Start = %v after %v", err, time.Since(begin))
		}
		if err := f.s.Task().Err(); err != nil {
			t.Errorf("Err of the session that completed: %v", err)
		}
		release()
	})
}

func TestOfConcurrentStartsOneWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{ReplyDelay: time.Second})
		var calls []*running
		for range 8 {
			calls = append(calls, goCall(f.start))
		}
		var got []string
		for _, c := range calls {
			<-c.done
			got = append(got, fmt.Sprint(c.err))
		}
		slices.Sort(got)
		want := append([]string{"<nil>"}, slices.Repeat([]string{session.ErrAlreadyStarted.Error()}, 7)...)
		if !slices.Equal(got, want) {
			t.Error(got)
		}
	})
}

func TestSendIsLegalFromOnStartOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		var err error
		f.on["TranscriptionStarted"] = func(*session.Delivery) { err = f.s.Task().SendBinary(loud(time.Second)) }
		f.mustStart()
		if err != nil {
			t.Error(err)
		}
	})
}
