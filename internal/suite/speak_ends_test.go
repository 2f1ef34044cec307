package suite

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// What a synthesis leaves behind, and whose error it returns.

// seeker is a file that takes audio and then cannot be gone back in.
type seeker struct {
	written int
	broken  error
}

func (s *seeker) Write(p []byte) (int, error) { s.written += len(p); return len(p), nil }

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		return 0, s.broken
	}
	return int64(s.written), nil
}

// A file with wrong sizes is no success.
func TestSizesThatCannotBeWrittenAreAnError(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), 2, 1000, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
		ctx, watch := watched(t.Context())
		w := &seeker{broken: errors.New("no way back")}
		err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: "好", Format: nls.FormatWAV})
		if !errors.Is(err, w.broken) || nls.TaskID(err) != watch.taskID || w.written != 44+2*1000 {
			t.Errorf("Synthesize = %v, %d bytes written", err, w.written)
		}
	})
}

// The error of a session counts more than that of the sizes after it.
func TestTheFirstErrorOfASynthesisIsReturned(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), 2, 1000, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
		w := &seeker{broken: errors.New("no way back")}
		err := clientOf(t, server).Synthesize(t.Context(), struct {
			io.Writer
			io.Seeker
		}{writerFunc(func(p []byte) (int, error) {
			if w.written > 44 {
				return 0, boom
			}
			return w.Write(p)
		}), w}, nls.SynthesisParams{Text: "好", Format: nls.FormatWAV})
		if !errors.Is(err, boom) || errors.Is(err, w.broken) {
			t.Errorf("Synthesize = %v", err)
		}
	})
}

// Without audio there is a header only where there was to be none.
func TestAFailureBeforeAnyAudioLeavesNoHeader(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		fault string
		fails error
		ctx   time.Duration
		tries int // to write
		slow  time.Duration
	}{
		"of the session":                    {"taskfailed@on-start,only", nil, 0, 0, 0},
		"of the writer":                     {"", boom, 0, 1, 0},
		"of the writer, behind the session": {"", boom, 0, 1, time.Second},
		"of the context":                    {"", nil, time.Second, 0, 0},
	} {
		opts := nlstest.Options{Fault: faultAlways(c.fault), Engine: humming{nlstest.Loopback(), 2 * c.tries, 1000, c.slow == 0, 0, nil}}
		inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.ctx > 0 {
				time.AfterFunc(c.ctx, cancel)
			}
			tries := 0
			w := writerFunc(func(p []byte) (int, error) { tries++; time.Sleep(c.slow); return len(p), c.fails })
			if err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: "好", Format: nls.FormatWAV}); err == nil || tries != c.tries {
				t.Errorf("%s: Synthesize = %v, %d Writes", name, err, tries)
			}
		})
	}
}

// Also where the end of ctx comes in the audio of a piece that is not the last.
func TestTheSizesAreRightWhenALongTextIsGivenUp(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "x.wav")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), 4, 1000, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		writes := 0
		err := clientOf(t, server).Synthesize(ctx, struct {
			io.Writer
			io.Seeker
		}{writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 3 { // a header, and two of four
				time.Sleep(time.Second) // the session has completed
				cancel()
			}
			return file.Write(p)
		}), file}, nls.SynthesisParams{Text: sentences(3), Format: nls.FormatWAV})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Synthesize = %v", err)
		}
	})
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if f, err := nls.ReadWAVHeader(in); err != nil || f.DataSize != 2000 {
		t.Errorf("%+v, %v", f, err)
	}
}

// No session of a call outlives it, though that of the next piece was on its way.
func TestTheNextPieceIsOverWhenOneFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	inBubble(t, nlstest.Options{ReplyDelay: time.Second, Engine: humming{nlstest.Loopback(), 4, 1000, false, 100 * time.Millisecond, nil}}, func(t *testing.T, server *nlstest.Server) {
		var mu sync.Mutex
		started, done := 0, 0
		ctx := nls.WithTrace(t.Context(), &nls.Trace{
			SessionStart: func(context.Context, nls.TraceStart) *nls.Trace { mu.Lock(); started++; mu.Unlock(); return nil },
			SessionDone:  func(nls.TraceSession) { mu.Lock(); done++; mu.Unlock() },
		})
		writes := 0
		err := clientOf(t, server).Synthesize(ctx, writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 2 {
				return 0, boom
			}
			return len(p), nil
		}), nls.SynthesisParams{Text: sentences(3)})
		mu.Lock()
		defer mu.Unlock()
		if !errors.Is(err, boom) || started != 2 || done != 2 {
			t.Errorf("Synthesize = %v with %d of %d sessions over", err, done, started)
		}
	})
}

