package nlstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wire"
)

// File transcription (protocol §10.5, corrected in §16.4): SubmitTask and
// GetTaskResult beside CreateToken.
const (
	maxFile         = 512 << 20
	maxFileLength   = 12 * time.Hour
	maxFileTasks    = 1 << 10 // that are remembered; the oldest is forgotten first
	maxFilesAtOnce  = 4       // the others are QUEUEING
	fileResultKept  = 72 * time.Hour
	liteVersion     = "2021-12-21"
	callbackTimeout = 10 * time.Second
)

// fileTexts are the texts of the status codes of protocol §7.4.
var fileTexts = map[int]string{
	nls.StatusFileSuccess: "SUCCESS", nls.StatusFileRunning: "RUNNING", nls.StatusFileQueueing: "QUEUEING",
	nls.StatusFileNoValidFragment:          "SUCCESS_WITH_NO_VALID_FRAGMENT",
	nls.StatusFileQuotaExceeded:            "USER_BIZDURATION_QUOTA_EXCEED",
	nls.StatusFileDownloadFailed:           "FILE_DOWNLOAD_FAILED",
	nls.StatusFileCheckFailed:              "FILE_CHECK_FAILED",
	nls.StatusFileTooLarge:                 "FILE_TOO_LARGE",
	nls.StatusFileNormalizeFailed:          "FILE_NORMALIZE_FAILED",
	nls.StatusFileParseFailed:              "FILE_PARSE_FAILED",
	nls.StatusFileMKVParseFailed:           "MKV_PARSE_FAILED",
	nls.StatusFileUnsupportedSampleRate:    "UNSUPPORTED_SAMPLE_RATE",
	nls.StatusFileUnsupportedASRGroup:      "UNSUPPORTED_ASR_GROUP",
	nls.StatusFileTaskExpired:              "FILE_TRANS_TASK_EXPIRED",
	nls.StatusFileInvalidURL:               "REQUEST_INVALID_FILE_URL_VALUE",
	nls.StatusFileInvalidCallback:          "REQUEST_INVALID_CALLBACK_VALUE",
	nls.StatusFileParameterInvalid:         "REQUEST_PARAMETER_INVALID",
	nls.StatusFileEmptyAppKey:              "REQUEST_EMPTY_APPKEY_VALUE",
	nls.StatusFileAppKeyUnregistered:       "REQUEST_APPKEY_UNREGISTERED",
	nls.StatusFileRAMCheckFailed:           "RAM_CHECK_FAILED",
	nls.StatusFileContentLengthCheckFailed: "CONTENT_LENGTH_CHECK_FAILED",
	nls.StatusFileNotFound:                 "FILE_404_NOT_FOUND",
	nls.StatusFileForbidden:                "FILE_403_FORBIDDEN",
	nls.StatusFileServerError:              "FILE_SERVER_ERROR",
	nls.StatusFileNoWords:                  "ASR_RESPONSE_HAVE_NO_WORDS",
	nls.StatusFileTooLong:                  "AUDIO_DURATION_TOO_LONG",
	nls.StatusFileInternalError:            "INTERNAL_ERROR",
	nls.StatusFileVADFailed:                "VAD_FAILED",
	nls.StatusFileRecognizeFailed:          "RECOGNIZE_FAILED",
	nls.StatusFileRecognizeInterrupted:     "RECOGNIZE_INTERRUPT",
	nls.StatusFileOfferInterrupted:         "OFFER_INTERRUPT",
	nls.StatusFileTimeout:                  "FILE_TRANS_TIMEOUT",
	nls.StatusFileFragmentFailed:           "FRAGMENT_FAILED",
}

// fileAnswer is what the service says of a task.
type fileAnswer struct {
	TaskID      string      `json:"TaskId"`
	RequestID   string      `json:"RequestId"`
	StatusText  string      `json:"StatusText"`
	StatusCode  int         `json:"StatusCode"`
	BizDuration int64       `json:"BizDuration,omitempty"` // ms
	RequestTime int64       `json:"RequestTime,omitempty"` // epoch ms; of callbacks
	SolveTime   int64       `json:"SolveTime,omitempty"`   // epoch ms
	Result      *fileResult `json:"Result,omitempty"`
}

