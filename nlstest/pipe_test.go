package nlstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipe returns the two ends of a connection.
func pipe() (a, b *pipeConn) { return newPipe(pipeAddr("127.0.0.1:1")) }

func TestPipeCarriesBytesBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe()
		data := make([]byte, 1<<20)
		for i := range data {
			data[i] = byte(rand.Int())
		}
		var wg sync.WaitGroup
		for _, ends := range [][2]*pipeConn{{a, b}, {b, a}} {
			wg.Go(func() {
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(200_000))
					if _, err := ends[0].Write(rest[:n]); err != nil {
						t.Error(err)
					}
					rest = rest[n:]
				}
				ends[0].CloseWrite()
			})
			wg.Go(func() {
				if got, err := io.ReadAll(ends[1]); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		}
		wg.Wait()
	})
}

func TestPipeHoldsSomeBytesWithoutAReader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe()
		if _, err := a.Write(make([]byte, pipeBuffer)); err != nil {
			t.Fatal(err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a full pipe took %d bytes, %v", n, err)
		}
		b.Read(make([]byte, 4))
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write(make([]byte, 10)); n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("with room for 4 bytes it took %d, %v", n, err)
		}
	})
}

func TestPipeWritesAreNotInterleaved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe()
		const size = 3 * pipeBuffer
		for _, c := range []byte("xyz") {
			go a.Write(bytes.Repeat([]byte{c}, size))
		}
		for range 3 {
			got := make([]byte, size)
			if _, err := io.ReadFull(b, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, bytes.Repeat(got[:1], size)) {
				t.Error("two writes are mixed")
			}
		}
	})
}

// A row is what one end does and what reads and writes of the two ends then say.
// "abc" is on its way to each.
func TestPipeEnds(t *testing.T) {
	for _, row := range []struct {
		name                             string
		do                               func(a *pipeConn)
		aReads                           string
		aReadErr, aWriteErr              error
		bReads                           string
		bReadErr, bWriteErr, bBlockedErr error
	}{
		{"close", func(a *pipeConn) { a.Close() }, "", net.ErrClosed, net.ErrClosed, "abc", io.EOF, syscall.EPIPE, syscall.EPIPE},
		{"close twice", func(a *pipeConn) { a.Close(); a.Close() }, "", net.ErrClosed, net.ErrClosed, "abc", io.EOF, syscall.EPIPE, syscall.EPIPE},
		{"reset", func(a *pipeConn) { a.reset() }, "", net.ErrClosed, net.ErrClosed, "", syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
		{"reset, then close", func(a *pipeConn) { a.reset(); a.Close() }, "", net.ErrClosed, net.ErrClosed, "", syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				a, b := pipe()
				a.Write([]byte("abc"))
				b.Write([]byte("abc"))
				blocked := make(chan error, 1)
				go func() {
					_, err := b.Write(make([]byte, 2*pipeBuffer))
					blocked <- err
				}()
				synctest.Wait()
				row.do(a)
				if err := <-blocked; !errors.Is(err, row.bBlockedErr) {
					t.Errorf("a write that waited: %v", err)
				}
				for _, end := range []struct {
					name              string
					conn              *pipeConn
					reads             string
					readErr, writeErr error
				}{{"a", a, row.aReads, row.aReadErr, row.aWriteErr}, {"b", b, row.bReads, row.bReadErr, row.bWriteErr}} {
					var got []byte
					var err error
					for n, p := 0, make([]byte, 10); err == nil; got = append(got, p[:n]...) {
						n, err = end.conn.Read(p)
					}
					if string(got) != end.reads || !errors.Is(err, end.readErr) {
						t.Errorf("%s reads %q, %v", end.name, got, err)
					}
					if _, err := end.conn.Write([]byte("x")); !errors.Is(err, end.writeErr) {
						t.Errorf("%s writes: %v", end.name, err)
					}
				}
			})
		})
	}
}

func TestPipeHalfClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe()
		a.Write([]byte("last"))
		a.CloseWrite()
		if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
			t.Errorf("b reads %q, %v", got, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a writes: %v", err)
		}
		b.Write([]byte("still"))
		b.Close()
		if got, err := io.ReadAll(a); string(got) != "still" || err != nil {
			t.Errorf("a reads %q, %v", got, err)
		}
	})
}

func TestPipeDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, _ := pipe()
		read := func() (time.Duration, error) {
			begin := time.Now()
			_, err := a.Read(make([]byte, 1))
			return time.Since(begin), err
		}
		a.SetDeadline(time.Now().Add(time.Second))
		for _, want := range []time.Duration{time.Second, 0} { // it stays passed
			if d, err := read(); d != want || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after %v: %v", d, err)
			}
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		var timeout net.Error
		if _, err := read(); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}

		// A deadline may be moved under a read that waits.
		a.SetReadDeadline(time.Now().Add(time.Second))
		time.AfterFunc(time.Second/2, func() { a.SetReadDeadline(time.Now().Add(time.Minute)) })
		if d, _ := read(); d != time.Minute+time.Second/2 {
			t.Errorf("a deadline that was moved: %v", d)
		}
		a.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { a.SetReadDeadline(time.Unix(1, 0)) })
		if d, _ := read(); d != time.Hour {
			t.Errorf("a deadline in the past: %v", d)
		}
	})
}

func TestPipeListener(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l := newPipeListener("127.0.0.1:1")
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, "hello")
			c.Close()
		}()
		c, err := l.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody accepts: %v", err)
		}
		l.Close()
		l.Close()
		if _, err := l.dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}
