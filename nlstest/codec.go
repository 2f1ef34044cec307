package nlstest

import (
	"context"
	"errors"
)

// Codec knows one compressed format. Its functions are for many tasks at once; one
// that is nil says that the format does not go this way.
type Codec struct {
	// NewDecoder starts to make PCM, 16-bit mono at sampleRate, of what a client sends
	// in this format: of the bytes as they come, cut anywhere. For "opu" the Server
	// takes the packets out of their frames, and each Write is one Opus
	// packet, of 20 ms.
	NewDecoder func(ctx context.Context, sampleRate int) (Transcoder, error)

	// NewEncoder starts to make this format of PCM, 16-bit mono at sampleRate: of one
	// sentence of a synthesis, so that all of its audio comes before the end of the
	// sentence. What it makes of several is sent one behind the other.
	NewEncoder func(ctx context.Context, sampleRate int) (Transcoder, error)
}

// Transcoder turns one stream into another. It is used by one goroutine at a time,
// not by the one of the connection, so it may take its time.
type Transcoder interface {
	// Write takes what comes in, which is its own until it returns, and returns what is
	// ready to go out, perhaps nothing. An error from a decoder fails the task with
	// 40270003, one from an encoder with 51020001.
	Write(p []byte) ([]byte, error)

	// Close ends the stream, returns the rest, and frees what it holds. It is called
	// once, also if a Write has failed or ctx has ended.
	Close() ([]byte, error)
}

// opuReader takes packets out of frames that are cut anywhere: a byte with the
// length, and the packet.
type opuReader struct{ rest []byte }

// read calls f for each packet that data completes.
func (o *opuReader) read(data []byte, f func(packet []byte) error) error {
	o.rest = append(o.rest, data...)
	for len(o.rest) > 0 {
		end := 1 + int(o.rest[0])
		if len(o.rest) < end {
			break
		}
		if err := f(o.rest[1:end]); err != nil {
			return err
		}
		o.rest = o.rest[end:]
	}
	return nil
}

// decoder is the decoder of one task: of bytes as the client sends them.
type decoder struct {
	Transcoder
	opu *opuReader // nil for other formats
}

// newDecoder returns nil for a format that the Server knows itself, or not at all.
func (s *Server) newDecoder(ctx context.Context, format string, sampleRate int) (*decoder, error) {
	c := s.opts.Codecs[format]
	if c.NewDecoder == nil || oneOf(format, "pcm", "wav") {
		return nil, nil
	}
	t, err := c.NewDecoder(ctx, sampleRate)
	if err != nil {
		return nil, err
	}
	d := &decoder{Transcoder: t}
	if format == "opu" {
		d.opu = new(opuReader)
	}
	return d, nil
}

func (d *decoder) Write(data []byte) (pcm []byte, err error) {
	if d.opu == nil {
		return d.Transcoder.Write(data)
	}
	err = d.opu.read(data, func(packet []byte) error {
		out, err := d.Transcoder.Write(packet)
		pcm = append(pcm, out...)
		return err
	})
	return pcm, err
}

// errTruncated is opu audio that ends in the middle of a packet.
var errTruncated = errors.New("half a packet")

func (d *decoder) Close() (pcm []byte, err error) {
	pcm, err = d.Transcoder.Close()
	if err == nil && d.opu != nil && len(d.opu.rest) > 0 {
		err = errTruncated
	}
	return pcm, err
}
