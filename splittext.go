package nls

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file cuts text into what the service takes at a time, where it does not
// hurt. Dictionaries of graphemes are large and not in the standard library, so
// the rules here are those of UAX #29 as far as package unicode has them, and
// never cut where UAX #29 does not: rather a bit too rarely.

// maxShortText is how many characters of a text a short synthesis speaks (protocol
// §5.2). Each Han character, letter, punctuation mark or space is one.
const maxShortText = 300

// The longest piece of text in one RunSynthesis. The documents disagree on how many
// characters the service takes: the strictest has 2,000, and a Han character as two
// of them (protocol §16.2). The directive also has to fit a frame of 16 KiB, of
// which envelope and escapes may take the rest.
const (
	maxPieceChars = 1000
	maxPieceBytes = 14 << 10
)

// withoutBOM is text without the byte order mark of a file, which would hide that
// it is SSML.
func withoutBOM(text string) string { return strings.TrimPrefix(text, "\ufeff") }

// isSSML reports whether text is an SSML document, which is known by its root
// element. The prologue of XML may come before it.
func isSSML(text string) bool {
	text = strings.TrimSpace(withoutBOM(text))
	for {
		var ok bool
		switch {
		case strings.HasPrefix(text, "<?"):
			_, text, ok = strings.Cut(text, "?>")
		case strings.HasPrefix(text, "<!--"):
			_, text, ok = strings.Cut(text, "-->")
		case strings.HasPrefix(text, "<!"):
			_, text, ok = strings.Cut(text, ">")
		}
		if !ok {
			break
		}
		text = strings.TrimSpace(text)
	}
	rest, ok := strings.CutPrefix(text, "<speak")
	return ok && rest != "" && strings.ContainsRune(" \t\r\n>/", rune(rest[0]))
}

// splitText cuts text into pieces of at most limit characters, at the ends of
// sentences where it can, and never inside a grapheme, however long that is. White
// space goes with what is before it if it fits; pieces of nothing else, which
// nobody would hear, are left out.
func splitText(text string, limit int) (pieces []string) {
	for text != "" {
		n := bestCut(text, limit)
		if strings.TrimSpace(text[:n]) != "" {
			pieces = append(pieces, text[:n])
		}
		text = text[n:]
	}
	return pieces
}

// How good a place is to cut a text.
const (
	anywhere  = iota // between two graphemes
	wordEnd          // where a line may break
	clauseEnd        // after a comma
	sentenceEnd
)

// bestCut returns how much of text the next piece has: up to the last of the best
// places among its first limit characters.
func bestCut(text string, limit int) int {
	var at [sentenceEnd + 1]int // the last place that is so good, or better
	var before surroundings
	chars, whole := 0, 0
	for end := range graphemes(text) {
		before.add(text[whole:end])
		if chars += utf8.RuneCountInString(text[whole:end]); chars > limit {
			break
		}
		whole = end
		for good := range before.quality(text[end:]) + 1 {
			at[good] = end
		}
	}
	if whole == len(text) {
		return whole
	}
	for good := sentenceEnd; good >= anywhere; good-- {
		if at[good] > 0 {
			return at[good]
		}
	}
	for end := range graphemes(text) { // one that is longer
		return end
	}
	return len(text)
}

// surroundings are what there is before a place in a text.
type surroundings struct {
	last            rune // but for space, marks, and what closes quotes and brackets; 0 if none
	spaced, newline bool // since then
}

func (c *surroundings) add(grapheme string) {
	for _, r := range grapheme {
		switch {
		case unicode.IsSpace(r):
			c.spaced, c.newline = true, c.newline || isNewline(r)
		case !isCloser(r) && !unicode.Is(unicode.M, r):
			*c = surroundings{last: r}
		}
	}
}

// quality says how good a place for a cut is before rest, which begins a grapheme.
func (c surroundings) quality(rest string) int {
	next, _ := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "":
		return sentenceEnd
	case c.last == 0 || isCloser(next) || isTerminal(next):
		return anywhere // these go with what is before them
	case c.newline || isNewline(next):
		return sentenceEnd
	}
	return quality(c.last, next, c.spaced || unicode.IsSpace(next))
}

// quality is that of a cut between last and next, with space in between or not.
func quality(last, next rune, spaced bool) int {
	// A full stop, comma or colon of the alphabets may be part of a number or name,
	// unless a space or another script follows.
	certain := spaced || last >= 0x2E80 || next >= 0x2E80 || last == '!' || last == '?' || last == '…'
	switch {
	case certain && (unicode.Is(unicode.STerm, last) || last == '…'):
		return sentenceEnd
	case certain && isTerminal(last):
		return clauseEnd
	case spaced || !inWord(last) || !inWord(next):
		return wordEnd
	}
	return anywhere
}