type fileResult struct {
	Sentences []fileSentenceRow
	Words     []fileWordRow `json:",omitempty"`
}

type fileSentenceRow struct {
	ChannelID       int `json:"ChannelId"`
	BeginTime       int64
	EndTime         int64
	Text            string
	SilenceDuration int // seconds since the last sentence of the channel
	SpeechRate      int // characters a minute
}

type fileWordRow struct {
	ChannelID int `json:"ChannelId"`
	Word      string
	BeginTime int64
	EndTime   int64
}

// fileTask is a task of SubmitTask.
type fileTask struct {
	id, account string
	lite        bool
	link        string
	callback    string // "" for none
	words       bool
	hearing     hearing
	submitted   time.Time

	// Guarded by fileTasks.mu.
	answer fileAnswer // with the state
	solved time.Time  // zero while it runs
	asked  time.Time  // last
}

// fileTasks are the tasks of a Server.
type fileTasks struct {
	turns chan struct{} // of those that run

	mu    sync.Mutex
	tasks map[string]*fileTask
	order []string // at most maxFileTasks
}

func newFileTasks() *fileTasks {
	return &fileTasks{turns: make(chan struct{}, maxFilesAtOnce), tasks: map[string]*fileTask{}}
}

func (t *fileTasks) add(task *fileTask) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == maxFileTasks {
		delete(t.tasks, t.order[0])
		t.order = t.order[1:]
	}
	t.tasks[task.id] = task
	t.order = append(t.order, task.id)
}

// ask returns the state of a task, or why there is none to be had: one question a
// second is answered for each.
func (t *fileTasks) ask(id, account string, lite bool) (fileAnswer, *popError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	task := t.tasks[id]
	switch {
	case task == nil, task.account != account, task.lite != lite, !task.solved.IsZero() && now.Sub(task.solved) > fileResultKept:
		return fileState(id, nls.StatusFileTaskExpired), nil
	case now.Sub(task.asked) < time.Second:
		return fileAnswer{}, errThrottled
	}
	task.asked = now
	return task.answer, nil
}

// set changes the state of a task.
func (t *fileTasks) set(task *fileTask, a fileAnswer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	task.answer = a
	if a.SolveTime != 0 {
		task.solved = time.Now()
	}
}

func fileState(id string, code int) fileAnswer {
	return fileAnswer{TaskID: id, StatusCode: code, StatusText: fileTexts[code]}
}

// serveFiles answers SubmitTask and GetTaskResult for an account that has signed them.
func (s *Server) serveFiles(w http.ResponseWriter, r *http.Request, requestID string, p *popCall) {
	r.Form = p.params
	call := &fileRequest{w: w, r: r, link: r.Context().Value(linkKey{}).(*link)}
	if s.opts.Fault != nil {
		if call.fault = s.opts.Fault(r); call.fault != nil {
			if err := call.fault.check(); err != nil {
				refuse(w, http.StatusBadRequest, "text/plain", err.Error())
				return
			}
		}
	}
	if !call.begin() {
		return
	}
	lite := p.params.Get("Version") == liteVersion
	var answer fileAnswer
	var refusal *popError
	if p.action == "SubmitTask" {
		answer, refusal = s.submitFile(p, lite)
	} else {
		id := p.params.Get("TaskId")
		if id == "" {
			refusal = missing("TaskId")
		} else {
			answer, refusal = s.files.ask(id, p.account, lite)
		}
	}
	if refusal != nil {
		s.accounts.refuse(w, r, requestID, refusal)
		return
	}
	answer.RequestID = requestID
	call.failed = func(f *failure) (int, any) {
		return http.StatusOK, fileAnswer{TaskID: answer.TaskID, RequestID: requestID, StatusCode: f.status, StatusText: f.text}
	}
	call.answer(http.StatusOK, answer)
}

