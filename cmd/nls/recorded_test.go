package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nlsgo/nls/nlstest"
)

func TestRecordedFilesAreTranscribedAtOnceOrLater(t *testing.T) {
	t.Parallel()
	server, flags := newService(t, nlstest.Options{Files: http.FileServer(http.Dir("../../testdata"))})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	key := server.AccessKey()
	flags = append(flags, "--akid", key.ID, "--aksecret", key.Secret, "--ca", ca,
		"--token-endpoint", server.TokenURL, "--file-endpoint", server.TokenURL)
	const url = "https://files.example/test1.wav"
	var task string
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
	}{
		{"a file", []string{"--fast", recording}, ""},
		{"standard input", []string{"--fast", "-"}, recording},
		{"a URL", []string{"--fast", url}, ""},
		{"a URL, later", []string{"--later", url}, ""},
		{"a task", []string{"--later", "TASK"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.args[1] == "TASK" {
				c.args[1] = task
			}
			cmd := program(t, append(append([]string{"transcribe"}, c.args...), flags...)...)
			if c.stdin != "" {
				f, err := os.Open(c.stdin)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				cmd.Stdin = f
			}
			r := run1(t, cmd)
			if r.code != 0 || r.stdout != recordedText {
				t.Errorf("%+v", r)
			}
			if m := regexp.MustCompile(`submitted, task ([0-9a-f]{32})`).FindStringSubmatch(r.stderr); m != nil {
				task = m[1]
			}
		})
	}

	srt := filepath.Join(t.TempDir(), "x.srt")
	mustRun(t, program(t, append([]string{"transcribe", "--fast", recording, "-o", srt}, flags...)...))
	if data, _ := os.ReadFile(srt); !strings.Contains(string(data), "\n你好，世界。\n") {
		t.Errorf("written: %q", data)
	}
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"--later", recording}, 2, `--later takes a URL`},
		{[]string{"--later", "--fast", url}, 2, `which of them`},
		{[]string{"--fast", "--lite", url}, 2, `--lite is for --later`},
		{[]string{"--fast", "nothing.wav"}, 1, `open nothing.wav`},
		{[]string{"--fast", "go.mod"}, 1, `^nls: invalid `},
		{[]string{"--later", "https://files.example/nothing.wav"}, 1, `task failed: 410500\d\d `},
		{[]string{"--later", url, "--aksecret", "wrong"}, 1, `SignatureDoesNotMatch.*\ncheck ALIBABA_CLOUD_ACCESS_KEY_ID`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			r := run1(t, program(t, append(append([]string{"transcribe"}, flags...), c.args...)...))
			if r.code != c.code || r.stdout != "" || !regexp.MustCompile(c.stderr).MatchString(r.stderr) {
				t.Errorf("exit code %d, want %d; %q, want %s", r.code, c.code, r.stderr, c.stderr)
			}
		})
	}
}

func TestCtrlCEndsTheWaitForARecordedFile(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	reached := make(chan struct{})
	_, flags := newService(t, nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		if !asked.Swap(true) {
			close(reached)
		}
		return &nlstest.Fault{At: nlstest.OnStop, Do: nlstest.Hang}
	}})
	term := onTerminal(t, program(t, append([]string{"transcribe", "--fast", recording}, flags...)...))
	<-reached
	term.interrupt()
	if code := term.code(); code != 130 {
		t.Errorf("exit code %d: %q", code, term)
	}
}
