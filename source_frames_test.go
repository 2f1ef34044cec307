package nls

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// Audio that begins as a frame of MP3 does is PCM where the frame ends with it, or
// something else follows, and is sent whole.
func TestRawAudioThatLooksLikeOneFrameIsSentWhole(t *testing.T) {
	frame := "\xff\xfb\x10\x00" + strings.Repeat("x", 100) // of 104 bytes: 32 kbit/s at 44100 Hz
	size, format := mpegFrame([]byte(frame))
	if size != len(frame) || format != FormatMP3 {
		t.Fatalf("a frame of %d bytes is %s of %d", len(frame), format, size)
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		audio string
		end   error
		is    bool // MP3
	}{
		"part of it":                    {audio: frame[:50]},
		"the smallest part":             {audio: frame[:12]},
		"all but a byte":                {audio: frame[:103]},
		"all of it":                     {audio: frame},
		"and part of a header":          {audio: frame + frame[:5]},
		"and a header":                  {audio: frame + frame[:6], is: true},
		"and something else":            {audio: frame + strings.Repeat("y", 500)},
		"and a header that comes later": {audio: frame + "y" + frame},
		"an error in it":                {audio: frame[:50], end: broken},
		"an error behind it":            {audio: frame, end: broken},
	} {
		s := source{r: io.MultiReader(strings.NewReader(c.audio), failed{orDefault(c.end, io.EOF)})}
		err := s.open(t.Context(), nil, 0)
		if _, refused := errors.AsType[*ParamError](err); refused != c.is || (err != nil) != c.is {
			t.Errorf("%s: %v", name, err)
		}
		if c.is {
			continue
		}
		if got, err := io.ReadAll(s.r); string(got) != c.audio || err != c.end {
			t.Errorf("%s: %d bytes of %d are sent, %v", name, len(got), len(c.audio), err)
		}
	}
}

// What decides is what the caller says, then what is there.
func TestWhatASourceIsTakenFor(t *testing.T) {
	broken := errors.New("broken")
	file := func(rate int, size int64) io.Reader {
		return strings.NewReader(wavOf(t, WAVFormat{SampleRate: rate, Channels: 1, BitsPerSample: 16, DataSize: size}, "abcd"))
	}
	for name, c := range map[string]struct {
		s     source
		extra map[string]any
		param string // of a refusal
		sent  string
		rate  int
		fails error // of reading on
	}{
		"a format that Extra has, of anything":  {s: source{r: strings.NewReader("ID3\x04 and so on")}, extra: map[string]any{"format": "mp3"}, sent: "ID3\x04 and so on"},
		"something else called WAV":             {s: source{r: strings.NewReader("not a WAV file"), format: FormatWAV}, param: "audio"},
		"WAV of any rate, if the caller has it": {s: source{r: file(44100, 4), sampleRate: 16000}, extra: map[string]any{"sample_rate": 16000}, sent: "abcd", rate: 16000},
		"WAV that nobody has named":             {s: source{r: file(8000, 4), sampleRate: 16000}, sent: "abcd", rate: 8000},
		"a source that fails at once":           {s: source{r: failed{broken}}, fails: broken},
		"WAV that fails behind its header":      {s: source{r: io.MultiReader(io.LimitReader(file(8000, 4), 44), failed{broken})}, rate: 8000, fails: broken},
	} {
		s := c.s
		err := s.open(t.Context(), c.extra, 0)
		if c.param != "" {
			if e, ok := errors.AsType[*ParamError](err); !ok || e.Param != c.param {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got, readErr := io.ReadAll(s.r)
		if err != nil || string(got) != c.sent || readErr != c.fails || s.sampleRate != c.rate {
			t.Errorf("%s: %v; %q at %d, %v", name, err, got, s.sampleRate, readErr)
		}
	}
}
