package main

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// A cue is what is on the screen at a time. Two lines of a television hold as much;
// a Chinese character takes two columns.
const (
	cueColumns = 84
	cueLength  = 7 * time.Second
)

type cue struct {
	text       string
	begin, end time.Duration
}

// cut makes of a sentence a cue, or several where it is too long for one: of about
// equal size, cut between words and behind punctuation where there is any.
func cut(s sentence) []cue {
	text := oneLine(s.Text)
	if text == "" {
		return nil
	}
	columns, length := runewidth.StringWidth(text), s.End-s.Begin
	n := max((columns+cueColumns-1)/cueColumns, int((length+cueLength-1)/cueLength))
	if n <= 1 {
		return []cue{{text, s.Begin, s.End}}
	}
	most := min(columns/n+8, cueColumns)
	var cues []cue
	units := units(s, text)
	first := 0 // of the units that are in no cue
	flush := func(end int) {
		b := strings.Builder{}
		for _, u := range units[first:end] {
			b.WriteString(u.text)
		}
		cues = append(cues, cue{strings.TrimSpace(b.String()), units[first].begin, units[end-1].end})
		first = end
	}
	width := 0
	for i, u := range units {
		w := runewidth.StringWidth(u.text)
		if i > first && (width+w > most || u.end-units[first].begin > cueLength) {
			end := i
			for j := i; j > first+(i-first)/2; j-- {
				if last, _ := utf8.DecodeLastRuneInString(strings.TrimSpace(units[j-1].text)); unicode.IsPunct(last) {
					end = j
					break
				}
			}
			flush(end)
			width = 0
			for _, u := range units[end:i] {
				width += runewidth.StringWidth(u.text)
			}
		}
		width += w
	}
	flush(len(units))
	cues[0].begin, cues[len(cues)-1].end = s.Begin, s.End
	return cues
}

// units cuts text, that of s on a line, where a cue may end. A unit has the time of
// its word. Where words are not found in the text, since numbers are written
// differently, or there are none, the time is spread evenly over the columns.
func units(s sentence, text string) []cue {
	var found []cue
	pos, from := 0, 0 // where to look, and where the last unit begins
	missing := 0
	for _, w := range s.Words {
		i := strings.Index(text[pos:], w.Text)
		if i < 0 || w.Text == "" {
			missing++
			continue
		}
		at := pos + i
		if pos = at + len(w.Text); len(found) > 0 {
			if inWord(text, at) {
				found[len(found)-1].end = w.End
				continue
			}
			found[len(found)-1].text = text[from:at]
			from = at
		}
		found = append(found, cue{begin: w.Start, end: w.End})
	}
	if len(found) > 0 && 2*missing < len(s.Words) {
		found[len(found)-1].text = text[from:]
		return found
	}
	found = nil
	columns, done := max(runewidth.StringWidth(text), 1), 0
	at := func() time.Duration {
		return s.Begin + time.Duration(float64(s.End-s.Begin)*(float64(done)/float64(columns)))
	}
	for len(text) > 0 {
		n := 0
		for n < len(text) {
			r, size := utf8.DecodeRuneInString(text[n:])
			n += size
			next, _ := utf8.DecodeRuneInString(text[n:])
			if (unicode.IsSpace(r) || runewidth.RuneWidth(r) > 1) && !unicode.IsPunct(next) {
				break
			}
		}
		u := cue{text: text[:n], begin: at()}
		done += runewidth.StringWidth(u.text)
		u.end = at()
		found, text = append(found, u), text[n:]
	}
	return found
}

// inWord reports whether text[i:] goes on with a word that is written in letters.
func inWord(text string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:i])
	after, _ := utf8.DecodeRuneInString(text[i:])
	letter := func(r rune) bool { return runewidth.RuneWidth(r) < 2 && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	return letter(before) && letter(after)
}
