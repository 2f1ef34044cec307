package interop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/nlsgo/nls/internal/wsframe"
)

// dialect is what an official SDK that does not run here does on the wire
// (protocol §1.2, §1.6, §2.1).
type dialect struct {
	name       string
	handshake  []string // header lines after Host; %s is the token, %k a random key
	tokenQuery bool     // the token is in the URL
	constant   bool     // every frame has the mask 12 34 56 78
	context    string   // JSON of the SDK's context, "" for none
	header     string   // JSON of more header fields
	stop       string   // JSON of the payload of Stop, "" for none
	control    string   // name of the directive
	encode     func(string) string
	goodbye    func(*socket) // after Completed
	oneID      bool          // message_id is task_id
}

const upgradeLines = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"

var dialects = []dialect{
	{
		// websocket-client of Python adds its own key and version, and the SDK
		// adds constant ones; the first key is the one that is checked.
		name: "Python",
		handshake: []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: http://127.0.0.1", "Sec-WebSocket-Key: %k", "Sec-WebSocket-Version: 13",
			"X-NLS-Token: %s", "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Version: 13"},
		context: `{"sdk":{"name":"nls-python-sdk","version":"0.0.1","language":"python"}}`,
		control: "ControlTranscriber",
		encode:  asPython,
		goodbye: func(s *socket) { s.closeWithin(websocketNormal, 3*time.Second) },
	},
	{
		name:      "C++",
		handshake: []string{upgradeLines, "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", "X-NLS-Token: %s"},
		constant:  true,
		context:   `{"sdk":{"name":"nls-cpp-sdk3.x-linux","version":"3.2.0a","language":"C++"},"network":{"upgrade_cost":49}}`,
		control:   "ControlTranscriber",
		encode:    func(s string) string { return s + "\n" },
		goodbye:   func(s *socket) { s.conn.Close() }, // no Close frame
	},
	{
		name:      "Java",
		handshake: []string{"upgrade: websocket", "connection: upgrade", "sec-websocket-key: %k", "sec-websocket-version: 13", "origin: http://127.0.0.1", "X-NLS-Token: %s"},
		context:   `{"sdk":{"name":"nls-sdk-java","version":"2.2.1"},"network":{"connect_cost":122,"upgrade_cost":49}}`,
		header:    `"session_id":"5f6071829304152600112233445566aa"`,
		control:   "UpdateControl",
		goodbye: func(s *socket) {
			time.Sleep(500 * time.Millisecond) // the link stays open until close()
			s.closeWithin(0, 3*time.Second)
		},
	},
	{
		name: "browser",
		handshake: []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket", "Pragma: no-cache", "Cache-Control: no-cache", "User-Agent: Mozilla/5.0",
			"Origin: https://app.example", "Sec-WebSocket-Version: 13", "Accept-Encoding: gzip, deflate, br", "Accept-Language: zh-CN",
			"Sec-WebSocket-Key: %k", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"},
		tokenQuery: true,
		context:    `{"sdk":{"name":"nls-wx-sdk","version":"0.0.1","language":"wxjs"}}`,
		header:     `"status":20000000,"status_text":""`,
		stop:       `{"enable_words":true}`,
		control:    "ControlTranscription",
		goodbye:    func(s *socket) { s.closeWithin(websocketNormal, 3*time.Second) },
	},
	{
		// Of no SDK, and deployed: every message of a task has the ID of the task.
		name: "third party",
		handshake: []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: %k", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "User-Agent: Python/3.10 websockets/14.2", "X-NLS-Token: %s"},
		control: "ControlTranscriber",
		oneID:   true,
		goodbye: func(s *socket) { s.closeWithin(websocketNormal, 3*time.Second) },
	},
}

const websocketNormal = 1000

// asPython writes JSON as json.dumps does: with spaces, in ASCII.
func asPython(s string) string {
	var b strings.Builder
	quoted := false
	var last rune
	for _, r := range s {
		switch {
		case r == '"' && last != '\\':
			quoted = !quoted
			b.WriteRune(r)
		case !quoted && (r == ':' || r == ','):
			b.WriteRune(r)
			b.WriteByte(' ')
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		case r > 0x7e:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		if last == '\\' && r == '\\' {
			r = 0 // the second of a pair escapes nothing
		}
		last = r
	}
	return b.String()
}

// socket is a websocket client on a bare connection. It reads as the strictest of
// the official SDKs does.
type socket struct {
	t       *testing.T
	conn    net.Conn
	r       *bufio.Reader
	dialect *dialect
	appKey  string
	space   string // of the directives
	taskID  string
}

func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// handshake opens a connection to the gateway at gatewayURL and sends the
// handshake of d. It returns the answer.
func handshake(t *testing.T, gatewayURL, token string, d *dialect) (*socket, *http.Response) {
	t.Helper()
	u, err := url.Parse(gatewayURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	target := u.Path
	if d.tokenQuery {
		target += "?token=" + url.QueryEscape(token)
	}
	nonce := make([]byte, 16)
	rand.Read(nonce)
	lines := strings.Join(d.handshake, "\r\n")
	lines = strings.NewReplacer("%s", token, "%k", base64.StdEncoding.EncodeToString(nonce)).Replace(lines)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", target, u.Host, lines); err != nil {
		t.Fatal(err)
	}
	s := &socket{t: t, conn: conn, r: bufio.NewReader(conn), dialect: d}
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_, key, _ := strings.Cut(strings.ToLower(lines), "sec-websocket-key: ")
		key = lines[len(lines)-len(key):]
		key, _, _ = strings.Cut(key, "\r\n")
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		if got, want := resp.Header.Get("Sec-WebSocket-Accept"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
			t.Errorf("accept key %q, want %q for the first key", got, want)
		}
	}
	return s, resp
}

