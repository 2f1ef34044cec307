// Command synthesizer speaks a text: the program TestTts of the Python SDK. What is longer than
// a session takes is cut at the ends of sentences.
//
//	go run ./examples/synthesizer -text 你好，世界 -out hello.wav
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var text = flag.String("text", "大壮正想去摘取花瓣,谁知阿丽和阿强突然内讧", "`text` to speak, in place of a file")
var out = flag.String("out", "", "`file` for the audio, .wav, .mp3 or .pcm; - is WAV on standard output")
var voice = flag.String("voice", "", "`name` of the voice")
var rate = flag.Int("rate", 0, "`speed` of the voice, from -500, half, to 500, twice the usual")
var long = flag.Bool("long", false, "use the service for long texts, which is bought separately")
var n = flag.Int("n", 1, "`sessions` at once")

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "synthesizer [flags] [x.txt|-] speaks a text"); flag.PrintDefaults() }
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

// run speaks a text, *n times at once. -out gets the audio of the first session.
func run(ctx context.Context, client *nls.Client) (err error) {
	if *n < 1 || flag.NArg() > 1 {
		return fmt.Errorf("-n %d, files %q: want one session at least, and one file at most", *n, flag.Args())
	}
	p := nls.SynthesisParams{Text: *text, Voice: *voice, SpeechRate: *rate, LongText: *long}
	if name := flag.Arg(0); name != "" {
		var data []byte
		if name == "-" {
			data, err = io.ReadAll(os.Stdin)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return err
		}
		p.Text = string(data)
	}
	file := os.Stdout
	switch ending := filepath.Ext(*out); {
	case *out == "-", ending == ".wav":
		p.Format = nls.FormatWAV
	case ending == ".mp3", ending == ".pcm":
		p.Format = nls.Format(ending[1:])
	case *out != "":
		return fmt.Errorf("-out %s: the name must end with .wav, .mp3 or .pcm", *out)
	}
	if *out != "" && *out != "-" {
		if file, err = os.Create(*out); err != nil {
			return err
		}
	}
	errs := make([]error, *n)
	var sessions sync.WaitGroup
	for i := range errs {
		var w io.Writer = file
		if i > 0 || *out == "" {
			w = io.Discard
		}
		sessions.Go(func() { errs[i] = speak(ctx, client, w, p) })
	}
	sessions.Wait()
	return cmp.Or(append(errs, file.Close())...)
}

func speak(ctx context.Context, client *nls.Client, w io.Writer, p nls.SynthesisParams) error {
	begin := time.Now()
	err := client.Synthesize(ctx, w, p)
	if err == nil {
		fmt.Fprintln(os.Stderr, utf8.RuneCountInString(p.Text), "characters in", time.Since(begin).Round(time.Millisecond))
	}
	return err
}
