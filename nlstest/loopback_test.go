package nlstest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wav"
)

var updateTestdata = flag.Bool("update-testdata", false, "rewrite the Loopback audio in testdata")

// loopbackVoice is the voice of the service's defaults.
var loopbackVoice = Voice{Name: nls.DefaultVoice, SampleRate: 16000, Volume: 50}

// loopbackText has everything in it that a text may have.
const loopbackText = "  你好，世界。Hello, Go! 🎙\n<a href=\"x\">3.14 & 2</a>; 👨‍👩‍👧‍👦 家人？！\n\nNo end"

// testdataText is what the audio in testdata says.
const testdataText = "你好，世界。Hello, Go! 🎙"

// synthesize returns what an engine speaks.
func synthesize(t testing.TB, e Engine, text string, v Voice) (pcm []byte, words []nls.Subtitle) {
	t.Helper()
	err := e.Synthesize(t.Context(), text, v, func(piece []byte, w []nls.Subtitle) error {
		begin := samplesTime(int64(len(pcm)/2), v.SampleRate)
		pcm = append(pcm, piece...)
		end := samplesTime(int64(len(pcm)/2), v.SampleRate)
		if len(piece) == 0 || len(piece) > 8000 || len(piece)%2 != 0 {
			t.Errorf("a piece of %d bytes", len(piece))
		}
		for _, w := range w {
			if w.Begin < begin || w.Begin >= end {
				t.Errorf("%+v comes with the audio from %v to %v", w, begin, end)
			}
		}
		words = append(words, w...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pcm, words
}

// recognize passes pcm through an engine in pieces of n bytes.
func recognize(t testing.TB, e Engine, rate int, pcm []byte, n int) (all []Hypothesis) {
	t.Helper()
	return recognizeBy(t, e, RecognitionRequest{SampleRate: rate}, pcm, n)
}

func recognizeBy(t testing.TB, e Engine, q RecognitionRequest, pcm []byte, n int) (all []Hypothesis) {
	t.Helper()
	r, err := e.Recognize(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for piece := range slices.Chunk(pcm, n) {
		hs, err := r.Write(piece)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hs...)
	}
	hs, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return append(all, hs...)
}

// finals returns the final ones of hs.
func finals(hs []Hypothesis) []Hypothesis {
	return slices.DeleteFunc(slices.Clone(hs), func(h Hypothesis) bool { return !h.Final })
}

func textOf(hs []Hypothesis) string {
	var b strings.Builder
	for _, h := range finals(hs) {
		b.WriteString(h.Text)
	}
	return b.String()
}

func TestLoopbackRoundTrip(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, v := range []Voice{
		{SampleRate: 8000, Volume: 50}, {SampleRate: 11025, Volume: 50}, {SampleRate: 16000, Volume: 50}, {SampleRate: 22050, Volume: 50},
		{SampleRate: 24000, Volume: 50}, {SampleRate: 32000, Volume: 50}, {SampleRate: 44100, Volume: 50}, {SampleRate: 48000, Volume: 50},
		{SampleRate: 8000, Volume: 100}, {SampleRate: 16000, Volume: 1},
		{SampleRate: 8000, Volume: 50, SpeechRate: 500}, {SampleRate: 16000, Volume: 50, SpeechRate: -500},
		{SampleRate: 8000, Volume: 50, PitchRate: 500}, {SampleRate: 16000, Volume: 50, PitchRate: -500},
	} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			pcm, _ := synthesize(t, Loopback(), loopbackText, v)
			hs := recognize(t, Loopback(), v.SampleRate, pcm, 3200)
			if got := textOf(hs); got != loopbackText {
				t.Errorf("heard %q, want %q", got, loopbackText)
			}
			for _, h := range finals(hs) {
				if h.Confidence != 1 {
					t.Errorf("%q: confidence %v, want 1", h.Text, h.Confidence)
				}
			}
		})
	}
}

