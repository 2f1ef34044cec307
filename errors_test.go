package nls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

func taskError(status int) error {
	return &nls.TaskError{Event: nls.Event{Status: status, StatusText: "x", TaskID: "0123456789abcdef0123456789abcdef"}}
}

// The table of design §5.
func TestRetryable(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("nls: dial: %w", err) }
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err       error
		retryable bool
		denied    bool
	}{
		{nil, false, false},
		{errors.New("something else"), false, false},
		{&nls.ParamError{Param: "Format"}, false, false},
		{nls.ErrAlreadyStarted, false, false},
		{nls.ErrNotStarted, false, false},
		{nls.ErrStopping, false, false},
		{nls.ErrCompleted, false, false},
		{nls.ErrShutdown, false, false},
		{nls.ErrClientDrained, false, false},
		{context.Canceled, false, false},
		{&nls.TokenError{Err: context.Canceled}, false, false},

		{nls.ErrStartTimeout, true, false},
		{nls.ErrStopTimeout, true, false},
		{nls.ErrCompleteTimeout, true, false},
		{nls.ErrPingTimeout, true, false},
		{nls.ErrWriteTimeout, true, false},
		{context.DeadlineExceeded, false, false},                      // of a context, and so of the caller
		{&nls.TokenError{Err: context.DeadlineExceeded}, true, false}, // of a lookup

		{dial(op(os.NewSyscallError("connect", syscall.ECONNREFUSED))), true, false},
		{dial(op(os.NewSyscallError("connect", syscall.ENETUNREACH))), true, false},
		{dial(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}), true, false},
		{dial(op(os.ErrDeadlineExceeded)), true, false},
		{dial(io.EOF), true, false},
		{dial(io.ErrUnexpectedEOF), true, false},
		{dial(op(&net.DNSError{Err: "server misbehaving", IsTemporary: true})), true, false},
		{dial(op(&net.DNSError{Err: "no such host", IsNotFound: true})), true, false}, // what macOS and Windows say while offline
		{dial(op(&net.AddrError{Err: "missing port in address", Addr: "gateway"})), false, false},
		{dial(&net.AddrError{Err: "invalid port", Addr: "gateway:65536"}), false, false},
		{&nls.ProxyError{HTTPStatus: 403}, false, false},
		{&nls.ProxyError{HTTPStatus: 407}, false, false},
		{&nls.ProxyError{HTTPStatus: 429}, true, false},
		{&nls.ProxyError{HTTPStatus: 502}, true, false},
		{&nls.ProxyError{SOCKSReply: 1}, true, false},
		{&nls.ProxyError{SOCKSReply: 2}, false, false},
		{&nls.ProxyError{SOCKSReply: 3}, true, false},
		{&nls.ProxyError{SOCKSReply: 4}, true, false},
		{&nls.ProxyError{SOCKSReply: 5}, true, false},
		{&nls.ProxyError{SOCKSReply: 6}, true, false},
		{&nls.ProxyError{SOCKSReply: 7}, false, false},
		{&nls.ProxyError{SOCKSReply: 255}, false, false},
		{&nls.TokenError{Err: &nls.ProxyError{HTTPStatus: 407}}, false, false},
		{&nls.TokenError{Err: &nls.ProxyError{HTTPStatus: 503}}, true, false},
		{dial(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), false, false},
		{dial(x509.HostnameError{}), false, false},
		{dial(x509.UnknownAuthorityError{}), false, false},
		{dial(op(&tls.CertificateVerificationError{Err: x509.HostnameError{}})), false, false},
		{dial(op(x509.UnknownAuthorityError{})), false, false},
		{dial(op(tls.RecordHeaderError{})), false, false},
		{dial(op(tls.AlertError(40))), false, false},
		{dial(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), false, false},
		{dial(&net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}), false, false},
		{errors.Join(io.EOF, errors.New("something else")), true, false},
		{errors.Join(io.EOF, context.DeadlineExceeded), false, false},
		{dial(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), false, false},
		{dial(&net.OpError{Op: "remote error", Err: tls.AlertError(40)}), false, false},

		{&nls.HandshakeError{HTTPStatus: 401}, false, true},
		{&nls.HandshakeError{HTTPStatus: 403}, false, true},
		{&nls.HandshakeError{HTTPStatus: 408}, true, false},
		{&nls.HandshakeError{HTTPStatus: 429}, true, false},
		{&nls.HandshakeError{HTTPStatus: 500}, true, false},
		{&nls.HandshakeError{HTTPStatus: 503}, true, false},
		{&nls.HandshakeError{HTTPStatus: 404}, false, false},
		{&nls.HandshakeError{HTTPStatus: 101}, false, false},
		{&nls.HandshakeError{Err: errors.New("malformed HTTP response")}, false, false},

		{&nls.CloseError{Code: 1000}, true, false},
		{&nls.CloseError{Code: 1001}, true, false},
		{&nls.CloseError{Code: 1005}, true, false},
		{&nls.CloseError{Code: 1006}, true, false},
		{&nls.CloseError{Code: -1, Err: io.ErrUnexpectedEOF}, true, false},
		{&nls.CloseError{Code: 1002}, false, false},
		{&nls.CloseError{Code: 1003}, false, false},
		{&nls.CloseError{Code: 1007}, false, false},
		{&nls.CloseError{Code: 1009, Err: errors.New("websocket: read limit exceeded")}, false, false},
		{&nls.CloseError{Code: 1010}, false, false},
		{&nls.CloseError{Code: 1011}, true, false},
		{&nls.CloseError{Code: 1014}, true, false},
		{&nls.CloseError{Code: 1015}, false, false},
		{&nls.CloseError{Code: 4000}, true, false},
		{&nls.CloseError{Code: 4999}, true, false},

		{taskError(nls.StatusServerError), true, false},
		{taskError(nls.StatusSynthesisServerError), true, false},
		{taskError(nls.StatusIdleTimeout), true, false},
		{taskError(nls.StatusTooManyRequests), true, false},
		{taskError(nls.StatusAudioTimeout), true, false},
		{taskError(nls.StatusConcurrencyExceeded), true, false},
		{taskError(nls.StatusAccessDenied), false, true},
		{taskError(nls.StatusClientError), false, false},
		{taskError(nls.StatusTrialExpired), false, false},
		{taskError(nls.StatusAppKeyNotExist), false, false},

		{taskError(nls.StatusFileServerError), true, false},
		{taskError(nls.StatusFileInternalError), true, false},
		{taskError(nls.StatusFileNotFound), false, false},
		{taskError(nls.StatusFileQuotaExceeded), false, false},
		{taskError(nls.StatusNoValidAudio), false, false},
		{nls.ErrFileRunning, false, false},
		{&nls.TaskError{HTTPStatus: 401}, false, true},
		{&nls.TaskError{HTTPStatus: 403}, false, true},
		{&nls.TaskError{HTTPStatus: 404}, false, false},
		{&nls.TaskError{HTTPStatus: 408}, true, false},
		{&nls.TaskError{HTTPStatus: 429}, true, false},
		{&nls.TaskError{HTTPStatus: 502}, true, false},
		{&nls.TaskError{Event: nls.Event{Status: nls.StatusAppKeyNotExist}, HTTPStatus: 403}, false, false},
		{&nls.TaskError{Event: nls.Event{Status: nls.StatusIdleTimeout}, HTTPStatus: 400}, true, false},
		{&nls.APIError{Err: op(syscall.ECONNREFUSED)}, true, false},
		{&nls.APIError{Err: context.DeadlineExceeded}, true, false},
		{&nls.APIError{Err: context.Canceled}, false, false},
		{&nls.APIError{HTTPStatus: 400, Code: "Throttling.User"}, true, false},
		{&nls.APIError{HTTPStatus: 503, Code: "ServiceUnavailable"}, true, false},
		{&nls.APIError{HTTPStatus: 400, Code: "SignatureDoesNotMatch"}, false, false},
		{&nls.APIError{HTTPStatus: 400, Code: "ServiceUnavailable"}, true, false},
		{&nls.APIError{HTTPStatus: 200}, false, false},

		{&nls.TokenError{Err: op(syscall.ECONNREFUSED)}, true, false},
		{&nls.TokenError{HTTPStatus: 502}, true, false},
		{&nls.TokenError{HTTPStatus: 429}, true, false},
		{&nls.TokenError{HTTPStatus: 429, Message: "the answer is not the JSON of the token service"}, true, false},
		{&nls.TokenError{HTTPStatus: 408}, true, false},
		{&nls.TokenError{HTTPStatus: 400, Code: "Throttling.User"}, true, false},
		{&nls.TokenError{HTTPStatus: 503, Code: "ServiceUnavailable"}, true, false},
		{&nls.TokenError{HTTPStatus: 400, Code: "SignatureDoesNotMatch"}, false, false},
		{&nls.TokenError{HTTPStatus: 404, Code: "InvalidAccessKeyId.NotFound"}, false, false},
		{&nls.TokenError{HTTPStatus: 403, Code: "Forbidden.RAM"}, false, false},
	} {
		for _, err := range []error{c.err, wrap(c.err)} {
			if got := nls.Retryable(err); got != c.retryable {
				t.Errorf("Retryable(%v) = %v", err, got)
			}
			if got := errors.Is(err, nls.ErrAccessDenied); got != c.denied {
				t.Errorf("%v matches ErrAccessDenied: %v", err, got)
			}
			if errors.Is(err, errAny) {
				t.Errorf("%v matches any error", err)
			}
		}
	}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("wrapped: %w", err)
}

