package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

const taskID = "11112222333344445555666677778888"

// message is a frame that a server may send.
func message(opcode byte, payload string) Frame {
	return Frame{First: 0x80 | opcode, Payload: []byte(payload)}
}

var ids int

// event is an event with a fresh message ID; payload is JSON, or "" for none.
func event(namespace, name, payload string) Frame {
	ids++
	if payload != "" {
		payload = `,"payload":` + payload
	}
	return message(Text, fmt.Sprintf(`{"header":{"namespace":%q,"name":%q,"status":20000000,"message_id":"%032x","task_id":%q,"status_text":"Gateway:SUCCESS:Success."}%s}`,
		namespace, name, ids, taskID, payload))
}

func taskFailed() Frame {
	f := event("Default", "TaskFailed", "")
	return edit(f, "20000000", "40000004")
}

func edit(f Frame, old, new string) Frame {
	return Frame{First: f.First, Masked: f.Masked, Payload: []byte(strings.Replace(string(f.Payload), old, new, 1))}
}

const (
	st  = "SpeechTranscriber"
	sr  = "SpeechRecognizer"
	tts = "SpeechSynthesizer"
	fs  = "FlowingSpeechSynthesizer"

	changed     = `{"index":1,"time":640,"result":"a","confidence":0.5,"words":[],"status":0,"fixed_result":"","unfixed_result":""}`
	sentenceEnd = `{"index":1,"time":640,"result":"a","confidence":1.0,"words":[{"text":"a","startTime":0,"endTime":640}],"status":0,"gender":"","begin_time":20,"fixed_result":"","unfixed_result":"","stash_result":{"sentenceId":2,"beginTime":640,"text":"","fixedText":"","unfixedText":"","currentTime":640,"words":[]},"audio_extra_info":"","sentence_id":"a","gender_score":0.0}`
	meta        = `{"subtitles":[{"text":"a","begin_time":0,"end_time":1,"begin_index":0,"end_index":1,"sentence":false,"phoneme":"null"}]}`
	flowing     = `{"subtitles":[{"text":"a","begin_time":0,"end_time":1,"begin_index":0,"end_index":1,"sentence":false,"phoneme_list":[]}]}`
)

func transcription() []Frame {
	return []Frame{
		event(st, "TranscriptionStarted", ""),
		event(st, "SentenceBegin", `{"index":1,"time":20}`),
		event(st, "TranscriptionResultChanged", changed),
		event(st, "SentenceEnd", sentenceEnd),
		event(st, "SentenceBegin", `{"index":2,"time":700}`),
		event(st, "SentenceEnd", edit2(sentenceEnd, `"index":1,"time":640`, `"index":2,"time":900`, `"begin_time":20`, `"begin_time":700`)),
		event(st, "TranscriptionCompleted", ""),
	}
}

