package nlstest

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// The service counts the silence of a client from its own last word to it, however
// long that took.
func TestIdleTimersCountFromTheAnswer(t *testing.T) {
	for _, delay := range []time.Duration{8 * time.Second, 11 * time.Second} {
		inBubble(t, func(t *testing.T) {
			s := start(t, Options{Pipe: true, ReplyDelay: delay, Engine: fakeEngine{}})
			for _, stop := range []bool{false, true} {
				c := dial(t, s, "SpeechTranscriber", "")
				c.send("StartTranscription", "{}")
				c.want("TranscriptionStarted")
				last := "StartTranscription"
				if stop {
					last = "StopTranscription"
					c.send(last, "")
					c.want("TranscriptionCompleted")
				}
				answered := time.Now()
				c.wantFailed(40000004, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is '"+last+"'!")
				if d := time.Since(answered); d != 10*time.Second {
					t.Errorf("ReplyDelay %v: cut %v after the answer to %s", delay, d, last)
				}
			}
		})
	}
}

// A task inherits nothing from the one before it on its connection.
func TestATaskInheritsNothing(t *testing.T) {
	t.Run("no audio", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
			enterWith(c, "{}")
			c.want("TranscriptionCompleted")
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			c.wantFailed(40000004, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StartTranscription'!")
		})
	})
	t.Run("no end of speech, not even with its ID", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := recognition(t, "SpeechRecognizer", `{"enable_voice_detection":true}`)
			c.say(append(sound(100*time.Millisecond, 16000), silence(time.Second, 16000)...))
			c.want("RecognitionCompleted")
			enterWith(c, "{}")
			c.want("RecognitionCompleted")
		})
	})
	t.Run("no fault", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, TaskFault: func(task Task) *Fault {
				if task.Number == 2 {
					return &Fault{Do: UnknownName, At: AfterStart}
				}
				return nil
			}}), "SpeechTranscriber", "")
			for _, want := range []string{"TranscriptionCompleted", "SomethingNew TranscriptionCompleted", "TranscriptionCompleted"} {
				c.send("StartTranscription", "{}")
				c.want("TranscriptionStarted")
				c.send("StopTranscription", "")
				if got := names(c.until("TranscriptionCompleted")); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	})
}

// While the service reads nothing, the client is not to blame; and only then.
func TestABusyEngineAndTheIdleTimer(t *testing.T) {
	const starved = "Realtime:GET_CLIENT_DATA_TIMEOUT:Client data does not send continuously!"
	inBubble(t, func(t *testing.T) {
		first := true
		engine := &toldRecognition{write: func([]byte) ([]Hypothesis, error) {
			if first {
				first = false
				time.Sleep(15 * time.Second)
			}
			return nil, nil
		}}
		c := dial(t, start(t, Options{Pipe: true, Engine: engineOf(engine)}), "SpeechTranscriber", "")
		c.send("StartTranscription", "{}")
		c.want("TranscriptionStarted")
		begin := time.Now()
		c.binary(make([]byte, maxAudio)) // as much as may wait
		c.wantFailed(41040201, starved)
		if d := time.Since(begin); d != 25*time.Second {
			t.Errorf("cut after %v, the engine was busy for 15s", d)
		}
	})
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: slowEngine{write: 4 * time.Second}}), "SpeechTranscriber", "")
		c.send("StartTranscription", "{}")
		c.want("TranscriptionStarted")
		begin := time.Now()
		c.say(silence(300*time.Millisecond, 16000)) // heard by 12s
		c.wantFailed(41040201, starved)
		if d := time.Since(begin).Truncate(time.Second); d != 10*time.Second {
			t.Errorf("cut after %v", d)
		}
	})
}

func TestTaskFailedIsOfTheTaskThatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		enter(c, "working")
		running := c.taskID
		c.taskID = wire.NewID()
		c.send("StopTranscription", "")
		if got := c.want("TaskFailed").Header.TaskID; got != running {
			t.Errorf("of task %s, %s was running", got, running)
		}
	})
}

// Only a Stop may meet a task that has just completed by itself.
func TestADirectiveForATaskThatHasCompleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "?fault=early@during-audio")
		enter(c, "working")
		c.binary(make([]byte, 320))
		c.want("TranscriptionCompleted")
		c.send("StopTranscription", "")
		c.send("ControlTranscriber", "{}")
		c.want("TaskFailed")
	})
}

// The timers of a described product are those of one that has both text and audio.
func TestADescribedNamespaceMayBeSilentWhileItPings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, ReplyDelay: -1, Namespaces: dialog()}), "DialogAssistant", "")
		c.send("StartRecognition", "{}")
		c.want("RecognitionStarted")
		begin := time.Now()
		go func() {
			for c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}) == nil {
				time.Sleep(5 * time.Second)
			}
		}()
		c.wantFailed(40000004, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StartRecognition'!")
		if d := time.Since(begin); d != 23*time.Second {
			t.Errorf("cut after %v", d)
		}
		c.ws.Close()
		time.Sleep(5 * time.Second) // of the last ping
	})
}

// No message is longer than the SDKs read, unless the test has asked for it.
func TestAResultThatFitsIntoNoFrameFailsTheTask(t *testing.T) {
	long := strings.Repeat("x", maxFrame)
	inBubble(t, func(t *testing.T) {
		engine := &toldRecognition{finish: func() ([]Hypothesis, error) { return []Hypothesis{{Text: long, Final: true}}, nil }}
		for _, fault := range []*Fault{nil, {Do: TaskFailed, At: OnStop, Code: 50000000, Text: long}} {
			c := dial(t, start(t, Options{Pipe: true, Engine: engineOf(engine), TaskFault: func(Task) *Fault { return fault }}), "SpeechTranscriber", "")
			enterWith(c, "{}")
			text := long
			if fault == nil {
				c.want("SentenceBegin")
				text = "Gateway:SERVER_ERROR:Server error!"
			}
			c.wantFailed(50000000, text)
		}
	})
}

