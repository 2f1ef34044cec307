package suite

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

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
	sample := binary.LittleEndian.AppendUint16(nil, uint16(value))
	c.pcm = append(c.pcm, bytes.Repeat(sample, int(d*sampleRate16k/time.Second))...)
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

func (countingEngine) Recognize(_ context.Context, q nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	return &counting{silence: int(q.MaxSilence * sampleRate16k / time.Second)}, nil
}

// counting is one recognition.
type counting struct {
	silence        int // samples that end a sentence
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
		if c.value != 0 && (v != 0 && v != c.value || v == 0 && c.at-c.end >= c.silence) {
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

func (c *counting) Close() error { return nil }

// lateEngine hears it a second later, as services do: when the end of a sentence is
// told the next has begun.
type lateEngine struct{ countingEngine }

func (lateEngine) Recognize(_ context.Context, q nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	return &late{counting: counting{silence: int(q.MaxSilence * sampleRate16k / time.Second)}}, nil
}

type late struct {
	counting
	held []byte
}

func (l *late) Write(pcm []byte) ([]nlstest.Hypothesis, error) {
	l.held = append(l.held, pcm...)
	n := max(0, len(l.held)-2*sampleRate16k)
	hs, err := l.counting.Write(l.held[:n])
	l.held = append([]byte(nil), l.held[n:]...)
	return hs, err
}

func (l *late) Finish() ([]nlstest.Hypothesis, error) {
	hs, err := l.counting.Write(l.held)
	if err != nil {
		return hs, err
	}
	rest, err := l.counting.Finish()
	return append(hs, rest...), err
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
	failed        *nls.ErrorEvent
	closed        *nls.CloseEvent
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
			w.errs, w.failed = append(w.errs, e.Err), e
		},
		OnClose: func(e *nls.CloseEvent) {
			w.mu.Lock()
			defer w.mu.Unlock()
			note("close")
			w.over, w.closed = true, e
		},
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
	EnableInverseTextNormalization: true, MaxSentenceSilence: 200 * time.Millisecond,
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
	const enough = 20 // to meet every fault
	seeds := effort.Times(enough, 3)
	faults := endings()
	var mu sync.Mutex
	met := map[string]bool{}
	t.Cleanup(func() {
		for _, name := range faults {
			if seeds == enough && !met[name] && !t.Failed() {
				t.Errorf("no connection met %s", name)
			}
		}
	})
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if seed == 0 { // the longest
				effort.Thorough(t)
			}
			endsInRealTime(t)
			rng := rand.New(rand.NewPCG(uint64(seed), 16))
			sentences, breaks, longest, catchUp := 60, 20, 10*time.Second, 4.0
			if seed == 0 { // ten minutes of speech
				sentences, breaks, longest, catchUp = 230, 200, 5*time.Second, 8
			}
			speech := newCounted(rng, sentences)
			connection := 0
			opts := nlstest.Options{Engine: []nlstest.Engine{countingEngine{}, lateEngine{}}[seed%2], Fault: func(*http.Request) *nlstest.Fault {
				connection++
				if connection == 1 || rng.IntN(5) == 0 { // Start tries nothing again
					return nil
				}
				name := faults[(seed*7+connection)%len(faults)]
				mu.Lock()
				met[name] = true
				mu.Unlock()
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
							time.AfterFunc(moment(rng, longest), func() { c.Close() })
						}
						return c, err
					}
				})
				var w witness
				ct := client.NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{GiveUpAfter: time.Hour, CatchUp: catchUp})
				for n, err := 0, errors.New(""); err != nil; n++ {
					if err = ct.Start(t.Context(), continuousParams); n > 100 {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour) // of some minutes of speech
				defer cancel()
				defer ct.Bind(ctx)()
				if err := play(ct, speech.pcm, 1); err != nil {
					t.Fatal(err)
				}
				if err := ct.Stop(ctx); err != nil {
					t.Errorf("Stop = %v", err)
				}
				w.mustHave(t, speech.want)
				if connection < breaks || len(w.interruptions) < breaks/4 {
					t.Errorf("%d connections, %d interruptions", connection, len(w.interruptions))
				}
				synctest.Wait()
				mustHaveNoGoroutine(t)
			})
		})
	}
}

