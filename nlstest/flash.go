package nlstest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wire"
)

// FlashRecognizer (protocol §10.4).
const (
	flashRecognizer = "FlashRecognizer"
	flashPath       = "/stream/v1/" + flashRecognizer
	maxFlashFile    = 100 << 20
	flashPatience   = 50 * time.Second // until a file has to be there that a client has named
)

// flashAnswer is what FlashRecognizer says. Times of sentences are numbers, those of
// words strings, as seen live.
type flashAnswer struct {
	TaskID  string       `json:"task_id"`
	Result  *string      `json:"result,omitempty"` // of a failure: ""
	Status  int          `json:"status"`
	Message string       `json:"message"`
	Flash   *flashResult `json:"flash_result,omitempty"`
}

type flashResult struct {
	Duration  int64           `json:"duration"`
	Latency   int64           `json:"latency"`
	Completed bool            `json:"completed"`
	Sentences []flashSentence `json:"sentences"`
}

type flashSentence struct {
	Text    string      `json:"text"`
	Begin   int64       `json:"begin_time"`
	End     int64       `json:"end_time"`
	Channel int         `json:"channel_id"`
	Words   []flashWord `json:"words,omitempty"`
}

type flashWord struct {
	Text  string `json:"text"`
	Begin string `json:"begin_time"`
	End   string `json:"end_time"`
	Punc  string `json:"punc"`
}

// serveFlash answers a request to FlashRecognizer.
func (s *Server) serveFlash(w http.ResponseWriter, r *http.Request) {
	fault, err := s.faultOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "text/plain", err.Error())
		return
	}
	call := &fileRequest{w: w, r: r, fault: fault, link: r.Context().Value(linkKey{}).(*link)}
	if !call.begin() {
		return
	}
	taskID := wire.NewID()
	call.failed = func(f *failure) (int, any) {
		return http.StatusBadRequest, flashAnswer{TaskID: taskID, Result: new(""), Status: f.status, Message: f.text}
	}
	begin := time.Now()
	result, f := s.flash(call)
	if call.over {
		return
	}
	// Where the answer comes before all of the file has, the client may not see it.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxFlashFile))
	if f == errTooLarge {
		refuse(w, http.StatusRequestEntityTooLarge, "text/html", "<html><head><title>413 Request Entity Too Large</title></head></html>")
		return
	}
	if f != nil {
		call.fail(f)
		return
	}
	result.Latency = time.Since(begin).Milliseconds()
	call.answer(http.StatusOK, flashAnswer{TaskID: taskID, Status: nls.StatusOK, Message: "SUCCESS", Flash: result})
}

// errTooLarge is answered by the proxy before the service.
var errTooLarge = &failure{http.StatusRequestEntityTooLarge, ""}

// flash checks a request as the service does, and transcribes its file.
func (s *Server) flash(call *fileRequest) (*flashResult, *failure) {
	r, q := call.r, call.r.URL.Query()
	token, present := tokenOf(r)
	account, refusal := s.accounts.checkToken(token, present)
	if refusal != "" {
		return nil, &failure{nls.StatusAccessDenied, refusal}
	}
	appKey := q.Get("appkey")
	if appKey == "" {
		return nil, flashParameter("appkey not set")
	}
	if status, text := s.accounts.checkAppKey(appKey, account); status != 0 {
		return nil, &failure{status, text}
	}
	if f := checkFlash(q, r.Header.Get("Content-Type")); f != nil {
		return nil, f
	}
	place := place{account, flashRecognizer}
	if f := s.quota.take(place); f != nil {
		return nil, f
	}
	defer s.quota.free(place, time.Time{})
	s.started.Add(1)

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	limited := &io.LimitedReader{R: &faultyBody{call, r.Body}, N: maxFlashFile + 1}
	var audio io.Reader = limited
	if r.ContentLength > maxFlashFile {
		return nil, errTooLarge
	}
	if link := q.Get("audio_address"); link != "" {
		late := time.AfterFunc(flashPatience, cancel)
		defer late.Stop()
		status, body, err := s.fetch(ctx, link)
		if err != nil || status != http.StatusOK {
			return nil, flashDownload(ctx)
		}
		defer body.Close()
		audio = body
	}
	h := hearing{rate: 16000, anyRate: true, firstChannel: q.Get("first_channel_only") == "true"}
	h.writing = writing{punctuation: true, digits: q.Get("enable_inverse_text_normalization") == "true"}
	switch strings.ToLower(q.Get("format")) {
	case "wav":
	case "pcm":
		h.pcm = true
		if q.Get("sample_rate") == "8000" {
			h.rate = 8000
		}
	default:
		if n, err := io.Copy(io.Discard, audio); err != nil || n == 0 {
			return nil, errNoAudio
		}
		return nil, errDecode
	}
	sentences, length, err := hear(ctx, s.opts.Engine, audio, h)
	switch {
	case call.over:
		return nil, nil
	case limited.N == 0:
		return nil, errTooLarge
	case errors.Is(err, errEmptyAudio):
		return nil, errNoAudio
	case errors.Is(err, errNoDecoder):
		return nil, errDecode
	case errors.Is(err, errBadRate):
		return nil, &failure{nls.StatusUnsupportedSampleRate, "UNSUPPORTED_SAMPLE_RATE"}
	case errors.Is(err, errEngineFailed):
		return nil, errServer
	case err != nil && q.Get("audio_address") != "":
		return nil, flashDownload(ctx)
	case err != nil:
		return nil, errNoAudio // a client that has gone does not see it
	case len(sentences) == 0:
		return nil, &failure{nls.StatusNoValidAudio, "vad silent"}
	}
	return newFlashResult(sentences, length, q.Get("enable_word_level_result") == "true", h.writing), nil
}

