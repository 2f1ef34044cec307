package suite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

func TestOneShotCalls(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client, ctx := clientOf(t, server), t.Context()
		var audio bytes.Buffer
		if err := client.Synthesize(ctx, &audio, nls.SynthesisParams{Text: spoken, NoWait: true}); err != nil {
			t.Fatal(err)
		}
		result, err := client.Recognize(ctx, bytes.NewReader(audio.Bytes()), nls.RecognitionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{})
		if err != nil || result.Text != spoken {
			t.Errorf("Recognize = %v, %v", result, err)
		}
		var text strings.Builder
		begin := time.Now()
		for s, err := range client.Transcribe(ctx, bytes.NewReader(audio.Bytes()), nls.TranscriptionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(s.Text)
			time.Sleep(time.Minute) // results wait for a slow loop body
		}
		if text.String() != spoken {
			t.Errorf("Transcribe yields %q", &text)
		}
		if took, speech := time.Since(begin), time.Duration(audio.Len())*time.Second/32000; took < speech-time.Second {
			t.Errorf("%v of audio sent in %v", speech, took)
		}
	})
}

func TestTranscribeYieldsEverySentenceToASlowLoopBody(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(c *nls.Config) { c.MaxPendingBytes = 1 })
		var audio bytes.Buffer
		if err := client.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: strings.Repeat(spoken, 5)}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for s, err := range client.Transcribe(t.Context(), &audio, nls.TranscriptionParams{EnablePunctuationPrediction: true, MaxSentenceSilence: 200 * time.Millisecond}, nls.PumpOptions{Speed: -1}) {
			if err != nil || s.Text != spoken {
				t.Fatalf("sentence %d: %v, %v", n, s, err)
			}
			n++
			time.Sleep(8 * time.Second)
		}
		if n != 5 {
			t.Errorf("%d sentences", n)
		}
	})
}

func TestTranscribeEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"break", "context", "source", "refused"} {
		t.Run(how, func(t *testing.T) {
			opts := nlstest.Options{}
			if how == "refused" {
				opts.Fault = faultOnce("refuse@handshake,code=503,text=busy")
			}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				boom := errors.New("boom")
				src := io.MultiReader(bytes.NewReader(spokenAudio()), bytes.NewReader(make([]byte, 16000)), iotest.ErrReader(boom))
				if how != "source" {
					src = io.MultiReader(bytes.NewReader(spokenAudio()), bytes.NewReader(make([]byte, 1<<20)))
				}
				var last error
				rounds := 0
				for _, err := range client.Transcribe(ctx, src, nls.TranscriptionParams{MaxSentenceSilence: 200 * time.Millisecond}, nls.PumpOptions{}) {
					rounds++
					last = err
					if how == "break" {
						break
					}
					if how == "context" {
						cancel()
					}
				}
				var handshake *nls.HandshakeError
				switch how {
				case "break":
					if last != nil || rounds != 1 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "context":
					if !errors.Is(last, context.Canceled) || rounds != 2 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "source":
					if !errors.Is(last, boom) || rounds != 2 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				case "refused":
					if !errors.As(last, &handshake) || rounds != 1 {
						t.Errorf("%d rounds, %v", rounds, last)
					}
				}
			})
		})
	}
}

func TestOneShotErrors(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client, boom := clientOf(t, server), errors.New("boom")
		if err := client.Synthesize(t.Context(), failingWriter{boom}, nls.SynthesisParams{Text: spoken}); !errors.Is(err, boom) {
			t.Errorf("Synthesize = %v", err)
		}
		if err := client.Synthesize(t.Context(), io.Discard, nls.SynthesisParams{}); !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("Synthesize = %v", err)
		}
		_, err := client.Recognize(t.Context(), iotest.ErrReader(boom), nls.RecognitionParams{}, nls.PumpOptions{})
		if !errors.Is(err, boom) {
			t.Errorf("Recognize = %v", err)
		}
		_, err = client.Recognize(t.Context(), strings.NewReader(""), nls.RecognitionParams{}, nls.PumpOptions{})
		if !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("Recognize = %v", err)
		}
		_, err = client.Recognize(t.Context(), strings.NewReader(""), nls.RecognitionParams{Channels: 2}, nls.PumpOptions{})
		if !errors.Is(err, nls.ErrInvalidParameter) {
			t.Errorf("Recognize = %v", err)
		}
	})
}

