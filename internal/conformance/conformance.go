// Package conformance checks what a gateway sends against what the official SDKs
// can read: C++ knows no ping and no continuation, Java no frame above 64 KiB and
// no null, Go ends the process over an unexpected namespace (protocol §1.8, §2.2).
// It also checks the order of events and the fields of their payloads.
//
// It is for tests. It shares no code with the gateway, whose mistakes it would
// repeat, but that of frames, which gorilla/websocket and the official SDKs read.
package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/wsframe"
)

// Strict makes nlstest panic when it is about to send what a Checker refuses,
// but on connections with a fault. Tests set it before they start a server.
var Strict atomic.Bool

// maxFrame is the longest payload that the Java SDK reads (protocol §1.8).
const maxFrame = 64 << 10

// phase is how far a task has come, as seen by its client.
type phase int

const (
	idle     phase = iota // no task, or none that has been answered
	running               // between sentences, if the product has those
	sentence              // within one
	failed                // TaskFailed was sent: only a close frame may follow
	closed
)

// Checker checks the frames that a gateway sends on one connection, in their
// order. It is not safe for concurrent use.
type Checker struct {
	phase     phase
	namespace string // of the running task, "" until an event tells
	taskID    string // likewise
	index     int    // of the sentence that runs or comes next
	begin     int    // time of its SentenceBegin
	messages  map[string]bool
}

// Check returns an error if a client may not be able to take f, which comes after
// the frames checked before.
func (c *Checker) Check(f wsframe.Frame) error {
	switch {
	case c.phase == closed:
		return fmt.Errorf("conformance: opcode %#x after a close frame", f.Opcode())
	case f.First&0x70 != 0:
		return fmt.Errorf("conformance: reserved bits %#x", f.First)
	case f.Masked:
		return fmt.Errorf("conformance: masked frame from a server")
	case f.Opcode() == wsframe.Continuation || !f.Final():
		return fmt.Errorf("conformance: fragmented message, which C++ cannot read")
	case len(f.Payload) > maxFrame:
		return fmt.Errorf("conformance: frame of %d bytes, Java reads %d", len(f.Payload), maxFrame)
	case f.Opcode() >= wsframe.Close && len(f.Payload) > 125:
		return fmt.Errorf("conformance: control frame of %d bytes", len(f.Payload))
	case c.phase == failed && f.Opcode() != wsframe.Close:
		return fmt.Errorf("conformance: opcode %#x after TaskFailed", f.Opcode())
	}
	switch f.Opcode() {
	case wsframe.Text:
		return c.text(f.Payload)
	case wsframe.Binary:
		return c.audio(f.Payload)
	case wsframe.Close:
		c.phase = closed
		if n := len(f.Payload); n == 1 || n > 2 && !utf8.Valid(f.Payload[2:]) {
			return fmt.Errorf("conformance: close frame with a broken payload")
		} else if n >= 2 {
			if code := binary.BigEndian.Uint16(f.Payload); code < 1000 || code == 1005 || code == 1006 || code >= 5000 {
				return fmt.Errorf("conformance: close code %d", code)
			}
		}
		return nil
	case wsframe.Pong:
		return nil
	case wsframe.Ping:
		return fmt.Errorf("conformance: ping from a server, over which C++ stalls")
	default:
		return fmt.Errorf("conformance: opcode %#x", f.Opcode())
	}
}

// MustPass panics if b is not one frame that Check passes.
func (c *Checker) MustPass(b []byte) {
	r := bytes.NewReader(b)
	f, err := wsframe.Read(r)
	if err == nil && r.Len() > 0 {
		err = fmt.Errorf("conformance: %d bytes after a frame", r.Len())
	}
	if err == nil {
		err = c.Check(f)
	}
	if err != nil {
		panic(err)
	}
}

// audio checks a binary message.
func (c *Checker) audio(data []byte) error {
	switch {
	case len(data) == 0:
		return fmt.Errorf("conformance: binary message of no bytes")
	case c.phase == idle:
		c.phase = running // a synthesis that is answered with audio
	case c.namespace == "SpeechSynthesizer", c.namespace == "SpeechLongSynthesizer", c.namespace == "":
	case c.namespace == "FlowingSpeechSynthesizer" && c.phase == sentence:
	default:
		return fmt.Errorf("conformance: audio in %s, phase %d, over which Go ends the process", c.namespace, c.phase)
	}
	return nil
}

// header is the header of an event. A pointer is nil if the field is missing.
type header struct {
	Namespace  *string          `json:"namespace"`
	Name       *string          `json:"name"`
	Status     *json.RawMessage `json:"status"`
	MessageID  *string          `json:"message_id"`
	TaskID     *string          `json:"task_id"`
	StatusText *string          `json:"status_text"`
}

var (
	hexID  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	double = regexp.MustCompile(`^-?(0|[1-9][0-9]*)\.[0-9]+$`)
)

const statusOK = 20000000

