package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// The vendor's Python SDK 0.0.1 and this one, name by name: the rows are in
// testdata/python-parity.tsv, docs/python.md has a table made of them, and each row names
// the test that shows it, where it is a subtest (or a line of the test's table)
// with the name of the row.

// parityRow is a line of testdata/python-parity.tsv.
type parityRow struct{ python, kind, def, goNames, match, why, whyZH, test string }

func parityRows(t *testing.T) []parityRow {
	t.Helper()
	file, err := os.ReadFile(root + "testdata/python-parity.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var rows []parityRow
	for i, line := range strings.Split(strings.TrimSuffix(string(file), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 8 {
			t.Fatalf("line %d has %d columns, want 8", i+1, len(f))
		}
		if i > 0 { // the names of the columns
			rows = append(rows, parityRow{f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]})
		}
	}
	return rows
}

const classPrefix = "Nls" // of the Python classes

func TestParityTableNamesOnlyWhatExists(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	names, tests := goNames(t), testStrings(t)
	seen := map[string]bool{}
	for _, row := range parityRows(t) {
		if seen[row.python] {
			t.Errorf("%s stands there twice", row.python)
		}
		seen[row.python] = true
		if row.match != "same" && row.match != "differs" {
			t.Errorf("%s: match is %q", row.python, row.match)
		}
		if row.match == "differs" && row.why == "" {
			t.Errorf("%s differs, but why", row.python)
		}
		if (row.why == "") != (row.whyZH == "") {
			t.Errorf("%s: the reason is there in one language only", row.python)
		}
		for name := range strings.SplitSeq(row.goNames, ", ") {
			if !names[name] {
				t.Errorf("%s: there is no %s", row.python, name)
			}
		}
		if literals, ok := tests[row.test]; !ok {
			t.Errorf("%s: there is no test %s", row.python, row.test)
		} else if !slices.Contains(literals, row.python) {
			t.Errorf("%s: %s does not show it", row.python, row.test)
		}
	}
	for test, literals := range tests {
		for _, s := range literals {
			if strings.HasPrefix(s, classPrefix) && !seen[s] {
				t.Errorf("%s shows %s, which is not in the table", test, s)
			}
		}
	}
}

// classOf is the Python class of an item.
func classOf(item string) string { class, _, _ := strings.Cut(item, "."); return class }

// goNames are the names in package nls: F, T, T.Method and T.Field.
func goNames(t *testing.T) map[string]bool { return namesOf(parseGo(t, false, root+"*.go")) }

func namesOf(files []*ast.File) map[string]bool {
	names := map[string]bool{}
	for _, file := range files {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					recv := d.Recv.List[0].Type
					if star, ok := recv.(*ast.StarExpr); ok {
						recv = star.X
					}
					if generic, ok := recv.(*ast.IndexListExpr); ok {
						recv = generic.X
					}
					name = recv.(*ast.Ident).Name + "." + name
				}
				names[name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.ValueSpec:
						for _, name := range s.Names {
							names[name.Name] = true
						}
					case *ast.TypeSpec:
						names[s.Name.Name] = true
						if st, ok := s.Type.(*ast.StructType); ok {
							for _, field := range st.Fields.List {
								for _, name := range field.Names {
									names[s.Name.Name+"."+name.Name] = true
								}
							}
						}
					}
				}
			}
		}
	}
	return names
}

// testStrings are the string literals in each test function.
func testStrings(t *testing.T) map[string][]string {
	tests := map[string][]string{}
	for _, file := range parseGo(t, true, root+"*_test.go", "*_test.go") {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Test") {
				continue
			}
			literals := []string{}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, _ := strconv.Unquote(lit.Value)
					literals = append(literals, s)
				}
				return true
			})
			tests[f.Name.Name] = literals
		}
	}
	return tests
}

// parseGo parses the files that match, either tests or what is none.
func parseGo(t *testing.T, tests bool, patterns ...string) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") != tests {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
	}
	return files
}

// wire is a gateway in a synctest bubble, and what it has seen.
type wire struct {
	*nlstest.Server
	mu     sync.Mutex
	frames []nlstest.Frame
	shakes []http.Header
}

// onWire runs test in a bubble, with a gateway that no idle session leaves.
func onWire(t *testing.T, opts nlstest.Options, test func(*testing.T, *wire)) {
	t.Helper()
	w := &wire{}
	opts.IdleTimeout = -1
	opts.OnFrame = func(f nlstest.Frame) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.frames = append(w.frames, f)
	}
	fault := opts.Fault
	opts.Fault = func(r *http.Request) *nlstest.Fault {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shakes = append(w.shakes, r.Header.Clone())
		if fault == nil {
			return nil
		}
		return fault(r)
	}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		w.Server = server
		test(t, w)
	})
}

type directive struct {
	Header           map[string]any
	Payload, Context map[string]any
}

// directives are the commands that w has received, in their order.
func (w *wire) directives(t *testing.T) []directive {
	t.Helper()
	var ds []directive
	for _, data := range w.received(false) {
		var d directive
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	return ds
}

// directive is the only command of that name.
func (w *wire) directive(t *testing.T, name string) directive {
	t.Helper()
	ds := slices.DeleteFunc(w.directives(t), func(d directive) bool { return d.Header["name"] != name })
	if len(ds) != 1 {
		t.Fatalf("%d commands %s, want one", len(ds), name)
	}
	return ds[0]
}

func (w *wire) received(binary bool) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	var messages [][]byte
	for _, f := range w.frames {
		if !f.Sent && f.Binary == binary {
			messages = append(messages, f.Payload)
		}
	}
	return messages
}

// start starts a session of the product that params belong to, and drops it.
func start(ctx context.Context, c *nls.Client, params any) error {
	switch p := params.(type) {
	case nls.RecognitionParams:
		r := c.NewRecognizer(nls.RecognizerHandlers{})
		defer r.Shutdown()
		return r.Start(ctx, p)
	case nls.TranscriptionParams:
		r := c.NewTranscriber(nls.TranscriberHandlers{})
		defer r.Shutdown()
		return r.Start(ctx, p)
	case nls.SynthesisParams:
		if p.Text == "" {
			p.Text = "你好"
		}
		return c.NewSynthesizer(nls.SynthesizerHandlers{}).Start(ctx, p)
	case nls.CommonParams:
		p.Started = []string{"RecognitionStarted"}
		r := c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
		defer r.Shutdown()
		return r.Start(ctx, "StartRecognition", p)
	}
	return fmt.Errorf("no product has %T", params)
}

