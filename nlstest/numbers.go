package nlstest

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// edit puts text in the place of a stretch of another text.
type edit struct {
	begin, end int // bytes
	text       string
}

// applied is text with edits, which are in order and do not overlap.
func applied(text string, edits []edit) string {
	if len(edits) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(text[at:e.begin])
		b.WriteString(e.text)
		at = e.end
	}
	b.WriteString(text[at:])
	return b.String()
}

// numberEdits writes the numbers in text as the service does with
// enable_inverse_text_normalization, in digits, or without it, in words. What is
// written so already stays. The package comment says which forms are known.
func numberEdits(text string, digits bool) []edit {
	if !digits {
		return wordsForDigits(text)
	}
	if edits := digitsForHan(text); edits != nil {
		return edits
	}
	return digitsForEnglish(text)
}

// hanDigits are the digits 0 to 9.
var hanDigits = []rune("零一二三四五六七八九")

const (
	// counted are measure words before which a 2 is 两.
	counted = "个位只条件天次块张本杯万千"

	// afterOne are what a single Han digit becomes a digit before: of dates, times
	// and ages.
	afterOne = "年月日号岁点时分秒"

	// tooLong is a number of which nobody says the value: of a telephone.
	tooLong = 8
)

// wordsForDigits finds what is written in digits.
func wordsForDigits(text string) (edits []edit) {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			i++
			continue
		}
		begin := i
		for i < len(text) && (isDigit(text[i]) || strings.IndexByte(numberMarks, text[i]) >= 0 && i+1 < len(text) && isDigit(text[i+1])) {
			i++
		}
		number := text[begin:i]
		percent := strings.HasPrefix(text[i:], "%")
		if percent {
			i++
		}
		before, _ := utf8.DecodeLastRuneInString(text[:begin])
		after, _ := utf8.DecodeRuneInString(text[i:])
		if isLatin(before) || isLatin(after) {
			continue // MP3, 5G
		}
		spoken := ""
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			spoken = hanNumber(number, after)
			if percent {
				spoken = "百分之" + spoken
			}
		} else {
			spoken = englishNumber(number)
			if percent {
				spoken += " percent"
			}
		}
		edits = append(edits, edit{begin, i, spoken})
	}
	return edits
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
func isLatin(r rune) bool { return unicode.Is(unicode.Latin, r) }
func isNumeral(r rune) bool {
	return strings.ContainsRune("零〇一二两三四五六七八九十百千万亿", r)
}

// hanNumber says a number before the character after.
func hanNumber(number string, after rune) string {
	if hour, minute, ok := clock(number); ok {
		switch {
		case minute == "00":
			return hanNumber(hour, 0) + "点"
		case minute[0] == '0':
			return hanNumber(hour, 0) + "点零" + hanEach(minute[1:])
		}
		return hanNumber(hour, 0) + "点" + hanNumber(minute, 0)
	}
	parts := strings.Split(grouped(number), ".")
	if len(parts) == 2 {
		return hanNumber(parts[0], 0) + "点" + hanEach(parts[1])
	}
	whole := parts[0]
	switch {
	case len(parts) > 2 || strings.ContainsAny(whole, ",:"): // a version, an address
		return strings.Join(strings.FieldsFunc(hanEach(number), func(r rune) bool { return strings.ContainsRune(numberMarks, r) }), "点")
	case len(whole) >= tooLong || whole[0] == '0' || after == '年' && len(whole) == 4:
		return hanEach(whole)
	case whole == "2" && strings.ContainsRune(counted, after):
		return "两"
	}
	n, _ := strconv.Atoi(whole)
	return hanValue(n)
}

// hanEach says digits one by one.
func hanEach(digits string) string {
	return strings.Map(func(r rune) rune {
		if isDigit(byte(r)) {
			return hanDigits[r-'0']
		}
		return r
	}, digits)
}

// hanValue says 0 to 99,999,999.
func hanValue(n int) string {
	if n == 0 {
		return "零"
	}
	if n >= 10000 {
		s := hanValue(n/10000) + "万"
		if rest := n % 10000; rest > 0 {
			if rest < 1000 {
				s += "零"
			}
			s += hanValue(rest)
		}
		return s
	}
	var b strings.Builder
	zero := false
	for _, u := range []struct {
		value int
		unit  string
	}{{1000, "千"}, {100, "百"}, {10, "十"}, {1, ""}} {
		d := n / u.value % 10
		if d == 0 {
			zero = b.Len() > 0
			continue
		}
		if zero {
			b.WriteRune('零')
			zero = false
		}
		if u.value != 10 || d != 1 || b.Len() > 0 { // 15 is 十五, 115 is 一百一十五
			b.WriteRune(hanDigits[d])
		}
		b.WriteString(u.unit)
	}
	return b.String()
}

