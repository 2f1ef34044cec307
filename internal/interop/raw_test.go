package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
)

// everyDialect runs f for each dialect, all at once.
func everyDialect(t *testing.T, product, note string, f func(t *testing.T, d *dialect)) {
	for i := range dialects {
		d := &dialects[i]
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			results.record(t, d.name+" on the wire", product, note)
			f(t, d)
		})
	}
}

func readPCM(t *testing.T) []byte {
	t.Helper()
	pcm, err := os.ReadFile(testPCM)
	if err != nil {
		t.Fatal(err)
	}
	return pcm
}

// audio sends pcm in messages of 100 ms.
func (s *socket) audio(pcm []byte) {
	s.t.Helper()
	for len(pcm) > 0 {
		n := min(3200, len(pcm))
		s.binary(pcm[:n])
		pcm = pcm[n:]
	}
}

// recognise runs a task of SpeechRecognizer and returns its text.
func (s *socket) recognise(pcm []byte) string {
	s.t.Helper()
	s.start("SpeechRecognizer", "StartRecognition", `{"format":"pcm","sample_rate":16000,"enable_intermediate_result":false,"enable_punctuation_prediction":true}`)
	s.until("RecognitionStarted")
	s.audio(pcm)
	s.send("StopRecognition", s.dialect.stop)
	events, _ := s.until("RecognitionCompleted")
	return events[len(events)-1].Payload.Result
}

func TestWireRecognition(t *testing.T) {
	g, pcm := startGateway(t), readPCM(t)
	everyDialect(t, "recognition", "exact text", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		if got := s.recognise(pcm); got != testText {
			t.Errorf("recognised %q", got)
		}
		d.goodbye(s)
	})
}

func TestWireTranscription(t *testing.T) {
	g, pcm := startGateway(t), readPCM(t)
	everyDialect(t, "transcription, control", "exact text", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		s.start("SpeechTranscriber", "StartTranscription", `{"format":"pcm","sample_rate":16000,"enable_words":true,"enable_punctuation_prediction":true,"junk":[null]}`)
		s.until("TranscriptionStarted")
		s.audio(pcm[:len(pcm)/2])
		s.send(d.control, `{"max_sentence_silence":1500}`)
		s.audio(pcm[len(pcm)/2:])
		s.send("StopTranscription", d.stop)
		events, _ := s.until("TranscriptionCompleted")
		var text strings.Builder
		for _, e := range events {
			if e.Header.Name == "SentenceEnd" {
				text.WriteString(e.Payload.Result)
			}
		}
		if text.String() != testText {
			t.Errorf("transcribed %q", text.String())
		}
		d.goodbye(s)
	})
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWireSynthesis(t *testing.T) {
	g := startGateway(t)
	everyDialect(t, "synthesis, short and long", "exact text, read by the same client", func(t *testing.T, d *dialect) {
		for _, space := range []string{"SpeechSynthesizer", "SpeechLongSynthesizer"} {
			s := open(t, g, newTap(t, g.URL).URL, d)
			s.start(space, "StartSynthesis", `{"voice":"siqi","format":"pcm","sample_rate":16000,"enable_subtitle":true,"text":`+quoted(t, shortText)+`}`)
			events, pcm := s.until("SynthesisCompleted")
			if len(events) < 2 {
				t.Errorf("no subtitles: %v", events)
			}
			if got := s.recognise(pcm); got != shortText {
				t.Errorf("%s says %q", space, got)
			}
			d.goodbye(s)
		}
	})
}

