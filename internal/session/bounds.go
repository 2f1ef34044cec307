package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// bounds is the clock of a task, and the only place that knows time-outs. One
// bound runs at a time: on the start, on the stop, on the whole of a synthesis.
//
// A bound measures the service. It ends when the terminal message has arrived and
// stands still while our own queue is full; then only a single callback that runs
// for longer than the bound is too long.
type bounds struct {
	// expire is called when the bound has been passed; by our callback, not by the
	// service, if ours. It is called with mu held, so that no bound that has been
	// stopped ends anything, and what it returns without.
	expire func(b bound, ours bool) (then func())
	busy   func() (since time.Time) // when the callback that runs began; zero if none does

	patient   bool // no callback takes too long
	base      time.Time
	heard     atomic.Int64 // when the last message came, as nanoseconds after base
	listening atomic.Bool  // the bound that runs is one on silence

	mu      sync.Mutex
	timer   *time.Timer // nil if no bound runs
	running bound
	started time.Time
	begin   time.Time // from when it counts the service's time
	full    time.Time // since when our queue is full; zero if it is not
	met     bool      // the service has done what the bound waits for
	over    bool      // it has said its last
}

// bound is one of them.
type bound struct {
	limit   time.Duration
	silence bool  // each message renews it
	ofStart bool  // it ends when Start may return
	timeout error // what it ends the task with
	used    time.Duration
}

// start makes b the bound that runs. One that is not positive is none.
func (c *bounds) start(b bound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked(b)
}

func (c *bounds) startLocked(b bound) {
	c.stopLocked()
	if b.limit <= 0 {
		return
	}
	now := time.Now()
	c.running, c.started, c.begin = b, now, now.Add(-b.used)
	c.heard.Store(int64(now.Sub(c.base)))
	c.listening.Store(b.silence)
	if !c.full.IsZero() {
		c.full = now
	}
	// The function resets the timer, so it must not run before timer is set.
	c.timer = time.AfterFunc(c.left(now), c.fire)
}

// startFirst is start unless a bound runs. That of Start is over by then: Start may
// return a moment before stopStart has been called.
func (c *bounds) startFirst(b bound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil || c.running.ofStart {
		c.startLocked(b)
	}
}

// stop ends the bound that runs. It returns it with what has been used of it.
func (c *bounds) stop() bound {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.running
	if b.limit > 0 {
		now := time.Now()
		if !c.full.IsZero() {
			now = c.full // it stands still since then
		}
		b.used = now.Sub(c.begin)
	}
	c.stopLocked()
	return b
}

// stopStart ends the bound of Start, if that is what runs.
func (c *bounds) stopStart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running.ofStart {
		c.stopLocked()
	}
}

func (c *bounds) stopLocked() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.listening.Store(false)
	c.running, c.met = bound{}, false
}

// ours reports whether it is not the service that is waited for.
func (c *bounds) ours() bool { return c.met || c.over || !c.full.IsZero() }

// message notes that the service has been heard.
func (c *bounds) message() {
	if c.listening.Load() {
		c.heard.Store(int64(time.Since(c.base)))
	}
}

// stall says that our queue is full, or no longer.
func (c *bounds) stall(stalled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if stalled {
		c.full = now
		return
	}
	c.begin = c.begin.Add(now.Sub(c.full))
	c.full = time.Time{}
	c.heard.Store(int64(now.Sub(c.base)))
	if c.timer != nil {
		c.timer.Reset(c.left(now))
	}
}

// answer says that the service has done what the bound that runs waits for or,
// if it is terminal, that it has said its last.
func (c *bounds) answer(terminal bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.met, c.over = true, c.over || terminal
}

// left is how much of the bound is left.
func (c *bounds) left(now time.Time) time.Duration {
	from := c.begin
	switch {
	case c.ours():
		if from = c.busy(); from.IsZero() || c.patient {
			from = now
		} else if from.Before(c.started) {
			from = c.started
		}
	case c.running.silence:
		from = c.base.Add(time.Duration(c.heard.Load()))
	}
	return c.running.limit - now.Sub(from)
}

func (c *bounds) fire() {
	c.mu.Lock()
	if c.timer == nil {
		c.mu.Unlock()
		return
	}
	if left := c.left(time.Now()); left > 0 {
		c.timer.Reset(left)
		c.mu.Unlock()
		return
	}
	b, ours := c.running, c.ours()
	c.stopLocked()
	then := c.expire(b, ours)
	c.mu.Unlock()
	then()
}