// endsInRealTime ends the tests, and names t, if t takes a minute: of a loop in which
// no virtual time passes synctest never sees an end.
func endsInRealTime(t *testing.T) {
	limit := time.Duration(effort.Times(300, 60)) * time.Second
	timer := time.AfterFunc(limit, func() {
		panic(fmt.Sprintf("%s has not ended after %v: there is a loop without an end", t.Name(), limit))
	})
	t.Cleanup(func() { timer.Stop() })
}

// moment is a moment before limit.
func moment(rng *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(limit)))
}

// inContinuous runs f in a bubble with a server that hears counted audio.
func inContinuous(t *testing.T, opts nlstest.Options, f func(t *testing.T, server *nlstest.Server)) {
	t.Helper()
	endsInRealTime(t)
	synctest.Test(t, func(t *testing.T) {
		opts.Pipe, opts.Engine = true, cmp.Or(opts.Engine, nlstest.Engine(countingEngine{}))
		server := nlstest.NewServer(opts)
		defer server.Close()
		f(t, server)
		synctest.Wait()
		mustHaveNoGoroutine(t)
	})
}

// The same over TCP and a proxy that cuts connections every 0.2 to 0.7 s, at twenty
// times the speed of speech.
func TestNoWordIsLostOnRealSockets(t *testing.T) {
	effort.Thorough(t)
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{Engine: countingEngine{}})
	defer server.Close()
	rng := rand.New(rand.NewPCG(3, 16))
	speech := newCounted(rng, 20)
	var cuts atomic.Int64
	client := clientOf(t, server, func(cfg *nls.Config) {
		target := strings.TrimPrefix(strings.TrimSuffix(cfg.URL, "/ws/v1"), "ws://")
		addr := cuttingProxy(t, target, func() time.Duration { cuts.Add(1); return time.Duration(200+rand.IntN(500)) * time.Millisecond })
		cfg.URL = "ws://" + addr + "/ws/v1"
	})
	var w witness
	ct := client.NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{CatchUp: 40})
	for ct.Start(t.Context(), continuousParams) != nil {
	}
	if err := play(ct, speech.pcm, 20); err != nil {
		t.Fatal(err)
	}
	if err := ct.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
	w.mustHave(t, speech.want)
	if n := cuts.Load(); n < 4 {
		t.Errorf("%d connections", n)
	}
}

// cuttingProxy is the address of a TCP proxy to target whose connections are cut after
// life.
func cuttingProxy(t *testing.T, target string, life func() time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			cut := func() { c.Close(); far.Close() }
			time.AfterFunc(life(), cut)
			wg.Go(func() { _, _ = io.Copy(far, c); cut() })
			wg.Go(func() { _, _ = io.Copy(c, far); cut() })
		}
	})
	return l.Addr().String()
}

