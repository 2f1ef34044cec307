// Package examples_test builds the example programs and runs them as a user would.
package examples_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

const recordedText = "你好，世界。Hello, Go! 🎙" // in ../testdata/test1.wav

// binaries is the directory of the programs.
var binaries string

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "nls-examples"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(binaries)
		os.Exit(code)
	}))
}

// build builds every program once.
var build = sync.OnceValue(func() error {
	out, err := exec.Command("go", "build", "-o", binaries, "./...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

// command is a program at the root of the repository, with nothing of NLS in its
// environment.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes")
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, program), args...)
	cmd.Dir = ".."
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NLS_") || strings.HasPrefix(v, "ALIBABA_CLOUD_")
	})
	return cmd
}

// run runs cmd to its end.
func run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// mustRun is run for a program that has to succeed. It returns what was printed.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", filepath.Base(cmd.Path), code, stdout, stderr)
	}
	return stdout
}

var summary = regexp.MustCompile(`(?m)^(\d+) of (\d+) sessions: (".*")$`)

// result is the text that all sessions had, n of them.
func result(t *testing.T, stdout string, n int) string {
	t.Helper()
	found := summary.FindAllStringSubmatch(stdout, -1)
	if len(found) != 1 || found[0][1] != strconv.Itoa(n) || found[0][2] != strconv.Itoa(n) {
		t.Fatalf("not %d sessions with the same result:\n%s", n, stdout)
	}
	text, err := strconv.Unquote(found[0][3])
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// arguments are the flags that name a gateway.
func arguments(cfg nls.Config, more ...string) []string {
	return append([]string{"-url", cfg.URL, "-appkey", cfg.AppKey, "-token", cfg.Token}, more...)
}

func TestEachProgramPrintsItsEventsWithoutAnAccount(t *testing.T) {
	for _, c := range []struct {
		program string
		args    []string
		lines   []string // some of them, in this order
		text    string
	}{
		{"recognizer", []string{"-speed", "-1"}, []string{
			"started, task ", `partial: "你"`, `partial: "你好，世界。Hello`,
			`completed after 6.18s of audio: "你好，世界。Hello, Go! 🎙"`, "closed",
		}, recordedText},
		{"recognizer", []string{"-speed", "-1", "-repeat", "3", "-file", "testdata/test1.pcm"}, []string{
			"started, task ", "closed", "started, task ", "closed", "started, task ", "closed", "3 of 3 sessions",
		}, recordedText},
		{"transcriber", []string{"-speed", "-1"}, []string{
			"started, task ", "sentence 1 begins at ", `sentence 1 so far: "你好`, `sentence 1, 0s to 1.9`,
			`"你好，世界。"`, "word 209ms to 509ms: \"你好\"",
			"sentence 2 begins", `sentence 2 so far: "Hello`, "sentence 3", "🎙", "completed", "closed",
		}, recordedText},
		{"transcriber", []string{"-speed", "20", "-file", "testdata/test1-8k.wav", "-repeat", "2"},
			[]string{"closed", "closed"}, recordedText},
		{"commonproto", []string{"-speed", "-1"}, []string{
			"open, task ", `started: {"header":{`, `"RecognitionStarted"`, `partial: {`, `"result":"你"`,
			`completed: {`, "closed",
		}, recordedText},
		{"synthesizer", nil, []string{"audio: 8000 bytes", "completed, task ", "closed"},
			"大壮正想去摘取花瓣,谁知阿丽和阿强突然内讧,阿丽拿去手枪向树干边的阿强射击,两声枪响,阿强直接倒入水中"},
		{"synthesizer", []string{"-text", "春天", "-subtitle", "-voice", "ailun"},
			[]string{`subtitle `, `"春"`, `"天"`, "completed"}, "春天"},
		{"synthesizer", []string{"-text", strings.Repeat("长文。", 200), "-long"}, []string{"completed"},
			strings.Repeat("长文。", 200)},
		{"streamsynthesizer", []string{"-text", "床前明月光，疑是地上霜。", "-subtitle", "-repeat", "2"}, []string{
			"started, task ", "sentence 0 begins", "audio: ", "sentence 0 ends", `"床"`, "completed", "closed",
			"started, task ", "closed",
		}, "床前明月光，疑是地上霜。"},
		{"continuous", []string{"-speed", "-1", "-repeat", "2"}, []string{`0s to 1.9`, `"你好，世界。"`, `"🎙"`}, recordedText},
	} {
		t.Run(c.program+" "+strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := run(t, command(t, c.program, c.args...))
			if code != 0 {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if !strings.Contains(stderr, "using a local one at ws://127.0.0.1:") {
				t.Errorf("it does not say which gateway it uses: %s", stderr)
			}
			rest := stdout
			for _, line := range c.lines {
				_, after, ok := strings.Cut(rest, line)
				if !ok {
					t.Fatalf("no %q where it should be in\n%s", line, stdout)
				}
				rest = after
			}
			n := 1
			if i := slices.Index(c.args, "-repeat"); i >= 0 {
				n, _ = strconv.Atoi(c.args[i+1])
			}
			if text := result(t, stdout, n); text != c.text {
				t.Errorf("the result is %q, want %q", text, c.text)
			}
		})
	}
}

func TestAProgramRunsFromAnyDirectory(t *testing.T) {
	cmd := command(t, "transcriber", "-speed", "-1")
	cmd.Dir = t.TempDir()
	if text := result(t, mustRun(t, cmd), 1); text != recordedText {
		t.Errorf("the result is %q", text)
	}
}

func TestManySessionsAtOnceHaveTheRightResult(t *testing.T) {
	for program, args := range map[string][]string{
		"recognizer":        {"-speed", "-1"},
		"transcriber":       {"-speed", "-1"},
		"commonproto":       {"-speed", "-1"},
		"synthesizer":       {"-text", "二十"},
		"streamsynthesizer": {"-text", "二十"},
	} {
		t.Run(program, func(t *testing.T) {
			stdout := mustRun(t, command(t, program, append(args, "-n", "20", "-repeat", "2")...))
			result(t, stdout, 40)
			if lines := strings.Count(stdout, "\n"); lines != 1 {
				t.Errorf("%d lines, want the summary only:\n%s", lines, stdout)
			}
		})
	}
	stdout := mustRun(t, command(t, "recognizer", "-speed", "-1", "-n", "3", "-v"))
	for _, line := range []string{"1: closed", "2: closed", "3: closed"} {
		if !strings.Contains(stdout, line) {
			t.Errorf("no %q with -v in\n%s", line, stdout)
		}
	}
}

func TestCredentialsComeFromFlagsAndEnvironment(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{TLS: true})
	defer server.Close()
	cfg, key := server.Config(), server.AccessKey()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	common := []string{"-speed", "-1", "-ca", ca, "-token-endpoint", server.TokenURL}
	withKey := append(common, "-url", cfg.URL, "-appkey", cfg.AppKey, "-akid", key.ID, "-aksecret", key.Secret)
	env := []string{"NLS_URL=" + cfg.URL, "NLS_APPKEY=" + cfg.AppKey}
	for _, c := range []struct {
		name   string
		args   []string
		env    []string
		tokens int // created for it
	}{
		{"token flag", arguments(cfg, common...), nil, 0},
		{"token in the environment", common, append(env, "NLS_TOKEN="+cfg.Token), 0},
		{"access key flags", withKey, nil, 1},
		{"access key in the environment", common,
			append(env, "ALIBABA_CLOUD_ACCESS_KEY_ID="+key.ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET="+key.Secret), 1},
		{"access key flags beat a token in the environment", withKey, append(env, "NLS_TOKEN=made-up"), 1},
		{"one token for many sessions", append(withKey, "-n", "20"), nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := server.Stats()
			cmd := command(t, "recognizer", c.args...)
			cmd.Env = append(cmd.Env, c.env...)
			_, stderr, code := run(t, cmd)
			after := server.Stats()
			if code != 0 || after.Sessions == before.Sessions {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if n := after.Tokens - before.Tokens; n != c.tokens {
				t.Errorf("%d tokens created, want %d", n, c.tokens)
			}
			if strings.Contains(stderr, "local") {
				t.Errorf("it uses a gateway of its own: %s", stderr)
			}
		})
	}
}

func TestEachProgramRunsWithAnAccessKey(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg, key := server.Config(), server.AccessKey()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := func(secret string, more ...string) []string {
		return append(more, "-url", cfg.URL, "-appkey", cfg.AppKey, "-akid", key.ID, "-aksecret", secret,
			"-ca", ca, "-token-endpoint", server.TokenURL)
	}
	for program, more := range map[string][]string{
		"recognizer": {"-speed", "-1"}, "transcriber": {"-speed", "-1"}, "commonproto": {"-speed", "-1"},
		"continuous": {"-speed", "-1"}, "synthesizer": nil, "streamsynthesizer": {"-text", "好"}, "mic": nil,
	} {
		t.Run(program, func(t *testing.T) {
			cmd := command(t, program, args(key.Secret, more...)...)
			cmd.Stdin = bytes.NewReader(make([]byte, 6400)) // for mic
			mustRun(t, cmd)

			_, stderr, code := run(t, command(t, program, args("wrong-secret", more...)...))
			if code != 1 || !strings.Contains(stderr, "SignatureDoesNotMatch") {
				t.Errorf("wrong secret: exit code %d, %q", code, stderr)
			}
			for _, secret := range []string{"wrong-secret", key.ID, "Signature="} {
				if strings.Contains(stderr, secret) {
					t.Errorf("%s is printed: %q", secret, stderr)
				}
			}
		})
	}
}

func TestFailuresEndWithTheErrorTheTaskIDAndACode(t *testing.T) {
	taskFailed := func(*http.Request) *nlstest.Fault {
		return &nlstest.Fault{
			At: nlstest.DuringAudio, After: 3,
			Do: nlstest.TaskFailed, Code: nls.StatusServerError, Text: "engine down",
		}
	}
	for _, c := range []struct {
		name   string
		opts   nlstest.Options
		args   []string
		stderr string // a regular expression
	}{
		{"wrong token", nlstest.Options{}, []string{"-token", "made-up"},
			`error: nls: handshake refused: HTTP 403: .*The token '\*\*\*' is invalid`},
		{"unknown appkey", nlstest.Options{}, []string{"-appkey", "made-up"},
			`error: nls: task failed: 40020105 .* \(task [0-9a-f]{32}\)`},
		{"failure in the middle", nlstest.Options{Fault: taskFailed}, nil,
			`error: nls: task failed: 50000000 engine down \(task [0-9a-f]{32}\)`},
		{"failure of one of many", nlstest.Options{MaxSessions: 1}, []string{"-n", "3", "-speed", "20"},
			`error: [12] of 3 sessions failed, the first of them with: nls: task failed: 40000005 `},
		{"another text", nlstest.Options{}, []string{"-want", "再见"},
			`error: 1 of 1 sessions: not the expected text "再见"`},
		{"no file", nlstest.Options{}, []string{"-file", "testdata/nothing.wav"}, `error: open testdata.nothing.wav: `},
		{"not audio", nlstest.Options{}, []string{"-file", "go.mod"},
			`error: go.mod: nls: invalid audio: not a WAV file`},
		{"bad URL", nlstest.Options{}, []string{"-url", "http://127.0.0.1/"},
			`error: nls: invalid URL "http://127.0.0.1/": must be a ws or wss URL`},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := nlstest.NewServer(c.opts)
			defer server.Close()
			args := append(arguments(server.Config(), "-speed", "-1"), c.args...)
			_, stderr, code := run(t, command(t, "transcriber", args...))
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !regexp.MustCompile(c.stderr).MatchString(stderr) {
				t.Errorf("got %q, want %s", stderr, c.stderr)
			}
		})
	}
}

