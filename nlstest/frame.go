package nlstest

import (
	"encoding/binary"
	"sync"
)

// Opcodes of RFC 6455 §5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa

	finBit  = 0x80
	rsvBit  = 0x40
	maskBit = 0x80
)

// maxFrame is the longest frame that the Java SDK reads (protocol §1.8).
const maxFrame = 64 << 10

// frames holds buffers in which frames are put together.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// appendHeader appends the header of an unmasked frame of n bytes whose first
// byte, FIN bit, reserved bits and opcode, is first.
func appendHeader(b []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(b, first, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, first, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(n))
	}
}

// appendFrame appends a whole frame.
func appendFrame(b []byte, first byte, payload []byte) []byte {
	return append(appendHeader(b, first, len(payload)), payload...)
}

// closePayload is the payload of a close frame. Code zero is a close frame
// without a code.
func closePayload(code int, reason string) []byte {
	if code == 0 {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}
