package pop

import (
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/constant"
)

// Who changes one of these learns here what it was for, and not from a test that then
// takes another time.
func TestConstantsAreWhatTheyWereChosenFor(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"maxAnswer", maxAnswer, 64 << 10, "CreateToken answers 300 bytes"},
		{"maxResult", maxResult, 64 << 20, "twelve hours of words have 20 MiB"},
		{"maxTime", time.Unix(maxTime, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "the last that JSON can say"},
	})
}
