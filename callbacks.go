package nls

import (
	"fmt"
	"strings"

	"github.com/nlsgo/nls/internal/session"
)

// callbacks are the handlers of a product, in the form that all of them share.
type callbacks struct {
	args    []any
	onOpen  func(*OpenEvent)
	onEvent func(*Event)
	onData  func(AudioEvent)
	onError func(*ErrorEvent)
	onClose func(*CloseEvent)
	typed   func(Event) // calls the handler that fits the event's name
	events  bool        // which is one of CommonHandlers.Events
}

func (h *callbacks) deliver(d *session.Delivery) {
	switch d.Kind {
	case session.KindOpen:
		h.onOpen(&OpenEvent{TaskID: d.TaskID, Args: h.args})
	case session.KindEvent:
		e := newEvent(d.Event, h.args)
		if h.onEvent != nil {
			h.onEvent(&e)
		}
		h.typed(e)
	case session.KindData:
		if h.onData != nil {
			h.onData(AudioEvent{TaskID: d.TaskID, Data: d.Data, Args: h.args})
		}
	case session.KindFailed:
		if h.onError != nil {
			e := ErrorEvent{Event: Event{TaskID: d.TaskID, Args: h.args}, Err: d.Err}
			if d.Event != nil {
				e.Event = newEvent(d.Event, h.args)
			}
			h.onError(&e)
		}
	case session.KindClosed:
		if h.onClose != nil {
			h.onClose(&CloseEvent{TaskID: d.TaskID, Code: d.Code, Reason: d.Reason, Err: d.Err, Args: h.args})
		}
	}
}

// name is the name of the callback that deliver calls for d, or the last of them.
func (h *callbacks) name(d *session.Delivery) string {
	switch d.Kind {
	case session.KindOpen:
		return "OnOpen"
	case session.KindData:
		return "OnData"
	case session.KindFailed:
		return "OnError"
	case session.KindClosed:
		return "OnClose"
	}
	if h.events {
		return fmt.Sprintf("Events[%q]", d.Event.Name)
	}
	return callbackName(d.Event.Name)
}

// callbackName is the name of the callback for an event: that of the event,
// without that of the product.
func callbackName(event string) string {
	for _, product := range []string{"Recognition", "Transcription", "Synthesis"} {
		event = strings.TrimPrefix(event, product)
	}
	switch event {
	case "Started":
		return "OnStart"
	case "ResultChanged", "Completed", "SentenceBegin", "SentenceSynthesis", "SentenceEnd", "MetaInfo":
		return "On" + event
	}
	return "OnEvent"
}