// The service ends a connection in good order: it says so, reads on until the client
// hangs up, and waits 3 seconds for that.
func TestTheServerHangsUpInGoodOrder(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(*client)
		code int
	}{
		{"after TaskFailed", func(c *client) { c.text("x"); c.want("TaskFailed") }, websocket.CloseNormalClosure},
		{"over a frame that is none", func(c *client) {
			c.ws.NetConn().Write(wsframe.Append(nil, wsframe.Fin|wsframe.Text, []byte("{}")))
		}, websocket.CloseProtocolError},
	} {
		for _, opts := range []Options{{Pipe: true}, {Pipe: true, TLS: true}} {
			for _, query := range []string{"", "?fault=trickle@handshake,delay=1ms"} {
				t.Run(fmt.Sprintf("%s, TLS %v%s", row.name, opts.TLS, query), func(t *testing.T) {
					inBubble(t, func(t *testing.T) {
						s := start(t, opts)
						c := dial(t, s, "SpeechTranscriber", query)
						c.ws.SetCloseHandler(func(int, string) error { return nil })
						time.Sleep(time.Second)
						begin := time.Now()
						row.end(c)
						c.wantClosed(row.code)
						if _, err := c.ws.NetConn().Read(make([]byte, 1)); err != io.EOF {
							t.Errorf("after the close frame: %v", err)
						}
						if d := time.Since(begin); d != 0 {
							t.Errorf("EOF after %v", d)
						}
						for _, at := range []time.Duration{1, 2, 4, 5} {
							time.Sleep(time.Until(begin.Add(at * time.Second)))
							_, err := c.ws.NetConn().Write(maskedFrame(wsframe.Fin|wsframe.Text, []byte("more")))
							if open := err == nil; open != (at < 3) {
								t.Errorf("after %ds: %v", at, err)
							}
						}
					})
				})
			}
		}
	}
}

func TestCloseDoesNotWaitForAClientThatHangsUpLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true})
		c := dial(t, s, "SpeechTranscriber", "")
		c.text("x")
		c.want("TaskFailed")
		begin := time.Now()
		s.Close()
		if d := time.Since(begin); d != 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// Stats and OnFrame count what goes over the wire, also what the client sends after the
// end, and not what the server could not send any more.
func TestStatsCountTheWire(t *testing.T) {
	for _, query := range []string{"", "?fault=truncated@on-stop"} {
		inBubble(t, func(t *testing.T) {
			var seen, want Stats
			s := start(t, Options{Pipe: true, Engine: fakeEngine{}, OnFrame: func(f Frame) {
				if f.Sent {
					seen.FramesOut++
					seen.BytesOut += int64(len(f.Payload))
				} else {
					seen.FramesIn++
					seen.BytesIn += int64(len(f.Payload))
				}
			}})
			c := dial(t, s, "SpeechRecognizer", query)
			sent := []string{c.directive("StartRecognition", "{}"), c.directive("StopRecognition", ""), "x", "y"}
			c.text(sent[0])
			started := c.want("RecognitionStarted")
			want.FramesOut, want.BytesOut = 1, int64(len(started.raw))
			c.binary(make([]byte, 320))
			want.FramesIn, want.BytesIn = 1, 320
			for i, text := range sent {
				if i > 0 {
					c.text(text)
					synctest.Wait()
				}
				want.FramesIn++
				want.BytesIn += int64(len(text))
			}
			for r := c.read(); r.err == nil; r = c.read() {
				want.FramesOut++
				want.BytesOut += int64(len(r.raw))
			}
			got := s.Stats()
			got = Stats{FramesIn: got.FramesIn, BytesIn: got.BytesIn, FramesOut: got.FramesOut, BytesOut: got.BytesOut}
			if got != want || seen != want {
				t.Errorf("%s: got %+v, OnFrame saw %+v, want %+v", query, got, seen, want)
			}
		})
	}
}

func TestPushKnowsWhichTaskRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "")
		enterWith(c, "{}")
		c.want("TranscriptionCompleted")
		over := c.taskID
		c.taskID = wire.NewID()
		c.send("StartTranscription", "{}")
		c.want("TranscriptionStarted")
		if err := s.Push(over, "Hello", nil); err == nil || !strings.Contains(err.Error(), "no task") {
			t.Errorf("to a task that is over: %v", err)
		}
		if err := s.Push(c.taskID, "Hello", nil); err != nil {
			t.Error(err)
		}
		c.want("Hello")
	})
}

// A connection with the fault stopreading has no idle timer: it has not heard.
func TestAServerThatDoesNotReadBlamesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "?fault=stopreading@after-start")
		enter(c, "working")
		c.wantSilence(time.Hour)
	})
}

// A gateway that runs for weeks forgets who has gone.
func TestConnectionsThatHaveEndedAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true})
		kept := func() int {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.conns)
		}
		for range 3 {
			c := dial(t, s, "SpeechTranscriber", "")
			if n := kept(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			c.ws.Close()
			if n := kept(); n != 0 {
				t.Errorf("%d connections after the end of the last", n)
			}
		}
	})
}
