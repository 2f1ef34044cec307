package nlstest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"

	"github.com/nlsgo/nls/internal/effort"
)

func TestParseFault(t *testing.T) {
	for name, want := range map[string]Fault{
		"reset@after-start":                             {Do: Reset, At: AfterStart},
		"taskfailed@during-audio,code=50000000,after=3": {Do: TaskFailed, At: DuringAudio, Code: 50000000, After: 3},
		"refuse@handshake,code=503,text=a%2Cb 100%25 忙": {Do: Refuse, At: AtHandshake, Code: 503, Text: "a,b 100% 忙"},
		"trickle@on-stop,delay=1.5s":                    {Do: Trickle, At: OnStop, Delay: 1500 * time.Millisecond},
		"notjson@during-events,only":                    {Do: NotJSON, At: DuringEvents, Only: true},
	} {
		if f, err := ParseFault(name); err != nil || *f != want {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	for name, want := range map[string]string{
		"":                               "want action@point",
		"reset":                          "want action@point",
		"boom@on-start":                  "unknown action",
		"reset@lunch":                    "unknown point",
		"reset@on-start,loud":            `unknown option "loud"`,
		"close@on-start,code=x":          "invalid syntax",
		"close@on-start,code=65536":      "too long for a close frame",
		"delay@on-start,delay=5":         "missing unit",
		"hang@on-start,text=%zz":         "invalid URL escape",
		"hang@during-audio,after=-1":     "negative value",
		"refuse@on-start":                "refuse does not happen at on-start",
		"garbage@after-stop":             "garbage does not happen at after-stop",
		"twice@handshake":                "twice does not happen at handshake",
		"late@on-stop":                   "late does not happen at on-stop",
		"early@before-start":             "early does not happen at before-start",
		"refuse@handshake,code=42":       "no HTTP status",
		"hugetext@after-start,code=1e6":  "invalid syntax",
		"hugetext@after-start,code=9999": "above 1024 MiB",
	} {
		if f, err := ParseFault(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", name, f, err, want)
		}
	}
}

func TestEveryFaultHasANameThatParses(t *testing.T) {
	seen := map[string]bool{}
	for at := range Point(len(pointNames)) {
		happens := 0
		for do := range Action(len(actionNames)) {
			f := &Fault{At: at, Do: do}
			if f.check() != nil {
				continue
			}
			happens++
			back, err := ParseFault(f.String())
			if err != nil || *back != *f || seen[f.String()] {
				t.Errorf("%s: %+v, %v", f, back, err)
			}
			seen[f.String()] = true
		}
		if happens < 8 {
			t.Errorf("%d actions at %s", happens, at)
		}
	}
	if AfterStop != Point(len(pointNames)-1) || Idle != Action(len(actionNames)-1) {
		t.Error("the names are not those of the constants")
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("taskfailed@during-audio,code=50000000,after=3,text=a%2C,delay=1h2m,only")
	f.Add("hang@handshake")
	f.Fuzz(func(t *testing.T, name string) {
		fault, err := ParseFault(name)
		if err != nil {
			return
		}
		back, err := ParseFault(fault.String())
		if err != nil || *back != *fault {
			t.Errorf("%q is %+v, which is %q, which is %+v, %v", name, fault, fault, back, err)
		}
	})
}

// rawClient reads and writes frames without a websocket library in between.
type rawClient struct {
	net.Conn
	r      *bufio.Reader
	space  string
	taskID string
	appKey string
}

// rawDial opens a websocket with a fault.
func rawDial(t *testing.T, s *Server, space, fault string) *rawClient {
	t.Helper()
	c := rawConnect(t, s, fault)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v, %v", resp, err)
	}
	c.space = space
	return c
}

// rawConnect sends a handshake with a fault.
func rawConnect(t *testing.T, s *Server, fault string) *rawClient {
	t.Helper()
	cfg := s.Config()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	dial := cfg.NetDialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	query := url.Values{"token": {cfg.Token}, "fault": {fault}}
	if _, err := io.WriteString(conn, upgrade("/ws/v1?"+query.Encode(), anyKey)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{Conn: conn, r: bufio.NewReader(conn), taskID: wire.NewID(), appKey: cfg.AppKey}
}

// send sends a frame. What the server does is read, so errors do not matter.
func (c *rawClient) send(first byte, payload []byte) { c.Write(maskedFrame(first, payload)) }

func (c *rawClient) directive(name, payload string) {
	d := &client{space: c.space, taskID: c.taskID, appKey: c.appKey}
	c.send(wsframe.Fin|wsframe.Text, []byte(d.directive(name, payload)))
}

// frame reads one frame and says what it is.
func (c *rawClient) frame() (what string, err error) {
	f, err := wsframe.Read(c.r)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "half a frame", nil
	case err != nil:
		return "", err
	}
	var marks string
	if !f.Final() {
		marks += "fragment "
	}
	if f.First&wsframe.Reserved != 0 {
		marks += "rsv "
	}
	if f.Masked {
		marks += "masked "
	}
	if f.Final() && len(f.Payload) > 1<<20 {
		return fmt.Sprintf("%stext of %d MiB", marks, len(f.Payload)>>20), nil
	}
	switch opcode := f.Opcode(); {
	case opcode == wsframe.Binary:
		return fmt.Sprintf("%s%d bytes", marks, len(f.Payload)), nil
	case opcode == wsframe.Close && len(f.Payload) == 0:
		return "close", nil
	case opcode == wsframe.Close:
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(f.Payload), f.Payload[2:])), nil
	case opcode == wsframe.Ping && len(f.Payload) > 125:
		return "ping of 126 bytes", nil
	case opcode == wsframe.Ping:
		return "ping", nil
	case opcode == wsframe.Pong:
		return "pong", nil
	case opcode == wsframe.Continuation || !f.Final():
		return marks + "part", nil
	case opcode != wsframe.Text:
		return fmt.Sprintf("opcode %d", opcode), nil
	}
	return marks + c.event(f.Payload), nil
}

