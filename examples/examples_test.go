// Package examples_test builds the example programs and runs them as a user would.
package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"maps"
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
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

const (
	recording    = "testdata/test1.wav"
	recordedText = "你好，世界。Hello, Go! 🎙" // in it, and what programs without a file work on
)

// binaries is the directory of the programs.
var binaries string

// keep is set where this program is what go run starts in place of an example.
const keep = "NLS_EXAMPLES_KEEP"

func TestMain(m *testing.M) {
	var err error
	if dir := os.Getenv(keep); dir != "" {
		if err = copyTo(dir, os.Args[1]); err == nil {
			return
		}
	} else {
		binaries, err = os.MkdirTemp("", "nls-examples")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Programs that listen to speech wait, most of the time.
	effort.Parallel("24")
	goleak.VerifyTestMain(scratch.Tests{M: m}, goleak.Cleanup(func(code int) {
		os.RemoveAll(binaries)
		os.Exit(code)
	}))
}

// copyTo copies a program into a directory.
func copyTo(dir, program string) error {
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, filepath.Base(program)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// programs are the main.go of each, but for captions, which has a web page, and fleet,
// which is a module of its own.
func programs() ([]string, error) {
	files, err := filepath.Glob("*/main.go")
	return slices.DeleteFunc(files, func(name string) bool {
		return slices.Contains([]string{"captions", "fleet"}, filepath.Dir(name))
	}), err
}

// built are functions that build a program each, once.
var built sync.Map

// build returns the file of a program. It is what go run has linked: Go keeps that from
// one run of these tests to the next, and links nothing again that has not changed.
func build(program string) (string, error) {
	once, _ := built.LoadOrStore(program, sync.OnceValues(func() (string, error) {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		cmd := exec.Command("go", "run", "-exec", "'"+self+"'", "./"+program)
		cmd.Env = append(os.Environ(), keep+"="+binaries)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		return filepath.Join(binaries, program), nil
	}))
	return once.(func() (string, error))()
}

// command is a program at the root of the repository, with nothing of NLS in its
// environment.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes")
	}
	file, err := build(program)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, file, args...)
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

// arguments are the flags that name a gateway.
func arguments(cfg nls.Config, more ...string) []string {
	return append([]string{"-url", cfg.URL, "-appkey", cfg.AppKey, "-token", cfg.Token}, more...)
}

// text is what a recogniser or transcriber has printed.
func text(stdout string) string {
	return strings.ReplaceAll(regexp.MustCompile(`(?m)^\S+ to \S+: `).ReplaceAllString(stdout, ""), "\n", "")
}

func TestEachProgramRunsWithoutAnAccount(t *testing.T) {
	t.Parallel()
	sentences := regexp.MustCompile(`^0s to 1\.9\d*s: 你好，世界。\n2\.0\d*s to 4\.6\d*s: Hello, Go! \n4\.7\d*s to 6\.0\d*s: 🎙\n$`)
	sentence := regexp.MustCompile("^0s to 4\\.38s: " + recordedText + "\n$")
	whole := regexp.MustCompile("^" + recordedText + "\n$")
	for _, c := range []struct {
		program string
		args    []string
		stdout  *regexp.Regexp
		stderr  []string // some of the lines, in this order
	}{
		{"recognizer", []string{"-speed", "-1"}, whole, []string{"so far: 你\n", "so far: 你好，世界。Hello"}},
		{"recognizer", []string{"-speed", "-1", recording}, whole, nil},
		{"commonproto", []string{"-speed", "-1"}, whole, []string{`"RecognitionResultChanged"`, `"result":"你"`, `"RecognitionCompleted"`}},
		{"transcriber", []string{"-speed", "-1"}, sentence, []string{"so far: 你好", "so far: 你好，世界。Hello"}},
		{"transcriber", []string{"-speed", "-1", recording}, sentences, []string{"so far: 你好", "so far: Hello"}},
		{"transcriber", []string{"-speed", "20", "testdata/test1-8k.wav"}, sentences, nil},
		{"continuous", []string{"-speed", "-1"}, sentence, nil},
		{"continuous", []string{"-speed", "-1", recording}, sentences, nil},
		{"mic", nil, regexp.MustCompile(`^$`), nil}, // of an empty standard input
		{"synthesizer", nil, regexp.MustCompile(`^$`), []string{"21 characters in "}},
		{"synthesizer", []string{"-text", strings.Repeat("长文。", 200), "-long"}, regexp.MustCompile(`^$`), []string{"600 characters in "}},
		{"streamsynthesizer", nil, regexp.MustCompile(`^$`), []string{"210ms to 360ms: 床\n", ": 霜\n"}},
	} {
		t.Run(c.program+" "+strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := run(t, command(t, c.program, c.args...))
			if code != 0 || !c.stdout.MatchString(stdout) {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "\x1b") {
				t.Errorf("in a pipe lines are plain: %q", stderr)
			}
			rest := stderr
			for _, line := range append([]string{"using a local gateway", "at ws://127.0.0.1:"}, c.stderr...) {
				_, after, ok := strings.Cut(rest, line)
				if !ok {
					t.Fatalf("no %q where it should be in\n%s", line, stderr)
				}
				rest = after
			}
		})
	}
}

