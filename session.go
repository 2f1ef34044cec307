package nls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// This file joins the products to the session core.

// object is what all session objects are made of.
type object struct {
	client *client // nil in a zero value, which has never been started
	core   session.Session
	audio  bool // it takes audio
}

// Session is one session of an object: of one Start. Its methods mean that session
// and no other, also when the object has started again; those of the objects mean
// the current session or the last one. All are safe for concurrent use.
type Session struct {
	task  *session.Task
	audio bool // SendAudio is legal
}

// session is the current session or the last one; of an object that was never
// started, one that nobody started.
func (o *object) session() Session { return Session{o.core.Task(), o.audio} }

// handle is what the method Session of an object returns.
func (o *object) handle() *Session {
	s := o.session()
	if s.task == nil {
		return nil
	}
	return &s
}

// SendAudio sends audio. See [Recognizer.SendAudio]; of a CommonProto it is
// SendBinary. A synthesis takes none, which is a *ParamError.
func (s Session) SendAudio(data []byte) error {
	if !s.audio && s.task != nil {
		return &ParamError{"SendAudio", nil, "a synthesis takes no audio"}
	}
	return s.task.SendBinary(data)
}

// Stop ends the input and waits for the end of the session. See
// [Recognizer.Stop]. Where there is no input to end, in a Synthesizer and a
// CommonProto, it waits only.
func (s Session) Stop(ctx context.Context) error { return s.task.Stop(ctx) }

// Wait waits for the end of the session, or of ctx. See [Synthesizer.Wait].
func (s Session) Wait(ctx context.Context) error { return s.task.Wait(ctx) }

// Bind ties the session to ctx until stop is called, which reports as that of
// context.AfterFunc does: the end of ctx ends the session as it would end a Stop. The
// error, which OnError and everybody else gets, is ctx's: it matches context.Canceled
// or context.DeadlineExceeded (and ErrStopTimeout, where there is a Stop), and
// context.Cause(ctx). With the same context in Start, Bind and Stop it does so whenever
// ctx ends, in whichever of them. A ctx that has ended ends the session at once.
func (s Session) Bind(ctx context.Context) (stop func() bool) { return s.task.Bind(ctx) }

// Shutdown drops the session. See [Recognizer.Shutdown].
func (s Session) Shutdown() { s.task.Shutdown() }

// Done is closed when the last callback of the session has returned.
func (s Session) Done() <-chan struct{} { return s.task.Done() }

// Err says why the session ended; nil while it runs and when it completed.
func (s Session) Err() error { return s.task.Err() }

// TaskID returns the ID of the session.
func (s Session) TaskID() string { return s.task.TaskID() }

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

// timing is the part of the params that all products share.
type timing struct {
	param             string // the name of start
	start, ping, pong time.Duration
}

// minPingInterval is what a gateway may be pinged at without taking it for an
// attack.
const minPingInterval = 100 * time.Millisecond

func (t timing) check() error {
	for _, f := range []struct {
		param string
		value time.Duration
	}{{t.param, t.start}, {"PingInterval", t.ping}, {"PingTimeout", t.pong}} {
		if err := checkDuration(f.param, f.value); err != nil {
			return err
		}
	}
	interval := orDefault(t.ping, DefaultPingInterval)
	switch {
	case 0 < t.ping && t.ping < minPingInterval:
		return &ParamError{"PingInterval", t.ping, fmt.Sprintf("must be %v at least", minPingInterval)}
	case t.pong > 0 && interval < 0:
		return &ParamError{"PingTimeout", t.pong, "there are no pings to time out"}
	case t.pong > 0 && t.pong >= interval:
		return &ParamError{"PingTimeout", t.pong, "must be shorter than PingInterval"}
	}
	return nil
}

// errZeroClient is what a Client answers that NewClient did not make.
var errZeroClient = &ParamError{"Client", nil, "make Clients with NewClient, and session objects with the methods of a Client"}

// start starts a session. p has what differs between products.
func (o *object) start(ctx context.Context, p session.Params, t timing, h *callbacks) error {
	c := o.client
	if c == nil || c.session == nil {
		return errZeroClient
	}
	if err := t.check(); err != nil {
		return err
	}
	p.StartTimeout = orDefault(t.start, DefaultStartTimeout)
	p.PingInterval = orDefault(t.ping, DefaultPingInterval)
	p.PingTimeout = t.pong
	if p.URL == nil {
		p.URL, p.Pool = c.url, c.pool
	}
	p.StopTimeout = orDefault(p.StopTimeout, c.cfg.StopTimeout)
	if p.Context == nil {
		p.Context = sdkContext
	}
	p.Deliver, p.Callback = h.deliver, h.name
	p.Begin = c.begin
	return o.core.Start(ctx, c.session, p)
}