// Every way to fail, after the gateway was reached and before: the sentinels are
// those of the objects, and there is a task id as soon as there is a task.
func TestErrorsOfOneShotCallsMatchWhatThoseOfTheObjectsDo(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	audio := func() io.Reader { return bytes.NewReader(spokenAudio()) }
	broken := func() io.Reader { return io.MultiReader(audio(), iotest.ErrReader(boom)) }
	cut := func() io.Reader { return io.MultiReader(audio(), iotest.ErrReader(io.ErrUnexpectedEOF)) }
	nothing := func() io.Reader { return readerFunc(func([]byte) (int, error) { return 0, nil }) }
	refusal := func(err error) bool {
		var e *nls.HandshakeError
		return errors.As(err, &e) && e.HTTPStatus == 503
	}
	failed := func(err error) bool { return nls.StatusCode(err) == 50000000 }
	for _, c := range []struct {
		name   string
		source func() io.Reader
		fault  string
		after  time.Duration // when ctx ends
		cancel bool          // it is cancelled then
		is     func(error) bool
		task   bool
	}{
		{"a source's error", broken, "", 0, false, is(boom), true},
		{"a source that is cut", cut, "", 0, false, is(io.ErrUnexpectedEOF), true},
		{"a source without progress", nothing, "", 0, false, is(io.ErrNoProgress), true},
		{"a refused handshake", audio, "refuse@handshake,code=503", 0, false, refusal, false},
		{"a deadline before the handshake", audio, "hang@handshake", time.Second, false, is(nls.ErrStartTimeout), false},
		{"a deadline before the answer", audio, "hang@on-start", time.Second, false, is(nls.ErrStartTimeout), true},
		{"a deadline between chunks", audio, "", time.Second, false, is(nls.ErrStopTimeout), true},
		{"a deadline in Stop", audio, "hang@on-stop", 9 * time.Second, false, is(nls.ErrStopTimeout), true},
		{"cancelled before the handshake", audio, "hang@handshake", time.Second, true, is(context.Canceled), false},
		{"cancelled before the answer", audio, "hang@on-start", time.Second, true, is(context.Canceled), true},
		{"cancelled between chunks", audio, "", time.Second, true, is(context.Canceled), true},
		{"cancelled in Stop", audio, "hang@on-stop", 9 * time.Second, true, is(context.Canceled), true},
		{"no answer to Start", audio, "hang@on-start", 0, false, is(nls.ErrStartTimeout), true},
		{"no answer to Stop", audio, "hang@on-stop", 0, false, is(nls.ErrStopTimeout), true},
		{"a TaskFailed instead of an answer", audio, "taskfailed@on-start,only", 0, false, failed, true},
		{"a TaskFailed", audio, "taskfailed@during-audio,after=3", 0, false, failed, true},
		{"a TaskFailed in Stop", audio, "taskfailed@on-stop,only", 0, false, failed, true},
		{"a lost connection", audio, "reset@during-audio,after=3", 0, false, isCloseError, true},
		{"a lost connection in Stop", audio, "reset@on-stop", 0, false, isCloseError, true},
		{"a Completed before the answer", audio, "early@on-start,only", 0, false, is(nls.ErrCompleted), true},
	} {
		for call, listen := range listeners {
			t.Run(call+"/"+c.name, func(t *testing.T) {
				inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if c.cancel {
						time.AfterFunc(c.after, cancel)
					} else if c.after > 0 {
						ctx, cancel = context.WithTimeout(ctx, c.after)
						defer cancel()
					}
					ctx, w := watched(ctx)
					begin := time.Now()
					_, err := listen(ctx, clientOf(t, server), c.source())
					if late := time.Since(begin) - c.after; c.after > 0 && (late < 0 || late > atOnce) {
						t.Errorf("%v late", late)
					}
					want := ""
					if c.task {
						want = w.taskID
					}
					if !c.is(err) || nls.TaskID(err) != want || !strings.HasPrefix(err.Error(), "nls: ") && c.name != "cancelled" && !c.cancel {
						t.Errorf("got %v, task %q, want task %q", err, nls.TaskID(err), want)
					}
					if c.task && strings.Count(err.Error(), want) != 1 {
						t.Errorf("the text does not name the task, or more than once: %v", err)
					}
					if deadline := c.after > 0 && !c.cancel; deadline && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v is no DeadlineExceeded", err)
					}
					if w.ended() != (w.taskID != "") { // whatever came of its Start
						t.Errorf("the session has ended: %v", w.ended())
					}
					synctest.Wait()
					if n := server.Stats().Concurrent; n != 0 {
						t.Errorf("%d sessions run", n)
					}
				})
			})
		}
	}
}

