package session

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// single is a net.Conn that notes when two write at a time.
type single struct {
	net.Conn
	writers, clashes, pongs atomic.Int32
}

func (c *single) SetWriteDeadline(time.Time) error { return nil }
func (c *single) Write(b []byte) (int, error) {
	if c.writers.Add(1) > 1 {
		c.clashes.Add(1)
	}
	defer c.writers.Add(-1)
	if b[0] == wsframe.Fin|wsframe.Pong {
		c.pongs.Add(1)
	}
	runtime.Gosched()
	return len(b), nil
}

// Senders, pongs and a last goodbye: one writes at a time, and what waited has
// been written when everybody is done.
func TestOneWritesAtATime(t *testing.T) {
	for range 20 {
		w := &single{}
		c := newConn(w, w, nil, time.Minute)
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for range 200 {
					if err := c.lock(nil, noDeadline); err != nil {
						t.Error(err)
						return
					}
					if err := c.write(wsframe.Binary, []byte("x"), noDeadline); err != nil && !errors.Is(err, errClosing) {
						t.Error(err)
					}
					c.unlock()
				}
			})
		}
		senders.Go(func() {
			for range 4000 {
				c.controls.pong(nil)
			}
		})
		senders.Wait()
		if err := c.lock(nil, c.age()+time.Minute); err != nil { // what a pong began has ended
			t.Fatal(err)
		}
		c.unlock()
		if w.clashes.Load() > 0 {
			t.Fatalf("two wrote at a time, %d times", w.clashes.Load())
		}
		if c.controls.waiting.Load() || w.pongs.Load() == 0 {
			t.Fatalf("%d pongs, more waiting: %v", w.pongs.Load(), c.controls.waiting.Load())
		}
	}
}

// What a ping said is the reader's buffer, which is full of other things by the
// time the pong is written.
func TestAPongKeepsWhatThePingSaid(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.listen()
		l.take()
		data := []byte("one")
		l.controls.pong(data)
		copy(data, "two")
		l.unlock()
		expect(t, l.told, "8a:6f6e65@0s")
	})
}
