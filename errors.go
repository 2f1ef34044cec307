package nls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/socks"
)

// Errors that callers are expected to test for with errors.Is. A deadline, the
// caller's own or a default of the SDK, always matches the Err...Timeout of the
// call and context.DeadlineExceeded; a cancelled context matches context.Canceled.
// The end of the caller's context also matches its context.Cause, and is never
// [Retryable]. The timeouts have a method Timeout() bool.
var (
	ErrInvalidParameter = errors.New("nls: invalid parameter") // see ParamError
	ErrAccessDenied     = errors.New("nls: access denied")     // a refused token or voice: HandshakeError 401, 403; TaskError 40000001

	ErrAlreadyStarted  = session.ErrAlreadyStarted  // Start before the last session ended
	ErrNotStarted      = session.ErrNotStarted      // SendAudio, Stop... outside a session
	ErrStopping        = session.ErrStopping        // SendAudio after Stop
	ErrCompleted       = session.ErrCompleted       // SendAudio after the service completed the task by itself
	ErrClientDrained   = session.ErrDrained         // Start after Client.Drain
	ErrShutdown        = session.ErrShutdown        // ended by Shutdown
	ErrStartTimeout    = session.ErrStartTimeout    // also matches context.DeadlineExceeded
	ErrStopTimeout     = session.ErrStopTimeout     // also matches context.DeadlineExceeded
	ErrCompleteTimeout = session.ErrCompleteTimeout // also matches context.DeadlineExceeded
	ErrPingTimeout     = session.ErrPingTimeout     // no pong within PingTimeout
	ErrWriteTimeout    = session.ErrWriteTimeout    // Config.WriteTimeout passed
)

// Status codes sent by the service (docs/protocol.md, section 7). The list is not complete.
const (
	StatusOK                    = 20000000
	StatusClientError           = 40000000 // shared by several faults; read StatusText
	StatusAccessDenied          = 40000001 // bad or expired token, or no right to a voice
	StatusMessageInvalid        = 40000002
	StatusParameterInvalid      = 40000003
	StatusIdleTimeout           = 40000004 // nothing sent for ten seconds, or the service is overloaded
	StatusTooManyRequests       = 40000005 // over the concurrency or rate limit
	StatusContainerInvalid      = 40000009 // broken WAV header or Ogg page
	StatusTrialExpired          = 40000010 // also: product not activated, account in arrears
	StatusNamespaceNotFound     = 40010001
	StatusDirectiveNotSupported = 40010002
	StatusDirectiveInvalid      = 40010003
	StatusTaskStateError        = 40010005
	StatusAppKeyNotExist        = 40020105
	StatusAppKeyMismatch        = 40020106 // AppKey and token belong to different accounts
	StatusUnsupportedAudio      = 40270001 // RecognizeFile
	StatusNoValidAudio          = 40270002 // RecognizeFile: nobody speaks
	StatusDecoderError          = 40270003
	StatusNoAudioStream         = 40270004
	StatusDownloadFailed        = 40270006 // RecognizeFile: of FileParams.URL
	StatusUnsupportedFormat     = 41010100
	StatusUnsupportedSampleRate = 41010101
	StatusSpeechTooLong         = 41010104
	StatusSilentSpeech          = 41010105
	StatusSynthesisClientError  = 41020001 // unknown voice, bad SSML
	StatusAudioTimeout          = 41040201 // ten seconds without audio
	StatusConcurrencyExceeded   = 43040001
	StatusServerError           = 50000000
	StatusGRPCError             = 50000001
	StatusSynthesisServerError  = 51020001
)

