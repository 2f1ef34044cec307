package session

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// parcel is an item that costs as much as its number says.
type parcel int

func (p parcel) size() int { return int(p) }

// counter is a queue that notes what it does.
type counter struct {
	*queue[parcel]
	*diary
	on map[parcel]func()
}

func newCounter() *counter {
	c := &counter{diary: newDiary(), on: map[parcel]func(){}}
	c.queue = &queue[parcel]{
		gate: gate{limit: 1 << 20}, base: time.Now(),
		run: func(p parcel) {
			c.note("%d", p)
			if f := c.on[p]; f != nil {
				f()
			}
		},
		exited: func() { c.note("exited") },
		last:   func() { c.note("last") },
	}
	return c
}

// put pushes items, then starts the dispatcher if the queue asks for one.
func (c *counter) put(items ...parcel) {
	dispatch := false
	for _, p := range items {
		dispatch = c.push(p) || dispatch
	}
	if dispatch {
		go c.dispatch()
	}
}

func (c *counter) end() {
	if c.close() {
		go c.dispatch()
	}
}

func TestWhatTheQueueRuns(t *testing.T) {
	exit := func(*counter) { runtime.Goexit() }
	for _, c := range []struct {
		name string
		on   map[parcel]func(*counter)
		last func(*counter, int) // the nth call
		do   func(*counter)
		want string
	}{
		{name: "in order", do: func(c *counter) { c.put(1, 2, 3); c.put(4) }, want: "1 2 3 4"},
		{name: "what is pushed while an item runs", on: map[parcel]func(*counter){1: func(c *counter) { c.put(3, 4) }},
			do: func(c *counter) { c.put(1, 2) }, want: "1 2 3 4"},
		{name: "again when nothing waited", do: func(c *counter) {
			c.put(1)
			synctest.Wait()
			c.put(2)
		}, want: "1 2"},
		{name: "last, when it is closed", do: func(c *counter) { c.end() }, want: "last"},
		{name: "last, after what waits", do: func(c *counter) { c.put(1, 2); c.end() }, want: "1 2 last"},
		{name: "last, once", do: func(c *counter) {
			c.put(1)
			c.end()
			c.end()
			synctest.Wait()
			c.end()
		}, want: "1 last"},
		{name: "nothing after close", do: func(c *counter) { c.end(); c.put(1) }, want: "last"},
		{name: "close in an item", on: map[parcel]func(*counter){1: func(c *counter) { c.end(); c.put(3) }},
			do: func(c *counter) { c.put(1, 2) }, want: "1 2 last"},
		{name: "discard in an item", on: map[parcel]func(*counter){2: func(c *counter) { c.put(4); c.discard(); c.put(5) }},
			do: func(c *counter) { c.put(1, 2, 3); c.end() }, want: "1 2 last"},
		{name: "discard before", do: func(c *counter) { c.discard(); c.put(1); c.end(); c.put(2) }, want: "last"},
		{name: "discard what nobody runs yet", do: func(c *counter) {
			c.push(1)
			c.discard()
			c.end()
			c.dispatch()
		}, want: "last"},
		{name: "exit in an item", on: map[parcel]func(*counter){2: func(c *counter) { c.put(4); exit(c) }},
			do: func(c *counter) { c.put(1, 2, 3) }, want: "1 2 exited 3 4"},
		{name: "exit in each", on: map[parcel]func(*counter){1: exit, 2: exit, 3: exit},
			do: func(c *counter) { c.put(1, 2, 3); c.end() }, want: "1 exited 2 exited 3 exited last"},
		{name: "exit after close", on: map[parcel]func(*counter){1: func(c *counter) { c.end(); exit(c) }},
			do: func(c *counter) { c.put(1, 2) }, want: "1 exited 2 last"},
		{name: "exit after discard", on: map[parcel]func(*counter){2: func(c *counter) { c.put(4); c.discard(); exit(c) }},
			do: func(c *counter) { c.put(1, 2, 3); c.end() }, want: "1 2 exited last"},
		{name: "exit in last", last: func(c *counter, n int) {
			if n < 3 {
				exit(c)
			}
		}, do: func(c *counter) { c.put(1); c.end() }, want: "1 last exited last exited last"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, calls := newCounter(), 0
				for p, f := range c.on {
					q.on[p] = func() { f(q) }
				}
				q.last = func() {
					q.note("last")
					if !q.runningSince().IsZero() {
						t.Error("an item runs in last")
					}
					if calls++; c.last != nil {
						q.mark(true)
						c.last(q, calls)
						q.mark(false)
					}
				}
				c.do(q)
				synctest.Wait()
				if got := q.String(); got != c.want {
					t.Errorf("it ran %s, want %s", got, c.want)
				}
				if w, p := q.waiting.Load(), q.pending.Load(); w != 0 || p != 0 {
					t.Errorf("%d items of %d bytes wait at the end", w, p)
				}
				if since := q.runningSince(); !since.IsZero() {
					t.Error("an item still runs")
				}
				if q.items != nil || q.spare != nil {
					t.Error("it keeps an array that it does not need")
				}
			})
		})
	}
}

// What exited does is done before the queue goes on: a task that has ended gets
// nothing more.
func TestExitedMayDiscardTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter()
		c.exited = func() { c.note("exited"); c.discard() }
		c.on[1] = func() { c.put(4); runtime.Goexit() }
		c.put(1, 2, 3)
		c.end()
		synctest.Wait()
		if got := c.String(); got != "1 exited last" {
			t.Errorf("it ran %s", got)
		}
		if w, p := c.waiting.Load(), c.pending.Load(); w != 0 || p != 0 {
			t.Errorf("%d items of %d bytes wait at the end", w, p)
		}
	})
}

// The callers that have to dispatch are the goroutines of the queue: one, and
// only while something waits.
func TestWhoHasToDispatch(t *testing.T) {
	c := newCounter()
	step := func(name string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: dispatch is %v", name, got)
		}
	}
	step("first push", c.push(1), true)
	step("second push", c.push(2), false)
	c.on[2] = func() { step("push while it runs", c.push(3), false) }
	c.dispatch()
	step("push when it has run", c.push(4), true)
	step("close while it runs", c.close(), false)
	c.dispatch()
	step("second close", c.close(), false)
	step("push after close", c.push(5), false)
	if got := c.String(); got != "1 2 3 4 last" {
		t.Errorf("it ran %s", got)
	}
	c = newCounter()
	step("close of an empty queue", c.close(), true)
	c = newCounter()
	c.discard()
	step("push after discard", c.push(1), false)
	step("close after discard", c.close(), true)
}

func TestWhatWaitsIsCountedUntilItHasRun(t *testing.T) {
	c := newCounter()
	var got []string
	for _, p := range []parcel{10, 20, 30} {
		c.on[p] = func() { got = append(got, fmt.Sprint(c.waiting.Load(), " ", c.pending.Load())) }
		c.push(p)
	}
	c.dispatch()
	if want := []string{"3 60", "2 50", "1 30"}; !slices.Equal(got, want) {
		t.Errorf("while they run: %q, want %q", got, want)
	}
}
