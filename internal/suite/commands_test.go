package suite

import (
	"regexp"
	"strings"
	"testing"
)

// owners say what runs the commands of documents, or why nothing does; the first that
// matches.
var owners = []struct {
	command *regexp.Regexp
	runs    string // "" if nothing does
	why     string // nothing does
}{
	{regexp.MustCompile(`^go run \./examples/(?:transcriber|synthesizer|recognizer|file)\b`), "TestCommandsOfDocumentsRun", ""},
	{regexp.MustCompile(`^nls transcribe `), "TestCommandsOfREADMERun", ""},
	{regexp.MustCompile(`^go run \./nlstest/cmd/nlsgateway$`), "TestServesUntilSIGTERMAndLeavesNothingBehind", ""},
	{regexp.MustCompile(`^go run -C examples/fleet \. -replicas 3$`), "TestAFleetOfWhichOneIsKilledDoesAllUploads", ""},
	{regexp.MustCompile(`^(?:NLS_THOROUGH=1 )?go test (?:-short |-race )?\./\.\.\.$|^\.ci/run$`), "", "is what runs the tests"},
	{regexp.MustCompile(`^go test .*-run `), "", "tests that run with all others; TestCommandsInDocumentsExist looks for them"},
	{regexp.MustCompile(`^(?:NLS_\w+=\S+ )+go test .*-run `), "", "needs an account; without one TestLive skips"},
	{regexp.MustCompile(`^cd internal/bench && go test `), "", "takes half an hour; .ci/run has a part of it"},
	{regexp.MustCompile(`^go get |^git clone `), "", "needs a network, and a published version"},
	{regexp.MustCompile(`^export `), "", "runs no program, or openssl"},
	{regexp.MustCompile(`^go run -C examples/fleet \. -serve |^curl `), "", "needs a Redis, and goes on until it is interrupted; the tests of fleet have one"},
}

// A command that is new in a document is run by a test, or it is said here why not.
func TestEachCommandInDocumentsIsRun(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	for _, file := range []string{"examples/documents_test.go", "cmd/nls/documents_test.go", "nlstest/cmd/nlsgateway/main_test.go", "examples/fleet/fleet_test.go"} {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(readFile(t, file), -1) {
			tests[m[1]] = true
		}
	}
	used := make([]bool, len(owners))
	for name, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language != "sh" {
				continue
			}
			for line := range strings.Lines(b.code) {
				line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				owned := false
				for i, o := range owners {
					if owned = o.command.MatchString(line); owned {
						used[i] = true
						break
					}
				}
				if !owned {
					t.Errorf("%s: %s: no test runs it, and owners does not say why", name, line)
				}
			}
		}
	}
	for i, o := range owners {
		if !used[i] {
			t.Errorf("%s: no document has such a command", o.command)
		}
		if (o.runs == "") == (o.why == "") || o.runs != "" && !tests[o.runs] {
			t.Errorf("%s: there is no test %s", o.command, o.runs)
		}
	}
}
