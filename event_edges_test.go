package nls

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// Raw is a field, which the caller may change.
func TestThePayloadOfAChangedMessageIsReadFromWhatItIsNow(t *testing.T) {
	const message = `{"header":{"name":"X"},"payload":{"a":12345}}`
	decoded, err := wire.DecodeEvent([]byte(message))
	if err != nil {
		t.Fatal(err)
	}
	e := Event{Raw: json.RawMessage(message), payload: decoded.Payload}
	for _, raw := range []string{message, `{"payload":{"a":12345}}`} {
		var got struct{ A int }
		if e.Raw = json.RawMessage(raw); e.Payload(&got) != nil || got.A != 12345 {
			t.Errorf("%s: %+v", raw, got)
		}
	}
	e.Raw = nil
	if err := e.Payload(new(any)); err == nil {
		t.Error("no message has a payload")
	}
}

func TestATokenInAnyFieldOfAnEventIsHidden(t *testing.T) {
	const secret, clean = `{"header":{"namespace":"a-TOKEN","message_id":"b-TOKEN"}}`, `{"header":{"namespace":"a-***","message_id":"b-***"}}`
	decoded, err := wire.DecodeEvent([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	if e := newEvent(&session.Event{Event: decoded, Redacted: clean}, nil); e.Namespace != "a-***" || e.MessageID != "b-***" || e.String() != clean {
		t.Errorf("%q, %q, %s", e.Namespace, e.MessageID, e)
	}
	if e := newEvent(&session.Event{Event: decoded}, nil); e.Namespace != "a-TOKEN" || e.MessageID != "b-TOKEN" {
		t.Errorf("where no token was: %q, %q", e.Namespace, e.MessageID)
	}
}

func TestAnErrorEventIsTheMessageIfThereIsOne(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		e            ErrorEvent
		text, asJSON string
	}{
		{ErrorEvent{Event{Raw: json.RawMessage(`{"a":1}`)}, broken}, `{"a":1}`, `{"a":1}`},
		{ErrorEvent{Event{Raw: json.RawMessage(`1`)}, broken}, `1`, `1`},
		{ErrorEvent{Event{}, broken}, "broken", `"broken"`},
		{ErrorEvent{}, "", `""`},
	} {
		got, err := json.Marshal(c.e)
		if c.e.String() != c.text || err != nil || string(got) != c.asJSON {
			t.Errorf("%q, %s, %v, want %q", c.e.String(), got, err, c.text)
		}
	}
}
