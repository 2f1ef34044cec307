package vad_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/nlsgo/nls/nlstest/internal/vad"
)

const frame = 80 // samples in 10 ms of 8 kHz audio

// steady returns n frames of a level in dB of full scale.
func steady(n int, level float64) []int16 {
	a := int16(math.Round(math.Pow(10, level/20) * (1 << 15)))
	x := make([]int16, n*frame)
	for i := range x {
		if x[i] = a; i%2 == 1 {
			x[i] = -a
		}
	}
	return x
}

// pattern has a loud frame for each X and silence for any other byte.
func pattern(s string) (x []int16) {
	for _, c := range s {
		level := math.Inf(-1)
		if c == 'X' {
			level = -20
		}
		x = append(x, steady(1, level)...)
	}
	return x
}

func TestSoundIsNineDecibelsOverTheNoise(t *testing.T) {
	silence := math.Inf(-1)
	for _, tc := range []struct {
		name               string
		first, then, after float64 // levels of 1.5 s, 100 ms and 100 ms
		want               time.Duration
	}{
		{"softer than that after silence", silence, -51.5, silence, 0},
		{"louder than that after silence", silence, -50.5, silence, 100 * ms},
		{"softer than that in noise", -40, -31.5, -40, 0},
		{"louder than that in noise", -40, -30.5, -40, 100 * ms},
		{"it goes on six over it", silence, -50, -53.7, 200 * ms},
		{"and not below", silence, -50, -54.3, 100 * ms},
	} {
		x := slices.Concat(steady(150, tc.first), steady(10, tc.then), steady(10, tc.after))
		var got time.Duration
		for _, e := range stretches(detect(vad.New(8000), x, len(x)), vad.End) {
			got += e.End - e.Begin
		}
		if got != tc.want {
			t.Errorf("%s: %v of sound, want %v", tc.name, got, tc.want)
		}
	}
}

// Sound that does not change is noise: at once after two seconds, and in the first
// second if it is softer than 9 dB over -40.
func TestSteadySoundBecomesNoise(t *testing.T) {
	for _, tc := range []struct {
		name string
		x    []int16
		want []vad.Event
	}{
		{"from the start", steady(300, -30.5), []vad.Event{{Kind: vad.End, Begin: 0, End: 990 * ms}}},
		{"from the start, softer", steady(300, -31.5), nil},
		{"after silence", slices.Concat(pattern(string(make([]byte, 100))), steady(300, -30)), []vad.Event{{Kind: vad.End, Begin: time.Second, End: 2990 * ms}}},
	} {
		if got := stretches(detect(vad.New(8000), tc.x, len(tc.x)), vad.End); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestSixLoudFramesOfTwelveAreSound(t *testing.T) {
	for frames, want := range map[string]time.Duration{
		"XXXXX": -1, "XXXXXX": 0, ".XXXXXX": 10 * ms,
		"X.X.X.X.X..X": 0, "X.X.X.X.X...X": -1,
		"X............XXXXXX": 130 * ms, "X..XXXX.....XX": 30 * ms,
	} {
		begin := time.Duration(-1)
		for _, e := range stretches(detect(vad.New(8000), pattern(frames), frame), vad.Begin) {
			begin = e.Begin
		}
		if begin != want {
			t.Errorf("%s begins at %v, want %v", frames, begin, want)
		}
	}
}

func TestAStretchIsToldFrameByFrame(t *testing.T) {
	want := []vad.Event{{vad.Begin, 0, 60 * ms}, {vad.Sound, 0, 70 * ms}, {vad.Sound, 0, 70 * ms}, {vad.Sound, 0, 90 * ms}, {vad.End, 0, 90 * ms}}
	if got := detect(vad.New(8000), pattern("XXXXXXX.X"), frame); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSoundEndsAfter800MillisecondsOfSilence(t *testing.T) {
	d, ends := vad.New(8000), 0
	emit := func(e vad.Event) {
		if e.Kind == vad.End {
			ends++
		}
	}
	d.Write(pattern("XXXXXX"+string(make([]byte, 79))), emit)
	if ends != 0 {
		t.Error("it has ended after 790 ms")
	}
	if d.Write(pattern("."), emit); ends != 1 {
		t.Errorf("%d ends after 800 ms", ends)
	}
}

// What was loud before the end of a stretch counts for no other.
func TestTheNextStretchNeedsLoudFramesOfItsOwn(t *testing.T) {
	for frames, want := range map[string]int{"XXXXXX.X": 1, "XXXXXX.XXXXX": 1, "XXXXXX.XXXXXX": 2} {
		d := vad.New(8000)
		d.SetSilence(10 * ms)
		if got := len(stretches(detect(d, pattern(frames), frame), vad.Begin)); got != want {
			t.Errorf("%s has %d stretches, want %d", frames, got, want)
		}
	}
}

func TestAnOffsetIsNoSound(t *testing.T) {
	x := pattern("......")
	for range 6 * frame {
		x = append(x, 3000)
	}
	if got := detect(vad.New(8000), x, len(x)); len(stretches(got, vad.Begin)) != 0 {
		t.Error(got)
	}
}

// What came before Skip, half a frame of it even, says nothing about what comes after.
func TestSkipForgets(t *testing.T) {
	offset := slices.Repeat([]int16{30000}, frame-1)
	for _, tc := range []struct {
		name          string
		before, after []int16
		want          []vad.Event
	}{
		{"a stretch", pattern("XXXXXX"), nil, []vad.Event{{vad.Begin, 0, 60 * ms}, {vad.End, 0, 60 * ms}}},
		{"loud frames", pattern("XXXXX"), pattern("XXXXX"), nil},
		{"half a frame", pattern("X")[:frame/2], pattern("XXXXXX")[frame/2:], nil},
		{"the power of half a frame", pattern("X")[:frame-1], pattern(".XXXXX"), nil},
		{"the offset of half a frame", offset, pattern("XXXXXX"), []vad.Event{{vad.Begin, 10*ms + 9875*time.Microsecond, 70*ms + 9875*time.Microsecond}}},
	} {
		d := vad.New(8000)
		var got []vad.Event
		emit := func(e vad.Event) { got = append(got, e) }
		d.Write(tc.before, emit)
		d.Skip(frame, emit)
		d.Write(tc.after, emit)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
