package suite

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

var continuousSeeds = flag.Int("continuous-seeds", 20, "ways to break the connections of a continuous transcription")

// counted16k is audio in which each sample of sentence n is n, and silence is 0. So a
// recognition of it knows each sample that it has heard, and which it has not.
type counted16k struct {
	pcm  []byte
	want []heardSentence
}

// heardSentence is what is heard of one.
type heardSentence struct {
	text       string
	begin, end time.Duration
}

const sampleRate16k = 16000

func (c *counted16k) add(value int, d time.Duration) {
	for range d * sampleRate16k / time.Second {
		c.pcm = binary.LittleEndian.AppendUint16(c.pcm, uint16(value))
	}
}

// newCounted makes n sentences of half a second to three, with pauses between them.
func newCounted(rng *rand.Rand, n int) *counted16k {
	c := &counted16k{}
	at := time.Duration(0)
	silence := func(d time.Duration) {
		c.add(0, d)
		at += d
	}
	for i := range n {
		silence(time.Duration(400+rng.IntN(1000)) * time.Millisecond)
		d := time.Duration(500+rng.IntN(2500)) * time.Millisecond
		c.add(i+1, d)
		c.want = append(c.want, heardSentence{countedText(i+1, int(d*sampleRate16k/time.Second)), at, at + d})
		at += d
	}
	silence(500 * time.Millisecond)
	return c
}

func countedText(value, samples int) string { return fmt.Sprintf("%d of %d samples", value, samples) }

// countingEngine hears such audio.
type countingEngine struct{ nlstest.Engine }

func (countingEngine) Recognize(context.Context, int) (nlstest.Recognition, error) {
	return &counting{}, nil
}

// counting is one recognition. A sentence ends after 200 ms of silence.
type counting struct {
	at, begin, end int // samples
	value, n       int
	odd            []byte
}

func (c *counting) time(samples int) time.Duration {
	return time.Duration(samples) * time.Second / sampleRate16k
}

func (c *counting) final() nlstest.Hypothesis {
	h := nlstest.Hypothesis{
		Text: countedText(c.value, c.n), Begin: c.time(c.begin), End: c.time(c.end), Final: true, Confidence: 1,
		Words: []nls.Word{{Text: fmt.Sprint(c.value), Start: c.time(c.begin), End: c.time(c.end)}},
	}
	c.value, c.n = 0, 0
	return h
}

func (c *counting) Write(pcm []byte) (hs []nlstest.Hypothesis, err error) {
	pcm = append(c.odd, pcm...)
	for ; len(pcm) >= 2; pcm = pcm[2:] {
		v := int(binary.LittleEndian.Uint16(pcm))
		if c.value != 0 && (v != 0 && v != c.value || v == 0 && c.at-c.end >= sampleRate16k/5) {
			hs = append(hs, c.final())
		}
		if v != 0 {
			if c.value == 0 {
				c.value, c.begin = v, c.at
				hs = append(hs, nlstest.Hypothesis{Begin: c.time(c.at), End: c.time(c.at)})
			}
			if c.n++; c.n%sampleRate16k == 0 {
				hs = append(hs, nlstest.Hypothesis{Text: "so far", Begin: c.time(c.begin), End: c.time(c.at)})
			}
			c.end = c.at + 1
		}
		c.at++
	}
	c.odd = append([]byte(nil), pcm...)
	return hs, nil
}

func (c *counting) Finish() ([]nlstest.Hypothesis, error) {
	if c.value == 0 {
		return nil, nil
	}
	return []nlstest.Hypothesis{c.final()}, nil
}

// witness hears the callbacks of a ContinuousTranscriber and holds them to their
// story.
type witness struct {
	mu            sync.Mutex
	problems      []string
	story         []string // but for sentences
	ends          []*nls.Sentence
	interruptions []nls.Interruption
	begun, ended  int  // indices
	apart         bool // there is an interruption
	starts        int
	over          bool
	errs          []error
	onEnd         func(*nls.Sentence)
}

func (w *witness) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *witness) handlers() nls.ContinuousHandlers {
	note := func(name string) {
		if w.over {
			w.problem("%s after OnClose", name)
		}
		w.story = append(w.story, name)
	}
	sentence := func(name string, f func(*nls.Sentence)) func(*nls.Sentence) {
		return func(s *nls.Sentence) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.over || w.apart || w.starts != 1 {
				w.problem("%s of %d: over %v, interrupted %v, started %d times", name, s.Index, w.over, w.apart, w.starts)
			}
			f(s)
		}
	}
	return nls.ContinuousHandlers{
		OnStart: func(*nls.Event) { w.mu.Lock(); defer w.mu.Unlock(); note("start"); w.starts++ },
		OnSentenceBegin: sentence("begin", func(s *nls.Sentence) {
			if s.Index != w.begun+1 || w.begun != w.ended || s.Final {
				w.problem("begin of %d after begin of %d and end of %d", s.Index, w.begun, w.ended)
			}
			w.begun = s.Index
		}),
		OnResultChanged: sentence("change", func(s *nls.Sentence) {
			if s.Index != w.begun || w.begun == w.ended || s.Final {
				w.problem("change of %d after begin of %d and end of %d", s.Index, w.begun, w.ended)
			}
		}),
		OnSentenceEnd: sentence("end", func(s *nls.Sentence) {
			if s.Index != w.begun || s.Index != w.ended+1 || !s.Final {
				w.problem("end of %d after begin of %d and end of %d", s.Index, w.begun, w.ended)
			}
			w.ended = s.Index
			w.ends = append(w.ends, s)
			if w.onEnd != nil {
				w.onEnd(s)
			}
		}),
		OnInterrupted: func(i *nls.Interruption) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.apart {
				w.problem("interrupted twice")
			}
			note("interrupted")
			w.apart = true
			w.interruptions = append(w.interruptions, *i)
		},
		OnResumed: func(*nls.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !w.apart {
				w.problem("resumed without an interruption")
			}
			note("resumed")
			w.apart = false
		},
		OnCompleted: func(*nls.Event) { w.mu.Lock(); defer w.mu.Unlock(); note("completed") },
		OnError: func(e *nls.ErrorEvent) {
			w.mu.Lock()
			defer w.mu.Unlock()
			note("error")
			w.errs = append(w.errs, e.Err)
		},
		OnClose: func(e *nls.CloseEvent) { w.mu.Lock(); defer w.mu.Unlock(); note("close"); w.over = true },
	}
}

