package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nlsgo/nls"
)

// input is 16-bit mono samples on their way to the service.
type input struct {
	io.Reader
	rate   int           // 8000 or 16000
	length time.Duration // 0 if it is not known
	closer func()
}

func (in *input) close() {
	if in.closer != nil {
		in.closer()
	}
}

// maxDownload is the largest file that is fetched from a URL.
const maxDownload = 4 << 30

func isURL(name string) bool {
	u, err := url.Parse(name)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// openInput opens a file, a URL or, for "-", standard input. Raw samples have the
// rate that is given, as has what ffmpeg makes of other formats.
func openInput(ctx context.Context, name string, raw bool, rate int) (_ *input, err error) {
	file := os.Stdin
	switch {
	case name == "-":
	case isURL(name):
		if file, err = download(ctx, name); err != nil {
			return nil, err
		}
	default:
		if file, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	in := &input{rate: rate, closer: func() {
		file.Close()
		if isURL(name) {
			os.Remove(file.Name())
		}
	}}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	size := int64(0)
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: name a file", name)
	} else if info.Mode().IsRegular() {
		if size = info.Size(); size == 0 {
			return nil, fmt.Errorf("%s is empty", name)
		}
	}
	if raw || strings.EqualFold(filepath.Ext(name), ".pcm") {
		in.Reader, in.length = file, playing(size, rate)
		return in, nil
	}
	head := &recorder{Reader: file}
	pcm, wav, err := nls.OpenWAV(head)
	if err == nil && (wav.SampleRate == 8000 || wav.SampleRate == 16000) {
		head.stop()
		in.Reader, in.rate, in.length = pcm, wav.SampleRate, playing(wav.DataSize, wav.SampleRate)
		return in, nil
	}
	if _, missing := exec.LookPath("ffmpeg"); missing != nil {
		if err == nil {
			err = fmt.Errorf("it has %d Hz, where 8000 or 16000 are needed; convert it: ffmpeg -i in.wav -ac 1 -ar 16000 -c:a pcm_s16le out.wav", wav.SampleRate)
		}
		return nil, fmt.Errorf("%s: %w (nls does so by itself where ffmpeg is installed)", called(name), err)
	}
	return in, in.convert(ctx, name, file, head)
}

// called is how messages call an input.
func called(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// convert lets ffmpeg decode. It gets the file itself where there is one, since some
// formats cannot be read from a pipe.
func (in *input) convert(ctx context.Context, name string, file *os.File, head *recorder) error {
	source, stdin := "file:"+file.Name(), io.Reader(nil)
	if name == "-" {
		head.stop()
		source, stdin = "pipe:0", io.MultiReader(bytes.NewReader(head.seen.Bytes()), file)
	} else {
		in.length = probe(ctx, source)
	}
	ctx, kill := context.WithCancel(ctx)
	closeFile := in.closer
	in.closer = func() { kill(); closeFile() }
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", source,
		"-map", "0:a:0", "-ac", "1", "-ar", strconv.Itoa(in.rate), "-f", "s16le", "pipe:1")
	cmd.Stdin = stdin
	out, err := start(ctx, cmd, called(name))
	if err != nil {
		return err
	}
	// An error before the first sample is one of the file, and known before anything is sent.
	first := make([]byte, 2)
	switch _, err = io.ReadFull(out, first); {
	case err == io.EOF && name == "-":
		err = errors.New("there is no sound in standard input that ffmpeg can find without the end of it; save it and name the file")
	case err == io.EOF:
		err = fmt.Errorf("%s has no sound", name)
	case err != nil && name == "-":
		err = fmt.Errorf("%w (for samples without a header use --raw)", err)
	}
	in.Reader = io.MultiReader(bytes.NewReader(first), out)
	return err
}

// probe returns how long a file plays, or 0.
func probe(ctx context.Context, source string) time.Duration {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", source).Output()
	if err != nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil || seconds < 0 || seconds > 1e7 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// playing is how long bytes of samples play; 0 if bytes is not known.
func playing(bytes int64, rate int) time.Duration {
	return time.Duration(float64(max(bytes, 0)) / float64(2*rate) * float64(time.Second))
}

// download fetches a URL into a file that is gone when it is closed.
func download(ctx context.Context, name string) (*os.File, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP %s", name, resp.Status)
	}
	file, err := os.CreateTemp("", "nls-download-*"+filepath.Ext(req.URL.Path))
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(file, io.LimitReader(resp.Body, maxDownload+1))
	if err == nil && n > maxDownload {
		err = fmt.Errorf("%s: more than 4 GiB; fetch it yourself and name the file", name)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, err
	}
	return file, nil
}

// recorder keeps what is read from it until it is stopped.
type recorder struct {
	io.Reader
	seen    bytes.Buffer
	stopped bool
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if !r.stopped {
		r.seen.Write(p[:n])
	}
	return n, err
}

func (r *recorder) stop() { r.stopped = true }

// process is the standard output of another program.
type process struct {
	ctx    context.Context
	cmd    *exec.Cmd
	out    io.Reader
	stderr tail
	work   string // what it works on
	err    error  // once it has ended
}

// start starts cmd, which ends with ctx.
func start(ctx context.Context, cmd *exec.Cmd, work string) (*process, error) {
	p := &process{ctx: ctx, cmd: cmd, work: work}
	cmd.Stderr = &p.stderr
	var err error
	if p.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, cmd.Start()
}

// Read returns io.EOF where the program has ended well or Ctrl-C has ended it, and
// else why it has ended.
func (p *process) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.out.Read(b)
	if err == nil || n > 0 {
		return n, nil
	}
	p.err = io.EOF
	if err := p.cmd.Wait(); err != nil {
		select {
		case <-p.ctx.Done(): // the terminal sends Ctrl-C to both, in any order
		case <-time.After(200 * time.Millisecond):
			reason := strings.TrimSpace(string(p.stderr))
			if reason == "" {
				reason = err.Error()
			}
			lines := strings.Split(reason, "\n")
			p.err = fmt.Errorf("%s: %s: %s", p.work, filepath.Base(p.cmd.Path), lines[len(lines)-1])
		}
	}
	return 0, p.err
}

// tail is the last kilobyte of what is written.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = slices.Clone((*t)[max(0, len(*t)-1024):])
	return len(p), nil
}

// recorders are the programs that record a microphone as raw 16-bit samples of 16 kHz.
var recorders = [][]string{
	{"arecord", "-q", "-f", "S16_LE", "-r", "16000", "-c", "1", "-t", "raw"},
	{"parec", "--raw", "--format=s16le", "--rate=16000", "--channels=1", "--latency-msec=50"},
	{"rec", "-q", "-t", "raw", "-e", "signed-integer", "-b", "16", "-r", "16000", "-c", "1", "-"},
}

// record starts the first of the recorders that is installed.
func record(ctx context.Context) (*process, error) {
	for _, r := range recorders {
		if _, err := exec.LookPath(r[0]); err == nil {
			return start(ctx, exec.CommandContext(ctx, r[0], r[1:]...), "microphone")
		}
	}
	return nil, errors.New("no program that records: install alsa-utils (arecord), pulseaudio-utils (parec) or sox (rec),\n" +
		"or pipe 16-bit mono samples of 16 kHz into nls mic")
}
