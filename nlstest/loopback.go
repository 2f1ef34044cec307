package nlstest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest/internal/modem"
	"github.com/nlsgo/nls/nlstest/internal/vad"
)

//go:generate go test -run TestTestdata -update-testdata .

// Loopback returns the built-in Engine, which is honest about what it is.
//
// It speaks in audible tones between 450 and 3200 Hz that carry the text, about
// 150 ms a character. Volume, speech rate and pitch rate change the audio, the
// name of the voice does not. Between sentences there are 300 ms of silence, at normal speed.
//
// It reads the tones back at any of the service's sample rates: exactly, or with
// U+FFFD in the place of what was damaged and a Confidence below 1. A sentence
// ends with the silence behind it, as long as RecognitionRequest.MaxSilence, or
// with the first pause after a minute. Its Text grows by one character, and each
// character is a Word. In any other audio it finds where there is sound, and says
// so in a text such as "[speech 1.48s]", with a Confidence of 0.
func Loopback() Engine { return loopback{} }

// maxSentenceTime is the longest sentence: one that is longer ends with the next
// pause, however short.
const maxSentenceTime = 60 * time.Second

type loopback struct{}

func (loopback) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	d, err := modem.NewDecoder(q.SampleRate)
	if err != nil {
		return nil, fmt.Errorf("nlstest: %w", err)
	}
	r := &loopbackRecognition{ctx: ctx, rate: q.SampleRate, modem: d, vad: vad.New(q.SampleRate)}
	r.SetMaxSilence(cmp.Or(q.MaxSilence, vad.DefaultSilence))
	return r, nil
}

// loopbackRecognition passes all audio through the modem, and what is none of
// its sentences on to the voice activity detector.
type loopbackRecognition struct {
	ctx   context.Context
	rate  int
	pcm   pcmReader
	modem *modem.Decoder
	vad   *vad.Detector
	heard int64 // samples, as far as the detector knows
	last  time.Duration
	out   []Hypothesis

	// The sentence of tones: one or more of the modem's, with less than silence
	// between them.
	silence    time.Duration
	open       bool  // it goes on
	ended      int64 // samples; where the last of them ended, 0 while one goes on
	begin      time.Duration
	text       strings.Builder
	words      []nls.Word
	unreadable int // characters
}

func (r *loopbackRecognition) SetMaxSilence(d time.Duration) {
	r.silence = d
	r.vad.SetSilence(d)
}

func (r *loopbackRecognition) Close() error { return nil }

func (r *loopbackRecognition) Write(pcm []byte) ([]Hypothesis, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.out = nil
	r.pcm.read(pcm, func(samples []int16) { r.modem.Write(samples, r.tones) })
	return r.out, nil
}

func (r *loopbackRecognition) Finish() ([]Hypothesis, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.out = nil
	r.modem.Finish(r.tones)
	r.endTones()
	r.vad.Finish(r.sound)
	return r.out, nil
}

func (r *loopbackRecognition) time(samples int64) time.Duration {
	return samplesTime(samples, r.rate)
}

// tones takes what the modem has heard.
func (r *loopbackRecognition) tones(e modem.Event) {
	switch e.Kind {
	case modem.Other:
		if e.Begin > r.heard {
			r.vad.Skip(e.Begin-r.heard, r.sound)
		}
		r.vad.Write(e.Samples, r.sound)
		r.heard = e.End
		if r.time(e.End-r.ended) >= r.silence {
			r.endTones()
		}
	case modem.SentenceBegin:
		r.vad.Finish(r.sound)
		if r.time(e.Begin-r.ended) >= r.silence || r.time(e.Begin)-r.begin >= maxSentenceTime {
			r.endTones()
		}
		if r.open {
			break
		}
		r.open = true
		r.begin = max(r.last, r.time(e.Begin))
		r.text.Reset()
		r.words, r.unreadable = nil, 0
		r.out = append(r.out, Hypothesis{Begin: r.begin, End: r.begin})
	case modem.Character:
		r.text.WriteString(e.Text)
		r.words = append(r.words, nls.Word{Text: e.Text, Start: r.time(e.Begin), End: r.time(e.End)})
		if e.Damaged {
			r.unreadable++
		}
		r.out = append(r.out, r.hypothesis(e.End))
	case modem.SentenceEnd:
		r.ended = e.End
	}
}

// endTones ends the sentence of tones, if there is one.
func (r *loopbackRecognition) endTones() {
	if !r.open {
		return
	}
	r.open = false
	h := r.hypothesis(r.ended)
	h.Final = true
	r.last = h.End
	r.out = append(r.out, h)
}

