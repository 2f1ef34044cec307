package nlstest

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nlsgo/nls"
)

// writing is how the service writes down what an Engine has heard: what was asked
// for, and nothing else (protocol §16.1).
type writing struct {
	punctuation bool // enable_punctuation_prediction
	digits      bool // enable_inverse_text_normalization
	partials    bool // enable_intermediate_result: they are sent
	plain       bool // Options.PlainPartials
	cutter      *cutter
}

// draft is a Hypothesis on its way to the client.
type draft struct {
	Hypothesis
	rest string // what was heard of the next sentence, if Final
}

// written is what becomes of hypotheses. At the end of the audio, last is true.
func (w *writing) written(hs []Hypothesis, last bool) []draft {
	var drafts []draft
	if w.cutter != nil {
		drafts = w.cutter.cut(hs, last)
	} else {
		drafts = make([]draft, len(hs))
		for i, h := range hs {
			drafts[i].Hypothesis = h
		}
	}
	for i := range drafts {
		d := &drafts[i]
		if !d.Final && !w.partials {
			continue
		}
		if !d.Final && !w.plain {
			d.Text, d.Words = unsure(d.Text, d.Words, w.punctuation)
		}
		d.Text, d.rest = w.text(d.Text), w.text(d.rest)
	}
	return drafts
}

func (w *writing) text(text string) string {
	text = applied(text, numberEdits(text, w.digits))
	if !w.punctuation {
		text = unpunctuated(text)
	}
	return text
}

// unsure is a partial result as it may be taken back by the next one: of seven
// lengths one has its last character misheard, one an end that is none, one a sound that
// is no word. The length alone decides, so the same audio gives the same results.
func unsure(text string, words []nls.Word, punctuation bool) (string, []nls.Word) {
	last, size := utf8.DecodeLastRuneInString(text)
	if !unicode.IsLetter(last) {
		return text, words
	}
	n := len(words)
	switch utf8.RuneCountInString(text) % 7 {
	case 2:
		other := string(misheard(last))
		text = text[:len(text)-size] + other
		if n > 0 && words[n-1].Text == string(last) {
			words = append(words[:n-1:n-1], nls.Word{Text: other, Start: words[n-1].Start, End: words[n-1].End})
		}
	case 4:
		if punctuation {
			text += mark(last, "。", ".")
		}
	case 6:
		text += mark(last, "嗯", " uh")
	}
	return text, words
}

// mark is one of two texts, for the script of r.
func mark(r rune, han, other string) string {
	if unicode.Is(unicode.Han, r) {
		return han
	}
	return other
}

// misheard is a letter that sounds like r or, failing that, another one.
func misheard(r rune) rune {
	const alike = "他她的得在再是事做作天添好号你泥见建界借一医有又会回人仁上尚下夏中钟气器再在北背京经aeiouabdtkgkmnszvf"
	for i := 0; ; {
		first, size := utf8.DecodeRuneInString(alike[i:])
		if size == 0 {
			break
		}
		second, width := utf8.DecodeRuneInString(alike[i+size:])
		if first == r {
			return second
		}
		i += size + width
	}
	if unicode.Is(unicode.Han, r) {
		return '那'
	}
	return 'e'
}

// cutter makes sentences of what an Engine has heard by what they say, as with
// enable_semantic_sentence_detection: a sentence ends with its mark, and not with the
// silence behind it. It ends once something follows, or silence or the end of the audio does.
type cutter struct {
	before     string // what is not told yet of the engine's sentences that are over
	words      []nls.Word
	told       int // bytes of the engine's sentence
	toldWords  int
	open       bool
	begin, end time.Duration // of what is not told yet
	confidence float64
}

func (c *cutter) cut(hs []Hypothesis, last bool) (out []draft) {
	for _, h := range hs {
		text := h.Text
		if c.told <= len(text) {
			text = text[c.told:]
		} else {
			text = "" // the engine has taken back what was told
		}
		words := h.Words[min(c.toldWords, len(h.Words)):]
		if c.before == "" && c.told == 0 && !c.open {
			c.begin = h.Begin
		}
		c.end, c.confidence = h.End, h.Confidence
		all := c.before + text
		allWords := append(c.words[:len(c.words):len(c.words)], words...)
		for {
			n := sentenceLen(all, h.Final)
			if n == 0 {
				break
			}
			of := wordsWithin(allWords, all, n)
			end := h.End
			if len(all) > n && of > 0 {
				end = allWords[of-1].End
			}
			out = append(out, draft{
				Hypothesis: Hypothesis{Text: all[:n], Begin: c.begin, End: end, Final: true, Confidence: h.Confidence, Words: allWords[:of]},
				rest:       all[n:],
			})
			c.told += max(0, n-len(c.before))
			c.toldWords += max(0, of-len(c.words))
			c.before, c.words, c.open = "", nil, false
			all, allWords = all[n:], allWords[of:]
			c.begin = end
			if len(allWords) > 0 {
				c.begin = allWords[0].Start
			}
		}
		if all != "" || !h.Final && h.Text == "" {
			c.open = true
			out = append(out, draft{Hypothesis: Hypothesis{Text: all, Begin: c.begin, End: h.End, Confidence: h.Confidence, Words: allWords}})
		}
		if h.Final {
			c.before, c.words, c.told, c.toldWords = all, allWords, 0, 0
		}
	}
	if last && c.before != "" {
		out = append(out, draft{Hypothesis: Hypothesis{Text: c.before, Begin: c.begin, End: c.end, Final: true, Confidence: c.confidence, Words: c.words}})
		c.before, c.words, c.open = "", nil, false
	}
	return out
}

// lookAhead is how many characters behind its mark end a sentence. Partial results
// of it hold those before, as the service's do (protocol §16.1).
const lookAhead = 2

// sentenceLen is how much of text, in bytes, is a sentence with its mark and
// lookAhead behind it or, if nothing more will come, without; 0 if none is.
func sentenceLen(text string, over bool) int {
	for i, r := range text {
		if !isEnd(r) && !(r == '.' && (over && i+1 == len(text) || beginsWithSpace(text[i+1:]))) {
			continue
		}
		rest := strings.TrimLeftFunc(text[i:], func(r rune) bool { return isEnd(r) || r == '.' || unicode.IsSpace(r) })
		if over || utf8.RuneCountInString(rest) >= lookAhead {
			return len(text) - len(rest)
		}
	}
	return 0
}

// wordsWithin is how many of the words of text are within its first n bytes.
func wordsWithin(words []nls.Word, text string, n int) int {
	at := 0
	for i, w := range words {
		if j := strings.Index(text[at:], w.Text); j >= 0 {
			at += j + len(w.Text)
		}
		if at > n {
			return i
		}
	}
	return len(words)
}
