package nls

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"

	"github.com/nlsgo/nls/internal/effort"
)

// eventOf is an event with the given payload.
func eventOf(name, payload string) Event {
	return Event{Name: name, TaskID: "task", Status: StatusOK, Raw: fmt.Appendf(nil, `{"header":{"name":%q},"payload":%s}`, name, payload)}
}

const msec = time.Millisecond

func TestASentenceBeginsWhereItsOwnIndexBegan(t *testing.T) {
	effort.Long(t)
	type event struct {
		name, payload string
		begin         time.Duration
	}
	for name, events := range map[string][]event{
		"one after the other": {
			{"SentenceBegin", `{"index":1,"time":880}`, 880 * msec},
			{"TranscriptionResultChanged", `{"index":1,"time":1640}`, 880 * msec},
			{"SentenceEnd", `{"index":1,"time":2520,"begin_time":880}`, 880 * msec},
			{"SentenceBegin", `{"index":2,"time":3000}`, 3000 * msec},
			{"TranscriptionResultChanged", `{"index":2,"time":3640}`, 3000 * msec},
		},
		"a partial of the one before": {
			{"SentenceBegin", `{"index":1,"time":100}`, 100 * msec},
			{"SentenceBegin", `{"index":2,"time":200}`, 200 * msec},
			{"TranscriptionResultChanged", `{"index":1,"time":250}`, 100 * msec},
			{"TranscriptionResultChanged", `{"index":2,"time":250}`, 200 * msec},
			{"SentenceEnd", `{"index":1,"time":300}`, 100 * msec},
			{"TranscriptionResultChanged", `{"index":2,"time":350}`, 200 * msec},
		},
		"the wire has its own word": {
			{"SentenceBegin", `{"index":1,"time":100,"begin_time":90}`, 90 * msec},
			{"TranscriptionResultChanged", `{"index":1,"time":250,"begin_time":95}`, 95 * msec},
			{"TranscriptionResultChanged", `{"index":1,"time":250,"begin_time":0}`, 0},
			{"TranscriptionResultChanged", `{"index":1,"time":250,"begin_time":null}`, 90 * msec},
			{"TranscriptionResultChanged", `{"index":1,"time":250,"begin_time":"?"}`, 90 * msec},
			{"SentenceEnd", `{"index":1,"time":300,"begin_time":"80"}`, 80 * msec},
		},
		"an end without a begin": {
			{"SentenceBegin", `{"index":1,"time":100}`, 100 * msec},
			{"TranscriptionResultChanged", `{"index":7,"time":250}`, 0},
			{"SentenceEnd", `{"index":7,"time":250}`, 0},
			{"SentenceEnd", `{"index":1,"time":250}`, 100 * msec},
			{"SentenceEnd", `{"index":1,"time":250}`, 0}, // it is over
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got *Sentence
			note := func(s *Sentence) { got = s }
			h := TranscriberHandlers{OnSentenceBegin: note, OnResultChanged: note, OnSentenceEnd: note}
			deliver := h.typed()
			for i, e := range events {
				deliver(eventOf(e.name, e.payload))
				if got == nil || got.Begin != e.begin {
					t.Errorf("event %d, %s %s: begins at %v, want %v", i, e.name, e.payload, got.Begin, e.begin)
				}
				got = nil
			}
		})
	}
	// A service that never ends a sentence fills no memory.
	h := TranscriberHandlers{}
	deliver := h.typed()
	before := heap()
	for i := range 30_000 {
		deliver(eventOf("SentenceBegin", fmt.Sprintf(`{"index":%d,"time":1}`, i)))
	}
	if grown := heap() - before; grown > 1<<19 {
		t.Errorf("%d KiB for sentences without an end", grown>>10)
	}
	runtime.KeepAlive(deliver)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func sentenceOf(payload string) *Sentence {
	s := newSentence(eventOf("SentenceEnd", payload), nil)
	return s
}

