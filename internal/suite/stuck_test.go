package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// Sources and sinks that block, and the one-shot calls that use them.

// atOnce is how long a call may take to end once it has a reason to.
const atOnce = 100 * time.Millisecond

// listeners are the calls that read. They return the text, and the error.
var listeners = map[string]func(context.Context, *nls.Client, io.Reader) (string, error){
	"Recognize": func(ctx context.Context, c *nls.Client, r io.Reader) (string, error) {
		result, err := c.Recognize(ctx, r, nls.RecognitionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{})
		if err != nil {
			return "", err
		}
		return result.Text, nil
	},
	"Transcribe": func(ctx context.Context, c *nls.Client, r io.Reader) (string, error) {
		var text strings.Builder
		for s, err := range c.Transcribe(ctx, r, nls.TranscriptionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{}) {
			if err != nil {
				return text.String(), err
			}
			text.WriteString(s.Text)
		}
		return text.String(), nil
	},
}

// stuckReader has some audio and then does not return until it is released.
type stuckReader struct {
	io.Reader
	stuck   time.Time // since when
	reads   int       // that did not return
	release chan struct{}
}

func newStuckReader(audio []byte) *stuckReader {
	return &stuckReader{Reader: bytes.NewReader(audio), release: make(chan struct{})}
}

func (r *stuckReader) Read(p []byte) (int, error) {
	if n, _ := r.Reader.Read(p); n > 0 {
		return n, nil
	}
	if r.reads++; r.reads == 1 {
		r.stuck = time.Now()
	}
	<-r.release
	return 1, nil
}

// watched returns a context of which the traces note how the session ended, and
// its task.
func watched(ctx context.Context) (context.Context, *watch) {
	w := &watch{}
	return nls.WithTrace(ctx, &nls.Trace{
		DialStart: func(d nls.TraceDial) { w.taskID = d.TaskID },
		SessionDone: func(s nls.TraceSession) {
			w.err = s.Err
			w.done.Store(true)
		},
	}), w
}

type watch struct {
	taskID string
	err    error // once it has ended
	done   atomic.Bool
}

func (w *watch) ended() bool { return w.done.Load() }

// failures are what may end a session that has begun.
var failures = []struct {
	name  string
	fault string        // of the gateway
	after time.Duration // when the context ends, if it does
	is    func(error) bool
}{
	{"a cancelled context", "", 10 * time.Second, is(context.Canceled)},
	{"a deadline", "", 10 * time.Second, is(context.DeadlineExceeded)},
	{"a TaskFailed", "taskfailed@,code=50000000", 0, func(err error) bool { return nls.StatusCode(err) == 50000000 }},
	{"a lost connection", "reset@", 0, isCloseError},
	{"a connection that ends", "eof@", 0, isCloseError},
	{"a close frame", "close@,code=1000", 0, isCloseError},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isCloseError(err error) bool {
	var e *nls.CloseError
	return errors.As(err, &e)
}

// at names a fault of failures at a point.
func at(fault, point string) string { return strings.Replace(fault, "@", "@"+point, 1) }

// ending returns the context of a failure.
func ending(t *testing.T, name string, after time.Duration) context.Context {
	ctx := t.Context()
	if after == 0 {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	if name == "a deadline" {
		ctx, cancel = context.WithTimeout(ctx, after)
		t.Cleanup(cancel)
	} else {
		time.AfterFunc(after, cancel)
	}
	return ctx
}

func TestAReadThatNeverReturnsHoldsNoCall(t *testing.T) {
	t.Parallel()
	for call, listen := range listeners {
		for _, f := range failures {
			t.Run(call+"/"+f.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1}
				if f.fault != "" {
					opts.Fault = faultAlways(at(f.fault, "during-audio,after=4"))
				}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					ctx, w := watched(ending(t, f.name, f.after))
					src := newStuckReader(make([]byte, 5*3200))
					begin := time.Now()
					_, err := listen(ctx, client, src)
					ended := w.ended()
					synctest.Wait() // for what may outlive it
					due := src.stuck
					if f.after > 0 {
						due = begin.Add(f.after)
					}
					if late := time.Since(due); late < 0 || late > atOnce || src.reads != 1 {
						t.Errorf("took %v more than it had to, %d Reads stuck", late, src.reads)
					}
					if !ended || server.Stats().Sessions != 1 {
						t.Errorf("the session has not ended: %+v", server.Stats())
					}
					if !f.is(err) || nls.TaskID(err) != w.taskID || w.taskID == "" || !errors.Is(err, w.err) {
						t.Errorf("got %v, the session %v", err, w.err)
					}
					if timeout := errors.Is(err, nls.ErrStopTimeout); timeout != (f.name == "a deadline") {
						t.Errorf("%v: ErrStopTimeout %v", err, timeout)
					}
					synctest.Wait()
					if n := server.Stats().Concurrent; n != 0 {
						t.Errorf("%d sessions run", n)
					}
					close(src.release)
					synctest.Wait()
					if src.reads != 1 {
						t.Errorf("%d Reads after the end", src.reads-1)
					}
				})
			})
		}
		t.Run(call+"/a Completed by voice detection", func(t *testing.T) {
			opts := nlstest.Options{IdleTimeout: -1, Fault: faultAlways("early@during-audio,after=40")}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				ctx, w := watched(t.Context())
				audio := append(spokenAudio(), make([]byte, 200000)...)
				src := newStuckReader(audio[:41*3200])
				text, err := listen(ctx, clientOf(t, server), src)
				ended := w.ended()
				synctest.Wait() // for what may outlive it
				if late := time.Since(src.stuck); err != nil || late < 0 || late > atOnce || !ended {
					t.Errorf("got %q, %v after %v", text, err, late)
				}
				close(src.release)
			})
		})
	}
}

