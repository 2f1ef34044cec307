package nlstest

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// hypotheses are what an Engine says that hears one character a second.
func hypotheses(text string, from time.Duration) (hs []Hypothesis) {
	words := characterWords(text)
	for i := range words {
		words[i].Start += from
		words[i].End += from
	}
	at := 0
	for i, w := range words {
		at += len(w.Text)
		hs = append(hs, Hypothesis{Text: text[:at], Begin: from, End: w.End, Words: words[:i+1]})
	}
	h := hs[len(hs)-1]
	h.Final = true
	return append(hs, h)
}

// A program that cuts text[len(previous):] out of partial results gets something
// else than the final text, whatever is said.
func TestPartialResultsAreTakenBack(t *testing.T) {
	for _, text := range []string{"你好", "今天天气很好", "北京明天上午有雨吗", "hello world", "你好，世界。"} {
		for _, punctuation := range []bool{false, true} {
			w := writing{partials: true, punctuation: punctuation}
			var cut, previous string
			for _, d := range w.written(hypotheses(text, 0), true) {
				if d.Final && d.Text != w.text(text) {
					t.Errorf("%q becomes %q", text, d.Text)
				}
				if len(previous) < len(d.Text) {
					cut += d.Text[len(previous):]
				}
				previous = d.Text
			}
			if cut == previous {
				t.Errorf("%q, punctuation %v: the pieces make up the text", text, punctuation)
			}
		}
		w := writing{partials: true, plain: true, punctuation: true}
		for _, d := range w.written(hypotheses(text, 0), true) {
			if !strings.HasPrefix(text, d.Text) {
				t.Errorf("plain partial result %q of %q", d.Text, text)
			}
		}
	}
	shorter := false
	w := writing{partials: true}
	ds := w.written(hypotheses("今天天气很好", 0), true)
	for i, d := range ds {
		shorter = shorter || d.Final && len(d.Text) < len(ds[i-1].Text)
	}
	if !shorter {
		t.Error("no final text is shorter than the last partial one")
	}
}

func TestSemanticSentencesEndWithTheirMeaning(t *testing.T) {
	type sentence struct {
		text, rest string
		begin, end time.Duration
	}
	const s = time.Second
	for name, tc := range map[string]struct {
		hs   []Hypothesis
		want []sentence
	}{
		"two without silence between them": {hypotheses("你好。再见。", 0), []sentence{{"你好。", "再见", 0, 3 * s}, {"再见。", "", 3 * s, 6 * s}}},
		"one with silence in it":           {slices.Concat(hypotheses("我要", 0), hypotheses("咖啡。", 9*s)), []sentence{{"我要咖啡。", "", 0, 12 * s}}},
		"its mark comes after the silence": {slices.Concat(hypotheses("好", 0), hypotheses("。走", 5*s)), []sentence{{"好。", "走", 0, 6 * s}, {"走", "", 6 * s, 7 * s}}},
		"no mark at all":                   {hypotheses("你好", s), []sentence{{"你好", "", s, 3 * s}}},
		"English":                          {hypotheses("Go 3.5. On", 0), []sentence{{"Go 3.5. ", "On", 0, 8 * s}, {"On", "", 8 * s, 10 * s}}},
		"nothing":                          {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := new(cutter)
			var got []sentence
			open := false
			for _, d := range slices.Concat(c.cut(tc.hs, false), c.cut(nil, true)) {
				if open = !d.Final; d.Final {
					got = append(got, sentence{d.Text, d.rest, d.Begin, d.End})
					var words string
					for _, w := range d.Words {
						words += w.Text
					}
					if words != d.Text {
						t.Errorf("the words of %q are %q", d.Text, words)
					}
				}
			}
			if !slices.Equal(got, tc.want) || open {
				t.Errorf("got %v, want %v; one is open: %v", got, tc.want, open)
			}
		})
	}
}
