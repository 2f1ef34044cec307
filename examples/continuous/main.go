// Command continuous transcribes a long recording over a bad network. Where a session breaks
// another one goes on from the end of the last finished sentence: nothing is lost, nothing
// comes twice, and times stay those of the recording.
//
//	go run ./examples/continuous testdata/test1.wav
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var speed = flag.Float64("speed", 1, "how much faster than it plays audio is sent; -1: no limit")

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "continuous [flags] [x.wav|-] transcribes a recording, whatever happens to the network")
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

// run transcribes a file, or what the local gateway says.
func run(ctx context.Context, client *nls.Client, local bool) error {
	switch {
	case flag.NArg() > 1:
		return fmt.Errorf("one file at a time, not %q", flag.Args())
	case flag.NArg() == 0 && !local:
		return errors.New("name a WAV file, or - for standard input")
	}
	pcm, rate, err := open(ctx, client, flag.Arg(0))
	if err != nil {
		return err
	}
	ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnSentenceEnd: func(s *nls.Sentence) { fmt.Printf("%v to %v: %s\n", s.Begin, s.End(), s.Text) },
		OnInterrupted: func(i *nls.Interruption) {
			fmt.Fprintf(os.Stderr, "%v; again from %v in %v\n", i.Err, i.From, i.Wait)
		},
		OnResumed: func(e *nls.Event) { fmt.Fprintln(os.Stderr, "goes on as task", e.TaskID) },
	}, nls.ContinuousOptions{FillSilence: flag.Arg(0) == "-"})
	if err := ct.Start(ctx, nls.TranscriptionParams{SampleRate: rate, EnablePunctuationPrediction: true}); err != nil {
		return err
	}
	// Ctrl-C ends the sending, and Stop has the rest.
	_, err = nls.Pump(ctx, ct, pcm, nls.PumpOptions{BytesPerSecond: 2 * rate, Speed: *speed})
	if err != nil && ctx.Err() == nil && ct.Err() == nil { // of the file
		ct.Shutdown()
		return err
	}
	return ct.Stop(context.Background())
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
