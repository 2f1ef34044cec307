// Command transcriber turns a recording of any length into sentences: the program TestSt of
// the Python SDK.
//
//	go run ./examples/transcriber testdata/test1.wav
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var n = flag.Int("n", 1, "`sessions` at once")
var speed = flag.Float64("speed", 1, "how much faster than it plays audio is sent; -1: no limit")

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "transcriber [flags] [x.wav|-] turns a recording of any length into sentences")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	local := cfg.URL+cfg.Region+cfg.AppKey+cfg.Token+cfg.AccessKeyID == ""
	if local {
		cfg = nlstest.NewServer(nlstest.Options{MaxSessions: -1}).Config()
		fmt.Fprintln(os.Stderr, "using a local gateway, which understands no speech but its own, at", cfg.URL)
	}
	client, err := nls.NewClient(cfg)
	if err == nil {
		err = run(ctx, client, local)
	}
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		if client == nil || errors.Is(err, nls.ErrAccessDenied) || nls.StatusCode(err) == nls.StatusAppKeyNotExist {
			fmt.Fprintln(os.Stderr, "set -appkey and -token, or NLS_APPKEY and NLS_TOKEN; the gateway is that of -url or -region")
		}
		os.Exit(1)
	}
}

// run transcribes a file, or what the local gateway says, *n times at once.
func run(ctx context.Context, client *nls.Client, local bool) error {
	switch {
	case *n < 1 || flag.NArg() > 1:
		return fmt.Errorf("-n %d, files %q: want one session at least, and one file at most", *n, flag.Args())
	case flag.Arg(0) == "-" && *n > 1:
		return errors.New("standard input is read once: name a file for many sessions")
	case flag.NArg() == 0 && !local:
		return errors.New("name a WAV file, or - for standard input")
	}
	errs := make([]error, *n)
	var sessions sync.WaitGroup
	for i := range errs {
		pcm, rate, err := open(ctx, client, flag.Arg(0))
		if err != nil {
			return err
		}
		sessions.Go(func() { errs[i] = transcribe(ctx, client, pcm, rate) })
	}
	sessions.Wait()
	return cmp.Or(errs...)
}

func transcribe(ctx context.Context, client *nls.Client, pcm io.Reader, rate int) error {
	tr := client.NewTranscriber(nls.TranscriberHandlers{
		OnSentenceBegin: func(s *nls.Sentence) { show("") },
		OnResultChanged: func(s *nls.Sentence) { show(s.Text) },
		OnSentenceEnd: func(s *nls.Sentence) {
			show("")
			fmt.Printf("%v to %v: %s\n", s.Begin, s.End(), s.Text)
		},
	})
	if err := tr.Start(ctx, nls.TranscriptionParams{
		SampleRate:                     rate,
		EnableIntermediateResult:       true,
		EnablePunctuationPrediction:    true,
		EnableInverseTextNormalization: true,
	}); err != nil {
		return err
	}
	// Ctrl-C ends the sending, and Stop has the rest.
	_, err := nls.Pump(ctx, tr, pcm, nls.PumpOptions{BytesPerSecond: 2 * rate, Speed: *speed})
	if err != nil && ctx.Err() == nil && tr.Err() == nil { // of the file
		tr.Shutdown()
		return err
	}
	return tr.Stop(context.Background())
}

// open returns the samples of a WAV file, or of what the local gateway says.
func open(ctx context.Context, client *nls.Client, name string) (io.Reader, int, error) {
	var file io.Reader = os.Stdin
	var speech bytes.Buffer
	var err error
	if name == "" {
		err = client.Synthesize(ctx, &speech, nls.SynthesisParams{Text: "你好，世界。Hello, Go! 🎙", Format: nls.FormatWAV})
		file = &speech
	} else if name != "-" {
		file, err = os.Open(name)
	}
	if err != nil {
		return nil, 0, err
	}
	pcm, wav, err := nls.OpenWAV(file)
	return pcm, wav.SampleRate, err
}

// show shows what may change: in place on a terminal, else as a line.
func show(text string) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		end := []rune(text)
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", string(end[max(0, len(end)-36):]))
	} else if text != "" {
		fmt.Fprintln(os.Stderr, "so far:", text)
	}
}
