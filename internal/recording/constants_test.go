package recording

import (
	"testing"

	"github.com/nlsgo/nls/internal/constant"
)

// As in package session.
func TestConstantsAreWhatTheyWereChosenFor(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"maxLine", maxLine, 8 << 20, "1 MiB, with six bytes for each of it"},
	})
}
