package nlstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/conformance"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// Two accounts, each with an app key and a token.
func twoAccounts() Options {
	return Options{
		AppKeys: map[string]string{"honest-key": "honest", "vandal-key": "vandal", "vandal-key-2": "vandal"},
		Tokens:  map[string]string{"honest-token": "honest", "vandal-token": "vandal"},
	}
}

// vandal is a connection of a client that means harm.
type vandal struct {
	*rand.Rand
	net.Conn
}

// handshake sends a good handshake and reads the answer. It reports whether the
// client is in.
func (v *vandal) handshake(query string) bool {
	io.WriteString(v, upgrade(gatewayPath+"?token=vandal-token"+query, anyKey))
	resp, err := http.ReadResponse(bufio.NewReaderSize(oneByte{v}, 16), nil)
	return err == nil && resp.StatusCode == http.StatusSwitchingProtocols
}

// oneByte reads byte by byte, so that nothing behind a handshake is lost.
type oneByte struct{ net.Conn }

func (o oneByte) Read(p []byte) (int, error) { return o.Conn.Read(p[:1]) }

// bytes returns up to n random bytes.
func (v *vandal) bytes(n int) []byte {
	b := make([]byte, v.IntN(n+1))
	for i := range b {
		b[i] = byte(v.Uint32())
	}
	return b
}

func pick[T any](v *vandal, choice ...T) T { return choice[v.IntN(len(choice))] }

func (v *vandal) frame(first byte, payload []byte) {
	v.Write(wsframe.AppendMasked(nil, first, payload, [4]byte(v.bytes4())))
}

func (v *vandal) bytes4() []byte { return binary.BigEndian.AppendUint32(nil, v.Uint32()) }

// value returns a random JSON value.
func (v *vandal) value() string {
	return pick(v, `null`, `true`, `0`, `-1`, `1e999`, `0.5`, `9223372036854775808`, `""`, `"x"`, `"\ud800"`, `"\u0000"`, `[]`, `{}`, `[[]]`, `{"":null}`,
		`"`+strings.Repeat("A", 32)+`"`, `"`+wire.NewID()+`"`, `"vandal-key"`, `"honest-key"`, `"pcm"`, `"wav"`, `"<speak><a>"`,
		`"`+strings.Repeat("长", v.IntN(3000))+`"`, strings.Repeat("[", 300)+strings.Repeat("]", 300), strings.Repeat(`{"a":`, 20000), `"`)
}

// directive returns a directive with up to two mistakes.
func (v *vandal) directive(taskID string) string {
	space := pick(v, "SpeechRecognizer", "SpeechTranscriber", "SpeechSynthesizer", "SpeechLongSynthesizer", "FlowingSpeechSynthesizer")
	fields := []string{
		`"appkey":"vandal-key"`, `"message_id":"` + wire.NewID() + `"`, `"task_id":"` + taskID + `"`, `"namespace":"` + space + `"`,
		`"name":"` + pick(v, "StartRecognition", "StopRecognition", "StartTranscription", "ControlTranscriber", "StopTranscription",
			"StartSynthesis", "RunSynthesis", "FlushText", "StopSynthesis") + `"`,
	}
	payload := []string{`"text":"再见。<b>&amp;"`, `"format":"wav"`, `"sample_rate":16000`, `"enable_intermediate_result":true`,
		`"enable_words":true`, `"voice":"siqi"`, `"enable_subtitle":true`, `"enable_voice_detection":true`, `"max_start_silence":1`, `"volume":100`, `"speech_rate":-500`}
	payload = payload[:v.IntN(len(payload)+1)]
	for range v.IntN(3) {
		where := pick(v, &fields, &payload)
		if len(*where) == 0 {
			continue
		}
		i := v.IntN(len(*where))
		name, _, _ := strings.Cut((*where)[i], ":")
		switch v.IntN(3) {
		case 0:
			(*where)[i] = name + ":" + v.value()
		case 1:
			*where = append((*where)[:i], (*where)[i+1:]...)
		case 2:
			*where = append(*where, name+":"+v.value()) // twice
		}
	}
	d := `{"header":{` + strings.Join(fields, ",") + `},"payload":{` + strings.Join(payload, ",") + `}}`
	return d[:len(d)-pick(v, 0, 0, 0, 0, v.IntN(len(d)))]
}

