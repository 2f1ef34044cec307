package suite

import (
	"flag"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/conformance"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
)

var update = flag.Bool("update", false, "rewrite golden files")

const root = "../../" // of the repository

func TestMain(m *testing.M) {
	// Every frame that nlstest sends in these tests has to be one that the official
	// SDKs of other languages could read too.
	conformance.Strict.Store(true)
	// Thousands of short sessions leave little behind: collecting it less often saves
	// a tenth of the time. Those who count bytes collect by themselves.
	debug.SetGCPercent(400)
	// Some wait for sockets, most of the time, and the processor shall not.
	effort.Parallel("4")
	effort.Short("test.run", inShort)
	goleak.VerifyTestMain(scratch.Tests{M: m})
}

// inShort are the tests of -short: documents, the parameters of each product, and a
// session of each.
const inShort = "README|Document|Chinese|Architecture|Contributing|Newcomers|Fidelity|Parity|Troubleshooting|Deploy|Changelog|HandlersInOrder"
