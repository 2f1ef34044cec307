package nls

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wire"
)

func TestTextIsSplitAtTheBestPlace(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // joined by |
	}{
		{"", nil},
		{" \n ", nil},
		{"一", []string{"一"}},
		{"一二三四五六七八九十", []string{"一二三四五六七八九十"}},
		{"一二三。四五六。七八九。", []string{"一二三。四五六。", "七八九。"}},
		{"一二三四五六七八九十百", []string{"一二三四五六七八九十", "百"}},
		{"一二。三，四五六七八九十", []string{"一二。", "三，四五六七八九十"}},
		{"一二三，四五六七八九十", []string{"一二三，", "四五六七八九十"}},
		{"他说：“好。”然后走了。真的走了", []string{"他说：“好。”", "然后走了。真的走了"}},
		{"一二。三四五六七八。”十一", []string{"一二。", "三四五六七八。”十一"}},
		{"真的吗？！是的，是的。", []string{"真的吗？！", "是的，是的。"}},
		{"一……二三四五六七八九", []string{"一……", "二三四五六七八九"}},
		{"It is 3.14159 or so.", []string{"It is ", "3.14159 or", " so."}},
		{"One. Two. Three. Four.", []string{"One. Two. ", "Three. ", "Four."}},
		{"One, two three, four", []string{"One, ", "two three,", " four"}},
		{"Don't stop. Don't.", []string{"Don't ", "stop. ", "Don't."}},
		{"你好hello世界world", []string{"你好hello世界", "world"}},
		{"价格是1,000,000元", []string{"价格是", "1,000,000元"}},
		{"大壮正想去,摘取花瓣谁知", []string{"大壮正想去,", "摘取花瓣谁知"}}, // the comma of an alphabet
		{"大壮正想去.摘取花瓣，谁知", []string{"大壮正想去.", "摘取花瓣，谁知"}},
		{"abcdefghijklmnopqrstuvw", []string{"abcdefghij", "klmnopqrst", "uvw"}},
		{"一行\n二行\n三行\n四行\n", []string{"一行\n二行\n三行\n", "四行\n"}},
		{"一二三四五六七八九。\n\n\n十", []string{"一二三四五六七八九。", "\n\n\n十"}},
		{"一二三四五六七八九十               十", []string{"一二三四五六七八九十", "     十"}},
		{"👍👍👍👍👍👍👍👍👍👍👍👍", []string{"👍👍👍👍👍👍👍👍👍👍", "👍👍"}},
		{"👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", []string{"👨‍👩‍👧👨‍👩‍👧", "👨‍👩‍👧"}},
		{"🇨🇳🇨🇳🇨🇳🇨🇳🇨🇳🇨🇳", []string{"🇨🇳🇨🇳🇨🇳🇨🇳🇨🇳", "🇨🇳"}},
		{"a🇨🇳🇨🇳🇨🇳🇨🇳🇨🇳", []string{"a🇨🇳🇨🇳🇨🇳🇨🇳", "🇨🇳"}},
		{"e" + strings.Repeat("\u0301", 20) + "x", []string{"e" + strings.Repeat("\u0301", 20), "x"}},
		{"मराठी। मराठी भाषा।", []string{"मराठी। ", "मराठी ", "भाषा।"}},
	} {
		if got := splitText(c.text, 10); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAGraphemeIsNeverCut(t *testing.T) {
	for _, g := range []string{
		"é", "e\u0301\u0323", "👍🏽", "❤️", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "🏳️‍🌈", "🇨🇳", "1️⃣", "각", "각", "각", "ᄀᄀ각", "क्षि", "நி", "กำ", "ｶﾞ", "\r\n",
		"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "葛󠄀", "\u200c",
	} {
		text := strings.Repeat(g, 50)
		if g == "\u200c" || g == "ᄀᄀ각" {
			text = strings.Repeat(g+"字", 50)
		}
		for limit := 1; limit < 40 && g != "\r\n"; limit++ { // which is blank, and left out
			at := 0
			for _, p := range splitText("字"+text+"字", limit) {
				at += len(p)
				if rest := ("字" + text + "字")[at:]; rest != "" && !strings.HasPrefix(rest, g) && !strings.HasPrefix(rest, "字") {
					t.Fatalf("%q, limit %d: cut before %q", g, limit, rest[:min(len(rest), 20)])
				}
			}
		}
		ends := 0
		for range graphemes(g) {
			ends++
		}
		if ends != 1 {
			t.Errorf("%q is %d graphemes", g, ends)
		}
	}
	for _, text := range []string{"ab", "你好", "👍👍", "👍a", "🇨🇳🇨", "\n\u0301", "a\u200db", "한국", "가가", "각가", "1 ", "\r\r"} {
		n := 0
		for range graphemes(text) {
			n++
		}
		want := 2
		if text == "a\u200db" {
			want = 1 // ZWJ joins more than it has to
		}
		if n != want {
			t.Errorf("%q is %d graphemes, want %d", text, n, want)
		}
	}
}

// Whatever the text, the pieces are the text, but for blank ones.
func checkSplit(t *testing.T, text string, limit int) {
	t.Helper()
	rest := text
	for _, p := range splitText(text, limit) {
		i := strings.Index(rest, p)
		if i < 0 || strings.TrimSpace(rest[:i]) != "" || strings.TrimSpace(p) == "" {
			t.Fatalf("%q, limit %d: piece %q of %q", text, limit, p, rest)
		}
		rest = rest[i+len(p):]
		if n := utf8.RuneCountInString(p); n > limit {
			graphemesOf := 0
			for range graphemes(p) {
				graphemesOf++
			}
			if graphemesOf != 1 {
				t.Fatalf("%q has %d characters, the limit is %d", p, n, limit)
			}
		}
	}
	if strings.TrimSpace(rest) != "" {
		t.Fatalf("%q is lost", rest)
	}
}

func TestSplitTextLosesNothing(t *testing.T) {
	pool := []rune("ab .。，,\n\r\u0301\u200d\ufe0f👨👩🏽🇨🇳한ᄀ각你好!?…“”\u2028\u3000")
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		runes := make([]rune, r.IntN(60))
		for i := range runes {
			runes[i] = pool[r.IntN(len(pool))]
		}
		checkSplit(t, string(runes), 1+r.IntN(12))
	}
	checkSplit(t, strings.Repeat("\xff你\xe4\xbd", 50), 7)
}

