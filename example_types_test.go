package nls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// A Config for a server: the zero value of what is not set is the service's default.
func ExampleConfig() {
	cfg := nls.Config{
		Region:          "cn-shanghai",
		AppKey:          "AppKeyExample01",
		Credentials:     nls.DefaultCredentials(), // the role of the pod, the instance...
		Limiter:         nls.NewLimiter(nls.Limits{Each: 200}),
		WarmConnections: 2,
	}
	client, err := nls.NewClient(cfg) // no I/O yet
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseIdleConnections()
	fmt.Println(cfg) // no secret is printed
	// Output: nls.Config{URL:"" Region:"cn-shanghai" AppKey:"AppKeyExample01" Credentials:Credentials}
}

// A Sentence has text, times and words. Its times are positions in the audio.
func ExampleSentence() {
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	params := nls.TranscriptionParams{EnablePunctuationPrediction: true, EnableWords: true}
	for s, err := range newClient().Transcribe(context.Background(), file, params, nls.PumpOptions{Speed: -1}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Index, s.Text, s.Final, s.Begin < s.End(), s.End() <= s.Time)
		for _, w := range s.Words {
			fmt.Println(w.Text, w.Start < w.End)
		}
	}
	// Output:
	// 1 你好 true true true
	// 你好 true
}

// Metrics of every session of a Client. Hooks are called by many sessions at a time.
func ExampleTrace() {
	var sessions, failed, sent atomic.Int64
	cfg := nls.ConfigFromEnv()
	cfg.Trace = &nls.Trace{
		SessionDone: func(s nls.TraceSession) {
			sessions.Add(1)
			sent.Add(s.SentBytes)
			if s.Err != nil {
				failed.Add(1)
			}
		},
	}
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "你好"})
	fmt.Println(err, sessions.Load(), failed.Load(), sent.Load() > 0)
	// Output: <nil> 1 0 true
}

// Keys from a place of your own, such as a vault, asked for at each token lookup.
func ExampleCredentialSource() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	vault := nls.CredentialSourceFunc(func(ctx context.Context) (nls.AccessKey, error) {
		fmt.Println("asked for the key")
		return server.AccessKey(), nil
	})
	cfg := server.Config()
	cfg.Token, cfg.AccessKeyID, cfg.AccessKeySecret = "", "", ""
	cfg.Credentials = vault
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // one token does for both
		fmt.Println(client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"}))
	}
	// Output:
	// asked for the key
	// <nil>
	// <nil>
}

// A token by itself, for a browser or another process that is to have no key.
func ExampleGetToken() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	token, err := nls.GetToken(context.Background(), server.AccessKey(), server.Config().TokenOptions)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Value != "", time.Until(token.Expiry) > time.Hour)
	fmt.Println(strings.Contains(fmt.Sprint(token), token.Value)) // not by accident
	// Output:
	// true true
	// false
}

// A TokenError has what the token service says.
func ExampleTokenError() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	key := nls.AccessKey{ID: server.AccessKey().ID, Secret: "of another key"}
	_, err := nls.GetToken(context.Background(), key, server.Config().TokenOptions)
	if e, ok := errors.AsType[*nls.TokenError](err); ok {
		fmt.Println(e.Code, e.HTTPStatus, nls.Retryable(err))
	}
	// Output: SignatureDoesNotMatch 400 false
}

// The sessions of an account are a thing to share: here two at a time, first come
// first served, whatever Client they are of.
func ExampleLimiter() {
	cfg := nls.ConfigFromEnv()
	cfg.Limiter = nls.NewLimiter(nls.Limits{Each: 2})
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	var calls [2]*nls.Transcriber
	for i := range calls {
		calls[i] = client.NewTranscriber(nls.TranscriberHandlers{})
		if err := calls[i].Start(ctx, nls.TranscriptionParams{}); err != nil {
			log.Fatal(err)
		}
	}
	third := client.NewTranscriber(nls.TranscriberHandlers{})
	err = third.Start(ctx, nls.TranscriptionParams{Timeout: 50 * time.Millisecond})
	fmt.Println(errors.Is(err, nls.ErrStartTimeout))
	fmt.Println(calls[0].Stop(ctx)) // its place is free
	fmt.Println(third.Start(ctx, nls.TranscriptionParams{}))
	fmt.Println(third.Stop(ctx), calls[1].Stop(ctx))
	// Output:
	// true
	// <nil>
	// <nil>
	// <nil> <nil>
}

// A Session is one Start: who holds it never touches the next one.
func ExampleSession() {
	ctx := context.Background()
	rec := newClient().NewRecognizer(nls.RecognizerHandlers{})
	if err := rec.Start(ctx, nls.RecognitionParams{}); err != nil {
		log.Fatal(err)
	}
	first := rec.Session()
	rec.Shutdown()
	<-first.Done()
	if err := rec.Start(ctx, nls.RecognitionParams{}); err != nil {
		log.Fatal(err)
	}
	first.Shutdown() // changes nothing
	fmt.Println(errors.Is(first.Err(), nls.ErrShutdown), rec.Err(), first.TaskID() != rec.TaskID())
	rec.Shutdown()
	<-rec.Done()
	// Output: true <nil> true
}

