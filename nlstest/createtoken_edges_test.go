package nlstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// The answers of the POP layer as they are on the wire: JSON whose text a person, or
// a client that looks for it, finds unescaped.
func TestPOPAnswersOnTheWire(t *testing.T) {
	p := newParams()
	p.Set("Signature", "x")
	w := httptest.NewRecorder()
	newAccounts(Options{}).handler(nil).ServeHTTP(w, getRequest(p))
	if got := w.Header().Get("Content-Type"); got != "application/json;charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	for _, want := range []string{
		"server string to sign is:GET&%2F&",
		`"Recommend":"https://next.api.aliyun.com/troubleshoot?q=SignatureDoesNotMatch&product=nls-cloud-meta"`,
	} {
		if !bytes.Contains(w.Body.Bytes(), []byte(want)) {
			t.Errorf("got %s, want %s in it", w.Body, want)
		}
	}
}

// In ROA style the parameters of the query are signed as they are, in their order, and
// without "=" if they are empty.
func TestROASignsTheQuery(t *testing.T) {
	r := httptest.NewRequest("POST", "/pop/2018-05-18/tokens?b=1%2F2&a&c=", nil)
	date := time.Now().UTC().Format(http.TimeFormat)
	r.Header = http.Header{"Date": {date}}
	mac := hmac.New(sha1.New, []byte(defaultSecret))
	fmt.Fprintf(mac, "POST\n\n\n\n%s\n/pop/2018-05-18/tokens?a&b=1/2&c", date)
	r.Header.Set("Authorization", "acs "+defaultKeyID+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	status, answer := call(t, newAccounts(Options{}), r)
	assertPOP(t, status, answer, 200, "")
}

func TestARequestHasABoundedNumberOfParameters(t *testing.T) {
	for n, wantStatus := range map[int]int{maxTokenParams: 200, maxTokenParams + 1: 400} {
		p := newParams()
		for i := len(p) + 1; i < n; i++ { // and the signature
			p.Set("P"+strconv.Itoa(i), "x")
		}
		p.Set("Signature", signature("GET", defaultSecret, p))
		if status, answer := call(t, newAccounts(Options{}), getRequest(p)); len(p) != n || status != wantStatus {
			t.Errorf("%d parameters: %d %v", n, status, answer)
		}
	}
}

// The file service takes the versions of its three lives.
func TestVersionsOfTheFileService(t *testing.T) {
	for version, want := range map[string]int{"2018-08-17": 200, "2019-08-23": 200, "2021-12-21": 200, "2019-02-28": 404} {
		p := newParams()
		p.Set("Action", "GetTaskResult")
		p.Set("Version", version)
		p.Set("Signature", signature("GET", defaultSecret, p))
		w := httptest.NewRecorder()
		var called url.Values
		newAccounts(Options{}).handler(func(w http.ResponseWriter, _ *http.Request, _ string, call *popCall) {
			called = call.params
			io.WriteString(w, "{}")
		}).ServeHTTP(w, getRequest(p))
		if w.Code != want || (called.Get("Version") == version) != (want == 200) {
			t.Errorf("%s: %d %s", version, w.Code, w.Body)
		}
	}
}