func TestAProgramRunsFromAnyDirectory(t *testing.T) {
	t.Parallel()
	cmd := command(t, "transcriber", "-speed", "-1")
	cmd.Dir = t.TempDir()
	if got := text(mustRun(t, cmd)); got != recordedText {
		t.Errorf("the result is %q", got)
	}
}

// Examples are copied: each is one file that needs nothing of this repository but the
// two packages that everybody may import, and so builds anywhere.
func TestEachProgramIsOneFile(t *testing.T) {
	files, err := programs()
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(source, []byte("\n")); lines > 140 && filepath.Dir(file) != "voice" {
			t.Errorf("%s has %d lines", file, lines)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			switch path, _ := strconv.Unquote(i.Path.Value); {
			case path == "github.com/nlsgo/nls", path == "github.com/nlsgo/nls/nlstest", !strings.Contains(path, "."):
			default:
				t.Errorf("%s imports %s", file, path)
			}
		}
		if all, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(all) != 1 {
			t.Errorf("beside %s there is %v, %v", file, all, err)
		}
	}
}

func TestManySessionsAtOnce(t *testing.T) {
	t.Parallel()
	n := effort.Times(20, 8)
	for program, lines := range map[string]int{"recognizer": n, "commonproto": n, "transcriber": 3 * n, "synthesizer": 0} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			args := []string{"-n", strconv.Itoa(n)}
			if program != "synthesizer" {
				args = append(args, "-speed", "-1", recording)
			}
			stdout, stderr, code := run(t, command(t, program, args...))
			if code != 0 || strings.Count(stdout, "\n") != lines {
				t.Fatalf("exit code %d, %d lines, want %d:\n%s%s", code, strings.Count(stdout, "\n"), lines, stdout, stderr)
			}
			if program == "recognizer" && stdout != strings.Repeat(recordedText+"\n", n) {
				t.Errorf("not the same text from each:\n%s", stdout)
			}
			if said := strings.Count(stderr, "characters in"); program == "synthesizer" && said != n {
				t.Errorf("%d sessions have spoken", said)
			}
		})
	}
}

func TestTheServiceIsThatOfFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	tried := effort.OneIn(2)
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg := server.Config()
	env := []string{"NLS_URL=" + cfg.URL, "NLS_APPKEY=" + cfg.AppKey, "NLS_TOKEN=" + cfg.Token}
	for _, c := range []struct {
		name string
		args []string
		env  []string
	}{
		{"flags", arguments(cfg), nil},
		{"environment", nil, env},
		{"flags beat the environment", []string{"-token", cfg.Token}, append(env[:2:2], "NLS_TOKEN=made-up")},
	} {
		for _, program := range []string{"recognizer", "transcriber", "commonproto", "continuous", "synthesizer", "streamsynthesizer", "mic"} {
			if !tried() {
				continue
			}
			t.Run(c.name+", "+program, func(t *testing.T) {
				before := server.Stats().Sessions
				args := slices.Clone(c.args)
				switch program {
				case "recognizer", "transcriber", "commonproto", "continuous":
					args = append(args, "-speed", "-1", recording)
				}
				cmd := command(t, program, args...)
				cmd.Env = append(cmd.Env, c.env...)
				_, stderr, code := run(t, cmd)
				if code != 0 || server.Stats().Sessions == before || strings.Contains(stderr, "local") {
					t.Errorf("exit code %d, %q", code, stderr)
				}
			})
		}
	}
}

func TestFailuresEndWithOneErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	broken := func(*http.Request) *nlstest.Fault {
		return &nlstest.Fault{
			At: nlstest.DuringAudio, After: 3,
			Do: nlstest.TaskFailed, Code: nls.StatusServerError, Text: "engine down",
		}
	}
	dir := t.TempDir()
	long, wide := filepath.Join(dir, "61s.wav"), filepath.Join(dir, "stereo.wav")
	for name, format := range map[string]nls.WAVFormat{long: {SampleRate: 8000}, wide: {SampleRate: 44100}} {
		var b bytes.Buffer
		w, err := nls.NewWAVWriter(&b, format)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, 2*61*format.SampleRate))
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const fix = `\nset -appkey and -token, or NLS_APPKEY and NLS_TOKEN; the gateway is that of -url or -region\n$`
	for _, c := range []struct {
		name    string
		program string
		opts    nlstest.Options
		args    []string
		code    int
		stderr  string // a regular expression
	}{
		{"refused token", "recognizer", nlstest.Options{}, []string{"-token", "made-up", recording}, 1,
			`^error: nls: handshake refused: HTTP 403: .*The token '\*\*\*' is invalid.*` + fix},
		{"refused token", "mic", nlstest.Options{}, []string{"-token", "made-up"}, 1, `^error: nls: handshake refused: HTTP 403.*` + fix},
		{"refused token", "streamsynthesizer", nlstest.Options{}, []string{"-token", "made-up"}, 1, `^error: nls: handshake refused: HTTP 403.*` + fix},
		{"unknown AppKey", "synthesizer", nlstest.Options{}, []string{"-appkey", "made-up"}, 1,
			`^error: nls: task failed: 40020105 .* \(task [0-9a-f]{32}\)` + fix},
		{"no token", "transcriber", nlstest.Options{}, []string{"-token", "", recording}, 1, `^error: nls: invalid Token: no credentials.*` + fix},
		{"bad URL", "transcriber", nlstest.Options{}, []string{"-url", "http://127.0.0.1/", recording}, 1,
			`^error: nls: invalid URL "http://127.0.0.1/": must be a ws or wss URL.*` + fix},
		{"bad region", "transcriber", nlstest.Options{}, []string{"-region", "mars", "-url", "", recording}, 1, `^error: nls: invalid Region "mars".*` + fix},
		{"failure in the middle", "transcriber", nlstest.Options{Fault: broken}, []string{recording}, 1,
			`(?m)^error: nls: task failed: 50000000 engine down \(task [0-9a-f]{32}\)$`},
		{"failure of one of many", "recognizer", nlstest.Options{MaxSessions: 1}, []string{"-n", "3", "-speed", "20", recording}, 1,
			`(?m)^error: nls: task failed: 40000005 .*$`},
		{"no file", "recognizer", nlstest.Options{}, nil, 1, `^error: name a WAV file, or - for standard input\n$`},
		{"missing file", "transcriber", nlstest.Options{}, []string{"testdata/nothing.wav"}, 1, `^error: open testdata.nothing.wav: .*\n$`},
		{"missing text", "synthesizer", nlstest.Options{}, []string{"nothing.txt"}, 1, `^error: open nothing.txt: .*\n$`},
		{"missing text", "streamsynthesizer", nlstest.Options{}, []string{"nothing.txt"}, 1, `^error: open nothing.txt: .*\n$`},
		{"not audio", "continuous", nlstest.Options{}, []string{"go.mod"}, 1, `^error: nls: invalid audio: not a WAV file\n$`},
		{"two files", "transcriber", nlstest.Options{}, []string{recording, recording}, 1, `^error: .*one file at most\n$`},
		{"too long", "recognizer", nlstest.Options{}, []string{long}, 1, `^error: longer than 60 s: use a transcriber, or cut it: ffmpeg .*\n$`},
		{"wrong rate", "transcriber", nlstest.Options{}, []string{wide}, 1, `^error: .*44100.*\n$`},
		{"no sessions", "recognizer", nlstest.Options{}, []string{"-n", "0", recording}, 1, `^error: -n 0, .*: want one session at least`},
		{"fewer sessions", "synthesizer", nlstest.Options{}, []string{"-n", "-3"}, 1, `^error: -n -3, .*: want one session at least`},
		{"standard input for many", "transcriber", nlstest.Options{}, []string{"-n", "2", "-"}, 1, `^error: standard input is read once`},
		{"argument to mic", "mic", nlstest.Options{}, []string{"x"}, 1, `^error: no arguments, not \["x"\]`},
		{"output of an unknown kind", "synthesizer", nlstest.Options{}, []string{"-out", "x.ogg"}, 1, `^error: -out x.ogg: the name must end with .wav, .mp3 or .pcm\n$`},
		{"output that cannot be", "streamsynthesizer", nlstest.Options{}, []string{"-out", "nothing/x.wav"}, 1, `^error: open nothing.x.wav: .*\n$`},
		{"unknown flag", "recognizer", nlstest.Options{}, []string{"-speeed", "1"}, 2, `flag provided but not defined: -speeed`},
	} {
		t.Run(c.name+", "+c.program, func(t *testing.T) {
			t.Parallel()
			server := nlstest.NewServer(c.opts)
			defer server.Close()
			args := arguments(server.Config())
			if slices.Contains([]string{"recognizer", "transcriber", "continuous"}, c.program) {
				args = append(args, "-speed", "-1")
			}
			stdout, stderr, code := run(t, command(t, c.program, append(args, c.args...)...))
			if code != c.code || !regexp.MustCompile(c.stderr).MatchString(stderr) {
				t.Errorf("exit code %d, want %d; %q, want %s", code, c.code, stderr, c.stderr)
			}
			if strings.Count(stderr, "error: ") != 1-c.code/2 || c.name != "failure of one of many" && strings.Contains(stdout, recordedText) {
				t.Errorf("printed: %q, %q", stdout, stderr)
			}
			if c.name == "too long" && server.Stats().Connections > 0 {
				t.Error("it was refused after a connection was made")
			}
		})
	}
}