func TestErrorsOfSynthesizeMatchWhatThoseOfTheObjectDo(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	writes := func(n int, err error) io.Writer {
		return writerFunc(func(p []byte) (int, error) {
			if n < 0 {
				return len(p) + n, err
			}
			return n, err
		})
	}
	for _, c := range []struct {
		name  string
		w     io.Writer
		fault string
		is    func(error) bool
		task  bool
	}{
		{"a writer's error", writes(0, boom), "", is(boom), true},
		{"a writer's error after a part", writes(10, boom), "", is(boom), true},
		{"a writer that has enough", writes(0, io.EOF), "", is(io.EOF), true},
		{"a short write", writes(-1, nil), "", is(io.ErrShortWrite), true},
		{"a write of nothing", writes(0, nil), "", is(io.ErrShortWrite), true},
		{"a write beyond", writes(1<<20, nil), "", is(io.ErrShortWrite), true},
		{"a Write that ends its goroutine", writerFunc(func([]byte) (int, error) { runtime.Goexit(); return 0, nil }), "", func(err error) bool { return err != nil }, true},
		{"a refused handshake", io.Discard, "refuse@handshake,code=503", func(err error) bool { return !errors.Is(err, nls.ErrShutdown) }, false},
		{"no answer", io.Discard, "hang@on-start", is(nls.ErrCompleteTimeout), true},
		{"a TaskFailed", io.Discard, "taskfailed@during-events", func(err error) bool { return nls.StatusCode(err) == 50000000 }, true},
		{"a lost connection", io.Discard, "reset@during-events", isCloseError, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
				ctx, w := watched(t.Context())
				err := clientOf(t, server).Synthesize(ctx, c.w, nls.SynthesisParams{Text: strings.Repeat(spoken, 20)})
				want := ""
				if c.task {
					want = w.taskID
				}
				if err == nil || !c.is(err) || nls.TaskID(err) != want || !strings.HasPrefix(err.Error(), "nls: ") || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want task %q", err, want)
				}
				synctest.Wait()
				if n := server.Stats().Concurrent; n != 0 || w.ended() != (w.taskID != "") {
					t.Errorf("%d sessions run, the session has ended: %v", n, w.ended())
				}
			})
		})
	}
}

func TestWhatIsWrongFromTheStartCostsNoSession(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		for _, o := range []nls.PumpOptions{{BytesPerSecond: -1}, {ChunkSize: -1}, {ChunkSize: math.MaxInt}, {Speed: math.NaN()}} {
			src := strings.NewReader("ab")
			_, err := client.Recognize(t.Context(), src, nls.RecognitionParams{}, o)
			if !errors.Is(err, nls.ErrInvalidParameter) || nls.TaskID(err) != "" {
				t.Errorf("Recognize, %+v: %v", o, err)
			}
			rounds := 0
			for s, err := range client.Transcribe(t.Context(), src, nls.TranscriptionParams{}, o) {
				if rounds++; s != nil || !errors.Is(err, nls.ErrInvalidParameter) {
					t.Errorf("Transcribe, %+v: %v, %v", o, s, err)
				}
			}
			if rounds != 1 || src.Len() != 2 {
				t.Errorf("%+v: %d rounds, %d bytes left", o, rounds, src.Len())
			}
		}
		for _, rate := range []int{-1, math.MinInt, math.MaxInt} {
			_, err := client.Recognize(t.Context(), strings.NewReader("ab"), nls.RecognitionParams{SampleRate: rate}, nls.PumpOptions{})
			if !errors.Is(err, nls.ErrInvalidParameter) {
				t.Errorf("a sample rate of %d: %v", rate, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for call, listen := range listeners {
			src := bytes.NewReader(spokenAudio())
			if _, err := listen(ctx, client, src); !errors.Is(err, context.Canceled) || src.Len() != len(spokenAudio()) {
				t.Errorf("%s with a context that has ended: %v, %d bytes left", call, err, src.Len())
			}
		}
		err := client.Synthesize(ctx, failingWriter{errors.New("written")}, nls.SynthesisParams{Text: spoken})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Synthesize with a context that has ended: %v", err)
		}
		if n := server.Stats().Connections; n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestTranscribeYieldsPartialResultsThatWereAskedFor(t *testing.T) {
	t.Parallel()
	const text = "你好，世界。再见，世界。"
	inBubble(t, nlstest.Options{PlainPartials: true}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		var audio bytes.Buffer
		if err := client.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: text}); err != nil {
			t.Fatal(err)
		}
		for _, partial := range []bool{false, true} {
			var final strings.Builder
			last, partials := "", map[int]int{}
			p := nls.TranscriptionParams{EnableIntermediateResult: partial, EnablePunctuationPrediction: true, MaxSentenceSilence: 200 * time.Millisecond}
			if !partial { // also when they come
				p.Extra = map[string]any{"enable_intermediate_result": true}
			}
			for s, err := range client.Transcribe(t.Context(), bytes.NewReader(audio.Bytes()), p, nls.PumpOptions{}) {
				switch {
				case err != nil:
					t.Fatal(err)
				case s.Final != (s.Name == "SentenceEnd"):
					t.Errorf("Final is %v in %s", s.Final, s.Name)
				case s.Final:
					final.WriteString(s.Text)
					last = ""
				case !strings.HasPrefix(s.Text, last):
					t.Errorf("%q after %q", s.Text, last)
				default:
					partials[s.Index]++
					last = s.Text
				}
			}
			if final.String() != text {
				t.Errorf("partial results %v: got %q", partial, &final)
			}
			if partial && (partials[1] < 3 || partials[2] < 3) || !partial && len(partials) > 0 {
				t.Errorf("partial results %v: got %v of them", partial, partials)
			}
		}
	})
}

