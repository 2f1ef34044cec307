package modem

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/effort"
)

var seeds = flag.Int("seeds", 1000, "how many random losses, repeats and swaps to try")

// texts are sentences with everything in them that a text may have.
var texts = []string{"你好，世界。", "Hello, Go! 🎙 ", "<a href=\"x\">1 & 2</a>\n", "👨‍👩‍👧‍👦 家人；"}

var sampleRates = []int{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000}

// speak returns the audio of sentences.
func speak(t testing.TB, p Params, texts ...string) []int16 {
	t.Helper()
	e, err := NewEncoder(p)
	if err != nil {
		t.Fatal(err)
	}
	var x []int16
	buf := make([]byte, 1001)
	for _, text := range texts {
		s, err := e.Sentence(text)
		if err != nil {
			t.Fatal(err)
		}
		before := len(x)
		for n := s.Read(buf); n > 0; n = s.Read(buf) {
			for i := 0; i < n; i += 2 {
				x = append(x, int16(binary.LittleEndian.Uint16(buf[i:])))
			}
		}
		if len(x)-before != s.Len {
			t.Fatalf("%q: %d samples read, Len is %d", text, len(x)-before, s.Len)
		}
	}
	return x
}

// heard is what a Decoder told.
type heard struct {
	events []Event // without Samples
	text   string
	marks  int // of damage
	other  int // samples outside sentences
}

// hear decodes x in pieces of the lengths that cut returns.
func hear(t testing.TB, rate int, x []int16, cut func() int) heard {
	t.Helper()
	d, err := NewDecoder(rate)
	if err != nil {
		t.Fatal(err)
	}
	var h heard
	inside := false
	emit := func(e Event) {
		switch e.Kind {
		case Other:
			if inside {
				t.Error("other audio inside a sentence")
			}
			h.other += len(e.Samples)
			return
		case SentenceBegin:
			if inside {
				t.Error("sentence begins inside a sentence")
			}
			inside = true
		case Character:
			h.text += e.Text
			if e.Damaged {
				h.marks++
			}
			fallthrough
		default:
			if !inside {
				t.Errorf("%v outside a sentence", e)
			}
			inside = inside && e.Kind != SentenceEnd
		}
		h.events = append(h.events, e)
	}
	for len(x) > 0 {
		n := min(len(x), cut())
		d.Write(x[:n], emit)
		x = x[n:]
		if cap(d.buf) > rate*2+8192 {
			t.Fatalf("decoder keeps %d samples", cap(d.buf))
		}
	}
	d.Finish(emit)
	if inside {
		t.Error("sentence does not end")
	}
	return h
}

func every(n int) func() int { return func() int { return n } }

