package nlstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wav"
)

// speechOf is text as Loopback speaks it.
func speechOf(t testing.TB, text string, sampleRate int) []byte {
	t.Helper()
	var pcm []byte
	if err := Loopback().Synthesize(t.Context(), text, Voice{SampleRate: sampleRate, Volume: 50}, func(piece []byte, _ []nls.Subtitle) error {
		pcm = append(pcm, piece...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return pcm
}

func wavFile(sampleRate int, pcm []byte) []byte {
	return append(wav.Header(sampleRate, len(pcm)), pcm...)
}

// web has files by path, and answers with a status where the path is one.
func web(files map[string][]byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if file, ok := files[r.URL.Path]; ok {
			_, _ = w.Write(file)
			return
		}
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &status); err != nil {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	})
}

// popRequest is a signed call of an action.
func popRequest(method, version, action string, params map[string]string) *http.Request {
	p := newParams()
	p.Set("Action", action)
	p.Set("Version", version)
	for k, v := range params {
		p.Set(k, v)
	}
	p.Set("Signature", signature(method, defaultSecret, p))
	if method == http.MethodGet {
		return httptest.NewRequest(method, "https://x/?"+p.Encode(), nil)
	}
	r := httptest.NewRequest(method, "https://x/", strings.NewReader(p.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// popCallOf calls an action of s, as over a connection.
func popCallOf(t *testing.T, s *Server, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	r = r.WithContext(context.WithValue(r.Context(), linkKey{}, &link{server: s, gone: make(chan struct{})}))
	s.token.Handler.ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return w.Code, answer
}

// A call is checked as CreateToken is: the signature, the nonce, the version.
func TestCallsOfTheFileServiceAreSigned(t *testing.T) {
	s := NewServer(Options{})
	defer s.Close()
	task := map[string]string{"Task": `{"appkey":"nlstest-appkey","file_link":"https://a.example/b"}`}
	good := func() *http.Request { return popRequest("POST", "2018-08-17", "SubmitTask", task) }
	if code, answer := popCallOf(t, s, good()); code != 200 || answer["StatusText"] != "SUCCESS" {
		t.Fatalf("%d %v", code, answer)
	}
	change := func(f func(url.Values)) *http.Request {
		r := good()
		_ = r.ParseForm()
		f(r.PostForm)
		changed := httptest.NewRequest("POST", "https://x/", strings.NewReader(r.PostForm.Encode()))
		changed.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return changed
	}
	var used string
	first := change(func(p url.Values) { used = p.Encode() })
	popCallOf(t, s, first)
	again := httptest.NewRequest("POST", "https://x/", strings.NewReader(used))
	again.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for want, r := range map[string]*http.Request{
		"SignatureDoesNotMatch":  change(func(p url.Values) { p.Set("Task", p.Get("Task")+" ") }),
		"SignatureNonceUsed":     again,
		"MissingTask":            popRequest("POST", "2018-08-17", "SubmitTask", nil),
		"MissingTaskId":          popRequest("GET", "2018-08-17", "GetTaskResult", nil),
		"InvalidAction.NotFound": popRequest("POST", "2019-02-28", "SubmitTask", task),
		"InvalidVersion":         popRequest("POST", "2018-08-18", "SubmitTask", task),
	} {
		if code, answer := popCallOf(t, s, r); code < 400 || answer["Code"] != want {
			t.Errorf("%d %v, want %s", code, answer, want)
		}
	}
	if code, answer := popCallOf(t, s, popRequest("POST", "2018-08-17", "CreateToken", nil)); code != 404 {
		t.Errorf("CreateToken of another version: %d %v", code, answer)
	}
}

// 200 tasks and 500 questions a second, each of an access key.
func TestTheQuotaOfTheFileService(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{Pipe: true})
		defer s.Close()
		task := map[string]string{"Task": `{"appkey":"nlstest-appkey","file_link":"https://a.example/b"}`}
		for action, limit := range map[string]int{"SubmitTask": 200, "GetTaskResult": 500} {
			for range 2 {
				admitted := 0
				for range limit + 5 {
					r := popRequest("POST", "2018-08-17", action, task)
					if action == "GetTaskResult" {
						r = popRequest("GET", "2018-08-17", action, map[string]string{"TaskId": "no-such-task"})
					}
					if code, answer := popCallOf(t, s, r); code == 200 {
						admitted++
					} else if answer["Code"] != "Throttling.User" {
						t.Fatalf("%d %v", code, answer)
					}
				}
				if admitted != limit {
					t.Errorf("%s: %d were admitted, want %d", action, admitted, limit)
				}
				time.Sleep(time.Second)
			}
		}
	})
}

// What is wrong with a task, or with its file, is a state.
func TestStatesOfATask(t *testing.T) {
	effort.Long(t)
	say := speechOf(t, "你好，世界。", 16000)
	server := NewServer(Options{Files: web(map[string][]byte{
		"/a.wav": wavFile(16000, say), "/a8.wav": wavFile(8000, speechOf(t, "你好，世界。", 8000)), "/a44.wav": wavFile(44100, make([]byte, 88200)), "/a.pcm": say,
		"/silence.wav": wavFile(16000, make([]byte, 32000)), "/empty": nil, "/none.wav": wav.Header(16000, 0),
		"/a.mp3": []byte("ID3 and so on and on"), "/a.flac": []byte("fLaC and so on"), "/a.mp4": []byte("\x00\x00\x00\x20ftypisom...."),
		"/broken.wav": []byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x55\x00"), "/stereo8bit.wav": []byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x08\x00data\xff\xff\xff\xff1234"),
	})})
	t.Cleanup(server.Close)
	client, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		more map[string]any
		want int
	}{
		{"/a.wav", nil, 0},
		{"/a8.wav", nil, 0},
		{"/a.pcm", nil, 0},
		{"/a44.wav", nil, nls.StatusFileUnsupportedSampleRate},
		{"/silence.wav", nil, 0},
		{"/empty", nil, nls.StatusFileParseFailed},
		{"/none.wav", nil, nls.StatusFileParseFailed},
		{"/broken.wav", nil, nls.StatusFileParseFailed},
		{"/stereo8bit.wav", nil, nls.StatusFileParseFailed},
		{"/a.mp3", nil, nls.StatusFileNormalizeFailed},
		{"/a.flac", nil, nls.StatusFileNormalizeFailed},
		{"/a.mp4", nil, nls.StatusFileNormalizeFailed},
		{"/missing", nil, nls.StatusFileNotFound},
		{"/status/403", nil, nls.StatusFileForbidden},
		{"/status/500", nil, nls.StatusFileServerError},
		{"/status/503", nil, nls.StatusFileServerError},
		{"/status/302", nil, nls.StatusFileDownloadFailed},
		{"/a.wav", map[string]any{"file_link": ""}, nls.StatusFileInvalidURL},
		{"/a.wav", map[string]any{"file_link": "https://192.0.2.1/a.wav"}, nls.StatusFileInvalidURL},
		{"/a.wav", map[string]any{"file_link": "https://a.example/a b"}, nls.StatusFileInvalidURL},
		{"/a.wav", map[string]any{"enable_callback": true}, nls.StatusFileInvalidCallback},
		{"/a.wav", map[string]any{"enable_callback": true, "callback_url": "x"}, nls.StatusFileInvalidCallback},
		{"/a.wav", map[string]any{"appkey": nil}, nls.StatusFileAppKeyUnregistered},
		{"/a.wav", map[string]any{"appkey": "other"}, nls.StatusFileAppKeyUnregistered},
		{"/a.wav", map[string]any{"max_end_silence": 100}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"max_single_segment_time": 4000}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"sentence_max_length": 51}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"speaker_num": 1}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"supervise_type": 3}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"enable_words": "yes"}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"valid_times": 5}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"vocabulary_id": 5}, nls.StatusFileParameterInvalid},
		{"/a.wav", map[string]any{"first_channel_only": "x"}, nls.StatusFileParameterInvalid},
	} {
		t.Run(strings.TrimSpace(c.path+" "+fmt.Sprint(c.more)), func(t *testing.T) {
			t.Parallel()
			task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example" + c.path, Extra: c.more})
			var result *nls.FileResult
			if err == nil {
				result, err = client.WaitFile(t.Context(), task)
			}
			if got := max(nls.StatusCode(err), 0); got != c.want || got == 0 && err != nil {
				t.Fatalf("%v, want %d", err, c.want)
			}
			if err == nil && c.path != "/silence.wav" && result.Text() != "你好，世界。" {
				t.Errorf("%q", result.Text())
			}
			if err == nil && c.path == "/silence.wav" && (len(result.Sentences) != 0 || !bytes.Contains(result.Raw, []byte("SUCCESS_WITH_NO_VALID_FRAGMENT"))) {
				t.Errorf("%s", result.Raw)
			}
		})
	}
}