func TestHelpSaysWhatAProgramDoes(t *testing.T) {
	t.Parallel()
	for program, does := range map[string]string{
		"recognizer": "turns a recording of up to 60 seconds into text", "transcriber": "turns a recording of any length into sentences",
		"commonproto": "protocol", "continuous": "whatever happens to the network", "mic": "transcribes a microphone",
		"synthesizer": "speaks a text", "streamsynthesizer": "speaks text as it comes", "voice": "speaks",
	} {
		cmd := command(t, program, "-h")
		cmd.Env = append(cmd.Env, "NLS_TOKEN=a-secret")
		_, stderr, code := run(t, cmd)
		first, rest, _ := strings.Cut(stderr, "\n")
		if code != 0 || !strings.Contains(first, program) || !strings.Contains(first, does) {
			t.Errorf("%s: exit code %d, %q", program, code, first)
		}
		for _, flag := range []string{"-url ", "-region ", "-appkey ", "-token "} {
			if !strings.Contains(rest, flag) {
				t.Errorf("%s: no %s in its help", program, flag)
			}
		}
		if strings.Contains(stderr, "a-secret") {
			t.Errorf("%s prints the token", program)
		}
	}
}

// The user pays for what is sent.
func TestNothingIsSentThatIsNoPartOfTheTask(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	names := map[string]int{}
	server := nlstest.NewServer(nlstest.Options{OnFrame: func(f nlstest.Frame) {
		var message struct {
			Header  struct{ Name string }
			Payload map[string]any
		}
		if f.Sent || f.Binary || json.Unmarshal(f.Payload, &message) != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		names[message.Header.Name]++
		for key := range message.Payload {
			if key != "format" && key != "sample_rate" && !strings.HasPrefix(key, "enable_") {
				names[key]++
			}
		}
	}})
	defer server.Close()
	for _, program := range []string{"recognizer", "transcriber"} {
		mustRun(t, command(t, program, arguments(server.Config(), "-speed", "-1", recording)...))
	}
	mu.Lock()
	defer mu.Unlock()
	want := map[string]int{"StartRecognition": 1, "StopRecognition": 1, "StartTranscription": 1, "StopTranscription": 1}
	if !maps.Equal(names, want) {
		t.Errorf("sent: %v", names)
	}
}

func TestMP3IsAskedOfTheService(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := nlstest.NewServer(nlstest.Options{OnFrame: func(f nlstest.Frame) {
		if bytes.Contains(f.Payload, []byte(`"format":"mp3"`)) {
			asked.Add(1)
		}
	}})
	defer server.Close()
	for i, program := range []string{"synthesizer", "streamsynthesizer"} {
		run(t, command(t, program, arguments(server.Config(), "-out", filepath.Join(t.TempDir(), "x.mp3"))...))
		if n := int(asked.Load()); n != i+1 {
			t.Errorf("%s has not asked for mp3", program)
		}
	}
}