// With less silence than there is between them, sentences end where they were spoken to.
func TestLoopbackSentences(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"你好。", []string{"你好。"}},
		{"你好。再见！", []string{"你好。", "再见！"}},
		{"Version 3.14. Yes?! No", []string{"Version 3.14. ", "Yes?! ", "No"}},
		{"\n\n一\n二；三;四", []string{"\n\n一\n", "二；", "三;", "四"}},
		{" leading and trailing  ", []string{" leading and trailing  "}},
		{"。。。", []string{"。。。"}},
		{strings.Repeat("长", 450), []string{strings.Repeat("长", 200), strings.Repeat("长", 200), strings.Repeat("长", 50)}},
		// An emoji is two UTF-16 units and is not cut in half.
		{"a" + strings.Repeat("🎙", 150), []string{"a" + strings.Repeat("🎙", 99), strings.Repeat("🎙", 51)}},
	} {
		pcm, _ := synthesize(t, Loopback(), tc.text, Voice{SampleRate: 8000, Volume: 50, SpeechRate: 500})
		var got []string
		for _, h := range finals(recognizeBy(t, Loopback(), RecognitionRequest{SampleRate: 8000, MaxSilence: 100 * time.Millisecond}, pcm, 1600)) {
			got = append(got, h.Text)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q: heard %q, want %q", tc.text, got, tc.want)
		}
	}
}

