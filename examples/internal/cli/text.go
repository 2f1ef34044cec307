package cli

import (
	"bufio"
	"io"
	"iter"
	"os"
	"strings"
)

// stdinIsPipe reports whether somebody else than a person writes to standard
// input.
func stdinIsPipe() bool {
	info, err := os.Stdin.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

// Lines yields the text to speak as it comes: -text in one piece, or standard
// input line by line, line ends included.
func (s *Session) Lines() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !s.piped {
			yield(s.Text, nil)
			return
		}
		var all strings.Builder
		for r := bufio.NewReader(os.Stdin); ; {
			line, err := r.ReadString('\n')
			all.WriteString(line)
			if line != "" && !yield(line, nil) {
				return
			}
			if err != nil {
				if err != io.EOF {
					yield("", err)
				}
				break
			}
		}
		if s.local != nil && s.want == "" {
			s.want = all.String()
		}
	}
}