func TestLongTextIsSplitInTime(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, unit := range []string{"好。", "这是一个没有标点的长句子", "a", "👍🏽", " ", "word and word, "} {
		text := strings.Repeat(unit, 1<<17/len(unit)) // 128 KiB are linear enough to tell
		n := 0
		for _, p := range splitText(text, maxShortText) {
			n += len(p)
		}
		if unit != " " && n != len(text) {
			t.Errorf("%q: %d of %d bytes", unit, n, len(text))
		}
	}
}

func TestSSMLIsKnownByItsRoot(t *testing.T) {
	for text, want := range map[string]bool{
		"<speak>你好</speak>": true, "  \n<speak voice=\"x\">你好</speak>": true, "\ufeff<speak>x</speak>": true, "\ufeff\n<speak/>": true,
		"<?xml version=\"1.0\"?>\n<!-- a --><!DOCTYPE speak>\n<speak>x</speak>": true, "<speak\n>": true,
		"": false, "你好<speak>": false, "<speaker>": false, "<speak": false, "<?xml": false, "<!-- <speak>": false, "<p><speak>": false,
	} {
		if got := isSSML(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestTextIsNotCountedWhereTheServiceDoesNot(t *testing.T) {
	long := strings.Repeat("字", 301)
	for name, p := range map[string]SynthesisParams{
		"300 characters":        {Text: long[3:]},
		"300 and a BOM":         {Text: "\ufeff" + long[3:]},
		"300 emoji":             {Text: strings.Repeat("👍", 300)},
		"SSML":                  {Text: "<speak>" + long + "</speak>"},
		"SSML after a BOM":      {Text: "\ufeff<speak>" + long + "</speak>"},
		"the long-text service": {Text: long, LongText: true},
		"Extra":                 {Text: "x", Extra: map[string]any{"text": long}},
		"Extra and no Text":     {Extra: map[string]any{"text": long}},
	} {
		m, err := p.payload()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if text := m["text"].(string); strings.HasPrefix(text, "\ufeff") || len(text) < 900 {
			t.Errorf("%s: the text is %q", name, text)
		}
	}
}

func TestCutTextFitsAFrameAndLosesNothing(t *testing.T) {
	for _, text := range []string{
		"", "a", "你好", strings.Repeat("a", 10000), strings.Repeat("a", 10001), strings.Repeat("你", 30000),
		strings.Repeat("👨‍👩‍👧", 5000), strings.Repeat("\x01", 9000), strings.Repeat("\"\\\n", 9000), strings.Repeat("\u2028", 9000),
	} {
		checkCut(t, text)
	}
}

func TestCutTextNeverCutsAGraphemeUnlessItHasTo(t *testing.T) {
	family := "👨‍👩‍👧" // of five characters
	piece, rest := cutText("abc" + strings.Repeat(family, 300))
	if n := utf8.RuneCountInString(piece); n != 998 || !strings.HasPrefix(rest, family) {
		t.Errorf("a piece of %d characters before %q", n, rest[:10])
	}
	piece, _ = cutText("e" + strings.Repeat("\u0301", 2000))
	if n := utf8.RuneCountInString(piece); n != 1000 {
		t.Errorf("a piece of %d characters of one grapheme", n)
	}
	if piece, rest := cutText(strings.Repeat("字", 1000)); len(piece) != 3000 || rest != "" {
		t.Error("1,000 characters are cut")
	}
}

func FuzzCutText(f *testing.F) {
	f.Add(strings.Repeat("你好 <b>\n\x00", 3000))
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) {
			checkCut(t, strings.Repeat(text, 1+30000/(len(text)+1)))
		}
	})
}

func checkCut(t *testing.T, text string) {
	t.Helper()
	var all strings.Builder
	for rest := text; rest != ""; {
		var piece string
		piece, rest = cutText(rest)
		if piece == "" {
			t.Fatal("an empty piece")
		}
		all.WriteString(piece)
		frame, err := wire.Marshal(wire.Directive{
			Header: wire.DirectiveHeader{
				AppKey: strings.Repeat("k", 64), MessageID: wire.NewID(), TaskID: wire.NewID(),
				Namespace: "FlowingSpeechSynthesizer", Name: "RunSynthesis",
			},
			Payload: map[string]any{"text": piece}, Context: sdkContext,
		})
		if err != nil || len(frame) > 16<<10 || utf8.RuneCountInString(piece) > 1000 || !utf8.ValidString(piece) {
			t.Fatalf("a directive of %d bytes, %d characters, %v", len(frame), utf8.RuneCountInString(piece), err)
		}
	}
	if all.String() != text {
		t.Fatal("the pieces are not the text")
	}
}
