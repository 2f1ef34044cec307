package nls

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// AudioSender is the sending half of Recognizer and Transcriber.
type AudioSender interface {
	SendAudio(data []byte) error
}

// PumpOptions configures Pump.
type PumpOptions struct {
	// BytesPerSecond is the rate at which the audio plays. Zero means 32000,
	// 16-bit mono at DefaultSampleRate; in Recognize and Transcribe it means the
	// rate of the Params, and no pacing for compressed formats.
	BytesPerSecond int

	// ChunkSize in bytes. Zero means 100 ms of audio.
	ChunkSize int

	// Speed is how much faster than it plays the audio may be sent. Zero means
	// 1, which is all that the service promises to take; negative means as
	// fast as the network allows.
	Speed float64
}

// maxCatchUp bounds how far Pump runs ahead after src has kept it waiting, since
// the service refuses bursts (protocol §7.2, 41040202).
const maxCatchUp = time.Second

// Pump reads src to EOF and sends it to dst in chunks of equal size, the last
// one excepted. It returns the bytes sent and the first error, nil at EOF and
// when the service completed the task by itself. The end of ctx stops it between
// two chunks; it cannot interrupt a Read. It allocates one buffer.
func Pump(ctx context.Context, dst AudioSender, src io.Reader, opts PumpOptions) (int64, error) {
	switch {
	case opts.BytesPerSecond < 0:
		return 0, &ParamError{"BytesPerSecond", opts.BytesPerSecond, "must not be negative"}
	case opts.ChunkSize < 0:
		return 0, &ParamError{"ChunkSize", opts.ChunkSize, "must not be negative"}
	}
	rate := orDefault(opts.BytesPerSecond, 2*DefaultSampleRate)
	buf := make([]byte, orDefault(opts.ChunkSize, max(rate/10&^1, 2)))
	speed := orDefault(opts.Speed, 1)

	pace := time.NewTimer(0)
	defer pace.Stop()
	due := time.Now()
	for sent := int64(0); ; {
		n, readErr := io.ReadFull(src, buf)
		if n > 0 {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return sent, ctx.Err()
			}
			if err := dst.SendAudio(buf[:n]); errors.Is(err, ErrCompleted) {
				return sent, nil
			} else if err != nil {
				return sent, err
			}
			sent += int64(n)
		}
		switch readErr {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return sent, nil
		default:
			return sent, fmt.Errorf("nls: read audio: %w", readErr)
		}
		if speed > 0 {
			due = due.Add(time.Duration(float64(n) / float64(rate) / speed * float64(time.Second)))
			if earliest := time.Now().Add(-maxCatchUp); due.Before(earliest) {
				due = earliest
			}
		}
		pace.Reset(time.Until(due))
	}
}

// WAVFormat is what a WAV header says about its audio.
type WAVFormat struct {
	SampleRate, Channels, BitsPerSample int
	DataSize                            int64 // -1 if the header does not know
}

// Codes of the "fmt " chunk.
const (
	wavePCM        = 1
	waveExtensible = 0xFFFE // the code is then in the first two bytes of the GUID
)

// ReadWAVHeader reads a RIFF/WAVE header and leaves r at the first sample, so
// that r can be sent as FormatPCM. Chunks other than "fmt " are skipped. Only
// uncompressed PCM is accepted. A header that ends early is an error that
// matches io.ErrUnexpectedEOF.
func ReadWAVHeader(r io.Reader) (WAVFormat, error) {
	f, err := readWAVHeader(r)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return WAVFormat{}, fmt.Errorf("nls: WAV header: %w", err)
	}
	return f, nil
}

func readWAVHeader(r io.Reader) (f WAVFormat, err error) {
	var riff [12]byte
	if _, err := io.ReadFull(r, riff[:]); err != nil {
		return f, err
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return f, errors.New("not a RIFF/WAVE file")
	}
	streamed := binary.LittleEndian.Uint32(riff[4:]) == 0 // written to a pipe
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return f, err
		}
		id, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		switch id {
		case "data":
			if f.Channels == 0 {
				return f, errors.New("no fmt chunk before the data")
			}
			// Writers that cannot seek leave a size near 2 or 4 GiB.
			f.DataSize = size
			if size >= 0x7FFFF000 && size <= 0x7FFFFFFF || size >= 0xFFFFF000 || size == 0 && streamed {
				f.DataSize = -1
			}
			return f, nil
		case "fmt ":
			var chunk [26]byte
			n := min(size, int64(len(chunk)))
			if n < 16 {
				return f, errors.New("fmt chunk too short")
			}
			if _, err := io.ReadFull(r, chunk[:n]); err != nil {
				return f, err
			}
			size -= n
			le := binary.LittleEndian
			code := le.Uint16(chunk[0:])
			if code == waveExtensible {
				code = le.Uint16(chunk[24:])
			}
			f.Channels, f.SampleRate, f.BitsPerSample = int(le.Uint16(chunk[2:])), int(le.Uint32(chunk[4:])), int(le.Uint16(chunk[14:]))
			if code != wavePCM || f.Channels == 0 || f.SampleRate == 0 || f.BitsPerSample == 0 {
				return f, fmt.Errorf("not uncompressed PCM (code %d, %d channels, %d Hz, %d bits)", code, f.Channels, f.SampleRate, f.BitsPerSample)
			}
		}
		// Chunks are padded to an even size.
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
			return f, err
		}
	}
}
