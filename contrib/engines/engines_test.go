package engines

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// recordings are real speech: Debian's pocketsphinx-testdata.
const recordings = "/usr/share/pocketsphinx/test/data/librivox"

// recording is a WAV file and what is said in it.
type recording struct{ file, text string }

// needRecognition skips a test where there is no pocketsphinx.
func needRecognition(t *testing.T, e *Engine) {
	t.Helper()
	for _, p := range e.Parts() {
		if p.Name == "English recognition" && p.Uses == "" {
			t.Skip("no recognition here: ", p.Install)
		}
	}
}

func readRecordings(t *testing.T) (all []recording) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "transcription"))
	if err != nil {
		t.Skip("no recordings here: apt-get install pocketsphinx-testdata")
	}
	for line := range strings.Lines(string(data)) { // <s> he was </s> (name)
		text, name, _ := strings.Cut(line, "</s> (")
		all = append(all, recording{
			filepath.Join(recordings, strings.TrimRight(name, ")\n")+".wav"),
			strings.TrimSpace(strings.TrimPrefix(text, "<s>")),
		})
	}
	return all
}

func client(t *testing.T, e nlstest.Engine) *nls.Client {
	t.Helper()
	server := nlstest.NewServer(nlstest.Options{Engine: e})
	t.Cleanup(server.Close)
	c, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// distance is how many words have to be changed, left out and put in to make a of b.
func distance(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func TestMostWordsOfRealRecordingsAreUnderstood(t *testing.T) {
	e := New(Options{})
	needRecognition(t, e)
	c := client(t, e)
	wrong, total, played := 0, 0, time.Duration(0)
	begin := time.Now()
	for _, r := range readRecordings(t) {
		file, err := os.Open(r.file)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var text strings.Builder
		var end time.Duration
		partial := 0
		for s, err := range c.Transcribe(t.Context(), file, nls.TranscriptionParams{EnableWords: true, EnableIntermediateResult: true}, nls.PumpOptions{Speed: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			if !s.Final {
				partial++
				continue
			}
			text.WriteString(s.Text + " ")
			if len(s.Words) != len(strings.Fields(s.Text)) {
				t.Errorf("%d words in %q", len(s.Words), s.Text)
			}
			for _, w := range s.Words {
				if w.Start < end || w.End <= w.Start || w.End > s.Time+time.Second {
					t.Errorf("%q from %v to %v, after %v, in a sentence up to %v", w.Text, w.Start, w.End, end, s.Time)
				}
				end = w.End
			}
		}
		want := strings.Fields(r.text)
		d := distance(strings.Fields(text.String()), want)
		t.Logf("%d of %d words wrong, %d partial results: %q", d, len(want), partial, text.String())
		if partial < 3 {
			t.Errorf("%d partial results", partial)
		}
		wrong, total = wrong+d, total+len(want)
		info, _ := file.Stat()
		played += time.Duration(info.Size()) * time.Second / 32000
	}
	rate := 100 * wrong / total
	took := time.Since(begin)
	t.Logf("word error rate: %d %%; %.2f of real time", rate, took.Seconds()/played.Seconds())
	if rate > 40 {
		t.Errorf("%d of %d words are wrong", wrong, total)
	}
}

// spoken is text as e speaks it.
func spoken(t *testing.T, e *Engine, text string, v nlstest.Voice) []byte {
	t.Helper()
	var pcm []byte
	if err := e.Synthesize(t.Context(), text, v, func(piece []byte, _ []nls.Subtitle) error {
		pcm = append(pcm, piece...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return pcm
}

// plain is a voice as the service's defaults have it.
func plain(rate int) nlstest.Voice { return nlstest.Voice{SampleRate: rate, Volume: nls.DefaultVolume} }

func needSpeech(t *testing.T, e *Engine) {
	t.Helper()
	if e.flite == "" || e.espeak == "" {
		t.Skip("no speech here: apt-get install flite espeak-ng")
	}
}

func TestWhatIsSpokenInEnglishIsUnderstoodWhereItIs(t *testing.T) {
	e := New(Options{})
	needRecognition(t, e)
	needSpeech(t, e)
	for rate, wrong := range map[int]int{8000: 5, 16000: 2} { // the model is for 16 kHz
		const text = "he was not a young man"
		const before = 2 * time.Second
		pcm := append(make([]byte, 2*rate*2), spoken(t, e, text, plain(rate))...)
		r, err := e.Recognize(t.Context(), nlstest.RecognitionRequest{SampleRate: rate, MaxSilence: 800 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var partial []nlstest.Hypothesis
		for piece := range slices.Chunk(pcm, 4001) { // in the middle of samples
			hs, err := r.Write(piece)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hs {
				if h.Final || h.Text == "" {
					t.Errorf("at %d Hz, before the end: %+v", rate, h)
				}
			}
			partial = append(partial, hs...)
		}
		hs, err := r.Finish()
		if err != nil || len(hs) != 1 || !hs[0].Final {
			t.Fatalf("at %d Hz: %+v, %v", rate, hs, err)
		}
		h := hs[0]
		t.Logf("at %d Hz: %q, with a confidence of %.2f", rate, h.Text, h.Confidence)
		if d := distance(strings.Fields(strings.TrimSuffix(h.Text, ".")), strings.Fields(text)); d > wrong || len(partial) == 0 {
			t.Errorf("at %d Hz it understands %q, after %d partial results", rate, h.Text, len(partial))
		}
		if h.Confidence <= 0 || h.Confidence > 1 {
			t.Errorf("confidence %v", h.Confidence)
		}
		length := time.Duration(len(pcm)/2) * time.Second / time.Duration(rate)
		first, last := h.Words[0], h.Words[len(h.Words)-1]
		if h.Begin < before || h.Begin > before+300*time.Millisecond || first.Start < before-300*time.Millisecond || first.Start > before+500*time.Millisecond ||
			last.End < length-500*time.Millisecond || last.End > length+100*time.Millisecond || h.End > length {
			t.Errorf("at %d Hz, of %v: from %v to %v, its words from %v to %v", rate, length, h.Begin, h.End, first.Start, last.End)
		}
	}
}

func TestARecognitionTooManyIsRefusedUntilOneIsClosed(t *testing.T) {
	e := New(Options{Recognitions: 1})
	needRecognition(t, e)
	req := nlstest.RecognitionRequest{SampleRate: 16000, MaxSilence: 800 * time.Millisecond}
	r, err := e.Recognize(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Recognize(t.Context(), req); !errors.Is(err, ErrBusy) {
		t.Errorf("a second: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = e.Recognize(t.Context(), req); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	r.Close()
}

func TestSilenceAndNoiseAreNoSentence(t *testing.T) {
	e := New(Options{})
	needRecognition(t, e)
	r, err := e.Recognize(t.Context(), nlstest.RecognitionRequest{SampleRate: 16000, MaxSilence: 800 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if hs, err := r.Write(make([]byte, 2*16000+1)); err != nil || len(hs) > 0 { // half a sample too many
		t.Errorf("silence is %v, %v", hs, err)
	}
	if hs, err := r.Finish(); err != nil || len(hs) > 0 {
		t.Errorf("the end of it is %v, %v", hs, err)
	}
}

func TestVoiceChangesTheSpeech(t *testing.T) {
	e := New(Options{})
	needSpeech(t, e)
	for _, text := range []string{"The weather is fine today.", "今天天气很好。"} {
		t.Run(text, func(t *testing.T) {
			v := plain(16000)
			pcm := spoken(t, e, text, v)
			if n := len(pcm); n < 16000 || n > 5*32000 {
				t.Fatalf("%d bytes", n)
			}
			for _, rate := range []int{8000, 48000} {
				if n := len(spoken(t, e, text, plain(rate))) * 16000 / rate; n < len(pcm)*99/100 || n > len(pcm)*101/100 {
					t.Errorf("at %d Hz it is as long as %d bytes, want %d", rate, n, len(pcm))
				}
			}
			fast := v
			fast.SpeechRate = 500
			if n := len(spoken(t, e, text, fast)); n > len(pcm)*3/4 {
				t.Errorf("fast it has %d bytes of %d", n, len(pcm))
			}
			soft := v
			soft.Volume = 5
			if a, b := loudness(pcm), loudness(spoken(t, e, text, soft)); math.Abs(b/a-0.1) > 0.01 {
				t.Errorf("a tenth of the volume is %.3f as loud", b/a)
			}
			high := v
			high.PitchRate = 500
			if bytes.Equal(spoken(t, e, text, high), pcm) {
				t.Error("the pitch makes no difference")
			}
		})
	}
}

func loudness(pcm []byte) float64 {
	sum := 0.0
	for i := 0; i < len(pcm); i += 2 {
		sample := float64(int16(binary.LittleEndian.Uint16(pcm[i:])))
		sum += sample * sample
	}
	return math.Sqrt(sum / float64(len(pcm)/2))
}

func TestTextIsNeverAnOption(t *testing.T) {
	e := New(Options{})
	needSpeech(t, e)
	file := filepath.Join(t.TempDir(), "x")
	for _, engine := range []*Engine{e, {espeak: e.espeak, processes: make(chan struct{}, 1)}} {
		for _, text := range []string{"-o", "-o " + file, "--help", "-w " + file, "-v cmn -w " + file + " 你好", "/etc/passwd"} {
			if n := len(spoken(t, engine, text, plain(16000))); n < 3200 {
				t.Errorf("%q: %d bytes of speech", text, n)
			}
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a text has written a file")
	}
}

func TestSpeechEndsWithItsContextAndWithItsListener(t *testing.T) {
	e := New(Options{Processes: 1})
	needSpeech(t, e)
	long := strings.Repeat("今天天气很好，", 28)
	ctx, cancel := context.WithCancel(t.Context())
	err := e.Synthesize(ctx, long, plain(16000), func([]byte, []nls.Subtitle) error { cancel(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	gone := errors.New("gone")
	if err := e.Synthesize(t.Context(), long, plain(16000), func([]byte, []nls.Subtitle) error { return gone }); err != gone {
		t.Errorf("the listener is gone: %v", err)
	}
	if len(e.processes) > 0 {
		t.Error("a process still counts")
	}
}

func TestWhatIsMissingIsSaidAndDoneByLoopback(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	e := New(Options{})
	e.sphinx = nil
	want := map[string]string{
		"Mandarin recognition": "",
		"English speech":       "apt-get install flite",
		"Mandarin speech":      "apt-get install espeak-ng",
	}
	for _, p := range e.Parts() {
		if install, ok := want[p.Name]; ok && (p.Uses != "" || p.Install != install) {
			t.Errorf("%+v", p)
		}
	}
	c := client(t, e)
	var wav bytes.Buffer
	const text = "你好 Go"
	if err := c.Synthesize(t.Context(), &wav, nls.SynthesisParams{Text: text}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Recognize(t.Context(), &wav, nls.RecognitionParams{}, nls.PumpOptions{Speed: -1}); err != nil || got.Text != text {
		t.Errorf("%v comes back, %v", got, err)
	}
}

func TestHanCharactersAreSpokenAsPinyin(t *testing.T) {
	for text, want := range map[string]string{
		"你好，世界。":      "ni3 hao3 , shi4 jie4 .",
		"我的女儿":        "wo3 de5 nv3 er2",
		"Go 1.26 很好！": "Go 1.26 hen3 hao3 !",
	} {
		if got := strings.Join(strings.Fields(syllables(text)), " "); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestAToneStaysWhatItIsAtAnotherRate(t *testing.T) {
	for _, c := range []struct {
		from, to, frequency int
		gain                float64
	}{
		{22050, 16000, 1000, 1}, {22050, 16000, 9500, 0}, {8000, 16000, 3000, 1}, {16000, 8000, 6000, 0},
		{16000, 48000, 6000, 1}, {22050, 44100, 440, 1}, {16000, 16000, 5000, 1},
	} {
		r := newResampler(c.from, c.to)
		var in, out []byte
		samples := make([]int16, c.from)
		for i := range samples {
			samples[i] = int16(20000 * math.Sin(2*math.Pi*float64(c.frequency*i)/float64(c.from)))
		}
		for piece := range slices.Chunk(samples, 777) {
			in, _ = binary.Append(in, binary.LittleEndian, piece)
			out, _ = binary.Append(out, binary.LittleEndian, r.write(piece))
		}
		out, _ = binary.Append(out, binary.LittleEndian, r.flush())
		if n := len(out) / 2; n < c.to-2 || n > c.to+2 {
			t.Errorf("%d Hz to %d: %d samples", c.from, c.to, n)
		}
		if gain := loudness(out) / loudness(in); math.Abs(gain-c.gain) > 0.03 {
			t.Errorf("%d Hz to %d: a tone of %d Hz is %.3f as loud", c.from, c.to, c.frequency, gain)
		}
	}
}