// The end of ctx does not wait for the network either.
func TestTheEndOfTheContextEndsACallThatCannotSend(t *testing.T) {
	t.Parallel()
	for call, listen := range listeners {
		for _, f := range failures[:2] {
			t.Run(call+"/"+f.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Fault: faultAlways("stopreading@after-start")}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server, func(c *nls.Config) { c.WriteTimeout = -1 })
					ctx, w := watched(ending(t, f.name, f.after))
					begin := time.Now()
					_, err := listen(ctx, client, bytes.NewReader(make([]byte, 32000*60)))
					if late := time.Since(begin) - f.after; late < 0 || late > atOnce || !f.is(err) || nls.TaskID(err) != w.taskID || !w.ended() {
						t.Errorf("got %v, %v late", err, late)
					}
				})
			})
		}
	}
}

func TestBreakingOutOfTheLoopLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, stuck := range []bool{false, true} {
		t.Run(map[bool]string{false: "a file", true: "a Read that never returns"}[stuck], func(t *testing.T) {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server)
				audio := append(spokenAudio(), make([]byte, 32000*2)...)
				src := newStuckReader(audio)
				reads := 0
				var r io.Reader = readerFunc(func(p []byte) (int, error) {
					reads++
					return src.Read(p)
				})
				if !stuck {
					src.Reader = repeat(audio)
				}
				ctx, w := watched(t.Context())
				for _, err := range client.Transcribe(ctx, r, nls.TranscriptionParams{}, nls.PumpOptions{}) {
					if err != nil {
						t.Fatal(err)
					}
					if stuck {
						time.Sleep(5 * time.Second) // until it is
					}
					break
				}
				ended := w.ended()
				synctest.Wait()
				before := reads
				if !ended || !errors.Is(w.err, nls.ErrShutdown) {
					t.Errorf("the session has not been shut down: %v", w.err)
				}
				if n := server.Stats().Concurrent; n != 0 || stuck && src.reads != 1 {
					t.Errorf("%d sessions run, %d Reads stuck", n, src.reads)
				}
				close(src.release)
				time.Sleep(time.Minute)
				synctest.Wait()
				if reads != before {
					t.Errorf("%d Reads since", reads-before)
				}
			})
		})
	}
	t.Run("takes no time", func(t *testing.T) {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			src := newStuckReader(append(spokenAudio(), make([]byte, 32000*2)...))
			defer close(src.release)
			var left time.Time
			for range clientOf(t, server).Transcribe(t.Context(), src, nls.TranscriptionParams{}, nls.PumpOptions{}) {
				time.Sleep(5 * time.Second)
				left = time.Now()
				break
			}
			if took := time.Since(left); took > atOnce {
				t.Errorf("took %v", took)
			}
		})
	})
}

// stuckWriter takes some Writes and then does not return until it is released.
type stuckWriter struct {
	take    int
	stuck   time.Time
	writes  int // that did not return
	release chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	if w.take--; w.take >= 0 {
		return len(p), nil
	}
	if w.writes++; w.writes == 1 {
		w.stuck = time.Now()
	}
	<-w.release
	return len(p), nil
}

// humming is an engine that speaks so many pieces of audio, whatever the text, and
// then waits for the end of the task if it lasts.
type humming struct {
	nlstest.Engine
	pieces int
	size   int
	lasts  bool
	pause  time.Duration // after each piece
	spoken *atomic.Int64 // bytes
}

