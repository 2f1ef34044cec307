package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// wavOf is a WAV file of 16-bit samples.
func wavOf(t testing.TB, sampleRate, channels int, pcm []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := nls.NewWAVWriter(&b, nls.WAVFormat{SampleRate: sampleRate, Channels: channels, DataSize: int64(len(pcm))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(pcm); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// spokenFile is a WAV file that says spoken.
func spokenFile(t testing.TB) []byte { return wavOf(t, nls.DefaultSampleRate, 1, spokenAudio()) }

// serving is the web with one file on it.
func serving(file []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(file) })
}

const fileLink = "https://files.example/a.wav"

// lengthless is a Reader that has nothing but Read.
type lengthless struct{ io.Reader }

func TestAFileIsTranscribed(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{Files: serving(spokenFile(t))})
	defer server.Close()
	client := clientOf(t, server)
	file := filepath.Join(t.TempDir(), "a.wav")
	if err := os.WriteFile(file, spokenFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() io.Reader {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	for name, c := range map[string]struct {
		r io.Reader
		p nls.FileParams
	}{
		"a file":              {open(), nls.FileParams{}},
		"bytes":               {bytes.NewReader(spokenFile(t)), nls.FileParams{}},
		"a pipe":              {lengthless{bytes.NewReader(spokenFile(t))}, nls.FileParams{}},
		"one byte at a time":  {lengthless{iotestOneByte{bytes.NewReader(spokenFile(t))}}, nls.FileParams{Format: nls.FormatWAV}},
		"a URL":               {nil, nls.FileParams{URL: fileLink}},
		"a URL of an address": {nil, nls.FileParams{URL: "http://192.0.2.1/a", Format: nls.FormatWAV}},
		"raw PCM":             {bytes.NewReader(spokenAudio()), nls.FileParams{Extra: map[string]any{"format": "pcm"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.p.EnableWords = true
			result, err := client.RecognizeFile(t.Context(), c.r, c.p)
			if err != nil {
				t.Fatal(err)
			}
			if got := result.Text(); got != spoken {
				t.Errorf("the text is %q, want %q", got, spoken)
			}
			length := time.Duration(len(spokenAudio())) * time.Second / (2 * nls.DefaultSampleRate)
			if d := result.Duration - length; d.Abs() > 50*time.Millisecond {
				t.Errorf("Duration = %v, want %v", result.Duration, length)
			}
			if len(result.TaskID) != 32 || len(result.Raw) == 0 {
				t.Errorf("TaskID %q, %d bytes of Raw", result.TaskID, len(result.Raw))
			}
			first := result.Sentences[0]
			if len(first.Words) < 2 || first.Words[0].Text != "你好" || first.Words[1].Start <= first.Words[0].Start {
				t.Errorf("words %v", first.Words)
			}
			if first.End <= first.Begin || first.End > result.Duration {
				t.Errorf("from %v to %v of %v", first.Begin, first.End, result.Duration)
			}
		})
	}
	if got := server.Stats().MaxConcurrent; got != 1 {
		t.Errorf("%d places were taken at a time", got)
	}
}

// iotestOneByte gives one byte for each Read.
type iotestOneByte struct{ io.Reader }

func (r iotestOneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }

func TestTheChannelsOfAFileAreHeardOneByOne(t *testing.T) {
	t.Parallel()
	left, right := speech("左。"), speech("右边。")
	stereo := make([]byte, 2*len(right))
	for i := 0; i < len(right); i += 2 {
		copy(stereo[2*i+2:], right[i:i+2])
		if i < len(left) {
			copy(stereo[2*i:], left[i:i+2])
		}
	}
	file := wavOf(t, 16000, 2, stereo)
	server := nlstest.NewServer(nlstest.Options{Files: serving(file)})
	defer server.Close()
	client := clientOf(t, server)
	for first, want := range map[bool]string{false: "0 左。 1 右边。", true: "0 左。"} {
		result, err := client.RecognizeFile(t.Context(), bytes.NewReader(file), nls.FileParams{FirstChannelOnly: first})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range result.Sentences {
			got = append(got, fmt.Sprint(s.Channel, " ", s.Text))
		}
		slices.Sort(got)
		if g := strings.Join(got, " "); g != want {
			t.Errorf("FirstChannelOnly %v: %q, want %q", first, g, want)
		}
	}
	task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink, EnableWords: true})
	if err != nil {
		t.Fatal(err)
	}
	result, err := client.WaitFile(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range result.Sentences {
		text := ""
		for _, w := range s.Words {
			text += w.Text
		}
		if want := strings.TrimRight(s.Text, "。"); text != want {
			t.Errorf("the words of channel %d are %q, want %q", s.Channel, text, want)
		}
	}
}

// An hour of audio comes back exactly, in less than a minute, and none of it is kept:
// the gateway has its part of the heap too, and the file is on disk.
func TestALongFileComesBackExactly(t *testing.T) {
	length := time.Duration(effort.Times(60, 10)) * time.Minute
	name := filepath.Join(t.TempDir(), "long.wav")
	want := speakFor(t, name, length)
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client := clientOf(t, server)

	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var now runtime.MemStats
			runtime.GC() // what lives counts, and not what waits to be collected
			runtime.ReadMemStats(&now)
			most.Store(max(most.Load(), now.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	begin := time.Now()
	result, err := client.RecognizeFile(t.Context(), file, nls.FileParams{EnableWords: true, EnableInverseTextNormalization: true})
	took := time.Since(begin)
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Text(); got != want {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%d bytes of text, want %d; they differ at %d", len(got), len(want), at)
	}
	if result.Duration < length {
		t.Errorf("Duration = %v", result.Duration)
	}
	grown := int64(most.Load()) - int64(before.HeapAlloc)
	t.Logf("%v of audio in %v, %d sentences, %d KiB of heap with the gateway's", result.Duration, took, len(result.Sentences), grown>>10)
	if grown > 16<<20 {
		t.Errorf("%d MiB of heap", grown>>20)
	}
	if took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// speakFor writes a WAV file of at least length, of 8 kHz, which is less than 100 MB,
// and returns its text.
func speakFor(t *testing.T, name string, length time.Duration) string {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := nls.NewWAVWriter(file, nls.WAVFormat{SampleRate: 8000})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	voice := nlstest.Voice{SampleRate: 8000, Volume: nls.DefaultVolume}
	for samples, n := 0, 0; samples < int(length.Seconds())*8000; n++ {
		sentence := fmt.Sprintf("第%d句，春眠不觉晓，处处闻啼鸟，夜来风雨声，花落知多少。", n)
		text.WriteString(sentence)
		if err := nlstest.Loopback().Synthesize(t.Context(), sentence, voice, func(pcm []byte, _ []nls.Subtitle) error {
			samples += len(pcm) / 2
			_, err := w.Write(pcm)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// countingTransport counts the calls of an action, and may answer in its place.
type countingTransport struct {
	http.RoundTripper
	calls  []time.Time
	answer func(n int, r *http.Request) (*http.Response, error) // nil, nil passes the call on
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet { // GetTaskResult
		c.calls = append(c.calls, time.Now())
		if c.answer != nil {
			if resp, err := c.answer(len(c.calls), r); resp != nil || err != nil {
				return resp, err
			}
		}
	}
	return c.RoundTripper.RoundTrip(r)
}

// taking is the web with a file on it that takes its time to come.
func taking(d time.Duration, file []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			_, _ = w.Write(file)
		case <-r.Context().Done():
		}
	})
}

// waiting runs f in a bubble, with a task that takes as long as length.
func waiting(t *testing.T, length time.Duration, f func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport)) {
	inBubble(t, nlstest.Options{Files: taking(length, spokenFile(t))}, func(t *testing.T, server *nlstest.Server) {
		counting := &countingTransport{}
		client := clientOf(t, server, func(cfg *nls.Config) {
			counting.RoundTripper = cfg.TokenOptions.Transport
			cfg.TokenOptions.Transport = counting
		})
		task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink})
		if err != nil {
			t.Fatal(err)
		}
		f(t, client, task, counting)
	})
}

// Without NLS_THOROUGH the task takes an hour.
func TestWaitFileAsksForAThreeHourTaskAtMost400Times(t *testing.T) {
	t.Parallel()
	length, most := time.Duration(effort.Times(180, 60))*time.Minute, effort.Times(400, 150)
	waiting(t, length, func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport) {
		begin := time.Now()
		result, err := client.WaitFile(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		if got := result.Text(); got != spoken {
			t.Errorf("the text is %q", got)
		}
		took := time.Since(begin)
		t.Logf("%d questions in %v", len(c.calls), took)
		if n := len(c.calls); n > most || n < 50 {
			t.Errorf("%d questions", n)
		}
		if late := took - length; late < 0 || late > 40*time.Second {
			t.Errorf("the result came after %v", took)
		}
		for i := 1; i < len(c.calls); i++ {
			if pause := c.calls[i].Sub(c.calls[i-1]); pause < time.Second {
				t.Errorf("question %d came %v after the last", i+1, pause)
			}
		}
	})
}

func TestTheEndOfItsContextEndsWaitFileAtOnce(t *testing.T) {
	t.Parallel()
	waiting(t, 3*time.Hour, func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport) {
		for name, end := range map[string]struct {
			ctx func() (context.Context, context.CancelFunc)
			is  error
		}{
			"deadline": {func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), 7*time.Minute+100*time.Millisecond)
			}, context.DeadlineExceeded},
			"cancelled": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(7*time.Minute+100*time.Millisecond, cancel)
				return ctx, cancel
			}, context.Canceled},
		} {
			ctx, cancel := end.ctx()
			begin := time.Now()
			_, err := client.WaitFile(ctx, task)
			if took := time.Since(begin); took != 7*time.Minute+100*time.Millisecond {
				t.Errorf("%s: it took %v", name, took)
			}
			if !errors.Is(err, end.is) || nls.TaskID(err) != task.ID {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			time.Sleep(time.Second)
		}
	})
}

