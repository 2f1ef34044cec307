package nls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
)

// payloadFields are the fields that typed events have.
var payloadFields = []string{
	"duration", "sentence_id", "index", "begin_time", "time", "confidence", "status", "words", "stash_result", "subtitles",
}

// FuzzPayload puts any value in the place of any field of a typed event. It must
// not panic, nor change the event, nor hide the fields beside it.
func FuzzPayload(f *testing.F) {
	for _, value := range []string{
		`null`, `0`, `-1`, `1.5`, `"12"`, `"x"`, `true`, `[]`, `{}`, `[null]`, `[1]`, `1e400`, `9223372036854775808`,
		`[{"text":"你","startTime":1,"endTime":"2"},3]`,
		`{"sentenceId":1,"beginTime":2,"currentTime":3,"text":"你"}`,
		`[{"text":1,"begin_time":"1","phoneme":"null","phoneme_list":[{"tone":2},null]},null]`,
	} {
		for i := range payloadFields {
			f.Add(byte(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, field byte, value string) {
		name := payloadFields[int(field)%len(payloadFields)]
		raw := fmt.Appendf(nil, `{"header":{},"payload":{%q:%s,"result":"marker"}}`, name, value)
		e := Event{Name: "x", TaskID: "y", Raw: bytes.Clone(raw)}

		result, meta := newRecognitionResult(e), newMetaInfo(e)
		sentence := newSentence(e, nil)
		for _, got := range []Event{result.Event, sentence.Event, meta.Event} {
			if !reflect.DeepEqual(got, Event{Name: "x", TaskID: "y", Raw: raw}) {
				t.Errorf("the event has become %+v", got)
			}
		}
		if again := newSentence(e, nil); !reflect.DeepEqual(again, sentence) {
			t.Errorf("%+v, then %+v", sentence, again)
		}
		if again := newMetaInfo(e); !reflect.DeepEqual(again, meta) {
			t.Errorf("%+v, then %+v", meta, again)
		}
		if json.Valid([]byte(value)) && (result.Text != "marker" || sentence.Text != "marker") {
			t.Errorf("%s hides the result: %q, %q", raw, result.Text, sentence.Text)
		}
	})
}
