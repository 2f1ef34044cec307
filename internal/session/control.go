package session

import (
	"sync"
	"sync/atomic"

	"github.com/nlsgo/nls/internal/wsframe"
)

// controls are the pings and pongs that wait for the write lock. Whoever has it
// writes them between two messages, so that nobody waits for it on their behalf.
type controls struct {
	conn    *conn
	waiting atomic.Bool

	mu      sync.Mutex
	hasPing bool
	hasPong bool
	data    []byte // of the pong: what the last ping said; older ones need no answer (RFC 6455 §5.5.3)
}

func (q *controls) add(ping bool, pong []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ping {
		q.hasPing = true
	} else {
		q.data, q.hasPong = append(q.data[:0], pong...), true
	}
	q.waiting.Store(true)
}

func (q *controls) take() (ping, hasPong bool, pong []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ping, hasPong, pong = q.hasPing, q.hasPong, q.data
	q.hasPing, q.hasPong, q.data = false, false, nil
	q.waiting.Store(false)
	return ping, hasPong, pong
}

// ping writes a ping as soon as the write lock is free. It is called by the ping
// clock.
func (q *controls) ping() {
	q.add(true, nil)
	select {
	case q.conn.writing <- struct{}{}:
		q.conn.unlock()
	default:
	}
}

// pong answers a ping. The reader must not wait for that, so it does not write.
func (q *controls) pong(data []byte) {
	q.add(false, data)
	select {
	case q.conn.writing <- struct{}{}:
		go q.conn.unlock() // ends at the write deadline or with the connection
	default:
	}
}

// write writes what waits. The caller has the write lock.
func (q *controls) write() {
	c := q.conn
	for q.waiting.Load() && !c.closing.Load() {
		ping, hasPong, pong := q.take()
		var err error
		if hasPong {
			err = c.write(wsframe.Pong, pong, c.writeDeadline())
		}
		if p := c.pings.Load(); ping && err == nil && p != nil && p.writing() {
			err = c.write(wsframe.Ping, nil, c.writeDeadline())
			p.written(err == nil)
		}
		if err == ErrWriteTimeout {
			c.receiver().lost(c, err)
		}
		// Any other error shows in the next read.
	}
}
