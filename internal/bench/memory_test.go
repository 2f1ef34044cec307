//go:build unix

package bench

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
)

// feed is a TCP connection without its system calls: what is put into it can be read,
// and what is written is gone. Deadlines cost what they cost.
type feed struct {
	*net.TCPConn
	up upgraded
	in chan []byte
}

func newFeed(t testing.TB) *feed {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in := make(chan []byte, 1)
	f := &feed{TCPConn: c.(*net.TCPConn), up: upgraded{Conn: &source{in: in, closed: make(chan struct{})}}, in: in}
	t.Cleanup(func() { f.Close() })
	return f
}

func (c *feed) Read(p []byte) (int, error)  { return c.up.Read(p) }
func (c *feed) Write(p []byte) (int, error) { return c.up.Write(p) }

func (c *feed) Close() error {
	_ = c.up.Close()
	return c.TCPConn.Close()
}

func (c *feed) dial(context.Context, string, string) (net.Conn, error) { return c, nil }

// source is where the messages of a feed come from.
type source struct {
	net.Conn
	in     <-chan []byte
	rest   []byte
	closed chan struct{}
	close  sync.Once
}

func (c *source) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.in:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *source) Write(p []byte) (int, error) { return len(p), nil }

func (c *source) Close() error {
	c.close.Do(func() { close(c.closed) })
	return nil
}

func gorillaInMemory(t testing.TB, c *feed) *websocket.Conn {
	d := gorillaDialer()
	d.NetDialContext = c.dial
	return dialGorilla(t, d, "ws://localhost/", peer{})
}

// nlsInMemory is a transcription that has started.
func nlsInMemory(t testing.TB, c *feed, h nls.TranscriberHandlers) *nls.Transcriber {
	tr := clientOf(t, nls.Config{URL: "ws://localhost/", AppKey: "key", Token: "token", NetDialContext: c.dial}).NewTranscriber(h)
	c.in <- event("", "SpeechTranscriber", "TranscriptionStarted", `{}`)
	if err := tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Shutdown)
	return tr
}

// userTime is the time that this process has spent outside the system.
func userTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}

// played is how many partial results a round in memory has.
const played = 20000

// inMemory plays partial results, one at a time, and returns the user time of each.
func inMemory(t testing.TB, c *feed, taken <-chan struct{}) []float64 {
	frame := partial("")
	before := userTime(t)
	for range played {
		c.in <- frame
		<-taken
	}
	return []float64{float64((userTime(t) - before).Nanoseconds()) / 1e3 / played}
}

func memoryOfGorilla(t testing.TB) measure {
	p, taken := newFeed(t), make(chan struct{})
	c := gorillaInMemory(t, p)
	return func() []float64 {
		go func() {
			for range played {
				readResults(t, c, 1)
				taken <- struct{}{}
			}
		}()
		return inMemory(t, p, taken)
	}
}

func memoryOfNLS(t testing.TB) measure {
	p, taken := newFeed(t), make(chan struct{})
	nlsInMemory(t, p, nls.TranscriberHandlers{OnResultChanged: func(*nls.Sentence) { taken <- struct{}{} }})
	return func() []float64 { return inMemory(t, p, taken) }
}

// sent is how many messages a round of sending has.
const sent = 100000

func sending(t testing.TB, send func([]byte) error) []float64 {
	chunk := make([]byte, 640)
	_, cpu := timed(t, func() {
		for range sent {
			if err := send(chunk); err != nil {
				t.Fatal(err)
			}
		}
	})
	return []float64{float64(cpu.Nanoseconds()) / sent}
}

func sendOfGorilla(t testing.TB) measure {
	c := gorillaInMemory(t, newFeed(t))
	return func() []float64 {
		return sending(t, func(b []byte) error { return c.WriteMessage(websocket.BinaryMessage, b) })
	}
}

func sendOfNLS(t testing.TB) measure {
	tr := nlsInMemory(t, newFeed(t), nls.TranscriberHandlers{})
	return func() []float64 { return sending(t, tr.SendAudio) }
}
