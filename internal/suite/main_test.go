package suite

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/conformance"
)

var update = flag.Bool("update", false, "rewrite golden files")

const root = "../../" // of the repository

func TestMain(m *testing.M) {
	// Every frame that nlstest sends in these tests has to be one that the official
	// SDKs of other languages could read too.
	conformance.Strict.Store(true)
	goleak.VerifyTestMain(m)
}
