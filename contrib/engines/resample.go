package engines

import "math"

// resampler changes the sample rate of a stream, by a windowed sinc that cuts off what
// the lower rate cannot hold.
type resampler struct {
	up, down int // samples out for samples in
	half     int // taps on either side
	taps     [][]float64
	input    []int16 // what later samples still need
	at       int     // of the next sample out, in input
	phase    int     // and so many ups after it
}

func newResampler(from, to int) *resampler {
	const crossings, edge = 16, 0.95
	divisor := gcd(from, to)
	r := &resampler{up: to / divisor, down: from / divisor}
	band := min(1, float64(to)/float64(from))
	r.half = int(math.Ceil(crossings / band))
	r.taps = make([][]float64, r.up)
	for phase := range r.taps {
		row := make([]float64, 2*r.half)
		for i := range row {
			x := float64(i-r.half+1) - float64(phase)/float64(r.up)
			window := math.Pow(math.Cos(math.Pi*x/float64(2*r.half)), 2)
			sinc := 1.0
			if turn := math.Pi * band * edge * x; turn != 0 {
				sinc = math.Sin(turn) / turn
			}
			row[i] = edge * band * window * sinc
		}
		r.taps[phase] = row
	}
	r.input = make([]int16, r.half)
	r.at = r.half
	return r
}

// write takes samples and returns those that they complete.
func (r *resampler) write(samples []int16) (out []int16) {
	r.input = append(r.input, samples...)
	for r.at+r.half < len(r.input) {
		sum := 0.0
		for i, tap := range r.taps[r.phase] {
			sum += tap * float64(r.input[r.at-r.half+1+i])
		}
		out = append(out, int16(max(math.MinInt16, min(math.MaxInt16, math.Round(sum)))))
		r.phase += r.down
		r.at += r.phase / r.up
		r.phase %= r.up
	}
	keep := min(r.at-r.half, len(r.input))
	r.input = append([]int16(nil), r.input[keep:]...)
	r.at -= keep
	return out
}

// flush returns the rest.
func (r *resampler) flush() []int16 { return r.write(make([]int16, r.half)) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
