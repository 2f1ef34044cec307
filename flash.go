package nls

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wire"
)

// FileParams are the parameters of RecognizeFile, which the service calls
// FlashRecognizer.
type FileParams struct {
	// Format is "wav", "mp3", "aac", "mp4" or "opus" (in Ogg). "" is taken from the
	// first bytes, or from the extension in URL.
	Format Format

	// SampleRate picks the model, 8000 or 16000 hertz, whatever the rate of the audio. 0
	// means 8000 for a WAV file that says so, and DefaultSampleRate for all else.
	SampleRate int

	URL string // of the file, which the service fetches; in the place of a Reader

	EnableInverseTextNormalization bool
	EnableWords                    bool // FileSentence.Words
	EnableTimestampAlignment       bool
	FirstChannelOnly               bool
	VocabularyID, CustomizationID  string
	SpeechNoiseThreshold           *float64 // -1 to 1; above 0 more is taken for noise; nil means the service's default
	SentenceMaxLength              int      // 4 to 50 characters; 0 means no limit

	// Extra is merged into the parameters last. What is no string is sent as JSON.
	Extra map[string]any
}

const (
	flashNamespace = "FlashRecognizer"
	flashPath      = "/stream/v1/FlashRecognizer"

	// maxFlashFile is how large a file may be (protocol §10.4).
	maxFlashFile = 100 << 20

	// headSize is how much of a file is looked at.
	headSize = 4 << 10
)

var flashFormats = []Format{FormatWAV, FormatMP3, FormatAAC, FormatMP4, FormatOpus}

