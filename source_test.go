package nls

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// wavOf is a WAV file of the format, with size bytes of samples by its header.
func wavOf(t *testing.T, f WAVFormat, samples string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := NewWAVWriter(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String() + samples
}

func TestWhatIsSentOfAWAVFile(t *testing.T) {
	good := WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 4}
	with := func(change func(*WAVFormat)) WAVFormat { f := good; change(&f); return f }
	float := []byte(wavOf(t, good, "abcd"))
	float[20] = 3 // WAVE_FORMAT_IEEE_FLOAT
	eight := []byte(wavOf(t, good, "abcd"))
	eight[34] = 8
	for _, c := range []struct {
		name    string
		s       source // without r
		file    string
		anyRate bool
		sent    string // behind a header, if there is one
		rate    int
		param   string // of a refusal
	}{
		{name: "its samples, at its rate", file: wavOf(t, good, "abcdef"), sent: "abcd", rate: 8000},
		{name: "as WAV", s: source{format: FormatWAV}, file: wavOf(t, good, "abcdef"), sent: "abcd", rate: 8000},
		{name: "of its rate", s: source{format: FormatWAV, sampleRate: 8000}, file: wavOf(t, good, "abcd"), sent: "abcd", rate: 8000},
		{name: "of another rate", s: source{format: FormatWAV, sampleRate: 16000}, file: wavOf(t, good, "abcd"), param: "SampleRate"},
		{name: "another rate, if the caller says so", s: source{format: FormatWAV, sampleRate: 16000}, file: wavOf(t, good, "abcd"), anyRate: true, sent: "abcd", rate: 16000},
		{name: "two channels", file: wavOf(t, with(func(f *WAVFormat) { f.Channels = 2 }), "abcd"), param: "audio"},
		{name: "8 bits", file: string(eight), param: "audio"},
		{name: "float", file: string(float), param: "audio"},
		{name: "44100 Hz", file: wavOf(t, with(func(f *WAVFormat) { f.SampleRate = 44100 }), "abcd"), param: "audio"},
		{name: "no samples, and no end", file: wavOf(t, with(func(f *WAVFormat) { f.DataSize = -1 }), ""), param: "audio"},
		{name: "two bytes", file: wavOf(t, with(func(f *WAVFormat) { f.DataSize = 2 }), "abcd"), sent: "ab", rate: 8000},
		{name: "nothing at all", param: "audio"},
	} {
		s := c.s
		s.r = strings.NewReader(c.file)
		err := s.open(t.Context(), map[bool]map[string]any{true: {"sample_rate": 1}}[c.anyRate], 0)
		if c.param != "" {
			if e, ok := errors.AsType[*ParamError](err); !ok || e.Param != c.param {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		sent, readErr := io.ReadAll(s.r)
		text, isWAV := strings.CutPrefix(string(sent), "RIFF")
		if err != nil || readErr != nil || !strings.HasSuffix(text, c.sent) || isWAV != (c.s.format == FormatWAV) || !isWAV && text != c.sent ||
			s.sampleRate != c.rate || s.pace != 8000 {
			t.Errorf("%s: %q at %d, pace %d, %v, %v", c.name, sent, s.sampleRate, s.pace, err, readErr)
		}
	}
}

func TestAudioOfAKnownFormatIsNotLookedAt(t *testing.T) {
	r := iotest.ErrReader(io.ErrClosedPipe)
	s := source{r: r, format: FormatMP3, sampleRate: 8000}
	if err := s.open(t.Context(), nil, 0); err != nil || s.r != r || s.pace != 8000 {
		t.Errorf("%v, pace %d", err, s.pace)
	}
}

// Whoever reads on gets the error of the Reader, and does not read behind it.
func TestTheErrorOfASourceComesBehindWhatCameBefore(t *testing.T) {
	broken := errors.New("broken")
	header := wavOf(t, WAVFormat{SampleRate: 16000, Channels: 1, BitsPerSample: 16, DataSize: -1}, "")
	for _, head := range []string{"abcdef", header} { // in what is looked at
		s := source{r: io.MultiReader(strings.NewReader(head), &once{broken}, strings.NewReader("more"))}
		if err := s.open(t.Context(), nil, 0); err != nil {
			t.Errorf("%.4q: %v", head, err)
			continue
		}
		got, err := io.ReadAll(s.r)
		if want := strings.TrimPrefix(head, header); string(got) != want || !errors.Is(err, broken) {
			t.Errorf("%.4q: %q, %v", head, got, err)
		}
	}
}

// once fails once, and then has ended.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

func TestASourceWithoutABoundIsWaitedFor(t *testing.T) {
	for timeout, want := range map[time.Duration]time.Duration{time.Nanosecond: time.Nanosecond, time.Second: time.Second, 0: DefaultStartTimeout, -1: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			time.AfterFunc(time.Hour, func() { w.Close() })
			begin := time.Now()
			s := source{r: r}
			err := s.open(t.Context(), nil, timeout)
			if took := time.Since(begin); took != want || (timeout >= 0) != errors.Is(err, ErrStartTimeout) {
				t.Errorf("%v: %v after %v", timeout, err, took)
			}
			w.Close()
		})
	}
}