// event says what a text message is: the name of an event, and in what it is
// not as it should be.
func (c *rawClient) event(data []byte) string {
	var e struct {
		Header  *struct{ Namespace, Name, TaskID string }
		Payload json.RawMessage
	}
	var header struct {
		Header struct {
			TaskID     string `json:"task_id"`
			Status     int
			StatusText string `json:"status_text"`
		}
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Header == nil {
		return fmt.Sprintf("%q", data[:min(len(data), 40)])
	}
	if err := json.Unmarshal(data, &header); err != nil {
		return fmt.Sprintf("%q", data[:min(len(data), 40)])
	}
	what := e.Header.Name
	if what == "TaskFailed" {
		what += fmt.Sprintf(" %d %s", header.Header.Status, header.Header.StatusText)
	} else if e.Header.Namespace != c.space {
		what += "(namespace " + e.Header.Namespace + ")"
	}
	if header.Header.TaskID != c.taskID {
		what += "(task)"
	}
	if string(e.Payload) == "null" {
		what += "(null)"
	}
	if strings.Contains(string(data), "\xff\xfe") {
		what += "(not UTF-8)"
	}
	return what
}

// session runs a session, come what may: Start at 0 s, a sentence of audio or text at 1 s,
// Stop at 2 s, a ping at 3 s, and the end at 5 s. It returns what came and when.
func (c *rawClient) session() string {
	begin := time.Now()
	done := make(chan string)
	go func() {
		var got []string
		var last time.Duration = -1
		for {
			what, err := c.frame()
			at := time.Since(begin).Truncate(time.Millisecond)
			switch {
			case errors.Is(err, syscall.ECONNRESET):
				what = "reset"
			case err != nil && time.Since(begin) < 5*time.Second:
				what = "EOF"
			case err != nil:
				what = ""
			}
			if what != "" {
				if at != last {
					what = fmt.Sprintf("%v %s", at, what)
				}
				got = append(got, what)
				last = at
			}
			if err != nil {
				done <- strings.Join(got, ", ")
				return
			}
		}
	}()
	sleep := func(d time.Duration) { time.Sleep(time.Until(begin.Add(d))) }
	names := map[string][2]string{
		"SpeechTranscriber":        {"StartTranscription", "StopTranscription"},
		"SpeechRecognizer":         {"StartRecognition", "StopRecognition"},
		"SpeechSynthesizer":        {"StartSynthesis", ""},
		"FlowingSpeechSynthesizer": {"StartSynthesis", "StopSynthesis"},
	}[c.space]
	c.directive(names[0], `{"text":"好。"}`)
	sleep(time.Second)
	switch c.space {
	case "FlowingSpeechSynthesizer":
		c.directive("RunSynthesis", `{"text":"好。"}`)
	case "SpeechTranscriber", "SpeechRecognizer":
		c.send(wsframe.Fin|wsframe.Binary, sound(100*time.Millisecond, 16000))
		c.send(wsframe.Fin|wsframe.Binary, silence(time.Second, 16000))
	}
	sleep(2 * time.Second)
	if names[1] != "" {
		c.directive(names[1], "")
	}
	sleep(3 * time.Second)
	c.send(wsframe.Fin|wsframe.Ping, nil)
	sleep(5 * time.Second)
	c.Close()
	return <-done
}

func TestFaults(t *testing.T) {
	effort.Long(t)
	const (
		st   = "SpeechTranscriber"
		sr   = "SpeechRecognizer"
		tts  = "SpeechSynthesizer"
		flow = "FlowingSpeechSynthesizer"

		started = "0s TranscriptionStarted"
		results = ", 1s SentenceBegin, SentenceEnd"
		stopped = ", 2s TranscriptionCompleted"
		pong    = ", 3s pong"
		idle    = "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time"
	)
	for _, row := range []struct{ space, fault, want string }{
		{st, "", started + results + stopped + pong},
		{sr, "", "0s RecognitionStarted, 2s RecognitionCompleted, 3s pong"},
		{tts, "", "0s 3200 bytes, 3200 bytes, SynthesisCompleted, 3s pong"},
		{flow, "", "0s SynthesisStarted, 1s SentenceBegin, 3200 bytes, 3200 bytes, SentenceSynthesis, SentenceEnd, 2s SynthesisCompleted, 3s pong"},

		// Each action where it is most itself.
		{st, "hang@before-start", "3s pong"},
		{st, "hang@on-start", "3s pong"},
		{st, "hang@after-start", started + pong},
		{st, "hang@during-audio", started + pong},
		{st, "hang@on-stop", started + results + pong},
		{flow, "hang@during-text", "0s SynthesisStarted, 3s pong"},
		{tts, "hang@during-events,after=1", "0s 3200 bytes, 3s pong"},
		{st, "halfopen@after-start", started},
		{tts, "halfopen@during-events,after=1", "0s 3200 bytes"},
		{st, "reset@on-start", "0s reset"},
		{st, "reset@during-audio", started + ", 1s reset"},
		{st, "reset@on-stop", started + results + ", 2s reset"},
		{st, "eof@after-start", started + ", EOF"},
		{st, "eof@after-stop", started + results + stopped + ", EOF"},
		{flow, "eof@during-events,after=2", "0s SynthesisStarted, 1s SentenceBegin, 3200 bytes, EOF"},
		{st, "close@after-start,code=1001,text=bye", started + ", close 1001 bye, EOF"},
		{st, "close@on-stop", started + results + ", 2s close, EOF"},
		{tts, "close@during-events,code=4000", "0s close 4000, EOF"},
		{st, "taskfailed@before-start,code=40000010,text=trial", "0s TaskFailed 40000010 trial(task), close 1000, EOF"},
		{st, "taskfailed@on-start", "0s TaskFailed 50000000 Gateway:SERVER_ERROR:Server error!, close 1000, EOF"},
		{st, "taskfailed@during-audio,code=51040104,text=x,after=1", started + ", 1s SentenceBegin, TaskFailed 51040104 x, close 1000, EOF"},
		{st, "taskfailed@after-stop,code=50000000,text=late", started + results + stopped + ", TaskFailed 50000000 late, close 1000, EOF"},
		{st, "idle@before-start", "0s TaskFailed 40000004 " + idle + "!(task), close 1000, EOF"},
		{st, "idle@on-start", "0s TaskFailed 40000004 " + idle + ", the last directive is 'StartTranscription'!, close 1000, EOF"},
		{st, "idle@on-stop", started + results + ", 2s TaskFailed 40000004 " + idle + ", the last directive is 'StopTranscription'!, close 1000, EOF"},
		{st, "nopong@before-start", started + results + stopped},
		{flow, "stopreading@during-text", "0s SynthesisStarted, 1s SentenceBegin, 3200 bytes, 3200 bytes, SentenceSynthesis, SentenceEnd"},
		{st, "delay@on-start,delay=500ms", "500ms TranscriptionStarted" + results + stopped + pong},
		{st, "delay@after-start,delay=1500ms", started + ", 2.5s SentenceBegin, SentenceEnd, TranscriptionCompleted" + pong},
		{st, "delay@on-stop,delay=2s", started + results + ", 3s pong, 4s TranscriptionCompleted"},
		{st, "delay@during-events,after=1", started + ", 1s SentenceBegin, 2s SentenceEnd, TranscriptionCompleted" + pong},
		{st, "trickle@on-start,delay=1ms", "229ms TranscriptionStarted" + results + stopped + pong},
		{st, "trickle@on-stop,delay=10ms", started + results + ", 4.31s TranscriptionCompleted, 4.32s pong"},
		{st, "twice@on-start", started + ", TranscriptionStarted" + results + stopped + pong},
		{st, "twice@after-start", started + ", TranscriptionStarted" + results + stopped + pong},
		{st, "twice@on-stop", started + results + stopped + ", TranscriptionCompleted" + pong},
		{st, "twice@after-stop", started + results + stopped + ", TranscriptionCompleted" + pong},
		{tts, "twice@during-events", "0s 3200 bytes, 3200 bytes, 3200 bytes, SynthesisCompleted, 3s pong"},
		{st, "early@on-start", "0s TranscriptionCompleted, 3s pong"},
		{st, "early@during-audio,after=1", started + ", 1s SentenceBegin, TranscriptionCompleted" + pong},
		{sr, "early@after-start", "0s RecognitionStarted, RecognitionCompleted, 3s pong"},
		{flow, "early@during-events,after=1", "0s SynthesisStarted, 1s SentenceBegin, SynthesisCompleted, 3s pong"},
		{st, "late@after-stop", started + results + stopped + ", TranscriptionResultChanged" + pong},
		{sr, "late@after-stop", "0s RecognitionStarted, 2s RecognitionCompleted, RecognitionResultChanged, 3s pong"},
		{tts, "late@after-stop", "0s 3200 bytes, 3200 bytes, SynthesisCompleted, 320 bytes, 3s pong"},

		{st, "notjson@on-start", `0s "this is not JSON", TranscriptionStarted` + results + stopped + pong},
		{st, "notjson@on-start,only", `0s "this is not JSON"` + results + stopped + pong},
		{st, "notjson@during-events,after=1,only", started + `, 1s SentenceBegin, "this is not JSON"` + stopped + pong},
		{st, "notjson@on-stop,only", started + results + `, 2s "this is not JSON"` + pong},
		{st, "notjson@during-audio,only", started + `, 1s "this is not JSON", SentenceEnd` + stopped + pong},
		{st, "array@after-start", started + `, "[]"` + results + stopped + pong},
		{st, "emptytext@before-start", `0s "", TranscriptionStarted` + results + stopped + pong},
		{st, "noheader@on-stop", started + results + `, 2s "{\"payload\":{}}", TranscriptionCompleted` + pong},
		{st, "nullpayload@on-start,only", "0s TranscriptionStarted(null)" + results + stopped + pong},
		{st, "nullpayload@on-stop", started + results + ", 2s TranscriptionCompleted(null), TranscriptionCompleted" + pong},
		{st, "nullpayload@during-events", started + ", 1s SentenceBegin(null), SentenceBegin, SentenceEnd" + stopped + pong},
		{st, "wrongtypes@on-start", `0s "{\"header\":{\"namespace\":1,\"name\":[\"Transc", TranscriptionStarted` + results + stopped + pong},
		{st, "unknown@after-start", started + ", SomethingNew" + results + stopped + pong},
		{st, "unknown@before-start", "0s SomethingNew(namespace Default)(task), TranscriptionStarted" + results + stopped + pong},
		{st, "wrongnamespace@on-start,only", "0s TranscriptionStarted(namespace SpeechSomethingElse)" + results + stopped + pong},
		{st, "wrongtask@on-stop", started + results + ", 2s TranscriptionCompleted(task), TranscriptionCompleted" + pong},
		{st, "wrongtask@during-audio", started + ", 1s TranscriptionStarted(task), SentenceBegin, SentenceEnd" + stopped + pong},
		{flow, "wrongtask@during-text,only", "0s SynthesisStarted, 1s SynthesisStarted(task), 3200 bytes, 3200 bytes, SentenceSynthesis, SentenceEnd, 2s SynthesisCompleted, 3s pong"},
		{st, "invalidutf8@after-start", started + ", TranscriptionStarted(not UTF-8)" + results + stopped + pong},
		{st, "hugetext@after-start,code=3", started + ", text of 3 MiB" + results + stopped + pong},
		{st, "binary@after-start", started + ", 320 bytes" + results + stopped + pong},
		{tts, "binary@after-stop", "0s 3200 bytes, 3200 bytes, SynthesisCompleted, 320 bytes, 3s pong"},
		{st, "fragmented@on-start", "0s fragment part, ping, fragment part, part" + results + stopped + pong},
		{tts, "fragmented@during-events,after=1", "0s 3200 bytes, fragment 1066 bytes, ping, fragment part, part, SynthesisCompleted, 3s pong"},
		{st, "badopcode@after-start", started + ", opcode 3" + results + stopped + pong},
		{st, "rsv@after-start", started + ", rsv TranscriptionStarted" + results + stopped + pong},
		{st, "masked@on-start,only", "0s masked TranscriptionStarted" + results + stopped + pong},
		{st, "truncated@on-stop", started + results + ", 2s half a frame, EOF"},
		{st, "bigping@after-start", started + ", ping of 126 bytes" + results + stopped + pong},
	} {
		t.Run(strings.ReplaceAll(row.space+"/"+row.fault, ",", ";"), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := rawDial(t, start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}}), row.space, row.fault)
				if got := c.session(); got != row.want {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			})
		})
	}
}

