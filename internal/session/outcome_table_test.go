package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var errFirst, errSecond, errThird = errors.New("first"), errors.New("second"), errors.New("third")

// look is what callers can see of o: its phase, cause and closed channels.
func look(o *outcome) string {
	names := []string{"starting", "answered", "started", "stopping", "closing", "ended"}
	seen := []string{names[o.phase()]}
	cause, silent := o.state(false)
	if cause != o.err() {
		return "get and err disagree"
	}
	if cause != nil {
		seen = append(seen, cause.Error())
	}
	for i, c := range []chan struct{}{o.ready, o.over, o.cut, o.done} {
		if isClosed(c) {
			seen = append(seen, []string{"ready", "over", "cut", "done"}[i])
		}
	}
	if silent {
		seen = append(seen, "silent")
	}
	return strings.Join(seen, " ")
}

func because(err error) func() error { return func() error { return err } }

// The states that an outcome can be in, and what each looks like.
var outcomeStates = []struct {
	name, looks string
	reach       []func(o *outcome)
}{
	{"starting", "starting", nil},
	{"answered", "answered", toAnswered},
	{"started", "started ready", toStarted},
	{"stopping", "stopping ready", toStopping},
	{"failed before it was ready", "closing first over", then(toAnswered, failFirst)},
	{"failed", "closing first ready over", then(toStopping, failFirst)},
	{"completed", "closing ready over", toCompleted},
	{"completed before it was ready", "closing over", then(toAnswered, func(o *outcome) { o.complete() })},
	{"its result is being delivered", "closing ready over", toDelivering},
	{"delivered", "closing ready over", toDelivered},
	{"told", "closing ready over", then(toCompleted, func(o *outcome) { o.state(true) })},
	{"ended", "ended ready over done", then(toDelivered, finish)},
	{"ended after a failure", "ended first ready over done", then(toStopping, failFirst, finish)},
	{"ended without a start", "ended first over done", []func(*outcome){failFirst, finish}},
}

var (
	toAnswered   = []func(*outcome){func(o *outcome) { o.advance(starting, answered) }}
	toStarted    = then(toAnswered, func(o *outcome) { o.setReady() })
	toStopping   = then(toStarted, func(o *outcome) { o.advance(started, stopping) })
	toCompleted  = then(toStopping, func(o *outcome) { o.complete() })
	toDelivering = then(toCompleted, func(o *outcome) { o.delivering() })
	toDelivered  = then(toDelivering, func(o *outcome) { o.setDelivered() })
)

func failFirst(o *outcome) { o.fail(because(errFirst)) }
func finish(o *outcome)    { o.finish() }

func then(steps []func(*outcome), more ...func(*outcome)) []func(*outcome) {
	return append(steps[:len(steps):len(steps)], more...)
}

func reached(steps []func(*outcome)) *outcome {
	o := newOutcome()
	for _, step := range steps {
		step(&o)
	}
	return &o
}

// same is a cell of the table: nothing has changed.
const same = "="