func TestTimeoutsMatchWhatProgramsTestFor(t *testing.T) {
	for _, c := range []struct {
		err      error
		deadline bool
	}{
		{nls.ErrStartTimeout, true},
		{nls.ErrStopTimeout, true},
		{nls.ErrCompleteTimeout, true},
		{nls.ErrPingTimeout, false},
		{nls.ErrWriteTimeout, false},
	} {
		if errors.Is(c.err, context.DeadlineExceeded) != c.deadline {
			t.Errorf("%v and context.DeadlineExceeded", c.err)
		}
		var timeout interface{ Timeout() bool }
		if !errors.As(wrap(c.err), &timeout) || !timeout.Timeout() {
			t.Errorf("%v has no Timeout", c.err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{taskError(40000004), "nls: task failed: 40000004 x (task 0123456789abcdef0123456789abcdef)"},
		{&nls.HandshakeError{HTTPStatus: 403, Body: "Meta:ACCESS_DENIED:The token '***' is invalid!\n"}, "nls: handshake refused: HTTP 403: Meta:ACCESS_DENIED:The token '***' is invalid!"},
		{&nls.HandshakeError{HTTPStatus: 502}, "nls: handshake refused: HTTP 502"},
		{&nls.HandshakeError{Err: errors.New("malformed")}, "nls: handshake: malformed"},
		{&nls.CloseError{Code: 1011, Reason: "oops"}, "nls: connection closed by the service: 1011 oops"},
		{&nls.CloseError{Code: 1000}, "nls: connection closed by the service: 1000"},
		{&nls.CloseError{Code: -1, Err: io.ErrUnexpectedEOF}, "nls: connection lost: unexpected EOF"},
		{&nls.TokenError{Code: "C", Message: "m", RequestID: "r", HTTPStatus: 400}, "nls: create token: C: m (HTTP 400) (request r)"},
		{&nls.TokenError{Err: io.EOF}, "nls: create token: EOF"},
		{&nls.APIError{Action: "SubmitTask", Code: "C\n", Message: "a\nb", RequestID: "r", HTTPStatus: 400}, "nls: SubmitTask: C: a b (HTTP 400) (request r)"},
		{&nls.APIError{Action: "GetTaskResult", Err: io.EOF}, "nls: GetTaskResult: EOF"},
		{&nls.TaskError{Event: nls.Event{Status: 40000004, StatusText: "x", TaskID: "t"}, HTTPStatus: 400}, "nls: task failed: 40000004 x (task t)"},
		{&nls.TaskError{HTTPStatus: 502}, "nls: task failed: HTTP 502"},
		{&nls.TaskError{Event: nls.Event{StatusText: "<html>\r\n" + strings.Repeat("x", 1000)}, HTTPStatus: 502}, "nls: task failed: HTTP 502: <html> " + strings.Repeat("x", 192) + "…"},
		{&nls.ParamError{Param: "Channels", Value: 2, Reason: "the service takes one channel"}, "nls: invalid Channels 2: the service takes one channel"},
		{&nls.ParamError{Param: "AppKey", Reason: "must not be empty"}, "nls: invalid AppKey: must not be empty"},
		{&nls.ParamError{Param: "Timeout", Value: -2 * time.Second, Reason: "x"}, "nls: invalid Timeout -2s: x"},
		{&nls.ParamError{Param: "Format", Value: nls.Format("PCM"), Reason: "x"}, `nls: invalid Format "PCM": x`},
		{&nls.ProxyError{HTTPStatus: 407}, "nls: proxy: HTTP 407 Proxy Authentication Required"},
		{&nls.ProxyError{HTTPStatus: 799}, "nls: proxy: HTTP 799"},
		{&nls.ProxyError{SOCKSReply: 5}, "nls: proxy: SOCKS reply 5 connection refused"},
		{&nls.TokenError{Err: &nls.ProxyError{HTTPStatus: 407}}, "nls: create token: proxy: HTTP 407 Proxy Authentication Required"},

		// Where there is nothing to say, there is no hole.
		{&nls.TaskError{Event: nls.Event{Status: 40000005, TaskID: "t"}}, "nls: task failed: 40000005 (task t)"},
		{&nls.TaskError{Event: nls.Event{Status: 40000005, StatusText: " \n", TaskID: "t"}}, "nls: task failed: 40000005 (task t)"},
		{&nls.TaskError{Event: nls.Event{Status: 40000005}}, "nls: task failed: 40000005"},
		{&nls.HandshakeError{HTTPStatus: 502, Body: "\r\n"}, "nls: handshake refused: HTTP 502"},
		{&nls.HandshakeError{HTTPStatus: 101}, "nls: handshake failed"},
		{&nls.HandshakeError{}, "nls: handshake failed"},
		{&nls.CloseError{Code: -1}, "nls: connection lost"},
		{&nls.TokenError{}, "nls: create token"},
		{&nls.TokenError{Message: "m"}, "nls: create token: m"},
		{&nls.TokenError{Message: "m", Err: io.EOF}, "nls: create token: m"},
		{&nls.TokenError{Code: "C", Err: io.EOF}, "nls: create token: C"},
		{&nls.TaskError{}, "nls: task failed: 0"},

		// What a peer says is one line, and of some length only.
		{&nls.HandshakeError{HTTPStatus: 403, Body: "<html>\r\n\t<h1>No</h1>\r\n\x1b[2J</html>"}, "nls: handshake refused: HTTP 403: <html> <h1>No</h1> [2J</html>"},
		{&nls.HandshakeError{HTTPStatus: 403, Body: strings.Repeat("你", 200)}, "nls: handshake refused: HTTP 403: " + strings.Repeat("你", 200)},
		{&nls.HandshakeError{HTTPStatus: 403, Body: strings.Repeat("你", 201)}, "nls: handshake refused: HTTP 403: " + strings.Repeat("你", 199) + "…"},
		{&nls.CloseError{Code: 1011, Reason: strings.Repeat("x", 1000)}, "nls: connection closed by the service: 1011 " + strings.Repeat("x", 1000)},
		{&nls.CloseError{Code: 1011, Reason: strings.Repeat("x", 1001)}, "nls: connection closed by the service: 1011 " + strings.Repeat("x", 999) + "…"},
		{taskErrorSaying("a\nb\x00"), "nls: task failed: 40000000 a b (task t)"},
		{&nls.CloseError{Code: 1011, Reason: "a\nb"}, "nls: connection closed by the service: 1011 a b"},
		{&nls.TokenError{Code: "C\n", Message: "a\nb", RequestID: "r\n"}, "nls: create token: C: a b (request r)"},
		{&nls.HandshakeError{Err: errors.New("malformed\n")}, "nls: handshake: malformed"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	long := strings.Repeat("x", 1<<20)
	for _, err := range []error{
		taskErrorSaying(long), &nls.CloseError{Reason: long}, &nls.TokenError{Message: long}, &nls.TokenError{RequestID: long},
		&nls.TokenError{Code: long}, &nls.HandshakeError{Err: errors.New(long)},
	} {
		if n := len(err.Error()); n > 1100 {
			t.Errorf("the text of a %T has %d bytes", err, n)
		}
	}
}

func taskErrorSaying(text string) error {
	return &nls.TaskError{Event: nls.Event{Status: 40000000, StatusText: text, TaskID: "t"}}
}

func TestStatusCodeAndTaskIDLookIntoTheChain(t *testing.T) {
	err := wrap(taskError(40000005))
	if nls.StatusCode(err) != 40000005 || nls.TaskID(err) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("%d %q", nls.StatusCode(err), nls.TaskID(err))
	}
	if got := nls.StatusCode(&nls.TaskError{HTTPStatus: 502}); got != -1 {
		t.Errorf("StatusCode of an answer that is not the service's own: %d", got)
	}
	if nls.StatusCode(io.EOF) != -1 || nls.StatusCode(nil) != -1 || nls.TaskID(io.EOF) != "" || nls.TaskID(nil) != "" {
		t.Error("found a status or id where there is none")
	}
}