// mischief is what a vandal may do with a connection.
var mischief = []struct {
	name string
	do   func(v *vandal)
}{
	{"noise instead of a handshake", func(v *vandal) {
		v.Write(v.bytes(5000))
	}},
	{"half a handshake", func(v *vandal) {
		request := upgrade(gatewayPath+"?token=vandal-token", anyKey)
		io.WriteString(v, request[:v.IntN(len(request))])
	}},
	{"strange handshake", func(v *vandal) {
		fmt.Fprintf(v, "%s %s%s %s\r\nHost: localhost\r\nUpgrade: %s\r\nConnection: Upgrade\r\nSec-WebSocket-Version: %s\r\nSec-WebSocket-Key: %s\r\n%s\r\n\r\n%s",
			pick(v, "GET", "POST", "HEAD", "CONNECT", ""), pick(v, gatewayPath, "/", "//", "*", "/ws/v1/../v1", "/%zz"),
			pick(v, "?token=vandal-token", "?token=%00", "?token=%ff&fault=x", "?fault=reset@handshake", "?%", ""),
			pick(v, "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", ""), pick(v, "websocket", "h2c", ""), pick(v, "13", "8", "-1", ""),
			pick(v, "dGhlIHNhbXBsZSBub25jZQ==", "short", ""),
			pick(v, "X-NLS-Token: vandal-token", "Content-Length: 99999999", "Transfer-Encoding: chunked", "X: "+strings.Repeat("y", 100000), "no colon"),
			v.bytes(100))
	}},
	{"noise after the handshake", func(v *vandal) {
		if v.handshake("") {
			v.Write(v.bytes(5000))
		}
	}},
	{"frames", func(v *vandal) {
		if !v.handshake("") {
			return
		}
		for range v.IntN(20) {
			switch v.IntN(4) {
			case 0: // anything
				v.frame(byte(v.Uint32()), v.bytes(200))
			case 1: // good, and maybe fragmented
				v.frame(pick[byte](v, 0x81, 0x82, 0x01, 0x02, 0x00, 0x80), []byte(v.directive(wire.NewID())))
			case 2:
				v.frame(pick[byte](v, 0x88, 0x89, 0x8a), v.bytes(130))
			case 3: // not masked
				v.Write(wsframe.Append(nil, pick[byte](v, 0x81, 0x82, 0x89), v.bytes(200)))
			}
		}
	}},
	{"a frame that never ends", func(v *vandal) {
		if v.handshake("") {
			v.Write([]byte{pick[byte](v, 0x81, 0x82), 0xff, byte(v.IntN(256)), 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4})
			v.Write(v.bytes(5000))
		}
	}},
	{"directives", func(v *vandal) {
		if !v.handshake("") {
			return
		}
		id := wire.NewID()
		for range v.IntN(12) {
			if v.IntN(3) == 0 {
				v.frame(0x82, v.bytes(8000))
			} else {
				v.frame(0x81, []byte(v.directive(id)))
			}
		}
	}},
	{"a session that breaks off", func(v *vandal) {
		if !v.handshake("") {
			return
		}
		id := wire.NewID()
		d := func(name, payload string) []byte {
			return wsframe.AppendMasked(nil, 0x81, fmt.Appendf(nil,
				`{"header":{"appkey":"vandal-key","message_id":%q,"task_id":%q,"namespace":"SpeechTranscriber","name":%q},"payload":%s}`,
				wire.NewID(), id, name, payload), [4]byte{})
		}
		session := d("StartTranscription", `{"enable_intermediate_result":true}`)
		for range 20 {
			session = append(session, wsframe.AppendMasked(nil, 0x82, v.bytes(6400), [4]byte{})...)
		}
		session = append(session, d("StopTranscription", `{}`)...)
		v.Write(session[:v.IntN(len(session))])
	}},
	{"audio that is not read", func(v *vandal) {
		if !v.handshake("") {
			return
		}
		v.frame(0x81, fmt.Appendf(nil, `{"header":{"appkey":"vandal-key","message_id":%q,"task_id":%q,"namespace":"SpeechLongSynthesizer","name":"StartSynthesis"},"payload":{"voice":"zhiqi","sample_rate":48000,"enable_subtitle":true,"text":%q}}`,
			wire.NewID(), wire.NewID(), strings.Repeat("长", 400)))
		time.Sleep(time.Duration(v.IntN(30)) * time.Millisecond)
	}},
	{"a fault of one's own", func(v *vandal) {
		if !v.handshake("&fault=" + url.QueryEscape(pick(v, actionNames...)+"@"+pick(v, pointNames...)+pick(v, "", ",only", ",after=2", ",code=1000"))) {
			return
		}
		id := wire.NewID()
		for range 6 {
			v.frame(0x81, []byte(v.directive(id)))
			v.frame(0x82, v.bytes(2000))
		}
	}},
}

