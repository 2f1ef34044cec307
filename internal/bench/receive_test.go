//go:build unix

package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wsframe"
)

// receivers are ways to read messages. Each returns a function that reads one.
var receivers = []struct {
	name string
	of   func(net.Conn) func() error
}{
	{"nls", func(c net.Conn) func() error {
		r := wsframe.NewReader(c, nil, 1<<20)
		return func() error {
			_, _, err := r.Next()
			return err
		}
	}},
	{"nls-kept", func(c net.Conn) func() error { // as gorilla's messages are
		r := wsframe.NewReader(c, nil, 1<<20)
		return func() error {
			_, data, err := r.Next()
			kept = bytes.Clone(data)
			return err
		}
	}},
	{"gorilla", func(c net.Conn) func() error {
		conn := upgrade(c)
		return func() error {
			_, _, err := conn.ReadMessage()
			return err
		}
	}},
	{"gorilla-reused", func(c net.Conn) func() error { // the least that gorilla can do
		conn, b := upgrade(c), make([]byte, 64<<10)
		return func() error {
			_, r, err := conn.NextReader()
			for err == nil {
				_, err = r.Read(b)
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
	}},
}

// BenchmarkReceive is what a message costs the receiver: the time, and with
// cpu-ns/op the work of this process, of which the sender is none.
func BenchmarkReceive(b *testing.B) {
	for _, from := range []string{"memory", "tcp"} {
		for _, size := range []int{500, 8000} {
			for _, receiver := range receivers {
				b.Run(fmt.Sprintf("from=%s/size=%d/receiver=%s", from, size, receiver.name), func(b *testing.B) {
					var conn net.Conn = &repeat{frame: testFrame(size)}
					if from == "tcp" {
						conn = dialFrames(b, size)
					}
					next := receiver.of(conn)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					before := cpuTime(b)
					for b.Loop() {
						if err := next(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}

// testFrame is an event if it is short, and audio if not.
func testFrame(size int) []byte {
	first := byte(wsframe.Fin | wsframe.Binary)
	if size < 1000 {
		first = wsframe.Fin | wsframe.Text
	}
	return wsframe.Append(nil, first, make([]byte, size))
}

func cpuTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// repeat is a connection on which one frame comes again and again.
type repeat struct {
	net.Conn
	frame []byte
	at    int
}

func (c *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], c.frame[c.at:])
		n, c.at = n+m, (c.at+m)%len(c.frame)
	}
	return n, nil
}

// dialFrames is a connection to a process that sends frames as fast as it can,
// one at a time.
func dialFrames(b *testing.B, size int) net.Conn {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFrameSource$")
	cmd.Env = append(os.Environ(), "NLS_BENCH_FRAMES="+strconv.Itoa(size))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimSpace(line))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}

// TestFrameSource is the process of dialFrames.
func TestFrameSource(t *testing.T) {
	size, err := strconv.Atoi(os.Getenv("NLS_BENCH_FRAMES"))
	if err != nil {
		t.Skip("a part of BenchmarkReceive")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for frame := testFrame(size); err == nil; {
		_, err = conn.Write(frame)
	}
}

// upgrade makes a connection of gorilla's of one on which frames come.
func upgrade(c net.Conn) *websocket.Conn {
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		return &upgraded{Conn: c}, nil
	}}
	conn, _, err := d.Dial("ws://localhost/", nil)
	if err != nil {
		panic(err)
	}
	return conn
}

// upgraded answers the upgrade itself.
type upgraded struct {
	net.Conn
	request []byte
	answer  []byte
	done    bool
}

func (c *upgraded) Write(p []byte) (int, error) {
	if c.done {
		return c.Conn.Write(p)
	}
	c.request = append(c.request, p...)
	if r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.request))); err == nil {
		key := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		c.answer = fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(key[:]))
		c.done = true
	}
	return len(p), nil
}

func (c *upgraded) Read(p []byte) (int, error) {
	if len(c.answer) > 0 {
		n := copy(p, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *upgraded) SetDeadline(time.Time) error { return nil }
