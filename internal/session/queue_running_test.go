package session

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What the queue knows of the item that runs is for those who wait for it.
func TestRunningSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter()
		for _, p := range []parcel{1, 2} { // the first begins with the queue
			c.on[p] = func() {
				if begin := time.Now(); !c.runningSince().Equal(begin) {
					t.Errorf("%d runs since %v, want %v", p, c.runningSince(), begin)
				}
				time.Sleep(time.Second)
			}
		}
		c.on[3] = runtime.Goexit
		c.exited = func() {
			if !c.runningSince().Equal(time.Now()) {
				t.Error("the item that exits does not run in exited")
			}
		}
		last := make(chan struct{})
		c.last = func() {
			if !c.runningSince().IsZero() {
				t.Error("an item runs in last")
			}
			close(last)
		}
		c.put(1, 2, 3)
		c.end()
		<-last
	})
}

// A panic of user code is not the queue's: it ends the program.
func TestAPanicIsNoExit(t *testing.T) {
	for _, in := range []string{"run", "last"} {
		t.Run(in, func(t *testing.T) {
			c := newCounter()
			c.on[1] = func() { panic(in) }
			if in == "last" {
				c.last = func() { panic(in) }
				c.close()
			} else {
				c.push(1)
				c.push(2)
			}
			defer func() {
				if r := recover(); r != in || strings.Contains(c.String(), "exited") || strings.Contains(c.String(), "2") {
					t.Errorf("recovered %v, it ran %s", r, c.String())
				}
			}()
			c.dispatch()
		})
	}
}
