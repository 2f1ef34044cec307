package nls

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// Trace is a set of hooks on the life of a session, in the manner of
// net/http/httptrace. Any field may be nil. Hooks must be safe for concurrent use.
// Audio and Command run on the goroutine that sent, which has no lock then, and
// may send; Callback and SessionDone on that of the callbacks. Event, Pong and
// Stalled run in order, beside the goroutine that reads, so a slow one delays no
// message; they are done before the session is. net/http/httptrace hooks in a
// Start context also fire.
type Trace struct {
	TokenDone   func(TraceToken)
	LimitDone   func(TraceLimit) // Config.Limiter has admitted the session, or not
	DialStart   func(TraceDial)
	DialDone    func(TraceDial)
	Command     func(TraceMessage) // a text message was sent
	Audio       func(TraceMessage) // a binary message was sent
	Event       func(TraceMessage) // a message arrived
	Callback    func(TraceMessage) // a callback returned
	Pong        func(TracePong)
	Stalled     func(TraceStall) // reading stopped or resumed, see MaxPendingBytes
	SessionDone func(TraceSession)
}

type (
	// TraceToken describes a token lookup.
	TraceToken struct {
		Cached   bool
		Expiry   time.Time
		Duration time.Duration
		Err      error
	}
	// TraceLimit describes the wait for a place, see Config.Limiter.
	TraceLimit struct {
		Namespace, TaskID string
		Duration          time.Duration
		Err               error
	}
	// TraceDial describes a connection attempt. In DialStart only URL,
	// TaskID and Attempt are set. URL has no query, where a token might be.
	TraceDial struct {
		URL, TaskID string
		Attempt     int    // counts from 1
		Conn        string // in DialDone: "dialed"; "warm", it was open (WarmConnections); "reused" (ReuseConnections)
		RemoteAddr  net.Addr
		StatusCode  int // HTTP; 0 if there was no answer
		Duration    time.Duration
		Err         error
	}
	// TraceMessage describes one message.
	TraceMessage struct {
		Namespace, Name, TaskID string // Name is "" for audio
		Size                    int
		Status                  int
		Duration                time.Duration // write or callback time
		Pending                 int           // events waiting for callbacks
		Err                     error
	}
	// TracePong describes a ping that was answered.
	TracePong struct {
		TaskID string
		RTT    time.Duration
	}
	// TraceStall describes a full event queue.
	TraceStall struct {
		TaskID       string
		Stalled      bool
		PendingBytes int
	}
	// TraceSession sums up a session.
	TraceSession struct {
		Namespace, TaskID   string
		Start, End          time.Time
		FirstResult         time.Duration // Start command to first result or audio
		SentBytes, RcvBytes int64
		Err                 error
	}
)

type traceKey struct{}

// WithTrace returns a context that adds t to the hooks of the session whose
// Start is given the context.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, append(slices.Clip(contextTraces(ctx)), t))
}

func contextTraces(ctx context.Context) []*Trace {
	ts, _ := ctx.Value(traceKey{}).([]*Trace)
	return ts
}

// traces are the hooks of a session started with ctx: the Client's and ctx's.
func (c *client) traces(ctx context.Context) []*Trace {
	ts := contextTraces(ctx)
	if c.cfg.Trace != nil {
		ts = append([]*Trace{c.cfg.Trace}, ts...)
	}
	return slices.DeleteFunc(slices.Clone(ts), func(t *Trace) bool { return t == nil })
}

// sessionHooks adapts ts to the core. Nil means that nobody listens.
func sessionHooks(ts []*Trace) *session.Hooks {
	if len(ts) == 0 {
		return nil
	}
	message := func(field func(*Trace) func(TraceMessage)) func(session.Message) {
		return fanOut(ts, field, func(m session.Message) TraceMessage { return TraceMessage(m) })
	}
	dial := func(field func(*Trace) func(TraceDial)) func(session.Dial) {
		return fanOut(ts, field, func(d session.Dial) TraceDial { return TraceDial(d) })
	}
	return &session.Hooks{
		LimitDone: fanOut(ts, func(t *Trace) func(TraceLimit) { return t.LimitDone },
			func(l session.Limit) TraceLimit { return TraceLimit(l) }),
		DialStart: dial(func(t *Trace) func(TraceDial) { return t.DialStart }),
		DialDone:  dial(func(t *Trace) func(TraceDial) { return t.DialDone }),
		Command:   message(func(t *Trace) func(TraceMessage) { return t.Command }),
		Audio:     message(func(t *Trace) func(TraceMessage) { return t.Audio }),
		Event:     message(func(t *Trace) func(TraceMessage) { return t.Event }),
		Callback:  message(func(t *Trace) func(TraceMessage) { return t.Callback }),
		Pong: fanOut(ts, func(t *Trace) func(TracePong) { return t.Pong },
			func(p session.Pong) TracePong { return TracePong(p) }),
		Stalled: fanOut(ts, func(t *Trace) func(TraceStall) { return t.Stalled },
			func(s session.Stall) TraceStall { return TraceStall(s) }),
		SessionDone: fanOut(ts, func(t *Trace) func(TraceSession) { return t.SessionDone },
			func(s session.Summary) TraceSession { return TraceSession(s) }),
	}
}

// fanOut returns a hook of the core that calls one field of every Trace.
func fanOut[Core, Public any](ts []*Trace, field func(*Trace) func(Public), convert func(Core) Public) func(Core) {
	var hooks []func(Public)
	for _, t := range ts {
		if hook := field(t); hook != nil {
			hooks = append(hooks, hook)
		}
	}
	return func(v Core) {
		for _, hook := range hooks {
			hook(convert(v))
		}
	}
}