// wantText fails unless exactly the texts were heard.
func wantText(t testing.TB, h heard, texts ...string) {
	t.Helper()
	if want := strings.Join(texts, ""); h.text != want || h.marks != 0 {
		t.Errorf("heard %q with %d marks, want %q", h.text, h.marks, want)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, rate := range sampleRates {
		for _, voice := range []Params{
			{Volume: 50}, {Volume: 1}, {Volume: 100},
			{Volume: 50, SpeechRate: -500}, {Volume: 50, SpeechRate: 500}, {Volume: 50, SpeechRate: 123},
			{Volume: 50, PitchRate: -500}, {Volume: 50, PitchRate: 500}, {Volume: 50, PitchRate: -77},
			{Volume: 100, SpeechRate: 500, PitchRate: -500}, {Volume: 100, SpeechRate: -500, PitchRate: 500},
		} {
			voice.SampleRate = rate
			t.Run(fmt.Sprint(voice), func(t *testing.T) {
				wantText(t, hear(t, rate, speak(t, voice, "你好，", "🎙!"), every(3200)), "你好，", "🎙!")
			})
		}
	}
}

func TestLongestSentence(t *testing.T) {
	text := strings.Repeat("长", MaxUnits)
	for _, speech := range []int{-500, 500} {
		x := speak(t, Params{8000, 50, speech, 0}, text)
		wantText(t, hear(t, 8000, x, every(1000)), text)
	}
}

func TestCutDoesNotMatter(t *testing.T) {
	x := speak(t, Params{16000, 50, 0, 0}, texts...)
	// With damage of each kind, silence, and an end in the middle of a unit.
	x = slices.Concat(make([]int16, 592), x[:9000], x[9320:30000], x[29680:100000], make([]int16, 5000), x[100000:len(x)-6000])
	want := hear(t, 16000, x, every(len(x)))
	if want.marks == 0 {
		t.Error("no damage seen")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, cut := range map[string]func() int{
		"1": every(1), "7": every(7), "320": every(320), "1600": every(1600),
		"random": func() int { return 1 + random.IntN(5000) },
	} {
		t.Run(name, func(t *testing.T) {
			got := hear(t, 16000, x, cut)
			if got.text != want.text || got.other != want.other || fmt.Sprint(got.events) != fmt.Sprint(want.events) {
				t.Errorf("heard %q, want %q", got.text, want.text)
			}
		})
	}
}

func TestSurvives(t *testing.T) {
	effort.Long(t)
	texts := texts[:2]
	clean := speak(t, Params{16000, 50, 0, 0}, texts...)
	narrow := speak(t, Params{8000, 50, 0, 0}, texts...)
	for _, tc := range []struct {
		name string
		rate int
		x    []int16
	}{
		{"half gain", 16000, gain(clean, 0.5)},
		{"a fiftieth of the gain", 16000, gain(clean, 0.02)},
		{"clipping", 16000, gain(clean, 4)},
		{"37 ms of silence in front", 16000, slices.Concat(make([]int16, 592), clean)},
		{"1 ms of silence in front", 8000, slices.Concat(make([]int16, 8), narrow)},
		{"a WAV header read as samples", 16000, slices.Concat(riff(), clean)},
		{"offset", 16000, offset(clean, 3000)},
		{"16 kHz to 8 kHz", 8000, resample(clean, 0.5)},
		{"16 kHz to 8 kHz and back", 16000, resample(resample(clean, 0.5), 2)},
		{"8 kHz to 16 kHz", 16000, resample(narrow, 2)},
		{"a clock that is 0.2 % fast", 16000, resample(clean, 0.998)},
		{"a clock that is 0.2 % slow", 16000, resample(clean, 1.002)},
		{"10 dB of noise", 16000, noise(clean, 10, 1)},
		{"10 dB of noise at 8 kHz", 8000, noise(narrow, 10, 2)},
		{"8 bits", 16000, coarse(clean, 8)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantText(t, hear(t, tc.rate, tc.x, every(640)), texts...)
		})
	}
}

func TestNoiseAtAnySpeedAndPitch(t *testing.T) {
	effort.Long(t)
	texts := texts[:2]
	for _, rate := range []int{8000, 16000} {
		for _, speech := range []int{-500, 0, 500} {
			for _, pitch := range []int{-500, 0, 500} {
				for seed := range uint64(2) {
					x := noise(speak(t, Params{rate, 50, speech, pitch}, texts...), 10, seed)
					h := hear(t, rate, x, every(640))
					if want := strings.Join(texts, ""); h.text != want {
						t.Errorf("%d Hz, speed %d, pitch %d, seed %d: heard %q", rate, speech, pitch, seed, h.text)
					}
				}
			}
		}
	}
}

// TestFrameHammer loses, repeats or swaps 20 ms anywhere: what is heard is the
// right text, or it bears a mark of damage and nothing that was not sent.
func TestFrameHammer(t *testing.T) {
	effort.Long(t)
	var intact, marked, wrong, strange int
	texts := []string{"你好。", "Go! 🎙"}
	want := strings.Join(texts, "")
	for _, p := range []Params{{8000, 50, 0, 0}, {16000, 50, 0, 0}, {8000, 50, 500, -500}, {8000, 50, -500, 500}} {
		x := speak(t, p, texts...)
		for seed := range effort.Times(*seeds/4, *seeds/24) {
			y, what := hit(x, p.SampleRate/50, uint64(seed))
			h := hear(t, p.SampleRate, y, every(3200))
			switch {
			case h.text == want && h.marks == 0:
				intact++
			case h.marks == 0 || !strings.Contains(h.text, Damage):
				wrong++
				t.Errorf("%v seed %d, %s: heard %q", p, seed, what, h.text)
			default:
				marked++
				if !within(h.text, want) {
					strange++
				}
			}
		}
	}
	t.Logf("%d right, %d marked (%d of them with a character that was not sent), %d wrong", intact, marked, strange, wrong)
	if intact == 0 || marked == 0 {
		t.Error("the hammer misses")
	}
}

// hit damages one frame of x, or swaps two.
func hit(x []int16, frame int, seed uint64) ([]int16, string) {
	random := rand.New(rand.NewPCG(seed, 20))
	i := random.IntN(len(x) - 2*frame)
	a := x[i : i+frame]
	switch random.IntN(4) {
	case 0:
		return slices.Concat(x[:i], x[i+frame:]), fmt.Sprintf("frame at %d lost", i)
	case 1:
		return slices.Concat(x[:i], a, x[i:]), fmt.Sprintf("frame at %d repeated", i)
	case 2:
		return slices.Concat(x[:i], x[i+frame:i+2*frame], a, x[i+2*frame:]), fmt.Sprintf("frame at %d swapped with the next", i)
	default:
		j := i + frame + random.IntN(len(x)-i-2*frame+1)
		return slices.Concat(x[:i], x[j:j+frame], x[i+frame:j], a, x[j+frame:]), fmt.Sprintf("frames at %d and %d swapped", i, j)
	}
}

// within reports whether got is want with parts missing or marked.
func within(got, want string) bool {
	w := []rune(want)
	for _, r := range got {
		if string(r) == Damage {
			continue
		}
		i := slices.Index(w, r)
		if i < 0 {
			return false
		}
		w = w[i+1:]
	}
	return true
}

// TestLostChunk loses, repeats or silences what a network message holds: the
// text around the place is still read.
func TestLostChunk(t *testing.T) {
	effort.Long(t)
	text := "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸。"
	x := speak(t, Params{16000, 50, 0, 0}, text, "完。")
	for _, ms := range []int{40, 100, 200, 500, 1000} {
		n := 16 * ms
		for _, at := range []int{20000, 25000, 30001} {
			for name, y := range map[string][]int16{
				"lost":     slices.Concat(x[:at], x[at+n:]),
				"repeated": slices.Concat(x[:at+n], x[at:]),
				"silenced": slices.Concat(x[:at], make([]int16, n), x[at+n:]),
			} {
				t.Run(fmt.Sprint(name, ms, at), func(t *testing.T) {
					h := hear(t, 16000, y, every(3200))
					if !strings.HasSuffix(h.text, "完。") {
						t.Errorf("next sentence lost: %q", h.text)
					}
					if h.marks == 0 && h.text != text+"完。" || !within(h.text, text+"完。") {
						t.Errorf("heard %q", h.text)
					}
					if least := 20 - 2*(ms/150+3); name != "silenced" && strings.Count(h.text, "")-1-h.marks < least {
						t.Errorf("heard only %q, want %d characters", h.text, least)
					}
				})
			}
		}
	}
}

func TestDamagedHeader(t *testing.T) {
	x := speak(t, Params{16000, 50, 0, 0}, "你好。")
	y := slices.Concat(x[:1600], x[1920:], x)
	h := hear(t, 16000, y, every(100))
	if h.text != Damage+"你好。" || h.marks != 1 {
		t.Errorf("heard %q, want one mark and the next sentence", h.text)
	}
}

func TestCutOff(t *testing.T) {
	effort.Long(t)
	text := "你好，世界。"
	x := speak(t, Params{16000, 50, 0, 0}, text)
	for n := 0; n < len(x); n += 200 {
		h := hear(t, 16000, slices.Concat(x[:n], x), every(3200))
		if !strings.HasSuffix(h.text, text) {
			t.Errorf("after %d samples: heard %q, want the next sentence right", n, h.text)
		}
		h = hear(t, 16000, x[:n], every(3200))
		if h.text != text && h.text != "" && (h.marks != 1 || !within(h.text, text)) {
			t.Errorf("%d samples: heard %q", n, h.text)
		}
	}
	// The silence behind is not needed, nor the tail of the last tone.
	wantText(t, hear(t, 16000, x[:len(x)-4800], every(3200)), text)
}

func TestPlaces(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		for _, speech := range []int{-500, 0, 500} {
			e, err := NewEncoder(Params{rate, 50, speech, 0})
			if err != nil {
				t.Fatal(err)
			}
			s, err := e.Sentence("好🎙。")
			if err != nil {
				t.Fatal(err)
			}
			lead := 1000
			x := slices.Concat(make([]int16, lead), speak(t, e.p, "好🎙。"))
			h := hear(t, rate, x, every(500))
			near := func(what string, got int64, want int) {
				if math.Abs(float64(got)-float64(want)) > 0.003*float64(rate) {
					t.Errorf("%d Hz, speed %d: %s at %d, want %d", rate, speech, what, got, want)
				}
			}
			if len(h.events) != 5 {
				t.Fatalf("events: %v", h.events)
			}
			near("begin", h.events[0].Begin, lead)
			for i, c := range s.Chars {
				near("begin of "+string(c.Rune), h.events[1+i].Begin, lead+c.Begin)
				near("end of "+string(c.Rune), h.events[1+i].End, lead+c.End)
			}
			near("end", h.events[4].End, lead+s.Chars[2].End)
		}
	}
}