// Every action at every point for every product: no panic, no wedge, and a server
// that goes on.
func TestNoFaultHarmsTheServer(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		tried := effort.OneIn(7)
		for _, space := range []string{"SpeechTranscriber", "SpeechRecognizer", "SpeechSynthesizer", "FlowingSpeechSynthesizer"} {
			for at := BeforeStart; at <= AfterStop; at++ {
				for do := range Action(len(actionNames)) {
					for _, only := range []bool{false, true} {
						f := &Fault{At: at, Do: do, Only: only, Delay: 10 * time.Millisecond}
						if f.check() != nil || do == Reset && at == BeforeStart || !tried() { // that reset loses the 101
							continue
						}
						rawDial(t, s, space, f.String()).session()
					}
				}
			}
		}
		s.CloseClientConnections()
		time.Sleep(time.Minute)
		if got := s.Stats(); got.Concurrent != 0 {
			t.Errorf("%d sessions are left", got.Concurrent)
		}
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
	})
}

func TestFaultsAtHandshake(t *testing.T) {
	// answer is what a client reads in an hour.
	answer := func(t *testing.T, fault string) (string, time.Duration) {
		c := rawConnect(t, start(t, Options{Pipe: true}), fault)
		begin := time.Now()
		c.SetDeadline(begin.Add(time.Hour))
		var got strings.Builder
		for {
			b := make([]byte, 1000)
			n, err := c.r.Read(b)
			got.Write(b[:n])
			switch {
			case errors.Is(err, syscall.ECONNRESET):
				return got.String() + "reset", time.Since(begin)
			case err == io.EOF:
				return got.String() + "EOF", time.Since(begin)
			case err != nil:
				return got.String() + "silence", time.Since(begin)
			case strings.HasSuffix(got.String(), "\r\n\r\n") && strings.HasPrefix(got.String(), "HTTP/1.1 101"):
				return got.String(), time.Since(begin)
			}
		}
	}
	const accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: Tengine\r\n\r\n"
	for _, row := range []struct {
		fault, want string
		after       time.Duration
	}{
		{"", accepted, 0},
		{"delay@handshake,delay=3s", accepted, 3 * time.Second},
		{"trickle@handshake,delay=10ms", accepted, 10 * time.Millisecond * time.Duration(len(accepted)-1)},
		{"garbage@handshake", "\x00\x01\x02 this is not HTTP\r\n\r\nsilence", time.Hour},
		{"garbage@handshake,code=101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: broken\r\n\r\n", 0},
		{"hang@handshake", "silence", time.Hour},
		{"halfopen@handshake", "silence", time.Hour},
		{"reset@handshake", "reset", 0},
		{"eof@handshake", "EOF", 0},
	} {
		t.Run(strings.ReplaceAll(row.fault, ",", ";"), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				got, after := answer(t, row.fault)
				if got != row.want || after != row.after {
					t.Errorf("got %q after %v\nwant %q after %v", got, after, row.want, row.after)
				}
			})
		})
	}
	t.Run("refuse", func(t *testing.T) {
		s := start(t, Options{})
		for fault, want := range map[string]string{
			"refuse@handshake":                          "403 Forbidden ",
			"refuse@handshake,code=503,text=too%20busy": "503 Service Unavailable too busy",
		} {
			query := url.Values{"token": {s.Config().Token}, "fault": {fault}}
			resp, body := get(t, s, upgrade("/ws/v1?"+query.Encode(), anyKey))
			if got := resp.Status + " " + body; got != want {
				t.Errorf("got %s", got)
			}
		}
	})
}

