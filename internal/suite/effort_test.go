package suite

import (
	"testing"

	"github.com/nlsgo/nls/internal/effort"
)

// What is left out of a run leaves no trace in it: that each case is tried where .ci/run
// says so has to be seen here.
func TestEachCaseIsTriedWhereItIsSaid(t *testing.T) {
	for set, want := range map[string]struct{ tried, rounds int }{"": {4, 2}, "1": {12, 7}} {
		t.Setenv("NLS_THOROUGH", set)
		tried, n := effort.OneIn(3), 0
		for range 12 {
			if tried() {
				n++
			}
		}
		if n != want.tried {
			t.Errorf("NLS_THOROUGH=%s: %d of 12 cases are tried, want %d", set, n, want.tried)
		}
		if got := effort.Times(7, 2); got != want.rounds {
			t.Errorf("NLS_THOROUGH=%s: %d rounds, want %d", set, got, want.rounds)
		}
		skipped := true
		t.Run("Thorough", func(t *testing.T) {
			effort.Thorough(t)
			skipped = false
		})
		if skipped != (set == "") {
			t.Errorf("NLS_THOROUGH=%s: what is thorough is skipped: %v", set, skipped)
		}
	}
}
