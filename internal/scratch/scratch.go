// Package scratch keeps the tests of a package from leaving files in the system's
// temporary directory, where those of another user would not let the next run write.
package scratch

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// Tests are the tests of a package, and of the programs that they run. Their temporary
// directory is one of their own, and they fail if anything is left in it.
type Tests struct {
	M interface{ Run() int } // a *testing.M
	// Leave is a pattern of names, as of [filepath.Match], that may be left: Examples
	// show how a file is written, not how it is removed.
	Leave string
}

// Run runs the tests and returns their exit code.
func (t Tests) Run() int {
	dir, err := os.MkdirTemp("", "nls-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} { // the latter two of Windows
		os.Setenv(name, dir)
	}
	code := t.M.Run()
	// Go kills the processes that fuzz when the time is over.
	if f := flag.Lookup("test.fuzz"); code != 0 || f != nil && f.Value.String() != "" {
		return code
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, entry := range left {
		if ok, _ := filepath.Match(t.Leave, entry.Name()); !ok {
			fmt.Fprintf(os.Stderr, "left in the temporary directory: %s\n", entry.Name())
			code = 1
		}
	}
	return code
}
