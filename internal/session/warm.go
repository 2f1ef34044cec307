package session

import (
	"context"
	"errors"
	"slices"
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

	dials  []*warming // that run
	round  context.Context
	cancel context.CancelFunc // ends the round: CloseIdle
	pause  time.Duration      // after the last failure
	retry  *time.Timer        // nil unless a pause runs
}

// warming is a dial.
type warming struct {
	round context.Context // in which it began
	asked bool            // by Warm, which gets the error
	done  chan struct{}
	err   error // once done is closed
}

// fill starts the dials that are missing. The caller holds mu.
func (w *warmer) fill() {
	if w.pool.sessions > 0 && w.retry == nil {
		w.start(context.Background())
	}
}

// start starts the dials that are missing; values are those of their contexts.
// The caller holds mu.
func (w *warmer) start(values context.Context) {
	n := w.size - len(w.dials)
	for _, k := range w.pool.idle {
		if !k.reused {
			n--
		}
	}
	for range n {
		d := &warming{round: w.round, done: make(chan struct{})}
		w.dials = append(w.dials, d)
		go w.dial(values, d)
	}
}

// stop ends the dials, and the pause. The caller holds mu.
func (w *warmer) stop() {
	w.cancel()
	w.round, w.cancel = context.WithCancel(context.Background())
	if w.retry != nil {
		w.retry.Stop()
		w.retry = nil
	}
}

// dial opens one connection for the pool. It ends within limit, unless user code
// that it calls does not.
func (w *warmer) dial(values context.Context, d *warming) {
	ctx, cancel := context.WithTimeout(values, w.limit)
	defer cancel()
	defer context.AfterFunc(d.round, cancel)()
	d.err = errors.New("user code has exited")
	defer w.dialed(d)
	d.err = w.open(ctx, d.round)
	if d.err != nil && d.round.Err() != nil {
		d.err = ErrShutdown
	}
}

// open dials and parks. If the gateway refuses the token it tries once more with
// another, as Start does.
func (w *warmer) open(ctx, round context.Context) error {
	for again := true; ; again = false {
		token, err := w.cfg.Token(ctx, nil)
		if err != nil {
			return w.late(ctx, err)
		}
		dialer := newDialer(w.cfg, w.url)
		dialer.use(token)
		c, err := dialer.dial(ctx)
		if err == nil {
			k := &parked{pool: w.pool, conn: c, token: NewSecret(token), born: time.Now()}
			c.handTo(k)
			c.serve()
			if err = w.pool.park(round, k, warmLife); err != nil {
				k.drop()
			}
			return err
		}
		if refusedBy(err) == nil || !again || !w.cfg.Invalidate(token) {
			return w.late(ctx, err)
		}
	}
}

// late is the timeout if that is what err is about.
func (w *warmer) late(ctx context.Context, err error) error {
	if deadline, ok := ctx.Deadline(); refusedBy(err) == nil && (ctx.Err() != nil || ok && !time.Now().Before(deadline)) {
		<-ctx.Done() // the connection has the same deadline, and may have been first
		if ctx.Err() == context.Canceled {
			return ctx.Err()
		}
		return ErrStartTimeout
	}
	return err
}

// dialed notes what has come of d.
func (w *warmer) dialed(d *warming) {
	var pause time.Duration
	w.pool.mu.Lock()
	w.dials = slices.DeleteFunc(w.dials, func(other *warming) bool { return other == d })
	if d.err == nil {
		w.fill()
	} else if d.round.Err() == nil {
		pause = w.rest()
	}
	asked := d.asked
	w.pool.mu.Unlock()
	close(d.done)
	if pause > 0 && !asked {
		w.warn(d.err, pause)
	}
}

// rest pauses the dials, after a failure, and returns for how long; 0 if they rest
// already. The caller holds mu.
func (w *warmer) rest() time.Duration {
	if w.retry != nil {
		return 0
	}
	w.pause = min(max(2*w.pause, poolMinPause), poolMaxPause)
	var retry *time.Timer
	retry = time.AfterFunc(w.pause, func() {
		w.pool.mu.Lock()
		defer w.pool.mu.Unlock()
		if w.retry == retry { // else stop was too late to stop it
			w.retry = nil
			w.fill()
		}
	})
	w.retry = retry
	return w.pause
}

func (w *warmer) warn(err error, pause time.Duration) {
	w.cfg.Log.Warn("nls: no warm connection", "err", w.cfg.Explain("", err), "pause", pause)
}

// Warm opens what is missing now, all at once, and returns the first error.
func (p *Pool) Warm(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.warmer.start(context.WithoutCancel(ctx))
	dials := slices.Clone(p.warmer.dials)
	for _, d := range dials {
		d.asked = true
	}
	p.mu.Unlock()
	var first error
	for _, d := range dials {
		select {
		case <-d.done:
			if first == nil {
				first = d.err
			}
		case <-ctx.Done():
			return ContextEnd(ctx, ErrStartTimeout)
		}
	}
	return first
}