// clock takes a time such as 9:30 apart.
func clock(number string) (hour, minute string, ok bool) {
	hour, minute, _ = strings.Cut(number, ":")
	return hour, minute, len(hour) <= 2 && len(minute) == 2
}

// grouped is number without the commas that part its thousands.
func grouped(number string) string {
	whole, _, _ := strings.Cut(number, ".")
	groups := strings.Split(whole, ",")
	for _, g := range groups[1:] {
		if len(g) != 3 {
			return number
		}
	}
	return strings.Join(groups, "") + number[len(whole):]
}

var (
	smallNumbers = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	tens         = strings.Fields("twenty thirty forty fifty sixty seventy eighty ninety") // from 20
)

func englishNumber(number string) string {
	if hour, minute, ok := clock(number); ok {
		switch {
		case minute == "00":
			return englishNumber(hour) + " o'clock"
		case minute[0] == '0':
			return englishNumber(hour) + " oh " + englishEach(minute[1:])
		}
		return englishNumber(hour) + " " + englishNumber(minute)
	}
	whole, fraction, found := strings.Cut(grouped(number), ".")
	switch {
	case strings.ContainsAny(whole+fraction, numberMarks):
		return englishEach(number)
	case found:
		return englishNumber(whole) + " point " + englishEach(fraction)
	case len(whole) >= tooLong || whole[0] == '0':
		return englishEach(whole)
	}
	n, _ := strconv.Atoi(whole)
	return englishValue(n)
}

// englishEach says digits one by one, and a mark between them as point.
func englishEach(digits string) string {
	words := make([]string, 0, len(digits))
	for _, r := range digits {
		if strings.ContainsRune(numberMarks, r) {
			words = append(words, "point")
		} else {
			words = append(words, smallNumbers[r-'0'])
		}
	}
	return strings.Join(words, " ")
}

// englishValue says 0 to 99,999,999.
func englishValue(n int) string {
	switch {
	case n < 20:
		return smallNumbers[n]
	case n < 100:
		return strings.TrimSuffix(tens[n/10-2]+" "+smallNumbers[n%10], " zero")
	}
	for _, u := range []struct {
		value int
		name  string
	}{{1e6, " million"}, {1000, " thousand"}, {100, " hundred"}} {
		if n >= u.value {
			s := englishValue(n/u.value) + u.name
			if n%u.value > 0 {
				s += " " + englishValue(n%u.value)
			}
			return s
		}
	}
	panic("unreachable")
}

// digitsForHan finds what is written in Han numerals.
func digitsForHan(text string) (edits []edit) {
	for i := 0; i < len(text); {
		rest := text[i:]
		begin := i
		percent := strings.HasPrefix(rest, "百分之")
		if percent {
			rest = rest[len("百分之"):]
		}
		run := rest[:len(rest)-len(strings.TrimLeftFunc(rest, isNumeral))]
		if run == "" {
			_, n := utf8.DecodeRuneInString(rest)
			i = len(text) - len(rest) + n
			continue
		}
		// 三点一四: a point, and digits one by one.
		fraction := ""
		if tail, ok := strings.CutPrefix(rest[len(run):], "点"); ok {
			fraction = tail[:len(tail)-len(strings.TrimLeftFunc(tail, isHanDigit))]
			if r, _ := utf8.DecodeRuneInString(tail[len(fraction):]); isNumeral(r) || r == '分' {
				fraction = "" // 三点十五, 三点五分
			}
		}
		end := len(text) - len(rest) + len(run)
		after, _ := utf8.DecodeRuneInString(text[end:])
		number, ok := hanRun(run, after, percent || fraction != "")
		if fraction != "" {
			end += len("点") + len(fraction)
			number += "." + plainDigits(fraction)
		}
		if percent {
			number += "%"
		}
		if ok {
			edits = append(edits, edit{begin, end, number})
		}
		i = end
	}
	return edits
}

func isHanDigit(r rune) bool { return hanDigit(r) >= 0 }

func hanDigit(r rune) int {
	switch r {
	case '〇':
		return 0
	case '两':
		return 2
	}
	for d, h := range hanDigits {
		if r == h {
			return d
		}
	}
	return -1
}

func plainDigits(run string) string {
	return strings.Map(func(r rune) rune { return rune('0' + hanDigit(r)) }, run)
}

