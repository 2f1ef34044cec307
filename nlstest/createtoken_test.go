package nlstest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
)

// The test vectors of protocol §9.2.
func TestSignatureVectors(t *testing.T) {
	published := url.Values{
		"AccessKeyId": {"my_access_key_id"}, "Action": {"CreateToken"}, "Version": {"2019-02-28"}, "Format": {"JSON"}, "RegionId": {"cn-shanghai"},
		"Timestamp": {"2019-04-18T08:32:31Z"}, "SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"}, "SignatureNonce": {"b924c8c3-6d03-4c5d-ad36-d984d3116788"},
		"Signature": {"is not signed"},
	}
	sts := url.Values{
		"AccessKeyId": {"STS.example*id"}, "Action": {"CreateToken"}, "Version": {"2019-02-28"}, "Format": {"JSON"}, "RegionId": {"cn-shanghai"},
		"Timestamp": {"2026-01-02T03:04:05Z"}, "SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"}, "SignatureNonce": {"00000000-0000-4000-8000-000000000001"},
		"SecurityToken": {"tok+en/=~ "},
	}
	for _, c := range []struct {
		method, secret string
		params         url.Values
		want           string
	}{
		{"GET", "my_access_key_secret", published, "hHq4yNsPitlfDJ2L0nQPdugdEzM="},
		{"POST", "my_access_key_secret", published, "X4/yeE8FUchC5Wv7AZJybEuDWzw="},
		{"POST", "sek/ret", sts, "bCjVL3Rq9OTyuFjrnqpwClDwo/8="},
	} {
		if got := signature(c.method, c.secret, c.params); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.method, c.params, got, c.want)
		}
	}
}

// newParams are good parameters of the default access key, not signed.
func newParams() url.Values {
	return url.Values{
		"AccessKeyId": {defaultKeyID}, "Action": {"CreateToken"}, "Version": {"2019-02-28"}, "Format": {"JSON"}, "RegionId": {"cn-shanghai"},
		"Timestamp": {time.Now().UTC().Format(timestampShape)}, "SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"},
		"SignatureNonce": {uuid.NewString()},
	}
}

// call sends a request to a and decodes the answer.
func call(t *testing.T, a *accounts, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	a.handler(nil).ServeHTTP(w, r)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	for _, secret := range []string{defaultSecret, securityToken("STS.x")} {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("the answer has a secret: %s", w.Body)
		}
	}
	return w.Code, answer
}

func getRequest(params url.Values) *http.Request {
	return httptest.NewRequest("GET", "/?"+params.Encode(), nil)
}

