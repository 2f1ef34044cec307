package session

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/websocket"
)

// recording is the response to an upgrade, and the connection of a client that
// sends what r has and hangs up.
type recording struct {
	http.ResponseWriter
	net.Conn
	r io.Reader
}

func (c recording) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

func (c recording) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c recording) Write(p []byte) (int, error) { return len(p), nil }

// readMessages are the messages in b as gorilla's server reads them.
func readMessages(t *testing.T, b []byte) (types []int, messages [][]byte) {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{
		"Connection": {"upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	end, _ := net.Pipe() // for addresses and deadlines
	conn, err := (&websocket.Upgrader{}).Upgrade(recording{httptest.NewRecorder(), end, bytes.NewReader(b)}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		messageType, data, err := conn.ReadMessage()
		if err != nil {
			if e, ok := err.(*websocket.CloseError); !ok || e.Code != websocket.CloseAbnormalClosure {
				t.Errorf("after %d messages: %v", len(messages), err)
			}
			return types, messages
		}
		types, messages = append(types, messageType), append(messages, data)
	}
}

func TestFramesAreWhatServersRead(t *testing.T) {
	sizes := []int{126, 127, maxFrame - 1, maxFrame, 65535, 65536, 100_000}
	for size := range 126 {
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		for _, messageType := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			data := make([]byte, size)
			_, _ = rand.Read(data)
			before := bytes.Clone(data)
			frame := appendFrame(nil, messageType, data)
			types, messages := readMessages(t, frame)
			if len(messages) != 1 || types[0] != messageType || !bytes.Equal(messages[0], before) {
				t.Errorf("%d bytes of type %d: read %d messages", size, messageType, len(messages))
			}
			if !bytes.Equal(data, before) {
				t.Errorf("%d bytes: the caller's data was changed", size)
			}
			if n := len(frame) - size; n > maxHeader {
				t.Errorf("%d bytes: a header of %d", size, n)
			}
		}
	}
}

func TestEachFrameHasAMaskOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		seen[fmt.Sprintf("%x", appendFrame(nil, websocket.BinaryMessage, nil)[2:6])] = true
	}
	if len(seen) < 99 {
		t.Errorf("%d masks in 100 frames", len(seen))
	}
}
