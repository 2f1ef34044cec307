package nls_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// asked answers each question of a WaitFile, and keeps when it came.
type asked struct {
	begin  time.Time
	at     []time.Duration
	answer func(n int, at time.Duration) string // "" is a broken network
}

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	at := time.Since(a.begin)
	a.at = append(a.at, at)
	if len(a.at) > 1000 {
		return nil, errors.New("asked without end") // which is not retried
	}
	body := a.answer(len(a.at), at)
	if body == "" {
		return nil, io.ErrUnexpectedEOF
	}
	status := http.StatusOK
	if strings.Contains(body, "Throttling") {
		status = http.StatusBadRequest
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

const (
	fileRuns      = `{"TaskId":"t1","StatusCode":21050001}`
	fileDone      = `{"TaskId":"t1","StatusCode":21050003}`
	fileBroke     = `{"TaskId":"t1","StatusCode":51050000}`
	fileThrottled = `{"Code":"Throttling.User","Message":"too often"}`
	noNetwork     = ""
)

// waitFile waits for a task of which answer tells.
func waitFile(t *testing.T, answer func(n int, at time.Duration) string) (*asked, error) {
	t.Helper()
	a := &asked{begin: time.Now(), answer: answer}
	client := clientFor(t, nls.Config{AppKey: "k", AccessKeyID: "id", AccessKeySecret: "secret", TokenOptions: &nls.TokenOptions{Transport: a}})
	_, err := client.WaitFile(t.Context(), nls.FileTask{ID: "t1"})
	return a, err
}

// pauses are those between the questions.
func (a *asked) pauses() (all []time.Duration) {
	for i := 1; i < len(a.at); i++ {
		all = append(all, a.at[i]-a.at[i-1])
	}
	return all
}

func TestThePausesOfWaitFileGrowByAQuarterOrDoubleWhereItIsThrottled(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string // and then it is done
		want    []time.Duration
	}{
		{"a task that runs", []string{fileRuns, fileRuns, fileRuns}, []time.Duration{time.Second, 1250 * time.Millisecond, 1562500 * time.Microsecond}},
		{"throttled", []string{fileThrottled, fileThrottled, fileThrottled}, []time.Duration{2 * time.Second, 5 * time.Second, 12500 * time.Millisecond}},
		{
			"throttled for long, and no more", slices.Concat(slices.Repeat([]string{fileThrottled}, 7), []string{fileRuns, fileRuns}),
			[]time.Duration{2 * time.Second, 5 * time.Second, 12500 * time.Millisecond, 31250 * time.Millisecond, 78125 * time.Millisecond, 2 * time.Minute, 2 * time.Minute, 30 * time.Second, 30 * time.Second},
		},
		{
			"throttled, and then without a network", slices.Concat(slices.Repeat([]string{fileThrottled}, 5), []string{noNetwork, noNetwork}),
			[]time.Duration{2 * time.Second, 5 * time.Second, 12500 * time.Millisecond, 31250 * time.Millisecond, 78125 * time.Millisecond, 30 * time.Second, 30 * time.Second},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, err := waitFile(t, func(n int, _ time.Duration) string { return append(c.answers, fileDone)[n-1] })
			if got := a.pauses(); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", c.name, err, got, c.want)
			}
		})
	}
}

// Any answer, be it to come later, begins the two minutes anew.
func TestThePatienceOfWaitFileIsForOneFailureOfTheNetwork(t *testing.T) {
	for name, between := range map[string]string{"it runs": fileRuns, "throttled": fileThrottled} {
		synctest.Test(t, func(t *testing.T) {
			up := 0
			a, err := waitFile(t, func(n int, at time.Duration) string {
				switch {
				case at > 8*time.Minute:
					return fileDone
				case at > time.Duration(up+1)*90*time.Second:
					up++
					return between
				}
				return noNetwork
			})
			if err != nil || a.at[len(a.at)-1] < 8*time.Minute {
				t.Errorf("%s: %v after %v", name, err, a.at)
			}
		})
	}
}

func TestWaitFileDoesNotWaitForATaskThatHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := waitFile(t, func(int, time.Duration) string { return fileBroke })
		if nls.StatusCode(err) != nls.StatusFileInternalError || !nls.Retryable(err) || len(a.at) != 1 {
			t.Errorf("%v after %d questions", err, len(a.at))
		}
	})
}

func TestAFileCallThatIsEndedSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the user has left")
		ctx, cancel := context.WithCancelCause(t.Context())
		client := clientFor(t, nls.Config{AppKey: "k", AccessKeyID: "id", AccessKeySecret: "secret", TokenOptions: &nls.TokenOptions{Transport: stuckTransport{}}})
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, err := client.FileStatus(ctx, nls.FileTask{ID: "t1"})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), why.Error()) || nls.Retryable(err) || nls.TaskID(err) != "t1" {
			t.Errorf("%v", err)
		}
		begin := time.Now()
		_, err = client.FileStatus(t.Context(), nls.FileTask{ID: "t1"})
		if e, ok := errors.AsType[*nls.APIError](err); !ok || e.Action != "GetTaskResult" || time.Since(begin) != 30*time.Second {
			t.Errorf("with no end of its own: %v after %v", err, time.Since(begin))
		}
	})
}

// stuckTransport answers nothing.
type stuckTransport struct{}

func (stuckTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestAnAnswerWithoutATaskIsAnError(t *testing.T) {
	for _, answer := range []string{`{}`, `{"StatusCode":21050000}`, `{"TaskId":"t1"}`} {
		task, err := filesClient(t, &fileCalls{answer: answer}, nil).SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav"})
		if e, ok := errors.AsType[*nls.APIError](err); !ok || e.Action != "SubmitTask" || e.HTTPStatus != 200 || task.ID != "" {
			t.Errorf("%s: %v, %v", answer, task, err)
		}
	}
}

func TestTwoToAHundredSpeakersAreTold(t *testing.T) {
	for n, fine := range map[int]bool{-1: false, 0: true, 1: false, 2: true, 100: true, 101: false} {
		_, err := filesClient(t, &fileCalls{answer: submitted}, nil).
			SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav", AutoSplit: true, SpeakerNum: n})
		if fine && err != nil || !fine && paramOf(err) != "SpeakerNum" {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestHalfAnAccessKeyIsNone(t *testing.T) {
	for _, half := range []nls.Config{{}, {AccessKeyID: "id"}, {AccessKeySecret: "secret"}} {
		half.AppKey, half.Token = "k", "t"
		client, err := nls.NewClient(half)
		if err == nil {
			_, err = client.FileStatus(t.Context(), nls.FileTask{ID: "t1"})
		}
		if got := paramOf(err); got != "AccessKeyID" && got != "AccessKeySecret" {
			t.Errorf("%v", err)
		}
	}
}

func TestTheCheaperEditionHasAHostInEachRegionOfTheMainland(t *testing.T) {
	for _, region := range []string{"cn-shanghai", "cn-beijing", "cn-shenzhen"} {
		calls := &fileCalls{answer: submitted}
		_, err := filesClient(t, calls, func(c *nls.Config) { c.Region = region }).
			SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav", Lite: true})
		if err != nil || calls.url.Host != "speechfiletranscriberlite."+region+".aliyuncs.com" {
			t.Errorf("%s: %v, %v", region, calls.url, err)
		}
	}
}

func TestFilesAreCalledWithTheCredentialsThatComeFirst(t *testing.T) {
	calls := &fileCalls{answer: submitted}
	client := filesClient(t, calls, func(c *nls.Config) {
		c.Credentials = nls.CredentialSourceFunc(func(context.Context) (nls.AccessKey, error) {
			return nls.AccessKey{ID: "source", Secret: "secret"}, nil
		})
	})
	if _, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav"}); err != nil || calls.params.Get("AccessKeyId") != "source" {
		t.Errorf("%v, with the key of %s", err, calls.params.Get("AccessKeyId"))
	}
}

func TestARegionWithoutAFileServiceIsNamed(t *testing.T) {
	client := filesClient(t, &fileCalls{answer: submitted}, func(c *nls.Config) { c.TokenOptions.Region, c.TokenOptions.Endpoint = "us-west-1", "tokens.example" })
	for lite, want := range map[bool]string{true: "Lite", false: "Region"} {
		if _, err := client.SubmitFile(t.Context(), nls.FileTaskParams{URL: "https://files.example/a.wav", Lite: lite}); paramOf(err) != want {
			t.Errorf("Lite %v: %v", lite, err)
		}
	}
}
