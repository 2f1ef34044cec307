package session

import (
	"sync"
	"sync/atomic"

	"github.com/nlsgo/nls/internal/wsframe"
)

// controls are the pings and pongs that wait for the write lock. Whoever has it
// writes them between two messages, so that nobody waits for it on their behalf.
type controls struct {
	waiting atomic.Bool

	mu      sync.Mutex
	ping    bool
	pong    []byte // what the last ping said; older ones need no answer (RFC 6455 §5.5.3)
	hasPong bool
}

func (q *controls) add(ping bool, pong []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ping {
		q.ping = true
	} else {
		q.pong, q.hasPong = append(q.pong[:0], pong...), true
	}
	q.waiting.Store(true)
}

func (q *controls) take() (ping, hasPong bool, pong []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ping, hasPong, pong = q.ping, q.hasPong, q.pong
	q.ping, q.hasPong, q.pong = false, false, nil
	q.waiting.Store(false)
	return ping, hasPong, pong
}

// ping writes a ping as soon as the write lock is free. It is called by the ping
// clock.
func (c *conn) ping() {
	c.control.add(true, nil)
	select {
	case c.writing <- struct{}{}:
		c.unlock()
	default:
	}
}

// pong answers a ping. The reader must not wait for that, so it does not write.
func (c *conn) pong(data []byte) {
	c.control.add(false, data)
	select {
	case c.writing <- struct{}{}:
		go c.unlock() // ends at the write deadline or with the connection
	default:
	}
}

// writeControls writes what waits. The caller has the write lock.
func (c *conn) writeControls() {
	for c.control.waiting.Load() && !c.closing.Load() {
		ping, hasPong, pong := c.control.take()
		var err error
		if hasPong {
			err = c.write(wsframe.Pong, pong, c.writeDeadline())
		}
		if p := c.pings.Load(); ping && p != nil && err == nil {
			p.writing()
			err = c.write(wsframe.Ping, nil, c.writeDeadline())
			p.written(err == nil)
		}
		if err == ErrWriteTimeout {
			(*c.owner.Load()).lost(c, err)
		}
		// Any other error shows in the next read.
	}
}

// startPings starts the ping clock of c's owner, in place of the one before.
func (c *conn) startPings(p *pinger) {
	if last := c.pings.Swap(p); last != nil {
		last.stop()
	}
	if p != nil {
		p.start(c.ping, func() { (*c.owner.Load()).lost(c, ErrPingTimeout) })
	}
}