func TestCreateTokenAnswersInTheShapeOfTheService(t *testing.T) {
	a := newAccounts(Options{TokenTTL: time.Hour})
	sign := func(method string) url.Values {
		p := newParams()
		p.Set("SignatureType", "") // as alibaba-cloud-sdk-go does
		p.Set("More", "a b*c~d/é+")
		p.Set("Signature", signature(method, defaultSecret, p))
		return p
	}
	form := func(target string, p url.Values) *http.Request {
		r := httptest.NewRequest("POST", target, strings.NewReader(p.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		return r
	}
	split := sign("POST")
	query := url.Values{"Action": split["Action"], "More": split["More"]}
	split.Del("Action")
	split.Del("More")
	node := newParams()
	node.Del("RegionId")
	node.Del("Format")
	node.Set("Signature", signature("GET", defaultSecret, node))
	for name, r := range map[string]*http.Request{
		"GET":                   getRequest(sign("GET")),
		"GET, space as %20":     httptest.NewRequest("GET", "/?"+strings.ReplaceAll(sign("GET").Encode(), "+", "%20"), nil),
		"POST, query":           httptest.NewRequest("POST", "/?"+sign("POST").Encode(), nil),
		"POST, form":            form("/", sign("POST")),
		"POST, both":            form("/?"+query.Encode(), split),
		"POST, C++":             form(tokenPathCpp, sign("POST")),
		"GET, as Node SDK":      getRequest(node),
		"POST, body not a form": httptest.NewRequest("POST", "/?"+sign("POST").Encode(), strings.NewReader("Action=Other")),
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := call(t, a, r)
			token, _ := answer["Token"].(map[string]any)
			if status != 200 || answer["ErrMsg"] != "" || token["UserId"] != defaultAccount {
				t.Fatalf("%d %v", status, answer)
			}
			for _, c := range []struct {
				value any
				shape string
			}{
				{token["Id"], `^[0-9a-f]{32}$`},
				{answer["NlsRequestId"], `^[0-9a-f]{32}$`},
				{answer["RequestId"], `^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`},
			} {
				if s, _ := c.value.(string); !regexp.MustCompile(c.shape).MatchString(s) {
					t.Errorf("%v, want %s", c.value, c.shape)
				}
			}
			if seconds, _ := token["ExpireTime"].(float64); time.Until(time.Unix(int64(seconds), 0)).Round(time.Minute) != time.Hour {
				t.Errorf("ExpireTime %v", token["ExpireTime"])
			}
			if account, refusal := a.checkToken(token["Id"].(string), true); account != defaultAccount || refusal != "" {
				t.Errorf("the token is of %q: %q", account, refusal)
			}
		})
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	set := func(name, value string) func(url.Values) { return func(p url.Values) { p.Set(name, value) } }
	at := func(d time.Duration) func(url.Values) {
		return func(p url.Values) { p.Set("Timestamp", time.Now().UTC().Add(d).Format(timestampShape)) }
	}
	sts := func(token string) func(url.Values) {
		return func(p url.Values) {
			p.Set("AccessKeyId", "STS.x")
			if token != "" {
				p.Set("SecurityToken", token)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(url.Values)
		status int
		code   string
	}{
		{"nothing", func(url.Values) {}, 200, ""},
		{"other site", set("Version", "2019-07-17"), 200, ""},
		{"clock 14 minutes slow", at(-14 * time.Minute), 200, ""},
		{"clock 14 minutes fast", at(14 * time.Minute), 200, ""},
		{"temporary key", sts(securityToken("STS.x")), 200, ""},
		{"time with milliseconds", set("Timestamp", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")), 200, ""},

		{"clock 16 minutes slow", at(-16 * time.Minute), 400, "InvalidTimeStamp.Expired"},
		{"clock 16 minutes fast", at(16 * time.Minute), 400, "InvalidTimeStamp.Expired"},
		{"long ago", set("Timestamp", "0001-01-01T00:00:00Z"), 400, "InvalidTimeStamp.Expired"},
		{"no time", set("Timestamp", "now"), 400, "InvalidTimeStamp.Format"},
		{"time with microseconds", set("Timestamp", time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")), 400, "InvalidTimeStamp.Format"},
		{"zone", set("Timestamp", time.Now().Format("2006-01-02T15:04:05+08:00")), 400, "InvalidTimeStamp.Format"},
		{"unknown key", set("AccessKeyId", "nobody"), 404, "InvalidAccessKeyId.NotFound"},
		{"unknown action", set("Action", "DeleteToken"), 404, "InvalidAction.NotFound"},
		{"unknown version", set("Version", "2018-05-18"), 404, "InvalidVersion"},
		{"XML", set("Format", "XML"), 400, "InvalidParameter.Format"},
		{"other method", set("SignatureMethod", "HMAC-SHA256"), 400, "IncompleteSignature"},
		{"other signature version", set("SignatureVersion", "2.0"), 400, "IncompleteSignature"},
		{"temporary key without its token", sts(""), 400, "MissingSecurityToken"},
		{"temporary key with another token", sts("other"), 400, "InvalidSecurityToken.Malformed"},
		{"token of a temporary key with a lasting one", set("SecurityToken", "x"), 400, "InvalidSecurityToken.Malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccounts(Options{AccessKeys: map[string]string{defaultKeyID: defaultSecret, "STS.x": defaultSecret}})
			p := newParams()
			c.change(p)
			p.Set("Signature", signature("GET", defaultSecret, p))
			status, answer := call(t, a, getRequest(p))
			assertPOP(t, status, answer, c.status, c.code)
		})
	}
}

// assertPOP checks the shape of protocol §9.3.
func assertPOP(t *testing.T, status int, answer map[string]any, wantStatus int, wantCode string) {
	t.Helper()
	if status != wantStatus {
		t.Errorf("%d %v, want %d %s", status, answer, wantStatus, wantCode)
	}
	if wantCode == "" {
		return
	}
	for _, field := range []string{"RequestId", "HostId", "Message", "Recommend"} {
		if s, _ := answer[field].(string); s == "" {
			t.Errorf("no %s in %v", field, answer)
		}
	}
	if answer["Code"] != wantCode || answer["Token"] != nil {
		t.Errorf("%v, want %s", answer, wantCode)
	}
}

func TestCreateTokenNamesWhatIsMissing(t *testing.T) {
	for _, name := range append([]string{"Action", "Version"}, tokenParams...) {
		for _, empty := range []bool{false, true} {
			p := newParams()
			p.Set("Signature", "x")
			if p.Del(name); empty {
				p.Set(name, "")
			}
			status, answer := call(t, newAccounts(Options{}), getRequest(p))
			assertPOP(t, status, answer, 400, "Missing"+name)
		}
	}
}

func TestCreateTokenSignsAllParameters(t *testing.T) {
	a := newAccounts(Options{})
	for _, change := range []func(url.Values){
		func(p url.Values) { p.Set("RegionId", "cn-beijing") },
		func(p url.Values) { p.Set("More", "x") },
		func(p url.Values) { p.Set("Empty", "") },
		func(p url.Values) { p.Add("Action", "CreateToken") },
		func(p url.Values) { p.Del("RegionId") },
		func(p url.Values) { p.Set("SignatureNonce", uuid.NewString()) },
		func(p url.Values) { p.Set("Signature", signature("POST", defaultSecret, p)) },
		func(p url.Values) { p.Set("Signature", signature("GET", "wrong", p)) },
		func(p url.Values) { p.Set("Signature", "x") },
	} {
		p := newParams()
		p.Set("Signature", signature("GET", defaultSecret, p))
		change(p)
		status, answer := call(t, a, getRequest(p))
		assertPOP(t, status, answer, 400, "SignatureDoesNotMatch")
	}
	if a.issued() != 0 || len(a.nonces) != 0 {
		t.Errorf("%d tokens and %d nonces from requests that nobody signed", a.issued(), len(a.nonces))
	}
}

// The official SDKs compare the string that the service signed with theirs.
func TestAMismatchShowsWhatTheServerSigned(t *testing.T) {
	p := newParams()
	p.Set("More", "a b*c~d/é+")
	p.Set("Signature", signature("GET", "wrong", p))
	_, answer := call(t, newAccounts(Options{}), getRequest(p))
	message, _ := answer["Message"].(string)
	const prefix = "Specified signature is not matched with our calculation. server string to sign is:"
	signed, ok := strings.CutPrefix(message, prefix)
	if !ok || sign("wrong&", signed) != p.Get("Signature") {
		t.Errorf("got %q", message)
	}
}

// roaRequest is CreateToken as the Java SDK 2.1.1 calls it (protocol §9.2).
func roaRequest(method, keyID, secret string, more http.Header) *http.Request {
	r := httptest.NewRequest(method, "/pop/2018-05-18/tokens", nil)
	r.Header = http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/octet-stream;charset=utf-8"},
		"Content-Md5":  {"1B2M2Y8AsgTpgAmY7PhCfg=="},
		"Date":         {time.Now().UTC().Format(http.TimeFormat)},
	}
	canonical := ""
	for _, name := range slices.Sorted(maps.Keys(more)) {
		r.Header.Set(name, more.Get(name))
		if strings.HasPrefix(name, "X-Acs-") {
			canonical += strings.ToLower(name) + ":" + more.Get(name) + "\n"
		}
	}
	mac := hmac.New(sha1.New, []byte(secret))
	fmt.Fprintf(mac, "%s\napplication/json\n1B2M2Y8AsgTpgAmY7PhCfg==\napplication/octet-stream;charset=utf-8\n%s\n%s/pop/2018-05-18/tokens",
		method, r.Header.Get("Date"), canonical)
	r.Header.Set("Authorization", "acs "+keyID+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

func TestCreateTokenAsJavaCallsIt(t *testing.T) {
	sts := securityToken("STS.x")
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	without := func(r *http.Request, name string) *http.Request { r.Header.Del(name); return r }
	with := func(r *http.Request, name, value string) *http.Request { r.Header.Set(name, value); return r }
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"POST", roaRequest("POST", defaultKeyID, defaultSecret, nil), 200, ""},
		{"GET", roaRequest("GET", defaultKeyID, defaultSecret, nil), 200, ""},
		{"with the fields of newer SDKs", roaRequest("POST", defaultKeyID, defaultSecret,
			header("X-Acs-Signature-Nonce", "n", "X-Acs-Version", "2018-05-18", "X-Acs-Signature-Method", "HMAC-SHA1", "User-Agent", "x")), 200, ""},
		{"temporary key", roaRequest("POST", "STS.x", "other", header("X-Acs-Security-Token", sts)), 200, ""},

		{"temporary key without its token", roaRequest("POST", "STS.x", "other", nil), 400, "MissingSecurityToken"},
		{"other version", roaRequest("POST", defaultKeyID, defaultSecret, header("X-Acs-Version", "2019-02-28")), 404, "InvalidVersion"},
		{"wrong secret", roaRequest("POST", defaultKeyID, "wrong", nil), 400, "SignatureDoesNotMatch"},
		{"RPC key", roaRequest("POST", defaultKeyID, defaultSecret+"&", nil), 400, "SignatureDoesNotMatch"},
		{"field not signed", with(roaRequest("POST", defaultKeyID, defaultSecret, nil), "X-Acs-Region-Id", "x"), 400, "SignatureDoesNotMatch"},
		{"other Accept", with(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Accept", "*/*"), 400, "SignatureDoesNotMatch"},
		{"unknown key", roaRequest("POST", "nobody", "x", nil), 404, "InvalidAccessKeyId.NotFound"},
		{"no date", without(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Date"), 400, "InvalidTimeStamp.Format"},
		{"old date", with(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Date", "Sun, 06 Nov 1994 08:49:37 GMT"), 400, "InvalidTimeStamp.Expired"},
		{"no signature", without(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Authorization"), 400, "MissingAuthorization"},
		{"other scheme", with(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Authorization", "Bearer a:b"), 400, "IncompleteSignature"},
		{"no colon", with(roaRequest("POST", defaultKeyID, defaultSecret, nil), "Authorization", "acs x"), 400, "IncompleteSignature"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccounts(Options{AccessKeys: map[string]string{defaultKeyID: defaultSecret, "STS.x": "other"}})
			status, answer := call(t, a, c.r)
			assertPOP(t, status, answer, c.status, c.code)
			if c.status == 200 {
				id, _ := answer["Token"].(map[string]any)["Id"].(string)
				if _, refusal := a.checkToken(id, true); refusal != "" {
					t.Error(refusal)
				}
			}
		})
	}
}

// Two requests of one second are equal to the letter, for Java sends no nonce.
func TestJavaMayAskTwiceInASecond(t *testing.T) {
	a := newAccounts(Options{})
	for range 2 {
		status, answer := call(t, a, roaRequest("POST", defaultKeyID, defaultSecret, nil))
		assertPOP(t, status, answer, 200, "")
	}
	withNonce := func() *http.Request {
		return roaRequest("POST", defaultKeyID, defaultSecret, http.Header{"X-Acs-Signature-Nonce": {"n"}})
	}
	call(t, a, withNonce())
	status, answer := call(t, a, withNonce())
	assertPOP(t, status, answer, 400, "SignatureNonceUsed")
}

func TestCreateTokenRefusesWhatIsNoRequest(t *testing.T) {
	p := newParams()
	p.Set("Signature", signature("GET", defaultSecret, p))
	q := "/?" + p.Encode()
	big := httptest.NewRequest("POST", q, strings.NewReader(strings.Repeat("x", maxTokenRequest+1)))
	big.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"path", httptest.NewRequest("GET", "/other"+q[1:], nil), 404, "InvalidAction.NotFound"},
		{"method", httptest.NewRequest("PUT", q, nil), 405, "UnsupportedHTTPMethod"},
		{"escape", httptest.NewRequest("GET", q+"&a=%zz", nil), 400, "InvalidParameter"},
		{"body", big, 400, "InvalidParameter"},
		{"query", httptest.NewRequest("GET", q+"&a="+strings.Repeat("x", 2*maxTokenRequest), nil), 400, "InvalidParameter"},
		{"many", httptest.NewRequest("GET", q+strings.Repeat("&a=b", maxTokenParams), nil), 400, "InvalidParameter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer := call(t, newAccounts(Options{}), c.r)
			assertPOP(t, status, answer, c.status, c.code)
		})
	}
}

func TestNonceIsGoodOnceForItsKey(t *testing.T) {
	a := newAccounts(Options{AccessKeys: map[string]string{defaultKeyID: defaultSecret, "other": defaultSecret}})
	send := func(key, nonce string) (int, map[string]any) {
		p := newParams()
		p.Set("AccessKeyId", key)
		p.Set("SignatureNonce", nonce)
		p.Set("Signature", signature("GET", defaultSecret, p))
		return call(t, a, getRequest(p))
	}
	status, answer := send(defaultKeyID, "n")
	assertPOP(t, status, answer, 200, "")
	status, answer = send(defaultKeyID, "n")
	assertPOP(t, status, answer, 400, "SignatureNonceUsed")
	status, answer = send("other", "n")
	assertPOP(t, status, answer, 200, "")
}

func TestNoncesAreBounded(t *testing.T) {
	effort.Long(t)
	a := newAccounts(Options{})
	a.perSecond = 4 * maxNonces
	for i := range 3 * maxNonces {
		if err := a.admit("k", "CreateToken", fmt.Sprint(i), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.nonces) != maxNonces || cap(a.nonceOrder) > 4*maxNonces {
		t.Errorf("%d of %d nonces", len(a.nonces), cap(a.nonceOrder))
	}
}

func TestManyTokensInASecondAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(Options{AccessKeys: map[string]string{defaultKeyID: defaultSecret, "other": defaultSecret}})
		a.perSecond = 3
		send := func(key string) (int, map[string]any) {
			p := newParams()
			p.Set("AccessKeyId", key)
			p.Set("Signature", signature("GET", defaultSecret, p))
			return call(t, a, getRequest(p))
		}
		for range 2 {
			for range 3 {
				status, answer := send(defaultKeyID)
				assertPOP(t, status, answer, 200, "")
			}
			status, answer := send(defaultKeyID)
			assertPOP(t, status, answer, 400, "Throttling.User")
			status, answer = send("other")
			assertPOP(t, status, answer, 200, "")
			time.Sleep(time.Second)
		}
	})
}

// The SDK and the service, each written from the protocol on its own, meet here.
func TestSDKGetsATokenOverTLS(t *testing.T) {
	const stsID = "STS.example*id"
	a := newAccounts(Options{AccessKeys: map[string]string{"plain": "sek/ret+ ~", stsID: "other"}})
	a.perSecond = 10
	s := httptest.NewTLSServer(a.handler(nil))
	defer s.Close()
	opts := &nls.TokenOptions{Endpoint: s.Listener.Addr().String(), Transport: s.Client().Transport}
	sts := nls.AccessKey{ID: stsID, Secret: "other", SecurityToken: securityToken(stsID)}

	for _, key := range []nls.AccessKey{{ID: "plain", Secret: "sek/ret+ ~"}, sts} {
		tok, err := nls.GetToken(t.Context(), key, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, refusal := a.checkToken(tok.Value, true); refusal != "" || !tok.Valid(23*time.Hour) {
			t.Errorf("%v: %s", tok, refusal)
		}
	}
	if _, err := nls.GetToken(t.Context(), sts, &nls.TokenOptions{Endpoint: opts.Endpoint, Transport: opts.Transport, Region: "ap-southeast-1"}); err != nil {
		t.Error(err)
	}

	for _, c := range []struct {
		key     nls.AccessKey
		version string
		status  int
		code    string
	}{
		{nls.AccessKey{ID: "plain", Secret: "wrong"}, "", 400, "SignatureDoesNotMatch"},
		{nls.AccessKey{ID: "nobody", Secret: "wrong"}, "", 404, "InvalidAccessKeyId.NotFound"},
		{nls.AccessKey{ID: stsID, Secret: "other"}, "", 400, "MissingSecurityToken"},
		{nls.AccessKey{ID: stsID, Secret: "other", SecurityToken: "old"}, "", 400, "InvalidSecurityToken.Malformed"},
		{sts, "2000-01-01", 404, "InvalidVersion"},
	} {
		o := *opts
		o.Version = c.version
		_, err := nls.GetToken(t.Context(), c.key, &o)
		e, ok := errors.AsType[*nls.TokenError](err)
		if !ok || e.Code != c.code || e.HTTPStatus != c.status || e.RequestID == "" || e.Message == "" || nls.Retryable(err) {
			t.Errorf("%#v, want %s", err, c.code)
		}
	}
	a.perSecond = 0
	if _, err := nls.GetToken(t.Context(), sts, opts); !nls.Retryable(err) || !strings.Contains(fmt.Sprint(err), "Throttling.User") {
		t.Error(err)
	}
}

func TestAccountsMayBeUsedFromManyGoroutines(t *testing.T) {
	a := newAccounts(Options{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p := newParams()
			p.Set("Signature", signature("GET", defaultSecret, p))
			status, answer := call(t, a, getRequest(p))
			assertPOP(t, status, answer, 200, "")
			a.checkToken(defaultToken, true)
			a.expireAll()
		})
	}
	wg.Wait()
	if a.issued() != 50 {
		t.Errorf("%d issued", a.issued())
	}
}

// FuzzCreateToken sends anything. Without the secret nothing gets a token.
func FuzzCreateToken(f *testing.F) {
	f.Add("GET", "/", newParams().Encode(), "")
	f.Add("POST", tokenPathCpp, "", newParams().Encode()+"&Signature=x")
	f.Add("POST", tokenPathROA, "a=b&a", "acs "+defaultKeyID+":c2ln")
	f.Add("POST", "/", "Timestamp=-9999-01-01T00%3A00%3A00Z&Version=2019-02-28&Action=CreateToken", "a=%zz;&&=&=")
	a := newAccounts(Options{})
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		r := &http.Request{
			Method: method,
			URL:    &url.URL{Path: path, RawQuery: query},
			Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {body}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
			Body:   io.NopCloser(strings.NewReader(body)),
			Host:   path,
		}
		status, answer := call(t, a, r)
		if status < 400 || a.issued() != 0 {
			t.Errorf("%d %v", status, answer)
		}
	})
}
