package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// Text of any length, and text that is being written.

// protocol notes the directives of all connections, in order.
type protocol struct {
	mu    sync.Mutex
	texts []string
	raw   []string
}

func (p *protocol) onFrame(f nlstest.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Sent || f.Binary {
		return
	}
	var m struct{ Payload struct{ Text *string } }
	if _ = json.Unmarshal(f.Payload, &m); m.Payload.Text != nil {
		p.texts = append(p.texts, *m.Payload.Text)
	}
	p.raw = append(p.raw, string(f.Payload))
}

// pages are of a book, 20 of them.
func pages() string {
	var b strings.Builder
	for page := range effort.Times(20, 2) {
		fmt.Fprintf(&b, "第%d页。\n\n", page+1)
		for line := range 5 {
			fmt.Fprintf(&b, "“你是谁？”他问，“从哪里来……”——没有人回答（第%d行）。It is 3.14 o'clock, e.g. now! 家人👨‍👩‍👧和国旗🇨🇳都在。", line)
		}
		b.WriteString("没有标点的长句子" + strings.Repeat("一直说下去", 70) + "。\n")
	}
	return b.String()
}

func TestPagesComeBackCharacterForCharacter(t *testing.T) {
	t.Parallel()
	text := pages()
	var p protocol
	inBubble(t, nlstest.Options{OnFrame: p.onFrame}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		var wav bytes.Buffer
		err := client.Synthesize(t.Context(), &wav, nls.SynthesisParams{Text: text, Format: nls.FormatWAV, SampleRate: 8000, SpeechRate: 500})
		if err != nil {
			t.Fatal(err)
		}
		if n := server.Stats().MaxConcurrent; n != 2 {
			t.Errorf("%d sessions at a time", n)
		}
		if n := bytes.Count(wav.Bytes(), []byte("WAVEfmt ")); n != 1 {
			t.Errorf("%d headers", n)
		}
		if got := strings.Join(p.texts, ""); got != text {
			t.Errorf("the pieces are not the text: %q", got)
		}
		for _, piece := range p.texts {
			if n := utf8.RuneCountInString(piece); n > 300 {
				t.Errorf("a piece of %d characters", n)
			}
		}
		var heard strings.Builder
		for s, err := range client.Transcribe(t.Context(), &wav, nls.TranscriptionParams{EnablePunctuationPrediction: true, EnableInverseTextNormalization: true}, nls.PumpOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			heard.WriteString(s.Text)
		}
		if want := strings.TrimSpace(text); strings.TrimSpace(heard.String()) != want {
			t.Errorf("heard %d characters of %d: %q", utf8.RuneCountInString(heard.String()), utf8.RuneCountInString(want), heard.String())
		}
	})
}

// sentences are so many pieces for Synthesize, and as many sentences for nlstest.
func sentences(n int) string { return strings.Repeat(strings.Repeat("长", 198)+"。", n) }

// The Writer plays the audio: it never waits for the next piece.
func TestTheNextPieceIsThereWhenOneEnds(t *testing.T) {
	t.Parallel()
	opts := nlstest.Options{ReplyDelay: time.Second, Engine: humming{nlstest.Loopback(), 10, 8000, false, 100 * time.Millisecond, nil}}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		var audio bytes.Buffer
		begin := time.Now()
		w := writerFunc(func(p []byte) (int, error) {
			audio.Write(p)
			time.Sleep(time.Second)
			if n, want := server.Stats().Sessions, min(audio.Len()/80001+2, 4); n != want {
				t.Errorf("%d sessions have started when %d bytes are played, want %d", n, audio.Len(), want)
			}
			return len(p), nil
		})
		if err := clientOf(t, server).Synthesize(t.Context(), w, nls.SynthesisParams{Text: sentences(4)}); err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat(slices.Concat(hum(10, 8000)...), 4); !bytes.Equal(audio.Bytes(), want) {
			t.Errorf("%d bytes of audio, or in another order; want %d", audio.Len(), len(want))
		}
		if took := time.Since(begin); took < 40*time.Second || took > 40*time.Second+atOnce {
			t.Errorf("40 s of audio took %v", took)
		}
		if s := server.Stats(); s.Sessions != 4 || s.MaxConcurrent > 2 {
			t.Errorf("%+v", s)
		}
	})
}