// The programs here share nothing but the file.
func TestTextComesBackThroughASoundFile(t *testing.T) {
	const text = "你好，世界 🎙 & <b>Go</b>"
	for _, c := range []struct{ speaker, file, listener string }{
		{"synthesizer", "x.wav", "recognizer"},
		{"synthesizer", "x.pcm", "transcriber"},
		{"streamsynthesizer", "x.wav", "recognizer"},
		{"streamsynthesizer", "x.wav", "commonproto"},
		{"streamsynthesizer", "x.wav", "continuous"},
	} {
		t.Run(strings.Join([]string{c.speaker, c.file, c.listener}, " "), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.file)
			mustRun(t, command(t, c.speaker, "-text", text, "-out", file))
			if strings.HasSuffix(file, ".wav") {
				checkWAV(t, file)
			}
			if got := result(t, mustRun(t, command(t, c.listener, "-file", file, "-speed", "-1")), 1); got != text {
				t.Errorf("%q came back, want %q", got, text)
			}
		})
	}
}

// checkWAV checks that the header of a file says how long it is.
func checkWAV(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(data)
	wav, err := nls.ReadWAVHeader(r)
	want := nls.WAVFormat{SampleRate: 16000, Channels: 1, BitsPerSample: 16, DataSize: int64(r.Len())}
	if err != nil || wav != want || r.Len() == 0 {
		t.Errorf("the header says %+v, %v; want %+v", wav, err, want)
	}
	if riff := int(data[4]) | int(data[5])<<8 | int(data[6])<<16 | int(data[7])<<24; riff != len(data)-8 {
		t.Errorf("the RIFF size is %d in a file of %d bytes", riff, len(data))
	}
}