// Those that no Client sends.
func TestTasksThatAreNone(t *testing.T) {
	s := NewServer(Options{})
	defer s.Close()
	for task, want := range map[string]string{
		`x`: "REQUEST_PARAMETER_INVALID", `null`: "REQUEST_PARAMETER_INVALID", `[]`: "REQUEST_PARAMETER_INVALID", "{\"appkey\":\"\xff\"}": "REQUEST_PARAMETER_INVALID",
		`{}`: "REQUEST_EMPTY_APPKEY_VALUE",
		`{"app_key":"nlstest-appkey","file_link":"https://a.example/b"}`: "SUCCESS", // as the C++ SDK writes it
	} {
		if code, answer := popCallOf(t, s, popRequest("POST", "2018-08-17", "SubmitTask", map[string]string{"Task": task})); code != 200 || answer["StatusText"] != want {
			t.Errorf("%q: %d %v, want %s", task, code, answer, want)
		}
	}
}

// More tasks than run at a time wait for their turn, and those that are done are
// remembered up to a bound.
func TestTasksWaitForTheirTurn(t *testing.T) {
	say := wavFile(16000, speechOf(t, "好。", 16000))
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{Pipe: true, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Minute):
				_, _ = w.Write(say)
			case <-r.Context().Done():
			}
		})})
		defer s.Close()
		task := map[string]string{"Task": `{"appkey":"nlstest-appkey","file_link":"https://a.example/b"}`}
		var ids []string
		for range maxFilesAtOnce + 1 {
			_, answer := popCallOf(t, s, popRequest("POST", "2018-08-17", "SubmitTask", task))
			ids = append(ids, answer["TaskId"].(string))
		}
		synctest.Wait()
		states := func() (all []string) {
			for _, id := range ids {
				_, answer := popCallOf(t, s, popRequest("GET", "2018-08-17", "GetTaskResult", map[string]string{"TaskId": id}))
				all = append(all, answer["StatusText"].(string))
			}
			slices.Sort(all)
			return all
		}
		if got := fmt.Sprint(states()); got != "[QUEUEING RUNNING RUNNING RUNNING RUNNING]" {
			t.Error(got)
		}
		time.Sleep(time.Minute + time.Second)
		if got := fmt.Sprint(states()); got != "[RUNNING SUCCESS SUCCESS SUCCESS SUCCESS]" {
			t.Error(got)
		}
	})
	tasks := newFileTasks()
	for i := range 2 * maxFileTasks {
		tasks.add(&fileTask{id: fmt.Sprint(i)})
	}
	if len(tasks.tasks) != maxFileTasks || len(tasks.order) != maxFileTasks {
		t.Errorf("%d tasks are remembered", len(tasks.tasks))
	}
}