func TestVoiceChangesTheAudio(t *testing.T) {
	text := "你好，世界。"
	plain := speak(t, Params{16000, 50, 0, 0}, text)
	loud := func(x []int16) float64 { p, _ := power(x, 1); return math.Sqrt(p) }
	for _, tc := range []struct {
		name     string
		got, min float64
		max      float64
	}{
		{"volume 100 is twice as loud", loud(speak(t, Params{16000, 100, 0, 0}, text)) / loud(plain), 1.99, 2.01},
		{"volume 25 is half as loud", loud(speak(t, Params{16000, 25, 0, 0}, text)) / loud(plain), 0.49, 0.51},
		{"volume 0 is silence", loud(speak(t, Params{16000, 0, 0, 0}, text)), 0, 0},
		{"speed 500 is about twice as fast", float64(len(speak(t, Params{16000, 50, 500, 0}, text))) / float64(len(plain)), 0.5, 0.6},
		{"speed -500 is about half as fast", float64(len(speak(t, Params{16000, 50, -500, 0}, text))) / float64(len(plain)), 1.8, 2},
		{"pitch 500 has more zero crossings", crossings(speak(t, Params{16000, 50, 0, 500}, text)) / crossings(plain), 1.08, 1.2},
		{"pitch -500 has fewer zero crossings", crossings(speak(t, Params{16000, 50, 0, -500}, text)) / crossings(plain), 0.83, 0.92},
	} {
		if tc.got < tc.min || tc.got > tc.max {
			t.Errorf("%s: factor %.3f, want %.2f to %.2f", tc.name, tc.got, tc.min, tc.max)
		}
	}
	if peak := slices.Max(speak(t, Params{48000, 100, 0, 0}, texts...)); peak > math.MaxInt16*9/10 {
		t.Errorf("peak %d at volume 100", peak)
	}
}

