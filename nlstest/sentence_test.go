package nlstest

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSplitter(t *testing.T) {
	long := strings.Repeat("长", maxSentence)
	for _, row := range []struct {
		name   string
		pieces []string
		want   []string // after each piece, and at last after flush, joined by |
	}{
		{"Chinese", []string{"你好，世界。再见！真的？"}, []string{"你好，世界。|再见！|真的？", ""}},
		{"piece by piece", []string{"春天", "来了。", "花", "开"}, []string{"", "春天来了。", "", "", "花开"}},
		{"English", []string{"Hello there. How are you? Fine; thanks"}, []string{"Hello there. |How are you? |Fine; ", "thanks"}},
		{"decimal point", []string{"Pi is 3.14, and so on."}, []string{"", "Pi is 3.14, and so on."}},
		{"full stop at the end of a piece", []string{"One.", " Two.", "5"}, []string{"", "One. ", "", "Two.5"}},
		{"several ends", []string{"什么？！真的…好。"}, []string{"什么？！|真的…好。", ""}},
		{"late second end", []string{"什么？", "！好。"}, []string{"什么？", "！好。", ""}},
		{"lines", []string{"a\nb\n\nc"}, []string{"a\n|b\n\n", "c"}},
		{"only white space", []string{" \n ", "\n"}, []string{"", "", ""}},
		{"white space goes with what follows", []string{"\n好。"}, []string{"\n好。", ""}},
		{"no punctuation", []string{long + "x"}, []string{long, "x"}},
		{"emoji", []string{"🎙👍🏽。🎵"}, []string{"🎙👍🏽。", "🎵"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var s splitter
			var got []string
			for _, p := range row.pieces {
				got = append(got, strings.Join(s.add(p), "|"))
			}
			got = append(got, strings.Join(s.flush(), "|"))
			if !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

func FuzzSplitterLosesNothing(f *testing.F) {
	f.Add("Hello. 你好。 3.14!? \n", 3)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		text = strings.ToValidUTF8(text, "")
		if cut < 0 || cut > len(text) || !utf8.ValidString(text[:cut]) {
			return
		}
		var s splitter
		all := slices.Concat(s.add(text[:cut]), s.add(text[cut:]), s.flush())
		got := strings.Join(all, "")
		if !strings.HasPrefix(text, got) || strings.TrimSpace(text[len(got):]) != "" {
			t.Errorf("%q came out as %q", text, all)
		}
		for _, sentence := range all {
			if n := utf8.RuneCountInString(strings.TrimRight(sentence, "。！？!?;；.\n\t\v\f\r\u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000 ")); n > maxSentence {
				t.Errorf("a sentence of %d characters", n)
			}
		}
	})
}
