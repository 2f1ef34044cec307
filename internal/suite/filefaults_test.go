package suite

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// This file is the fault matrix of recorded files: what a fault of HTTP, and each
// status of the services, is to the caller. docs/faults.md has its table too.

// The outcomes. Which error it is, is in describe.
var (
	fileLater  = outcome{says: "completes later, with the right result", completes: true, after: time.Second}
	fileSlow   = outcome{says: "completes later, with the right result", completes: true, within: 20 * time.Second}
	fileEmpty  = outcome{says: "completes; the result is empty", completes: true, anyResult: true}
	fileLost   = outcome{says: "the connection broke", retryable: true}
	fileNoHTTP = outcome{says: "the answer is no HTTP", or: &fileLost}
	fileMute   = outcome{says: "the service does not answer", is: nls.ErrCompleteTimeout, retryable: true, after: time.Minute}
	fileStuck  = outcome{says: "the service does not take the file", is: nls.ErrWriteTimeout, retryable: true, after: 10 * time.Second}

	callLost   = outcome{says: "the connection broke", err: "*APIError", retryable: true}
	callNoHTTP = outcome{says: "the answer is no HTTP", err: "*APIError"}
	callMute   = outcome{says: "the service does not answer", err: "*APIError", is: context.DeadlineExceeded, retryable: true, after: 30 * time.Second}
	callOther  = outcome{says: "the answer is not that of the service", err: "*APIError HTTPStatus 200"}
)

// answered is an answer of RecognizeFile that is not the service's own.
func answered(status int, retryable bool) outcome {
	o := outcome{says: "the answer is not that of the service", err: fmt.Sprint("*TaskError HTTPStatus ", status), retryable: retryable}
	if status == 401 || status == 403 {
		o.is = nls.ErrAccessDenied
	}
	return o
}

// refusedCall is an answer of HTTP status to a call of the file service.
func refusedCall(status int, retryable bool) outcome {
	return outcome{says: "the call was refused", err: fmt.Sprint("*APIError HTTPStatus ", status), retryable: retryable}
}

// What a proxy and the POP layer say.
const (
	page      = ",text=%3Chtml%3EBad gateway%3C/html%3E"
	throttled = `,code=400,text={"Code":"Throttling.User"%2C"Message":"Request was denied due to user flow control."}`
	mismatch  = `,code=400,text={"Code":"SignatureDoesNotMatch"%2C"Message":"x"}`
	noService = `,code=503,text={"Code":"ServiceUnavailable"%2C"Message":"x"}`
)

