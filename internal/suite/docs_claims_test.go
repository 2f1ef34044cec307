package suite

import (
	"fmt"
	"go/build"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// What somebody new asks is answered by the README, or one link further: by the words
// that they find there.
func TestNewcomersFindAnswers(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	for _, q := range []struct{ question, document, words string }{
		{"where is a ping sent?", "docs/architecture.md", "| a ping is sent, a pong awaited | `internal/session/ping.go`"},
		{"what happens to an unknown event?", "docs/architecture.md", "| an unknown event | `internal/session/receive.go`"},
		{"what does a user see of an unknown event?", "docs/troubleshooting.md", "**An event that the SDK does not know.**"},
		{"how do I add a region?", "CONTRIBUTING.md", "| a region | `regions`"},
		{"how do I add a fault to the gateway?", "CONTRIBUTING.md", "| a fault | an action or point"},
		{"why did a task end with 40000004?", "docs/troubleshooting.md", "| 40000004 | `StatusIdleTimeout`"},
		{"how do I test my back end?", "docs/testing.md", "nlstest.New(t, nlstest.Options{})"},
		{"how do I write an Engine?", "docs/testing.md", "](../nlstest/example_engine_test.go)"},
		{"how do I run it without an account?", "README.md", "go run ./examples/transcriber"},
		{"how do I transcribe a file of an hour?", "README.md", "[a file, now](docs/guide.md#recorded-files)"},
		{"how do I survive a token's expiry?", "README.md", "renewed in time"},
		{"how do I limit sessions over processes?", "docs/deploy.md", "[contrib/redis](../contrib/redis)"},
		{"how do I see metrics?", "docs/deploy.md", "## Seeing it"},
		{"what may a callback do?", "docs/guide.md", "| A callback may |"},
	} {
		if q.document != "README.md" && !slices.ContainsFunc(docs["README.md"].links(), func(link string) bool {
			file, _, _ := strings.Cut(link, "#")
			return file == q.document
		}) {
			t.Errorf("%s README.md does not link to %s", q.question, q.document)
		}
		if !strings.Contains(docs[q.document].text, q.words) {
			t.Errorf("%s %s does not say %q", q.question, q.document, q.words)
		}
	}
}

// Newcomers read to the end of a README of this length.
func TestREADMEIsShort(t *testing.T) {
	t.Parallel()
	for _, readme := range readmes {
		if n := strings.Count(readFile(t, readme), "\n"); n > 253 {
			t.Errorf("%s has %d lines", readme, n)
		}
	}
}

// In the diagram of docs/architecture.md are all packages that others import, and each
// imports only what is below it.
func TestArchitectureIsThatOfTheImports(t *testing.T) {
	t.Parallel()
	const module = "github.com/nlsgo/nls"
	_, diagram, _ := strings.Cut(readFile(t, "docs/architecture.md"), "```text\n")
	diagram, _, _ = strings.Cut(diagram, "```")
	place := map[string]int{}
	var packages []string
	for line := range strings.Lines(diagram) {
		if m := regexp.MustCompile(`^[ │├└─]+((?:nls|nlstest|internal)\b[\w/]*)  `).FindStringSubmatch(line); m != nil {
			name := strings.TrimSuffix(module+"/"+m[1], "/nls")
			place[name] = len(packages)
			packages = append(packages, name)
		}
	}
	if len(packages) < 15 {
		t.Fatalf("only %d packages found: %v", len(packages), packages)
	}
	for i, name := range packages {
		pkg, err := build.ImportDir(root+strings.TrimPrefix(strings.TrimPrefix(name, module), "/"), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, other := range pkg.Imports {
			if other != module && !strings.HasPrefix(other, module+"/") {
				continue
			}
			if j, ok := place[other]; !ok || j <= i {
				t.Errorf("%s imports %s, which is not below it", name, other)
			}
		}
	}
}

// The scripts that CONTRIBUTING.md names are there.
func TestContributingNamesTheScripts(t *testing.T) {
	t.Parallel()
	for _, name := range regexp.MustCompile("`(\\.ci/\\w+)`").FindAllStringSubmatch(readFile(t, "CONTRIBUTING.md"), -1) {
		if _, err := os.Stat(root + name[1]); err != nil {
			t.Error(err)
		}
	}
}

// The rest of the numbers that documents have from constants.
func TestDocumentsHaveTheNumbersOfConstants(t *testing.T) {
	t.Parallel()
	flash := constant(t, "flash.go", "maxFlashFile")
	early := constant(t, "token.go", "tokenEarly")
	skew := constant(t, "nlstest/createtoken.go", "maxClockSkew")
	slowest := constant(t, "filetask.go", "fileMaxPause")
	if early != 5 || slowest != 30 {
		t.Errorf("the guides say that tokens are renewed five minutes early, not %d, and that WaitFile pauses for half a minute, not %d s", early, slowest)
	}
	for _, said := range []struct{ document, english, chinese string }{
		{"README", fmt.Sprint("| ", flash, " MB, 2 hours |"), fmt.Sprint("| ", flash, " MB，2 小时 |")},
		{"docs/guide", "five minutes before it expires", "过期前五分钟续期"},
		{"docs/guide", "half a\nminute later", "逐渐加长到半分钟"},
		{"docs/deploy", fmt.Sprint("within ", skew, " minutes"), fmt.Sprint("不能超过 ", skew, " 分钟")},
		{"docs/troubleshooting", fmt.Sprint("more than ", skew, " minutes"), fmt.Sprint("超过 ", skew, " 分钟")},
	} {
		for file, words := range map[string]string{said.document + ".md": said.english, said.document + ".zh-CN.md": said.chinese} {
			if !strings.Contains(readFile(t, file), words) {
				t.Errorf("%s does not say %q", file, words)
			}
		}
	}
}

// How many files at a time the READMEs allow is what the gateway admits.
func TestREADMEHasTheQuotaOfRecordedFiles(t *testing.T) {
	t.Parallel()
	const files = 20
	refused := 0
	synctest.Test(t, func(t *testing.T) {
		slow := func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			http.ServeFile(w, r, root+"testdata/hello.wav")
		}
		server := nlstest.NewServer(nlstest.Options{Pipe: true, Files: http.HandlerFunc(slow)})
		defer server.Close()
		client := clientOf(t, server)
		results := make(chan error)
		for range files {
			go func() {
				_, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: "https://files.example/hello.wav"})
				results <- err
			}()
		}
		for range files {
			switch err := <-results; {
			case nls.StatusCode(err) == nls.StatusTooManyRequests:
				refused++
			case err != nil:
				t.Error(err)
			}
		}
	})
	for _, readme := range readmes {
		said := limitsTable(t, readme)["Client.RecognizeFile"][3]
		if said != strconv.Itoa(files-refused) {
			t.Errorf("%s: %s files at a time; the gateway admits %d", readme, said, files-refused)
		}
	}
}

// Readers of godoc have no sections of docs/protocol.md to look up.
func TestPublicDocumentationCitesNoSections(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"testdata/api/nls.txt", "testdata/api/nlstest.txt"} {
		if i := strings.Index(readFile(t, name), "§"); i >= 0 {
			t.Errorf("%s cites a section: ...%q", name, readFile(t, name)[max(0, i-40):i+8])
		}
	}
}

// docs/guide.md says that an example is one file, but for captions and fleet.
func TestExamplesAreOneFileEach(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob(root + "examples/*/*")
	if err != nil || len(sources) < 10 {
		t.Fatalf("%d files, %v", len(sources), err)
	}
	for _, source := range sources {
		example, file := filepath.Base(filepath.Dir(source)), filepath.Base(source)
		if file != "main.go" && !strings.HasSuffix(file, "_test.go") && example != "captions" && example != "fleet" {
			t.Errorf("examples/%s has a %s", example, file)
		}
	}
}