func TestThrottlingSlowsWaitFile(t *testing.T) {
	t.Parallel()
	waiting(t, time.Hour, func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport) {
		throttled := &http.Response{StatusCode: 400, Header: http.Header{}}
		c.answer = func(n int, r *http.Request) (*http.Response, error) {
			if n < 20 {
				resp := *throttled
				resp.Body = io.NopCloser(strings.NewReader(`{"Code":"Throttling.User","Message":"Request was denied due to user flow control."}`))
				return &resp, nil
			}
			return nil, nil
		}
		if result, err := client.WaitFile(t.Context(), task); err != nil || result.Text() != spoken {
			t.Fatal(result, err)
		}
		for i := 1; i < 6; i++ {
			before, after := c.calls[i].Sub(c.calls[i-1]), c.calls[i+1].Sub(c.calls[i])
			if after < 2*before && after < 2*time.Minute {
				t.Errorf("the pause after question %d is %v, after %v", i+1, after, before)
			}
		}
		if n := len(c.calls); n > 400 {
			t.Errorf("%d questions", n)
		}
	})
}

// The gateway itself throttles who asks twice within a second.
func TestOneQuestionASecondIsAnsweredForEachTask(t *testing.T) {
	t.Parallel()
	waiting(t, time.Hour, func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport) {
		if _, err := client.FileStatus(t.Context(), task); !errors.Is(err, nls.ErrFileRunning) || nls.TaskID(err) != task.ID {
			t.Errorf("the first question: %v", err)
		}
		_, err := client.FileStatus(t.Context(), task)
		if e, ok := errors.AsType[*nls.APIError](err); !ok || e.Code != "Throttling.User" || !nls.Retryable(err) {
			t.Errorf("the second: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := client.FileStatus(t.Context(), task); !errors.Is(err, nls.ErrFileRunning) || nls.Retryable(err) {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestWaitFileBearsABrokenNetworkForTwoMinutes(t *testing.T) {
	t.Parallel()
	waiting(t, time.Hour+2*time.Minute, func(t *testing.T, client *nls.Client, task nls.FileTask, c *countingTransport) {
		broken := errors.New("no network")
		down, up := time.Now().Add(time.Hour), time.Now().Add(time.Hour+time.Minute)
		c.answer = func(int, *http.Request) (*http.Response, error) {
			if now := time.Now(); now.After(down) && now.Before(up) {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, nil
		}
		if result, err := client.WaitFile(t.Context(), task); err != nil || result.Text() != spoken {
			t.Errorf("after a minute without a network: %v, %v", result, err)
		}
		begin := time.Now()
		c.answer = func(int, *http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
		_, err := client.WaitFile(t.Context(), task)
		if took := time.Since(begin); !errors.Is(err, io.ErrUnexpectedEOF) || took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("without a network: %v after %v", err, took)
		}
		c.answer = func(int, *http.Request) (*http.Response, error) { return nil, broken }
		begin = time.Now()
		if _, err := client.WaitFile(t.Context(), task); !errors.Is(err, broken) || time.Since(begin) != 0 {
			t.Errorf("what will not pass: %v after %v", err, time.Since(begin))
		}
	})
}

func TestATaskIsQueuedRunsAndHasAResult(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Files: taking(time.Minute, spokenFile(t)), ReplyDelay: 10 * time.Second}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		for _, lite := range []bool{false, true} {
			task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink, Lite: lite})
			if err != nil {
				t.Fatal(err)
			}
			var states []string
			for {
				result, err := client.FileStatus(t.Context(), task)
				if err == nil {
					if result.Text() != spoken || result.TaskID != task.ID {
						t.Errorf("lite %v: %+v", lite, result)
					}
					break
				}
				if !errors.Is(err, nls.ErrFileRunning) {
					t.Fatal(err)
				}
				states = append(states, err.Error())
				time.Sleep(time.Second)
			}
			if n := len(states); n < 70 || n > 71 {
				t.Errorf("lite %v: running for %d s", lite, n)
			}
			// The other edition does not know it.
			_, err = client.FileStatus(t.Context(), nls.FileTask{ID: task.ID, Lite: !lite})
			if nls.StatusCode(err) != nls.StatusFileTaskExpired {
				t.Errorf("the other edition says %v", err)
			}
			time.Sleep(72*time.Hour + time.Minute)
			if _, err = client.FileStatus(t.Context(), task); nls.StatusCode(err) != nls.StatusFileTaskExpired {
				t.Errorf("after 72 hours: %v", err)
			}
		}
	})
}

