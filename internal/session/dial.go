package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/redact"
)

// noWriteBuffers keeps gorilla from giving a connection a write buffer: nothing
// is written through it.
var noWriteBuffers sync.Pool

var errExtension = errors.New("the service chose an extension that was not offered")

// dialer opens one connection.
type dialer struct {
	cfg     *Config
	url     Secret
	token   string
	secrets []string        // none of which may be shown
	ahead   *errand[*route] // nil if the way is gone when the token is there

	// status is that of an answer other than 101, from when it is known: sooner
	// than dial returns, which waits for the body.
	status atomic.Int32

	answer int      // the HTTP status; 0 if there was no answer
	remote net.Addr // nil if there was no connection
}

func newDialer(cfg *Config, url Secret) *dialer {
	return &dialer{cfg: cfg, url: url, secrets: []string{queryToken(url.Value())}}
}

// use has the connection opened with token.
func (d *dialer) use(token string) {
	d.token = token
	d.secrets = append(d.secrets, token)
}

// goAhead goes the way to the gateway, while the token is looked up.
func (d *dialer) goAhead(ctx context.Context, w *watcher) *errand[*route] {
	return runErrand(w, func() (*route, error) {
		r, err := d.newRoute()
		if err != nil {
			return nil, err
		}
		if _, err := r.proxyFor((&http.Request{Header: http.Header{}}).WithContext(ctx)); err != nil {
			return r, err
		}
		_, err = r.dial(ctx, "tcp", r.addr())
		return r, err
	}, (*route).drop)
}

func (d *dialer) newRoute() (*route, error) {
	u, err := url.Parse(d.url.Value())
	if err != nil {
		return nil, fmt.Errorf("nls: dial: %w", redact.Error(err, d.secrets...))
	}
	return &route{cfg: d.cfg, url: u, status: &d.status}, nil
}

// dial opens the connection. Gorilla upgrades it and does no more. The caller
// sees ctx's end as an error of the network and has to look at ctx itself.
func (d *dialer) dial(ctx context.Context) (_ *conn, err error) {
	r, err := d.newRoute()
	if err != nil {
		return nil, err
	}
	defer func() {
		if r.raw != nil {
			d.remote = r.raw.RemoteAddr()
		}
		r.drop()
	}()
	header := d.cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Del("X-NLS-Token")
	header["X-NLS-Token"] = []string{d.token} // as the official SDKs spell it
	if len(header["Host"]) == 0 {
		header["Host"] = []string{r.url.Host}
	}
	dial, proxy := r.dial, r.proxyFor
	if d.ahead != nil {
		proxy = nil
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			ahead, err := d.ahead.wait(ctx)
			if ahead != nil {
				r = ahead
			}
			if err != nil {
				return nil, err
			}
			return r.up, nil
		}
	}
	g := websocket.Dialer{
		NetDialContext: dial, Proxy: proxy, WriteBufferPool: &noWriteBuffers, ReadBufferSize: smallestBuffer,
	}
	_, resp, err := g.DialContext(ctx, r.plainURL(), header)
	if resp != nil {
		d.answer = resp.StatusCode
	}
	switch {
	case err != nil:
		return nil, d.failure(err, resp, r.up != nil && r.up.answered)
	case resp.Header.Get("Sec-Websocket-Extensions") != "":
		// RFC 6455 §4.1 says to fail the connection.
		return nil, &HandshakeError{HTTPStatus: resp.StatusCode, Err: errExtension}
	case !r.unwatch():
		return nil, ctx.Err()
	}
	r.open, r.bounded.left = true, -1
	through := r.up.Conn
	if through == net.Conn(r.bounded) {
		through = r.bounded.Conn // there is nothing to bound any more
	}
	return newConn(through, r.raw, r.up.ahead, d.cfg.WriteTimeout), nil
}

// smallestBuffer is enough for gorilla, which reads one header through it.
const smallestBuffer = 1 << 10

// failure tells a refusal and a broken answer from a broken network.
func (d *dialer) failure(err error, resp *http.Response, answered bool) error {
	if errors.Is(err, websocket.ErrBadHandshake) {
		body, _ := io.ReadAll(resp.Body) // gorilla keeps the first KiB
		text := redact.Cut(string(body), d.secrets...)
		if resp.ContentLength == int64(len(body)) {
			text = redact.Text(string(body), d.secrets...)
		}
		return &HandshakeError{HTTPStatus: resp.StatusCode, Body: text, Err: err}
	}
	var netErr net.Error
	if answered && !errors.As(err, &netErr) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return &HandshakeError{Err: redact.Error(err, d.secrets...)}
	}
	return fmt.Errorf("nls: dial: %w", redact.Error(err, d.secrets...))
}

// queryToken is the token in the query of a URL, which browsers use for want of
// headers (protocol §1.2).
func queryToken(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Query().Get("token")
}

func withoutQuery(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}
