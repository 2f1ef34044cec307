package session

import (
	"sync"
	"sync/atomic"
)

// gate is back-pressure: it holds the reader while as many bytes wait as may.
type gate struct {
	limit   int          // what passes it still enters
	pending atomic.Int64 // bytes that wait or are being delivered

	stalled atomic.Bool // somebody waits for space
	spaceMu sync.Mutex
	space   chan struct{} // closed when there is space again; nil if nobody waits
}

func (g *gate) take(n int) { g.pending.Add(int64(n)) }

// give gives n bytes back.
func (g *gate) give(n int) {
	g.pending.Add(-int64(n))
	if !g.full() && g.stalled.Load() {
		g.spaceMu.Lock()
		defer g.spaceMu.Unlock()
		if g.space != nil {
			close(g.space)
			g.space = nil
		}
	}
}

// full reports whether the limit has been reached.
func (g *gate) full() bool { return g.pending.Load() >= int64(g.limit) }

// wait returns when the gate is not full, or abort is closed. stall is called
// before it waits and after.
func (g *gate) wait(abort <-chan struct{}, stall func(stalled bool)) {
	g.spaceMu.Lock()
	g.stalled.Store(true)
	if !g.full() {
		g.stalled.Store(false)
		g.spaceMu.Unlock()
		return
	}
	space := make(chan struct{})
	g.space = space
	g.spaceMu.Unlock()

	stall(true)
	select {
	case <-space:
	case <-abort:
	}
	g.stalled.Store(false)
	stall(false)
}