func TestACallbackHasTheResult(t *testing.T) {
	t.Parallel()
	var got *nls.FileResult
	var failed error
	called := make(chan struct{}, 1)
	file := spokenFile(t)
	web := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.Host == "callbacks.example" && r.URL.Path == "/done":
			got, failed = nls.ParseFileCallback(r)
			called <- struct{}{}
		case r.URL.Path == "/a.wav":
			_, _ = w.Write(file)
		default:
			http.NotFound(w, r)
		}
	})
	inBubble(t, nlstest.Options{Files: web}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		for link, status := range map[string]int{fileLink: -1, "https://files.example/missing.wav": nls.StatusFileNotFound} {
			task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: link, CallbackURL: "https://callbacks.example/done"})
			if err != nil {
				t.Fatal(err)
			}
			<-called
			synctest.Wait()
			if nls.StatusCode(failed) != status {
				t.Errorf("%s: %v", link, failed)
			}
			if status == -1 && (got.Text() != spoken || got.TaskID != task.ID) {
				t.Errorf("the callback has %+v, %v", got, failed)
			} else if status != -1 && nls.TaskID(failed) != task.ID {
				t.Errorf("the callback is about %q", nls.TaskID(failed))
			}
		}
	})
}

// On loopback a callback goes over the network.
func TestACallbackIsPostedToALoopbackAddress(t *testing.T) {
	results := make(chan *nls.FileResult, 1)
	callbacks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result, err := nls.ParseFileCallback(r)
		if err != nil {
			t.Error(err)
		}
		results <- result
	}))
	defer callbacks.Close()
	server := nlstest.NewServer(nlstest.Options{Files: serving(spokenFile(t))})
	defer server.Close()
	if _, err := clientOf(t, server).SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink, CallbackURL: callbacks.URL + "/x"}); err != nil {
		t.Fatal(err)
	}
	select {
	case result := <-results:
		if result.Text() != spoken {
			t.Errorf("%+v", result)
		}
	case <-time.After(10 * time.Second):
		t.Error("no callback")
	}
}

