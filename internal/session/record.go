package session

import (
	"bytes"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// Frame is a message for a recording, or with End the end of a session.
type Frame struct {
	TaskID string
	Seq    int64 // counts up in a session, whatever the order in which frames are recorded
	Time   time.Time
	Sent   bool
	Binary bool
	Data   []byte // without secrets, if it is text; not to be kept
	Secret bool   // Data is binary and has a secret in it

	End bool
	Err error // of the session, as callers see it
}

// recordFrame gives a message its place in the recording. A message that is sent is
// recorded when the write lock has been given back, since the recording is user code.
func (t *Task) recordFrame(a *attempt, sent bool, opcode byte, data []byte) Frame {
	return Frame{
		TaskID: a.id, Seq: t.recorded.Add(1), Time: time.Now(), Sent: sent, Binary: opcode == wsframe.Binary, Data: data,
	}
}

// record records f.
func (t *Task) record(a *attempt, f Frame) {
	if f.Binary {
		for _, s := range a.secrets() {
			f.Secret = f.Secret || s != "" && bytes.Contains(f.Data, []byte(s))
		}
	} else {
		f.Data = []byte(a.redact(string(f.Data)))
	}
	t.cfg.Record(f)
}

// recordEnd records the end, after everything else.
func (t *Task) recordEnd(a *attempt, err error) {
	if t.cfg.Record != nil {
		t.cfg.Record(Frame{TaskID: a.id, Seq: t.recorded.Add(1), Time: time.Now(), End: true, Err: err})
	}
}
