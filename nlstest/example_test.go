package nlstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// docs/testing.md copies code from here: see internal/suite/docs_test.go.

// A Server is to an NLS client what an httptest.Server is to an HTTP client. What it
// speaks itself it understands.
func ExampleNewServer() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	var audio bytes.Buffer
	if err := client.Synthesize(ctx, &audio, nls.SynthesisParams{Text: "明天见"}); err != nil {
		log.Fatal(err)
	}
	result, err := client.Recognize(ctx, &audio, nls.RecognitionParams{}, nls.PumpOptions{Speed: -1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text, server.Stats().Sessions)
	// Output: 明天见 2
}

// Script answers any sound with known sentences, for code that acts on what is said.
func ExampleScript() {
	server := nlstest.NewServer(nlstest.Options{Engine: nlstest.Script("打开客厅的灯。", "谢谢。")})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	sound := strings.Repeat("\x00\x20\x00\xe0", 8000) // a second at 16 kHz
	silence := strings.Repeat("\x00", 32000)
	audio := strings.NewReader(sound + silence + sound + silence)
	params := nls.TranscriptionParams{Format: nls.FormatPCM, EnablePunctuationPrediction: true}
	for sentence, err := range client.Transcribe(context.Background(), audio, params, nls.PumpOptions{Speed: -1}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sentence.Index, sentence.Text)
	}
	// Output:
	// 1 打开客厅的灯。
	// 2 谢谢。
}

// A Fault happens at a point of a session: here the first connection breaks once the task
// has begun, and the second one works.
func ExampleFault() {
	var connections atomic.Int32
	server := nlstest.NewServer(nlstest.Options{Fault: func(*http.Request) *nlstest.Fault {
		if connections.Add(1) > 1 {
			return nil
		}
		return &nlstest.Fault{At: nlstest.AfterStart, Do: nlstest.Reset}
	}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = nls.Retry(ctx, func(ctx context.Context) error {
		sound := strings.NewReader(strings.Repeat("\x00\x20\x00\xe0", 8000))
		_, err := client.Recognize(ctx, sound, nls.RecognitionParams{Format: nls.FormatPCM}, nls.PumpOptions{Speed: -1})
		return err
	})
	fmt.Println(connections.Load(), err)
	// Output: 2 <nil>
}

// Faults have names, for tables of tests and for the URL that another program is
// given: ws://127.0.0.1:port/ws/v1?fault=taskfailed@after-start,code=40000005
func ExampleParseFault() {
	fault, err := nlstest.ParseFault("taskfailed@after-start,code=40000005,text=Gateway:TOO_MANY_REQUESTS:Too many requests!")
	if err != nil {
		log.Fatal(err)
	}
	server := nlstest.NewServer(nlstest.Options{Fault: func(*http.Request) *nlstest.Fault { return fault }})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	sound := strings.NewReader(strings.Repeat("\x00\x20\x00\xe0", 8000))
	_, err = client.Recognize(context.Background(), sound, nls.RecognitionParams{Format: nls.FormatPCM}, nls.PumpOptions{})
	fmt.Println(nls.StatusCode(err), nls.Retryable(err))
	// Output: 40000005 true
}

// What a session has recorded, with the real service perhaps, is a test from then on.
func ExampleReplay() {
	use := func(cfg nls.Config, text string) error {
		client, err := nls.NewClient(cfg)
		if err != nil {
			return err
		}
		return client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: text})
	}

	server := nlstest.NewServer(nlstest.Options{}) // or the real service
	defer server.Close()
	var recording bytes.Buffer
	cfg := server.Config()
	cfg.Record = &recording
	if err := use(cfg, "你好"); err != nil {
		log.Fatal(err)
	}

	gateway, err := nlstest.Replay(&recording, nlstest.ReplayOptions{AtOnce: true})
	if err != nil {
		log.Fatal(err)
	}
	defer gateway.Close()
	fmt.Println(use(gateway.Config(), "你好"), len(gateway.Departures()))
	// Output: <nil> 0
}

