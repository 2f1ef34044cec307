package nls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

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