// open is handshake for a client that is let in.
func open(t *testing.T, g *gateway, url string, d *dialect) *socket {
	t.Helper()
	s, resp := handshake(t, url, g.Token, d)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the gateway answers %s", resp.Status)
	}
	s.appKey = g.AppKey
	return s
}

func (s *socket) frame(opcode byte, payload []byte) {
	s.t.Helper()
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	if !s.dialect.constant {
		rand.Read(mask[:])
	}
	if _, err := s.conn.Write(wsframe.AppendMasked(nil, 0x80|opcode, payload, mask)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) binary(payload []byte) { s.t.Helper(); s.frame(wsframe.Binary, payload) }

// send sends a directive; payload is JSON, or "" for none.
func (s *socket) send(name, payload string) {
	s.t.Helper()
	id := newID()
	if s.dialect.oneID {
		id = s.taskID
	}
	s.frame(wsframe.Text, []byte(s.directive(id, name, payload)))
}

func (s *socket) directive(messageID, name, payload string) string {
	header := fmt.Sprintf(`"appkey":%q,"message_id":%q,"task_id":%q,"namespace":%q,"name":%q`, s.appKey, messageID, s.taskID, s.space, name)
	if s.dialect.header != "" {
		header += "," + s.dialect.header
	}
	d := `{"header":{` + header + `}`
	if payload != "" {
		d += `,"payload":` + payload
	}
	if s.dialect.context != "" {
		d += `,"context":` + s.dialect.context
	}
	d += "}"
	if s.dialect.encode != nil {
		d = s.dialect.encode(d)
	}
	return d
}

// start sends the Start of a new task in a namespace.
func (s *socket) start(space, name, payload string) {
	s.t.Helper()
	s.space, s.taskID = space, newID()
	s.send(name, payload)
}

// read reads one frame.
func (s *socket) read() wsframe.Frame {
	s.t.Helper()
	f, err := wsframe.Read(s.r)
	if err != nil {
		s.t.Fatal(err)
	}
	if !f.Final() || f.Opcode() == wsframe.Continuation || f.Opcode() == wsframe.Ping || f.Masked {
		s.t.Fatalf("frame %#x, which C++ cannot read", f.First)
	}
	return f
}

// until reads up to the event of a name. It returns the events before and with
// it, and the audio between them.
func (s *socket) until(name string) (events []event, audio []byte) {
	s.t.Helper()
	for {
		f := s.read()
		switch f.Opcode() {
		case wsframe.Binary:
			audio = append(audio, f.Payload...)
		case wsframe.Text:
			var e event
			if err := json.Unmarshal(f.Payload, &e); err != nil {
				s.t.Fatalf("%v: %s", err, f.Payload)
			}
			if e.Header.Status == 0 || e.Header.TaskID != s.taskID {
				s.t.Fatalf("event of another task than %s: %s", s.taskID, f.Payload)
			}
			events = append(events, e)
			if e.Header.Name == name {
				return events, audio
			}
			if e.Header.Name == "TaskFailed" {
				s.t.Fatalf("waiting for %s: %s", name, f.Payload)
			}
		default:
			s.t.Fatalf("waiting for %s: frame %#x %q", name, f.First, f.Payload)
		}
	}
}

// wantFailed reads a TaskFailed, the close frame after it and the end.
func (s *socket) wantFailed(status int, text string) {
	s.t.Helper()
	events, _ := s.until("TaskFailed")
	if h := events[len(events)-1].Header; h.Namespace != "Default" || h.Status != status || h.StatusText != text {
		s.t.Errorf("got %+v, want %d %s", h, status, text)
	}
	s.wantClose(websocketNormal)
}

// wantClose reads a close frame and the end of the connection. Code 0 stands for
// none.
func (s *socket) wantClose(code int) {
	s.t.Helper()
	f := s.read()
	var want []byte
	if code != 0 {
		want = binary.BigEndian.AppendUint16(nil, uint16(code))
	}
	if f.Opcode() != wsframe.Close || !bytes.Equal(f.Payload, want) {
		s.t.Errorf("got frame %#x %q, want close %d", f.First, f.Payload, code)
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		s.t.Errorf("after the close frame: %v", err)
	}
}

// closeWithin sends a close frame and waits for the server's, and the end.
func (s *socket) closeWithin(code int, patience time.Duration) {
	s.t.Helper()
	var payload []byte
	if code != 0 {
		payload = binary.BigEndian.AppendUint16(nil, uint16(code))
	}
	s.frame(wsframe.Close, payload)
	s.conn.SetReadDeadline(time.Now().Add(patience))
	s.wantClose(code)
	s.conn.Close()
}