// vandalise does one thing of the above on a connection of its own, and leaves it
// in one way or another.
func vandalise(t *testing.T, s *Server, secure bool, seed uint64) {
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Error(err)
		return
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Error(err)
		return
	}
	tcp := conn.(*net.TCPConn)
	defer tcp.Close()
	tcp.SetDeadline(time.Now().Add(30 * time.Second))
	if secure && seed%16 != 0 {
		cfg := s.Config().TLSConfig.Clone()
		cfg.ServerName = u.Hostname()
		conn = tls.Client(tcp, cfg)
	}
	v := &vandal{Rand: rand.New(rand.NewPCG(seed, 0)), Conn: conn}
	m := mischief[seed%uint64(len(mischief))]
	m.do(v)
	switch v.IntN(4) {
	case 0:
		tcp.SetLinger(0) // a reset
	case 1:
		tcp.CloseWrite()
		tcp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		io.Copy(io.Discard, v)
	case 2:
		tcp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		io.Copy(io.Discard, v)
	}
}

// Whatever clients send and however they leave, the others are served meanwhile,
// nothing stays behind, and the server closes at once.
func TestNoClientHarmsAnother(t *testing.T) {
	effort.Long(t)
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "tcp", true: "tls"}[secure], func(t *testing.T) {
			opts := twoAccounts()
			opts.TLS = secure
			opts.MaxSessions = 8
			s := start(t, opts)

			var honest, vandals sync.WaitGroup
			stop := make(chan struct{})
			served := 0
			honest.Go(func() {
				for done := false; !done || served == 0; served++ {
					if err := honestSession(t.Context(), s, fmt.Sprintf("第%s次。OK?", hanValue(served))); err != nil {
						t.Errorf("session %d: %v", served, err)
						return
					}
					select {
					case <-stop:
						done = true
					default:
					}
				}
			})
			turn := make(chan struct{}, 16)
			for seed := range uint64(effort.Times(200, 40)) {
				turn <- struct{}{}
				vandals.Go(func() {
					defer func() { <-turn }()
					vandalise(t, s, secure, seed)
				})
			}
			vandals.Wait()
			close(stop)
			honest.Wait()
			t.Logf("%d honest sessions meanwhile, %+v", served, s.Stats())

			for deadline := time.Now().Add(10 * time.Second); s.Stats().Concurrent > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("sessions stay behind: %+v", s.Stats())
				}
			}
			if most := s.Stats().MaxConcurrent; most > 9 {
				t.Errorf("%d sessions at a time, of 8 and an honest one", most)
			}
			begin := time.Now()
			s.Close()
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("Close took %v", d)
			}
		})
	}
}