func TestResetAndEOFAreRealOnTCP(t *testing.T) {
	s := start(t, Options{})
	for fault, want := range map[string]error{
		"reset@before-start": syscall.ECONNRESET, "reset@handshake": syscall.ECONNRESET,
		"eof@before-start": io.EOF, "eof@handshake": io.EOF,
	} {
		c := rawConnect(t, s, fault)
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if strings.HasSuffix(fault, "before-start") {
			// The 101 may be lost in the reset.
			http.ReadResponse(c.r, nil)
		}
		if _, err := c.r.ReadByte(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", fault, err, want)
		}
	}
}

func TestOptionsFaultIsAskedOnceForEachConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var asked []string
		s := start(t, Options{Pipe: true, Fault: func(r *http.Request) *Fault {
			asked = append(asked, r.URL.Query().Get("n"))
			if len(asked) == 2 {
				return &Fault{At: AfterStart, Do: TaskFailed, Code: 50000000, Text: "second"}
			}
			return nil
		}})
		for _, n := range []string{"1", "2", "3"} {
			c := dial(t, s, "SpeechTranscriber", "?n="+n)
			enter(c, "working")
			if n == "2" {
				c.wantFailed(50000000, "second")
			} else {
				c.wantSilence(time.Second)
			}
		}
		if !slices.Equal(asked, []string{"1", "2", "3"}) {
			t.Errorf("asked %q", asked)
		}
	})
}

