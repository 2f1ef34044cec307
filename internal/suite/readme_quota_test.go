package suite

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// limitsTable are the rows of the table of products in a README, by the first name of
// Go in it.
func limitsTable(t *testing.T, readme string) map[string][]string {
	t.Helper()
	rows := map[string][]string{}
	_, text, ok := strings.Cut(readFile(t, readme), "<!-- limits -->\n")
	if !ok {
		t.Fatalf("%s has no table of limits", readme)
	}
	text, _, _ = strings.Cut(text, "<!-- end -->")
	for _, row := range tableRows(text)[1:] {
		rows[regexp.MustCompile("`([^`]+)`").FindStringSubmatch(row[1])[1]] = row
	}
	return rows
}

// The numbers of sessions in the READMEs are those that the gateway admits.
func TestREADMEHasTheQuotas(t *testing.T) {
	t.Parallel()
	effort.Long(t)
	namespaces := map[string]string{
		"Recognizer": "SpeechRecognizer", "Transcriber": "SpeechTranscriber", "Synthesizer": "SpeechSynthesizer",
		"SynthesisParams.LongText": "SpeechLongSynthesizer", "StreamSynthesizer": "FlowingSpeechSynthesizer",
	}
	for column, trial := range map[int]bool{2: true, 3: false} {
		admitted := map[string]int{}
		for name := range namespaces {
			admitted[name] = quotaOf(t, name, trial)
		}
		for _, readme := range readmes {
			rows := limitsTable(t, readme)
			for name, n := range admitted {
				if said, err := strconv.Atoi(rows[name][column]); err != nil || said != n {
					t.Errorf("%s: %s: %q sessions, trial %v; the gateway admits %d", readme, name, rows[name][column], trial, n)
				}
			}
		}
	}
}

// quotaOf is how many sessions of a product the gateway admits.
func quotaOf(t *testing.T, name string, trial bool) (n int) {
	synctest.Test(t, func(t *testing.T) {
		// Sessions that go on for as long as the test wants.
		server := nlstest.NewServer(nlstest.Options{Pipe: true, Trial: trial, IdleTimeout: -1, Engine: held{nlstest.Loopback()}})
		defer server.Close()
		client := clientOf(t, server)
		var open []object
		for ; n < 300; n++ {
			var o object
			var err error
			switch name {
			case "Recognizer":
				r := client.NewRecognizer(nls.RecognizerHandlers{})
				o, err = r, r.Start(t.Context(), nls.RecognitionParams{})
			case "Transcriber":
				r := client.NewTranscriber(nls.TranscriberHandlers{})
				o, err = r, r.Start(t.Context(), nls.TranscriptionParams{})
			case "StreamSynthesizer":
				r := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{})
				o, err = r, r.Start(t.Context(), nls.StreamSynthesisParams{})
			default:
				r := client.NewSynthesizer(nls.SynthesizerHandlers{})
				o, err = r, r.Start(t.Context(), nls.SynthesisParams{Text: "好", NoWait: true, LongText: name != "Synthesizer"})
				synctest.Wait()
				if err == nil {
					err = r.Err()
				}
			}
			open = append(open, o)
			if err != nil {
				break
			}
		}
		for _, o := range open {
			o.Shutdown()
			<-o.Done()
		}
	})
	return n
}

// held is an Engine that never finishes to speak.
type held struct{ nlstest.Engine }

func (held) Synthesize(ctx context.Context, _ string, _ nlstest.Voice, _ func([]byte, []nls.Subtitle) error) error {
	<-ctx.Done()
	return ctx.Err()
}
