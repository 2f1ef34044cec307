package nlsredis

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed limiter.lua
var limiterSource string

var limiterScript = redis.NewScript(limiterSource)

// line is what a process has of one namespace: its places and those who wait. Its
// rounds tell Redis what has changed, and at each tick all that there is: what Redis has
// forgotten it learns again.
type line struct {
	*limiter
	namespace string
	limit     int
	keys      []string
	name      string // of this line of this process; part of the ids
	channel   string // prefix of the channels on which lines hear that it is their turn
	changed   chan struct{}

	mu      sync.Mutex // never held over I/O
	last    int        // number of the last id
	held    map[string]bool
	waiting map[string]*waiter
	news    []string             // of waiting: not known to Redis, or admitted by it
	gone    map[string]time.Time // what Redis is to forget, and since when
	down    error                // why Redis does not answer; nil if it does
}

// waiter is a session that has a place or waits for one.
type waiter struct {
	id       string
	number   int
	since    time.Time
	told     bool          // Redis may know it
	admitted chan struct{} // closed when it has a place
}

func newLine(l *limiter, namespace string, limit int) *line {
	return &line{
		limiter:   l,
		namespace: namespace,
		limit:     limit,
		keys:      limiterKeys(l.opts.Account, namespace),
		name:      l.opts.Owner + "/" + rand.Text(),
		channel:   fmt.Sprintf("nls:{%s}:turn:", l.opts.Account),
		changed:   make(chan struct{}, 1),
		held:      map[string]bool{},
		waiting:   map[string]*waiter{},
		gone:      map[string]time.Time{},
	}
}

// newID is the id of a place. The caller holds mu.
func (l *line) newID() string {
	l.last++
	return fmt.Sprintf("%s/%d", l.name, l.last)
}

// wake lets run look for changes.
func (l *line) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// enter begins a wait.
func (l *line) enter() *waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &waiter{id: l.newID(), number: l.last, since: time.Now(), admitted: make(chan struct{})}
	l.waiting[w.id] = w
	l.news = append(l.news, w.id)
	l.admitAlone()
	l.wake()
	return w
}

// giveUp ends the wait of w for err.
func (l *line) giveUp(w *waiter, err error) error {
	l.mu.Lock()
	select {
	case <-w.admitted: // at the same moment
		l.mu.Unlock()
		l.release(w)
	default:
		delete(l.waiting, w.id)
		l.forget(w.id)
		if l.down != nil {
			err = fmt.Errorf("nlsredis: %w: Redis does not answer: %w", err, l.down)
		}
		l.mu.Unlock()
	}
	return err
}

// release gives the place of w back.
func (l *line) release(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, w.id)
	l.forget(w.id)
}

// forget lets Redis forget id. The caller holds mu.
func (l *line) forget(id string) {
	l.gone[id] = time.Now()
	l.wake()
}

// admit gives w its place. The caller holds mu.
func (l *line) admit(w *waiter) {
	delete(l.waiting, w.id)
	l.held[w.id] = true
	close(w.admitted)
}

// admitAlone admits without Redis, if that is wanted. The caller holds mu.
func (l *line) admitAlone() {
	if l.down == nil || !l.opts.FailOpen {
		return
	}
	for _, w := range l.inOrder() {
		if len(l.held) >= l.limit {
			return
		}
		l.admit(w)
	}
}

// inOrder is who waits. The caller holds mu.
func (l *line) inOrder() []*waiter {
	all := make([]*waiter, 0, len(l.waiting))
	for _, w := range l.waiting {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *waiter) int { return cmp.Compare(a.number, b.number) })
	return all
}

// listen lets those ask for their place whom another process has given one.
func (l *line) listen() {
	sub := l.client.Subscribe(l.ctx)
	defer context.AfterFunc(l.ctx, func() { sub.Close() })()
	_ = sub.Subscribe(l.ctx, l.channel+l.name) // it tries again by itself; ticks do meanwhile
	for m := range sub.Channel() {
		l.mu.Lock()
		if l.waiting[m.Payload] != nil {
			l.news = append(l.news, m.Payload)
			l.wake()
		}
		l.mu.Unlock()
	}
}

// run has a round for each change and at each tick, until l is closed.
func (l *line) run() {
	tick := time.NewTicker(l.tick)
	defer tick.Stop()
	for {
		whole := false
		select {
		case <-l.ctx.Done():
			l.mu.Lock()
			for id := range l.waiting {
				l.gone[id] = time.Now()
			}
			clear(l.waiting)
			l.news = nil
			l.mu.Unlock()
			l.round(false)
			return
		case <-tick.C:
			whole = true
		case <-l.changed:
		}
		if whole || !l.isDown() {
			l.round(whole)
		}
	}
}

func (l *line) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down != nil
}

// round tells Redis what has changed, or the whole, and hears who has a place.
func (l *line) round(whole bool) {
	args, gone := l.report(whole)
	if args == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), callTimeout)
	defer cancel()
	granted, err := limiterScript.Run(ctx, l.client, l.keys, args...).StringSlice()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(err)
	if err != nil {
		for id, since := range gone {
			if time.Since(since) < l.opts.Lease { // else Redis forgets it by itself
				l.gone[id] = since
			}
		}
		l.admitAlone()
		return
	}
	for _, id := range granted {
		if w := l.waiting[id]; w != nil { // else it has given up, and Redis is told
			l.admit(w)
		}
	}
}

// report is the ARGV of limiter.lua, nil if there is nothing to say, and what of gone is
// in it.
func (l *line) report(whole bool) (args []any, gone map[string]time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	args = []any{l.limit, l.opts.Lease.Milliseconds(), l.tick.Milliseconds(), l.name, l.channel}
	empty := len(args)
	for id := range l.gone {
		args = append(args, "release", id, 0)
	}
	gone, l.gone = l.gone, map[string]time.Time{}
	var waiting []*waiter
	if whole {
		for id := range l.held {
			args = append(args, "hold", id, 0)
		}
		waiting = l.inOrder()
	} else {
		for _, id := range l.news {
			if w := l.waiting[id]; w != nil {
				waiting = append(waiting, w)
			}
		}
	}
	l.news = nil
	for _, w := range waiting {
		age := int64(0)
		if w.told {
			age = max(1, time.Since(w.since).Microseconds())
		}
		w.told = true
		args = append(args, "wait", w.id, age)
	}
	if len(args) == empty {
		return nil, nil
	}
	return args, gone
}

// note says in the log when Redis stops to answer, and when it does again. The caller
// holds mu.
func (l *line) note(err error) {
	switch {
	case err != nil && l.down == nil:
		l.opts.Logger.Warn("nlsredis: Redis does not answer", "namespace", l.namespace, "fail_open", l.opts.FailOpen, "err", err)
	case err == nil && l.down != nil:
		l.opts.Logger.Info("nlsredis: Redis answers again", "namespace", l.namespace)
	}
	l.down = err
}