// TestTonesStayInBand measures that 99 % of the power is between 450 and 3200 Hz.
func TestTonesStayInBand(t *testing.T) {
	effort.Long(t)
	for _, pitch := range []int{-500, 0, 500} {
		x := speak(t, Params{16000, 50, 0, pitch}, texts...)
		var in, out float64
		for hz := 10.0; hz < 8000; hz += 100 {
			var coef, t [4]float64
			for k := range coef {
				coef[k] = 2 * math.Cos(2*math.Pi*(hz+25*float64(k))/16000)
			}
			for i := 0; i+1600 <= len(x); i += 1600 {
				goertzel(x[i:i+1600], 1, coef[:], t[:])
				for k, power := range t {
					if hz := hz + 25*float64(k); hz >= 400 && hz <= 3250 {
						in += power
					} else {
						out += power
					}
				}
			}
		}
		if out > in/100 { // the sidebands of keying
			t.Errorf("pitch %d: %.2g of the power is out of band", pitch, out/in)
		}
	}
}

func TestOtherAudioIsGivenBack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, x := range map[string][]int16{
		"silence": make([]int16, 32000),
		"noise":   noise(make([]int16, 32000), 0, 1),
		"tone":    sineWave(1000, 32000),
		"music":   mix(sineWave(820, 32000), sineWave(1660, 32000), sineWave(2210, 32000)),
		"clicks": func() []int16 {
			x := make([]int16, 32000)
			for range 50 {
				x[random.IntN(len(x))] = 20000
			}
			return x
		}(),
		"short": make([]int16, 5),
	} {
		t.Run(name, func(t *testing.T) {
			h := hear(t, 16000, x, every(1000))
			if len(h.events) != 0 || h.other != len(x) {
				t.Errorf("%d events, %d of %d samples given back", len(h.events), h.other, len(x))
			}
		})
	}
}

