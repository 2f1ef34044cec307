package session

import (
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
	p.warmer = warmer{pool: p, cfg: cfg, url: url, size: size, limit: limit, closing: make(chan struct{})}
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
// none. It has to be handed to an owner with hand.
func (p *Pool) take(token string) *parked {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		k := p.idle[len(p.idle)-1]
		p.removeLocked(k)
		if !k.dead.Load() && k.token.Value() == token {
			p.warmer.pause = 0
			p.warmer.fill()
			return k
		}
		go k.conn.close(wsframe.CloseNormal) // ends within closeTimeout
	}
	return nil
}

// adopt owns the connection of a, whose task has completed, until put.
func (p *Pool) adopt(a *attempt) *parked {
	k := &parked{pool: p, conn: a.conn, token: a.token, reused: true}
	k.conn.handTo(k)
	return k
}

// put takes in the connection of a task that has completed.
func (p *Pool) put(k *parked) { p.park(k, reuseLife, nil) }

// park keeps k for life, unless CloseIdle has closed what k was dialled for.
func (p *Pool) park(k *parked, life time.Duration, closing <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.dead.Load() || closing != nil && closing != p.warmer.closing {
		k.conn.abort()
		return
	}
	k.conn.startPings(newPinger(poolPing, poolPong))
	k.born, k.expiry = time.Now(), time.AfterFunc(life, k.expire)
	p.idle = append(p.idle, k)
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
	for _, k := range idle {
		k.conn.close(wsframe.CloseNormal)
	}
}