// hum is what humming speaks.
func hum(pieces, size int) [][]byte {
	var all [][]byte
	for i := range pieces {
		all = append(all, bytes.Repeat([]byte{byte(i)}, size))
	}
	return all
}

// Whoever is slow has one piece that waits, not all of them.
func TestAStuckWriterKeepsOnePieceWaiting(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), 3, 8000, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		w := &stuckWriter{take: 1, release: make(chan struct{})}
		err := clientOf(t, server).Synthesize(ctx, w, nls.SynthesisParams{Text: sentences(10)})
		if s := server.Stats(); !errors.Is(err, context.Canceled) || nls.TaskID(err) == "" || s.Sessions != 2 {
			t.Errorf("%v, %+v", err, s)
		}
		close(w.release)
		synctest.Wait()
		if n := server.Stats().Sessions; n != 2 || w.writes != 1 {
			t.Errorf("%d sessions, %d Writes after the end", n, w.writes-1)
		}
	})
}

func TestALongTextEndsWithItsFirstFailure(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	failed := func(err error) bool { return nls.StatusCode(err) == 50000000 }
	audio := slices.Concat(hum(5, 8000)...)
	for _, c := range []struct {
		name   string
		fault  string // of the second connection
		writes int    // before the writer fails; 0 for never
		ctx    time.Duration
		is     func(error) bool
		task   int // of which session the error is
		audio  int // bytes at least, and less than a piece more
	}{
		{"a TaskFailed in the second piece", "taskfailed@during-events,after=2", 0, 0, failed, 2, len(audio)},
		{"a TaskFailed before the second piece", "taskfailed@on-start,only", 0, 0, failed, 2, len(audio)},
		{"a refused handshake", "refuse@handshake,code=503", 0, 0, nls.Retryable, 0, len(audio)},
		{"a lost connection", "reset@during-events,after=2", 0, 0, isCloseError, 2, len(audio)},
		{"a writer in the first piece", "", 2, 0, is(boom), 1, 8000},
		{"a writer in the second piece", "", 7, 0, is(boom), 2, len(audio) + 8000},
		{"the end of ctx in the first piece", "", 0, 2500 * time.Millisecond, is(context.Canceled), 1, 16000},
		{"the end of ctx in the last piece", "", 0, 12500 * time.Millisecond, is(context.Canceled), 5, 4 * len(audio)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p protocol
			fault := faultAlways(c.fault)
			opts := nlstest.Options{Engine: humming{nlstest.Loopback(), 5, 8000, false, time.Second, nil}, OnFrame: p.onFrame}
			var mu sync.Mutex
			var ids []string // of the tasks, whose dials may outlive the call
			if fault != nil {
				opts.Fault = second(fault)
			}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.ctx > 0 {
					time.AfterFunc(c.ctx, cancel)
				}
				ctx = nls.WithTrace(ctx, &nls.Trace{DialDone: func(d nls.TraceDial) {
					mu.Lock()
					defer mu.Unlock()
					ids = append(ids, d.TaskID)
				}})
				got, writes := 0, 0
				begin := time.Now()
				failedAt := begin.Add(c.ctx)
				err := clientOf(t, server).Synthesize(ctx, writerFunc(func(p []byte) (int, error) {
					if writes++; c.writes > 0 && writes == c.writes {
						failedAt = time.Now()
						return 0, boom
					}
					got += len(p)
					return len(p), nil
				}), nls.SynthesisParams{Text: sentences(5)})
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				want := ""
				if c.task > 0 {
					want = ids[c.task-1]
				}
				if !c.is(err) || nls.TaskID(err) != want {
					t.Errorf("got %v, want task %q of %q", err, want, ids)
				}
				if got < c.audio || got >= c.audio+len(audio) {
					t.Errorf("%d bytes are written", got)
				}
				if late := time.Since(failedAt); (c.ctx > 0 || c.writes > 0) && (late < 0 || late > atOnce) {
					t.Errorf("%v late", late)
				}
				if n := server.Stats().Concurrent; n != 0 || len(ids) > c.task+2 {
					t.Errorf("%d sessions run, %d were started", n, len(ids))
				}
			})
		})
	}
}

