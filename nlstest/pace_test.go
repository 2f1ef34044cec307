package nlstest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/effort"
)

func TestHowLongTheServiceTakes(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		opts                      Options
		started, completed, audio time.Duration
	}{
		{Options{}, 20 * ms, 40 * ms, 0},
		{Options{ReplyDelay: -1}, 0, 0, 0},
		{Options{ReplyDelay: 3 * time.Second}, 3 * time.Second, 3 * time.Second, 0},
		{Options{Latency: true}, 60 * ms, 140 * ms, 220 * ms},
		{Options{Latency: true, ReplyDelay: ms}, ms, ms, 220 * ms},
		{Options{Latency: true, ReplyDelay: -1}, 0, 0, 220 * ms},
	} {
		t.Run(fmt.Sprintf("Latency %v, ReplyDelay %v", c.opts.Latency, c.opts.ReplyDelay), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c.opts.Pipe, c.opts.Engine = true, fakeEngine{}
				s := start(t, c.opts)
				took := func(what string, want time.Duration, f func()) {
					t.Helper()
					begin := time.Now()
					f()
					if d := time.Since(begin); d != want {
						t.Errorf("%s after %v, want %v", what, d, want)
					}
				}
				for _, p := range []struct{ space, start, started, stop, completed string }{
					{"SpeechRecognizer", "StartRecognition", "RecognitionStarted", "StopRecognition", "RecognitionCompleted"},
					{"SpeechTranscriber", "StartTranscription", "TranscriptionStarted", "StopTranscription", "TranscriptionCompleted"},
				} {
					one := dial(t, s, p.space, "")
					took(p.started, c.started, func() { one.send(p.start, "{}"); one.want(p.started) })
					one.binary(sound(100*ms, 16000))
					took(p.completed, c.completed, func() { one.send(p.stop, ""); one.until(p.completed) })
				}
				heard := func(one *client) func() {
					return func() {
						for one.read().audio == nil {
						}
					}
				}
				flowing := dial(t, s, "FlowingSpeechSynthesizer", "")
				took("SynthesisStarted", c.started, func() { flowing.send("StartSynthesis", "{}"); flowing.want("SynthesisStarted") })
				flowing.speak("好。好。")
				took("audio", c.audio, heard(flowing))
				took("SynthesisCompleted", c.completed, func() { flowing.send("StopSynthesis", ""); flowing.until("SynthesisCompleted") })
				short := dial(t, s, "SpeechSynthesizer", "")
				short.send("StartSynthesis", `{"text":"好"}`)
				took("audio", c.audio, heard(short))
				took("SynthesisCompleted", c.completed, func() { short.until("SynthesisCompleted") })
			})
		})
	}
}

func TestADropBeforeTheFirstAudioEndsTheWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		said := make(chan string, 1)
		s := start(t, Options{Pipe: true, Latency: true, Engine: fakeEngine{said: said}})
		c := dial(t, s, "SpeechSynthesizer", "")
		c.send("StartSynthesis", `{"text":"好"}`)
		time.Sleep(100 * time.Millisecond)
		c.ws.Close()
		time.Sleep(time.Second)
		if len(said) != 0 {
			t.Error("the engine spoke to nobody")
		}
	})
}

func TestAudioBeforeStartedIsRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		s := start(t, opts)
		for space, name := range map[string]string{"SpeechRecognizer": "StartRecognition", "SpeechTranscriber": "StartTranscription"} {
			c := dial(t, s, space, "")
			c.send(name, "{}")
			c.binary(make([]byte, 3200))
			c.wantFailed(40000002, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'")
		}
	})
}

func TestALongAudioMessageIsSwallowed(t *testing.T) {
	const idle = "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StartTranscription'!"
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		for _, c := range []struct {
			size      int
			swallowed bool
		}{{maxAudio, false}, {maxAudio + 2, true}} {
			one := begin(t, s, "SpeechTranscriber")
			one.want("TranscriptionStarted")
			time.Sleep(time.Second)
			one.binary(sound(time.Duration(c.size/2)*time.Second/16000, 16000))
			if !c.swallowed {
				one.want("SentenceBegin")
				continue
			}
			sent := time.Now()
			one.wantFailed(40000004, idle)
			if d := time.Since(sent); d != 10*time.Second {
				t.Errorf("after %v", d)
			}
		}
	})
}

func TestAudioFarFasterThanItPlaysDropsTheConnection(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		real         bool
		rate, chunks int
		every        time.Duration // between chunks of a second
		dropped      int           // how many chunks arrive, 0 for all
	}{
		"in real time":              {true, 16000, 120, time.Second, 0},
		"ten times as fast":         {true, 16000, 500, 100 * ms, 0},
		"eleven times as fast":      {true, 8000, 500, time.Second / 11, 51},
		"50 seconds at once":        {true, 16000, 50, 0, 0},
		"51 seconds at once":        {true, 16000, 51, 0, 51},
		"at once, of all the speed": {false, 16000, 300, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := start(t, Options{Pipe: true, RealTime: c.real, Engine: fakeEngine{}})
				one := dial(t, s, "SpeechTranscriber", "")
				one.send("StartTranscription", fmt.Sprintf(`{"sample_rate":%d}`, c.rate))
				one.want("TranscriptionStarted")
				chunk, sent := silence(time.Second, c.rate), 0
				for range c.chunks {
					if one.ws.WriteMessage(websocket.BinaryMessage, chunk) != nil {
						break
					}
					sent++
					time.Sleep(c.every)
				}
				if c.dropped == 0 {
					one.send("StopTranscription", "")
					one.until("TranscriptionCompleted")
					return
				}
				r := one.read()
				if _, closed := errors.AsType[*websocket.CloseError](r.err); r.err == nil || closed && !websocket.IsCloseError(r.err, websocket.CloseAbnormalClosure) {
					t.Errorf("got %s %v, want a drop", r.raw, r.err)
				}
				if got := int(s.Stats().BytesIn) / len(chunk); got != c.dropped {
					t.Errorf("dropped after %d seconds of audio", got)
				}
			})
		})
	}
}

func TestRealTimeHoldsForARecognizer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, RealTime: true, Engine: fakeEngine{}})
		c := begin(t, s, "SpeechRecognizer")
		c.want("RecognitionStarted")
		for range 55 {
			if c.ws.WriteMessage(websocket.BinaryMessage, silence(time.Second, 16000)) != nil {
				break
			}
		}
		if r := c.read(); r.err == nil {
			t.Errorf("got %s, want a drop", r.raw)
		}
	})
}
