package nls

import (
	"context"

	"github.com/nlsgo/nls/internal/session"
)

// This file has the connections that a Client keeps: see Config.WarmConnections
// and Config.ReuseConnections.

// setPools makes the pools of c, one for each gateway.
func (c *client) setPools(cfg Config) {
	if cfg.WarmConnections == 0 && !cfg.ReuseConnections {
		return
	}
	pool := func(url session.Secret) *session.Pool {
		return session.NewPool(c.session, url, cfg.WarmConnections, cfg.ReuseConnections, DefaultStartTimeout)
	}
	c.pool = pool(c.url)
	c.streamPool = c.pool
	if c.streamURL.Value() != c.url.Value() {
		c.streamPool = pool(c.streamURL)
	}
}

// Warm opens the warm connections of Config.WarmConnections now, to the gateway of
// every product but a StreamSynthesizer without URL and Region, and waits for them,
// and for those that are being opened. The error is that of the first dial that
// failed, as Start would return it; of a ctx that ends it matches ErrStartTimeout,
// or context.Canceled, and the dials go on. CloseIdleConnections ends them with
// ErrShutdown. Without WarmConnections it does nothing. Connections that no session
// takes are closed after 18 s.
func (c *Client) Warm(ctx context.Context) error {
	if c.session == nil {
		return errZeroClient
	}
	if err := c.pool.Warm(ctx); err != nil {
		return explain("", err)
	}
	return nil
}

// CloseIdleConnections closes the connections that no session uses, and ends the
// dials of those to come. A session that starts later opens new ones. It waits for
// the goodbyes, for a second at most.
func (c *Client) CloseIdleConnections() {
	c.pool.CloseIdle()
	if c.streamPool != c.pool {
		c.streamPool.CloseIdle()
	}
}