func TestWireFlowingSynthesis(t *testing.T) {
	g := startGateway(t)
	everyDialect(t, "flowing synthesis", "exact text, read by the same client", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		params := `"voice":"longxiaochun","format":"pcm","sample_rate":16000,"volume":50,"session_id":"5f60","volumn":80`
		s.start("FlowingSpeechSynthesizer", "StartSynthesis", `{`+params+`}`)
		s.until("SynthesisStarted")
		for piece := range strings.SplitAfterSeq(shortText, " ") {
			payload := `{"text":` + quoted(t, piece) + `}`
			if d.name == "C++" {
				payload = `{` + params + `,"text":` + quoted(t, piece) + `}`
			}
			s.send("RunSynthesis", payload)
		}
		s.send("StopSynthesis", d.stop)
		events, pcm := s.until("SynthesisCompleted")
		if h, p := events[0].Header, events[0].Payload; h.Name != "SentenceBegin" || p.Index != 0 {
			t.Errorf("begins with %+v %+v", h, p)
		}
		if got := s.recognise(pcm); got != shortText {
			t.Errorf("says %q", got)
		}
		d.goodbye(s)
	})
}

func TestWireRefusedToken(t *testing.T) {
	g := startGateway(t)
	everyDialect(t, "refused token", "HTTP 403 with a text", func(t *testing.T, d *dialect) {
		_, resp := handshake(t, newTap(t, g.URL).URL, "wrong", d)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusForbidden || string(body) != "Meta:ACCESS_DENIED:The token 'wrong' is invalid!" {
			t.Errorf("%s %q %v", resp.Status, body, err)
		}
		if got := resp.Header.Get("Content-Length"); got != fmt.Sprint(len(body)) {
			t.Errorf("Content-Length: %q", got)
		}
	})
}

func TestWireUnknownAppKey(t *testing.T) {
	g := startGateway(t)
	everyDialect(t, "unknown appkey", "40020105", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		s.appKey = "unknown"
		s.start("SpeechRecognizer", "StartRecognition", `{}`)
		s.wantFailed(nls.StatusAppKeyNotExist, "Meta:APPKEY_NOT_EXIST:Appkey not exist!")
	})
}

// However a client leaves, it leaves its place to the next.
func TestWireTooManySessions(t *testing.T) {
	pcm := readPCM(t)
	everyDialect(t, "too many sessions", "40000005, then served", func(t *testing.T, d *dialect) {
		g := startGateway(t, "-max-sessions", "1")
		url := newTap(t, g.URL).URL
		for range 3 {
			first := open(t, g, url, d)
			first.start("SpeechTranscriber", "StartTranscription", `{}`)
			first.until("TranscriptionStarted")

			second := open(t, g, url, d)
			second.start("SpeechTranscriber", "StartTranscription", `{}`)
			second.wantFailed(nls.StatusTooManyRequests, "Gateway:TOO_MANY_REQUESTS:Too many requests!")

			first.send("StopTranscription", d.stop)
			first.until("TranscriptionCompleted")
			third := open(t, g, url, d)
			if got := third.recognise(pcm); got != testText {
				t.Errorf("recognised %q", got)
			}
			d.goodbye(third)
			d.goodbye(first)
		}
		// One that just goes away in the middle of a task leaves its place too, at the
		// idle cut.
		g = startGateway(t, "-max-sessions", "1", "-idle-timeout", "1s")
		url = newTap(t, g.URL).URL
		s := open(t, g, url, d)
		s.start("SpeechTranscriber", "StartTranscription", `{}`)
		s.until("TranscriptionStarted")
		s.conn.Close()
		for deadline := time.Now().Add(10 * time.Second); ; {
			s := open(t, g, url, d)
			s.start("SpeechTranscriber", "StartTranscription", `{}`)
			if events, _ := s.first(); events.Header.Name == "TranscriptionStarted" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the place of a client that has gone stays taken")
			}
		}
	})
}

// first reads the first event of a task.
func (s *socket) first() (e event, raw []byte) {
	s.t.Helper()
	f := s.read()
	if err := json.Unmarshal(f.Payload, &e); err != nil {
		s.t.Fatalf("%v: %q", err, f.Payload)
	}
	return e, f.Payload
}

// A socket serves one task after the other, of any product, each with an ID of its own.
func TestWireSocketIsUsedAgain(t *testing.T) {
	g, pcm := startGateway(t), readPCM(t)
	everyDialect(t, "same socket again", "4 tasks", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		for range 2 {
			if got := s.recognise(pcm); got != testText {
				t.Errorf("recognised %q", got)
			}
			s.start("SpeechSynthesizer", "StartSynthesis", `{"text":"再"}`)
			if _, audio := s.until("SynthesisCompleted"); len(audio) == 0 {
				t.Error("no audio")
			}
		}
		d.goodbye(s)
	})
}