// second makes the second connection misbehave.
func second[R any, F any](fault func(R) *F) func(R) *F {
	var mu sync.Mutex
	n := 0
	return func(r R) *F {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 2 {
			return fault(r)
		}
		return nil
	}
}

func TestWhatIsWrongWithALongTextCostsNoSession(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		for name, p := range map[string]nls.SynthesisParams{
			"UTF-8 that is cut in the last piece": {Text: sentences(3) + "\xe4\xbd"},
			"a grapheme that is too long":         {Text: sentences(3) + "e" + strings.Repeat("\u0301", 300)},
			"a voice without limits":              {Text: sentences(3), Volume: new(101)},
			"a WAV of no sample rate":             {Text: sentences(3), Format: nls.FormatWAV, Extra: map[string]any{"sample_rate": "high"}},
			"nothing":                             {},
			"a byte order mark":                   {Text: "\ufeff"},
		} {
			err := client.Synthesize(t.Context(), failingWriter{errors.New("written")}, p)
			if !errors.Is(err, nls.ErrInvalidParameter) {
				t.Errorf("%s: %v", name, err)
			}
		}
		tts := client.NewSynthesizer(nls.SynthesizerHandlers{})
		if err := tts.Start(t.Context(), nls.SynthesisParams{Text: strings.Repeat("长", 301)}); !errors.Is(err, nls.ErrInvalidParameter) || !strings.Contains(err.Error(), "301") {
			t.Errorf("Start with 301 characters: %v", err)
		}
		if n := server.Stats().Connections; n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestOneSessionSpeaksWhatIsNotToBeSplit(t *testing.T) {
	t.Parallel()
	long := sentences(2)
	for name, c := range map[string]struct {
		p    nls.SynthesisParams
		want string
	}{
		"300 characters":    {nls.SynthesisParams{Text: strings.Repeat("长", 300)}, strings.Repeat("长", 300)},
		"one":               {nls.SynthesisParams{Text: "一"}, "一"},
		"emoji":             {nls.SynthesisParams{Text: strings.Repeat("👍", 300)}, strings.Repeat("👍", 300)},
		"SSML":              {nls.SynthesisParams{Text: "<speak>" + long + "</speak>"}, "<speak>" + long + "</speak>"},
		"SSML with a BOM":   {nls.SynthesisParams{Text: "\ufeff<speak>" + long + "</speak>"}, "<speak>" + long + "</speak>"},
		"LongText":          {nls.SynthesisParams{Text: long, LongText: true}, long},
		"the text of Extra": {nls.SynthesisParams{Text: "x", Extra: map[string]any{"text": long}}, long},
	} {
		var p protocol
		inBubble(t, nlstest.Options{OnFrame: p.onFrame, Engine: humming{nlstest.Loopback(), 1, 8, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
			if err := clientOf(t, server).Synthesize(t.Context(), io.Discard, c.p); err != nil || !slices.Equal(p.texts, []string{c.want}) {
				t.Errorf("%s: %q, %v", name, p.texts, err)
			}
		})
	}
}

func TestSynthesizeLeavesRightSizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		params nls.SynthesisParams
		rate   int
		fault  string
	}{
		{"a short text", nls.SynthesisParams{Text: "好", Format: nls.FormatWAV}, 16000, ""},
		{"a long text", nls.SynthesisParams{Text: sentences(3), Format: nls.FormatWAV, SampleRate: 8000}, 8000, ""},
		{"a format of Extra", nls.SynthesisParams{Text: "好", Voice: "siqi", Extra: map[string]any{"format": "wav", "sample_rate": 24000.0}}, 24000, ""},
		{"a failure", nls.SynthesisParams{Text: sentences(3), Format: nls.FormatWAV}, 16000, "taskfailed@during-events,after=4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var extra = fmt.Sprint(c.params.Extra)
			opts := nlstest.Options{Fault: faultAlways(c.fault), Engine: humming{nlstest.Loopback(), 9, 1000, false, time.Millisecond, nil}}
			file, err := os.Create(filepath.Join(t.TempDir(), "x.wav"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var pipe bytes.Buffer
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				for _, w := range []io.Writer{file, &pipe} {
					if err := clientOf(t, server).Synthesize(t.Context(), w, c.params); (err == nil) != (c.fault == "") {
						t.Fatal(err)
					}
				}
			})
			if fmt.Sprint(c.params.Extra) != extra {
				t.Error("the caller's map is changed")
			}
			size, err := file.Seek(0, io.SeekCurrent)
			if err != nil || size <= 44 {
				t.Fatal(size, err)
			}
			file.Seek(0, io.SeekStart)
			if f, err := nls.ReadWAVHeader(file); err != nil || f != (nls.WAVFormat{SampleRate: c.rate, Channels: 1, BitsPerSample: 16, DataSize: size - 44}) {
				t.Errorf("a file: %+v, %v, want %d bytes", f, err, size-44)
			}
			if f, err := nls.ReadWAVHeader(&pipe); err != nil || f != (nls.WAVFormat{SampleRate: c.rate, Channels: 1, BitsPerSample: 16, DataSize: -1}) {
				t.Errorf("a pipe: %+v, %v", f, err)
			}
		})
	}
	t.Run("no audio", func(t *testing.T) {
		inBubble(t, nlstest.Options{Engine: humming{nlstest.Loopback(), 0, 0, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
			var b bytes.Buffer
			if err := clientOf(t, server).Synthesize(t.Context(), &b, nls.SynthesisParams{Text: "好", Format: nls.FormatWAV}); err != nil || b.Len() != 44 {
				t.Errorf("%d bytes, %v", b.Len(), err)
			}
		})
	})
}

