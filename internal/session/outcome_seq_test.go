package session

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What a few calls, one after the other, make of an outcome.
func TestOutcomesThatTakeMoreThanOneCall(t *testing.T) {
	second := because(errSecond)
	for _, c := range []struct {
		name  string
		steps []func(*outcome)
		want  string
	}{
		{"the first cause stays", then(toStarted, failFirst, func(o *outcome) {
			o.fail(second)
			o.end(false, second)
			o.shutdown(second)
			o.setDelivered()
			o.complete()
		}), "closing first ready over cut silent"},
		{"shutdown spares a result that is being delivered", then(toDelivering, func(o *outcome) {
			o.shutdown(second)
			o.setDelivered()
			o.end(false, second)
		}), "closing ready over cut silent"},
		{"a bound does not", then(toDelivering, func(o *outcome) {
			o.end(false, second)
			o.setDelivered()
			o.state(true)
		}), "closing second ready over cut"},
		{"a result that shutdown has dropped is no success", then(toCompleted, func(o *outcome) {
			o.shutdown(second)
			if o.delivering() {
				panic("a dropped result is delivered")
			}
			o.setDelivered()
			o.end(false, because(errThird))
		}), "closing second ready over cut silent"},
		{"a result that a bound has dropped, neither", then(toCompleted, func(o *outcome) {
			o.end(false, second)
			if o.delivering() {
				panic("a dropped result is delivered")
			}
			o.shutdown(because(errThird))
		}), "closing second ready over cut silent"},
		{"what OnClose was told stays", then(toCompleted, func(o *outcome) {
			o.state(true)
			o.end(false, second)
		}), "closing ready over cut"},
		{"what anybody has looked at does not", then(toCompleted, func(o *outcome) {
			o.state(false)
			o.end(false, second)
		}), "closing second ready over cut"},
		{"a failure keeps Start from returning nil", []func(*outcome){failFirst, func(o *outcome) {
			o.setReady()
			o.end(true, second)
		}}, "closing first over cut"},
		{"a completion does not", then(toAnswered, func(o *outcome) {
			o.complete()
			o.setReady()
			o.setReady()
			o.end(true, second)
		}), "closing ready over"},
		{"readiness takes no stop back", then(toAnswered, func(o *outcome) {
			o.advance(answered, stopping)
			o.setReady()
		}), "stopping ready"},
		{"the end comes once", then(toStarted, func(o *outcome) {
			o.end(false, second)
			o.end(false, because(errThird))
			o.finish()
			o.end(false, because(errThird))
		}), "ended second ready over cut done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := look(reached(c.steps)); got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheCutIsTheFirstEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := reached(toStarted)
		begin := time.Now()
		if !o.cutTime().IsZero() {
			t.Error("cut before an end")
		}
		time.Sleep(time.Second)
		o.end(false, because(errFirst))
		time.Sleep(time.Second)
		o.end(false, because(errSecond))
		if got := o.cutTime().Sub(begin); got != time.Second {
			t.Errorf("cut after %v", got)
		}
	})
}

// Everybody who asks gets the same error, whoever ends an outcome while others do.
func TestConcurrentEndsHaveOneCause(t *testing.T) {
	for range 300 {
		o := reached(toAnswered)
		var explained []error // guarded by the outcome, which is a promise of its own
		explain := func(text string) func() error {
			return func() error {
				err := errors.New(text)
				explained = append(explained, err)
				return err
			}
		}
		var firsts sync.Map
		begin, first := make(chan struct{}), func(name string, ok bool) {
			if ok {
				firsts.Store(name, true)
			}
		}
		var calls sync.WaitGroup
		for _, call := range []func(){
			func() { first("fail", o.fail(explain("fail"))) },
			func() { first("failing again", o.fail(explain("failing again"))) },
			func() { first("complete", o.complete()) },
			func() { o.end(false, explain("end")) },
			func() { o.end(true, explain("end of Start")) },
			func() { o.shutdown(explain("shutdown")) },
			func() { o.advance(answered, stopping) },
			func() {
				failed := o.err() != nil && !isClosed(o.ready)
				if o.setReady(); failed && isClosed(o.ready) {
					t.Error("ready after a failure")
				}
			},
			func() {
				if o.delivering() {
					o.setDelivered()
				}
			},
			func() {
				<-o.over
				if o.phase() < closing || o.sendable() == nil {
					t.Error("sendable when it is over")
				}
			},
		} {
			calls.Go(func() {
				<-begin
				before := o.err()
				call()
				if after := o.err(); before != nil && before != after {
					t.Errorf("%v, then %v", before, after)
				}
			})
		}
		close(begin)
		calls.Wait()
		cause, _ := o.state(true)
		if len(explained) > 1 || len(explained) == 1 && explained[0] != cause || len(explained) == 0 && cause != nil {
			t.Fatalf("explained %v, the cause is %v", explained, cause)
		}
		winners := 0
		firsts.Range(func(any, any) bool { winners++; return true })
		if winners > 1 {
			t.Fatalf("%d calls were the end", winners)
		}
		o.finish()
		if !isClosed(o.done) || o.err() != cause {
			t.Fatal("another end")
		}
	}
}
