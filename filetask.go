package nls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nlsgo/nls/internal/pop"
	"github.com/nlsgo/nls/internal/session"
)

// FileTaskParams are the parameters of SubmitFile, which the service calls
// SubmitTask.
type FileTaskParams struct {
	// URL of the file, with a public domain name and no address, which the service
	// fetches: up to 12 hours, and 512 MB of audio or 2 GB of video.
	URL string

	CallbackURL string // gets the result, see ParseFileCallback
	Lite        bool   // the cheaper edition, within 24 hours

	EnableWords                    bool // FileSentence.Words
	EnableInverseTextNormalization bool
	EnableSampleRateAdaptive       bool          // audio of any rate for the model of the AppKey
	Disfluency                     bool          // leave out "uh" and repetitions
	AutoSplit                      bool          // FileSentence.Speaker
	SpeakerNum                     int           // 2 to 100; with AutoSplit; 0 means not known
	MaxEndSilence                  time.Duration // that ends a sentence, 200 ms to 6 s; 0 means the service's default
	VocabularyID, CustomizationID  string

	// Extra is merged into the task last.
	Extra map[string]any
}

// FileTask names a task of SubmitFile. It may be kept, also as JSON, and asked for by
// another process.
type FileTask struct {
	ID   string
	Lite bool // it is in the cheaper edition, which has a host of its own
}

// SubmitFile gives the service a file to transcribe: within three hours, or 24 with
// Lite and in a trial. Get the result with WaitFile, FileStatus or a callback; it is
// kept for 72 hours.
//
// SubmitFile, FileStatus and WaitFile need an access key: with a token alone they
// return a *ParamError. One call takes 30 seconds at most. A refusal of the call, or
// of the network, is an *APIError; what became of the file is a *TaskError.
func (c *Client) SubmitFile(ctx context.Context, p FileTaskParams) (FileTask, error) {
	const action = "SubmitTask"
	if c.session == nil {
		return FileTask{}, errZeroClient
	}
	task, err := p.task(c.cfg.AppKey)
	if err != nil {
		return FileTask{}, err
	}
	answer, err := c.callFiles(ctx, action, p.Lite, map[string]string{"Task": string(task)})
	if err != nil {
		return FileTask{}, err
	}
	a, err := decodeFileTask(answer.Body)
	switch {
	case err == nil && a.StatusCode != StatusFileSuccess:
		return FileTask{}, fileTaskError(string(a.TaskID), action, &a, answer.Body, answer.Redact)
	case err != nil || a.TaskID == "":
		return FileTask{}, &APIError{Action: action, Message: "the answer has no StatusCode or no TaskId", HTTPStatus: http.StatusOK}
	}
	return FileTask{string(a.TaskID), p.Lite}, nil
}

// task is the JSON of p.
func (p *FileTaskParams) task(appKey string) (json.RawMessage, error) {
	link, callback := trim(p.URL), trim(p.CallbackURL)
	if err := checkFileURL("URL", link, false); err != nil {
		return nil, err
	}
	m := map[string]any{"appkey": appKey, "file_link": link, "version": "4.0"}
	if callback != "" {
		if err := checkFileURL("CallbackURL", callback, true); err != nil {
			return nil, err
		}
		m["enable_callback"], m["callback_url"] = true, callback
	}
	for _, f := range []struct {
		key string
		set bool
	}{
		{"enable_words", p.EnableWords},
		{"enable_inverse_text_normalization", p.EnableInverseTextNormalization},
		{"enable_sample_rate_adaptive", p.EnableSampleRateAdaptive},
		{"enable_disfluency", p.Disfluency},
		{"auto_split", p.AutoSplit},
	} {
		if f.set {
			m[f.key] = true
		}
	}
	switch n := p.SpeakerNum; {
	case n == 0:
	case n < 2 || n > 100:
		return nil, &ParamError{"SpeakerNum", n, "must be from 2 to 100"}
	case !p.AutoSplit:
		return nil, &ParamError{"SpeakerNum", n, "goes with AutoSplit"}
	default:
		m["speaker_num"], m["supervise_type"] = n, 1
	}
	if err := putSilence(m, "max_end_silence", "MaxEndSilence", p.MaxEndSilence); err != nil {
		return nil, err
	}
	if d := p.MaxEndSilence; d != 0 && (d < 200*time.Millisecond || d > 6*time.Second) {
		return nil, &ParamError{"MaxEndSilence", d, "must be from 200 ms to 6 s"}
	}
	putString(m, "vocabulary_id", p.VocabularyID)
	putString(m, "customization_id", p.CustomizationID)
	return encode("Extra", withExtra(m, p.Extra))
}

// FileStatus asks for the result of a task: at most once a second each. The error is
// ErrFileRunning while there is none. Errors have the TaskID.
func (c *Client) FileStatus(ctx context.Context, t FileTask) (*FileResult, error) {
	const action = "GetTaskResult"
	if c.session == nil {
		return nil, errZeroClient
	}
	t.ID = trim(t.ID)
	if t.ID == "" {
		return nil, &ParamError{"FileTask.ID", nil, "must not be empty"}
	}
	answer, err := c.callFiles(ctx, action, t.Lite, map[string]string{"TaskId": t.ID})
	if errors.Is(err, ErrInvalidParameter) {
		return nil, err
	} else if err != nil {
		return nil, &sessionError{t.ID, err}
	}
	result, err := fileTaskResult(t.ID, action, answer.Body, answer.Redact)
	if errors.Is(err, errNoFileAnswer) {
		err = &sessionError{t.ID, &APIError{Action: action, Message: "the answer has no StatusCode", HTTPStatus: http.StatusOK}}
	}
	return result, err
}

