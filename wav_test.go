package nls_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
)

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

// long is the header of a file that may be longer than 4 GiB.
func long(id string, riffSize, dataSize uint64, size uint32) []byte {
	le := binary.LittleEndian
	ds64 := le.AppendUint64(le.AppendUint64(nil, riffSize), dataSize)
	ds64 = append(ds64, make([]byte, 12)...)
	b := chunk(id, math.MaxUint32, []byte("WAVE")...)
	b = append(b, chunk("ds64", uint32(len(ds64)), ds64...)...)
	b = append(b, fmtChunk(1, 1, 16000, 16)...)
	return append(b, chunk("data", size)...)
}

// id3 is an ID3v2 tag.
func id3(flags byte, body string) []byte {
	return append([]byte{'I', 'D', '3', 4, 0, flags, 0, 0, byte(len(body) >> 7), byte(len(body) & 0x7f)}, body...)
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
		{"written to a pipe, zero, in a file of the right size", riff(36, fmtChunk(1, 1, 16000, 16), chunk("data", 0)), nls.WAVFormat{16000, 1, 16, -1}},
		{"more than the file has", riff(1000, fmtChunk(1, 1, 16000, 16), chunk("data", 1001)), nls.WAVFormat{16000, 1, 16, -1}},
		{"as much as the file has", riff(1000, fmtChunk(1, 1, 16000, 16), chunk("data", 1000)), nls.WAVFormat{16000, 1, 16, 1000}},
		{"RF64", long("RF64", 5<<30+100, 5<<30, math.MaxUint32), nls.WAVFormat{16000, 1, 16, 5 << 30}},
		{"BW64", long("BW64", 1000, 900, math.MaxUint32), nls.WAVFormat{16000, 1, 16, 900}},
		{"RF64 of 4 GiB", long("RF64", 4<<30+100, 4<<30, math.MaxUint32), nls.WAVFormat{16000, 1, 16, 4 << 30}},
		{"RF64 that needs no ds64", long("RF64", 1000, 0, 900), nls.WAVFormat{16000, 1, 16, 900}},
		{"RF64, the size not known", long("RF64", 0, 0, math.MaxUint32), nls.WAVFormat{16000, 1, 16, -1}},
		{"RF64, a size that is none", long("RF64", math.MaxUint64, math.MaxUint64, math.MaxUint32), nls.WAVFormat{16000, 1, 16, -1}},
		{"RF64, more than the file has", long("RF64", 5<<30, 5<<30+1, math.MaxUint32), nls.WAVFormat{16000, 1, 16, -1}},
		{"RF64 without ds64", append([]byte("RF64\xff\xff\xff\xffWAVE"), append(fmtChunk(1, 1, 16000, 16), chunk("data", math.MaxUint32)...)...), nls.WAVFormat{16000, 1, 16, -1}},
		{"an ID3v2 tag", append(id3(0, "title"), riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4))...), nls.WAVFormat{16000, 1, 16, 4}},
		{"a large ID3v2 tag with a footer", append(append(id3(0x10, strings.Repeat("x", 300)), "3DI\x04\x00\x10\x00\x00\x02\x2c"...), riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4))...), nls.WAVFormat{16000, 1, 16, 4}},
		{"two ID3v2 tags", append(append(id3(0, ""), id3(0, "abc")...), riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4))...), nls.WAVFormat{16000, 1, 16, 4}},
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

// counting counts what is read of it.
type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// repeat is a Reader that repeats b for ever.
func repeat(b []byte) io.Reader {
	at := 0
	return readerFunc(func(p []byte) (int, error) {
		n := copy(p, b[at:])
		at = (at + n) % len(b)
		return n, nil
	})
}