// In a bubble of testing/synctest time passes at once, and ten seconds are ten seconds
// to the millisecond. Pipe keeps the connections in memory, as a bubble needs it.
func TestASilentCallerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := nlstest.New(t, nlstest.Options{Pipe: true}) // ends with the test
		client, err := nls.NewClient(server.Config())
		if err != nil {
			t.Fatal(err)
		}
		tr := client.NewTranscriber(nls.TranscriberHandlers{})
		if err := tr.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		<-tr.Done() // no audio comes
		if nls.StatusCode(tr.Err()) != nls.StatusAudioTimeout || !nls.Retryable(tr.Err()) {
			t.Errorf("the session ended with %v", tr.Err())
		}
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("after %v", took)
		}
	})
}

// OnFrame sees each message, for tests of what exactly a program asks for.
func ExampleFrame() {
	server := nlstest.NewServer(nlstest.Options{OnFrame: func(f nlstest.Frame) {
		if !f.Sent && bytes.Contains(f.Payload, []byte("StartTranscription")) {
			fmt.Println(bytes.Contains(f.Payload, []byte(`"vocabulary_id":"products"`)))
		}
	}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(context.Background(), nls.TranscriptionParams{VocabularyID: "products"}); err != nil {
		log.Fatal(err)
	}
	tr.Shutdown()
	<-tr.Done()
	fmt.Println(errors.Is(tr.Err(), nls.ErrShutdown), server.Stats().Connections)
	// Output:
	// true
	// true 1
}

// A Recognition that is a SilenceSetter hears of ControlTranscriber.
func ExampleSilenceSetter() {
	server := nlstest.NewServer(nlstest.Options{Engine: listening{nlstest.Loopback()}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(ctx, nls.TranscriptionParams{}); err != nil {
		log.Fatal(err)
	}
	if err := tr.Ctrl(map[string]any{"max_sentence_silence": 500}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(tr.Stop(ctx))
	// Output:
	// 500ms of silence end a sentence
	// <nil>
}

// listening is an Engine that says what its recognitions are told.
type listening struct{ nlstest.Engine }

func (e listening) Recognize(ctx context.Context, q nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	r, err := e.Engine.Recognize(ctx, q)
	return listener{r}, err
}

type listener struct{ nlstest.Recognition }

func (l listener) SetMaxSilence(d time.Duration) {
	fmt.Println(d, "of silence end a sentence")
	l.Recognition.(nlstest.SilenceSetter).SetMaxSilence(d)
}

// A Codec makes a compressed format known to the server. This one is no real one: it
// has every second sample.
func ExampleTranscoder() {
	halved := nlstest.Codec{NewDecoder: func(context.Context, int) (nlstest.Transcoder, error) { return &doubler{}, nil }}
	server := nlstest.NewServer(nlstest.Options{
		Codecs: map[string]nlstest.Codec{"mp3": halved},
		Engine: nlstest.Script("听见了"),
	})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	sound := strings.NewReader(strings.Repeat("\x00\x20\x00\xe0", 4000))
	result, err := client.Recognize(context.Background(), sound, nls.RecognitionParams{Format: nls.FormatMP3}, nls.PumpOptions{Speed: -1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text, result.Duration) // of half a second that was sent
	// Output: 听见了 1s
}

// doubler makes two samples of each.
type doubler struct{ odd []byte }

func (d *doubler) Write(p []byte) (pcm []byte, err error) {
	p = append(d.odd, p...)
	for ; len(p) >= 2; p = p[2:] {
		pcm = append(pcm, p[0], p[1], p[0], p[1])
	}
	d.odd = bytes.Clone(p)
	return pcm, nil
}

func (d *doubler) Close() ([]byte, error) { return nil, nil }

// Namespaces describe products that only CommonProto speaks, such as those of a private
// installation.
func ExampleNamespace() {
	server := nlstest.NewServer(nlstest.Options{Namespaces: map[string]nlstest.Namespace{"Echo": {
		Start: []string{"Say"}, Completed: "Said",
		Answer: func(in nlstest.Input) []nlstest.Answer {
			return []nlstest.Answer{{Name: "Said", Payload: in.Payload}}
		},
	}}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	proto := client.NewCommonProto("Echo", nls.CommonHandlers{OnEvent: func(e *nls.Event) {
		var said struct{ Text string }
		if err := e.Payload(&said); err != nil {
			log.Print(err)
		}
		fmt.Println(e.Name, said.Text)
	}})
	ctx := context.Background()
	if err := proto.Start(ctx, "Say", nls.CommonParams{Payload: map[string]any{"text": "hello"}, Final: []string{"Said"}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(proto.Wait(ctx))
	// Output:
	// Said hello
	// <nil>
}
