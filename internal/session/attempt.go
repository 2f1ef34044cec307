package session

import (
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

	refused chan *Event // the refusal that a second attempt may answer
}

func newAttempt(t *Task, number int) (*attempt, error) {
	a := &attempt{number: number, id: wire.NewID(), refused: make(chan *Event, 1)}
	a.urlToken = NewSecret(queryToken(t.p.URL.Value()))
	t.id.Store(&a.id)
	var err error
	a.frame, err = encode(t, t.p.Start, t.p.Payload, t.p.Context)
	return a, err
}

// secrets are the tokens of the session: the source's, and the one that the URL
// may have, which the service prefers.
func (a *attempt) secrets() []string { return []string{a.token.Value(), a.urlToken.Value()} }

// redact shows the secrets as ***. It is for what the service says.
func (a *attempt) redact(s string) string { return redact.Text(s, a.secrets()...) }

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
