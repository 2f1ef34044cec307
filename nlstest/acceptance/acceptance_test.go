package acceptance

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(scratch.Tests{M: m}) }

// service starts a local one.
func service(t *testing.T, opts nlstest.Options) nls.Config {
	t.Helper()
	s := nlstest.NewServer(opts)
	t.Cleanup(s.Close)
	return s.Config()
}

func mustRun(t *testing.T, o Options) *Report {
	t.Helper()
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func table(r *Report) string {
	var b bytes.Buffer
	r.WriteTo(&b)
	return b.String()
}

func TestARunTriesEveryProductAndAnswersQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := service(t, nlstest.Options{Pipe: true, IdleTimeout: time.Second})
		cfg.Token = "" // created with the access key
		var told []string
		r := mustRun(t, Options{Config: cfg, Progress: func(c Check) { told = append(told, c.Name) }})
		if err := r.Err(); err != nil {
			t.Errorf("%v\n%s", err, table(r))
		}
		want := []string{"token", "connection", "AppKey", "SpeechSynthesizer", "SpeechRecognizer", "SpeechTranscriber",
			"FlowingSpeechSynthesizer", "SpeechLongSynthesizer", "SpeechRecognizer as CommonProto"}
		if !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
		text := table(r)
		for _, want := range []string{
			cfg.URL, "good for 24h", "first audio", "first result", "completed after stop", "bytes in pieces of",
			" 1. When", "after 1s TaskFailed 40000004", `code 1000 ""`,
			" 2. How is a handshake without a token refused?", "Missing authorization header!", "The token '" + strings.Repeat("0", 32) + "' is invalid!",
			" 4. Has RecognitionStarted a payload?\n     none", " 5. Do pings", "a ping each 4 s: after ",
			" 7. What becomes", "SynthesisCompleted", " 8. What sizes", "RIFF ", "10. Does ControlTranscriber have a reply?\n     none",
			"10. Is an upper-case format taken?\n     TaskFailed 41010100", "10. Is an unknown key in the payload taken?\n     TranscriptionStarted",
			"11. What does a Start without appkey get?\n     TaskFailed 40000002", "11. And one with an upper-case message_id?\n     TaskFailed 40000002",
			"11. How long does a token live?",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		for _, secret := range []string{cfg.AccessKeySecret, cfg.AccessKeyID} {
			if strings.Contains(text, secret) {
				t.Errorf("the report has %s", secret)
			}
		}
	})
}

func TestTheWayToTheServiceIsMeasuredStepByStep(t *testing.T) {
	r := newRun(service(t, nlstest.Options{TLS: true, ReplyDelay: -1}))
	if err := r.connect(nil); err != nil {
		t.Fatal(err)
	}
	r.way(t.Context())
	if err := r.report.Err(); err != nil {
		t.Error(err)
	}
	text := table(&r.report)
	if !regexp.MustCompile(`connection .*TCP to 127\.0\.0\.1:\d+ \S+, TLS \S+, upgrade \S+\n`).MatchString(text) {
		t.Error(text)
	}
}

func TestARunFailsWhenOneProductFails(t *testing.T) {
	effort.Long(t)
	for _, product := range []string{"SpeechSynthesizer", "SpeechRecognizer", "SpeechTranscriber", "FlowingSpeechSynthesizer", "SpeechLongSynthesizer"} {
		t.Run(product, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := service(t, nlstest.Options{Pipe: true, TaskFault: func(task nlstest.Task) *nlstest.Fault {
					if task.Namespace != product {
						return nil
					}
					return &nlstest.Fault{At: nlstest.OnStart, Do: nlstest.TaskFailed, Code: nls.StatusTrialExpired}
				}})
				r := mustRun(t, Options{Config: cfg, Quick: true})
				if err := r.Err(); err == nil || !strings.Contains(err.Error(), product) {
					t.Errorf("%v\n%s", err, table(r))
				}
				if text := table(r); !strings.Contains(text, "upgrade it to commercial use") {
					t.Error(text)
				}
			})
		})
	}
}

func TestARunAgainstNothingFails(t *testing.T) {
	s := nlstest.NewServer(nlstest.Options{})
	cfg := s.Config()
	s.Close() // nobody listens there any more
	r := mustRun(t, Options{Config: cfg, Quick: true})
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "connection, AppKey, SpeechSynthesizer") {
		t.Errorf("%v\n%s", err, table(r))
	}
	if text := table(r); !strings.Contains(text, "firewalls") || !strings.Contains(text, "refused") {
		t.Error(text)
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("a Config without AppKey is tried")
	}
}

func TestWhatARunHasRecordedIsATest(t *testing.T) {
	effort.Long(t)
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "run")
		cfg := service(t, nlstest.Options{Pipe: true})
		r := mustRun(t, Options{Config: cfg, Dir: dir, Quick: true})
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		if err := Verify(t.Context(), dir); err != nil {
			t.Errorf("unchanged: %v", err)
		}
		path := filepath.Join(dir, recordingFile)
		recording, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(recording, []byte(cfg.Token)) {
			t.Error("the recording has the token")
		}
		for name, change := range map[string][2]string{
			"a final text": {`北京的天气。`, `北京的夭气。`},
			"a time":       {`\"begin_time\":0`, `\"begin_time\":1`},
			"a name":       {`SentenceBegin`, `SentenceBegun`},
		} {
			if !bytes.Contains(recording, []byte(change[0])) {
				t.Errorf("%s: nothing to change", name)
				continue
			}
			if err := os.WriteFile(path, bytes.ReplaceAll(recording, []byte(change[0]), []byte(change[1])), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "event ") {
				t.Errorf("%s is changed: %v", name, err)
			}
		}
	})
}
