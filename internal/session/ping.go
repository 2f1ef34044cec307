package session

import (
	"sync"
	"time"
)

// pinger is the ping clock of a connection. One timer serves the interval and,
// while a ping is unanswered, the timeout.
type pinger struct {
	interval, timeout time.Duration // see limit

	ask  func() // asks for a ping to be written; writing and written follow
	fail func() // the timeout has passed

	mu      sync.Mutex
	timer   *time.Timer
	sent    time.Time // when the ping without a pong was sent; zero if there is none
	since   time.Time // since when its pong could have been seen
	wait    time.Duration
	stalled bool // reading is paused, so a pong cannot be seen
	stopped bool
	busy    bool // a ping is being written, or waits to be

	answered bool // a pong has been seen
}

func newPinger(interval, timeout time.Duration) *pinger {
	return &pinger{interval: interval, timeout: timeout}
}

// limit is how long a pong is waited for; zero means for ever. With a timeout of zero
// it is the interval, once a pong has shown that this peer answers pings at all; with
// a negative one pongs are not waited for.
func (p *pinger) limit() time.Duration {
	switch {
	case p.timeout > 0:
		return p.timeout
	case p.timeout == 0 && p.answered:
		return p.interval
	}
	return 0
}

// start starts the clock.
func (p *pinger) start(ask, fail func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.ask, p.fail = ask, fail
	// The function resets the timer, so it must not run before timer is set.
	p.timer = time.AfterFunc(p.interval, p.fire)
}

func (p *pinger) fire() {
	p.mu.Lock()
	if p.stopped || p.busy {
		p.mu.Unlock()
		return
	}
	if p.awaited() {
		if left := p.limit() - time.Since(p.since); left > 0 {
			p.timer.Reset(left) // a stall has just ended
			p.mu.Unlock()
			return
		}
		p.stopped = true
		p.mu.Unlock()
		p.fail()
		return
	}
	p.busy = true
	p.mu.Unlock()
	p.ask()
}

// awaited reports whether the timer waits for a pong.
func (p *pinger) awaited() bool { return !p.sent.IsZero() && p.limit() > 0 && !p.stalled }

// writing says that a ping is about to be written. Its pong may come before
// written is called. It reports false if p has not asked for one, since another
// clock has, or does not want it any more.
func (p *pinger) writing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.busy || p.stopped {
		return false
	}
	p.sent = time.Now()
	p.since = p.sent
	p.wait = p.interval
	return true
}

// written says that it has been, or could not be.
func (p *pinger) written(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	if !ok {
		p.sent = time.Time{}
	}
	switch {
	case p.stopped:
	case p.awaited():
		p.timer.Reset(p.limit())
	default: // nothing to wait for, or the pong came already
		p.timer.Reset(p.wait)
	}
}

// pong notes the answer to a ping and returns how long it took.
func (p *pinger) pong() (rtt time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent.IsZero() {
		return 0, false
	}
	rtt, p.sent = time.Since(p.sent), time.Time{}
	p.answered = true
	p.wait = max(p.interval-rtt, 0)
	if p.limit() > 0 && !p.busy && !p.stopped {
		p.timer.Reset(p.wait)
	}
	return rtt, true
}

// stall says that reading pauses or goes on. A pong that we did not read is not
// late; pings go on meanwhile, since they may be all that keeps the session.
func (p *pinger) stall(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stalled
	if stalled {
		return
	}
	p.since = time.Now()
	if p.awaited() && !p.busy && !p.stopped {
		p.timer.Reset(p.limit())
	}
}

// stop ends the clock.
func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
}
