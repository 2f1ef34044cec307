package suite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// One story: whatever Stop, the Start of a synthesis, Wait, Err, OnError, OnClose and
// a second Stop say of a session is the same.

// teller is a product and the call that waits for the end of its session.
type teller struct {
	name   string
	new    func(c *nls.Client) *subject
	wait   bool  // the call is Start
	bound  error // what the SDK's own bound ends a session with; nil if there is none
	leaves bool  // the call leaves the session alone when its context ends
	audio  bool  // it sends
}

var tellers = []teller{
	{"Recognizer.Stop", newRecognizerSubject, false, nls.ErrStopTimeout, false, true},
	{"Transcriber.Stop", newTranscriberSubject, false, nls.ErrStopTimeout, false, true},
	{"StreamSynthesizer.Stop", newStreamSubject, false, nls.ErrStopTimeout, false, false},
	{"Synthesizer.Start", newSynthesizerSubject, true, nls.ErrCompleteTimeout, false, false},
	{"Synthesizer.Start, long text", newLongSynthesizerSubject, true, nls.ErrCompleteTimeout, false, false},
	{"Synthesizer.Wait", newSynthesizerSubject, false, nls.ErrCompleteTimeout, true, false},
	{"CommonProto.Wait", newCommonSubject, false, nil, true, true},
}

func tellerNamed(name string) teller {
	return tellers[slices.IndexFunc(tellers, func(p teller) bool { return p.name == name })]
}

// The times of the table. A slow callback is shorter than the bound, and two are
// longer than any of the times.
const (
	storyBound = 2 * time.Second
	storySlow  = 1500 * time.Millisecond
	storyStuck = 20 * time.Second
	storyAct   = 500 * time.Millisecond // when Shutdown is called, or a context ends
)

// make returns an object, with the bound of the table, that has not been started.
func (w teller) make(t *testing.T, server *nlstest.Server, bound time.Duration, change ...func(*nls.Config)) *subject {
	s := w.new(clientOf(t, server, append(change, func(cfg *nls.Config) { cfg.StopTimeout = bound })...))
	s.wait, s.complete = w.wait, bound
	settle(t, s)
	return s
}

// open starts the session, and sends what there is to send, unless that is part of
// the call that waits for its end.
func (w teller) open(t *testing.T, s *subject) {
	t.Helper()
	if w.wait {
		return
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal("Start: ", err)
	}
	if s.send != nil {
		if err := s.send(); err != nil {
			t.Fatal("Send: ", err)
		}
	}
}

// end is the call that waits for the end.
func (w teller) end(s *subject) func(context.Context) error {
	if w.wait {
		return s.start
	}
	return s.stop
}

// onResults makes each handler of a result do f.
func (s *subject) onResults(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = map[string]func(){}
	for _, handler := range []string{"OnResultChanged", "OnSentenceBegin", "OnSentenceEnd", "OnSentenceSynthesis", "OnMetaInfo",
		"OnData", "OnCompleted", "RecognitionResultChanged", "RecognitionCompleted", "TaskFailed"} {
		s.hooks[handler] = f
	}
}

func (s *subject) callsSoFar() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// completedCalls counts the calls of the handler for the final result.
func completedCalls(calls []string) (n int) {
	for _, c := range calls {
		if c == "OnCompleted" || c == "RecognitionCompleted" {
			n++
		}
	}
	return n
}

// mustTellOneStory waits for the end of the session of s, of which calls have said
// what is in said, and checks that everybody says the same.
func (s *subject) mustTellOneStory(t *testing.T, said map[string]error) error {
	t.Helper()
	mustBeDone(t, s)
	err := s.Err()
	for who, got := range said {
		if got != err {
			t.Errorf("%s says %v, Err says %v", who, got, err)
		}
	}
	if got := s.stop(context.Background()); got != err {
		t.Errorf("a second Stop or Wait says %v, Err says %v", got, err)
	}
	calls := s.callsSoFar()
	if len(s.closes) != 1 || calls[len(calls)-1] != "OnClose" {
		t.Errorf("called %s", calls)
	}
	for _, e := range s.closes {
		if e.Err != err {
			t.Errorf("OnClose says %v, Err says %v", e.Err, err)
		}
	}
	failures := 1
	if err == nil || errors.Is(err, nls.ErrShutdown) {
		failures = 0
	}
	if len(s.errs) != failures {
		t.Errorf("OnError was called %d times for %v", len(s.errs), err)
	}
	for _, e := range s.errs {
		if e.Err != err {
			t.Errorf("OnError says %v, Err says %v", e.Err, err)
		}
	}
	if n := completedCalls(calls); err == nil && n != 1 {
		t.Errorf("success, and OnCompleted was called %d times: %s", n, calls)
	}
	return err
}

