package nls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/nlsgo/nls/internal/session"
)

// Errors that callers are expected to test for with errors.Is. A deadline, the
// caller's own or a default of the SDK, always matches the Err...Timeout of the
// call and context.DeadlineExceeded; a cancelled context matches
// context.Canceled only. The timeouts have a method Timeout() bool.
var (
	ErrInvalidParameter = errors.New("nls: invalid parameter") // see ParamError
	ErrAccessDenied     = errors.New("nls: access denied")     // a refused token or voice: HandshakeError 401, 403; TaskError 40000001

	ErrAlreadyStarted  = session.ErrAlreadyStarted  // Start before the last session ended
	ErrNotStarted      = session.ErrNotStarted      // SendAudio, Stop... outside a session
	ErrStopping        = session.ErrStopping        // SendAudio after Stop
	ErrCompleted       = session.ErrCompleted       // SendAudio after the service completed the task by itself
	ErrShutdown        = session.ErrShutdown        // ended by Shutdown
	ErrStartTimeout    = session.ErrStartTimeout    // also matches context.DeadlineExceeded
	ErrStopTimeout     = session.ErrStopTimeout     // also matches context.DeadlineExceeded
	ErrCompleteTimeout = session.ErrCompleteTimeout // also matches context.DeadlineExceeded
	ErrPingTimeout     = session.ErrPingTimeout     // no pong within PingTimeout
	ErrWriteTimeout    = session.ErrWriteTimeout    // Config.WriteTimeout passed
)

// Status codes sent by the service (protocol §7). The list is not complete.
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
	StatusNoValidAudio          = 40270002
	StatusDecoderError          = 40270003
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

// TaskError is a TaskFailed message from the service.
type TaskError struct {
	Event // Status, StatusText, TaskID, Raw
}

func (e *TaskError) Error() string {
	return withTask(fmt.Sprintf("nls: task failed: %d %s", e.Status, e.StatusText), e.TaskID)
}

// Is reports whether e is a refusal of access and target is ErrAccessDenied.
func (e *TaskError) Is(target error) bool {
	return target == ErrAccessDenied && e.Status == StatusAccessDenied
}

// HandshakeError is an answer to the websocket upgrade that is not 101. The
// service refuses tokens this way (protocol §1.3).
type HandshakeError struct {
	HTTPStatus int    // 0 if the answer was not HTTP
	Body       string // at most 1 KiB; the session's token in it reads ***
	Err        error
}

func (e *HandshakeError) Error() string {
	switch {
	case e.HTTPStatus == 0, e.HTTPStatus == 101: // no refusal, but no websocket either
		return fmt.Sprintf("nls: handshake: %v", e.Err)
	case e.Body == "":
		return fmt.Sprintf("nls: handshake refused: HTTP %d", e.HTTPStatus)
	}
	return fmt.Sprintf("nls: handshake refused: HTTP %d: %s", e.HTTPStatus, strings.TrimSpace(e.Body))
}

func (e *HandshakeError) Unwrap() error { return e.Err }

// Is reports whether e is a refusal of access and target is ErrAccessDenied.
func (e *HandshakeError) Is(target error) bool {
	return target == ErrAccessDenied && (e.HTTPStatus == 401 || e.HTTPStatus == 403)
}

// CloseError is a connection that ended before the task did.
type CloseError struct {
	Code   int // websocket close code; -1 for a broken connection
	Reason string
	Err    error
}

func (e *CloseError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("nls: connection lost: %v", e.Err)
	case e.Reason != "":
		return fmt.Sprintf("nls: connection closed by the service: %d %s", e.Code, e.Reason)
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
	var b strings.Builder
	b.WriteString("nls: create token")
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Code == "" && e.Message == "" && e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.HTTPStatus)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", e.RequestID)
	}
	return b.String()
}

func (e *TokenError) Unwrap() error { return e.Err }

// ParamError names a parameter that the SDK refuses. It matches
// ErrInvalidParameter.
type ParamError struct {
	Param  string // Go field name, such as "SampleRate"
	Value  any
	Reason string
}

func (e *ParamError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("nls: invalid %s: %s", e.Param, e.Reason)
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
	t, ok := e.err.(interface{ Timeout() bool })
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
	if taskID == "" {
		return err
	}
	return &sessionError{taskID, err}
}

// TaskID returns the ID of the task that err ended, or "". Every error of a
// session that reached the gateway has one, and its text shows it.
func TaskID(err error) string {
	if e, ok := errors.AsType[*TaskError](err); ok {
		return e.TaskID
	}
	if e, ok := errors.AsType[*sessionError](err); ok {
		return e.taskID
	}
	return ""
}

// StatusCode returns the NLS status (not an HTTP status) in err's chain, or -1.
func StatusCode(err error) int {
	if e, ok := errors.AsType[*TaskError](err); ok {
		return e.Status
	}
	return -1
}

// Retryable reports whether a new session, opened after a pause, may succeed
// where err failed: broken connections, timeouts, HTTP 429 and 5xx, 5xxxxxxx,
// StatusIdleTimeout, StatusAudioTimeout, StatusTooManyRequests,
// StatusConcurrencyExceeded, throttled token lookups. It is false for bad
// parameters, refused credentials (Start has already tried a fresh token),
// failed certificate checks, expired trials, ErrShutdown and context.Canceled.
func Retryable(err error) bool {
	if e, ok := errors.AsType[*TaskError](err); ok {
		switch e.Status {
		case StatusIdleTimeout, StatusTooManyRequests, StatusAudioTimeout, StatusConcurrencyExceeded:
			return true
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
		return e.HTTPStatus/100 == 5 || strings.HasPrefix(e.Code, "Throttling") || e.Code == "ServiceUnavailable"
	}
	if errors.Is(err, context.Canceled) {
		return false
	}
	return retryableDial(err)
}

func retryableHTTP(status int) bool { return status == 408 || status == 429 || status/100 == 5 }

// retryableDial is Retryable for errors that come from package net and below, and
// from a proxy.
func retryableDial(err error) bool {
	if e, ok := errors.AsType[*session.ProxyError](err); ok {
		return retryableHTTP(e.HTTPStatus)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return !e.IsNotFound
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