// Status codes of the file service: of SubmitFile, FileStatus, WaitFile and
// ParseFileCallback. The first four are no failures.
const (
	StatusFileSuccess                  = 21050000
	StatusFileRunning                  = 21050001 // ErrFileRunning
	StatusFileQueueing                 = 21050002 // ErrFileRunning
	StatusFileNoValidFragment          = 21050003 // nobody speaks: a result without sentences
	StatusFileQuotaExceeded            = 41050001 // hours of audio of a trial, for example
	StatusFileDownloadFailed           = 41050002
	StatusFileCheckFailed              = 41050003
	StatusFileTooLarge                 = 41050004 // over 512 MB
	StatusFileNormalizeFailed          = 41050005
	StatusFileParseFailed              = 41050006
	StatusFileMKVParseFailed           = 41050007
	StatusFileUnsupportedSampleRate    = 41050008
	StatusFileUnsupportedASRGroup      = 41050009
	StatusFileTaskExpired              = 41050010 // or there is no such task
	StatusFileInvalidURL               = 41050011
	StatusFileInvalidCallback          = 41050012
	StatusFileParameterInvalid         = 41050013
	StatusFileEmptyAppKey              = 41050014
	StatusFileAppKeyUnregistered       = 41050015
	StatusFileRAMCheckFailed           = 41050021
	StatusFileContentLengthCheckFailed = 41050023
	StatusFileNotFound                 = 41050024 // HTTP 404 from the server of the file
	StatusFileForbidden                = 41050025 // HTTP 403 from the server of the file
	StatusFileServerError              = 41050026 // of the server of the file
	StatusFileNoWords                  = 41050029
	StatusFileTooLong                  = 41050103 // over 12 hours
	StatusFileInternalError            = 51050000
	StatusFileVADFailed                = 51050001
	StatusFileRecognizeFailed          = 51050002
	StatusFileRecognizeInterrupted     = 51050003
	StatusFileOfferInterrupted         = 51050004
	StatusFileTimeout                  = 51050005
	StatusFileFragmentFailed           = 51050006
)

// How much of what a peer says is in the text of an error. The fields have it all.
const (
	maxBodyShown = 200
	maxTextShown = 1000
)

// TaskError is a TaskFailed message from the service, or that of a file service.
type TaskError struct {
	Event // Status, StatusText, TaskID, Raw

	// HTTPStatus is that of the answer to RecognizeFile; else 0. An answer that is
	// not the service's own, such as one of a proxy, has no Status, and the start of
	// its body, up to 1 KiB, for a StatusText.
	HTTPStatus int
}

func (e *TaskError) Error() string {
	text, most := fmt.Sprintf("nls: task failed: %d", e.Status), maxTextShown
	if e.foreign() {
		text, most = fmt.Sprintf("nls: task failed: HTTP %d:", e.HTTPStatus), maxBodyShown
	}
	if said := redact.Line(e.StatusText, most); said != "" {
		text += " " + said
	} else {
		text = strings.TrimSuffix(text, ":")
	}
	return withTask(text, e.TaskID)
}

// foreign reports whether the answer is not the service's own.
func (e *TaskError) foreign() bool { return e.Status == 0 && e.HTTPStatus != 0 }

// LogValue returns the text of e.
func (e *TaskError) LogValue() slog.Value { return slog.StringValue(e.Error()) }

// Is reports whether e is a refusal of access and target is ErrAccessDenied.
func (e *TaskError) Is(target error) bool {
	return target == ErrAccessDenied && (e.Status == StatusAccessDenied || e.foreign() && (e.HTTPStatus == 401 || e.HTTPStatus == 403))
}

// HandshakeError is an answer to the websocket upgrade that is not 101. The
// service refuses tokens this way. Its text has the body in one
// line, of at most 200 characters.
type HandshakeError struct {
	HTTPStatus int    // 0 if the answer was not HTTP
	Body       string // as it came, at most 1 KiB; the session's token in it reads ***
	Err        error
}

func (e *HandshakeError) Error() string {
	if e.HTTPStatus == 0 || e.HTTPStatus == 101 { // no refusal, but no websocket either
		if e.Err == nil {
			return "nls: handshake failed"
		}
		return "nls: handshake: " + redact.Line(e.Err.Error(), maxTextShown)
	}
	text := fmt.Sprintf("nls: handshake refused: HTTP %d", e.HTTPStatus)
	if body := redact.Line(e.Body, maxBodyShown); body != "" {
		text += ": " + body
	}
	return text
}

func (e *HandshakeError) Unwrap() error { return e.Err }

// Is reports whether e is a refusal of access and target is ErrAccessDenied.
func (e *HandshakeError) Is(target error) bool {
	return target == ErrAccessDenied && (e.HTTPStatus == 401 || e.HTTPStatus == 403)
}

// ProxyError is a proxy that opens no connection, to the gateway or to the token
// service. It is no word of theirs: ErrAccessDenied does not match it.
type ProxyError struct {
	HTTPStatus int // of an HTTP proxy, such as 407; 0 for SOCKS
	SOCKSReply int // of a SOCKS5 proxy (RFC 1928), such as 5, connection refused; 255 for refused credentials; 0 for HTTP
}

