// Package wsframe reads and makes websocket frames (RFC 6455 §5.2), where
// gorilla/websocket does more than is wanted: it cuts long messages into fragments,
// allocates for each, and breaks no rule on demand.
package wsframe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Opcodes. A frame has one in its first byte, with Fin in the last frame of a
// message.
const (
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xa

	Fin      = 0x80
	Reserved = 0x40 // the first of three bits for extensions
)

// MaxHeader is the longest header: two bytes, eight of length, four of mask.
const MaxHeader = 14

// maxRead is the longest frame that Read reads, well above what either side may
// send.
const maxRead = 8 << 20

// maskBit in the second byte says that a mask follows the length.
const maskBit = 0x80

// Frame is one frame.
type Frame struct {
	First   byte // Fin, reserved bits and opcode
	Masked  bool
	Payload []byte // unmasked
}

// Opcode returns the opcode of f.
func (f Frame) Opcode() byte { return f.First & 0x0f }

// Final reports whether f is the last frame of its message.
func (f Frame) Final() bool { return f.First&Fin != 0 }

// Read reads one frame of either direction. It returns io.EOF if there is none,
// and io.ErrUnexpectedEOF if there is a part of one.
func Read(r io.Reader) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{First: head[0], Masked: head[1]&maskBit != 0}
	n := uint64(head[1] &^ maskBit)
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
		return f, fmt.Errorf("websocket frame: length %d takes more bytes than it needs", n)
	case n > maxRead:
		return f, fmt.Errorf("websocket frame: %d bytes", n)
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
		xorMask(f.Payload, f.Payload, mask)
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

// AppendHeader appends the header of a server's frame with n bytes of payload.
func AppendHeader(b []byte, first byte, n int) []byte { return appendHeader(b, first, 0, n) }

func appendHeader(b []byte, first, mask byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, first, mask|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, first, mask|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, first, mask|127), uint64(n))
	}
}

// Append appends a frame as servers send them.
func Append(b []byte, first byte, payload []byte) []byte {
	return append(AppendHeader(b, first, len(payload)), payload...)
}

// AppendMasked appends a frame as clients send them. Nobody may foresee the mask
// (RFC 6455 §5.3).
func AppendMasked(b []byte, first byte, payload []byte, mask [4]byte) []byte {
	b = slices.Grow(b, MaxHeader+len(payload))
	b = append(appendHeader(b, first, maskBit, len(payload)), mask[:]...)
	n := len(b)
	b = b[:n+len(payload)]
	xorMask(b[n:], payload, mask)
	return b
}

// xorMask makes dst what src is with the mask on it, or off it. They are the same
// or do not overlap.
func xorMask(dst, src []byte, mask [4]byte) {
	word := uint64(binary.NativeEndian.Uint32(mask[:]))
	word |= word << 32
	for len(src) >= 32 { // four words at a time, which is twice as fast as one by one
		d, s := (*[32]byte)(dst), (*[32]byte)(src)
		xorWord(d[0:8], s[0:8], word)
		xorWord(d[8:16], s[8:16], word)
		xorWord(d[16:24], s[16:24], word)
		xorWord(d[24:32], s[24:32], word)
		dst, src = dst[32:], src[32:]
	}
	for i := range src {
		dst[i] = src[i] ^ mask[i&3]
	}
}

func xorWord(dst, src []byte, word uint64) {
	binary.NativeEndian.PutUint64(dst, binary.NativeEndian.Uint64(src)^word)
}
