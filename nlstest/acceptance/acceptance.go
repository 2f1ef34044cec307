// Package acceptance tries a whole service, real or local, through the SDK: the
// way to it, a token, and every product. It measures what it sees, answers what it can of
// the questions that only a run with an account can answer, and keeps a recording
// that is a test from then on.
//
//	report, err := acceptance.Run(ctx, acceptance.Options{Config: nls.ConfigFromEnv()})
//	report.WriteTo(os.Stdout)
//
// A run speaks and recognises a sentence of a few characters some ten times, takes
// less than a minute, and costs what that costs with the account.
package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// DefaultText is what is spoken, and understood.
const DefaultText = "北京的天气。"

// Options says what to try.
type Options struct {
	// Config names the service and the account. The run uses Record and Trace itself.
	Config nls.Config

	// Dir is where report.json and recording.jsonl are left, for Verify. It is made
	// if it is not there; "" leaves nothing.
	Dir string

	// Progress is called with each Check when it is done, if not nil, from the
	// goroutine of Run.
	Progress func(Check)

	// Quick leaves out what has to wait for the service to lose patience, half a
	// minute.
	Quick bool
}

// Report is what a run has found.
type Report struct {
	URL     string // of the gateway, without query; "" if none was reached
	Text    string // what was spoken
	Started time.Time
	Checks  []Check
	Answers []Answer
}

// Check is one step: the way to the service, a token, a product.
type Check struct {
	Name     string
	Took     time.Duration
	Measured string   // such as "started 61ms, first audio 220ms"
	Events   []string // of a product, in order, without IDs
	Skipped  string   // why it was not tried
	Err      string   // why it failed
	Advice   string   // what to do about it
}

// Answer is what was seen of a question that documents leave open. Number is that
// of the question in docs/protocol.md §14.
type Answer struct {
	Number         int
	Question, Seen string
}

// Err is nil if every Check that was not skipped has passed. It names those that
// have not.
func (r *Report) Err() error {
	var failed []string
	for _, c := range r.Checks {
		if c.Err != "" {
			failed = append(failed, c.Name)
		}
	}
	if failed == nil {
		return nil
	}
	return fmt.Errorf("acceptance: failed: %s", strings.Join(failed, ", "))
}

// WriteTo writes the report as tables to read.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, %s\n\n", r.URL, r.Started.Format(time.DateTime))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		switch {
		case c.Skipped != "":
			fmt.Fprintf(t, "skipped\t%s\t\t%s\n", c.Name, c.Skipped)
		case c.Err != "":
			fmt.Fprintf(t, "FAILED\t%s\t%v\t%s\n", c.Name, c.Took.Round(time.Millisecond), strings.TrimPrefix(c.Err, "nls: "))
			if c.Advice != "" {
				fmt.Fprintf(t, "\t\t\t%s\n", c.Advice)
			}
		default:
			fmt.Fprintf(t, "ok\t%s\t%v\t%s\n", c.Name, c.Took.Round(time.Millisecond), c.Measured)
		}
	}
	t.Flush()
	for i, a := range r.Answers {
		if i == 0 {
			b.WriteString("\nWhat documents leave open (docs/protocol.md §14):\n")
		}
		fmt.Fprintf(&b, "%3d. %s\n     %s\n", a.Number, a.Question, a.Seen)
	}
	return b.WriteTo(w)
}

// The files in Options.Dir.
const (
	reportFile    = "report.json"
	recordingFile = "recording.jsonl"
)

// Run tries the service that o.Config names. The error is about o alone; what the
// service did is in the Report.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := newRun(o.Config)
	r.progress = o.Progress
	var recording *os.File
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("acceptance: %w", err)
		}
		var err error
		if recording, err = os.OpenFile(filepath.Join(o.Dir, recordingFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return nil, fmt.Errorf("acceptance: %w", err)
		}
		defer recording.Close()
	}
	if err := r.connect(recording); err != nil {
		return nil, err
	}
	r.way(ctx)
	r.products(ctx)
	r.questions(ctx, o.Quick)
	if o.Dir == "" {
		return &r.report, nil
	}
	b, err := json.MarshalIndent(&r.report, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, reportFile), b, 0o600)
	}
	if err == nil {
		err = recording.Close()
	}
	if err != nil {
		return &r.report, fmt.Errorf("acceptance: %w", err)
	}
	return &r.report, nil
}

// Verify replays what a Run has left in dir, and returns an error that says where
// the SDK sees other events than then, or sends something else.
func Verify(ctx context.Context, dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		return fmt.Errorf("acceptance: %w", err)
	}
	var want Report
	if err := json.Unmarshal(b, &want); err != nil {
		return fmt.Errorf("acceptance: %s: %w", reportFile, err)
	}
	recording, err := os.Open(filepath.Join(dir, recordingFile))
	if err != nil {
		return fmt.Errorf("acceptance: %w", err)
	}
	defer recording.Close()
	gateway, err := nlstest.Replay(recording, nlstest.ReplayOptions{Pipe: true, AtOnce: true})
	if err != nil {
		return fmt.Errorf("acceptance: %w", err)
	}
	defer gateway.Close()
	r := newRun(gateway.Config())
	if err := r.connect(nil); err != nil {
		return err
	}
	r.report.Text = want.Text
	r.products(ctx)
	var errs []error
	for _, got := range r.report.Checks {
		for _, c := range want.Checks {
			if c.Name == got.Name {
				if err := compare(c, got); err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	for _, d := range gateway.Departures() {
		errs = append(errs, fmt.Errorf("acceptance: %s", d))
	}
	return errors.Join(errs...)
}

// compare says where the events of a product differ.
func compare(want, got Check) error {
	for i := range max(len(want.Events), len(got.Events)) {
		var a, b string
		if i < len(want.Events) {
			a = want.Events[i]
		}
		if i < len(got.Events) {
			b = got.Events[i]
		}
		if a != b {
			return fmt.Errorf("acceptance: %s: event %d is %q, and was %q", want.Name, i+1, b, a)
		}
	}
	return nil
}

// run is the state of a Run.
type run struct {
	cfg      nls.Config
	client   *nls.Client // of the products
	silent   *nls.Client // the same, without recording
	report   Report
	progress func(Check)
	audio    []byte // what was synthesised, 16 kHz PCM

	mu  sync.Mutex // the hooks of Trace come from other goroutines
	url string
}

func newRun(cfg nls.Config) *run {
	return &run{cfg: cfg, report: Report{Text: DefaultText, Started: time.Now()}}
}

// connect makes the Client, which records into w if it is not nil.
func (r *run) connect(w *os.File) error {
	r.cfg.Record = nil
	r.cfg.Trace = &nls.Trace{DialStart: func(d nls.TraceDial) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.url = d.URL
	}}
	var err error
	if r.silent, err = nls.NewClient(r.cfg); err != nil {
		return err
	}
	cfg := r.cfg
	if w != nil {
		cfg.Record, cfg.RecordAudio = w, true
	}
	r.client, err = nls.NewClient(cfg)
	return err
}

// gateway is the URL that was dialled last.
func (r *run) gateway() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.url
}

// check runs one step and reports it.
func (r *run) check(name string, step func(c *Check) error) {
	c := Check{Name: name}
	begin := time.Now()
	err := step(&c)
	c.Took = time.Since(begin)
	if err != nil {
		c.Err, c.Advice = err.Error(), advice(err)
	}
	r.report.Checks = append(r.report.Checks, c)
	if r.progress != nil {
		r.progress(c)
	}
}