func (e *ProxyError) Error() string {
	if e.SOCKSReply != 0 {
		return fmt.Sprintf("nls: proxy: SOCKS reply %d %s", e.SOCKSReply, socks.ReplyText(e.SOCKSReply))
	}
	return strings.TrimSpace(fmt.Sprintf("nls: proxy: HTTP %d %s", e.HTTPStatus, http.StatusText(e.HTTPStatus)))
}

// CloseError is a connection that ended before the task did.
type CloseError struct {
	Code   int    // websocket close code; -1 for a broken connection
	Reason string // the session's token in it reads ***
	Err    error
}

func (e *CloseError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("nls: connection lost: %v", e.Err)
	case e.Reason != "":
		return fmt.Sprintf("nls: connection closed by the service: %d %s", e.Code, redact.Line(e.Reason, maxTextShown))
	case e.Code == -1:
		return "nls: connection lost"
	}
	return fmt.Sprintf("nls: connection closed by the service: %d", e.Code)
}

func (e *CloseError) Unwrap() error { return e.Err }

// TokenError is a failure to create a token. Its text never has a key, a
// signature or a signed URL in it.
type TokenError struct {
	Code       string // such as "InvalidAccessKeyId.NotFound"
	Message    string
	RequestID  string
	HTTPStatus int // 0 if there was no response
	Err        error
}

func (e *TokenError) Error() string {
	return callError("create token", e.Code, e.Message, e.RequestID, e.HTTPStatus, e.Err)
}

func (e *TokenError) Unwrap() error { return e.Err }

// APIError is a call of the file service, of SubmitFile, FileStatus or WaitFile, that
// was refused or not answered. Its text never has a key, a signature or a signed URL
// in it. What became of a task is a *TaskError.
type APIError struct {
	Action     string // "SubmitTask" or "GetTaskResult"
	Code       string // such as "SignatureDoesNotMatch" or "Throttling.User"
	Message    string
	RequestID  string
	HTTPStatus int // 0 if there was no response
	Err        error
}

func (e *APIError) Error() string {
	return callError(e.Action, e.Code, e.Message, e.RequestID, e.HTTPStatus, e.Err)
}

func (e *APIError) Unwrap() error { return e.Err }

// callError is the text of a failed call of an action.
func callError(action, code, message, requestID string, httpStatus int, err error) string {
	var b strings.Builder
	b.WriteString("nls: " + action)
	for _, said := range []string{code, message} {
		if said = redact.Line(said, maxTextShown); said != "" {
			b.WriteString(": " + said)
		}
	}
	if code == "" && message == "" && err != nil {
		b.WriteString(": " + strings.TrimPrefix(err.Error(), "nls: "))
	}
	if httpStatus != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", httpStatus)
	}
	if requestID != "" {
		fmt.Fprintf(&b, " (request %s)", redact.Line(requestID, maxTextShown))
	}
	return b.String()
}

// ParamError names a parameter that the SDK refuses. It matches
// ErrInvalidParameter.
type ParamError struct {
	Param  string // Go field name, such as "SampleRate"
	Value  any
	Reason string
}

func (e *ParamError) Error() string {
	switch v := e.Value.(type) {
	case nil:
		return fmt.Sprintf("nls: invalid %s: %s", e.Param, e.Reason)
	case time.Duration: // whose %#v is a number
		return fmt.Sprintf("nls: invalid %s %v: %s", e.Param, v, e.Reason)
	}
	return fmt.Sprintf("nls: invalid %s %#v: %s", e.Param, e.Value, e.Reason)
}

// Is reports whether target is ErrInvalidParameter.
func (e *ParamError) Is(target error) bool { return target == ErrInvalidParameter }

// sessionError puts the task id to the error that ended a session.
type sessionError struct {
	taskID string
	err    error
}

func (e *sessionError) Error() string { return withTask(e.err.Error(), e.taskID) }
func (e *sessionError) Unwrap() error { return e.err }

func (e *sessionError) Timeout() bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.err)
	return ok && t.Timeout()
}

func withTask(text, taskID string) string {
	if taskID == "" {
		return text
	}
	return text + " (task " + taskID + ")"
}

// explain turns an error of the session core into the one that callers see.
// taskID is "" before the connection was open.
func explain(taskID string, err error) error {
	switch e := err.(type) {
	case *session.TaskFailed:
		return &TaskError{Event: newEvent(e.Event, nil)}
	case *session.HandshakeError:
		return (*HandshakeError)(e)
	case *session.CloseError:
		err = (*CloseError)(e)
	}
	if e, ok := errors.AsType[*session.ProxyError](err); ok {
		return (*ProxyError)(e)
	}
	if taskID == "" {
		return err
	}
	return &sessionError{taskID, err}
}