// mustHaveCalledNoMore checks that after the first n callbacks, those that had
// started when call returned, none started but OnError and OnClose.
func (s *subject) mustHaveCalledNoMore(t *testing.T, n int, call string) {
	t.Helper()
	more := s.callsSoFar()[n:]
	if slices.ContainsFunc(more, func(handler string) bool { return handler != "OnError" && handler != "OnClose" }) {
		t.Errorf("called %s after %s had returned", more, call)
	}
}

// kindOf is how the table calls the outcome err of a session with the bound timeout.
func kindOf(err, timeout error) string {
	switch {
	case err == nil:
		return "nil"
	case errors.Is(err, nls.ErrShutdown):
		return "Shutdown"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case timeout != nil && errors.Is(err, timeout) && errors.Is(err, context.DeadlineExceeded):
		return "bound"
	case errors.Is(err, nls.ErrPingTimeout):
		return "ping"
	case errors.Is(err, nls.ErrWriteTimeout):
		return "write"
	case errors.Is(err, nls.ErrAccessDenied):
		return "denied"
	case nls.StatusCode(err) >= 0:
		return "TaskFailed"
	case strings.HasPrefix(describe(err), "*CloseError"):
		return "closed"
	}
	return fmt.Sprintf("%v", err)
}

// The table: each way to end a session, while no callback, slow callbacks or a stuck
// callback hold up the others. The outcomes are those that the rule allows.
var storyEnds = []struct {
	name  string
	fault string // at "%s", late in the session
	act   string // what the caller does after storyAct
	ping  bool

	none, slow, stuck string // outcomes of a session without bound are those without "bound"
}{
	{name: "completed", none: "nil", slow: "nil", stuck: "bound"},
	{name: "TaskFailed", fault: "taskfailed@%s", none: "TaskFailed", slow: "TaskFailed", stuck: "TaskFailed bound"},
	{name: "Close frame", fault: "close@%s,code=1001", none: "closed", slow: "closed", stuck: "closed bound"},
	{name: "reset", fault: "reset@%s", none: "closed", slow: "closed", stuck: "closed bound"},
	{name: "EOF", fault: "eof@%s", none: "closed", slow: "closed", stuck: "closed bound"},
	{name: "Shutdown", fault: "hang@%s", act: "Shutdown", none: "Shutdown", slow: "Shutdown", stuck: "Shutdown"},
	{name: "Shutdown once completed", act: "Shutdown", none: "nil", slow: "nil Shutdown", stuck: "nil Shutdown"},
	{name: "context cancelled", fault: "hang@%s", act: "cancel", none: "cancelled", slow: "cancelled", stuck: "cancelled"},
	{name: "context cancelled once completed", act: "cancel", none: "nil", slow: "cancelled", stuck: "cancelled"},
	{name: "deadline of the context", fault: "hang@%s", act: "deadline", none: "bound", slow: "bound", stuck: "bound"},
	{name: "deadline of the context once completed", act: "deadline", none: "nil", slow: "bound", stuck: "bound"},
	{name: "the bound", fault: "hang@%s", none: "bound", slow: "bound", stuck: "bound"},
	{name: "PingTimeout", fault: "halfopen@%s", ping: true, none: "ping", slow: "ping", stuck: "ping bound"},
}

