// Command recognizer turns a recording of up to 60 seconds into text: the program TestSr of
// the Python SDK.
//
//	go run ./examples/recognizer testdata/test1.wav
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
		fmt.Fprintln(os.Stderr, "recognizer [flags] [x.wav|-] turns a recording of up to 60 seconds into text")
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

// run recognises a file, or what the local gateway says, *n times at once.
func run(ctx context.Context, client *nls.Client, local bool) error {
	switch {
	case *n < 1 || flag.NArg() > 1:
		return fmt.Errorf("-n %d, files %q: want one session at least, and one file at most", *n, flag.Args())
	case flag.NArg() == 0 && !local:
		return errors.New("name a WAV file, or - for standard input")
	}
	in, rate, err := open(ctx, client, flag.Arg(0))
	if err != nil {
		return err
	}
	pcm, err := io.ReadAll(io.LimitReader(in, int64(60*2*rate)+1))
	if len(pcm) > 60*2*rate {
		err = errors.New("longer than 60 s: use a transcriber, or cut it: ffmpeg -i in.wav -t 60 out.wav")
	}
	if err != nil {
		return err
	}
	errs := make([]error, *n)
	var sessions sync.WaitGroup
	for i := range errs {
		sessions.Go(func() { errs[i] = recognize(ctx, client, pcm, rate) })
	}
	sessions.Wait()
	return cmp.Or(errs...)
}

func recognize(ctx context.Context, client *nls.Client, pcm []byte, rate int) error {
	var text string
	rec := client.NewRecognizer(nls.RecognizerHandlers{
		OnResultChanged: func(r *nls.RecognitionResult) {
			text = r.Text
			show(text)
		},
		OnCompleted: func(r *nls.RecognitionResult) { text = r.Text },
	})
	if err := rec.Start(ctx, nls.RecognitionParams{
		SampleRate:                  rate,
		EnableIntermediateResult:    true,
		EnablePunctuationPrediction: true,
	}); err != nil {
		return err
	}
	// Ctrl-C ends the sending. Whatever does, Stop has the rest, or the reason.
	_, _ = nls.Pump(ctx, rec, bytes.NewReader(pcm), nls.PumpOptions{BytesPerSecond: 2 * rate, Speed: *speed})
	err := rec.Stop(context.Background())
	show("")
	fmt.Println(text)
	return err
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
