package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

// asProgram makes the test binary be the program.
const asProgram = "NLS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(scratch.Tests{M: m})
}

const (
	recording    = "../../testdata/test1.wav"
	recordedText = "你好，世界。\nHello, Go!\n🎙\n" // in it
)

// program is nls with nothing of NLS in its environment.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NLS_") || strings.HasPrefix(v, "ALIBABA_CLOUD_")
	})
	cmd.Env = append(cmd.Env, asProgram+"=1", "GORACE=atexit_sleep_ms=0") // the race detector would sleep a second
	return cmd
}

// result is what a program has printed, and how it has ended.
type result struct {
	stdout, stderr string
	code           int
}

func run1(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// mustRun is run1 for a program that has to succeed. It returns its output.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	r := run1(t, cmd)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// newService is a service with flags that name it.
func newService(t *testing.T, opts nlstest.Options) (*nlstest.Server, []string) {
	t.Helper()
	server := nlstest.NewServer(opts)
	t.Cleanup(server.Close)
	cfg := server.Config()
	return server, []string{"--url", cfg.URL, "--appkey", cfg.AppKey, "--token", cfg.Token}
}

// terminal is a program on a terminal of its own.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // something was printed
	end  chan struct{} // nothing more will be
}

func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, tty: tty, more: make(chan struct{}, 1), end: make(chan struct{})}
	go func() {
		defer close(term.end)
		for buf := make([]byte, 4096); ; {
			n, err := tty.Read(buf)
			term.mu.Lock()
			term.out.Write(buf[:n])
			term.mu.Unlock()
			select {
			case term.more <- struct{}{}:
			default:
			}
			if err != nil { // EIO, when the program has ended
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		tty.Close()
		<-term.end
	})
	return term
}

func (term *terminal) String() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.out.String()
}

// await waits until the terminal shows what matches.
func (term *terminal) await(pattern string) {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	for late := time.After(20 * time.Second); ; {
		if re.MatchString(term.String()) {
			return
		}
		select {
		case <-term.more:
		case <-term.end:
			if !re.MatchString(term.String()) {
				term.t.Fatalf("it ended without %s:\n%q", pattern, term.String())
			}
			return
		case <-late:
			term.t.Fatalf("no %s in\n%q", pattern, term.String())
		}
	}
}

// interrupt is Ctrl-C.
func (term *terminal) interrupt() { term.tty.Write([]byte{3}) }

// code waits for the end of the program.
func (term *terminal) code() int {
	<-term.end
	_ = term.cmd.Wait()
	return term.cmd.ProcessState.ExitCode()
}

// lines are those that are left on the terminal when the program has ended. Of what
// can move the cursor they know what mpb uses: up, and clear all below.
func (term *terminal) lines() []string {
	screen, row := []string{""}, 0
	for part := range strings.SplitSeq(strings.ReplaceAll(term.String(), "\r\n", "\n"), "\n") {
		for part != "" {
			text, rest, escape := strings.Cut(part, "\x1b[")
			screen[row] += text
			if part = rest; escape {
				switch command := strings.TrimLeft(rest, "0123456789"); command[0] {
				case 'A':
					up, _ := strconv.Atoi(rest[:len(rest)-len(command)])
					row -= up
					part = command[1:]
				case 'J':
					screen, part = append(screen[:row], ""), command[1:]
				default:
					term.t.Fatalf("%q moves the cursor in a way that lines does not know", rest)
				}
			}
		}
		if row++; row == len(screen) {
			screen = append(screen, "")
		}
	}
	return slices.DeleteFunc(screen, func(line string) bool { return line == "" })
}

func TestTranscribePrintsSentencesWithoutAnAccount(t *testing.T) {
	t.Parallel()
	r := run1(t, program(t, "transcribe", recording, "--speed", "-1"))
	if r.code != 0 || r.stdout != recordedText {
		t.Errorf("exit code %d, %q", r.code, r.stdout)
	}
	if !strings.Contains(r.stderr, "using a local gateway at ws://127.0.0.1:") || strings.Contains(r.stderr, "\x1b") {
		t.Errorf("standard error: %q", r.stderr)
	}
}