func TestOneStoryOfEachEnd(t *testing.T) {
	t.Parallel()
	tried := effort.OneIn(3)
	for _, e := range storyEnds {
		for callbacks, want := range map[string]string{"none": e.none, "slow": e.slow, "stuck": e.stuck} {
			for _, w := range tellers {
				if e.act != "" && e.act != "Shutdown" && w.leaves {
					continue
				}
				if w.bound == nil && strings.Contains(e.name, "bound") || !tried() {
					continue
				}
				t.Run(e.name+"/"+callbacks+"/"+w.name, func(t *testing.T) {
					fault := e.fault
					if fault != "" {
						at := "on-stop"
						if strings.HasPrefix(w.name, "Synthesizer") {
							at = "during-events"
						}
						fault = fmt.Sprintf(fault, at)
						if at == "during-events" {
							fault += ",after=2"
						}
					}
					opts := nlstest.Options{IdleTimeout: -1, Fault: faultAlways(fault)}
					gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
						s := w.make(t, server, storyBound)
						if e.ping {
							s.ping, s.pong = 800*time.Millisecond, 400*time.Millisecond
						}
						release := make(chan struct{})
						defer close(release)
						pause := func(d time.Duration) {
							select {
							case <-time.After(d):
							case <-release:
							}
						}
						switch callbacks {
						case "slow":
							s.onResults(func() { pause(storySlow) })
						case "stuck":
							var once sync.Once
							s.onResults(func() { once.Do(func() { pause(storyStuck) }) })
						}
						w.open(t, s)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						switch e.act {
						case "Shutdown":
							time.AfterFunc(storyAct, s.Shutdown)
						case "cancel":
							time.AfterFunc(storyAct, cancel)
						case "deadline":
							var stop context.CancelFunc
							ctx, stop = context.WithTimeout(ctx, storyAct)
							defer stop()
						}
						var after int // callbacks that had started when the call returned
						call := goCall(func() error {
							err := w.end(s)(ctx)
							after = len(s.callsSoFar())
							return err
						})
						said := call.within(t, w.name, patience)

						limit := patience
						if !w.leaves {
							switch {
							case e.act == "cancel" || e.act == "deadline":
								limit = storyAct + time.Second
							case callbacks == "stuck":
								limit = storyBound + time.Second
							}
						}
						if call.took > limit {
							t.Errorf("%s has returned after %v", w.name, call.took)
						}
						err := s.mustTellOneStory(t, map[string]error{w.name: said})
						s.mustHaveCalledNoMore(t, after, w.name)
						if w.bound == nil && want == "bound" {
							want = "nil"
						}
						if got := kindOf(err, w.bound); !slices.Contains(strings.Fields(want), got) {
							t.Errorf("ended with %s (%v), want %s", got, err, want)
						}
						if err != nil && nls.TaskID(err) != s.TaskID() {
							t.Errorf("%v is not of task %s", err, s.TaskID())
						}
					})
				})
			}
		}
	}
}

// A write that times out is an end like any other.
func TestOneStoryOfAWriteTimeout(t *testing.T) {
	t.Parallel()
	for _, callback := range []string{"none", "slow", "stuck"} {
		for _, w := range tellers {
			if !w.audio {
				continue
			}
			t.Run(callback+"/"+w.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Fault: faultAlways("stopreading@during-events")}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					s := w.make(t, server, storyBound, func(cfg *nls.Config) { cfg.WriteTimeout = time.Second })
					release := make(chan struct{})
					defer close(release)
					if d := map[string]time.Duration{"slow": storySlow, "stuck": storyStuck}[callback]; d > 0 {
						s.onResults(func() {
							select {
							case <-time.After(d):
							case <-release:
							}
						})
					}
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					sent := goCall(s.flood).within(t, "SendAudio", patience)
					said := goCall(func() error { return s.stop(t.Context()) }).within(t, w.name, patience)
					err := s.mustTellOneStory(t, map[string]error{"SendAudio": sent, w.name: said})
					if kindOf(err, w.bound) != "write" {
						t.Errorf("ended with %v", err)
					}
				})
			})
		}
	}
}

// OnClose has said how the session ended, so nobody may say anything else, however
// long it takes to return.
func TestOneStoryWhenOnCloseIsStuck(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "taskfailed@on-stop"} {
		for _, w := range tellers {
			if w.leaves || fault != "" && w.wait {
				continue
			}
			t.Run(fault+"/"+w.name, func(t *testing.T) {
				gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(fault)}, func(t *testing.T, server *nlstest.Server) {
					s := w.make(t, server, storyBound)
					s.on("OnClose", func() { time.Sleep(storyStuck) })
					w.open(t, s)
					call := goCall(func() error { return w.end(s)(t.Context()) })
					said := call.within(t, w.name, patience)
					s.mustTellOneStory(t, map[string]error{w.name: said})
				})
			})
		}
	}
}

