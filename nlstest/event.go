package nlstest

import (
	"math"
	"strconv"
	"strings"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wire"
)

// statusOK is the status_text of every event but TaskFailed.
const statusOK = "Gateway:SUCCESS:Success."

// event is a text message of the server. Its fields stand in the order in which
// the service sends them.
type event struct {
	Header  eventHeader `json:"header"`
	Payload any         `json:"payload,omitempty"` // absent, never null
}

type eventHeader struct {
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Status     int    `json:"status"`
	MessageID  string `json:"message_id"`
	TaskID     string `json:"task_id"`
	StatusText string `json:"status_text"`
}

// newEvent returns an event with a fresh message ID.
func newEvent(namespace, taskID, name string, payload any) *event {
	return &event{
		Header: eventHeader{
			Namespace:  namespace,
			Name:       name,
			Status:     nls.StatusOK,
			MessageID:  wire.NewID(),
			TaskID:     taskID,
			StatusText: statusOK,
		},
		Payload: payload,
	}
}

// newTaskFailed returns the event that ends a task. Its namespace is Default
// whatever the product (protocol §11.2).
func newTaskFailed(taskID string, f *failure) *event {
	e := newEvent("Default", taskID, "TaskFailed", nil)
	e.Header.Status, e.Header.StatusText = f.status, f.text
	return e
}

// The payloads of protocol §3.4 and §4.4.
type (
	recognitionResult struct {
		Result   string `json:"result"`
		Duration int64  `json:"duration"`
	}

	sentenceBegin struct {
		Index int   `json:"index"`
		Time  int64 `json:"time"`
	}

	resultChanged struct {
		Index         int       `json:"index"`
		Time          int64     `json:"time"`
		Result        string    `json:"result"`
		Confidence    double    `json:"confidence"`
		Words         []wordRow `json:"words"`
		Status        int       `json:"status"`
		FixedResult   string    `json:"fixed_result"`
		UnfixedResult string    `json:"unfixed_result"`
	}

	sentenceEnd struct {
		Index          int       `json:"index"`
		Time           int64     `json:"time"`
		Result         string    `json:"result"`
		Confidence     double    `json:"confidence"`
		Words          []wordRow `json:"words"`
		Status         int       `json:"status"`
		Gender         string    `json:"gender"`
		BeginTime      int64     `json:"begin_time"`
		FixedResult    string    `json:"fixed_result"`
		UnfixedResult  string    `json:"unfixed_result"`
		Stash          stash     `json:"stash_result"`
		AudioExtraInfo string    `json:"audio_extra_info"`
		SentenceID     string    `json:"sentence_id"`
		GenderScore    double    `json:"gender_score"`
	}

	stash struct {
		SentenceID  int       `json:"sentenceId"`
		BeginTime   int64     `json:"beginTime"`
		Text        string    `json:"text"`
		FixedText   string    `json:"fixedText"`
		UnfixedText string    `json:"unfixedText"`
		CurrentTime int64     `json:"currentTime"`
		Words       []wordRow `json:"words"`
	}

	wordRow struct {
		Text      string `json:"text"`
		StartTime int64  `json:"startTime"`
		EndTime   int64  `json:"endTime"`
	}
)

// continuable is a payload of a transcription that may go on from an earlier one, with
// what is to be added to its indices and times, in milliseconds.
type continuable interface {
	continued(index int, time int64) continuable
}

func (s sentenceBegin) continued(index int, time int64) continuable {
	s.Index += index
	s.Time += time
	return s
}

func (r resultChanged) continued(index int, time int64) continuable {
	r.Index += index
	r.Time += time
	r.Words = later(r.Words, time)
	return r
}

func (s sentenceEnd) continued(index int, time int64) continuable {
	s.Index += index
	s.Time += time
	s.BeginTime += time
	s.Words = later(s.Words, time)
	s.Stash.SentenceID += index
	s.Stash.BeginTime += time
	s.Stash.CurrentTime += time
	return s
}

// later changes words, which no other event has.
func later(words []wordRow, time int64) []wordRow {
	for i := range words {
		words[i].StartTime += time
		words[i].EndTime += time
	}
	return words
}

// withoutWords is what is left of a result that does not fit into a frame.
func (r resultChanged) withoutWords() any {
	r.Words = []wordRow{}
	return r
}

func (s sentenceEnd) withoutWords() any {
	s.Words = []wordRow{}
	return s
}

// The payloads of protocol §5.4 and §6.3.
type (
	sentenceIndex struct {
		Index int `json:"index"`
	}

	subtitles struct {
		Subtitles []subtitleRow `json:"subtitles"`
	}

	subtitleRow struct {
		Text       string `json:"text"`
		BeginTime  int64  `json:"begin_time"`
		EndTime    int64  `json:"end_time"`
		BeginIndex int    `json:"begin_index"`
		EndIndex   int    `json:"end_index"`
		Sentence   bool   `json:"sentence"`
		Phoneme    string `json:"phoneme,omitempty"` // SpeechSynthesizer: "null" when there is none

		// With enable_phoneme_timestamp. Without it FlowingSpeechSynthesizer has an
		// empty one, SpeechSynthesizer none.
		PhonemeList *[]any `json:"phoneme_list,omitempty"`
	}

	phonemeRow struct {
		Text      string `json:"text"`
		BeginTime int64  `json:"begin_time"`
		EndTime   int64  `json:"end_time"`
		Tone      string `json:"tone"`
	}

	// shortPhonemeRow is what SpeechSynthesizer has for a phonemeRow.
	shortPhonemeRow struct {
		Index     int    `json:"index"`
		BeginTime int64  `json:"begin_time"`
		EndTime   int64  `json:"end_time"`
		Phoneme   string `json:"phoneme"`
		Tone      int    `json:"tone"`
	}
)

// double is a number that is never written as an integer: the Java SDK casts it
// to Double.
type double float64

func (d double) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(d)) || math.IsInf(float64(d), 0) {
		d = 0 // JSON has no word for it
	}
	s := strconv.FormatFloat(float64(d), 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return []byte(s), nil
}
