package nls

import (
	"container/list"
	"context"
	"maps"
	"sync"
)

// Limiter admits sessions, since the service counts them: by product and account,
// whatever the AppKey. Start waits for it, within its own bounds, before it asks for
// a token and dials. It must be safe for concurrent use.
type Limiter interface {
	// Acquire waits until a session of namespace may start, first come, first
	// served, or until ctx ends. release is called once, when the connection of the
	// session is gone; it must not block.
	Acquire(ctx context.Context, namespace string) (release func(), err error)
}

// Limits says how many sessions of each product may run at a time. What is not
// positive is no limit.
type Limits struct {
	Each        int            // of every namespace that is not in ByNamespace
	ByNamespace map[string]int // such as "FlowingSpeechSynthesizer": 10
}

// NewLimiter returns a Limiter for one process. Clients that share an account share
// it, too.
func NewLimiter(l Limits) Limiter {
	l.ByNamespace = maps.Clone(l.ByNamespace)
	p := &limiter{limits: l, places: map[string]*places{}}
	return hiddenLimiter(func() *limiter { return p })
}

// hiddenLimiter is a limiter behind a function, since printers that use package
// reflect follow all else, and would read what changes.
type hiddenLimiter func() *limiter

// Acquire implements Limiter.
func (f hiddenLimiter) Acquire(ctx context.Context, namespace string) (release func(), err error) {
	return f().acquire(ctx, namespace)
}

type limiter struct {
	limits Limits

	mu     sync.Mutex // never held over a wait
	places map[string]*places
}

// places are those of one namespace.
type places struct {
	taken   int
	waiting list.List // of chan struct{}; who is given a place is removed, and its channel closed
}

func (l *limiter) acquire(ctx context.Context, namespace string) (release func(), err error) {
	limit, ok := l.limits.ByNamespace[namespace]
	if !ok {
		limit = l.limits.Each
	}
	if limit <= 0 {
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	p := l.places[namespace]
	if p == nil {
		p = &places{}
		l.places[namespace] = p
	}
	release = sync.OnceFunc(func() { l.release(p) })
	if p.taken < limit {
		p.taken++
		l.mu.Unlock()
		return release, nil
	}
	turn := make(chan struct{})
	place := p.waiting.PushBack(turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return release, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	select {
	case <-turn: // given at the same moment: the next one has it
		l.mu.Unlock()
		release()
	default:
		p.waiting.Remove(place)
		l.mu.Unlock()
	}
	return nil, ctx.Err()
}

// release gives a place to who waits longest, if anybody does.
func (l *limiter) release(p *places) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first := p.waiting.Front(); first != nil {
		close(p.waiting.Remove(first).(chan struct{}))
		return
	}
	p.taken--
}

// Drain makes every Start and RecognizeFile fail with ErrClientDrained from now on,
// waits until those that run have ended, closes the connections that wait, and
// returns nil. When ctx ends first it shuts the sessions down, waits for their
// OnClose, but for a callback that is stuck no longer than 10 s, and returns ctx's
// error. It must not be called from a callback. A Client stays drained.
func (c *Client) Drain(ctx context.Context) error {
	if c.session == nil {
		return errZeroClient
	}
	err := c.session.Roster.Drain(ctx)
	c.CloseIdleConnections()
	return err
}