func TestRecognizeFileTakesAPlaceAndDrainWaitsForIt(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Files: taking(20*time.Second, spokenFile(t))}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, func(cfg *nls.Config) {
			cfg.Limiter = nls.NewLimiter(nls.Limits{ByNamespace: map[string]int{"FlashRecognizer": 1}})
		})
		begin := time.Now()
		var wg sync.WaitGroup
		var ends []time.Duration
		var mu sync.Mutex
		for range 3 {
			wg.Go(func() {
				if _, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: fileLink}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				ends = append(ends, time.Since(begin))
				mu.Unlock()
			})
		}
		time.Sleep(time.Second)
		if err := client.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if want := []time.Duration{20 * time.Second, 40 * time.Second, 60 * time.Second}; !slices.Equal(ends, want) {
			t.Errorf("they ended after %v, want %v", ends, want)
		}
		if _, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: fileLink}); !errors.Is(err, nls.ErrClientDrained) {
			t.Errorf("after Drain: %v", err)
		}
	})
	inBubble(t, nlstest.Options{Files: taking(40*time.Second, spokenFile(t))}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		ended := make(chan error, 1)
		go func() {
			_, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: fileLink})
			ended <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := client.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
		if err := <-ended; !errors.Is(err, nls.ErrShutdown) {
			t.Errorf("the file that ran: %v", err)
		}
	})
}