func TestEndIsWhereSpeechEnded(t *testing.T) {
	for payload, want := range map[string]time.Duration{
		`{"time":2620,"words":[{"text":"a","startTime":0,"endTime":900},{"text":"b","startTime":900,"endTime":2120}]}`: 2120 * msec,
		`{"time":2620,"words":[]}`:                                       2620 * msec,
		`{"time":2620}`:                                                  2620 * msec,
		`{"time":2620,"words":[{"text":"a"}]}`:                           2620 * msec,
		`{"time":100,"words":[{"text":"a","endTime":120}]}`:              120 * msec,
		`{"time":9,"words":[{"text":"a","endTime":5},{"text":"punct"}]}`: 5 * msec,
	} {
		if got := sentenceOf(payload).End(); got != want {
			t.Errorf("%s ends at %v, want %v", payload, got, want)
		}
	}
}

func TestWhatTheServiceDocumentsHasAField(t *testing.T) {
	e := eventOf("SentenceEnd", `{"index":1,"time":2520,"result":"今天下午有雨。","confidence":0.872,"words":[{"text":"今天","startTime":900,"endTime":1180}],
		"status":51040104,"gender":"female","begin_time":880,"fixed_result":"今天","unfixed_result":"下午有雨。",
		"stash_result":{"sentenceId":2,"beginTime":2520,"text":"明天","fixedText":"明","unfixedText":"天","currentTime":2600,"words":[{"text":"明天","startTime":2530,"endTime":2590}]},
		"audio_extra_info":"","sentence_id":"a3b4","gender_score":0.75,"emo_tag":"positive","emo_confidence":0.5}`)
	got := newSentence(e, nil)
	want := &Sentence{
		Event: e, ID: "a3b4", Index: 1, Begin: 880 * msec, Time: 2520 * msec, Text: "今天下午有雨。", Confidence: 0.872,
		Words: []Word{{"今天", 900 * msec, 1180 * msec}}, FixedText: "今天", UnfixedText: "下午有雨。",
		Emotion: "positive", EmotionConfidence: 0.5, Gender: "female", GenderScore: 0.75, ResultStatus: 51040104,
		Stash: &Stash{
			Index: 2, Begin: 2520 * msec, Now: 2600 * msec, Text: "明天", FixedText: "明", UnfixedText: "天",
			Words: []Word{{"明天", 2530 * msec, 2590 * msec}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", plain(got), plain(want))
	}
	e = eventOf("RecognitionCompleted", `{"result":"x","duration":2960,"confidence":0.9,"emo_tag":"neutral","emo_confidence":"0.4"}`)
	result, wantResult := newRecognitionResult(e), &RecognitionResult{
		Event: e, Text: "x", Duration: 2960 * msec, Confidence: 0.9, Emotion: "neutral", EmotionConfidence: 0.4,
	}
	if !reflect.DeepEqual(result, wantResult) {
		t.Errorf("got  %+v\nwant %+v", plain(result), plain(wantResult))
	}
}

// plain is *v as text, field by field.
func plain(v any) string {
	var b strings.Builder
	for _, f := range reflect.ValueOf(v).Elem().Fields() {
		fmt.Fprintf(&b, "%+v; ", f)
	}
	return b.String()
}

func TestPhonemesHaveTwoSpellings(t *testing.T) {
	m := newMetaInfo(eventOf("MetaInfo", `{"subtitles":[{"text":"你","phoneme_list":[
		{"index":0,"begin_time":0,"end_time":50,"phoneme":"n_c","tone":3},
		{"text":"i_c","begin_time":"50","end_time":140,"tone":"3"}]}]}`))
	want := []Phoneme{{"n_c", "3", 0, 50 * msec}, {"i_c", "3", 50 * msec, 140 * msec}}
	if len(m.Subtitles) != 1 || !reflect.DeepEqual(m.Subtitles[0].Phonemes, want) {
		t.Errorf("%+v", m.Subtitles)
	}
}

func TestNumbersAndBooleansAreReadInStrings(t *testing.T) {
	s := sentenceOf(`{"sentence_id":7,"index":"2","begin_time":"10","time":"20.9","result":12,"confidence":"0.5","status":"51040104",
		"gender":true,"gender_score":"1e-1","emo_tag":1.5,"emo_confidence":" 0.25 ",
		"words":[{"text":1,"startTime":"3","endTime":"4"}],"stash_result":{"sentenceId":"3","beginTime":"30","currentTime":"40","text":5}}`)
	want := &Sentence{
		Event: s.Event, ID: "7", Index: 2, Begin: 10 * msec, Time: 20 * msec, Text: "12", Confidence: 0.5, ResultStatus: 51040104,
		Gender: "true", GenderScore: 0.1, Emotion: "1.5", EmotionConfidence: 0.25, Words: []Word{{"1", 3 * msec, 4 * msec}},
		Stash: &Stash{Index: 3, Begin: 30 * msec, Now: 40 * msec, Text: "5"},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", plain(s), plain(want))
	}
	for value, want := range map[string]bool{
		`true`: true, `"true"`: true, `"True"`: true, `1`: true, `"1"`: true, `false`: false, `"false"`: false, `0`: false, `"0"`: false,
		`null`: false, `"x"`: false, `{}`: false, `[true]`: false, `2`: true,
	} {
		m := newMetaInfo(eventOf("MetaInfo", fmt.Sprintf(`{"index":"4","subtitles":[{"text":7,"begin_index":"1","end_index":"2","sentence":%s,"phoneme":8}]}`, value)))
		if got := m.Subtitles; m.Index != 4 || len(got) != 1 || !reflect.DeepEqual(got[0], Subtitle{Text: "7", BeginIndex: 1, EndIndex: 2, Sentence: want, Phoneme: "8"}) {
			t.Errorf("%s: %+v", value, got)
		}
	}
	// What is no number is none, and hides nothing.
	for _, value := range []string{`"inf"`, `"NaN"`, `"-Infinity"`, `"12px"`, `[1]`, `{"a":1}`, `true`, `""`} {
		s := sentenceOf(fmt.Sprintf(`{"index":%[1]s,"time":%[1]s,"confidence":%[1]s,"result":"x"}`, value))
		if s.Index != 0 || s.Time != 0 || s.Confidence != 0 || s.Text != "x" {
			t.Errorf("%s: %s", value, plain(s))
		}
	}
}

func TestANullElementAddsNothing(t *testing.T) {
	s := sentenceOf(`{"words":[null,{"text":"a"},null,{"text":"b"},null],"stash_result":{"text":"x","words":[null,{"text":"c"}]}}`)
	if !reflect.DeepEqual(s.Words, []Word{{Text: "a"}, {Text: "b"}}) || !reflect.DeepEqual(s.Stash.Words, []Word{{Text: "c"}}) {
		t.Errorf("%+v, %+v", s.Words, s.Stash)
	}
	m := newMetaInfo(eventOf("MetaInfo", `{"subtitles":[null,{"text":"a","phoneme_list":[null,{"text":"p"},null]},null]}`))
	if !reflect.DeepEqual(m.Subtitles, []Subtitle{{Text: "a", Phonemes: []Phoneme{{Text: "p"}}}}) {
		t.Errorf("%+v", m.Subtitles)
	}
	for _, list := range []string{`null`, `[null]`, `[]`, `{}`, `"x"`, `1`} {
		s := sentenceOf(fmt.Sprintf(`{"words":%s,"result":"x"}`, list))
		m := newMetaInfo(eventOf("MetaInfo", fmt.Sprintf(`{"subtitles":%s,"index":3}`, list)))
		if s.Words != nil || s.Text != "x" || m.Subtitles != nil || m.Index != 3 {
			t.Errorf("%s: %+v, %+v", list, s.Words, m.Subtitles)
		}
	}
}

func TestTimesAndNumbersThatOverflowAreClamped(t *testing.T) {
	for value, want := range map[string]time.Duration{
		`9223372036854`:       9223372036854 * msec,
		`9223372036855`:       math.MaxInt64,
		`10000000000000`:      math.MaxInt64,
		`9223372036854775807`: math.MaxInt64,
		`9223372036854775808`: math.MaxInt64,
		`1e400`:               math.MaxInt64,
		`"1e19"`:              math.MaxInt64,
		`1e13`:                math.MaxInt64,
		`-9223372036855`:      math.MinInt64,
		`-1e15`:               math.MinInt64,
		`-1`:                  -msec,
	} {
		s := sentenceOf(fmt.Sprintf(`{"begin_time":%[1]s,"time":%[1]s,"words":[{"startTime":%[1]s,"endTime":%[1]s}],"stash_result":{"text":"x","beginTime":%[1]s,"currentTime":%[1]s}}`, value))
		m := newMetaInfo(eventOf("MetaInfo", fmt.Sprintf(`{"subtitles":[{"begin_time":%[1]s,"end_time":%[1]s,"phoneme_list":[{"begin_time":%[1]s,"end_time":%[1]s}]}]}`, value)))
		r := newRecognitionResult(eventOf("RecognitionCompleted", fmt.Sprintf(`{"duration":%s}`, value)))
		sub := m.Subtitles[0]
		for i, got := range []time.Duration{
			s.Begin, s.Time, s.Words[0].Start, s.Words[0].End, s.Stash.Begin, s.Stash.Now,
			sub.Begin, sub.End, sub.Phonemes[0].Begin, sub.Phonemes[0].End, r.Duration,
		} {
			if got != want {
				t.Errorf("%s: time %d is %d, want %d", value, i, got, want)
			}
		}
	}
	// On 32 bit nothing wraps.
	for value, want := range map[string]int{
		`4294967297`: min(math.MaxInt, 1<<32+1), `-4294967297`: max(math.MinInt, -1<<32-1), `9223372036854775808`: math.MaxInt, `-1e30`: math.MinInt,
	} {
		s := sentenceOf(fmt.Sprintf(`{"index":%[1]s,"status":%[1]s,"stash_result":{"text":"x","sentenceId":%[1]s}}`, value))
		m := newMetaInfo(eventOf("MetaInfo", fmt.Sprintf(`{"index":%[1]s,"subtitles":[{"begin_index":%[1]s,"end_index":%[1]s}]}`, value)))
		e, err := wire.DecodeEvent(fmt.Appendf(nil, `{"header":{"status":%s}}`, value))
		for i, got := range []int{s.Index, s.ResultStatus, s.Stash.Index, m.Index, m.Subtitles[0].BeginIndex, m.Subtitles[0].EndIndex, e.Status} {
			if got != want || err != nil {
				t.Errorf("%s: number %d is %d, want %d, %v", value, i, got, want, err)
			}
		}
	}
}

// A message of a MiB, the longest that is read, takes up no more than some of them
// decoded, whatever it is full of.
func TestALongMessageIsNotMuchLongerDecoded(t *testing.T) {
	effort.Long(t)
	const mib = 1 << 20
	tried := effort.OneIn(4)
	full := func(element, open, end string) string {
		return open + strings.Repeat(element+",", (mib-len(open)-len(end))/(len(element)+1)-1) + element + end
	}
	for name, payload := range map[string]string{
		"empty subtitles":  full(`{}`, `{"subtitles":[`, `]}`),
		"null subtitles":   full(`null`, `{"subtitles":[`, `]}`),
		"numbers":          full(`0`, `{"subtitles":[`, `]}`),
		"short subtitles":  full(`{"text":"x"}`, `{"subtitles":[`, `]}`),
		"empty phonemes":   full(`{}`, `{"subtitles":[{"phoneme_list":[`, `]}]}`),
		"empty words":      full(`{}`, `{"words":[`, `]}`),
		"words of a stash": full(`{}`, `{"stash_result":{"text":"x","words":[`, `]}}`),
		"lists of lists":   full(`{"phoneme_list":[{}]}`, `{"subtitles":[`, `]}`),
	} {
		if !tried() {
			continue
		}
		e := eventOf("x", payload)
		if !json.Valid(e.Raw) {
			t.Fatal(name)
		}
		before := heap()
		m, s := newMetaInfo(e), sentenceOf(payload)
		if grown := heap() - before; grown > 16*mib {
			t.Errorf("%s: %d MiB", name, grown/mib)
		}
		if elements := len(m.Subtitles) + len(s.Words); strings.HasPrefix(name, "short") && elements < mib/(len(`{"text":"x"}`)+1)-1 {
			t.Errorf("%s: %d elements are left", name, elements)
		}
	}
}

func TestPayloadWantsAPointer(t *testing.T) {
	var nilPointer *struct{ Result string }
	for _, payload := range []string{`{"result":"x"}`, `null`, `7`} {
		e := eventOf("X", payload)
		for _, v := range []any{nil, struct{}{}, map[string]any{}, 7, "x", nilPointer, []byte{}} {
			err := e.Payload(v)
			if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); !ok {
				t.Errorf("%s into %#v: %v", payload, v, err)
			}
		}
	}
	e := eventOf("X", `{"result":"x"}`)
	for _, v := range []any{new(chan int), new(func()), new(int)} {
		if err := e.Payload(v); err == nil {
			t.Errorf("into a %T: no error", v)
		}
	}
	var m map[string]any
	var p *struct{ Result string }
	if err := errors.Join(e.Payload(&m), e.Payload(&p)); err != nil || m["result"] != "x" || p.Result != "x" {
		t.Errorf("%v, %v, %v", m, p, err)
	}
	m = map[string]any{"kept": true}
	for _, none := range []Event{eventOf("X", `null`), {Raw: []byte(`{"header":{}}`)}} {
		if err := none.Payload(&m); err != nil || m["kept"] != true {
			t.Errorf("%s: %v, %v", none.Raw, m, err)
		}
	}
}

// printed is v as everything that prints shows it.
func printed(v any) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%v\n%+v\n%#v\n", v, v, v, v)
	fmt.Fprintf(&b, "%v %+v %#v\n", struct{ V any }{v}, []any{v}, map[string]any{"": v})
	js, err := json.Marshal(v)
	fmt.Fprintln(&b, string(js), err)
	js, err = json.Marshal(map[string]any{"v": v})
	fmt.Fprintln(&b, string(js), err)
	opts := &slog.HandlerOptions{Level: LevelTrace}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, opts), slog.NewJSONHandler(&b, opts)} {
		slog.New(h).Info("x", "v", v)
		slog.New(h).With("v", v).WithGroup("g").Info("x", slog.Group("g", "v", v))
	}
	return b.String()
}