// mixedText is Chinese, English and emoji of n characters, in lines.
func mixedText(n int) string {
	words := []string{
		"春天来了，", "大地复苏。", "今天天气怎么样？", "语音合成", "实时识别，", "Hello, ", "streaming text ", "Go 1.26; ", "<b>bold</b> & ",
		"\"quoted\" ", "🎙", "👩‍💻", "🇨🇳！", "🌸 ", "naïve café. ", "3.14 ", "\n",
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var runes []rune
	for len(runes) < n {
		runes = append(runes, []rune(words[rng.IntN(len(words))])...)
	}
	return string(runes[:n])
}

func TestTenThousandCharactersPipedInComeBack(t *testing.T) {
	const n = 10000
	text := mixedText(n)
	if utf8.RuneCountInString(text) != n {
		t.Fatal("the text is not as long as it should be")
	}
	file := filepath.Join(t.TempDir(), "long.wav")

	cmd := command(t, "streamsynthesizer", "-out", file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	early := make(chan struct{}) // audio is there before all of the text is
	stdout := &watcher{mark: "audio: ", seen: early}
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := strings.Index(text[len(text)/2:], "\n") + len(text)/2
	io.WriteString(stdin, text[:half])
	select {
	case <-early:
	case <-time.After(20 * time.Second):
		t.Error("no audio before the end of the text")
	}
	io.WriteString(stdin, text[half:])
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, stderr.String())
	}
	if got := result(t, stdout.String(), 1); got != text {
		t.Error("streamsynthesizer heard another text")
	}
	checkWAV(t, file)
	if got := result(t, mustRun(t, command(t, "transcriber", "-file", file, "-speed", "-1")), 1); got != text {
		t.Errorf("%d characters came back, not the %d that were sent", utf8.RuneCountInString(got), n)
	}
}

