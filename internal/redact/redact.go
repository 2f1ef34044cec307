// Package redact hides secrets in text that a peer has written, and makes such
// text fit to be shown. It is for what a peer says and not for our own words: a
// secret may be a word of the language.
package redact

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mask stands where a secret was.
const Mask = "***"

const (
	// A secret shorter than this is hidden where it stands alone and not within
	// words. It is none to speak of, and would take most of a text with it.
	short = 8

	// Fewer bytes than this of a secret, at the end of a text that was cut, are
	// no clue to it, and often something else.
	minTail = 4

	// Text that quotes a quotation is escaped twice; three times is generous.
	maxDepth = 3
)

// Text returns s with *** in place of each secret, however it is spelled: as it
// is, or as JSON, Go, a URL or HTML would spell all of its characters or some, up
// to three times over. An empty secret is none. It takes time in proportion to
// the lengths of s and the secrets.
func Text(s string, secrets ...string) string { return hide(s, false, secrets) }

// Cut is Text for an s that may lack its end. If a secret may begin at the end of
// s, that beginning is hidden.
func Cut(s string, secrets ...string) string { return hide(s, true, secrets) }

// Error returns err, or an error without the secrets if what the text of err
// quotes of the peer has one. In the errors of net/http and net/textproto about
// what they cannot parse that is between the first quotation mark and the last.
func Error(err error, secrets ...string) error {
	text := err.Error()
	start, end := strings.IndexByte(text, '"')+1, strings.LastIndexByte(text, '"')
	if start > end {
		return err
	}
	if clean := Text(text[start:end], secrets...); clean != text[start:end] {
		// Not wrapped, since err would be found in the chain.
		return errors.New(text[:start] + clean + text[end:])
	}
	return err
}

// Line returns s as one line of at most maxRunes characters. White space becomes a
// single blank, as do characters that do something to a terminal or a log.
func Line(s string, maxRunes int) string {
	out := make([]rune, 0, min(maxRunes, len(s)))
	blank := false
	for _, r := range s {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			blank = len(out) > 0
			continue
		}
		if blank {
			out, blank = append(out, ' '), false
		}
		out = append(out, r)
		if len(out) > maxRunes {
			return string(out[:maxRunes-1]) + "…"
		}
	}
	return string(out)
}

func hide(s string, cut bool, secrets []string) string {
	var found []span
	for _, secret := range secrets {
		for _, read := range readings(secret) {
			found = (&view{s, nil, len(s)}).search(read, cut, maxDepth, found)
		}
	}
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var b strings.Builder
	end := 0
	for i, f := range found {
		if i == 0 || f.start > end {
			b.WriteString(s[end:f.start] + Mask)
		}
		end = max(end, f.end)
	}
	b.WriteString(s[end:])
	return b.String()
}

// readings are what a peer may take the bytes of secret for: what they are; Latin-1,
// as HTTP has it in headers; and, if they are no UTF-8, what replaces them in it.
func readings(secret string) []string {
	if secret == "" {
		return nil
	}
	if strings.IndexFunc(secret, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return []string{secret}
	}
	var latin1 []rune
	for _, c := range []byte(secret) {
		latin1 = append(latin1, rune(c))
	}
	return []string{secret, string(latin1), string([]rune(secret))}
}

// span is a part of the text that was given.
type span struct{ start, end int }

// view is a text in which some escapes have been undone.
type view struct {
	text string
	pos  []int // where each byte, and the end, was in the text that was given; nil if nothing has moved
	end  int   // of that text, which may have ended within an escape
}

func (v *view) at(i int) int {
	if v.pos == nil {
		return i
	}
	return v.pos[i]
}

// search adds the places of secret in v, and in what v may be an escaped form of,
// to found.
func (v *view) search(secret string, cut bool, depth int, found []span) []span {
	text, secret := v.text, secret
	if strings.ContainsAny(secret, " +") { // in a URL a blank may be a plus, and a plus a plus
		text, secret = strings.ReplaceAll(text, "+", " "), strings.ReplaceAll(secret, "+", " ")
	}
	for i := 0; ; {
		n := strings.Index(text[i:], secret)
		if n < 0 {
			break
		}
		start := i + n
		i = start + len(secret)
		if len(secret) >= short || !inWord(text, start) && !inWord(text, i) {
			found = append(found, span{v.at(start), v.at(i)})
		}
	}
	if cut {
		if n := overlap(text, secret); n >= minTail {
			found = append(found, span{v.at(len(text) - n), v.end})
		}
	}
	if depth > 0 {
		for _, e := range escapes {
			if w := v.unescape(e, cut); w != nil {
				found = w.search(secret, cut, depth-1, found)
			}
		}
	}
	return found
}

// inWord reports whether text[i-1] and text[i] belong to the same word.
func inWord(text string, i int) bool {
	return i > 0 && i < len(text) && isWord(text[i-1]) && isWord(text[i])
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= utf8.RuneSelf
}

// overlap is the length of the longest end of text that secret, but not all of it,
// begins with.
func overlap(text, secret string) int {
	text = text[max(0, len(text)-len(secret)+1):]
	secret = secret[:min(len(secret), len(text)+1)]
	// Knuth, Morris and Pratt: back[i] is how much of secret's beginning remains
	// matched when the byte after its first i does not match.
	back := make([]int, len(secret)+1)
	for i, n := 1, 0; i < len(secret); i++ {
		for n > 0 && secret[i] != secret[n] {
			n = back[n]
		}
		if secret[i] == secret[n] {
			n++
		}
		back[i+1] = n
	}
	n := 0
	for i := range len(text) {
		for n > 0 && secret[n] != text[i] {
			n = back[n]
		}
		if secret[n] == text[i] {
			n++
		}
	}
	return n
}

// unescape returns v with the escapes that e knows undone, once; nil if it has
// none.
func (v *view) unescape(e escape, cut bool) *view {
	if strings.IndexByte(v.text, e.lead) < 0 {
		return nil
	}
	text, pos := make([]byte, 0, len(v.text)), make([]int, 0, len(v.text)+1)
	changed := false
	i := 0
	for i < len(v.text) {
		size := 0
		if v.text[i] == e.lead {
			var r rune
			var isByte bool
			r, isByte, size = e.decode(v.text[i:])
			if size < 0 && cut { // the text ends within an escape
				changed = true
				break
			}
			switch {
			case size > 0 && isByte:
				text = append(text, byte(r))
			case size > 0:
				text = utf8.AppendRune(text, r)
			}
		}
		if size > 0 {
			changed = true
		} else {
			text, size = append(text, v.text[i]), 1
		}
		for len(pos) < len(text) {
			pos = append(pos, v.at(i))
		}
		i += size
	}
	if !changed {
		return nil
	}
	return &view{string(text), append(pos, v.at(i)), v.end}
}
