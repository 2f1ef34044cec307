package suite

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// How a ContinuousTranscriber begins, gives way and ends, and what its sessions are
// sent meanwhile.

// jsonHook is user code that runs within Start, where an Extra is made JSON.
type jsonHook func()

func (f jsonHook) MarshalJSON() ([]byte, error) { f(); return []byte("1"), nil }

// Shutdown ends a Start wherever that is, and its error is that of both.
func TestShutdownEndsTheFirstStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fault string
		noDial      bool
		hook        func(shutdown func()) *nls.Trace
	}{
		{"before the session", "", true, nil},
		{"as it begins", "", true, func(shutdown func()) *nls.Trace {
			return &nls.Trace{SessionStart: func(context.Context, nls.TraceStart) *nls.Trace { shutdown(); return nil }}
		}},
		{"while it dials", "", true, func(shutdown func()) *nls.Trace {
			return &nls.Trace{DialStart: func(nls.TraceDial) { shutdown() }}
		}},
		{"while the gateway says nothing", "halfopen@on-start", false, func(shutdown func()) *nls.Trace {
			return &nls.Trace{Command: func(nls.TraceMessage) { shutdown() }}
		}},
	} {
		inContinuous(t, nlstest.Options{Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
			client := clientOf(t, server, func(cfg *nls.Config) {
				if c.noDial {
					cfg.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}
			})
			var ct *nls.ContinuousTranscriber
			shutdown := func() { ct.Shutdown() }
			ctx, p := t.Context(), continuousParams
			if c.hook != nil {
				ctx = nls.WithTrace(ctx, c.hook(shutdown))
			} else {
				p.Extra = map[string]any{"x": jsonHook(shutdown)}
			}
			called := ""
			ct = client.NewContinuousTranscriber(nls.ContinuousHandlers{
				OnStart: func(*nls.Event) { called += " start" },
				OnError: func(*nls.ErrorEvent) { called += " error" },
			}, nls.ContinuousOptions{})
			begin := time.Now()
			err := ct.Start(ctx, p)
			if took := time.Since(begin); took > atOnce || !errors.Is(err, nls.ErrShutdown) || ct.Err() != err || ct.SendAudio(make([]byte, 2)) != err {
				t.Errorf("%s: Start = %v after %v, Err = %v", c.name, err, took, ct.Err())
			}
			<-ct.Done()
			if synctest.Wait(); called != "" || server.Stats().Concurrent != 0 && c.fault == "" {
				t.Errorf("%s: called%s, %d sessions run", c.name, called, server.Stats().Concurrent)
			}
		})
	}
}

// foreignContext is a context that is not of package context, which has a goroutine
// for each child of such a one.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

// The context of a service lives as long as that; a Start that is over must not hang on it.
func TestStartLeavesNothingWithItsContext(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ctx := foreignContext{t.Context(), make(chan struct{})}
		defer close(ctx.done)
		ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{})
		if err := ct.Start(ctx, continuousParams); err != nil {
			t.Fatal(err)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		mustHaveNoGoroutine(t)
	})
}

func TestTheLogSaysWhatAnInterruptionDoes(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{Fault: faultOnce("reset@during-audio,after=40")}, func(t *testing.T, server *nlstest.Server) {
		got := map[string]slog.Value{}
		log := &logbook{handle: func(r slog.Record) {
			if r.Message == "nls: another session follows" {
				r.Attrs(func(a slog.Attr) bool { got[a.Key] = a.Value; return true })
			}
		}}
		var w witness
		speech := newCounted(rand.New(rand.NewPCG(3, 3)), 3)
		ct := clientOf(t, server, func(cfg *nls.Config) { cfg.Logger = slog.New(log) }).NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		first := ct.TaskID()
		if err := play(ct, speech.pcm, 1); err != nil {
			t.Fatal(err)
		}
		if err := ct.Stop(t.Context()); err != nil || len(w.interruptions) != 1 {
			t.Fatalf("Stop = %v, interruptions %v", err, w.interruptions)
		}
		in := w.interruptions[0]
		if in.From == 0 || in.TaskID != first {
			t.Errorf("%+v, want task %s", in, first)
		}
		for key, want := range map[string]any{"product": "SpeechTranscriber", "task_id": in.TaskID, "attempt": int64(1), "wait": in.Wait, "from": in.From} {
			if got[key].Any() != want {
				t.Errorf("%s is %v, want %v", key, got[key], want)
			}
		}
	})
}

// sentTo counts the bytes of audio that a gateway gets.
func sentTo(n *atomic.Int64, opts nlstest.Options) nlstest.Options {
	opts.OnFrame = func(f nlstest.Frame) {
		if !f.Sent && f.Binary {
			n.Add(int64(len(f.Payload)))
		}
	}
	return opts
}

