package session

import (
	"context"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// connecting opens the connection of an attempt. It dials on a goroutine of its
// own, since the token source, the proxy function, the dialer and the hooks are
// the user's and may ignore their context: Start waits no longer than it may, and
// they may go on.
type connecting struct {
	*opening
	a *attempt
}

func newConnecting(o *opening, a *attempt) *connecting {
	return &connecting{o, a}
}

// connect opens the connection of a and sends the first directive.
func (o *connecting) connect(ctx context.Context) error {
	a := o.a
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	a.conn = c
	o.stats.begin = time.Now()
	o.current.Store(a)
	r := &receiving{Task: o.Task, a: a}
	dead := false
	if a.parked == nil {
		c.handTo(r)
	} else {
		dead = !a.parked.hand(r)
	}
	if !o.outcome.unless(func() { o.outcome.begun.Store(true) }) { // it ended while nobody could see the connection
		c.abort()
		a.serve()
		o.wrapUp()
		return nil
	}
	if dead {
		a.isStale(errStale)
		return nil
	}
	err = o.writeFirst()
	if err == nil {
		o.opened()
	}
	if o.p.PingInterval > 0 {
		c.startPings(newPinger(o.p.PingInterval, o.p.PingTimeout))
	}
	a.serve()
	switch {
	case err == nil:
	case a.parked != nil:
		a.isStale(&CloseError{Code: -1, Err: err})
	default:
		_ = writeFailed(o.Task, err)
	}
	return nil
}

// writeFirst writes the first directive.
func (o *connecting) writeFirst() error {
	a := o.a
	if o.watch.tracing() {
		o.watch.frame(true, a.id, wsframe.Text, a.frame, a.redact)
	}
	if o.cfg.Record != nil {
		o.record(a, o.recordFrame(a, true, wsframe.Text, a.frame))
	}
	s := sending{t: o.Task, a: a, start: time.Now()}
	deadline := a.conn.writeDeadline()
	err := a.conn.lock(a.conn.reader.done, deadline) // who has waited may be saying goodbye
	if err == nil {
		if err = a.conn.write(wsframe.Text, a.frame, deadline); err == nil {
			a.conn.unlock()
		} else {
			<-a.conn.writing
		}
	}
	s.after(o.p.Start, len(a.frame), err)
	for _, m := range s.written {
		o.watch.wrote(wsframe.Text, m)
	}
	a.frame = nil
	return err
}

// opened notes that the first directive is on its way.
func (o *connecting) opened() {
	switch {
	case len(o.p.Started) > 0:
	case o.p.WaitDone:
		// Until the service has said something, the token may be refused.
		o.sent.Store(true)
		o.opening.bound = o.bounds.stop()
		o.bounds.start(o.p.completeBound())
	case !o.outcome.advance(starting, answered):
	case o.p.Open:
		o.bounds.answer(false)
		if o.queue.push(&Delivery{Kind: KindOpen, TaskID: o.a.id, ready: true}) {
			go o.queue.dispatch()
		}
	default:
		o.ready()
		o.bounds.start(o.p.completeBound())
	}
}

// dial dials. A panic or an exit of user code becomes one of Start, where the
// caller can see it.
func (o *connecting) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := runErrand(&o.watch, func() (*conn, error) { return o.open(ctx) }, func(c *conn) {
		if c != nil {
			c.abort()
		}
	})
	defer e.forget()
	select {
	case r := <-e.result:
		return r.get()
	case <-o.outcome.over:
		return nil, o.outcome.err()
	}
}

// open gets a token and a connection: one that waits, or else a new one. Where the
// token has to be looked up, the way to the gateway is gone meanwhile.
func (o *connecting) open(ctx context.Context) (*conn, error) {
	d := newDialer(o.cfg, o.p.URL)
	info := Dial{URL: withoutQuery(o.p.URL.Value()), TaskID: o.a.id, Attempt: o.tries + 1, Conn: ConnDialed}
	var start time.Time
	begin := func() {
		o.tries++
		if start = time.Now(); o.watch.hooks != nil {
			o.watch.hooks.DialStart(info)
		}
	}
	if lookup := o.cfg.TokenAtHand; lookup != nil && !lookup() && o.p.Pool.empty() {
		begin()
		d.ahead = d.goAhead(ctx, &o.watch)
		defer d.ahead.forget()
	}
	token, err := o.cfg.Token(ctx, &Asker{o.p.Namespace, o.a.id, o.watch.hooks})
	if err == nil {
		o.a.token = NewSecret(token)
		if d.ahead == nil {
			begin()
		}
		d.use(token)
	}
	var c *conn
	if err == nil {
		c, err = takeOrDial(ctx, o, d, token, &info)
	} else if d.ahead == nil {
		return nil, err
	}
	if o.watch.hooks != nil {
		info.Duration, info.Err = time.Since(start), err
		told := false
		defer func() {
			if c != nil && !told { // the hook has panicked
				c.abort()
			}
		}()
		o.watch.hooks.DialDone(info)
		told = true
	}
	return c, err
}

// takeOrDial gets a connection: one that waits, or else a new one.
func takeOrDial(ctx context.Context, o *connecting, d *dialer, token string, info *Dial) (*conn, error) {
	// Where nobody waits for an answer nobody could dial again.
	if o.mayBeStale && (len(o.p.Started) > 0 || o.p.WaitDone) {
		if k := o.p.Pool.take(token); k != nil {
			info.Conn, info.RemoteAddr, o.a.parked = k.origin(), k.conn.raw.RemoteAddr(), k
			return k.conn, nil
		}
	}
	o.dialing.Store(d)
	c, err := d.dial(ctx)
	info.StatusCode, info.RemoteAddr = d.answer, d.remote
	return c, err
}