// submitFile checks a task and starts it. What is wrong with it is a state.
func (s *Server) submitFile(p *popCall, lite bool) (fileAnswer, *popError) {
	text := p.params.Get("Task")
	if text == "" {
		return fileAnswer{}, missing("Task")
	}
	task, code := s.newFileTask([]byte(text), p.account)
	if code != 0 {
		return fileState("", code), nil
	}
	task.lite = lite
	task.answer = fileState(task.id, nls.StatusFileQueueing)
	if !s.enter() {
		return fileState("", nls.StatusFileInternalError), nil
	}
	s.files.add(task)
	go func() {
		defer s.running.Done()
		s.runFile(task)
	}()
	return fileState(task.id, nls.StatusFileSuccess), nil
}

// newFileTask reads the JSON of a task. code is not 0 if it is refused.
func (s *Server) newFileTask(text []byte, account string) (_ *fileTask, code int) {
	var fields object
	if !utf8.Valid(text) || json.Unmarshal(text, &fields) != nil || fields == nil {
		return nil, nls.StatusFileParameterInvalid
	}
	p := paramsOf(&directive{payload: fields})
	t := &fileTask{id: wire.NewID(), account: account, submitted: time.Now()}
	appKey := p.str("appkey", p.str("app_key", "")) // the C++ SDK has another spelling
	t.link = p.str("file_link", "")
	t.callback = p.str("callback_url", "")
	called := p.bool("enable_callback")
	t.words = p.bool("enable_words")
	_, given := fields["enable_punctuation_prediction"]
	adaptive := p.bool("enable_sample_rate_adaptive")
	t.hearing = hearing{rate: nls.DefaultSampleRate, anyRate: adaptive, silence: p.int("max_end_silence", defaultSilence, minSilence, maxSilence)}
	t.hearing.punctuation = p.bool("enable_punctuation_prediction") || !given
	t.hearing.digits = p.bool("enable_inverse_text_normalization")
	if _, ok := fields["first_channel_only"]; ok { // of which the third state is to leave it out
		t.hearing.firstChannel = p.bool("first_channel_only")
	}
	p.int("max_single_segment_time", 60000, 5000, math.MaxInt)
	p.int("sentence_max_length", 0, 4, 50)
	p.int("speaker_num", 0, 2, 100)
	p.int("supervise_type", 0, 0, 2)
	p.check(func() any { return new(bool) }, "auto_split", "enable_disfluency",
		"enable_semantic_sentence_detection", "enable_timestamp_alignment", "punctuation_mark")
	p.check(func() any { return new(string) }, "version", "vocabulary_id", "class_vocabulary_id", "customization_id")
	p.check(func() any { return new([]object) }, "valid_times")
	switch status, _ := s.accounts.checkAppKey(appKey, account); {
	case fields["appkey"] == nil && fields["app_key"] == nil:
		return nil, nls.StatusFileEmptyAppKey
	case status != 0:
		return nil, nls.StatusFileAppKeyUnregistered
	case p.failed != nil:
		return nil, nls.StatusFileParameterInvalid
	case !validFileURL(t.link, false):
		return nil, nls.StatusFileInvalidURL
	case called && !validFileURL(t.callback, true):
		return nil, nls.StatusFileInvalidCallback
	}
	if !called {
		t.callback = ""
	}
	return t, 0
}

