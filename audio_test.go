package nls_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
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
	for param, opts := range map[string]nls.PumpOptions{"BytesPerSecond": {BytesPerSecond: -1}, "ChunkSize": {ChunkSize: -1}, "Speed": {Speed: math.NaN()}} {
		n, err := nls.Pump(t.Context(), &sink{}, strings.NewReader("ab"), opts)
		if e, ok := errors.AsType[*nls.ParamError](err); n != 0 || !ok || e.Param != param {
			t.Errorf("%+v: %d, %v", opts, n, err)
		}
	}
}

// A sample of 16 bits is not cut in two, whatever the rate; a last byte is sent.
func TestPumpCutsBetweenSamples(t *testing.T) {
	for rate, chunk := range map[int]int{1: 2, 29: 2, 30: 2, 40: 4, 50: 4, 22010: 2200, 44110: 4410, 44130: 4412, 163840: 16384, 163860: 16384} {
		var s sink
		n, err := nls.Pump(t.Context(), &s, bytes.NewReader(make([]byte, 2*chunk+1)), nls.PumpOptions{BytesPerSecond: rate, Speed: -1})
		if n != int64(2*chunk+1) || err != nil || !slices.Equal(s.sizes, []int{chunk, chunk, 1}) {
			t.Errorf("%d bytes per second: chunks of %v, want %d; %v", rate, s.sizes, chunk, err)
		}
	}
}

// readerFunc makes a function a Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// withLast makes the last Read of r return its data together with err.
func withLast(r io.Reader, err error) io.Reader {
	return iotest.DataErrReader(io.MultiReader(r, iotest.ErrReader(err)))
}

// cutGzip is the start of a compressed file, as a broken download leaves it.
func cutGzip(t *testing.T, audio []byte) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(audio)
	w.Close()
	r, err := gzip.NewReader(bytes.NewReader(b.Bytes()[:b.Len()-9])) // without the end of the data and the checksum
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A part of the audio is not the audio. io.ErrUnexpectedEOF is what io.ReadFull
// says of a short tail, but also what many sources say when they are cut.
func TestPumpReturnsTheErrorOfABrokenSource(t *testing.T) {
	boom, audio := errors.New("boom"), bytes.Repeat([]byte{1, 2, 3}, 3200)
	for _, c := range []struct {
		name string
		src  io.Reader
		sent int64
		want error
	}{
		{"cut before the start", iotest.ErrReader(io.ErrUnexpectedEOF), 0, io.ErrUnexpectedEOF},
		{"cut in the middle of a chunk", io.MultiReader(bytes.NewReader(audio[:4000]), iotest.ErrReader(io.ErrUnexpectedEOF)), 4000, io.ErrUnexpectedEOF},
		{"cut between two chunks", io.MultiReader(bytes.NewReader(audio[:6400]), iotest.ErrReader(io.ErrUnexpectedEOF)), 6400, io.ErrUnexpectedEOF},
		{"cut, said with the last bytes", withLast(bytes.NewReader(audio[:4000]), io.ErrUnexpectedEOF), 4000, io.ErrUnexpectedEOF},
		{"cut, said with the last bytes of a chunk", withLast(bytes.NewReader(audio[:3200]), io.ErrUnexpectedEOF), 3200, io.ErrUnexpectedEOF},
		{"a cut gzip file", cutGzip(t, audio), -1, io.ErrUnexpectedEOF},
		{"an error said with the last bytes, once", withLast(bytes.NewReader(audio[:3200]), boom), 3200, boom},
		{"an EOF said with the last bytes", withLast(bytes.NewReader(audio[:4000]), io.EOF), 4000, nil},
		{"an EOF that is part of another error", iotest.ErrReader(fmt.Errorf("disk: %w", io.EOF)), 0, io.EOF},
		{"a count below zero", readerFunc(func([]byte) (int, error) { return -1, nil }), 0, errAny},
		{"a count beyond the buffer", readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }), 0, errAny},
		{"a Read that ends its goroutine", readerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), 0, errAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s sink
			n, err := nls.Pump(t.Context(), &s, c.src, nls.PumpOptions{Speed: -1})
			if c.want == errAny && err != nil && strings.HasPrefix(err.Error(), "nls: read audio: ") {
				err = errAny
			}
			if !errors.Is(err, c.want) || c.sent >= 0 && n != c.sent || n != int64(len(s.data)) {
				t.Errorf("Pump = %d, %v; want %d, %v", n, err, c.sent, c.want)
			}
			if !bytes.Equal(s.data, audio[:len(s.data)]) {
				t.Error("other bytes arrived")
			}
		})
	}
}

