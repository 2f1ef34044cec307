package session

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// clock is a pinger under test, and the connection that writes for it.
type clock struct {
	*pinger
	*diary
	late atomic.Bool  // the write lock is busy: who asks for a ping waits
	rtt  atomic.Int64 // after which a pong comes; none if it is zero
}

func newClock(interval, timeout time.Duration) *clock {
	return &clock{pinger: newPinger(interval, timeout), diary: newDiary()}
}

func (c *clock) begins() {
	c.start(func() {
		c.now("ask")
		if !c.late.Load() {
			c.writes()
			c.wrote()
		}
	}, func() { c.now("fail") })
}

func (c *clock) writes() {
	if !c.writing() {
		c.now("no more")
	} else if rtt := c.rtt.Load(); rtt > 0 {
		time.AfterFunc(time.Duration(rtt), c.hears)
	}
}

func (c *clock) wrote()  { c.written(true) }
func (c *clock) breaks() { c.written(false) }

func (c *clock) hears() {
	if rtt, ok := c.pong(); ok {
		c.now("pong after %v", rtt)
	} else {
		c.now("pong of no ping")
	}
}

func (c *clock) fills()  { c.stall(true) }
func (c *clock) drains() { c.stall(false) }

// tick is what happens when so many seconds have passed.
type tick struct {
	second int
	do     func(c *clock)
}

