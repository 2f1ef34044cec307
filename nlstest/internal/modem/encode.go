package modem

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf16"
)

// Params are the properties of a voice.
type Params struct {
	SampleRate int // hertz, MinSampleRate to MaxSampleRate
	Volume     int // 0, which is digital silence, to 100; 50 is normal, and amplitude is linear
	SpeechRate int // -500, half the speed, to 500, twice the speed
	PitchRate  int // -500, three semitones down, to 500, three up
}

// Encoder turns sentences into audio. It does not change and may be shared.
//
// It calculates with integers, so that it makes the same bytes on every machine.
type Encoder struct {
	p     Params
	speed float64
	pitch float64
	pilot uint32        // phase increments, 1<<32 is a period per sample
	plain [tones]uint32 // of the header
	voice [tones]uint32 // of the units
	ramp  []int64       // rising edge of a tone, 1<<15 is full
	gain  int64         // of each of two tones, 1<<15 is full scale
}

// NewEncoder returns an Encoder for a voice.
func NewEncoder(p Params) (*Encoder, error) {
	if err := checkSampleRate(p.SampleRate); err != nil {
		return nil, err
	}
	if p.Volume < 0 || p.Volume > 100 {
		return nil, fmt.Errorf("modem: volume %d is not between 0 and 100", p.Volume)
	}
	if max(p.SpeechRate, -p.SpeechRate, p.PitchRate, -p.PitchRate) > 500 {
		return nil, fmt.Errorf("modem: rates %d and %d are not between -500 and 500", p.SpeechRate, p.PitchRate)
	}
	h := header{speed: rateCode(p.SpeechRate), pitch: rateCode(p.PitchRate)}
	e := &Encoder{p: p, speed: h.speedFactor(), pitch: h.pitchFactor()}
	e.pilot = e.increment(pilotHz)
	for t := range tones {
		e.plain[t] = e.increment(toneHz(t, 1))
		e.voice[t] = e.increment(toneHz(t, e.pitch))
	}
	// Edges of 1.2 ms keep clicks out of the audio, and are a tenth of the
	// shortest symbol, which is what the decoder leaves out on both sides.
	e.ramp = make([]int64, int(0.0012*float64(p.SampleRate)))
	for i := range e.ramp {
		phase := (float64(i) + 0.5) / float64(len(e.ramp))
		e.ramp[i] = int64(math.Round((1 - math.Cos(math.Pi*phase)) / 2 * (1 << 15)))
	}
	// Two tones of 0.4 each reach 0.8 of full scale at volume 100.
	e.gain = int64(p.Volume) * (1 << 15) * 4 / 1000
	return e, nil
}

func (e *Encoder) increment(hz float64) uint32 {
	return uint32(math.Round(hz / float64(e.p.SampleRate) * (1 << 32)))
}

// Char is a character of a sentence and its place in the audio, in samples from
// the start of the sentence.
type Char struct {
	Rune       rune
	Begin, End int
}

// Sentence is the audio of one sentence, made while it is read.
type Sentence struct {
	Chars []Char
	Len   int // samples, with the silence behind

	e        *Encoder
	segments []segment
	pos      int
	a, b     uint32 // phases
}

// segment is a stretch of one sound, up to a sample.
type segment struct {
	begin, end int
	a, b       uint32 // phase increments; both zero is silence, one the pilot
}

// Sentence returns the audio of a text of 1 to MaxUnits UTF-16 code units.
// Bytes that are not UTF-8 become U+FFFD.
func (e *Encoder) Sentence(text string) (*Sentence, error) {
	runes := []rune(text)
	units := utf16.Encode(runes)
	if len(units) == 0 {
		return nil, errors.New("modem: empty sentence")
	}
	if len(units) > MaxUnits {
		return nil, fmt.Errorf("modem: sentence of %d units, more than %d", len(units), MaxUnits)
	}
	h := header{
		speed:     rateCode(e.p.SpeechRate),
		pitch:     rateCode(e.p.PitchRate),
		count:     uint64(len(units)),
		textCheck: textCheck(units),
	}.pack()

	s := &Sentence{e: e, Chars: make([]Char, 0, len(runes)), segments: make([]segment, 0, 2+headerSymbols+len(units)*(1+unitSymbols))}
	var t float64 // seconds
	add := func(seconds float64, a, b uint32) {
		t += seconds
		s.segments = append(s.segments, segment{s.Len, int(math.Round(t * float64(e.p.SampleRate))), a, b})
		s.Len = s.segments[len(s.segments)-1].end
	}
	symbols := func(bits uint64, n int, seconds float64, inc *[tones]uint32) {
		for i := n - 1; i >= 0; i-- {
			six := bits >> (i * symbolBits)
			add(seconds, inc[six>>3&7], inc[8+six&7])
		}
	}
	add(pilotTime, e.pilot, 0)
	symbols(h, headerSymbols, headerSymbolTime, &e.plain)
	i := 0
	for _, r := range runes {
		begin := s.Len
		for range utf16.RuneLen(r) {
			add(gapTime/e.speed, 0, 0)
			symbols(uint64(packUnit(h, i, units[i])), unitSymbols, symbolTime/e.speed, &e.voice)
			i++
		}
		s.Chars = append(s.Chars, Char{r, begin, s.Len})
	}
	add(silenceTime/e.speed, 0, 0)
	return s, nil
}

// Read fills pcm with whole little-endian samples and returns the bytes
// written, 0 at the end of the sentence.
func (s *Sentence) Read(pcm []byte) int {
	n := 0
	for len(s.segments) > 0 && n+1 < len(pcm) {
		seg := &s.segments[0]
		for ; s.pos < seg.end && n+1 < len(pcm); s.pos++ {
			v := s.sample(seg)
			pcm[n], pcm[n+1] = byte(v), byte(v>>8)
			n += 2
		}
		if s.pos == seg.end {
			s.segments = s.segments[1:]
			s.a, s.b = 0, 0
		}
	}
	return n
}

func (s *Sentence) sample(seg *segment) int64 {
	var v int64
	switch {
	case seg.a == 0:
		return 0
	case seg.b == 0:
		v = sine[s.a>>sineShift] * 181 / 128 // √2: as loud as two tones
	default:
		v = sine[s.a>>sineShift] + sine[s.b>>sineShift]
	}
	s.a += seg.a
	s.b += seg.b
	v = v * s.e.gain >> 15
	edge := min(s.pos-seg.begin, seg.end-1-s.pos)
	if edge < len(s.e.ramp) {
		v = v * s.e.ramp[edge] >> 15
	}
	return v
}

const sineShift = 32 - 12

// sine is one period at full scale.
var sine = func() (t [1 << 12]int64) {
	for i := range t {
		t[i] = int64(math.Round(math.Sin(2*math.Pi*float64(i)/float64(len(t))) * math.MaxInt16))
	}
	return t
}()