// RecognizeFile transcribes a file of up to two hours and 100 MB in one call, much
// faster than it plays. The file is read from r as it is sent, and not kept; its
// size is said beforehand if r is a file, or has the methods Seek or Len. A file that
// is known to be too large is a *ParamError, as is one of an unknown kind. With p.URL
// r is nil.
//
// ctx bounds the call; besides, opening the connection may take
// DefaultStartTimeout, each write Config.WriteTimeout, and the service, once it has
// the file, DefaultCompleteTimeout for its answer. Errors match ErrStartTimeout,
// ErrWriteTimeout and ErrCompleteTimeout; the last one too where a deadline of ctx
// has passed. Failures of the service, HTTP errors among them, are a *TaskError; where
// nobody speaks it is one of StatusNoValidAudio. An error of r is returned.
//
// A refused token is replaced once, as in Start, if r can Seek. The Limiter admits a
// file as a session of "FlashRecognizer", and Drain waits for it. A Read that does not
// return may outlive the call.
func (c *Client) RecognizeFile(ctx context.Context, r io.Reader, p FileParams) (*FileResult, error) {
	if c.session == nil {
		return nil, errZeroClient
	}
	p.URL = trim(p.URL)
	query, err := p.query()
	if err != nil {
		return nil, err
	}
	if err := p.checkSource(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	call := &fileCall{cancel}
	if !c.session.Roster.Enter(call) {
		return nil, ErrClientDrained
	}
	defer c.session.Roster.Leave(call)

	var file *upload
	if p.URL == "" {
		if file, err = openUpload(ctx, r, &p, query); err != nil {
			return nil, err
		}
		defer file.settle()
	}
	release, err := c.admitFile(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	for first := true; ; first = false {
		token, err := c.token(ctx, &session.Asker{Namespace: flashNamespace, Hooks: sessionHooks(c.traces(ctx))})
		if err != nil {
			if ctx.Err() != nil {
				err = fileContextError(ctx)
			}
			return nil, err
		}
		result, err := c.sendFile(ctx, query, token, file)
		if first && refusesToken(err) && c.invalidate(token) && file.rewind(ctx) {
			continue
		}
		return result, err
	}
}

// fileCall is a RecognizeFile that runs, as Drain sees it.
type fileCall struct{ cancel context.CancelCauseFunc }

// Shutdown ends the call.
func (f *fileCall) Shutdown() { f.cancel(ErrShutdown) }

// query is p as it is sent, without the AppKey, the token and what the file says.
func (p *FileParams) query() (url.Values, error) {
	q := url.Values{}
	_, anyFormat := p.Extra["format"]
	if p.Format != "" && !anyFormat {
		if _, err := checkFormat(p.Format, flashFormats); err != nil {
			return nil, err
		}
		q.Set("format", string(p.Format))
	}
	if p.SampleRate != 0 {
		if err := checkRate(p.SampleRate, recognitionRates); err != nil {
			return nil, err
		}
		q.Set("sample_rate", strconv.Itoa(p.SampleRate))
	}
	for _, f := range []struct {
		key string
		set bool
	}{
		{"enable_inverse_text_normalization", p.EnableInverseTextNormalization},
		{"enable_word_level_result", p.EnableWords},
		{"enable_timestamp_alignment", p.EnableTimestampAlignment},
		{"first_channel_only", p.FirstChannelOnly},
	} {
		if f.set {
			q.Set(f.key, "true")
		}
	}
	for _, f := range []struct{ key, value string }{
		{"vocabulary_id", p.VocabularyID}, {"customization_id", p.CustomizationID}, {"audio_address", p.URL},
	} {
		if f.value != "" {
			q.Set(f.key, f.value)
		}
	}
	if t := p.SpeechNoiseThreshold; t != nil {
		if math.IsNaN(*t) || *t < -1 || *t > 1 {
			return nil, &ParamError{"SpeechNoiseThreshold", *t, "must be from -1 to 1"}
		}
		q.Set("speech_noise_threshold", strconv.FormatFloat(*t, 'f', -1, 64))
	}
	if n := p.SentenceMaxLength; n != 0 {
		if n < 4 || n > 50 {
			return nil, &ParamError{"SentenceMaxLength", n, "must be from 4 to 50"}
		}
		q.Set("sentence_max_length", strconv.Itoa(n))
	}
	for key, v := range p.Extra {
		text, err := extraText(v)
		if err != nil {
			return nil, err
		}
		q.Set(key, text)
	}
	if p.URL != "" && !q.Has("format") {
		format, err := formatOfURL(p.URL)
		if err != nil {
			return nil, err
		}
		q.Set("format", string(format))
	}
	if p.URL != "" && !q.Has("sample_rate") {
		q.Set("sample_rate", strconv.Itoa(DefaultSampleRate))
	}
	return q, nil
}

// checkSource checks that there is one source, and that it is not too large.
func (p *FileParams) checkSource(r io.Reader) error {
	switch {
	case p.URL != "" && r != nil:
		return &ParamError{"URL", shownURL(p.URL), "stands in the place of a Reader; give one of them"}
	case p.URL != "":
		return checkFileURL("URL", p.URL, true)
	case r == nil:
		return &ParamError{"audio", nil, "there is none: give a Reader, or set URL"}
	}
	if size := sizeOf(r); size > maxFlashFile {
		return &ParamError{"audio", size, "is more than the 100 MB that the service takes; see SubmitFile"}
	}
	return nil
}

// formatOfURL is what the extension in s says.
func formatOfURL(s string) (Format, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", checkFileURL("URL", s, true)
	}
	format := Format(strings.ToLower(strings.TrimPrefix(path.Ext(u.Path), ".")))
	switch format {
	case "m4a":
		format = FormatMP4
	case "ogg":
		format = FormatOpus
	}
	if !slices.Contains(flashFormats, format) {
		return "", &ParamError{"Format", nil, "must be set, for URL has no extension that says it"}
	}
	return format, nil
}

// formatOfFile is what the first bytes of a file say, and the model for it.
func formatOfFile(head []byte) (f Format, sampleRate int, err error) {
	sampleRate = DefaultSampleRate
	if isRIFF(head) {
		if h, err := readWAVHeader(bytes.NewReader(head)); err == nil && h.SampleRate == 8000 {
			sampleRate = 8000
		}
		return FormatWAV, sampleRate, nil
	}
	if _, tagged := id3Size(head); tagged {
		return FormatMP3, sampleRate, nil
	}
	if size, format := mpegFrame(head); size > 0 {
		return format, sampleRate, nil
	}
	for _, k := range kinds {
		switch {
		case len(head) < k.at || !bytes.HasPrefix(head[k.at:], []byte(k.magic)):
		case k.magic == "OggS":
			return FormatOpus, sampleRate, nil
		case k.magic == "ftyp":
			return FormatMP4, sampleRate, nil
		default:
			return "", 0, &ParamError{"audio", nil, fmt.Sprintf("%s, which the service does not take; %s", k.what, conversion(k.suffix, 0))}
		}
	}
	return "", 0, &ParamError{"audio", nil, "no WAV, MP3, AAC, MP4 or Ogg file; set Format if it is one, and write raw PCM with a WAVWriter"}
}

// admitFile waits for the place of a file. What Acquire gives too late is given back.
func (c *client) admitFile(ctx context.Context) (release func(), err error) {
	if c.session.Acquire == nil {
		return func() {}, nil
	}
	type place struct {
		release func()
		err     error
	}
	places := make(chan place)
	go func() {
		p := place{err: errors.New("it ended its goroutine")}
		defer func() {
			select {
			case places <- p:
			case <-ctx.Done():
				if p.release != nil {
					p.release()
				}
			}
		}()
		p.release, p.err = c.session.Acquire(ctx, flashNamespace)
	}()
	select {
	case p := <-places:
		switch {
		case p.err != nil && ctx.Err() != nil:
			return nil, fileContextError(ctx)
		case p.err != nil:
			return nil, fmt.Errorf("nls: limiter: %w", p.err)
		case p.release == nil:
			return func() {}, nil
		}
		return p.release, nil
	case <-ctx.Done():
		return nil, fileContextError(ctx)
	}
}

// fileContextError is the error of a RecognizeFile whose ctx has ended.
func fileContextError(ctx context.Context) error {
	switch err := context.Cause(ctx); {
	case errors.Is(err, ErrShutdown), errors.Is(err, ErrStartTimeout), errors.Is(err, ErrWriteTimeout):
		return err
	case err == ErrCompleteTimeout: // the bound of a file
		return fileTimeout{}
	}
	return session.ContextEnd(ctx, fileTimeout{})
}

// fileTimeout is ErrCompleteTimeout, whose text is about synthesis, for a file.
type fileTimeout struct{}

func (fileTimeout) Error() string { return "nls: recognize file: timed out" }
func (fileTimeout) Timeout() bool { return true }
func (fileTimeout) Unwrap() error { return ErrCompleteTimeout }

// refusesToken reports whether err refuses the token, as in a session.
func refusesToken(err error) bool {
	e, ok := errors.AsType[*TaskError](err)
	if !ok || !errors.Is(e, ErrAccessDenied) {
		return false
	}
	text := strings.ToLower(e.StatusText)
	return e.Status == 0 || strings.Contains(text, "token") || strings.Contains(text, "authorization")
}

// flashURL is the address of FlashRecognizer at the gateway, with what the gateway's
// own address has in its query.
func (c *client) flashURL() (*url.URL, error) {
	u, err := url.Parse(c.url.Value())
	if err != nil {
		return nil, &ParamError{"URL", nil, "is none"}
	}
	u.Scheme = map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/ws/v1")+flashPath, ""
	return u, nil
}

// sendFile sends a file, or its URL if file is nil, and returns the answer.
func (c *client) sendFile(ctx context.Context, query url.Values, token string, file *upload) (*FileResult, error) {
	u, err := c.flashURL()
	if err != nil {
		return nil, err
	}
	all := u.Query()
	all.Set("appkey", c.cfg.AppKey)
	all.Set("token", token)
	maps.Copy(all, query)
	u.RawQuery = all.Encode()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := &watchdog{cancel: cancel}
	defer watch.stop()
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { watch.bound(DefaultCompleteTimeout, ErrCompleteTimeout) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("nls: recognize file: %w", redact.Error(err, token))
	}
	c.setHeader(req, file)
	if file != nil {
		req.Body = &fileBody{file, ctx, watch, c.session.WriteTimeout}
		if req.ContentLength = file.size; file.size == 0 {
			req.ContentLength = -1
		}
	}
	watch.bound(DefaultStartTimeout, ErrStartTimeout)
	transport := c.fileTransport()
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // which follows no redirect, and puts no URL into its errors
	var body []byte
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxFileAnswer+1))
	}
	switch {
	case ctx.Err() != nil:
		return nil, fileContextError(ctx)
	case err == nil:
		return flashResult(resp, body, token)
	}
	cancel(nil) // so that no Read goes on
	if err := file.failure(); err != nil {
		return nil, err
	}
	if e, ok := errors.AsType[*ProxyError](err); ok {
		return nil, e
	}
	return nil, fmt.Errorf("nls: recognize file: %w", redact.Error(err, token))
}

