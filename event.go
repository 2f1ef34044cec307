package nls

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// Event is a text message from the service. Every typed event embeds it.
// Events are not reused; a callback may keep them. Printed, logged or as JSON, an
// Event, or an event that embeds one, is the message, in which the session's token
// reads ***.
type Event struct {
	Name       string // header.name, such as "SentenceEnd"
	Namespace  string // header.namespace
	TaskID     string // header.task_id, the ID support asks for
	MessageID  string // header.message_id
	Status     int    // header.status; StatusOK when all is well
	StatusText string // header.status_text; the session's token in it reads ***

	// Raw is the complete message as it arrived. It alone shows a token that the
	// service has echoed.
	Raw json.RawMessage

	// Args is the CallbackArgs of the handlers.
	Args []any

	payload  wire.Part // of Raw; empty if it is not known
	redacted string    // Raw without the token, when Raw has it
}

func newEvent(e *session.Event, args []any) Event {
	event := Event{
		Name: e.Name, Namespace: e.Namespace, TaskID: e.TaskID, MessageID: e.MessageID,
		Status: e.Status, StatusText: e.StatusText, Raw: e.Raw, Args: args, payload: e.Event.Payload, redacted: e.Redacted,
	}
	if e.Redacted != "" { // the token may be in any field
		clean, _ := wire.DecodeEvent([]byte(e.Redacted))
		event.Namespace, event.MessageID = clean.Namespace, clean.MessageID
	}
	return event
}

// Payload decodes the payload object of the message into v, a pointer. Numbers
// decode as encoding/json does; unknown fields are ignored. A message without a
// payload leaves v alone.
func (e *Event) Payload(v any) error {
	if p := reflect.ValueOf(v); p.Kind() != reflect.Pointer || p.IsNil() { // which json would replace by a map
		return fmt.Errorf("nls: payload of %s: %w", e.Name, &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)})
	}
	err := error(nil)
	if part := e.payload; part.End > 0 && part.End <= len(e.Raw) {
		err = json.Unmarshal(e.Raw[part.Start:part.End], v)
	} else {
		err = json.Unmarshal(e.Raw, &struct {
			Payload any `json:"payload"`
		}{v})
	}
	if err != nil {
		return fmt.Errorf("nls: payload of %s: %w", e.Name, err)
	}
	return nil
}

// String returns the complete message as text, in which the session's token
// reads ***.
func (e Event) String() string {
	if e.redacted != "" {
		return e.redacted
	}
	return string(e.Raw)
}

// GoString returns String.
func (e Event) GoString() string { return e.String() }

// LogValue returns String.
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }

// MarshalJSON returns the complete message, as String does.
func (e Event) MarshalJSON() ([]byte, error) {
	text := e.String()
	if json.Valid([]byte(text)) {
		return []byte(text), nil
	}
	return json.Marshal(text) // the token was not within a string, or there is no message
}

// AudioEvent is a chunk of synthesised audio. Data belongs to the callback,
// which may keep it.
type AudioEvent struct {
	TaskID string
	Data   []byte
	Args   []any
}

// ErrorEvent reports why a session failed. It is sent at most once per session
// and always before the CloseEvent. Event.Raw is empty unless the service sent
// a TaskFailed message.
type ErrorEvent struct {
	Event
	Err error // what Stop, SendAudio and Err return
}

// String returns the TaskFailed message, in which the session's token reads ***, or
// the text of Err.
func (e ErrorEvent) String() string {
	if len(e.Raw) > 0 || e.Err == nil {
		return e.Event.String()
	}
	return e.Err.Error()
}

// GoString returns String.
func (e ErrorEvent) GoString() string { return e.String() }

// LogValue returns String.
func (e ErrorEvent) LogValue() slog.Value { return slog.StringValue(e.String()) }

// MarshalJSON returns the TaskFailed message, or the text of Err as a string.
func (e ErrorEvent) MarshalJSON() ([]byte, error) {
	if len(e.Raw) > 0 {
		return e.Event.MarshalJSON()
	}
	return json.Marshal(e.String())
}

// CloseEvent reports that the connection is gone. It is the last event.
type CloseEvent struct {
	TaskID string
	Code   int    // websocket close code; -1 if the peer sent none
	Reason string // websocket close reason
	Err    error  // nil if the task completed; ErrShutdown after Shutdown
	Args   []any
}

// Word is a word with its position in the audio.
type Word struct {
	Text       string
	Start, End time.Duration
}
