package session

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// Data frames are made here and not by gorilla, which fragments what is longer
// than a buffer of fixed size and allocates for every message.

// maxFrame is the longest message that is sent, a first directive excepted
// (protocol §1.8).
const maxFrame = 16 << 10

// maxHeader is the longest header of a frame: two bytes, a length of eight and a
// mask of four (RFC 6455 §5.2).
const maxHeader = 14

// frames are the buffers in which frames are made.
var frames = sync.Pool{New: func() any {
	b := make([]byte, 0, maxHeader+maxFrame)
	return &b
}}

// appendFrame appends to b a message of the client in one frame. What is sent is
// masked with four bytes that nobody can foresee (RFC 6455 §5.3).
func appendFrame(b []byte, messageType int, data []byte) []byte {
	const final, masked = 0x80, 0x80
	b = append(b, final|byte(messageType))
	switch n := len(data); {
	case n <= 125:
		b = append(b, masked|byte(n))
	case n <= 0xffff:
		b = append(b, masked|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, masked|127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	var mask [256]byte // the same four over and over
	_, _ = rand.Read(mask[:4])
	for n := 4; n < len(mask); n *= 2 {
		copy(mask[n:], mask[:n])
	}
	b = append(b, mask[:4]...)
	b = append(b, data...)
	for rest := b[len(b)-len(data):]; len(rest) > 0; {
		rest = rest[subtle.XORBytes(rest, rest, mask[:]):]
	}
	return b
}

// writeFrame writes a message in one frame. It returns ErrWriteTimeout if the
// deadline has passed.
func (l *link) writeFrame(messageType int, data []byte, deadline time.Time) error {
	buf := frames.Get().(*[]byte)
	frame := appendFrame((*buf)[:0], messageType, data)
	conn := l.conn.NetConn()
	_ = conn.SetWriteDeadline(deadline) // an error shows in Write
	_, err := conn.Write(frame)
	frames.Put(buf) // a frame that is longer has outgrown it
	// Before the deadline it is the system's patience that has ended, or that of
	// gorilla, which says Close to a peer that broke the protocol.
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && !deadline.IsZero() && !time.Now().Before(deadline) {
		return ErrWriteTimeout
	}
	return err
}