// Short sentences, thousands of them: memory stays bounded, times do not drift.
func TestThousandsOfSentences(t *testing.T) {
	sentences, each := effort.Times(3000, 600), 270*time.Millisecond
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(cfg *nls.Config) {
			dial := cfg.NetDialContext
			cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := dial(ctx, network, addr)
				if err == nil {
					time.AfterFunc(time.Minute, func() { c.Close() })
				}
				return c, err
			}
		})
		n, peak := 0, int64(0)
		var problem string
		ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{OnSentenceEnd: func(s *nls.Sentence) {
			begin := time.Duration(n) * each
			if n++; s.Index != n || (s.Begin-begin).Abs() > 20*time.Millisecond || s.Text != countedText(n%30_000+1, 400) {
				problem = fmt.Sprintf("sentence %d is %d at %v, %q", n, s.Index, s.Begin, s.Text)
			}
			if n%500 == 0 {
				peak = max(peak, heapInUse())
			}
		}}, nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		before := heapInUse()
		for i := range sentences {
			c := &counted16k{}
			c.add((i+1)%30_000+1, 25*time.Millisecond)
			c.add(0, each-25*time.Millisecond)
			if err := ct.SendAudio(c.pcm); err != nil {
				t.Fatal(err)
			}
			time.Sleep(each)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if n != sentences || problem != "" {
			t.Errorf("%d sentences; %s", n, problem)
		}
		if grown := peak - before; grown > 8<<20 {
			t.Errorf("%d KiB more in use", grown>>10)
		}
	})
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAMutedMicrophoneEndsNothing(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		speech := newCounted(rand.New(rand.NewPCG(1, 1)), 6)
		var w witness
		ct := clientOf(t, server).NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{FillSilence: true})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		task := ct.TaskID()
		begin := 0
		for i, muted := range []time.Duration{time.Minute, time.Duration(effort.Times(60, 4)) * time.Minute, 1500 * time.Millisecond} {
			end := speechCut(speech, 2*i+2)
			if err := play(ct, speech.pcm[begin:end], 1); err != nil {
				t.Fatal(err)
			}
			begin = end
			time.Sleep(muted)
		}
		if err := ct.Stop(t.Context()); err != nil || ct.TaskID() != task {
			t.Errorf("Stop = %v, sessions %s and %s", err, task, ct.TaskID())
		}
		w.mustHave(t, speech.want)
		if got := strings.Join(w.story, " "); got != "start completed close" || w.closed.Err != nil {
			t.Errorf("the story is %q, %+v", got, w.closed)
		}
	})
}

// speechCut is where in the audio of c the pause after n sentences is.
func speechCut(c *counted16k, n int) int {
	return int((c.want[n-1].end+100*time.Millisecond)*sampleRate16k/time.Second) * 2
}

// What a session has heard beyond the pause is heard by the next one, and told once.
func TestASessionGivesWayToTheNextInAPause(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{Engine: lateEngine{}}, func(t *testing.T, server *nlstest.Server) {
		speech := newCounted(rand.New(rand.NewPCG(2, 2)), 40)
		var w witness
		sessions := map[string]bool{}
		var ct *nls.ContinuousTranscriber
		w.onEnd = func(s *nls.Sentence) { sessions[s.TaskID] = true }
		ct = clientOf(t, server).NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{MaxSession: 3 * time.Second, CatchUp: 5})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		// Faster than speech, so that a session has had much of what the next one gets.
		if err := play(ct, speech.pcm, 5); err != nil {
			t.Fatal(err)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		w.mustHave(t, speech.want)
		if got := strings.Join(w.story, " "); got != "start completed close" || len(sessions) < 4 {
			t.Errorf("the story of %d sessions is %q", len(sessions), got)
		}
	})
}

func TestShutdownOfACompletedContinuousTranscriptionIsNoFailure(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var ct *nls.ContinuousTranscriber
		ct = clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{OnCompleted: func(*nls.Event) { ct.Shutdown() }}, nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		if err := ct.Stop(t.Context()); err != nil || ct.Err() != nil {
			t.Errorf("Stop = %v, Err = %v", err, ct.Err())
		}
	})
}

// gone is a gateway that is not there from some time on, for some time.
func gone(server *nlstest.Server, t *testing.T, from, until time.Duration, refusal string) *nls.Client {
	begin := time.Now()
	away := func() bool { d := time.Since(begin); return d >= from && d < until }
	return clientOf(t, server, func(cfg *nls.Config) {
		dial := cfg.NetDialContext
		cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if away() && refusal == "" {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			c, err := dial(ctx, network, addr)
			if err == nil && time.Since(begin) < from {
				time.AfterFunc(from-time.Since(begin), func() { c.Close() })
			}
			return c, err
		}
		if refusal != "" {
			cfg.URL += "?fault=" + refusal
		}
	})
}