func (e humming) Synthesize(ctx context.Context, _ string, _ nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	for i := range e.pieces {
		if err := emit(bytes.Repeat([]byte{byte(i)}, e.size), nil); err != nil {
			return err
		}
		if e.spoken != nil {
			e.spoken.Add(int64(e.size))
		}
		time.Sleep(e.pause)
	}
	if e.lasts {
		<-ctx.Done()
	}
	return ctx.Err()
}

func TestAWriteThatNeverReturnsHoldsNoCall(t *testing.T) {
	t.Parallel()
	for _, take := range []int{0, 3} {
		for _, f := range failures {
			t.Run(fmt.Sprintf("%s, after %d Writes", f.name, take), func(t *testing.T) {
				opts := nlstest.Options{Engine: humming{nlstest.Loopback(), 10, 8000, f.fault == "", 10 * time.Millisecond, nil}}
				if f.fault != "" {
					opts.Fault = faultAlways(at(f.fault, "during-events,after=8"))
				}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					ctx, watch := watched(ending(t, f.name, f.after))
					w := &stuckWriter{take: take, release: make(chan struct{})}
					begin := time.Now()
					err := client.Synthesize(ctx, w, nls.SynthesisParams{Text: spoken})
					ended := watch.ended()
					synctest.Wait() // for what may outlive it
					due := begin.Add(8 * 10 * time.Millisecond)
					if f.after > 0 {
						due = begin.Add(f.after)
					}
					if late := time.Since(due); late < 0 || late > atOnce || w.writes != 1 {
						t.Errorf("took %v more than it had to, %d Writes stuck", late, w.writes)
					}
					if !f.is(err) || nls.TaskID(err) != watch.taskID || watch.taskID == "" || !ended || !errors.Is(err, watch.err) {
						t.Errorf("got %v, the session %v", err, watch.err)
					}
					if timeout := errors.Is(err, nls.ErrCompleteTimeout); timeout != (f.name == "a deadline") {
						t.Errorf("%v: ErrCompleteTimeout %v", err, timeout)
					}
					synctest.Wait()
					if n := server.Stats().Concurrent; n != 0 {
						t.Errorf("%d sessions run", n)
					}
					close(w.release)
					time.Sleep(time.Minute)
					synctest.Wait()
					if w.writes != 1 {
						t.Errorf("%d Writes after the end", w.writes-1)
					}
				})
			})
		}
	}
}

// When the session is over there is still audio to write, for as long as ctx lets.
func TestTheEndOfTheContextEndsAWriteAfterTheSession(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		f, pieces := failures[i/2], []int{1, 10}[i%2] // stuck in the last one, and before
		t.Run(fmt.Sprintf("%s, %d pieces", f.name, pieces), func(t *testing.T) {
			inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), pieces, 8000, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
				ctx, watch := watched(ending(t, f.name, f.after))
				w := &stuckWriter{release: make(chan struct{})}
				begin := time.Now()
				err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: spoken})
				ended := watch.ended()
				synctest.Wait() // for what may outlive it
				if late := time.Since(begin) - f.after; late < 0 || late > atOnce || !ended || watch.err != nil {
					t.Errorf("%v late; the session %v", late, watch.err)
				}
				if !f.is(err) || nls.TaskID(err) != watch.taskID {
					t.Errorf("got %v", err)
				}
				if timeout := errors.Is(err, nls.ErrCompleteTimeout); timeout != (f.name == "a deadline") {
					t.Errorf("%v: ErrCompleteTimeout %v", err, timeout)
				}
				close(w.release)
				time.Sleep(time.Minute)
				synctest.Wait()
				if w.writes != 1 {
					t.Errorf("%d Writes after the end", w.writes-1)
				}
			})
		})
	}
}

func TestTheEndOfTheContextBetweenTwoWrites(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx, watch := watched(ctx)
		writes := 0
		err := clientOf(t, server).Synthesize(ctx, writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 2 {
				cancel() // the session is long over
			}
			time.Sleep(time.Millisecond)
			return len(p), nil
		}), nls.SynthesisParams{Text: spoken})
		if !errors.Is(err, context.Canceled) || nls.TaskID(err) != watch.taskID || writes != 2 || watch.err != nil {
			t.Errorf("Synthesize = %v after %d Writes; the session %v", err, writes, watch.err)
		}
	})
}

