package session

import (
	"context"
	"errors"
	"time"
)

// warmer dials what a Pool keeps ready. Its fields are guarded by the mutex of the
// pool.
type warmer struct {
	pool  *Pool
	cfg   *Config
	url   Secret
	size  int           // connections that are kept ready
	limit time.Duration // of a dial

	dialing int
	closing chan struct{} // closed by CloseIdle; ends the dials
	pause   time.Duration // after the last failure
	retry   *time.Timer   // nil unless a pause runs
}

// fill starts the dials that are missing. The caller holds mu.
func (w *warmer) fill() {
	if w.pool.sessions == 0 || w.retry != nil {
		return
	}
	for range w.missing() {
		w.dialing++
		go w.dial(w.closing)
	}
}

// missing is how many connections have to be dialled. The caller holds mu.
func (w *warmer) missing() int {
	n := w.size - w.dialing
	for _, k := range w.pool.idle {
		if !k.reused {
			n--
		}
	}
	return n
}

// stop ends the dials, and the pause. The caller holds mu.
func (w *warmer) stop() {
	close(w.closing)
	w.closing = make(chan struct{})
	if w.retry != nil {
		w.retry.Stop()
		w.retry = nil
	}
}

// dial opens one connection for the pool. It ends within limit, unless user code
// that it calls does not.
func (w *warmer) dial(closing <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, w.limit)
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
	defer func() { w.dialed(err, closing) }()
	err = w.open(ctx, closing)
}

// open dials and parks.
func (w *warmer) open(ctx context.Context, closing <-chan struct{}) error {
	token, err := w.cfg.Token(ctx)
	if err != nil {
		return err
	}
	c, err := newDialer(w.cfg, w.url, token).dial(ctx)
	if err != nil {
		if refusedBy(err) != nil {
			w.cfg.Invalidate(token)
		}
		return err
	}
	k := &parked{pool: w.pool, conn: c, token: NewSecret(token)}
	c.handTo(k)
	c.serve()
	w.pool.park(k, warmLife, closing)
	return nil
}

// dialed notes what has come of a dial.
func (w *warmer) dialed(err error, closing <-chan struct{}) {
	w.pool.mu.Lock()
	w.dialing--
	closed := closing != w.closing
	if err == nil {
		w.fill()
	} else if !closed {
		w.rest()
	}
	pause := w.pause
	w.pool.mu.Unlock()
	if err != nil && !closed {
		w.cfg.Log.Warn("nls: no warm connection", "err", w.cfg.Explain("", err), "pause", pause)
	}
}

// rest pauses the dials, after a failure. The caller holds mu.
func (w *warmer) rest() {
	if w.retry != nil {
		return
	}
	w.pause = min(max(2*w.pause, poolMinPause), poolMaxPause)
	w.retry = time.AfterFunc(w.pause, func() {
		w.pool.mu.Lock()
		defer w.pool.mu.Unlock()
		w.retry = nil
		w.fill()
	})
}

// Warm opens what is missing now, all at once, and returns the first error.
func (p *Pool) Warm(ctx context.Context) error {
	if p == nil {
		return nil
	}
	return p.warmer.warm(ctx)
}

// warm is Warm.
func (w *warmer) warm(ctx context.Context) error {
	w.pool.mu.Lock()
	closing := w.closing
	missing := w.missing()
	w.dialing += max(missing, 0)
	w.pool.mu.Unlock()
	errs := make(chan error, max(missing, 0))
	for range missing {
		go func() {
			err := errors.New("user code has exited")
			defer func() {
				w.pool.mu.Lock()
				w.dialing--
				w.pool.mu.Unlock()
				errs <- err
			}()
			err = w.open(ctx, closing)
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