func TestGivenUpAfterExactlyThatLong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		opts nls.ContinuousOptions
		want time.Duration
	}{
		{nls.ContinuousOptions{}, 2 * time.Minute},
		{nls.ContinuousOptions{GiveUpAfter: 17 * time.Second}, 17 * time.Second},
		{nls.ContinuousOptions{GiveUpAfter: time.Millisecond}, time.Millisecond},
	} {
		inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			const lost = 3 * time.Second
			var w witness
			ct := gone(server, t, lost, 24*time.Hour, "").NewContinuousTranscriber(w.handlers(), c.opts)
			begin := time.Now()
			if err := ct.Start(t.Context(), continuousParams); err != nil {
				t.Fatal(err)
			}
			var source sync.WaitGroup
			source.Go(func() {
				for ct.SendAudio(make([]byte, 3200)) == nil {
					time.Sleep(100 * time.Millisecond)
				}
			})
			<-ct.Done()
			if took := time.Since(begin); took != lost+c.want {
				t.Errorf("given up after %v, want %v", took-lost, c.want)
			}
			err := ct.Err()
			if !nls.Retryable(err) || len(w.errs) != 1 || w.errs[0] != err || ct.Stop(t.Context()) != err || ct.SendAudio(make([]byte, 2)) != err {
				t.Errorf("Err = %v, OnError %v", err, w.errs)
			}
			if got := strings.Join(w.story, " "); got != "start interrupted error close" {
				t.Errorf("the story is %q", got)
			}
			source.Wait()
		})
	}
}

func TestAnOutageIsSurvivedWithGrowingPauses(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		speech := newCounted(rand.New(rand.NewPCG(4, 4)), 30)
		begin := time.Now()
		var dials []time.Duration
		client := clientOf(t, server, func(cfg *nls.Config) {
			dial := cfg.NetDialContext
			cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				at := time.Since(begin)
				dials = append(dials, at)
				if at > 0 && at < 130*time.Second {
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
				}
				c, err := dial(ctx, network, addr)
				if err == nil && at == 0 {
					time.AfterFunc(10*time.Second, func() { c.Close() })
				}
				return c, err
			}
		})
		var w witness
		ct := client.NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{Buffer: 5 * time.Minute, GiveUpAfter: 3 * time.Minute})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		if err := play(ct, speech.pcm, 1); err != nil {
			t.Fatal(err)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		w.mustHave(t, speech.want)
		if len(dials) < 6 || len(dials) > 15 {
			t.Errorf("dials at %v", dials)
		}
		for i := 3; i < len(dials); i++ {
			if pause := dials[i] - dials[i-1]; pause > 30*time.Second || i < 6 && pause < (dials[i-1]-dials[i-2])/2 {
				t.Errorf("dials at %v", dials)
				break
			}
		}
	})
}

func TestWhatWillNotPassIsGivenUpAtOnce(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{Fault: faultAlways("taskfailed@during-audio,after=20,code=40000010,text=FREE_TRIAL_EXPIRED")}, func(t *testing.T, server *nlstest.Server) {
		var w witness
		ct := clientOf(t, server).NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		err := play(ct, make([]byte, 32000*5), 1)
		<-ct.Done()
		if nls.StatusCode(err) != nls.StatusTrialExpired || ct.Err() != err {
			t.Errorf("SendAudio = %v, Err = %v", err, ct.Err())
		}
		if got := strings.Join(w.story, " "); got != "start error close" {
			t.Errorf("the story is %q", got)
		}
		if w.failed.Status != nls.StatusTrialExpired || len(w.failed.Raw) == 0 || w.closed.Code != -1 || w.closed.Err != err || w.closed.TaskID != ct.TaskID() {
			t.Errorf("OnError had %v, OnClose %+v", w.failed, w.closed)
		}
	})
}

