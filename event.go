package nls

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// Event is a text message from the service. Every typed event embeds it.
// Events are not reused; a callback may keep them.
type Event struct {
	Name       string // header.name, such as "SentenceEnd"
	Namespace  string // header.namespace
	TaskID     string // header.task_id, the ID support asks for
	MessageID  string // header.message_id
	Status     int    // header.status; StatusOK when all is well
	StatusText string // header.status_text; the session's token in it reads ***

	// Raw is the complete message as it arrived.
	Raw json.RawMessage

	// Args is the CallbackArgs of the handlers.
	Args []any

	redacted string // Raw without the token, when Raw has it
}

func newEvent(e *session.Event, args []any) Event {
	return Event{
		Name: e.Name, Namespace: e.Namespace, TaskID: e.TaskID, MessageID: e.MessageID,
		Status: e.Status, StatusText: e.StatusText, Raw: e.Raw, Args: args, redacted: e.Redacted,
	}
}

// Payload decodes the payload object of the message into v. Numbers decode as
// encoding/json does; unknown fields are ignored. A message without a payload
// leaves v alone.
func (e *Event) Payload(v any) error {
	frame := struct {
		Payload any `json:"payload"`
	}{v}
	if err := json.Unmarshal(e.Raw, &frame); err != nil {
		return fmt.Errorf("nls: payload of %s: %w", e.Name, err)
	}
	return nil
}

// String returns the complete message as text, in which the session's token
// reads ***.
func (e *Event) String() string {
	if e.redacted != "" {
		return e.redacted
	}
	return string(e.Raw)
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

// String returns the TaskFailed message as it arrived, or the text of Err.
func (e *ErrorEvent) String() string {
	if len(e.Raw) > 0 {
		return e.Event.String()
	}
	return e.Err.Error()
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