func TestReadWAVHeaderGivesUp(t *testing.T) {
	effort.Long(t)
	head := riff(40, fmtChunk(1, 1, 16000, 16))
	data := chunk("data", 4)
	small := chunk("LIST", 3, 'a', 'b', 'c', 0)
	big := func(n int64) io.Reader {
		return io.MultiReader(bytes.NewReader(chunk("LIST", uint32(n))), io.LimitReader(repeat(make([]byte, 4096)), n))
	}
	for _, c := range []struct {
		name string
		in   io.Reader
		read int64 // at most; zero if the header is good
	}{
		{"999 chunks before the data", io.MultiReader(bytes.NewReader(head), bytes.NewReader(bytes.Repeat(small, 998)), bytes.NewReader(data)), 0},
		{"1,000 chunks", io.MultiReader(bytes.NewReader(head), bytes.NewReader(bytes.Repeat(small, 999)), bytes.NewReader(data)), 12100},
		{"chunks without end", io.MultiReader(bytes.NewReader(head), repeat(small)), 12100},
		{"empty chunks without end", io.MultiReader(bytes.NewReader(head), repeat(chunk("JUNK", 0))), 8100},
		{"64 MiB before the data", io.MultiReader(bytes.NewReader(head), big(64<<20), bytes.NewReader(data)), 0},
		{"more than 64 MiB", io.MultiReader(bytes.NewReader(head), bytes.NewReader(chunk("LIST", 64<<20+1)), repeat([]byte{0})), 100},
		{"64 MiB in two chunks and more", io.MultiReader(bytes.NewReader(head), big(32<<20), big(32<<20+2), repeat([]byte{0})), 33 << 20},
		{"a chunk of 4 GiB", io.MultiReader(bytes.NewReader(head), bytes.NewReader(chunk("LIST", math.MaxUint32)), repeat([]byte{0})), 100},
		{"zeros without end", io.MultiReader(bytes.NewReader(head), repeat([]byte{0})), 9000},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &counting{Reader: c.in}
			f, err := nls.ReadWAVHeader(in)
			if (err == nil) != (c.read == 0) || err != nil && errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %+v, %v", f, err)
			}
			if c.read > 0 && in.n > c.read {
				t.Errorf("read %d bytes before it gave up", in.n)
			}
		})
	}
}

func TestReadWAVHeaderReturnsTheErrorOfABrokenSource(t *testing.T) {
	boom := errors.New("boom")
	header := riff(40, fmtChunk(1, 1, 16000, 16), chunk("LIST", 40, make([]byte, 40)...), chunk("data", 4))
	for n := range len(header) {
		for _, want := range []error{boom, io.ErrUnexpectedEOF} {
			_, err := nls.ReadWAVHeader(io.MultiReader(bytes.NewReader(header[:n]), iotest.ErrReader(want)))
			if !errors.Is(err, want) {
				t.Errorf("%v after %d bytes: %v", want, n, err)
			}
		}
	}
}

// A sample rate above 2^31-1 would be below zero on 32 bit.
func TestReadWAVHeaderRefusesASampleRateThatIsNone(t *testing.T) {
	for rate, ok := range map[uint32]bool{math.MaxInt32: true, math.MaxInt32 + 1: false, math.MaxUint32: false} {
		f, err := nls.ReadWAVHeader(bytes.NewReader(riff(40, fmtChunk(1, 1, rate, 16), chunk("data", 4))))
		if (err == nil) != ok || ok && f.SampleRate != int(rate) {
			t.Errorf("%d Hz: %+v, %v", rate, f, err)
		}
	}
}

func FuzzReadWAVHeader(f *testing.F) {
	f.Add(riff(40, fmtChunk(1, 1, 16000, 16), chunk("data", 4)))
	f.Add(long("RF64", 1000, 900, math.MaxUint32))
	f.Add(append(id3(0x10, "0123456789"), riff(40)...))
	f.Add(riff(60, chunk("LIST", 3, 'a', 'b', 'c', 0), fmtChunk(0xFFFE, 1, 8000, 16), chunk("data", 0)))
	f.Fuzz(func(t *testing.T, in []byte) {
		w, err := nls.ReadWAVHeader(bytes.NewReader(in))
		if err == nil && (w.Channels <= 0 || w.SampleRate <= 0 || w.BitsPerSample <= 0 || w.DataSize < -1 || w.DataSize == 0) {
			t.Fatalf("accepted %+v", w)
		}
		pcm, o, err := nls.OpenWAV(iotest.OneByteReader(bytes.NewReader(in)))
		if err == nil && (o != w || o.Channels != 1) {
			t.Fatalf("opened %+v as %+v", w, o)
		}
		if err == nil {
			if n, err := io.Copy(io.Discard, pcm); err != nil || w.DataSize > 0 && n > w.DataSize {
				t.Fatalf("%+v has %d bytes, %v", w, n, err)
			}
		}
	})
}