func TestSilenceIsNoErrorAndHasATaskID(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		ctx, w := watched(t.Context())
		result, err := client.Recognize(ctx, bytes.NewReader(make([]byte, 64000)), nls.RecognitionParams{}, nls.PumpOptions{})
		if err != nil || result.Text != "" || result.TaskID != w.taskID {
			t.Errorf("Recognize = %+v, %v", result, err)
		}
		for _, audio := range []int{64000, 0} {
			ctx, w := watched(t.Context())
			for s, err := range client.Transcribe(ctx, bytes.NewReader(make([]byte, audio)), nls.TranscriptionParams{Format: nls.FormatPCM, EnableIntermediateResult: true}, nls.PumpOptions{}) {
				t.Errorf("%d bytes: Transcribe yields %v, %v", audio, s, err)
			}
			if w.taskID == "" || !w.ended() || w.err != nil {
				t.Errorf("%d bytes: task %q, %v", audio, w.taskID, w.err)
			}
		}
	})
}

// A loop body that is slow is the caller's business: no log, no timeout.
func TestTranscribeDoesNotWarnAboutASlowLoopBody(t *testing.T) {
	t.Parallel()
	for _, pending := range []int{0, 1} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			var logged bytes.Buffer
			client := clientOf(t, server, func(c *nls.Config) {
				c.MaxPendingBytes = pending
				c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
			})
			var audio bytes.Buffer
			if err := client.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: strings.Repeat(spoken, 5)}); err != nil {
				t.Fatal(err)
			}
			n := 0
			p := nls.TranscriptionParams{EnableIntermediateResult: true, MaxSentenceSilence: 200 * time.Millisecond}
			for s, err := range client.Transcribe(t.Context(), &audio, p, nls.PumpOptions{Speed: -1}) {
				if err != nil {
					t.Fatal(err)
				}
				if s.Final {
					n++
				}
				time.Sleep(time.Minute)
			}
			if n != 5 || logged.Len() > 0 {
				t.Errorf("%d sentences; logged %s", n, &logged)
			}
		})
	}
}

// What waits for the loop when the service fails comes before the error. When ctx
// ends it does not come any more.
func TestWhatWaitsForTheLoopWhenTheSessionEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault string
		ctx   time.Duration // when ctx ends
		want  int           // sentences
		err   func(error) bool
	}{
		{"completed", "", 0, 5, nil},
		{"a TaskFailed", "taskfailed@on-stop", 0, 5, func(err error) bool { return nls.StatusCode(err) == 50000000 }},
		{"a lost connection", "eof@after-stop", 0, 5, nil},
		{"the end of ctx", "hang@on-stop", 30 * time.Second, 1, is(nls.ErrStopTimeout)},
		{"the end of ctx after that of the session", "", 30 * time.Second, 1, is(nls.ErrStopTimeout)},
		{"the end of ctx after the last sentence", "", 1000 * time.Second, 5, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(c *nls.Config) { c.StopTimeout = -1 })
				audio := bytes.Repeat(spokenAudio(), 5)
				ctx, w := watched(t.Context())
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				n, last := 0, error(nil)
				for s, err := range client.Transcribe(ctx, bytes.NewReader(audio), nls.TranscriptionParams{MaxSentenceSilence: 200 * time.Millisecond}, nls.PumpOptions{Speed: -1}) {
					if last = err; err != nil {
						if s != nil || nls.TaskID(err) != w.taskID {
							t.Errorf("got %v, %v", s, err)
						}
						continue
					}
					n++
					time.Sleep(200 * time.Second)
				}
				if n != c.want || (last == nil) != (c.err == nil) || c.err != nil && !c.err(last) {
					t.Errorf("%d sentences, %v", n, last)
				}
			})
		})
	}
}