// encode is the JSON of object, which is param. The core gets it so, since callers
// may change their maps, and since it would make text of the error.
func encode(param string, object any) (json.RawMessage, error) {
	b, err := wire.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", &ParamError{param, nil, "has no JSON"}, err)
	}
	return b, nil
}

// encodable turns the core's complaint about the length of a payload into one about
// param.
func encodable(param string, err error) error {
	if e, ok := errors.AsType[*session.EncodeError](err); ok {
		return &ParamError{param, nil, e.Reason}
	}
	return err
}

// sdkContext is the context object of every directive (protocol §2.1).
var sdkContext = map[string]any{
	"sdk": map[string]any{"name": "nlsgo", "version": Version, "language": "go"},
}

// sessionConfig is the part of cfg that the core knows.
func (c *client) sessionConfig(cfg Config) *session.Config {
	var acquire func(context.Context, string) (func(), error)
	if cfg.Limiter != nil {
		acquire = cfg.Limiter.Acquire
	}
	return &session.Config{
		AppKey:         cfg.AppKey,
		WriteTimeout:   cfg.WriteTimeout,
		MaxPending:     cfg.MaxPendingBytes,
		Header:         cfg.Header,
		TLSConfig:      cfg.TLSConfig,
		Proxy:          cfg.Proxy,
		NetDialContext: cfg.NetDialContext,
		Log:            c.log,
		Record:         newRecorder(cfg, c.log),
		Token:          c.token,
		Invalidate:     c.invalidate,
		TokenAtHand:    c.tokenAtHand,
		Acquire:        acquire,
		Roster:         session.NewRoster(),
		Explain:        explain,
	}
}

// token is the token of the next connection. who asks for it is nil if no task does.
func (c *client) token(ctx context.Context, who *session.Asker) (string, error) {
	if who == nil {
		who = &session.Asker{Hooks: sessionHooks(c.traces(ctx))}
	}
	start := time.Now()
	var tok *Token
	var cached bool
	var err error
	if cache, ok := c.tokens().(*tokenCache); ok {
		tok, cached, err = cache.tokens().lookup(ctx, func(r tokenRenewal) { c.renewed(who, r) })
	} else {
		tok, err = c.tokens().Token(ctx)
	}
	info := session.Token{TaskID: who.TaskID, Cached: cached, Duration: time.Since(start)}
	value := ""
	switch {
	case err != nil:
		if _, ok := errors.AsType[*TokenError](err); ok || errors.Is(err, ErrInvalidParameter) {
		} else if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) { // one of the source's own
			err = fmt.Errorf("%w: token: %v", ErrStartTimeout, err)
		} else {
			err = fmt.Errorf("nls: token: %w", err)
		}
	case tok == nil || trim(tok.Value) == "":
		err = errors.New("nls: token: the TokenSource returned none")
	default:
		info.Expiry = tok.Expiry
		value = trim(tok.Value)
		err = checkHeaderValue("Token", value)
		if value != tok.Value {
			padded := session.NewSecret(tok.Value)
			c.padded.Store(&padded)
		}
	}
	info.Err = err
	if who.Hooks != nil {
		who.Hooks.TokenDone(info)
	}
	if err != nil {
		return "", err
	}
	return value, nil
}

// renewed tells of a lookup that who has caused.
func (c *client) renewed(who *session.Asker, r tokenRenewal) {
	args := []any{"background", r.background, "took", r.took}
	if who.TaskID != "" {
		args = append(args, "product", who.Namespace, "task_id", who.TaskID)
	}
	switch {
	case r.err == nil:
		c.log.Info("nls: token renewed", append(args, "expiry", r.expiry)...)
	case r.background: // else somebody waits for it, and fails with that
		c.log.Warn("nls: token renewal failed", append(args, "left", r.left, "err", r.err)...)
	}
	if r.background && who.Hooks != nil {
		who.Hooks.TokenDone(session.Token{
			TaskID: who.TaskID, Background: true, Expiry: r.expiry, Duration: r.took, Left: r.left, Err: r.err,
		})
	}
}

// tokenAtHand reports whether there is no lookup to wait for, as far as is known.
func (c *client) tokenAtHand() bool {
	cache, ok := c.tokens().(*tokenCache)
	return !ok || cache.tokens().atHand()
}

// invalidate gives up a refused token, as the source knows it. It reports whether
// there may be another.
func (c *client) invalidate(token string) bool {
	source, ok := c.tokens().(Invalidator)
	if ok {
		if padded := c.padded.Load(); padded != nil && trim(padded.Value()) == token {
			token = padded.Value()
		}
		source.Invalidate(&Token{Value: token})
	}
	return ok
}