func TestParityPayload(t *testing.T) {
	t.Parallel()
	type (
		sr  = nls.RecognitionParams
		st  = nls.TranscriptionParams
		tts = nls.SynthesisParams
		m   = map[string]any
	)
	for _, c := range []struct {
		item   string
		key    string // in the payload of the first command
		def    any    // its value when the parameter is zero; nil for none
		params any    // with the parameter set
		want   any
	}{
		{"NlsSpeechRecognizer.start.aformat", "format", "pcm", sr{Format: nls.FormatOpus}, "opus"},
		{"NlsSpeechRecognizer.start.sample_rate", "sample_rate", 16000., sr{SampleRate: 8000}, 8000.},
		{"NlsSpeechRecognizer.start.enable_intermediate_result", "enable_intermediate_result", false,
			sr{EnableIntermediateResult: true}, true},
		{"NlsSpeechRecognizer.start.enable_punctuation_prediction", "enable_punctuation_prediction", false,
			sr{EnablePunctuationPrediction: true}, true},
		{"NlsSpeechRecognizer.start.enable_inverse_text_normalization", "enable_inverse_text_normalization", false,
			sr{EnableInverseTextNormalization: true}, true},
		{"NlsSpeechRecognizer.start.ex", "hello", nil, sr{Extra: m{"hello": 123}}, 123.},
		{"NlsSpeechRecognizer.start.ex", "sample_rate", 16000.,
			sr{SampleRate: 16000, Extra: m{"sample_rate": 8000}}, 8000.},

		{"NlsSpeechTranscriber.start.aformat", "format", "pcm", st{Format: nls.FormatOPU}, "opu"},
		{"NlsSpeechTranscriber.start.sample_rate", "sample_rate", 16000., st{SampleRate: 8000}, 8000.},
		{"NlsSpeechTranscriber.start.enable_intermediate_result", "enable_intermediate_result", false,
			st{EnableIntermediateResult: true}, true},
		{"NlsSpeechTranscriber.start.enable_punctuation_prediction", "enable_punctuation_prediction", false,
			st{EnablePunctuationPrediction: true}, true},
		{"NlsSpeechTranscriber.start.enable_inverse_text_normalization", "enable_inverse_text_normalization", false,
			st{EnableInverseTextNormalization: true}, true},
		{"NlsSpeechTranscriber.start.ex", "hello", nil, st{Extra: m{"hello": 123}}, 123.},
		{"NlsSpeechTranscriber.start.ex", "enable_intermediate_result", false,
			st{Extra: m{"enable_intermediate_result": true}}, true},

		{"NlsSpeechSynthesizer.start.text", "text", "你好", tts{Text: "床前明月光"}, "床前明月光"},
		{"NlsSpeechSynthesizer.start.aformat", "format", "pcm", tts{Format: nls.FormatWAV}, "wav"},
		{"NlsSpeechSynthesizer.start.voice", "voice", "xiaoyun", tts{Voice: "ailun"}, "ailun"},
		{"NlsSpeechSynthesizer.start.sample_rate", "sample_rate", 16000., tts{Voice: "siqi", SampleRate: 24000}, 24000.},
		{"NlsSpeechSynthesizer.start.volume", "volume", 50., tts{Volume: new(0)}, 0.},
		{"NlsSpeechSynthesizer.start.volume", "volume", 50., tts{Volume: new(80)}, 80.},
		{"NlsSpeechSynthesizer.start.speech_rate", "speech_rate", 0., tts{SpeechRate: -500}, -500.},
		{"NlsSpeechSynthesizer.start.pitch_rate", "pitch_rate", 0., tts{PitchRate: 500}, 500.},
		{"NlsSpeechSynthesizer.start.ex", "enable_subtitle", nil, tts{Voice: "siqi", Extra: m{"enable_subtitle": true}}, true},
		{"NlsSpeechSynthesizer.start.ex", "volume", 50., tts{Extra: m{"volume": 20}}, 20.},

		{"NlsCommonProto.start.payload", "format", nil, nls.CommonParams{Payload: m{"format": "pcm"}}, "pcm"},
	} {
		t.Run(c.item, func(t *testing.T) {
			for _, run := range []struct {
				params, want any
			}{
				{reflect.Zero(reflect.TypeOf(c.params)).Interface(), c.def},
				{c.params, c.want},
			} {
				onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
					if err := start(t.Context(), clientOf(t, w.Server), run.params); err != nil {
						t.Fatal(err)
					}
					if got := w.directives(t)[0].Payload[c.key]; got != run.want {
						t.Errorf("%+v sends %s %#v, want %#v", run.params, c.key, got, run.want)
					}
				})
			}
		})
	}

	for item, params := range map[string][2]any{
		"NlsSpeechRecognizer.start.ch":  {sr{Channels: 1}, sr{Channels: 2}},
		"NlsSpeechTranscriber.start.ch": {st{Channels: 1}, st{Channels: 2}},
	} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				if err := start(t.Context(), clientOf(t, w.Server), params[0]); err != nil {
					t.Error(err)
				}
				err := start(t.Context(), clientOf(t, w.Server), params[1])
				if e, ok := errors.AsType[*nls.ParamError](err); !ok || e.Param != "Channels" {
					t.Errorf("two channels: %v", err)
				}
				if n := w.Stats().Connections; n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		})
	}

	t.Run("NlsCommonProto.start.name", func(t *testing.T) {
		onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
			p := clientOf(t, w.Server).NewCommonProto("SpeechTranscriber", nls.CommonHandlers{})
			if err := p.Start(t.Context(), "StartTranscription", nls.CommonParams{}); err != nil {
				t.Fatal(err)
			}
			defer p.Shutdown()
			synctest.Wait()
			d := w.directive(t, "StartTranscription")
			if d.Payload == nil || len(d.Payload) != 0 {
				t.Errorf("payload %v, want {}", d.Payload)
			}
		})
	})
	t.Run("NlsCommonProto.start.context", func(t *testing.T) {
		for _, c := range []struct {
			context map[string]any
			want    map[string]any
		}{
			{nil, m{"sdk": m{"name": "nlsgo", "version": nls.Version, "language": "go"}}},
			{m{}, m{}},
			{m{"device": m{"uuid": "x"}}, m{"device": m{"uuid": "x"}}},
		} {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				if err := start(t.Context(), clientOf(t, w.Server), nls.CommonParams{Context: c.context}); err != nil {
					t.Fatal(err)
				}
				if got := w.directives(t)[0].Context; !reflect.DeepEqual(got, c.want) {
					t.Errorf("%v is sent as %v", c.context, got)
				}
			})
		}
	})
}

