// Package vad finds where there is sound in 16-bit mono audio, by its energy
// over the noise around it. It cannot tell speech from other sound.
package vad

import (
	"math"
	"time"
)

// DefaultSilence is how much silence ends a stretch of sound unless SetSilence
// says otherwise: max_sentence_silence of protocol §4.2.
const DefaultSilence = 800 * time.Millisecond

// Kind says what an Event is.
type Kind int

// The kinds. A stretch of sound is one Begin, any number of Sound, one End.
const (
	Begin Kind = iota // sound has begun, at Event.Begin
	Sound             // it goes on, and was last heard at Event.End
	End               // it lasted from Event.Begin to Event.End
)

// Event is something a Detector found. Events do not depend on how the audio
// was cut for Write.
type Event struct {
	Kind       Kind
	Begin, End time.Duration // from the start of the audio
}

const (
	frameTime = 10 * time.Millisecond
	absolute  = -60.0 // dB of full scale; noise is taken to be no softer
	loudest   = -40.0 // and, in the first second, no louder
	enter     = 9.0   // dB over the noise at which sound begins
	leave     = 6.0   // and below which it ends
	history   = 200   // frames whose softest is the noise
	trust     = 100   // frames after which it is believed whatever it is
	recent    = 12    // frames of which
	needed    = 6     // are sound when it begins: 60 ms, no click
)

// Detector finds stretches of sound in a stream. One goroutine at a time may
// use it.
type Detector struct {
	rate    int
	silence time.Duration

	frame        int // samples in a frame
	n            int // samples of the current one
	sum, squares float64
	pos          int64 // samples, to the end of the current frame

	levels [history]float64 // of the last frames, in dB
	frames int              // so far

	loud       [needed]int64 // where the last loud frames began
	louds      int
	inside     bool
	begin, end int64 // of the stretch
}

// New returns a Detector for audio of sampleRate hertz.
func New(sampleRate int) *Detector {
	return &Detector{rate: sampleRate, silence: DefaultSilence, frame: max(1, int(int64(sampleRate)*int64(frameTime)/int64(time.Second)))}
}

// SetSilence sets how much silence ends a stretch from now on.
func (d *Detector) SetSilence(t time.Duration) { d.silence = t }

// Write takes the next samples and tells what became certain.
func (d *Detector) Write(samples []int16, emit func(Event)) {
	for len(samples) > 0 {
		n := min(len(samples), d.frame-d.n)
		for _, v := range samples[:n] {
			f := float64(v)
			d.sum += f
			d.squares += f * f
		}
		samples = samples[n:]
		d.n += n
		d.pos += int64(n)
		if d.n == d.frame {
			d.next(emit)
		}
	}
}

// Skip goes on by n samples that are not to be listened to. They end a stretch
// of sound.
func (d *Detector) Skip(n int64, emit func(Event)) {
	d.Finish(emit)
	d.pos += n
	d.n, d.sum, d.squares, d.louds = 0, 0, 0, 0
}

// Finish ends a stretch of sound that still goes on.
func (d *Detector) Finish(emit func(Event)) {
	if d.inside {
		d.inside = false
		emit(Event{End, d.time(d.begin), d.time(d.end)})
	}
}

func (d *Detector) time(samples int64) time.Duration {
	return time.Duration(samples) * time.Second / time.Duration(d.rate)
}

// next takes the frame that has become full.
func (d *Detector) next(emit func(Event)) {
	n := float64(d.n)
	power := (d.squares - d.sum*d.sum/n) / n / (1 << 30)
	d.n, d.sum, d.squares = 0, 0, 0
	level := 10 * math.Log10(max(power, 1e-10))
	d.levels[d.frames%history] = level
	d.frames++

	over := level - d.noise()
	begin := d.pos - int64(d.frame)
	switch {
	case d.inside && over > leave:
		d.end = d.pos
	case d.inside:
		if d.time(d.pos-d.end) >= d.silence {
			d.Finish(emit)
			d.louds = 0
		}
	case over > enter:
		d.loud[d.louds%needed] = begin
		d.louds++
		if d.louds < needed {
			return
		}
		first := d.loud[d.louds%needed]
		if d.pos-first > recent*int64(d.frame) {
			return
		}
		d.inside, d.begin, d.end = true, first, d.pos
		emit(Event{Begin, d.time(first), d.time(d.pos)})
		return
	}
	if d.inside {
		emit(Event{Sound, d.time(d.begin), d.time(d.end)})
	}
}

// noise is the level of the softest of the last frames: between words there is
// always one. At first there may not have been one, if the audio begins with
// speech.
func (d *Detector) noise() float64 {
	noise := math.Inf(1)
	for _, l := range d.levels[:min(d.frames, history)] {
		noise = min(noise, l)
	}
	if d.frames < trust {
		noise = min(noise, loudest)
	}
	return max(noise, absolute)
}
