package session

import (
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// parked owns a connection that waits. Whatever the peer says to it means that it
// is of no use.
type parked struct {
	pool   *Pool
	conn   *conn
	token  Secret // that opened it
	reused bool
	born   time.Time // when it was dialled, or its task completed
	expiry *time.Timer
	dead   atomic.Pointer[error] // why; nil while it is of use
}

// hand makes r the owner of the connection. It reports false if the connection is
// of no use; r may be told so, too.
func (k *parked) hand(r receiver) bool {
	k.conn.startPings(nil)
	k.conn.handTo(r)
	return k.dead.Load() == nil
}

// origin says where the connection came from.
func (k *parked) origin() string {
	if k.reused {
		return ConnReused
	}
	return ConnWarm
}

func (k *parked) wait(*conn) bool { return true }

func (k *parked) receive(c *conn, _ byte, _ []byte) (then func(), on bool) {
	k.lost(c, errStale)
	return nil, false
}

func (k *parked) lost(c *conn, err error) {
	k.dead.CompareAndSwap(nil, &err)
	var pause time.Duration
	k.pool.mu.Lock()
	if k.pool.removeLocked(k) {
		if !k.reused && time.Since(k.born) < poolMinPause {
			pause = k.pool.warmer.rest() // the gateway hangs up at once
		}
		k.pool.warmer.fill()
	}
	k.pool.mu.Unlock()
	if pause > 0 {
		go k.pool.warmer.warn(err, pause) // the logger is the user's, and may block
	}
	if r := c.receiver(); r != receiver(k) { // it has just been taken
		r.lost(c, err)
		return
	}
	k.drop()
}

// drop breaks the connection, which nobody has taken.
func (k *parked) drop() {
	k.conn.startPings(nil)
	k.conn.abort()
}

func (k *parked) ponged(*conn, time.Duration) {}

// expire gives up a connection before the service does.
func (k *parked) expire() {
	k.pool.mu.Lock()
	found := k.pool.removeLocked(k)
	if found {
		k.pool.warmer.pause = 0
		k.pool.warmer.fill()
	}
	k.pool.mu.Unlock()
	if found {
		k.conn.close(wsframe.CloseNormal)
	}
}
