// Command commonproto recognises a recording with the protocol that all services share, as
// the program TestSrCommon of the Python SDK does. It is the way to a service, or a new
// feature of one, that package nls has no type for.
//
//	go run ./examples/commonproto testdata/test1.wav
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
		fmt.Fprintln(os.Stderr, "commonproto [flags] [x.wav|-] recognises up to 60 seconds by the protocol that all services share")
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
	var result struct{ Result string }
	keep := func(e *nls.Event) {
		_ = e.Payload(&result)
		fmt.Fprintln(os.Stderr, e)
	}
	proto := client.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{
		Events: map[string]func(*nls.Event){"RecognitionResultChanged": keep, "RecognitionCompleted": keep},
	})
	if err := proto.Start(ctx, "StartRecognition", nls.CommonParams{
		Payload: map[string]any{
			"format": "pcm", "sample_rate": rate,
			"enable_intermediate_result": true, "enable_punctuation_prediction": true,
		},
		Started: []string{"RecognitionStarted"},   // Start waits for it
		Final:   []string{"RecognitionCompleted"}, // ends the session
	}); err != nil {
		return err
	}
	// Ctrl-C ends the sending. Whatever does, Wait has the rest, or the reason.
	_, _ = nls.Pump(ctx, sender{proto}, bytes.NewReader(pcm), nls.PumpOptions{BytesPerSecond: 2 * rate, Speed: *speed})
	_ = proto.SendText("StopRecognition", nil, nil)
	stopping, cancel := context.WithTimeout(context.Background(), nls.DefaultStopTimeout)
	defer cancel()
	err := proto.Wait(stopping)
	fmt.Println(result.Result)
	return err
}

// sender is the AudioSender that Pump asks for.
type sender struct{ *nls.CommonProto }

func (s sender) SendAudio(data []byte) error { return s.SendBinary(data) }

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
