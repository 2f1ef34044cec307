package continuous

import "time"

// Axis tells where in the audio that was given a time of a session is. The session
// hears that audio from some place on, and silence that is no part of it.
type Axis struct {
	origin time.Duration // where in the audio the session begins
	heard  time.Duration // how much the session has been sent
	gaps   []gap         // silence that was put in, in order
}

// gap is silence of a session.
type gap struct{ at, length time.Duration }

// NewAxis is that of a session which begins at origin.
func NewAxis(origin time.Duration) Axis { return Axis{origin: origin} }

// Audio notes that so much audio was sent.
func (a *Axis) Audio(d time.Duration) { a.heard += d }

// Silence notes that so much silence was.
func (a *Axis) Silence(d time.Duration) {
	if n := len(a.gaps); n > 0 && a.gaps[n-1].at+a.gaps[n-1].length == a.heard {
		a.gaps[n-1].length += d
	} else {
		a.gaps = append(a.gaps, gap{a.heard, d})
	}
	a.heard += d
}

// Given is where in the audio the time t of the session is. A time within silence is
// where that was put in.
func (a *Axis) Given(t time.Duration) time.Duration {
	skipped := time.Duration(0)
	for _, g := range a.gaps {
		if g.at >= t {
			break
		}
		skipped += min(g.length, t-g.at)
	}
	return a.origin + t - skipped
}

// Forget says that no time before t will be asked for, so that silences which come
// and go for hours take no memory.
func (a *Axis) Forget(t time.Duration) {
	n := 0
	for n < len(a.gaps) && a.gaps[n].at+a.gaps[n].length <= t {
		a.origin -= a.gaps[n].length
		n++
	}
	a.gaps = a.gaps[n:]
}