// pieces is a source of text.
func pieces(p ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, s := range p {
			if !yield(s, nil) {
				return
			}
		}
	}
}

func TestSynthesizeStreamSpeaksBeforeTheTextHasEnded(t *testing.T) {
	t.Parallel()
	for _, format := range []nls.Format{"", nls.FormatWAV} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			client := clientOf(t, server)
			var audio bytes.Buffer
			written := make(chan struct{}, 1)
			w := writerFunc(func(p []byte) (int, error) {
				select {
				case written <- struct{}{}:
				default:
				}
				return audio.Write(p)
			})
			text := func(yield func(string, error) bool) {
				if yield("第一句。", nil) {
					<-written // or for ever
					yield("第二句", nil)
				}
			}
			if err := client.SynthesizeStream(t.Context(), w, text, nls.StreamSynthesisParams{Format: format}); err != nil {
				t.Fatal(err)
			}
			if got, err := listeners["Transcribe"](t.Context(), client, &audio); err != nil || got != "第一句。第二句" {
				t.Errorf("%q: heard %q, %v", format, got, err)
			}
		})
	}
}

func TestSynthesizeStreamEndsAtOnce(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	const when = 2500 * time.Millisecond
	endless := func(asked *atomic.Int64, fails error) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for begin := time.Now(); ; time.Sleep(500 * time.Millisecond) {
				if asked.Add(1); fails != nil && time.Since(begin) >= when || !yield("说个不停。", nil) {
					break
				}
			}
			if fails != nil {
				yield("", fails)
			}
		}
	}
	for _, c := range []struct {
		name  string
		fault string
		ctx   time.Duration // when it ends; negative for a deadline
		text  error
		write error
		stuck string // what blocks meanwhile
		is    func(error) bool
	}{
		{"a barge-in", "", when, nil, nil, "", is(context.Canceled)},
		{"a barge-in while the text pauses", "", when, nil, nil, "text", is(context.Canceled)},
		{"a barge-in while the writer is stuck", "", when, nil, nil, "writer", is(context.Canceled)},
		{"a barge-in while nothing can be sent", "stopreading@after-start", when, nil, nil, "network", is(context.Canceled)},
		{"a deadline", "", -when, nil, nil, "", is(nls.ErrStopTimeout)},
		{"a text source that fails", "", 0, boom, nil, "", is(boom)},
		{"a text source that fails while the writer is stuck", "", 0, boom, nil, "writer", is(boom)},
		{"a writer that fails", "", 0, nil, boom, "", is(boom)},
		{"a writer that fails while the text pauses", "", 0, nil, boom, "text", is(boom)},
		{"a TaskFailed", "taskfailed@during-text,after=6,code=50000000", 0, nil, nil, "", func(err error) bool { return nls.StatusCode(err) == 50000000 }},
		{"a lost connection while the text pauses", "eof@during-events,after=3", 0, nil, nil, "text", isCloseError},
		{"a Completed with text to come", "early@during-text,after=6", 0, nil, nil, "", is(nls.ErrCompleted)},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := nlstest.Options{IdleTimeout: -1, Fault: faultAlways(c.fault), Engine: humming{nlstest.Loopback(), 1000, 800, false, 25 * time.Millisecond, nil}}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(c *nls.Config) { c.WriteTimeout = -1 })
				ctx, watch := watched(t.Context())
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				switch {
				case c.ctx > 0:
					time.AfterFunc(c.ctx, cancel)
				case c.ctx < 0:
					ctx, cancel = context.WithTimeout(ctx, -c.ctx)
					defer cancel()
				}
				release := make(chan struct{})
				begin := time.Now()
				failedAt := begin.Add(when)
				stuck := 0
				w := writerFunc(func(p []byte) (int, error) {
					if c.write != nil && time.Since(begin) >= when {
						failedAt = time.Now()
						return 0, c.write
					}
					if c.stuck == "writer" {
						stuck++
						<-release
					}
					return len(p), nil
				})
				var asked atomic.Int64 // by a goroutine that may outlive the call
				text := endless(&asked, c.text)
				switch c.stuck {
				case "text":
					text = func(yield func(string, error) bool) {
						asked.Add(1)
						yield("说个不停。", nil)
						<-release
						asked.Add(1)
						if yield("还有", nil) {
							asked.Add(1)
						}
					}
				case "network":
					text = func(yield func(string, error) bool) {
						for yield(strings.Repeat("长", 100000), nil) {
							asked.Add(1)
						}
					}
				}
				err := client.SynthesizeStream(ctx, w, text, nls.StreamSynthesisParams{})
				ended, now := watch.ended(), time.Now()
				if c.fault != "" && c.ctx == 0 { // which comes when it comes
					failedAt = now
				}
				if late := now.Sub(failedAt); late < 0 || late > atOnce {
					t.Errorf("%v late", late)
				}
				if !c.is(err) || nls.TaskID(err) != watch.taskID || watch.taskID == "" || !strings.Contains(err.Error(), watch.taskID) {
					t.Errorf("got %v, want task %s", err, watch.taskID)
				}
				before := asked.Load()
				close(release)
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := server.Stats().Concurrent; n != 0 && c.stuck != "network" || !ended {
					t.Errorf("%d sessions run; the session had ended: %v", n, ended)
				}
				if asked.Load() > before+1 || stuck > 1 {
					t.Errorf("%d pieces of text and %d Writes after the end", asked.Load()-before, stuck-1)
				}
			})
		})
	}
}