// honestSession speaks text and recognises what was spoken.
func honestSession(ctx context.Context, s *Server, text string) error {
	cfg := s.Config()
	cfg.AppKey, cfg.Token = "honest-key", "honest-token"
	c, err := nls.NewClient(cfg)
	if err != nil {
		return err
	}
	var audio bytes.Buffer
	if err := c.Synthesize(ctx, &audio, nls.SynthesisParams{Text: text}); err != nil {
		return err
	}
	r, err := c.Recognize(ctx, &audio, nls.RecognitionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{Speed: -1})
	if err == nil && r.Text != text {
		err = fmt.Errorf("recognised %q, want %q", r.Text, text)
	}
	return err
}

// A frame's length is not believed before its bytes are there.
func TestLongFramesAreRefusedUnread(t *testing.T) {
	s := start(t, twoAccounts())
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	v := &vandal{Rand: rand.New(rand.NewPCG(1, 1)), Conn: conn}
	if !v.handshake("") {
		t.Fatal("no handshake")
	}
	v.Write([]byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5}) // 1 TiB
	f, err := wsframe.Read(conn)
	if err != nil || f.Opcode() != wsframe.Close || !bytes.HasPrefix(f.Payload, []byte{0x03, 0xf1}) {
		t.Errorf("got %#x %q %v, want close 1009", f.First, f.Payload, err)
	}
}

