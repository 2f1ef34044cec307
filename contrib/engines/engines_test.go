package engines

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// recordings are real speech: Debian's pocketsphinx-testdata.
const recordings = "/usr/share/pocketsphinx/test/data/librivox"

// recording is a WAV file and what is said in it.
type recording struct{ file, text string }

// needRecognition skips a test where there is no pocketsphinx.
func needRecognition(t *testing.T, e *Engine) {
	t.Helper()
	for _, p := range e.Parts() {
		if p.Name == "English recognition" && p.Uses == "" {
			t.Skip("no recognition here: ", p.Install)
		}
	}
}

func readRecordings(t *testing.T) (all []recording) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "transcription"))
	if err != nil {
		t.Skip("no recordings here: apt-get install pocketsphinx-testdata")
	}
	for line := range strings.Lines(string(data)) { // <s> he was </s> (name)
		text, name, _ := strings.Cut(line, "</s> (")
		all = append(all, recording{
			filepath.Join(recordings, strings.TrimRight(name, ")\n")+".wav"),
			strings.TrimSpace(strings.TrimPrefix(text, "<s>")),
		})
	}
	return all
}

func client(t *testing.T, e nlstest.Engine) *nls.Client {
	t.Helper()
	server := nlstest.NewServer(nlstest.Options{Engine: e})
	t.Cleanup(server.Close)
	c, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// distance is how many words have to be changed, left out and put in to make a of b.
func distance(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func TestMostWordsOfRealRecordingsAreUnderstood(t *testing.T) {
	e := New(Options{})
	needRecognition(t, e)
	c := client(t, e)
	wrong, total, played := 0, 0, time.Duration(0)
	begin := time.Now()
	for _, r := range readRecordings(t) {
		file, err := os.Open(r.file)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var text strings.Builder
		var end time.Duration
		partial := 0
		for s, err := range c.Transcribe(t.Context(), file, nls.TranscriptionParams{EnableWords: true, EnableIntermediateResult: true}, nls.PumpOptions{Speed: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			if !s.Final {
				partial++
				continue
			}
			text.WriteString(s.Text + " ")
			if len(s.Words) != len(strings.Fields(s.Text)) {
				t.Errorf("%d words in %q", len(s.Words), s.Text)
			}
			for _, w := range s.Words {
				if w.Start < end || w.End <= w.Start || w.End > s.Time+time.Second {
					t.Errorf("%q from %v to %v, after %v, in a sentence up to %v", w.Text, w.Start, w.End, end, s.Time)
				}
				end = w.End
			}
		}
		want := strings.Fields(r.text)
		d := distance(strings.Fields(text.String()), want)
		t.Logf("%d of %d words wrong, %d partial results: %q", d, len(want), partial, text.String())
		if partial < 3 {
			t.Errorf("%d partial results", partial)
		}
		wrong, total = wrong+d, total+len(want)
		info, _ := file.Stat()
		played += time.Duration(info.Size()) * time.Second / 32000
	}
	rate := 100 * wrong / total
	took := time.Since(begin)
	t.Logf("word error rate: %d %%; %.2f of real time", rate, took.Seconds()/played.Seconds())
	if rate > 40 {
		t.Errorf("%d of %d words are wrong", wrong, total)
	}
}

var _ = context.Background