// What waits for nobody is no longer in use when the call has returned.
func TestATextThatYieldsSoonIsOverWhenTheCallReturns(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(1001*time.Millisecond, cancel)
		over := false
		err := clientOf(t, server).SynthesizeStream(ctx, io.Discard, func(yield func(string, error) bool) {
			for yield("好。", nil) {
				time.Sleep(settling)
			}
			over = true
		}, nls.StreamSynthesisParams{})
		if !errors.Is(err, context.Canceled) || !over {
			t.Errorf("%v, the text is over: %v", err, over)
		}
	})
}

// settling is less than a call waits for what is under way.
const settling = 25 * time.Millisecond

func TestSSMLWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
		asked := 0
		err := clientOf(t, server).SynthesizeStream(t.Context(), io.Discard, func(yield func(string, error) bool) {
			for yield("<speak>"+strings.Repeat("x", 1000), nil) && asked < 1000 {
				asked++
			}
		}, nls.StreamSynthesisParams{EnableSSML: true})
		if !errors.Is(err, nls.ErrInvalidParameter) || asked > 20 {
			t.Errorf("%v after %d pieces", err, asked)
		}
	})
}

func TestSynthesizeStreamAsksForNoTextThatItCannotSpeak(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		p     nls.StreamSynthesisParams
		fault string
		is    func(error) bool
	}{
		"a bad parameter":          {t.Context(), nls.StreamSynthesisParams{SampleRate: 1}, "", is(nls.ErrInvalidParameter)},
		"a context that has ended": {ended, nls.StreamSynthesisParams{}, "", is(context.Canceled)},
		"a refused handshake":      {t.Context(), nls.StreamSynthesisParams{}, "refuse@handshake,code=503", nls.Retryable},
		"no answer":                {t.Context(), nls.StreamSynthesisParams{}, "hang@on-start", is(nls.ErrStartTimeout)},
	} {
		inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
			asked := false
			err := clientOf(t, server).SynthesizeStream(c.ctx, io.Discard, func(func(string, error) bool) { asked = true }, c.p)
			if !c.is(err) || asked {
				t.Errorf("%s: %v; text asked for: %v", name, err, asked)
			}
		})
	}
}

