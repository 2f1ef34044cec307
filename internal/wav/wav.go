// Package wav has the headers of WAV streams as the service writes and takes them:
// those that arrive in pieces.
package wav

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/nlsgo/nls"
)

// HeaderSize is the length of what Header returns.
const HeaderSize = 44

// Unknown as dataSize says that the data is still being made.
const Unknown = -1

// Header returns the header of 16-bit mono PCM with dataSize bytes of samples.
func Header(sampleRate, dataSize int) []byte {
	var b bytes.Buffer
	if _, err := nls.NewWAVWriter(&b, nls.WAVFormat{SampleRate: sampleRate, DataSize: int64(dataSize)}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// The service answers these with 40000009 "Invalid wav header!" and "Too large
// wav header!" (protocol §7.1).
var (
	ErrInvalid  = errors.New("invalid wav header")
	ErrTooLarge = errors.New("too large wav header")
)

// magic is what the header begins with.
const magic = "RIFF"

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
		if n := min(len(r.header), len(magic)); string(r.header[:n]) != magic[:n] {
			r.err = ErrInvalid // nls reads more than the service does
			return nil, r.err
		}
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