var errAny = errors.New("any error")

func TestAReaderThatReturnsNothingAHundredTimesMakesNoProgress(t *testing.T) {
	empty := func(n int) io.Reader { // n times in a row, before each of three pieces and the end
		reads := 0
		return readerFunc(func(p []byte) (int, error) {
			reads++
			switch {
			case reads%(n+1) != 0:
				return 0, nil
			case reads == 4*(n+1):
				return 0, io.EOF
			}
			return copy(p, "ab"), nil
		})
	}
	for n, want := range map[int]error{99: nil, 100: io.ErrNoProgress} {
		var s sink
		if _, err := nls.Pump(t.Context(), &s, empty(n), nls.PumpOptions{}); !errors.Is(err, want) || err == nil && string(s.data) != "ababab" {
			t.Errorf("%d empty Reads: sent %q, %v", n, s.data, err)
		}
	}
	header := riff(40, fmtChunk(1, 1, 16000, 16), chunk("LIST", 40, make([]byte, 40)...), chunk("data", 4))
	for n := range len(header) {
		src := io.MultiReader(bytes.NewReader(header[:n]), readerFunc(func([]byte) (int, error) { return 0, nil }))
		if _, err := nls.ReadWAVHeader(src); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("ReadWAVHeader, after %d bytes: %v", n, err)
		}
	}
}

func TestPumpLooksAtTheContextWhileNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		src := readerFunc(func([]byte) (int, error) {
			reads++
			time.Sleep(time.Second)
			return 0, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := nls.Pump(ctx, &sink{}, src, nls.PumpOptions{})
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > 2600*time.Millisecond {
			t.Errorf("Pump = %v after %v", err, took)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if reads != 3 {
			t.Errorf("%d Reads, the last %d after Pump had ended", reads, reads-3)
		}
	})
}

func TestPumpReadsNothingWhenTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := bytes.NewReader(make([]byte, 10))
	if n, err := nls.Pump(ctx, &sink{}, src, nls.PumpOptions{}); n != 0 || !errors.Is(err, context.Canceled) || src.Len() != 10 {
		t.Errorf("Pump = %d, %v; %d bytes left", n, err, src.Len())
	}
}

// endingSink is a sender that can end.
type endingSink struct {
	sink
	done chan struct{}
	end  error // of SendAudio, once done is closed
}

func (s *endingSink) Done() <-chan struct{} { return s.done }

func (s *endingSink) SendAudio(data []byte) error {
	select {
	case <-s.done:
		return s.end
	default:
		return s.sink.SendAudio(data)
	}
}

func TestPumpEndsWhileAReadDoesNotReturn(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, c := range []struct {
		name      string
		end, want error
		pacing    bool // Pump waits for the time of a chunk, and not in Read
	}{
		{"when the context does", nil, context.Canceled, false},
		{"when the session fails", nls.ErrPingTimeout, nls.ErrPingTimeout, false},
		{"when the service has completed the task", nls.ErrCompleted, nil, false},
		{"when the context does, between chunks", nil, context.Canceled, true},
		{"when the session fails, between chunks", nls.ErrPingTimeout, nls.ErrPingTimeout, true},
		{"when the service has completed the task, between chunks", nls.ErrCompleted, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				s := &endingSink{done: make(chan struct{}), end: c.end}
				const after = 10 * time.Second
				time.AfterFunc(after, func() {
					if c.end == nil {
						cancel()
					} else {
						close(s.done)
					}
				})
				stuck, opts := make(chan struct{}), nls.PumpOptions{}
				reads := 0
				src := io.MultiReader(bytes.NewReader(make([]byte, 3200)), readerFunc(func([]byte) (int, error) {
					reads++
					<-stuck
					return 1, nil
				}))
				if c.pacing {
					src, opts.ChunkSize = bytes.NewReader(make([]byte, 20<<20)), 16<<20 // 9 minutes
				}
				begin := time.Now()
				n, err := nls.Pump(ctx, s, src, opts)
				if took := time.Since(begin) - after; took < 0 || took > 100*time.Millisecond {
					t.Errorf("took %v more than it had to", took)
				}
				if sent := map[bool]int64{false: 3200, true: 16 << 20}[c.pacing]; n != sent || !errors.Is(err, c.want) {
					t.Errorf("Pump = %d, %v; want %d, %v", n, err, sent, c.want)
				}
				close(stuck) // the bubble waits for the goroutine of the Read
				synctest.Wait()
				if reads > 1 {
					t.Errorf("%d Reads after the end", reads-1)
				}
			})
		})
	}
	t.Run("but not for a Done that means something else", func(t *testing.T) {
		s := &endingSink{done: make(chan struct{})}
		close(s.done)
		if n, err := nls.Pump(t.Context(), s, bytes.NewReader(make([]byte, 9600)), nls.PumpOptions{Speed: -1}); n != 9600 || err != nil {
			t.Errorf("Pump = %d, %v", n, err)
		}
	})
}