// The service answers at the very moment at which a bound passes.
func TestOneStoryWhenTheBoundMeetsTheEnd(t *testing.T) {
	t.Parallel()
	const delay = 50 * time.Millisecond
	for _, w := range tellers {
		if w.bound == nil {
			continue
		}
		for _, by := range []string{"the bound", "a deadline", "cancelling", "Shutdown"} {
			if w.leaves && (by == "a deadline" || by == "cancelling") {
				continue
			}
			t.Run(by+"/"+w.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Engine: nlstest.Script("one"), Fault: faultAlways("delay@on-stop,delay=50ms")}
				if strings.HasPrefix(w.name, "Synthesizer") {
					opts.Fault, opts.Engine = faultAlways("delay@during-events,delay=50ms"), longSpeech{nlstest.Loopback(), 1}
				}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					for range effort.Times(50, 10) {
						bound := time.Minute
						if by == "the bound" {
							bound = delay
						}
						s := w.make(t, server, bound)
						w.open(t, s)
						ctx, cancel := context.WithCancel(t.Context())
						switch by {
						case "a deadline":
							ctx, cancel = context.WithTimeout(ctx, delay)
						case "cancelling":
							time.AfterFunc(delay, cancel)
						case "Shutdown":
							time.AfterFunc(delay, s.Shutdown)
						}
						said := goCall(func() error { return w.end(s)(ctx) }).within(t, w.name, patience)
						n := len(s.callsSoFar())
						cancel()
						s.mustTellOneStory(t, map[string]error{w.name: said})
						s.mustHaveCalledNoMore(t, n, w.name)
						if t.Failed() {
							return
						}
					}
				})
			})
		}
	}
}

// longSpeech is an engine whose every text is speech of some length, in pieces of a
// second.
type longSpeech struct {
	nlstest.Engine
	seconds int
}

func (e longSpeech) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	piece := make([]byte, 2*v.SampleRate)
	for range e.seconds {
		if err := emit(piece, nil); err != nil {
			return err
		}
	}
	return nil
}

// A player in real time takes longer than any bound of the SDK, which bounds the
// service: it had said all by then, or could not, since our own queue was full.
func TestSpeechThatIsPlayedInRealTimeCompletes(t *testing.T) {
	t.Parallel()
	const seconds = 70
	for _, name := range []string{"StreamSynthesizer.Stop", "Synthesizer.Start", "Synthesizer.Start, long text", "Synthesizer.Wait"} {
		for queue, pending := range map[string]int{"all waits in the queue": 0, "the queue is full": 64 << 10} {
			for bound, timeout := range map[string]time.Duration{"default": 0, "20 s": 20 * time.Second} {
				t.Run(name+"/"+queue+"/"+bound, func(t *testing.T) {
					opts := nlstest.Options{IdleTimeout: -1, Engine: longSpeech{nlstest.Loopback(), seconds}}
					gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
						w := tellerNamed(name)
						s := w.make(t, server, timeout, func(cfg *nls.Config) { cfg.MaxPendingBytes = pending })
						played := 0
						s.on("OnData", func() {
							n := len(s.audio)
							time.Sleep(time.Duration(n) * time.Second / 32000)
							played += n
							s.audio = nil
						})
						w.open(t, s)
						said := goCall(func() error { return w.end(s)(t.Context()) }).within(t, name, patience)
						if err := s.mustTellOneStory(t, map[string]error{name: said}); err != nil {
							t.Errorf("ended with %v", err)
						}
						if played != seconds*32000 {
							t.Errorf("%.1f s were played", float64(played)/32000)
						}
					})
				})
			}
		}
	}
}

// While our own queue is full the bounds of the SDK stand still, and afterwards they
// go on: a service that then says nothing is not waited for for ever.
func TestBoundsStandStillWhileTheQueueIsFull(t *testing.T) {
	const (
		bound = 10 * time.Second
		stall = 8 * time.Second // of one callback
	)
	for _, name := range []string{"StreamSynthesizer", "Synthesizer"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				audio := make([]byte, 4<<10)
				g := newPeers(t, func(p *peer) {
					if name == "StreamSynthesizer" {
						p.event("SynthesisStarted", 20000000, "")
						p.saw(isDirective("StopSynthesis"))
					}
					for range 5 {
						p.frame(0x82, audio)
					}
				})
				var heard error
				client := g.client(func(cfg *nls.Config) { cfg.MaxPendingBytes = 4 << 10 })
				onData := func(nls.AudioEvent) { time.Sleep(stall) }
				onError := func(e *nls.ErrorEvent) { heard = e.Err }
				var call *running
				var want error
				var o object
				if name == "StreamSynthesizer" {
					tts := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{OnData: onData, OnError: onError})
					if err := tts.Start(t.Context(), nls.StreamSynthesisParams{CompleteTimeout: bound}); err != nil {
						t.Fatal(err)
					}
					o = tts
					call, want = goCall(func() error { return tts.Stop(t.Context()) }), nls.ErrStopTimeout
				} else {
					tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnData: onData, OnError: onError})
					o = tts
					call, want = goCall(func() error {
						return tts.Start(t.Context(), nls.SynthesisParams{Text: spoken, CompleteTimeout: bound})
					}), nls.ErrCompleteTimeout
				}
				settle(t, o)
				said := call.within(t, name, patience)
				mustBeDone(t, o)
				// The queue is full while the first four of five callbacks run, or three if the
				// running one does not count.
				if !errors.Is(said, want) || heard != said || o.Err() != said || call.took < 3*stall+bound || call.took > 6*stall+bound {
					t.Errorf("said %v after %v, OnError %v, Err %v; want %v", said, call.took, heard, o.Err(), want)
				}
			})
		})
	}
}

