package vad_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nlsgo/nls/nlstest/internal/vad"
)

const ms = time.Millisecond

// part is a stretch of a test signal: noise of a level, which is the root mean
// square of the samples.
type part struct {
	length time.Duration
	level  float64
}

func signal(rate int, parts ...part) (x []int16) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range parts {
		for range int64(p.length) * int64(rate) / int64(time.Second) {
			x = append(x, int16(max(math.MinInt16, min(math.MaxInt16, p.level*random.NormFloat64()))))
		}
	}
	return x
}

// detect passes x through a Detector in pieces of n samples.
func detect(d *vad.Detector, x []int16, n int) (events []vad.Event) {
	emit := func(e vad.Event) { events = append(events, e) }
	for piece := range slices.Chunk(x, n) {
		d.Write(piece, emit)
	}
	d.Finish(emit)
	return events
}

// stretches returns the events of one kind.
func stretches(events []vad.Event, k vad.Kind) []vad.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e vad.Event) bool { return e.Kind != k })
}

func TestFindsSound(t *testing.T) {
	quiet, sound := part{1000 * ms, 0}, part{1000 * ms, 3000}
	for _, tc := range []struct {
		name  string
		parts []part
		want  [][2]time.Duration
	}{
		{"nothing", []part{{3000 * ms, 0}}, nil},
		{"steady noise", []part{{10000 * ms, 100}}, nil},
		{"one", []part{quiet, sound, quiet}, [][2]time.Duration{{1000 * ms, 2000 * ms}}},
		{"two", []part{quiet, sound, quiet, sound}, [][2]time.Duration{{1000 * ms, 2000 * ms}, {3000 * ms, 4000 * ms}}},
		{"from the start", []part{sound, quiet}, [][2]time.Duration{{0, 1000 * ms}}},
		{"to the end", []part{quiet, sound}, [][2]time.Duration{{1000 * ms, 2000 * ms}}},
		{"a pause inside", []part{quiet, sound, {700 * ms, 0}, sound, quiet}, [][2]time.Duration{{1000 * ms, 3700 * ms}}},
		{"in noise", []part{{1000 * ms, 300}, sound, {1000 * ms, 300}}, [][2]time.Duration{{1000 * ms, 2000 * ms}}},
		{"noise that becomes louder", []part{{1000 * ms, 20}, {6000 * ms, 200}, sound, {1000 * ms, 200}}, [][2]time.Duration{{1000 * ms, 3000 * ms}, {7000 * ms, 8000 * ms}}},
		{"soft", []part{quiet, {1000 * ms, 150}, quiet}, [][2]time.Duration{{1000 * ms, 2000 * ms}}},
		{"a click", []part{quiet, {20 * ms, 20000}, quiet}, nil},
		{"many clicks", []part{quiet, {20 * ms, 20000}, {150 * ms, 0}, {20 * ms, 20000}, {150 * ms, 0}, {30 * ms, 20000}, quiet}, nil},
		{"shorter than a word", []part{quiet, {100 * ms, 3000}, quiet}, [][2]time.Duration{{1000 * ms, 1100 * ms}}},
	} {
		for _, rate := range []int{8000, 16000, 44100} {
			t.Run(fmt.Sprint(tc.name, rate), func(t *testing.T) {
				got := stretches(detect(vad.New(rate), signal(rate, tc.parts...), rate/10), vad.End)
				if len(got) != len(tc.want) {
					t.Fatalf("%v, want %v", got, tc.want)
				}
				for i, e := range got {
					if (e.Begin-tc.want[i][0]).Abs() > 60*ms || (e.End-tc.want[i][1]).Abs() > 60*ms {
						t.Errorf("from %v to %v, want %v", e.Begin, e.End, tc.want[i])
					}
				}
			})
		}
	}
}