// Most Reads return soon. After those the caller has the source for itself again.
func TestPumpWaitsForAReadThatReturnsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		reading := false
		_, err := nls.Pump(ctx, &sink{}, readerFunc(func(p []byte) (int, error) {
			reading = true
			cancel()
			time.Sleep(20 * time.Millisecond)
			reading = false
			return len(p), nil
		}), nls.PumpOptions{})
		if !errors.Is(err, context.Canceled) || reading {
			t.Errorf("Pump = %v; still in a Read: %v", err, reading)
		}
	})
}

func TestOptionsOfAnySizeNeitherPanicNorOverflow(t *testing.T) {
	hour := 100 * time.Hour
	for _, c := range []struct {
		name string
		opts nls.PumpOptions
		want time.Duration // for two chunks; hour for more than that
		err  error
	}{
		{"the greatest rate", nls.PumpOptions{BytesPerSecond: math.MaxInt}, 0, nil},
		{"the greatest rate and speed", nls.PumpOptions{BytesPerSecond: math.MaxInt, Speed: math.MaxFloat64}, 0, nil},
		{"the least rate", nls.PumpOptions{BytesPerSecond: 1}, 2 * time.Second, nil},
		{"the least rate and speed", nls.PumpOptions{BytesPerSecond: 1, Speed: math.SmallestNonzeroFloat64}, hour, nil},
		{"the greatest speed", nls.PumpOptions{Speed: math.MaxFloat64}, 0, nil},
		{"an infinite speed", nls.PumpOptions{Speed: math.Inf(1)}, 0, nil},
		{"infinitely below zero", nls.PumpOptions{Speed: math.Inf(-1)}, 0, nil},
		{"the least speed", nls.PumpOptions{Speed: math.SmallestNonzeroFloat64}, hour, nil},
		{"a tiny speed", nls.PumpOptions{Speed: 1e-12}, hour, nil},
		{"no number", nls.PumpOptions{Speed: math.NaN()}, 0, nls.ErrInvalidParameter},
		{"the greatest chunk", nls.PumpOptions{ChunkSize: math.MaxInt}, 0, nls.ErrInvalidParameter},
		{"a chunk above 16 MiB", nls.PumpOptions{ChunkSize: 16<<20 + 1}, 0, nls.ErrInvalidParameter},
		{"a chunk of 16 MiB at the least speed", nls.PumpOptions{ChunkSize: 16 << 20, Speed: math.SmallestNonzeroFloat64}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), hour)
				defer cancel()
				begin := time.Now()
				size := 4
				if c.opts.BytesPerSecond != 1 {
					size = 40 << 10
				}
				var s sink
				_, err := nls.Pump(ctx, &s, bytes.NewReader(make([]byte, size)), c.opts)
				want := c.err
				if c.want == hour {
					want = context.DeadlineExceeded
				}
				if took := time.Since(begin); !errors.Is(err, want) || took != c.want && took.Truncate(time.Second) != c.want {
					t.Errorf("Pump = %v after %v, want %v after %v", err, took, want, c.want)
				}
				if c.opts.BytesPerSecond == math.MaxInt && slices.Max(s.sizes) > 16<<10 {
					t.Errorf("chunks of %d bytes", slices.Max(s.sizes))
				}
			})
		})
	}
}
