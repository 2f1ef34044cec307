package redact

import (
	"strconv"
	"strings"
	"unicode/utf16"
)

// escape is a way to spell characters.
type escape struct {
	lead byte // with which it begins

	// decode returns the character, or the byte, that s begins with the spelling of,
	// and the length of that spelling: 0 if it is none, -1 if s ends too early to
	// say.
	decode func(s string) (r rune, isByte bool, size int)
}

var escapes = []escape{{'\\', backslash}, {'%', percent}, {'&', entity}}

// backslash decodes the escapes of JSON and of Go.
func backslash(s string) (rune, bool, int) {
	if len(s) < 2 {
		return 0, false, -1
	}
	switch c := s[1]; c {
	case 'x':
		n, size := hex(s, 2, 2)
		return n, true, size
	case 'u':
		n, size := hex(s, 2, 4)
		if size > 0 && utf16.IsSurrogate(n) {
			if rest := s[size:]; len(rest) < 2 {
				return 0, false, -1
			} else if rest[0] == '\\' && rest[1] == 'u' {
				low, more := hex(rest, 2, 4)
				if more <= 0 {
					return 0, false, more
				}
				return utf16.DecodeRune(n, low), false, size + more
			}
		}
		return n, false, size
	case 'U':
		n, size := hex(s, 2, 8)
		return n, false, size
	default:
		if i := strings.IndexByte(`"\/'abfnrtv`, c); i >= 0 {
			return rune("\"\\/'\a\b\f\n\r\t\v"[i]), true, 2
		}
	}
	return 0, false, 0
}

// percent decodes those of URLs.
func percent(s string) (rune, bool, int) {
	n, size := hex(s, 1, 2)
	return n, true, size
}

// maxEntity is longer than any spelling of a character that entity knows.
const maxEntity = 12

// entity decodes those of HTML.
func entity(s string) (rune, bool, int) {
	end := strings.IndexByte(s[:min(len(s), maxEntity)], ';')
	if end < 0 {
		if len(s) < maxEntity && strings.IndexByte(s, ' ') < 0 {
			return 0, false, -1
		}
		return 0, false, 0
	}
	name := s[1:end]
	if c, ok := map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}[name]; ok {
		return c, false, end + 1
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false, 0
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil {
		return 0, false, 0
	}
	return rune(n), false, end + 1
}

// hex decodes the digits s[from:from+n]. size is that of decode.
func hex(s string, from, n int) (value rune, size int) {
	for i := from; i < from+n; i++ {
		if i >= len(s) {
			return 0, -1
		}
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			value = value<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			value = value<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, 0
		}
	}
	return value, from + n
}
