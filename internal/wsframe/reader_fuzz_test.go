package wsframe_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wsframe"
)

// chunks is a source whose reads return as many bytes as sizes say, in turn; 255
// is as many as fit. The last ones come with the end if together is set.
type chunks struct {
	left     []byte
	sizes    []byte
	together bool

	empty, most int // reads of nothing in a row; the most room there was
}

func (c *chunks) Read(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(c.sizes) > 0 {
		if size := int(c.sizes[0]); size < 255 {
			n = min(n, size)
		}
		c.sizes = append(c.sizes[1:len(c.sizes):len(c.sizes)], c.sizes[0])
	}
	if c.empty++; c.empty > 50 {
		n = max(n, 1)
	}
	n = copy(p[:n], c.left)
	if n > 0 {
		c.empty = 0
	}
	c.left = c.left[n:]
	if c.together && len(c.left) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// framed makes frames of b, most of them in order, so that a fuzzer need not find
// that out: three bytes say what a frame is, and so how the next differ from it.
func framed(b []byte) []byte {
	var s []byte
	message := false // in fragments
	for i := 0; i+3 <= len(b); i += 3 {
		kind, size, fill := b[i], int(b[i+1]), b[i+2]
		opcode, n := kind&0x0f, size
		if kind&0x10 == 0 { // in order
			switch {
			case kind&0x08 != 0:
				opcode = wsframe.Close + kind%3
				n = size % 126
			case message:
				opcode = wsframe.Continuation
			default:
				opcode = wsframe.Text + kind&1
			}
		}
		if kind&0x60 == 0x60 {
			n *= 300 // up to 75 KiB
		}
		fin := byte(wsframe.Fin)
		if kind&0x80 != 0 && opcode < wsframe.Close {
			fin = 0
		}
		if opcode < wsframe.Close {
			message = fin == 0
		}
		payload := bytes.Repeat([]byte{fill}, n)
		if opcode == wsframe.Close && n >= 2 {
			payload[0], payload[1] = 0x03, 0xe8+fill%32
		}
		s = wsframe.Append(s, fin|opcode, payload)
	}
	return s
}

// verdict is how a connection ends.
type verdict struct {
	closed bool // by a Close of the peer
	code   int
	reason string
	broken bool // else the stream ended
}

// ours reads stream with a Reader as a session does, up to its first error.
func ours(t *testing.T, src *chunks, ahead []byte, limit int) (items []item, v verdict) {
	come := len(ahead) + len(src.left)
	r := wsframe.NewReader(src, ahead, limit)
	defer r.Release()
	defer func() {
		if src.most > max(big, min(come, limit)) {
			t.Errorf("room for %d bytes of %d, with a limit of %d", src.most, come, limit)
		}
	}()
	for {
		opcode, payload, err := r.Next()
		if err == nil && opcode == wsframe.Close {
			v = verdict{closed: true}
			v.code, v.reason, err = wsframe.ParseClose(payload)
			if err == nil {
				return items, v
			}
		}
		switch _, broken := errors.AsType[*wsframe.Error](err); {
		case broken:
			return items, verdict{broken: true}
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return items, verdict{}
		case err != nil:
			t.Fatal(err)
		}
		items = append(items, item{opcode, string(payload)})
	}
}

// upgraded is a connection whose server accepts an upgrade and says what src has.
type upgraded struct {
	net.Conn
	request bytes.Buffer
	answer  []byte
	src     io.Reader
}

func (c *upgraded) Write(p []byte) (int, error) {
	if c.answer != nil {
		return len(p), nil
	}
	c.request.Write(p)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.request.Bytes())))
	if err != nil {
		return len(p), nil // the rest comes later
	}
	key := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	c.answer = fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(key[:]))
	return len(p), nil
}

func (c *upgraded) Read(p []byte) (int, error) {
	if len(c.answer) > 0 {
		n := copy(p, c.answer)
		c.answer = c.answer[n:]
		return n, nil
	}
	return c.src.Read(p)
}

func (c *upgraded) SetDeadline(time.Time) error      { return nil }
func (c *upgraded) SetReadDeadline(time.Time) error  { return nil }
func (c *upgraded) SetWriteDeadline(time.Time) error { return nil }
func (c *upgraded) Close() error                     { return nil }