// A refused token is replaced once, and the file is sent from its beginning.
func TestARefusedTokenCostsAFileNothing(t *testing.T) {
	t.Parallel()
	long := wavOf(t, 16000, 1, append(make([]byte, 4<<20), spokenAudio()...))
	server := nlstest.NewServer(nlstest.Options{Files: serving(spokenFile(t))})
	defer server.Close()
	for name, c := range map[string]struct {
		r    io.Reader
		p    nls.FileParams
		sent bool
	}{
		"a file that can seek": {bytes.NewReader(long), nls.FileParams{}, true},
		"a short pipe":         {lengthless{bytes.NewReader(spokenFile(t)[:40<<10])}, nls.FileParams{}, true},
		"a long pipe":          {lengthless{bytes.NewReader(long)}, nls.FileParams{}, false},
		"a URL":                {nil, nls.FileParams{URL: fileLink}, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := server.Stats().Tokens
			client := clientOf(t, server, func(cfg *nls.Config) { cfg.Token = "no-such-token" })
			result, err := client.RecognizeFile(t.Context(), c.r, c.p)
			switch {
			case c.sent && err != nil:
				t.Error(err)
			case c.sent && result.Text() == "":
				t.Error("no text")
			case !c.sent && !errors.Is(err, nls.ErrAccessDenied):
				t.Errorf("%v, want a refusal", err)
			}
			if n := server.Stats().Tokens - before; c.sent && n != 1 {
				t.Errorf("%d tokens", n)
			}
			// The next one has a good token from the start.
			if _, err := client.RecognizeFile(t.Context(), lengthless{bytes.NewReader(long)}, nls.FileParams{}); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	}
	t.Run("a token alone", func(t *testing.T) {
		client := clientOf(t, server, withToken, func(cfg *nls.Config) { cfg.Token = "no-such-token" })
		_, err := client.RecognizeFile(t.Context(), bytes.NewReader(long), nls.FileParams{})
		if !errors.Is(err, nls.ErrAccessDenied) || nls.StatusCode(err) != nls.StatusAccessDenied || nls.TaskID(err) == "" || nls.Retryable(err) {
			t.Errorf("%v", err)
		}
		if strings.Contains(err.Error(), "no-such-token") {
			t.Errorf("the token is shown: %v", err)
		}
	})
}

func TestFileTasksNeedAnAccessKey(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client := clientOf(t, server, withToken)
	_, err1 := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink})
	_, err2 := client.FileStatus(t.Context(), nls.FileTask{ID: "x"})
	_, err3 := client.WaitFile(t.Context(), nls.FileTask{ID: "x"})
	for _, err := range []error{err1, err2, err3} {
		if e, ok := errors.AsType[*nls.ParamError](err); !ok || e.Param != "AccessKeyID" {
			t.Errorf("%v", err)
		}
	}
}