// TaskID returns the ID of the task that err ended, or "". Every error of a
// session that reached the gateway has one, and its text shows it.
func TaskID(err error) string {
	if e, ok := errors.AsType[*sessionError](err); ok { // before the cause of a context
		return e.taskID
	}
	if e, ok := errors.AsType[*TaskError](err); ok {
		return e.TaskID
	}
	return ""
}

// StatusCode returns the NLS status (not an HTTP status) in err's chain, or -1.
func StatusCode(err error) int {
	if e, ok := errors.AsType[*TaskError](err); ok && !e.foreign() {
		return e.Status
	}
	return -1
}

// Retryable reports whether a new session, opened after a pause, may succeed
// where err failed: broken connections, hosts that are not found, timeouts, HTTP
// 408, 429 and 5xx, also of a proxy, SOCKS replies about the network, 5xxxxxxx,
// StatusIdleTimeout, StatusAudioTimeout, StatusTooManyRequests,
// StatusConcurrencyExceeded, StatusFileServerError, throttled token lookups and calls
// of the file service. It is false for bad
// parameters and addresses, refused credentials (Start has already tried a fresh
// token), failed certificate checks, expired trials, ErrShutdown, and for the end of
// the caller's own context, whichever way it came: a deadline of the SDK says that the
// service was slow, one of the caller's that nobody waits any more.
//
// A host is not found when its name is wrong, but macOS and Windows say the same
// of any name while they are offline. A loop that goes on for ever over a wrong
// name shows in its log; one that gives up while a train is in a tunnel loses the
// session. So bound the loop.
func Retryable(err error) bool {
	if callersEnd(err) {
		return false
	}
	if e, ok := errors.AsType[*TaskError](err); ok {
		switch e.Status {
		case StatusIdleTimeout, StatusTooManyRequests, StatusAudioTimeout, StatusConcurrencyExceeded, StatusFileServerError:
			return true
		}
		if e.foreign() {
			return retryableHTTP(e.HTTPStatus)
		}
		return e.Status/10000000 == 5
	}
	if e, ok := errors.AsType[*HandshakeError](err); ok {
		return retryableHTTP(e.HTTPStatus)
	}
	if e, ok := errors.AsType[*CloseError](err); ok {
		switch {
		case e.Code == -1, e.Code == 1000, e.Code == 1001, e.Code == 1005, e.Code == 1006, e.Code/1000 == 4:
			return true
		}
		return e.Code >= 1011 && e.Code <= 1014
	}
	if e, ok := errors.AsType[*TokenError](err); ok && e.HTTPStatus != 0 {
		return retryableCall(e.HTTPStatus, e.Code)
	}
	if e, ok := errors.AsType[*APIError](err); ok && e.HTTPStatus != 0 {
		return retryableCall(e.HTTPStatus, e.Code)
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	return retryableDial(err)
}

// callersEnd reports whether err is the end of a context that the caller gave. A
// context.DeadlineExceeded is one, too, unless it is what else is said of a bound of
// the SDK.
func callersEnd(err error) bool {
	if _, ok := errors.AsType[*session.ContextError](err); ok {
		return true
	}
	switch err {
	case context.DeadlineExceeded:
		return true
	case ErrStartTimeout, ErrStopTimeout, ErrCompleteTimeout:
		return false
	}
	switch e := err.(type) {
	case *TokenError, *APIError: // lookups and calls have a bound
		return false
	case interface{ Unwrap() error }:
		return callersEnd(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), callersEnd)
	}
	return false
}

// retryableCall is Retryable for what the POP layer answers.
func retryableCall(status int, code string) bool {
	return retryableHTTP(status) || strings.HasPrefix(code, "Throttling") || code == "ServiceUnavailable"
}

func retryableHTTP(status int) bool { return status == 408 || status == 429 || status/100 == 5 }

// retryableDial is Retryable for errors that come from package net and below, and
// from a proxy.
func retryableDial(err error) bool {
	if e, ok := errors.AsType[*ProxyError](err); ok {
		switch e.SOCKSReply {
		case socks.GeneralFailure, socks.NetworkUnreachable, socks.HostUnreachable, socks.ConnectionRefused, socks.TTLExpired:
			return true
		}
		return retryableHTTP(e.HTTPStatus)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return false // no address, and none tomorrow
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return false
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return false
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return false
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return true
	}
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op != "remote error" && e.Op != "local error" // which are TLS alerts
}