func TestOptionsFaultThatCannotHappenIsRefused(t *testing.T) {
	s := start(t, Options{Fault: func(*http.Request) *Fault { return &Fault{At: OnStop, Do: Refuse} }})
	_, resp, err := handshake(t, s, "", nil)
	if err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("got %v, %v", resp, err)
	}
}

// A program that builds its own URL names a fault in what it is configured with.
func TestAFaultCanBeATokenOrAnAppKey(t *testing.T) {
	open := func(t *testing.T, token string) (*client, *http.Response) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		ws, resp, err := handshake(t, s, "", http.Header{"X-NLS-Token": {token}})
		if err != nil {
			return nil, resp
		}
		t.Cleanup(func() { ws.Close() })
		return &client{t: t, ws: ws, space: "SpeechTranscriber", taskID: wire.NewID(), appKey: s.Config().AppKey}, resp
	}
	const failure = "taskfailed@after-start,code=40000005"
	for _, row := range []struct {
		name, token, appKey string
		status              int
		text                string // of a TaskFailed, or of the refused handshake
	}{
		{"token", "fault:" + failure, "", 40000005, "Gateway:TOO_MANY_REQUESTS:Too many requests!"},
		{"AppKey", "", "fault:" + failure, 40000005, "Gateway:TOO_MANY_REQUESTS:Too many requests!"},
		{"the task's goes before", "fault:hang@after-start", "fault:" + failure, 40000005, "Gateway:TOO_MANY_REQUESTS:Too many requests!"},
		{"handshake, by token", "fault:refuse@handshake,code=503,text=busy", "", 503, "busy"},
		{"no fault, token", "fault:boom@on-start", "", 400, `nlstest: fault "boom@on-start": unknown action`},
		{"no fault, AppKey", "", "fault:boom@on-start", 40020105, `nlstest: fault "boom@on-start": unknown action`},
		{"handshake, by AppKey", "", "fault:refuse@handshake", 40020105, "nlstest: fault refuse: a task has no point handshake"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, resp := open(t, orDefault(row.token, defaultToken))
				if row.status < 1000 {
					if body, _ := io.ReadAll(resp.Body); resp.StatusCode != row.status || string(body) != row.text {
						t.Errorf("got %s %s", resp.Status, body)
					}
					return
				}
				c.appKey = orDefault(row.appKey, c.appKey)
				c.send("StartTranscription", "{}")
				if row.status == 40000005 {
					c.want("TranscriptionStarted")
				}
				c.wantFailed(row.status, row.text)
			})
		})
	}
}