func TestParityConstructors(t *testing.T) {
	t.Parallel()
	// Every product behaves the same here, so each row is shown for its own one.
	products := map[string]any{
		"NlsSpeechRecognizer":  nls.RecognitionParams{},
		"NlsSpeechTranscriber": nls.TranscriptionParams{},
		"NlsSpeechSynthesizer": nls.SynthesisParams{},
		"NlsCommonProto":       nls.CommonParams{},
	}
	product := func(item string) any { return products[classOf(item)] }

	for _, item := range []string{
		"NlsSpeechRecognizer.__init__", "NlsSpeechTranscriber.__init__", "NlsSpeechSynthesizer.__init__",
		"NlsCommonProto.__init__",
	} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				c := clientOf(t, w.Server)
				switch product(item).(type) {
				case nls.RecognitionParams:
					c.NewRecognizer(nls.RecognizerHandlers{})
				case nls.TranscriptionParams:
					c.NewTranscriber(nls.TranscriberHandlers{})
				case nls.SynthesisParams:
					c.NewSynthesizer(nls.SynthesizerHandlers{})
				case nls.CommonParams:
					c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
				}
				synctest.Wait()
				if s := w.Stats(); s.Connections != 0 || s.Tokens != 0 {
					t.Errorf("a constructor did I/O: %+v", s)
				}
			})
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.__init__.url", "NlsSpeechTranscriber.__init__.url",
		"NlsSpeechSynthesizer.__init__.url", "NlsCommonProto.__init__.url",
	} {
		t.Run(item, func(t *testing.T) {
			for gatewayURL, want := range map[string]string{
				"":                        "nls-gateway.cn-shanghai.aliyuncs.com:443",
				"ws://127.0.0.1:99/ws/v1": "127.0.0.1:99",
			} {
				var dialled string
				nobody := errors.New("nobody is there")
				c, err := nls.NewClient(nls.Config{
					URL: gatewayURL, AppKey: "appkey", Token: "token",
					Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
					NetDialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
						dialled = addr
						return nil, nobody
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := start(t.Context(), c, product(item)); !errors.Is(err, nobody) {
					t.Errorf("%q: %v", gatewayURL, err)
				}
				if dialled != want {
					t.Errorf("%q dials %q, want %q", gatewayURL, dialled, want)
				}
			}
		})
	}

	for _, items := range [][2]string{
		{"NlsSpeechRecognizer.__init__.akid", "NlsSpeechRecognizer.__init__.aksecret"},
		{"NlsSpeechTranscriber.__init__.akid", "NlsSpeechTranscriber.__init__.aksecret"},
		{"NlsSpeechSynthesizer.__init__.akid", "NlsSpeechSynthesizer.__init__.aksecret"},
		{"NlsCommonProto.__init__.akid", "NlsCommonProto.__init__.aksecret"},
	} {
		t.Run(items[0], func(t *testing.T) { // and aksecret
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				c := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.Token = "" })
				for range 2 {
					if err := start(t.Context(), c, product(items[0])); err != nil {
						t.Error(err)
					}
				}
				if n := w.Stats().Tokens; n != 1 {
					t.Errorf("%d tokens were made for two sessions", n)
				}
				for _, spoil := range []func(*nls.Config){
					func(cfg *nls.Config) { cfg.AccessKeyID += "x" },
					func(cfg *nls.Config) { cfg.AccessKeySecret += "x" },
				} {
					c := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.Token = ""; spoil(cfg) })
					err := start(t.Context(), c, product(items[0]))
					if _, ok := errors.AsType[*nls.TokenError](err); !ok {
						t.Errorf("with a wrong access key: %v", err)
					}
				}
			})
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.__init__.token", "NlsSpeechTranscriber.__init__.token",
		"NlsSpeechSynthesizer.__init__.token", "NlsCommonProto.__init__.token",
	} {
		t.Run(item, func(t *testing.T) {
			opts := nlstest.Options{
				Tokens:  map[string]string{"made-up-token": "me"},
				AppKeys: map[string]string{"key": "me"},
			}
			onWire(t, opts, func(t *testing.T, w *wire) {
				c := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.AppKey, cfg.Token = "key", "made-up-token" })
				if err := start(t.Context(), c, product(item)); err != nil {
					t.Error(err)
				}
				if got := w.shakes[0].Get("X-NLS-Token"); got != "made-up-token" {
					t.Errorf("X-NLS-Token: %s", got)
				}
				c = clientOf(t, w.Server, withToken, func(cfg *nls.Config) { cfg.AppKey, cfg.Token = "key", "other" })
				if err := start(t.Context(), c, product(item)); !errors.Is(err, nls.ErrAccessDenied) {
					t.Errorf("with another token: %v", err)
				}
			})
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.__init__.appkey", "NlsSpeechTranscriber.__init__.appkey",
		"NlsSpeechSynthesizer.__init__.appkey", "NlsCommonProto.__init__.appkey",
	} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				if err := start(t.Context(), clientOf(t, w.Server), product(item)); err != nil {
					t.Fatal(err)
				}
				for _, d := range w.directives(t) {
					if d.Header["appkey"] != w.Config().AppKey {
						t.Errorf("%s has appkey %v", d.Header["name"], d.Header["appkey"])
					}
				}
				c := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.AppKey = "unknown" })
				if err := start(t.Context(), c, product(item)); nls.StatusCode(err) != nls.StatusAppKeyNotExist {
					t.Errorf("with an unknown appkey: %v", err)
				}
			})
		})
	}

	t.Run("NlsCommonProto.__init__.namespace", func(t *testing.T) {
		onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
			p := clientOf(t, w.Server).NewCommonProto("SpeechTranscriber", nls.CommonHandlers{})
			err := p.Start(t.Context(), "StartTranscription",
				nls.CommonParams{Started: []string{"TranscriptionStarted"}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Shutdown()
			if got := w.directive(t, "StartTranscription").Header["namespace"]; got != "SpeechTranscriber" {
				t.Errorf("namespace %v", got)
			}
		})
	})
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestParityTimeouts(t *testing.T) {
	t.Parallel()
	hangOnStart := nlstest.Options{Fault: faultAlways("hang@on-start")}
	hangOnStop := nlstest.Options{Fault: faultAlways("hang@on-stop")}
	hangOnDial := nlstest.Options{Fault: faultAlways("hang@handshake")}

	// took checks that call fails with want after exactly d.
	took := func(t *testing.T, d time.Duration, want error, call func() error) {
		t.Helper()
		begin := time.Now()
		err := call()
		if got := time.Since(begin); got != d {
			t.Errorf("took %v, want %v", got, d)
		}
		if !errors.Is(err, want) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %v", err, want)
		}
	}

	for _, c := range []struct {
		item string
		gate nlstest.Options
		want error
		def  time.Duration
		none any // the parameter is not given
		set  any // it is three seconds
	}{
		{"NlsSpeechRecognizer.start.timeout", hangOnStart, nls.ErrStartTimeout, 10 * time.Second,
			nls.RecognitionParams{}, nls.RecognitionParams{Timeout: 3 * time.Second}},
		{"NlsSpeechTranscriber.start.timeout", hangOnStart, nls.ErrStartTimeout, 10 * time.Second,
			nls.TranscriptionParams{}, nls.TranscriptionParams{Timeout: 3 * time.Second}},
		{"NlsSpeechSynthesizer.start.start_timeout", hangOnDial, nls.ErrStartTimeout, 10 * time.Second,
			nls.SynthesisParams{}, nls.SynthesisParams{StartTimeout: 3 * time.Second}},
		{"NlsSpeechSynthesizer.start.completed_timeout", hangOnStart, nls.ErrCompleteTimeout, 60 * time.Second,
			nls.SynthesisParams{}, nls.SynthesisParams{CompleteTimeout: 3 * time.Second}},
	} {
		t.Run(c.item, func(t *testing.T) {
			onWire(t, c.gate, func(t *testing.T, w *wire) {
				client := clientOf(t, w.Server)
				took(t, c.def, c.want, func() error { return start(t.Context(), client, c.none) })
				took(t, 3*time.Second, c.want, func() error { return start(t.Context(), client, c.set) })
				took(t, 2*time.Second, c.want, func() error { return start(within(t, 2*time.Second), client, c.set) })
			})
		})
	}

	for _, item := range []string{"NlsSpeechRecognizer.stop.timeout", "NlsSpeechTranscriber.stop.timeout"} {
		t.Run(item, func(t *testing.T) {
			onWire(t, hangOnStop, func(t *testing.T, w *wire) {
				stop := func(config time.Duration, ctx context.Context) error {
					client := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.StopTimeout = config })
					object := newTask(client, classOf(item), func(string) {})
					if err := object.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					return object.end(ctx)
				}
				took(t, 10*time.Second, nls.ErrStopTimeout, func() error { return stop(0, t.Context()) })
				took(t, 3*time.Second, nls.ErrStopTimeout, func() error { return stop(3*time.Second, t.Context()) })
				took(t, 2*time.Second, nls.ErrStopTimeout,
					func() error { return stop(3*time.Second, within(t, 2*time.Second)) })
			})
		})
	}

	t.Run("NlsSpeechSynthesizer.start.wait_complete", func(t *testing.T) {
		for _, noWait := range []bool{false, true} {
			onWire(t, nlstest.Options{ReplyDelay: time.Second}, func(t *testing.T, w *wire) {
				var completed atomic.Bool // read while the session may run
				tts := clientOf(t, w.Server).NewSynthesizer(nls.SynthesizerHandlers{
					OnCompleted: func(*nls.Event) { completed.Store(true) },
				})
				if err := tts.Start(t.Context(), nls.SynthesisParams{Text: "你好", NoWait: noWait}); err != nil {
					t.Fatal(err)
				}
				if completed.Load() == noWait {
					t.Errorf("NoWait %v: completed is %v when Start returns", noWait, !noWait)
				}
				if err := tts.Wait(t.Context()); err != nil || !completed.Load() {
					t.Errorf("NoWait %v: Wait = %v, completed %v", noWait, err, completed.Load())
				}
			})
		}
	})
}

