package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/asticode/go-astisub"
	"github.com/mattn/go-runewidth"

	"github.com/nlsgo/nls"
)

// spoken is a sentence whose words take 300 ms each.
func spoken(words ...string) sentence {
	s := sentence{Begin: time.Second}
	at := s.Begin
	for _, w := range words {
		s.Text += w
		s.Words = append(s.Words, nls.Word{Text: strings.Trim(w, "，。, ."), Start: at, End: at + 300*time.Millisecond})
		at += 300 * time.Millisecond
	}
	s.End = at
	return s
}

func repeat(n int, words ...string) (all []string) {
	for range n {
		all = append(all, words...)
	}
	return all
}

func TestLongSentencesAreCutAtWords(t *testing.T) {
	withoutWords := func(s sentence) sentence { s.Words = nil; return s }
	differently := spoken(repeat(20, "twenty ", "five ")...)
	differently.Text = strings.Repeat("25 ", 60)
	letters := spoken(strings.Split(strings.Repeat("wonderful days ", 8), "")...) // as nlstest has them
	for name, c := range map[string]struct {
		s    sentence
		want []string // nil if any will do that keeps the rules
	}{
		"short":             {spoken("你", "好"), []string{"你好"}},
		"nothing":           {sentence{}, nil},
		"two lines":         {sentence{Text: " one\n two ", End: time.Second}, []string{"one two"}},
		"at a comma":        {spoken(append(repeat(18, "好"), append([]string{"的，"}, repeat(16, "是")...)...)...), []string{strings.Repeat("好", 18) + "的，", strings.Repeat("是", 16)}},
		"between words":     {spoken(repeat(20, "wonderful ", "days ")...), nil},
		"not inside a word": {letters, nil},
		"no words":          {withoutWords(spoken(repeat(60, "天气", "很好，")...)), nil},
		"numbers":           {differently, nil},
		"one endless word":  {spoken(strings.Repeat("x", 300)), []string{strings.Repeat("x", 300)}},
		"slow":              {sentence{Text: "慢慢说", Begin: 0, End: 30 * time.Second}, nil},
		"longest":           {withoutWords(sentence{Text: strings.Repeat("\U0001F468", 300), End: 1 << 62}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			cues := cut(c.s)
			var texts []string
			at := c.s.Begin
			for i, cue := range cues {
				texts = append(texts, cue.text)
				if cue.begin < at || cue.end < cue.begin || cue.end > c.s.End {
					t.Errorf("cue %d, %v to %v, is out of order", i, cue.begin, cue.end)
				}
				at = cue.end
				if columns := runewidth.StringWidth(cue.text); columns > cueColumns && strings.Contains(cue.text, " ") {
					t.Errorf("%d columns: %q", columns, cue.text)
				}
			}
			if c.want != nil && fmt.Sprint(texts) != fmt.Sprint(c.want) {
				t.Errorf("got %q, want %q", texts, c.want)
			}
			squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
			if got := squeeze(strings.Join(texts, "")); got != squeeze(c.s.Text) {
				t.Errorf("the text has become %q", got)
			}
			for word := range strings.FieldsSeq(strings.Join(texts, " ")) {
				if name == "not inside a word" && word != "wonderful" && word != "days" {
					t.Errorf("cut inside %q", word)
				}
			}
			if len(cues) > 0 && (cues[0].begin != c.s.Begin || cues[len(cues)-1].end != c.s.End) {
				t.Errorf("from %v to %v, not %v to %v", cues[0].begin, cues[len(cues)-1].end, c.s.Begin, c.s.End)
			}
		})
	}
}

func TestACueBeginsWithItsFirstWord(t *testing.T) {
	cues := cut(spoken(append(repeat(18, "好"), append([]string{"的，"}, repeat(16, "是")...)...)...))
	if len(cues) != 2 || cues[1].begin != time.Second+19*300*time.Millisecond || cues[0].end != cues[1].begin {
		t.Errorf("got %+v", cues)
	}
}

func FuzzCut(f *testing.F) {
	f.Add("你好，世界。Hello, Go!", "你 好 Hello", int64(12000))
	f.Add(strings.Repeat("a\u0301\U0001F1E8 ", 99), "", int64(0))
	f.Fuzz(func(t *testing.T, text, words string, ms int64) {
		if !utf8.ValidString(text) || ms < 0 || ms > 1e9 {
			t.Skip()
		}
		s := sentence{Text: text, End: time.Duration(ms) * time.Millisecond}
		for i, w := range strings.Fields(words) {
			s.Words = append(s.Words, nls.Word{Text: w, Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second})
		}
		var all strings.Builder
		for _, c := range cut(s) {
			if c.text == "" {
				t.Errorf("an empty cue of %q", text)
			}
			all.WriteString(c.text)
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if squeeze(all.String()) != squeeze(text) {
			t.Errorf("%q has become %q", text, all.String())
		}
	})
}

func TestSubtitlesHaveTheTextAsItIs(t *testing.T) {
	sentences := []sentence{{End: time.Second, Text: "Tom & Jerry <3"}}
	var srt, vtt bytes.Buffer
	if err := writers[".srt"](&srt, sentences); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(srt.String(), "\nTom & Jerry <3\n") { // there are no entities in SRT
		t.Errorf("SRT: %q", srt.String())
	}
	if err := writers[".vtt"](&vtt, sentences); err != nil {
		t.Fatal(err)
	}
	back, err := astisub.ReadFromWebVTT(&vtt)
	if err != nil || len(back.Items) != 1 || back.Items[0].String() != "Tom & Jerry <3" {
		t.Errorf("WebVTT: %v, %+v", err, back)
	}
}

func TestNothingHeardIsAnEmptyTranscript(t *testing.T) {
	for ext, want := range map[string]string{".srt": "", ".vtt": "WEBVTT\n", ".txt": "", ".json": "{\n  \"sentences\": []\n}\n"} {
		var b bytes.Buffer
		if err := writers[ext](&b, []sentence{}); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v", ext, b.String(), err)
		}
	}
}