// While there is no session the buffer fills, and SendAudio waits; nothing is lost,
// however long it takes.
func TestSendAudioBlocksWhileTheBufferIsFull(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		speech := newCounted(rand.New(rand.NewPCG(7, 7)), 15)
		lost := speech.want[2].begin + 300*time.Millisecond // in the middle of a sentence
		var w witness
		ct := gone(server, t, lost, lost+time.Minute, "").NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{Buffer: 10 * time.Second, CatchUp: 50})
		begin := time.Now()
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		if err := play(ct, speech.pcm, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < speech.want[14].end+40*time.Second {
			t.Errorf("%v of audio were taken in %v, of which a minute without a session", speech.want[14].end, took)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		w.mustHave(t, speech.want)
	})
}

func TestShutdownOfAContinuousTranscriber(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]time.Duration{"with a session": time.Hour, "without one": time.Second} {
		inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			var w witness
			ct := gone(server, t, from, 2*time.Hour, "").NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{})
			if err := ct.Start(t.Context(), continuousParams); err != nil {
				t.Fatal(err)
			}
			if err := play(ct, make([]byte, 96000), 1); err != nil {
				t.Fatal(err)
			}
			ct.Shutdown()
			<-ct.Done()
			err := ct.Err()
			if !errors.Is(err, nls.ErrShutdown) || !strings.Contains(err.Error(), ct.TaskID()) || ct.SendAudio(make([]byte, 2)) != err {
				t.Errorf("%s: Err = %v", name, err)
			}
			if got := strings.Join(w.story, " "); !strings.HasSuffix(got, " close") || strings.Contains(got, "error") {
				t.Errorf("%s: the story is %q", name, got)
			}
		})
	}
}

// Attempts count from one since a session was of use.
func TestInterruptionsSayWhatIsTried(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lives    time.Duration // of a connection
		attempts string
	}{
		"sessions with results": {12 * time.Second, "1 1 1 1"},
		"sessions of no use":    {50 * time.Millisecond, "1 2 3 4"},
	} {
		inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			speech := newCounted(rand.New(rand.NewPCG(8, 8)), 40)
			client := clientOf(t, server, func(cfg *nls.Config) {
				dial := cfg.NetDialContext
				cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					time.AfterFunc(c.lives, func() { conn.Close() })
					return conn, err
				}
			})
			var w witness
			h := w.handlers()
			fourth, note := make(chan struct{}), h.OnInterrupted
			h.OnInterrupted = func(i *nls.Interruption) {
				if note(i); len(w.interruptions) == 4 {
					close(fourth)
				}
			}
			ct := client.NewContinuousTranscriber(h, nls.ContinuousOptions{GiveUpAfter: -1})
			if err := ct.Start(t.Context(), continuousParams); err != nil {
				t.Fatal(err)
			}
			var source sync.WaitGroup
			source.Go(func() { _ = play(ct, speech.pcm, 1) })
			<-fourth
			ct.Shutdown()
			<-ct.Done()
			source.Wait()
			got := ""
			for i, in := range w.interruptions[:4] {
				got += fmt.Sprint(" ", in.Attempt)
				longest := min(500*time.Millisecond<<(in.Attempt-1), 30*time.Second)
				if in.TaskID == "" || in.Wait < longest/2 || in.Wait > longest || !nls.Retryable(in.Err) || i > 0 && c.lives > time.Second && in.From <= w.interruptions[i-1].From {
					t.Errorf("%s: %+v", name, in)
				}
			}
			if got[1:] != c.attempts {
				t.Errorf("%s: attempts%s, want %s", name, got, c.attempts)
			}
		})
	}
}

