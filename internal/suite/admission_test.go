package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// countingLimiter is a Limiter that counts.
type countingLimiter struct {
	nls.Limiter
	acquired, released, most atomic.Int32
}

func (c *countingLimiter) Acquire(ctx context.Context, namespace string) (func(), error) {
	release, err := c.Limiter.Acquire(ctx, namespace)
	if err != nil {
		return nil, err
	}
	c.most.Store(max(c.most.Load(), c.acquired.Add(1)-c.released.Load()))
	return func() { c.released.Add(1); release() }, nil
}

func TestALimiterKeepsTheQuotaAndItsPlacesBusy(t *testing.T) {
	t.Parallel()
	const quota, starts, length = 20, 300, 10 * time.Second
	inBubble(t, nlstest.Options{MaxSessions: quota, Engine: nlstest.Script("one")}, func(t *testing.T, server *nlstest.Server) {
		limiter := &countingLimiter{Limiter: nls.NewLimiter(nls.Limits{Each: quota})}
		client := clientOf(t, server, func(cfg *nls.Config) { cfg.Limiter = limiter })
		begin := time.Now()
		var wg sync.WaitGroup
		for range starts {
			wg.Go(func() {
				r := client.NewRecognizer(nls.RecognizerHandlers{})
				if err := r.Start(t.Context(), nls.RecognitionParams{Timeout: -1}); err != nil {
					t.Error(err)
					return
				}
				for range 10 {
					_ = r.SendAudio(make([]byte, 3200)) // Stop says how it went
					time.Sleep(length / 10)
				}
				if err := r.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if ideal := starts / quota * length; time.Since(begin) > ideal*10/9 {
			t.Errorf("took %v, which is less than 90 %% of %v", time.Since(begin), ideal)
		}
		if limiter.most.Load() != quota || limiter.released.Load() != starts {
			t.Errorf("%d at a time, %d given back", limiter.most.Load(), limiter.released.Load())
		}
	})
}

// However a session ends, its place is given back, once.
func TestAPlaceIsGivenBackHoweverASessionEnds(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "refuse@handshake", "reset@handshake", "taskfailed@on-start", "reset@after-start",
		"hang@on-start", "early@on-start", "taskfailed@on-start,code=40000001,text=The%20token%20has%20expired!"} {
		forEachProduct(t, func(t *testing.T, p product) {
			var opts nlstest.Options
			if fault != "" {
				opts.Fault = faultAlways(fault)
			}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				limiter := &countingLimiter{Limiter: nls.NewLimiter(nls.Limits{Each: 1})}
				client := clientOf(t, server, func(cfg *nls.Config) { cfg.Limiter = limiter })
				s := p.new(client)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				_ = s.run(ctx) // whatever comes of it
				s.Shutdown()
				<-s.Done()
				synctest.Wait()
				if a, r := limiter.acquired.Load(), limiter.released.Load(); a != 1 || r != 1 {
					t.Errorf("%s: %d places taken, %d given back", fault, a, r)
				}
			})
		})
	}
}

