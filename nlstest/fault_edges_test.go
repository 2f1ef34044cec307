package nlstest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultsHaveBounds(t *testing.T) {
	text := func(n int) string { return "close@on-start,text=" + strings.Repeat("x", n) }
	for _, name := range []string{
		"refuse@handshake,code=200", "refuse@handshake,code=599", "close@on-start,code=65535", text(123),
		"hugetext@on-start,code=1024", "hugetext@on-start,code=1", "hang@during-audio,after=1", "delay@on-start,delay=1ns",
		"early@on-start", "early@during-events",
	} {
		if f, err := ParseFault(name); err != nil || f.String() != name {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	for _, name := range []string{
		"refuse@handshake,code=199", "refuse@handshake,code=600", "close@on-start,code=65536", text(124), "hugetext@on-start,code=1025",
		"hang@on-start,code=-1", "hang@on-start,after=-1", "hang@on-start,delay=-1s", "early@on-stop", "early@after-stop", "early@handshake",
	} {
		if f, err := ParseFault(name); err == nil {
			t.Errorf("%s is %+v", name, f)
		}
	}
	// What has no name is shown by its number.
	for got, want := range map[string]string{
		Point(-1).String(): "-1", Action(-1).String(): "-1",
		Point(len(pointNames)).String(): "9", Action(len(actionNames)).String(): "34",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// More rows of TestFaults: what a fault does not do.
func TestFaultsTouchOneMessage(t *testing.T) {
	const (
		st   = "SpeechTranscriber"
		tts  = "SpeechSynthesizer"
		flow = "FlowingSpeechSynthesizer"

		started = "0s TranscriptionStarted"
		results = ", 1s SentenceBegin, SentenceEnd"
		stopped = ", 2s TranscriptionCompleted"
	)
	for _, row := range []struct{ space, fault, want string }{
		{st, "unknown@during-events,after=2", started + results + stopped + ", 3s pong"}, // Completed is no result
		{st, "nopong@during-events", started + results + stopped},
		{st, "nopong@during-events,only", started + ", 1s SentenceEnd" + stopped},
		{st, "unknown@after-start,after=1", started + results + stopped + ", 3s pong"}, // there is no second task
		{tts, "wrongtask@after-start,only", "0s 3200 bytes, Hello(task), SynthesisCompleted, 3s pong"},
		{st, "nullpayload@before-start", "0s Hello(namespace Default)(task)(null), TranscriptionStarted" + results + stopped + ", 3s pong"},
	} {
		inBubble(t, func(t *testing.T) {
			c := rawDial(t, start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}}), row.space, row.fault)
			if got := c.session(); got != row.want {
				t.Errorf("%s\ngot  %s\nwant %s", row.fault, got, row.want)
			}
		})
	}
	t.Run("on-stop deals with Completed, and not with what comes before it", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := rawDial(t, start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}}), flow, "notjson@on-stop")
			c.directive("StartSynthesis", "{}")
			c.directive("RunSynthesis", `{"text":"好"}`) // which waits for Stop
			c.directive("StopSynthesis", "")
			var got []string
			for range 7 {
				what, err := c.frame()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, what)
			}
			want := `SynthesisStarted, SentenceBegin, 3200 bytes, SentenceSynthesis, SentenceEnd, "this is not JSON", SynthesisCompleted`
			if got := strings.Join(got, ", "); got != want {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("TaskFailed is not the answer that on-start deals with", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{fail: errEngine}}), st, "?fault=twice@on-start")
			c.send("StartTranscription", "{}")
			c.wantFailed(50000000, "Gateway:SERVER_ERROR:Server error!")
		})
	})
}

