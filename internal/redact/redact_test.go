package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/effort"
)

// secrets have what spellings differ in.
var secrets = []string{
	"0123456789abcdef0123456789abcdef",
	"two\nlines of it", "it's \"quoted\" twice", `back\slash\n\u0041`, "a\ttab and more", "schlüssel-密钥-🔑",
	"a+b/c==&d%20e", "100%-2541%41", "<b>&amp;&#34;</b>", "null\x00 and \x1b[31m", "\u2028separated\u2029",
	"...///===---", "not \xff UTF-8", `\\server\x41`,
}

// spellings are the ways in which a peer may write a string.
var spellings = map[string]func(string) string{
	"as it is":    func(s string) string { return s },
	"JSON":        jsonString,
	"JSON, short": func(s string) string { return strings.ReplaceAll(jsonString(s), `/`, `\/`) },
	"JSON, long": func(s string) string {
		var b strings.Builder
		for _, c := range s {
			if c > 0xFFFF {
				c -= 0x10000
				fmt.Fprintf(&b, `\u%04x`, 0xD800+c>>10)
				c = 0xDC00 + c&0x3FF
			}
			fmt.Fprintf(&b, `\u%04X`, c)
		}
		return b.String()
	},
	"Go":              func(s string) string { return unquoted(strconv.Quote(s)) },
	"Go, ASCII":       func(s string) string { return unquoted(strconv.QuoteToASCII(s)) },
	"in a query":      url.QueryEscape,
	"in a path":       url.PathEscape,
	"percent, all":    func(s string) string { return percentAll(s, "%%%02x") },
	"HTML":            html.EscapeString,
	"HTML, numbers":   func(s string) string { return entities(s, "&#%d;") },
	"HTML, hex":       func(s string) string { return entities(s, "&#x%X;") },
	"HTML, heX":       func(s string) string { return entities(s, "&#X%x;") },
	"JSON in JSON":    func(s string) string { return jsonString(jsonString(s)) },
	"query twice":     func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"query thrice":    func(s string) string { return url.QueryEscape(url.QueryEscape(url.QueryEscape(s))) },
	"query in JSON":   func(s string) string { return jsonString(url.QueryEscape(s)) },
	"JSON in a query": func(s string) string { return url.QueryEscape(jsonString(s)) },
	"HTML in JSON":    func(s string) string { return jsonString(html.EscapeString(s)) },
}

func jsonString(s string) string {
	b, _ := json.Marshal(s)
	return unquoted(string(b))
}

func unquoted(s string) string { return s[1 : len(s)-1] }

