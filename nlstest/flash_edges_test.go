package nlstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

// flash posts a file to s, as over a connection; more is added to a good query.
func flash(t *testing.T, s *Server, more, contentType string, body []byte) (*httptest.ResponseRecorder, flashAnswer) {
	t.Helper()
	q := url.Values{"appkey": {s.Config().AppKey}, "token": {s.Config().Token}, "format": {"pcm"}}
	added, err := url.ParseQuery(more)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range added {
		q[k] = v
	}
	r := httptest.NewRequest(http.MethodPost, flashPath+"?"+q.Encode(), bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r = r.WithContext(context.WithValue(r.Context(), linkKey{}, &link{server: s, gone: make(chan struct{})}))
	w := httptest.NewRecorder()
	s.serveGateway(w, r)
	var answer flashAnswer
	if json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		answer.Message = w.Body.String()
	}
	return w, answer
}

// A row is what is added to a good request, and the message of its answer.
func TestRequestsToFlashRecognizer(t *testing.T) {
	pcm := sound(100*time.Millisecond, 16000)
	stereo := wavFile(16000, pcm)
	stereo[22] = 2
	invalid := func(name, value string) string {
		return "Gateway:PARAMETER_INVALID:Invalid " + name + " '" + value + "'!"
	}
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Files: web(map[string][]byte{"/a": pcm, "/empty": nil})})
		row := func(more, contentType string, body []byte, want string) {
			t.Helper()
			if w, answer := flash(t, s, more, contentType, body); answer.Message != want || (w.Code == 200) != (want == "SUCCESS") {
				t.Errorf("%s: %d %s, want %s", more, w.Code, answer.Message, want)
			}
		}
		for _, name := range []string{"enable_inverse_text_normalization", "enable_word_level_result", "enable_timestamp_alignment", "first_channel_only"} {
			for value, want := range map[string]string{"true": "SUCCESS", "false": "SUCCESS", "1": invalid(name, "1"), "": invalid(name, "")} {
				row(name+"="+value, "", pcm, want)
			}
		}
		for name, values := range map[string][2]string{
			"speech_noise_threshold": {"-1 0.5 1", "-1.01 1.01 x NaN"}, "sentence_max_length": {"4 50", "3 51 x"}, "special_word_filter": {"{}", "{"},
		} {
			for i, all := range values {
				for value := range strings.FieldsSeq(all) {
					want := "SUCCESS"
					if i == 1 {
						want = invalid(name, value)
					}
					row(name+"="+value, "", pcm, want)
				}
			}
		}
		row("special_word_filter=", "", pcm, "SUCCESS")
		for value, want := range map[string]string{"8000": "SUCCESS", "16000": "SUCCESS", "8001": "UNSUPPORTED_SAMPLE_RATE", "": "UNSUPPORTED_SAMPLE_RATE"} {
			row("sample_rate="+value, "", pcm, want)
		}
		for _, format := range []string{"mp4", "aac", "mp3", "opus"} {
			row("format="+format, "", []byte("x"), "DECODE_ERROR")
			row("format="+format, "", nil, "Gateway:CLIENT_ERROR:Empty audio data!")
		}
		row("format=flac", "", pcm, "UNSUPPORTED_FORMAT")
		row("format=", "", pcm, "Gateway:PARAMETER_INVALID:format not set")
		row("appkey=", "", pcm, "Gateway:PARAMETER_INVALID:appkey not set")
		row("format=WAV", "", wavFile(16000, pcm), "SUCCESS")
		row("", "", nil, "Gateway:CLIENT_ERROR:Empty audio data!")
		row("", "", silence(100*time.Millisecond, 16000), "vad silent")
		row("fault=boom", "", pcm, `nlstest: fault "boom": want action@point`)

		row("audio_address=http://a.example/a", "application/text", nil, "SUCCESS")
		row("audio_address=https://a.example/a", "application/text", nil, "SUCCESS")
		row("audio_address=https://a.example/empty", "application/text", nil, "Gateway:CLIENT_ERROR:Empty audio data!")
		row("audio_address=https://a.example/b", "application/text", nil, "DOWNLOAD_ERROR")
		row("audio_address=https://a.example/a", "text/plain", nil, "Gateway:PARAMETER_INVALID:Invalid Content-Type 'text/plain'!")
		for _, bad := range []string{"ftp://a.example/a", "a.example/a", "https:///a", "https://a.example/%25zz%zz"} {
			row("audio_address="+url.QueryEscape(bad), "application/text", nil, invalid("audio_address", bad))
		}
		if n := s.Stats().Concurrent; n != 0 {
			t.Errorf("%d files are still heard", n)
		}

		// A task has both channels unless it wants the first only.
		for more, want := range map[string]string{"": "[0 1]", "&first_channel_only=true": "[0]", "&first_channel_only=false": "[0 1]"} {
			_, answer := flash(t, s, "format=wav"+more, "", stereo)
			var channels []int
			for _, sentence := range answer.Flash.Sentences {
				channels = append(channels, sentence.Channel)
			}
			if got := fmt.Sprint(channels); got != want {
				t.Errorf("%s: channels %s, want %s", more, got, want)
			}
		}
	})
}

// What an engine is told of a file, and what its result looks like.
func TestAFlashResultInFull(t *testing.T) {
	const sec = time.Second
	inBubble(t, func(t *testing.T) {
		var got RecognitionRequest
		engine := toldEngine{recognize: func(_ context.Context, q RecognitionRequest) (Recognition, error) {
			got = q
			return &toldRecognition{finish: func() ([]Hypothesis, error) {
				time.Sleep(3 * sec)
				return []Hypothesis{{Text: "一百。", Begin: sec, End: 2 * sec, Final: true, Words: []nls.Word{{Text: "一百", Start: sec, End: 2 * sec}, {Text: "。"}}}}, nil
			}}, nil
		}}
		s := start(t, Options{Pipe: true, Engine: engine})
		for _, row := range []struct {
			more, want string
			rate       int
			digits     bool
		}{
			{"", `{"duration":1000,"latency":3000,"completed":true,"sentences":[{"text":"一百。","begin_time":1000,"end_time":2000,"channel_id":0}]}`, 16000, false},
			{"sample_rate=8000&enable_inverse_text_normalization=true&enable_word_level_result=true",
				`{"duration":2000,"latency":3000,"completed":true,"sentences":[{"text":"100。","begin_time":1000,"end_time":2000,"channel_id":0,` +
					`"words":[{"text":"100","begin_time":"1000","end_time":"2000","punc":"。"}]}]}`, 8000, true},
		} {
			w, answer := flash(t, s, row.more, "", make([]byte, 32000))
			_, rest, _ := strings.Cut(w.Body.String(), `"flash_result":`)
			if rest = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "}")); rest != row.want || len(answer.TaskID) != 32 {
				t.Errorf("got  %s\nwant %s", rest, row.want)
			}
			if want := (RecognitionRequest{SampleRate: row.rate, Punctuation: true, Digits: row.digits, MaxSilence: 800 * time.Millisecond}); got != want {
				t.Errorf("the engine is told %+v, want %+v", got, want)
			}
		}
		if n := s.Stats().Sessions; n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}
