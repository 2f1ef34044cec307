package nlstest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSentence is the longest sentence, in characters. Text without punctuation is
// cut there, so that the subtitles of a sentence fit into a frame.
const maxSentence = 200

// splitter cuts text that comes in pieces into sentences. Nothing is lost: the
// sentences make up the text again, but for white space at its end.
type splitter struct {
	rest    string // of the text; it begins with the sentence that has no end yet
	scanned int    // bytes of rest that hold no end
	length  int    // characters in those
	spoken  bool   // those hold something to speak
}

// add takes more text and returns the sentences that are complete now.
func (s *splitter) add(text string) (sentences []string) {
	s.rest += text
	for s.scanned < len(s.rest) {
		r, n := utf8.DecodeRuneInString(s.rest[s.scanned:])
		after := s.rest[s.scanned+n:]
		if r == '.' && after == "" {
			break // 3.14 or the end of a sentence? The next piece will tell.
		}
		s.scanned += n
		s.length++
		ends := isEnd(r) || r == '.' && beginsWithSpace(after)
		s.spoken = s.spoken || !ends && !unicode.IsSpace(r)
		if (ends && s.spoken) || s.length >= maxSentence {
			if ends { // the rest of it, as far as it is there: ?! and a space
				s.scanned += len(after) - len(strings.TrimLeftFunc(after, func(r rune) bool {
					return isEnd(r) || r == '.' || unicode.IsSpace(r)
				}))
			}
			sentences = append(sentences, s.rest[:s.scanned])
			*s = splitter{rest: s.rest[s.scanned:]}
		}
	}
	return sentences
}

// flush returns the text that has no end, if there is something to speak in it.
func (s *splitter) flush() []string {
	rest := s.rest
	*s = splitter{}
	if strings.TrimSpace(rest) == "" {
		return nil
	}
	return []string{rest}
}

func isEnd(r rune) bool { return strings.ContainsRune("。！？!?;；\n", r) }

func beginsWithSpace(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}
