package nls_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// sink records what is sent and when.
type sink struct {
	sizes []int
	at    []time.Duration
	start time.Time
	data  []byte
	err   error // of the send number failAt
	fail  int
}

func (s *sink) SendAudio(data []byte) error {
	if s.err != nil && len(s.sizes) == s.fail {
		return s.err
	}
	if s.start.IsZero() {
		s.start = time.Now()
	}
	s.sizes = append(s.sizes, len(data))
	s.at = append(s.at, time.Since(s.start))
	s.data = append(s.data, data...)
	return nil
}

func TestPumpSendsAllOfItInEqualChunksAtTheSpeedOfSpeech(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   nls.PumpOptions
		chunk  int
		period time.Duration
	}{
		{"defaults", nls.PumpOptions{}, 3200, 100 * time.Millisecond},
		{"8 kHz", nls.PumpOptions{BytesPerSecond: 16000}, 1600, 100 * time.Millisecond},
		{"20 ms chunks", nls.PumpOptions{ChunkSize: 640}, 640, 20 * time.Millisecond},
		{"double speed", nls.PumpOptions{Speed: 2}, 3200, 50 * time.Millisecond},
		{"no pacing", nls.PumpOptions{Speed: -1}, 3200, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				audio := bytes.Repeat([]byte{1, 2, 3}, 3333)
				var s sink
				n, err := nls.Pump(t.Context(), &s, iotest.HalfReader(bytes.NewReader(audio)), c.opts)
				if n != int64(len(audio)) || err != nil {
					t.Fatalf("Pump = %d, %v", n, err)
				}
				if !bytes.Equal(s.data, audio) {
					t.Error("other bytes arrived")
				}
				for i := range s.sizes {
					if i < len(s.sizes)-1 && s.sizes[i] != c.chunk {
						t.Errorf("chunk %d has %d bytes, want %d", i, s.sizes[i], c.chunk)
					}
					if want := time.Duration(i) * c.period; s.at[i] != want {
						t.Errorf("chunk %d at %v, want %v", i, s.at[i], want)
					}
				}
			})
		})
	}
}

func TestPumpDoesNotBurstAfterASourceThatStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() {
			w.Write(make([]byte, 3200))
			time.Sleep(time.Minute)
			w.Write(make([]byte, 32000*5))
			w.Close()
		}()
		var s sink
		if _, err := nls.Pump(t.Context(), &s, r, nls.PumpOptions{}); err != nil {
			t.Fatal(err)
		}
		// 5 s of audio, of which at most one second may come in a burst.
		if d := s.at[len(s.at)-1] - s.at[1]; d < 3800*time.Millisecond {
			t.Errorf("5 s of audio sent in %v", d)
		}
	})
}

func TestPumpEnds(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		src  io.Reader
		sink sink
		sent int64
		want error
	}{
		{"quietly when the service has completed", bytes.NewReader(make([]byte, 9600)), sink{err: nls.ErrCompleted, fail: 2}, 6400, nil},
		{"with the error of the sender", bytes.NewReader(make([]byte, 9600)), sink{err: nls.ErrShutdown, fail: 1}, 3200, nls.ErrShutdown},
		{"with the error of the source, after what came before it", io.MultiReader(strings.NewReader("abcd"), iotest.ErrReader(boom)), sink{}, 4, boom},
		{"at once without audio", strings.NewReader(""), sink{}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := nls.Pump(t.Context(), &c.sink, c.src, nls.PumpOptions{Speed: -1})
			if n != c.sent || !errors.Is(err, c.want) {
				t.Errorf("Pump = %d, %v; want %d, %v", n, err, c.sent, c.want)
			}
		})
	}
	t.Run("when the context does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
			defer cancel()
			var s sink
			n, err := nls.Pump(ctx, &s, bytes.NewReader(make([]byte, 1<<20)), nls.PumpOptions{})
			if n != 3*3200 || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Pump = %d, %v", n, err)
			}
		})
	})
	for _, opts := range []nls.PumpOptions{{BytesPerSecond: -1}, {ChunkSize: -1}} {
		if _, err := nls.Pump(t.Context(), &sink{}, strings.NewReader("ab"), opts); !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

// chunk is a RIFF chunk.
func chunk(id string, size uint32, body ...byte) []byte {
	b := append([]byte(id), binary.LittleEndian.AppendUint32(nil, size)...)
	return append(b, body...)
}

func fmtChunk(code, channels uint16, rate uint32, bits uint16, extra ...byte) []byte {
	le := binary.LittleEndian
	var b []byte
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, channels)
	b = le.AppendUint32(b, rate)
	b = le.AppendUint32(b, rate*uint32(channels)*uint32(bits)/8)
	b = le.AppendUint16(b, channels*bits/8)
	b = le.AppendUint16(b, bits)
	b = append(b, extra...)
	return chunk("fmt ", uint32(len(b)), b...)
}

