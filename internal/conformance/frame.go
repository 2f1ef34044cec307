package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Opcodes of RFC 6455 §5.2.
const (
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xa
)

// maxRead is the longest frame that ReadFrame reads, well above what either side
// may send.
const maxRead = 8 << 20

// Frame is one websocket frame.
type Frame struct {
	First   byte // FIN bit, reserved bits and opcode
	Masked  bool
	Payload []byte // unmasked
}

// Opcode returns the opcode of f.
func (f Frame) Opcode() byte { return f.First & 0x0f }

// Final reports whether f is the last frame of its message.
func (f Frame) Final() bool { return f.First&0x80 != 0 }

// ReadFrame reads one frame of either direction. It returns io.EOF if there is
// none, and io.ErrUnexpectedEOF if there is a part of one.
func ReadFrame(r io.Reader) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{First: head[0], Masked: head[1]&0x80 != 0}
	n := uint64(head[1] & 0x7f)
	least := uint64(0)
	var long [8]byte
	switch n {
	case 126:
		if err := readRest(r, long[:2]); err != nil {
			return f, err
		}
		n, least = uint64(binary.BigEndian.Uint16(long[:2])), 126
	case 127:
		if err := readRest(r, long[:]); err != nil {
			return f, err
		}
		n, least = binary.BigEndian.Uint64(long[:]), 1<<16
	}
	switch {
	case n < least:
		return f, fmt.Errorf("conformance: length %d takes more bytes than it needs", n)
	case n > maxRead:
		return f, fmt.Errorf("conformance: frame of %d bytes", n)
	}
	var mask [4]byte
	if f.Masked {
		if err := readRest(r, mask[:]); err != nil {
			return f, err
		}
	}
	f.Payload = make([]byte, n)
	if err := readRest(r, f.Payload); err != nil {
		return f, err
	}
	if f.Masked {
		for i := range f.Payload {
			f.Payload[i] ^= mask[i%4]
		}
	}
	return f, nil
}

// readRest is io.ReadFull within a frame, where every end comes too early.
func readRest(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AppendMasked appends f as a client sends it, with a mask.
func AppendMasked(b []byte, f Frame, mask [4]byte) []byte {
	switch n := len(f.Payload); {
	case n < 126:
		b = append(b, f.First, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, f.First, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, f.First, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range f.Payload {
		b = append(b, c^mask[i%4])
	}
	return b
}
