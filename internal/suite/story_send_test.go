package suite

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
)

// Sending is bounded.

// sender is a product that sends audio.
type sender struct {
	name string
	new  func(c *nls.Client) (s *subject, send func([]byte) error)
}

var senders = []sender{
	{"Recognizer", func(c *nls.Client) (*subject, func([]byte) error) {
		s := newRecognizerSubject(c)
		return s, s.object.(*nls.Recognizer).SendAudio
	}},
	{"Transcriber", func(c *nls.Client) (*subject, func([]byte) error) {
		s := newTranscriberSubject(c)
		return s, s.object.(*nls.Transcriber).SendAudio
	}},
	{"CommonProto", func(c *nls.Client) (*subject, func([]byte) error) {
		s := newCommonSubject(c)
		return s, s.object.(*nls.CommonProto).SendBinary
	}},
}

// answers are the names of the answers to the first directive, and of results, by
// the name of a product.
var answers = map[string][3]string{
	"Recognizer":  {"RecognitionStarted", "RecognitionResultChanged", "RecognitionCompleted"},
	"Transcriber": {"TranscriptionStarted", "TranscriptionResultChanged", "TranscriptionCompleted"},
	"CommonProto": {"RecognitionStarted", "RecognitionResultChanged", "RecognitionCompleted"},
}

func forEachSender(t *testing.T, f func(t *testing.T, p sender)) {
	for _, p := range senders {
		t.Run(p.name, func(t *testing.T) { bubble(t, func(t *testing.T) { f(t, p) }) })
	}
}

// isAudio reports whether f is a binary frame.
func isAudio(f sentFrame) bool { return f.opcode == wsframe.Binary }

func TestWriteTimeoutBoundsASendAudioOfAnyLength(t *testing.T) {
	const timeout = 3 * time.Second
	for _, size := range []int{1 << 20, 16 << 20} {
		for _, rate := range []int{16 << 10, 64 << 10} { // bytes per second: each frame is written in time
			t.Run(fmt.Sprintf("%d MiB at %d KiB/s", size>>20, rate>>10), func(t *testing.T) {
				forEachSender(t, func(t *testing.T, p sender) {
					g := newPeers(t, func(g *peer) {
						g.slow(rate)
						g.event(answers[p.name][0], 20000000, "")
					})
					s, send := p.new(g.client(func(cfg *nls.Config) { cfg.WriteTimeout = timeout }))
					settle(t, s)
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					call := goCall(func() error { return send(make([]byte, size)) })
					err := call.within(t, "SendAudio", patience)
					if !errors.Is(err, nls.ErrWriteTimeout) || call.took > timeout {
						t.Errorf("SendAudio = %v after %v", err, call.took)
					}
					mustBeDone(t, s)
					if s.Err() != err || len(s.closes) != 1 || s.closes[0].Err != err {
						t.Errorf("Err = %v", s.Err())
					}
				})
			})
		}
	}
}

// A frame for each of many senders is written in time, but those at the end of the
// line have waited for longer than WriteTimeout.
func TestWriteTimeoutBoundsTheWaitForOthers(t *testing.T) {
	const timeout = 3 * time.Second
	forEachSender(t, func(t *testing.T, p sender) {
		g := newPeers(t, func(g *peer) {
			g.slow(32 << 10)
			g.event(answers[p.name][0], 20000000, "")
		})
		s, send := p.new(g.client(func(cfg *nls.Config) { cfg.WriteTimeout = timeout }))
		settle(t, s)
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		var calls []*running
		for range 64 {
			calls = append(calls, goCall(func() error { return send(make([]byte, 16<<10)) }))
		}
		failed := 0
		for _, call := range calls {
			err := call.within(t, "SendAudio", patience)
			if call.took > timeout {
				t.Errorf("SendAudio = %v after %v", err, call.took)
			}
			if err != nil {
				failed++
				if !errors.Is(err, nls.ErrWriteTimeout) {
					t.Errorf("SendAudio = %v", err)
				}
			}
			if t.Failed() {
				break
			}
		}
		if failed == 0 && !t.Failed() {
			t.Errorf("all of 1 MiB was sent in %v", time.Since(begin))
		}
	})
}