// text checks an event.
func (c *Checker) text(data []byte) error {
	if !utf8.Valid(data) {
		return fmt.Errorf("conformance: event is not UTF-8: %q", data)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return fmt.Errorf("conformance: event is not one JSON value: %w", err)
	}
	if !bytes.Equal(compact.Bytes(), data) {
		return fmt.Errorf("conformance: event is not compact: %s", data)
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(data, &event); err != nil {
		return fmt.Errorf("conformance: event is no object: %s", data)
	}
	for key, value := range event {
		if key != "header" && key != "payload" {
			return fmt.Errorf("conformance: event with a field %q: %s", key, data)
		}
		if string(value) == "null" {
			return fmt.Errorf("conformance: %s is null, over which Java crashes: %s", key, data)
		}
	}
	h, status, err := checkHeader(event["header"])
	if err != nil {
		return fmt.Errorf("conformance: %w: %s", err, data)
	}
	if c.messages == nil {
		c.messages = map[string]bool{}
	}
	if c.messages[*h.MessageID] {
		return fmt.Errorf("conformance: second message %s", *h.MessageID)
	}
	c.messages[*h.MessageID] = true

	if *h.Name == "TaskFailed" || *h.Namespace == "Default" || status != statusOK {
		c.phase = failed
		if *h.Name != "TaskFailed" || *h.Namespace != "Default" || status == statusOK || event["payload"] != nil {
			return fmt.Errorf("conformance: TaskFailed, namespace Default, another status than %d and no payload come together: %s", statusOK, data)
		}
		return nil
	}
	fields, err := checkPayload(*h.Namespace, *h.Name, event["payload"])
	if err != nil {
		return fmt.Errorf("conformance: %w: %s", err, data)
	}
	if err := c.order(h, fields); err != nil {
		return fmt.Errorf("conformance: %w: %s", err, data)
	}
	return nil
}

// checkHeader checks the six fields of a header and nothing else.
func checkHeader(data json.RawMessage) (h header, status int, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return h, 0, fmt.Errorf("header: %w", err)
	}
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"namespace", h.Namespace == nil}, {"name", h.Name == nil}, {"status", h.Status == nil},
		{"message_id", h.MessageID == nil}, {"task_id", h.TaskID == nil}, {"status_text", h.StatusText == nil},
	} {
		if f.missing {
			return h, 0, fmt.Errorf("header without %s", f.name)
		}
	}
	status, _ = strconv.Atoi(string(*h.Status)) // 0 if it is none
	switch {
	case status < 10000000 || status > 99999999:
		return h, 0, fmt.Errorf("status %s is no integer of eight digits", *h.Status)
	case !hexID.MatchString(*h.MessageID):
		return h, 0, fmt.Errorf("message_id %q", *h.MessageID)
	case !hexID.MatchString(*h.TaskID):
		return h, 0, fmt.Errorf("task_id %q", *h.TaskID)
	case *h.StatusText == "":
		return h, 0, fmt.Errorf("empty status_text")
	}
	return h, status, nil
}

// The kinds of JSON values in a payload. A kind that is a map is an object, one
// in a slice an array.
type kind int

const (
	text    kind = iota
	boolean      // true or false
	number       // 32 bits: Java casts to Integer
	real         // with a fraction: Java casts to Double
)

type (
	object   map[string]any   // of kinds
	list     []any            // of the kind of its items
	optional struct{ of any } // a field that may be missing
)

// The payloads of protocol §3.4, §4.4, §5.4 and §6.3 by namespace and name. Nil is
// an event without one.
var (
	words    = list{object{"text": text, "startTime": number, "endTime": number}}
	subtitle = object{"text": text, "begin_time": number, "end_time": number, "begin_index": number, "end_index": number,
		"sentence": boolean, "phoneme": text, "phoneme_list": optional{list{shortPhoneme}}}
	shortPhoneme    = object{"index": number, "begin_time": number, "end_time": number, "phoneme": text, "tone": number}
	flowingSubtitle = object{"text": text, "begin_time": number, "end_time": number, "begin_index": number, "end_index": number,
		"sentence": boolean, "phoneme_list": list{object{"text": text, "begin_time": number, "end_time": number, "tone": text}}}

	speech = map[string]object{
		"MetaInfo":           {"subtitles": list{subtitle}},
		"SynthesisCompleted": nil,
	}
	payloads = map[string]map[string]object{
		"SpeechRecognizer": {
			"RecognitionStarted":       nil,
			"RecognitionResultChanged": {"result": text, "duration": number},
			"RecognitionCompleted":     {"result": text, "duration": number},
		},
		"SpeechTranscriber": {
			"TranscriptionStarted": nil,
			"SentenceBegin":        {"index": number, "time": number},
			"TranscriptionResultChanged": {"index": number, "time": number, "result": text, "confidence": real, "words": words,
				"status": number, "fixed_result": text, "unfixed_result": text},
			"SentenceEnd": {"index": number, "time": number, "result": text, "confidence": real, "words": words,
				"status": number, "gender": text, "begin_time": number, "fixed_result": text, "unfixed_result": text,
				"stash_result": object{"sentenceId": number, "beginTime": number, "text": text, "fixedText": text, "unfixedText": text,
					"currentTime": number, "words": words},
				"audio_extra_info": text, "sentence_id": text, "gender_score": real},
			"TranscriptionCompleted": nil,
		},
		"SpeechSynthesizer":     speech,
		"SpeechLongSynthesizer": speech,
		"FlowingSpeechSynthesizer": {
			"SynthesisStarted":   nil,
			"SentenceBegin":      {"index": number},
			"SentenceSynthesis":  {"subtitles": list{flowingSubtitle}},
			"SentenceEnd":        {"subtitles": list{flowingSubtitle}},
			"SynthesisCompleted": nil,
		},
	}
)

