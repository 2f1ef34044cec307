package nlstest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nlsgo/nls/internal/wire"
)

const (
	// The path that counts for the signature is always "/"; the C++ SDK posts to
	// the second one (protocol §9.2). The Java SDK calls the third in ROA style.
	tokenPath    = "/"
	tokenPathCpp = "/pop/2019-02-28/tokens"
	tokenPathROA = "/pop/" + roaVersion + "/tokens"
	roaVersion   = "2018-05-18"

	// maxTokenRequest bounds query and body of a request each; maxTokenParams how
	// many parameters they have. A real request has a dozen.
	maxTokenRequest = 64 << 10
	maxTokenParams  = 100

	maxClockSkew = 15 * time.Minute // protocol §9.3

	timestampShape = "2006-01-02T15:04:05Z"
	millisShape    = "2006-01-02T15:04:05.000Z" // of some clients, and taken

	// How often an access key may call an action in a second; the last two are those
	// of protocol §10.5.
	tokensPerSecond  = 100
	submitsPerSecond = 200
	resultsPerSecond = 500

	// maxNonces bounds the nonces that are remembered; the oldest is forgotten
	// first.
	maxNonces = 1 << 14
)

// popVersions are the API versions of protocol §9.1 and §16.4, by action.
var popVersions = map[string][]string{
	"CreateToken":   {"2019-02-28", "2019-07-17"},
	"SubmitTask":    fileVersions,
	"GetTaskResult": fileVersions,
}

var fileVersions = []string{"2018-08-17", "2019-08-23", liteVersion}

// popError is a refusal of the POP layer (protocol §9.3).
type popError struct {
	status        int
	code, message string
}

