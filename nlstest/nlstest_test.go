package nlstest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
)

// fakeT is a testing.TB that only takes notes.
type fakeT struct {
	testing.TB
	fatal   string
	cleanup []func()
}

func (t *fakeT) Helper()           {}
func (t *fakeT) Cleanup(f func())  { t.cleanup = append(t.cleanup, f) }
func (t *fakeT) Fatal(args ...any) { t.fatal = fmt.Sprint(args...); runtime.Goexit() }
func (t *fakeT) end()              { t.cleanup[0]() }
func (t *fakeT) run(f func(*fakeT)) {
	done := make(chan struct{})
	go func() { defer close(done); f(t) }()
	<-done
}

func TestNewEndsWithItsTest(t *testing.T) {
	ft := new(fakeT)
	s := New(ft, Options{})
	c := dial(t, s, "SpeechTranscriber", "")
	ft.end()
	if r := c.read(); r.err == nil {
		t.Errorf("got %s after the test", r.raw)
	}
	if _, _, err := handshake(t, s, "", nil); err == nil {
		t.Error("still listening after the test")
	}
}

func TestNewFailsTheTestWhereNewServerPanics(t *testing.T) {
	ft := new(fakeT)
	ft.run(func(ft *fakeT) {
		New(ft, Options{Addr: "nonsense"})
		t.Error("New went on")
	})
	if !strings.HasPrefix(ft.fatal, "nlstest: listen: ") {
		t.Errorf("failed with %q", ft.fatal)
	}
}

// t.Fatal ends the goroutine that calls it. Whoever that is, the client learns of
// it, and the Server goes on and can be closed.
func TestUserCodeMayEndItsGoroutine(t *testing.T) {
	fatal := func(f *fakeT) { f.Fatal("enough") }
	for name, harm := range map[string]func(*Options, *fakeT){
		"OnFrame, received": func(o *Options, f *fakeT) {
			o.OnFrame = func(fr Frame) {
				if !fr.Sent && fr.Binary {
					fatal(f)
				}
			}
		},
		"OnFrame, sent": func(o *Options, f *fakeT) {
			o.OnFrame = func(fr Frame) {
				if fr.Sent && strings.Contains(string(fr.Payload), "Completed") {
					fatal(f)
				}
			}
		},
		"Fault":     func(o *Options, f *fakeT) { o.Fault = func(*http.Request) *Fault { fatal(f); return nil } },
		"TaskFault": func(o *Options, f *fakeT) { o.TaskFault = func(Task) *Fault { fatal(f); return nil } },
		"Recognize": func(o *Options, f *fakeT) { o.Engine = fatalEngine{f: func() { fatal(f) }, at: "Recognize"} },
		"Write":     func(o *Options, f *fakeT) { o.Engine = fatalEngine{f: func() { fatal(f) }, at: "Write"} },
		"Finish":    func(o *Options, f *fakeT) { o.Engine = fatalEngine{f: func() { fatal(f) }, at: "Finish"} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				ft := new(fakeT)
				opts := Options{Pipe: true, Engine: fakeEngine{}}
				harm(&opts, ft)
				s := New(ft, opts)
				defer ft.end()
				client, err := nls.NewClient(s.Config())
				if err != nil {
					t.Fatal(err)
				}
				_, err = client.Recognize(t.Context(), strings.NewReader(strings.Repeat("\x01\x00", 16000)), nls.RecognitionParams{}, nls.PumpOptions{Speed: -1})
				if err == nil {
					t.Error("the client has seen nothing of it")
				}
				if ft.fatal != "enough" {
					t.Errorf("failed with %q", ft.fatal)
				}
			})
		})
	}
}

type fatalEngine struct {
	fakeEngine
	f  func()
	at string
}

func (e fatalEngine) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	if e.at == "Recognize" {
		e.f()
	}
	r, err := e.fakeEngine.Recognize(ctx, q)
	return fatalRecognition{r, e}, err
}

type fatalRecognition struct {
	Recognition
	e fatalEngine
}

func (r fatalRecognition) Write(pcm []byte) ([]Hypothesis, error) {
	if r.e.at == "Write" {
		r.e.f()
	}
	return r.Recognition.Write(pcm)
}

func (r fatalRecognition) Finish() ([]Hypothesis, error) {
	if r.e.at == "Finish" {
		r.e.f()
	}
	return r.Recognition.Finish()
}

func TestConfigReachesAServerOnEveryAddress(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, addr := range []string{"", ":0", "0.0.0.0:0", "127.0.0.1:0", "localhost:0"} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q tls=%v", addr, tls), func(t *testing.T) {
				s := start(t, Options{Addr: addr, TLS: tls, Engine: fakeEngine{}})
				enter(dial(t, s, "SpeechTranscriber", ""), "working")
			})
		}
	}
}

func TestPlainTokenIsOptIn(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		if s := start(t, opts); s.TokenURLPlain != "" {
			t.Errorf("TokenURLPlain = %s without PlainToken", s.TokenURLPlain)
		}
		opts.PlainToken = true
		s := start(t, opts)
		p := newParams()
		p.Set("Signature", signature("GET", defaultSecret, p))
		resp, err := (&http.Client{Transport: s.Config().TokenOptions.Transport}).Get(s.TokenURLPlain + "?" + p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.HasPrefix(s.TokenURLPlain, "http://127.0.0.1:") {
			t.Errorf("%s: %s %s", s.TokenURLPlain, resp.Status, body)
		}
		if s.Stats().Tokens != 1 {
			t.Error("another account")
		}
	})
}

func TestPushSendsAnEventOfTheTestsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		if err := s.Push(c.taskID, "SentenceSemantics", map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		r := c.want("SentenceSemantics")
		if r.Header.TaskID != c.taskID || r.Header.Namespace != "SpeechTranscriber" || r.Header.Status != 20000000 || !strings.Contains(r.raw, `"payload":{"a":1}`) {
			t.Errorf("got %s", r.raw)
		}
		if err := s.Push(c.taskID, "TranscriptionCompleted", nil); err != nil {
			t.Fatal(err)
		}
		if r := c.want("TranscriptionCompleted"); strings.Contains(r.raw, "payload") {
			t.Errorf("got %s", r.raw)
		}
		c.send("StopTranscription", "") // the Server thinks that the task runs
		c.want("TranscriptionCompleted")
		for _, err := range []error{
			s.Push(c.taskID, "X", nil),
			s.Push("", "X", nil),
			s.Push(c.taskID, "X", func() {}),
			s.Push(c.taskID, "X", strings.Repeat("x", maxFrame)),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "nlstest: push: ") {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestPushEndsWithTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Fault: func(*http.Request) *Fault { return &Fault{Do: Hang, At: AfterStart} }})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		time.AfterFunc(time.Second, func() { c.ws.Close() })
		if err := s.Push(c.taskID, "X", nil); err == nil {
			t.Error("pushed to a connection that hangs")
		}
	})
}
