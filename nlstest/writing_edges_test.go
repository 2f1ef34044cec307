package nlstest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

// What a partial result looks like, by its length: as it is, misheard, with an end or
// with a sound.
func TestWhatPartialResultsGetWrong(t *testing.T) {
	for _, row := range []struct{ text, punctuated, plain string }{
		{"好", "好", "好"},
		{"你好", "你号", "你号"},
		{"他的", "他得", "他得"},
		{"我龘", "我那", "我那"},
		{"hi", "ho", "ho"},
		{"of", "oe", "oe"},
		{"qx", "qe", "qe"},
		{"今天天", "今天天", "今天天"},
		{"今天天气", "今天天气。", "今天天气"},
		{"news", "news.", "news"},
		{"今天天气好", "今天天气好", "今天天气好"},
		{"今天天气很好", "今天天气很好嗯", "今天天气很好嗯"},
		{"indeed", "indeed uh", "indeed uh"},
		{"今天天气很好的", "今天天气很好的", "今天天气很好的"},
		{"今天天气很好的吗了", "今天天气很好的吗那", "今天天气很好的吗那"}, // nine are as two
		{"好。", "好。", "好"},                       // a mark is heard as it is
	} {
		for _, punctuation := range []bool{true, false} {
			w := writing{partials: true, punctuation: punctuation}
			want := row.plain
			if punctuation {
				want = row.punctuated
			}
			if got := w.written([]Hypothesis{{Text: row.text}}, false)[0].Text; got != want {
				t.Errorf("%q, punctuation %v: %q, want %q", row.text, punctuation, got, want)
			}
			if got := w.written([]Hypothesis{{Text: row.text, Final: true}}, false)[0].Text; got != w.text(row.text) {
				t.Errorf("%q becomes %q in the end", row.text, got)
			}
		}
	}
	// A misheard character is so in its words too, if it is one of them.
	w := writing{partials: true}
	for heard, want := range map[string]string{"你|好": "你 号", "你好": "你好", "你|好|": "你 好 ", "好": "号"} {
		var words []nls.Word
		for i, text := range strings.Split(heard, "|") {
			words = append(words, nls.Word{Text: text, Start: time.Duration(i), End: time.Duration(i + 1)})
		}
		d := w.written([]Hypothesis{{Text: "你好", Words: words}}, false)[0]
		var got []string
		for i, word := range d.Words {
			got = append(got, word.Text)
			if word.Start != time.Duration(i) || word.End != time.Duration(i+1) {
				t.Errorf("%s: word %d is at %v to %v", heard, i, word.Start, word.End)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: words %q, want %q", heard, got, want)
		}
	}
	if d := w.written([]Hypothesis{{Text: "你好"}}, false)[0]; d.Text != "你号" || d.Words != nil {
		t.Errorf("without words: %+v", d)
	}
}

// sentences says what a cutter makes of hypotheses: text+rest, begin-end, and whether it is
// open, of each.
func sentences(c *cutter, hs []Hypothesis, last bool) string {
	var all []string
	for _, d := range c.cut(hs, last) {
		s := d.Text
		if d.rest != "" {
			s += "+" + d.rest
		}
		if !d.Final {
			s += "…"
		}
		var words string
		for _, w := range d.Words {
			words += w.Text
		}
		if words != d.Text {
			s += "(words " + words + ")"
		}
		all = append(all, fmt.Sprintf("%s %d-%d %.1f", s, d.Begin/time.Second, d.End/time.Second, d.Confidence))
	}
	return strings.Join(all, ", ")
}

// A row is what an engine says, piece by piece, and what has become of it after each. "|" ends a
// sentence of the engine; each character takes a second.
func TestSentencesByTheirMeaning(t *testing.T) {
	for _, row := range []struct{ heard, want string }{
		{"你", "你… 0-1 0.5"},
		{"你。", "你。… 0-2 0.5"}, // what follows will show that it has ended
		{"你。我", "你。我… 0-3 0.5"},
		{"你。我们", "你。+我们 0-2 0.5, 我们… 2-4 0.5"},
		{"你。我们！你们", "你。+我们！你们 0-2 0.5, 我们！+你们 2-5 0.5, 你们… 5-7 0.5"},
		{"你。|", "你。 0-2 0.5"},
		{"你？！|", "你？！ 0-3 0.5"},
		{"你|", "你… 0-1 0.5"}, // silence ends no sentence
		{"ok.|", "ok. 0-3 0.5"},
		{"v.x|", "v.x… 0-3 0.5"},
		{"ok. so", "ok. +so 0-4 0.5, so… 4-6 0.5"},
		{"", "… 0-0 0.5"}, // somebody speaks
	} {
		text, over := strings.CutSuffix(row.heard, "|")
		words := characterWords(text)
		h := Hypothesis{Text: text, Words: words, Confidence: 0.5, Final: over}
		if n := len(words); n > 0 {
			h.End = words[n-1].End
		}
		if got := sentences(new(cutter), []Hypothesis{h}, false); got != row.want {
			t.Errorf("%q: got  %s\nwant %s", row.heard, got, row.want)
		}
	}
	hypothesis := func(text string, from int, final bool) Hypothesis {
		h := Hypothesis{Text: text, Confidence: 0.5, Final: final, Begin: time.Duration(from) * time.Second}
		for _, w := range characterWords(text) {
			w.Start += h.Begin
			w.End += h.Begin
			h.Words = append(h.Words, w)
			h.End = w.End
		}
		return h
	}
	type step struct {
		h    Hypothesis
		want string
	}
	for name, steps := range map[string][]step{
		"what was told is not told again": {
			{hypothesis("你。我们", 0, false), "你。+我们 0-2 0.5, 我们… 2-4 0.5"},
			{hypothesis("你。我们走", 0, false), "我们走… 2-5 0.5"},
			{hypothesis("你。我们走。", 0, true), "我们走。 2-6 0.5"},
			{hypothesis("好", 9, false), "好… 9-10 0.5"},
		},
		"a sentence may last over silences": {
			{hypothesis("我", 0, true), "我… 0-1 0.5"},
			{hypothesis("要", 5, true), "我要… 0-6 0.5"},
			{hypothesis("茶。", 9, true), "我要茶。 0-11 0.5"},
			{hypothesis("好", 20, true), "好… 20-21 0.5"},
		},
		"an end that was told within it": {
			{hypothesis("我", 0, true), "我… 0-1 0.5"},
			{hypothesis("要。好吗", 5, false), "我要。+好吗 0-7 0.5, 好吗… 7-9 0.5"},
			{hypothesis("要。好吗？", 5, true), "好吗？ 7-10 0.5"},
		},
		"an engine may take back what was told": {
			{hypothesis("你。我们", 0, false), "你。+我们 0-2 0.5, 我们… 2-4 0.5"},
			{hypothesis("他", 0, false), ""},
			{hypothesis("他", 0, true), ""},
			{hypothesis("好", 9, false), "好… 2-10 0.5"}, // in the sentence that has begun
		},
		"the end of the audio ends a sentence": {
			{hypothesis("你们", 0, true), "你们… 0-2 0.5"},
			{Hypothesis{}, "你们 0-2 0.5"},
			{Hypothesis{}, ""},
			{hypothesis("好", 9, false), "好… 9-10 0.5"},
		},
	} {
		c := new(cutter)
		for i, s := range steps {
			hs := []Hypothesis{s.h}
			if s.h.End == 0 {
				hs = nil
			}
			if got := sentences(c, hs, hs == nil); got != s.want {
				t.Errorf("%s, step %d: got  %s\nwant %s", name, i, got, s.want)
			}
		}
	}
}

// Without partial results nobody cares for what they would say.
func TestPartialResultsThatNobodyAskedFor(t *testing.T) {
	w := writing{punctuation: true}
	if got := w.written([]Hypothesis{{Text: "你好"}}, false)[0].Text; got != "你好" {
		t.Errorf("got %q", got)
	}
}
