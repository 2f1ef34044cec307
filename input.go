package nls

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// This file checks what callers paste: keys, URLs and numbers.

// trim drops the white space around s, and the characters that are not seen at all
// but come along when text is copied, such as byte order marks.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
}

// checkHeaderValue checks that s, a secret, can stand in an HTTP header.
func checkHeaderValue(param, s string) error {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return &ParamError{param, nil, fmt.Sprintf("has a control character after %d bytes", i)}
		}
	}
	return nil
}

// checkDuration checks that d has got a unit. Negative durations mean something
// else, or are somebody else's business.
func checkDuration(param string, d time.Duration) error {
	switch {
	case 0 < d && d < time.Microsecond:
		return &ParamError{param, d, fmt.Sprintf("%d is %v; write %d * time.Second", int64(d), d, int64(d))}
	case 0 < d && d < time.Millisecond:
		return &ParamError{param, d, "must be a millisecond at least; a number without a unit is nanoseconds"}
	}
	return nil
}

// checkURL checks the URL of a gateway.
func checkURL(s string) error {
	bad := func(reason string) error { return &ParamError{"URL", shownURL(s), reason} }
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Hostname() == "" || u.User != nil {
		return bad("must be a ws or wss URL, without user")
	}
	if !validPort(u.Port()) {
		return bad("the port must be from 1 to 65535")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its query is malformed")
	}
	tokens := query["token"]
	if len(tokens) > 1 {
		return bad("has more than one token")
	}
	if len(tokens) == 1 {
		return checkHeaderValue("URL", tokens[0])
	}
	return nil
}

// validPort reports whether port, which may be missing, is one.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// queryToken is the token in the query of a gateway's URL.
func queryToken(s string) string {
	u, err := url.Parse(trim(s))
	if err != nil {
		return ""
	}
	return u.Query().Get("token")
}

// shownURL is the Value of a ParamError about the URL s.
func shownURL(s string) any {
	if s = withoutSecrets(s); s != "" {
		return s
	}
	return nil
}

// withoutSecrets is as much of the URL s as cannot be a secret: not user,
// password, query and fragment, and nothing of what is no URL with a host.
func withoutSecrets(s string) string {
	u, err := url.Parse(trim(s))
	if err != nil || u.Host == "" && strings.Contains(s, "@") {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
