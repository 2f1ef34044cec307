package nlstest

import (
	"hash/fnv"
	"strconv"
	"time"
	"unicode"

	"github.com/nlsgo/nls"
)

// The initials and finals of Mandarin, or most of them.
var (
	hanInitials = [...]string{"b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h", "j", "q", "x", "zh", "ch", "sh", "r", "z", "c", "s"}
	hanFinals   = [...]string{"a", "o", "e", "i", "u", "ai", "ei", "ao", "ou", "an", "en", "ang", "eng", "ong", "ia", "ie", "iao", "iu", "ian", "in", "iang", "ing"}
)

// inventedPhonemes are phonemes for a unit of an engine that knows none: of the
// right number and form and with times that fill the unit, but which sounds they are
// says nothing. A Han character has two, a word one for each letter, anything else
// none.
func inventedPhonemes(unit nls.Subtitle) (phonemes []nls.Phoneme) {
	for _, r := range unit.Text {
		switch {
		case unicode.Is(unicode.Han, r):
			h := fnv.New32a()
			h.Write([]byte(string(r)))
			n := int(h.Sum32() >> 1)
			tone := strconv.Itoa(n%4 + 1)
			phonemes = append(phonemes,
				nls.Phoneme{Text: hanInitials[n%len(hanInitials)] + "_c", Tone: tone}, nls.Phoneme{Text: hanFinals[n%len(hanFinals)] + "_c", Tone: tone})
		case unicode.IsLetter(r):
			phonemes = append(phonemes, nls.Phoneme{Text: string(unicode.ToLower(r)) + "_e"})
		}
	}
	for i := range phonemes {
		at := func(i int) time.Duration {
			return unit.Begin + (unit.End-unit.Begin)*time.Duration(i)/time.Duration(len(phonemes))
		}
		phonemes[i].Begin, phonemes[i].End = at(i), at(i+1)
	}
	return phonemes
}
