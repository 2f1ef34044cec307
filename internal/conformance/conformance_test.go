package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/wsframe"
)

const taskID = "11112222333344445555666677778888"

// message is a frame that a server may send.
func message(opcode byte, payload string) wsframe.Frame {
	return wsframe.Frame{First: wsframe.Fin | opcode, Payload: []byte(payload)}
}

var ids int

// event is an event with a fresh message ID; payload is JSON, or "" for none.
func event(namespace, name, payload string) wsframe.Frame {
	ids++
	if payload != "" {
		payload = `,"payload":` + payload
	}
	return message(wsframe.Text, fmt.Sprintf(`{"header":{"namespace":%q,"name":%q,"status":20000000,"message_id":"%032x","task_id":%q,"status_text":"Gateway:SUCCESS:Success."}%s}`,
		namespace, name, ids, taskID, payload))
}

func taskFailed() wsframe.Frame {
	f := event("Default", "TaskFailed", "")
	return edit(f, "20000000", "40000004")
}

func edit(f wsframe.Frame, old, new string) wsframe.Frame {
	return wsframe.Frame{First: f.First, Masked: f.Masked, Payload: []byte(strings.Replace(string(f.Payload), old, new, 1))}
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

func transcription() []wsframe.Frame {
	return []wsframe.Frame{
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
	audio := message(wsframe.Binary, "audio")
	closing := message(wsframe.Close, "\x03\xe8")
	for name, frames := range map[string][]wsframe.Frame{
		"transcription, twice": append(transcription(), append(transcription(), closing)...),
		"recognition": {
			event(sr, "RecognitionStarted", ""), message(wsframe.Pong, "x"),
			event(sr, "RecognitionResultChanged", `{"result":"a","duration":100}`),
			event(sr, "RecognitionCompleted", `{"result":"a","duration":100}`), message(wsframe.Close, ""),
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
		"the longest frame of all":  {message(wsframe.Binary, strings.Repeat("x", 64<<10))},
		"a close frame with a text": {message(wsframe.Close, "\x03\xefbye")},
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
		frames []wsframe.Frame // the last one is refused, and only that
		want   string          // in the error
	}{
		{"ping", []wsframe.Frame{message(wsframe.Ping, "")}, "ping"},
		{"fragment", []wsframe.Frame{{First: wsframe.Text, Payload: started.Payload}}, "fragmented"},
		{"continuation", []wsframe.Frame{{First: 0x80, Payload: []byte("x")}}, "fragmented"},
		{"reserved bit", []wsframe.Frame{{First: 0xc1, Payload: started.Payload}}, "reserved"},
		{"masked", []wsframe.Frame{{First: 0x81, Masked: true, Payload: started.Payload}}, "masked"},
		{"reserved opcode", []wsframe.Frame{message(0x3, "")}, "opcode"},
		{"above 64 KiB", []wsframe.Frame{message(wsframe.Binary, strings.Repeat("x", 64<<10+1))}, "65537"},
		{"long control frame", []wsframe.Frame{message(wsframe.Pong, strings.Repeat("x", 126))}, "control"},
		{"half a close code", []wsframe.Frame{message(wsframe.Close, "\x03")}, "close frame"},
		{"close code of no frame", []wsframe.Frame{message(wsframe.Close, "\x03\xee")}, "1006"},
		{"close reason not UTF-8", []wsframe.Frame{message(wsframe.Close, "\x03\xe8\xff")}, "close frame"},
		{"anything after close", []wsframe.Frame{message(wsframe.Close, ""), started}, "after a close"},
		{"audio of no bytes", []wsframe.Frame{message(wsframe.Binary, "")}, "no bytes"},
		{"audio in recognition", []wsframe.Frame{started, message(wsframe.Binary, "x")}, "audio"},
		{"audio between sentences", []wsframe.Frame{event(fs, "SynthesisStarted", ""), message(wsframe.Binary, "x")}, "audio"},

		{"not UTF-8", []wsframe.Frame{message(wsframe.Text, "{\"\xff\":1}")}, "UTF-8"},
		{"not JSON", []wsframe.Frame{message(wsframe.Text, "hello")}, "JSON"},
		{"two values", []wsframe.Frame{message(wsframe.Text, string(started.Payload)+string(begin.Payload))}, "JSON"},
		{"array", []wsframe.Frame{message(wsframe.Text, "[]")}, "object"},
		{"not compact", []wsframe.Frame{edit(started, `":`, `": `)}, "compact"},
		{"context", []wsframe.Frame{edit(started, `}}`, `},"context":{}}`)}, "context"},
		{"null payload", []wsframe.Frame{edit(started, `}}`, `},"payload":null}`)}, "null"},
		{"null in a payload", []wsframe.Frame{started, edit(begin, "20}", "null}")}, "payload.time"},
		{"no header", []wsframe.Frame{message(wsframe.Text, `{"payload":{}}`)}, "header"},
		{"status is a string", []wsframe.Frame{edit(started, "20000000", `"20000000"`)}, "status"},
		{"status is a fraction", []wsframe.Frame{edit(started, "20000000", `20000000.0`)}, "status"},
		{"no status", []wsframe.Frame{edit(started, `"status":20000000,`, "")}, "without status"},
		{"no status_text", []wsframe.Frame{edit(started, `,"status_text":"Gateway:SUCCESS:Success."`, "")}, "without status_text"},
		{"empty status_text", []wsframe.Frame{edit(started, `Gateway:SUCCESS:Success.`, "")}, "status_text"},
		{"no namespace", []wsframe.Frame{edit(started, `"namespace":"SpeechTranscriber",`, "")}, "without namespace"},
		{"status_message", []wsframe.Frame{edit(started, "status_text", "status_message")}, "status_message"},
		{"upper-case task ID", []wsframe.Frame{edit(started, taskID, strings.Replace(taskID, "1111", "AAAA", 1))}, "task_id"},
		{"message ID with dashes", []wsframe.Frame{edit(started, `"message_id":"`, `"message_id":"-`)}, "message_id"},
		{"message ID used again", []wsframe.Frame{started, edit(started, "Started", "Stopped")}, "second message"},

		{"TaskFailed of the product", []wsframe.Frame{edit(taskFailed(), "Default", st)}, "Default"},
		{"TaskFailed with a payload", []wsframe.Frame{edit(taskFailed(), "}}", `},"payload":{}}`)}, "no payload"},
		{"TaskFailed that went well", []wsframe.Frame{event("Default", "TaskFailed", "")}, "20000000"},
		{"Started in namespace Default", []wsframe.Frame{event("Default", "TranscriptionStarted", "")}, "Default"},
		{"failed Started", []wsframe.Frame{edit(event(st, "TranscriptionStarted", ""), "20000000", "40000000")}, "TaskFailed"},
		{"anything after TaskFailed", []wsframe.Frame{taskFailed(), started}, "after TaskFailed"},

		{"unknown namespace", []wsframe.Frame{event("Speech", "SynthesisStarted", "")}, "namespace"},
		{"unknown event", []wsframe.Frame{event(st, "Hello", "")}, "Hello"},
		{"event of another product", []wsframe.Frame{started, event(sr, "RecognitionCompleted", `{"result":"","duration":0}`)}, "task of"},
		{"payload too many", []wsframe.Frame{event(st, "TranscriptionStarted", "{}")}, "has a payload"},
		{"payload too few", []wsframe.Frame{started, event(st, "SentenceBegin", "")}, "no payload"},
		{"field missing", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1}`)}, "payload.time"},
		{"field unknown", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1,"time":0,"session_id":""}`)}, "session_id"},
		{"index is a string", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":"1","time":0}`)}, "index"},
		{"time is a fraction", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1,"time":0.5}`)}, "time"},
		{"time above 32 bits", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1,"time":2147483648}`)}, "time"},
		{"confidence is an integer", []wsframe.Frame{started, begin, edit(event(st, "SentenceEnd", sentenceEnd), "1.0", "1")}, "confidence"},
		{"words are an object", []wsframe.Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), "[]", "{}")}, "words"},
		{"a word is a string", []wsframe.Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), "[]", `["a"]`)}, "words[0]"},
		{"result is a number", []wsframe.Frame{started, begin, edit(event(st, "TranscriptionResultChanged", changed), `"a"`, "1")}, "result"},
		{"sentence is a number", []wsframe.Frame{event(tts, "MetaInfo", edit2(meta, "false", "0"))}, "sentence"},

		{"result before Started", []wsframe.Frame{begin}, "first event"},
		{"Started twice", []wsframe.Frame{started, event(st, "TranscriptionStarted", "")}, "second"},
		{"another task", []wsframe.Frame{started, edit(begin, taskID, "0"+taskID[1:])}, "event in task"},
		{"index from 0", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":0,"time":0}`)}, "index 0"},
		{"index from 1 in synthesis", []wsframe.Frame{event(fs, "SynthesisStarted", ""), event(fs, "SentenceBegin", `{"index":1}`)}, "index 1"},
		{"same index twice", []wsframe.Frame{started, begin, end, event(st, "SentenceBegin", `{"index":1,"time":700}`)}, "index 1"},
		{"SentenceEnd before SentenceBegin", []wsframe.Frame{started, event(st, "SentenceEnd", sentenceEnd)}, "wrong place"},
		{"result between sentences", []wsframe.Frame{started, event(st, "TranscriptionResultChanged", changed)}, "wrong place"},
		{"SentenceBegin twice", []wsframe.Frame{started, begin, event(st, "SentenceBegin", `{"index":1,"time":20}`)}, "wrong place"},
		{"Completed within a sentence", []wsframe.Frame{started, begin, event(st, "TranscriptionCompleted", "")}, "wrong place"},
		{"another begin_time", []wsframe.Frame{started, begin, event(st, "SentenceEnd", edit2(sentenceEnd, `"begin_time":20`, `"begin_time":0`))}, "began at 20"},
		{"result after Completed", []wsframe.Frame{event(sr, "RecognitionStarted", ""), event(sr, "RecognitionCompleted", `{"result":"","duration":0}`),
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

func FuzzChecker(f *testing.F) {
	var all []byte
	for _, frame := range transcription() {
		b := wsframe.AppendMasked(nil, frame.First, frame.Payload, [4]byte{})
		f.Add(b)
		all = append(all, b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Checker
		for r := bytes.NewReader(b); ; {
			frame, err := wsframe.Read(r)
			if err != nil {
				return
			}
			frame.Masked = false
			c.Check(frame)
		}
	})
}