func TestEventsAreInOrder(t *testing.T) {
	x := signal(8000, part{500 * ms, 0}, part{1000 * ms, 3000}, part{1000 * ms, 0}, part{500 * ms, 3000})
	last := vad.Event{Kind: vad.End}
	for _, e := range detect(vad.New(8000), x, 100) {
		switch {
		case (e.Kind == vad.Begin) != (last.Kind == vad.End):
			t.Errorf("%v after %v", e, last)
		case e.Kind != vad.Begin && e.Begin != last.Begin:
			t.Errorf("%v has another begin than %v", e, last)
		case e.End < last.End:
			t.Errorf("%v goes back from %v", e, last)
		}
		last = e
	}
	if last.Kind != vad.End {
		t.Errorf("the last event is %v", last)
	}
}

func TestSilenceThatEndsSoundCanChange(t *testing.T) {
	x := signal(8000, part{500 * ms, 0}, part{500 * ms, 3000}, part{500 * ms, 0}, part{500 * ms, 3000}, part{1000 * ms, 0})
	d := vad.New(8000)
	if n := len(stretches(detect(d, x, 80), vad.End)); n != 1 {
		t.Errorf("%d stretches with 800 ms, want 1", n)
	}
	d = vad.New(8000)
	d.SetSilence(300 * ms)
	if n := len(stretches(detect(d, x, 80), vad.End)); n != 2 {
		t.Errorf("%d stretches with 300 ms, want 2", n)
	}
	d = vad.New(8000)
	var events []vad.Event
	emit := func(e vad.Event) { events = append(events, e) }
	d.Write(x[:10400], emit) // into the first pause
	if n := len(stretches(events, vad.End)); n != 0 {
		t.Errorf("%d stretches have ended after 300 ms of silence, want 0", n)
	}
	d.SetSilence(200 * ms)
	d.Write(x[10400:10560], emit)
	if n := len(stretches(events, vad.End)); n != 1 {
		t.Errorf("%d stretches have ended once 200 ms are enough, want 1", n)
	}
}

func TestSkipEndsSoundAndKeepsTime(t *testing.T) {
	d := vad.New(8000)
	var events []vad.Event
	emit := func(e vad.Event) { events = append(events, e) }
	x := signal(8000, part{500 * ms, 0}, part{500 * ms, 3000})
	d.Write(x, emit)
	d.Skip(8000, emit)
	d.Write(x, emit)
	d.Finish(emit)
	got := stretches(events, vad.End)
	if len(got) != 2 || (got[0].End-1000*ms).Abs() > 20*ms || (got[1].Begin-2500*ms).Abs() > 20*ms || (got[1].End-3000*ms).Abs() > 20*ms {
		t.Errorf("%v, want 500 ms to 1 s and 2.5 s to 3 s", got)
	}
}

func TestCutDoesNotMatter(t *testing.T) {
	x := signal(8000, part{300 * ms, 10}, part{1000 * ms, 3000}, part{1000 * ms, 30}, part{500 * ms, 3000})
	want := detect(vad.New(8000), x, len(x))
	for _, n := range []int{1, 7, 79, 1000} {
		if got := detect(vad.New(8000), x, n); !slices.Equal(got, want) {
			t.Errorf("pieces of %d: other events", n)
		}
	}
}

func FuzzDetector(f *testing.F) {
	f.Add([]byte("some bytes that are no audio"), uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, n uint8) {
		x := make([]int16, len(raw)/2)
		for i := range x {
			x[i] = int16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
		inside := false
		length := time.Duration(len(x)) * time.Second / 400
		for _, e := range detect(vad.New(400), x, int(n)+1) {
			if inside == (e.Kind == vad.Begin) || e.End < e.Begin || e.Begin < 0 || e.End > length {
				t.Errorf("%v, inside a stretch %t", e, inside)
			}
			inside = e.Kind != vad.End
		}
		if inside {
			t.Error("a stretch does not end")
		}
	})
}

func BenchmarkDetector(b *testing.B) {
	x := signal(16000, part{3 * time.Second, 20}, part{7 * time.Second, 2000})
	for b.Loop() {
		detect(vad.New(16000), x, 1600)
	}
	b.ReportMetric(10*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
}
