package recording

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/effort"
)

func lines(t *testing.T, ls ...Line) []byte {
	t.Helper()
	var b []byte
	for _, l := range ls {
		var err error
		if b, err = l.Append(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 4, time.UTC)
	text, odd, hash, whole := Line{TaskID: "a", Seq: 1, Time: at, Kind: Send}, Line{TaskID: "a", Seq: 2, Time: at, Kind: Receive}, Line{TaskID: "a", Seq: 3, Time: at, Kind: Send}, Line{TaskID: "a", Seq: 4, Time: at, Kind: Receive}
	text.Message(false, []byte(`{"a":"<好>\n"}`), false)
	odd.Message(false, []byte("\xff\x00"), false)
	hash.Message(true, []byte("audio"), false)
	whole.Message(true, []byte("audio"), true)
	end := Line{TaskID: "a", Seq: 5, Time: at, Kind: End, Lost: true, Code: -1, Error: "gone"}
	want := []Line{text, odd, hash, whole, end}
	sessions, err := Read(bytes.NewReader(lines(t, want...)))
	if err != nil || len(sessions) != 1 || !reflect.DeepEqual(sessions[0], want) {
		t.Errorf("read %+v, %v, want %+v", sessions, err, want)
	}
	if text.Text == "" || text.Data != nil || odd.Text != "" || odd.Data == nil || hash.Data != nil || hash.SHA256 != whole.SHA256 || hash.Bytes != 5 || whole.Data == nil {
		t.Errorf("messages are %+v", want)
	}
	if s := string(lines(t, text)); strings.Count(s, "\n") != 1 || !strings.Contains(s, "<好>") {
		t.Errorf("a line is %q", s)
	}
}

func TestSessionsAreInOrderWhateverTheLinesAreIn(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	line := func(id string, seq int64, after time.Duration) Line {
		return Line{TaskID: id, Seq: seq, Time: at.Add(after), Kind: Send, Text: "x"}
	}
	sessions, err := Read(bytes.NewReader(slices.Concat([]byte("\n  \n"), lines(t,
		line("late", 2, 3), line("early", 3, 4), line("late", 1, 2), line("early", 1, 1), line("early", 2, 5)))))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sessions {
		for i, l := range s {
			if l.Seq != int64(i+1) {
				t.Errorf("%s: line %d has number %d", l.TaskID, i+1, l.Seq)
			}
		}
		got = append(got, s[0].TaskID)
	}
	if !slices.Equal(got, []string{"early", "late"}) {
		t.Errorf("sessions %q", got)
	}
}

func TestWhatIsNoRecordingIsAnError(t *testing.T) {
	effort.Long(t)
	good := `{"task_id":"a","seq":1,"time":"2026-01-01T00:00:00Z","kind":"send","text":"x"}` + "\n"
	for name, tc := range map[string]struct{ in, want string }{
		"not JSON":      {good + "hello\n", "line 2"},
		"cut":           {good[:20], "line 1"},
		"no task":       {`{"seq":1,"kind":"send"}`, "line 1 is no line"},
		"no kind":       {`{"task_id":"a"}`, "line 1 is no line"},
		"another kind":  {`{"task_id":"a","kind":"sent"}`, "line 1 is no line"},
		"a longer line": {`{"task_id":"` + strings.Repeat("a", maxLine) + `"}`, "token too long"},
	} {
		if sessions, err := Read(strings.NewReader(tc.in)); err == nil || !strings.HasPrefix(err.Error(), "recording: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %d sessions, %v", name, len(sessions), err)
		}
	}
	if sessions, err := Read(strings.NewReader("")); err != nil || len(sessions) != 0 {
		t.Errorf("nothing: %v, %v", sessions, err)
	}
	// The longest message of a session.
	l := Line{TaskID: "a", Kind: Receive}
	l.Message(false, bytes.Repeat([]byte{1}, 1<<20), false)
	if sessions, err := Read(bytes.NewReader(lines(t, l))); err != nil || len(sessions[0][0].Text) != 1<<20 {
		t.Errorf("a message of 1 MiB: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"task_id":"a","seq":1,"time":"2026-01-01T00:00:00Z","kind":"end","lost":true,"code":-1}`))
	f.Add([]byte(`{"task_id":"a","kind":"send","binary":true,"data":"` + base64.StdEncoding.EncodeToString([]byte("x")) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sessions, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again []byte
		for _, s := range sessions {
			if len(s) == 0 {
				t.Fatal("a session without lines")
			}
			again = append(again, lines(t, s...)...)
		}
		if back, err := Read(bytes.NewReader(again)); err != nil || len(back) != len(sessions) {
			t.Errorf("%d sessions become %d, %v", len(sessions), len(back), err)
		}
	})
}
