// Package pop calls the POP actions that NLS has: CreateToken, the token API of
// protocol §9, and those of file transcription, §10.5.
//
// It takes the request and its signature from alibaba-cloud-sdk-go and sends
// it with net/http. The HTTP client of that module would print signed URLs
// (DEBUG=sdk), give them to a global tracer and put them into its errors, knows
// no context, follows redirects to plain HTTP, and panics at an error answer
// whose Code is not a string.
package pop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"github.com/nlsgo/nls/internal/redact"
)

// maxAnswer bounds the answer of CreateToken that is read; a real one has about 300
// bytes. maxResult bounds all others: twelve hours of speech with the times of its
// words have about 20 MiB.
const (
	maxAnswer = 64 << 10
	maxResult = 64 << 20
)

// maxTime is the last second of the year 9999. A later expiry is nonsense.
const maxTime = 253402300799

// Request is one call of an action.
type Request struct {
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string // of a temporary (STS) key

	Host      string // "host" or "host:port", spoken to over HTTPS
	Version   string // of the API
	RegionID  string
	Transport http.RoundTripper

	// Of Call alone.
	Action string
	Method string            // "POST", the default, or "GET"
	Params map[string]string // of the action
}

// Result is a token.
type Result struct {
	ID     string
	Expiry time.Time // zero if the service did not say
}

