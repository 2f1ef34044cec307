package wav

import (
	"testing"

	"github.com/nlsgo/nls/internal/constant"
)

func TestConstantsAreThoseOfTheFormat(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"HeaderSize", HeaderSize, len(Header(16000, 0)), "RIFF: 12 bytes, 24 of fmt, 8 of data"},
		{"Unknown", Unknown, -1, "WAVFormat.DataSize"},
		{"maxHeader", maxHeader, 16 << 10, "ours"},
	})
}
