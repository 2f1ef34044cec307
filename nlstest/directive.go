package nlstest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wire"
)

// failure is the status and text of a TaskFailed.
type failure struct {
	status int
	text   string
}

// The failures of protocol §7 that more than one place reports.
var (
	errNoHeader      = &failure{nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Missing message header!"}
	errNoAppKey      = &failure{nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Missing message appkey!"}
	errNoText        = &failure{nls.StatusDirectiveInvalid, "Gateway:DIRECTIVE_INVALID:No text specified!"}
	errNotWorking    = &failure{nls.StatusTaskStateError, "Gateway:TASK_STATE_ERROR:State is not WORKING, empty body data or appkey illegal, can not handle last content!"}
	errDecode        = &failure{nls.StatusDecoderError, "DECODE_ERROR"}
	errServer        = &failure{nls.StatusServerError, "Gateway:SERVER_ERROR:Server error!"}
	errTooMany       = &failure{nls.StatusTooManyRequests, "Gateway:TOO_MANY_REQUESTS:Too many requests!"}
	errUnknownSpace  = &failure{nls.StatusNamespaceNotFound, "Gateway:NAMESPACE_NOT_FOUND:RESTful url path illegal!"}
	errAudioTimeout  = &failure{nls.StatusAudioTimeout, "Realtime:GET_CLIENT_DATA_TIMEOUT:Client data does not send continuously!"}
	errNoAudio       = &failure{nls.StatusClientError, "Gateway:CLIENT_ERROR:Empty audio data!"}
	errSpeechTooLong = &failure{nls.StatusSpeechTooLong, "TOO_LONG_SPEECH"}
	errSilent        = &failure{nls.StatusSilentSpeech, "SILENT_SPEECH"}
)

// usualText is a text of protocol §7 for a status: one of the service's own if it has
// one that does not quote the client.
func usualText(status int) string {
	switch status {
	case nls.StatusAccessDenied:
		return "Gateway:ACCESS_DENIED:Missing authorization header!"
	case nls.StatusIdleTimeout:
		return "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time!"
	case nls.StatusTrialExpired:
		return "Gateway:FREE_TRIAL_EXPIRED:The free trial has expired!"
	case nls.StatusAppKeyNotExist:
		return appKeyNotExist
	case nls.StatusAppKeyMismatch:
		return appKeyMismatch
	}
	for _, f := range []*failure{
		errNoHeader, errNoText, errNotWorking, errDecode, errServer, errTooMany, errUnknownSpace, errAudioTimeout, errNoAudio, errSpeechTooLong, errSilent,
	} {
		if f.status == status {
			return f.text
		}
	}
	if status/10_000_000 == 5 {
		return errServer.text
	}
	return "Gateway:CLIENT_ERROR:Client error!"
}

func invalidPayload(d *directive) *failure {
	return &failure{nls.StatusDirectiveInvalid,
		fmt.Sprintf("Gateway:DIRECTIVE_INVALID:Invalid payload for event '%s.%s'!", quotable(d.namespace), quotable(d.name))}
}

func invalidField(field, value string) *failure {
	return &failure{nls.StatusDirectiveInvalid, fmt.Sprintf("Gateway:DIRECTIVE_INVALID:Invalid %s '%s'!", field, quotable(value))}
}

func unsupportedDirective(d *directive) *failure {
	return &failure{nls.StatusDirectiveNotSupported,
		fmt.Sprintf("Gateway:DIRECTIVE_NOT_SUPPORTED:Directive '%s.%s' is not supported!", quotable(d.namespace), quotable(d.name))}
}

func invalidTaskID(id string) *failure {
	return &failure{nls.StatusMessageInvalid, fmt.Sprintf("Gateway:MESSAGE_INVALID:Invalid task id '%s'!", quotable(id))}
}

// quotable is s, cut short: a text that quotes the client must not grow beyond
// a frame.
func quotable(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s[:len(s)-1] + "…"
}

// object is a JSON object. Unlike the fields of a struct its keys match exactly,
// as they do in the service.
type object map[string]json.RawMessage

// str is the string at key, or, for the text of a failure, what is there in its
// place.
func (o object) str(key string) (s string, ok bool) {
	raw, found := o[key]
	if !found {
		return "null", false
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return string(raw), false
	}
	return s, true
}

// directive is a text message of a client.
type directive struct {
	appKey    string
	taskID    string
	namespace string
	name      string
	payload   object // nil if the payload is absent, null or no object
}

// parseDirective reads the envelope of a directive (protocol §2.1). Whatever the
// failure, the task ID is filled in when the message has a valid one.
func parseDirective(data []byte) (directive, *failure) {
	var frame, header object
	if json.Unmarshal(data, &frame) != nil || json.Unmarshal(frame["header"], &header) != nil || header == nil {
		return directive{}, errNoHeader
	}
	var d directive
	taskID, _ := header.str("task_id")
	if wire.ValidID(taskID) {
		d.taskID = taskID
	}
	if id, _ := header.str("message_id"); !wire.ValidID(id) {
		return d, &failure{nls.StatusMessageInvalid, fmt.Sprintf("Gateway:MESSAGE_INVALID:Invalid message id '%s'!", quotable(id))}
	}
	if d.taskID == "" {
		return d, invalidTaskID(taskID)
	}
	var ok bool
	if d.appKey, ok = header.str("appkey"); !ok || d.appKey == "" {
		return d, errNoAppKey
	}
	d.namespace, _ = header.str("namespace")
	d.name, _ = header.str("name")
	if json.Unmarshal(frame["payload"], &d.payload) != nil {
		d.payload = nil
	}
	return d, nil
}

// params reads the parameters in the payload of a directive and keeps the first
// failure. A parameter that is absent or null has its default.
type params struct {
	d      *directive
	failed *failure
}

// paramsOf returns the parameters of d, which must have a payload.
func paramsOf(d *directive) *params {
	p := &params{d: d}
	if d.payload == nil {
		p.fail(invalidPayload(d))
	}
	return p
}

func (p *params) fail(f *failure) {
	if p.failed == nil {
		p.failed = f
	}
}

// read decodes the parameter key into v and reports whether it is there.
func (p *params) read(key string, v any) bool {
	raw, ok := p.d.payload[key]
	if !ok || string(raw) == "null" {
		return false
	}
	if json.Unmarshal(raw, v) != nil {
		p.fail(invalidPayload(p.d))
		return false
	}
	return true
}

func (p *params) str(key, def string) string {
	var s string
	if p.read(key, &s) {
		return s
	}
	return def
}

func (p *params) bool(key string) (b bool) {
	p.read(key, &b)
	return b
}

// int is the integer at key, which must be within lo and hi.
func (p *params) int(key string, def, lo, hi int) int {
	var n int64 // as wide on each machine
	if !p.read(key, &n) {
		return def
	}
	if n < int64(lo) || n > int64(hi) {
		p.fail(invalidField(key, strconv.FormatInt(n, 10)))
	}
	return int(n)
}

// check looks at the types of parameters that no engine here makes use of.
func (p *params) check(sample func() any, keys ...string) {
	for _, key := range keys {
		p.read(key, sample())
	}
}

// oneOf reports whether the parameter value is one of those allowed.
func oneOf[T comparable](value T, allowed ...T) bool { return slices.Contains(allowed, value) }