func TestParityPings(t *testing.T) {
	t.Parallel()
	type ping struct{ interval, timeout time.Duration }
	// Each session is left alone after its Start, which cannot hang.
	open := map[string]func(*testing.T, *nls.Client, ping) session{
		"NlsSpeechRecognizer": func(t *testing.T, c *nls.Client, p ping) session {
			r := c.NewRecognizer(nls.RecognizerHandlers{})
			params := nls.RecognitionParams{PingInterval: p.interval, PingTimeout: p.timeout}
			if err := r.Start(within(t, time.Second), params); err != nil {
				t.Fatal(err)
			}
			return r
		},
		"NlsSpeechTranscriber": func(t *testing.T, c *nls.Client, p ping) session {
			r := c.NewTranscriber(nls.TranscriberHandlers{})
			params := nls.TranscriptionParams{PingInterval: p.interval, PingTimeout: p.timeout}
			if err := r.Start(within(t, time.Second), params); err != nil {
				t.Fatal(err)
			}
			return r
		},
		"NlsSpeechSynthesizer": func(t *testing.T, c *nls.Client, p ping) session {
			r := c.NewSynthesizer(nls.SynthesizerHandlers{})
			if err := r.Start(within(t, time.Second), nls.SynthesisParams{
				Text: "你好", NoWait: true, CompleteTimeout: -1, PingInterval: p.interval, PingTimeout: p.timeout,
			}); err != nil {
				t.Fatal(err)
			}
			return r
		},
		"NlsCommonProto": func(t *testing.T, c *nls.Client, p ping) session {
			r := c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
			if err := r.Start(within(t, time.Second), "StartRecognition", nls.CommonParams{
				Started: []string{"RecognitionStarted"}, PingInterval: p.interval, PingTimeout: p.timeout,
			}); err != nil {
				t.Fatal(err)
			}
			return r
		},
	}
	for _, item := range []string{
		"NlsSpeechRecognizer.start.ping_interval", "NlsSpeechTranscriber.start.ping_interval",
		"NlsSpeechSynthesizer.start.ping_interval", "NlsCommonProto.start.ping_interval",
	} {
		t.Run(item, func(t *testing.T) {
			gate := nlstest.Options{}
			if classOf(item) == "NlsSpeechSynthesizer" { // which would be done at once
				gate.Fault = faultAlways("hang@on-start")
			}
			for _, c := range []struct {
				interval time.Duration
				want     int // pings in a minute and a bit
			}{
				{0, 7}, {20 * time.Second, 3}, {-1, 0},
			} {
				onWire(t, gate, func(t *testing.T, w *wire) {
					s := open[classOf(item)](t, clientOf(t, w.Server), ping{interval: c.interval})
					defer s.Shutdown()
					time.Sleep(61 * time.Second)
					if got := w.Stats().Pings; got != c.want {
						t.Errorf("PingInterval %v: %d pings, want %d", c.interval, got, c.want)
					}
				})
			}
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.start.ping_timeout", "NlsSpeechTranscriber.start.ping_timeout",
		"NlsSpeechSynthesizer.start.ping_timeout", "NlsCommonProto.start.ping_timeout",
	} {
		t.Run(item, func(t *testing.T) {
			gate := nlstest.Options{Fault: faultAlways("nopong@before-start")}
			if classOf(item) == "NlsSpeechSynthesizer" {
				gate.Fault = faultAlways("halfopen@on-start")
			}
			onWire(t, gate, func(t *testing.T, w *wire) {
				s := open[classOf(item)](t, clientOf(t, w.Server), ping{})
				time.Sleep(time.Minute)
				if err := s.Err(); err != nil {
					t.Errorf("without PingTimeout: %v", err)
				}
				s.Shutdown()
				<-s.Done()
			})
			onWire(t, gate, func(t *testing.T, w *wire) {
				s := open[classOf(item)](t, clientOf(t, w.Server), ping{timeout: 5 * time.Second})
				begin := time.Now()
				<-s.Done()
				if got := time.Since(begin); got != 13*time.Second || !errors.Is(s.Err(), nls.ErrPingTimeout) {
					t.Errorf("ended after %v with %v", got, s.Err())
				}
			})
		})
	}
}

// seen is one call of a callback.
type seen struct {
	name    string // as Python has it
	message string
	data    []byte
	args    []any
}

// calls are the calls of one session.
type calls []seen

func (c calls) of(name string) calls {
	return slices.DeleteFunc(slices.Clone(c), func(s seen) bool { return s.name != name })
}

// record runs one session of each class, and one of each that fails.
func record(t *testing.T, class string, fail bool) (all calls) {
	t.Helper()
	opts := nlstest.Options{}
	if fail {
		opts.Fault = faultAlways("taskfailed@on-start,code=50000000,only")
	}
	args := []any{"thread0", 7}
	note := func(name string, e nls.Event) { all = append(all, seen{name: name, message: e.String(), args: e.Args}) }
	event := func(name string) func(*nls.Event) { return func(e *nls.Event) { note(name, *e) } }
	result := func(name string) func(*nls.RecognitionResult) {
		return func(e *nls.RecognitionResult) { note(name, e.Event) }
	}
	sentence := func(name string) func(*nls.Sentence) { return func(e *nls.Sentence) { note(name, e.Event) } }
	onError := func(e *nls.ErrorEvent) { note("on_error", e.Event) }
	onClose := func(e *nls.CloseEvent) { all = append(all, seen{name: "on_close", args: e.Args}) }
	onData := func(e nls.AudioEvent) { all = append(all, seen{name: "on_data", data: e.Data, args: e.Args}) }

	onWire(t, opts, func(t *testing.T, w *wire) {
		client, ctx := clientOf(t, w.Server), t.Context()
		var err error
		switch class {
		case "NlsSpeechRecognizer":
			r := client.NewRecognizer(nls.RecognizerHandlers{
				OnStart: event("on_start"), OnResultChanged: result("on_result_changed"),
				OnCompleted: result("on_completed"),
				OnError:     onError, OnClose: onClose, CallbackArgs: args,
			})
			if err = r.Start(ctx, nls.RecognitionParams{EnableIntermediateResult: true}); err == nil {
				err = errors.Join(r.SendAudio(speech("你好")), r.Stop(ctx))
			}
		case "NlsSpeechTranscriber":
			r := client.NewTranscriber(nls.TranscriberHandlers{
				OnStart: event("on_start"), OnSentenceBegin: sentence("on_sentence_begin"),
				OnSentenceEnd:   sentence("on_sentence_end"),
				OnResultChanged: sentence("on_result_changed"), OnCompleted: event("on_completed"),
				OnError: onError, OnClose: onClose, CallbackArgs: args,
			})
			if err = r.Start(ctx, nls.TranscriptionParams{EnableIntermediateResult: true}); err == nil {
				err = errors.Join(r.SendAudio(speech("你好")), r.Stop(ctx))
			}
		case "NlsSpeechSynthesizer":
			r := client.NewSynthesizer(nls.SynthesizerHandlers{
				OnMetaInfo: func(e *nls.MetaInfo) { note("on_metainfo", e.Event) }, OnData: onData,
				OnCompleted: event("on_completed"),
				OnError:     onError, OnClose: onClose, CallbackArgs: args,
			})
			err = r.Start(ctx, nls.SynthesisParams{Text: "你好", Voice: "siqi", Extra: map[string]any{"enable_subtitle": true}})
		case "NlsCommonProto":
			r := client.NewCommonProto("SpeechSynthesizer", nls.CommonHandlers{
				OnOpen:  func(e *nls.OpenEvent) { all = append(all, seen{name: "on_open", args: e.Args}) },
				OnError: onError, OnClose: onClose, OnData: onData,
				Events:       map[string]func(*nls.Event){"SynthesisCompleted": event("user_callback")},
				CallbackArgs: args,
			})
			if err = r.Start(ctx, "StartSynthesis", nls.CommonParams{
				Payload: map[string]any{"text": "你好"}, Final: []string{"SynthesisCompleted"},
			}); err == nil {
				err = r.Wait(ctx)
			}
		}
		if fail != (nls.StatusCode(err) == nls.StatusServerError) || !fail && err != nil {
			t.Fatalf("the session ended with %v", err)
		}
	})
	for _, s := range all {
		if !reflect.DeepEqual(s.args, args) {
			t.Errorf("%s has args %v, want %v", s.name, s.args, args)
		}
	}
	return all
}

func TestParityCallbacks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		item  string
		event string // header.name of its messages; "" if it has none
	}{
		{"NlsSpeechRecognizer.__init__.on_start", "RecognitionStarted"},
		{"NlsSpeechRecognizer.__init__.on_result_changed", "RecognitionResultChanged"},
		{"NlsSpeechRecognizer.__init__.on_completed", "RecognitionCompleted"},
		{"NlsSpeechRecognizer.__init__.on_error", "TaskFailed"},
		{"NlsSpeechRecognizer.__init__.on_close", ""},

		{"NlsSpeechTranscriber.__init__.on_start", "TranscriptionStarted"},
		{"NlsSpeechTranscriber.__init__.on_sentence_begin", "SentenceBegin"},
		{"NlsSpeechTranscriber.__init__.on_sentence_end", "SentenceEnd"},
		{"NlsSpeechTranscriber.__init__.on_result_changed", "TranscriptionResultChanged"},
		{"NlsSpeechTranscriber.__init__.on_completed", "TranscriptionCompleted"},
		{"NlsSpeechTranscriber.__init__.on_error", "TaskFailed"},
		{"NlsSpeechTranscriber.__init__.on_close", ""},

		{"NlsSpeechSynthesizer.__init__.on_metainfo", "MetaInfo"},
		{"NlsSpeechSynthesizer.__init__.on_data", ""},
		{"NlsSpeechSynthesizer.__init__.on_completed", "SynthesisCompleted"},
		{"NlsSpeechSynthesizer.__init__.on_error", "TaskFailed"},
		{"NlsSpeechSynthesizer.__init__.on_close", ""},

		{"NlsCommonProto.__init__.on_open", ""},
		{"NlsCommonProto.__init__.on_data", ""},
		{"NlsCommonProto.__init__.user_callback", "SynthesisCompleted"},
		{"NlsCommonProto.__init__.on_error", "TaskFailed"},
		{"NlsCommonProto.__init__.on_close", ""},
	} {
		t.Run(c.item, func(t *testing.T) {
			class, name, _ := strings.Cut(c.item, ".__init__.")
			all := record(t, class, name == "on_error")
			own := all.of(name)
			if len(own) == 0 {
				t.Fatalf("not called; %v", all)
			}
			for _, call := range own {
				if c.event != "" && !strings.Contains(call.message, `"`+c.event+`"`) {
					t.Errorf("called for %s", call.message)
				}
			}
			switch name {
			case "on_error", "on_start", "on_completed", "on_open":
				if len(own) != 1 {
					t.Errorf("called %d times", len(own))
				}
			case "on_close":
				if len(own) != 1 || all[len(all)-1].name != name {
					t.Errorf("not called once and last; %v", all)
				}
			}
			if name == "on_open" && all[0].name != name {
				t.Errorf("not called first; %v", all)
			}
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.__init__.callback_args", "NlsSpeechTranscriber.__init__.callback_args",
		"NlsSpeechSynthesizer.__init__.callback_args", "NlsCommonProto.__init__.callback_args",
	} {
		t.Run(item, func(t *testing.T) {
			record(t, classOf(item), false) // checks the args of every call
			record(t, classOf(item), true)
		})
	}
	t.Run("callback.args", func(t *testing.T) {
		for _, call := range record(t, "NlsSpeechTranscriber", false) {
			if len(call.args) != 2 || call.args[0] != "thread0" || call.args[1] != 7 {
				t.Errorf("%s has args %v", call.name, call.args)
			}
		}
	})
	t.Run("callback.message", func(t *testing.T) {
		for _, call := range record(t, "NlsSpeechRecognizer", false).of("on_completed") {
			var message struct {
				Header  struct{ Name string }
				Payload struct{ Result string }
			}
			if err := json.Unmarshal([]byte(call.message), &message); err != nil {
				t.Fatal(err)
			}
			if message.Header.Name != "RecognitionCompleted" || message.Payload.Result != "你好" {
				t.Errorf("the message is %s", call.message)
			}
		}
	})
	t.Run("callback.data", func(t *testing.T) {
		var got []byte
		for _, call := range record(t, "NlsSpeechSynthesizer", false).of("on_data") {
			got = append(got, call.data...)
		}
		if !bytes.Equal(got, speech("你好")) {
			t.Errorf("%d bytes, other ones than the gateway has made", len(got))
		}
	})
}

// task is an object of one of the classes, with what they have in common.
type task struct {
	start func(context.Context) error
	end   func(context.Context) error // Stop, or Wait where there is no Stop
	send  func([]byte) error          // SendAudio or SendBinary

	session
}

type session interface {
	Shutdown()
	Done() <-chan struct{}
	Err() error
}

// newTask returns a task of class. Its callbacks call order with their name.
func newTask(c *nls.Client, class string, order func(callback string)) task {
	event := func(name string) func(*nls.Event) { return func(*nls.Event) { order(name) } }
	onClose := func(*nls.CloseEvent) { order("OnClose") }
	switch class {
	case "NlsSpeechRecognizer":
		r := c.NewRecognizer(nls.RecognizerHandlers{
			OnStart: event("OnStart"), OnCompleted: func(*nls.RecognitionResult) { order("OnCompleted") },
			OnClose: onClose,
		})
		start := func(ctx context.Context) error { return r.Start(ctx, nls.RecognitionParams{}) }
		return task{start, r.Stop, r.SendAudio, r}
	case "NlsSpeechTranscriber":
		r := c.NewTranscriber(nls.TranscriberHandlers{
			OnStart: event("OnStart"), OnCompleted: event("OnCompleted"), OnClose: onClose,
		})
		start := func(ctx context.Context) error { return r.Start(ctx, nls.TranscriptionParams{}) }
		return task{start, r.Stop, r.SendAudio, r}
	case "NlsSpeechSynthesizer":
		r := c.NewSynthesizer(nls.SynthesizerHandlers{OnCompleted: event("OnCompleted"), OnClose: onClose})
		start := func(ctx context.Context) error { return r.Start(ctx, nls.SynthesisParams{Text: "你好"}) }
		return task{start, r.Wait, nil, r}
	case "NlsCommonProto":
		r := c.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{
			OnOpen: func(*nls.OpenEvent) { order("OnOpen") }, OnClose: onClose,
			Events: map[string]func(*nls.Event){"RecognitionCompleted": event("OnCompleted")},
		})
		start := func(ctx context.Context) error { return r.Start(ctx, "StartRecognition", nls.CommonParams{}) }
		return task{start, r.Wait, r.SendBinary, r}
	}
	panic("no class " + class)
}

func TestParityMethods(t *testing.T) {
	t.Parallel()
	ignore := func(string) {}
	type rows []struct {
		item string
		want []string
	}

	for _, c := range (rows{
		{"NlsSpeechRecognizer", []string{"SpeechRecognizer.StartRecognition", "SpeechRecognizer.StopRecognition"}},
		{"NlsSpeechTranscriber", []string{"SpeechTranscriber.StartTranscription",
			"SpeechTranscriber.StopTranscription"}},
		{"NlsSpeechSynthesizer", []string{"SpeechSynthesizer.StartSynthesis"}},
		{"NlsCommonProto", []string{"SpeechRecognizer.StartRecognition"}},
	}) {
		t.Run(c.item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				object := newTask(clientOf(t, w.Server), c.item, ignore)
				for range 2 { // one object, one session after the other
					if err := object.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					if object.send != nil {
						synctest.Wait() // for Started
						if err := object.send(speech("你好")); err != nil {
							t.Fatal(err)
						}
					}
					if c.item == "NlsCommonProto" {
						object.Shutdown()
						<-object.Done()
					} else if err := object.end(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				var got []string
				for _, d := range w.directives(t) {
					got = append(got, fmt.Sprintf("%v.%v", d.Header["namespace"], d.Header["name"]))
				}
				if want := append(c.want, c.want...); !slices.Equal(got, want) {
					t.Errorf("sent %v, want %v", got, want)
				}
			})
		})
	}

	for _, c := range (rows{ // what has returned when start or stop returns
		{"NlsSpeechRecognizer.start", []string{"OnStart"}},
		{"NlsSpeechTranscriber.start", []string{"OnStart"}},
		{"NlsSpeechSynthesizer.start", []string{"OnCompleted", "OnClose"}},
		{"NlsCommonProto.start", []string{"OnOpen"}},
		{"NlsSpeechRecognizer.stop", []string{"OnStart", "OnCompleted", "OnClose"}},
		{"NlsSpeechTranscriber.stop", []string{"OnStart", "OnCompleted", "OnClose"}},
	}) {
		t.Run(c.item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				var returned []string
				object := newTask(clientOf(t, w.Server), classOf(c.item), func(callback string) {
					time.Sleep(time.Second)
					returned = append(returned, callback)
				})
				if err := object.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(c.item, ".stop") {
					if err := errors.Join(object.send(speech("你好")), object.end(t.Context())); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(returned, c.want) {
					t.Errorf("%v have returned, want %v", returned, c.want)
				}
				object.Shutdown()
				<-object.Done()
			})
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.start.return", "NlsSpeechTranscriber.start.return",
		"NlsSpeechSynthesizer.start.return", "NlsCommonProto.start.return",
	} {
		t.Run(item, func(t *testing.T) {
			refuse := faultAlways("refuse@handshake,code=503")
			onWire(t, nlstest.Options{Fault: refuse}, func(t *testing.T, w *wire) {
				err := newTask(clientOf(t, w.Server), classOf(item), ignore).start(t.Context())
				if e, ok := errors.AsType[*nls.HandshakeError](err); !ok || e.HTTPStatus != 503 || !nls.Retryable(err) {
					t.Errorf("start: %v", err)
				}
			})
		})
	}
	for _, item := range []string{"NlsSpeechRecognizer.stop.return", "NlsSpeechTranscriber.stop.return"} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{Fault: faultAlways("taskfailed@on-stop,code=50000000,only")}, func(t *testing.T, w *wire) {
				object := newTask(clientOf(t, w.Server), classOf(item), ignore)
				if err := object.end(t.Context()); !errors.Is(err, nls.ErrNotStarted) {
					t.Errorf("before start: %v", err)
				}
				if err := object.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				err := object.end(t.Context())
				if nls.StatusCode(err) != nls.StatusServerError || nls.TaskID(err) == "" {
					t.Errorf("stop: %v", err)
				}
			})
		})
	}

	for _, item := range []string{
		"NlsSpeechRecognizer.shutdown", "NlsSpeechTranscriber.shutdown", "NlsSpeechSynthesizer.shutdown",
		"NlsCommonProto.shutdown",
	} {
		t.Run(item, func(t *testing.T) {
			hang := faultAlways("hang@on-start")
			onWire(t, nlstest.Options{Fault: hang}, func(t *testing.T, w *wire) {
				object := newTask(clientOf(t, w.Server), classOf(item), ignore)
				object.Shutdown() // no session: nothing happens
				ended := make(chan error)
				go func() {
					if err := object.start(t.Context()); err != nil {
						ended <- err
					} else { // CommonProto does not wait for an answer
						ended <- object.end(t.Context())
					}
				}()
				synctest.Wait()
				for range 3 {
					object.Shutdown()
				}
				if err := <-ended; !errors.Is(err, nls.ErrShutdown) {
					t.Errorf("the session ended with %v", err)
				}
			})
		})
	}

	// What the sender may do with its buffer, and what it learns.
	for _, item := range []string{
		"NlsSpeechRecognizer.send_audio", "NlsSpeechTranscriber.send_audio", "NlsCommonProto.send_binary",
		"NlsSpeechRecognizer.send_audio.pcm_data", "NlsSpeechTranscriber.send_audio.pcm_data",
		"NlsCommonProto.send_binary.pcm_data",
		"NlsSpeechRecognizer.send_audio.return", "NlsSpeechTranscriber.send_audio.return",
		"NlsCommonProto.send_binary.return",
	} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				object := newTask(clientOf(t, w.Server), classOf(item), ignore)
				buf := []byte{1, 2, 3, 4}
				if err := object.send(buf); !errors.Is(err, nls.ErrNotStarted) {
					t.Errorf("before start: %v", err)
				}
				if err := object.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for range 2 {
					if err := object.send(buf); err != nil {
						t.Error(err)
					}
					clear(buf)
				}
				synctest.Wait()
				if got := w.received(true); !reflect.DeepEqual(got, [][]byte{{1, 2, 3, 4}, {0, 0, 0, 0}}) {
					t.Errorf("%v arrived", got)
				}
				object.Shutdown()
				if err := object.send(buf); !errors.Is(err, nls.ErrShutdown) {
					t.Errorf("after shutdown: %v", err)
				}
				<-object.Done()
			})
		})
	}

	for _, item := range []string{"NlsSpeechTranscriber.ctrl", "NlsSpeechTranscriber.ctrl.ex",
		"NlsSpeechTranscriber.ctrl.return"} {
		t.Run(item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				r := clientOf(t, w.Server).NewTranscriber(nls.TranscriberHandlers{})
				ex := map[string]any{"test": "tttt"}
				if err := r.Ctrl(ex); !errors.Is(err, nls.ErrNotStarted) {
					t.Errorf("before Start: %v", err)
				}
				if err := r.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(r.Ctrl(ex), r.Stop(t.Context())); err != nil {
					t.Error(err)
				}
				if d := w.directive(t, "ControlTranscriber"); !reflect.DeepEqual(d.Payload, ex) {
					t.Errorf("sent %v", d.Payload)
				}
			})
		})
	}

	sdk := map[string]any{"sdk": map[string]any{"name": "nlsgo", "version": nls.Version, "language": "go"}}
	for _, c := range []struct {
		item             string
		payload, context map[string]any
		want             directive
	}{
		{"NlsCommonProto.send_text.payload", nil, nil, directive{Payload: map[string]any{}, Context: sdk}},
		{"NlsCommonProto.send_text.payload", map[string]any{"a": "b"}, nil,
			directive{Payload: map[string]any{"a": "b"}, Context: sdk}},
		{"NlsCommonProto.send_text.context", nil, map[string]any{},
			directive{Payload: map[string]any{}, Context: map[string]any{}}},
		{"NlsCommonProto.send_text.name", nil, nil, directive{Payload: map[string]any{}, Context: sdk}},
		{"NlsCommonProto.send_text", nil, nil, directive{Payload: map[string]any{}, Context: sdk}},
		{"NlsCommonProto.send_text.return", nil, nil, directive{Payload: map[string]any{}, Context: sdk}},
	} {
		t.Run(c.item, func(t *testing.T) {
			onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
				p := clientOf(t, w.Server).NewCommonProto("SpeechTranscriber", nls.CommonHandlers{})
				if err := p.SendText("ControlTranscriber", c.payload, c.context); !errors.Is(err, nls.ErrNotStarted) {
					t.Errorf("before Start: %v", err)
				}
				if err := p.Start(t.Context(), "StartTranscription",
					nls.CommonParams{Started: []string{"TranscriptionStarted"}}); err != nil {
					t.Fatal(err)
				}
				if err := p.SendText("ControlTranscriber", c.payload, c.context); err != nil {
					t.Error(err)
				}
				if err := p.SendText("", nil, nil); !errors.Is(err, nls.ErrInvalidParameter) {
					t.Errorf("without a name: %v", err)
				}
				synctest.Wait()
				got := w.directive(t, "ControlTranscriber")
				if got.Header["namespace"] != "SpeechTranscriber" ||
					!reflect.DeepEqual(got.Payload, c.want.Payload) || !reflect.DeepEqual(got.Context, c.want.Context) {
					t.Errorf("sent %v", got)
				}
				p.Shutdown()
				<-p.Done()
			})
		})
	}
}