func flashParameter(text string) *failure {
	return &failure{nls.StatusParameterInvalid, "Gateway:PARAMETER_INVALID:" + text}
}

// flashDownload is the failure of a file that was not there, or not in time.
func flashDownload(ctx context.Context) *failure {
	if ctx.Err() != nil {
		return &failure{nls.StatusIdleTimeout, "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'FlashRecognizer'!"}
	}
	return &failure{nls.StatusDownloadFailed, "DOWNLOAD_ERROR"}
}

// checkFlash checks the parameters of protocol §10.4.
func checkFlash(q url.Values, contentType string) *failure {
	invalid := func(name string) *failure {
		return flashParameter("Invalid " + name + " '" + quotable(q.Get(name)) + "'!")
	}
	switch format := strings.ToLower(q.Get("format")); {
	case format == "":
		return flashParameter("format not set")
	case !oneOf(format, "mp4", "aac", "mp3", "opus", "wav", "pcm"):
		return &failure{nls.StatusUnsupportedAudio, "UNSUPPORTED_FORMAT"}
	}
	if q.Has("sample_rate") && !oneOf(q.Get("sample_rate"), "8000", "16000") {
		return &failure{nls.StatusUnsupportedSampleRate, "UNSUPPORTED_SAMPLE_RATE"}
	}
	for _, name := range []string{"enable_inverse_text_normalization", "enable_word_level_result", "enable_timestamp_alignment", "first_channel_only"} {
		if q.Has(name) && !oneOf(q.Get(name), "true", "false") {
			return invalid(name)
		}
	}
	if noise, err := strconv.ParseFloat(q.Get("speech_noise_threshold"), 64); q.Has("speech_noise_threshold") && (err != nil || !(noise >= -1 && noise <= 1)) {
		return invalid("speech_noise_threshold")
	}
	if n, err := strconv.Atoi(q.Get("sentence_max_length")); q.Has("sentence_max_length") && (err != nil || n < 4 || n > 50) {
		return invalid("sentence_max_length")
	}
	if f := q.Get("special_word_filter"); f != "" && !json.Valid([]byte(f)) {
		return invalid("special_word_filter")
	}
	if link := q.Get("audio_address"); link != "" {
		if contentType != "application/text" {
			return flashParameter("Invalid Content-Type '" + quotable(contentType) + "'!")
		}
		if !validFileURL(link, true) {
			return invalid("audio_address")
		}
	}
	return nil
}

func newFlashResult(sentences []fileSentence, length time.Duration, words bool, w writing) *flashResult {
	r := &flashResult{Duration: length.Milliseconds(), Completed: true, Sentences: make([]flashSentence, len(sentences))}
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	for i, s := range sentences {
		r.Sentences[i] = flashSentence{Text: w.text(s.Text), Begin: s.Begin.Milliseconds(), End: s.End.Milliseconds(), Channel: s.channel}
		if !words {
			continue
		}
		for _, word := range punctuatedWords(s.Words, w.digits) {
			r.Sentences[i].Words = append(r.Sentences[i].Words, flashWord{word.Text, ms(word.Start), ms(word.End), word.punc})
		}
	}
	return r
}