// fileFaults are the rows of the table.
var fileFaults = []struct {
	call, fault string
	want        outcome
}{
	{"RecognizeFile", "refuse@handshake,code=401", answered(401, false)},
	{"RecognizeFile", "refuse@handshake", answered(403, false)},
	{"RecognizeFile", "refuse@handshake,code=404", answered(404, false)},
	{"RecognizeFile", "refuse@handshake,code=408", answered(408, true)},
	{"RecognizeFile", "refuse@handshake,code=413", answered(413, false)},
	{"RecognizeFile", "refuse@handshake,code=429", answered(429, true)},
	{"RecognizeFile", "refuse@handshake,code=500", answered(500, true)},
	{"RecognizeFile", "refuse@handshake,code=502" + page, answered(502, true)},
	{"RecognizeFile", "refuse@handshake,code=503", answered(503, true)},
	{"RecognizeFile", "refuse@handshake,code=302,text=https://other.example/", answered(302, false)},
	{"RecognizeFile", "refuse@handshake,code=200", answered(200, false)},
	{"RecognizeFile", "garbage@handshake", fileNoHTTP},
	{"RecognizeFile", "reset@handshake", fileLost},
	{"RecognizeFile", "eof@handshake", fileLost},
	{"RecognizeFile", "hang@handshake", fileMute},
	{"RecognizeFile", "halfopen@handshake", fileStuck},
	{"RecognizeFile", "delay@handshake", fileLater},
	{"RecognizeFile", "reset@during-audio,after=3", fileLost},
	{"RecognizeFile", "eof@during-audio,after=3", fileLost},
	{"RecognizeFile", "hang@during-audio,after=3", fileMute},
	{"RecognizeFile", "halfopen@during-audio,after=3", fileStuck},
	{"RecognizeFile", "stopreading@during-audio,after=3", fileStuck},
	{"RecognizeFile", "delay@during-audio,after=3", fileLater},
	{"RecognizeFile", "taskfailed@during-audio,after=3", failed(50000000, true)},
	{"RecognizeFile", "reset@on-stop", fileLost},
	{"RecognizeFile", "eof@on-stop", fileLost},
	{"RecognizeFile", "truncated@on-stop", fileLost},
	{"RecognizeFile", "hang@on-stop", fileMute},
	{"RecognizeFile", "halfopen@on-stop", fileMute},
	{"RecognizeFile", "delay@on-stop", fileLater},
	{"RecognizeFile", "trickle@on-stop", fileMute},
	{"RecognizeFile", "trickle@on-stop,delay=10ms", fileSlow},
	{"RecognizeFile", "notjson@on-stop", answered(200, false)},
	{"RecognizeFile", "array@on-stop", answered(200, false)},
	{"RecognizeFile", "emptytext@on-stop", answered(200, false)},
	{"RecognizeFile", "noheader@on-stop", answered(200, false)},
	{"RecognizeFile", "nullpayload@on-stop", answered(200, false)},
	{"RecognizeFile", "wrongtypes@on-stop", fileEmpty},
	{"RecognizeFile", "hugetext@on-stop,code=65", answered(200, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40000001,text=The token has expired!", failed(40000001, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40000003", failed(40000003, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40000004", failed(40000004, true)},
	{"RecognizeFile", "taskfailed@on-stop,code=40000005", failed(40000005, true)},
	{"RecognizeFile", "taskfailed@on-stop,code=40000010", failed(40000010, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40020105", failed(40020105, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40270001", failed(40270001, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40270002", failed(40270002, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40270003", failed(40270003, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40270004", failed(40270004, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=40270006", failed(40270006, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=41010101", failed(41010101, false)},
	{"RecognizeFile", "taskfailed@on-stop,code=50000000", failed(50000000, true)},

	{"SubmitFile", "refuse@handshake" + throttled, refusedCall(400, true)},
	{"SubmitFile", "refuse@handshake" + mismatch, refusedCall(400, false)},
	{"SubmitFile", "refuse@handshake" + noService, refusedCall(503, true)},
	{"SubmitFile", "refuse@handshake", refusedCall(403, false)},
	{"SubmitFile", "refuse@handshake,code=404", refusedCall(404, false)},
	{"SubmitFile", "refuse@handshake,code=429", refusedCall(429, true)},
	{"SubmitFile", "refuse@handshake,code=500", refusedCall(500, true)},
	{"SubmitFile", "refuse@handshake,code=502" + page, refusedCall(502, true)},
	{"SubmitFile", "refuse@handshake,code=302,text=http://other.example/", refusedCall(302, false)},
	{"SubmitFile", "garbage@handshake", callNoHTTP},
	{"SubmitFile", "reset@handshake", callLost},
	{"SubmitFile", "eof@handshake", callLost},
	{"SubmitFile", "hang@handshake", callMute},
	{"SubmitFile", "halfopen@handshake", callMute},
	{"SubmitFile", "delay@handshake", fileLater},
	{"SubmitFile", "truncated@on-stop", callLost},
	{"SubmitFile", "trickle@on-stop", callMute},
	{"SubmitFile", "notjson@on-stop", callOther},
	{"SubmitFile", "array@on-stop", callOther},
	{"SubmitFile", "emptytext@on-stop", callOther},
	{"SubmitFile", "noheader@on-stop", callOther},
	{"SubmitFile", "wrongtypes@on-stop", fileEmpty},
	{"SubmitFile", "taskfailed@on-stop,code=41050001", failed(41050001, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050011", failed(41050011, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050012", failed(41050012, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050013", failed(41050013, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050014", failed(41050014, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050015", failed(41050015, false)},
	{"SubmitFile", "taskfailed@on-stop,code=41050021", failed(41050021, false)},
	{"SubmitFile", "taskfailed@on-stop,code=51050000", failed(51050000, true)},

	{"FileStatus", "refuse@handshake" + throttled, refusedCall(400, true)},
	{"FileStatus", "refuse@handshake,code=502" + page, refusedCall(502, true)},
	{"FileStatus", "reset@handshake", callLost},
	{"FileStatus", "reset@on-stop", callLost},
	{"FileStatus", "truncated@on-stop", callLost},
	{"FileStatus", "hang@on-stop", callMute},
	{"FileStatus", "notjson@on-stop", callOther},
	{"FileStatus", "noheader@on-stop", callOther},
	{"FileStatus", "nullpayload@on-stop", fileEmpty},
	{"FileStatus", "wrongtypes@on-stop", fileEmpty},
	{"FileStatus", "hugetext@on-stop,code=65", callOther},
	{"FileStatus", "taskfailed@on-stop,code=21050001", outcome{says: "there is no result yet", is: nls.ErrFileRunning}},
	{"FileStatus", "taskfailed@on-stop,code=21050002", outcome{says: "there is no result yet", is: nls.ErrFileRunning}},
	{"FileStatus", "taskfailed@on-stop,code=21050003", fileEmpty},
	{"FileStatus", "taskfailed@on-stop,code=41050001", failed(41050001, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050002", failed(41050002, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050003", failed(41050003, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050004", failed(41050004, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050005", failed(41050005, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050006", failed(41050006, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050007", failed(41050007, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050008", failed(41050008, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050009", failed(41050009, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050010", failed(41050010, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050023", failed(41050023, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050024", failed(41050024, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050025", failed(41050025, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050026", failed(41050026, true)},
	{"FileStatus", "taskfailed@on-stop,code=41050029", failed(41050029, false)},
	{"FileStatus", "taskfailed@on-stop,code=41050103", failed(41050103, false)},
	{"FileStatus", "taskfailed@on-stop,code=50000000", failed(50000000, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050000", failed(51050000, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050001", failed(51050001, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050002", failed(51050002, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050003", failed(51050003, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050004", failed(51050004, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050005", failed(51050005, true)},
	{"FileStatus", "taskfailed@on-stop,code=51050006", failed(51050006, true)},
}

// fileFaultTable is the part of docs/faults.md about recorded files.
func fileFaultTable() string {
	var b strings.Builder
	b.WriteString(`
## Recorded files

A fault happens to the one request of the call. Its point is the handshake, when nothing of the
request has been read; during-audio, while the file comes; and on-stop, when the answer is due. Errors of
FileStatus have the task id, and those of RecognizeFile that are the service's own. WaitFile
returns what FileStatus does, but goes on where it says ErrFileRunning, is throttled, or, for
two minutes, has an *APIError that is Retryable.

| call | fault | what the caller sees | after | error | Retryable |
| --- | --- | --- | --- | --- | --- |
`)
	for _, row := range fileFaults {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.call,
			strings.NewReplacer("%3C", "&lt;", "%3E", "&gt;", "%2C", ",").Replace(row.fault),
			row.want.says, row.want.when(), row.want.error(), row.want.retry())
		if o := row.want.or; o != nil {
			fmt.Fprintf(&b, "| | … or, while the file is being sent | %s | %s | %s | %s |\n", o.says, o.when(), o.error(), o.retry())
		}
	}
	return b.String()
}

// longFile is a file that fits into no buffer on the way: ten seconds of silence, and
// then spoken.
func longFile(t testing.TB) []byte {
	return wavOf(t, nls.DefaultSampleRate, 1, append(make([]byte, 10*2*nls.DefaultSampleRate), spokenAudio()...))
}

func TestFileFaults(t *testing.T) {
	t.Parallel()
	actions := map[string]string{"SubmitFile": "SubmitTask", "FileStatus": "GetTaskResult"}
	again := effort.OneIn(4)
	for _, row := range fileFaults {
		t.Run(row.call+"/"+row.fault, func(t *testing.T) {
			if strings.HasPrefix(row.fault, "hugetext") {
				effort.Thorough(t)
			}
			fault := faultOnce(row.fault)
			opts := nlstest.Options{Files: serving(spokenFile(t)), Fault: func(r *http.Request) *nlstest.Fault {
				if r.Form.Get("Action") != actions[row.call] {
					return nil
				}
				return fault(r)
			}}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				client := clientOf(t, server, func(cfg *nls.Config) {
					if row.call == "RecognizeFile" {
						withToken(cfg)
					}
				})
				var task nls.FileTask
				if row.call == "FileStatus" {
					var err error
					if task, err = client.SubmitFile(t.Context(), nls.FileTaskParams{URL: fileLink}); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				call := func(ctx context.Context) (string, error) {
					var result *nls.FileResult
					var err error
					switch row.call {
					case "RecognizeFile":
						result, err = client.RecognizeFile(ctx, bytes.NewReader(longFile(t)), nls.FileParams{})
					case "SubmitFile":
						submitted, err := client.SubmitFile(ctx, nls.FileTaskParams{URL: fileLink})
						if err == nil && submitted.ID == "" {
							t.Error("no task id")
						}
						return spoken, err
					case "FileStatus":
						result, err = client.FileStatus(ctx, task)
					}
					if err != nil {
						return "", err
					}
					return result.Text(), nil
				}
				begin := time.Now()
				text, err := call(t.Context())
				took := time.Since(begin)
				want := row.want
				if want.or != nil && nls.Retryable(err) == want.or.retryable {
					want = *want.or
				}
				mustSeeOf(t, err, want)
				if row.want.within != 0 && took > row.want.within || row.want.within == 0 && took.Truncate(time.Second) != row.want.after {
					t.Errorf("took %v, want %v, at most %v", took, row.want.after, row.want.within)
				}
				if row.want.completes && !row.want.anyResult && text != spoken {
					t.Errorf("the text is %q", text)
				}
				if got := nls.TaskID(err); err != nil && row.call == "FileStatus" && got != task.ID {
					t.Errorf("TaskID(%v) = %q", err, got)
				}
				time.Sleep(time.Second) // which a question about a task has to wait, and net/http before it hangs up
				if !again() {
					return
				}
				if text, err = call(t.Context()); err != nil || text != spoken {
					t.Errorf("the next call: %q, %v", text, err)
				}
			})
		})
	}
}
