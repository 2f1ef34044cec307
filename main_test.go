package nls_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/conformance"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

func TestMain(m *testing.M) {
	// Every frame that nlstest sends in these tests has to be one that the official
	// SDKs of other languages could read too.
	conformance.Strict.Store(true)
	effort.Short("test.skip", "^Example") // which speak and listen as fast as speech
	goleak.VerifyTestMain(scratch.Tests{M: withGateway{m}, Leave: "nls-*.wav"})
}

// withGateway runs the tests with a gateway in the environment, where the
// Examples find it. It is closed before goleak looks.
type withGateway struct{ *testing.M }

func (m withGateway) Run() int {
	server := nlstest.NewServer(nlstest.Options{ReplyDelay: -1})
	defer server.Close()
	cfg := server.Config()
	os.Setenv("NLS_URL", cfg.URL)
	os.Setenv("NLS_APPKEY", cfg.AppKey)
	os.Setenv("NLS_TOKEN", cfg.Token)
	return m.M.Run()
}