// What has waited is sent at the speed of CatchUp, and what has not as it comes.
func TestWhatHasWaitedIsNotSentInABurst(t *testing.T) {
	t.Parallel()
	for _, catchUp := range []float64{0, 4} {
		var sent atomic.Int64
		opts := nlstest.Options{IdleTimeout: -1, OnFrame: func(f nlstest.Frame) {
			if !f.Sent && f.Binary {
				sent.Add(int64(len(f.Payload)))
			}
		}}
		inContinuous(t, opts, func(t *testing.T, server *nlstest.Server) {
			h := nls.ContinuousHandlers{}
			resumed := make(chan struct{})
			h.OnResumed = func(*nls.Event) { close(resumed) }
			ct := gone(server, t, time.Second, 40*time.Second, "").NewContinuousTranscriber(h, nls.ContinuousOptions{CatchUp: catchUp})
			if err := ct.Start(t.Context(), continuousParams); err != nil {
				t.Fatal(err)
			}
			if err := ct.SendAudio(make([]byte, 30*32000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			if n := sent.Load(); n != 30*32000 {
				t.Errorf("of 30 s of audio %d bytes were sent at once", n)
			}
			<-resumed
			before := sent.Load()
			time.Sleep(2 * time.Second)
			want := 2 * max(catchUp, 2)
			if got := float64(sent.Load()-before) / 32000; got < want-0.2 || got > want+0.2 {
				t.Errorf("CatchUp %v: %v s of audio in 2 s, want %v", catchUp, got, want)
			}
			time.Sleep(20 * time.Second)
			before = sent.Load()
			if err := ct.SendAudio(make([]byte, 20*32000)); err != nil {
				t.Fatal(err)
			}
			if synctest.Wait(); sent.Load()-before != 20*32000 {
				t.Errorf("CatchUp %v: of 20 s that come at once later %d bytes are sent", catchUp, sent.Load()-before)
			}
			ct.Shutdown()
			<-ct.Done()
		})
	}
}

// A pause without an end holds up nobody.
func TestSilenceFillsNoBuffer(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{Buffer: 20 * time.Second})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for range 6000 {
			sent := time.Now()
			if err := ct.SendAudio(make([]byte, 3200)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100*time.Millisecond - time.Since(sent))
		}
		if took := time.Since(begin); took > 10*time.Minute+time.Second {
			t.Errorf("ten minutes of silence took %v", took)
		}
		if err := ct.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACallbackOfAContinuousTranscriberHoldsUpNothing(t *testing.T) {
	t.Parallel()
	speech := newCounted(rand.New(rand.NewPCG(5, 5)), 20)
	for name, callback := range map[string]func(){
		"slow":  func() { time.Sleep(7 * time.Second) },
		"stuck": func() { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				w := witness{onEnd: func(*nls.Sentence) { callback() }}
				ct := gone(server, t, 20*time.Second, 21*time.Second, "").NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{})
				if err := ct.Start(t.Context(), continuousParams); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if err := play(ct, speech.pcm, 1); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > speech.want[19].end+2*time.Second {
					t.Errorf("SendAudio took %v for %v", took, speech.want[19].end)
				}
				if err := ct.Stop(t.Context()); err != nil {
					t.Error(err)
				}
				w.mustHave(t, speech.want)
			})
		})
	}
}

func TestACallbackThatExitsEndsAContinuousTranscription(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var closes []error
		ct := clientOf(t, server).NewContinuousTranscriber(nls.ContinuousHandlers{
			OnStart: func(*nls.Event) { runtime.Goexit() },
			OnError: func(*nls.ErrorEvent) { runtime.Goexit() },
			OnClose: func(e *nls.CloseEvent) { closes = append(closes, e.Err); runtime.Goexit() },
		}, nls.ContinuousOptions{})
		if err := ct.Start(t.Context(), continuousParams); err != nil {
			t.Fatal(err)
		}
		<-ct.Done()
		if err := ct.Err(); err == nil || len(closes) != 1 || closes[0] != err || !strings.Contains(err.Error(), "FailNow") {
			t.Errorf("Err = %v, OnClose %v", err, closes)
		}
	})
}

