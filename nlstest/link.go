package nlstest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// link is a connection to the gateway below TLS and websocket. The Server knows
// all of them, so that it can end those too that are in a handshake.
type link struct {
	net.Conn
	server *Server
	once   sync.Once
	gone   chan struct{} // closed by Close
}

// linkListener makes links of what a listener accepts.
type linkListener struct {
	net.Listener
	server *Server
}

func (l *linkListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k := &link{Conn: c, server: l.server, gone: make(chan struct{})}
	s := l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	s.conns[k] = struct{}{}
	return k, nil
}

// Close drops the connection. Unlike tls.Conn.Close it never blocks.
func (l *link) Close() error { return l.end(l.Conn.Close) }

// reset drops the connection with a TCP reset.
func (l *link) reset() {
	l.end(func() error {
		switch c := l.Conn.(type) {
		case *pipeConn:
			return c.reset()
		case *net.TCPConn:
			c.SetLinger(0)
		}
		return l.Conn.Close()
	})
}

func (l *link) end(how func() error) (err error) {
	l.once.Do(func() {
		l.server.mu.Lock()
		delete(l.server.conns, l)
		l.server.mu.Unlock()
		err = how()
		close(l.gone)
	})
	return err
}

// CloseWrite says that no more is coming, and leaves the other direction open.
func (l *link) CloseWrite() error {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

type linkKey struct{}

// withLink puts the link below c into the context of its requests.
func withLink(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, linkKey{}, c)
}
