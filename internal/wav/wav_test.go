package wav_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

// strip passes stream through a Reader in pieces of n bytes.
func strip(r *wav.Reader, stream []byte, n int) (samples []byte, err error) {
	for piece := range slices.Chunk(stream, n) {
		s, err := r.Samples(piece)
		samples = append(samples, s...)
		if err != nil {
			return samples, err
		}
	}
	return samples, nil
}

// with puts a chunk before the chunk of the same header that is called at.
func with(header []byte, at, chunk string) []byte {
	i := bytes.Index(header, []byte(at))
	return slices.Concat(header[:i], []byte(chunk), header[i:])
}

func set16(header []byte, at int, v uint16) []byte {
	header = bytes.Clone(header)
	binary.LittleEndian.PutUint16(header[at:], v)
	return header
}

func TestReaderTakesTheHeaderOff(t *testing.T) {
	data := []byte("sixteen samples!")
	known, unknown := wav.Header(8000, len(data)), wav.Header(16000, wav.Unknown)
	long := "LIST\xb0\x0f\x00\x00" + string(make([]byte, 0xfb0))
	for _, tc := range []struct {
		name   string
		stream []byte
		format nls.WAVFormat
	}{
		{"size known", slices.Concat(known, data), nls.WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 16}},
		{"size unknown", slices.Concat(unknown, data), nls.WAVFormat{SampleRate: 16000, Channels: 1, BitsPerSample: 16, DataSize: -1}},
		{"chunk behind the data", slices.Concat(known, data, []byte("LIST\x04\x00\x00\x00abcd")), nls.WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 16}},
		{"chunk of odd size before", slices.Concat(with(known, "data", "LIST\x03\x00\x00\x00abc\x00"), data), nls.WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 16}},
		{"large chunk before", slices.Concat(with(known, "fmt ", long), data), nls.WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 16}},
		{"stereo", slices.Concat(set16(known, 22, 2), data), nls.WAVFormat{SampleRate: 8000, Channels: 2, BitsPerSample: 16, DataSize: 16}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1, 7, 43, 44, 45, 1000, len(tc.stream)} {
				var r wav.Reader
				samples, err := strip(&r, tc.stream, n)
				if err != nil || !bytes.Equal(samples, data) {
					t.Fatalf("pieces of %d: samples %q, error %v", n, samples, err)
				}
				if *r.Format != tc.format {
					t.Errorf("format %+v, want %+v", *r.Format, tc.format)
				}
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	good := wav.Header(16000, 100)
	for _, tc := range []struct {
		name   string
		stream []byte
		want   error
	}{
		{"pcm", make([]byte, 1000), wav.ErrInvalid},
		{"mp3", []byte("ID3\x04 and then something"), wav.ErrInvalid},
		{"float", set16(good, 20, 3), wav.ErrInvalid},
		{"no channels", set16(good, 22, 0), wav.ErrInvalid},
		{"no fmt chunk", slices.Concat(good[:12], good[36:]), wav.ErrInvalid},
		{"endless header", with(good, "data", "LIST\x00\x00\x00\x01"+string(make([]byte, 20<<10))), wav.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1, 100, len(tc.stream)} {
				var r wav.Reader
				samples, err := strip(&r, tc.stream, n)
				if !errors.Is(err, tc.want) || len(samples) != 0 {
					t.Fatalf("pieces of %d: samples %q, error %v, want %v", n, samples, err, tc.want)
				}
				if _, again := r.Samples(good); again != err {
					t.Errorf("then error %v, want the same", again)
				}
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add(wav.Header(16000, 4), uint8(3))
	f.Add(with(wav.Header(8000, wav.Unknown), "data", "LIST\x03\x00\x00\x00abc\x00"), uint8(1))
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff"), uint8(0))
	f.Fuzz(func(t *testing.T, stream []byte, n uint8) {
		var whole, pieces wav.Reader
		want, wantErr := whole.Samples(stream)
		got, err := strip(&pieces, stream, int(n)+1)
		if len(stream) == 0 {
			return
		}
		if !bytes.Equal(got, want) && err == nil || (err == nil) != (wantErr == nil) {
			t.Errorf("pieces: %d bytes, error %v; whole: %d bytes, error %v", len(got), err, len(want), wantErr)
		}
		if len(got) > len(stream) {
			t.Error("more samples than bytes")
		}
	})
}