func TestAStartThatWaitsForAPlaceHasItsBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		timeout time.Duration // of the context
		cancel  bool
		end     func(*nls.Recognizer)
		want    error
		after   time.Duration
	}{
		{name: "the bound of Start", want: nls.ErrStartTimeout, after: 10 * time.Second},
		{name: "a deadline", timeout: 3 * time.Second, want: nls.ErrStartTimeout, after: 3 * time.Second},
		{name: "a cancellation", timeout: 3 * time.Second, cancel: true, want: context.Canceled, after: 3 * time.Second},
		{name: "Shutdown", end: (*nls.Recognizer).Shutdown, want: nls.ErrShutdown, after: 2 * time.Second},
	} {
		for _, ignores := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ignored %v", c.name, ignores), func(t *testing.T) {
				inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					limiter := &countingLimiter{Limiter: nls.NewLimiter(nls.Limits{ByNamespace: map[string]int{"SpeechRecognizer": 1}})}
					release, err := limiter.Acquire(t.Context(), "SpeechRecognizer")
					if err != nil {
						t.Fatal(err)
					}
					var waited []nls.TraceLimit
					client := clientOf(t, server, func(cfg *nls.Config) {
						cfg.Limiter = limiter
						if ignores {
							cfg.Limiter = limiterFunc(func(_ context.Context, namespace string) (func(), error) {
								return limiter.Acquire(context.Background(), namespace)
							})
						}
						cfg.Trace = &nls.Trace{LimitDone: func(l nls.TraceLimit) { waited = append(waited, l) }}
					})
					r := client.NewRecognizer(nls.RecognizerHandlers{})
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if c.cancel {
						ctx, cancel = context.WithCancel(ctx)
						time.AfterFunc(c.timeout, cancel)
					} else if c.timeout > 0 {
						ctx, cancel = context.WithTimeout(ctx, c.timeout)
					}
					defer cancel()
					if c.end != nil {
						time.AfterFunc(2*time.Second, func() { c.end(r) })
					}
					begin := time.Now()
					err = r.Start(ctx, nls.RecognitionParams{})
					if !errors.Is(err, c.want) || time.Since(begin) != c.after || r.Err() != err {
						t.Errorf("Start = %v after %v, Err %v", err, time.Since(begin), r.Err())
					}
					if c.want == nls.ErrStartTimeout && !strings.Contains(err.Error(), "Limiter to admit a session of SpeechRecognizer") {
						t.Errorf("the error does not say what was waited for: %v", err)
					}
					if len(waited) != 1 || waited[0].Duration != c.after || waited[0].Err == nil || waited[0].TaskID == "" || waited[0].Namespace != "SpeechRecognizer" {
						t.Errorf("LimitDone %+v", waited)
					}
					if server.Stats().Connections != 0 {
						t.Error("it has dialled without a place")
					}
					release()
					synctest.Wait()
					if got, err := limiter.Acquire(t.Context(), "SpeechRecognizer"); err != nil { // it was not lost
						t.Error(err)
					} else {
						got()
					}
				})
			})
		}
	}
}

type limiterFunc func(ctx context.Context, namespace string) (func(), error)

func (f limiterFunc) Acquire(ctx context.Context, namespace string) (func(), error) {
	return f(ctx, namespace)
}

func TestALimiterThatFailsFailsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		broken := errors.New("no store")
		client := clientOf(t, server, func(cfg *nls.Config) {
			cfg.Limiter = limiterFunc(func(context.Context, string) (func(), error) { return nil, broken })
		})
		r := client.NewRecognizer(nls.RecognizerHandlers{})
		err := r.Start(t.Context(), nls.RecognitionParams{})
		if !errors.Is(err, broken) || err.Error() != "nls: limiter: no store" || !isClosed(r.Done()) {
			t.Errorf("Start = %v", err)
		}
	})
}

func TestDrainWaitsForTheSessionsThatRun(t *testing.T) {
	t.Parallel()
	for _, p := range []product{productNamed("Recognizer"), productNamed("Transcriber"), productNamed("StreamSynthesizer"), productNamed("CommonProto")} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			client := clientOf(t, server)
			s, late := p.new(client), p.new(client)
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			drained := make(chan error, 1)
			go func() { drained <- client.Drain(t.Context()) }()
			synctest.Wait()
			if err := late.start(t.Context()); !errors.Is(err, nls.ErrClientDrained) || nls.Retryable(err) || !isClosed(late.Done()) {
				t.Errorf("Start = %v", err)
			}
			select {
			case <-drained:
				t.Error("Drain did not wait")
			default:
			}
			s.Shutdown()
			if err := <-drained; err != nil || !isClosed(s.Done()) {
				t.Errorf("Drain = %v", err)
			}
			if err := client.Drain(t.Context()); err != nil {
				t.Errorf("another Drain = %v", err)
			}
		})
	}
}

func TestDrainShutsDownWhatHasNotEndedWithItsContext(t *testing.T) {
	t.Parallel()
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("a stuck callback: %v", stuck), func(t *testing.T) {
			inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server)
				s := newTranscriberSubject(client)
				free := make(chan struct{})
				if stuck {
					s.on("OnClose", func() { <-free })
				}
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				begin := time.Now()
				err := client.Drain(ctx)
				want := 5 * time.Second
				if stuck {
					want += 10 * time.Second
				}
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != want || !errors.Is(s.Err(), nls.ErrShutdown) || isClosed(s.Done()) == stuck {
					t.Errorf("Drain = %v after %v, the session %v", err, time.Since(begin), s.Err())
				}
				close(free)
				<-s.Done()
			})
		})
	}
}