func TestEachCallOnAnOutcomeInEachState(t *testing.T) {
	const (
		completed  = "nls: task completed"
		notStarted = "nls: session not started"
		stopped    = "nls: session is stopping"
	)
	second := because(errSecond)
	table := []struct {
		name string
		call func(o *outcome, explain func() error) any
		want []string // what it returns and what the outcome looks like after it, in the order of the states
	}{
		{"sendable", func(o *outcome, _ func() error) any { return o.sendable() }, []string{
			notStarted + same, "<nil>" + same, "<nil>" + same, stopped + same, "first" + same, "first" + same,
			completed + same, completed + same, completed + same, completed + same, completed + same,
			completed + same, "first" + same, "first" + same}},
		{"advance from starting", func(o *outcome, _ func() error) any { return o.advance(starting, answered) }, []string{
			"true=answered", "false=", "false=", "false=", "false=", "false=", "false=", "false=", "false=", "false=",
			"false=", "false=", "false=", "false="}},
		{"advance to stopping", func(o *outcome, _ func() error) any { return o.advance(started, stopping) }, []string{
			"false=", "false=", "true=stopping ready", "false=", "false=", "false=", "false=", "false=", "false=",
			"false=", "false=", "false=", "false=", "false="}},
		{"setReady", func(o *outcome, _ func() error) any { o.setReady(); return "" }, []string{
			"=started ready", "=started ready", same, same, same, same, same, "=closing ready over", same, same, same,
			same, same, same}},
		{"complete", func(o *outcome, _ func() error) any { return o.complete() }, []string{
			"true=closing over", "true=closing over", "true=closing ready over", "true=closing ready over",
			"false=", "false=", "false=", "false=", "false=", "false=", "false=", "false=", "false=", "false="}},
		{"fail", func(o *outcome, explain func() error) any { return o.fail(explain) }, []string{
			"true=closing second over", "true=closing second over", "true=closing second ready over",
			"true=closing second ready over", "false=", "false=", "false=", "false=", "false=", "false=", "false=",
			"false=", "false=", "false="}},
		{"end", func(o *outcome, explain func() error) any { return o.end(false, explain) }, []string{
			"true=closing second over cut", "true=closing second over cut", "true=closing second ready over cut",
			"true=closing second ready over cut", "true=closing first over cut", "true=closing first ready over cut",
			"true=closing second ready over cut", "true=closing second over cut", "true=closing second ready over cut",
			"true=closing ready over cut", "true=closing ready over cut", "false=", "false=", "false="}},
		{"end of Start", func(o *outcome, explain func() error) any { return o.end(true, explain) }, []string{
			"true=closing second over cut", "true=closing second over cut", "false=", "false=",
			"true=closing first over cut", "false=", "false=", "true=closing second over cut", "false=", "false=",
			"false=", "false=", "false=", "false="}},
		{"shutdown", func(o *outcome, explain func() error) any { return o.shutdown(explain) }, []string{
			"true=closing second over silent", "true=closing second over silent", "true=closing second ready over silent",
			"true=closing second ready over silent", "true=closing first over silent", "true=closing first ready over silent",
			"true=closing second ready over silent", "true=closing second over silent", "true=closing ready over silent",
			"true=closing ready over silent", "true=closing ready over silent", "false=", "false=", "false="}},
		{"delivering", func(o *outcome, _ func() error) any { return o.delivering() }, []string{
			"true=", "true=", "true=", "true=", "false=", "false=", "true=", "true=", "true=", "true=", "true=",
			"true=", "false=", "false="}},
		{"setDelivered", func(o *outcome, _ func() error) any { o.setDelivered(); return "" }, []string{
			same, same, same, same, same, same, same, same, same, same, same, same, same, same}},
		{"settle", func(o *outcome, _ func() error) any {
			cause, silent := o.state(true)
			return fmt.Sprint(cause, " ", silent)
		}, []string{
			"<nil> false=", "<nil> false=", "<nil> false=", "<nil> false=", "first false=", "first false=",
			"<nil> false=", "<nil> false=", "<nil> false=", "<nil> false=", "<nil> false=", "<nil> false=",
			"first false=", "first false="}},
		{"finish", func(o *outcome, _ func() error) any {
			if o.phase() != ended { // it is called once
				o.finish()
			}
			return ""
		}, []string{
			"=ended over done", "=ended over done", "=ended ready over done", "=ended ready over done",
			"=ended first over done", "=ended first ready over done", "=ended ready over done", "=ended over done",
			"=ended ready over done", "=ended ready over done", "=ended ready over done", same, same, same}},
	}
	for _, c := range table {
		for i, state := range outcomeStates {
			t.Run(c.name+"/"+state.name, func(t *testing.T) {
				o := reached(state.reach)
				if got := look(o); got != state.looks {
					t.Fatalf("before the call it is %q, want %q", got, state.looks)
				}
				explained := 0
				got := c.call(o, func() error { explained++; return second() })
				result, after, _ := strings.Cut(c.want[i], same)
				if after == "" {
					after = state.looks
				}
				if fmt.Sprint(got) != result || look(o) != after {
					t.Errorf("%v, then it is %q, want %s, then %q", got, look(o), result, after)
				}
				if want := strings.Count(after, errSecond.Error()); explained != want {
					t.Errorf("the error was explained %d times, want %d", explained, want)
				}
			})
		}
	}
}
