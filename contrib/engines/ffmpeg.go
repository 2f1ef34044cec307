package engines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls/nlstest"
)

// Codecs returns the compressed formats for the Options of a gateway: opus and opu, and
// where ffmpeg is installed mp3, aac, speex and amr, of which mp3 is made as well. Each
// task that uses ffmpeg has a process of it.
func (e *Engine) Codecs() map[string]nlstest.Codec {
	codecs := map[string]nlstest.Codec{
		"opus": {NewDecoder: newOggOpus},
		"opu":  {NewDecoder: newPackets},
	}
	if e.ffmpeg == "" {
		return codecs
	}
	for name, container := range map[string]string{"mp3": "mp3", "aac": "aac", "speex": "ogg", "amr": "amr"} {
		codecs[name] = nlstest.Codec{NewDecoder: func(ctx context.Context, sampleRate int) (nlstest.Transcoder, error) {
			return e.transcode(ctx, "-f", container, "-i", "pipe:0", "-f", "s16le", "-ac", "1", "-ar", strconv.Itoa(sampleRate))
		}}
	}
	mp3 := codecs["mp3"]
	mp3.NewEncoder = func(ctx context.Context, sampleRate int) (nlstest.Transcoder, error) {
		// Nothing but frames, so that sentences can follow one another.
		return e.transcode(ctx, "-f", "s16le", "-ac", "1", "-ar", strconv.Itoa(sampleRate), "-i", "pipe:0",
			"-f", "mp3", "-write_xing", "0", "-id3v2_version", "0")
	}
	codecs["mp3"] = mp3
	return codecs
}

// process is an nlstest.Transcoder: what is written to standard input comes back from
// standard output.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	stdin  io.WriteCloser
	stderr strings.Builder
	output output
}

// output collects what a process writes until it is taken.
type output struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes.Write(p)
}

func (o *output) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := bytes.Clone(o.bytes.Bytes())
	o.bytes.Reset()
	return taken
}

// transcode starts ffmpeg, which may touch nothing but its pipes.
func (e *Engine) transcode(ctx context.Context, args ...string) (nlstest.Transcoder, error) {
	args = append([]string{"-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "pipe",
		"-probesize", "4096", "-analyzeduration", "0"}, args...)
	ctx, cancel := context.WithCancel(ctx)
	p := &process{cmd: exec.CommandContext(ctx, e.ffmpeg, append(args, "-flush_packets", "1", "pipe:1")...), cancel: cancel}
	p.cmd.WaitDelay = time.Second
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("engines: %w", err)
	}
	return p, nil
}

func (p *process) Write(data []byte) ([]byte, error) {
	if _, err := p.stdin.Write(data); err != nil {
		return nil, fmt.Errorf("engines: ffmpeg: %w", err) // Close knows more
	}
	return p.output.take(), nil
}

func (p *process) Close() ([]byte, error) {
	defer p.cancel()
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("engines: ffmpeg: %w: %s", err, strings.TrimSpace(p.stderr.String()))
	}
	return p.output.take(), nil
}