func TestParityGetToken(t *testing.T) {
	t.Parallel()
	t.Run("nls.token.getToken", func(t *testing.T) {
		onWire(t, nlstest.Options{}, func(t *testing.T, w *wire) {
			token, err := nls.GetToken(t.Context(), w.AccessKey(), w.Config().TokenOptions)
			if err != nil {
				t.Fatal(err)
			}
			if !token.Valid(time.Hour) {
				t.Errorf("the token is good until %v", token.Expiry)
			}
			c := clientOf(t, w.Server, func(cfg *nls.Config) { cfg.Token = token.Value })
			if err := start(t.Context(), c, nls.RecognitionParams{}); err != nil {
				t.Error(err)
			}
		})
	})
}

// EnableTrace writes to standard error, so this test looks at a process of its
// own.
func TestParityEnableTrace(t *testing.T) {
	const inProcess = "NLS_TEST_ENABLE_TRACE"
	if on := os.Getenv(inProcess); on != "" {
		nls.EnableTrace(on == "true")
		server := nlstest.NewServer(nlstest.Options{})
		defer server.Close()
		if err := newTranscriberSubject(clientOf(t, server)).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.Short() {
		t.Skip("runs processes")
	}
	t.Run("nls.enableTrace", func(t *testing.T) {
		for _, on := range []bool{true, false} {
			cmd := exec.Command(os.Args[0], "-test.run=^TestParityEnableTrace$")
			cmd.Env = append(os.Environ(), inProcess+"="+strconv.FormatBool(on), "GORACE=atexit_sleep_ms=0") // the race detector would sleep a second
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Run(); err != nil {
				t.Fatal(err, stderr.String())
			}
			if printed := stderr.String(); strings.Contains(printed, "StartTranscription") != on || !on && printed != "" {
				t.Errorf("enabled: %v, and on standard error is %q", on, printed)
			}
		}
	})
}