func TestTheEndOfAContextEndsAContinuousTranscription(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want error
		took time.Duration
	}{
		{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled, 0},
		{"in time", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 3*time.Second)
		}, nls.ErrStopTimeout, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				var w witness
				ct := gone(server, t, time.Second, time.Hour, "").NewContinuousTranscriber(w.handlers(), nls.ContinuousOptions{GiveUpAfter: -1})
				if err := ct.Start(t.Context(), continuousParams); err != nil {
					t.Fatal(err)
				}
				if err := play(ct, make([]byte, 64000), 1); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := c.ctx(t.Context())
				defer cancel()
				begin := time.Now()
				err := ct.Stop(ctx)
				if !errors.Is(err, c.want) || time.Since(begin) != c.took || ct.Err() != err {
					t.Errorf("Stop = %v after %v, Err = %v", err, time.Since(begin), ct.Err())
				}
				<-ct.Done()
				if got := strings.Join(w.story, " "); !strings.HasSuffix(got, "close") || strings.Count(got, "error") != 1 {
					t.Errorf("the story is %q", got)
				}
			})
		})
	}
}

func TestWhatAContinuousTranscriberRefuses(t *testing.T) {
	t.Parallel()
	inContinuous(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		for param, c := range map[string]struct {
			o nls.ContinuousOptions
			p nls.TranscriptionParams
		}{
			"Format":      {p: nls.TranscriptionParams{Format: nls.FormatOpus}},
			"SampleRate":  {p: nls.TranscriptionParams{SampleRate: 44100}},
			"Buffer":      {o: nls.ContinuousOptions{Buffer: -1}},
			"MaxSession":  {o: nls.ContinuousOptions{MaxSession: 8}},
			"GiveUpAfter": {o: nls.ContinuousOptions{GiveUpAfter: 8}},
			"CatchUp":     {o: nls.ContinuousOptions{CatchUp: 0.5}},
		} {
			ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{}, c.o)
			err := ct.Start(t.Context(), c.p)
			if e, ok := errors.AsType[*nls.ParamError](err); !ok || e.Param != param {
				t.Errorf("%s: %v", param, err)
			}
		}
		ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{}, nls.ContinuousOptions{})
		if err := ct.SendAudio(make([]byte, 2)); err != nls.ErrNotStarted {
			t.Errorf("SendAudio = %v", err)
		}
		if err := ct.Stop(t.Context()); err != nls.ErrNotStarted || ct.Err() != nil || ct.TaskID() != "" {
			t.Errorf("Stop = %v", err)
		}
		<-ct.Done()
		ct.Shutdown()
		for range 2 { // it may be started again
			if err := ct.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
				t.Fatal(err)
			}
			if err := ct.Start(t.Context(), nls.TranscriptionParams{}); err != nls.ErrAlreadyStarted {
				t.Errorf("a second Start = %v", err)
			}
			if err := ct.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := ct.SendAudio(make([]byte, 2)); err != nls.ErrCompleted {
				t.Errorf("SendAudio = %v", err)
			}
		}
	})
}

func TestTranscribeContinuouslyYieldsWhatTranscribeDoes(t *testing.T) {
	t.Parallel()
	finals := continuousParams
	finals.EnableIntermediateResult = false
	inContinuous(t, nlstest.Options{Fault: faultOnce("reset@during-audio,after=40")}, func(t *testing.T, server *nlstest.Server) {
		speech := newCounted(rand.New(rand.NewPCG(6, 6)), 8)
		client := clientOf(t, server)
		var got []string
		for s, err := range client.TranscribeContinuously(t.Context(), bytes.NewReader(speech.pcm), finals, nls.PumpOptions{}, nls.ContinuousOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.Text)
		}
		for i, s := range speech.want {
			if i >= len(got) || got[i] != s.text {
				t.Fatalf("heard %q", got)
			}
		}
		for range client.TranscribeContinuously(t.Context(), bytes.NewReader(speech.pcm), finals, nls.PumpOptions{}, nls.ContinuousOptions{}) {
			break
		}
	})
}
