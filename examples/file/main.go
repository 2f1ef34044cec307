// Command file transcribes a recorded file, much faster than it plays: a file of your
// own, one at a URL, or standard input (-). Without an account it runs against a local
// gateway, which understands what it has spoken itself:
//
//	go run ./examples/file
//	go run ./examples/file testdata/test1.wav
//	go run ./examples/file -url wss://nls-gateway.cn-shanghai.aliyuncs.com/ws/v1 -appkey K -token T talk.mp3
//	go run ./examples/file -later https://example.com/talk.mp4
//
// With -later the service takes hours for the file, and less money; that needs an access
// key, in ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
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
	later := flag.Bool("later", false, "submit the URL, and wait for the result")
	flag.Parse()
	if flag.NArg() > 1 {
		fmt.Fprintf(os.Stderr, "file: unexpected argument %q\n", flag.Arg(1))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, cfg, flag.Arg(0), *later)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "file:", err)
	}
	switch {
	case interrupted:
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg nls.Config, name string, later bool) error {
	var spoken bytes.Buffer // what the local gateway says where there is no file
	if cfg.URL == "" && cfg.Region == "" && cfg.AppKey == "" {
		server := nlstest.NewServer(nlstest.Options{Files: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(spoken.Bytes()) // at every URL
		})})
		defer server.Close()
		cfg = server.Config()
		fmt.Fprintln(os.Stderr, "no gateway is named, using a local one at", cfg.URL)
		client, err := nls.NewClient(cfg)
		if err != nil {
			return err
		}
		if err := client.Synthesize(ctx, &spoken, nls.SynthesisParams{Text: "你好，世界。Hello, Go!", Format: nls.FormatWAV}); err != nil {
			return err
		}
	}
	client, err := nls.NewClient(cfg)
	if err != nil {
		return err
	}
	result, err := transcribe(ctx, client, name, later, &spoken)
	if err != nil {
		return err
	}
	for _, s := range result.Sentences {
		fmt.Printf("%v to %v: %s\n", s.Begin, s.End, s.Text)
	}
	return nil
}

func transcribe(ctx context.Context, client *nls.Client, name string, later bool, spoken *bytes.Buffer) (*nls.FileResult, error) {
	isURL := strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://")
	switch {
	case later && !isURL:
		return nil, errors.New("-later takes a URL")
	case later:
		task, err := client.SubmitFile(ctx, nls.FileTaskParams{URL: name, EnableInverseTextNormalization: true})
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(os.Stderr, "submitted, task", task.ID)
		return client.WaitFile(ctx, task)
	}
	params := nls.FileParams{EnableInverseTextNormalization: true}
	switch {
	case isURL:
		params.URL = name
		return client.RecognizeFile(ctx, nil, params)
	case name == "-":
		return client.RecognizeFile(ctx, os.Stdin, params)
	case name == "" && spoken.Len() > 0:
		return client.RecognizeFile(ctx, bytes.NewReader(spoken.Bytes()), params)
	case name == "":
		return nil, errors.New("name a file, a URL, or - for standard input")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return client.RecognizeFile(ctx, file, params)
}
