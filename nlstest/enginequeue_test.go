package nlstest

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// slowEngine is a fakeEngine that takes its time.
type slowEngine struct {
	fakeEngine
	recognize, write, finish time.Duration
}

func (e slowEngine) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	time.Sleep(e.recognize)
	r, err := e.fakeEngine.Recognize(ctx, q)
	return &slowRecognition{r.(*fakeRecognition), e}, err
}

type slowRecognition struct {
	*fakeRecognition
	engine slowEngine
}

func (r *slowRecognition) Write(pcm []byte) ([]Hypothesis, error) {
	time.Sleep(r.engine.write)
	return r.fakeRecognition.Write(pcm)
}

func (r *slowRecognition) Finish() ([]Hypothesis, error) {
	time.Sleep(r.engine.finish)
	return r.fakeRecognition.Finish()
}

func TestASlowEngineHoldsUpNoPing(t *testing.T) {
	const long = 4 * time.Second
	for _, row := range []struct {
		name   string
		engine slowEngine
		send   func(*client)
	}{
		{"in Recognize", slowEngine{recognize: long}, func(c *client) { c.send("StartTranscription", "{}") }},
		{"in Write", slowEngine{write: long}, func(c *client) {
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			for range 20 { // as an impatient client has it, faster than the engine
				c.binary(sound(100*time.Millisecond, 16000))
			}
		}},
		{"in Finish", slowEngine{finish: long}, func(c *client) {
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			c.send("StopTranscription", "")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Engine: row.engine}), "SpeechTranscriber", "")
				row.send(c)
				time.Sleep(time.Second)
				begin, took := time.Now(), time.Duration(-1)
				c.ws.SetPongHandler(func(string) error { took = time.Since(begin); return nil })
				if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
					t.Fatal(err)
				}
				c.ws.SetReadDeadline(time.Now().Add(time.Hour))
				if r := c.read(); r.err != nil {
					t.Fatal(r.err)
				}
				if took != 0 {
					t.Errorf("the pong took %v", took)
				}
			})
		})
	}
}

// The gateway knows its own state while the engine is at work.
func TestASlowEngineHoldsUpNoDirective(t *testing.T) {
	for _, row := range []struct {
		name   string
		engine slowEngine
		second string // directive, after audio
		third  string
		text   string
	}{
		{"Stop while it finishes", slowEngine{finish: time.Minute}, "StopTranscription", "StopTranscription",
			"Gateway:TASK_STATE_ERROR:Got stop directive while task is stopping!"},
		{"Start while it listens", slowEngine{write: time.Minute}, "ControlTranscriber", "StartTranscription",
			"Gateway:TASK_STATE_ERROR:Got start directive while task is working!"},
		{"Stop while it listens and has been told to finish", slowEngine{write: time.Minute}, "StopTranscription", "StopTranscription",
			"Gateway:TASK_STATE_ERROR:Got stop directive while task is stopping!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Engine: row.engine}), "SpeechTranscriber", "")
				c.send("StartTranscription", "{}")
				c.want("TranscriptionStarted")
				c.binary(silence(100*time.Millisecond, 16000))
				c.send(row.second, "{}")
				begin := time.Now()
				c.send(row.third, "{}")
				c.wantFailed(40010005, row.text)
				if took := time.Since(begin); took > engineGrace {
					t.Errorf("answered after %v", took)
				}
			})
		})
	}
}

// Nothing is lost on the way to a slow engine, and its results come in their order.
func TestASlowEngineHearsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: slowEngine{write: 150 * time.Millisecond}}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_intermediate_result":true}`)
		c.want("TranscriptionStarted")
		go func() {
			for range 3 {
				for range 10 {
					c.binary(sound(100*time.Millisecond, 16000))
				}
				c.binary(silence(time.Second, 16000))
			}
			c.send("StopTranscription", "")
		}()
		var last int64
		sentences := 0
		for _, r := range c.until("TranscriptionCompleted") {
			switch r.Header.Name {
			case "TranscriptionResultChanged":
				at := int64(r.Payload.(map[string]any)["time"].(float64))
				if at <= last {
					t.Errorf("%v after %v", at, last)
				}
				last = at
			case "SentenceEnd":
				sentences++
			}
		}
		if sentences != 3 || last != 5000 {
			t.Errorf("%d sentences, the last result at %d", sentences, last)
		}
	})
}

// A client that sends more than an engine can take waits for it, as on a full
// socket, and is not blamed for its silence.
func TestWhatWaitsForAnEngineIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		engine := slowEngine{write: 15 * time.Second}
		s := start(t, Options{Pipe: true, Engine: engine})
		c := dial(t, s, "SpeechTranscriber", "")
		c.send("StartTranscription", "{}")
		c.want("TranscriptionStarted")
		const message = 32 << 10
		go func() {
			for range 64 { // 2 MiB
				c.binary(make([]byte, message))
			}
			c.send("StopTranscription", "")
		}()
		time.Sleep(10 * time.Second)
		if n := s.Stats().BytesIn; n > maxBacklog+2*message {
			t.Errorf("took %d bytes from a client whose engine is busy", n)
		}
		if got := names(c.until("TranscriptionCompleted")); got != "TranscriptionCompleted" {
			t.Errorf("got %s", got)
		}
	})
}

// An engine that ends its goroutine, as t.FailNow does, ends the task with it.
type exitingEngine struct{ fakeEngine }

func (exitingEngine) Recognize(context.Context, RecognitionRequest) (Recognition, error) {
	return exitingRecognition{}, nil
}

type exitingRecognition struct{}

func (exitingRecognition) Write([]byte) ([]Hypothesis, error) { runtime.Goexit(); return nil, nil }
func (exitingRecognition) Finish() ([]Hypothesis, error)      { return nil, nil }
func (exitingRecognition) Close() error                       { return nil }

func TestAnEngineThatExitsFailsItsTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: exitingEngine{}}), "SpeechRecognizer", "")
		c.send("StartRecognition", "{}")
		c.want("RecognitionStarted")
		c.binary(sound(time.Second, 16000))
		c.wantFailed(50000000, "Gateway:SERVER_ERROR:Server error!")
	})
}

// A recognition that is over leaves no goroutine, whatever its engine is doing.
func TestTheQueueEndsWithItsTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: slowEngine{write: time.Second}}), "SpeechTranscriber", "")
		c.send("StartTranscription", "{}")
		c.want("TranscriptionStarted")
		c.binary(sound(time.Second, 16000))
		c.ws.Close()
		time.Sleep(2 * time.Second)
		buf := make([]byte, 1<<20)
		if all := string(buf[:runtime.Stack(buf, true)]); strings.Contains(all, "serveEngine") {
			t.Errorf("still there:\n%s", all)
		}
	})
}