// In the table a stuck callback is one that ran before the end. Here it is any, and
// the bound is longer and shorter than it.
func TestACallbackIsStuckWhenItAloneTakesLongerThanTheBound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		callback, bound time.Duration
		stuck           bool
	}{
		{400 * time.Millisecond, 300 * time.Millisecond, true},
		{200 * time.Millisecond, 300 * time.Millisecond, false},
		{9 * time.Second, 10 * time.Second, false},
		{11 * time.Second, 10 * time.Second, true},
	} {
		for _, w := range tellers {
			if w.bound == nil || w.leaves {
				continue
			}
			for _, which := range []string{"each", "OnCompleted"} {
				t.Run(fmt.Sprintf("%v of %v/%s/%s", c.callback, c.bound, which, w.name), func(t *testing.T) {
					gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
						s := w.make(t, server, c.bound)
						sleep := func() { time.Sleep(c.callback) }
						if which == "each" {
							s.onResults(sleep)
						} else {
							s.on(which, sleep)
						}
						w.open(t, s)
						call := goCall(func() error { return w.end(s)(t.Context()) })
						said := call.within(t, w.name, patience)
						n := len(s.callsSoFar())
						err := s.mustTellOneStory(t, map[string]error{w.name: said})
						want := "nil"
						if c.stuck {
							want = "bound"
						}
						if got := kindOf(err, w.bound); got != want {
							t.Errorf("ended with %v after %v, want %s", err, call.took, want)
						}
						s.mustHaveCalledNoMore(t, n, w.name)
					})
				})
			}
		}
	}
}

// A Start that returned nil has started a session that no bound of Start can end,
// not even one that passes just then.
func TestNoBoundOfStartEndsASessionThatHasStarted(t *testing.T) {
	t.Parallel()
	const delay = 10 * time.Millisecond
	rounds := effort.Times(100, 8) // of 39 kinds
	for _, by := range []string{"Timeout", "a deadline", "cancelling"} {
		for _, name := range []string{"Recognizer", "Transcriber", "Synthesizer", "StreamSynthesizer", "CommonProto"} {
			for _, where := range []string{"at the answer", "when OnStart returns", "when the directive is sent"} {
				if name == "Synthesizer" && where != "when the directive is sent" {
					continue // which is all that its Start waits for
				}
				t.Run(by+"/"+where+"/"+name, func(t *testing.T) {
					opts := nlstest.Options{IdleTimeout: -1, ReplyDelay: delay, Engine: nlstest.Script("one")}
					if name == "Synthesizer" {
						opts.Fault = faultAlways("hang@on-start")
					}
					if where != "at the answer" {
						opts.ReplyDelay = 0
					}
					gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
						s := productNamed(name).new(clientOf(t, server, func(cfg *nls.Config) {
							if where == "when the directive is sent" {
								cfg.Trace = &nls.Trace{Command: func(nls.TraceMessage) { time.Sleep(delay) }}
							}
						}))
						settle(t, s)
						if where == "when OnStart returns" {
							sleep := func() { time.Sleep(delay) }
							s.hooks = map[string]func(){"OnStart": sleep, "RecognitionStarted": sleep}
						}
						started := 0
						for range rounds {
							ctx, cancel := context.WithCancel(t.Context())
							s.timeout = time.Minute
							switch by {
							case "Timeout":
								s.timeout = delay
							case "a deadline":
								ctx, cancel = context.WithTimeout(ctx, delay)
							case "cancelling":
								time.AfterFunc(delay, cancel)
							}
							s.calls, s.errs, s.closes = nil, nil, nil
							err := goCall(func() error { return s.start(ctx) }).within(t, "Start", patience)
							synctest.Wait()
							cancel()
							synctest.Wait()
							if err == nil {
								started++
								if died := s.Err(); died != nil {
									t.Fatalf("Start returned nil, and the session died: %v", died)
								}
								time.Sleep(2 * delay)
								if died := s.Err(); died != nil {
									t.Fatalf("Start returned nil, and the session died later: %v", died)
								}
							}
							s.Shutdown()
							mustBeDone(t, s)
							if err != nil && s.Err() != err {
								t.Fatalf("Start says %v, Err %v", err, s.Err())
							}
						}
						t.Logf("%d of %d have started", started, rounds)
					})
				})
			}
		}
	}
}

