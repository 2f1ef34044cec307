package nlstest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

// submit submits a task as JSON, lets it run, and returns what the service says of it.
func submit(t *testing.T, s *Server, task string) map[string]any {
	t.Helper()
	_, answer := popCallOf(t, s, popRequest("POST", "2018-08-17", "SubmitTask", map[string]string{"Task": task}))
	if answer["StatusText"] != "SUCCESS" {
		return answer
	}
	synctest.Wait()
	_, answer = popCallOf(t, s, popRequest("GET", "2018-08-17", "GetTaskResult", map[string]string{"TaskId": answer["TaskId"].(string)}))
	return answer
}

// A row is the task, or what is added to a good one, and what becomes of it.
func TestTasksAndTheirTexts(t *testing.T) {
	const param, silence = "REQUEST_PARAMETER_INVALID", "SUCCESS_WITH_NO_VALID_FRAGMENT"
	files := map[string][]byte{
		"/good.wav": wavFile(16000, make([]byte, 640)), "/44.wav": wavFile(44100, make([]byte, 640)), "/empty": nil, "/7": []byte("\x00\x00\x00\x20fty"),
		"/stereo.wav": func() []byte { f := wavFile(16000, make([]byte, 640)); f[22] = 2; return f }(),
	}
	magics := map[string]string{
		"mp3": "ID3", "ogg": "OggS", "flac": "fLaC", "amr": "#!AMR", "mpeg": "\xff\xfb", "aac": "\xff\xf1", "aac2": "\xff\xf9",
		"mkv": "\x1aE\xdf\xa3", "aiff": "FORM", "mp4": "\x00\x00\x00\x20ftyp",
	}
	for name, magic := range magics {
		files["/"+name] = []byte(magic)
	}
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}, Files: web(files),
			AppKeys: map[string]string{defaultAppKey: "one", "other": "two"}, Tokens: map[string]string{"x": "one"}})
		row := func(task, want string) {
			t.Helper()
			if answer := submit(t, s, task); answer["StatusText"] != want {
				t.Errorf("%s: %v, want %s", task, answer, want)
			}
			time.Sleep(time.Second)
		}
		link := func(link, want string) {
			t.Helper()
			row(fmt.Sprintf(`{"appkey":"nlstest-appkey","file_link":%q}`, link), want)
		}
		more := func(more, want string) {
			t.Helper()
			row(`{"appkey":"nlstest-appkey","file_link":"http://a.example/good.wav",`+more+`}`, want)
		}
		link("http://a.example/good.wav", silence)
		link("https://a.example/44.wav", "UNSUPPORTED_SAMPLE_RATE")
		link("https://a.example/stereo.wav", silence)
		link("https://a.example/empty", "FILE_PARSE_FAILED")
		link("https://a.example/7", "SUCCESS") // which is raw PCM
		link("https://a.example/status/302", "FILE_DOWNLOAD_FAILED")
		link("https://a.example/status/403", "FILE_403_FORBIDDEN")
		link("https://a.example/status/404", "FILE_404_NOT_FOUND")
		link("https://a.example/status/500", "FILE_SERVER_ERROR")
		for name := range magics {
			link("https://a.example/"+name, "FILE_NORMALIZE_FAILED")
		}
		for _, bad := range []string{"", "a.example/x", "ftp://a.example/x", "https:///x", "https://a.example/ x", "https://192.0.2.1/x", "https://a.example/%zz"} {
			link(bad, "REQUEST_INVALID_FILE_URL_VALUE")
		}

		row(`{}`, "REQUEST_EMPTY_APPKEY_VALUE")
		row(`{"appkey":""}`, "REQUEST_APPKEY_UNREGISTERED")
		row(`{"app_key":""}`, "REQUEST_APPKEY_UNREGISTERED")
		row(`{"appkey":"nobody"}`, "REQUEST_APPKEY_UNREGISTERED")
		row(`{"appkey":"other"}`, "REQUEST_APPKEY_UNREGISTERED")

		for key, values := range map[string][2]string{
			"max_end_silence": {"200 6000", "199 6001"}, "max_single_segment_time": {"5000 60001", "4999"},
			"sentence_max_length": {"4 50", "3 51"}, "speaker_num": {"2 100", "1 101"}, "supervise_type": {"0 2", "-1 3"},
		} {
			for i, want := range []string{silence, param} {
				for value := range strings.FieldsSeq(values[i]) {
					more(fmt.Sprintf(`%q:%s`, key, value), want)
				}
			}
		}
		for value, keys := range map[string]string{
			`1`: "enable_words enable_callback enable_punctuation_prediction enable_inverse_text_normalization enable_sample_rate_adaptive first_channel_only " +
				"auto_split enable_disfluency enable_semantic_sentence_detection enable_timestamp_alignment punctuation_mark " +
				"version vocabulary_id class_vocabulary_id customization_id callback_url valid_times",
			`"x"`: "max_end_silence max_single_segment_time sentence_max_length speaker_num supervise_type",
		} {
			for key := range strings.FieldsSeq(keys) {
				more(fmt.Sprintf(`%q:%s`, key, value), param)
			}
		}

		more(`"enable_callback":true`, "REQUEST_INVALID_CALLBACK_VALUE")
		more(`"enable_callback":true,"callback_url":"x"`, "REQUEST_INVALID_CALLBACK_VALUE")
		more(`"enable_callback":true,"callback_url":"http://192.0.2.1/x"`, silence)
		more(`"enable_callback":false,"callback_url":"x"`, silence)
		more(`"callback_url":"x"`, silence)
	})
}

