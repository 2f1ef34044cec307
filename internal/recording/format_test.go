package recording

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// Recordings are kept in files: what was written once is read for ever.
func TestTheFormatOfAFileStays(t *testing.T) {
	const sum = "6ed8919ce20490a5e3ad8630a4fab69475297abd07db73918dd5f36fcfaeb11b" // of "audio"
	file := `{"task_id":"a","seq":1,"time":"2026-01-01T00:00:00Z","kind":"send","text":"<x>","bytes":3}
{"task_id":"a","seq":2,"time":"2026-01-01T00:00:01Z","kind":"receive","binary":true,"bytes":5,"sha256":"` + sum + `"}
{"task_id":"a","seq":3,"time":"2026-01-01T00:00:02Z","kind":"end","lost":true,"code":-1,"error":"gone"}
`
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []Line{{TaskID: "a", Seq: 1, Time: at, Kind: Send}, {TaskID: "a", Seq: 2, Time: at.Add(time.Second), Kind: Receive},
		{TaskID: "a", Seq: 3, Time: at.Add(2 * time.Second), Kind: End, Lost: true, Code: -1, Error: "gone"}}
	want[0].Message(false, []byte("<x>"), false)
	want[1].Message(true, []byte("audio"), false)
	if sessions, err := Read(strings.NewReader(file)); err != nil || len(sessions) != 1 || !reflect.DeepEqual(sessions[0], want) {
		t.Errorf("read %+v, %v, want %+v", sessions, err, want)
	}
	if got := string(lines(t, want...)); got != file {
		t.Errorf("written\n%swant\n%s", got, file)
	}
}

func TestASessionMayHaveOneLine(t *testing.T) {
	sessions, err := Read(strings.NewReader(`{"task_id":"b","time":"2026-01-01T00:00:01Z","kind":"send"}
{"task_id":"a","time":"2026-01-01T00:00:00Z","kind":"send"}`))
	if err != nil || len(sessions) != 2 || sessions[0][0].TaskID != "a" {
		t.Errorf("%v, %v", sessions, err)
	}
}
