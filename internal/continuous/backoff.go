package continuous

import (
	"math/rand/v2"
	"time"
)

// The pauses between attempts, without jitter. The first is about what a gateway
// needs to be restarted behind its address, the longest what an operator waits for.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
)

// Pause is how long to wait before attempt n, which counts from 1: from 500 ms,
// doubling to 30 s, of which half is chance, so that those who failed together do not
// come back together. Where the service is overloaded it is twice as long.
func Pause(n int, overloaded bool) time.Duration {
	d := longestPause
	if n < 7 {
		d = firstPause << (n - 1)
	}
	if overloaded {
		d = min(2*d, longestPause)
	}
	return d/2 + rand.N(d/2)
}