func TestDataSizesThatCannotBeRightAreUnknown(t *testing.T) {
	for size, want := range map[uint32]int64{
		0: -1, 1: 1, 4: 4, 1 << 30: 1 << 30, 3 << 30: 3 << 30,
		0x7FEFFFFF: 0x7FEFFFFF, 0x7FF00000: -1, 0x7FFF0000: -1, 0x7FFFF000: -1, 0x7FFFFFDB: -1, 0x7FFFFFFF: -1,
		0x80000000: -1, 0x80000024: -1, 0x80100000: -1, 0x80100001: 0x80100001,
		0xFFEFFFFF: 0xFFEFFFFF, 0xFFF00000: -1, 0xFFFFFF00: -1, 0xFFFFFFDB: -1, 0xFFFFFFFF: -1,
	} {
		f, err := nls.ReadWAVHeader(bytes.NewReader(riff(math.MaxUint32, fmtChunk(1, 1, 16000, 16), chunk("data", size))))
		if err != nil || f.DataSize != want {
			t.Errorf("%#x: %d, %v; want %d", size, f.DataSize, err, want)
		}
	}
}

// The headers that programs write to pipes, and others that are met.
func TestOpenWAVReturnsTheSamplesAlone(t *testing.T) {
	samples := []byte("sixteen samples!")
	tail := chunk("id3 ", 5, 'I', 'D', '3', 3, 0, 0)
	list := chunk("LIST", 5, 'a', 'b', 'c', 'd', 'e', 0)
	files := map[string][]byte{
		"LIST before, id3 after": append(riff(100, list, fmtChunk(1, 1, 16000, 16), chunk("data", 16, samples...)), tail...),
		"RF64":                   append(append(long("RF64", 1000, 16, math.MaxUint32), samples...), tail...),
		"a tag":                  append(id3(0, "title"), append(riff(100, fmtChunk(1, 1, 16000, 16), chunk("data", 16, samples...)), tail...)...),
		"cut":                    riff(1000, fmtChunk(1, 1, 16000, 16), chunk("data", 900, samples...)),
		"a lie":                  riff(100, fmtChunk(1, 1, 16000, 16), chunk("data", 900, samples...)),
	}
	heads, err := filepath.Glob("testdata/wav/*.head")
	if err != nil || len(heads) < 5 {
		t.Fatal(heads, err)
	}
	for _, name := range heads {
		head, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = append(head, samples...)
	}
	for name, file := range files {
		for reader, r := range map[string]io.Reader{
			"bytes": iotest.OneByteReader(bytes.NewReader(file)), "data with EOF": iotest.DataErrReader(bytes.NewReader(file)),
			"halves": iotest.HalfReader(bytes.NewReader(file)),
		} {
			pcm, f, err := nls.OpenWAV(r)
			if err != nil || f.Channels != 1 || f.BitsPerSample != 16 || f.SampleRate != 16000 && name != "faad.head" {
				t.Fatalf("%s, %s: %+v, %v", name, reader, f, err)
			}
			if got, err := io.ReadAll(pcm); err != nil || string(got) != string(samples) {
				t.Errorf("%s, %s: %q, %v", name, reader, got, err)
			}
		}
	}
}