// mismatch is the refusal of a signature. The official SDKs compare the string in it
// with theirs to tell a wrong secret from a wrong request, so the text has to be the
// service's to the letter.
func mismatch(toSign string) *popError {
	return &popError{http.StatusBadRequest, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation. server string to sign is:" + toSign}
}

// missing is the refusal of a request without a parameter.
func missing(name string) *popError {
	return &popError{http.StatusBadRequest, "Missing" + name, name + " is mandatory for this action."}
}

var (
	errNoAPI         = &popError{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."}
	errVersion       = &popError{http.StatusNotFound, "InvalidVersion", "Specified parameter Version is not valid."}
	errMethod        = &popError{http.StatusMethodNotAllowed, "UnsupportedHTTPMethod", "This http method is not supported."}
	errParameters    = &popError{http.StatusBadRequest, "InvalidParameter", "The parameters of the request are not well formatted."}
	errFormat        = &popError{http.StatusBadRequest, "InvalidParameter.Format", "Specified parameter Format is not supported; use JSON."}
	errIncomplete    = &popError{http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards."}
	errTimeFormat    = &popError{http.StatusBadRequest, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."}
	errTimeExpired   = &popError{http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."}
	errAccessKey     = &popError{http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found."}
	errSecurityToken = &popError{http.StatusBadRequest, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed."}
	errNonce         = &popError{http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already."}
	errThrottled     = &popError{http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control."}
)

// tokenParams are the parameters that every request has, besides Action and
// Version. Not all clients send Format and RegionId.
var tokenParams = []string{"AccessKeyId", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "Signature"}

// popCall is a call that its account has signed.
type popCall struct {
	account, action string
	params          url.Values
}

// handler serves CreateToken, and leaves what else is signed to other.
func (a *accounts) handler(other func(w http.ResponseWriter, r *http.Request, requestID string, call *popCall)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requestID := strings.ToUpper(uuid.NewString())
		call, refusal := a.authenticate(w, r)
		switch {
		case refusal != nil:
			a.refuse(w, r, requestID, refusal)
		case call.action == "CreateToken":
			a.createToken(w, requestID, call.account)
		default:
			other(w, r, requestID, call)
		}
	})
}

// refuse answers as the POP layer does (protocol §9.3).
func (a *accounts) refuse(w http.ResponseWriter, r *http.Request, requestID string, refusal *popError) {
	writeJSON(w, refusal.status, map[string]any{
		"RequestId": requestID,
		"HostId":    r.Host,
		"Code":      refusal.code,
		"Message":   refusal.message,
		"Recommend": "https://next.api.aliyun.com/troubleshoot?q=" + refusal.code + "&product=nls-cloud-meta",
	})
}

func (a *accounts) createToken(w http.ResponseWriter, requestID, account string) {
	id := wire.NewID()
	writeJSON(w, http.StatusOK, map[string]any{
		"NlsRequestId": wire.NewID(),
		"RequestId":    requestID,
		"ErrMsg":       "",
		"Token":        map[string]any{"Id": id, "ExpireTime": a.issue(id, account).Unix(), "UserId": account},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
}

// claim is a request as its client says that it is signed.
type claim struct {
	keyID, securityToken string
	nonce                string // "" if the style of the request has none
	at                   time.Time
	signature, toSign    string
	suffix               string // of the secret, to make it the key
	action               string
}

// authenticate returns the call that r is, whose account has signed it, or why it is
// refused. The order of the checks inside the service is unknown.
func (a *accounts) authenticate(w http.ResponseWriter, r *http.Request) (call *popCall, refusal *popError) {
	if r.URL.Path != tokenPath && r.URL.Path != tokenPathCpp && r.URL.Path != tokenPathROA {
		return nil, errNoAPI
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, errMethod
	}
	params, ok := parameters(w, r)
	if !ok {
		return nil, errParameters
	}
	claimed := claimRPC
	if r.URL.Path == tokenPathROA {
		claimed = claimROA
	}
	c, refusal := claimed(r, params)
	if refusal != nil {
		return nil, refusal
	}
	now := time.Now()
	if now.Sub(c.at).Abs() > maxClockSkew {
		return nil, errTimeExpired
	}

	secret, ok := a.accessKeys[c.keyID]
	if !ok {
		return nil, errAccessKey
	}
	var needs string
	if strings.HasPrefix(c.keyID, stsPrefix) {
		needs = securityToken(c.keyID)
	}
	switch got := c.securityToken; {
	case got == "" && needs != "":
		return nil, missing("SecurityToken")
	case got != needs:
		return nil, errSecurityToken
	}
	if !hmac.Equal([]byte(c.signature), []byte(sign(secret+c.suffix, c.toSign))) {
		return nil, mismatch(c.toSign)
	}

	// From here on the caller is known: nobody can use up the nonces or the
	// quota of another.
	if refusal := a.admit(c.keyID, c.action, c.nonce, now); refusal != nil {
		return nil, refusal
	}
	return &popCall{a.owner(c.keyID), c.action, params}, nil
}

// claimRPC reads a request in RPC style, whose signature is a parameter.
func claimRPC(r *http.Request, params url.Values) (c claim, refusal *popError) {
	switch version, action, format := params.Get("Version"), params.Get("Action"), params.Get("Format"); {
	case version == "":
		return c, missing("Version")
	case !slices.ContainsFunc(slices.Collect(maps.Values(popVersions)), func(vs []string) bool { return slices.Contains(vs, version) }):
		return c, errVersion
	case action == "":
		return c, missing("Action")
	case !slices.Contains(popVersions[action], version):
		return c, errNoAPI
	case format != "" && !strings.EqualFold(format, "JSON"):
		return c, errFormat
	}
	for _, name := range tokenParams {
		if params.Get(name) == "" {
			return c, missing(name)
		}
	}
	if params.Get("SignatureMethod") != "HMAC-SHA1" || params.Get("SignatureVersion") != "1.0" {
		return c, errIncomplete
	}
	at, ok := parseTimestamp(params.Get("Timestamp"))
	if !ok {
		return c, errTimeFormat
	}
	return claim{
		keyID: params.Get("AccessKeyId"), securityToken: params.Get("SecurityToken"), nonce: params.Get("SignatureNonce"), at: at,
		signature: params.Get("Signature"), toSign: stringToSign(r.Method, params), suffix: "&",
		action: params.Get("Action"),
	}, nil
}

func parseTimestamp(s string) (at time.Time, ok bool) {
	for _, shape := range []string{timestampShape, millisShape} {
		if at, _ := time.Parse(shape, s); at.Format(shape) == s {
			return at, true
		}
	}
	return time.Time{}, false
}

// claimROA reads a request in ROA style, whose signature is in its header
// (protocol §9.2). Clients differ in which header fields they send; what is there is
// signed.
func claimROA(r *http.Request, params url.Values) (c claim, refusal *popError) {
	authorization := r.Header.Get("Authorization")
	keyID, signature, ok := strings.Cut(strings.TrimPrefix(authorization, "acs "), ":")
	switch version := r.Header.Get("X-Acs-Version"); {
	case authorization == "":
		return c, missing("Authorization")
	case !ok || !strings.HasPrefix(authorization, "acs "):
		return c, errIncomplete
	case version != "" && version != roaVersion:
		return c, errVersion
	}
	at, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return c, errTimeFormat
	}
	var b strings.Builder
	for _, s := range []string{r.Method, r.Header.Get("Accept"), r.Header.Get("Content-MD5"), r.Header.Get("Content-Type"), r.Header.Get("Date")} {
		b.WriteString(s + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-acs-") {
			b.WriteString(lower + ":" + strings.TrimSpace(r.Header.Get(name)) + "\n")
		}
	}
	b.WriteString(r.URL.Path)
	separator := "?"
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b.WriteString(separator + name)
		if v := params.Get(name); v != "" {
			b.WriteString("=" + v)
		}
		separator = "&"
	}
	return claim{
		keyID: keyID, securityToken: r.Header.Get("X-Acs-Security-Token"), nonce: r.Header.Get("X-Acs-Signature-Nonce"), at: at,
		signature: signature, toSign: b.String(), action: "CreateToken",
	}, nil
}

// parameters returns the parameters of query and form body.
func parameters(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	raw := r.URL.RawQuery
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenRequest))
		if err != nil {
			return nil, false
		}
		raw = strings.Trim(raw+"&"+string(body), "&")
	}
	if len(raw) > 2*maxTokenRequest || strings.Count(raw, "&") >= maxTokenParams {
		return nil, false
	}
	params, err := url.ParseQuery(raw)
	return params, err == nil
}

// signature signs all of params but Signature itself, in RPC style.
func signature(method, secret string, params url.Values) string {
	return sign(secret+"&", stringToSign(method, params))
}

// stringToSign is what an RPC request signs (protocol §9.2).
func stringToSign(method string, params url.Values) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, v := range params[name] {
			if name != "Signature" {
				pairs = append(pairs, percentEncode(name)+"="+percentEncode(v))
			}
		}
	}
	return method + "&%2F&" + percentEncode(strings.Join(pairs, "&"))
}

func sign(key, toSign string) string {
	mac := hmac.New(sha1.New, []byte(key))
	io.WriteString(mac, toSign)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// percentEncode encodes all but the unreserved characters of RFC 3986.
func percentEncode(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// caller is what accounts remembers of an access key that called an action.
type caller struct {
	second int64 // Unix time
	count  int   // of calls in that second
}

// perSecondOf is how often an access key may call action in a second.
func (a *accounts) perSecondOf(action string) int {
	switch action {
	case "SubmitTask":
		return submitsPerSecond
	case "GetTaskResult":
		return resultsPerSecond
	}
	return a.perSecond
}

// admit refuses a nonce that was used, if there is one, and more calls than there may
// be in a second.
func (a *accounts) admit(keyID, action, nonce string, now time.Time) *popError {
	a.mu.Lock()
	defer a.mu.Unlock()
	if nonce != "" {
		hash := sha256.Sum256([]byte(keyID + "\x00" + nonce)) // a nonce may be long
		if _, used := a.nonces[hash]; used {
			return errNonce
		}
		if len(a.nonceOrder) == maxNonces {
			delete(a.nonces, a.nonceOrder[0])
			a.nonceOrder = a.nonceOrder[1:]
		}
		a.nonces[hash] = struct{}{}
		a.nonceOrder = append(a.nonceOrder, hash)
	}

	who := keyID + "\x00" + action
	c := a.callers[who]
	if c.second != now.Unix() {
		c = caller{second: now.Unix()}
	}
	if c.count >= a.perSecondOf(action) {
		return errThrottled
	}
	c.count++
	a.callers[who] = c
	return nil
}