func edit2(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

func TestWhatTheServiceSendsPasses(t *testing.T) {
	audio := message(Binary, "audio")
	closing := message(Close, "\x03\xe8")
	for name, frames := range map[string][]Frame{
		"transcription, twice": append(transcription(), append(transcription(), closing)...),
		"recognition": {
			event(sr, "RecognitionStarted", ""), message(Pong, "x"),
			event(sr, "RecognitionResultChanged", `{"result":"a","duration":100}`),
			event(sr, "RecognitionCompleted", `{"result":"a","duration":100}`), message(Close, ""),
		},
		"synthesis":                     {audio, event(tts, "MetaInfo", meta), audio, event(tts, "SynthesisCompleted", "")},
		"synthesis that begins in text": {event("SpeechLongSynthesizer", "MetaInfo", meta), audio, event("SpeechLongSynthesizer", "SynthesisCompleted", "")},
		"flowing synthesis": {
			event(fs, "SynthesisStarted", ""),
			event(fs, "SentenceBegin", `{"index":0}`), audio, event(fs, "SentenceSynthesis", flowing), event(fs, "SentenceEnd", flowing),
			event(fs, "SentenceBegin", `{"index":1}`), event(fs, "SentenceEnd", `{"subtitles":[]}`),
			event(fs, "SynthesisCompleted", ""),
		},
		"failure":                   {taskFailed(), closing},
		"failure in a task":         {event(st, "TranscriptionStarted", ""), taskFailed(), closing},
		"the longest frame of all":  {message(Binary, strings.Repeat("x", 64<<10))},
		"a close frame with a text": {message(Close, "\x03\xefbye")},
	} {
		t.Run(name, func(t *testing.T) {
			var c Checker
			for i, f := range frames {
				if err := c.Check(f); err != nil {
					t.Errorf("frame %d: %v", i, err)
				}
			}
		})
	}
}

func TestWhatAnSDKCannotReadIsRefused(t *testing.T) {
	started := event(st, "TranscriptionStarted", "")
	begin := event(st, "SentenceBegin", `{"index":1,"time":20}`)
	end := event(st, "SentenceEnd", sentenceEnd)
	for _, test := range []struct {
		name   string
		frames []Frame // the last one is refused, and only that
		want   string  // in the error
	}{
		{"ping", []Frame{message(Ping, "")}, "ping"},
		{"fragment", []Frame{{First: Text, Payload: started.Payload}}, "fragmented"},
		{"continuation", []Frame{{First: 0x80, Payload: []byte("x")}}, "fragmented"},
		{"reserved bit", []Frame{{First: 0xc1, Payload: started.Payload}}, "reserved"},
		{"masked", []Frame{{First: 0x81, Masked: true, Payload: started.Payload}}, "masked"},
		{"reserved opcode", []Frame{message(0x3, "")}, "opcode"},
		{"above 64 KiB", []Frame{message(Binary, strings.Repeat("x", 64<<10+1))}, "65537"},
		{"long control frame", []Frame{message(Pong, strings.Repeat("x", 126))}, "control"},
		{"half a close code", []Frame{message(Close, "\x03")}, "close frame"},
		{"close code of no frame", []Frame{message(Close, "\x03\xee")}, "1006"},
		{"close reason not UTF-8", []Frame{message(Close, "\x03\xe8\xff")}, "close frame"},
		{"anything after close", []Frame{message(Close, ""), started}, "after a close"},
		{"audio of no bytes", []Frame{message(Binary, "")}, "no bytes"},
		{"audio in recognition", []Frame{started, message(Binary, "x")}, "audio"},
		{"audio between sentences", []Frame{event(fs, "SynthesisStarted", ""), message(Binary, "x")}, "audio"},

		{"not UTF-8", []Frame{message(Text, "{\"\xff\":1}")}, "UTF-8"},
		{"not JSON", []Frame{message(Text, "hello")}, "JSON"},
		{"two values", []Frame{message(Text, string(started.Payload)+string(begin.Payload))}, "JSON"},
		{"array", []Frame{message(Text, "[]")}, "object"},
		{"not compact", []Frame{edit(started, `":`, `": `)}, "compact"},
		{"context", []Frame{edit(started, `}}`, `},"context":{}}`)}, "context"},
		{"null payload", []Frame{edit(started, `}}`, `},"payload":null}`)}, "null"},
		{"null in a payload", []Frame{started, edit(begin, "20}", "null}")}, "payload.time"},
		{"no header", []Frame{message(Text, `{"payload":{}}`)}, "header"},
		{"status is a string", []Frame{edit(started, "20000000", `"20000000"`)}, "status"},
		{"status is a fraction", []Frame{edit(started, "20000000", `20000000.0`)}, "status"},
		{"no status", []Frame{edit(started, `"status":20000000,`, "")}, "without status"},
		{"no status_text", []Frame{edit(started, `,"status_text":"Gateway:SUCCESS:Success."`, "")}, "without status_text"},
		{"empty status_text", []Frame{edit(started, `Gateway:SUCCESS:Success.`, "")}, "status_text"},
		{"no namespace", []Frame{edit(started, `"namespace":"SpeechTranscriber",`, "")}, "without namespace"},
		{"status_message", []Frame{edit(started, "status_text", "status_message")}, "status_message"},
		{"upper-case task ID", []Frame{edit(started, taskID, strings.Replace(taskID, "1111", "AAAA", 1))}, "task_id"},
		{"message ID with dashes", []Frame{edit(started, `"message_id":"`, `"message_id":"-`)}, "message_id"},
		{"message ID used again", []Frame{started, edit(started, "Started", "Stopped")}, "second message"},

		{"TaskFailed of the product", []Frame{edit(taskFailed(), "Default", st)}, "Default"},
		{"TaskFailed with a payload", []Frame{edit(taskFailed(), "}}", `},"payload":{}}`)}, "no payload"},
		{"TaskFailed that went well", []Frame{event("Default", "TaskFailed", "")}, "20000000"},
		{"Started in namespace Default", []Frame{event("Default", "TranscriptionStarted", "")}, "Default"},
		{"failed Started", []Frame{edit(event(st, "TranscriptionStarted", ""), "20000000", "40000000")}, "TaskFailed"},
		{"anything after TaskFailed", []Frame{taskFailed(), started}, "after TaskFailed"},

		{"unknown namespace", []Frame{event("Speech", "SynthesisStarted", "")}, "namespace"},
		{"unknown event", []Frame{event(st, "Hello", "")}, "Hello"},
		{"event of another product", []Frame{started, event(sr, "RecognitionCompleted", `{"result":"","duration":0}`)}, "task of"},
		{"payload too many", []Frame{event(st, "TranscriptionStarted", "{}")}, "has a payload"},
		{"payload too few", []Frame{started, event(st, "SentenceBegin", "")}, "no payload"},
		{"field missing", []Frame{started, event(st, "SentenceBegin", `{"index":1}`)}, "payload.time"},
		{"field unknown", []Frame{started, event(st, "SentenceBegin", `{"index":1,"time":0,"session_id":""}`)}, "session_id"},
		{"index is a string", []Frame{started, event(st, "SentenceBegin", `{"index":"1","time":0}`)}, "index"},
		{"time is a fraction", []Frame{started, event(st, "SentenceBegin", `{"index":1,"time":0.5}`)}, "time"},
		{"time above 32 bits", []Frame{started, event(st, "SentenceBegin", `{"index":1,"time":2147483648}`)}, "time"},
		{"confidence is an integer", []Frame{started, begin, edit(event(st, "SentenceEnd", sentenceEnd), "1.0", "1")}, "confidence"},
		{"words are an object", []Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), "[]", "{}")}, "words"},
		{"a word is a string", []Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), "[]", `["a"]`)}, "words[0]"},
		{"result is a number", []Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), `"a"`, "1")}, "result"},
		{"sentence is a number", []Frame{event(tts, "MetaInfo", edit2(meta, "false", "0"))}, "sentence"},

		{"result before Started", []Frame{begin}, "first event"},
		{"Started twice", []Frame{started, event(st, "TranscriptionStarted", "")}, "second"},
		{"another task", []Frame{started, edit(begin, taskID, "0"+taskID[1:])}, "event in task"},
		{"index from 0", []Frame{started, event(st, "SentenceBegin", `{"index":0,"time":0}`)}, "index 0"},
		{"index from 1 in synthesis", []Frame{event(fs, "SynthesisStarted", ""), event(fs, "SentenceBegin", `{"index":1}`)}, "index 1"},
		{"same index twice", []Frame{started, begin, end, event(st, "SentenceBegin", `{"index":1,"time":700}`)}, "index 1"},
		{"SentenceEnd before SentenceBegin", []Frame{started, event(st, "SentenceEnd", sentenceEnd)}, "wrong place"},
		{"result between sentences", []Frame{started, event(st, "TranscriptionResultChanged", changed)}, "wrong place"},
		{"SentenceBegin twice", []Frame{started, begin, event(st, "SentenceBegin", `{"index":1,"time":20}`)}, "wrong place"},
		{"Completed within a sentence", []Frame{started, begin, event(st, "TranscriptionCompleted", "")}, "wrong place"},
		{"another begin_time", []Frame{started, begin, event(st, "SentenceEnd", edit2(sentenceEnd, `"begin_time":20`, `"begin_time":0`))}, "began at 20"},
		{"result after Completed", []Frame{event(sr, "RecognitionStarted", ""), event(sr, "RecognitionCompleted", `{"result":"","duration":0}`),
			event(sr, "RecognitionResultChanged", `{"result":"","duration":0}`)}, "first event"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Checker
			for i, f := range test.frames {
				err := c.Check(f)
				switch last := i == len(test.frames)-1; {
				case last && (err == nil || !strings.Contains(err.Error(), test.want)):
					t.Errorf("got %v, want an error with %q", err, test.want)
				case !last && err != nil:
					t.Errorf("frame %d: %v", i, err)
				}
			}
		})
	}
}

