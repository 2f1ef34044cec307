package pop

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nlsgo/nls/internal/effort"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The marks are what no error and no output may show, in any encoding.
const (
	markID     = "MARKED*id"
	markSecret = "MARKED/secret"
	markSTS    = "MARKED+sts/~= "
	markToken  = "MARKEDtoken"
)

// service is a token service that answers with the given handler. It returns
// a Request that reaches it.
func service(t *testing.T, h http.HandlerFunc) Request {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return Request{
		AccessKeyID:     markID,
		AccessKeySecret: markSecret,
		SecurityToken:   markSTS,
		Host:            s.Listener.Addr().String(),
		Version:         "2019-02-28",
		RegionID:        "cn-shanghai",
		Transport:       s.Client().Transport,
	}
}

func answerWith(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// assertClean fails if a mark, or the signature, is in any error of the chain.
func assertClean(t *testing.T, err error, signature string) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		js, _ := json.Marshal(e)
		for _, text := range []string{e.Error(), fmt.Sprintf("%v %+v %#v %s", e, e, e, js)} {
			if strings.Contains(text, "MARKED") {
				t.Errorf("%T shows a secret: %.2000s", e, text)
			}
			if signature != "" && (strings.Contains(text, signature) || strings.Contains(text, url.QueryEscape(signature))) {
				t.Errorf("%T shows the signature: %.2000s", e, text)
			}
		}
	}
}

// The signature here is written from protocol §9.2, not with the SDK.
func signatureOf(method, secret string, params url.Values) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if k != "Signature" {
			pairs = append(pairs, escape(k)+"="+escape(params.Get(k)))
		}
	}
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	io.WriteString(mac, method+"&%2F&"+escape(strings.Join(pairs, "&")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestRequestIsSignedAndKeepsParametersOutOfTheURL(t *testing.T) {
	for _, sts := range []string{"", markSTS} {
		var method, uri string
		var form url.Values
		r := service(t, func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			method, uri, form = r.Method, r.RequestURI, r.PostForm
			io.WriteString(w, `{"Token":{"Id":"x","ExpireTime":1767323045}}`)
		})
		r.SecurityToken = sts
		if _, err := CreateToken(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if method != "POST" || uri != "/" {
			t.Errorf("%s %s, want POST /", method, uri)
		}
		want := map[string]string{
			"AccessKeyId": markID, "Action": "CreateToken", "Version": "2019-02-28", "Format": "JSON", "RegionId": "cn-shanghai",
			"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SecurityToken": sts,
			"Signature": signatureOf("POST", markSecret, form),
		}
		for k, v := range want {
			if form.Get(k) != v {
				t.Errorf("%s = %q, want %q", k, form.Get(k), v)
			}
		}
		if form.Has("SecurityToken") != (sts != "") {
			t.Error("SecurityToken of a key that has none")
		}
		if at, err := time.Parse("2006-01-02T15:04:05Z", form.Get("Timestamp")); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("Timestamp %q", form.Get("Timestamp"))
		}
		if form.Get("SignatureNonce") == "" {
			t.Error("no nonce")
		}
	}
}

func TestNoncesDiffer(t *testing.T) {
	var nonces []string
	r := service(t, func(w http.ResponseWriter, r *http.Request) {
		nonces = append(nonces, r.PostFormValue("SignatureNonce"))
		io.WriteString(w, `{"Token":{"Id":"x"}}`)
	})
	for range 50 {
		CreateToken(t.Context(), r)
	}
	slices.Sort(nonces)
	if len(slices.Compact(nonces)) != 50 {
		t.Error("a nonce came twice")
	}
}

func TestAnswers(t *testing.T) {
	effort.Long(t)
	long := `{"ErrMsg":"` + strings.Repeat("x", maxAnswer) + `"}`
	expiry := time.Unix(1767323045, 0)
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   Result
		err    *Error
	}{
		{"token", 200, `{"NlsRequestId":"n","RequestId":"R","ErrMsg":"","Token":{"ExpireTime":1767323045,"Id":"tok","UserId":"1"}}`, Result{"tok", expiry}, nil},
		{"token, new fields", 200, `{"Token":{"Id":"tok","ExpireTime":1767323045,"Scope":[1]},"More":{}}`, Result{"tok", expiry}, nil},
		{"token, numbers as text", 200, `{"Token":{"Id":"tok","ExpireTime":"1767323045"},"ErrCode":0}`, Result{"tok", expiry}, nil},
		{"token without expiry", 200, `{"Token":{"Id":"tok"}}`, Result{ID: "tok"}, nil},
		{"token with absurd expiry", 200, `{"Token":{"Id":"tok","ExpireTime":9223372036854775807}}`, Result{ID: "tok"}, nil},
		{"token with negative expiry", 200, `{"Token":{"Id":"tok","ExpireTime":-1}}`, Result{ID: "tok"}, nil},
		{"token with no number", 200, `{"Token":{"Id":"tok","ExpireTime":{}}}`, Result{ID: "tok"}, nil},
		{"empty id", 200, `{"RequestId":"R","Token":{"Id":""}}`, Result{}, &Error{Message: "the answer has no token", RequestID: "R", HTTPStatus: 200}},
		{"null token", 200, `{"Token":null}`, Result{}, &Error{Message: "the answer has no token", HTTPStatus: 200}},
		{"ErrCode", 200, `{"NlsRequestId":"n","ErrCode":50000000,"ErrMsg":"busy"}`, Result{}, &Error{Code: "50000000", Message: "busy", RequestID: "n", HTTPStatus: 200}},
		{"POP error", 404, `{"RequestId":"R","HostId":"h","Code":"InvalidAccessKeyId.NotFound","Message":"Specified access key is not found.","Recommend":"u"}`, Result{},
			&Error{Code: "InvalidAccessKeyId.NotFound", Message: "Specified access key is not found.", RequestID: "R", HTTPStatus: 404}},
		{"token in an error", 500, `{"Token":{"Id":"MARKEDtoken"}}`, Result{}, &Error{Message: "the answer has no token", HTTPStatus: 500}},
		{"Code is a number", 400, `{"Code":5,"Message":["x"],"RequestId":{}}`, Result{}, &Error{Code: "5", HTTPStatus: 400}},
		{"redirect", 302, ``, Result{}, &Error{Message: "the answer is not the JSON of the token service", HTTPStatus: 302}},
		{"HTML", 502, `<html>MARKEDtoken</html>`, Result{}, &Error{Message: "the answer is not the JSON of the token service", HTTPStatus: 502}},
		{"array", 200, `["MARKEDtoken"]`, Result{}, &Error{Message: "the answer is not the JSON of the token service", HTTPStatus: 200}},
		{"cut", 200, `{"Token":{"Id":"MARKEDtok`, Result{}, &Error{Message: "the answer is not the JSON of the token service", HTTPStatus: 200}},
		{"long", 200, long, Result{}, &Error{Message: "the answer is longer than 65536 bytes", HTTPStatus: 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := CreateToken(t.Context(), service(t, answerWith(c.status, c.body)))
			if got != c.want {
				t.Errorf("result %+v, want %+v", got, c.want)
			}
			if c.err == nil {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			e, ok := err.(*Error)
			if !ok || *e != *c.err {
				t.Errorf("error %#v, want %#v", err, c.err)
			}
			assertClean(t, err, "")
		})
	}
}

// The service explains SignatureDoesNotMatch with the string it signed, which
// has the access key ID and the security token in it.
func TestEchoedSecretsAreHidden(t *testing.T) {
	var signature string
	r := service(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		signature = r.PostForm.Get("Signature")
		canonical := r.PostForm.Encode()
		w.WriteHeader(400)
		echo, _ := json.Marshal(strings.Join([]string{
			canonical, url.QueryEscape(canonical), url.QueryEscape(strings.ReplaceAll(canonical, "+", "%20")),
			signature, markID, markSecret, markSTS,
		}, " "))
		fmt.Fprintf(w, `{"Code":"SignatureDoesNotMatch %s","Message":%s,"RequestId":%s}`, markID, echo, echo)
	})
	_, err := CreateToken(t.Context(), r)
	e, ok := errors.AsType[*Error](err)
	if !ok || e.HTTPStatus != 400 || !strings.Contains(e.Message, "CreateToken") || !strings.Contains(e.Message, "***") {
		t.Fatalf("%#v", err)
	}
	assertClean(t, err, signature)
	assertClean(t, errors.New(e.Message+e.RequestID+e.Code), signature)
}

