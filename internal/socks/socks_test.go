package socks

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
)

// peer answers whatever it is asked with what it has, and notes what it is asked.
type peer struct {
	answers io.Reader
	asked   bytes.Buffer
}

func (p *peer) Read(b []byte) (int, error)  { return p.answers.Read(b) }
func (p *peer) Write(b []byte) (int, error) { return p.asked.Write(b) }

func TestConnect(t *testing.T) {
	user := url.UserPassword("guest", "sesame")
	const granted = "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00"
	for _, c := range []struct {
		name    string
		user    *url.Userinfo
		addr    string
		answers string
		asked   string
		err     string
		reply   int
	}{
		{"a name", nil, "host.example:443", "\x05\x00" + granted, "\x05\x01\x00" + "\x05\x01\x00\x03\x0chost.example\x01\xbb", "", 0},
		{"IPv4", nil, "192.0.2.1:80", "\x05\x00" + granted, "\x05\x01\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},
		{"IPv6", nil, "[2001:db8::1]:80", "\x05\x00" + granted, "\x05\x01\x00" + "\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x00\x50", "", 0},
		{"granted with IPv6", nil, "192.0.2.1:80", "\x05\x00\x05\x00\x00\x04" + strings.Repeat("x", 18), "\x05\x01\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},
		{"granted with a name", nil, "192.0.2.1:80", "\x05\x00\x05\x00\x00\x03\x03abc\x00\x00", "\x05\x01\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},
		{"a password", user, "192.0.2.1:80", "\x05\x02" + "\x01\x00" + granted, "\x05\x02\x00\x02" + "\x01\x05guest\x06sesame" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},
		{"a password that nobody wants", user, "192.0.2.1:80", "\x05\x00" + granted, "\x05\x02\x00\x02" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},
		{"a user without password", url.User("guest"), "192.0.2.1:80", "\x05\x02" + "\x01\x00" + granted, "\x05\x02\x00\x02" + "\x01\x05guest\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "", 0},

		{"a wrong password", user, "h:80", "\x05\x02" + "\x01\x01", "\x05\x02\x00\x02" + "\x01\x05guest\x06sesame", "credentials refused", Denied},
		{"no password", nil, "h:80", "\x05\xff", "\x05\x01\x00", "credentials refused", Denied},
		{"a method that was not offered", nil, "h:80", "\x05\x02", "\x05\x01\x00", "credentials refused", Denied},
		{"refused", nil, "h:80", "\x05\x00\x05\x05\x00\x01", "\x05\x01\x00" + "\x05\x01\x00\x03\x01h\x00\x50", "SOCKS reply 5 connection refused", ConnectionRefused},
		{"a reply from the future", nil, "h:80", "\x05\x00\x05\x63\x00\x01", "\x05\x01\x00" + "\x05\x01\x00\x03\x01h\x00\x50", "SOCKS reply 99 unknown", 99},

		{"SOCKS4", nil, "h:80", "\x00\x5a", "\x05\x01\x00", "not SOCKS5", 0},
		{"HTTP", nil, "h:80", "HTTP/1.1 400 Bad Request\r\n", "\x05\x01\x00", "not SOCKS5", 0},
		{"not SOCKS5 in the end", nil, "h:80", "\x05\x00\x04\x00\x00\x01", "\x05\x01\x00" + "\x05\x01\x00\x03\x01h\x00\x50", "not SOCKS5", 0},
		{"an address of no type", nil, "h:80", "\x05\x00\x05\x00\x00\x02", "\x05\x01\x00" + "\x05\x01\x00\x03\x01h\x00\x50", "not SOCKS5", 0},
		{"no port", nil, "h", "", "", "missing port", 0},
		{"a port too high", nil, "h:65536", "", "", "invalid port", 0},
		{"a long name", nil, strings.Repeat("x", 256) + ":80", "", "", "too long", 0},
		{"a long password", url.UserPassword("guest", strings.Repeat("x", 256)), "h:80", "\x05\x02", "\x05\x02\x00\x02", "too long", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &peer{answers: strings.NewReader(c.answers + "the rest")}
			err := Connect(p, c.user, c.addr)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if e, ok := errors.AsType[*Error](err); ok != (c.reply != 0) || ok && e.Reply != c.reply {
				t.Errorf("got %#v, want reply %d", err, c.reply)
			}
			if p.asked.String() != c.asked {
				t.Errorf("asked %q, want %q", &p.asked, c.asked)
			}
			if rest, _ := io.ReadAll(p.answers); err == nil && string(rest) != "the rest" {
				t.Errorf("%q is left of what comes behind the proxy", rest)
			}
			if err != nil && strings.Contains(err.Error(), "sesame") {
				t.Errorf("%v shows the password", err)
			}
		})
	}
}

func TestABrokenConnectionIsItsOwnError(t *testing.T) {
	const full = "\x05\x02\x01\x00\x05\x00\x00\x03\x03abc\x00\x00"
	for end := range full {
		err := Connect(&peer{answers: strings.NewReader(full[:end])}, url.User("x"), "h:80")
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", end, err)
		}
	}
}