func TestAnAppKeyWithAFaultServesTaskAfterTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		good := c.appKey
		for _, appKey := range []string{good, "fault:twice@on-stop", good, "fault:twice@on-stop"} {
			c.appKey, c.taskID = appKey, wire.NewID()
			enter(c, "working")
			c.send("StopTranscription", "")
			c.want("TranscriptionCompleted")
			if appKey != good {
				c.want("TranscriptionCompleted")
			}
		}
	})
}

// A fault that has not happened in its task does not happen in the next one.
func TestAFaultOfATaskEndsWithIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		good := c.appKey
		for _, appKey := range []string{"fault:taskfailed@during-audio", good} {
			c.appKey, c.taskID = appKey, wire.NewID()
			enter(c, "working")
			if appKey == good {
				c.binary(silence(time.Second, 16000))
			}
			c.send("StopTranscription", "")
			c.want("TranscriptionCompleted")
		}
	})
}

func TestTaskFaultChoosesByProductAndTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var asked []Task
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}, TaskFault: func(k Task) *Fault {
			asked = append(asked, k)
			if k.Namespace == "SpeechRecognizer" && k.Number == 2 {
				return &Fault{Do: TaskFailed, At: DuringAudio, Code: 41010105}
			}
			return nil
		}})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		c.send("StopTranscription", "")
		c.want("TranscriptionCompleted")
		first := c.taskID
		c.space, c.taskID = "SpeechRecognizer", wire.NewID()
		enter(c, "working")
		c.binary(silence(time.Second, 16000))
		c.wantFailed(41010105, "SILENT_SPEECH")

		c2 := dial(t, s, "SpeechRecognizer", "")
		enter(c2, "working")
		c2.binary(silence(time.Second, 16000))
		c2.send("StopRecognition", "")
		c2.until("RecognitionCompleted")
		key := s.Config().AppKey
		want := []Task{{1, 1, key, "SpeechTranscriber", first}, {1, 2, key, "SpeechRecognizer", c.taskID}, {2, 1, key, "SpeechRecognizer", c2.taskID}}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %+v\nwant %+v", asked, want)
		}
	})
}