// flashCall is a request to FlashRecognizer.
func flashCall(t *testing.T, s *Server, change func(q url.Values, r *http.Request), body []byte) (int, flashAnswer) {
	t.Helper()
	cfg := s.Config()
	q := url.Values{"appkey": {cfg.AppKey}, "token": {cfg.Token}, "format": {"wav"}, "sample_rate": {"16000"}}
	r, err := http.NewRequestWithContext(t.Context(), "POST", strings.Replace(strings.TrimSuffix(s.URL, gatewayPath), "ws", "http", 1)+flashPath, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	if change != nil {
		change(q, r)
	}
	r.URL.RawQuery = q.Encode()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	var answer flashAnswer
	if err := json.Unmarshal(text, &answer); err != nil && resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("%v in %s", err, text)
	}
	return resp.StatusCode, answer
}

// What the service checks of a request.
func TestFlashRecognizerChecksItsRequest(t *testing.T) {
	effort.Long(t)
	say := wavFile(16000, speechOf(t, "你好。", 16000))
	s := NewServer(Options{AppKeys: map[string]string{"a": "one", "b": "two"}, Files: web(map[string][]byte{"/a.wav": say})})
	defer s.Close()
	set := func(key, value string) func(url.Values, *http.Request) {
		return func(q url.Values, r *http.Request) { q.Set(key, value) }
	}
	link := func(path, contentType string) func(url.Values, *http.Request) {
		return func(q url.Values, r *http.Request) {
			q.Set("audio_address", path)
			r.Header.Set("Content-Type", contentType)
		}
	}
	for name, c := range map[string]struct {
		change func(url.Values, *http.Request)
		body   []byte
		want   int
	}{
		"good":                {nil, say, nls.StatusOK},
		"token in the header": {func(q url.Values, r *http.Request) { r.Header.Set("X-NLS-Token", q.Get("token")); q.Del("token") }, say, nls.StatusOK},
		"no token":            {func(q url.Values, _ *http.Request) { q.Del("token") }, say, nls.StatusAccessDenied},
		"another token":       {set("token", "x"), say, nls.StatusAccessDenied},
		"no appkey":           {func(q url.Values, _ *http.Request) { q.Del("appkey") }, say, nls.StatusParameterInvalid},
		"unknown appkey":      {set("appkey", "x"), say, nls.StatusAppKeyNotExist},
		"appkey of another":   {set("appkey", "b"), say, nls.StatusAppKeyMismatch},
		"no format":           {func(q url.Values, _ *http.Request) { q.Del("format") }, say, nls.StatusParameterInvalid},
		"format in capitals":  {set("format", "WAV"), say, nls.StatusOK},
		"unknown format":      {set("format", "flac"), say, nls.StatusUnsupportedAudio},
		"no decoder":          {set("format", "mp3"), say, nls.StatusDecoderError},
		"not the format":      {nil, []byte("this is no WAV file"), nls.StatusDecoderError},
		"raw PCM":             {set("format", "pcm"), say[44:], nls.StatusOK},
		"sample rate":         {set("sample_rate", "44100"), say, nls.StatusUnsupportedSampleRate},
		"no sample rate":      {func(q url.Values, _ *http.Request) { q.Del("sample_rate") }, say, nls.StatusOK},
		"no boolean":          {set("enable_word_level_result", "1"), say, nls.StatusParameterInvalid},
		"noise":               {set("speech_noise_threshold", "1.1"), say, nls.StatusParameterInvalid},
		"noise, no number":    {set("speech_noise_threshold", "NaN"), say, nls.StatusParameterInvalid},
		"sentence length":     {set("sentence_max_length", "3"), say, nls.StatusParameterInvalid},
		"filter":              {set("special_word_filter", "{"), say, nls.StatusParameterInvalid},
		"no audio":            {nil, nil, nls.StatusClientError},
		"silence":             {nil, wavFile(16000, make([]byte, 32000)), nls.StatusNoValidAudio},
		"a URL":               {link("https://files.example/a.wav", "application/text"), nil, nls.StatusOK},
		"a URL as audio":      {link("https://files.example/a.wav", "application/octet-stream"), nil, nls.StatusParameterInvalid},
		"a URL of nothing":    {link("https://files.example/b.wav", "application/text"), nil, nls.StatusDownloadFailed},
		"a URL that is none":  {link("files.example", "application/text"), nil, nls.StatusParameterInvalid},
		"an unknown fault":    {set("x", "y"), say, nls.StatusOK},
		"a length over 100 MiB": {func(q url.Values, r *http.Request) {
			r.ContentLength = -1
			r.Body = io.NopCloser(io.LimitReader(zeros{}, 101<<20))
			q.Set("format", "pcm")
		}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == 0 {
				effort.Thorough(t) // 101 MiB go over a socket
			}
			code, answer := flashCall(t, s, c.change, c.body)
			wantHTTP := http.StatusBadRequest
			switch c.want {
			case nls.StatusOK:
				wantHTTP = http.StatusOK
			case 0:
				wantHTTP = http.StatusRequestEntityTooLarge
			}
			if code != wantHTTP || answer.Status != c.want {
				t.Errorf("HTTP %d, %+v; want %d", code, answer, c.want)
			}
			if c.want != 0 && (len(answer.TaskID) != 32 || c.want != nls.StatusOK && (answer.Result == nil || *answer.Result != "")) {
				t.Errorf("%+v", answer)
			}
			if c.want == nls.StatusOK && (len(answer.Flash.Sentences) != 1 || answer.Flash.Sentences[0].Text != "你好。") {
				t.Errorf("%+v", answer.Flash)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Words of FlashRecognizer have their punctuation beside them.
func TestWordsOfFlashRecognizer(t *testing.T) {
	s := NewServer(Options{})
	defer s.Close()
	_, answer := flashCall(t, s, func(q url.Values, _ *http.Request) { q.Set("enable_word_level_result", "true") }, wavFile(16000, speechOf(t, "你，好。", 16000)))
	words := answer.Flash.Sentences[0].Words
	if len(words) != 2 || words[0].Text != "你" || words[0].Punc != "，" || words[1].Text != "好" || words[1].Punc != "。" || words[0].End == "0" {
		t.Errorf("%+v", words)
	}
}

// Ten files at a time.
func TestTheQuotaOfFlashRecognizer(t *testing.T) {
	release := make(chan struct{})
	s := NewServer(Options{Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNotFound)
	})})
	defer s.Close()
	client, err := nls.NewClient(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 11)
	for range 11 {
		go func() {
			_, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: "https://files.example/a.wav"})
			errs <- err
		}()
	}
	if err := <-errs; nls.StatusCode(err) != nls.StatusTooManyRequests { // all others wait for the file
		t.Error(err)
	}
	close(release)
	for range 10 {
		if err := <-errs; nls.StatusCode(err) != nls.StatusDownloadFailed {
			t.Error(err)
		}
	}
}

