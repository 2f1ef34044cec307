package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// A handle means one session, and no other.

// handled is an object with handles.
type handled interface {
	object
	Session() *nls.Session
}

var (
	_ handled = (*nls.Recognizer)(nil)
	_ handled = (*nls.Transcriber)(nil)
	_ handled = (*nls.Synthesizer)(nil)
	_ handled = (*nls.StreamSynthesizer)(nil)
	_ handled = (*nls.CommonProto)(nil)

	_ interface {
		Done() <-chan struct{}
		Err() error
		TaskID() string
		SendAudio([]byte) error
		Stop(context.Context) error
		Wait(context.Context) error
		Shutdown()
	} = (*nls.Session)(nil)
)

func handleOf(s *subject) *nls.Session { return s.object.(handled).Session() }

func TestThereIsNoHandleBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			if h := handleOf(p.new(clientOf(t, server))); h != nil {
				t.Errorf("Session() = %v", h)
			}
		})
	})
	for _, zero := range []handled{new(nls.Recognizer), new(nls.Transcriber), new(nls.Synthesizer), new(nls.StreamSynthesizer), new(nls.CommonProto)} {
		if h := zero.Session(); h != nil {
			t.Errorf("%T: Session() = %v", zero, h)
		}
	}
}

// What the object says while its session is the current one, the handle says too.
func TestAHandleSaysWhatItsObjectSays(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"", "taskfailed@during-events", "reset@during-events"} {
		for _, w := range tellers {
			t.Run(fault+"/"+w.name, func(t *testing.T) {
				gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(fault)}, func(t *testing.T, server *nlstest.Server) {
					s := w.make(t, server, time.Minute)
					var inside []*nls.Session
					look := func() { inside = append(inside, handleOf(s)) }
					s.onResults(look)
					s.hooks["OnClose"], s.hooks["OnStart"], s.hooks["OnOpen"], s.hooks["OnError"] = look, look, look, look
					if err := s.start(t.Context()); err == nil {
						h := handleOf(s)
						if h == nil || h.TaskID() != s.TaskID() || !w.wait && h.Done() != s.Done() {
							t.Fatalf("the handle is %v, of task %s", h, h.TaskID())
						}
						if s.send != nil {
							_ = s.send()
						}
						_ = s.stop(t.Context())
					}
					mustBeDone(t, s)
					h := handleOf(s)
					if h.Err() != s.Err() || h.TaskID() != s.TaskID() || h.Done() != s.Done() {
						t.Errorf("the handle says %v of %s, the object %v of %s", h.Err(), h.TaskID(), s.Err(), s.TaskID())
					}
					for _, other := range inside {
						if other == nil || other.TaskID() != h.TaskID() {
							t.Error("a callback had another handle")
						}
					}
					for _, ctx := range []context.Context{t.Context(), cancelled()} {
						if err := h.Wait(ctx); err != s.Err() {
							t.Errorf("Wait = %v, Err = %v", err, s.Err())
						}
					}
				})
			})
		}
	}
}

// The handle of a session that has ended goes on saying how, and does nothing to the
// next one.
func TestAHandleDoesNotTouchTheNextSession(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"completed", "failed", "Shutdown"} {
		forEachProduct(t, func(t *testing.T, p product) {
			t.Run(end, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1}
				if end == "failed" {
					opts.Fault = faultOnce("reset@during-events")
				}
				audio := map[int]int{} // bytes, by connection
				opts.OnFrame = func(f nlstest.Frame) {
					if !f.Sent && f.Binary {
						audio[f.Conn] += len(f.Payload)
					}
				}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					settle(t, s)
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					h := handleOf(s)
					if end == "Shutdown" {
						s.Shutdown()
					} else {
						if s.send != nil {
							_ = s.send()
						}
						_ = s.stop(t.Context())
					}
					mustBeDone(t, s)
					id, err := s.TaskID(), s.Err()
					s.calls, s.errs, s.closes, s.audio = nil, nil, nil, nil
					s.text.Reset()

					if err := s.start(t.Context()); err != nil {
						t.Fatal("the next Start: ", err)
					}
					synctest.Wait()
					before := audio[2]
					next := handleOf(s)
					if next == h || next.TaskID() == id || h.TaskID() != id || s.TaskID() != next.TaskID() {
						t.Errorf("the handles are of %s and %s, after %s", h.TaskID(), next.TaskID(), id)
					}
					if !closedWithin(h.Done(), 0) || h.Err() != err {
						t.Errorf("the first handle says %v, and was told %v", h.Err(), err)
					}
					// Of products that send or stop; the others say that they do not.
					sends := p.name == "Recognizer" || p.name == "Transcriber"
					got := h.SendAudio(make([]byte, 3200))
					if sends && (err != nil && got != err || err == nil && !errors.Is(got, nls.ErrCompleted)) || got == nil {
						t.Errorf("SendAudio of the first handle = %v, want %v", got, err)
					}
					if got := h.Stop(t.Context()); got != err && !strings.Contains(p.name, "Synthesizer") && p.name != "CommonProto" {
						t.Errorf("Stop of the first handle = %v, want %v", got, err)
					}
					if got := h.Wait(t.Context()); got != err {
						t.Errorf("Wait of the first handle = %v, want %v", got, err)
					}
					h.Shutdown()
					synctest.Wait()
					if audio[2] != before {
						t.Errorf("%d bytes went into the next session", audio[2]-before)
					}
					if s.send != nil {
						if err := s.send(); err != nil {
							t.Error(err)
						}
					}
					if err := s.stop(t.Context()); err != nil || next.Err() != nil {
						t.Errorf("the next session: %v, %v", err, next.Err())
					}
					if got := s.result(t, client); got != spoken {
						t.Errorf("the next session gets %q", got)
					}
				})
			})
		})
	}
}