// A gateway, or a proxy in front of it, that does not open the connection.
func ExampleHandshakeError() {
	cfg := nls.ConfigFromEnv()
	cfg.Token = "of-yesterday"
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = client.NewRecognizer(nls.RecognizerHandlers{}).Start(context.Background(), nls.RecognitionParams{})
	if e, ok := errors.AsType[*nls.HandshakeError](err); ok {
		fmt.Println(e.HTTPStatus, e.Body)
	}
	fmt.Println(errors.Is(err, nls.ErrAccessDenied), nls.Retryable(err))
	// Output:
	// 403 Meta:ACCESS_DENIED:The token '***' is invalid!
	// true false
}

// A connection that ends before the task has: a new session may do better.
func ExampleCloseError() {
	server := nlstest.NewServer(nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		return &nlstest.Fault{At: nlstest.DuringAudio, Do: nlstest.CloseFrame, Code: 1001, Text: "going away"}
	}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	rec := client.NewRecognizer(nls.RecognizerHandlers{
		OnError: func(e *nls.ErrorEvent) { fmt.Println("failed", len(e.TaskID)) },
		OnClose: func(e *nls.CloseEvent) { fmt.Println("closed", e.Err != nil) },
	})
	if err := rec.Start(context.Background(), nls.RecognitionParams{}); err != nil {
		log.Fatal(err)
	}
	if err := rec.SendAudio(make([]byte, 3200)); err != nil {
		log.Fatal(err)
	}
	<-rec.Done()
	if e, ok := errors.AsType[*nls.CloseError](rec.Err()); ok {
		fmt.Println(e.Code, e.Reason, nls.Retryable(rec.Err()))
	}
	// Output:
	// failed 32
	// closed true
	// 1001 going away true
}

// What cannot work is refused before anything is sent, with its name.
func ExampleParamError() {
	err := newClient().NewTranscriber(nls.TranscriberHandlers{}).Start(context.Background(),
		nls.TranscriptionParams{SampleRate: 44100})
	if e, ok := errors.AsType[*nls.ParamError](err); ok {
		fmt.Println(e.Param, e.Value, errors.Is(err, nls.ErrInvalidParameter))
	}
	// Output: SampleRate 44100 true
}

// Subtitles are the times of what is spoken, in the audio.
func ExampleMetaInfo() {
	var timing []nls.Subtitle
	tts := newClient().NewSynthesizer(nls.SynthesizerHandlers{
		OnData:     func(a nls.AudioEvent) {},
		OnMetaInfo: func(m *nls.MetaInfo) { timing = m.Subtitles }, // of the text so far
	})
	err := tts.Start(context.Background(), nls.SynthesisParams{Text: "你好", Voice: "ailun", EnableSubtitle: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range timing {
		if !s.Sentence {
			fmt.Println(s.Text, s.BeginIndex, s.Begin < s.End)
		}
	}
	// Output:
	// 你 0 true
	// 好 1 true
}

// Anything that takes audio is an AudioSender: Pump feeds it at the speed of speech.
func ExampleAudioSender() {
	var file bytes.Buffer
	var dst nls.AudioSender = tee{newClient().NewTranscriber(nls.TranscriberHandlers{}), &file}
	if err := dst.(tee).tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
		log.Fatal(err)
	}
	sent, err := nls.Pump(context.Background(), dst, strings.NewReader(strings.Repeat("..", 8000)), nls.PumpOptions{Speed: -1})
	dst.(tee).tr.Shutdown()
	<-dst.(tee).tr.Done()
	fmt.Println(sent, err, file.Len())
	// Output: 16000 <nil> 16000
}

// tee keeps what it sends.
type tee struct {
	tr   *nls.Transcriber
	kept io.Writer
}

func (t tee) SendAudio(data []byte) error {
	t.kept.Write(data)
	return t.tr.SendAudio(data)
}

// A TokenSource that can be told that a token was refused is asked for another one,
// once for each Start.
func ExampleInvalidator() {
	source := &shared{good: os.Getenv("NLS_TOKEN")}
	var _ nls.TokenSource = source
	var _ nls.Invalidator = source
	cfg := nls.ConfigFromEnv()
	cfg.Token, cfg.TokenSource = "", source
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"}))
	// Output:
	// asked
	// refused
	// asked
	// <nil>
}

// shared has a token that somebody else has made invalid.
type shared struct {
	good    string
	refused bool
}

func (s *shared) Token(ctx context.Context) (*nls.Token, error) {
	fmt.Println("asked")
	if s.refused {
		return &nls.Token{Value: s.good}, nil
	}
	return &nls.Token{Value: "of-yesterday"}, nil
}

func (s *shared) Invalidate(*nls.Token) {
	fmt.Println("refused")
	s.refused = true
}

// A proxy that opens no connection is no word of the service.
func ExampleProxyError() {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	cfg := nls.ConfigFromEnv()
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"})
	if e, ok := errors.AsType[*nls.ProxyError](err); ok {
		fmt.Println(e.HTTPStatus, errors.Is(err, nls.ErrAccessDenied), nls.Retryable(err))
	}
	// Output: 407 false false
}

// A call of the file service that is refused has what it says.
func ExampleAPIError() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	cfg := server.Config()
	cfg.AccessKeySecret = "of another key"
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.SubmitFile(context.Background(), nls.FileTaskParams{URL: "https://files.example/hello.wav"})
	if e, ok := errors.AsType[*nls.APIError](err); ok {
		fmt.Println(e.Code, nls.Retryable(err))
	}
	// Output: SignatureDoesNotMatch false
}
