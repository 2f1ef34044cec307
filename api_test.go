package nls_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/effort"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The public API is what go doc prints. A change shows in review as a change of
// testdata/api, and the fingerprint of the declarations has to be in
// CHANGELOG.md, so that none goes by without a line there.
func TestAPIChangesAreInTheChangelog(t *testing.T) {
	effort.Long(t)
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"nls", "nlstest"} {
		t.Run(pkg, func(t *testing.T) {
			dir := map[string]string{"nls": ".", "nlstest": "./nlstest"}[pkg]
			doc, err := exec.Command("go", "doc", "-all", dir).Output()
			if err != nil {
				t.Fatal("go doc: ", err)
			}
			golden := filepath.Join("testdata", "api", pkg+".txt")
			if *update {
				if err := os.WriteFile(golden, doc, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(doc) != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("%s is not what go doc prints; run go test -run API . -update", golden)
			}
			if print := fingerprint(string(doc)); !strings.Contains(string(changelog), print) {
				t.Errorf("the API changed: describe it in CHANGELOG.md and put the fingerprint %s there", print)
			}
		})
	}
}

// fingerprint is a hash of the declarations in the output of go doc, which are
// the lines that are not indented by four blanks, without comments.
func fingerprint(doc string) string {
	h := sha256.New()
	for line := range strings.Lines(doc) {
		line, _, _ = strings.Cut(line, "//")
		if line = strings.TrimRight(line, " \t\r\n"); line != "" && !strings.HasPrefix(line, "    ") {
			fmt.Fprintln(h, line)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:12]
}
