package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// noWriteBuffers keeps gorilla from giving a connection a write buffer: nothing
// is written through it.
var noWriteBuffers sync.Pool

var errExtension = errors.New("the service chose an extension that was not offered")

// dialer opens one connection.
type dialer struct {
	cfg    *Config
	url    Secret
	token  string
	redact func(string) string

	// status is that of an answer other than 101, from when it is known: sooner
	// than dial returns, which waits for the body.
	status atomic.Int32

	answer int      // the HTTP status; 0 if there was no answer
	remote net.Addr // nil if there was no connection
}

// dial opens the connection. Gorilla upgrades it and does no more. The caller
// sees ctx's end as an error of the network and has to look at ctx itself.
func (d *dialer) dial(ctx context.Context) (_ *conn, err error) {
	u, err := url.Parse(d.url.Value())
	if err != nil {
		return nil, fmt.Errorf("nls: dial: %w", d.redactError(err))
	}
	r := &route{cfg: d.cfg, url: u, status: &d.status}
	defer func() {
		if r.raw != nil {
			d.remote = r.raw.RemoteAddr()
		}
		if r.raw != nil && !r.open { // or a hook has panicked
			r.unwatch()
			_ = r.raw.Close()
		}
	}()
	header := d.cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Del("X-NLS-Token")
	header["X-NLS-Token"] = []string{d.token} // as the official SDKs spell it
	if len(header["Host"]) == 0 {
		header["Host"] = []string{u.Host}
	}
	g := websocket.Dialer{
		NetDialContext: r.dial, Proxy: r.proxyFor, WriteBufferPool: &noWriteBuffers, ReadBufferSize: smallestBuffer,
	}
	trace := &httptrace.ClientTrace{GotConn: r.begin}
	_, resp, err := g.DialContext(httptrace.WithClientTrace(ctx, trace), r.plainURL(), header)
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
	return newConn(r.up.Conn, r.raw, r.up.ahead, d.cfg.WriteTimeout), nil
}

// smallestBuffer is enough for gorilla, which reads one header through it.
const smallestBuffer = 1 << 10

// failure tells a refusal and a broken answer from a broken network.
func (d *dialer) failure(err error, resp *http.Response, answered bool) error {
	if errors.Is(err, websocket.ErrBadHandshake) {
		body, _ := io.ReadAll(resp.Body) // gorilla keeps the first KiB
		return &HandshakeError{HTTPStatus: resp.StatusCode, Body: d.redact(string(body)), Err: err}
	}
	var netErr net.Error
	if answered && !errors.As(err, &netErr) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return &HandshakeError{Err: d.redactError(err)}
	}
	return fmt.Errorf("nls: dial: %w", d.redactError(err))
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
	u.RawQuery, u.User = "", nil
	return u.String()
}

// redactError returns err, without the token in its text.
func (d *dialer) redactError(err error) error {
	if text := err.Error(); d.redact(text) != text {
		return &redactedError{d.redact(text), err}
	}
	return err
}

// redactedError has the identity of an error and another text.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *redactedError) As(target any) bool   { return errors.As(e.err, target) }

// secure is the TLS configuration for the gateway at host. What is negotiated is
// HTTP/1.1, whatever else cfg is used for.
func secure(cfg *tls.Config, host string) *tls.Config {
	if cfg = cfg.Clone(); cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = nil
	return cfg
}
