package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/gateway"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/internal/wire"
)

// asProgram makes the test binary be the program.
const asProgram = "NLSGATEWAY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(scratch.Tests{M: m})
}

// info is the line that the program prints.
type info struct {
	URL             string `json:"url"`
	TokenURL        string `json:"token_url"`
	TokenURLPlain   string `json:"token_url_plain"`
	CAFile          string `json:"ca_file"`
	AppKey          string `json:"appkey"`
	Token           string `json:"token"`
	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
}

func readInfo(t *testing.T, r io.Reader) info {
	t.Helper()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var i info
	if err := dec.Decode(&i); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return i
}

func TestServesUntilSIGTERMAndLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no SIGTERM on Windows")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], "-tls")
			cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+dir, "GORACE=atexit_sleep_ms=0") // the race detector would sleep a second
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			i := readInfo(t, out)
			if filepath.Dir(i.CAFile) != dir {
				t.Errorf("ca_file %s is not a temporary file", i.CAFile)
			}
			pem, err := os.ReadFile(i.CAFile)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				t.Fatal("no certificate in ca_file")
			}
			transcribe(t, i, &tls.Config{RootCAs: roots})

			resp, err := (&http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
			}}).Get(i.TokenURL)
			if err != nil {
				t.Fatalf("token_url with ca_file: %v", err)
			}
			resp.Body.Close()
			if resp, err = http.Get(i.TokenURLPlain); err != nil {
				t.Fatalf("token_url_plain: %v", err)
			}
			resp.Body.Close()

			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("exit: %v", err)
			}
			if _, err := os.Stat(i.CAFile); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("ca_file is still there: %v", err)
			}
		})
	}
}

// transcribe runs an empty session against the gateway of i.
func transcribe(t *testing.T, i info, config *tls.Config) {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: config}
	ws, _, err := d.Dial(i.URL, http.Header{"X-NLS-Token": {i.Token}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	header := map[string]string{
		"appkey": i.AppKey, "message_id": wire.NewID(), "task_id": wire.NewID(),
		"namespace": "SpeechTranscriber", "name": "StartTranscription",
	}
	for _, step := range []struct{ directive, event string }{
		{"StartTranscription", "TranscriptionStarted"}, {"StopTranscription", "TranscriptionCompleted"},
	} {
		header["name"] = step.directive
		if err := ws.WriteJSON(map[string]any{"header": header, "payload": map[string]any{}}); err != nil {
			t.Fatal(err)
		}
		_, data, err := ws.ReadMessage()
		if err != nil || !strings.Contains(string(data), step.event) {
			t.Fatalf("%s %v, want %s", data, err, step.event)
		}
	}
}

// lockedBuffer is a bytes.Buffer that a test may read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestVerboseShowsEveryMessage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var log lockedBuffer
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-v", "-max-sessions", "1", "-reply-delay", "1ms"}, w, &log) }()
	transcribe(t, readInfo(t, r), nil)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{` 1 <- {"header":`, `"StartTranscription"`, ` 1 -> {"header":`, `"TranscriptionCompleted"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in\n%s", want, log.String())
		}
	}
}

func TestAFaultIsOfEveryConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-fault", "refuse@handshake,code=503"}, w, io.Discard) }()
	i := readInfo(t, r)
	for range 2 {
		_, resp, err := websocket.DefaultDialer.Dial(i.URL, http.Header{"X-NLS-Token": {i.Token}})
		if err == nil || resp == nil || resp.StatusCode != 503 {
			t.Errorf("got %v %v, want 503", resp, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestBadArgumentsAreErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":    {[]string{"-nonsense"}, flag.ErrHelp.Error()},
		"unknown fault":   {[]string{"-fault", "explode@start"}, flag.ErrHelp.Error()},
		"argument":        {[]string{"serve"}, `unexpected argument "serve"`},
		"engine":          {[]string{"-engine", "whisper"}, `-engine "whisper"`},
		"script missing":  {[]string{"-engine", "script"}, "-script: "},
		"address taken":   {[]string{"-addr", taken.Addr().String()}, "nlstest: listen: "},
		"address invalid": {[]string{"-addr", "nonsense"}, "nlstest: listen: "},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := run(ctx, c.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestScriptIsReadLineByLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte("你好。\n\n  Hello. \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := gateway.ReadLines(name)
	if err != nil || strings.Join(lines, "|") != "你好。|Hello." {
		t.Errorf("got %q, %v", lines, err)
	}
}

func TestFilesAreServedFromADirectory(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-files", "../../../testdata"}, in, io.Discard) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	i := readInfo(t, out)
	client, err := nls.NewClient(nls.Config{URL: i.URL, AppKey: i.AppKey, Token: i.Token})
	if err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]int{"https://files.example/hello.wav": -1, "https://files.example/missing.wav": nls.StatusDownloadFailed} {
		result, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: link})
		if nls.StatusCode(err) != want || err == nil && result.Text() != "你好" {
			t.Errorf("%s: %v, %v", link, result, err)
		}
	}
}