func TestAWritersErrorEndsTheSession(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, w := range map[string]io.Writer{
		"an error":            failingWriter{boom},
		"ended its goroutine": writerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }),
	} {
		for _, pieces := range []int{1, 10 << 20 / 8000} { // fewer and more than a mailbox holds
			t.Run(fmt.Sprintf("%s, %d pieces", name, pieces), func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Engine: humming{nlstest.Loopback(), pieces, 8000, true, 0, nil}}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					ctx, watch := watched(t.Context())
					begin := time.Now()
					err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: spoken})
					if took := time.Since(begin); took > atOnce || !watch.ended() || !errors.Is(watch.err, nls.ErrShutdown) {
						t.Errorf("took %v, the session %v", took, watch.err)
					}
					if err == nil || !strings.Contains(err.Error(), name) && !errors.Is(err, boom) || nls.TaskID(err) != watch.taskID {
						t.Errorf("Synthesize = %v", err)
					}
				})
			})
		}
	}
}

// Most Writes return soon. After those the caller has the sink for itself again,
// also when the call has failed.
func TestSynthesizeWaitsForAWriteThatReturnsSoon(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "taskfailed@during-events,after=6"} {
		inBubble(t, nlstest.Options{Fault: faultAlways(fault)}, func(t *testing.T, server *nlstest.Server) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			writing, writes := false, 0
			err := clientOf(t, server).Synthesize(ctx, writerFunc(func(p []byte) (int, error) {
				writing, writes = true, writes+1
				if fault == "" {
					cancel()
				}
				time.Sleep(20 * time.Millisecond)
				writing = false
				return len(p), nil
			}), nls.SynthesisParams{Text: spoken})
			if err == nil || writing || writes > 2 {
				t.Errorf("Synthesize = %v; still in a Write: %v; %d Writes", err, writing, writes)
			}
		})
	}
}

// writerFunc makes a function a Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What came before a failure is written, unless w is too slow for it.
func TestWhatCameBeforeAFailureIsWritten(t *testing.T) {
	t.Parallel()
	for _, f := range failures[2:] {
		t.Run(f.name, func(t *testing.T) {
			opts := nlstest.Options{
				Engine: humming{nlstest.Loopback(), 10, 8000, false, time.Millisecond, nil},
				Fault:  faultAlways(at(f.fault, "during-events,after=8")),
			}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				var b bytes.Buffer
				err := clientOf(t, server).Synthesize(t.Context(), writerFunc(func(p []byte) (int, error) {
					time.Sleep(2 * time.Millisecond)
					return b.Write(p)
				}), nls.SynthesisParams{Text: spoken})
				if !f.is(err) || b.Len() != 8*8000 {
					t.Errorf("Synthesize = %v, %d bytes written", err, b.Len())
				}
			})
		})
	}
}

// A slow sink is no fault of the service, and loses nothing. Synthesize returns
// when it is done with it.
func TestASlowWriterGetsEverything(t *testing.T) {
	t.Parallel()
	for _, long := range []bool{false, true} {
		for _, each := range []time.Duration{10 * time.Second, 2 * time.Minute} {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(c *nls.Config) { c.MaxPendingBytes = 1 })
				var fast, slow bytes.Buffer
				p := nls.SynthesisParams{Text: spoken, LongText: long}
				if err := client.Synthesize(t.Context(), &fast, p); err != nil {
					t.Fatal(err)
				}
				writes := 0
				err := client.Synthesize(t.Context(), writerFunc(func(p []byte) (int, error) {
					writes++
					time.Sleep(each)
					return slow.Write(p)
				}), p)
				if err != nil || !bytes.Equal(fast.Bytes(), slow.Bytes()) || writes < 7 {
					t.Errorf("Synthesize = %v, %d of %d bytes in %d Writes", err, slow.Len(), fast.Len(), writes)
				}
			})
		}
	}
}

// What waits for a sink is bounded: then it is the service that has to wait. And
// still nothing is lost.
func TestWhatWaitsForAWriterIsBounded(t *testing.T) {
	effort.Thorough(t)
	t.Parallel()
	const total, piece = 16 << 20, 8000
	var said atomic.Int64
	opts := nlstest.Options{IdleTimeout: -1, Engine: humming{nlstest.Loopback(), total / piece, piece, false, 0, &said}}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(c *nls.Config) { c.MaxPendingBytes = 1 << 20 })
		written := 0
		w := &stuckWriter{release: make(chan struct{})}
		time.AfterFunc(time.Hour, func() {
			if got := said.Load(); got < 8<<20 || got > 11<<20 {
				t.Errorf("%d MiB wait", got>>20)
			}
			close(w.release)
		})
		err := client.Synthesize(t.Context(), writerFunc(func(p []byte) (int, error) {
			if p[0] != byte(written/piece) || len(p) != piece {
				t.Fatalf("%d bytes of piece %d after %d", len(p), p[0], written)
			}
			written += len(p)
			return w.Write(p)
		}), nls.SynthesisParams{Text: spoken, LongText: true, PingTimeout: 5 * time.Second})
		if err != nil || written != total/piece*piece {
			t.Errorf("Synthesize = %v, %d bytes written", err, written)
		}
	})
}

