package nlstest

import (
	"strings"
	"testing"

	"github.com/nlsgo/nls"
)

// Numbers around the limits of how they are said.
func TestNumbersInWords(t *testing.T) {
	for digits, words := range map[string]string{
		"0个": "零个", "05分": "零五分", "10个": "十个", "11个": "十一个", "110个": "一百一十个", "1000个": "一千个", "1001个": "一千零一个", "1010个": "一千零一十个", "1101个": "一千一百零一个",
		"10000个": "一万个", "10001个": "一万零一个", "10100个": "一万零一百个", "11000个": "一万一千个", "19999个": "一万九千九百九十九个", "100000个": "十万个",
		"1234567个": "一百二十三万四千五百六十七个", "12345678个": "一二三四五六七八个", // of a telephone
		"有2": "有二", "2.5个": "二点五个", "2万": "两万", "12年": "十二年", "2024年": "二零二四年", "第2024": "第二千零二十四", "20240年": "二万零二百四十年",
		"1,250.5元": "一千二百五十点五元", "第1,25": "第一点二五", "到9:5": "到九点五", "到123:45": "到一二三点四五", "到1:234": "到一点二三四", "到9:30:15": "到九点三零点一五",
		"到09:30": "到零九点三十", "到10:10": "到十点十", "比1.2": "比一点二", "我有3.": "我有三.", "好:5": "好:五", "3,再": "三,再", "约5%": "约百分之五", "3 个": "三 个", "5 ok 吗": "五 ok 吗",
		"九/9": "九/九", "好1:": "好一:",

		"100": "one hundred", "101": "one hundred one", "1000": "one thousand", "99": "ninety nine", "05": "zero five", "5": "five",
		"1234567": "one million two hundred thirty four thousand five hundred sixty seven", "12345678": "one two three four five six seven eight",
		"1,25": "one point two five", "1,250.5": "one thousand two hundred fifty point five", "1:234": "one point two three four", "9:30:15": "nine point three zero point one five",
		"123:45": "one two three point four five", "3.14": "three point one four", "in 5%": "in five percent", "1.": "one.",
	} {
		if got := applied(digits, numberEdits(digits, false)); got != words {
			t.Errorf("%q in words is %q, want %q", digits, got, words)
		}
	}
}

func TestNumbersInDigits(t *testing.T) {
	for words, digits := range map[string]string{
		"三点五分": "3点5分", "三点十五分": "3点15分", "三点十五": "3点15", "两点": "2点", "两年": "2年", "二〇二六年": "2026年", "二零年": "20年", "一月": "1月", "一二三": "123", "百分之三": "3%",
		"十年": "10年", "十个": "10个", "百分之十": "10%", "三亿": "3亿", "一亿": "1亿", "一亿零一": "100000001", "一亿一千万": "110000000", "九千九百九十九亿": "9999亿",
		"一万": "1万", "一万一": "11000", "三千万": "3000万", "一千": "1000", "零点五": "0.5", "二十": "20", "一百零三个": "103个", "一百一十": "110",
		"十五": "15", "三点五十": "3点50", "一点五": "1.5", "一万十": "10010", "一千一": "1100",

		"ten": "10", "twenty": "20", "twenty one": "21", "ninety nine": "99", "twenty ten": "20 10", "twenty zero": "20 zero", "nineteen eighty four": "19 84", "one hundred and five": "100 and five",
		"两万五": "25000", "两万零五": "20005", "三千五": "3500", "一百二": "120", "三十五": "35", "一亿五": "150000000", "两万五千": "25000", "一万两千三": "12300", "一百零二": "102",
		"one hundred ten": "110", "one hundred ninety nine": "199", "one hundred one hundred": "101 hundred", "ten hundred": "10 hundred", "nine hundred": "900",
		"one thousand one": "1001", "one thousand one hundred one": "1101", "three million five": "3000005", "five thousand million": "5000 million", "one million one thousand": "1001000",
		"zero point five": "0.5", "ten point": "10 point", "ten point five six": "10.56", "ten point ten": "10 point 10", "ten point x": "10 point x", "ten point zero nine.": "10.09.",
		"two percent": "2%", "twenty-three": "23", "twenty, three": "20, three", "ten o'clock": "10 o'clock", "Ten": "10", "say ten!": "say 10!", "ten £ x": "10 £ x", "zero ten": "zero 10", "one thousand one million": "1001 million", "one thousand one thousand": "1001 thousand",
	} {
		if got := applied(words, numberEdits(words, true)); got != digits {
			t.Errorf("%q in digits is %q, want %q", words, got, digits)
		}
	}
	// What is no number, or too small to be written as one.
	for _, words := range []string{
		"十", "十。", "十分", "一点", "一时", "一分", "二一", "零五", "二零月", "一万亿", "五万三亿", "三百二百", "三二百", "千五百", "二百千", "零百", "三零百", "一亿一亿", "一万零十", "一三百", "一亿零万", "一百十",
		"nine", "five six", "zero", "point five", "hundred five", "million", "ten2", "intent", "don't", "a", "two point", "to point five", "ten's", "zero hundred", "zero thousand", "thousand five",
	} {
		if got := applied(words, numberEdits(words, true)); got != words {
			t.Errorf("%q becomes %q", words, got)
		}
	}
}

func texts(words []nls.Word) string {
	var all []string
	for _, w := range words {
		all = append(all, w.Text)
	}
	return strings.Join(all, "|")
}

// Words of an engine that gives characters.
func TestCharactersBecomeWords(t *testing.T) {
	for text, want := range map[string]string{
		"为什么不": "为什么|不", "对不起": "对不起", "没关": "没|关", "没关系": "没关系", "龘": "龘", "好的吗": "好|的|吗", "天气x": "天气|x",
		"v1.2": "v1.2", "rock'n'roll": "rock'n'roll", "go-": "go|-", "x 5G": "x|5G", "你’s": "你|’|s", "'tis": "'|tis",
	} {
		if got := texts(wordsOf(characterWords(text), false)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Numbers may run over words of an engine, which are put together as the text is.
func TestNumbersAcrossWords(t *testing.T) {
	for _, row := range []struct {
		heard  string
		digits bool
		want   string
	}{
		{"二十|三", true, "23"},
		{"pre-ten|x", true, "pre-|10|x"},
		{"二十|三|你好", true, "23|你好"},
		{"go|twenty|three|ok", true, "go|23|ok"},
		{"2|个人", false, "两|个人"},
		{"我们|2|个", false, "我们|两|个"},
		{"去|北京", false, "去|北京"},
	} {
		var words []nls.Word
		for text := range strings.SplitSeq(row.heard, "|") {
			words = append(words, nls.Word{Text: text})
		}
		if got := texts(wordsOf(words, row.digits)); got != row.want {
			t.Errorf("%s: %s, want %s", row.heard, got, row.want)
		}
	}
}

func TestMarksBetweenDigits(t *testing.T) {
	for text, want := range map[string]string{"1.5x": "1.5x", "x.5": "x 5", "5.x": "5 x", "1;5": "1 5", "1，5": "1 5", "好.5": "好5"} {
		if got := unpunctuated(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
