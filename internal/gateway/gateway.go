// Package gateway is the program nlsgateway, which is nls gateway too.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls/nlstest"
)

// Run serves as args say until ctx ends. The error is flag.ErrHelp where that has been
// told already.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts := nlstest.Options{PlainToken: true}
	flags := flag.NewFlagSet("nlsgateway", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.Addr, "addr", "", "TCP `address` to listen on (default a free port on 127.0.0.1)")
	flags.BoolVar(&opts.TLS, "tls", false, "serve wss with a certificate of the authority in ca_file")
	engine := flags.String("engine", "loopback", "`name` of the engine: loopback, or script with the sentences of -script")
	script := flags.String("script", "", "`file` with one sentence a line")
	flags.IntVar(&opts.MaxSessions, "max-sessions", 0, "sessions at a time of an account in each product, negative for no limit (default that of the service: 200, 100 of long and 10 of streaming synthesis)")
	flags.BoolVar(&opts.Trial, "trial", false, "a trial account: 2 sessions of each product, none of long and streaming synthesis")
	flags.BoolVar(&opts.Expired, "expired", false, "an account whose trial is over: 40000010")
	flags.DurationVar(&opts.IdleTimeout, "idle-timeout", 0, "how long a client may be silent, negative for ever (default 10s)")
	flags.DurationVar(&opts.ReplyDelay, "reply-delay", 0, "`time` before ...Started and ...Completed, negative for none (default 20ms and 40ms)")
	flags.BoolVar(&opts.Latency, "latency", false, "be as slow as the service: 60 ms, 140 ms, and 220 ms to the first audio of a synthesis")
	flags.BoolVar(&opts.RealTime, "real-time", false, "drop who sends audio more than 10 times faster than it plays")
	flags.DurationVar(&opts.TokenTTL, "token-ttl", 0, "lifetime of created tokens (default 24h)")
	flags.Func("fault", "`name` of a fault that every connection has, such as reset@after-start", func(name string) error {
		f, err := nlstest.ParseFault(name)
		opts.Fault = func(*http.Request) *nlstest.Fault { return f }
		return err
	})
	files := flags.String("files", "", "`directory` with the files that clients name by URL, of any host")
	verbose := flags.Bool("v", false, "write every message to standard error")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // flags has said why
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch *engine {
	case "loopback":
	case "script":
		sentences, err := ReadLines(*script)
		if err != nil {
			return fmt.Errorf("-script: %w", err)
		}
		opts.Engine = nlstest.Script(sentences...)
	default:
		return fmt.Errorf("-engine %q: want loopback or script", *engine)
	}
	if *files != "" {
		opts.Files = http.FileServer(http.Dir(*files))
	}
	if *verbose {
		opts.OnFrame = printTo(stderr)
	}

	server, err := newServer(opts)
	if err != nil {
		return err
	}
	defer server.Close()
	caFile, err := writeTemp(server.CertificatePEM())
	if err != nil {
		return err
	}
	defer os.Remove(caFile)

	cfg := server.Config()
	line, err := json.Marshal(struct {
		URL             string `json:"url"`
		TokenURL        string `json:"token_url"`
		TokenURLPlain   string `json:"token_url_plain"`
		CAFile          string `json:"ca_file"`
		AppKey          string `json:"appkey"`
		Token           string `json:"token"`
		AccessKeyID     string `json:"access_key_id"`
		AccessKeySecret string `json:"access_key_secret"`
	}{server.URL, server.TokenURL, server.TokenURLPlain, caFile, cfg.AppKey, cfg.Token, cfg.AccessKeyID, cfg.AccessKeySecret})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// newServer is nlstest.NewServer for a program: an address that is taken is an
// error, not a panic.
func newServer(opts nlstest.Options) (s *nlstest.Server, err error) {
	defer func() {
		p := recover()
		if e, ok := p.(error); ok {
			if _, ok := errors.AsType[*net.OpError](e); ok {
				err, p = e, nil
			}
		}
		if p != nil {
			panic(p)
		}
	}()
	return nlstest.NewServer(opts), nil
}

// ReadLines returns the lines of a file that are not blank.
func ReadLines(name string) (lines []string, err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// writeTemp writes data to a new temporary file.
func writeTemp(data []byte) (name string, err error) {
	f, err := os.CreateTemp("", "nlsgateway-ca-*.pem")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}

// printTo returns an OnFrame that writes one line for each message.
func printTo(w io.Writer) func(nlstest.Frame) {
	var mu sync.Mutex
	return func(f nlstest.Frame) {
		direction := "<-"
		if f.Sent {
			direction = "->"
		}
		text := string(f.Payload)
		if f.Binary {
			text = fmt.Sprintf("%d bytes of audio", len(f.Payload))
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s %d %s %s\n", time.Now().Format("15:04:05.000"), f.Conn, direction, text)
	}
}