// The silence between sentences of tones ends one as any other silence does: with
// its whole length, and when it has passed.
func TestSilenceEndsSentencesOfTones(t *testing.T) {
	a, _ := synthesize(t, Loopback(), "你好。", loopbackVoice) // with 300 ms of silence
	b, _ := synthesize(t, Loopback(), "再见。", loopbackVoice)
	pause := func(d time.Duration) []byte { return silence(d-300*time.Millisecond, 16000) }
	for _, tc := range []struct {
		max, between time.Duration
		want         []string
	}{
		{800 * time.Millisecond, 300 * time.Millisecond, []string{"你好。再见。"}},
		{800 * time.Millisecond, 750 * time.Millisecond, []string{"你好。再见。"}},
		{800 * time.Millisecond, 850 * time.Millisecond, []string{"你好。", "再见。"}},
		{200 * time.Millisecond, 300 * time.Millisecond, []string{"你好。", "再见。"}},
		{350 * time.Millisecond, 300 * time.Millisecond, []string{"你好。再见。"}},
		{2 * time.Second, 1900 * time.Millisecond, []string{"你好。再见。"}},
	} {
		q := RecognitionRequest{SampleRate: 16000, MaxSilence: tc.max}
		pcm := slices.Concat(a, pause(tc.between), b, silence(3*time.Second, 16000))
		r, err := Loopback().Recognize(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		at := time.Duration(0)
		for piece := range slices.Chunk(pcm, 320) {
			at += 10 * time.Millisecond
			hs, err := r.Write(piece)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range finals(hs) {
				got = append(got, h.Text)
				if late := at - h.End - tc.max; late < 0 || late > 250*time.Millisecond {
					t.Errorf("%v: %q ended at %v and was told at %v", tc.max, h.Text, h.End, at)
				}
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v between, %v at most: heard %q, want %q", tc.between, tc.max, got, tc.want)
		}
	}
}

func TestASentenceOfMoreThanAMinuteEndsWithTheNextPause(t *testing.T) {
	effort.Long(t)
	text := strings.Repeat(strings.Repeat("长", 99)+"。", 6) // 15 s each
	pcm, _ := synthesize(t, Loopback(), text, loopbackVoice)
	var got []int
	for _, h := range finals(recognize(t, Loopback(), 16000, pcm, 3200)) {
		got = append(got, len([]rune(h.Text)))
	}
	if want := []int{400, 200}; !slices.Equal(got, want) {
		t.Errorf("sentences of %v characters, want %v", got, want)
	}
}

// TestLoopbackLongText is the 10,000 characters that a synthesiser may be fed.
func TestLoopbackLongText(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	parts := []string{"你好", "世界，", "Hello ", "Go ", "🎙", "👨‍👩‍👧‍👦", "。", "! ", "3.14 ", "\n", "<b>&</b>"}
	var b strings.Builder
	for n := 0; n < effort.Times(10_000, 3000); {
		p := parts[random.IntN(len(parts))]
		b.WriteString(p)
		n += len([]rune(p))
	}
	text := b.String() + "。"
	r, err := Loopback().Recognize(t.Context(), RecognitionRequest{SampleRate: 8000})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	err = Loopback().Synthesize(t.Context(), text, Voice{SampleRate: 8000, Volume: 50, SpeechRate: 500}, func(pcm []byte, _ []nls.Subtitle) error {
		hs, err := r.Write(pcm)
		got.WriteString(textOf(hs))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rest, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if got.WriteString(textOf(rest)); got.String() != text {
		t.Errorf("%d bytes heard of %d, or they differ", got.Len(), len(text))
	}
}

func TestLoopbackPartialResultsGrowByACharacter(t *testing.T) {
	text := "你好, 🎙!"
	pcm, _ := synthesize(t, Loopback(), text, loopbackVoice)
	lead := make([]byte, 32000)
	hs := recognize(t, Loopback(), 16000, slices.Concat(lead, pcm), 320)
	runes := []rune(text)
	if len(hs) != len(runes)+2 {
		t.Fatalf("%d hypotheses, want begin, %d characters, end", len(hs), len(runes))
	}
	for i, h := range hs {
		n := min(i, len(runes))
		if h.Text != string(runes[:n]) || len(h.Words) != n || h.Final != (i == len(hs)-1) {
			t.Errorf("hypothesis %d: %q, %d words, final %t", i, h.Text, len(h.Words), h.Final)
		}
		if h.Begin != hs[0].Begin || h.End < h.Begin {
			t.Errorf("hypothesis %d: from %v to %v, sentence begins at %v", i, h.Begin, h.End, hs[0].Begin)
		}
		last := h.Begin
		for j, w := range h.Words {
			if w.Text != string(runes[j]) || w.Start < last || w.End <= w.Start || w.End > h.End {
				t.Errorf("hypothesis %d: word %+v after %v", i, w, last)
			}
			last = w.End
		}
	}
	near(t, "begin", hs[0].Begin, time.Second, 5*time.Millisecond)
	// 70 ms of pilot, 140 ms of header, then 150 ms a UTF-16 unit.
	near(t, "end", hs[len(hs)-1].End, time.Second+210*time.Millisecond+7*150*time.Millisecond, 5*time.Millisecond)
}

func near(t *testing.T, what string, got, want, by time.Duration) {
	t.Helper()
	if d := got - want; d > by || d < -by {
		t.Errorf("%s at %v, want %v within %v", what, got, want, by)
	}
}

func TestLoopbackCutDoesNotMatter(t *testing.T) {
	speech, _ := readWAV(t, "speech-espeak.wav")
	pcm, _ := synthesize(t, Loopback(), "你好。Go!", loopbackVoice)
	pcm = slices.Concat(make([]byte, 1184), pcm[:20000], pcm[20640:], speech, pcm, speech[:60000])
	want := recognize(t, Loopback(), 16000, pcm, len(pcm))
	if n := len(finals(want)); n != 6 {
		t.Errorf("%d sentences, want 6: %q", n, textOf(want))
	}
	for _, n := range []int{1, 7, 640, 3200, 16001} {
		if got := recognize(t, Loopback(), 16000, pcm, n); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pieces of %d bytes: heard %q, want %q", n, textOf(got), textOf(want))
		}
	}
}

func TestLoopbackSilenceIsNothing(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		hiss := make([]byte, 10*rate)
		random := rand.New(rand.NewPCG(7, 8))
		for i := 0; i < len(hiss); i += 2 {
			binary.LittleEndian.PutUint16(hiss[i:], uint16(int16(100*random.NormFloat64())))
		}
		for name, pcm := range map[string][]byte{"none": nil, "one byte": {1}, "zeros": make([]byte, 10*rate), "hiss": hiss} {
			if hs := recognize(t, Loopback(), rate, pcm, 3200); len(hs) != 0 {
				t.Errorf("%s at %d Hz: heard %+v", name, rate, hs)
			}
		}
	}
	pcm, _ := synthesize(t, Loopback(), "你好。", Voice{SampleRate: 16000, Volume: 0})
	if len(bytes.Trim(pcm, "\x00")) != 0 {
		t.Error("volume 0 is not silence")
	}
}

// TestLoopbackDamage shows what damaged audio looks like: marks in the text, and
// a lower confidence.
func TestLoopbackDamage(t *testing.T) {
	pcm, _ := synthesize(t, Loopback(), "一二三四五。", loopbackVoice)
	unit, header := 2*16*150, 2*16*210
	for _, tc := range []struct {
		name string
		pcm  []byte
		want string
	}{
		{"one character lost 20 ms", slices.Concat(pcm[:header+2*unit+2000], pcm[header+2*unit+2640:]), "一二\uFFFD四五。"},
		{"header lost 20 ms", slices.Concat(pcm[:header-2000], pcm[header-1360:]), "\uFFFD"},
		{"cut off", pcm[:header+3*unit+2000], "一二三\uFFFD"},
	} {
		hs := finals(recognize(t, Loopback(), 16000, tc.pcm, 3200))
		if len(hs) != 1 || hs[0].Text != tc.want || hs[0].Confidence >= 1 {
			t.Errorf("%s: heard %+v, want %q with less confidence", tc.name, hs, tc.want)
		}
	}
}

// speechTimes reads where the sentences of speech-espeak.wav are.
func speechTimes(t *testing.T) (times [][2]time.Duration) {
	t.Helper()
	b, err := os.ReadFile("../testdata/speech-espeak.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
		var begin, end int
		if _, err := fmt.Sscan(line, &begin, &end); err != nil {
			t.Fatal(err)
		}
		times = append(times, [2]time.Duration{time.Duration(begin) * time.Millisecond, time.Duration(end) * time.Millisecond})
	}
	return times
}

func TestLoopbackFindsSpeech(t *testing.T) {
	speech, rate := readWAV(t, "speech-espeak.wav")
	want := speechTimes(t)
	for name, pcm := range map[string][]byte{
		"clean":              speech,
		"softer":             mapSamples(speech, func(v float64) float64 { return v / 10 }),
		"with noise":         mapSamples(speech, gaussian(60)),
		"with more noise":    mapSamples(speech, gaussian(200)),
		"on a steady offset": mapSamples(speech, func(v float64) float64 { return v*0.8 + 2000 }),
	} {
		t.Run(name, func(t *testing.T) {
			hs := recognize(t, Loopback(), rate, pcm, 3200)
			got := finals(hs)
			if len(hs) != 2*len(want) || len(got) != len(want) {
				t.Fatalf("%d hypotheses, %d of them final, want a begin and an end of %d sentences: %+v", len(hs), len(got), len(want), got)
			}
			for i, h := range got {
				near(t, fmt.Sprintf("begin of sentence %d", i), h.Begin, want[i][0], 100*time.Millisecond)
				near(t, fmt.Sprintf("end of sentence %d", i), h.End, want[i][1], 100*time.Millisecond)
				if hs[2*i].Begin != h.Begin || hs[2*i].Text != "" {
					t.Errorf("sentence %d begins as %+v", i, hs[2*i])
				}
				if text := fmt.Sprintf("[speech %.2fs]", (h.End - h.Begin).Seconds()); h.Text != text || h.Confidence != 0 {
					t.Errorf("sentence %d is %q with confidence %v, want %q with 0", i, h.Text, h.Confidence, text)
				}
			}
		})
	}
}

func TestMaxSentenceSilence(t *testing.T) {
	speech, rate := readWAV(t, "speech-espeak.wav") // pauses of 1.2 and 1.5 s
	for _, e := range []Engine{Loopback(), Script("a", "b", "c")} {
		for _, tc := range []struct {
			silence time.Duration // zero for the default
			want    int
		}{{0, 3}, {800 * time.Millisecond, 3}, {1150 * time.Millisecond, 3}, {1350 * time.Millisecond, 2}, {2 * time.Second, 1}} {
			r, err := e.Recognize(t.Context(), RecognitionRequest{SampleRate: rate})
			if err != nil {
				t.Fatal(err)
			}
			if tc.silence > 0 {
				r.(SilenceSetter).SetMaxSilence(tc.silence)
			}
			hs, err := r.Write(speech)
			if err != nil {
				t.Fatal(err)
			}
			more, err := r.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if got := finals(append(hs, more...)); len(got) != tc.want {
				t.Errorf("%T, %v: %d sentences, want %d", e, tc.silence, len(got), tc.want)
			}
		}
	}
}

// TestLoopbackSaysASentenceHasEndedInTime shows that a sentence is final once the
// audio holds its end and the silence behind it.
func TestLoopbackSaysASentenceHasEndedInTime(t *testing.T) {
	speech, rate := readWAV(t, "speech-espeak.wav")
	r, err := Loopback().Recognize(t.Context(), RecognitionRequest{SampleRate: rate})
	if err != nil {
		t.Fatal(err)
	}
	end := speechTimes(t)[0][1] + 800*time.Millisecond
	for i, piece := range slices.Collect(slices.Chunk(speech, rate/50)) { // 10 ms
		hs, err := r.Write(piece)
		if err != nil {
			t.Fatal(err)
		}
		if len(finals(hs)) > 0 {
			near(t, "final", time.Duration(i+1)*10*time.Millisecond, end, 100*time.Millisecond)
			return
		}
	}
	t.Error("never")
}

func TestSpeechAndTonesInOneStream(t *testing.T) {
	speech, _ := readWAV(t, "speech-espeak.wav")
	tones, _ := synthesize(t, Loopback(), "你好。再见。", loopbackVoice)
	cut := 2 * 16000 * 2200 / 1000 // in the first pause, after 258 ms of it
	pcm := slices.Concat(tones, speech[:cut], tones, speech)
	var got []string
	for _, h := range finals(recognize(t, Loopback(), 16000, pcm, 3200)) {
		if strings.HasPrefix(h.Text, "[speech ") {
			h.Text = "speech"
		}
		got = append(got, h.Text)
	}
	if want := []string{"你好。再见。", "speech", "你好。再见。", "speech", "speech", "speech"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestLoopbackSubtitles(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string // text, begin index, end index
	}{
		{"你好，世界。", []string{"你 0 1", "好 1 2", "世 3 4", "界 4 5"}},
		{"Hello, Go 1!  好", []string{"Hello 0 5", "Go 7 9", "1 10 11", "好 14 15"}},
		{"一。二。", []string{"一 0 1", "二 2 3"}},
		{"🎙️ 👨‍👩‍👧‍👦a", []string{"🎙️ 0 2", "👨‍👩‍👧‍👦 3 10", "a 10 11"}},
		{"。。", nil},
	} {
		for _, rate := range []int{8000, 48000} {
			pcm, words := synthesize(t, Loopback(), tc.text, Voice{SampleRate: rate, Volume: 50})
			var got []string
			var last time.Duration
			for _, w := range words {
				got = append(got, fmt.Sprint(w.Text, " ", w.BeginIndex, " ", w.EndIndex))
				if w.Begin < last || w.End <= w.Begin || w.End > samplesTime(int64(len(pcm)/2), rate) {
					t.Errorf("%q: %+v after %v", tc.text, w, last)
				}
				last = w.End
				if w.Sentence || w.Phoneme != "null" {
					t.Errorf("%q: %+v", tc.text, w)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q: subtitles %q, want %q", tc.text, got, tc.want)
			}
		}
	}
}

// TestSubtitlesAndWordsAgree: where the synthesiser says that a unit is, the
// recogniser finds it.
func TestSubtitlesAndWordsAgree(t *testing.T) {
	pcm, subtitles := synthesize(t, Loopback(), "你好。世界", loopbackVoice)
	var words []nls.Word
	for _, h := range finals(recognize(t, Loopback(), 16000, pcm, 3200)) {
		words = append(words, h.Words...)
	}
	words = slices.DeleteFunc(words, func(w nls.Word) bool { return w.Text == "。" })
	if len(words) != len(subtitles) {
		t.Fatalf("%d words, %d subtitles", len(words), len(subtitles))
	}
	for i, w := range words {
		near(t, w.Text, w.Start, subtitles[i].Begin, 3*time.Millisecond)
		near(t, w.Text, w.End, subtitles[i].End, 3*time.Millisecond)
	}
}

func TestEngineErrors(t *testing.T) {
	none := func([]byte, []nls.Subtitle) error { return nil }
	for _, v := range []Voice{{SampleRate: 0, Volume: 50}, {SampleRate: 96000, Volume: 50}, {SampleRate: 16000, Volume: 101}, {SampleRate: 16000, SpeechRate: 501}, {SampleRate: 16000, PitchRate: -501}} {
		if err := Loopback().Synthesize(t.Context(), "a", v, none); err == nil || !strings.HasPrefix(err.Error(), "nlstest: ") {
			t.Errorf("%+v: error %v", v, err)
		}
	}
	if _, err := Loopback().Recognize(t.Context(), RecognitionRequest{SampleRate: 4000}); err == nil {
		t.Error("4000 Hz are recognised")
	}
	if _, err := Script("a").Recognize(t.Context(), RecognitionRequest{SampleRate: 0}); err == nil {
		t.Error("0 Hz are recognised")
	}

	mine := errors.New("mine")
	if err := Loopback().Synthesize(t.Context(), "a", loopbackVoice, func([]byte, []nls.Subtitle) error { return mine }); err != mine {
		t.Errorf("error %v, want that of emit", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pieces := 0
	err := Loopback().Synthesize(ctx, strings.Repeat("很长", 1000), loopbackVoice, func([]byte, []nls.Subtitle) error {
		if pieces++; pieces == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || pieces != 3 {
		t.Errorf("error %v after %d pieces, want context.Canceled after 3", err, pieces)
	}
	for _, e := range []Engine{Loopback(), Script("a")} {
		r, err := e.Recognize(ctx, RecognitionRequest{SampleRate: 16000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write(make([]byte, 100)); !errors.Is(err, context.Canceled) {
			t.Errorf("Write: error %v, want context.Canceled", err)
		}
		if _, err := r.Finish(); !errors.Is(err, context.Canceled) {
			t.Errorf("Finish: error %v, want context.Canceled", err)
		}
	}
}

// TestTestdata rebuilds the Loopback audio in testdata and compares the bytes.
func TestTestdata(t *testing.T) {
	say := func(v Voice) (pcm []byte) {
		for _, sentence := range []string{"你好，世界。", "Hello, Go! ", "🎙"} {
			audio, _ := synthesize(t, Loopback(), sentence, v)
			pcm = slices.Concat(pcm, audio, silence(600*time.Millisecond, v.SampleRate))
		}
		return pcm
	}
	pcm := say(loopbackVoice)
	narrow := say(Voice{SampleRate: 8000, Volume: 50})
	for name, want := range map[string][]byte{
		"test1.pcm":    pcm,
		"test1.wav":    slices.Concat(wav.Header(16000, len(pcm)), pcm),
		"test1-8k.wav": slices.Concat(wav.Header(8000, len(narrow)), narrow),
	} {
		path := filepath.Join("../testdata", name)
		if *updateTestdata {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the engine makes; go generate rebuilds it", name)
		}
	}
}

func TestTestdataIsRecognised(t *testing.T) {
	for _, name := range []string{"test1.wav", "test1-8k.wav"} {
		pcm, rate := readWAV(t, name)
		if got := textOf(recognize(t, Loopback(), rate, pcm, 3200)); got != testdataText {
			t.Errorf("%s: heard %q, want %q", name, got, testdataText)
		}
	}
	for _, name := range []string{"test1.pcm", "test1.wav"} { // the header as a click
		pcm, err := os.ReadFile(filepath.Join("../testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := textOf(recognize(t, Loopback(), 16000, pcm, 3200)); got != testdataText {
			t.Errorf("%s as PCM: heard %q, want %q", name, got, testdataText)
		}
	}
}

// TestAnotherProcessRecognisesTheAudio shows that nothing but the samples
// carries the text: they are all that the other process gets.
func TestAnotherProcessRecognisesTheAudio(t *testing.T) {
	const child = "NLSTEST_RECOGNISE_STDIN"
	if os.Getenv(child) != "" {
		pcm, err := io.ReadAll(os.Stdin)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("heard:%q\n", textOf(recognize(t, Loopback(), 16000, pcm, 3200)))
		return
	}
	text := fmt.Sprintf("暗号 %d 🎙。", time.Now().UnixNano()) // nobody knows it before
	pcm, _ := synthesize(t, Loopback(), text, loopbackVoice)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnotherProcessRecognisesTheAudio$")
	cmd.Env = append(os.Environ(), child+"=1", "GORACE=atexit_sleep_ms=0") // the race detector would sleep a second
	cmd.Stdin = bytes.NewReader(pcm)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf("heard:%q\n", text); !bytes.Contains(out, []byte(want)) {
		t.Errorf("the other process says %s, want %s", out, want)
	}
}

func TestScript(t *testing.T) {
	speech, rate := readWAV(t, "speech-espeak.wav")
	want := speechTimes(t)
	e := Script("今天天气很好。", "第二句。")
	hs := recognize(t, e, rate, speech, 3200)
	got := finals(hs)
	if len(got) != 3 || got[0].Text != "今天天气很好。" || got[1].Text != "第二句。" || got[2].Text != "今天天气很好。" {
		t.Fatalf("heard %+v, want the two sentences and the first again", got)
	}
	for i, h := range got {
		near(t, "begin", h.Begin, want[i][0], 100*time.Millisecond)
		near(t, "end", h.End, want[i][1], 100*time.Millisecond)
		last := h.Begin
		var text string
		for _, w := range h.Words {
			if w.Start != last || w.End <= w.Start {
				t.Errorf("word %+v, want one from %v", w, last)
			}
			last = w.End
			text += w.Text
		}
		if last != h.End || text != h.Text {
			t.Errorf("words %q end at %v, want %q to %v", text, last, h.Text, h.End)
		}
	}
	grown := -1
	for _, h := range hs {
		if h.Final {
			grown = -1
			continue
		}
		if n := len(h.Words); n <= grown || !strings.HasPrefix("今天天气很好。", h.Text) && !strings.HasPrefix("第二句。", h.Text) {
			t.Errorf("%q after %d characters", h.Text, grown)
		} else {
			grown = n
		}
	}
	if again := recognize(t, e, rate, speech, 7); fmt.Sprint(again) != fmt.Sprint(hs) {
		t.Error("the next recognition does not begin with the first sentence, or the cut matters")
	}
	if hs := recognize(t, Script(), rate, speech, 3200); len(hs) != 0 {
		t.Errorf("without sentences: heard %+v", hs)
	}
	if hs := recognize(t, e, rate, make([]byte, 64000), 3200); len(hs) != 0 {
		t.Errorf("in silence: heard %+v", hs)
	}
	pcm, _ := synthesize(t, e, "你好。", loopbackVoice)
	if got := textOf(recognize(t, Loopback(), 16000, pcm, 3200)); got != "你好。" {
		t.Errorf("Script says %q, want what Loopback says", got)
	}
}

// FuzzLoopback gives the engines any bytes in pieces of any size.
func FuzzLoopback(f *testing.F) {
	f.Add([]byte("RIFFxxxxWAVE"), uint16(3))
	f.Add(bytes.Repeat([]byte{0, 0x40, 0, 0xc0}, 500), uint16(640))
	f.Fuzz(func(t *testing.T, pcm []byte, n uint16) {
		for _, e := range []Engine{Loopback(), Script("一二三", "四")} {
			open := false
			last := time.Duration(0)
			for _, h := range recognize(t, e, 8000, pcm, int(n)+1) {
				if !open && (h.Text != "" || h.Final) {
					t.Errorf("a sentence begins with %+v", h)
				}
				if h.Begin < last || h.End < h.Begin {
					t.Errorf("%+v after %v", h, last)
				}
				if open = !h.Final; h.Final {
					last = h.End
				}
			}
			if open {
				t.Error("a sentence does not end")
			}
		}
	})
}

func BenchmarkLoopbackRecognize(b *testing.B) {
	speech, _ := readWAV(b, "speech-espeak.wav")
	tones, _ := synthesize(b, Loopback(), strings.Repeat("你好，世界。", 5), loopbackVoice)
	for name, pcm := range map[string][]byte{"tones": tones, "speech": speech} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				recognize(b, Loopback(), 16000, pcm, 3200)
			}
			b.ReportMetric(float64(len(pcm))/32000*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
		})
	}
}

func readWAV(t testing.TB, name string) (pcm []byte, rate int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(b)
	h, err := nls.ReadWAVHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	return b[len(b)-r.Len():], h.SampleRate
}

func mapSamples(pcm []byte, f func(float64) float64) []byte {
	out := make([]byte, len(pcm))
	for i := 0; i+1 < len(pcm); i += 2 {
		v := f(float64(int16(binary.LittleEndian.Uint16(pcm[i:]))))
		binary.LittleEndian.PutUint16(out[i:], uint16(int16(math.Round(max(math.MinInt16, min(math.MaxInt16, v))))))
	}
	return out
}

// gaussian adds noise.
func gaussian(rms float64) func(float64) float64 {
	random := rand.New(rand.NewPCG(9, 10))
	return func(v float64) float64 { return v + rms*random.NormFloat64() }
}