// mustHave checks that all sentences came, and their times.
func (w *witness) mustHave(t *testing.T, want []heardSentence) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.problems {
		t.Error(p)
	}
	for i, s := range w.ends {
		if i >= len(want) {
			t.Errorf("sentence %d too many: %q", i+1, s.Text)
			break
		}
		near := func(got, want time.Duration) bool { return (got - want).Abs() <= 20*time.Millisecond }
		if s.Text != want[i].text || !near(s.Begin, want[i].begin) || s.Time < want[i].end-20*time.Millisecond ||
			len(s.Words) != 1 || !near(s.Words[0].Start, want[i].begin) || !near(s.Words[0].End, want[i].end) {
			t.Fatalf("sentence %d is %q from %v to %v, words %v, want %+v", i+1, s.Text, s.Begin, s.Time, s.Words, want[i])
		}
	}
	if len(w.ends) < len(want) {
		t.Errorf("%d sentences of %d", len(w.ends), len(want))
	}
}

// play sends audio at speed times its pace, in chunks of 100 ms.
func play(ct *nls.ContinuousTranscriber, pcm []byte, speed float64) error {
	const chunk = sampleRate16k / 5
	for len(pcm) > 0 {
		n := min(chunk, len(pcm))
		if err := ct.SendAudio(pcm[:n]); err != nil {
			return err
		}
		pcm = pcm[n:]
		time.Sleep(time.Duration(float64(100*time.Millisecond) / speed))
	}
	return nil
}

var continuousParams = nls.TranscriptionParams{
	EnableIntermediateResult: true, EnableWords: true, EnablePunctuationPrediction: true,
	PingInterval: 4 * time.Second, PingTimeout: 2 * time.Second,
}

// endings are the faults that end a session and that may be gone the next time.
func endings() []string {
	var all []string
	for _, do := range []string{"reset", "eof", "truncated", "close", "close,code=1001", "taskfailed", "taskfailed,code=40000005", "taskfailed,code=40000004", "early", "halfopen"} {
		action, options, _ := strings.Cut(do, ",")
		for _, at := range []string{"before-start", "on-start", "after-start", "during-audio", "during-events", "on-stop"} {
			name := action + "@" + at
			if options != "" {
				name += "," + options
			}
			if _, err := nlstest.ParseFault(name); err == nil {
				all = append(all, name)
			}
		}
	}
	for _, code := range []int{408, 429, 500, 503} {
		all = append(all, fmt.Sprintf("refuse@handshake,code=%d", code))
	}
	return append(all, "reset@handshake", "eof@handshake")
}

// Speech goes over connections that break, each in its own way at its own time, and
// every sentence comes once, whole, in order and with its times.
func TestNoWordIsLostAndNoneComesTwice(t *testing.T) {
	faults := endings()
	for seed := range *continuousSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 16))
			speech := newCounted(rng, 60)
			connection := 0
			opts := nlstest.Options{Engine: countingEngine{}, Fault: func(*http.Request) *nlstest.Fault {
				connection++
				if connection == 1 || rng.IntN(5) == 0 { // Start tries nothing again
					return nil
				}
				name := faults[(seed*7+connection)%len(faults)]
				if strings.Contains(name, "during") {
					name += fmt.Sprintf(",after=%d", rng.IntN(100))
				}
				fault, err := nlstest.ParseFault(name)
				if err != nil {
					t.Error(err)
				}
				return fault
			}}
			synctest.Test(t, func(t *testing.T) {
				opts.Pipe = true
				server := nlstest.NewServer(opts)
				defer server.Close()
				client := clientOf(t, server, func(cfg *nls.Config) {
					dial := cfg.NetDialContext
					cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := dial(ctx, network, addr)
						if err == nil {
							time.AfterFunc(time.Duration(rng.IntN(10000))*time.Millisecond, func() { c.Close() })
						}
						return c, err
					}
				})
				var w witness
				ct := client.NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{GiveUpAfter: time.Hour, CatchUp: 4})
				for ct.Start(t.Context(), continuousParams) != nil {
				}
				if err := play(ct, speech.pcm, 1); err != nil {
					t.Fatal(err)
				}
				if err := ct.Stop(t.Context()); err != nil {
					t.Errorf("Stop = %v", err)
				}
				w.mustHave(t, speech.want)
				if len(w.interruptions) < 5 {
					t.Errorf("%d interruptions", len(w.interruptions))
				}
				synctest.Wait()
				if n, stacks := goroutinesOfSessions(); n != 0 {
					t.Errorf("%d goroutines left:\n%s", n, stacks)
				}
			})
		})
	}
}

var _ = errors.Is
var _ = runtime.GC
