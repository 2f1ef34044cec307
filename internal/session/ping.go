package session

import (
	"sync"
	"time"
)

// pinger is the ping clock of a connection. One timer serves the interval and,
// while a ping is unanswered, the timeout.
type pinger struct {
	interval, timeout time.Duration
	send              func() bool // writes a ping; false if one cannot be written now
	fail              func()      // the timeout has passed

	mu      sync.Mutex
	timer   *time.Timer
	sent    time.Time // when the ping without a pong was sent; zero if there is none
	waiting time.Time // since when its pong could have been seen
	stalled bool      // reading is paused, so a pong cannot be seen
	stopped bool
	idle    *sync.Cond // signals running == false
	running bool
}

func newPinger(interval, timeout time.Duration, send func() bool, fail func()) *pinger {
	p := &pinger{interval: interval, timeout: timeout, send: send, fail: fail}
	p.idle = sync.NewCond(&p.mu)
	// The function resets the timer, so it must not run before timer is set.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(interval, p.fire)
	return p
}

func (p *pinger) fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.running {
		return
	}
	if !p.sent.IsZero() && p.timeout > 0 && !p.stalled {
		if left := p.timeout - time.Since(p.waiting); left > 0 {
			p.timer.Reset(left) // a stall has just ended
			return
		}
		p.stopped = true
		p.mu.Unlock()
		p.fail()
		p.mu.Lock()
		return
	}
	p.running, p.sent = true, time.Now()
	p.waiting = p.sent
	p.mu.Unlock()
	sent := p.send()
	p.mu.Lock()
	p.running = false
	p.idle.Broadcast()
	if !sent {
		p.sent = time.Time{}
	}
	switch {
	case p.stopped:
	case p.sent.IsZero() || p.timeout == 0 || p.stalled: // nothing to wait for, or the pong came already
		p.timer.Reset(p.interval)
	default:
		p.timer.Reset(p.timeout)
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
	if p.timeout > 0 && !p.running && !p.stopped {
		p.timer.Reset(max(p.interval-rtt, 0))
	}
	return rtt, true
}

// stall says that reading pauses or goes on. A pong that we did not read is not
// late; pings go on meanwhile, since they may be all that keeps the session.
func (p *pinger) stall(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stalled
	if !stalled {
		p.waiting = time.Now()
	}
	if !stalled && !p.sent.IsZero() && p.timeout > 0 && !p.running && !p.stopped {
		p.timer.Reset(p.timeout)
	}
}

// stop ends the clock and waits for a ping that is being written.
func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
	for p.running {
		p.idle.Wait()
	}
}
