package session

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"
)

type box [1 << 10]byte

func (*box) size() int { return 1 << 10 }

// A queue that is never empty keeps nothing of what it has run.
func TestWhatHasRunIsNotKept(t *testing.T) {
	var first weak.Pointer[box]
	q := &queue[*box]{gate: gate{limit: 1 << 20}, base: time.Now()}
	n := 0
	q.run = func(b *box) {
		if n++; n > 1 && n < 5 {
			q.push(new(box))
		}
		if n == 2 {
			first = weak.Make(b)
		}
		if n == 4 {
			runtime.GC()
			if first.Value() != nil {
				t.Error("an item is still there, two batches later")
			}
		}
	}
	q.push(new(box)) // its place in the array is taken by what follows
	q.push(new(box))
	q.dispatch()
	if n != 5 {
		t.Errorf("%d items", n)
	}
}

// Two arrays serve all batches, as long as something waits.
func TestBatchesReuseTheirArrays(t *testing.T) {
	const items = 1000
	allocs := testing.AllocsPerRun(10, func() {
		q := &queue[parcel]{gate: gate{limit: 1 << 20}, base: time.Now()}
		n := 0
		q.run = func(parcel) {
			if n++; n < items {
				q.push(1)
			}
		}
		q.push(1)
		q.dispatch()
	})
	if allocs > 20 {
		t.Errorf("%v allocations for %d batches", allocs, items)
	}
}

// Everything at once: pushers held by the gate, items that exit, and the end.
func TestAQueueLosesNothingAndRunsOneAtATime(t *testing.T) {
	const pushers, each = 4, 500
	var running, ran, exits, lasts atomic.Int32
	last := make(chan struct{})
	q := &queue[parcel]{gate: gate{limit: 100}, base: time.Now()}
	var next [pushers]int
	q.run = func(p parcel) {
		defer running.Add(-1)
		if running.Add(1) != 1 {
			t.Error("two items at a time")
		}
		who, n := int(p)%pushers, int(p)/pushers
		if next[who] != n {
			t.Errorf("item %d of pusher %d came as number %d", n, who, next[who])
		}
		next[who]++
		ran.Add(1)
		if n%50 == 0 {
			runtime.Goexit()
		}
	}
	q.exited = func() { exits.Add(1) }
	q.last = func() { lasts.Add(1); close(last) }
	var pushing sync.WaitGroup
	var reader sync.Mutex
	for who := range pushers {
		pushing.Go(func() {
			for n := range each {
				reader.Lock() // one waits for space at a time, as the reader does
				q.wait(nil, func(bool) {})
				reader.Unlock()
				if q.push(parcel(n*pushers + who)) {
					go q.dispatch()
				}
			}
		})
	}
	pushing.Wait()
	if q.close() {
		go q.dispatch()
	}
	<-last
	if ran.Load() != pushers*each || exits.Load() != pushers*each/50 || lasts.Load() != 1 {
		t.Errorf("%d items, %d exits, %d ends", ran.Load(), exits.Load(), lasts.Load())
	}
	if w, p := q.waiting.Load(), q.pending.Load(); w != 0 || p != 0 {
		t.Errorf("%d items of %d bytes wait at the end", w, p)
	}
}
