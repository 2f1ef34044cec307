// Command streamsynthesizer speaks text while it is being written, for example by a language
// model.
//
//	printf '床前明月光，\n疑是地上霜。\n' | go run ./examples/streamsynthesizer -out poem.wav -
package main

import (
	"bufio"
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

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var text = flag.String("text", "床前明月光，疑是地上霜。", "`text` to speak, in place of a file")
var out = flag.String("out", "", "`file` for the audio, .wav, .mp3 or .pcm; - is WAV on standard output")
var voice = flag.String("voice", "siqi", "`name` of the voice; not every one says when it speaks each word")

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "streamsynthesizer [flags] [x.txt|-] speaks text as it comes, line by line")
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

func run(ctx context.Context, client *nls.Client) error {
	in := io.Reader(strings.NewReader(*text))
	switch {
	case flag.NArg() > 1:
		return fmt.Errorf("one file at a time, not %q", flag.Args())
	case flag.Arg(0) == "-":
		in = os.Stdin
	case flag.NArg() == 1:
		f, err := os.Open(flag.Arg(0))
		if err != nil {
			return err
		}
		in = f
	}
	p := nls.StreamSynthesisParams{Voice: *voice, EnableSubtitle: true}
	w, closeOutput, err := create(*out, &p.Format)
	if err != nil {
		return err
	}
	var tts *nls.StreamSynthesizer
	var written error
	tts = client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{
		OnSentenceEnd: func(e *nls.MetaInfo) {
			for _, s := range e.Subtitles {
				if !s.Sentence {
					fmt.Fprintf(os.Stderr, "%v to %v: %s\n", s.Begin, s.End, s.Text)
				}
			}
		},
		OnData: func(a nls.AudioEvent) {
			if _, written = w.Write(a.Data); written != nil {
				tts.Shutdown()
			}
		},
	})
	if err := tts.Start(ctx, p); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() { read <- send(tts, bufio.NewReader(in)) }()
	select {
	case err = <-read:
	case <-ctx.Done(): // Stop then ends the session
	case <-tts.Done():
	}
	stopped := tts.Stop(ctx)
	return cmp.Or(err, written, stopped, closeOutput())
}

// send sends the lines of r as they come.
func send(tts *nls.StreamSynthesizer, r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if line != "" && tts.SendText(line) != nil || err == io.EOF {
			return nil // if there is a reason, Stop has it
		} else if err != nil {
			return err
		}
	}
}

// create makes the file that -out names, and says which format to ask for: samples for
// a WAV file, whose header is ours.
func create(name string, format *nls.Format) (io.Writer, func() error, error) {
	file, err := os.Stdout, error(nil)
	ending := filepath.Ext(name)
	switch {
	case name == "":
		return io.Discard, func() error { return nil }, nil
	case name != "-" && ending != ".wav" && ending != ".mp3" && ending != ".pcm":
		return nil, nil, fmt.Errorf("-out %s: the name must end with .wav, .mp3 or .pcm", name)
	case name != "-":
		file, err = os.Create(name)
	}
	if ending == ".mp3" || ending == ".pcm" || err != nil {
		*format = nls.Format(ending[1:])
		return file, file.Close, err
	}
	wav, err := nls.NewWAVWriter(file, nls.WAVFormat{SampleRate: nls.DefaultSampleRate})
	return wav, func() error { return cmp.Or(wav.Close(), file.Close()) }, err
}
