package modem

import (
	"math"
	"slices"
	"testing"
)

// Where a sentence begins is told to a tenth of a millisecond, and in noise to a fifth:
// all places about as good as the best one count, and those that are worse do not.
func TestWhereASentenceBeginsIsToldToAFifthOfAMillisecond(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		x := speak(t, Params{rate, 50, 0, 0}, "好")[:rate*2/5]
		for seed := range uint64(8) {
			lead := 500 + 131*int(seed)
			x := slices.Concat(make([]int16, lead), x)
			for what, tc := range map[string]struct {
				x    []int16
				most float64 // ms
			}{"clean": {x, 0.1}, "10 dB of noise": {noise(x, 10, seed), 0.2}} {
				d, err := NewDecoder(rate)
				if err != nil {
					t.Fatal(err)
				}
				begin := int64(-1)
				d.Write(tc.x, func(e Event) {
					if e.Kind == SentenceBegin {
						begin = e.Begin
					}
				})
				if off := float64(begin-int64(lead)) * 1000 / float64(rate); begin < 0 || math.Abs(off) > tc.most {
					t.Errorf("%d Hz, %s, begin at %d: told %.2f ms off", rate, what, lead, off)
				}
			}
		}
	}
}