func TestAGatewayIsStopped(t *testing.T) {
	pong := "\x8a\x00"
	for b, pass := range map[string]bool{pong: true, "\x89\x00": false, pong + pong: false, pong[:1]: false} {
		func() {
			defer func() {
				if stopped := recover() != nil; stopped == pass {
					t.Errorf("%q: stopped = %v", b, stopped)
				}
			}()
			new(Checker).MustPass([]byte(b))
		}()
	}
}

func TestFramesOfEveryLengthAreRead(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100000} {
		want := bytes.Repeat([]byte{7}, n)
		b := AppendMasked(nil, Frame{First: 0x82, Payload: want}, [4]byte{1, 2, 3, 4})
		f, err := ReadFrame(bytes.NewReader(b))
		if err != nil || !f.Masked || !f.Final() || f.Opcode() != Binary || !bytes.Equal(f.Payload, want) {
			t.Errorf("%d bytes: %v %+v", n, err, f)
		}
		if _, err := ReadFrame(bytes.NewReader(b[:len(b)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes but one: %v", n, err)
		}
	}
	if _, err := ReadFrame(strings.NewReader("")); err != io.EOF {
		t.Errorf("no frame: %v", err)
	}
	for _, b := range []string{"\x81\x7e\x00\x05hello", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello", "\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "\x81\x7e\x00", "\x81\x7f\x00", "\x81\x85\x00"} {
		if f, err := ReadFrame(strings.NewReader(b)); err == nil {
			t.Errorf("%q is read as %+v", b, f)
		}
	}
}

func FuzzChecker(f *testing.F) {
	var all []byte
	for _, frame := range transcription() {
		b := AppendMasked(nil, frame, [4]byte{})
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Checker
		for r := bytes.NewReader(b); ; {
			frame, err := ReadFrame(r)
			if err != nil {
				return
			}
			frame.Masked = false
			c.Check(frame)
		}
	})
}
