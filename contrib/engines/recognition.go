//go:build linux && (amd64 || arm64)

package engines

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

const (
	modelRate = 16000 // of pocketsphinx-en-us
	step      = 100 * time.Millisecond
	lead      = 300 * time.Millisecond // before a sound that belongs to it: consonants are soft
	memory    = time.Second            // of audio before a sound is noticed
	longest   = time.Minute            // sentence; the decoder's memory grows with it
)

// frames is a word and where it is in an utterance, in hundredths of a second.
type frames struct {
	text        string
	first, last int32
}

// recognition is an nlstest.Recognition. What the voice activity detection of nlstest
// takes for a stretch of sound is an utterance for the decoder, and a sentence if there
// are words in it.
type recognition struct {
	rate    int
	voice   nlstest.Recognition
	free    func()     // of the decoder
	up      *resampler // to the rate of the model; nil if it is that
	stop    string     // at the end of a sentence
	odd     []byte     // half a sample
	past    []int16    // the last of the audio, no more than memory
	pos     int64      // samples so far
	decoder *decoder

	open  bool          // there is an utterance
	from  time.Duration // where it begins
	begin time.Duration // where the sound in it does
	text  string        // so far
	out   []nlstest.Hypothesis
}

func (e *Engine) newRecognition(ctx context.Context, req nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	select {
	case e.decoders <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	// The text of the script is not looked at, only where its sentences are.
	voice, err := nlstest.Script("-").Recognize(ctx, req)
	var d *decoder
	if err == nil {
		d, err = e.sphinx.newDecoder()
	}
	if err != nil {
		<-e.decoders
		return nil, err
	}
	r := &recognition{rate: req.SampleRate, voice: voice, decoder: d, free: func() { d.free(); <-e.decoders }}
	if r.stop = "."; req.Namespace == "SpeechRecognizer" {
		r.stop = ". " // its sentences are one text
	}
	if r.rate != modelRate {
		r.up = newResampler(r.rate, modelRate)
	}
	return r, nil
}

func (r *recognition) Close() error {
	r.free()
	return r.voice.Close()
}

// SetMaxSilence is nlstest.SilenceSetter.
func (r *recognition) SetMaxSilence(d time.Duration) {
	r.voice.(nlstest.SilenceSetter).SetMaxSilence(d)
}

func (r *recognition) time(samples int64) time.Duration {
	return time.Duration(samples) * time.Second / time.Duration(r.rate)
}

func (r *recognition) Write(pcm []byte) ([]nlstest.Hypothesis, error) {
	r.out = nil
	pcm = append(r.odd, pcm...)
	size := 2 * int(int64(step)*int64(r.rate)/int64(time.Second))
	for len(pcm) >= 2 {
		n := min(size, len(pcm)&^1)
		if err := r.piece(pcm[:n]); err != nil {
			return nil, err
		}
		pcm = pcm[n:]
	}
	r.odd = append([]byte(nil), pcm...)
	return r.out, nil
}

func (r *recognition) Finish() ([]nlstest.Hypothesis, error) {
	r.out = nil
	found, err := r.voice.Finish()
	if err == nil {
		err = r.follow(found)
	}
	return r.out, err
}

// piece takes the next samples.
func (r *recognition) piece(pcm []byte) error {
	samples := make([]int16, len(pcm)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(pcm[2*i:]))
	}
	found, err := r.voice.Write(pcm)
	if err != nil {
		return err
	}
	r.pos += int64(len(samples))
	if r.past = append(r.past, samples...); r.time(int64(len(r.past))) > 2*memory {
		r.past = append([]int16(nil), r.past[len(r.past)/2:]...)
	}
	if r.open {
		if err := r.feed(samples); err != nil {
			return err
		}
	}
	if err := r.follow(found); err != nil || !r.open {
		return err
	}
	if r.time(r.pos)-r.from >= longest {
		if err := r.endSentence(r.time(r.pos)); err != nil {
			return err
		}
		return r.beginUtterance(r.time(r.pos), 0)
	}
	return r.listen()
}

// follow begins and ends utterances as the voice activity detection says.
func (r *recognition) follow(found []nlstest.Hypothesis) error {
	for _, h := range found {
		switch {
		case h.Final && r.open:
			if err := r.endSentence(h.End); err != nil {
				return err
			}
		case !h.Final && !r.open:
			if err := r.beginUtterance(h.Begin, lead); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginUtterance begins one with the sound at begin.
func (r *recognition) beginUtterance(begin, lead time.Duration) error {
	if err := r.decoder.begin(); err != nil {
		return err
	}
	r.open, r.begin, r.text = true, begin, ""
	n := int64(len(r.past))
	ago := r.pos - int64((begin-lead)*time.Duration(r.rate)/time.Second)
	ago = min(max(ago, 0), n)
	r.from = r.time(r.pos - ago)
	return r.feed(r.past[n-ago:])
}

// feed gives the decoder samples at the rate of its model.
func (r *recognition) feed(samples []int16) error {
	if r.up != nil {
		samples = r.up.write(samples)
	}
	return r.decoder.write(samples)
}

// listen tells what is new in the utterance. The sentence begins with its first word.
func (r *recognition) listen() error {
	text := r.decoder.text()
	if text == r.text || text == "" {
		return nil
	}
	r.text = text
	r.out = append(r.out, nlstest.Hypothesis{Text: text, Begin: r.begin, End: r.time(r.pos), Words: r.words()})
	return nil
}

// endSentence ends the utterance, and the sentence if there are words in it.
func (r *recognition) endSentence(end time.Duration) error {
	r.open = false
	if err := r.decoder.end(); err != nil {
		return err
	}
	text := r.decoder.text()
	if text == "" && r.text == "" {
		return nil
	}
	h := nlstest.Hypothesis{Begin: r.begin, End: end, Final: true, Words: r.words()}
	if text != "" {
		h.Text, h.Confidence = text+r.stop, r.decoder.confidence(len(h.Words))
	}
	r.out = append(r.out, h)
	return nil
}

func (r *recognition) words() []nls.Word {
	heard := r.decoder.words()
	words := make([]nls.Word, len(heard))
	at := func(frame int32) time.Duration { return r.from + time.Duration(frame)*10*time.Millisecond }
	for i, w := range heard {
		words[i] = nls.Word{Text: w.text, Start: at(w.first), End: at(w.last + 1)}
	}
	return words
}
