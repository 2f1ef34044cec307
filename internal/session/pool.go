package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
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
	cfg   *Config
	url   Secret
	size  int           // connections that are kept ready
	reuse bool          // those of completed tasks are taken in
	limit time.Duration // of a dial

	mu       sync.Mutex // never held over I/O or user code
	idle     []*parked  // the oldest first
	dialing  int
	sessions int           // that run
	closing  chan struct{} // closed by CloseIdle; ends the dials
	pause    time.Duration // after the next failure
	retry    *time.Timer   // nil unless a pause runs
}

// NewPool returns an empty pool for the gateway at url.
func NewPool(cfg *Config, url Secret, size int, reuse bool, limit time.Duration) *Pool {
	return &Pool{cfg: cfg, url: url, size: size, reuse: reuse, limit: limit, closing: make(chan struct{})}
}

// enter notes that a session has started, and leave that it has ended.
func (p *Pool) enter() {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sessions++
		p.fill()
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
			p.fill()
			return k
		}
		go k.conn.close(wsframe.CloseNormal) // ends within closeTimeout
	}
	return nil
}

// put takes in the connection of a task that has completed.
func (p *Pool) put(k *parked) { p.park(k, reuseLife, nil) }

// park keeps k for life, unless CloseIdle has closed what k was dialled for.
func (p *Pool) park(k *parked, life time.Duration, closing <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.dead.Load() || closing != nil && closing != p.closing {
		k.conn.abort()
		return
	}
	k.conn.startPings(newPinger(poolPing, poolPong))
	k.expiry = time.AfterFunc(life, k.expire)
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

// fill starts the dials that are missing. The caller holds mu.
func (p *Pool) fill() {
	if p.sessions == 0 || p.retry != nil {
		return
	}
	warm := 0
	for _, k := range p.idle {
		if !k.reused {
			warm++
		}
	}
	for ; warm+p.dialing < p.size; p.dialing++ {
		go p.dial(p.closing)
	}
}

// dial opens one connection for the pool. It ends within limit, unless user code
// that it calls does not.
func (p *Pool) dial(closing <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if p.limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.limit)
		defer cancel()
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-closing:
			cancel()
		case <-done:
		}
	}()
	err := errors.New("user code has exited")
	defer func() { p.dialed(err, closing) }()
	err = p.open(ctx, closing)
}

// open dials and parks.
func (p *Pool) open(ctx context.Context, closing <-chan struct{}) error {
	token, err := p.cfg.Token(ctx)
	if err != nil {
		return err
	}
	c, err := newDialer(p.cfg, p.url, token).dial(ctx)
	if err != nil {
		if refusedBy(err) != nil {
			p.cfg.Invalidate(token)
		}
		return err
	}
	k := &parked{pool: p, conn: c, token: NewSecret(token)}
	c.handTo(k)
	c.serve()
	p.park(k, warmLife, closing)
	return nil
}

// dialed notes what has come of a dial.
func (p *Pool) dialed(err error, closing <-chan struct{}) {
	p.mu.Lock()
	p.dialing--
	closed := closing != p.closing
	if err == nil {
		p.pause = 0
	} else if p.retry == nil && !closed {
		p.pause = min(max(2*p.pause, poolMinPause), poolMaxPause)
		p.retry = time.AfterFunc(p.pause, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.retry = nil
			p.fill()
		})
	}
	pause := p.pause
	p.mu.Unlock()
	if err != nil && !closed {
		p.cfg.Log.Warn("nls: no warm connection", "err", p.cfg.Explain("", err), "pause", pause)
	}
}

// Warm opens what is missing now, all at once, and returns the first error.
func (p *Pool) Warm(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	closing := p.closing
	missing := p.size - p.dialing
	for _, k := range p.idle {
		if !k.reused {
			missing--
		}
	}
	p.dialing += max(missing, 0)
	p.mu.Unlock()
	errs := make(chan error, max(missing, 0))
	for range missing {
		go func() {
			err := errors.New("user code has exited")
			defer func() {
				p.mu.Lock()
				p.dialing--
				p.mu.Unlock()
				errs <- err
			}()
			err = p.open(ctx, closing)
		}()
	}
	var first error
	for range missing {
		select {
		case err := <-errs:
			if first == nil {
				first = err
			}
		case <-ctx.Done():
			return deadlineError(ctx, ErrStartTimeout)
		}
	}
	if first != nil && ctx.Err() != nil {
		return deadlineError(ctx, ErrStartTimeout)
	}
	return first
}

// CloseIdle closes the connections that wait, and ends the dials.
func (p *Pool) CloseIdle() {
	if p == nil {
		return
	}
	p.mu.Lock()
	close(p.closing)
	p.closing = make(chan struct{})
	idle := slices.Clone(p.idle)
	for _, k := range idle {
		p.removeLocked(k)
	}
	if p.retry != nil {
		p.retry.Stop()
		p.retry = nil
	}
	p.mu.Unlock()
	for _, k := range idle {
		k.conn.close(wsframe.CloseNormal)
	}
}

// parked owns a connection that waits. Whatever the peer says to it means that it
// is of no use.
type parked struct {
	pool   *Pool
	conn   *conn
	token  Secret // that opened it
	reused bool
	expiry *time.Timer
	dead   atomic.Bool
}

// hand makes r the owner of the connection. It reports false if the connection is
// of no use; r may be told so, too.
func (k *parked) hand(r receiver) bool {
	k.conn.startPings(nil)
	k.conn.handTo(r)
	return !k.dead.Load()
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
	k.dead.Store(true)
	k.pool.mu.Lock()
	found := k.pool.removeLocked(k)
	if found {
		k.pool.fill()
	}
	k.pool.mu.Unlock()
	if r := c.receiver(); r != receiver(k) { // it has just been taken
		r.lost(c, err)
		return
	}
	c.abort()
}

func (k *parked) ponged(*conn, time.Duration) {}

// expire gives up a connection before the service does.
func (k *parked) expire() {
	k.pool.mu.Lock()
	found := k.pool.removeLocked(k)
	if found {
		k.pool.fill()
	}
	k.pool.mu.Unlock()
	if found {
		k.conn.close(wsframe.CloseNormal)
	}
}
