package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScriptIsReadLineByLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte("你好。\n\n  Hello. \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := readLines(name)
	if err != nil || strings.Join(lines, "|") != "你好。|Hello." {
		t.Errorf("got %q, %v", lines, err)
	}
}
