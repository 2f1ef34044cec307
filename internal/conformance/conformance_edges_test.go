package conformance

import (
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/wsframe"
)

const (
	phonemes        = `{"subtitles":[{"text":"a","begin_time":0,"end_time":1,"begin_index":0,"end_index":1,"sentence":false,"phoneme":"null","phoneme_list":[{"index":0,"begin_time":0,"end_time":1,"phoneme":"a","tone":1}]}]}`
	flowingPhonemes = `{"subtitles":[{"text":"a","begin_time":0,"end_time":1,"begin_index":0,"end_index":1,"sentence":false,"phoneme_list":[{"text":"a","begin_time":0,"end_time":1,"tone":"1"}]}]}`
)

func anotherTask(f wsframe.Frame) wsframe.Frame { return edit(f, taskID, "0"+taskID[1:]) }

func TestBoundsOfWhatPasses(t *testing.T) {
	audio := message(wsframe.Binary, "audio")
	started := event(st, "TranscriptionStarted", "")
	for name, frames := range map[string][]wsframe.Frame{
		"the longest control frame":   {message(wsframe.Pong, strings.Repeat("x", 125))},
		"the last close code":         {message(wsframe.Close, "\x13\x87")},
		"the lowest status":           {edit(event("Default", "TaskFailed", ""), "20000000", "10000000")},
		"the highest status":          {edit(event("Default", "TaskFailed", ""), "20000000", "99999999")},
		"the highest time":            {started, event(st, "SentenceBegin", `{"index":1,"time":2147483647}`)},
		"the lowest time":             {started, event(st, "SentenceBegin", `{"index":1,"time":-2147483648}`)},
		"a sentence of no length":     {started, event(st, "SentenceBegin", `{"index":1,"time":20}`), event(st, "SentenceEnd", edit2(sentenceEnd, `"index":1,"time":640`, `"index":1,"time":20`))},
		"phonemes":                    {event(tts, "MetaInfo", phonemes)},
		"phonemes, flowing":           {event(fs, "SynthesisStarted", ""), event(fs, "SentenceBegin", `{"index":0}`), event(fs, "SentenceSynthesis", flowingPhonemes)},
		"two syntheses":               {audio, event(tts, "SynthesisCompleted", ""), audio, anotherTask(event(tts, "MetaInfo", meta))},
		"two syntheses, the 2nd long": {event(tts, "MetaInfo", meta), event(tts, "SynthesisCompleted", ""), audio, event("SpeechLongSynthesizer", "MetaInfo", meta)},
	} {
		var c Checker
		for i, f := range frames {
			if err := c.Check(f); err != nil {
				t.Errorf("%s: frame %d: %v", name, i, err)
			}
		}
	}
}

func TestBoundsOfWhatIsRefused(t *testing.T) {
	const together = "come together"
	audio := message(wsframe.Binary, "audio")
	started := event(st, "TranscriptionStarted", "")
	begin := event(st, "SentenceBegin", `{"index":1,"time":20}`)
	failed := event("Default", "TaskFailed", "")
	id := strings.Index(string(started.Payload), `"message_id"`)
	for _, test := range []struct {
		name   string
		frames []wsframe.Frame // the last one is refused, and only that
		want   string          // in the error
	}{
		{"long close frame", []wsframe.Frame{message(wsframe.Close, "\x03\xe8"+strings.Repeat("x", 124))}, "control frame of 126"},
		{"close code 999", []wsframe.Frame{message(wsframe.Close, "\x03\xe7")}, "code 999"},
		{"close code 1005", []wsframe.Frame{message(wsframe.Close, "\x03\xed")}, "code 1005"},
		{"close code 1006", []wsframe.Frame{message(wsframe.Close, "\x03\xee")}, "code 1006"},
		{"close code 5000", []wsframe.Frame{message(wsframe.Close, "\x13\x88")}, "code 5000"},

		{"audio in a transcribed sentence", []wsframe.Frame{started, begin, audio}, "audio in SpeechTranscriber"},
		{"Started after audio", []wsframe.Frame{audio, started}, "task of"},
		{"a second task that synthesises", []wsframe.Frame{event(tts, "MetaInfo", meta), anotherTask(event(tts, "MetaInfo", meta))}, "event in task"},
		{"another synthesis", []wsframe.Frame{event(tts, "MetaInfo", meta), event("SpeechLongSynthesizer", "MetaInfo", meta)}, "task of"},

		{"null payload", []wsframe.Frame{edit(started, `}}`, `},"payload":null}`)}, "payload is null"},
		{"null header", []wsframe.Frame{message(wsframe.Text, `{"header":null}`)}, "header is null"},
		{"a seventh field", []wsframe.Frame{edit(started, `"status":`, `"session_id":"","status":`)}, `unknown field "session_id"`},
		{"no name", []wsframe.Frame{edit(started, `"name":"TranscriptionStarted",`, "")}, "without name:"},
		{"no message_id", []wsframe.Frame{message(wsframe.Text, string(started.Payload[:id])+string(started.Payload[id+len(`"message_id":"",`)+32:]))}, "without message_id:"},
		{"no task_id", []wsframe.Frame{edit(started, `"task_id":"`+taskID+`",`, "")}, "without task_id:"},
		{"status of seven digits", []wsframe.Frame{edit(failed, "20000000", "9999999")}, "eight digits"},
		{"status of nine digits", []wsframe.Frame{edit(failed, "20000000", "100000000")}, "eight digits"},

		{"TaskFailed of the product that went well", []wsframe.Frame{event(st, "TaskFailed", "")}, together},
		{"Started of nobody", []wsframe.Frame{event("Default", "TranscriptionStarted", "")}, together},
		{"Started that failed", []wsframe.Frame{edit(started, "20000000", "40000000")}, together},
		{"Started of nobody that failed", []wsframe.Frame{edit(event("Default", "TranscriptionStarted", ""), "20000000", "40000000")}, together},

		{"payload is an array", []wsframe.Frame{started, event(st, "SentenceBegin", "[]")}, "payload is []"},
		{"field missing", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1}`)}, ": payload.time is missing"},
		{"time below 32 bits", []wsframe.Frame{started, event(st, "SentenceBegin", `{"index":1,"time":-2147483649}`)}, "payload.time is"},

		{"SynthesisCompleted in a sentence", []wsframe.Frame{event(fs, "SynthesisStarted", ""), event(fs, "SentenceBegin", `{"index":0}`), event(fs, "SynthesisCompleted", "")}, "wrong place"},
		{"SentenceSynthesis between sentences", []wsframe.Frame{event(fs, "SynthesisStarted", ""), event(fs, "SentenceSynthesis", flowing)}, "wrong place"},
		{"a sentence that ends before it begins", []wsframe.Frame{started, begin, event(st, "SentenceEnd", edit2(sentenceEnd, `"index":1,"time":640`, `"index":1,"time":19`))}, "began at 20"},
	} {
		var c Checker
		for i, f := range test.frames {
			err := c.Check(f)
			switch last := i == len(test.frames)-1; {
			case last && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%s: got %v, want an error with %q", test.name, err, test.want)
			case !last && err != nil:
				t.Errorf("%s: frame %d: %v", test.name, i, err)
			}
		}
	}
}

func TestAByteAfterAFrameStopsAGateway(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it passes")
		}
	}()
	new(Checker).MustPass([]byte("\x8a\x00\x8a"))
}
