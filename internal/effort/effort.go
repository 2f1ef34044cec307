// Package effort says how much the tests of this module try: on a laptop some of many
// alike cases, and a few rounds of what depends on chance; all of them where
// NLS_THOROUGH is set, as .ci/run does for its run with the race detector; with -short,
// nothing that takes long.
package effort

import (
	"flag"
	"os"
	"sync/atomic"
	"testing"
)

// Times is how often a test tries its luck: all times if NLS_THOROUGH is set, else few.
func Times(all, few int) int {
	if os.Getenv("NLS_THOROUGH") != "" {
		return all
	}
	return few
}

// OneIn returns a function that says, case by case, whether it is tried: each if
// NLS_THOROUGH is set, else one in n. Where the order of the cases is that of a map, it
// is another one each time. Any goroutine may call the function.
func OneIn(n int) func() bool {
	var turn atomic.Int64
	return func() bool { return int(turn.Add(1))%Times(1, n) == 0 }
}

// Long skips a test that takes more than some hundredths of a second, with -short.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// Thorough skips a test that takes seconds or tens of MiB, measures time or depends on
// chance, unless NLS_THOROUGH is set.
func Thorough(t testing.TB) {
	t.Helper()
	if Times(1, 0) == 0 {
		t.Skip("set NLS_THOROUGH")
	}
}

// Short is for TestMain: with -short, the flag test.run or test.skip is what, unless it
// is set.
func Short(name, what string) {
	flag.Parse()
	if f := flag.Lookup(name); testing.Short() && f.Value.String() == "" {
		f.Value.Set(what)
	}
}

// Parallel is for TestMain of tests that wait, most of the time: n of them run at once,
// unless -parallel says otherwise.
func Parallel(n string) {
	if err := flag.Set("test.parallel", n); err != nil {
		panic(err)
	}
}