// A state may be asked for once a second, by those whose task it is, for three days.
func TestStatesAreKeptForTheirOwner(t *testing.T) {
	const expired = "FILE_TRANS_TASK_EXPIRED"
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: time.Minute, Engine: fakeEngine{}, Files: web(map[string][]byte{"/a": make([]byte, 640)})})
		task := map[string]string{"Task": `{"appkey":"nlstest-appkey","file_link":"https://a.example/a"}`}
		for version, other := range map[string]string{"2018-08-17": "2021-12-21", "2021-12-21": "2018-08-17"} {
			_, answer := popCallOf(t, s, popRequest("POST", version, "SubmitTask", task))
			id := map[string]string{"TaskId": answer["TaskId"].(string)}
			ask := func(version string) any {
				_, answer := popCallOf(t, s, popRequest("GET", version, "GetTaskResult", id))
				if answer["Code"] != nil {
					return answer["Code"]
				}
				if answer["TaskId"] != id["TaskId"] || len(fmt.Sprint(answer["RequestId"])) != 36 {
					t.Errorf("got %v", answer)
				}
				return answer["StatusText"]
			}
			synctest.Wait()
			for _, step := range []struct {
				after   time.Duration
				version string
				want    string
			}{
				{0, version, "QUEUEING"},
				{0, version, "Throttling.User"},
				{0, other, expired},
				{999 * time.Millisecond, version, "Throttling.User"},
				{time.Millisecond, version, "QUEUEING"},
				{72*time.Hour + time.Minute - 2*time.Second, version, "SUCCESS_WITH_NO_VALID_FRAGMENT"},
				{2 * time.Second, version, expired},
			} {
				time.Sleep(step.after)
				if got := ask(step.version); got != step.want {
					t.Errorf("after %v more: %v, want %s", step.after, got, step.want)
				}
			}
		}
	})
}

// What a result says, and what a callback brings.
func TestAResultInFull(t *testing.T) {
	const sec = time.Second
	words := []nls.Word{{Text: "一百", Start: 2 * sec, End: 4 * sec}, {Text: "。"}}
	engine := toldEngine{recognize: func(_ context.Context, q RecognitionRequest) (Recognition, error) {
		return &toldRecognition{finish: func() ([]Hypothesis, error) {
			return []Hypothesis{
				{Text: "一百。", Words: words, Begin: 2 * sec, End: 4 * sec, Final: true},
				{Text: "", Begin: 4 * sec, End: 5 * sec, Final: true}, {Text: "not yet"},
				{Text: "好。", Begin: 5500 * time.Millisecond, End: 5500 * time.Millisecond, Final: true},
			}, nil
		}}, nil
	}}
	for more, want := range map[string]string{
		``: `"BizDuration":6000,"SolveTime":#,"Result":{"Sentences":[` +
			`{"ChannelId":0,"BeginTime":2000,"EndTime":4000,"Text":"一百。","SilenceDuration":2,"SpeechRate":90},` +
			`{"ChannelId":0,"BeginTime":5500,"EndTime":5500,"Text":"好。","SilenceDuration":1,"SpeechRate":0}]}`,
		`,"enable_punctuation_prediction":false,"enable_inverse_text_normalization":true,"enable_words":true`: `"BizDuration":6000,"SolveTime":#,"Result":{"Sentences":[` +
			`{"ChannelId":0,"BeginTime":2000,"EndTime":4000,"Text":"100","SilenceDuration":2,"SpeechRate":90},` +
			`{"ChannelId":0,"BeginTime":5500,"EndTime":5500,"Text":"好","SilenceDuration":1,"SpeechRate":0}],` +
			`"Words":[{"ChannelId":0,"Word":"100","BeginTime":2000,"EndTime":4000}]}`,
	} {
		inBubble(t, func(t *testing.T) {
			var kind, back string
			s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: engine, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					body, _ := io.ReadAll(r.Body)
					kind, back = r.Header.Get("Content-Type"), string(body)
					return
				}
				w.Write(append(wav.Header(8000, 96000), make([]byte, 96000)...))
			})})
			submitted := time.Now().UnixMilli()
			answer := submit(t, s, `{"appkey":"nlstest-appkey","file_link":"https://a.example/b","enable_callback":true,"callback_url":"https://c.example/d"`+more+`}`)
			var called map[string]any
			if err := json.Unmarshal([]byte(back), &called); err != nil || kind != "application/json" {
				t.Fatalf("%v in %q of type %s", err, back, kind)
			}
			if called["TaskId"] != answer["TaskId"] || called["RequestTime"] != float64(submitted) || len(called["RequestId"].(string)) != 32 {
				t.Errorf("callback %s", back)
			}
			_, rest, _ := strings.Cut(back, `"StatusCode":21050000,`)
			rest = strings.Replace(rest, fmt.Sprintf(`"RequestTime":%d,`, submitted), "", 1)
			rest = strings.Replace(rest, fmt.Sprintf(`"SolveTime":%d`, submitted), `"SolveTime":#`, 1)
			if got := strings.TrimSuffix(rest, "}"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if called["BizDuration"] != answer["BizDuration"] || fmt.Sprint(called["Result"]) != fmt.Sprint(answer["Result"]) {
				t.Errorf("callback %v\nanswer   %v", called, answer)
			}
		})
	}
}

// Without enable_callback nobody is called.
func TestNoCallbackUnlessAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				t.Errorf("called back at %s", r.URL)
			}
			w.Write(make([]byte, 640))
		})})
		submit(t, s, `{"appkey":"nlstest-appkey","file_link":"https://a.example/b","callback_url":"https://c.example/d"}`)
	})
}
