//go:build unix

package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wsframe"
)

// peer is the service in a process of its own, so that what it costs is not ours. It
// says what a service says and does nothing for it.
type peer struct{ URL, TLSURL, AppKey, Token string }

// startPeer starts one, which ends with the test.
func startPeer(t testing.TB) peer {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestPeer$")
	cmd.Env = append(os.Environ(), "NLS_BENCH_PEER=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var p peer
	if err := json.Unmarshal(line, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPeer is the process of startPeer. It ends with its standard input.
func TestPeer(t *testing.T) {
	if os.Getenv("NLS_BENCH_PEER") == "" {
		t.Skip("a part of the benchmarks")
	}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		answer(c.NetConn())
	})
	plain, encrypted := httptest.NewServer(serve), httptest.NewTLSServer(serve)
	line, err := json.Marshal(peer{"ws" + strings.TrimPrefix(plain.URL, "http"), "wss" + strings.TrimPrefix(encrypted.URL, "https"), "key", "token"})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(line))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// answer serves one connection until it ends.
func answer(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 4<<10)
	task, pings := "", 0
	for {
		f, err := wsframe.Read(in)
		if err != nil {
			return
		}
		switch f.Opcode() {
		case wsframe.Text:
			if task = answerDirective(c, f.Payload); task == "" {
				_, _ = io.Copy(io.Discard, c)
				return
			}
		case wsframe.Binary:
			switch len(f.Payload) {
			case 4: // asks for so many partial results
				partials(c, task, int(binary.LittleEndian.Uint32(f.Payload)))
			case 2: // asks how many pings have come
				say(c, task, "SpeechTranscriber", "SentenceEnd", fmt.Sprintf(`{"index":%d,"result":"pings"}`, pings))
			}
		case wsframe.Ping:
			pings++
			_, _ = c.Write(wsframe.Append(nil, wsframe.Fin|wsframe.Pong, f.Payload))
		case wsframe.Close:
			_, _ = c.Write(wsframe.Append(nil, wsframe.Fin|wsframe.Close, f.Payload))
			return
		}
	}
}

// answerDirective returns the task, or "" if no more is read of it.
func answerDirective(c net.Conn, message []byte) (task string) {
	var d struct {
		Header struct {
			TaskID string `json:"task_id"`
			Name   string `json:"name"`
		} `json:"header"`
		Payload struct {
			Text string `json:"text"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(message, &d); err != nil {
		panic(err)
	}
	task = d.Header.TaskID
	switch d.Header.Name {
	case "StartTranscription":
		say(c, task, "SpeechTranscriber", "TranscriptionStarted", `{"session_id":"2b7b1b5f8d2a4c0fb5f6a3e7d9c81240"}`)
	case "StartRecognition":
		say(c, task, "SpeechRecognizer", "RecognitionStarted", `{}`)
		return ""
	case "StopTranscription":
		say(c, task, "SpeechTranscriber", "TranscriptionCompleted", `{}`)
	case "StartSynthesis": // the text is how many frames of audio it takes
		n, err := strconv.Atoi(d.Payload.Text)
		if err != nil {
			panic(err)
		}
		audio(c, n)
		say(c, task, "SpeechSynthesizer", "SynthesisCompleted", `{}`)
	}
	return task
}

// audioFrame is how much audio the service puts into a message.
const audioFrame = 8000

// audio sends n messages of audio, as fast as they are taken.
func audio(c net.Conn, n int) {
	const together = 8
	batch := bytes.Repeat(wsframe.Append(nil, wsframe.Fin|wsframe.Binary, make([]byte, audioFrame)), together)
	for ; n > 0; n -= together {
		if _, err := c.Write(batch[:len(batch)/together*min(n, together)]); err != nil {
			return
		}
	}
}

// partials sends n partial results, one at a time: each finds a reader that waits.
func partials(c net.Conn, task string, n int) {
	frame := partial(task)
	for range n {
		if _, err := c.Write(frame); err != nil {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
	say(c, task, "SpeechTranscriber", "SentenceEnd", `{"index":1,"time":1920,"begin_time":0,"result":"over","confidence":1,"words":[]}`)
}

// partial is the frame of a partial result.
func partial(task string) []byte {
	return event(task, "SpeechTranscriber", "TranscriptionResultChanged",
		`{"index":1,"time":1835,"result":"北京明天天气怎么样","confidence":0.874,"words":[],"status":0,"gender":"","begin_time":0,"stash_result":{"sentenceId":0,"beginTime":0,"text":"","currentTime":0},"audio_extra_info":"","sentence_id":"e1fbb9ab6e3147f1a4b8b8b2b0b7a4e4","gender_score":0.0}`)
}

func say(c net.Conn, task, namespace, name, payload string) {
	_, _ = c.Write(event(task, namespace, name, payload))
}

func event(task, namespace, name, payload string) []byte {
	return wsframe.Append(nil, wsframe.Fin|wsframe.Text, fmt.Appendf(nil,
		`{"header":{"namespace":%q,"name":%q,"status":20000000,"message_id":"a426f3d4618447519c9d85d1a0d15bf6","task_id":%q,"status_text":"Gateway:SUCCESS:Success."},"payload":%s}`,
		namespace, name, task, payload))
}