// Also a callback that waits for the sink, since so much does already, is let go.
func TestAFailureIsNotHeldByAFullMailbox(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"connection", "context"} {
		t.Run(end, func(t *testing.T) {
			opts := nlstest.Options{IdleTimeout: -1, Engine: humming{nlstest.Loopback(), 9 << 20 / 8000, 8000, true, 0, nil}}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctx, watch := watched(ctx)
				w := &stuckWriter{release: make(chan struct{})}
				defer close(w.release)
				const after = 20 * time.Second
				time.AfterFunc(after, func() {
					if end == "connection" {
						server.CloseClientConnections()
					} else {
						cancel()
					}
				})
				begin := time.Now()
				err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: spoken})
				ended := watch.ended()
				synctest.Wait() // for what may outlive it
				if late := time.Since(begin) - after; late < 0 || late > atOnce || !ended {
					t.Errorf("%v late, the session has ended: %v", late, ended)
				}
				if end == "connection" && !isCloseError(err) || end == "context" && !errors.Is(err, context.Canceled) || nls.TaskID(err) != watch.taskID {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// talkative is an engine that says a long sentence for each message of audio.
type talkative struct {
	nlstest.Engine
	pause time.Duration // for each message
	said  *atomic.Int64 // sentences
}

func (e talkative) Recognize(context.Context, nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	return e, nil
}

func (e talkative) Write([]byte) ([]nlstest.Hypothesis, error) {
	time.Sleep(e.pause)
	e.said.Add(1)
	return []nlstest.Hypothesis{{}, {Text: strings.Repeat("long ", 10000), Final: true}}, nil
}

func (e talkative) Finish() ([]nlstest.Hypothesis, error) { return nil, nil }
func (e talkative) Close() error                          { return nil }

// What waits for the loop is bounded too, and neither its end nor that of ctx waits
// for what is held by it.
func TestWhatWaitsForALoopBodyIsBounded(t *testing.T) {
	t.Parallel()
	effort.Thorough(t)
	for _, end := range []string{"context", "break"} {
		t.Run(end, func(t *testing.T) {
			var said atomic.Int64
			opts := nlstest.Options{IdleTimeout: -1, Engine: talkative{nlstest.Loopback(), 0, &said}}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(c *nls.Config) { c.MaxPendingBytes, c.WriteTimeout = 1<<20, -1 })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctx, watch := watched(ctx)
				var left time.Time
				rounds, last := 0, error(nil)
				for _, err := range client.Transcribe(ctx, repeat(make([]byte, 3200)), nls.TranscriptionParams{}, nls.PumpOptions{Speed: -1}) {
					if rounds, last = rounds+1, err; rounds == 2 {
						break
					}
					time.Sleep(time.Hour)
					if got := said.Load() * 50000; got < 8<<20 || got > 11<<20 {
						t.Errorf("%d MiB wait", got>>20)
					}
					if left = time.Now(); end == "break" {
						break
					}
					cancel()
				}
				if took := time.Since(left); took > atOnce || !watch.ended() {
					t.Errorf("took %v", took)
				}
				if end == "context" && (!errors.Is(last, context.Canceled) || rounds != 2) {
					t.Errorf("%d rounds, %v", rounds, last)
				}
			})
		})
	}
}

// It may take a while until all results have come after the last audio. As long as
// some come, that is no timeout.
func TestTranscribeWaitsForWhatComesAfterStop(t *testing.T) {
	t.Parallel()
	var said atomic.Int64
	opts := nlstest.Options{IdleTimeout: -1, Engine: talkative{nlstest.Loopback(), 3 * time.Second, &said}}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		begin, n := time.Now(), 0
		for _, err := range clientOf(t, server).Transcribe(t.Context(), bytes.NewReader(make([]byte, 10*3200)), nls.TranscriptionParams{}, nls.PumpOptions{Speed: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 10 || time.Since(begin) != 30*time.Second {
			t.Errorf("%d sentences after %v", n, time.Since(begin))
		}
	})
}

// readerFunc makes a function a Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// repeat is a Reader that repeats b for ever.
func repeat(b []byte) io.Reader {
	at := 0
	return readerFunc(func(p []byte) (int, error) {
		n := copy(p, b[at:])
		at = (at + n) % len(b)
		return n, nil
	})
}