func TestSynthesizeStreamPutsPiecesTogether(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("字", 1001)
	for name, c := range map[string]struct {
		text []string
		p    nls.StreamSynthesisParams
		want []string // texts on the wire
		err  error
	}{
		"nothing":                     {nil, nls.StreamSynthesisParams{}, nil, nil},
		"empty pieces":                {[]string{"", "你", "", "好"}, nls.StreamSynthesisParams{}, []string{"你", "好"}, nil},
		"characters that are cut":     {[]string{"a\xe4", "\xbd", "\xa0\xf0\x9f", "\x91\x8d", "b"}, nls.StreamSynthesisParams{}, []string{"a", "你", "👍", "b"}, nil},
		"a character without its end": {[]string{"\xe4\xbd"}, nls.StreamSynthesisParams{}, nil, nls.ErrInvalidParameter},
		"no UTF-8":                    {[]string{"\xff", "b"}, nls.StreamSynthesisParams{}, nil, nls.ErrInvalidParameter},
		"1,001 characters":            {[]string{long}, nls.StreamSynthesisParams{}, []string{long[3:], "字"}, nil},
		"SSML":                        {[]string{"\ufeff<spe", "ak>", long, "</speak>"}, nls.StreamSynthesisParams{EnableSSML: true}, []string{"<speak>" + long + "</speak>"}, nil},
		"SSML that fits no frame":     {[]string{"<speak>" + long, strings.Repeat(long, 10), "</speak>"}, nls.StreamSynthesisParams{EnableSSML: true}, nil, nls.ErrInvalidParameter},
	} {
		var p protocol
		inBubble(t, nlstest.Options{OnFrame: p.onFrame, Engine: humming{nlstest.Loopback(), 1, 8, false, 0, nil}}, func(t *testing.T, server *nlstest.Server) {
			err := clientOf(t, server).SynthesizeStream(t.Context(), io.Discard, pieces(c.text...), c.p)
			if !errors.Is(err, c.err) || c.err != nil && nls.TaskID(err) == "" || !slices.Equal(p.texts, c.want) {
				t.Errorf("%s: %.40q, %v", name, p.texts, err)
			}
		})
	}
}

