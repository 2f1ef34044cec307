package session

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// timeline is bounds under test: what expires, and what callback runs.
type timeline struct {
	*bounds
	*diary
	callback atomic.Pointer[time.Time] // since when one runs; nil if none does
	kept     bound
}

func newTimeline() *timeline {
	l := &timeline{diary: newDiary()}
	l.bounds = &bounds{base: l.diary.begin, busy: func() time.Time {
		if since := l.callback.Load(); since != nil {
			return *since
		}
		return time.Time{}
	}}
	l.expire = func(b bound, ours bool) func() {
		who := "service"
		if ours {
			who = "callback"
		}
		if b.ofStart {
			who += " of Start"
		}
		l.now("%s: %v", who, b.timeout)
		return doNothing
	}
	return l
}

// at is what happens when so many seconds have passed.
type at struct {
	second int
	do     func(l *timeline)
}

func seconds(n int, err error) bound {
	return bound{limit: time.Duration(n) * time.Second, timeout: err}
}

func silence(n int, err error) bound {
	b := seconds(n, err)
	b.silence = true
	return b
}

func ofStart(n int, err error) bound {
	b := seconds(n, err)
	b.ofStart = true
	return b
}

func used(b bound, n int) bound {
	b.used = time.Duration(n) * time.Second
	return b
}

var errA, errB = errors.New("A"), errors.New("B")

func starts(b bound) func(*timeline)      { return func(l *timeline) { l.start(b) } }
func startsFirst(b bound) func(*timeline) { return func(l *timeline) { l.startFirst(b) } }
func stops(l *timeline)                   { l.kept = l.stop() }
func goesOn(l *timeline)                  { l.start(l.kept) }
func stopsStart(l *timeline)              { l.stopStart() }
func fills(l *timeline)                   { l.stall(true) }
func drains(l *timeline)                  { l.stall(false) }
func hears(l *timeline)                   { l.message() }
func answers(l *timeline)                 { l.answer(false) }
func terminates(l *timeline)              { l.answer(true) }
func calls(l *timeline)                   { now := time.Now(); l.callback.Store(&now) }
func returns(l *timeline)                 { l.callback.Store(nil) }

