package nlstest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/recording"
)

// tape is a recording that a test writes by hand.
type tape struct {
	id  string
	buf bytes.Buffer
	seq int64
	at  time.Time
}

func newTape() *tape {
	return &tape{id: "recorded-task", at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (p *tape) line(l recording.Line) *tape {
	p.seq++
	l.TaskID, l.Seq, l.Time = p.id, p.seq, p.at
	b, err := l.Append(p.buf.Bytes())
	if err != nil {
		panic(err)
	}
	p.buf.Reset()
	p.buf.Write(b)
	return p
}

// message is a text of the client or, with another kind, of the service.
func (p *tape) message(kind, space, name, payload string) *tape {
	return p.line(recording.Line{Kind: kind, Text: fmt.Sprintf(`{"header":{"namespace":%q,"name":%q,"task_id":%q},"payload":%s}`, space, name, p.id, payload)})
}

func (p *tape) audio(kind string, data []byte, whole bool) *tape {
	l := recording.Line{Kind: kind}
	l.Message(true, data, whole)
	return p.line(l)
}

func (p *tape) after(d time.Duration) *tape { p.at = p.at.Add(d); return p }

// recognition is a session of six messages, "abcd" the audio.
func (p *tape) recognition() *tape {
	const sr = "SpeechRecognizer"
	return p.message(recording.Send, sr, "StartRecognition", "{}").
		message(recording.Receive, sr, "RecognitionStarted", "{}").
		audio(recording.Send, []byte("abcd"), false).
		message(recording.Receive, sr, "RecognitionResultChanged", "{}").
		message(recording.Send, sr, "StopRecognition", "{}").
		message(recording.Receive, sr, "RecognitionCompleted", "{}").
		line(recording.Line{Kind: recording.End})
}

func (p *tape) play(t *testing.T, atOnce bool) *Replayer {
	t.Helper()
	r, err := Replay(bytes.NewReader(p.buf.Bytes()), ReplayOptions{Pipe: true, AtOnce: atOnce})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestReplayNamesEachDeparture(t *testing.T) {
	start := func(c *client) { c.send("StartRecognition", "{}"); c.want("RecognitionStarted") }
	stop := func(c *client) { c.send("StopRecognition", "{}"); c.want("RecognitionCompleted") }
	audio := func(c *client, s string) { c.binary([]byte(s)); c.want("RecognitionResultChanged") }
	for _, tc := range []struct {
		name string
		do   func(*client)
		want []string
	}{
		{"none", func(c *client) { start(c); audio(c, "abcd"); stop(c) }, nil},
		{"not started", func(*client) {}, []string{"session 1 (SpeechRecognizer.StartRecognition) was not started"}},
		{"payload", func(c *client) {
			c.send("StartRecognition", `{"a":1}`)
			c.want("RecognitionStarted")
			audio(c, "abcd")
			stop(c)
		},
			[]string{`session 1, line 1: StartRecognition with payload {"a":1}, not {}`}},
		{"namespace", func(c *client) { start(c); audio(c, "abcd"); c.space = "SpeechTranscriber"; stop(c) },
			[]string{"session 1, line 5: SpeechTranscriber.StopRecognition, not SpeechRecognizer.StopRecognition"}},
		{"length of audio", func(c *client) { start(c); audio(c, "ab"); stop(c) }, []string{"session 1, line 3: 2 bytes of audio, not 4"}},
		{"audio", func(c *client) { start(c); audio(c, "abce"); stop(c) }, []string{"session 1, line 3: other audio"}},
		{"audio left out", func(c *client) {
			start(c)
			c.send("StopRecognition", "{}")
			c.want("RecognitionResultChanged") // what it was answered with comes nevertheless
			c.want("RecognitionCompleted")
		}, []string{"session 1, line 3: StopRecognition came instead of 4 bytes of audio"}},
		{"no directive", func(c *client) { start(c); c.text("hello"); audio(c, "abcd"); stop(c) },
			[]string{"session 1, line 3: a text of 5 bytes came before 4 bytes of audio"}},
		{"no directive before a directive", func(c *client) { start(c); audio(c, "abcd"); c.text("hello"); stop(c) },
			[]string{"session 1, line 5: a text of 5 bytes came before StopRecognition"}},
		{"another directive", func(c *client) { start(c); audio(c, "abcd"); c.send("Hello", "{}"); stop(c) },
			[]string{"session 1, line 5: Hello came before StopRecognition"}},
		{"hung up", func(c *client) { start(c); c.ws.Close() },
			[]string{"session 1, line 3: the client hung up before it sent 4 bytes of audio"}},
		{"outside a session", func(c *client) {
			c.binary([]byte("abcd"))
			c.text("hello")
			c.text(`{"header":{}}`)
			start(c)
			audio(c, "abcd")
			stop(c)
		}, []string{"a message that belongs to no session: 4 bytes of audio", "a message that belongs to no session: a text of 5 bytes",
			"a message that belongs to no session: a text of 13 bytes"}},
		{"a session too many", func(c *client) {
			start(c)
			audio(c, "abcd")
			stop(c)
			c.send("StartRecognition", "{}")
			for range 2 { // what follows is not read, and may meet a connection that has ended
				c.ws.WriteMessage(websocket.TextMessage, []byte(c.directive("StartRecognition", "{}")))
			}
			c.wantClosed(websocket.ClosePolicyViolation)
		}, []string{"SpeechRecognizer.StartRecognition: no session of the recording that begins so is left"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newTape().recognition().play(t, true)
				tc.do(dial(t, r.Server, "SpeechRecognizer", ""))
				synctest.Wait()
				if got := r.Departures(); !slices.Equal(got, tc.want) {
					t.Errorf("%q, want %q", got, tc.want)
				}
				if n := r.Stats().Connections; n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}
}

// A client may start the sessions in another order than they were recorded in.
func TestReplayGivesTheSessionThatBeginsSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newTape().recognition()
		p.id = "another"
		r := p.message(recording.Send, "N", "Start", "{}").message(recording.Receive, "N", "Started", "{}").line(recording.Line{Kind: recording.End}).play(t, true)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		c.want("Started")
		for range 2 { // asking changes nothing
			if got, want := r.Departures(), []string{"session 1 (SpeechRecognizer.StartRecognition) was not started"}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

// Audio is taken for what comes next or for too much, never for what comes later:
// a directive in between is still waited for.
func TestReplayWaitsForADirectiveWhileAudioComes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTape().message(recording.Send, "N", "Start", "{}").message(recording.Send, "N", "Control", "{}").
			audio(recording.Send, []byte("abcd"), false).message(recording.Receive, "N", "Done", "{}").line(recording.Line{Kind: recording.End}).play(t, true)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		c.binary([]byte("abcd"))
		c.send("Control", "{}")
		c.binary([]byte("abcd"))
		c.want("Done")
		if got, want := r.Departures(), []string{"session 1, line 2: 4 bytes of audio came before Control"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestReplayRemembersAHundredDepartures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTape().recognition().play(t, true)
		c := dial(t, r.Server, "SpeechRecognizer", "")
		for range maxDepartures + 1 {
			c.text("hello")
		}
		synctest.Wait()
		if got := r.Departures(); len(got) != 100+1 || !strings.HasSuffix(got[100], "was not started") {
			t.Errorf("%d departures, the last %q", len(got), got[len(got)-1])
		}
	})
}

// What a client says after the service has said all is of no interest.
func TestReplayTakesNoOffenceAtAnEarlyEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTape().message(recording.Send, "N", "Start", "{}").message(recording.Receive, "N", "Done", "{}").
			message(recording.Send, "N", "Late", "{}").line(recording.Line{Kind: recording.End}).play(t, true)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		c.want("Done")
		c.ws.Close()
		synctest.Wait()
		if got := r.Departures(); len(got) > 0 {
			t.Error(got)
		}
	})
}

func TestReplayedAnswersComeAtTheirTimes(t *testing.T) {
	slow := func() *tape {
		return newTape().message(recording.Send, "N", "Start", "{}").after(3*time.Second).message(recording.Receive, "N", "Started", "{}").
			after(time.Hour).message(recording.Receive, "N", "Done", "{}").line(recording.Line{Kind: recording.End})
	}
	for _, atOnce := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			c := dial(t, slow().play(t, atOnce).Server, "N", "")
			c.send("Start", "{}")
			begin := time.Now()
			c.want("Started")
			first := time.Since(begin)
			c.want("Done")
			if all := time.Since(begin); atOnce && all != 0 || !atOnce && (first != 3*time.Second || all != time.Hour+3*time.Second) {
				t.Errorf("at once %t: after %v and %v", atOnce, first, all)
			}
		})
	}
	inBubble(t, func(t *testing.T) {
		r := slow().play(t, false)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		c.want("Started")
		begin := time.Now()
		r.Close()
		if d := time.Since(begin); d > linger {
			t.Errorf("Close waited for %v", d)
		}
		if got, want := r.Departures(), []string{"session 1, line 3: the client hung up before Done"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestAReplayedSessionEndsAsItDid(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  recording.Line
		want int // close code, 0 for a connection that lives on
	}{
		{"done", recording.Line{}, 0},
		{"lost with a close frame", recording.Line{Lost: true, Code: 1011, Error: "x"}, 1011},
		{"lost without one", recording.Line{Lost: true, Code: -1, Error: "x"}, websocket.CloseAbnormalClosure},
		{"lost, nobody knows how", recording.Line{Lost: true}, websocket.CloseAbnormalClosure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				tc.end.Kind = recording.End
				p := newTape().message(recording.Send, "N", "Start", "{}").message(recording.Receive, "N", "Started", "{}").line(tc.end)
				p.id = "another"
				r := p.message(recording.Send, "N", "Start", "{}").message(recording.Receive, "N", "Again", "{}").line(recording.Line{Kind: recording.End}).play(t, true)
				c := dial(t, r.Server, "N", "")
				c.send("Start", "{}")
				c.want("Started")
				if tc.want != 0 {
					c.wantClosed(tc.want)
					return
				}
				time.Sleep(time.Hour) // nothing is cut for its silence
				c.send("Start", "{}")
				c.want("Again")
			})
		})
	}
}

