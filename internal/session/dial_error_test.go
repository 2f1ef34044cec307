package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// A connection that does not come to be is no refusal of the gateway, and its
// error shows no token.
func TestDialWithoutAConnection(t *testing.T) {
	broken := errors.New("no route")
	for _, c := range []struct {
		name, url string
		is        error
	}{
		{"a URL that is none", "ws://gateway.example/%zz?token=s3cret", nil},
		{"no connection", "ws://gateway.example/", broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &dialer{
				url: NewSecret(c.url), secrets: []string{"s3cret"},
				cfg: &Config{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, broken }},
			}
			conn, err := d.dial(t.Context())
			if _, refused := errors.AsType[*HandshakeError](err); conn != nil || err == nil || refused || c.is != nil && !errors.Is(err, c.is) {
				t.Fatalf("dial = %v, %v", conn, err)
			}
			if text := err.Error(); !strings.HasPrefix(text, "nls: dial: ") || strings.Contains(text, "s3cret") || strings.Contains(text, "***") != (c.is == nil) {
				t.Error(text)
			}
			if d.answer != 0 || d.remote != nil {
				t.Errorf("answer %d from %v", d.answer, d.remote)
			}
		})
	}
}

// What answers and breaks off is a broken network, what answers nonsense is none.
func TestWhatAnErrorOfTheHandshakeIs(t *testing.T) {
	nonsense := errors.New("malformed HTTP response")
	for _, c := range []struct {
		err      error
		answered bool
		refused  bool
	}{
		{nonsense, true, true},
		{nonsense, false, false},
		{errTooLong, true, true},
		{io.EOF, true, false},
		{io.ErrUnexpectedEOF, true, false},
		{&net.OpError{Op: "read", Err: nonsense}, true, false},
	} {
		d := new(dialer)
		err := d.failure(c.err, nil, c.answered)
		if _, refused := errors.AsType[*HandshakeError](err); refused != c.refused || !refused && !errors.Is(err, c.err) {
			t.Errorf("%v, answered %v: %v", c.err, c.answered, err)
		}
	}
}

// When dial has failed, its context means nothing to the connection any more.
func TestAContextIsNotWatchedAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialing(t, answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := d.dial(ctx); err == nil || !d.closed.Swap(false) {
			t.Errorf("dial = %v", err)
		}
		cancel()
		synctest.Wait()
		if d.closed.Load() {
			t.Error("it is closed again")
		}
	})
}

// The port that gorilla needs is not what the gateway is called.
func TestTheHostOfAURLWithoutAPort(t *testing.T) {
	d := newDialing(t, func(req *http.Request, w io.Writer) { _, _ = io.WriteString(w, accept(req, "")) })
	dial := d.cfg.NetDialContext
	d.url = NewSecret("ws://gateway.example/ws/v1")
	d.cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "gateway.example:80" {
			t.Error(addr)
		}
		return dial(ctx, network, "gateway.example:1234")
	}
	c, err := d.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.abort()
	<-c.closed
	if d.request.Host != "gateway.example" {
		t.Errorf("Host %q", d.request.Host)
	}
}

func TestWhatIsShownOfAURL(t *testing.T) {
	for url, want := range map[string][2]string{
		"ws://gateway.example/ws/v1":                     {"", "ws://gateway.example/ws/v1"},
		"wss://me:you@gateway.example/ws/v1?a=b&token=t": {"t", "wss://gateway.example/ws/v1"},
		"ws://gateway.example/%zz?token=t":               {"", ""},
	} {
		if got := [2]string{queryToken(url), withoutQuery(url)}; got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestTheTLSOfTheGateway(t *testing.T) {
	given := &tls.Config{ServerName: "virtual.example", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	for _, c := range []struct {
		cfg  *tls.Config
		name string
		min  uint16
	}{
		{nil, "gateway.example", 0},
		{&tls.Config{NextProtos: []string{"h2"}}, "gateway.example", 0},
		{given, "virtual.example", tls.VersionTLS13},
	} {
		got := gatewayTLS(c.cfg, "gateway.example")
		if got.ServerName != c.name || got.MinVersion != c.min || len(got.NextProtos) > 0 {
			t.Errorf("%s, version %x, %q", got.ServerName, got.MinVersion, got.NextProtos)
		}
	}
	if !slices.Equal(given.NextProtos, []string{"h2"}) {
		t.Error("the caller's configuration was changed")
	}
}
