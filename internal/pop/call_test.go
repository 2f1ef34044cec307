package pop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestACallHasItsParametersWhereItsMethodHasThem(t *testing.T) {
	for _, method := range []string{"", "POST", "GET"} {
		var got *http.Request
		var query, form url.Values
		r := service(t, func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.Query()
			_ = r.ParseForm()
			got, form = r, r.PostForm
			io.WriteString(w, `{"TaskId":"t1"}`)
		})
		r.Action, r.Method, r.Params = "GetTaskResult", method, map[string]string{"TaskId": "t 1"}
		a, err := Call(t.Context(), r)
		if err != nil || string(a.Body) != `{"TaskId":"t1"}` {
			t.Fatalf("%s: %v, %v", method, a, err)
		}
		has, empty := form, query
		if method == "GET" {
			has, empty = query, form
		}
		if want := strings.TrimSpace(method + " POST")[:3]; !strings.HasPrefix(got.Method, want) || has.Get("TaskId") != "t 1" || has.Get("Action") != "GetTaskResult" ||
			has.Get("Signature") != signatureOf(got.Method, markSecret, has) || len(empty) != 0 {
			t.Errorf("%q: %s with %v, and %v", method, got.Method, has, empty)
		}
		if a.Redact("x "+markSecret) == "x "+markSecret {
			t.Error("Redact hides no key")
		}
	}
}

func TestWhichAnswersOfACallAreRefusals(t *testing.T) {
	for _, c := range []struct {
		status        int
		body          string
		code, message string // none for an answer
	}{
		{200, `{}`, "", ""},
		{299, `{"StatusCode":1}`, "", ""},
		{200, `{"Code":null,"Message":"fine"}`, "", ""},
		{200, `{"Code":"C","Message":"m"}`, "C", "m"},
		{200, `{"Code":7}`, "7", ""},
		{300, `{}`, "", "the answer has no code"},
		{199, `{"Message":"m"}`, "", "m"},
		{400, `{"Code":"C"}`, "C", ""},
		{400, `{"Code":"C","Message":"m"}`, "C", "m"},
		{500, `{"Message":"m"}`, "", "m"},
		{200, `<html>`, "", "the answer is not the JSON of the service"},
		{503, `<html>`, "", "the answer is not the JSON of the service"},
	} {
		err := refusal(c.status, []byte(c.body), nil)
		if c.code == "" && c.message == "" {
			if err != nil {
				t.Errorf("%d %s: %v", c.status, c.body, err)
			}
			continue
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code || e.Message != c.message || e.HTTPStatus != c.status {
			t.Errorf("%d %s: %+v", c.status, c.body, err)
		}
	}
	r := service(t, answerWith(403, `{"Code":"C","Message":"m","RequestId":"R"}`))
	if a, err := Call(t.Context(), r); a != nil || err == nil || err.(*Error).RequestID != "R" {
		t.Errorf("%v, %v", a, err)
	}
	r.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	if a, err := Call(t.Context(), r); a != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken network: %v, %v", a, err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// ending is the body of an answer: it is all there, but what happens at its end.
type ending struct {
	io.Reader
	end    func()
	closed bool
}

func (b *ending) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.end()
	}
	return n, err
}

func (b *ending) Close() error { b.closed = true; return nil }

func TestAnAnswerIsClosedAndCountsOnlyBeforeTheEndOfItsContext(t *testing.T) {
	for _, late := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		body := &ending{Reader: strings.NewReader(`{"Token":{"Id":"x"}}`), end: func() {}}
		if late {
			body.end = cancel
		}
		result, err := CreateToken(ctx, Request{Host: "tokens.example", Transport: transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: body}, nil
		})})
		if late != errors.Is(err, context.Canceled) || late == (result.ID == "x") || !body.closed {
			t.Errorf("late %v: %v, %v, closed %v", late, result, err, body.closed)
		}
	}
}

func TestWhatATokenSaysOfItself(t *testing.T) {
	for body, want := range map[string]struct {
		expiry        time.Time
		code, message string // of a refusal
	}{
		`{"Token":{"Id":"x","ExpireTime":1}}`:            {expiry: time.Unix(1, 0)},
		`{"Token":{"Id":"x","ExpireTime":0}}`:            {},
		`{"Token":{"Id":"x","ExpireTime":-1}}`:           {},
		`{"Token":{"Id":"x","ExpireTime":null}}`:         {},
		`{"Token":{"Id":"x","ExpireTime":253402300799}}`: {expiry: time.Unix(253402300799, 0)},
		`{"Token":{"Id":"x","ExpireTime":253402300800}}`: {},
		`{"Token":{"Id":null}}`:                          {message: "the answer has no token"},
		`{"ErrCode":40000001}`:                           {code: "40000001"},
		`{"ErrMsg":"m"}`:                                 {message: "m"},
		`{"Code":"C"}`:                                   {code: "C"},
		`{"Message":"m"}`:                                {message: "m"},
	} {
		got, err := parse(200, []byte(body), nil)
		e, _ := errors.AsType[*Error](err)
		if refused := want.code != "" || want.message != ""; refused != (err != nil) || !got.Expiry.Equal(want.expiry) ||
			e != nil && (e.Code != want.code || e.Message != want.message) {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	full := `{"Token":{"Id":"x"}}`
	full += strings.Repeat(" ", maxAnswer-len(full))
	if got, err := parse(200, []byte(full), nil); got.ID != "x" || err != nil {
		t.Errorf("an answer of maxAnswer bytes: %v", err)
	}
	if _, err := parse(200, []byte(full+" "), nil); err == nil {
		t.Error("an answer of one more is taken")
	}
}
