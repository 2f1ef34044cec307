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
// net/http/httptrace hooks in a Start context also fire.
//
// SessionStart and SessionDone come in pairs, whatever comes of the Start: what counts
// up in one and down in the other is a gauge of the sessions that run.
//
// Audio and Command run on the goroutine that sent; Callback and SessionDone on that of
// the callbacks, or of Start if it fails before there is a connection. Event, Pong and
// Stalled run in order, beside the goroutine that reads, so a slow one delays no
// message; they are done before the session is. No lock is held: a hook may call what
// a callback may, SendAudio and Shutdown among it.
type Trace struct {
	// SessionStart is called when Start begins, with its parameters checked and
	// before anything else, on its goroutine. ctx is that of Start. The hooks that it
	// returns, if any, are told of this session and no other, its token lookups
	// included: they may have of ctx what they need, such as the parent of a span. The
	// SDK keeps nothing of ctx.
	SessionStart func(ctx context.Context, s TraceStart) *Trace

	// TokenDone is told of each lookup that a Start has waited for, also of what was in
	// the cache, and of each that it has caused in the background, to renew a token in
	// time: that comes later, also after SessionDone, on a goroutine of its own.
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
	// TraceStart describes a Start that begins. If the gateway refuses the token, the
	// session has another TaskID in the end.
	TraceStart struct {
		Namespace, TaskID string
		BytesPerSecond    int // at which the audio plays, of PCM; 0 if not known
	}
	// TraceToken describes a token lookup.
	TraceToken struct {
		TaskID     string        // of the session that asks; "" for WarmConnections
		Cached     bool          // nobody had to wait
		Background bool          // nobody waits: it replaces a token that is good for a while
		Expiry     time.Time     // of the token that was found; zero if not known
		Duration   time.Duration // of the wait or, in the background, of the lookup
		Left       time.Duration // if that has failed: what is left of the token that is there
		Err        error
	}
	// TraceLimit describes the wait for a place, see Config.Limiter.
	TraceLimit struct {
		Namespace, TaskID string
		Duration          time.Duration
		Err               error
	}
	// TraceDial describes a connection attempt. While a token is looked up for an
	// access key the connection is opened, so DialStart may come before TokenDone, and
	// DialDone with the error of the lookup. In DialStart only URL,
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
		Namespace, Name, TaskID string        // Name is "" for audio
		Size                    int           // bytes
		Status                  int           // of an event; see StatusCode
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
		Start, End          time.Time     // Start: when the first command was sent, if it was
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

// begin is called when a Start begins. It returns the hooks of the session.
func (c *client) begin(ctx context.Context, s session.Beginning) *session.Hooks {
	ts := c.traces(ctx)
	for _, t := range slices.Clone(ts) {
		if t.SessionStart != nil {
			if own := t.SessionStart(ctx, TraceStart(s)); own != nil {
				ts = append(ts, own)
			}
		}
	}
	return sessionHooks(ts)
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
		TokenDone: fanOut(ts, func(t *Trace) func(TraceToken) { return t.TokenDone },
			func(v session.Token) TraceToken { return TraceToken(v) }),
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