// hypothesis is the sentence of the modem so far. Texts and words of several of
// them share their memory, as they only grow.
func (r *loopbackRecognition) hypothesis(end int64) Hypothesis {
	n := len(r.words)
	return Hypothesis{
		Text:       r.text.String(),
		Begin:      r.begin,
		End:        r.time(end),
		Confidence: float64(n-r.unreadable) / float64(max(n, 1)),
		Words:      r.words[:n:n],
	}
}

// sound takes what the voice activity detector has heard.
func (r *loopbackRecognition) sound(e vad.Event) {
	switch e.Kind {
	case vad.Begin:
		r.endTones()
		r.out = append(r.out, Hypothesis{Begin: e.Begin, End: e.Begin})
	case vad.End:
		r.last = e.End
		r.out = append(r.out, Hypothesis{
			Text:  fmt.Sprintf("[speech %.2fs]", (e.End - e.Begin).Seconds()),
			Begin: e.Begin, End: e.End, Final: true,
		})
	}
}

func (loopback) Synthesize(ctx context.Context, text string, v Voice, emit func(pcm []byte, words []nls.Subtitle) error) error {
	e, err := modem.NewEncoder(modem.Params{SampleRate: v.SampleRate, Volume: v.Volume, SpeechRate: v.SpeechRate, PitchRate: v.PitchRate})
	if err != nil {
		return fmt.Errorf("nlstest: %w", err)
	}
	var (
		piece   = make([]byte, maxAudioFrame)
		filled  int
		samples int64 // before the piece
		words   []nls.Subtitle
		chars   int
	)
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := samples + int64(filled/2)
		n := 0
		for n < len(words) && words[n].Begin < samplesTime(end, v.SampleRate) {
			n++
		}
		err := emit(piece[:filled], words[:n:n])
		words, samples, filled = words[n:], end, 0
		return err
	}
	var sp splitter
	for _, sentence := range append(sp.add(text), sp.flush()...) {
		for sentence != "" {
			n := loopbackLen(sentence)
			s, err := e.Sentence(sentence[:n])
			if err != nil {
				return fmt.Errorf("nlstest: %w", err)
			}
			sentence = sentence[n:]
			words = append(words, loopbackUnits(s.Chars, samples+int64(filled/2), chars, v.SampleRate)...)
			chars += len(s.Chars)
			for {
				n := s.Read(piece[filled:])
				if filled += n; n == 0 {
					break
				}
				if filled == len(piece) {
					if err := flush(); err != nil {
						return err
					}
				}
			}
		}
	}
	if filled > 0 {
		return flush()
	}
	return nil
}

// loopbackLen returns how many bytes of text one sentence of the modem holds.
func loopbackLen(text string) int {
	units := 0
	for i, r := range text {
		if units++; r > 0xFFFF {
			units++
		}
		if units > modem.MaxUnits {
			return i
		}
	}
	return len(text)
}

// loopbackUnits returns the subtitles of a sentence that begins at a sample and
// a character: one for each word of an alphabet, and for each other character
// that is not punctuation.
func loopbackUnits(sentence []modem.Char, sample int64, char, sampleRate int) (units []nls.Subtitle) {
	const joiner = '\u200d'
	var last rune // of the unit that may go on; 0 if none may
	for i, c := range sentence {
		r := c.Rune
		joined := unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Sk) || last == joiner || alphabetic(last) && alphabetic(r)
		end := samplesTime(sample+int64(c.End), sampleRate)
		switch {
		case unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsControl(r):
			r = 0
		case last != 0 && joined:
			u := &units[len(units)-1]
			u.Text += string(r)
			u.End, u.EndIndex = end, char+i+1
		default:
			units = append(units, nls.Subtitle{
				Text:  string(r),
				Begin: samplesTime(sample+int64(c.Begin), sampleRate), End: end,
				BeginIndex: char + i, EndIndex: char + i + 1,
				Phoneme: "null",
			})
		}
		last = r
	}
	return units
}

// alphabetic reports whether r is written in words.
func alphabetic(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

func samplesTime(n int64, rate int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(rate)
}

// pcmReader makes samples of bytes that are cut anywhere.
type pcmReader struct {
	half    byte // of a sample
	odd     bool // there is half a sample
	samples [1024]int16
}

// read calls f with the samples that pcm completes, until f returns.
func (p *pcmReader) read(pcm []byte, f func(samples []int16)) {
	n := 0
	if p.odd && len(pcm) > 0 {
		p.samples[0] = int16(p.half) | int16(pcm[0])<<8
		p.odd, pcm, n = false, pcm[1:], 1
	}
	for ; len(pcm) >= 2; pcm = pcm[2:] {
		p.samples[n] = int16(binary.LittleEndian.Uint16(pcm))
		if n++; n == len(p.samples) {
			f(p.samples[:n])
			n = 0
		}
	}
	if n > 0 {
		f(p.samples[:n])
	}
	if len(pcm) > 0 {
		p.half, p.odd = pcm[0], true
	}
}
