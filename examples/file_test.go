package examples_test

import (
	"bytes"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls/nlstest"
)

// said is what the program file prints, without times.
func said(stdout string) string {
	var text strings.Builder
	for line := range strings.Lines(stdout) {
		if _, s, ok := strings.Cut(line, ": "); ok {
			text.WriteString(strings.TrimSuffix(s, "\n"))
		}
	}
	return text.String()
}

func TestFileTranscribesWhatItIsGiven(t *testing.T) {
	t.Parallel()
	const spoken = "你好，世界。Hello, Go!"
	recording, err := os.ReadFile("../testdata/test1.wav")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, spoken},
		{[]string{"testdata/test1.wav"}, recordedText},
		{[]string{"testdata/test1-8k.wav"}, recordedText},
		{[]string{"-"}, recordedText},
		{[]string{"https://files.example/a.wav"}, spoken},
		{[]string{"-later", "https://files.example/a.wav"}, spoken},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			cmd := command(t, "file", c.args...)
			cmd.Stdin = bytes.NewReader(recording)
			stdout, stderr, code := run(t, cmd)
			if code != 0 || !strings.Contains(stderr, "using a local one at ws://127.0.0.1:") {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if got := said(stdout); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestFileTakesTheGatewayThatIsNamed(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	if got := said(mustRun(t, command(t, "file", arguments(server.Config(), "testdata/test1.wav")...))); got != recordedText {
		t.Errorf("%q", got)
	}
	if server.Stats().Sessions != 1 {
		t.Error("it has used another gateway")
	}
}

func TestFileSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg := server.Config()
	cfg.Token = "wrong-token"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"a", "b"}, 2, `unexpected argument "b"`},
		{[]string{"-no-such-flag"}, 2, "-no-such-flag"},
		{[]string{"no-such-file"}, 1, "no-such-file"},
		{[]string{"README.md"}, 1, "nls: invalid audio"},
		{[]string{"-later", "testdata/test1.wav"}, 1, "-later takes a URL"},
		{arguments(cfg, "testdata/test1.wav"), 1, "40000001"},
		{arguments(server.Config()), 1, "name a file"},
		{arguments(server.Config(), "-later", "https://files.example/a.wav"), 1, "AccessKeyID"},
	} {
		_, stderr, code := run(t, command(t, "file", c.args...))
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "wrong-token'") {
			t.Errorf("%v: exit code %d, %q", c.args, code, stderr)
		}
	}
}

func TestAnInterruptEndsFileWith130(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("no interrupts to send")
	}
	asked := make(chan struct{}, 1)
	server := nlstest.NewServer(nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		asked <- struct{}{}
		return &nlstest.Fault{Do: nlstest.Hang}
	}})
	defer server.Close()
	cmd := command(t, "file", arguments(server.Config(), "testdata/test1.wav")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Error("it has sent nothing")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
