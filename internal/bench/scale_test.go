//go:build unix

package bench

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

var scale = flag.Bool("scale", false, "open up to 10,000 sessions")

// What a message costs, and a session, must not grow with how many there are: the
// chart of docs/performance.md. Each session sends 200 ms of audio each 200 ms. Fewer
// of them cost more a message, since threads sleep and wake between two.
func TestScale(t *testing.T) {
	if !*scale {
		t.Skip("needs -scale, and 11,000 descriptors")
	}
	const pace = 200 * time.Millisecond
	var lines []string
	least := math.Inf(1)
	for _, n := range []int{100, 300, 1000, 3000, 10000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			open := newNLS(startPeer(t))
			defer open().close() // what is made once is not the sessions'
			before := resident(t)
			var sends []func([]byte) error
			for range n {
				s := open()
				t.Cleanup(s.close)
				sends = append(sends, s.send)
			}
			cpu, late := paced(t, sends, pace)
			messages := float64(n) * float64(pacedTime/pace)
			each := float64(cpu.Microseconds()) / messages
			memory := float64(resident(t)-before) / float64(n)
			if each > 1.5*least {
				t.Errorf("a message costs %.1f µs, of fewer sessions %.1f", each, least)
			}
			least = min(least, each)
			lines = append(lines, fmt.Sprintf("%6d sessions  %5.1f µs a message  %-28s  %5.1f KiB a session, %5.1f ms late (p99)",
				n, each, strings.Repeat("#", int(each/4)), memory, late))
			t.Log(lines[len(lines)-1])
		})
	}
	if *doc != "" {
		replace(t, "chart", "```text\n"+strings.Join(lines, "\n")+"\n```")
	}
}