// The pauses of WaitFile. A task of three hours is asked for some 370 times.
const (
	fileMinPause       = time.Second // all that the service permits
	fileMaxPause       = 30 * time.Second
	fileThrottledPause = 2 * time.Minute
	filePatience       = 2 * time.Minute
)

// WaitFile waits for the result of a task. It asks for it, with pauses that grow from
// a second to 30, and twice as long each time it is throttled. What is Retryable, such
// as a broken network, it bears for two minutes. It returns when ctx ends, with an
// error that matches ctx's; there is no other bound.
func (c *Client) WaitFile(ctx context.Context, t FileTask) (*FileResult, error) {
	var failing time.Time // since when; zero if the last answer was one
	for pause := fileMinPause; ; {
		result, err := c.FileStatus(ctx, t)
		call, failed := errors.AsType[*APIError](err)
		switch {
		case ctx.Err() != nil:
			return result, err
		case errors.Is(err, ErrFileRunning):
			failing = time.Time{}
			pause = min(pause, fileMaxPause)
		case failed && isThrottled(call.Code, call.HTTPStatus):
			failing = time.Time{}
			pause = min(2*pause, fileThrottledPause)
		case failed && Retryable(err):
			if failing.IsZero() {
				failing = time.Now()
			} else if time.Since(failing) >= filePatience {
				return nil, err
			}
			pause = min(pause, fileMaxPause)
		default:
			return result, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, &sessionError{trim(t.ID), session.ContextEnd(ctx, nil)}
		}
		pause += pause / 4
	}
}

// fileService is where and how a Client calls the file service. A Client has it
// behind a function, since printers that use package reflect follow pointers and
// interfaces.
type fileService struct {
	keys      CredentialSource // nil if there are none
	region    string
	endpoint  string // "" means that of region
	transport http.RoundTripper
}

// fileHosts are the hosts of protocol §16.4 by region.
var fileHosts = map[string]struct{ standard, lite string }{
	"cn-shanghai":       {"filetrans.cn-shanghai.aliyuncs.com", "speechfiletranscriberlite.cn-shanghai.aliyuncs.com"},
	"cn-beijing":        {"filetrans.cn-beijing.aliyuncs.com", "speechfiletranscriberlite.cn-beijing.aliyuncs.com"},
	"cn-shenzhen":       {"filetrans.cn-shenzhen.aliyuncs.com", "speechfiletranscriberlite.cn-shenzhen.aliyuncs.com"},
	internationalRegion: {"filetrans.ap-southeast-1.aliyuncs.com", ""},
}

// The versions of its API.
const (
	fileVersion              = "2018-08-17"
	fileVersionInternational = "2019-08-23"
	fileVersionLite          = "2021-12-21"
)

// newFileService is the file service that c asks for.
func (c *Config) newFileService() (*fileService, error) {
	opts := c.tokenOptions()
	s := &fileService{keys: c.Credentials, region: orDefault(opts.Region, "cn-shanghai"), transport: opts.Transport}
	if s.keys == nil && c.AccessKeyID != "" && c.AccessKeySecret != "" {
		key := AccessKey{c.AccessKeyID, c.AccessKeySecret, c.SecurityToken}
		s.keys = CredentialSourceFunc(func(context.Context) (AccessKey, error) { return key, nil })
	}
	var err error
	if c.FileEndpoint != "" {
		s.endpoint, err = endpointHost("FileEndpoint", trim(c.FileEndpoint))
	}
	return s, err
}

// service is the host of an edition, and its version.
func (s *fileService) service(lite bool) (tokenService, error) {
	hosts := fileHosts[s.region]
	service := tokenService{hosts.standard, fileVersion, s.region}
	switch {
	case lite:
		service.host, service.version = hosts.lite, fileVersionLite
	case s.region == internationalRegion:
		service.version = fileVersionInternational
	}
	if s.endpoint != "" {
		service.host = s.endpoint
	}
	switch {
	case service.host == "" && lite:
		return service, &ParamError{"Lite", true, "is not known in region " + s.region + "; set Config.FileEndpoint"}
	case service.host == "":
		return service, &ParamError{"Region", s.region, "has no known file service; set Config.FileEndpoint"}
	}
	return service, nil
}

// callFiles calls an action of the file service. The error is a *ParamError or an
// *APIError.
func (c *client) callFiles(ctx context.Context, action string, lite bool, params map[string]string) (_ *pop.Answer, err error) {
	defer func(caller context.Context) {
		if e, ok := errors.AsType[*APIError](err); ok && e.HTTPStatus == 0 && caller.Err() != nil {
			e.Err = session.ContextEnd(caller, nil)
		}
	}(ctx)
	s := c.files()
	if s.keys == nil {
		return nil, &ParamError{"AccessKeyID", nil, "the file service takes no token: set Credentials, or AccessKeyID and AccessKeySecret"}
	}
	service, err := s.service(lite)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	key, err := s.keys.AccessKey(ctx)
	if err != nil {
		return nil, &APIError{Action: action, Err: fmt.Errorf("access key: %w", err)}
	}
	r, err := keyRequest(key, service, s.transport)
	if err != nil {
		return nil, err
	}
	r.Action, r.Params = action, params
	if action == "GetTaskResult" {
		r.Method = http.MethodGet // all that it is documented for
	}
	answer, err := pop.Call(ctx, r)
	if e, ok := errors.AsType[*pop.Error](err); ok {
		return nil, &APIError{action, e.Code, e.Message, e.RequestID, e.HTTPStatus, e.Err}
	}
	return answer, err
}