// A file that is not there within 50 s is 40000004, as is a service without time.
func TestAFileThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{Pipe: true, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
		defer s.Close()
		client, err := nls.NewClient(s.Config())
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: "https://files.example/a.wav"})
		if nls.StatusCode(err) != nls.StatusIdleTimeout || !nls.Retryable(err) || time.Since(begin) != 50*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// A handler of files that ends its answer early is a download that failed.
func TestAFileThatIsCut(t *testing.T) {
	say := wavFile(16000, speechOf(t, "你好。", 16000))
	s := NewServer(Options{Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(say[:len(say)/2])
		panic(http.ErrAbortHandler)
	})})
	defer s.Close()
	client, err := nls.NewClient(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.RecognizeFile(t.Context(), nil, nls.FileParams{URL: "https://files.example/a.wav"}); nls.StatusCode(err) != nls.StatusDownloadFailed {
		t.Error(err)
	}
	task, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.WaitFile(t.Context(), task); nls.StatusCode(err) != nls.StatusFileDownloadFailed || errors.Is(err, nls.ErrFileRunning) {
		t.Error(err)
	}
}

// Whatever a task is, it is taken or has a status that says why not.
func FuzzFileTask(f *testing.F) {
	f.Add([]byte(`{"appkey":"nlstest-appkey","file_link":"https://a.example/b","enable_callback":true,"callback_url":"http://c.example/"}`))
	f.Add([]byte(`{"app_key":5,"valid_times":[{}],"max_end_silence":1e400}`))
	s := &Server{accounts: newAccounts(Options{})}
	f.Fuzz(func(t *testing.T, text []byte) {
		task, code := s.newFileTask(text, defaultAccount)
		if (task == nil) != (code != 0) || code != 0 && fileTexts[code] == "" {
			t.Errorf("%v, %d", task, code)
		}
	})
}