func TestATaskFaultThatCannotHappenFailsTheTask(t *testing.T) {
	c := dial(t, start(t, Options{TaskFault: func(Task) *Fault { return &Fault{Do: Hang, At: BeforeStart} }}), "SpeechTranscriber", "")
	c.send("StartTranscription", "{}")
	c.wantFailed(50000000, "nlstest: fault hang: a task has no point before-start")
}

func TestAFaultWithoutATextHasOne(t *testing.T) {
	for status, want := range map[int]string{
		0:        "Gateway:SERVER_ERROR:Server error!",
		50000000: "Gateway:SERVER_ERROR:Server error!",
		51020001: "Gateway:SERVER_ERROR:Server error!",
		40000000: "Gateway:CLIENT_ERROR:Empty audio data!",
		40000001: "Gateway:ACCESS_DENIED:Missing authorization header!",
		40000004: "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time!",
		40000005: "Gateway:TOO_MANY_REQUESTS:Too many requests!",
		40000010: "Gateway:FREE_TRIAL_EXPIRED:The free trial has expired!",
		40020105: "Meta:APPKEY_NOT_EXIST:Appkey not exist!",
		40020106: "Meta:APPKEY_UID_MISMATCH:Appkey and user mismatch!",
		41040201: "Realtime:GET_CLIENT_DATA_TIMEOUT:Client data does not send continuously!",
		49999999: "Gateway:CLIENT_ERROR:Client error!",
	} {
		inBubble(t, func(t *testing.T) {
			f := Fault{Do: TaskFailed, At: OnStart, Code: status}
			c := dial(t, start(t, Options{Pipe: true}), "SpeechTranscriber", "?fault="+url.QueryEscape(f.String()))
			c.send("StartTranscription", "{}")
			c.wantFailed(orDefault(status, 50000000), want)
		})
	}
}

func TestStuckConnectionsEndWithTheServer(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		s := NewServer(opts)
		for _, fault := range []string{"halfopen@before-start", "hang@before-start", "stopreading@before-start", "trickle@on-start,delay=1h", "delay@on-start,delay=1h"} {
			c := dial(t, s, "SpeechTranscriber", "?fault="+url.QueryEscape(fault))
			c.send("StartTranscription", "{}")
		}
		begin := time.Now()
		s.Close()
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}