// Python pings every 8 seconds while audio flows, and is answered each time.
func TestWirePythonPings(t *testing.T) {
	t.Parallel()
	results.record(t, "Python on the wire", "ping every 8 s", "answered for 16 s")
	g, d := startGateway(t), &dialects[0]
	s := open(t, g, newTap(t, g.URL).URL, d)
	s.start("SpeechTranscriber", "StartTranscription", `{}`)
	s.until("TranscriptionStarted")
	ping := time.NewTicker(8 * time.Second)
	defer ping.Stop()
	audio := time.NewTicker(200 * time.Millisecond)
	defer audio.Stop()
	for pings := 0; pings < 2; {
		select {
		case <-audio.C:
			s.binary(make([]byte, 6400))
		case <-ping.C:
			pings++
			s.frame(wsframe.Ping, nil)
			if f := s.read(); f.Opcode() != wsframe.Pong || len(f.Payload) != 0 {
				t.Fatalf("the answer to a ping is %#x %q", f.First, f.Payload)
			}
		}
	}
	s.send("StopTranscription", "")
	s.until("TranscriptionCompleted")
	d.goodbye(s)
}

// A ping gets its payload back.
func TestWirePingPayload(t *testing.T) {
	g := startGateway(t)
	everyDialect(t, "ping", "echoed", func(t *testing.T, d *dialect) {
		s := open(t, g, newTap(t, g.URL).URL, d)
		for _, payload := range []string{"", "x", strings.Repeat("y", 125)} {
			s.frame(wsframe.Ping, []byte(payload))
			if f := s.read(); f.Opcode() != wsframe.Pong || string(f.Payload) != payload {
				t.Errorf("the answer to %q is %#x %q", payload, f.First, f.Payload)
			}
		}
		d.goodbye(s)
	})
}