func riff(size uint32, chunks ...[]byte) []byte {
	return append(chunk("RIFF", size, []byte("WAVE")...), bytes.Join(chunks, nil)...)
}

func TestReadWAVHeaderLeavesTheReaderAtTheFirstSample(t *testing.T) {
	extensible := fmtChunk(0xFFFE, 1, 16000, 16, append([]byte{22, 0, 16, 0, 4, 0, 0, 0, 1, 0}, make([]byte, 14)...)...)
	for _, c := range []struct {
		name string
		in   []byte
		want nls.WAVFormat
	}{
		{"canonical", riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4)), nls.WAVFormat{16000, 1, 16, 4}},
		{"8 kHz stereo", riff(40, fmtChunk(1, 2, 8000, 16), chunk("data", 4)), nls.WAVFormat{8000, 2, 16, 4}},
		{"other chunks, one of odd size", riff(60, chunk("LIST", 3, 'a', 'b', 'c', 0), fmtChunk(1, 1, 8000, 16), chunk("fact", 4, 1, 2, 3, 4), chunk("data", 4)), nls.WAVFormat{8000, 1, 16, 4}},
		{"extensible", riff(60, extensible, chunk("data", 4)), nls.WAVFormat{16000, 1, 16, 4}},
		{"written to a pipe, 0xFFFFFFFF", riff(0xFFFFFFFF, fmtChunk(1, 1, 16000, 16), chunk("data", 0xFFFFFFFF)), nls.WAVFormat{16000, 1, 16, -1}},
		{"written to a pipe, 0x7FFFFFFF", riff(0x7FFFFFFF, fmtChunk(1, 1, 16000, 16), chunk("data", 0x7FFFFFDB)), nls.WAVFormat{16000, 1, 16, -1}},
		{"written to a pipe, zero", riff(0, fmtChunk(1, 1, 16000, 16), chunk("data", 0)), nls.WAVFormat{16000, 1, 16, -1}},
		{"no samples", riff(36, fmtChunk(1, 1, 16000, 16), chunk("data", 0)), nls.WAVFormat{16000, 1, 16, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := bytes.NewReader(append(c.in, "tail"...))
			got, err := nls.ReadWAVHeader(iotest.OneByteReader(r))
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, c.want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "tail" {
				t.Errorf("the reader is at %q", rest)
			}
		})
	}
}

func TestReadWAVHeaderRefusesWhatIsNotPCM(t *testing.T) {
	good := riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4))
	for n := range len(good) {
		if _, err := nls.ReadWAVHeader(bytes.NewReader(good[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for name, in := range map[string][]byte{
		"not RIFF":       []byte("OggS00000000000000000000000"),
		"not WAVE":       chunk("RIFF", 4, []byte("AVI ")...),
		"mu-law":         riff(40, fmtChunk(7, 1, 8000, 8), chunk("data", 4)),
		"no channels":    riff(40, fmtChunk(1, 0, 8000, 16), chunk("data", 4)),
		"data first":     riff(40, chunk("data", 4)),
		"short fmt":      riff(40, chunk("fmt ", 8, make([]byte, 8)...), chunk("data", 4)),
		"no sample rate": riff(40, fmtChunk(1, 1, 0, 16), chunk("data", 4)),
	} {
		if _, err := nls.ReadWAVHeader(bytes.NewReader(in)); err == nil || !strings.HasPrefix(err.Error(), "nls: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadWAVHeader(f *testing.F) {
	f.Add(riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4)))
	f.Add(riff(60, chunk("LIST", 3, 'a', 'b', 'c', 0), fmtChunk(0xFFFE, 1, 8000, 16), chunk("data", 0)))
	f.Fuzz(func(t *testing.T, in []byte) {
		w, err := nls.ReadWAVHeader(bytes.NewReader(in))
		if err == nil && (w.Channels <= 0 || w.SampleRate <= 0 || w.BitsPerSample <= 0 || w.DataSize < -1) {
			t.Fatalf("accepted %+v", w)
		}
	})
}
