package nls

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/wire"
)

// This file has what the two services for recorded files share: results and how
// they are read. RecognizeFile is in flash.go, SubmitFile in filetask.go.

// FileResult is the transcript of a file. Where nobody speaks it has no Sentences.
type FileResult struct {
	TaskID    string
	Duration  time.Duration // of the audio
	Sentences []FileSentence
	Raw       json.RawMessage // complete answer
}

// Text returns the text of all sentences, in their order.
func (r *FileResult) Text() string {
	var b strings.Builder
	for i := range r.Sentences {
		b.WriteString(r.Sentences[i].Text)
	}
	return b.String()
}

// FileSentence is a sentence of a file.
type FileSentence struct {
	Text       string
	Begin, End time.Duration
	Channel    int     // counts from 0
	Speaker    string  // of SubmitFile, with AutoSplit
	Emotion    float64 // of SubmitFile: 1 to 10, how loud it is
	SpeechRate int     // of SubmitFile: characters a minute
	Words      []Word  // with EnableWords; without punctuation
}

// ErrFileRunning says that a task of SubmitFile is queued or runs. It is no failure,
// and not Retryable: ask again, at most once a second.
var ErrFileRunning = errors.New("nls: the file is not transcribed yet")

// maxFileAnswer bounds what is read of a result. Twelve hours of speech with the times
// of its words have about 20 MiB.
const maxFileAnswer = 64 << 20

// ParseFileCallback reads what the service posts to FileTaskParams.CallbackURL, in
// the spelling of version 4.0 (TaskId) or 2.0 (task_id), up to 64 MiB of it. A task
// that failed is a *TaskError. Answer with 200, or the service may post again.
//
// The service signs nothing, so anybody can post: ask FileStatus where it matters.
func ParseFileCallback(r *http.Request) (*FileResult, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFileAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("nls: file callback: %w", err)
	case len(body) > maxFileAnswer:
		return nil, fmt.Errorf("nls: file callback: longer than %d bytes", maxFileAnswer)
	}
	result, err := fileTaskResult("", "Callback", body, strings.Clone)
	if errors.Is(err, errNoFileAnswer) {
		return nil, fmt.Errorf("nls: file callback: %w", err)
	}
	return result, err
}

// errNoFileAnswer is what is not an answer of the file service. The text of a JSON
// error would show a piece of it.
var errNoFileAnswer = errors.New("no JSON with a status code")

// fileTaskAnswer is an answer of the file service in the spelling of 4.0 or 2.0.
type fileTaskAnswer struct {
	TaskID         wire.Text       `json:"TaskId"`
	OldTaskID      wire.Text       `json:"task_id"`
	StatusCode     wire.Int        `json:"StatusCode"`
	OldStatusCode  wire.Int        `json:"status_code"`
	StatusText     wire.Text       `json:"StatusText"`
	OldStatusText  wire.Text       `json:"status_text"`
	BizDuration    wire.Int        `json:"BizDuration"`
	OldBizDuration wire.Int        `json:"biz_duration"`
	Result         json.RawMessage `json:"Result"` // or result; an object, in 2.0 the sentences themselves
}

func decodeFileTask(body []byte) (a fileTaskAnswer, err error) {
	if err = json.Unmarshal(body, &a); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return a, errNoFileAnswer
		}
	}
	a.TaskID = cmp.Or(a.TaskID, a.OldTaskID)
	a.StatusCode = cmp.Or(a.StatusCode, a.OldStatusCode)
	a.StatusText = cmp.Or(a.StatusText, a.OldStatusText)
	a.BizDuration = cmp.Or(a.BizDuration, a.OldBizDuration)
	if a.StatusCode == 0 {
		return a, errNoFileAnswer
	}
	return a, nil
}

// fileTaskResult reads the answer to a question about a task, whose name is action.
// The error is a *TaskError, ErrFileRunning or errNoFileAnswer. taskID stands in
// where the answer has none. redact hides the caller's secrets.
func fileTaskResult(taskID, action string, body []byte, redact func(string) string) (*FileResult, error) {
	a, err := decodeFileTask(body)
	if err != nil {
		return nil, err
	}
	taskID = cmp.Or(redact(string(a.TaskID)), taskID)
	switch a.StatusCode {
	case StatusFileSuccess, StatusFileNoValidFragment:
	case StatusFileRunning, StatusFileQueueing:
		return nil, &sessionError{taskID, ErrFileRunning}
	default:
		return nil, fileTaskError(taskID, action, &a, body, redact)
	}
	var list struct{ Sentences, Words json.RawMessage }
	if result := bytes.TrimSpace(a.Result); len(result) > 0 && result[0] == '[' {
		list.Sentences = result
	} else {
		_ = json.Unmarshal(result, &list)
	}
	r := &FileResult{TaskID: taskID, Duration: a.BizDuration.Milliseconds(), Raw: body}
	budget := elementBudget(&Event{Raw: body})
	r.Sentences = decodeFileSentences(list.Sentences, &budget)
	r.addWords(list.Words, &budget)
	return r, nil
}

// fileTaskError is the failure that the file service says.
func fileTaskError(taskID, action string, a *fileTaskAnswer, body []byte, redact func(string) string) error {
	e := &TaskError{Event: Event{
		Name: action, TaskID: redact(taskID), Status: a.StatusCode.Int(), StatusText: redact(string(a.StatusText)), Raw: body,
	}}
	if clean := redact(string(body)); clean != string(body) {
		e.redacted = clean
	}
	return e
}

