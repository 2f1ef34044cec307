package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commands are the lines of a document's blocks of commands that run an example, block
// by block.
func commands(t *testing.T, name string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range regexp.MustCompile("(?ms)^```sh\r?\n(.*?)^```").FindAllSubmatch(text, -1) {
		var lines []string
		for line := range strings.Lines(string(b[1])) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "go run ./examples/") {
				lines = append(lines, line)
			}
		}
		if lines != nil {
			blocks = append(blocks, lines)
		}
	}
	return blocks
}

var shellWord = regexp.MustCompile(`'[^']*'|\S+`)

// Each block runs in a directory of its own, which has the recordings that the root of
// the repository has. What runs, or does not, of other commands is in
// TestEachCommandInDocumentsIsRun of internal/suite.
func TestCommandsOfDocumentsRun(t *testing.T) {
	t.Parallel()
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil || len(docs) < 10 {
		t.Fatal(docs, err)
	}
	ran := 0
	for _, doc := range append(docs, "../README.md") {
		if strings.HasSuffix(doc, ".zh-CN.md") {
			continue // has the blocks of the other
		}
		for _, lines := range commands(t, doc) {
			ran += len(lines)
			t.Run(filepath.Base(doc), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("../testdata")); err != nil {
					t.Fatal(err)
				}
				for _, line := range lines {
					words := shellWord.FindAllString(strings.TrimPrefix(line, "go run ./examples/"), -1)
					for i := range words {
						words[i] = strings.Trim(words[i], "'")
					}
					cmd := command(t, words[0], words[1:]...)
					cmd.Dir = dir
					if stdout, stderr, code := run(t, cmd); code != 0 {
						t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
					}
				}
			})
		}
	}
	if ran < 4 {
		t.Errorf("only %d commands found", ran)
	}
}