func isNewline(r rune) bool { return r == '\n' || r == '\r' || r == '\u2029' }

// isTerminal reports whether r ends a sentence or a clause.
func isTerminal(r rune) bool { return r == '…' || unicode.Is(unicode.Terminal_Punctuation, r) }

// isCloser reports whether r closes quotes or brackets.
func isCloser(r rune) bool {
	return unicode.In(r, unicode.Pe, unicode.Pf) || r == '"' || r == '\'' || r == '』' || r == '」'
}

// inWord reports whether r is of a script that has spaces between its words, or
// goes with it, as do the parts of an address or a number.
func inWord(r rune) bool { return r < 0x2E80 && !unicode.IsSpace(r) }

// graphemes yields where the graphemes of text end: what a reader takes for one
// character, such as an emoji of several.
func graphemes(text string) func(yield func(end int) bool) {
	return func(yield func(end int) bool) {
		var g grapheme
		for i, r := range text {
			if i > 0 && !g.joins(r) && !yield(i) {
				return
			}
			g = grapheme{r, isRegional(r) && !g.half}
		}
		if text != "" {
			yield(len(text))
		}
	}
}

// grapheme is what has to be known of the one that ends with last.
type grapheme struct {
	last rune
	half bool // last is the first half of a flag
}

// joins reports whether r belongs to the same grapheme as what is before it.
func (g grapheme) joins(r rune) bool {
	switch last := g.last; {
	case last == '\r':
		return r == '\n'
	case isBreak(last) || isBreak(r):
		return false
	case isExtend(r):
		return true
	case last == '\u200d': // which joins emoji
		return !unicode.IsSpace(r)
	case unicode.Is(unicode.Prepended_Concatenation_Mark, last) || isVirama(last):
		return true
	case isRegional(r):
		return g.half
	default:
		return joinsHangul(last, r)
	}
}

// isBreak reports whether r is a character of its own, whatever is beside it.
func isBreak(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// isExtend reports whether r goes with what is before it: combining marks,
// variation selectors, joiners, skin tones, tags of flags.
func isExtend(r rune) bool {
	return r >= 0x300 && unicode.Is(unicode.M, r) || r == '\u200c' || r == '\u200d' || r == '\u0e33' || r == '\u0eb3' ||
		'\uff9e' <= r && r <= '\uff9f' || '\U0001f3fb' <= r && r <= '\U0001f3ff' || '\U000e0020' <= r && r <= '\U000e007f'
}

// isRegional reports whether r is half of a flag.
func isRegional(r rune) bool { return '\U0001f1e6' <= r && r <= '\U0001f1ff' }

// isVirama reports whether r joins what is after it, in an Indic script.
func isVirama(r rune) bool {
	switch r {
	case 0x94d, 0x9cd, 0xacd, 0xb4d, 0xc4d, 0xd4d, 0xd4e, 0x1039, 0x17d2, 0x1a60, 0x1b44, 0xa9c0:
		return true
	}
	return false
}

// joinsHangul reports whether r goes on with a syllable that has come to last.
func joinsHangul(last, r rune) bool {
	isL := func(r rune) bool { return '\u1100' <= r && r <= '\u115f' || '\ua960' <= r && r <= '\ua97c' }
	isV := func(r rune) bool { return '\u1160' <= r && r <= '\u11a7' || '\ud7b0' <= r && r <= '\ud7c6' }
	isT := func(r rune) bool { return '\u11a8' <= r && r <= '\u11ff' || '\ud7cb' <= r && r <= '\ud7fb' }
	syllable := func(r rune) bool { return '\uac00' <= r && r <= '\ud7a3' }
	open := func(r rune) bool { return syllable(r) && (r-'\uac00')%28 == 0 }
	switch {
	case isL(last):
		return isL(r) || isV(r) || syllable(r)
	case isV(last) || open(last):
		return isV(r) || isT(r)
	case isT(last) || syllable(last):
		return isT(r)
	}
	return false
}

// cutText cuts text after as many characters as one RunSynthesis takes, between two
// graphemes unless one is longer than that.
func cutText(text string) (piece, rest string) {
	chars, size, fits := 0, 0, len(text)
	for i, r := range text {
		n := utf8.RuneLen(r)
		switch {
		case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
			n = 2 // \n
		case r < ' ' || r == '\u2028' || r == '\u2029':
			n = 6 // \u2028
		}
		if chars++; chars > maxPieceChars || size+n > maxPieceBytes {
			fits = i
			break
		}
		size += n
	}
	cut := fits
	for end := range graphemes(text) {
		if end > fits {
			break
		}
		cut = end
	}
	return text[:cut], text[cut:]
}
