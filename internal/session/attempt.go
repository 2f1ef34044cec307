package session

import (
	"strings"
	"sync/atomic"

	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/wire"
)

// attempt is a task on one connection. A refused token gives a task a second
// attempt, with an id of its own, and nothing of the first can touch it.
type attempt struct {
	number int
	id     string
	frame  []byte // the first directive

	// Set when the attempt dials, before anybody else knows it.
	token, urlToken Secret
	conn            *conn
	parked          *parked // where conn came from; nil if it was dialled

	heard  atomic.Bool           // the service has said something that is no refusal
	failed chan *Event           // gets the refusal of the token, or nil if the connection is dead: another may be tried
	dead   atomic.Pointer[error] // why it is; nil while it is not
}

func newAttempt(t *Task, number int) (*attempt, error) {
	a := &attempt{number: number, id: wire.NewID(), failed: make(chan *Event, 2)}
	a.urlToken = NewSecret(queryToken(t.p.URL.Value()))
	t.id.Store(&a.id)
	var err error
	a.frame, err = encode(t, t.p.Start, t.p.Payload, t.p.Context)
	return a, err
}

// The status of a refused token, and of a connection on which nothing was sent for
// too long, among others.
const (
	statusAccessDenied = 40000001
	statusIdleTimeout  = 40000004
)

// refuses reports whether ev, the first thing that the gateway says, refuses the
// token, and Start will try another.
func (a *attempt) refuses(ev *Event, p phase) bool {
	text := strings.ToLower(ev.StatusText)
	return ev.Status == statusAccessDenied && (strings.Contains(text, "token") || strings.Contains(text, "authorization")) &&
		a.number == 1 && !a.heard.Load() && p == starting
}

// mayRedial reports whether the connection waited for this Start, and the service
// has not said anything yet.
func (a *attempt) mayRedial(p phase) bool { return a.parked != nil && !a.heard.Load() && p == starting }

// idled reports whether e, the first thing that is heard of a connection that
// waited, says that it has waited for too long.
func (a *attempt) idled(e wire.Event, p phase) bool {
	return a.mayRedial(p) && e.Name == "TaskFailed" && e.Status == statusIdleTimeout && e.TaskID != a.id
}

// serve starts the reader, which runs already where the connection has waited.
func (a *attempt) serve() {
	if a.parked == nil {
		a.conn.serve()
	}
}

// isStale notes that the connection is dead, and why. The first reason counts.
func (a *attempt) isStale(err error) {
	if a.dead.CompareAndSwap(nil, &err) {
		a.failed <- nil
	}
}

// secrets are the tokens of the session: the source's, and the one that the URL
// may have, which the service prefers.
func (a *attempt) secrets() []string { return []string{a.token.Value(), a.urlToken.Value()} }

// redact shows the secrets as ***. It is for what the service says.
func (a *attempt) redact(s string) string { return redact.Text(s, a.secrets()...) }

// redactCut is redact for a close reason, which has no room for more than 123 bytes.
func (a *attempt) redactCut(s string) string {
	if len(s) < 120 {
		return a.redact(s)
	}
	return redact.Cut(s, a.secrets()...)
}

// encode makes a directive of the current attempt of t.
func encode(t *Task, name string, payload, context any) ([]byte, error) {
	frame, err := wire.Marshal(wire.Directive{
		Header: wire.DirectiveHeader{
			AppKey: t.cfg.AppKey, MessageID: wire.NewID(), TaskID: t.TaskID(), Namespace: t.p.Namespace, Name: name,
		},
		Payload: payload,
		Context: context,
	})
	if err != nil {
		return nil, &EncodeError{err.Error()}
	}
	return frame, nil
}