func TestSSMLIsOneMessageOfAStreamSynthesizer(t *testing.T) {
	t.Parallel()
	doc := "<speak>" + strings.Repeat("<!-- a long document -->", 100) + "你好</speak>"
	var p protocol
	inBubble(t, nlstest.Options{OnFrame: p.onFrame}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		var audio bytes.Buffer
		tts := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{OnData: func(a nls.AudioEvent) { audio.Write(a.Data) }})
		if err := tts.Start(t.Context(), nls.StreamSynthesisParams{EnableSSML: true}); err != nil {
			t.Fatal(err)
		}
		if err := tts.SendText("<speak>" + strings.Repeat(doc, 9) + "</speak>"); !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("a document of 20 KiB: %v", err)
		}
		if err := tts.SendText("\ufeff" + doc); err != nil {
			t.Fatal(err)
		}
		if err := tts.Stop(t.Context()); err != nil || !slices.Equal(p.texts, []string{doc}) {
			t.Errorf("%d texts, %v", len(p.texts), err)
		}
		if got := heard(t, client, audio.Bytes()); got != "你好" {
			t.Errorf("heard %.40q", got)
		}
	})
}

func TestFlushSpeaksWhatHasNoEnd(t *testing.T) {
	t.Parallel()
	var p protocol
	inBubble(t, nlstest.Options{OnFrame: p.onFrame}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		ends, speaks := make(chan struct{}, 10), 0
		tts := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{
			OnSentenceBegin: func(*nls.MetaInfo) { speaks++ },
			OnSentenceEnd:   func(*nls.MetaInfo) { ends <- struct{}{} },
		})
		if err := tts.Flush(); !errors.Is(err, nls.ErrNotStarted) {
			t.Errorf("before Start: %v", err)
		}
		if err := tts.Start(t.Context(), nls.StreamSynthesisParams{}); err != nil {
			t.Fatal(err)
		}
		if err := tts.SendText("没有结尾"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if speaks != 0 {
			t.Fatal("spoken before Flush")
		}
		if err := tts.Flush(); err != nil {
			t.Fatal(err)
		}
		<-ends // or for ever
		if err := tts.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tts.Flush(); !errors.Is(err, nls.ErrCompleted) {
			t.Errorf("after the end: %v", err)
		}
	})
	i := slices.IndexFunc(p.raw, func(s string) bool { return strings.Contains(s, `"FlushText"`) })
	if i < 0 || !strings.Contains(p.raw[i], `"payload":{}`) || !strings.Contains(p.raw[i], `"FlowingSpeechSynthesizer"`) {
		t.Errorf("sent %s", p.raw)
	}
}

// phonetic is an engine that knows phonemes.
type phonetic struct{ nlstest.Engine }

func (phonetic) Synthesize(_ context.Context, _ string, _ nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	unit := nls.Subtitle{Text: "你", End: 200 * time.Millisecond, EndIndex: 1, Phonemes: []nls.Phoneme{
		{Text: "n_c", Tone: "3", End: 80 * time.Millisecond}, {Text: "i_c", Tone: "3", Begin: 80 * time.Millisecond, End: 200 * time.Millisecond},
	}}
	return emit(make([]byte, 6400), []nls.Subtitle{unit})
}

func TestPhonemesComeWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	want := []nls.Phoneme{{Text: "n_c", Tone: "3", End: 80 * time.Millisecond}, {Text: "i_c", Tone: "3", Begin: 80 * time.Millisecond, End: 200 * time.Millisecond}}
	inBubble(t, nlstest.Options{Engine: phonetic{nlstest.Loopback()}}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		var last *nls.MetaInfo
		note := func(m *nls.MetaInfo) { last = m }
		tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnMetaInfo: note})
		for _, asked := range []bool{true, false} {
			if err := tts.Start(t.Context(), nls.SynthesisParams{Text: "你", Voice: "siqi", EnablePhonemes: asked, EnableSubtitle: !asked}); err != nil {
				t.Fatal(err)
			}
			if last == nil || len(last.Subtitles) != 2 || asked != slices.Equal(last.Subtitles[1].Phonemes, want) || !asked && last.Subtitles[1].Phonemes != nil {
				t.Errorf("Synthesizer: %+v", last)
			}
		}
		stream := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{OnSentenceEnd: note})
		if err := stream.Start(t.Context(), nls.StreamSynthesisParams{Voice: "siqi", EnablePhonemes: true}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stream.SendText("你。"), stream.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		if len(last.Subtitles) != 2 || !slices.Equal(last.Subtitles[1].Phonemes, want) {
			t.Errorf("StreamSynthesizer: %+v", last)
		}
	})
}