// A monitor that watches a session by its handle never reads the end of another.
func TestAMonitorReadsTheEndOfItsOwnSession(t *testing.T) {
	t.Parallel()
	gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Engine: nlstest.Script("one")}, func(t *testing.T, server *nlstest.Server) {
		s := newTranscriberSubject(clientOf(t, server))
		settle(t, s)
		var watched []<-chan string
		var want []string
		for round := range 100 {
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			h, said := handleOf(s), make(chan string, 1)
			watched = append(watched, said)
			go func() {
				<-h.Done()
				said <- fmt.Sprint(h.TaskID(), h.Err() == nil)
			}()
			completes := round%2 == 0
			want = append(want, fmt.Sprint(s.TaskID(), completes))
			if completes {
				_ = s.send()
				_ = s.stop(t.Context())
			} else {
				s.Shutdown() // the next Start waits for its end
			}
		}
		var got []string
		for _, said := range watched {
			got = append(got, <-said)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the monitors say %q, want %q", got, want)
		}
	})
}

// A handle works as its object does while its session runs.
func TestASessionIsRunByItsHandle(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Recognizer", "Transcriber"} {
		t.Run(name, func(t *testing.T) {
			gatewayInBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server)
				s := productNamed(name).new(client)
				settle(t, s)
				for range 2 {
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					h := handleOf(s)
					wait := goCall(func() error { return h.Wait(t.Context()) })
					short, cancel := context.WithTimeout(t.Context(), time.Second)
					if err := h.Wait(short); !errors.Is(err, context.DeadlineExceeded) || h.Err() != nil {
						t.Errorf("Wait = %v, Err = %v", err, h.Err())
					}
					cancel()
					if err := sendSpoken(h.SendAudio); err != nil {
						t.Error(err)
					}
					if err := h.Stop(t.Context()); err != nil {
						t.Error(err)
					}
					if err := wait.within(t, "Wait", patience); err != nil {
						t.Error(err)
					}
					if got := s.result(t, client); got != spoken {
						t.Errorf("got %q", got)
					}
				}
			})
		})
	}
	forEachProduct(t, func(t *testing.T, p product) {
		gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways("hang@during-events")}, func(t *testing.T, server *nlstest.Server) {
			s := p.new(clientOf(t, server))
			settle(t, s)
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			h := handleOf(s)
			h.Shutdown()
			if err := h.Wait(t.Context()); !errors.Is(err, nls.ErrShutdown) || s.Err() != err || h.Err() != err {
				t.Errorf("Wait = %v, Err = %v", err, s.Err())
			}
		})
	})
}

// A Start that failed has a handle too, with its error. One that changes nothing does
// not change it.
func TestTheHandleOfAFailedStart(t *testing.T) {
	t.Parallel()
	gatewayInBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultOnce("refuse@handshake,code=503")}, func(t *testing.T, server *nlstest.Server) {
		rec := clientOf(t, server).NewRecognizer(nls.RecognizerHandlers{})
		settle(t, rec)
		err := rec.Start(t.Context(), nls.RecognitionParams{})
		failed := rec.Session()
		if err == nil || failed == nil || failed.Err() != err || !closedWithin(failed.Done(), 0) {
			t.Fatalf("Start = %v, the handle %v", err, failed)
		}
		if err := rec.Start(t.Context(), nls.RecognitionParams{Channels: 7}); !errors.Is(err, nls.ErrInvalidParameter) || rec.Session().Err() != failed.Err() {
			t.Errorf("Start = %v, Err of the handle %v", err, rec.Session().Err())
		}
		if err := rec.Start(t.Context(), nls.RecognitionParams{}); err != nil {
			t.Fatal(err)
		}
		running := rec.Session()
		if err := rec.Start(t.Context(), nls.RecognitionParams{}); !errors.Is(err, nls.ErrAlreadyStarted) || rec.Session().TaskID() != running.TaskID() {
			t.Errorf("Start = %v", err)
		}
		if failed.Err() != err || running.Err() != nil || failed.TaskID() == running.TaskID() {
			t.Errorf("the handles say %v and %v", failed.Err(), running.Err())
		}
	})
}