// The programs here share nothing but the file.
func TestTextComesBackThroughASoundFile(t *testing.T) {
	t.Parallel()
	const text1 = "你好，世界 🎙 & <b>Go</b>"
	for _, c := range []struct{ speaker, file, listener string }{
		{"synthesizer", "x.wav", "recognizer"},
		{"synthesizer", "-", "transcriber"},
		{"streamsynthesizer", "x.wav", "commonproto"},
		{"streamsynthesizer", "-", "continuous"},
		{"streamsynthesizer", "x.pcm", "mic"},
	} {
		t.Run(strings.Join([]string{c.speaker, c.file, c.listener}, " "), func(t *testing.T) {
			t.Parallel()
			file := c.file
			if file != "-" {
				file = filepath.Join(t.TempDir(), file)
			}
			audio := mustRun(t, command(t, c.speaker, "-text", text1, "-out", file))
			args := []string{"-speed", "-1", file}
			switch c.file {
			case "x.wav":
				checkWAV(t, file)
			case "x.pcm":
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				audio, args = string(data), nil
			}
			listener := command(t, c.listener, args...)
			listener.Stdin = strings.NewReader(audio)
			if got := text(mustRun(t, listener)); got != text1 {
				t.Errorf("%q came back, want %q", got, text1)
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

func TestALongTextPipedInComesBack(t *testing.T) {
	t.Parallel()
	n := effort.Times(10_000, 2_000)
	long := mixedText(n)
	if utf8.RuneCountInString(long) != n {
		t.Fatal("the text is not as long as it should be")
	}
	file := filepath.Join(t.TempDir(), "long.wav")

	cmd := command(t, "streamsynthesizer", "-out", file, "-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	early := make(chan struct{}, 1) // speech is there before all of the text is
	stderr := &watcher{mark: " to ", seen: early}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := strings.Index(long[len(long)/2:], "\n") + len(long)/2
	io.WriteString(stdin, long[:half])
	select {
	case <-early:
	case <-time.After(20 * time.Second):
		t.Error("no speech before the end of the text")
	}
	io.WriteString(stdin, long[half:])
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, stderr.String())
	}
	checkWAV(t, file)
	if got := text(mustRun(t, command(t, "transcriber", "-speed", "-1", file))); got != strings.ReplaceAll(long, "\n", "") {
		t.Errorf("%d characters came back, not the %d that were sent", utf8.RuneCountInString(got), n)
	}
}

// watcher is a buffer that tells when a text was written to it.
type watcher struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	mark string
	seen chan struct{} // holds one
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if bytes.Contains(w.buf.Bytes(), []byte(w.mark)) {
		select {
		case w.seen <- struct{}{}:
		default: // told already
		}
	}
	return len(p), nil
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func TestMicSendsSilenceWhileItIsMuted(t *testing.T) {
	t.Parallel()
	const idle = 2500 * time.Millisecond // silence is sent after one second
	server := nlstest.NewServer(nlstest.Options{IdleTimeout: idle})
	defer server.Close()
	hello, err := os.ReadFile("../testdata/hello.wav")
	if err != nil {
		t.Fatal(err)
	}
	pcm := hello[44:] // behind the header
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
	// Then the mute, of a second before the silence and two with it.
	const silence = 2 * 32000
	for begin := time.Now(); server.Stats().BytesIn < int64(len(pcm))+silence; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			cmd.Process.Kill()
			t.Fatalf("%d bytes arrived, with too little silence among them", server.Stats().BytesIn)
		}
	}
	stdin.Write(pcm)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, stderr.String())
	}
	if got := stdout.String(); got != "你好\n你好\n" {
		t.Errorf("heard %q", got)
	}
	if n := server.Stats().Connections; n != 1 {
		t.Errorf("%d connections: one of them has timed out", n)
	}
}

