package wsframe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// Close codes that a Reader and a Close frame without a code stand for (RFC 6455
// §7.4.1).
const (
	CloseNormal   = 1000
	CloseProtocol = 1002
	CloseNoStatus = 1005 // no frame has it
	CloseTooBig   = 1009
)

// Error is a frame that breaks a rule. Code is what the peer should be told.
type Error struct {
	Code int
	text string
}

func (e *Error) Error() string { return "websocket: " + e.text }

func broken(format string, args ...any) error {
	return &Error{CloseProtocol, fmt.Sprintf(format, args...)}
}

// smallBuffer is what a Reader keeps while it waits: many an event fits it, and each
// byte of it is one of each session that waits. bigBuffer is what it borrows to take in
// longer messages, several at a time.
const (
	smallBuffer = 512
	bigBuffer   = 64 << 10
)

// maxEmptyReads is how often in a row a source may return nothing, as in bufio.
const maxEmptyReads = 100

var bigBuffers = sync.Pool{New: func() any { return new([bigBuffer]byte) }}

// Reader reads the messages that a server sends. It reads ahead, and is not for
// concurrent use.
type Reader struct {
	src io.Reader
	max int // the longest message

	buf  []byte // of which buf[r:w] waits to be parsed; at first what was read ahead
	r, w int
	err  error            // of src; what buf has comes first
	big  *[bigBuffer]byte // borrowed; nil while buf is small or longer than it

	message byte   // opcode of a message whose fragments are coming; 0 if none
	parts   []byte // those that have come
	small   [smallBuffer]byte
}

// NewReader returns a Reader of src, of which ahead has been read already. A
// message that is longer than limit is an *Error.
func NewReader(src io.Reader, ahead []byte, limit int) *Reader {
	return &Reader{src: src, max: limit, buf: bytes.Clone(ahead), w: len(ahead)}
}

// Next returns the next message or control frame: its opcode and payload, which
// is valid until the next call. The end of the stream is io.EOF, or
// io.ErrUnexpectedEOF within a frame or a message. No call may follow an error.
func (r *Reader) Next() (opcode byte, payload []byte, err error) {
	if r.message == 0 {
		r.parts = nil
	}
	for {
		first, n, err := r.header()
		if err != nil {
			return 0, nil, err
		}
		payload, err := r.take(n)
		if err != nil {
			return 0, nil, noEnd(err)
		}
		opcode, final := first&0x0f, first&Fin != 0
		switch {
		case opcode != Continuation && final: // control frames always are
			return opcode, payload, nil
		case opcode != Continuation:
			r.message = opcode
		}
		r.parts = append(r.parts, payload...)
		if final {
			opcode, r.message = r.message, 0
			return opcode, r.parts, nil
		}
	}
}

// header reads the header of a frame and checks it.
func (r *Reader) header() (first byte, n int, err error) {
	head, err := r.peek(2)
	if err != nil {
		if r.message != 0 || r.r < r.w {
			err = noEnd(err)
		}
		return 0, 0, err
	}
	first, length, size := head[0], uint64(head[1]&^maskBit), 2
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	opcode := first & 0x0f
	switch {
	case first&0x70 != 0:
		return 0, 0, broken("reserved bits in %#02x", first)
	case head[1]&maskBit != 0:
		return 0, 0, broken("the server masks its frames")
	case opcode >= Close && (first&Fin == 0 || size > 2):
		return 0, 0, broken("control frame in fragments or too long")
	case opcode > Binary && opcode < Close || opcode > Pong:
		return 0, 0, broken("unknown opcode %d", opcode)
	case opcode == Continuation && r.message == 0:
		return 0, 0, broken("continuation of no message")
	case (opcode == Text || opcode == Binary) && r.message != 0:
		return 0, 0, broken("message within a message")
	}
	if size > 2 {
		if head, err = r.peek(size); err != nil {
			return 0, 0, noEnd(err)
		}
		if size == 4 {
			length = uint64(binary.BigEndian.Uint16(head[2:]))
		} else {
			length = binary.BigEndian.Uint64(head[2:])
		}
	}
	if opcode < Close && length > uint64(r.max-len(r.parts)) {
		return 0, 0, &Error{CloseTooBig, fmt.Sprintf("message of more than %d bytes", r.max)}
	}
	r.r += size
	return first, int(length), nil
}

// take returns the next n bytes.
func (r *Reader) take(n int) ([]byte, error) {
	b, err := r.peek(n)
	r.r += len(b)
	return b, err
}

// peek returns the next n bytes and leaves them where they are.
func (r *Reader) peek(n int) ([]byte, error) {
	for empty := 0; r.w-r.r < n; {
		switch {
		case r.err != nil:
			return nil, r.err
		case empty == maxEmptyReads:
			return nil, io.ErrNoProgress
		}
		r.room(n)
		var m int
		m, r.err = r.src.Read(r.buf[r.w:])
		r.w += m
		if empty++; m > 0 {
			empty = 0
		}
	}
	return r.buf[r.r : r.r+n], nil
}

// room makes room in buf for some of what is missing of n bytes.
func (r *Reader) room(n int) {
	have := r.buf[r.r:r.w]
	switch {
	case len(have) == 0 && n <= smallBuffer:
		r.shrink() // there is nothing to do but wait
	case r.r+n <= len(r.buf):
		return
	case r.big == nil && len(have) < bigBuffer:
		big := bigBuffers.Get().(*[bigBuffer]byte)
		copy(big[:], have)
		r.buf, r.big = big[:], big
	case r.r > 0:
		copy(r.buf, have)
	case r.w < len(r.buf):
		return
	default:
		// The length is the peer's word, so memory follows what has come.
		longer := make([]byte, min(n, 2*len(have)))
		copy(longer, have)
		r.shrink()
		r.buf = longer
	}
	r.r, r.w = 0, len(have)
}

// shrink goes back to the small buffer.
func (r *Reader) shrink() {
	if r.big != nil {
		bigBuffers.Put(r.big)
		r.big = nil
	}
	r.buf = r.small[:]
}

// Release gives back what r has borrowed. No call may follow.
func (r *Reader) Release() { r.shrink() }

// noEnd is err where the stream must not end.
func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ParseClose returns the code and the reason in the payload of a Close frame.
func ParseClose(payload []byte) (code int, reason string, err error) {
	switch {
	case len(payload) == 0:
		return CloseNoStatus, "", nil
	case len(payload) == 1:
		return 0, "", broken("close code of one byte")
	}
	code = int(binary.BigEndian.Uint16(payload))
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
	default:
		return 0, "", broken("close code %d", code)
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", broken("close reason is not UTF-8")
	}
	return code, string(payload[2:]), nil
}

// AppendClose appends the payload of a Close frame without a reason.
func AppendClose(b []byte, code int) []byte { return binary.BigEndian.AppendUint16(b, uint16(code)) }
