package nlstest

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Numbers as they are said, and as enable_inverse_text_normalization writes them.
var numberPairs = []struct{ words, digits string }{
	{"明天上午九点开会", "明天上午9点开会"},
	{"十一月二十六日", "11月26日"},
	{"二零二六年一月一号", "2026年1月1号"},
	{"一共三百二十五元", "一共325元"},
	{"一千零五十个", "1050个"},
	{"三十万零五百人", "300500人"},
	{"三万", "3万"},
	{"第一百一十五", "第115"},
	{"有百分之二十", "有20%"},
	{"约百分之三点五", "约3.5%"},
	{"圆周率三点一四一五九", "圆周率3.14159"},
	{"请拨一三八零零一三八零零零", "请拨13800138000"},
	{"零点五秒", "0.5秒"},
	{"气温十五度", "气温15度"},
	{"the year two thousand twenty six", "the year 2026"},
	{"twenty three people", "23 people"},
	{"one hundred five", "105"},
	{"three point one four", "3.14"},
	{"fifty percent of it", "50% of it"},
	{"five percent", "5%"},
	{"one million two hundred thousand", "1200000"},
}

func TestNumbersAreWordsOrDigits(t *testing.T) {
	write := func(text string, digits bool) string { return applied(text, numberEdits(text, digits)) }
	for _, p := range numberPairs {
		if got := write(p.words, true); got != p.digits {
			t.Errorf("%q in digits is %q, want %q", p.words, got, p.digits)
		}
		if got := write(p.digits, true); got != p.digits {
			t.Errorf("%q becomes %q", p.digits, got)
		}
		if strings.HasPrefix(p.digits, "3万") {
			continue // read as it is written
		}
		if got := write(p.digits, false); got != p.words {
			t.Errorf("%q in words is %q, want %q", p.digits, got, p.words)
		}
	}
	for digits, words := range map[string]string{
		"1,250元": "一千二百五十元", "2个": "两个", "12:30见": "十二点三十见", "9:05 到": "九点零五 到", "8:00 走": "八点 走",
		"版本1.2.3": "版本一点二点三", "007": "zero zero seven", "在007": "在零零七", "2:15": "two fifteen", "10:00": "ten o'clock", "6:07": "six oh seven",
		"20005个": "二万零五个", "10": "ten", "1.1.1": "one point one point one", "MP3 和 5G": "MP3 和 5G", "0": "zero", "20": "twenty", "3万": "三万",
	} {
		if got := write(digits, false); got != words {
			t.Errorf("%q in words is %q, want %q", digits, got, words)
		}
	}
	for _, words := range []string{
		"一个人", "十分满意", "万一下雨", "千万不要", "一点都不", "三心二意", "二一添作五", "一二", "点点", "十全十美", "百分之", "一百百", "two", "one of them", "and", "point five", "hundred",
		"", "，。", "\xff九", "七八个",
	} {
		if got := write(words, true); got != words {
			t.Errorf("%q becomes %q", words, got)
		}
	}
}

// The largest numbers that are said by value, and what is around the limits.
func TestEveryNumberIsReadBackAsItIsSaid(t *testing.T) {
	for _, format := range []string{"第%个", "about % of"} {
		for n := 10; n < 10_000_000; n = n*13/10 + 7 {
			want := strings.ReplaceAll(format, "%", itoa(n))
			words := applied(want, numberEdits(want, false))
			got := applied(words, numberEdits(words, true))
			if strings.HasSuffix(want, "0000个") {
				continue
			}
			if got != want || words == want {
				t.Errorf("%q is said %q and read back as %q", want, words, got)
			}
		}
	}
}

func FuzzNumbers(f *testing.F) {
	for _, p := range numberPairs {
		f.Add(p.words)
		f.Add(p.digits)
	}
	f.Add("一亿亿万三千两点. 9:99:9,9,9%% twenty-hundred point one million")
	f.Fuzz(func(t *testing.T, text string) {
		for _, digits := range []bool{false, true} {
			at := 0
			edits := numberEdits(text, digits)
			for _, e := range edits {
				if e.begin < at || e.end <= e.begin || e.end > len(text) {
					t.Fatalf("%q: edits %v", text, edits)
				}
				at = e.end
			}
			if got := applied(text, edits); utf8.ValidString(text) && !utf8.ValidString(got) {
				t.Errorf("%q becomes %q", text, got)
			}
		}
	})
}