// Silence is sent where nothing comes, and not between what does.
func TestSilenceFillsPausesOnly(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	inContinuous(t, sentTo(&n, nlstest.Options{}), func(t *testing.T, server *nlstest.Server) {
		ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{FillSilence: true})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		const chunk = 3200 // 100 ms
		for i := range int64(25) {
			if err := ct.SendAudio(make([]byte, chunk)); err != nil {
				t.Fatal(err)
			}
			if synctest.Wait(); n.Load() != (i+1)*chunk {
				t.Fatalf("%d bytes are sent of %d", n.Load(), (i+1)*chunk)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(899 * time.Millisecond)
		if synctest.Wait(); n.Load() != 25*chunk {
			t.Errorf("%d bytes of silence before the end of a second", n.Load()-25*chunk)
		}
		for i := range int64(10) {
			time.Sleep(time.Millisecond)
			if synctest.Wait(); n.Load() != (26+i)*chunk {
				t.Errorf("%d bytes of silence after %v", n.Load()-25*chunk, time.Second+time.Duration(i)*100*time.Millisecond)
			}
			time.Sleep(99 * time.Millisecond)
		}
		ct.Shutdown()
		<-ct.Done()
	})
}

// The last sample too, and as soon as both its bytes have come.
func TestEverySampleIsSent(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	inContinuous(t, sentTo(&n, nlstest.Options{}), func(t *testing.T, server *nlstest.Server) {
		ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		given := int64(0)
		for _, size := range []int{2, 0, 1, 1, 3, 3, 2} {
			if err := ct.SendAudio(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			given += int64(size)
			if synctest.Wait(); n.Load() != given&^1 {
				t.Errorf("of %d bytes %d are sent", given, n.Load())
			}
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A session whose results are all there, and which does not end, holds up the next no
// longer than that.
func TestASessionThatHasGivenWayIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{Fault: faultOnce("halfopen@on-stop")}, func(t *testing.T, server *nlstest.Server) {
		var mu sync.Mutex
		var asked, started time.Time
		ctx := nls.WithTrace(t.Context(), &nls.Trace{Command: func(m nls.TraceMessage) {
			mu.Lock()
			defer mu.Unlock()
			if m.Name == "StopTranscription" && asked.IsZero() {
				asked = time.Now()
			} else if m.Name == "StartTranscription" {
				started = time.Now()
			}
		}})
		speech := newCounted(rand.New(rand.NewPCG(5, 5)), 6)
		var w witness
		ct := clientOf(t, server).NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{MaxSession: 3 * time.Second})
		if err := ct.Start(ctx, nls.TranscriptionParams{EnableWords: true, MaxSentenceSilence: 200 * time.Millisecond, PingInterval: -1}); err != nil {
			t.Fatal(err)
		}
		if err := play(ct, speech.pcm[:speechCut(speech, 4)], 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		mu.Lock()
		if took := started.Sub(asked); took != 5*time.Second {
			t.Errorf("the next session begins %v after the one before was asked to complete", took)
		}
		mu.Unlock()
		ct.Shutdown()
		<-ct.Done()
	})
}

// Of the callbacks that wait none is called any more.
func TestWhatEndsEverythingDropsCallbacksThatWait(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]string{"Shutdown": "begin close", "the context": "begin error close"} {
		inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			called := ""
			release := make(chan struct{})
			ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{
				OnSentenceBegin: func(*nls.Sentence) { called += "begin"; <-release },
				OnResultChanged: func(*nls.Sentence) { called += " change" },
				OnSentenceEnd:   func(*nls.Sentence) { called += " end" },
				OnError:         func(*nls.ErrorEvent) { called += " error" },
				OnClose:         func(*nls.CloseEvent) { called += " close" },
			}, nls.ContinuousOptions{})
			if err := ct.Start(t.Context(), continuousParams); err != nil {
				t.Fatal(err)
			}
			if err := play(ct, newCounted(rand.New(rand.NewPCG(1, 1)), 2).pcm, 1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if end == "Shutdown" {
				ct.Shutdown()
			} else {
				ctx, cancel := context.WithCancel(t.Context())
				ct.Bind(ctx)
				cancel()
				synctest.Wait()
			}
			close(release)
			if <-ct.Done(); called != want {
				t.Errorf("%s: called %q, want %q", end, called, want)
			}
		})
	}
}

// Shutdown waits for no network.
func TestShutdownEndsAContinuousTranscriptionThatCannotSend(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{Fault: faultAlways("stopreading@after-start")}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(c *nls.Config) { c.WriteTimeout = -1 })
		ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{Buffer: 10 * time.Minute})
		if err := ct.Start(t.Context(), nls.TranscriptionParams{PingInterval: -1}); err != nil {
			t.Fatal(err)
		}
		if err := ct.SendAudio(make([]byte, 8<<20)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		begin := time.Now()
		ct.Shutdown()
		if <-ct.Done(); time.Since(begin) > atOnce {
			t.Errorf("Shutdown took %v", time.Since(begin))
		}
	})
}

// Stop also ends a SendAudio that waits for room, although no session has made any.
func TestNothingIsTakenAfterStop(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ct := gone(server, t, time.Second, time.Hour, "").NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{Buffer: 2 * time.Second, GiveUpAfter: -1})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		begin := time.Now()
		sent := make(chan error, 1)
		go func() { sent <- ct.SendAudio(make([]byte, 100000)) }()
		stopped := make(chan error, 1)
		time.AfterFunc(time.Second, func() { stopped <- ct.Stop(t.Context()) })
		if err := <-sent; err != nls.ErrStopping || time.Since(begin) != time.Second {
			t.Errorf("a SendAudio that waits = %v after %v", err, time.Since(begin))
		}
		if err := ct.SendAudio(make([]byte, 2)); err != nls.ErrStopping {
			t.Errorf("SendAudio after Stop = %v", err)
		}
		ct.Shutdown()
		if err := <-stopped; !errors.Is(err, nls.ErrShutdown) || strings.Count(err.Error(), ct.TaskID()) != 1 {
			t.Errorf("Stop = %v", err)
		}
	})
}
