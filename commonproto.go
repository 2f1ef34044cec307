package nls

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// CommonHandlers are the callbacks of a CommonProto. Any may be nil.
type CommonHandlers struct {
	OnOpen  func(*OpenEvent) // connected, and the first command is sent
	OnData  func(AudioEvent) // a binary message
	OnError func(*ErrorEvent)
	OnClose func(*CloseEvent)

	// Events maps header.name of a text message to its callback. One for
	// TaskFailed runs before OnError.
	Events map[string]func(*Event)

	// OnEvent sees every text message before Events does.
	OnEvent func(*Event)

	CallbackArgs []any
}

// OpenEvent reports that a CommonProto is connected.
type OpenEvent struct {
	TaskID string
	Args   []any
}

// CommonParams are the parameters of [CommonProto.Start].
type CommonParams struct {
	Payload map[string]any // nil means {}
	Context map[string]any // nil means the SDK's own context object; {} sends {}

	Timeout      time.Duration // bounds Start; see RecognitionParams
	PingInterval time.Duration // see RecognitionParams
	PingTimeout  time.Duration // see RecognitionParams

	// Started lists the event names that answer the first command. If there is
	// one, Start waits for it and its callback. Empty means that Start does not
	// wait for an answer, as in Python; the service refuses audio that comes
	// before its answer.
	Started []string

	// Final lists the event names that end the task. When one arrives, and its
	// callback has returned, the connection is closed. TaskFailed always does.
	Final []string
}

// CommonProto speaks the NLS framing without knowing the service: commands go
// out by name, events come back by name. Create it with
// [Client.NewCommonProto]. Its concurrency rules are those of Recognizer; SendText
// and SendBinary are like SendAudio there.
type CommonProto struct {
	_         noCopy
	o         object
	namespace string
	h         CommonHandlers
}

// NewCommonProto returns a CommonProto for a namespace such as
// "SpeechRecognizer". The handlers are copied, the Events map included. It connects
// to the gateway that the type for the namespace would, see Config.Region.
func (c *Client) NewCommonProto(namespace string, h CommonHandlers) *CommonProto {
	h.Events = maps.Clone(h.Events)
	return &CommonProto{o: object{client: &c.client, audio: true}, namespace: namespace, h: h}
}

// Start connects and sends the first command. It returns once the command is
// sent and OnOpen has returned or, with Started, once the answer is there. See
// [Recognizer.Start].
func (p *CommonProto) Start(ctx context.Context, name string, params CommonParams) error {
	if p.namespace == "" {
		return &ParamError{"namespace", nil, "must not be empty"}
	}
	if name == "" {
		return &ParamError{"name", nil, "must not be empty"}
	}
	payload, err := encode("Payload", jsonObject(params.Payload))
	if err != nil {
		return err
	}
	core := session.Params{
		BytesPerSecond: audioRate(params.Payload),
		Spec:           session.Spec{Namespace: p.namespace, Start: name, Started: slices.Clone(params.Started), Final: slices.Clone(params.Final)},
		Payload:        payload,
		Open:           p.h.OnOpen != nil,
	}
	if p.namespace == streamSynthesis.Namespace && p.o.client != nil {
		core.URL, core.Pool = p.o.client.streamURL, p.o.client.streamPool
	}
	if params.Context != nil {
		if core.Context, err = encode("Context", params.Context); err != nil {
			return err
		}
	}
	return encodable("Payload", p.o.start(ctx, core, timing{"Timeout", params.Timeout, params.PingInterval, params.PingTimeout},
		&callbacks{
			args: p.h.CallbackArgs, onOpen: p.h.OnOpen, onEvent: p.h.OnEvent, onData: p.h.OnData,
			onError: p.h.OnError, onClose: p.h.OnClose,
			typed:  func(e Event) { call(p.h.Events[e.Name], &e) },
			events: true,
		}))
}

// SendText sends a command. Nil payload means {}; nil context means the SDK's.
// A command of more than 16 KiB is a *ParamError: it would not fit one frame. Other
// errors are those of [Recognizer.SendAudio].
func (p *CommonProto) SendText(name string, payload, context map[string]any) error {
	if name == "" {
		return &ParamError{"name", nil, "must not be empty"}
	}
	if context == nil {
		context = sdkContext
	}
	rawPayload, err := encode("payload", jsonObject(payload))
	if err != nil {
		return err
	}
	rawContext, err := encode("context", context)
	if err != nil {
		return err
	}
	return encodable("payload", p.o.core.Task().Send(name, rawContext, rawPayload))
}

// SendBinary sends binary data. See [Recognizer.SendAudio].
func (p *CommonProto) SendBinary(data []byte) error { return p.o.session().SendAudio(data) }

// Wait blocks until the session has ended, or ctx has. See [Synthesizer.Wait].
func (p *CommonProto) Wait(ctx context.Context) error { return p.o.session().Wait(ctx) }

// Shutdown drops the session. See [Recognizer.Shutdown].
func (p *CommonProto) Shutdown() { p.o.session().Shutdown() }

// Done reports the end of the session. See [Recognizer.Done].
func (p *CommonProto) Done() <-chan struct{} { return p.o.session().Done() }

// Err says why the session ended. See [Recognizer.Err].
func (p *CommonProto) Err() error { return p.o.session().Err() }

// TaskID returns the session ID. See [Recognizer.TaskID].
func (p *CommonProto) TaskID() string { return p.o.session().TaskID() }

// Session returns the current session or the last one; nil before the first Start.
func (p *CommonProto) Session() *Session { return p.o.handle() }