func TestAnEventPrintsAsItsMessageWithoutTheToken(t *testing.T) {
	const token, text = "marked", `{"header":{"name":"TaskFailed","status_text":"The token '***' is invalid!"},"payload":{"result":"你"}}`
	core := &session.Event{
		Event:    wire.Event{Name: "TaskFailed", Status: 40000001, TaskID: "task", StatusText: "The token '***' is invalid!", Raw: []byte(strings.ReplaceAll(text, "***", token))},
		Redacted: text,
	}
	e := newEvent(core, nil)
	sentence := newSentence(e, nil)
	failed := explain("task", &session.TaskFailed{Event: core})
	check := func(v any) (got string) {
		got = printed(v)
		if strings.Contains(got, token) || strings.Contains(got, strings.Trim(fmt.Sprint([]byte(token)), "[]")) || strings.Contains(got, "PANIC") {
			t.Errorf("%T prints as %s", v, got)
		}
		return got
	}
	for _, v := range []any{
		e, &e, sentence, *sentence, newRecognitionResult(e), *newRecognitionResult(e), newMetaInfo(e), *newMetaInfo(e),
		&ErrorEvent{Event: e, Err: failed}, ErrorEvent{Event: e, Err: failed}, failed, TaskError{Event: e},
	} {
		got := check(v)
		js, err := json.Marshal(v)
		if err != nil || string(js) != text || !strings.Contains(got, "The token '***' is invalid!") {
			t.Errorf("%T is %s, %v and prints as %s", v, js, err, got)
		}
	}
	check(&CloseEvent{Err: failed})
	check(CloseEvent{Err: failed})
	if !bytes.Contains(e.Raw, []byte(token)) {
		t.Error("Raw is not what came")
	}
}

func TestEventsThatAreNoMessagePrintToo(t *testing.T) {
	for _, c := range []struct {
		v    any
		json string
	}{
		{Event{}, `""`},
		{&Event{Raw: []byte("no JSON")}, `"no JSON"`},
		{Event{Raw: []byte(`{"a":1}`), redacted: `{"a":***}`}, `"{\"a\":***}"`},
		{&ErrorEvent{Err: ErrPingTimeout}, `"nls: no pong from the service"`},
		{ErrorEvent{}, `""`},
		{(*Event)(nil), `null`},
		{&TaskError{}, `""`},
	} {
		js, err := json.Marshal(c.v)
		if err != nil || string(js) != c.json {
			t.Errorf("%#v is %s, %v, want %s", c.v, js, err, c.json)
		}
		_ = printed(c.v)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "err", &TaskError{Event: Event{Status: 1, StatusText: "y"}}, "event", &ErrorEvent{Err: ErrShutdown})
	if text := log.String(); !strings.Contains(text, `"err":"nls: task failed: 1 y"`) || !strings.Contains(text, `"event":"nls: session shut down"`) {
		t.Error(text)
	}
}