// It once cost 160 ms of CPU at each lookup, and panicked at 400 kB with the key in
// the text.
func TestALongSecurityTokenIsNoBurden(t *testing.T) {
	effort.Long(t)
	r := service(t, answerWith(400, `{"Code":"InvalidSecurityToken","Message":"SecurityToken is `+markSTS+`"}`))
	r.SecurityToken = strings.Repeat(markSTS, effort.Times(400_000, 100_000)/len(markSTS))
	begin := time.Now()
	_, err := CreateToken(t.Context(), r)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "InvalidSecurityToken" {
		t.Errorf("%.200v", err)
	}
}

// A key may be a word, and our own words stay.
func TestOurOwnWordsStay(t *testing.T) {
	for body, want := range map[string]string{
		`x`:                              "the answer is not the JSON of the token service",
		`{}`:                             "the answer has no token",
		strings.Repeat(" ", 1+64<<10):    "the answer is longer than 65536 bytes",
		`{"Message":"the answer is no"}`: "*** *** is no",
	} {
		r := service(t, answerWith(400, body))
		r.AccessKeyID, r.AccessKeySecret, r.SecurityToken = "the", "answer", "bytes"
		_, err := CreateToken(t.Context(), r)
		if e, ok := errors.AsType[*Error](err); !ok || e.Message != want {
			t.Errorf("%.30s: %v", body, err)
		}
	}
}

