// Command voice speaks the answers of a language model while it writes them. A question that
// comes while an answer is spoken ends that answer, as when somebody interrupts.
//
//	go run ./examples/voice
//	go run ./examples/voice -llm https://api.example.com/v1 -model NAME
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var addr = flag.String("addr", "localhost:0", "`address` to listen on")
var llm = flag.String("llm", "", "`URL` of an API like OpenAI's, with its key in $OPENAI_API_KEY; a parrot without")
var model = flag.String("model", "", "`name` of the language model")

const page = `<!doctype html><meta charset="utf-8"><title>voice</title>
<form onsubmit="audio.src = '/speak?session=1&q=' + encodeURIComponent(q.value); audio.play(); return false">
<input id="q" size="60" autofocus placeholder="问题 / question"> <button>Ask</button></form><audio id="audio" controls></audio>`

func main() {
	cfg := nls.ConfigFromEnv()
	for name, field := range map[string]*string{"url": &cfg.URL, "region": &cfg.Region, "appkey": &cfg.AppKey, "token": &cfg.Token} {
		flag.Func(name, "in place of $NLS_"+strings.ToUpper(name), func(s string) error { *field = s; return nil })
	}
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "voice [flags] is a web server that speaks the answers of a language model while it writes them")
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
		return fmt.Errorf("no arguments, not %q", flag.Args())
	}
	var speaking sync.Map // from sessions to the cancel function of what each is told
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, page) })
	http.HandleFunc("GET /speak", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context()) // which ends when the listener goes away
		defer cancel()
		if before, ok := speaking.Swap(r.FormValue("session"), &cancel); ok {
			(*before.(*context.CancelFunc))()
		}
		defer speaking.CompareAndDelete(r.FormValue("session"), &cancel)
		answer := parrot(ctx, r.FormValue("q"))
		if *llm != "" {
			answer = ask(ctx, r.FormValue("q"))
		}
		w.Header().Set("Content-Type", "audio/wav")
		audio := &stream{ResponseWriter: w}
		err := client.SynthesizeStream(ctx, audio, answer, nls.StreamSynthesisParams{Format: nls.FormatWAV})
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		if err != nil && audio.begun {
			panic(http.ErrAbortHandler) // so that nobody takes it for the whole answer
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Printf("open http://%s/\n", listener.Addr())
	server := &http.Server{BaseContext: func(net.Listener) context.Context { return ctx }}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); ctx.Err() == nil {
		return err
	}
	return client.Drain(context.WithoutCancel(ctx)) // what is spoken has just been ended
}

// stream is a response that goes out as it is written.
type stream struct {
	http.ResponseWriter
	begun bool
}

func (s *stream) Write(p []byte) (int, error) {
	s.begun = true
	n, err := s.ResponseWriter.Write(p)
	return n, cmp.Or(err, http.NewResponseController(s.ResponseWriter).Flush())
}

// parrot is a language model that says the question again, a character at a time.
func parrot(ctx context.Context, question string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, r := range question {
			if time.Sleep(20 * time.Millisecond); ctx.Err() != nil || !yield(string(r), nil) {
				return
			}
		}
	}
}

// ask yields what a language model answers, as it writes it.
func ask(ctx context.Context, question string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := chat(ctx, question, func(s string) bool { return yield(s, nil) }); err != nil {
			yield("", err)
		}
	}
}

// chat gives take the pieces of the answer, until it has enough.
func chat(ctx context.Context, question string, take func(string) bool) error {
	body, _ := json.Marshal(map[string]any{"model": *model, "stream": true, "messages": []any{map[string]string{"role": "user", "content": question}}})
	req, err := http.NewRequestWithContext(ctx, "POST", strings.TrimSuffix(*llm, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + os.Getenv("OPENAI_API_KEY")}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: HTTP %s; check -llm, -model and OPENAI_API_KEY", *llm, resp.Status)
	}
	events := bufio.NewScanner(resp.Body)
	for events.Scan() {
		data, ok := strings.CutPrefix(events.Text(), "data: ")
		if data == "[DONE]" {
			return nil
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); ok && err != nil {
			return err
		}
		for _, c := range chunk.Choices {
			if !take(c.Delta.Content) {
				return nil
			}
		}
	}
	return cmp.Or(events.Err(), io.ErrUnexpectedEOF)
}
