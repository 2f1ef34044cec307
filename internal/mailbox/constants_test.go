package mailbox

import (
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/constant"
)

// Who changes one of these learns here what it was for, and not from a test that then
// takes another time.
func TestConstantsAreWhatTheyWereChosenFor(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"cost", cost, 512, "as deliveryCost of package session"},
		{"failurePoll", failurePoll, 20 * time.Millisecond, "a caller that waits notices no more"},
	})
}
