package nlsotel

import (
	"context"
	"errors"
	"strconv"

	"github.com/nlsgo/nls"
)

// ErrorType is a short name for what err is about, one of few, as the attribute
// error.type wants it: the status of the service ("40000005"), "http_503" for a
// handshake or a token lookup that was refused, "close_1006", "start_timeout",
// "canceled" and so on, "_OTHER" for what has no name.
func ErrorType(err error) string {
	if n := nls.StatusCode(err); n >= 0 {
		return strconv.Itoa(n)
	}
	if e, ok := errors.AsType[*nls.HandshakeError](err); ok {
		return "http_" + strconv.Itoa(e.HTTPStatus)
	}
	if e, ok := errors.AsType[*nls.CloseError](err); ok {
		return "close_" + strconv.Itoa(e.Code)
	}
	for _, s := range []struct {
		is   error
		name string
	}{
		{nls.ErrInvalidParameter, "invalid_parameter"}, {nls.ErrClientDrained, "drained"}, {nls.ErrShutdown, "shutdown"},
		{context.Canceled, "canceled"}, {nls.ErrStartTimeout, "start_timeout"}, {nls.ErrStopTimeout, "stop_timeout"},
		{nls.ErrCompleteTimeout, "complete_timeout"}, {nls.ErrPingTimeout, "ping_timeout"}, {nls.ErrWriteTimeout, "write_timeout"},
		{nls.ErrCompleted, "completed_early"}, {context.DeadlineExceeded, "deadline"},
	} {
		if errors.Is(err, s.is) {
			return s.name
		}
	}
	if _, ok := errors.AsType[*nls.ProxyError](err); ok {
		return "proxy"
	}
	if _, ok := errors.AsType[*nls.TokenError](err); ok {
		return "token"
	}
	return "_OTHER"
}

// interrupted reports whether the caller has ended a session with err.
func interrupted(err error) bool {
	return errors.Is(err, nls.ErrShutdown) || errors.Is(err, nls.ErrClientDrained) || errors.Is(err, context.Canceled)
}