func TestOpenWAVSaysWhatItRefusesAndHowToConvertIt(t *testing.T) {
	file := func(code, channels uint16, rate uint32, bits uint16) string {
		return string(riff(40, fmtChunk(code, channels, rate, bits), chunk("data", 4, 1, 2, 3, 4)))
	}
	mp3 := "\xff\xfb\x90\x00" + strings.Repeat("x", 413)
	aac := "\xff\xf1\x50\x80\x02\x1f\xfc" + strings.Repeat("x", 9)
	for _, c := range []struct{ name, in, what, command string }{
		{"stereo", file(1, 2, 16000, 16), "2 channels", "-ac 1 -ar 16000"},
		{"8 bits", file(1, 1, 8000, 8), "8 bits", "-ar 8000"},
		{"24 bits", file(1, 1, 44100, 24), "24 bits", "in.wav"},
		{"float", file(3, 1, 16000, 32), "float", "pcm_s16le"},
		{"A-law", file(6, 1, 8000, 8), "A-law", "-ar 8000"},
		{"mu-law", file(7, 1, 8000, 8), "mu-law", "ffmpeg"},
		{"MP3 inside", file(0x55, 2, 44100, 0), "MP3", "ffmpeg"},
		{"anything inside", file(0x1234, 1, 8000, 4), "0x1234", "ffmpeg"},
		{"float, extensible", string(riff(40, fmtChunk(0xFFFE, 1, 16000, 32, append([]byte{22, 0, 32, 0, 4, 0, 0, 0, 3, 0}, make([]byte, 14)...)...), chunk("data", 4))), "float", "ffmpeg"},
		{"MP3", mp3 + mp3, "an MP3 file", "in.mp3"},
		{"MP3 with a tag", string(id3(0, "title")) + mp3, "an MP3 file", "in.mp3"},
		{"AAC", aac + aac, "an AAC file", "in.aac"},
		{"AAC with a tag", string(id3(0, "title")) + aac, "an AAC file", "in.aac"},
		{"Ogg", "OggS\x00\x02" + strings.Repeat("\x00", 40), "an Ogg file", `"opus"`},
		{"AMR", "#!AMR\nxxxxxxxxxxxxxx", "an AMR file", `"amr"`},
		{"FLAC", "fLaC\x00xxxxxxxxxxxxxx", "a FLAC file", "in.flac"},
		{"MP4", "\x00\x00\x00\x20ftypM4A xxxxxxxx", "an MP4 file", "in.m4a"},
		{"WebM", "\x1aE\xdf\xa3xxxxxxxxxxxxx", "WebM", "in.webm"},
		{"AIFF", "FORM\x00\x00\x00\x20AIFFxxxx", "an AIFF file", "in.aiff"},
		{"big-endian", "RIFX\x00\x00\x00\x20WAVExxxx", "big-endian", "in.wav"},
		{"AVI", string(chunk("RIFF", 100, []byte("AVI LIST")...)), `"AVI "`, "in.avi"},
		{"text", "This is no audio at all.", "not a WAV file", ""},
	} {
		pcm, f, err := nls.OpenWAV(strings.NewReader(c.in))
		var e *nls.ParamError
		if pcm != nil || f != (nls.WAVFormat{}) || !errors.As(err, &e) || !strings.Contains(e.Reason, c.what) || !strings.Contains(e.Reason, c.command) {
			t.Errorf("%s: %v, %+v, %v", c.name, pcm, f, err)
		}
	}
	for _, rate := range []uint32{8000, 22050, 48000} { // which a synthesis has
		if _, _, err := nls.OpenWAV(strings.NewReader(file(1, 1, rate, 16))); err != nil {
			t.Errorf("%d Hz: %v", rate, err)
		}
	}
}