// fileSentence is a sentence as FlashRecognizer and version 2.0 write it, and as 4.0
// does.
type fileSentence struct {
	Text       wire.Text       `json:"text"` // or Text
	Begin      wire.Int        `json:"begin_time"`
	Begin4     wire.Int        `json:"BeginTime"`
	End        wire.Int        `json:"end_time"`
	End4       wire.Int        `json:"EndTime"`
	Channel    wire.Int        `json:"channel_id"`
	Channel4   wire.Int        `json:"ChannelId"`
	Speaker    wire.Text       `json:"speaker_id"`
	Speaker4   wire.Text       `json:"SpeakerId"`
	Emotion    wire.Float      `json:"emotion_value"`
	Emotion4   wire.Float      `json:"EmotionValue"`
	SpeechRate wire.Int        `json:"speech_rate"`
	Rate4      wire.Int        `json:"SpeechRate"`
	Words      json.RawMessage `json:"words"`
}

func decodeFileSentences(list json.RawMessage, budget *int) []FileSentence {
	var sentences []FileSentence
	for s := range wire.Elements[fileSentence](list, budget) {
		sentence := FileSentence{
			Text:  string(s.Text),
			Begin: cmp.Or(s.Begin, s.Begin4).Milliseconds(), End: cmp.Or(s.End, s.End4).Milliseconds(),
			Channel: cmp.Or(s.Channel, s.Channel4).Int(), Speaker: string(cmp.Or(s.Speaker, s.Speaker4)),
			Emotion: float64(cmp.Or(s.Emotion, s.Emotion4)), SpeechRate: cmp.Or(s.SpeechRate, s.Rate4).Int(),
		}
		for _, w := range decodeFileWords(s.Words, budget) {
			sentence.Words = append(sentence.Words, w.Word)
		}
		sentences = append(sentences, sentence)
	}
	return sentences
}

// fileWord is a Word and the channel that it is heard on.
type fileWord struct {
	Word
	channel int
}

// decodeFileWords decodes words of either service. FlashRecognizer writes a blank
// behind English ones.
func decodeFileWords(list json.RawMessage, budget *int) []fileWord {
	type word struct {
		Text     wire.Text `json:"text"`
		Text4    wire.Text `json:"Word"`
		Begin    wire.Int  `json:"begin_time"`
		Begin4   wire.Int  `json:"BeginTime"`
		End      wire.Int  `json:"end_time"`
		End4     wire.Int  `json:"EndTime"`
		Channel  wire.Int  `json:"channel_id"`
		Channel4 wire.Int  `json:"ChannelId"`
	}
	var words []fileWord
	for w := range wire.Elements[word](list, budget) {
		words = append(words, fileWord{
			Word{
				Text:  strings.TrimSpace(string(cmp.Or(w.Text, w.Text4))),
				Start: cmp.Or(w.Begin, w.Begin4).Milliseconds(), End: cmp.Or(w.End, w.End4).Milliseconds(),
			},
			cmp.Or(w.Channel, w.Channel4).Int(),
		})
	}
	return words
}

// addWords gives the words in list, which are those of the whole file, to the
// sentences of r: each to the last one of its channel that has begun by then.
func (r *FileResult) addWords(list json.RawMessage, budget *int) {
	channels := map[int][]*FileSentence{} // in the order of time
	for i := range r.Sentences {
		s := &r.Sentences[i]
		channels[s.Channel] = append(channels[s.Channel], s)
	}
	for _, sentences := range channels {
		slices.SortStableFunc(sentences, func(a, b *FileSentence) int { return cmp.Compare(a.Begin, b.Begin) })
	}
	for _, w := range decodeFileWords(list, budget) {
		sentences := channels[w.channel]
		i, found := slices.BinarySearchFunc(sentences, w.Start, func(s *FileSentence, t time.Duration) int { return cmp.Compare(s.Begin, t) })
		if !found {
			i = max(i-1, 0)
		}
		if i < len(sentences) {
			sentences[i].Words = append(sentences[i].Words, w.Word)
		}
	}
}

// checkFileURL checks the address of a file for the service, or of a callback.
func checkFileURL(param, s string, address bool) error {
	bad := func(reason string) error { return &ParamError{param, shownURL(s), reason} }
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !validPort(u.Port()):
		return bad("must be an http or https URL")
	case strings.ContainsFunc(s, unicode.IsSpace):
		return bad("must not have blanks; write %20")
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil && !address {
		return bad("must have a domain name; the service takes no address")
	}
	return nil
}

// extraText is the value of Extra as a parameter of a URL: text as it is, and all
// else as JSON.
func extraText(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := encode("Extra", v)
	return string(b), err
}

// httpTaskError is an answer of HTTP status that has no status of the service in it.
func httpTaskError(namespace, taskID string, status int, body []byte, secrets ...string) error {
	text := string(body)
	if len(body) > maxBodyKept {
		text = redact.Cut(text[:maxBodyKept], secrets...)
	} else {
		text = redact.Text(text, secrets...)
	}
	return &TaskError{Event: Event{Namespace: namespace, TaskID: taskID, StatusText: text}, HTTPStatus: status}
}

// maxBodyKept is how much of a body is in an error, as in a HandshakeError.
const maxBodyKept = 1 << 10