// watcher is a buffer that tells when a text was written to it.
type watcher struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	mark string
	seen chan struct{} // nil once closed
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.seen != nil && bytes.Contains(w.buf.Bytes(), []byte(w.mark)) {
		close(w.seen)
		w.seen = nil
	}
	return len(p), nil
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func TestMicSendsSilenceWhileItIsMuted(t *testing.T) {
	const idle = 2 * time.Second
	server := nlstest.NewServer(nlstest.Options{IdleTimeout: idle})
	defer server.Close()
	pcm, err := os.ReadFile("../testdata/test1.pcm")
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "mic", arguments(server.Config())...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdin.Write(pcm)
	// What has come is sent as it plays. Then the mute: there is nothing to wait for but
	// time.
	time.Sleep(time.Duration(len(pcm))*time.Second/32000 + 2*idle)
	stdin.Write(pcm)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, stderr.String())
	}
	if got := result(t, stdout.String(), 1); got != recordedText+recordedText {
		t.Errorf("heard %q", got)
	}
	if sent := server.Stats().BytesIn; sent < int64(2*len(pcm)+64000) {
		t.Errorf("%d bytes arrived, with too little silence among them", sent)
	}
}

func TestContinuousLosesNoSentenceAndKeepsTheTime(t *testing.T) {
	var connections atomic.Int32
	server := nlstest.NewServer(nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		switch connections.Add(1) {
		case 1: // after the first sentence, which ends at 1.9 s
			return &nlstest.Fault{At: nlstest.DuringAudio, Do: nlstest.Reset, After: 25}
		case 2:
			return &nlstest.Fault{
				At: nlstest.OnStart, Do: nlstest.TaskFailed, Code: nls.StatusTooManyRequests, Only: true,
			}
		case 3: // which begins at 1.9 s, after the second sentence
			return &nlstest.Fault{At: nlstest.DuringAudio, Do: nlstest.Reset, After: 28}
		}
		return nil
	}})
	defer server.Close()
	stdout := mustRun(t, command(t, "continuous", arguments(server.Config(), "-speed", "10")...))
	if got := result(t, stdout, 1); got != recordedText {
		t.Errorf("the result is %q", got)
	}
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}

	// The last sentence is where it is without any fault.
	clean := mustRun(t, command(t, "continuous", "-speed", "-1"))
	at := regexp.MustCompile(`(?m)^(\S+) to (\S+): "🎙"$`)
	got, want := at.FindStringSubmatch(stdout), at.FindStringSubmatch(clean)
	if got == nil || want == nil {
		t.Fatalf("no last sentence in\n%s\n%s", stdout, clean)
	}
	for i := range 2 {
		g, _ := time.ParseDuration(got[i+1])
		w, _ := time.ParseDuration(want[i+1])
		if cmp.Compare((g-w).Abs(), 20*time.Millisecond) > 0 {
			t.Errorf("the last sentence is at %s, want %s", got[0], want[0])
		}
	}

	_, stderr, code := run(t, command(t, "continuous", arguments(server.Config(), "-token", "made-up")...))
	if code != 1 || !strings.Contains(stderr, "403") {
		t.Errorf("with a wrong token it ends with %d, %q", code, stderr)
	}
}
