// Package wire encodes and decodes the text frames of the NLS protocol
// (protocol §2): directives from client to service, events back. Its functions
// are pure.
package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// NewID returns a task or message id: a version 4 UUID as 32 lower-case hex
// digits without dashes, the only spelling the service takes (protocol §2.1).
func NewID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:])
}

// ValidID reports whether id has the form that NewID returns.
func ValidID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Marshal is json.Marshal without HTML escaping, so that SSML stays readable
// and short.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Directive is a text frame from client to service.
type Directive struct {
	Header  DirectiveHeader `json:"header"`
	Payload any             `json:"payload,omitempty"` // a JSON object; left out when nil
	Context any             `json:"context,omitempty"` // a JSON object; left out when nil
}

// DirectiveHeader is the header of a Directive. The service wants all five
// fields in every directive.
type DirectiveHeader struct {
	AppKey    string `json:"appkey"`
	MessageID string `json:"message_id"`
	TaskID    string `json:"task_id"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Event is a text frame from service to client.
type Event struct {
	Namespace  string
	Name       string
	Status     int
	StatusText string
	MessageID  string
	TaskID     string

	Raw     []byte // the complete frame
	Payload Part   // of Raw; empty if there is none
}

// Part is where a part of a frame is. It is no slice, since whatever prints one
// prints all that is in it.
type Part struct{ Start, End int }

// ErrNoHeader is what DecodeEvent returns for JSON that is no event.
var ErrNoHeader = errors.New("message has no header")

// DecodeEvent decodes the envelope of an event and leaves the payload alone. It
// is lenient where services differ: unknown fields are ignored, a
// status_message stands in for a missing status_text, and a field of an
// unexpected type counts as missing, a number in a string excepted. Raw is data,
// not a copy.
func DecodeEvent(data []byte) (Event, error) {
	e, err := decodeEvent[string, int64](data)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // rare, and worth four times the time then
		e, err = decodeEvent[str, Int](data)
	}
	return e, err
}

func decodeEvent[S ~string, I ~int64](data []byte) (Event, error) {
	var frame struct {
		Header *struct {
			Namespace     S `json:"namespace"`
			Name          S `json:"name"`
			Status        I `json:"status"`
			StatusText    S `json:"status_text"`
			StatusMessage S `json:"status_message"`
			MessageID     S `json:"message_id"`
			TaskID        S `json:"task_id"`
		} `json:"header"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(data, &frame); err != nil {
		return Event{}, fmt.Errorf("message is not an event: %w", err)
	}
	h := frame.Header
	if h == nil {
		return Event{}, ErrNoHeader
	}
	if h.StatusText == "" {
		h.StatusText = h.StatusMessage
	}
	e := Event{
		Namespace:  string(h.Namespace),
		Name:       string(h.Name),
		Status:     Int(h.Status).Int(),
		StatusText: string(h.StatusText),
		MessageID:  string(h.MessageID),
		TaskID:     string(h.TaskID),
		Raw:        data,
	}
	if n := len(frame.Payload); n > 0 && string(frame.Payload) != "null" {
		i := bytes.Index(data, frame.Payload) // the same bytes, wherever they stand
		e.Payload = Part{i, i + n}
	}
	return e, nil
}

// str is a string that decodes from a JSON string only and is empty for the rest.
type str string

func (s *str) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return nil
	}
	return json.Unmarshal(data, (*string)(s))
}