func TestTranscribeTakesWhatFfmpegReads(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("there is no ffmpeg")
	}
	dir := t.TempDir()
	convert := func(name string, args ...string) string {
		name = filepath.Join(dir, name)
		args = append(append([]string{"-v", "error", "-i", recording}, args...), name)
		if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return name
	}
	stereo, m4a := convert("stereo.wav", "-ac", "2", "-ar", "44100"), convert("x.m4a")
	raw8k, err := os.ReadFile(convert("8k.wav", "-ar", "8000"))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer web.Close()
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
	}{
		{"a stereo file", []string{stereo}, ""},
		{"a format that no pipe can have", []string{m4a}, ""},
		{"a URL", []string{web.URL + "/x.m4a"}, ""},
		{"stereo on standard input", []string{"-"}, stereo},
		{"WAV on standard input", []string{"-"}, recording},
		{"raw samples", []string{"../../testdata/test1.pcm"}, ""},
		{"raw samples on standard input", []string{"-", "--raw"}, "../../testdata/test1.pcm"},
		{"8 kHz", []string{filepath.Join(dir, "8k.wav")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := program(t, append([]string{"transcribe", "--speed", "-1"}, c.args...)...)
			if c.stdin != "" {
				f, err := os.Open(c.stdin)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				cmd.Stdin = f
			}
			if out := mustRun(t, cmd); out != recordedText {
				t.Errorf("got %q", out)
			}
		})
	}
	// A file that is all there in a header of 8 kHz is sent as it is.
	server, flags := newService(t, nlstest.Options{})
	mustRun(t, program(t, append(flags, "transcribe", "--speed", "-1", filepath.Join(dir, "8k.wav"))...))
	if in := server.Stats().BytesIn; in > int64(len(raw8k)+4096) {
		t.Errorf("%d bytes were sent of a file of %d", in, len(raw8k))
	}
}

