package suite

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest/acceptance"
)

// TestLive tries the service that the environment names (see ConfigFromEnv), and no
// other. NLS_LIVE_DIR is where its report and recording are left.
func TestLive(t *testing.T) {
	if os.Getenv("NLS_LIVE") != "1" {
		t.Skip("NOT RUN AGAINST THE REAL SERVICE: set NLS_LIVE=1, NLS_APPKEY and an access key to do so")
	}
	report, err := acceptance.Run(t.Context(), acceptance.Options{Config: nls.ConfigFromEnv(), Dir: os.Getenv("NLS_LIVE_DIR")})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	report.WriteTo(&table)
	if t.Log(table.String()); report.Err() != nil {
		t.Error(report.Err())
	}
}

// A run against the real service that meets none has to fail, lest it passes for
// one.
func TestLiveFailsWithoutAService(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there
	for want, env := range map[string][]string{
		"invalid AppKey":  {},
		l.Addr().String(): {"NLS_URL=ws://" + l.Addr().String(), "NLS_APPKEY=key", "NLS_TOKEN=token"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLive$")
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
			return strings.HasPrefix(v, "NLS_") || strings.HasPrefix(v, "ALIBABA_CLOUD_")
		})
		cmd.Env = append(append(cmd.Env, "NLS_LIVE=1", "GORACE=atexit_sleep_ms=0"), env...) // the race detector would sleep a second
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestLive") || !strings.Contains(string(out), want) {
			t.Errorf("with %s: %v\n%s", env, err, out)
		}
	}
}