// A link that stays open after Completed, as Java's does, is cut when it has been
// idle for too long, and not before.
func TestWireJavaIdle(t *testing.T) {
	t.Parallel()
	results.record(t, "Java on the wire", "idle after Completed", "cut with 40000004 at the idle timeout")
	g, pcm := startGateway(t, "-idle-timeout", "3s"), readPCM(t)
	s := open(t, g, newTap(t, g.URL).URL, &dialects[2])
	s.recognise(pcm)
	time.Sleep(1500 * time.Millisecond)
	s.recognise(pcm)
	completed := time.Now()
	s.wantFailed(nls.StatusIdleTimeout, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StopRecognition'!")
	if idle := time.Since(completed); idle < 2900*time.Millisecond || idle > 8*time.Second {
		t.Errorf("cut after %v", idle)
	}
}

// What the service refuses of any client (protocol §2.1, §3.1, §12).
func TestWireRefusals(t *testing.T) {
	const routing = "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'"
	id := "0123456789abcdef0123456789abcdef"
	withID := func(id string) func(*socket) {
		return func(s *socket) {
			s.frame(wsframe.Text, []byte(s.directive(id, "StartRecognition", `{}`)))
		}
	}
	for _, test := range []struct {
		name   string
		do     func(s *socket)
		status int
		text   string
	}{
		{"upper-case message ID", withID(strings.ToUpper(id)), nls.StatusMessageInvalid,
			"Gateway:MESSAGE_INVALID:Invalid message id '" + strings.ToUpper(id) + "'!"},
		{"message ID with dashes", withID("01234567-89ab-cdef-0123-456789abcdef"), nls.StatusMessageInvalid,
			"Gateway:MESSAGE_INVALID:Invalid message id '01234567-89ab-cdef-0123-456789abcdef'!"},
		{"short message ID", withID(id[1:]), nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Invalid message id '" + id[1:] + "'!"},
		{"audio before Started", func(s *socket) {
			s.start("SpeechRecognizer", "StartRecognition", `{}`)
			s.binary(make([]byte, 320))
		}, nls.StatusMessageInvalid, routing},
		{"audio before Started, transcription", func(s *socket) {
			s.start("SpeechTranscriber", "StartTranscription", `{}`)
			s.binary(make([]byte, 320))
		}, nls.StatusMessageInvalid, routing},
		{"Stop without a task", func(s *socket) { s.send("StopRecognition", "") }, nls.StatusTaskStateError,
			"Gateway:TASK_STATE_ERROR:State is not WORKING, empty body data or appkey illegal, can not handle last content!"},
		{"Stop without appkey", func(s *socket) {
			s.start("SpeechRecognizer", "StartRecognition", `{}`)
			s.until("RecognitionStarted")
			s.appKey = ""
			s.send("StopRecognition", "")
		}, nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Missing message appkey!"},
		{"no header", func(s *socket) {
			s.taskID = strings.Repeat("0", 32)
			s.frame(wsframe.Text, []byte(`{"payload":{}}`))
		}, nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Missing message header!"},
		{"Stop without audio", func(s *socket) {
			s.start("SpeechRecognizer", "StartRecognition", `{}`)
			s.until("RecognitionStarted")
			s.send("StopRecognition", "")
		}, nls.StatusClientError, "Gateway:CLIENT_ERROR:Empty audio data!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t)
			s := open(t, g, newTap(t, g.URL).URL, &dialects[3])
			s.space, s.taskID = "SpeechRecognizer", newID()
			test.do(s)
			s.wantFailed(test.status, test.text)
		})
	}
	// An upper-case task ID is not one that could be echoed.
	t.Run("upper-case task ID", func(t *testing.T) {
		t.Parallel()
		g := startGateway(t)
		s := open(t, g, newTap(t, g.URL).URL, &dialects[3])
		s.space, s.taskID = "SpeechRecognizer", strings.ToUpper(id)
		s.send("StartRecognition", `{}`)
		e, raw := s.first()
		if want := "Gateway:MESSAGE_INVALID:Invalid task id '" + strings.ToUpper(id) + "'!"; e.Header.Status != nls.StatusMessageInvalid || e.Header.StatusText != want {
			t.Errorf("got %s", raw)
		}
		s.wantClose(websocketNormal)
	})
}

// A client that sends audio behind its Start without waiting for the answer is
// refused, however little it sends (protocol §11.25).
func TestWireAudioWithoutWaiting(t *testing.T) {
	g, pcm := startGateway(t), readPCM(t)
	everyDialect(t, "Start and audio without waiting", "refused with 40000002", func(t *testing.T, d *dialect) {
		for _, product := range [][2]string{{"SpeechRecognizer", "StartRecognition"}, {"SpeechTranscriber", "StartTranscription"}} {
			s := open(t, g, newTap(t, g.URL).URL, d)
			s.start(product[0], product[1], `{"format":"pcm","sample_rate":16000}`)
			s.binary(pcm[:640])
			s.wantFailed(nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'")
		}
	})
}

// A Start in a binary frame is taken for audio, and swallowed (protocol §11.27).
func TestWireStartInABinaryFrame(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "-idle-timeout", "1s")
	s := open(t, g, newTap(t, g.URL).URL, &dialects[3])
	s.space, s.taskID = "SpeechRecognizer", newID()
	s.binary([]byte(s.directive(newID(), "StartRecognition", `{}`)))
	s.taskID = strings.Repeat("0", 32)
	s.wantFailed(nls.StatusIdleTimeout, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time!")
}

// Text that is not UTF-8 ends the connection without an event (protocol §1.6).
func TestWireTextIsNotUTF8(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	s := open(t, g, newTap(t, g.URL).URL, &dialects[1])
	s.frame(wsframe.Text, []byte("{\"header\":\"\xff\"}"))
	f := s.read()
	if f.Opcode() != wsframe.Close || binary.BigEndian.Uint16(f.Payload) != 1007 {
		t.Errorf("got %#x %q", f.First, f.Payload)
	}
}
