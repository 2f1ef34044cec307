package nlstest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// fileAnswerOf posts a file with a fault over a connection. size is what the answer
// says of its length.
func fileAnswerOf(t *testing.T, f *Fault) (contentType, body string, size int64, took time.Duration, err error) {
	t.Helper()
	s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Fault: func(*http.Request) *Fault { return f }})
	cfg := s.Config()
	q := url.Values{"appkey": {cfg.AppKey}, "token": {cfg.Token}, "format": {"pcm"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+cfg.URL[strings.Index(cfg.URL, "//")+2:strings.LastIndex(cfg.URL, "/ws/")]+flashPath+"?"+q.Encode(), bytes.NewReader(sound(100*time.Millisecond, 16000)))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	resp, err := (&http.Transport{DialContext: cfg.NetDialContext, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return "", "", 0, time.Since(begin), err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.Header.Get("Content-Type"), string(b), resp.ContentLength, time.Since(begin), err
}

func TestFaultsOfTheAnswerAboutAFile(t *testing.T) {
	const asService, plain = "application/json;charset=utf-8", "application/json"
	for _, tc := range []struct {
		name        string
		fault       *Fault
		contentType string
		body        string // or what it has, after a ~
		took        time.Duration
	}{
		{"none", nil, asService, `~"message":"SUCCESS"`, 0},
		{"without a meaning there", &Fault{At: OnStop, Do: Fragmented}, asService, `~"message":"SUCCESS"`, 0},
		{"nothing more to read", &Fault{At: OnStop, Do: StopReading}, asService, `~"message":"SUCCESS"`, 0},
		{"audio that never comes", &Fault{At: DuringAudio, Do: Delay, After: 1000}, asService, `~"message":"SUCCESS"`, 0},
		{"a failure", &Fault{At: OnStop, Do: TaskFailed}, asService, `~"status":50000000,"message":"` + errServer.text + `"`, 0},
		{"a failure with a text", &Fault{At: OnStop, Do: TaskFailed, Code: 41050002, Text: "why"}, asService, `~"status":41050002,"message":"why"`, 0},
		{"a failure with a text of its own", &Fault{At: OnStop, Do: TaskFailed, Code: 41050002}, asService, `~"status":41050002,"message":"FILE_DOWNLOAD_FAILED"`, 0},
		{"late", &Fault{At: OnStop, Do: Delay, Delay: 5 * time.Second}, asService, `~"message":"SUCCESS"`, 5 * time.Second},
		{"late by a second", &Fault{At: OnStop, Do: Delay}, asService, `~"message":"SUCCESS"`, time.Second},
		{"not JSON", &Fault{At: OnStop, Do: NotJSON}, plain, "this is not JSON", 0},
		{"an array", &Fault{At: OnStop, Do: JSONArray}, plain, "[1,2,3]", 0},
		{"nothing", &Fault{At: OnStop, Do: EmptyText}, plain, "", 0},
		{"an empty object", &Fault{At: OnStop, Do: NoHeader}, plain, "{}", 0},
		{"a result that is null", &Fault{At: OnStop, Do: NullPayload}, plain, `{"task_id":"` + noTask + `","status":20000000,"message":"SUCCESS","flash_result":null,"TaskId":"` + noTask + `","StatusCode":21050000,"StatusText":"SUCCESS","Result":null}`, 0},
		{"a MiB", &Fault{At: OnStop, Do: HugeText}, plain, strings.Repeat(" ", 1<<20), 0},
		{"two MiB", &Fault{At: OnStop, Do: HugeText, Code: 2}, plain, strings.Repeat(" ", 2<<20), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				contentType, body, _, took, err := fileAnswerOf(t, tc.fault)
				part, isPart := strings.CutPrefix(tc.body, "~")
				if err != nil || contentType != tc.contentType || took != tc.took || isPart && !strings.Contains(body, part) || !isPart && body != tc.body {
					t.Errorf("after %v %s %.300q, %v", took, contentType, body, err)
				}
			})
		})
	}
}

func TestAnAnswerAboutAFileIsCutInHalf(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, body, size, took, err := fileAnswerOf(t, &Fault{At: OnStop, Do: Truncated})
		if !errors.Is(err, io.ErrUnexpectedEOF) || int64(len(body)) != size/2 || size < 10 || took != 0 {
			t.Errorf("%d bytes of %d after %v, %v", len(body), size, took, err)
		}
	})
}

// The answer trickles from the handshake on as it does when it is due.
func TestAnAnswerAboutAFileTrickles(t *testing.T) {
	for _, at := range []Point{AtHandshake, OnStop} {
		inBubble(t, func(t *testing.T) {
			_, body, size, took, err := fileAnswerOf(t, &Fault{At: at, Do: Trickle, Delay: time.Millisecond})
			if err != nil || int64(len(body)) != size || !strings.Contains(body, "SUCCESS") || took < time.Duration(size)*time.Millisecond {
				t.Errorf("%v: %d bytes of %d after %v, %v", at, len(body), size, took, err)
			}
		})
	}
}

// After counts the pieces that come before the fault; the end of a body is none.
func TestAFaultHappensBetweenPiecesOfAFile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		call := func(f *Fault) *faultyBody {
			return &faultyBody{&fileRequest{w: w, link: &link{gone: make(chan struct{})}, fault: f,
				failed: func(f *failure) (int, any) { return http.StatusTeapot, f.text }}, iotest.OneByteReader(strings.NewReader("abcd"))}
		}
		slow := call(&Fault{At: DuringAudio, Do: Delay, After: 2})
		for i, want := range []time.Duration{0, 0, time.Second, 0} {
			begin := time.Now()
			if _, err := slow.Read(make([]byte, 8)); err != nil || time.Since(begin) != want {
				t.Errorf("piece %d after %v, %v", i+1, time.Since(begin), err)
			}
		}
		never := call(&Fault{At: DuringAudio, Do: TaskFailed, After: 4})
		if got, err := io.ReadAll(never); string(got) != "abcd" || err != nil || never.call.over {
			t.Errorf("%q, %v", got, err)
		}
		failed := call(&Fault{At: DuringAudio, Do: TaskFailed, After: 3})
		if got, err := io.ReadAll(failed); string(got) != "abc" || !errors.Is(err, io.ErrClosedPipe) || !failed.call.over || w.Code != http.StatusTeapot {
			t.Errorf("%q, %v, %d", got, err, w.Code)
		}
	})
}
