// Package recording is the format of what Config.Record writes and nlstest.Replay
// reads: a JSON object a line, one for each message and one for the end of a session.
package recording

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// The kinds of lines.
const (
	Send    = "send"    // by the client
	Receive = "receive" // from the service
	End     = "end"     // of the session
)

// maxLine is the longest line that is read: a message of 1 MiB, the most that the
// SDK reads, with each byte in its longest spelling.
const maxLine = 8 << 20

// Line is one line. A text message has Text, or Data if it is no UTF-8; a binary one
// has SHA256 and, if it was kept whole, Data.
type Line struct {
	TaskID string    `json:"task_id"`
	Seq    int64     `json:"seq"` // counts up in a session; lines may be in another order
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`

	Text   string `json:"text,omitempty"`
	Binary bool   `json:"binary,omitempty"`
	Bytes  int    `json:"bytes,omitempty"` // of the message
	SHA256 string `json:"sha256,omitempty"`
	Data   []byte `json:"data,omitempty"`

	// Of End. Lost says that the connection ended before the task did, with Code, -1
	// if without a close frame.
	Lost  bool   `json:"lost,omitempty"`
	Code  int    `json:"code,omitempty"`
	Error string `json:"error,omitempty"`
}

// Message puts data into l.
func (l *Line) Message(binary bool, data []byte, whole bool) {
	l.Binary, l.Bytes = binary, len(data)
	switch {
	case binary:
		l.SHA256 = Hash(data)
		if whole {
			l.Data = data
		}
	case utf8.Valid(data):
		l.Text = string(data)
	default:
		l.Data = data
	}
}

// Hash is the SHA256 of a Line.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Append appends l and a line feed to b.
func (l *Line) Append(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(l)
	return append(b, buf.Bytes()...), err
}

// Read returns the sessions in r in the order in which they began, each with its
// lines in order.
func Read(r io.Reader) ([][]Line, error) {
	var sessions [][]Line
	index := map[string]int{}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	for n := 1; scan.Scan(); n++ {
		if len(bytes.TrimSpace(scan.Bytes())) == 0 {
			continue
		}
		var l Line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("recording: line %d: %w", n, err)
		}
		if l.TaskID == "" || l.Kind != Send && l.Kind != Receive && l.Kind != End {
			return nil, fmt.Errorf("recording: line %d is no line of a recording", n)
		}
		i, ok := index[l.TaskID]
		if !ok {
			i = len(sessions)
			index[l.TaskID] = i
			sessions = append(sessions, nil)
		}
		sessions[i] = append(sessions[i], l)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	for _, s := range sessions {
		slices.SortStableFunc(s, func(a, b Line) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	slices.SortStableFunc(sessions, func(a, b []Line) int { return a[0].Time.Compare(b[0].Time) })
	return sessions, nil
}