func TestTransportErrors(t *testing.T) {
	effort.Long(t)
	stalled := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.ReadAll(r.Body) // or the server does not see that the client left
			if body != "" {
				io.WriteString(w, body)
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		}
	}
	hangup := func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }
	cancelled := func(d time.Duration) func(*testing.T, *Request) context.Context {
		return func(t *testing.T, r *Request) context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(d, cancel)
			return ctx
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		setup   func(*testing.T, *Request) context.Context
		check   func(error) bool
	}{
		{"cancelled while waiting", stalled(""), cancelled(20 * time.Millisecond), is(context.Canceled)},
		{"cancelled before", stalled(""), cancelled(0), is(context.Canceled)},
		{"cancelled while reading", stalled(`{"Token":`), cancelled(20 * time.Millisecond), is(context.Canceled)},
		{"deadline", stalled(""), func(t *testing.T, r *Request) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}, is(context.DeadlineExceeded)},
		{"hang-up", hangup, nil, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"cut answer", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"Token":{"Id":"MARKEDtoken"`)
		}, nil, is(io.ErrUnexpectedEOF)},
		{"refused", hangup, func(t *testing.T, r *Request) context.Context {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r.Host = l.Addr().String()
			l.Close()
			return t.Context()
		}, func(err error) bool { _, ok := errors.AsType[*net.OpError](err); return ok }},
		{"unknown authority", hangup, func(t *testing.T, r *Request) context.Context {
			tr := &http.Transport{}
			t.Cleanup(tr.CloseIdleConnections)
			r.Transport = tr
			return t.Context()
		}, func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok }},
		{"other host name", hangup, func(t *testing.T, r *Request) context.Context {
			_, port, _ := net.SplitHostPort(r.Host)
			r.Host = "localhost:" + port // the certificate names 127.0.0.1 and example.com
			return t.Context()
		}, func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok }},
		{"plain HTTP server", hangup, func(t *testing.T, r *Request) context.Context {
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a plain HTTP request") }))
			t.Cleanup(s.Close)
			r.Host = s.Listener.Addr().String()
			return t.Context()
		}, func(err error) bool { _, ok := errors.AsType[tls.RecordHeaderError](err); return ok }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := service(t, c.handler)
			ctx := t.Context()
			if c.setup != nil {
				ctx = c.setup(t, &r)
			}
			_, err := CreateToken(ctx, r)
			e, ok := err.(*Error)
			if !ok || e.HTTPStatus != 0 || !c.check(err) {
				t.Errorf("error %#v", err)
			}
			if strings.Contains(err.Error(), "://") {
				t.Errorf("a URL in %v", err)
			}
			assertClean(t, err, "")
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// A redirect would carry a signed request elsewhere, perhaps in clear text.
func TestRedirectsAreNotFollowed(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer plain.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := service(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", plain.URL)
			w.WriteHeader(status)
		})
		_, err := CreateToken(t.Context(), r)
		if e, ok := err.(*Error); !ok || e.HTTPStatus != status {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// alibaba-cloud-sdk-go prints requests when DEBUG says so, and looks for
// proxies and keys in the environment. DEBUG is read when the process starts.
func TestNothingIsPrintedAndTheEnvironmentIsNotUsed(t *testing.T) {
	if os.Getenv("DEBUG") == "sdk" {
		_, err := CreateToken(t.Context(), service(t, answerWith(200, `{"Token":{"Id":"`+markToken+`"}}`)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = CreateToken(t.Context(), service(t, answerWith(400, `{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:x"}`)))
		if err == nil {
			t.Fatal("no error")
		}
		return
	}
	if testing.Short() {
		t.Skip("starts a process")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "DEBUG=sdk", "NO_PROXY=(", "HTTPS_PROXY=http://%zz", "HOME="+t.TempDir(),
		"ALIBABA_CLOUD_ACCESS_KEY_ID=other", "ALIBABA_CLOUD_ECS_METADATA=other",
		"GORACE=atexit_sleep_ms=0") // the race detector would sleep a second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if text := strings.TrimSpace(string(out)); text != "PASS" && !strings.HasPrefix(text, "PASS\ncoverage:") {
		t.Errorf("printed:\n%s", out)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"Token":{"Id":"tok","ExpireTime":1767323045}}`))
	f.Add(200, []byte(`{"ErrCode":50000000,"ErrMsg":"busy"}`))
	f.Add(400, []byte(`{"Code":{"a":[1]},"Message":5}`))
	f.Add(500, []byte(`null`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		got, err := parse(status, body, []string{"MARKEDsecret"})
		if (err == nil) != (got.ID != "") {
			t.Errorf("result %+v with error %v", got, err)
		}
		if y := got.Expiry.Year(); err == nil && !got.Expiry.IsZero() && (y < 1969 || y > 10000) {
			t.Errorf("expiry %v", got.Expiry)
		}
		if err != nil && strings.Contains(err.Error(), "MARKEDsecret") {
			t.Errorf("not redacted: %v", err)
		}
	})
}