func percentAll(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func entities(s, format string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// faithful reports whether a spelling can say s at all.
func faithful(spelling, s string) bool {
	return utf8.ValidString(s) || !strings.Contains(spelling, "JSON") && !strings.Contains(spelling, "HTML")
}

func TestEachSpellingOfASecretIsHidden(t *testing.T) {
	for name, spell := range spellings {
		for _, secret := range secrets {
			if !faithful(name, secret) {
				continue
			}
			for _, around := range [][2]string{{"", ""}, {"The token '", "' is invalid!"}, {`{"a":"`, `"}`}, {"?token=", "&x=1"}} {
				text := around[0] + spell(secret) + around[1]
				if got, want := Text(text, "other-secret", secret), around[0]+Mask+around[1]; got != want {
					t.Errorf("%s: %q became %q, want %q", name, text, got, want)
				}
			}
		}
	}
}

// Headers are Latin-1, and JSON is UTF-8.
func TestMisreadSecretsAreHidden(t *testing.T) {
	for _, c := range []struct{ text, secret string }{
		{"'schlÃ¼ssel'", "schlüssel"}, {`'schl\u00c3\u00bcssel'`, "schlüssel"}, {"'schl%C3%83%C2%BCssel'", "schlüssel"},
		{"'été secret'", "\xe9t\xe9 secret"}, {"'\ufffdt\ufffd secret'", "\xe9t\xe9 secret"}, {`'\ufffdt\ufffd secret'`, "\xe9t\xe9 secret"},
	} {
		if got := Text(c.text, c.secret); got != "'***'" {
			t.Errorf("%q without %q became %q", c.text, c.secret, got)
		}
	}
}

func TestEverythingElseStays(t *testing.T) {
	texts := []string{
		"", "Meta:ACCESS_DENIED:The token 'x' is invalid!", "nls: dial: connection refused", `{"a":"\u0041\n","b":[1,2]}`,
		"100% + 50%", "&amp; &unknown; &#xZZ; & &", `\ \q \u12 \ud800 \ud800\u0041`, "%", "%4", "%zz", "***",
	}
	for _, text := range texts {
		for _, secret := range append([]string{""}, secrets...) {
			if got := Text(text, secret); got != text {
				t.Errorf("%q without %q became %q", text, secret, got)
			}
			if got := Cut(text, secret); got != text {
				t.Errorf("the cut %q without %q became %q", text, secret, got)
			}
		}
	}
}

// A token may be a word, at least in tests.
func TestAShortSecretIsHiddenWhereItStandsAlone(t *testing.T) {
	for _, c := range []struct{ text, secret, want string }{
		{"The token 'e' has expired!", "e", "The token '***' has expired!"},
		{"e", "e", "***"},
		{"dialled: dial, redial", "dial", "dialled: ***, redial"},
		{"?token=%27e%27&e=e", "e", "?token=%27***%27&***=***"},
		{`{"e":"\u0065","here":1}`, "e", `{"***":"***","here":1}`},
		{"einé", "e", "einé"},
		{"a_b 1e9", "e", "a_b 1e9"},
		{"' and '", "'", "*** and ***"},
		{"x1234567y", "1234567", "x1234567y"},
		{"x12345678y", "12345678", "x***y"}, // long enough
	} {
		if got := Text(c.text, c.secret); got != c.want {
			t.Errorf("%q without %q became %q, want %q", c.text, c.secret, got, c.want)
		}
	}
}

func TestSecretsBesideEachOtherAndWithinEachOther(t *testing.T) {
	for _, c := range []struct {
		text    string
		secrets []string
		want    string
	}{
		{"a 12345678abcdefgh z", []string{"12345678", "abcdefgh"}, "a *** z"},
		{"a 12345678 abcdefgh z", []string{"12345678", "abcdefgh"}, "a *** *** z"},
		{"a 12345678abcdefgh z", []string{"12345678abcdefgh", "5678abcd"}, "a *** z"},
		{"a 12345678abcdefgh z", []string{"5678abcd", "12345678abcdefgh"}, "a *** z"},
		{"a 12345678abcdefgh z", []string{"12345678abcd", "5678abcdefgh"}, "a *** z"},
	} {
		if got := Text(c.text, c.secrets...); got != c.want {
			t.Errorf("%q without %q became %q, want %q", c.text, c.secrets, got, c.want)
		}
	}
}

// A body is kept up to some length, which may be in the midst of a secret or of
// an escape in it.
func TestTheBeginningOfASecretAtACutIsHidden(t *testing.T) {
	effort.Long(t)
	for name, spell := range spellings {
		for _, secret := range secrets {
			if !faithful(name, secret) {
				continue
			}
			const before = "The token '"
			text := before + spell(secret)
			for end := len(before); end <= len(text); end++ {
				got := Cut(text[:end], secret)
				if got != before+Mask && got != text[:end] {
					t.Fatalf("%s: %q became %q", name, text[:end], got)
				}
				known := 0
				for k := range secret {
					if strings.HasPrefix(text[len(before):end], spell(secret[:k])) {
						known = k
					}
				}
				if got == text[:end] && known >= minTail {
					t.Errorf("%s: %d bytes are left in %q", name, known, text[:end])
				}
			}
		}
	}
	if got := Cut("... abcd", "abcdefgh"); got != "... ***" {
		t.Error(got)
	}
	if got := Cut("... abc", "abcdefgh"); got != "... abc" {
		t.Errorf("three letters are no secret: %s", got)
	}
	if got := Cut("& a %% \\ b, 'it&#39;s a secret'; ", "it's a secret"); got != "& a %% \\ b, '***'; " {
		t.Errorf("what looks like an escape hides what follows: %s", got)
	}
	if got := Cut("a&b=c&d=e&amp=it&#39;s-a-secret&x", "it's-a-secret"); got != "a&b=c&d=e&amp=***&x" {
		t.Errorf("what looks like an entity hides what follows: %s", got)
	}
	if got := Text("... abcdefg", "abcdefgh"); got != "... abcdefg" {
		t.Errorf("no cut: %s", got)
	}
	if got := Cut("... abababc", "ababcxyz"); got != "... ab***" {
		t.Errorf("the longest end counts: %s", got)
	}
}

func TestErrorHidesWhatIsQuotedAndNothingElse(t *testing.T) {
	quoted := fmt.Errorf("malformed HTTP response %q", "220 s3cret\n-token")
	for _, c := range []struct {
		err    error
		secret string
		want   string
	}{
		{quoted, "s3cret\n-token", `malformed HTTP response "220 ***"`},
		{quoted, "malformed", quoted.Error()},
		{quoted, "response", quoted.Error()},
		{quoted, `"`, quoted.Error()},
		{errors.New(`one "`), "one", `one "`},
		{errors.New("dial tcp: connection refused"), "dial", "dial tcp: connection refused"},
	} {
		err := Error(c.err, c.secret)
		if err.Error() != c.want {
			t.Errorf("%v without %q became %v", c.err, c.secret, err)
		}
		if c.err.Error() == c.want && err != c.err {
			t.Errorf("%v became another error", err)
		}
		if c.err.Error() != c.want && errors.Is(err, c.err) {
			t.Errorf("%v leads to the secret", err)
		}
	}
	if err := Error(io.EOF, "EOF"); err != io.EOF {
		t.Error(err)
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 5, ""},
		{"  a\r\n\tb \u2028 c\u3000", 10, "a b c"},
		{"\x1b[31mred\x07\x00", 10, "[31mred"},
		{"abc\u202Etxt.exe", 20, "abc txt.exe"},
		{"12345", 5, "12345"},
		{"123456", 5, "1234…"},
		{"你好你好你好", 5, "你好你好…"},
		{"12345      ", 5, "12345"},
		{"\n\n\n", 5, ""},
	} {
		if got := Line(c.in, c.max); got != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
}

// A minute of a quadratic redactor is a tenth of a second of this one.
func TestItTakesLinearTime(t *testing.T) {
	const mib = 1 << 17 // an eighth of one, for the race detector
	for name, c := range map[string]struct{ text, secret string }{
		"a long secret":             {strings.Repeat("abc", mib/3), strings.Repeat("abc", 16_000) + "x"},
		"a long secret, often":      {strings.Repeat("ab", mib), strings.Repeat("ab", 1000)},
		"half of it, over and over": {strings.Repeat("a", mib), strings.Repeat("a", mib/2) + "b"},
		"one letter":                {strings.Repeat("a ", mib/2), "a"},
		"backslashes":               {strings.Repeat(`\`, mib), "secret-of-the-house"},
		"percent signs":             {strings.Repeat("%25", mib/3), "secret-of-the-house"},
		"ampersands":                {strings.Repeat("&amp;", mib/5), "secret-of-the-house"},
		"all of them":               {strings.Repeat(`%5c&amp;\u0025`, mib/14), "secret-of-the-house"},
	} {
		begin := time.Now()
		Cut(c.text, c.secret)
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range secrets {
		f.Add(`{"a":"`, s, `"}`)
	}
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		if len(secret) < short {
			t.Skip()
		}
		Cut(before+after, secret)
		if got := Text(before+secret+after, secret); strings.Contains(got, secret) && !strings.Contains(secret, Mask) && !strings.Contains(before+Mask+after, secret) && selfOverlap(secret) == 0 {
			t.Errorf("%q has %q", got, secret)
		}
	})
}

func selfOverlap(s string) int { return overlap(s, s) }