// validFileURL reports whether link is one that the service would fetch: file_link
// must have a domain name, and no blanks.
func validFileURL(link string, address bool) bool {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(link, unicode.IsSpace) {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err != nil || address
}

// runFile transcribes the file of a task when it is its turn, and posts the result.
func (s *Server) runFile(t *fileTask) {
	select {
	case s.files.turns <- struct{}{}:
		defer func() { <-s.files.turns }()
	case <-s.ctx.Done():
		return
	}
	select {
	case <-time.After(s.opts.ReplyDelay):
	case <-s.ctx.Done():
		return
	}
	s.files.set(t, fileState(t.id, nls.StatusFileRunning))
	a := s.hearFile(t)
	a.SolveTime = time.Now().UnixMilli()
	if s.ctx.Err() != nil {
		return
	}
	s.files.set(t, a)
	if t.callback != "" {
		a.RequestID, a.RequestTime = strings.ToUpper(wire.NewID()), t.submitted.UnixMilli()
		s.postCallback(t.callback, a)
	}
}

// hearFile fetches and transcribes a file.
func (s *Server) hearFile(t *fileTask) fileAnswer {
	fail := func(code int) fileAnswer { return fileState(t.id, code) }
	status, body, err := s.fetch(s.ctx, t.link)
	if err != nil {
		return fail(nls.StatusFileDownloadFailed)
	}
	defer body.Close()
	switch {
	case status == http.StatusNotFound:
		return fail(nls.StatusFileNotFound)
	case status == http.StatusForbidden:
		return fail(nls.StatusFileForbidden)
	case status/100 == 5:
		return fail(nls.StatusFileServerError)
	case status != http.StatusOK:
		return fail(nls.StatusFileDownloadFailed)
	}
	limited := &io.LimitedReader{R: body, N: maxFile + 1}
	head := make([]byte, 12)
	n, err := io.ReadFull(limited, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return fail(nls.StatusFileDownloadFailed)
	}
	head = head[:n]
	h := t.hearing
	h.pcm = !bytes.HasPrefix(head, []byte("RIFF"))
	if isCompressed(head) {
		return fail(nls.StatusFileNormalizeFailed) // there is no decoder here
	}
	sentences, length, err := hear(s.ctx, s.opts.Engine, io.MultiReader(bytes.NewReader(head), limited), h)
	switch {
	case limited.N == 0:
		return fail(nls.StatusFileTooLarge)
	case errors.Is(err, errEmptyAudio), errors.Is(err, errNoDecoder):
		return fail(nls.StatusFileParseFailed)
	case errors.Is(err, errBadRate):
		return fail(nls.StatusFileUnsupportedSampleRate)
	case errors.Is(err, errEngineFailed):
		return fail(nls.StatusFileRecognizeFailed)
	case err != nil:
		return fail(nls.StatusFileDownloadFailed)
	case length > maxFileLength:
		return fail(nls.StatusFileTooLong)
	}
	code := nls.StatusFileSuccess
	if len(sentences) == 0 {
		code = nls.StatusFileNoValidFragment
	}
	a := fileState(t.id, code)
	a.BizDuration = length.Milliseconds()
	a.Result = t.result(sentences)
	return a
}

// isCompressed reports whether head begins a file that is not raw PCM.
func isCompressed(head []byte) bool {
	for _, magic := range []string{"ID3", "OggS", "fLaC", "#!AMR", "\xff\xfb", "\xff\xf1", "\xff\xf9", "\x1aE\xdf\xa3", "FORM"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return len(head) >= 8 && string(head[4:8]) == "ftyp"
}

// result is the transcript as version 4.0 writes it.
func (t *fileTask) result(sentences []fileSentence) *fileResult {
	r := &fileResult{Sentences: []fileSentenceRow{}}
	until := map[int]time.Duration{} // by channel
	for _, s := range sentences {
		text := t.hearing.text(s.Text)
		row := fileSentenceRow{
			ChannelID: s.channel, BeginTime: s.Begin.Milliseconds(), EndTime: s.End.Milliseconds(), Text: text,
			SilenceDuration: int((s.Begin - until[s.channel]) / time.Second),
		}
		if d := s.End - s.Begin; d > 0 {
			row.SpeechRate = int(time.Duration(utf8.RuneCountInString(text)) * time.Minute / d)
		}
		until[s.channel] = s.End
		r.Sentences = append(r.Sentences, row)
		if t.words {
			for _, w := range wordsOf(s.Words, t.hearing.digits) {
				r.Words = append(r.Words, fileWordRow{s.channel, w.Text, w.Start.Milliseconds(), w.End.Milliseconds()})
			}
		}
	}
	return r
}

// postCallback posts a result: to a loopback address over the network, and to any
// other by way of Options.Files, so that nothing leaves the machine.
func (s *Server) postCallback(to string, a fileAnswer) {
	ctx, cancel := context.WithTimeout(s.ctx, callbackTimeout)
	defer cancel()
	body, _ := wire.Marshal(a)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/json")
	if ip := net.ParseIP(r.URL.Hostname()); ip.IsLoopback() || r.URL.Hostname() == "localhost" {
		transport := &http.Transport{DisableKeepAlives: true} // of no proxy
		if resp, err := transport.RoundTrip(r); err == nil {
			resp.Body.Close()
		}
		return
	}
	if _, answer, err := s.ask(r); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer, 64<<10))
		answer.Close()
	}
}