// A frame that is refused while events are on their way is answered with a close
// frame too, after which nothing comes.
func TestNothingFollowsTheCloseFrame(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	s := start(t, Options{Engine: fakeEngine{}})
	for range effort.Times(20, 6) {
		c := dial(t, s, "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_intermediate_result":true}`)
		c.want("TranscriptionStarted")
		c.ws.NetConn().Write(append(maskedFrame(wsframe.Fin|wsframe.Binary, sound(5*time.Second, 16000)), maskedFrame(wsframe.Fin|0x3, nil)...))
		for closed := false; ; {
			f, err := wsframe.Read(c.ws.NetConn())
			if err != nil {
				break
			}
			if closed {
				t.Fatalf("frame %#x %q after the close frame", f.First, f.Payload)
			}
			closed = f.Opcode() == wsframe.Close
			if closed && !bytes.HasPrefix(f.Payload, []byte{0x03, 0xea}) {
				t.Fatalf("close frame %q, want 1002", f.Payload)
			}
		}
	}
}

// A client that does not get on with its handshake is not waited for.
func TestSlowHandshakesEnd(t *testing.T) {
	for name, opts := range map[string]Options{"plain": {Pipe: true}, "tls": {Pipe: true, TLS: true}} {
		for _, sent := range []string{"", "GET " + gatewayPath, "\x16\x03\x01\x02"} {
			t.Run(fmt.Sprintf("%s, %q", name, sent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := start(t, opts)
					conn, err := s.dialPipe(t.Context(), "tcp", pipeGateway)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					io.WriteString(conn, sent)
					begin := time.Now()
					io.Copy(io.Discard, conn)
					if d := time.Since(begin); d > 11*time.Second {
						t.Errorf("the gateway waits %v", d)
					}
				})
			})
		}
	}
}

// account opens a connection for a product in the name of an account of
// twoAccounts.
func account(t *testing.T, s *Server, name, space string) *client {
	t.Helper()
	ws, resp, err := handshake(t, s, "?token="+name+"-token", http.Header{})
	if err != nil {
		t.Fatalf("handshake: %v %v", err, resp)
	}
	t.Cleanup(func() { ws.Close() })
	return &client{t: t, ws: ws, space: space, taskID: wire.NewID(), appKey: name + "-key"}
}

// Tasks belong to connections: the ID of another's task is no way into it.
func TestOneClientCannotTakeAnothersSession(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	s := start(t, twoAccounts())
	var audio bytes.Buffer
	cfg := s.Config()
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: "秘密。"}); err != nil {
		t.Fatal(err)
	}
	victim := account(t, s, "honest", "SpeechTranscriber")
	victim.send("StartTranscription", `{"enable_punctuation_prediction":true}`)
	victim.want("TranscriptionStarted")
	half := audio.Len() / 4 * 2
	victim.binary(audio.Next(half))

	for _, who := range []string{"vandal", "honest"} { // of the same account too
		for _, d := range []struct{ name, payload string }{{"StopTranscription", ""}, {"ControlTranscriber", `{"max_sentence_silence":200}`}} {
			thief := account(t, s, who, "SpeechTranscriber")
			thief.taskID = victim.taskID
			thief.send(d.name, d.payload)
			thief.wantFailed(errNotWorking.status, errNotWorking.text)
		}
		// A task that is called the same is another task.
		twin := account(t, s, who, "SpeechTranscriber")
		twin.taskID = victim.taskID
		twin.send("StartTranscription", `{}`)
		twin.want("TranscriptionStarted")
		twin.send("StopTranscription", "")
		if got := names(twin.until("TranscriptionCompleted")); got != "TranscriptionCompleted" {
			t.Errorf("a stranger gets %s", got)
		}
	}

	victim.binary(audio.Bytes())
	victim.send("StopTranscription", "")
	replies := victim.until("TranscriptionCompleted")
	if got := names(replies); got != "SentenceBegin SentenceEnd TranscriptionCompleted" || !strings.Contains(replies[1].raw, `"result":"秘密。"`) {
		t.Errorf("the victim gets %v", replies)
	}
}

// Only the very token opens the gateway, and only for the app keys of its account.
func TestOneClientCannotTakeAnothersToken(t *testing.T) {
	s := start(t, twoAccounts())
	for _, token := range []string{"", "honest", "honest-toke", "honest-token ", " honest-token", "HONEST-TOKEN", "honest-token\x00", "honest-token,vandal-token", "*", "honest-key"} {
		ws, resp, err := handshake(t, s, "?token="+url.QueryEscape(token), http.Header{})
		if err == nil {
			ws.Close()
			t.Errorf("token %q is taken", token)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		if want := "Meta:ACCESS_DENIED:The token '" + token + "' is invalid!"; resp.StatusCode != http.StatusForbidden || string(body) != want {
			t.Errorf("token %q: %s %q", token, resp.Status, body)
		}
	}
	for space, name := range map[string]string{
		"SpeechRecognizer": "StartRecognition", "SpeechTranscriber": "StartTranscription", "SpeechSynthesizer": "StartSynthesis",
		"SpeechLongSynthesizer": "StartSynthesis", "FlowingSpeechSynthesizer": "StartSynthesis",
	} {
		c := account(t, s, "vandal", space)
		c.appKey = "honest-key"
		c.send(name, `{"text":"a"}`)
		c.wantFailed(nls.StatusAppKeyMismatch, appKeyMismatch)
	}
	// Nor can a session be carried on with another's app key.
	c := account(t, s, "vandal", "SpeechTranscriber")
	c.send("StartTranscription", `{}`)
	c.want("TranscriptionStarted")
	c.appKey = "honest-key"
	c.send("StopTranscription", "")
	c.wantFailed(nls.StatusAppKeyMismatch, appKeyMismatch)
}

// Each account has its own quota, of which only sessions that have started take a
// part, and give it back once.
func TestOneClientCannotTakeAnothersQuota(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	opts := twoAccounts()
	opts.MaxSessions = 1
	s := start(t, opts)
	open := func(who, key string) *client {
		c := account(t, s, who, "SpeechTranscriber")
		c.appKey = key
		c.send("StartTranscription", `{}`)
		return c
	}
	first := open("vandal", "vandal-key")
	first.want("TranscriptionStarted")
	for range 3 { // neither these refusals ...
		open("vandal", "vandal-key").wantFailed(errTooMany.status, errTooMany.text)
		open("vandal", "honest-key").wantFailed(nls.StatusAppKeyMismatch, appKeyMismatch)
		open("vandal", "nobody").wantFailed(nls.StatusAppKeyNotExist, appKeyNotExist)
		bad := account(t, s, "honest", "SpeechTranscriber")
		bad.send("StartTranscription", `{"sample_rate":1}`)
		bad.wantFailed(nls.StatusUnsupportedSampleRate, "UNSUPPORTED_SAMPLE_RATE")
	}
	honest := open("honest", "honest-key") // ... nor the full quota of another concern this one
	honest.want("TranscriptionStarted")

	// A Stop in the name of another app key of the account gives back what Start took.
	open("vandal", "vandal-key-2").wantFailed(errTooMany.status, errTooMany.text)
	first.appKey = "vandal-key-2"
	first.send("StopTranscription", "")
	first.until("TranscriptionCompleted")
	second := open("vandal", "vandal-key")
	second.want("TranscriptionStarted")
	open("vandal", "vandal-key-2").wantFailed(errTooMany.status, errTooMany.text)

	for _, c := range []*client{honest, second} {
		c.send("StopTranscription", "")
		c.until("TranscriptionCompleted")
	}
	if st := s.Stats(); st.Concurrent != 0 || st.Sessions != 3 || st.MaxConcurrent != 2 {
		t.Errorf("%+v", st)
	}
}

// FuzzConnection sends anything to a gateway, behind a good handshake. The first
// byte says what: below 128 the rest as it is, else frames with zeros between
// them, each the first byte of its header and its payload.
func FuzzConnection(f *testing.F) {
	id := strings.Repeat("0123456789abcdef", 2)
	header := func(space, name string) string {
		return `{"header":{"appkey":"nlstest-appkey","message_id":"` + id + `","task_id":"` + id + `","namespace":"` + space + `","name":"` + name + `"}`
	}
	audio := "\x82" + strings.Repeat("\x40\x20", 4000)
	for _, frames := range [][]string{
		{"\x81" + header("SpeechRecognizer", "StartRecognition") + `,"payload":{"enable_voice_detection":true,"max_start_silence":100}}`, audio, "\x81" + header("SpeechRecognizer", "StopRecognition") + "}"},
		{"\x81" + header("SpeechTranscriber", "StartTranscription") + `,"payload":{"format":"wav","enable_words":true}}`, audio, "\x89ping",
			"\x81" + header("SpeechTranscriber", "ControlTranscriber") + `,"payload":{"max_sentence_silence":200}}`, "\x81" + header("SpeechTranscriber", "StopTranscription") + "}"},
		{"\x81" + header("SpeechSynthesizer", "StartSynthesis") + `,"payload":{"text":"<speak>你好</speak>","voice":"siqi","enable_subtitle":true,"format":"wav"}}`},
		{"\x81" + header("FlowingSpeechSynthesizer", "StartSynthesis") + `,"payload":{}}`, "\x01" + header("FlowingSpeechSynthesizer", "RunSynthesis"), "\x80" + `,"payload":{"text":"a.b"}}`,
			"\x81" + header("FlowingSpeechSynthesizer", "StopSynthesis") + "}", "\x88\x03\xe8"},
	} {
		f.Add([]byte("\xff" + strings.Join(frames, "\x00")))
	}
	f.Add([]byte("\x00\x81\x85\x01\x02\x03\x04hello"))
	f.Add([]byte("\xff\x81" + header("SpeechRecognizer", "StopRecognition") + "}\x00\x83bad"))
	s := NewServer(Options{Pipe: true})
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		var input []byte
		if data[0] < 128 {
			input = data[1:]
		} else {
			for frame := range bytes.SplitSeq(data[1:], []byte{0}) {
				if len(frame) > 0 {
					input = wsframe.AppendMasked(input, frame[0], frame[1:], [4]byte{1, 2, 3, 4})
				}
			}
		}
		conn, err := s.dialPipe(t.Context(), "tcp", pipeGateway)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, upgrade(gatewayPath, anyKey, "X-NLS-Token: "+defaultToken))
		r := bufio.NewReader(conn)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		go func() {
			conn.Write(input)
			conn.(*pipeConn).CloseWrite()
		}()
		var checker conformance.Checker
		for {
			frame, err := wsframe.Read(r)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				t.Fatal("the gateway does not end the connection of a client that has gone")
			case err != nil:
				return
			}
			if err := checker.Check(frame); err != nil {
				t.Fatal(err)
			}
		}
	})
}
