package nls_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"testing"

	"github.com/nlsgo/nls"
)

// Players that know only the canonical header find all that they need in it.
func TestWAVWriterWritesTheCanonicalHeader(t *testing.T) {
	for _, c := range []struct {
		name string
		f    nls.WAVFormat
		want string
	}{
		{"stereo", nls.WAVFormat{SampleRate: 44100, Channels: 2, DataSize: 8},
			"RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x44\xac\x00\x00\x10\xb1\x02\x00\x04\x00\x10\x00data\x08\x00\x00\x00"},
		{"one byte, and one of padding", nls.WAVFormat{SampleRate: 8000, DataSize: 1},
			"RIFF\x26\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x01\x00\x00\x00"},
		// As the service has it: the greatest signed RIFF size.
		{"a size that is not known", nls.WAVFormat{SampleRate: 8000},
			"RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\xdb\xff\xff\x7f"},
	} {
		var b bytes.Buffer
		if _, err := nls.NewWAVWriter(plain{&b}, c.f); err != nil || b.String() != c.want {
			t.Errorf("%s: %v\n%q\n%q", c.name, err, b.String(), c.want)
		}
	}
}

func TestWAVWriterTakesAFormatUpToItsEnds(t *testing.T) {
	const most = 1<<32 - 1 - 44 // so that the size of the file fits into 32 bits
	for _, c := range []struct {
		param string // that is refused, or ""
		f     nls.WAVFormat
	}{
		{"", nls.WAVFormat{SampleRate: 1}},
		{"", nls.WAVFormat{SampleRate: 1 << 20}},
		{"", nls.WAVFormat{SampleRate: 1, Channels: 1 << 10}},
		{"", nls.WAVFormat{SampleRate: 1, DataSize: most}},
		{"SampleRate", nls.WAVFormat{}},
		{"SampleRate", nls.WAVFormat{SampleRate: 1<<20 + 1}},
		{"Channels", nls.WAVFormat{SampleRate: 1, Channels: -1}},
		{"Channels", nls.WAVFormat{SampleRate: 1, Channels: 1<<10 + 1}},
		{"BitsPerSample", nls.WAVFormat{SampleRate: 1, BitsPerSample: 24}},
		{"DataSize", nls.WAVFormat{SampleRate: 1, DataSize: most + 1}},
	} {
		if _, err := nls.NewWAVWriter(io.Discard, c.f); paramOf(err) != cmp.Or(c.param, "<nil>") {
			t.Errorf("%+v: %v; want a bad %s", c.f, err, c.param)
		}
	}
}

// What was promised matters where it cannot be mended, and there alone.
func TestWAVWriterMendsAPromiseWhereItCanSeek(t *testing.T) {
	f := nls.WAVFormat{SampleRate: 8000, DataSize: 6}
	for _, at := range []int{0, 10} {
		m := &memory{b: make([]byte, at), at: int64(at)}
		err := writeWAV(t, m, f, "abcd")
		got, readErr := nls.ReadWAVHeader(bytes.NewReader(m.b[at:]))
		if err != nil || readErr != nil || got.DataSize != 4 {
			t.Errorf("Close = %v; then %+v, %v", err, got, readErr)
		}
	}
	if err := writeWAV(t, plain{io.Discard}, nls.WAVFormat{SampleRate: 8000, DataSize: 1}, "abcd"); err == nil {
		t.Error("more than was promised is no error")
	}
}

// header is a file of which no more than the first bytes are kept.
type header struct {
	b  [44]byte
	at int64
}

func (h *header) Write(p []byte) (int, error) {
	if h.at < int64(len(h.b)) {
		copy(h.b[h.at:], p)
	}
	h.at += int64(len(p))
	return len(p), nil
}

func (h *header) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		h.at = 0
	}
	h.at += offset
	return h.at, nil
}

// It must not claim a size that is the true one less 4 GiB.
func TestAWAVFileThatIsTooLongForItsHeaderHasNoSizeInIt(t *testing.T) {
	const most = 1<<32 - 1 - 44
	piece := make([]byte, 1<<24)
	for size, want := range map[int64]string{most: "data\xd3\xff\xff\xff", most + 1: "data\xdb\xff\xff\x7f"} {
		h := new(header)
		w, err := nls.NewWAVWriter(h, nls.WAVFormat{SampleRate: 8000})
		if err != nil {
			t.Fatal(err)
		}
		for left := size; left > 0; {
			n, err := w.Write(piece[:min(left, int64(len(piece)))])
			if left -= int64(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || string(h.b[36:]) != want {
			t.Errorf("%d bytes: %q, %v", size, h.b[36:], err)
		}
	}
}

// A file whose header is spoiled says so, wherever the target fails.
func TestWAVWriterReturnsTheErrorThatSpoilsTheHeader(t *testing.T) {
	boom := errors.New("boom")
	for writes := 2; writes < 4; writes++ { // after the header and the samples: padding, header
		m := &memory{failWrite: boom, writes: writes}
		w, err := nls.NewWAVWriter(m, nls.WAVFormat{SampleRate: 8000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); !errors.Is(err, boom) {
			t.Errorf("Close = %v at write %d", err, writes)
		}
	}
	m := &memory{}
	w, err := nls.NewWAVWriter(m, nls.WAVFormat{SampleRate: 8000})
	if err != nil {
		t.Fatal(err)
	}
	m.failSeek = boom
	if err := w.Close(); !errors.Is(err, boom) {
		t.Errorf("Close = %v where Seek fails", err)
	}
}