// setHeader sets the header fields of Config and those of the request.
func (c *client) setHeader(req *http.Request, file *upload) {
	maps.Copy(req.Header, c.session.Header)
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if file == nil {
		req.Header.Set("Content-Type", "application/text")
	}
}

// fileTransport goes the way to the gateway that sessions go. It is for one request,
// since a Client needs no closing; but the request does not say so, for a server that
// refuses it before it has read the file might then hang up before its answer is read.
func (c *client) fileTransport() *http.Transport {
	cfg := c.session
	tls := cfg.TLSConfig.Clone()
	tls.NextProtos = nil
	return &http.Transport{
		Proxy:                  cfg.Proxy,
		OnProxyConnectResponse: checkProxyAnswer,
		TLSClientConfig:        tls,
		DialContext:            cfg.NetDialContext,
		WriteBufferSize:        pieceSize,
	}
}

// flashResult reads an answer of FlashRecognizer.
func flashResult(resp *http.Response, body []byte, token string) (*FileResult, error) {
	requestID := redact.Text(resp.Header.Get("X-NLS-RequestId"), token)
	if len(body) > maxFileAnswer {
		return nil, httpTaskError(flashNamespace, requestID, resp.StatusCode, fmt.Appendf(nil, "the answer is longer than %d bytes", maxFileAnswer))
	}
	var a struct {
		TaskID  wire.Text `json:"task_id"`
		Status  wire.Int  `json:"status"`
		Message wire.Text `json:"message"`
		Result  *struct {
			Duration  wire.Int        `json:"duration"`
			Sentences json.RawMessage `json:"sentences"`
		} `json:"flash_result"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Status == 0 && a.Result == nil {
		return nil, httpTaskError(flashNamespace, requestID, resp.StatusCode, body, token)
	}
	said := func(t wire.Text) string { return redact.Text(string(t), token) }
	taskID := cmp.Or(said(a.TaskID), requestID)
	if (a.Status == StatusOK || a.Status == 0) && a.Result == nil {
		return nil, httpTaskError(flashNamespace, taskID, resp.StatusCode, []byte("the answer has no flash_result"))
	}
	if a.Status != StatusOK && a.Status != 0 {
		e := &TaskError{
			Event:      Event{Namespace: flashNamespace, TaskID: taskID, Status: a.Status.Int(), StatusText: said(a.Message), Raw: body},
			HTTPStatus: resp.StatusCode,
		}
		if clean := redact.Text(string(body), token); clean != string(body) {
			e.redacted = clean
		}
		return nil, e
	}
	budget := elementBudget(&Event{Raw: body})
	return &FileResult{
		TaskID: taskID, Duration: a.Result.Duration.Milliseconds(), Raw: body,
		Sentences: decodeFileSentences(a.Result.Sentences, &budget),
	}, nil
}