// TestNoSingleSymbolMakesAnotherUnit shows that the checksum sees every error
// of one symbol, and every pair of units that differ in one bit.
func TestNoSingleSymbolMakesAnotherUnit(t *testing.T) {
	const h = 0x123456789abcdef
	for i := range unitSymbols {
		for e := uint32(1); e < 1<<symbolBits; e++ {
			err := e << (i * symbolBits)
			a := packUnit(h, 7, 0)
			if b := a ^ err; packUnit(h, 7, uint16(b>>unitCheckBits)) == b {
				t.Errorf("error %030b is not seen", err)
			}
		}
	}
	a := packUnit(h, 7, '好')
	for i := range 16 {
		b := packUnit(h, 7, '好'^1<<i)
		if bits.OnesCount32(a^b) < 3 {
			t.Errorf("units differ in %030b only", a^b)
		}
	}
}

func TestBadParams(t *testing.T) {
	for _, p := range []Params{{7999, 50, 0, 0}, {48001, 50, 0, 0}, {16000, -1, 0, 0}, {16000, 101, 0, 0}, {16000, 50, 501, 0}, {16000, 50, -501, 0}, {16000, 50, 0, 501}, {16000, 50, 0, -501}} {
		if _, err := NewEncoder(p); err == nil {
			t.Errorf("%v is accepted", p)
		}
	}
	if _, err := NewDecoder(0); err == nil {
		t.Error("sample rate 0 is accepted")
	}
	e, err := NewEncoder(Params{16000, 50, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", strings.Repeat("a", MaxUnits+1), strings.Repeat("🎙", MaxUnits/2+1)} {
		if _, err := e.Sentence(text); err == nil {
			t.Errorf("sentence of %d bytes is accepted", len(text))
		}
	}
}

// FuzzDecoder gives the decoder any samples, and audio with any part replaced.
func FuzzDecoder(f *testing.F) {
	clean := speak(f, Params{8000, 50, 0, 0}, "你好。", "Go!")
	f.Add([]byte("RIFF"), uint16(100), uint8(7))
	f.Add([]byte{0, 0, 0, 0}, uint16(3000), uint8(0))
	raw := make([]byte, 4000)
	for i, v := range clean[:2000] {
		binary.LittleEndian.PutUint16(raw[2*i:], uint16(v))
	}
	f.Add(raw, uint16(2222), uint8(255))
	f.Fuzz(func(t *testing.T, raw []byte, at uint16, cut uint8) {
		x := make([]int16, len(raw)/2)
		for i := range x {
			x[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
		hear(t, 8000, x, every(int(cut)+1))
		i := min(int(at), len(clean))
		y := slices.Concat(clean[:i], x, clean[min(i+len(x)/2, len(clean)):])
		if h := hear(t, 8000, y, every(int(cut)+1)); h.marks == 0 && !within(h.text, "你好。Go!") {
			t.Errorf("heard %q", h.text)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	clean := speak(b, Params{16000, 50, 0, 0}, strings.Repeat("你好，世界。", 4))
	for name, x := range map[string][]int16{
		"data":    clean,
		"noise":   noise(make([]int16, len(clean)), 0, 1),
		"silence": make([]int16, len(clean)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, err := NewDecoder(16000)
				if err != nil {
					b.Fatal(err)
				}
				for i := 0; i < len(x); i += 1600 {
					d.Write(x[i:min(i+1600, len(x))], func(Event) {})
				}
				d.Finish(func(Event) {})
			}
			b.ReportMetric(float64(len(x))/16000*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	e, err := NewEncoder(Params{16000, 50, 0, 0})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	buf := make([]byte, 8000)
	for b.Loop() {
		s, err := e.Sentence(strings.Repeat("你好，世界。", 4))
		if err != nil {
			b.Fatal(err)
		}
		for s.Read(buf) > 0 {
		}
		n += s.Len
	}
	b.ReportMetric(float64(n)/16000/b.Elapsed().Seconds(), "x-realtime")
}

func clip(f float64) int16 {
	return int16(math.Round(max(math.MinInt16, min(math.MaxInt16, f))))
}

func each(x []int16, f func(float64) float64) []int16 {
	y := make([]int16, len(x))
	for i, v := range x {
		y[i] = clip(f(float64(v)))
	}
	return y
}

func gain(x []int16, g float64) []int16   { return each(x, func(f float64) float64 { return f * g }) }
func offset(x []int16, o float64) []int16 { return each(x, func(f float64) float64 { return f + o }) }

func coarse(x []int16, bits int) []int16 {
	step := float64(int(1) << (16 - bits))
	return each(x, func(f float64) float64 { return math.Round(f/step) * step })
}

// noise adds white noise at a signal-to-noise ratio in decibels; to silence, it
// adds noise of 3000.
func noise(x []int16, snr float64, seed uint64) []int16 {
	random := rand.New(rand.NewPCG(seed, 10))
	p, _ := power(x, 1)
	rms := math.Sqrt(p) * math.Pow(10, -snr/20)
	if p == 0 {
		rms = 3000
	}
	return each(x, func(f float64) float64 { return f + rms*random.NormFloat64() })
}

// resample changes the number of samples by a factor with a windowed sinc.
func resample(x []int16, factor float64) []int16 {
	y := make([]int16, int(float64(len(x))*factor))
	cutoff := min(1, factor) * 0.95
	const half = 8
	for i := range y {
		center := float64(i) / factor
		var sum float64
		for k := int(center) - half; k <= int(center)+half; k++ {
			if k < 0 || k >= len(x) {
				continue
			}
			d := center - float64(k)
			w := cutoff * (0.5 + 0.5*math.Cos(math.Pi*d/(half+1)))
			if d != 0 {
				w *= math.Sin(math.Pi*d*cutoff) / (math.Pi * d * cutoff)
			}
			sum += w * float64(x[k])
		}
		y[i] = clip(sum)
	}
	return y
}

func sineWave(hz float64, n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = clip(8000 * math.Sin(2*math.Pi*hz*float64(i)/16000))
	}
	return x
}

func mix(parts ...[]int16) []int16 {
	y := make([]int16, len(parts[0]))
	for _, x := range parts {
		for i, v := range x {
			y[i] += v
		}
	}
	return y
}

func crossings(x []int16) float64 {
	n := 0
	for i := range x[1:] {
		if (x[i] < 0) != (x[i+1] < 0) {
			n++
		}
	}
	return float64(n)
}

// riff is 44 bytes of WAV header as samples.
func riff() []int16 {
	b := []byte("RIFF\x24\x00\x01\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x01\x00")
	x := make([]int16, len(b)/2)
	for i := range x {
		x[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return x
}
