// Package socks asks a SOCKS5 proxy for a connection (RFC 1928, RFC 1929). The
// clients of gorilla/websocket and of golang.org/x/net turn what went wrong into
// text, which does not tell a proxy that refuses from a network that is down.
package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
)

// Replies of a proxy (RFC 1928 §6), as far as they are dealt with by value.
const (
	GeneralFailure     = 1
	NetworkUnreachable = 3
	HostUnreachable    = 4
	ConnectionRefused  = 5
	TTLExpired         = 6

	// Denied is none of them: it is how a proxy refuses the methods of
	// authentication or the credentials that it was offered.
	Denied = 255
)

var replies = map[int]string{
	GeneralFailure:     "general failure",
	2:                  "connection not allowed",
	NetworkUnreachable: "network unreachable",
	HostUnreachable:    "host unreachable",
	ConnectionRefused:  "connection refused",
	TTLExpired:         "TTL expired",
	7:                  "command not supported",
	8:                  "address type not supported",
	Denied:             "credentials refused",
}

// ReplyText is what reply means.
func ReplyText(reply int) string {
	if text, ok := replies[reply]; ok {
		return text
	}
	return "unknown reply"
}

// Error is a reply that is no success.
type Error struct{ Reply int }

func (e *Error) Error() string { return fmt.Sprintf("SOCKS reply %d %s", e.Reply, ReplyText(e.Reply)) }

// Port is that of a proxy whose URL has none.
const Port = "1080"

const (
	version     = 5
	authVersion = 1

	noAuth       = 0
	passwordAuth = 2

	connect = 1

	ipv4 = 1
	name = 3
	ipv6 = 4
)

var errNotSOCKS = errors.New("the answer is not SOCKS5")

// Connect makes c, a connection to a proxy, one to addr. A name in addr is looked
// up by the proxy, in socks5 as in socks5h, as net/http has it. user may be nil.
// Errors of c are returned as they are. The caller bounds the time it takes.
func Connect(c io.ReadWriter, user *url.Userinfo, addr string) error {
	request, err := newRequest(addr)
	if err != nil {
		return err
	}
	methods := []byte{version, 1, noAuth}
	if user != nil {
		methods = []byte{version, 2, noAuth, passwordAuth}
	}
	var answer [2]byte
	if err := ask(c, methods, answer[:]); err != nil {
		return err
	}
	switch {
	case answer[0] != version:
		return errNotSOCKS
	case answer[1] == noAuth:
	case answer[1] == passwordAuth && user != nil:
		if err := authenticate(c, user); err != nil {
			return err
		}
	default:
		return &Error{Denied}
	}

	var head [4]byte // version, reply, reserved, type of the address
	if err := ask(c, request, head[:]); err != nil {
		return err
	}
	if head[0] != version {
		return errNotSOCKS
	}
	if head[1] != 0 {
		return &Error{int(head[1])}
	}
	length := make([]byte, 1)
	switch head[3] {
	case ipv4:
		length[0] = net.IPv4len
	case ipv6:
		length[0] = net.IPv6len
	case name:
		if err := ask(c, nil, length); err != nil {
			return err
		}
	default:
		return errNotSOCKS
	}
	return ask(c, nil, make([]byte, int(length[0])+2)) // an address and a port that nobody needs
}

// ask writes request and reads an answer of the length of answer.
func ask(c io.ReadWriter, request, answer []byte) error {
	if len(request) > 0 {
		if _, err := c.Write(request); err != nil {
			return err
		}
	}
	_, err := io.ReadFull(c, answer)
	return err
}

func authenticate(c io.ReadWriter, user *url.Userinfo) error {
	password, _ := user.Password()
	if len(user.Username()) > 255 || len(password) > 255 {
		return errors.New("user or password is too long for SOCKS5")
	}
	request := []byte{authVersion, byte(len(user.Username()))}
	request = append(request, user.Username()...)
	request = append(append(request, byte(len(password))), password...)
	var answer [2]byte
	if err := ask(c, request, answer[:]); err != nil {
		return err
	}
	if answer[1] != 0 {
		return &Error{Denied}
	}
	return nil
}

// newRequest is the request for a connection to addr.
func newRequest(addr string) ([]byte, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	request := []byte{version, connect, 0}
	ip := net.ParseIP(host)
	switch {
	case ip.To4() != nil:
		request = append(append(request, ipv4), ip.To4()...)
	case ip != nil:
		request = append(append(request, ipv6), ip...)
	case len(host) > 255:
		return nil, &net.AddrError{Err: "host name too long for SOCKS5", Addr: addr}
	default:
		request = append(append(request, name, byte(len(host))), host...)
	}
	return binary.BigEndian.AppendUint16(request, uint16(port)), nil
}
