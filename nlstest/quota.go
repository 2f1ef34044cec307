package nlstest

import (
	"slices"
	"sync"
	"time"

	"github.com/nlsgo/nls"
)

// bought is how many sessions at a time an account has of a product (protocol
// §16.3).
func bought(product string, trial bool) int {
	paid, tried := 200, 2
	switch product {
	case "SpeechLongSynthesizer":
		paid, tried = 100, 0
	case "FlowingSpeechSynthesizer":
		paid, tried = 10, 0
	case flashRecognizer:
		paid = 10
	}
	if trial {
		return tried
	}
	return paid
}

// errTrialExpired is what an account hears that has not bought what it asks for.
var errTrialExpired = &failure{nls.StatusTrialExpired, "Gateway:FREE_TRIAL_EXPIRED:The free trial has expired!"}

// quota counts the sessions of a Server.
type quota struct {
	trial bool
	most  int // for each account and product: Options.MaxSessions

	mu     sync.Mutex
	places map[place]*places
	sum    int // of running sessions
	max    int // the most that sum has been
}

// place is what sessions are counted by.
type place struct{ account, product string }

// places are those that the sessions of one account in one product take.
type places struct {
	running int
	held    []time.Time // when the places of sessions that are over become free
}

func newQuota(o Options) *quota {
	return &quota{trial: o.Trial, most: o.MaxSessions, places: map[place]*places{}}
}

// limit is how many sessions an account may have in a product; negative is no
// limit.
func (q *quota) limit(product string) int {
	n := bought(product, q.trial)
	if n == 0 || q.most == 0 {
		return n
	}
	return q.most
}

// take takes a place, or says why there is none.
func (q *quota) take(p place) *failure {
	limit := q.limit(p.product)
	if limit == 0 {
		return errTrialExpired
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.places[p]
	if of == nil {
		of = new(places)
		q.places[p] = of
	}
	of.expire()
	if limit > 0 && of.running+len(of.held) >= limit {
		return errTooMany
	}
	of.running++
	q.sum++
	q.max = max(q.max, q.sum)
	return nil
}

// free ends a session, whose place is free from the given time on.
func (q *quota) free(p place, from time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	of := q.places[p]
	of.running--
	of.held = append(of.held, from)
	q.sum--
}

// expire forgets places that have become free.
func (of *places) expire() {
	now := time.Now()
	of.held = slices.DeleteFunc(of.held, func(t time.Time) bool { return !now.Before(t) })
}

// concurrent is how many sessions run, and the most that have.
func (q *quota) concurrent() (now, most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sum, q.max
}
