package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/nlsgo/nls"
)

// The programs that the tests run.
var (
	gatewayProgram = flag.String("gateway", "", "`program` nlsgateway")
	goProgram      = flag.String("goclient", "", "`program` goclient")
)

// What the audio of testdata says.
const (
	testText = "你好，世界。Hello, Go! 🎙"
	testPCM  = "../../testdata/test1.pcm"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *gatewayProgram == "" || *goProgram == "" {
		fmt.Println("interop: the script run builds what these tests need and runs them")
		os.Exit(1)
	}
	code := m.Run()
	results.print(os.Stdout)
	os.Exit(code)
}

// gateway is a running nlsgateway.
type gateway struct {
	URL     string `json:"url"`
	AppKey  string `json:"appkey"`
	Token   string `json:"token"`
	CAFile  string `json:"ca_file"`
	process *exec.Cmd
}

// startGateway starts nlsgateway as a process of its own, which must end well when
// the test does.
func startGateway(t *testing.T, flags ...string) *gateway {
	t.Helper()
	g := &gateway{process: exec.Command(*gatewayProgram, flags...)}
	g.process.Stderr = os.Stderr
	stdout, err := g.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.process.Process.Signal(syscall.SIGTERM)
		if err := g.process.Wait(); err != nil {
			t.Errorf("nlsgateway: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, g); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return g
}

// client returns a Client of our SDK for g.
func (g *gateway) client(t *testing.T, url string) *nls.Client {
	t.Helper()
	c, err := nls.NewClient(nls.Config{URL: url, AppKey: g.AppKey, Token: g.Token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// job is what a client process does. The clients read it as JSON.
type job struct {
	Product, URL, Token, AppKey string

	Audio   string         // file to send
	Chunk   int            // bytes in a message
	Control map[string]any // parameters to change in the middle of the audio
	Stop    map[string]any // payload of Stop, where the SDK has it
	Text    string         // to speak
	Out     string         // file for the audio received
	Params  map[string]any // of the Start, over the defaults of the SDK
}

// report is one thing that a client process says.
type report struct {
	Name    string // of a callback or event, in the words of goclient
	Message string
}

// event is an event as a client hands it to its user.
type event struct {
	Header struct {
		Namespace, Name string
		Status          int
		StatusText      string `json:"status_text"`
		TaskID          string `json:"task_id"`
	}
	Payload struct {
		Index, Duration, Time int
		BeginTime             int `json:"begin_time"`
		Result                string
		Words                 []struct{ Text string }
		Subtitles             []struct {
			Text       string
			BeginTime  int `json:"begin_time"`
			EndTime    int `json:"end_time"`
			BeginIndex int `json:"begin_index"`
			EndIndex   int `json:"end_index"`
			Sentence   bool
		}
	}
}

func (r report) event(t *testing.T) (e event) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.Message), &e); err != nil {
		t.Fatalf("%s: %v: %s", r.Name, err, r.Message)
	}
	return e
}

// official are the official SDKs that run here.
var official = []struct {
	name    string
	command []string
	env     string // names the file with the authorities to trust
}{
	{"Go SDK 1.1.1", nil, "SSL_CERT_FILE"},
	{"Node SDK 1.0.4", []string{"node", "node/client.js"}, "NODE_EXTRA_CA_CERTS"},
}

// runClient runs the official SDK number i in a process of its own. An exit status
// other than 0 is a failure: the Go SDK ends the process over what it does not expect.
func runClient(t *testing.T, i int, j job, env ...string) []report {
	t.Helper()
	command := official[i].command
	if command == nil {
		command = []string{*goProgram}
	}
	if j.Chunk == 0 {
		j.Chunk = 3200
	}
	argument, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], append(slices.Clone(command[1:]), string(argument))...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), env...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reports []report
	for dec := json.NewDecoder(stdout); ; {
		var r report
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Errorf("stdout of the client: %v", err)
			break
		}
		reports = append(reports, r)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the client ended with %v\n%s", err, stderr.String())
	}
	return reports
}

// named returns the reports of one name.
func named(reports []report, name string) (some []report) {
	for _, r := range reports {
		if r.Name == name {
			some = append(some, r)
		}
	}
	return some
}

// order is the names of reports, those that come several times in a row once.
func order(reports []report) string {
	var names []string
	for _, r := range reports {
		if len(names) == 0 || names[len(names)-1] != r.Name {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, " ")
}

// table is the result of each client and product.
type table struct {
	mu   sync.Mutex
	rows []*row
}

type row struct{ client, product, result string }

var results table

// record enters the result of t into the table when t ends; note is what was seen
// if t passes.
func (tab *table) record(t *testing.T, client, product, note string) {
	r := &row{client, product, note}
	tab.mu.Lock()
	tab.rows = append(tab.rows, r)
	tab.mu.Unlock()
	t.Cleanup(func() {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		switch {
		case t.Failed():
			r.result = "FAILED"
		case t.Skipped():
			r.result = "skipped"
		}
	})
}

func (tab *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nCLIENT\tPRODUCT\tRESULT")
	slices.SortStableFunc(tab.rows, func(a, b *row) int { return strings.Compare(a.client, b.client) })
	for _, r := range tab.rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", r.client, r.product, r.result)
	}
	tw.Flush()
}

// tempFile is the name of a file that does not exist yet.
func tempFile(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
