package nlstest

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

func itoa(n int) string { return strconv.Itoa(n) }

// characterWords are the words of an Engine that gives each character, one a second.
func characterWords(text string) (words []nls.Word) {
	for i, r := range []rune(text) {
		words = append(words, nls.Word{Text: string(r), Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second})
	}
	return words
}

func TestWordsAreWords(t *testing.T) {
	for text, want := range map[string][]string{
		"北京的天气。":                    {"北京 0 2", "的 2 3", "天气 3 5"},
		"你好，世界。Hello, Go! 🎙":        {"你好 0 2", "世界 3 5", "Hello 6 11", "Go 13 15", "🎙 17 18"},
		"It's well-known, isn't it": {"It's 0 4", "well-known 5 15", "isn't 17 22", "it 23 25"},
		"明天9点":                      {"明天 0 2", "九 2 3", "点 3 4"},
		"2026年":                     {"二零二六 0 4", "年 4 5"},
		"MP3!":                      {"MP3 0 3"},
		"🎙️👨‍👩‍👧‍👦":                 {"🎙️ 0 2", "👨‍👩‍👧‍👦 2 9"},
		"。，!":                       nil,
		"":                          nil,
	} {
		var got []string
		for _, w := range wordsOf(characterWords(text), false) {
			got = append(got, w.Text+" "+itoa(int(w.Start/time.Second))+" "+itoa(int(w.End/time.Second)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWordsHaveTheNumbersOfTheText(t *testing.T) {
	for text, want := range map[string][]string{
		"二零二六年": {"2026", "年"}, "twenty three people": {"23", "people"}, "百分之五": {"5%"},
	} {
		var got []string
		for _, w := range wordsOf(characterWords(text), true) {
			got = append(got, w.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Of an Engine that gives words, as a real one does, none is cut.
func TestWordsOfAnEngineStayAsTheyAre(t *testing.T) {
	heard := []nls.Word{{Text: "今天天气", End: 1}, {Text: "，", Start: 1, End: 2}, {Text: "go!", Start: 2, End: 3}, {Text: "twenty", Start: 3, End: 4}, {Text: "three", Start: 4, End: 5}, {}}
	before := slices.Clone(heard)
	want := []nls.Word{{Text: "今天天气", End: 1}, {Text: "go", Start: 2, End: 3}, {Text: "23", Start: 3, End: 5}}
	if got := wordsOf(heard, true); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.Equal(heard, before) {
		t.Error("the words of the engine are changed")
	}
}
