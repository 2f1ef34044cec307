package wsframe_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
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

var lengths = []int{0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 255, 256, 257, 16 << 10, 65535, 65536, 100_000}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestMaskedFramesAreWhatServersRead(t *testing.T) {
	for _, n := range lengths {
		for _, opcode := range []byte{wsframe.Text, wsframe.Binary} {
			data := noise(n)
			before := bytes.Clone(data)
			frame := wsframe.AppendMasked(nil, wsframe.Fin|opcode, data, [4]byte(noise(4)))
			types, messages := readMessages(t, frame)
			if len(messages) != 1 || types[0] != int(opcode) || !bytes.Equal(messages[0], before) {
				t.Errorf("%d bytes, opcode %d: read %d messages", n, opcode, len(messages))
			}
			if !bytes.Equal(data, before) {
				t.Errorf("%d bytes: the caller's data was changed", n)
			}
			if header := len(frame) - n; header > wsframe.MaxHeader {
				t.Errorf("%d bytes: a header of %d", n, header)
			}
		}
	}
}

// A sender puts frame after frame into one buffer, and may make several at once.
func TestMaskedFramesAreAppended(t *testing.T) {
	effort.Long(t)
	mask := [4]byte{1, 2, 3, 4}
	sizes := slices.Clone(lengths)
	for n := range 600 {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		payload := noise(n)
		want := make([]byte, n)
		for i, b := range payload {
			want[i] = b ^ mask[i%4]
		}
		fresh := wsframe.AppendMasked(nil, wsframe.Fin|wsframe.Binary, payload, mask)
		if !bytes.Equal(fresh[len(fresh)-n:], want) || !bytes.Equal(fresh[len(fresh)-n-4:len(fresh)-n], mask[:]) {
			t.Fatalf("%d bytes: not masked as RFC 6455 §5.3 says", n)
		}
		for _, b := range [][]byte{[]byte("before"), append(make([]byte, 0, 200_000), "before"...)} {
			if got := wsframe.AppendMasked(b, wsframe.Fin|wsframe.Binary, payload, mask); !bytes.Equal(got, append([]byte("before"), fresh...)) {
				t.Errorf("%d bytes are not appended", n)
			}
		}
		buf := make([]byte, 0, n+wsframe.MaxHeader)
		if allocs := testing.AllocsPerRun(10, func() { wsframe.AppendMasked(buf, wsframe.Fin|wsframe.Binary, payload, mask) }); allocs > 0 {
			t.Errorf("%d bytes: %v allocations with room for the longest header", n, allocs)
		}
	}
}

func TestFramesOfEveryLengthAreRead(t *testing.T) {
	for _, n := range lengths {
		want := noise(n)
		for _, masked := range []bool{false, true} {
			b := wsframe.Append(nil, wsframe.Fin|wsframe.Binary, want)
			if masked {
				b = wsframe.AppendMasked(nil, wsframe.Fin|wsframe.Binary, want, [4]byte{1, 2, 3, 4})
			}
			f, err := wsframe.Read(bytes.NewReader(b))
			if err != nil || f.Masked != masked || !f.Final() || f.Opcode() != wsframe.Binary || !bytes.Equal(f.Payload, want) {
				t.Errorf("%d bytes: %v, frame %#x of %d bytes", n, err, f.First, len(f.Payload))
			}
			if _, err := wsframe.Read(bytes.NewReader(b[:len(b)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes but one: %v", n, err)
			}
		}
	}
	if _, err := wsframe.Read(strings.NewReader("")); err != io.EOF {
		t.Errorf("no frame: %v", err)
	}
	for _, b := range []string{"\x81\x7e\x00\x05hello", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello", "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "\x81\x7e\x00", "\x81\x7f\x00", "\x81\x85\x00"} {
		if f, err := wsframe.Read(strings.NewReader(b)); err == nil {
			t.Errorf("%q is read as %+v", b, f)
		}
	}
}

// Whatever is read as a frame comes out the same when it is made again.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x81\x85\x01\x02\x03\x04hello"))
	f.Add(wsframe.Append(nil, wsframe.Binary, noise(200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		frame, err := wsframe.Read(r)
		if err != nil {
			return
		}
		b = b[:len(b)-r.Len()]
		again := wsframe.Append(nil, frame.First, frame.Payload)
		if frame.Masked {
			head := len(b) - len(frame.Payload)
			again = wsframe.AppendMasked(nil, frame.First, frame.Payload, [4]byte(b[head-4:]))
		}
		if !bytes.Equal(again, b) {
			t.Errorf("% x is made again as % x", b, again)
		}
	})
}

// BenchmarkAppendMasked is the work of a sender before the system call: a ping, and
// 20, 100 and 200 ms of audio.
func BenchmarkAppendMasked(b *testing.B) {
	for _, n := range []int{0, 640, 3200, 6400} {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			payload, frame, mask := noise(n), make([]byte, 0, n+wsframe.MaxHeader), [4]byte(noise(4))
			b.SetBytes(int64(n))
			for b.Loop() {
				frame = wsframe.AppendMasked(frame[:0], wsframe.Fin|wsframe.Binary, payload, mask)
			}
		})
	}
}