// What a session that has ended says of itself does not depend on the context of who
// asks.
func TestAnEndedSessionSaysHowItEndedToAContextThatHasEndedToo(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]string{"": "nil", "taskfailed@during-events": "TaskFailed"} {
		for _, w := range tellers {
			t.Run(want+"/"+w.name, func(t *testing.T) {
				gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(fault)}, func(t *testing.T, server *nlstest.Server) {
					s := w.make(t, server, time.Minute)
					if err := s.start(t.Context()); err == nil {
						if s.send != nil {
							_ = s.send()
						}
						_ = s.stop(t.Context())
					}
					mustBeDone(t, s)
					late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
					defer stop()
					for _, ctx := range []context.Context{cancelled(), late} {
						for range 50 {
							if got := s.stop(ctx); got != s.Err() || kindOf(got, nil) != want {
								t.Fatalf("it says %v, Err says %v, want %s", got, s.Err(), want)
							}
						}
					}
				})
			})
		}
	}
}

// Success means that the result was delivered.
func TestShutdownWhileTheResultWaits(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"outside", "in the slow callback"} {
		for _, w := range tellers {
			t.Run(where+"/"+w.name, func(t *testing.T) {
				gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
					s := w.make(t, server, time.Minute)
					var once sync.Once
					s.onResults(func() {
						once.Do(func() {
							time.Sleep(10 * time.Second)
							if where != "outside" {
								s.Shutdown()
							}
						})
					})
					w.open(t, s)
					if where == "outside" {
						time.AfterFunc(5*time.Second, s.Shutdown)
					}
					said := goCall(func() error { return w.end(s)(t.Context()) }).within(t, w.name, patience)
					err := s.mustTellOneStory(t, map[string]error{w.name: said})
					if got := kindOf(err, w.bound); got != "nil" && got != "Shutdown" {
						t.Errorf("ended with %v", err)
					}
				})
			})
		}
	}
}

func TestShutdownInOnStartEndsStartWithErrShutdown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ product, handler string }{
		{"Recognizer", "OnStart"}, {"Transcriber", "OnStart"}, {"StreamSynthesizer", "OnStart"},
		{"CommonProto", "OnOpen"}, {"CommonProto", "RecognitionStarted"},
	} {
		t.Run(c.product+"/"+c.handler, func(t *testing.T) {
			gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
				s := productNamed(c.product).new(clientOf(t, server))
				settle(t, s)
				s.on(c.handler, s.Shutdown)
				for range 100 {
					s.calls, s.errs, s.closes = nil, nil, nil
					err := goCall(func() error { return s.start(t.Context()) }).within(t, "Start", patience)
					if !errors.Is(err, nls.ErrShutdown) {
						t.Fatalf("Start = %v", err)
					}
					s.mustTellOneStory(t, map[string]error{"Start": err})
					if t.Failed() {
						return
					}
				}
			})
		})
	}
}