// checkPayload checks that a payload is exactly that of its event, and returns
// its numbers.
func checkPayload(namespace, name string, data json.RawMessage) (map[string]int, error) {
	names, ok := payloads[namespace]
	if !ok {
		return nil, fmt.Errorf("namespace %q", namespace)
	}
	want, ok := names[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s has no event %q", namespace, name)
	case want == nil && data != nil:
		return nil, fmt.Errorf("%s has a payload", name)
	case want == nil:
		return nil, nil
	case data == nil:
		return nil, fmt.Errorf("%s has no payload", name)
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if err := checkValue("payload", v, want); err != nil {
		return nil, err
	}
	numbers := map[string]int{}
	for key, field := range v.(map[string]any) {
		if n, ok := field.(json.Number); ok {
			numbers[key], _ = strconv.Atoi(n.String())
		}
	}
	return numbers, nil
}

// checkValue checks that v is of the kind want.
func checkValue(path string, v, want any) error {
	ok := false
	switch want := want.(type) {
	case object:
		fields, is := v.(map[string]any)
		if ok = is; !ok {
			break
		}
		for key := range fields {
			if _, known := want[key]; !known {
				return fmt.Errorf("%s.%s is unknown", path, key)
			}
		}
		for key, kind := range want {
			field, there := fields[key]
			if may, ok := kind.(optional); ok {
				if kind = may.of; !there {
					continue
				}
			}
			if !there {
				return fmt.Errorf("%s.%s is missing", path, key)
			}
			if err := checkValue(path+"."+key, field, kind); err != nil {
				return err
			}
		}
	case list:
		items, is := v.([]any)
		ok = is
		for i, item := range items {
			if err := checkValue(fmt.Sprintf("%s[%d]", path, i), item, want[0]); err != nil {
				return err
			}
		}
	case kind:
		switch want {
		case text:
			_, ok = v.(string)
		case boolean:
			_, ok = v.(bool)
		case number:
			n, _ := v.(json.Number)
			_, err := strconv.ParseInt(n.String(), 10, 32)
			ok = err == nil
		case real:
			n, _ := v.(json.Number)
			ok = double.MatchString(n.String())
		}
	}
	if !ok {
		return fmt.Errorf("%s is %v", path, v)
	}
	return nil
}

// order checks that an event may come now.
func (c *Checker) order(h header, n map[string]int) error {
	namespace, name := *h.Namespace, *h.Name
	oneShot := namespace == "SpeechSynthesizer" || namespace == "SpeechLongSynthesizer"
	if c.phase == idle {
		if !oneShot && !strings.HasSuffix(name, "Started") {
			return fmt.Errorf("the first event of a task is %s", name)
		}
		*c = Checker{phase: running, messages: c.messages, namespace: namespace, taskID: *h.TaskID}
		if namespace == "SpeechTranscriber" {
			c.index = 1 // the sentences of synthesis count from 0 (protocol §11.3)
		}
		if !oneShot {
			return nil
		}
	}
	if c.namespace == "" && oneShot {
		c.namespace, c.taskID = namespace, *h.TaskID
	}
	switch {
	case namespace != c.namespace:
		return fmt.Errorf("event in a task of %q", c.namespace)
	case *h.TaskID != c.taskID:
		return fmt.Errorf("event in task %s", c.taskID)
	case strings.HasSuffix(name, "Started"):
		return fmt.Errorf("second %s", name)
	}
	index, indexed := n["index"]
	if indexed && index != c.index {
		return fmt.Errorf("index %d in sentence %d", index, c.index)
	}
	want := c.phase // of the event; a product without sentences has one phase
	switch name {
	case "SentenceBegin", "TranscriptionCompleted", "SynthesisCompleted":
		want = running
	case "TranscriptionResultChanged", "SentenceSynthesis", "SentenceEnd":
		want = sentence
	}
	if c.phase != want {
		return fmt.Errorf("%s in the wrong place", name)
	}
	switch name {
	case "SentenceBegin":
		c.phase, c.begin = sentence, n["time"]
	case "SentenceEnd":
		c.phase = running
		c.index++
		if n["begin_time"] != c.begin || n["time"] < c.begin { // 0 in synthesis
			return fmt.Errorf("the sentence began at %d", c.begin)
		}
	case "RecognitionCompleted", "TranscriptionCompleted", "SynthesisCompleted":
		*c = Checker{messages: c.messages}
	}
	return nil
}
