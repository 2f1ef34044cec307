package nls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

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
