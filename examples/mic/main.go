// Command mic transcribes 16 kHz PCM from standard input for as long as it comes, whatever
// breaks meanwhile:
//
//	arecord -q -f S16_LE -r 16000 -c 1 -t raw | go run ./examples/mic
//
// The service ends a session that gets no audio for ten seconds. So while the source is
// silent, as a muted microphone is, silence is sent in its place. Ctrl-C is a good end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "arecord -q -f S16_LE -r 16000 -c 1 -t raw | mic [flags] transcribes a microphone")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	if cfg.URL+cfg.Region+cfg.AppKey+cfg.Token+cfg.AccessKeyID == "" {
		cfg = nlstest.NewServer(nlstest.Options{MaxSessions: -1}).Config()
		fmt.Fprintln(os.Stderr, "using a local gateway, which understands no speech but its own, at", cfg.URL)
	}
	client, err := nls.NewClient(cfg)
	if err == nil {
		err = run(ctx, client)
	}
	switch {
	case errors.Is(err, context.Canceled): // Ctrl-C before it began
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		if client == nil || errors.Is(err, nls.ErrAccessDenied) || nls.StatusCode(err) == nls.StatusAppKeyNotExist {
			fmt.Fprintln(os.Stderr, "set -appkey and -token, or NLS_APPKEY and NLS_TOKEN; the gateway is that of -url or -region")
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, client *nls.Client) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("no arguments, not %q: audio is standard input", flag.Args())
	}
	ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnResultChanged: func(s *nls.Sentence) { show(s.Text) },
		OnSentenceEnd: func(s *nls.Sentence) {
			show("")
			fmt.Println(s.Text)
		},
		OnInterrupted: func(i *nls.Interruption) { fmt.Fprintf(os.Stderr, "%v; again in %v\n", i.Err, i.Wait) },
	}, nls.ContinuousOptions{FillSilence: true})
	if err := ct.Start(ctx, nls.TranscriptionParams{EnableIntermediateResult: true, EnablePunctuationPrediction: true}); err != nil {
		return err
	}
	// Ctrl-C ends the sending, and Stop has the last sentence.
	_, err := nls.Pump(ctx, ct, os.Stdin, nls.PumpOptions{})
	if err != nil && ctx.Err() == nil && ct.Err() == nil { // of the source
		ct.Shutdown()
		return err
	}
	return ct.Stop(context.Background())
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