// The clock has an interval of 8 s and, but where it says otherwise, a timeout of
// 5 s. Each test ends after a minute.
func TestThePingClock(t *testing.T) {
	const byDefault = -2 // as if the caller had said nothing
	hold := func(c *clock) { c.late.Store(true) }
	dies := func(c *clock) { c.rtt.Store(0) }
	for _, c := range []struct {
		name    string
		timeout time.Duration
		rtt     time.Duration
		steps   []tick
		want    string
	}{
		{name: "a pong that does not come", want: "ask@8s fail@13s"},
		{name: "pongs that come", rtt: time.Second, steps: []tick{{20, (*clock).ends}},
			want: "ask@8s pong after 1s@9s ask@16s pong after 1s@17s"},
		{name: "a pong that comes just in time, and one that does not", rtt: 5*time.Second - 1,
			steps: []tick{{15, func(c *clock) { c.rtt.Store(int64(5*time.Second + 1)) }}},
			want:  "ask@8s pong after 4.999999999s@12.999999999s ask@16s fail@21s pong after 5.000000001s@21.000000001s"},
		{name: "a pong later than the next ping", timeout: 20 * time.Second, rtt: 10 * time.Second, steps: []tick{{19, (*clock).ends}},
			want: "ask@8s pong after 10s@18s ask@18s pong after 10s@28s"},
		{name: "a pong that nobody asked for", steps: []tick{{3, (*clock).hears}}, want: "pong of no ping@3s ask@8s fail@13s"},
		{name: "two pongs", rtt: time.Second, steps: []tick{{10, (*clock).hears}, {11, (*clock).ends}},
			want: "ask@8s pong after 1s@9s pong of no ping@10s"},

		{name: "no timeout", timeout: -1, steps: []tick{{30, (*clock).ends}}, want: "ask@8s ask@16s ask@24s"},
		{name: "no timeout, and pongs", timeout: -1, rtt: time.Second, steps: []tick{{20, (*clock).ends}},
			want: "ask@8s pong after 1s@9s ask@16s pong after 1s@17s"},

		{name: "no timeout, and a ping that takes its time", timeout: -1, steps: []tick{{1, hold}, {8, (*clock).writes}, {10, (*clock).wrote},
			{11, (*clock).hears}, {19, (*clock).ends}}, want: "ask@8s pong after 3s@11s ask@18s"},

		{name: "a stall before the ping", steps: []tick{{1, (*clock).fills}, {30, (*clock).drains}}, want: "ask@8s ask@16s ask@24s fail@35s"},
		{name: "a stall before the ping, then its pong", steps: []tick{{1, (*clock).fills}, {20, (*clock).drains}, {24, (*clock).hears}},
			want: "ask@8s ask@16s pong after 8s@24s ask@24s fail@29s"},
		{name: "a stall within the timeout", steps: []tick{{9, (*clock).fills}, {12, (*clock).drains}}, want: "ask@8s fail@17s"},
		{name: "a stall beyond the timeout", steps: []tick{{9, (*clock).fills}, {30, (*clock).drains}}, want: "ask@8s ask@13s ask@21s ask@29s fail@35s"},
		{name: "a stall that ends with the timeout", steps: []tick{{9, (*clock).fills}, {13, (*clock).drains}}, want: "ask@8s ask@13s fail@18s"},
		{name: "a stall between two pings", rtt: time.Second, steps: []tick{{10, (*clock).fills}, {12, (*clock).drains}, {17, (*clock).ends}},
			want: "ask@8s pong after 1s@9s ask@16s pong after 1s@17s"},
		{name: "a stall without a timeout", timeout: -1, steps: []tick{{9, (*clock).fills}, {12, (*clock).drains}, {17, (*clock).ends}},
			want: "ask@8s ask@16s"},
		{name: "a stall while the ping waits to be written", steps: []tick{{1, hold}, {9, (*clock).fills}, {12, (*clock).drains},
			{20, (*clock).writes}, {20, (*clock).wrote}}, want: "ask@8s fail@25s"},

		{name: "a ping that waits to be written", steps: []tick{{1, hold}, {20, (*clock).writes}, {20, (*clock).wrote}}, want: "ask@8s fail@25s"},
		{name: "a ping that is never written", steps: []tick{{1, hold}}, want: "ask@8s"},
		{name: "a ping that takes its time", steps: []tick{{1, hold}, {8, (*clock).writes}, {10, (*clock).wrote}}, want: "ask@8s fail@15s"},
		{name: "a pong while the ping is written", steps: []tick{{1, hold}, {8, (*clock).writes}, {9, (*clock).hears}, {10, (*clock).wrote},
			{18, (*clock).ends}}, want: "ask@8s pong after 1s@9s ask@17s"},
		{name: "a pong of the last ping while the next is written", steps: []tick{{1, (*clock).fills}, {9, hold}, {16, (*clock).drains},
			{17, (*clock).hears}, {20, (*clock).writes}, {20, (*clock).wrote}}, want: "ask@8s ask@16s pong after 9s@17s fail@25s"},
		{name: "a ping that cannot be written", steps: []tick{{1, hold}, {9, (*clock).writes}, {10, (*clock).breaks}, {19, (*clock).ends}},
			want: "ask@8s ask@18s"},

		{name: "by default, a peer that answers no ping", timeout: byDefault, steps: []tick{{25, (*clock).ends}}, want: "ask@8s ask@16s ask@24s"},
		{name: "by default, a peer that answers no ping any more", timeout: byDefault, rtt: time.Second, steps: []tick{{10, dies}},
			want: "ask@8s pong after 1s@9s ask@16s fail@24s"},
		{name: "by default, pongs that come", timeout: byDefault, rtt: 7 * time.Second, steps: []tick{{33, (*clock).ends}},
			want: "ask@8s pong after 7s@15s ask@16s pong after 7s@23s ask@24s pong after 7s@31s ask@32s pong after 7s@39s"},
		{name: "by default, a stall while a pong is waited for", timeout: byDefault, rtt: time.Second,
			steps: []tick{{10, dies}, {17, (*clock).fills}, {21, (*clock).drains}}, want: "ask@8s pong after 1s@9s ask@16s fail@29s"},
		{name: "without a timeout, a peer that answers no ping any more", timeout: -1, rtt: time.Second,
			steps: []tick{{10, dies}, {33, (*clock).ends}}, want: "ask@8s pong after 1s@9s ask@16s ask@24s ask@32s"},

		{name: "stop", steps: []tick{{5, (*clock).ends}}},
		{name: "stop before the pong", steps: []tick{{9, (*clock).ends}}, want: "ask@8s"},
		{name: "stop twice", steps: []tick{{9, (*clock).ends}, {10, (*clock).ends}}, want: "ask@8s"},
		{name: "a pong after stop twice", steps: []tick{{9, (*clock).ends}, {10, (*clock).ends}, {11, (*clock).hears}},
			want: "ask@8s pong after 3s@11s"},
		{name: "a pong after stop", steps: []tick{{9, (*clock).ends}, {10, (*clock).hears}}, want: "ask@8s pong after 2s@10s"},
		{name: "the end of a stall after stop", steps: []tick{{9, (*clock).fills}, {10, (*clock).ends}, {11, (*clock).drains}}, want: "ask@8s"},
		{name: "a ping that is written after stop", steps: []tick{{1, hold}, {9, (*clock).ends}, {10, (*clock).writes}, {11, (*clock).wrote}},
			want: "ask@8s no more@10s"},
		{name: "a ping that nobody asked for", steps: []tick{{5, (*clock).writes}}, want: "no more@5s ask@8s fail@13s"},
		{name: "start after stop", steps: []tick{{1, (*clock).ends}, {2, (*clock).begins}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				timeout := 5 * time.Second
				if c.timeout == byDefault {
					timeout = 0
				} else if c.timeout != 0 {
					timeout = c.timeout
				}
				p := newClock(8*time.Second, timeout)
				p.rtt.Store(int64(c.rtt))
				p.begins()
				for _, s := range c.steps {
					p.till(time.Duration(s.second) * time.Second)
					synctest.Wait()
					s.do(p)
				}
				p.till(time.Minute)
				if got := p.String(); got != c.want {
					t.Errorf("%s\nwant %s", got, c.want)
				}
				p.stop()
			})
		})
	}
}

func (c *clock) ends() { c.stop() }

// A clock that is stopped before it starts never does.
func TestAPingClockThatIsStoppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Second, 0)
		c.stop()
		c.begins()
		time.Sleep(time.Hour)
		if got := c.String(); got != "" {
			t.Error(got)
		}
	})
}

// A timer that fires when it has just been set anew has nothing to say.
func TestAPingTimerThatComesTooEarly(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(c *clock)
		want string
	}{
		{"nothing has happened", func(*clock) {}, "ask@8s fail@13s"},
		{"a stall has just ended", func(c *clock) { c.fills(); c.drains() }, "ask@8s fail@17s"},
		{"a ping waits to be written", func(c *clock) {
			c.pinger.mu.Lock()
			defer c.pinger.mu.Unlock()
			c.busy = true
		}, "ask@8s"},
		{"it has been stopped", func(c *clock) { c.stop() }, "ask@8s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newClock(8*time.Second, 5*time.Second)
				p.begins()
				time.Sleep(12 * time.Second)
				c.then(p)
				p.fire()
				time.Sleep(time.Minute)
				if got := p.String(); got != c.want {
					t.Errorf("%s\nwant %s", got, c.want)
				}
				p.stop()
			})
		})
	}
}
