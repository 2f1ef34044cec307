package redact

import (
	"testing"

	"github.com/nlsgo/nls/internal/constant"
)

// As in package session.
func TestConstantsAreWhatTheyWereChosenFor(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"short", short, 8, "no secret, but a word of a text"},
		{"minTail", minTail, 4, "no clue to a secret"},
		{"maxDepth", maxDepth, 3, "a quotation of a quotation, and one more"},
		{"maxEntity", maxEntity, 12, "&#x10FFFF; and more"},
	})
}
