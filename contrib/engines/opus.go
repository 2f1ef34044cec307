package engines

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pion/opus"

	"github.com/nlsgo/nls/nlstest"
)

// packets decodes Opus packets, one in each Write.
type packets struct {
	decoder opus.Decoder
	samples []int16
}

func newPackets(_ context.Context, sampleRate int) (nlstest.Transcoder, error) {
	d, err := opus.NewDecoderWithOutput(sampleRate, 1)
	if err != nil {
		return nil, fmt.Errorf("engines: opus: %w", err)
	}
	return &packets{d, make([]int16, sampleRate*120/1000)}, nil // no packet is longer
}

func (p *packets) Write(packet []byte) (pcm []byte, err error) {
	n, err := p.decoder.DecodeToInt16(packet, p.samples)
	if err != nil {
		return nil, fmt.Errorf("engines: opus: %w", err)
	}
	for _, s := range p.samples[:n] {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(s))
	}
	return pcm, nil
}

func (p *packets) Close() ([]byte, error) { return nil, nil }

// oggOpus decodes the packets in the pages of Ogg, RFC 3533 and RFC 7845: one stream,
// or one behind the other.
type oggOpus struct {
	nlstest.Transcoder
	rate   int
	rest   []byte // a page that is not complete
	packet []byte // that goes on in the next page
	number int    // of the packet in the stream, from 0
	skip   int    // bytes of PCM at the beginning that are not part of the audio
}

func newOggOpus(ctx context.Context, sampleRate int) (nlstest.Transcoder, error) {
	p, err := newPackets(ctx, sampleRate)
	return &oggOpus{Transcoder: p, rate: sampleRate}, err
}

var errOgg = errors.New("engines: not Ogg Opus")

const (
	pageHeader    = 27 // bytes, the last of which says how many lengths follow
	beginOfStream = 2
)

func (o *oggOpus) Write(data []byte) (pcm []byte, err error) {
	o.rest = append(o.rest, data...)
	for len(o.rest) >= pageHeader {
		if string(o.rest[:4]) != "OggS" {
			return pcm, errOgg
		}
		body := pageHeader + int(o.rest[pageHeader-1])
		if len(o.rest) < body {
			break
		}
		lengths, end := o.rest[pageHeader:body], body
		for _, n := range lengths {
			end += int(n)
		}
		if len(o.rest) < end {
			break
		}
		if o.rest[5]&beginOfStream != 0 {
			o.number, o.packet = 0, nil
		}
		for _, n := range lengths {
			o.packet = append(o.packet, o.rest[body:body+int(n)]...)
			body += int(n)
			if n == 255 {
				continue // it goes on
			}
			out, err := o.next(o.packet)
			if pcm = append(pcm, out...); err != nil {
				return pcm, err
			}
			o.packet = o.packet[:0]
			o.number++
		}
		if len(o.packet) > maxPacket {
			return pcm, errOgg
		}
		o.rest = o.rest[end:]
	}
	return pcm, nil
}

// maxPacket is more than an Opus packet, or a header, ever has.
const maxPacket = 1 << 20

// next takes the next packet of the stream: two headers come first.
func (o *oggOpus) next(packet []byte) ([]byte, error) {
	switch o.number {
	case 0:
		if len(packet) < 19 || string(packet[:8]) != "OpusHead" {
			return nil, errOgg
		}
		o.skip = int(binary.LittleEndian.Uint16(packet[10:])) * o.rate / 48000 * 2
		return nil, nil
	case 1:
		return nil, nil
	}
	pcm, err := o.Transcoder.Write(packet)
	skip := min(o.skip, len(pcm))
	o.skip -= skip
	return pcm[skip:], err
}

func (o *oggOpus) Close() ([]byte, error) {
	if len(o.rest) > 0 {
		return nil, errOgg
	}
	return o.Transcoder.Close()
}