// Nothing expires that is not in want, within an hour.
func TestBounds(t *testing.T) {
	none := bound{}
	for _, c := range []struct {
		name  string
		steps []at
		want  string
	}{
		{"one", []at{{1, starts(seconds(10, errA))}}, "service: A@11s"},
		{"none", []at{{0, starts(none)}}, ""},
		{"less than none", []at{{0, starts(seconds(-1, errA))}}, ""},
		{"one that is replaced", []at{{0, starts(seconds(10, errA))}, {5, starts(seconds(10, errB))}}, "service: B@15s"},
		{"one that is replaced by none", []at{{0, starts(seconds(10, errA))}, {5, starts(none)}}, ""},
		{"one after another", []at{{0, starts(seconds(10, errA))}, {20, starts(seconds(10, errB))}},
			"service: A@10s service: B@30s"},
		{"one that is stopped", []at{{0, starts(seconds(10, errA))}, {5, stops}}, ""},
		{"only the first", []at{{0, startsFirst(seconds(10, errA))}, {5, startsFirst(seconds(1, errB))}}, "service: A@10s"},
		{"the first again", []at{{0, startsFirst(seconds(10, errA))}, {5, stops}, {6, startsFirst(seconds(10, errB))}}, "service: B@16s"},
		{"the first after one has passed", []at{{0, starts(seconds(10, errA))}, {20, startsFirst(seconds(10, errB))}},
			"service: A@10s service: B@30s"},

		{"what has been used of it", []at{{0, starts(used(seconds(10, errA), 4))}}, "service: A@6s"},
		{"all has been used of it", []at{{1, starts(used(seconds(10, errA), 12))}}, "service: A@1s"},
		{"what was left of it", []at{{0, starts(seconds(10, errA))}, {4, stops}, {100, goesOn}, {103, stops}, {200, goesOn}},
			"service: A@3m23s"},
		{"nothing was left of it", []at{{0, starts(seconds(10, errA))}, {20, stops}, {30, goesOn}}, "service: A@10s"},
		{"what was left of it in a stall", []at{{0, starts(seconds(10, errA))}, {4, fills}, {50, stops}, {60, goesOn}, {70, drains}},
			"service: A@1m16s"},

		{"of Start", []at{{0, starts(ofStart(10, errA))}}, "service of Start: A@10s"},
		{"of Start, which may return", []at{{0, starts(ofStart(10, errA))}, {5, stopsStart}}, ""},
		{"of another call, when Start may return", []at{{0, starts(seconds(10, errA))}, {5, stopsStart}}, "service: A@10s"},
		{"after that of Start, which has not yet been stopped", []at{{0, starts(ofStart(10, errA))}, {5, startsFirst(seconds(10, errB))}, {6, stopsStart}}, "service: B@15s"},
		{"after that of Start", []at{{0, starts(ofStart(10, errA))}, {5, starts(seconds(10, errB))}, {6, stopsStart}}, "service: B@15s"},

		{"it stands still", []at{{0, starts(seconds(10, errA))}, {4, fills}, {60, drains}}, "service: A@1m6s"},
		{"it stands still twice", []at{{0, starts(seconds(10, errA))}, {4, fills}, {60, drains}, {63, fills}, {80, drains}},
			"service: A@1m23s"},
		{"it stands still from the start", []at{{0, fills}, {5, starts(seconds(10, errA))}, {60, drains}}, "service: A@1m10s"},
		{"it stood still before", []at{{0, fills}, {5, drains}, {6, starts(seconds(10, errA))}}, "service: A@16s"},
		{"what has been used of it, and a stall", []at{{0, starts(used(seconds(10, errA), 4))}, {3, fills}, {60, drains}}, "service: A@1m3s"},
		{"a stall without one", []at{{0, fills}, {5, drains}}, ""},
		{"a callback is stuck in a stall", []at{{0, starts(seconds(10, errA))}, {4, fills}, {4, calls}}, "callback: A@14s"},
		{"callbacks go on in a stall", []at{{0, starts(seconds(10, errA))}, {4, fills}, {4, calls}, {13, calls}, {22, calls}, {31, calls}, {40, drains}},
			"service: A@46s"},

		{"silence", []at{{1, starts(silence(10, errA))}}, "service: A@11s"},
		{"silence that ends", []at{{0, starts(silence(10, errA))}, {9, hears}, {18, hears}, {20, hears}}, "service: A@30s"},
		{"silence before", []at{{0, hears}, {8, starts(silence(10, errA))}}, "service: A@18s"},
		{"messages renew no other", []at{{0, starts(seconds(10, errA))}, {5, hears}}, "service: A@10s"},
		{"messages renew no other, after one of silence", []at{{0, starts(silence(10, errA))}, {5, starts(seconds(10, errB))}, {9, hears}},
			"service: B@15s"},
		{"silence of a full queue", []at{{0, starts(silence(10, errA))}, {4, fills}, {60, drains}}, "service: A@1m10s"},
		{"silence after it", []at{{0, starts(silence(10, errA))}, {4, fills}, {60, drains}, {62, hears}}, "service: A@1m12s"},

		{"it is met, and no callback runs", []at{{0, starts(seconds(10, errA))}, {5, answers}}, ""},
		{"it is met, and a callback is stuck", []at{{0, starts(seconds(10, errA))}, {5, answers}, {6, calls}}, "callback: A@16s"},
		{"it is met, and a callback was stuck before it", []at{{0, calls}, {1, starts(seconds(10, errA))}, {5, answers}}, "callback: A@11s"},
		{"it is met, and callbacks go on", []at{{0, starts(seconds(10, errA))}, {5, answers}, {5, calls}, {14, calls}, {23, calls}, {32, calls}, {41, returns}}, ""},
		{"it is met, and the last callback is stuck", []at{{0, starts(seconds(10, errA))}, {5, answers}, {5, calls}, {14, calls}, {23, calls}},
			"callback: A@33s"},
		{"it is met, a callback comes much later", []at{{0, starts(seconds(10, errA))}, {5, answers}, {1005, calls}}, "callback: A@16m55s"},
		{"silence is met", []at{{0, starts(silence(10, errA))}, {5, answers}}, ""},
		{"one was met, the next is not", []at{{0, starts(seconds(10, errA))}, {5, answers}, {6, starts(seconds(10, errB))}}, "service: B@16s"},
		{"one was met, none runs, the next is not", []at{{0, starts(seconds(10, errA))}, {5, answers}, {6, stops}, {7, startsFirst(seconds(10, errB))}},
			"service: B@17s"},
		{"one is met, the next stops it", []at{{0, starts(seconds(10, errA))}, {5, answers}, {6, startsFirst(seconds(10, errB))}}, ""},
		{"the service has said its last", []at{{0, starts(seconds(10, errA))}, {5, terminates}}, ""},
		{"the service has said its last, a callback is stuck", []at{{0, starts(seconds(10, errA))}, {5, terminates}, {6, calls}}, "callback: A@16s"},
		{"one after the service has said its last", []at{{0, terminates}, {1, starts(seconds(10, errA))}}, ""},
		{"one after that, a callback is stuck", []at{{0, terminates}, {0, calls}, {1, starts(seconds(10, errA))}}, "callback: A@11s"},
		{"an answer takes no last word back", []at{{0, terminates}, {0, answers}, {1, starts(seconds(10, errA))}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newTimeline()
				for _, step := range c.steps {
					l.till(time.Duration(step.second) * time.Second)
					synctest.Wait() // what expires at this moment has
					step.do(l)
				}
				time.Sleep(time.Hour)
				if got := l.String(); got != c.want {
					t.Errorf("it ended %q, want %q", got, c.want)
				}
				l.stop()
			})
		})
	}
}