// A Stop that nobody answers has the bound of Config.StopTimeout. In Transcribe it
// is renewed by each message, since there may be much to say.
func TestStopsOfOneShotCallsAreBounded(t *testing.T) {
	t.Parallel()
	for _, bound := range []time.Duration{0, 3 * time.Second} {
		for call, listen := range listeners {
			inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways("hang@on-stop")}, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(c *nls.Config) { c.StopTimeout = bound })
				begin := time.Now()
				_, err := listen(t.Context(), client, bytes.NewReader(make([]byte, 9600)))
				want := 200*time.Millisecond + max(bound, 0)
				if bound == 0 {
					want += nls.DefaultStopTimeout
				}
				if took := time.Since(begin); !errors.Is(err, nls.ErrStopTimeout) || took < want || took > want+atOnce {
					t.Errorf("%s = %v after %v, want %v", call, err, took, want)
				}
			})
		}
	}
}

// Compressed audio has a pace too: the rate that the caller knows, or 320 kbit/s.
func TestCompressedAudioIsPaced(t *testing.T) {
	t.Parallel()
	pcm := map[string]any{"format": "pcm"} // what the gateway hears in it
	for _, c := range []struct {
		format nls.Format
		opts   nls.PumpOptions
		rate   int // bytes per second; 0 for none
	}{
		{nls.FormatOpus, nls.PumpOptions{}, 40000},
		{nls.FormatOPU, nls.PumpOptions{}, 40000},
		{nls.FormatSpeex, nls.PumpOptions{}, 40000},
		{nls.FormatAMR, nls.PumpOptions{}, 40000},
		{nls.FormatMP3, nls.PumpOptions{}, 40000},
		{nls.FormatAAC, nls.PumpOptions{}, 40000},
		{nls.FormatMP3, nls.PumpOptions{BytesPerSecond: 8000}, 8000},
		{nls.FormatAMR, nls.PumpOptions{BytesPerSecond: 8000}, 8000},
		{nls.FormatMP3, nls.PumpOptions{BytesPerSecond: 8000, Speed: 2}, 16000},
		{nls.FormatMP3, nls.PumpOptions{Speed: -1}, 0},
		{"", nls.PumpOptions{}, 32000},
		{nls.FormatPCM, nls.PumpOptions{}, 32000},
		{nls.FormatWAV, nls.PumpOptions{}, 32000},
	} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			client, audio := clientOf(t, server), make([]byte, 200000)
			took := map[string]time.Duration{}
			begin := time.Now()
			if _, err := client.Recognize(t.Context(), bytes.NewReader(audio), nls.RecognitionParams{Format: c.format, Extra: pcm}, c.opts); err != nil {
				t.Error(err)
			}
			took["Recognize"] = time.Since(begin)
			begin = time.Now()
			for _, err := range client.Transcribe(t.Context(), bytes.NewReader(audio), nls.TranscriptionParams{Format: c.format, Extra: pcm}, c.opts) {
				t.Error(err)
			}
			took["Transcribe"] = time.Since(begin)
			want := time.Duration(0)
			if c.rate > 0 {
				want = time.Duration(len(audio)) * time.Second / time.Duration(c.rate)
			}
			for call, took := range took {
				if took > want || took < want-time.Second/2 {
					t.Errorf("%s of %q with %+v: %v, want %v", call, c.format, c.opts, took, want)
				}
			}
		})
	}
	t.Run("8 kHz", func(t *testing.T) {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			begin := time.Now()
			_, err := clientOf(t, server).Recognize(t.Context(), bytes.NewReader(make([]byte, 160000)), nls.RecognitionParams{SampleRate: 8000}, nls.PumpOptions{})
			if took := time.Since(begin); err != nil || took < 9900*time.Millisecond || took > 10*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	})
}

func TestAudioFromAPipe(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	for call, listen := range listeners {
		wg.Go(func() {
			r, w, err := os.Pipe()
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			go func() {
				defer w.Close()
				for chunk := range slices.Chunk(spokenAudio()[:len(spokenAudio())/2*2], 1000) {
					w.Write(chunk)
				}
			}()
			text, err := listen(t.Context(), clientOf(t, server), r)
			if err != nil || text != spoken {
				t.Errorf("%s = %q, %v", call, text, err)
			}
		})
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
