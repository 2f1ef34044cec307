package scratch

import (
	"os"
	"path/filepath"
	"testing"
)

// leaving are tests that leave a file of that name.
type leaving struct {
	t    *testing.T
	name string
	code int
}

func (l leaving) Run() int {
	if l.name != "" {
		if err := os.WriteFile(filepath.Join(os.TempDir(), l.name), nil, 0o666); err != nil {
			l.t.Fatal(err)
		}
	}
	return l.code
}

func TestTestsThatLeaveAFileFail(t *testing.T) {
	for _, c := range []struct {
		left  string
		leave string
		code  int // of the tests
		want  int
	}{
		{"", "", 0, 0},
		{"", "", 2, 2},
		{"a.wav", "", 0, 1},
		{"a.wav", "*.wav", 0, 0},
		{"a.mp3", "*.wav", 0, 1},
		{"a.mp3", "", 2, 2},
	} {
		outer := t.TempDir()
		for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
			t.Setenv(name, outer)
		}
		if code := (Tests{leaving{t, c.left, c.code}, c.leave}).Run(); code != c.want {
			t.Errorf("%+v: exit code %d", c, code)
		}
		if left, err := os.ReadDir(outer); err != nil || len(left) != 0 {
			t.Errorf("%+v: left outside: %v, %v", c, left, err)
		}
	}
}
