package nlstest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// punctuationMarks are the marks that punctuation prediction puts into a text:
// those of sentences and clauses. Brackets, quotes, hyphens and apostrophes belong to
// words.
const punctuationMarks = "，。！？；：、…,.!?;:"

// numberMarks are those that may be part of a number, between two digits.
const numberMarks = ".,:"

// unpunctuated is text as the service writes it without
// enable_punctuation_prediction (protocol §16.1). A mark of a number stays, as in 3.14. A space takes the place of a mark that
// alone separates two words with letters that are not Han.
func unpunctuated(text string) string {
	if !strings.ContainsAny(text, punctuationMarks) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	before := rune(-1) // what was written last
	marked := false    // a mark was left out since
	for i, r := range text {
		if strings.ContainsRune(punctuationMarks, r) {
			after, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
			if marked || !strings.ContainsRune(numberMarks, r) || !unicode.IsDigit(before) || !unicode.IsDigit(after) {
				marked = true
				continue
			}
		}
		if marked && spaced(before) && spaced(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		before, marked = r, false
	}
	return b.String()
}

// spaced reports whether r is of a script that writes spaces between words.
func spaced(r rune) bool {
	return unicode.IsDigit(r) || unicode.IsLetter(r) && !unicode.Is(unicode.Han, r)
}
