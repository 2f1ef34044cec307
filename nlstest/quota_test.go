package nlstest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wire"

	"github.com/nlsgo/nls/internal/effort"
)

const (
	tooMany      = "Gateway:TOO_MANY_REQUESTS:Too many requests!"
	trialExpired = "Gateway:FREE_TRIAL_EXPIRED:The free trial has expired!"
)

// begin starts a task of a product on a connection of its own.
func begin(t *testing.T, s *Server, product string) *client {
	c := dial(t, s, product, "")
	name, payload := "StartSynthesis", "{}"
	switch product {
	case "SpeechRecognizer":
		name = "StartRecognition"
	case "SpeechTranscriber":
		name = "StartTranscription"
	case "SpeechSynthesizer", "SpeechLongSynthesizer":
		payload = `{"text":"x"}`
	}
	c.send(name, payload)
	synctest.Wait()
	return c
}

func TestQuotasAreThoseOfTheServiceForEachProduct(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for name, c := range map[string]struct {
		opts Options
		want [5]int // 0 is not bought
	}{
		"paid":               {Options{}, [5]int{200, 200, 200, 100, 10}},
		"trial":              {Options{Trial: true}, [5]int{2, 2, 2, 0, 0}},
		"one number for all": {Options{MaxSessions: 3}, [5]int{3, 3, 3, 3, 3}},
		"a trial of more":    {Options{Trial: true, MaxSessions: 3}, [5]int{3, 3, 3, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c.opts.Pipe, c.opts.Engine, c.opts.IdleTimeout = true, fakeEngine{said: make(chan string)}, -1
				s := start(t, c.opts)
				for i, product := range []string{
					"SpeechRecognizer", "SpeechTranscriber", "SpeechSynthesizer", "SpeechLongSynthesizer", "FlowingSpeechSynthesizer",
				} {
					before := s.Stats().Concurrent
					for range c.want[i] {
						begin(t, s, product)
					}
					if got := s.Stats().Concurrent - before; got != c.want[i] {
						t.Errorf("%s: %d sessions, want %d", product, got, c.want[i])
					}
					if one := begin(t, s, product); c.want[i] == 0 {
						one.wantFailed(40000010, trialExpired)
					} else {
						one.wantFailed(40000005, tooMany)
					}
				}
			})
		})
	}
}

func TestNegativeMaxSessionsMeansNoLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, MaxSessions: -1, Engine: fakeEngine{}})
		for range 30 {
			begin(t, s, "FlowingSpeechSynthesizer").want("SynthesisStarted")
		}
	})
}

func TestAQuotaIsSharedByTheAppKeysOfAnAccount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{
			Pipe: true, MaxSessions: 2, Engine: fakeEngine{}, Tokens: map[string]string{"t1": "1", "t2": "2"},
			AppKeys: map[string]string{"AppKeyDefault": "1", "second": "1", "third": "2"},
		})
		one := begin(t, s, "SpeechTranscriber")
		one.want("TranscriptionStarted")
		two := dial(t, s, "SpeechTranscriber", "")
		two.appKey = "second"
		two.send("StartTranscription", "{}")
		two.want("TranscriptionStarted")
		begin(t, s, "SpeechTranscriber").wantFailed(40000005, tooMany)
		begin(t, s, "SpeechRecognizer").want("RecognitionStarted") // another product has its own
		other := dial(t, s, "SpeechTranscriber", "?token=t2")      // and another account
		other.appKey = "third"
		other.send("StartTranscription", "{}")
		other.want("TranscriptionStarted")
		if got := s.Stats(); got.Concurrent != 4 || got.MaxConcurrent != 4 || got.Sessions != 4 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAPlaceIsFreeAtOnceAfterAnEndAndAtTheIdleCutAfterADrop(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(c *client)
		held time.Duration
	}{
		"completed": {func(c *client) { c.send("StopTranscription", ""); c.want("TranscriptionCompleted") }, 0},
		"failed":    {func(c *client) { c.text("nonsense"); c.want("TaskFailed") }, 0},
		"lost":      {func(c *client) { c.ws.Close() }, 10 * time.Second},
		"closed":    {func(c *client) { c.ws.WriteMessage(8, nil); c.wantClosed(1005) }, 10 * time.Second},
		"lost after 4 s of silence": {func(c *client) {
			time.Sleep(4 * time.Second)
			c.ws.Close()
		}, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := start(t, Options{Pipe: true, MaxSessions: 1, ReplyDelay: -1, Engine: fakeEngine{}})
				first := begin(t, s, "SpeechTranscriber")
				first.want("TranscriptionStarted")
				c.end(first)
				synctest.Wait()
				if got := s.Stats().Concurrent; got != 0 {
					t.Errorf("%d run", got)
				}
				if c.held > 0 {
					time.Sleep(c.held - time.Millisecond)
					begin(t, s, "SpeechTranscriber").wantFailed(40000005, tooMany)
					time.Sleep(time.Millisecond)
				}
				begin(t, s, "SpeechTranscriber").want("TranscriptionStarted")
			})
		})
	}
}

func TestADroppedSynthesisHoldsItsPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, MaxSessions: 1, Engine: fakeEngine{said: make(chan string)}})
		c := begin(t, s, "SpeechSynthesizer")
		time.Sleep(time.Minute) // it waits for nothing from the client
		c.ws.Close()
		time.Sleep(10*time.Second - time.Millisecond)
		begin(t, s, "SpeechSynthesizer").wantFailed(40000005, tooMany)
		time.Sleep(time.Millisecond)
		begin(t, s, "SpeechSynthesizer")
		if got := s.Stats().Concurrent; got != 1 {
			t.Errorf("%d run", got)
		}
	})
}

func TestWithoutAnIdleCutNoPlaceIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, MaxSessions: 1, IdleTimeout: -1, Engine: fakeEngine{}})
		begin(t, s, "SpeechTranscriber").ws.Close()
		synctest.Wait()
		begin(t, s, "SpeechTranscriber").want("TranscriptionStarted")
	})
}

func TestAConnectionWithAFinishedTaskHoldsNoPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, MaxSessions: 1, Engine: fakeEngine{}})
		c := begin(t, s, "SpeechTranscriber")
		c.want("TranscriptionStarted")
		c.send("StopTranscription", "")
		c.want("TranscriptionCompleted")
		begin(t, s, "SpeechTranscriber").want("TranscriptionStarted")
		c.taskID = wire.NewID()
		c.send("StartTranscription", "{}") // a connection is no place either
		c.wantFailed(40000005, tooMany)
	})
}

func TestExpiredComesBeforeTheAppKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Expired: true, Engine: fakeEngine{}})
		for _, appKey := range []string{s.Config().AppKey, "nobody's"} {
			c := dial(t, s, "SpeechTranscriber", "")
			c.appKey = appKey
			c.send("StartTranscription", "{}")
			if r := c.wantFailed(40000010, trialExpired); r.Header.TaskID != c.taskID {
				t.Errorf("task %s, want %s", r.Header.TaskID, c.taskID)
			}
		}
		c := dial(t, s, "SpeechTranscriber", "") // but after the envelope
		c.text("nonsense")
		c.wantFailed(40000002, "Gateway:MESSAGE_INVALID:Missing message header!")
	})
}