// What they listen to is longer than any machine is late: standard input has no end, and the
// programs that read all of it first have a recording that goes on in silence.
func TestCtrlCEndsWithWhatIsKnown(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt on Windows")
	}
	t.Parallel()
	speech, err := os.ReadFile("../testdata/test1.wav")
	if err != nil {
		t.Fatal(err)
	}
	copy(speech[40:44], "\xff\xff\xff\xff") // the length that a pipe has
	header, pcm := speech[:44], speech[44:]
	long := filepath.Join(t.TempDir(), "long.wav")
	if err := os.WriteFile(long, append(slices.Clip(speech), make([]byte, 50*32000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		args    []string
		stdin   []byte
		until   string // is printed, on standard output or standard error
		code    int
		stdout  string
		stderr  string // that and more
	}{
		{"recognizer", []string{long}, nil, "so far: 你好，世界。H", 130, `^你好，世界。H.*\n$`, ""},
		{"commonproto", []string{long}, nil, `你好，世界。H`, 130, `^你好，世界。H.*\n$`, "RecognitionCompleted"},
		{"transcriber", []string{"-"}, speech, "so far: H", 130, `: 你好，世界。\n.*: H.*\n$`, ""},
		{"continuous", []string{"-"}, speech, "你好，世界。", 130, `^\S+ to \S+: 你好，世界。\n(\S+ to \S+: H.*\n)?$`, ""},
		{"continuous", []string{"-"}, header, "local gateway", 130, `^$`, ""}, // before anything is known
		{"mic", nil, pcm, "so far: H", 0, `^你好，世界。\nH.*\n$`, ""},
		{"streamsynthesizer", []string{"-"}, []byte("床前明月光。\n"), " to ", 130, `^$`, ""},
	} {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, c.program, c.args...)
			reached := make(chan struct{}, 1)
			stdout := &watcher{mark: c.until, seen: reached}
			stderr := &watcher{mark: c.until, seen: reached}
			cmd.Stdout, cmd.Stderr = stdout, stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go stdin.Write(c.stdin) // more than a pipe holds; Wait closes it
			select {
			case <-reached:
			case <-time.After(20 * time.Second):
				t.Error("it does not get so far")
			}
			cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code || !regexp.MustCompile(`(?s)`+c.stdout).MatchString(stdout.String()) {
				t.Errorf("exit code %d, want %d; printed %q, want %s; %s", code, c.code, stdout, c.stdout, stderr)
			}
			if strings.Contains(stderr.String(), "error:") || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("it says %s, want %q and no error", stderr, c.stderr)
			}
		})
	}
}

// While nothing comes on standard input the first Ctrl-C is noted, and ends nothing.
func TestMoreThanOneCtrlCKills(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt on Windows")
	}
	t.Parallel()
	for _, program := range []string{"recognizer", "commonproto", "transcriber", "continuous"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, program, "-")
			running, ended := make(chan struct{}, 1), make(chan struct{})
			cmd.Stderr = &watcher{mark: "local gateway", seen: running}
			if _, err := cmd.StdinPipe(); err != nil { // stays open
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = cmd.Wait() // killed
				close(ended)
			}()
			select {
			case <-running:
			case <-ended:
				t.Fatalf("it ends by itself: %s", cmd.Stderr)
			}
			for range 200 {
				_ = cmd.Process.Signal(os.Interrupt) // two that are too close are one
				select {
				case <-ended:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
			t.Error("it goes on")
		})
	}
}

func TestContinuousLosesNoSentenceAndKeepsTheTime(t *testing.T) {
	t.Parallel()
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
	stdout, stderr, code := run(t, command(t, "continuous", arguments(server.Config(), "-speed", "10", recording)...))
	if code != 0 || text(stdout) != recordedText {
		t.Fatalf("exit code %d, %q", code, stdout)
	}
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
	if n := strings.Count(stderr, "; again from "); n != 2 || strings.Count(stderr, "goes on as task ") != 2 {
		t.Errorf("it says: %s", stderr)
	}

	// The last sentence is where it is without any fault.
	clean := mustRun(t, command(t, "continuous", "-speed", "-1", recording))
	at := regexp.MustCompile(`(?m)^(\S+) to (\S+): 🎙$`)
	got, want := at.FindStringSubmatch(stdout), at.FindStringSubmatch(clean)
	if got == nil || want == nil {
		t.Fatalf("no last sentence in\n%s\n%s", stdout, clean)
	}
	for i := range 2 {
		g, _ := time.ParseDuration(got[i+1])
		w, _ := time.ParseDuration(want[i+1])
		if (g - w).Abs() > 20*time.Millisecond {
			t.Errorf("the last sentence is at %s, want %s", got[0], want[0])
		}
	}
}
