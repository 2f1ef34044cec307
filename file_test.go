package nls_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// flashRequest is what a gateway gets of a RecognizeFile.
type flashRequest struct {
	path, contentType string
	query             url.Values
	length            int64
	chunked           bool
	header            http.Header
	body              []byte
}

const flashSuccess = `{"task_id":"11112222333344445555666677778888","status":20000000,"message":"SUCCESS","flash_result":{"duration":1000,"latency":5,"completed":true,"sentences":[]}}`

// flashGateway is a gateway that keeps the last request and answers with answer.
func flashGateway(t *testing.T, answer string) (nls.Config, *flashRequest) {
	t.Helper()
	got := new(flashRequest)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*got = flashRequest{r.URL.Path, r.Header.Get("Content-Type"), r.URL.Query(), r.ContentLength, len(r.TransferEncoding) > 0, r.Header, body}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return nls.Config{URL: "ws" + strings.TrimPrefix(s.URL, "http") + "/ws/v1", AppKey: "some key", Token: "some&token="}, got
}

func clientFor(t testing.TB, cfg nls.Config) *nls.Client {
	t.Helper()
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// heads are the first bytes of files.
var heads = map[nls.Format]string{
	nls.FormatWAV:  "RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00",
	nls.FormatMP3:  "ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00",
	nls.FormatAAC:  "\xff\xf1\x50\x80\x02\x1f\xfc",
	nls.FormatMP4:  "\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00",
	nls.FormatOpus: "OggS\x00\x02\x00\x00\x00\x00\x00\x00",
}

// The rows of protocol §10.4.
func TestEachParameterOfRecognizeFileIsOnTheWire(t *testing.T) {
	for _, c := range []struct {
		param, want string
		p           nls.FileParams
	}{
		{"appkey", "some key", nls.FileParams{}},
		{"token", "some&token=", nls.FileParams{}},
		{"format", "wav", nls.FileParams{}},
		{"format", "mp3", nls.FileParams{Format: nls.FormatMP3}},
		{"sample_rate", "16000", nls.FileParams{}},
		{"sample_rate", "8000", nls.FileParams{SampleRate: 8000}},
		{"vocabulary_id", "v", nls.FileParams{VocabularyID: "v"}},
		{"customization_id", "c", nls.FileParams{CustomizationID: "c"}},
		{"enable_inverse_text_normalization", "true", nls.FileParams{EnableInverseTextNormalization: true}},
		{"enable_word_level_result", "true", nls.FileParams{EnableWords: true}},
		{"enable_timestamp_alignment", "true", nls.FileParams{EnableTimestampAlignment: true}},
		{"first_channel_only", "true", nls.FileParams{FirstChannelOnly: true}},
		{"speech_noise_threshold", "-0.5", nls.FileParams{SpeechNoiseThreshold: new(-0.5)}},
		{"speech_noise_threshold", "0", nls.FileParams{SpeechNoiseThreshold: new(0.0)}},
		{"sentence_max_length", "20", nls.FileParams{SentenceMaxLength: 20}},
		{"special_word_filter", `{"filter":["<a>"]}`, nls.FileParams{Extra: map[string]any{"special_word_filter": map[string]any{"filter": []string{"<a>"}}}}},
		{"special_word_filter", `{"x":1}`, nls.FileParams{Extra: map[string]any{"special_word_filter": `{"x":1}`}}},
		{"format", "pcm", nls.FileParams{Format: "nonsense", Extra: map[string]any{"format": "pcm"}}},
		{"first_channel_only", "false", nls.FileParams{FirstChannelOnly: true, Extra: map[string]any{"first_channel_only": false}}},
		{"audio_address", "https://files.example/a.mp3?x=1&y=2", nls.FileParams{URL: " https://files.example/a.mp3?x=1&y=2\n"}},
	} {
		cfg, got := flashGateway(t, flashSuccess)
		var r io.Reader
		if c.p.URL == "" {
			r = strings.NewReader(heads[nls.FormatWAV])
		}
		if _, err := clientFor(t, cfg).RecognizeFile(t.Context(), r, c.p); err != nil {
			t.Errorf("%+v: %v", c.p, err)
			continue
		}
		if got.path != "/stream/v1/FlashRecognizer" || got.query.Get(c.param) != c.want || len(got.query[c.param]) != 1 {
			t.Errorf("%s: %s = %q, want %q", got.path, c.param, got.query[c.param], c.want)
		}
		// And nothing else.
		want := map[string]bool{"appkey": true, "token": true, "format": true, "sample_rate": true, c.param: true}
		for key := range got.query {
			if !want[key] {
				t.Errorf("%s is sent with %s", key, c.param)
			}
		}
		switch {
		case c.p.URL != "" && (got.contentType != "application/text" || got.length != 0 || len(got.body) != 0 || got.query.Get("format") != "mp3"):
			t.Errorf("a URL is sent as %s with %d bytes, as %s", got.contentType, got.length, got.query.Get("format"))
		case c.p.URL == "" && (got.contentType != "application/octet-stream" || string(got.body) != heads[nls.FormatWAV]):
			t.Errorf("a file is sent as %s with %d bytes", got.contentType, len(got.body))
		}
	}
}

func TestTheFirstBytesOfAFileSayItsFormat(t *testing.T) {
	cfg, got := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	for format, head := range heads {
		// However slowly they come.
		if _, err := client.RecognizeFile(t.Context(), iotest.OneByteReader(strings.NewReader(head)), nls.FileParams{}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if got.query.Get("format") != string(format) || string(got.body) != head {
			t.Errorf("%s is sent as %s: %q", format, got.query.Get("format"), got.body)
		}
	}
	for rate, want := range map[int]string{8000: "8000", 16000: "16000", 44100: "16000"} {
		var b bytes.Buffer
		w, err := nls.NewWAVWriter(&b, nls.WAVFormat{SampleRate: rate})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(make([]byte, 100))
		if _, err := client.RecognizeFile(t.Context(), &b, nls.FileParams{}); err != nil || got.query.Get("sample_rate") != want {
			t.Errorf("%d Hz is sent as sample_rate=%s, %v", rate, got.query.Get("sample_rate"), err)
		}
	}
	for what, head := range map[string]string{"a FLAC file": "fLaC....", "an AMR file": "#!AMR\n", "no WAV": strings.Repeat("\x00\x01", 100), "empty": ""} {
		*got = flashRequest{}
		_, err := client.RecognizeFile(t.Context(), strings.NewReader(head), nls.FileParams{})
		if paramOf(err) != "audio" || !strings.Contains(err.Error(), what) || got.path != "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := client.RecognizeFile(t.Context(), strings.NewReader("fLaC"), nls.FileParams{Format: nls.FormatAAC}); err != nil {
		t.Errorf("a Format that is set is believed, but %v", err)
	}
}

func TestTheLengthOfAFileIsSentWhereItIsKnown(t *testing.T) {
	data := append([]byte(heads[nls.FormatWAV]), make([]byte, 300<<10)...)
	name := filepath.Join(t.TempDir(), "a.wav")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	behind := bytes.NewReader(append([]byte("before"), data...))
	if _, err := behind.Seek(6, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	pipe, w := io.Pipe()
	go func() {
		_, _ = w.Write(data)
		w.Close()
	}()
	for name, c := range map[string]struct {
		r     io.Reader
		known bool
	}{
		"a file":             {file, true},
		"a section":          {io.NewSectionReader(file, 0, int64(len(data))), true},
		"a buffer":           {bytes.NewBuffer(slices.Clone(data)), true},
		"the rest of a file": {behind, true},
		"a pipe":             {pipe, false},
		"a reader":           {io.MultiReader(bytes.NewReader(data)), false},
	} {
		cfg, got := flashGateway(t, flashSuccess)
		if _, err := clientFor(t, cfg).RecognizeFile(t.Context(), c.r, nls.FileParams{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.known && got.length != int64(len(data)) || !c.known && !got.chunked || !bytes.Equal(got.body, data) {
			t.Errorf("%s: length %d, chunked %v, %d bytes", name, got.length, got.chunked, len(got.body))
		}
	}
}

// changing is a file that has another size when it is read.
type changing struct {
	*bytes.Reader
	len int
}

func (c changing) Len() int { return c.len }

func TestAFileThatChangesMeanwhile(t *testing.T) {
	data := append([]byte(heads[nls.FormatWAV]), make([]byte, 200<<10)...)
	cfg, got := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	if _, err := client.RecognizeFile(t.Context(), changing{bytes.NewReader(data), len(data) - 1000}, nls.FileParams{}); err != nil || len(got.body) != len(data)-1000 {
		t.Errorf("one that grows: %d bytes, %v", len(got.body), err)
	}
	_, err := client.RecognizeFile(t.Context(), changing{bytes.NewReader(data), len(data) + 1000}, nls.FileParams{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "read audio") {
		t.Errorf("one that shrinks: %v", err)
	}
}

// endless is a file without an end, and without a known size.
type endless struct{ head io.Reader }

func (e endless) Read(p []byte) (int, error) {
	if n, err := e.head.Read(p); err == nil {
		return n, nil
	}
	return len(p), nil
}

func TestAFileOfMoreThan100MB(t *testing.T) {
	effort.Thorough(t)
	cfg, got := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	large := changing{bytes.NewReader([]byte(heads[nls.FormatWAV])), 100<<20 + 1}
	if _, err := client.RecognizeFile(t.Context(), large, nls.FileParams{}); paramOf(err) != "audio" || got.path != "" {
		t.Errorf("whose size is known: %v", err)
	}
	if _, err := client.RecognizeFile(t.Context(), endless{strings.NewReader(heads[nls.FormatWAV])}, nls.FileParams{}); paramOf(err) != "audio" {
		t.Errorf("without an end: %v", err)
	}
}

func TestTheErrorOfAReaderIsReturned(t *testing.T) {
	cfg, _ := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	broken := errors.New("the disk is broken")
	for name, before := range map[string]string{"at once": "", "behind the first bytes": heads[nls.FormatWAV], "in mid-file": heads[nls.FormatWAV] + strings.Repeat("x", 500<<10)} {
		r := io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))
		if _, err := client.RecognizeFile(t.Context(), r, nls.FileParams{}); !errors.Is(err, broken) || nls.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A Read that never returns holds up nothing.
func TestAReadThatNeverReturnsEndsWithTheContext(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	cfg, _ := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	for name, before := range map[string]string{"first": "", "later": heads[nls.FormatWAV] + strings.Repeat("x", 500<<10)} {
		stuck, release := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		_, err := client.RecognizeFile(ctx, io.MultiReader(strings.NewReader(before), stuck), nls.FileParams{})
		cancel()
		if !errors.Is(err, nls.ErrCompleteTimeout) || !errors.Is(err, context.DeadlineExceeded) || nls.Retryable(err) || !strings.HasPrefix(err.Error(), "nls: recognize file: timed out") || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err = client.RecognizeFile(ctx, io.MultiReader(strings.NewReader(before), stuck), nls.FileParams{}); !errors.Is(err, context.Canceled) || nls.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		release.Close()
	}
}

// lingering is a file of which a Read takes a moment to see that ctx has ended.
type lingering struct {
	ctx     context.Context
	head    io.Reader
	running atomic.Bool
}

func (l *lingering) Read(p []byte) (int, error) {
	if n, err := l.head.Read(p); err == nil {
		return n, nil
	}
	l.running.Store(true)
	defer l.running.Store(false)
	<-l.ctx.Done()
	time.Sleep(5 * time.Millisecond)
	return 0, l.ctx.Err()
}

// One that ends with the context is over when the call returns.
func TestAReadThatEndsSoonIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{"first": "", "later": heads[nls.FormatWAV] + strings.Repeat("x", 500<<10)} {
		synctest.Test(t, func(t *testing.T) {
			client := clientFor(t, nlstest.New(t, nlstest.Options{Pipe: true}).Config())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r := &lingering{ctx: ctx, head: strings.NewReader(before)}
			_, err := client.RecognizeFile(ctx, r, nls.FileParams{})
			if r.running.Load() || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, with a Read under way", name, err)
			}
		})
	}
}

// Numbers come as numbers and as strings, and whatever makes no sense is left out.
func TestResultsOfRecognizeFile(t *testing.T) {
	word := func(text string, start, end int) nls.Word {
		return nls.Word{Text: text, Start: time.Duration(start) * time.Millisecond, End: time.Duration(end) * time.Millisecond}
	}
	for name, c := range map[string]struct {
		result string
		want   []nls.FileSentence
	}{
		"as seen live": {`{"duration":3000,"sentences":[{"text":"hello world. ","begin_time":880,"end_time":2000,"channel_id":1,
			"words":[{"text":"hello ","begin_time":"880","end_time":"1200","punc":""},{"text":"world ","begin_time":"1200","end_time":"2000","punc":". "}]}]}`,
			[]nls.FileSentence{{Text: "hello world. ", Begin: 880 * time.Millisecond, End: 2 * time.Second, Channel: 1,
				Words: []nls.Word{word("hello", 880, 1200), word("world", 1200, 2000)}}}},
		"as documented": {`{"duration":"3000","sentences":[{"text":"北京","begin_time":"10","end_time":"20","channel_id":"0","words":[{"text":"北京","begin_time":10,"end_time":20}]}]}`,
			[]nls.FileSentence{{Text: "北京", Begin: 10 * time.Millisecond, End: 20 * time.Millisecond, Words: []nls.Word{word("北京", 10, 20)}}}},
		"nonsense":     {`{"duration":3000,"sentences":[null,5,[],{"text":{},"begin_time":"x"},{"text":"a","words":{}}]}`, []nls.FileSentence{{}, {Text: "a"}}},
		"no sentences": {`{"duration":3000}`, nil},
	} {
		cfg, _ := flashGateway(t, strings.Replace(flashSuccess, `{"duration":1000,"latency":5,"completed":true,"sentences":[]}`, c.result, 1))
		got, err := clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got.Sentences, c.want) || got.Duration != 3*time.Second || got.TaskID != "11112222333344445555666677778888" || !json.Valid(got.Raw) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// fileCalls is a Transport that keeps the last call of the file service, and answers.
type fileCalls struct {
	url    *url.URL
	method string
	params url.Values
	answer string
	status int
}

func (f *fileCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	f.url, f.method, f.params = r.URL, r.Method, r.URL.Query()
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		f.params, _ = url.ParseQuery(string(body))
	}
	status := f.status
	if status == 0 {
		status = 200
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f.answer)), Request: r}, nil
}

const submitted = `{"TaskId":"t1","RequestId":"R","StatusText":"SUCCESS","StatusCode":21050000}`

func filesClient(t *testing.T, calls *fileCalls, change func(*nls.Config)) *nls.Client {
	cfg := nls.Config{AppKey: "k", AccessKeyID: "id", AccessKeySecret: "secret", TokenOptions: &nls.TokenOptions{Transport: calls}}
	if change != nil {
		change(&cfg)
	}
	return clientFor(t, cfg)
}

// The rows of protocol §10.5, as §16.4 corrects them.
func TestEachParameterOfSubmitFileIsOnTheWire(t *testing.T) {
	link := "https://files.example/a.wav?x=<1>&y=2"
	for _, c := range []struct {
		want string // of the task, besides the usual
		p    nls.FileTaskParams
	}{
		{`{}`, nls.FileTaskParams{}},
		{`{"enable_callback":true,"callback_url":"http://10.0.0.1/x"}`, nls.FileTaskParams{CallbackURL: "http://10.0.0.1/x"}},
		{`{"enable_words":true}`, nls.FileTaskParams{EnableWords: true}},
		{`{"enable_sample_rate_adaptive":true}`, nls.FileTaskParams{EnableSampleRateAdaptive: true}},
		{`{"auto_split":true}`, nls.FileTaskParams{AutoSplit: true}},
		{`{"auto_split":true,"speaker_num":3,"supervise_type":1}`, nls.FileTaskParams{AutoSplit: true, SpeakerNum: 3}},
		{`{"enable_inverse_text_normalization":true}`, nls.FileTaskParams{EnableInverseTextNormalization: true}},
		{`{"enable_disfluency":true}`, nls.FileTaskParams{Disfluency: true}},
		{`{"max_end_silence":450}`, nls.FileTaskParams{MaxEndSilence: 450 * time.Millisecond}},
		{`{"vocabulary_id":"v"}`, nls.FileTaskParams{VocabularyID: "v"}},
		{`{"customization_id":"c"}`, nls.FileTaskParams{CustomizationID: "c"}},
		{`{"enable_punctuation_prediction":false,"valid_times":[{"begin_time":1,"end_time":2,"channel_id":0}],"max_single_segment_time":14000,
			"class_vocabulary_id":"x","enable_semantic_sentence_detection":true,"enable_timestamp_alignment":true,"first_channel_only":false,
			"sentence_max_length":20,"special_word_filter":{"a":1},"supervise_type":2,"punctuation_mark":true,"version":"2.0"}`,
			nls.FileTaskParams{Extra: map[string]any{
				"enable_punctuation_prediction": false, "valid_times": []any{map[string]any{"begin_time": 1, "end_time": 2, "channel_id": 0}},
				"max_single_segment_time": 14000, "class_vocabulary_id": "x", "enable_semantic_sentence_detection": true,
				"enable_timestamp_alignment": true, "first_channel_only": false, "sentence_max_length": 20,
				"special_word_filter": map[string]any{"a": 1}, "supervise_type": 2, "punctuation_mark": true, "version": "2.0",
			}}},
	} {
		calls := &fileCalls{answer: submitted}
		c.p.URL = link
		task, err := filesClient(t, calls, nil).SubmitFile(t.Context(), c.p)
		if err != nil || task != (nls.FileTask{ID: "t1"}) {
			t.Errorf("%+v: %+v, %v", c.p, task, err)
			continue
		}
		want := map[string]any{"appkey": "k", "file_link": link, "version": "4.0"}
		var got map[string]any
		if json.Unmarshal([]byte(c.want), &want) != nil || json.Unmarshal([]byte(calls.params.Get("Task")), &got) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Task = %s, want %v", calls.params.Get("Task"), want)
		}
		if calls.method != "POST" || calls.url.RawQuery != "" || calls.params.Get("Action") != "SubmitTask" {
			t.Errorf("%s %s %s", calls.method, calls.url, calls.params.Get("Action"))
		}
	}
}

// The hosts and versions of protocol §16.4.
func TestFileTasksGoToTheHostOfTheirRegionAndEdition(t *testing.T) {
	for _, c := range []struct {
		change              func(*nls.Config)
		lite                bool
		host, version, zone string
	}{
		{nil, false, "filetrans.cn-shanghai.aliyuncs.com", "2018-08-17", "cn-shanghai"},
		{nil, true, "speechfiletranscriberlite.cn-shanghai.aliyuncs.com", "2021-12-21", "cn-shanghai"},
		{func(c *nls.Config) { c.Region = "cn-beijing" }, false, "filetrans.cn-beijing.aliyuncs.com", "2018-08-17", "cn-beijing"},
		{func(c *nls.Config) { c.Region = "cn-beijing" }, true, "speechfiletranscriberlite.cn-beijing.aliyuncs.com", "2021-12-21", "cn-beijing"},
		{func(c *nls.Config) { c.Region = "cn-shenzhen" }, false, "filetrans.cn-shenzhen.aliyuncs.com", "2018-08-17", "cn-shenzhen"},
		{func(c *nls.Config) { c.Region = "ap-southeast-1" }, false, "filetrans.ap-southeast-1.aliyuncs.com", "2019-08-23", "ap-southeast-1"},
		{func(c *nls.Config) { c.URL = "wss://nls-gateway-ap-southeast-1.aliyuncs.com/ws/v1" }, false, "filetrans.ap-southeast-1.aliyuncs.com", "2019-08-23", "ap-southeast-1"},
		{func(c *nls.Config) { c.FileEndpoint = "https://files.example:8443/" }, false, "files.example:8443", "2018-08-17", "cn-shanghai"},
		{func(c *nls.Config) { c.FileEndpoint = "files.example"; c.Region = "ap-southeast-1" }, true, "files.example", "2021-12-21", "ap-southeast-1"},
		{func(c *nls.Config) { c.TokenOptions.Endpoint = "tokens.example" }, false, "filetrans.cn-shanghai.aliyuncs.com", "2018-08-17", "cn-shanghai"},
	} {
		calls := &fileCalls{answer: submitted}
		client := filesClient(t, calls, c.change)
		task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav", Lite: c.lite})
		if err != nil {
			t.Error(err)
			continue
		}
		check := func(method, action string) {
			if calls.url.Scheme != "https" || calls.url.Host != c.host || calls.url.Path != "/" || calls.method != method ||
				calls.params.Get("Version") != c.version || calls.params.Get("RegionId") != c.zone || calls.params.Get("Action") != action {
				t.Errorf("%s: %s %s, %v; want %+v", action, calls.method, calls.url, calls.params, c)
			}
		}
		check("POST", "SubmitTask")
		calls.answer = `{"TaskId":"t1","StatusCode":21050001,"StatusText":"RUNNING"}`
		if _, err := client.FileStatus(t.Context(), task); !errors.Is(err, nls.ErrFileRunning) || task.Lite != c.lite {
			t.Errorf("%+v: %v", task, err)
		}
		check("GET", "GetTaskResult")
		if calls.params.Get("TaskId") != "t1" {
			t.Errorf("TaskId = %q", calls.params.Get("TaskId"))
		}
	}
	_, err := filesClient(t, &fileCalls{}, func(c *nls.Config) { c.Region = "ap-southeast-1" }).
		SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav", Lite: true})
	if paramOf(err) != "Lite" {
		t.Errorf("the cheaper edition at the international site: %v", err)
	}
	if _, err := nls.NewClient(nls.Config{AppKey: "k", Token: "t", FileEndpoint: "http://x/y"}); paramOf(err) != "FileEndpoint" {
		t.Errorf("FileEndpoint: %v", err)
	}
}

func TestBadParametersOfFilesAreFoundBeforeAnyIO(t *testing.T) {
	cfg, got := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	wav := func() io.Reader { return strings.NewReader(heads[nls.FormatWAV]) }
	for _, c := range []struct {
		param string
		r     io.Reader
		p     nls.FileParams
	}{
		{"audio", nil, nls.FileParams{}},
		{"URL", wav(), nls.FileParams{URL: "https://files.example/a.wav"}},
		{"URL", nil, nls.FileParams{URL: "files.example/a.wav"}},
		{"URL", nil, nls.FileParams{URL: "ftp://files.example/a.wav"}},
		{"URL", nil, nls.FileParams{URL: "https://files.example/a b.wav"}},
		{"Format", nil, nls.FileParams{URL: "https://files.example/a"}},
		{"Format", wav(), nls.FileParams{Format: "WAV"}},
		{"Format", wav(), nls.FileParams{Format: nls.FormatPCM}},
		{"SampleRate", wav(), nls.FileParams{SampleRate: 44100}},
		{"SpeechNoiseThreshold", wav(), nls.FileParams{SpeechNoiseThreshold: new(1.5)}},
		{"SpeechNoiseThreshold", wav(), nls.FileParams{SpeechNoiseThreshold: new(math.NaN())}},
		{"SentenceMaxLength", wav(), nls.FileParams{SentenceMaxLength: 3}},
		{"SentenceMaxLength", wav(), nls.FileParams{SentenceMaxLength: 51}},
		{"Extra", wav(), nls.FileParams{Extra: map[string]any{"x": make(chan int)}}},
	} {
		if _, err := client.RecognizeFile(t.Context(), c.r, c.p); paramOf(err) != c.param || got.path != "" {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
	calls := &fileCalls{answer: submitted}
	files := filesClient(t, calls, nil)
	const link = "https://files.example/a.wav"
	for _, c := range []struct {
		param string
		p     nls.FileTaskParams
	}{
		{"URL", nls.FileTaskParams{}},
		{"URL", nls.FileTaskParams{URL: "https://192.0.2.1/a.wav"}},
		{"URL", nls.FileTaskParams{URL: "https://[::1]/a.wav"}},
		{"URL", nls.FileTaskParams{URL: "https://files.example/a b.wav"}},
		{"CallbackURL", nls.FileTaskParams{URL: link, CallbackURL: "callbacks.example"}},
		{"SpeakerNum", nls.FileTaskParams{URL: link, AutoSplit: true, SpeakerNum: 1}},
		{"SpeakerNum", nls.FileTaskParams{URL: link, AutoSplit: true, SpeakerNum: 101}},
		{"SpeakerNum", nls.FileTaskParams{URL: link, SpeakerNum: 2}},
		{"MaxEndSilence", nls.FileTaskParams{URL: link, MaxEndSilence: 800}},
		{"MaxEndSilence", nls.FileTaskParams{URL: link, MaxEndSilence: -time.Second}},
		{"MaxEndSilence", nls.FileTaskParams{URL: link, MaxEndSilence: 7 * time.Second}},
		{"Extra", nls.FileTaskParams{URL: link, Extra: map[string]any{"x": math.Inf(1)}}},
	} {
		if _, err := files.SubmitFile(t.Context(), c.p); paramOf(err) != c.param || calls.url != nil {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
	if _, err := files.FileStatus(t.Context(), nls.FileTask{ID: " "}); paramOf(err) != "FileTask.ID" {
		t.Error(err)
	}
	// A signed URL is no business of an error.
	_, err := files.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://192.0.2.1/a.wav?Signature=MARKED"})
	if err == nil || strings.Contains(err.Error(), mark) {
		t.Error(err)
	}
}

// mustBeNoCallback fails the test if body is taken for the callback of a task.
func mustBeNoCallback(t *testing.T, body string) {
	t.Helper()
	_, err := nls.ParseFileCallback(httptest.NewRequest("POST", "/", strings.NewReader(body)))
	if err == nil || nls.StatusCode(err) != -1 || !strings.HasPrefix(err.Error(), "nls: file callback: ") {
		t.Errorf("%.20q: %v", body, err)
	}
}

func TestACallbackOfMoreThan64MiBIsRefused(t *testing.T) {
	effort.Thorough(t)
	mustBeNoCallback(t, `{"TaskId":"t1","StatusCode":21050000}`+strings.Repeat(" ", 64<<20))
}

// Both spellings of a callback, and of a result.
func TestCallbacksOfEitherVersionAreRead(t *testing.T) {
	const ms = time.Millisecond
	want := []nls.FileSentence{
		{Text: "北京的天气。", Begin: 340 * ms, End: 2365 * ms, Emotion: 5, SpeechRate: 177},
		{Text: "好。", Begin: 3000 * ms, End: 3500 * ms, Channel: 1, Speaker: "2"},
	}
	for name, c := range map[string]struct {
		body  string
		words bool
	}{
		"4.0": {`{"TaskId":"t1","RequestId":"R","StatusCode":21050000,"StatusText":"SUCCESS","BizDuration":4000,"RequestTime":1551164878830,"SolveTime":1551164879230,
			"Result":{"Sentences":[{"ChannelId":0,"BeginTime":340,"EndTime":2365,"Text":"北京的天气。","EmotionValue":5.0,"SilenceDuration":0,"SpeechRate":177},
				{"ChannelId":1,"BeginTime":"3000","EndTime":"3500","Text":"好。","SpeakerId":2}],
				"Words":[{"ChannelId":1,"Word":"好","BeginTime":3000,"EndTime":3500},{"ChannelId":0,"Word":"北京","BeginTime":340,"EndTime":800},
				{"ChannelId":0,"Word":"天气","BeginTime":900,"EndTime":2365},{"ChannelId":7,"Word":"?","BeginTime":1,"EndTime":2}]}}`, true},
		"2.0": {`{"task_id":"t1","status_code":21050000,"status_text":"SUCCESS","request_time":1551164878830,"solve_time":1551164879230,"biz_duration":4000,
			"result":[{"begin_time":340,"channel_id":0,"emotion_value":5.0,"end_time":2365,"silence_duration":0,"speech_rate":177,"text":"北京的天气。"},
				{"begin_time":3000,"end_time":3500,"channel_id":1,"text":"好。","speaker_id":"2"}]}`, false},
	} {
		got, err := nls.ParseFileCallback(httptest.NewRequest("POST", "/", strings.NewReader(c.body)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		words := fmt.Sprint(got.Sentences[0].Words, got.Sentences[1].Words)
		if c.words && words != "[{北京 340ms 800ms} {天气 900ms 2.365s}] [{好 3s 3.5s}]" {
			t.Errorf("%s: words %s", name, words)
		}
		for i := range got.Sentences {
			got.Sentences[i].Words = nil
		}
		if !reflect.DeepEqual(got.Sentences, want) || got.TaskID != "t1" || got.Duration != 4*time.Second || string(got.Raw) != c.body {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for body, status := range map[string]int{
		`{"TaskId":"t1","StatusCode":41050002,"StatusText":"FILE_DOWNLOAD_FAILED"}`:      nls.StatusFileDownloadFailed,
		`{"task_id":"t1","status_code":"41050002","status_text":"FILE_DOWNLOAD_FAILED"}`: nls.StatusFileDownloadFailed,
	} {
		_, err := nls.ParseFileCallback(httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if nls.StatusCode(err) != status || nls.TaskID(err) != "t1" || err.Error() != "nls: task failed: 41050002 FILE_DOWNLOAD_FAILED (task t1)" {
			t.Errorf("%v", err)
		}
	}
	for _, body := range []string{"", "x", "{}", "[]", `{"StatusCode":{}}`} {
		mustBeNoCallback(t, body)
	}
	if _, err := nls.ParseFileCallback(httptest.NewRequest("POST", "/", iotest.ErrReader(io.ErrClosedPipe))); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// Whatever is posted, it is read without panic, and takes no more memory than its
// length gives reason for.
func FuzzParseFileCallback(f *testing.F) {
	f.Add([]byte(`{"TaskId":"t1","StatusCode":21050000,"Result":{"Sentences":[{"Text":"a","BeginTime":1}],"Words":[{"Word":"a"}]}}`))
	f.Add([]byte(`{"task_id":"t1","status_code":21050000,"result":[{"text":"a"}]}`))
	f.Add([]byte(`{"StatusCode":41050001,"StatusText":"x"}`))
	f.Add([]byte(`{"StatusCode":21050000,"Result":{"Sentences":[` + strings.Repeat("{},", 1000) + `{}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := nls.ParseFileCallback(httptest.NewRequest("POST", "/", bytes.NewReader(body)))
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r == nil {
			return
		}
		elements := len(r.Sentences)
		for _, s := range r.Sentences {
			elements += len(s.Words)
		}
		if elements > 64+len(body)/12 {
			t.Errorf("%d elements of %d bytes", elements, len(body))
		}
	})
}

// What the service says is in the error, and the key and the token are not.
func TestErrorsOfFilesShowNoSecret(t *testing.T) {
	effort.Long(t)
	secret := disguises["URL"]
	for _, status := range []int{200, 400, 502} {
		for _, answer := range []string{
			`{"Code":%[1]q,"Message":%[1]q,"RequestId":%[1]q}`, `{"TaskId":%[1]q,"StatusCode":41050013,"StatusText":%[1]q}`, `<html>%[1]s</html>`, `{"StatusText":%[1]q}`,
		} {
			calls := &fileCalls{answer: fmt.Sprintf(answer, echo(secret)), status: status}
			for name, change := range map[string]func(*nls.Config){
				"id":     func(c *nls.Config) { c.AccessKeyID = secret },
				"secret": func(c *nls.Config) { c.AccessKeySecret = secret },
				"sts":    func(c *nls.Config) { c.SecurityToken = secret },
			} {
				client := filesClient(t, calls, change)
				_, err1 := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a"})
				_, err2 := client.FileStatus(t.Context(), nls.FileTask{ID: "t1"})
				for _, err := range []error{err1, err2} {
					if err == nil {
						t.Fatalf("%s: no error", answer)
					}
					var n notebook
					for _, e := range all(err) {
						n.print(e)
					}
					if text := shows(n.String()); text != "" {
						t.Errorf("%s, %d, %s: %s", name, status, answer, text)
					}
				}
			}
		}
	}
	for _, answer := range []string{
		`{"task_id":%[1]q,"status":40000001,"message":%[1]q}`, `<html>%[1]s</html>`, `{"status":20000000,"message":%[1]q}`,
	} {
		cfg, _ := flashGateway(t, fmt.Sprintf(answer, echo(secret)))
		cfg.Token = secret
		_, err := clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{})
		if err == nil {
			t.Fatalf("%s: no error", answer)
		}
		var n notebook
		for _, e := range all(err) {
			n.print(e)
		}
		if text := shows(n.String()); text != "" {
			t.Errorf("%s: %s", answer, text)
		}
	}
	// Nor where the connection breaks.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			fmt.Fprintf(c, "HTTP/1.1 %s\r\n\r\n", strings.ReplaceAll(r.URL.RequestURI(), " ", "+"))
			c.Close()
		}
	}))
	defer s.Close()
	_, err := clientFor(t, nls.Config{URL: "ws" + strings.TrimPrefix(s.URL, "http"), AppKey: "k", Token: secret}).
		RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{})
	var n notebook
	for _, e := range all(err) {
		n.print(e)
	}
	if text := shows(n.String()); err == nil || text != "" {
		t.Errorf("%v: %s", err, text)
	}
}

// Fields of Config that are for the gateway are for this request too.
func TestRecognizeFileGoesTheWayOfSessions(t *testing.T) {
	cfg, got := flashGateway(t, flashSuccess)
	u, _ := url.Parse(cfg.URL)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	cfg.Header = http.Header{"X-Tenant": {"a"}, "Host": {"gateway.example"}}
	if _, err := clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{}); err != nil || got.header.Get("X-Tenant") != "a" {
		t.Errorf("%v, %v", got.header, err)
	}
	cfg.URL = "ws://" + u.Host + "/prefix/ws/v1?x=y"
	if _, err := clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{}); err != nil ||
		got.path != "/prefix/stream/v1/FlashRecognizer" || got.query.Get("x") != "y" {
		t.Errorf("%s, %v", got.path, err)
	}
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	_, err := clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{})
	if e, ok := errors.AsType[*nls.TaskError](err); !ok || e.HTTPStatus != 407 || nls.StatusCode(err) != -1 {
		t.Errorf("a proxy that refuses: %v", err)
	}
	cfg.URL = strings.Replace(cfg.URL, "ws:", "wss:", 1)
	_, err = clientFor(t, cfg).RecognizeFile(t.Context(), strings.NewReader(heads[nls.FormatWAV]), nls.FileParams{})
	if e, ok := errors.AsType[*nls.ProxyError](err); !ok || e.HTTPStatus != 407 {
		t.Errorf("a proxy that opens no tunnel: %v", err)
	}
}