// What comes of a fault is what a client can make of it, to the byte.
func TestMessagesOfFaults(t *testing.T) {
	begin := func(t *testing.T, fault string) (*Server, *client) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "?fault="+url.QueryEscape(fault))
		c.send("StartTranscription", "{}")
		return s, c
	}
	t.Run("fragments make up the message", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			pings := 0
			s, c := begin(t, "fragmented@on-start")
			c.ws.SetPingHandler(func(string) error { pings++; return nil })
			c.want("TranscriptionStarted")
			if n := s.Stats().FramesOut; n != 1 || pings != 1 {
				t.Errorf("%d messages and %d pings", n, pings)
			}
		})
	})
	t.Run("one that is inserted has an ID of its own", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			_, c := begin(t, "nullpayload@on-start")
			if a, b := c.want("TranscriptionStarted"), c.want("TranscriptionStarted"); a.Header.MessageID == b.Header.MessageID {
				t.Error("two messages with an ID")
			}
		})
	})
	t.Run("wrong types are JSON", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			_, c := begin(t, "wrongtypes@on-start")
			if r := c.read(); !json.Valid([]byte(r.raw)) || !strings.Contains(r.raw, `"name":["TranscriptionStarted"]`) {
				t.Errorf("got %s", r.raw)
			}
		})
	})
	t.Run("a huge text is JSON", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			_, c := begin(t, "hugetext@on-start,only")
			p, _ := c.want("TranscriptionStarted").Payload.(map[string]any)
			if n := len(p["text"].(string)); n != 1<<20 {
				t.Errorf("a text of %d bytes", n)
			}
		})
	})
	for _, fault := range []string{"badopcode", "masked", "hugetext"} {
		t.Run(fault+" counts as a message", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, _ := begin(t, fault+"@after-start")
				synctest.Wait()
				if n := s.Stats().FramesOut; n != 2 {
					t.Errorf("%d messages were sent", n)
				}
			})
		})
	}
}

// Nothing is lost of what comes while a fault delays a message, and an end is an end.
func TestWhatComesWhileAMessageIsDelayed(t *testing.T) {
	t.Run("audio", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "?fault=delay@during-events,delay=2s")
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			go func() {
				for range 3 {
					c.say(sound(500*time.Millisecond, 16000))
				}
				c.ws.WriteControl(9, []byte("x"), time.Time{})
				c.send("StopTranscription", "")
			}()
			c.want("SentenceBegin")
			if got, want := events([]reply{c.want("SentenceEnd")}), `"time":1500,`; !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
			c.want("TranscriptionCompleted")
		})
	})
	t.Run("a close frame", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true}), "SpeechTranscriber", "?fault=delay@on-start,delay=1h")
			begin := time.Now()
			c.send("StartTranscription", "{}")
			synctest.Wait()
			time.Sleep(time.Second)
			c.ws.WriteControl(8, []byte{3, 232}, time.Time{})
			c.wantClosed(1000)
			if _, err := c.ws.NetConn().Read(make([]byte, 1)); err != io.EOF || time.Since(begin) > 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("the end of the server", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := start(t, Options{Pipe: true})
			c := dial(t, s, "SpeechTranscriber", "?fault=delay@on-start,delay=1h")
			begin := time.Now()
			c.send("StartTranscription", "{}")
			c.send("StopTranscription", "")
			synctest.Wait()
			s.Close()
			if d := time.Since(begin); d != 0 {
				t.Errorf("Close took %v", d)
			}
		})
	})
	t.Run("in a connection that hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
			c := dial(t, s, "SpeechTranscriber", "?fault=hang@after-start")
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			c.text("x")
			c.ws.WriteControl(9, nil, time.Time{})
			synctest.Wait()
			if got := s.Stats(); got.FramesIn != 2 || got.Pings != 1 {
				t.Errorf("it has heard %+v", got)
			}
		})
	})
}

// A fault of a task may be at the point on-start, the first that a task has.
func TestATaskMayFailAtItsStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true}), "SpeechTranscriber", "")
		c.appKey = "fault:taskfailed@on-start,code=40000005"
		c.send("StartTranscription", "{}")
		c.wantFailed(40000005, "Gateway:TOO_MANY_REQUESTS:Too many requests!")
	})
}

// Refused handshakes look like those of the proxies that refuse them.
func TestRefusalsHaveATypeAndAPlaceToGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true})
		for _, row := range []struct{ fault, kind, location string }{
			{"refuse@handshake", "text/plain", ""},
			{"refuse@handshake,text=<html>", "text/html", ""},
			{"refuse@handshake,code=302", "text/plain", "/"},
			{"refuse@handshake,code=307,text=https://login.example/", "text/plain", "https://login.example/"},
			{"refuse@handshake,code=404,text=https://login.example/", "text/plain", ""},
		} {
			_, resp, err := handshake(t, s, "?fault="+url.QueryEscape(row.fault), nil)
			if err == nil || resp == nil {
				t.Fatalf("%s: %v", row.fault, err)
			}
			h := resp.Header
			if got, want := fmt.Sprint(h.Get("Content-Type"), h["Location"]), fmt.Sprint(row.kind, strings.Fields(row.location)); got != want {
				t.Errorf("%s: got %s, want %s", row.fault, got, want)
			}
		}
	})
}
