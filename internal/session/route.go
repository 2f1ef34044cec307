package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/socks"
)

// route is the way to the gateway, for one attempt to dial. Proxies are spoken to
// here and not by gorilla, which panics over an HTTP answer without a reason
// phrase, knows no proxy that wants TLS, and makes text of what SOCKS proxies and
// broken connections to them are about. TLS is put in here too, so that upgrading
// sees what the gateway says.
type route struct {
	cfg    *Config
	url    *url.URL
	status *atomic.Int32

	proxy   *url.URL     // nil if there is none
	raw     net.Conn     // the connection to close when nothing may block
	bounded *boundedConn // the same, as it is read
	up      *upgrading   // what gorilla sees of it
	unwatch func() bool
	open    bool
}

// sendBuffer is how much the system keeps for a network that takes nothing: two to four
// seconds of audio, for Linux doubles it. Left alone it grows to megabytes, minutes of
// audio that are lost before a write blocks and WriteTimeout begins to count.
const sendBuffer = 64 << 10

// plainURL is the URL for gorilla, which knows nothing of TLS, hence the port.
func (r *route) plainURL() string {
	u := *r.url
	u.Scheme, u.Host = "ws", r.addr()
	return u.String()
}

// addr is the address of the gateway.
func (r *route) addr() string {
	if r.url.Port() != "" {
		return r.url.Host
	}
	return net.JoinHostPort(r.url.Hostname(), map[string]string{"ws": "80", "wss": "443"}[r.url.Scheme])
}

// drop closes a way that has not become a connection.
func (r *route) drop() {
	if r != nil && r.raw != nil && !r.open { // or a hook has panicked
		r.unwatch()
		_ = r.raw.Close()
	}
}

// proxyFor is the Proxy of a websocket.Dialer. It is called before dial is.
func (r *route) proxyFor(req *http.Request) (*url.URL, error) {
	if r.cfg.Proxy == nil {
		return nil, nil
	}
	real := *r.url
	real.Scheme = map[string]string{"ws": "http", "wss": "https"}[real.Scheme]
	req = req.Clone(req.Context())
	req.URL = &real
	u, err := r.cfg.Proxy(req)
	if err != nil || u == nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		r.proxy = u
		return nil, nil
	}
	return nil, fmt.Errorf("proxy: unknown scheme %q", u.Scheme)
}

// dial is the NetDialContext of a websocket.Dialer. Gorilla's handshake ends at a
// deadline of ctx but not when ctx is cancelled, so the connection is closed under
// it unless unwatch is called before.
func (r *route) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	netDial := r.cfg.NetDialContext
	if netDial == nil {
		netDial = new(net.Dialer).DialContext
	}
	first := addr
	if r.proxy != nil {
		first = proxyAddr(r.proxy)
	}
	c, err := netDial(ctx, network, first)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok && r.cfg.NetDialContext == nil {
		_ = t.SetWriteBuffer(sendBuffer) // what it is without that works, too
	}
	r.raw = rawConn(c)
	r.unwatch = context.AfterFunc(ctx, func() { _ = r.raw.Close() })
	r.bounded = &boundedConn{Conn: c, left: handshakeLimit}
	r.up = &upgrading{Conn: r.bounded, raw: r.raw, ctx: ctx, status: r.status}
	if r.proxy != nil {
		if r.up.Conn, err = tunnel(ctx, r.bounded, r.proxy, r.cfg.TLSConfig, addr); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	if r.url.Scheme == "wss" {
		if err := r.secure(ctx); err != nil {
			return nil, err
		}
	}
	return r.up, nil
}

// gatewayTLS is the TLS configuration for the gateway at host. What is negotiated
// is HTTP/1.1, whatever else cfg is used for.
func gatewayTLS(cfg *tls.Config, host string) *tls.Config {
	if cfg = cfg.Clone(); cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = nil
	return cfg
}

// secure puts TLS in.
func (r *route) secure(ctx context.Context) error {
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	c := tls.Client(r.up.Conn, gatewayTLS(r.cfg.TLSConfig, r.url.Hostname()))
	err := c.HandshakeContext(ctx)
	r.up.Conn = c
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(c.ConnectionState(), err)
	}
	return err
}

// rawConn is the connection to close when nothing may block: tls.Conn.Close
// waits up to five seconds to say goodbye on a full socket.
func rawConn(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// proxyAddr is the address of the proxy at u.
func proxyAddr(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme != "http":
		port = socks.Port
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// tunnel makes c, a connection to the proxy at u, one to addr. It does not look
// at ctx but in the handshake of TLS: the caller closes c when ctx ends.
func tunnel(ctx context.Context, c net.Conn, u *url.URL, cfg *tls.Config, addr string) (net.Conn, error) {
	switch u.Scheme {
	case "socks5", "socks5h":
		err := socks.Connect(c, u.User, addr)
		if e, ok := errors.AsType[*socks.Error](err); ok {
			err = &ProxyError{SOCKSReply: e.Reply}
		}
		return c, err
	case "https":
		cfg = cfg.Clone()
		if cfg == nil {
			cfg = &tls.Config{}
		}
		cfg.ServerName, cfg.NextProtos = u.Hostname(), nil // those that are set are for the gateway
		t := tls.Client(c, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		c = t
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	var password, basic string
	if u.User != nil {
		password, _ = u.User.Password()
		basic = base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+basic)
	}
	if err := req.Write(c); err != nil {
		return nil, err
	}
	// What is behind the proxy says nothing before it is spoken to, so there is
	// nothing in the buffer that would be lost.
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return nil, redact.Error(err, password, basic)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &ProxyError{HTTPStatus: resp.StatusCode}
	}
	return c, nil
}