// A session that its own client ended goes on until this one does: nothing comes,
// and nothing is understood.
func TestAReplayedSessionThatItsClientLeftSaysNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTape().message(recording.Send, "N", "Start", "{}").line(recording.Line{Kind: recording.End, Error: "timeout"}).play(t, true)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		c.send("Start", "{}")
		c.wantSilence(time.Hour)
		if got := r.Departures(); len(got) > 0 {
			t.Error(got)
		}
	})
}

func TestReplayedMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newTape().message(recording.Send, "N", "Start", "{}").
			message(recording.Receive, "N", "Started", `"recorded-task"`).
			audio(recording.Receive, []byte("abcd"), true).
			audio(recording.Receive, []byte("abcd"), false).
			line(recording.Line{Kind: recording.Receive, Binary: true, Bytes: -1}).
			line(recording.Line{Kind: recording.Receive, Binary: true, Bytes: maxMessage + 1}).
			line(recording.Line{Kind: recording.Receive, Data: []byte("\xff")}).
			line(recording.Line{Kind: recording.End}).play(t, true)
		c := dial(t, r.Server, "N", "")
		c.send("Start", "{}")
		if e := c.want("Started"); e.Header.TaskID != c.taskID || strings.Contains(e.raw, "recorded-task") {
			t.Errorf("%s for task %s", e.raw, c.taskID)
		}
		binary := websocket.BinaryMessage
		for i, want := range []string{"abcd", "\x00\x00\x00\x00", "", string(make([]byte, maxMessage)), "\xff"} {
			if i == 4 {
				binary = websocket.TextMessage
			}
			if kind, got, err := c.ws.ReadMessage(); err != nil || kind != binary || string(got) != want {
				t.Errorf("message %d: kind %d, %.20q of %d bytes, %v, want %.20q", i, kind, got, len(got), err, want)
			}
		}
	})
}

func TestReplayNamesTheSessionThatIsNone(t *testing.T) {
	const start = `{"header":{"name":"Start"}}`
	for name, first := range map[string]recording.Line{
		"from the service": {Kind: recording.Receive, Text: start}, "no directive": {Kind: recording.Send, Text: "{}"},
		"nothing of it": {Kind: recording.End, Text: start},
	} {
		p := newTape().recognition()
		p.id = "another"
		_, err := Replay(&p.line(first).buf, ReplayOptions{})
		if err == nil || err.Error() != "nlstest: replay: session 2 does not begin with a directive" {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if _, err := Replay(iotest.ErrReader(broken), ReplayOptions{}); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	if _, err := Replay(strings.NewReader(""), ReplayOptions{}); err == nil || err.Error() != "nlstest: replay: the recording has no session" {
		t.Errorf("nothing: %v", err)
	}
}
