package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/redact"
)

// readLimit is the longest message that is read. The service sends frames of at
// most 64 KiB (protocol §1.8).
const readLimit = 1 << 20

// readBuffer is the size of a connection's read buffer, which each session keeps.
// Short events fit it; the rest of a longer message is read past it.
const readBuffer = 1 << 10

// noWriteBuffers keeps gorilla from giving each connection a write buffer of its
// own. It takes one for messages, and those are not written through it.
var noWriteBuffers sync.Pool

var errExtension = errors.New("the service chose an extension that was not offered")

// dial opens the connection of t. The caller sees ctx's end as an error of the
// network and has to look at ctx itself.
func (t *task) dial(ctx context.Context, attempt int, token string) (*websocket.Conn, net.Conn, error) {
	r := route{cfg: t.cfg}
	d := websocket.Dialer{
		NetDialContext:  r.dial,
		Proxy:           r.proxyFor,
		TLSClientConfig: t.cfg.TLSConfig,
		ReadBufferSize:  readBuffer,
		WriteBufferPool: &noWriteBuffers,
	}
	header := t.cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Del("X-NLS-Token")
	header["X-NLS-Token"] = []string{token} // as the official SDKs spell it

	answered := false
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { answered = true }}
	info := Dial{URL: withoutQuery(t.p.URL.Value()), TaskID: t.id, Attempt: attempt}
	if t.p.Hooks != nil {
		t.p.Hooks.DialStart(info)
	}
	start := time.Now()
	conn, resp, err := d.DialContext(httptrace.WithClientTrace(ctx, trace), t.p.URL.Value(), header)
	if r.unwatch != nil && !r.unwatch() && err == nil {
		r.raw.Close()
		err = ctx.Err()
	}
	switch {
	case err != nil:
		err = t.dialError(err, resp, answered)
	case resp.Header.Get("Sec-Websocket-Extensions") != "":
		// Gorilla would inflate messages without a bound. RFC 6455 §4.1 says to
		// fail the connection.
		r.raw.Close()
		err = &HandshakeError{HTTPStatus: resp.StatusCode, Err: errExtension}
	}
	info.Duration, info.Err = time.Since(start), err
	if resp != nil {
		info.StatusCode = resp.StatusCode
	}
	if r.raw != nil {
		info.RemoteAddr = r.raw.RemoteAddr()
	}
	if t.p.Hooks != nil {
		t.p.Hooks.DialDone(info)
	}
	if err != nil {
		return nil, nil, err
	}
	r.bounded.left = -1
	conn.SetReadLimit(readLimit)
	return conn, r.raw, nil
}

// dialError tells a refusal and a broken answer from a broken network.
func (t *task) dialError(err error, resp *http.Response, answered bool) error {
	if errors.Is(err, websocket.ErrBadHandshake) {
		body, _ := io.ReadAll(resp.Body) // gorilla keeps the first KiB
		text := redact.Cut(string(body), t.token.Value(), t.urlToken.Value())
		if resp.ContentLength == int64(len(body)) {
			text = t.redact(string(body))
		}
		return &HandshakeError{HTTPStatus: resp.StatusCode, Body: text, Err: err}
	}
	var netErr net.Error
	if answered && !errors.As(err, &netErr) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return &HandshakeError{Err: t.redactError(err)}
	}
	return fmt.Errorf("nls: dial: %w", t.redactError(err))
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

// Secret is a string that no verb of fmt prints: a function shows as an address
// wherever it stands, which even String methods of unexported fields do not.
type Secret func() string

// NewSecret hides s.
func NewSecret(s string) Secret { return func() string { return s } }

// Value is the hidden string.
func (s Secret) Value() string {
	if s == nil {
		return ""
	}
	return s()
}

// redact shows the tokens of the session as ***: the source's, and the one that
// the URL may have, which the service prefers. It is for what the service says.
func (t *task) redact(s string) string {
	return redact.Text(s, t.token.Value(), t.urlToken.Value())
}

// redactError returns err, without a token in what it quotes of the service.
func (t *task) redactError(err error) error {
	return redact.Error(err, t.token.Value(), t.urlToken.Value())
}
