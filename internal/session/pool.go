package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// How long a connection may wait for a Start. The service drops one on which
// nothing was sent after somewhat more than 23 s, if it is pinged, and one whose
// task has completed after 10 s (protocol §1.5, §1.7).
const (
	warmLife  = 18 * time.Second
	reuseLife = 8 * time.Second
)

// The ping clock of a connection that waits, and the pause after a dial that has
// failed.
const (
	poolPing     = 8 * time.Second
	poolPong     = 5 * time.Second
	poolMinPause = time.Second
	poolMaxPause = 30 * time.Second
)

// errStale says that a connection that waited was dead, and another is tried.
var errStale = errors.New("stale connection")

// Pool keeps connections to one gateway open and upgraded, for the next Start. It
// dials in the background, and only while sessions run, so that nothing is left of
// it when they have ended and warmLife has passed. A nil Pool has none.
type Pool struct {
	reuse bool // connections of completed tasks are taken in

	mu       sync.Mutex // never held over I/O or user code
	idle     []*parked  // the oldest first
	sessions int        // that run
	warmer   warmer
}

// NewPool returns an empty pool for the gateway at url.
func NewPool(cfg *Config, url Secret, size int, reuse bool, limit time.Duration) *Pool {
	p := &Pool{reuse: reuse}
	p.warmer = warmer{pool: p, cfg: cfg, url: url, size: size, limit: limit}
	p.warmer.round, p.warmer.cancel = context.WithCancel(context.Background())
	return p
}

// enter notes that a session has started, and leave that it has ended.
func (p *Pool) enter() {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sessions++
		p.warmer.fill()
	}
}

func (p *Pool) leave() {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sessions--
	}
}

// take returns a connection that token has opened, the youngest; nil if there is
// none. It has to be handed to an owner with hand. Those of another token are
// replaced.
func (p *Pool) take(token string) *parked {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.warmer.fill()
	for _, k := range slices.Backward(slices.Clone(p.idle)) {
		switch {
		case k.dead.Load() != nil: // lost removes it
		case k.token.Value() == token:
			p.removeLocked(k)
			p.warmer.pause = 0
			return k
		default:
			p.removeLocked(k)
			go k.conn.close(wsframe.CloseNormal) // ends within closeTimeout
		}
	}
	return nil
}

// adopt owns the connection of a, whose task has completed, until put.
func (p *Pool) adopt(a *attempt) *parked {
	k := &parked{pool: p, conn: a.conn, token: a.token, reused: true, born: time.Now()}
	k.conn.handTo(k)
	return k
}

// put takes in the connection of a task that has completed. It reports false if
// that is of no use.
func (p *Pool) put(k *parked) bool {
	return p.park(context.Background(), k, reuseLife-time.Since(k.born)) == nil
}

// park keeps k for life. The error says why it is of no use: it is dead, or
// CloseIdle has ended the round of dials that it belongs to.
func (p *Pool) park(round context.Context, k *parked, life time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := k.dead.Load(); err != nil {
		return *err
	}
	if round.Err() != nil || life <= 0 || k.conn.torn.Load() {
		return errStale
	}
	k.conn.startPings(newPinger(poolPing, poolPong))
	k.expiry = time.AfterFunc(life, k.expire)
	p.idle = append(p.idle, k)
	return nil
}

// removeLocked removes k. It reports false if k was not there.
func (p *Pool) removeLocked(k *parked) bool {
	i := slices.Index(p.idle, k)
	if i < 0 {
		return false
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	k.expiry.Stop()
	return true
}

// empty reports whether no connection waits.
func (p *Pool) empty() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle) == 0
}

// CloseIdle closes the connections that wait, and ends the dials.
func (p *Pool) CloseIdle() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.warmer.stop()
	idle := slices.Clone(p.idle)
	for _, k := range idle {
		p.removeLocked(k)
	}
	p.mu.Unlock()
	var goodbyes sync.WaitGroup
	for _, k := range idle {
		goodbyes.Go(func() { k.conn.close(wsframe.CloseNormal) })
	}
	goodbyes.Wait()
}