func TestAnEmptyFileIsAnError(t *testing.T) {
	_, _, err := nls.OpenWAV(strings.NewReader(""))
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "empty") {
		t.Errorf("OpenWAV = %v", err)
	}
	for name, in := range map[string][]byte{
		"a tag":             id3(0, "title"),
		"a tag that is cut": id3(0, "title")[:12],
		"tags without end":  bytes.Repeat(id3(0, ""), 2000),
		"short ds64":        append(chunk("RF64", math.MaxUint32, []byte("WAVE")...), chunk("ds64", 8, make([]byte, 8)...)...),
	} {
		if _, _, err := nls.OpenWAV(bytes.NewReader(in)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	in := &counting{Reader: repeat(id3(0, ""))}
	if _, _, err := nls.OpenWAV(in); err == nil || in.n > 12000 {
		t.Errorf("tags without end: %v after %d bytes", err, in.n)
	}
}

// memory is a file in memory, of which the first bytes are somebody else's.
type memory struct {
	b  []byte
	at int64

	failSeek, failWrite error
	writes              int // until failWrite
}

func (m *memory) Write(p []byte) (int, error) {
	if m.writes--; m.failWrite != nil && m.writes < 0 {
		return 0, m.failWrite
	}
	if grow := int(m.at) + len(p) - len(m.b); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	m.at += int64(copy(m.b[m.at:], p))
	return len(p), nil
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	if m.failSeek != nil {
		return 0, m.failSeek
	}
	if whence == io.SeekStart {
		m.at = 0
	}
	m.at += offset
	return m.at, nil
}

// plain is a Writer that cannot seek.
type plain struct{ io.Writer }

func writeWAV(t *testing.T, w io.Writer, f nls.WAVFormat, pieces ...string) error {
	t.Helper()
	ww, err := nls.NewWAVWriter(w, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if n, err := ww.Write([]byte(p)); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
	}
	err = ww.Close()
	if again := ww.Close(); again != nil {
		t.Errorf("the second Close: %v", again)
	}
	if _, err := ww.Write([]byte("ab")); err == nil {
		t.Error("a Write after Close")
	}
	return err
}

func TestWAVWriterLeavesRightSizesWhereItCanSeek(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      nls.WAVFormat
		pieces []string
		size   int64 // in the end, seen without seeking
		pad    string
	}{
		{"size not known", nls.WAVFormat{SampleRate: 16000}, []string{"ab", "cdef"}, -1, ""},
		{"size known", nls.WAVFormat{SampleRate: 16000, DataSize: 6}, []string{"abc", "def"}, 6, ""},
		{"nothing", nls.WAVFormat{SampleRate: 8000, DataSize: -1}, nil, -1, ""},
		{"half a sample", nls.WAVFormat{SampleRate: 8000}, []string{"abc"}, -1, "\x00"},
		{"stereo", nls.WAVFormat{SampleRate: 48000, Channels: 2, BitsPerSample: 16}, []string{"abcd"}, -1, ""},
	} {
		samples := strings.Join(c.pieces, "")
		want := nls.WAVFormat{c.f.SampleRate, max(c.f.Channels, 1), 16, int64(len(samples))}
		check := func(how string, file []byte, size int64, pad string) {
			t.Helper()
			r := bytes.NewReader(file)
			got, err := nls.ReadWAVHeader(r)
			want.DataSize = size
			if size == 0 {
				want.DataSize = -1 // as a reader has it
			}
			if rest, _ := io.ReadAll(r); err != nil || got != want || string(rest) != samples+pad {
				t.Errorf("%s, %s: %+v, %v; then %q", c.name, how, got, err, rest)
			}
			riffSize := binary.LittleEndian.Uint32(file[4:])
			if byteRate := binary.LittleEndian.Uint32(file[28:]); byteRate != uint32(2*want.Channels*want.SampleRate) || size >= 0 && int(riffSize) != len(file)-8 {
				t.Errorf("%s, %s: RIFF size %d of %d, %d bytes a second", c.name, how, riffSize, len(file), byteRate)
			}
		}
		m := &memory{b: []byte("before"), at: 6}
		if err := writeWAV(t, m, c.f, c.pieces...); err != nil || m.at != int64(len(m.b)) {
			t.Errorf("%s: Close = %v, at %d of %d", c.name, err, m.at, len(m.b))
		}
		check("a seeker", m.b[6:], int64(len(samples)), c.pad)

		name := filepath.Join(t.TempDir(), "x.wav")
		file, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeWAV(t, file, c.f, c.pieces...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		file.Close()
		written, _ := os.ReadFile(name)
		check("a file", written, int64(len(samples)), c.pad)

		var b bytes.Buffer
		if err := writeWAV(t, plain{&b}, c.f, c.pieces...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		check("a pipe", b.Bytes(), c.size, "")

		m = &memory{failSeek: errors.New("this is a pipe")}
		if err := writeWAV(t, m, c.f, c.pieces...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		check("a seeker that cannot", m.b, c.size, "")
	}
}

// A file that is opened for appending seeks, but writes to its end all the same.
func TestWAVWriterDoesNotSpoilAFileThatIsAppendedTo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.wav")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := writeWAV(t, file, nls.WAVFormat{SampleRate: 16000}, "abcd"); err != nil {
		t.Error(err)
	}
	written, _ := os.ReadFile(name)
	if f, err := nls.ReadWAVHeader(bytes.NewReader(written)); err != nil || f.DataSize != -1 || len(written) != 48 {
		t.Errorf("%+v, %v, %d bytes", f, err, len(written))
	}
}

func TestWAVWriterFails(t *testing.T) {
	boom := errors.New("boom")
	for _, f := range []nls.WAVFormat{
		{}, {SampleRate: -1}, {SampleRate: math.MaxInt32}, {SampleRate: 16000, Channels: -1}, {SampleRate: 16000, Channels: 1 << 16},
		{SampleRate: 16000, BitsPerSample: 8}, {SampleRate: 16000, DataSize: math.MaxUint32},
	} {
		var b bytes.Buffer
		if _, err := nls.NewWAVWriter(&b, f); !errors.Is(err, nls.ErrInvalidParameter) || b.Len() > 0 {
			t.Errorf("%+v: %v", f, err)
		}
	}
	good := nls.WAVFormat{SampleRate: 16000}
	if _, err := nls.NewWAVWriter(&memory{failWrite: boom}, good); !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "nls: ") {
		t.Errorf("NewWAVWriter = %v", err)
	}
	m := &memory{failWrite: boom, writes: 2}
	w, err := nls.NewWAVWriter(m, good)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("ab"))
	if n, err := w.Write([]byte("cd")); n != 0 || err != boom {
		t.Errorf("Write = %d, %v", n, err)
	}
	if err := w.Close(); !errors.Is(err, boom) {
		t.Errorf("Close = %v", err)
	}
	if err := writeWAV(t, plain{io.Discard}, nls.WAVFormat{SampleRate: 16000, DataSize: 6}, "abcd"); err == nil {
		t.Error("less than was promised is no error")
	}
	short := writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil })
	if _, err := nls.NewWAVWriter(short, good); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a short write: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
