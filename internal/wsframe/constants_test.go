package wsframe

import (
	"testing"

	"github.com/nlsgo/nls/internal/constant"
)

// As in package session.
func TestConstantsAreThoseOfTheFormat(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"MaxHeader", MaxHeader, 2 + 8 + 4, "RFC 6455, 5.2"},
		{"maxRead", maxRead, 8 << 20, "ours"},
		{"smallBuffer", smallBuffer, 512, "ours"},
		{"bigBuffer", bigBuffer, 64 << 10, "ours"},
		{"maxEmptyReads", maxEmptyReads, 100, "as in package bufio"},
	})
}
