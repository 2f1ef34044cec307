package nlstest

import (
	"context"
	"fmt"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest/internal/vad"
)

// Script returns an Engine that answers any audio with sentences, one for each
// stretch of sound, and that synthesises as Loopback does. Each recognition
// begins with the first sentence, and with it again after the last. Without
// sentences it hears nothing.
//
// While the sound goes on the text grows, as if one character were spoken every
// 200 ms. In the end each character is a Word, all of the same length.
func Script(sentences ...string) Engine {
	s := script{}
	for _, text := range sentences {
		s.sentences = append(s.sentences, []rune(text))
	}
	return s
}

const scriptPace = 200 * time.Millisecond

type script struct {
	loopback
	sentences [][]rune
}

func (s script) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	if q.SampleRate <= 0 {
		return nil, fmt.Errorf("nlstest: sample rate %d", q.SampleRate)
	}
	r := &scriptRecognition{ctx: ctx, sentences: s.sentences, vad: vad.New(q.SampleRate)}
	if q.MaxSilence > 0 {
		r.SetMaxSilence(q.MaxSilence)
	}
	return r, nil
}

type scriptRecognition struct {
	ctx       context.Context
	sentences [][]rune
	pcm       pcmReader
	vad       *vad.Detector
	out       []Hypothesis

	said  int // sentences
	shown int // characters of the sentence that goes on
}

func (r *scriptRecognition) SetMaxSilence(d time.Duration) { r.vad.SetSilence(d) }

func (r *scriptRecognition) Write(pcm []byte) ([]Hypothesis, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.out = nil
	r.pcm.read(pcm, func(samples []int16) { r.vad.Write(samples, r.sound) })
	return r.out, nil
}

func (r *scriptRecognition) Finish() ([]Hypothesis, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	r.out = nil
	r.vad.Finish(r.sound)
	return r.out, nil
}

func (r *scriptRecognition) Close() error { return nil }

func (r *scriptRecognition) sound(e vad.Event) {
	if len(r.sentences) == 0 {
		return
	}
	sentence := r.sentences[r.said%len(r.sentences)]
	switch e.Kind {
	case vad.Begin:
		r.shown = 0
		r.out = append(r.out, Hypothesis{Begin: e.Begin, End: e.Begin})
	case vad.Sound:
		if n := min(int((e.End-e.Begin)/scriptPace), len(sentence)); n > r.shown {
			r.shown = n
			r.out = append(r.out, scriptHypothesis(sentence[:n], e))
		}
	case vad.End:
		h := scriptHypothesis(sentence, e)
		h.Final = true
		r.out = append(r.out, h)
		r.said++
	}
}

// scriptHypothesis spreads text over a stretch of sound.
func scriptHypothesis(text []rune, e vad.Event) Hypothesis {
	h := Hypothesis{Text: string(text), Begin: e.Begin, End: e.End, Confidence: 1, Words: make([]nls.Word, len(text))}
	for i, r := range text {
		at := func(i int) time.Duration { return e.Begin + (e.End-e.Begin)*time.Duration(i)/time.Duration(len(text)) }
		h.Words[i] = nls.Word{Text: string(r), Start: at(i), End: at(i + 1)}
	}
	return h
}