// hanRun reads a run of numerals before the character after. It is no number where it is part of
// a word, such as 一个, 十分 and 万一, unless sure says that it is one.
func hanRun(run string, after rune, sure bool) (string, bool) {
	n := utf8.RuneCountInString(run)
	if strings.IndexFunc(run, func(r rune) bool { return !isHanDigit(r) }) < 0 { // one by one
		dated := strings.ContainsRune(afterOne, after) && !(run == "一" && strings.ContainsRune("点时分", after))
		return plainDigits(run), n >= 3 || sure || dated && (n == 1 || after == '年')
	}
	switch {
	case run == "十":
		return "10", sure || after != '分' && strings.ContainsRune(afterOne+"个元块天次位名人条", after)
	case !isHanDigit([]rune(run)[0]) && !strings.HasPrefix(run, "十"):
		return "", false // 万一, 千万
	}
	value, ok := hanParse(run)
	switch {
	case !ok:
		return "", false
	case value%1e8 == 0:
		return strconv.FormatInt(value/1e8, 10) + "亿", true
	case value%1e4 == 0 && value < 1e8:
		return strconv.FormatInt(value/1e4, 10) + "万", true
	}
	return strconv.FormatInt(value, 10), true
}

// hanParse reads a number with units, such as 一千零五.
func hanParse(run string) (value int64, ok bool) {
	var section, digit int64 = 0, -1 // below 万; the digit that waits for its unit
	var last int64 = math.MaxInt64   // unit
	var before, place int64          // the unit just before; what the last digit counts without one
	for _, r := range run {
		unit := map[rune]int64{'十': 10, '百': 100, '千': 1000, '万': 1e4, '亿': 1e8}[r]
		switch {
		case unit == 0:
			if digit > 0 {
				return 0, false // two digits side by side
			}
			digit, place = int64(hanDigit(r)), max(before/10, 1) // 两万五 is 25000, 两万零五 20005
		case unit >= 1e4:
			section += max(digit, 0)
			if section == 0 || value != 0 && value <= unit {
				return 0, false
			}
			value += section * unit
			section, digit, last = 0, -1, math.MaxInt64
		default:
			if digit < 0 && section == 0 {
				digit = 1 // 十五
			}
			if digit <= 0 || unit >= last {
				return 0, false
			}
			section += digit * unit
			digit, last = -1, unit
		}
		before = unit
	}
	return value + section + max(digit, 0)*place, true
}

// digitsForEnglish finds what is written in English words, from ten on. Smaller
// numbers stay words.
func digitsForEnglish(text string) (edits []edit) {
	words := englishWords(text)
	for i := 0; i < len(words); {
		value, n, ok := englishParse(words[i:])
		if !ok {
			i++
			continue
		}
		number := strconv.FormatInt(value, 10)
		end := i + n
		if end+1 < len(words) && words[end].text == "point" {
			if digits := englishDigits(words[end+1:]); digits != "" {
				number += "." + digits
				end += 1 + len(digits)
			}
		}
		percent := end < len(words) && words[end].text == "percent"
		if percent {
			number += "%"
			end++
		}
		if value >= 10 || end > i+1 {
			edits = append(edits, edit{words[i].begin, words[end-1].end, number})
		}
		i = end
	}
	return edits
}

// englishWords are the words of text in lower case, with no mark between them;
// a mark is a word of its own, without a place.
func englishWords(text string) (words []edit) {
	begin := -1
	for i, r := range text + " " {
		if unicode.IsLetter(r) || r == '\'' || unicode.IsDigit(r) {
			if begin < 0 {
				begin = i
			}
			continue
		}
		if begin >= 0 {
			words = append(words, edit{begin, i, strings.ToLower(text[begin:i])})
			begin = -1
		}
		if r != ' ' && r != '-' {
			words = append(words, edit{})
		}
	}
	return words
}

// englishDigits are the digits that are said one by one at the start of words.
func englishDigits(words []edit) (digits string) {
	for _, w := range words {
		d := englishSmall(w.text)
		if d < 0 || d > 9 {
			break
		}
		digits += strconv.Itoa(d)
	}
	return digits
}

func englishSmall(word string) int { return slices.Index(smallNumbers, word) }

// englishParse reads a number at the start of words, and how many of them it is.
func englishParse(words []edit) (value int64, n int, ok bool) {
	section := int64(-1)         // below a thousand; -1 is none
	room := int64(1000)          // what may still be added to section must be below
	last := int64(math.MaxInt64) // unit
	for ; n < len(words); n++ {
		word := words[n].text
		add, unit := int64(englishSmall(word)), int64(0)
		if i := slices.Index(tens, word); i >= 0 {
			add = 20 + 10*int64(i)
		}
		switch word {
		case "hundred":
			unit = 100
		case "thousand":
			unit = 1000
		case "million":
			unit = 1e6
		}
		switch {
		case add >= 0 && (section < 0 || add > 0 && add < room):
			section = max(section, 0) + add
			switch {
			case add >= 20:
				room = 10
			default:
				room = 0
			}
		case unit == 100 && section > 0 && section < 10:
			section *= 100
			room = 100
		case unit >= 1000 && section > 0 && unit < last:
			value += section * unit
			section, room, last = -1, 1000, unit
		default:
			return value + max(section, 0), n, n > 0
		}
	}
	return value + max(section, 0), n, n > 0
}
