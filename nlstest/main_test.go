package nlstest

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a fifth of the processor's time
	effort.Short("test.skip", "^Example")
	goleak.VerifyTestMain(scratch.Tests{M: m})
}
