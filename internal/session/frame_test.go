package session

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// tray is a net.Conn that takes what is written.
type tray struct {
	net.Conn
	got      bytes.Buffer
	err      error
	deadline time.Time
	takes    time.Duration
}

func (c *tray) Write(b []byte) (int, error) {
	time.Sleep(c.takes)
	if c.err != nil {
		return 0, c.err
	}
	return c.got.Write(b)
}
func (c *tray) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func trayConn(c *tray) *conn { return newConn(c, c, nil, time.Second) }

func TestAMessageIsOneMaskedFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1<<16 - 1, 1 << 16} {
		for _, opcode := range []byte{wsframe.Text, wsframe.Binary, wsframe.Ping} {
			w := &tray{}
			data := bytes.Repeat([]byte{7}, n)
			c := trayConn(w)
			if err := c.write(opcode, data, time.Minute); err != nil {
				t.Fatal(err)
			}
			f, err := wsframe.Read(&w.got)
			if err != nil || f.First != wsframe.Fin|opcode || !f.Masked || !bytes.Equal(f.Payload, data) || w.got.Len() != 0 {
				t.Errorf("%d bytes: %v, first %x, masked %v, %d bytes, %d more", n, err, f.First, f.Masked, len(f.Payload), w.got.Len())
			}
			if !w.deadline.Equal(c.opened.Add(time.Minute)) {
				t.Errorf("deadline %v", w.deadline)
			}
			if !bytes.Equal(data, bytes.Repeat([]byte{7}, n)) {
				t.Error("the data has been masked in place")
			}
		}
	}
}

func TestMasksDiffer(t *testing.T) {
	w := &tray{}
	c := trayConn(w)
	seen := map[string]bool{}
	for range 100 {
		if err := c.write(wsframe.Binary, []byte{0, 0, 0, 0}, noDeadline); err != nil {
			t.Fatal(err)
		}
		seen[string(w.got.Next(10)[2:6])] = true
	}
	if len(seen) < 99 {
		t.Errorf("%d masks in 100 messages", len(seen))
	}
}

// A deadline that has passed is a write timeout, any other timeout the system's.
func TestWhatAFailedWriteReturns(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name     string
		err      error
		takes    time.Duration
		deadline time.Duration
		want     error
	}{
		{"at the deadline", os.ErrDeadlineExceeded, time.Second, time.Second, ErrWriteTimeout},
		{"after the deadline", os.ErrDeadlineExceeded, 2 * time.Second, time.Second, ErrWriteTimeout},
		{"before the deadline", os.ErrDeadlineExceeded, time.Second, time.Minute, os.ErrDeadlineExceeded},
		{"without a deadline", os.ErrDeadlineExceeded, time.Second, noDeadline, os.ErrDeadlineExceeded},
		{"another error", broken, 2 * time.Second, time.Second, broken},
		{"another error of the network", &net.OpError{Op: "write", Err: io.ErrClosedPipe}, 2 * time.Second, time.Second, io.ErrClosedPipe},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &tray{err: c.err, takes: c.takes}
				err := trayConn(w).write(wsframe.Text, nil, c.deadline)
				if !errors.Is(err, c.want) || (err == ErrWriteTimeout) != (c.want == ErrWriteTimeout) {
					t.Errorf("write = %v", err)
				}
			})
		})
	}
}

func TestWriteEndsAtItsDeadline(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		begin := time.Now()
		err := l.write(wsframe.Text, make([]byte, 1000), 3*time.Second)
		if took := time.Since(begin); err != ErrWriteTimeout || took != 3*time.Second {
			t.Errorf("write = %v after %v", err, took)
		}
	})
}

// Buffers that one long message has grown do not stay.
func TestTheBuffersOfFramesStaySmall(t *testing.T) {
	c := trayConn(&tray{})
	for range 3 {
		if err := c.write(wsframe.Text, make([]byte, 1<<17), noDeadline); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if b := frames.Get().(*[]byte); cap(*b) > 20<<10 || len(*b) != 0 {
			t.Fatalf("a buffer of %d bytes, %d in use", cap(*b), len(*b))
		}
	}
}

// And the longest message of ours fits them.
func TestFramesOfAudioNeedNoBuffer(t *testing.T) {
	c := trayConn(&tray{})
	data := make([]byte, maxFrame)
	w := c.socket.Conn.(*tray)
	allocs := testing.AllocsPerRun(100, func() {
		w.got.Reset()
		if err := c.write(wsframe.Binary, data, noDeadline); err != nil {
			t.Error(err)
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations for a frame", allocs)
	}
}