// A refused token is refused, however long it took to say so, and whatever follows.
func TestALateRefusalIsARefusal(t *testing.T) {
	const late = nls.DefaultStartTimeout - 100*time.Millisecond
	head := "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n\r\n"
	text := "Meta:ACCESS_DENIED:The token 'x' is invalid!"
	endless := func(p *peer) {
		for p.sleep(time.Second); ; p.sleep(time.Second) {
			if _, err := p.Write([]byte("x")); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name      string
		renewable bool
		body      bool // the body is looked at
		shake     func(p *peer, r *http.Request) bool
		script    func(p *peer)
	}{
		{"a body that never ends", false, true, func(p *peer, _ *http.Request) bool {
			_, _ = p.Write([]byte(head + text))
			return false
		}, nil},
		{"a body that never comes", false, false, func(p *peer, _ *http.Request) bool {
			_, _ = p.Write([]byte(head))
			return false
		}, nil},
		{"a body that trickles for ever", false, true, func(p *peer, _ *http.Request) bool {
			_, _ = p.Write([]byte(head + text))
			endless(p)
			return false
		}, nil},
		{"a body that never ends, twice", true, true, func(p *peer, _ *http.Request) bool {
			_, _ = p.Write([]byte(head + text))
			return false
		}, nil},
		{"so late that a second attempt has no time", true, true, func(p *peer, _ *http.Request) bool {
			p.sleep(late)
			_, _ = p.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 44\r\n\r\n" + text))
			return false
		}, nil},
		{"a message so late that a second attempt has no time", true, false, nil, func(p *peer) {
			p.sleep(late)
			p.refuseToken()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, c.script)
				g.shake = c.shake
				var change []func(*nls.Config)
				if c.renewable {
					change = append(change, withSource(new(renewable)))
				}
				s := newRecognizerSubject(g.client(change...))
				settle(t, s)
				call := goCall(func() error { return s.start(t.Context()) })
				err := call.within(t, "Start", patience)
				if !errors.Is(err, nls.ErrAccessDenied) || errors.Is(err, nls.ErrStartTimeout) || nls.Retryable(err) || s.Err() != err {
					t.Errorf("Start = %v, Retryable %v, Err = %v", err, nls.Retryable(err), s.Err())
				}
				if call.took > nls.DefaultStartTimeout+time.Second {
					t.Errorf("Start took %v", call.took)
				}
				if e, ok := errors.AsType[*nls.HandshakeError](err); c.body && (!ok || !strings.HasPrefix(e.Body, text)) {
					t.Errorf("the body of %v", err)
				}
				mustBeDone(t, s)
				for _, e := range s.errs {
					if e.Err != err {
						t.Errorf("OnError says %v", e.Err)
					}
				}
				for _, e := range s.closes {
					if e.Err != err {
						t.Errorf("OnClose says %v", e.Err)
					}
				}
				g.mustLeaveNothing()
			})
		})
	}
}

// A handler changes nothing about the second attempt with a fresh token.
func TestOnOpenLeavesTheRetryWithAFreshTokenOn(t *testing.T) {
	for _, by := range []string{"a message", "the handshake"} {
		for _, handler := range []bool{false, true} {
			t.Run(fmt.Sprintf("by %s/OnOpen %v", by, handler), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newPeers(t, func(p *peer) {
						if p.number == 1 {
							p.refuseToken()
							return
						}
						p.event("RecognitionStarted", 20000000, "")
					})
					if by != "a message" {
						g.shake = func(p *peer, r *http.Request) bool {
							if p.number == 1 {
								_, _ = p.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
								return false
							}
							return p.accept(r)
						}
					}
					source := new(renewable)
					var opened []string
					var closes []error
					h := nls.CommonHandlers{
						OnError: func(e *nls.ErrorEvent) { t.Errorf("OnError(%v)", e.Err) },
						OnClose: func(e *nls.CloseEvent) { closes = append(closes, e.Err) },
					}
					if handler {
						h.OnOpen = func(e *nls.OpenEvent) { opened = append(opened, e.TaskID) }
					}
					proto := g.client(withSource(source)).NewCommonProto("SpeechRecognizer", h)
					settle(t, proto)
					err := goCall(func() error {
						return proto.Start(t.Context(), "StartRecognition", nls.CommonParams{Started: []string{"RecognitionStarted"}})
					}).within(t, "Start", patience)
					synctest.Wait()
					if err != nil || source.lookups != 2 || g.count() != 2 {
						t.Errorf("Start = %v after %d lookups and %d connections", err, source.lookups, g.count())
					}
					if handler && !slices.Equal(opened, []string{proto.TaskID()}) {
						t.Errorf("OnOpen of %q, the task is %s", opened, proto.TaskID())
					}
					proto.Shutdown()
					mustBeDone(t, proto)
					if len(closes) != 1 {
						t.Errorf("OnClose was called %d times", len(closes))
					}
				})
			})
		}
	}
}