// When a session fails its text fails too, since nothing can be sent any more: the
// reason is told once.
func TestATextThatFailsSinceTheSessionHasIsNotTheReason(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]error{"what SendText says": nil, "its own": errors.New("boom")} {
		inBubble(t, nlstest.Options{Fault: faultAlways("taskfailed@during-text,after=1,code=50000000")}, func(t *testing.T, server *nlstest.Server) {
			failed, over := make(chan struct{}), make(chan struct{})
			ctx := nls.WithTrace(t.Context(), &nls.Trace{Event: func(m nls.TraceMessage) {
				if m.Name == "TaskFailed" { // the session is not done before this returns
					close(failed)
					<-over
					synctest.Wait() // until the call has seen that
				}
			}})
			err := clientOf(t, server).SynthesizeStream(ctx, io.Discard, func(yield func(string, error) bool) {
				defer close(over)
				for range 2 {
					if !yield("好。", nil) {
						return
					}
				}
				<-failed
				synctest.Wait()
				yield("好。", source)
			}, nls.StreamSynthesisParams{})
			if nls.StatusCode(err) != 50000000 || errors.Is(err, source) && source != nil || strings.Count(err.Error(), nls.TaskID(err)) != 1 {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// endedContext has ended once ended is set; its Done is closed a little later, as that
// of a parent is before that of its child.
type endedContext struct {
	context.Context
	done  chan struct{}
	mu    sync.Mutex
	ended bool
}

func (c *endedContext) Done() <-chan struct{} { return c.done }

func (c *endedContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return context.Canceled
	}
	return nil
}

// A source of text often ends with the same context, with an error of its own.
func TestATextThatFailsSinceTheContextHasEndedIsNotTheReason(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ctx := &endedContext{Context: t.Context(), done: make(chan struct{})}
		err := clientOf(t, server).SynthesizeStream(ctx, io.Discard, func(yield func(string, error) bool) {
			if yield("好。", nil) {
				ctx.mu.Lock()
				ctx.ended = true
				ctx.mu.Unlock()
				yield("", boom)
				time.AfterFunc(time.Second, func() { close(ctx.done) })
			}
		}, nls.StreamSynthesisParams{})
		if !errors.Is(err, context.Canceled) || errors.Is(err, boom) || nls.TaskID(err) == "" {
			t.Error(err)
		}
	})
}

// A callback that has waited for the writer is let go, and the call waits for that.
func TestNoCallbackRunsWhenASynthesisReturns(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, fails := range map[string]error{"the end of ctx": nil, "an error of the writer": boom} {
		opts := nlstest.Options{IdleTimeout: -1, Engine: humming{nlstest.Loopback(), 9 << 20 / 80000, 80000, true, 0, nil}}
		inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ctx, watch := watched(ctx)
			var full atomic.Bool
			ctx = nls.WithTrace(ctx, &nls.Trace{Callback: func(nls.TraceMessage) {
				if full.CompareAndSwap(true, false) {
					time.Sleep(settling / 5)
				}
			}})
			err := clientOf(t, server).Synthesize(ctx, writerFunc(func(p []byte) (int, error) {
				time.Sleep(10 * time.Second) // and a callback waits
				if full.Store(true); fails == nil {
					cancel()
				}
				return len(p), fails
			}), nls.SynthesisParams{Text: spoken})
			if want := cmp.Or(fails, context.Canceled); !errors.Is(err, want) || !watch.ended() || full.Load() {
				t.Errorf("%s: Synthesize = %v, its session is over: %v, a callback waited: %v", name, err, watch.ended(), !full.Load())
			}
		})
	}
}