func TestTheWriteLockIsGivenUpBetweenFrames(t *testing.T) {
	forEachSender(t, func(t *testing.T, p sender) {
		g := newPeers(t, func(g *peer) {
			g.slow(160 << 10)
			g.event(answers[p.name][0], 20000000, "")
		})
		g.size = 16 << 10
		s, send := p.new(g.client())
		settle(t, s)
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		long := goCall(func() error { return send(make([]byte, 1<<20)) })
		time.Sleep(time.Second)
		short := goCall(func() error { return send([]byte("short")) })
		if err := short.within(t, "the short SendAudio", patience); err != nil || short.took > time.Second {
			t.Errorf("the short SendAudio = %v after %v", err, short.took)
		}
		if err := long.within(t, "the long SendAudio", patience); err != nil {
			t.Errorf("the long SendAudio = %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		total, between := 0, false
		for _, f := range g.last().sent() {
			if isAudio(f) {
				total += len(f.payload)
				between = between || string(f.payload) == "short" && total < 1<<20
			}
		}
		if total != 1<<20+len("short") || !between {
			t.Errorf("%d bytes came, the short ones between the others: %v", total, between)
		}
	})
}

// A peer that talks before it listens: it does not read until the client has read
// all that it has to say, in which there is a ping.
func TestThePeersPingIsAnsweredWhileBothSidesWrite(t *testing.T) {
	forEachSender(t, func(t *testing.T, p sender) {
		const results = 2000 // more than the connection holds
		names := answers[p.name]
		talked := make(chan struct{})
		g := newPeers(t, func(g *peer) {
			g.event(names[0], 20000000, "")
			g.saw(isAudio)
			g.pause()
			g.sleep(time.Second) // until the client is blocked
			g.frame(wsframe.Fin|wsframe.Ping, []byte("hello"))
			for range results {
				g.event(names[1], 20000000, "")
			}
			close(talked)
			g.resume()
		})
		s, send := p.new(g.client())
		settle(t, s)
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		var quit atomic.Bool
		flood := goCall(func() (err error) {
			for err == nil && !quit.Load() {
				err = send(make([]byte, 3200))
				time.Sleep(time.Millisecond)
			}
			return err
		})
		if !closedWithin(talked, 5*time.Second) {
			t.Error("the client has not read what the peer says")
		}
		time.Sleep(time.Second)
		quit.Store(true)
		if err := flood.within(t, "SendAudio", patience); err != nil {
			t.Errorf("SendAudio = %v", err)
		}
		time.Sleep(time.Second)
		if err := s.Err(); err != nil {
			t.Errorf("Err = %v", err)
		}
		n := 0
		for _, handler := range s.callsSoFar() {
			if strings.HasSuffix(handler, "ResultChanged") {
				n++
			}
		}
		if n != results {
			t.Errorf("%d results of %d", n, results)
		}
		if !slices.ContainsFunc(g.last().sent(), func(f sentFrame) bool { return f.opcode == wsframe.Pong && string(f.payload) == "hello" }) {
			t.Error("the ping was not answered")
		}
	})
}

// While a long slice is going out, results come in, whatever the peer asks between.
func TestResultsAreReadWhileALongSliceGoesOut(t *testing.T) {
	forEachSender(t, func(t *testing.T, p sender) {
		names := answers[p.name]
		g := newPeers(t, func(g *peer) {
			g.slow(160 << 10)
			g.event(names[0], 20000000, "")
			g.saw(isAudio)
			for i := range 5 {
				g.frame(wsframe.Fin|wsframe.Ping, []byte{byte(i)})
			}
			g.event(names[1], 20000000, "")
		})
		g.size = 16 << 10
		s, send := p.new(g.client())
		settle(t, s)
		result := make(chan struct{})
		once := sync.OnceFunc(func() { close(result) })
		s.onResults(once)
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		long := goCall(func() error { return send(make([]byte, 1<<20)) })
		if !closedWithin(result, 2*time.Second) {
			t.Error("the result was not read")
		}
		if err := long.within(t, "SendAudio", patience); err != nil {
			t.Errorf("SendAudio = %v", err)
		}
		time.Sleep(time.Second)
		if !slices.ContainsFunc(g.last().sent(), func(f sentFrame) bool {
			return f.opcode == wsframe.Pong && bytes.Equal(f.payload, []byte{4})
		}) {
			t.Error("the last ping was not answered")
		}
	})
}

// A hook may call what a callback may.
func TestAHookThatSendsDoesNotDeadlock(t *testing.T) {
	for _, c := range []struct {
		hook string
		with func(f func()) *nls.Trace
	}{
		{"Audio", func(f func()) *nls.Trace { return &nls.Trace{Audio: func(nls.TraceMessage) { f() }} }},
		{"Command", func(f func()) *nls.Trace { return &nls.Trace{Command: func(nls.TraceMessage) { f() }} }},
		{"Event", func(f func()) *nls.Trace { return &nls.Trace{Event: func(nls.TraceMessage) { f() }} }},
		{"Callback", func(f func()) *nls.Trace { return &nls.Trace{Callback: func(nls.TraceMessage) { f() }} }},
	} {
		for _, what := range []string{"SendAudio", "Shutdown"} {
			t.Run(c.hook+"/"+what, func(t *testing.T) {
				forEachSender(t, func(t *testing.T, p sender) {
					names := answers[p.name]
					g := newPeers(t, func(g *peer) {
						g.event(names[0], 20000000, "")
						g.saw(isAudio)
						g.event(names[1], 20000000, "")
						g.saw(func(f sentFrame) bool { return strings.HasPrefix(f.name, "Stop") })
						g.event(names[2], 20000000, "")
					})
					var s *subject
					var send func([]byte) error
					var hooked atomic.Int64
					inside := false
					hook := func() {
						if inside {
							return // from what the hook sends
						}
						hooked.Add(1)
						_, _, _ = s.TaskID(), s.Err(), s.Done()
						if what == "Shutdown" {
							s.Shutdown()
							return
						}
						if c.hook == "Audio" || c.hook == "Command" {
							inside = true
							defer func() { inside = false }()
						}
						_ = send([]byte("from the hook"))
					}
					s, send = p.new(g.client(func(cfg *nls.Config) { cfg.Trace = c.with(hook) }))
					settle(t, s)
					call := goCall(func() error {
						if err := s.start(t.Context()); err != nil {
							return err
						}
						if err := send([]byte("audio")); err != nil {
							return err
						}
						synctest.Wait()
						return s.stop(t.Context())
					})
					err := call.within(t, "the session", patience)
					mustBeDone(t, s)
					if hooked.Load() == 0 {
						t.Fatal("the hook was not called")
					}
					if what == "SendAudio" && err != nil || what == "Shutdown" && err != nil && !errors.Is(err, nls.ErrShutdown) || call.took > time.Second {
						t.Errorf("the session ended with %v after %v", err, call.took)
					}
				})
			})
		}
	}
}
