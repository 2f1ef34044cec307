package nlstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Namespace describes a product of which the Server knows nothing itself, such as
// DialogAssistant or one of a private installation: what CommonProto speaks. The
// Server does for it what it does for every product: envelope, ids, AppKey, state,
// quota, idle timeout, faults.
type Namespace struct {
	Start []string // directives that start a task; at least one
	Run   []string // directives that a running task takes
	Stop  []string // directives that end it; with none it ends when its Start is answered

	Started   string // event that comes before any other, "" for none
	Completed string // event that ends a task, and must not be ""

	// Answer returns what the service says to a directive or to audio, oldest first,
	// after Started and, for a Stop, before Completed. It is called for one input of a
	// task at a time, in their order, and for many tasks at once. nil says nothing.
	Answer func(in Input) []Answer
}

// Input is what a client has sent to a Namespace.
type Input struct {
	Task      Task
	Directive string                     // its name, "" for audio
	Payload   map[string]json.RawMessage // of a directive, nil if it has none
	Audio     []byte                     // of a binary message
}

// Answer is a message of a Namespace. One that is called like Namespace.Completed
// ends the task.
type Answer struct {
	Name    string // of the event
	Payload any    // as JSON, none if nil
	Audio   []byte // if not nil, a binary message in the place of an event
}

// check reports a description that makes no sense.
func (n *Namespace) check(name string) error {
	var err error
	switch all := slices.Concat(n.Start, n.Run, n.Stop); {
	case name == "":
		err = errors.New("it has no name")
	case products[name] != nil:
		err = errors.New("the Server has that itself")
	case len(n.Start) == 0:
		err = errors.New("no directive starts a task")
	case n.Completed == "" || n.Completed == n.Started:
		err = errors.New("no event completes a task")
	case slices.Contains(all, ""):
		err = errors.New("a directive has no name")
	default:
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) < len(all) {
			err = errors.New("a directive is there twice")
		}
	}
	if err != nil {
		return fmt.Errorf("nlstest: namespace %q: %w", name, err)
	}
	return nil
}

// product returns n as a product.
func (n *Namespace) product(name string) *product {
	p := &product{
		namespace: name, directives: map[string]role{}, started: n.Started, completed: n.Completed,
		described: true,
		oneShot:   len(n.Stop) == 0,
		late:      func() (string, any) { return n.Completed, nil },
		open: func(c *conn, d *directive) (task, *failure) {
			return &describedTask{c: c, n: n, start: Input{Directive: d.name, Payload: d.payload}}, nil
		},
	}
	for role, names := range map[role][]string{roleStart: n.Start, roleControl: n.Run, roleStop: n.Stop} {
		for _, directive := range names {
			p.directives[directive] = role
		}
	}
	return p
}

// describedTask is a task of a Namespace.
type describedTask struct {
	c      *conn
	n      *Namespace
	start  Input
	task   Task
	cancel context.CancelFunc
	ended  bool // Completed is on its way
	last   any  // its payload
}

func (t *describedTask) prepare(ready func()) {
	t.c.checker = nil // which knows the products only
	t.task = t.c.taskInfo()
	ctx, cancel := context.WithCancel(t.c.server.ctx)
	t.cancel = cancel
	t.c.engine = t.c.server.newEngineQueue(ctx, func() { t.c.fail(errServer) }, func() {})
	ready()
}

func (t *describedTask) begin() {
	complete := t.complete
	if len(t.n.Stop) > 0 {
		complete = nil
	}
	t.ask(t.start, complete)
}

func (t *describedTask) audio(data []byte) {
	t.ask(Input{Audio: append([]byte{}, data...)}, nil)
}

func (t *describedTask) control(d *directive) *failure {
	t.ask(Input{Directive: d.name, Payload: d.payload}, nil)
	return nil
}

func (t *describedTask) stop(d *directive) *failure {
	t.ask(Input{Directive: d.name, Payload: d.payload}, t.complete)
	return nil
}

func (t *describedTask) completed() any { return t.last }

func (t *describedTask) end() {
	if t.cancel != nil {
		t.cancel()
	}
	t.c.engine = engineQueue{}
}

// ask sends what the Namespace says to in, and then calls then, if the task goes on.
func (t *describedTask) ask(in Input, then func()) {
	in.Task = t.task
	t.c.engine.call(len(in.Audio), func() func() {
		var answers []Answer
		if t.n.Answer != nil {
			answers = t.n.Answer(in)
		}
		return func() {
			for _, a := range answers {
				if t.ended || !t.c.runs(t) {
					return
				}
				t.say(a)
			}
			if then != nil && !t.ended && t.c.runs(t) {
				then()
			}
		}
	})
}

func (t *describedTask) say(a Answer) {
	switch {
	case a.Audio != nil:
		t.c.send(outgoing{audio: a.Audio})
	case a.Name == t.n.Completed:
		t.last = a.Payload
		if t.c.state == stopping {
			t.complete()
		} else {
			t.ended = true
			t.c.completeUnasked()
		}
	default:
		t.c.send(t.c.event(a.Name, a.Payload))
	}
}

func (t *describedTask) complete() {
	t.ended = true
	t.c.complete()
}