// gorillas reads what src has with gorilla's client.
func gorillas(t *testing.T, src io.Reader, limit int) (items []item, v verdict) {
	d := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		return &upgraded{src: src}, nil
	}}
	conn, _, err := d.Dial("ws://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(int64(limit))
	control := func(opcode byte) func(string) error {
		return func(payload string) error {
			items = append(items, item{opcode, payload})
			return nil
		}
	}
	conn.SetPingHandler(control(wsframe.Ping))
	conn.SetPongHandler(control(wsframe.Pong))
	conn.SetCloseHandler(func(int, string) error { return nil })
	for {
		opcode, payload, err := conn.ReadMessage()
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			if e.Code == websocket.CloseAbnormalClosure { // which no frame may say
				return items, verdict{}
			}
			return items, verdict{closed: true, code: e.Code, reason: e.Text}
		}
		if err != nil {
			return items, verdict{broken: true}
		}
		items = append(items, item{byte(opcode), string(payload)})
	}
}

// seeds are streams of both kinds: bytes as they are and what framed makes of them.
func seeds(f *testing.F) {
	raw := server(nil).frame(wsframe.Fin|wsframe.Text, "hello").frame(wsframe.Binary, string(noise(200))).
		frame(wsframe.Fin|wsframe.Ping, "ping").frame(wsframe.Fin|wsframe.Continuation, "rest").
		frame(wsframe.Fin|wsframe.Close, "\x03\xe8bye")
	f.Add([]byte(raw), []byte{1, 0, 255}, uint16(1000), false, false)
	f.Add([]byte(raw[:len(raw)-1]), []byte{255}, uint16(204), true, false)
	f.Add([]byte("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), []byte{3}, uint16(9), false, false)
	f.Add([]byte("\x88\x01\x03"), []byte{}, uint16(9), false, false)
	f.Add([]byte("\x88\x02\x03\xf6"), []byte{}, uint16(9), false, false)
	f.Add([]byte{0x80, 40, 'a', 0x08, 3, 'b', 0x80, 1, 'c', 0x00, 9, 'd', 0x61, 200, 'e', 0x08, 40, 0}, []byte{7, 255, 200}, uint16(65535), true, true)
	f.Add([]byte{0xe0, 250, 'a', 0xe0, 250, 'b', 0x60, 100, 'c', 0x61, 255, 'd'}, []byte{255, 255, 1}, uint16(65535), false, true)
	f.Add([]byte{0x60, 200, 'a', 0x60, 230, 'b'}, []byte{}, uint16(60000), false, true)
	f.Add([]byte{0x1b, 9, 'a'}, []byte{0}, uint16(1), true, true)
}

// What a Reader reads is what gorilla's client reads, and it ends in the same way,
// but for goodbyes: one of a single byte is broken (RFC 6455 §5.5.1), where gorilla
// takes it for an empty one; and 1014, which IANA has registered since, is not.
func FuzzReaderReadsWhatGorillaReads(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b, sizes []byte, limit uint16, together, frames bool) {
		if frames {
			b = framed(b[:min(len(b), 300)])
		}
		most := int(limit) + 1 // gorilla takes 0 for no limit
		want, theirs := gorillas(t, bytes.NewReader(b), most)
		got, v := ours(t, &chunks{left: b, sizes: sizes, together: together}, nil, most)
		switch {
		case theirs == verdict{closed: true, code: websocket.CloseNoStatusReceived} && v.broken && bytes.Contains(b, []byte{0x88, 1}):
		case theirs.broken && v.closed && v.code == 1014:
		case v != theirs:
			t.Errorf("ends as %+v, gorilla's as %+v", v, theirs)
		}
		if !slices.Equal(got, want) {
			t.Errorf("reads %v, gorilla %v", got, want)
		}
	})
}

// How the bytes come, and how many of them were read ahead, makes no difference.
func FuzzReaderReadsTheSameHoweverItComes(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b, sizes []byte, cut uint16, together, frames bool) {
		if frames {
			b = framed(b[:min(len(b), 300)])
		}
		want, end := ours(t, &chunks{left: b}, nil, limit)
		ahead := b[:min(len(b), int(cut))]
		got, v := ours(t, &chunks{left: b[len(ahead):], sizes: sizes, together: together}, ahead, limit)
		if v != end || !slices.Equal(got, want) {
			t.Errorf("reads %v, %+v; all at once %v, %+v", got, v, want, end)
		}
	})
}
