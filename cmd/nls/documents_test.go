package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The commands of README.md, in its blocks and its table. A FILE, a talk.mp4 and a TEXT
// are there; what goes on until it is interrupted has tests of its own.
func TestCommandsOfREADMERun(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile("../../testdata/hello.wav")
	if err != nil {
		t.Fatal(err)
	}
	has := strings.Fields(mustRun(t, program(t, "--help")))
	found := 0
	for _, m := range regexp.MustCompile("(?m)^nls .*$|`nls [^`]*`").FindAllString(string(readme), -1) {
		line := strings.Trim(m, "`")
		found++
		words := strings.Fields(line)[1:]
		switch words[0] {
		case "transcribe", "speak":
			t.Run(line, func(t *testing.T) {
				t.Parallel()
				cmd := program(t, words...)
				cmd.Dir = t.TempDir()
				for _, name := range []string{"FILE", "talk.mp4"} {
					if err := os.WriteFile(filepath.Join(cmd.Dir, name), sound, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				stdout := mustRun(t, cmd)
				written := stdout
				for i, w := range words {
					if w == "-o" {
						data, err := os.ReadFile(filepath.Join(cmd.Dir, words[i+1]))
						if err != nil {
							t.Fatal(err)
						}
						written = string(data)
					}
				}
				if written == "" {
					t.Error("there is no result")
				}
			})
		default:
			if !strings.HasPrefix(words[0], "-") && !slices.Contains(has, words[0]) {
				t.Errorf("%s: help has no such command", line)
			}
		}
	}
	if found < 7 {
		t.Errorf("only %d commands found", found)
	}
	// Flags that the table names.
	for command, flags := range map[string][]string{"transcribe": {"--fast", "--later", "--trace"}, "speak": {"--file"}} {
		help := mustRun(t, program(t, command, "--help"))
		for _, flag := range flags {
			if !strings.Contains(string(readme), flag) || !strings.Contains(help, flag) {
				t.Errorf("nls %s has no %s, or README.md has not", command, flag)
			}
		}
	}
}