// Error is a failed call. Neither it nor Err shows a key, a signature or a
// token.
type Error struct {
	Code       string // of the service
	Message    string
	RequestID  string
	HTTPStatus int   // 0 if there was no complete answer
	Err        error // of the transport or of ctx
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return strings.TrimPrefix(e.Code+": "+e.Message, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// CreateToken creates a token. Every error is an *Error. Only ctx bounds the
// time it takes.
func CreateToken(ctx context.Context, r Request) (Result, error) {
	r.Action = "CreateToken"
	status, body, secrets, err := r.send(ctx, maxAnswer)
	if err != nil {
		return Result{}, err
	}
	return parse(status, body, secrets)
}

// Answer is what the service says to Call.
type Answer struct {
	Body    []byte // a JSON object, as it came
	secrets func() []string
}

// Redact hides in s, a part of the answer, the key and the signature.
func (a *Answer) Redact(s string) string { return redact.Text(s, a.secrets()...) }

// Call calls r.Action. An answer of another HTTP status than 2xx, or with a Code, is an
// error. Every error is an *Error. Only ctx bounds the time it takes.
func Call(ctx context.Context, r Request) (*Answer, error) {
	status, body, secrets, err := r.send(ctx, maxResult)
	if err != nil {
		return nil, err
	}
	if err := refusal(status, body, secrets); err != nil {
		return nil, err
	}
	return &Answer{body, func() []string { return secrets }}, nil
}

// send sends r and returns the answer, of limit bytes and one more at most, and what
// must not be shown of it.
func (r Request) send(ctx context.Context, limit int64) (status int, body []byte, secrets []string, err error) {
	req, signature, err := r.sign(ctx)
	if err != nil {
		return 0, nil, nil, &Error{Err: err}
	}
	secrets = []string{r.AccessKeySecret, r.SecurityToken, r.AccessKeyID, signature}
	// A RoundTripper follows no redirect and wraps no URL around its errors.
	resp, err := r.Transport.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, &Error{Err: redact.Error(err, secrets...)}
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil {
		err = ctx.Err() // a server that sees us leave may end its answer in good order
	}
	if err != nil {
		return 0, nil, nil, &Error{Err: redact.Error(err, secrets...)}
	}
	return resp.StatusCode, body, secrets, nil
}

// sign builds the request. What it signs goes into the body, where no log of
// URLs, of a proxy or of the caller's Transport, sees it; the service takes
// both (protocol §9.2). A GET has no body.
func (r Request) sign(ctx context.Context) (req *http.Request, signature string, err error) {
	rpc := new(requests.RpcRequest)
	rpc.InitWithApiInfo("nls-cloud-meta", r.Version, r.Action, "", "")
	rpc.Scheme = requests.HTTPS
	rpc.Domain = r.Host
	rpc.Method = cmp.Or(r.Method, http.MethodPost)
	for k, v := range r.Params {
		rpc.QueryParams[k] = v
	}

	var provider credentials.CredentialsProvider = credentials.NewStaticAKCredentialsProvider(r.AccessKeyID, r.AccessKeySecret)
	if r.SecurityToken != "" {
		provider = credentials.NewStaticSTSCredentialsProvider(r.AccessKeyID, r.AccessKeySecret, r.SecurityToken)
	}
	if err := auth.Sign(rpc, nil, r.RegionID, provider); err != nil {
		return nil, "", err
	}
	form := make(url.Values)
	for k, v := range rpc.GetQueryParams() {
		form.Set(k, v)
	}
	endpoint := url.URL{Scheme: strings.ToLower(rpc.Scheme), Host: rpc.Domain, Path: "/"}
	var body io.Reader
	if rpc.Method == http.MethodGet {
		endpoint.RawQuery = form.Encode()
	} else {
		body = strings.NewReader(form.Encode())
	}
	req, err = http.NewRequestWithContext(ctx, rpc.Method, endpoint.String(), body)
	if err != nil {
		return nil, "", err
	}
	for k, v := range rpc.GetHeaders() {
		req.Header.Set(k, v)
	}
	return req, form.Get("Signature"), nil
}

// refusal is the error of an answer that is too long, is no JSON object, or that the
// POP layer has written (protocol §9.3).
func refusal(status int, body []byte, secrets []string) error {
	fail := func(message string) error { return &Error{Message: message, HTTPStatus: status} }
	if len(body) > maxResult {
		return fail(fmt.Sprintf("the answer is longer than %d bytes", maxResult))
	}
	var a answer
	if json.Unmarshal(body, &a) != nil { // whose text can show a piece of the answer
		return fail("the answer is not the JSON of the service")
	}
	if status/100 == 2 && a.Code == "" {
		return nil
	}
	said := func(s scalar) string { return redact.Text(string(s), secrets...) }
	e := &Error{Code: said(a.Code), Message: said(a.Message), RequestID: said(a.RequestID), HTTPStatus: status}
	if e.Code == "" && e.Message == "" {
		e.Message = "the answer has no code"
	}
	return e
}

// answer is what CreateToken says: Token, or ErrCode and ErrMsg, or Code and
// Message (protocol §9.3).
type answer struct {
	Token struct {
		ID         scalar `json:"Id"`
		ExpireTime scalar
	}
	RequestID    scalar `json:"RequestId"`
	NlsRequestID scalar `json:"NlsRequestId"`
	ErrCode      scalar
	ErrMsg       scalar
	Code         scalar
	Message      scalar
}

// parse reads the answer to a request with the given secrets. The service's
// SignatureDoesNotMatch shows the string that it signed, which has all but the
// AccessKeySecret in it, encoded twice.
func parse(status int, body []byte, secrets []string) (Result, error) {
	var a answer
	said := func(s scalar) string { return redact.Text(string(s), secrets...) }
	fail := func(code, message string) (Result, error) {
		return Result{}, &Error{Code: code, Message: message, RequestID: said(cmp.Or(a.RequestID, a.NlsRequestID)), HTTPStatus: status}
	}
	if len(body) > maxAnswer {
		return fail("", fmt.Sprintf("the answer is longer than %d bytes", maxAnswer))
	}
	// The text of a JSON error can show a piece of the answer.
	if err := json.Unmarshal(body, &a); err != nil {
		return fail("", "the answer is not the JSON of the token service")
	}
	if status/100 != 2 || a.Token.ID == "" {
		switch {
		case a.Code != "" || a.Message != "":
			return fail(said(a.Code), said(a.Message))
		case a.ErrCode != "" || a.ErrMsg != "":
			return fail(said(a.ErrCode), said(a.ErrMsg))
		}
		return fail("", "the answer has no token")
	}
	result := Result{ID: string(a.Token.ID)}
	if sec, err := json.Number(a.Token.ExpireTime).Int64(); err == nil && sec > 0 && sec <= maxTime {
		result.Expiry = time.Unix(sec, 0)
	}
	return result, nil
}

// scalar takes a string, a number or a boolean as text, and anything else as
// "".
type scalar string

func (s *scalar) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(s))
	case '{', '[', 'n':
		return nil
	}
	*s = scalar(b)
	return nil
}