func TestATranscriptIsWrittenAsTheNameSays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"transcribe", recording, "--speed", "-1"}
	for _, ext := range []string{"srt", "vtt", "json", "TXT"} {
		args = append(args, "-o", filepath.Join(dir, "x."+ext))
	}
	if err := os.WriteFile(filepath.Join(dir, "x.TXT"), bytes.Repeat([]byte("old\n"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, program(t, args...)); out != "" {
		t.Errorf("standard output has %q", out)
	}
	read := func(ext string) string {
		data, err := os.ReadFile(filepath.Join(dir, "x."+ext))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(string(data), "\ufeff")
	}
	if text := read("TXT"); text != recordedText {
		t.Errorf("text: %q", text)
	}
	var document struct {
		Sentences []struct {
			Begin int64 `json:"begin_time"`
			End   int64 `json:"end_time"`
			Text  string
			Words []struct {
				Text  string
				Begin int64 `json:"begin_time"`
			}
		}
	}
	if err := json.Unmarshal([]byte(read("json")), &document); err != nil || len(document.Sentences) != 3 {
		t.Fatalf("JSON: %v, %+v", err, document)
	}
	stamp := func(ms int64, point string) string {
		return fmt.Sprintf("00:00:%02d%s%03d", ms/1000, point, ms%1000)
	}
	srt, vtt := "", "WEBVTT\n"
	for i, s := range document.Sentences {
		srt += fmt.Sprintf("%d\n%s --> %s\n%s\n\n", i+1, stamp(s.Begin, ","), stamp(s.End, ","), s.Text)
		vtt += fmt.Sprintf("\n%d\n%s --> %s\n%s\n", i+1, stamp(s.Begin, "."), stamp(s.End, "."), s.Text)
		if len(s.Words) == 0 || s.Words[0].Begin < s.Begin {
			t.Errorf("words of %q: %v", s.Text, s.Words)
		}
	}
	if got := strings.TrimSpace(read("srt")); got != strings.TrimSpace(srt) {
		t.Errorf("got\n%s\nwant\n%s", got, srt)
	}
	if got := strings.TrimSpace(read("vtt")); got != strings.TrimSpace(vtt) {
		t.Errorf("got\n%s\nwant\n%s", got, vtt)
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	server, flags := newService(t, nlstest.Options{})
	dir := t.TempDir()
	empty, kept := filepath.Join(dir, "empty.wav"), filepath.Join(dir, "kept.txt")
	for name, text := range map[string]string{empty: "", kept: "kept"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(command string, args ...string) []string {
		return slices.Concat([]string{command}, flags, args)
	}
	for _, c := range []struct {
		name   string
		args   []string
		env    string
		code   int
		stderr string // a regular expression
	}{
		{"unknown command", []string{"sing"}, "", 2, `nls: unknown command "sing" for "nls"\nsee nls --help`},
		{"unknown flag", []string{"transcribe", "--fsat", recording}, "", 2, `unknown flag: --fsat\nsee nls transcribe --help`},
		{"no file named", []string{"transcribe"}, "", 2, `accepts 1 arg`},
		{"two files", []string{"transcribe", recording, recording}, "", 2, `accepts 1 arg`},
		{"an argument to mic", []string{"mic", "x"}, "", 2, `unknown command "x" for "nls mic"`},
		{"bad rate", []string{"transcribe", recording, "--rate", "44100"}, "", 2, `--rate 44100: must be 8000 or 16000`},
		{"unknown output", []string{"transcribe", recording, "-o", "x.doc"}, "", 2, `-o x.doc: the name must end with .srt, .vtt, .json or .txt`},
		{"missing file", []string{"transcribe", "nothing.wav"}, "", 1, `^nls: open nothing.wav: `},
		{"empty file", []string{"transcribe", empty}, "", 1, `empty.wav is empty`},
		{"directory", []string{"transcribe", dir}, "", 1, `is a directory`},
		{"no audio", []string{"transcribe", "go.mod"}, "", 1, `go.mod: (ffmpeg: .*Invalid data|nls: invalid audio)`},
		{"missing directory for the output", []string{"transcribe", recording, "-o", "nothing/x.srt"}, "", 1, `open nothing/x.srt`},
		{"refused token", with("transcribe", recording, "-o", kept, "--token", "made-up"), "", 1,
			`nls: handshake refused: HTTP 403.*\ncheck --token or NLS_TOKEN`},
		{"refused AppKey", with("speak", "好", "-o", filepath.Join(dir, "x.wav"), "--appkey", "made-up"), "", 1,
			`40020105.*\ncheck --appkey or NLS_APPKEY`},
		{"no token", []string{"transcribe", recording}, "NLS_APPKEY=x", 1, `set --token or NLS_TOKEN, or ALIBABA_CLOUD`},
		{"no AppKey", []string{"transcribe", recording}, "NLS_TOKEN=x", 1, `set --appkey or NLS_APPKEY`},
		{"bad URL", with("transcribe", recording, "--url", "http://127.0.0.1/"), "", 1, `must be a ws or wss URL.*\nit comes from --url`},
		{"unknown region", []string{"mic", "--region", "mars", "--appkey", "x", "--token", "y"}, "", 1, `invalid Region.*\nit comes from --region or NLS_REGION`},
		{"no access key", []string{"token"}, "", 1, `set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET`},
		{"nothing to speak", []string{"speak", "-o", "x.wav"}, "", 2, `give a text, or - for standard input`},
		{"nowhere to speak", []string{"speak", "好"}, "", 2, `say where the speech is to go: -o x.wav`},
		{"bad name for speech", []string{"speak", "好", "-o", "x.ogg"}, "", 2, `-o x.ogg: the name must end with .wav, .mp3 or .pcm`},
		{"bad engine", []string{"gateway", "--engine", "whisper"}, "", 1, `-engine "whisper"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := program(t, c.args...)
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			r := run1(t, cmd)
			if r.code != c.code || r.stdout != "" {
				t.Errorf("exit code %d, want %d; output %q", r.code, c.code, r.stdout)
			}
			if !regexp.MustCompile(c.stderr).MatchString(r.stderr) {
				t.Errorf("got %q, want %s", r.stderr, c.stderr)
			}
			if n := strings.Count(r.stderr, "nls: "); n > 1 && !strings.Contains(r.stderr, "local gateway") {
				t.Errorf("told more than once: %q", r.stderr)
			}
		})
	}
	if data, err := os.ReadFile(kept); err != nil || string(data) != "kept" {
		t.Errorf("a transcription that was refused has left %q, %v in its output", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "x.wav")); err == nil {
		t.Error("a synthesis that was refused has left a file")
	}
	if n := server.Stats().BytesIn; n > 10000 {
		t.Errorf("%d bytes were sent for nothing", n)
	}
}

func TestOnATerminalThereIsABarAndResultsChangeInPlace(t *testing.T) {
	t.Parallel()
	term := onTerminal(t, program(t, "transcribe", recording, "--speed", "2"))
	term.await(`\d\d:\d\d/00:06 .*\d\d:\d\d left  你`)
	if code := term.code(); code != 0 {
		t.Fatalf("exit code %d: %s", code, term)
	}
	// What is left is the notice and the sentences.
	if lines := term.lines(); strings.Join(lines[min(2, len(lines)):], "\n")+"\n" != recordedText {
		t.Errorf("left on the screen: %q of %q", lines, term)
	}
}

func TestCtrlCPrintsAndWritesWhatIsKnown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.txt")
	for name, c := range map[string]struct {
		args  []string
		until string
	}{
		"on the screen": {nil, `你好，世界。\r\n`},
		"in a file":     {[]string{"-o", file}, `left  Hel`},
	} {
		t.Run(name, func(t *testing.T) {
			term := onTerminal(t, program(t, append([]string{"transcribe", recording}, c.args...)...))
			term.await(c.until)
			term.interrupt()
			if code := term.code(); code != 130 {
				t.Errorf("exit code %d: %q", code, term)
			}
		})
	}
	if data, _ := os.ReadFile(file); !regexp.MustCompile(`^你好，世界。\nHel.*\n$`).Match(data) {
		t.Errorf("written: %q", data)
	}

	// The same in a pipe.
	cmd := program(t, "transcribe", recording)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _ := out.Read(buf)
	if text := string(buf[:n]); text != "你好，世界。\n" {
		t.Errorf("first came %q", text)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Error(err)
	}
}

func TestCtrlCBeforeTheServiceAnswers(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{})
	_, flags := newService(t, nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		close(reached)
		return &nlstest.Fault{At: nlstest.OnStart, Do: nlstest.Hang}
	}})
	term := onTerminal(t, program(t, append([]string{"transcribe", recording}, flags...)...))
	<-reached
	term.interrupt()
	if code := term.code(); code != 130 {
		t.Errorf("exit code %d: %q", code, term)
	}
}

func TestABrokenConnectionLosesNothing(t *testing.T) {
	t.Parallel()
	first := true
	_, flags := newService(t, nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		if first {
			first = false
			return &nlstest.Fault{At: nlstest.DuringAudio, Do: nlstest.Reset, After: 20}
		}
		return nil
	}})
	r := run1(t, program(t, append([]string{"transcribe", recording, "--speed", "4"}, flags...)...))
	if r.code != 0 || r.stdout != recordedText || !strings.Contains(r.stderr, "; again in ") {
		t.Errorf("%+v", r)
	}
}

func TestTraceShowsEveryMessageButNoToken(t *testing.T) {
	t.Parallel()
	server, flags := newService(t, nlstest.Options{})
	r := run1(t, program(t, append([]string{"transcribe", recording, "--trace", "--speed", "-1"}, flags...)...))
	if r.code != 0 || r.stdout != recordedText || !strings.Contains(r.stderr, "StartTranscription") || !strings.Contains(r.stderr, "SentenceEnd") {
		t.Errorf("%+v", r)
	}
	if strings.Contains(r.stderr, server.Config().Token) {
		t.Error("the token is printed")
	}
}

func TestSpeechIsUnderstood(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("床前明月光，疑是地上霜。", 30) // more than a session takes
	book := filepath.Join(dir, "book.txt")
	if err := os.WriteFile(book, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		file  string
		text  string
	}{
		{"text", []string{"你好 & hi."}, "", "x.wav", "你好 & hi."},
		{"a long file", []string{"--file", book}, "", "book.wav", long},
		{"samples", []string{"春天", "--voice", "ailun", "--volume", "80"}, "", "x.pcm", "春天"},
		{"standard input", []string{"-"}, "一。\n二。\n", "stream.wav", "一。二。"},
		{"standard output", []string{"你好"}, "", "-", "你好"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := c.file
			if file != "-" {
				file = filepath.Join(dir, file)
			}
			cmd := program(t, append([]string{"speak", "-o", file}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.stdin)
			out := mustRun(t, cmd)
			listener := program(t, "transcribe", file, "--speed", "-1")
			listener.Stdin = strings.NewReader(out)
			if got := strings.NewReplacer("\n", "", "。 ", "。").Replace(mustRun(t, listener)); got != c.text {
				t.Errorf("heard %q", got)
			}
		})
	}
}

func TestSpeakOverAFileLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.wav")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, program(t, "speak", "好", "-o", file))
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	if wav, err := nls.ReadWAVHeader(f); err != nil || wav.DataSize != info.Size()-44 || info.Size() > 100000 {
		t.Errorf("%+v, %v in a file of %d bytes", wav, err, info.Size())
	}
}

func TestMP3IsAskedOfTheService(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked bool
	_, flags := newService(t, nlstest.Options{OnFrame: func(f nlstest.Frame) {
		mu.Lock()
		defer mu.Unlock()
		asked = asked || bytes.Contains(f.Payload, []byte(`"format":"mp3"`))
	}})
	run1(t, program(t, append([]string{"speak", "好", "-o", filepath.Join(t.TempDir(), "x.mp3")}, flags...)...))
	mu.Lock()
	defer mu.Unlock()
	if !asked {
		t.Error("nobody has asked for mp3")
	}
}

func TestCtrlCEndsSpeechEarly(t *testing.T) {
	t.Parallel()
	cmd := program(t, "speak", "-", "-o", "-")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin, "这是第一句。")
	if _, err := stdout.Read(make([]byte, 100)); err != nil { // speech comes while text is to come
		t.Fatal(err)
	}
	cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d", code)
	}
}

func TestMicRecordsOnATerminalAndEndsWell(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pcm, err := filepath.Abs("../../testdata/test1.pcm")
	if err != nil {
		t.Fatal(err)
	}
	recorder := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = '-q -f S16_LE -r 16000 -c 1 -t raw' ] || exit 9\ncat '%s'\nexec sleep 60\n", pcm)
	if err := os.WriteFile(filepath.Join(dir, "arecord"), []byte(recorder), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.srt")
	cmd := program(t, "mic", "-o", file)
	cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"))
	term := onTerminal(t, cmd)
	term.await(`(?s)你好，世界。\r.*Hel`)
	term.interrupt()
	if code := term.code(); code != 0 {
		t.Fatalf("exit code %d: %q", code, term)
	}
	lines := term.lines()
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "Hel") {
		t.Errorf("the last line is %q of %q", last, term)
	}
	if srt, _ := os.ReadFile(file); !strings.Contains(string(srt), "\nHel") {
		t.Errorf("written: %q", srt)
	}
}

func TestMicReadsSamplesFromAPipe(t *testing.T) {
	t.Parallel()
	pcm, err := os.ReadFile("../../testdata/test1.pcm")
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "mic")
	cmd.Stdin = bytes.NewReader(pcm[:len(pcm)/3])
	if out := mustRun(t, cmd); out != "你好，世界。\n" {
		t.Errorf("got %q", out)
	}
}

func TestMicWithoutARecorderSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	cmd := program(t, "mic")
	cmd.Env = append(cmd.Env, "PATH="+t.TempDir())
	term := onTerminal(t, cmd)
	if code := term.code(); code != 1 || !strings.Contains(term.String(), "install alsa-utils") {
		t.Errorf("exit code %d: %q", code, term)
	}
}

func TestTokenPrintsATokenThatWorks(t *testing.T) {
	t.Parallel()
	server, _ := newService(t, nlstest.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CertificatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, key := server.Config(), server.AccessKey()
	args := []string{"token", "--ca", ca, "--token-endpoint", strings.TrimSuffix(strings.TrimPrefix(server.TokenURL, "https://"), "/")}
	cmd := program(t, args...)
	cmd.Env = append(cmd.Env, "ALIBABA_CLOUD_ACCESS_KEY_ID="+key.ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET="+key.Secret)
	token := strings.TrimSpace(mustRun(t, cmd))
	mustRun(t, program(t, "transcribe", recording, "--speed", "-1", "--url", cfg.URL, "--appkey", cfg.AppKey, "--token", token))

	r := run1(t, program(t, append(args, "--akid", key.ID, "--aksecret", "wrong")...))
	if r.code != 1 || !strings.Contains(r.stderr, "SignatureDoesNotMatch") || !strings.Contains(r.stderr, "\ncheck ALIBABA_CLOUD_ACCESS_KEY_ID") || r.stdout != "" {
		t.Errorf("a wrong secret: %+v", r)
	}
}

// Whatever is installed, the gateway says what it found, and serves.
func TestGatewayWithTheRealEngineSaysWhatItIsMadeOf(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt on Windows")
	}
	cmd := program(t, "gateway", "--engine", "real")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var info struct{ URL, AppKey, Token string }
	if err := json.NewDecoder(out).Decode(&info); err != nil {
		t.Fatal(err)
	}
	spoken := filepath.Join(t.TempDir(), "x.wav")
	mustRun(t, program(t, "speak", "hello", "-o", spoken, "--url", info.URL, "--appkey", info.AppKey, "--token", info.Token))
	if stat, err := os.Stat(spoken); err != nil || stat.Size() < 4000 {
		t.Errorf("spoke %v, %v", stat, err)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, part := range []string{"English recognition: ", "Mandarin recognition: not to be had", "English speech: ", "opus and opu: pion/opus"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("no %q in %s", part, stderr.String())
		}
	}
}

func TestGatewayServesOtherPrograms(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt on Windows")
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("早上好。\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "gateway", "--tls", "--engine", "script", "--script", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var info struct {
		URL, AppKey, Token string
		CAFile             string `json:"ca_file"`
	}
	if err := json.NewDecoder(out).Decode(&info); err != nil {
		t.Fatal(err)
	}
	text := mustRun(t, program(t, "transcribe", "../../testdata/hello.wav", "--speed", "-1", "--ca", info.CAFile,
		"--url", info.URL, "--appkey", info.AppKey, "--token", info.Token))
	if !strings.Contains(text, "早") {
		t.Errorf("heard %q", text)
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(info.CAFile); err == nil {
		t.Error("ca_file is still there")
	}
}

func TestCheckTriesTheWholeService(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "report")
	out := mustRun(t, program(t, "check", "--quick", "--dir", dir))
	if n := strings.Count(out, "ok  "); n < 8 || strings.Contains(out, "FAILED") {
		t.Errorf("%d steps:\n%s", n, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		t.Error(err)
	}
	_, flags := newService(t, nlstest.Options{})
	r := run1(t, program(t, append(append([]string{"check", "--quick"}, flags...), "--appkey", "made-up")...))
	if r.code != 1 || !strings.Contains(r.stdout, "FAILED") || !strings.HasPrefix(r.stderr, "nls: ") {
		t.Errorf("a wrong AppKey: %+v", r)
	}
}

func TestHelpHasExitCodesAndShellsComplete(t *testing.T) {
	t.Parallel()
	help := mustRun(t, program(t, "--help"))
	for _, want := range []string{"EXIT STATUS", "130", "ENVIRONMENT", "NLS_APPKEY", "transcribe", "mic", "speak", "token", "gateway", "completion"} {
		if !strings.Contains(help, want) {
			t.Errorf("no %s in the help", want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := mustRun(t, program(t, "completion", shell)); !strings.Contains(script, "nls") {
			t.Errorf("no completion for %s", shell)
		}
	}
	if out := mustRun(t, program(t, "__complete", "transcribe", "--region", "")); !strings.HasPrefix(out, "cn-shanghai\n") {
		t.Errorf("completes to %q", out)
	}
	if out := mustRun(t, program(t, "gateway", "--help")); !strings.Contains(out, "until Ctrl-C or SIGTERM") || !strings.Contains(out, "-max-sessions") {
		t.Errorf("help of gateway: %q", out)
	}
	if out := mustRun(t, program(t, "--version")); !strings.Contains(out, nls.Version) {
		t.Errorf("version: %q", out)
	}
}
