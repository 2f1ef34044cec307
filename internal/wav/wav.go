// Package wav writes the header of a WAV stream, and takes it off one that
// arrives in pieces.
package wav

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/nlsgo/nls"
)

// HeaderSize is the length of what Header returns.
const HeaderSize = 44

// Unknown as dataSize says that the data is still being made. RIFF has no way
// to say so; readers take sizes near the greatest signed number for it, and
// this one makes the RIFF size that number (protocol §5.3).
const Unknown = 0x7FFFFFFF - (HeaderSize - 8)

// Header returns the header of 16-bit mono PCM with dataSize bytes of samples.
func Header(sampleRate, dataSize int) []byte {
	le := binary.LittleEndian
	h := make([]byte, 0, HeaderSize)
	h = append(h, "RIFF"...)
	h = le.AppendUint32(h, uint32(dataSize+HeaderSize-8))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16) // size of this chunk
	h = le.AppendUint16(h, 1)  // PCM
	h = le.AppendUint16(h, 1)  // channels
	h = le.AppendUint32(h, uint32(sampleRate))
	h = le.AppendUint32(h, uint32(2*sampleRate)) // bytes a second
	h = le.AppendUint16(h, 2)                    // bytes a sample
	h = le.AppendUint16(h, 16)                   // bits a sample
	h = append(h, "data"...)
	return le.AppendUint32(h, uint32(dataSize))
}

// The service answers these with 40000009 "Invalid wav header!" and "Too large
// wav header!" (protocol §7.1).
var (
	ErrInvalid  = errors.New("invalid wav header")
	ErrTooLarge = errors.New("too large wav header")
)

// maxHeader bounds what may stand before the samples.
const maxHeader = 16 << 10

// Reader takes the header off a WAV stream. The zero value is ready. One
// goroutine at a time may use it.
type Reader struct {
	Format *nls.WAVFormat // nil until the header is complete

	header []byte
	left   int64 // bytes of samples to come; negative if the header does not know
	err    error
}

// Samples returns the part of p, the next bytes of the stream, that is samples:
// nothing while the header is incomplete, nor behind the end of the data. An
// error, which matches ErrInvalid or ErrTooLarge, is final.
func (r *Reader) Samples(p []byte) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.Format == nil {
		before := len(r.header)
		r.header = append(r.header, p[:min(len(p), maxHeader-before)]...)
		rest := bytes.NewReader(r.header)
		format, err := nls.ReadWAVHeader(rest)
		switch size := len(r.header) - rest.Len(); {
		case err == nil:
			p = p[size-before:]
			r.Format, r.left, r.header = &format, format.DataSize, nil
		case !errors.Is(err, io.ErrUnexpectedEOF):
			r.err = fmt.Errorf("%w: %w", ErrInvalid, err)
			return nil, r.err
		case len(r.header) == maxHeader:
			r.err = ErrTooLarge
			return nil, r.err
		default:
			return nil, nil
		}
	}
	if r.left >= 0 {
		p = p[:min(int64(len(p)), r.left)]
		r.left -= int64(len(p))
	}
	return p, nil
}
