package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/effort"
)

// fakeGo stands for go where .ci/apidiff builds apidiff, which takes seconds: what it
// builds compares the functions of a file, and speaks as apidiff does.
const fakeGo = `#!/bin/bash
case $1 in
list) echo example.com/nls ;;
build)
  while [ "$1" != -o ]; do shift; done
  cat >"$2" <<'END'
#!/bin/bash
case $1 in
-w) grep -oE '^func \w+|Version = .*"' nls.go | sort >"$2" ;;
-incompatible) comm -23 "$2" "$3" | sed 's/^func \(.*\)/- \1: removed/; s/^Version.*/- Version: value changed from "x" to "y"/' ;;
*) diff "$1" "$2" || true ;;
esac
END
  chmod +x "$2" ;;
*) exit 2 ;;
esac
`

// apiRepository is a repository with .ci/apidiff whose package nls had two functions.
// A tag of "" is none.
func apiRepository(t *testing.T, tag, version, functions string) (dir string) {
	t.Helper()
	for _, program := range []string{"git", "bash"} {
		if _, err := exec.LookPath(program); err != nil || runtime.GOOS == "windows" {
			t.Skip("needs git, bash and what is in every Unix")
		}
	}
	dir = t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false", "-c", "gc.auto=0"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	source := func(version, functions string) {
		text := fmt.Sprintf("package nls\n\nconst (\n\tVersion = %q // as in nls.go\n)\n", version)
		for _, name := range strings.Fields(functions) {
			text += "\nfunc " + name + "() {}\n"
		}
		write("nls.go", text, 0o666)
	}
	write("go.mod", "module example.com/nls\n\ngo 1.26\n", 0o666)
	write(".ci/apidiff", readFile(t, ".ci/apidiff"), 0o777)
	write("bin/go", fakeGo, 0o777)
	source(strings.TrimPrefix(tag, "v"), "Kept Lost")
	git("init", "-q", ".")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	if tag != "" {
		git("tag", tag)
	}
	source(version, functions)
	return dir
}

// What goes from the API is a new minor version in v0, and a new major one after.
func TestWhatTheAPILosesNeedsANewVersion(t *testing.T) {
	effort.Thorough(t)
	for _, c := range []struct {
		tag, version, functions string
		ok                      bool
	}{
		{"", "0.1.0", "Kept", true}, // nothing to compare with
		{"v0.1.0", "0.1.0", "Kept Lost Added", true},
		{"v0.1.0", "0.1.1", "Kept Lost", true}, // but the constant Version
		{"v0.1.0", "0.1.0", "Kept", false},
		{"v0.1.0", "0.1.1", "Kept Added", false},
		{"v0.1.0", "0.2.0", "Kept", true},
		{"v0.1.0", "0.10.0", "Kept", true}, // is not 0.1
		{"v1.2.0", "1.3.0", "Kept", false},
		{"v1.2.0", "1.3.0", "Kept Lost Added", true},
		{"v1.2.0", "2.0.0", "Kept", true},
		{"v1.2.0", "10.0.0", "Kept", true}, // is not 1
	} {
		t.Run(fmt.Sprint(c.tag, " ", c.version, " ", c.functions), func(t *testing.T) {
			t.Parallel()
			dir := apiRepository(t, c.tag, c.version, c.functions)
			cmd := exec.Command("bash", filepath.Join(dir, ".ci/apidiff"))
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Fatalf("%v\n%s", err, out)
			}
			if said := strings.Contains(string(out), "the API has lost something since "+c.tag); said == c.ok {
				t.Errorf("it says:\n%s", out)
			}
			if left, _ := exec.Command("git", "-C", dir, "worktree", "list").Output(); strings.Count(string(left), "\n") != 1 {
				t.Errorf("worktrees are left:\n%s", left)
			}
		})
	}
}
