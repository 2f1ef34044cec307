package suite

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// What the Chinese documents call a thing, and what they called it before.
var chineseWords = []struct{ not, but string }{
	{`websocket`, "WebSocket"},
	{`\btoken`, "Token"},
	{`厂商`, "官方"},
	{`大语言模型`, "大模型"},
	{`单次调用`, "一次性调用"},
	{`(制造|模拟)故障`, "注入故障"},
	{`按语速|播放速度`, "按音频实际时长（1 倍速）发送"},
	{`配额`, "并发"},
	{`凭据`, "凭证"},
	{`热词表|定制词`, "热词"},
}

func TestChineseDocumentsHaveOneWordForAThing(t *testing.T) {
	t.Parallel()
	address := regexp.MustCompile(`\[[\w./-]+\]|\([\w./:#-]+\)`)
	for name, d := range documents(t) {
		if !docTwin.MatchString(name) || name == "docs/python.zh-CN.md" || name == "docs/faults.zh-CN.md" { // in which names are plain text
			continue
		}
		prose := address.ReplaceAllString(docSpan.ReplaceAllString(d.prose, ""), "")
		for _, w := range chineseWords {
			if found := regexp.MustCompile(w.not).FindString(prose); found != "" {
				t.Errorf("%s says %s, the others %s", name, found, w.but)
			}
		}
	}
}

// A link of a Chinese document leads to Chinese, or says that it does not.
func TestChineseDocumentsSayWhatIsInEnglish(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	link := regexp.MustCompile(`\]\(([^)\s#:]+\.md)(?:#[^)]*)?\)(，英文）|（英文）)?`)
	found := 0
	for name, d := range docs {
		if !docTwin.MatchString(name) {
			continue
		}
		_, prose, _ := strings.Cut(d.prose, "| 简体中文") // behind the link to the original
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			target := path.Join(path.Dir(name), m[1])
			_, translated := docs[strings.TrimSuffix(target, ".md")+".zh-CN.md"]
			found++
			switch {
			case translated:
				t.Errorf("%s: of %s there is a translation", name, m[1])
			case !docTwin.MatchString(target) && m[2] == "":
				t.Errorf("%s: %s is in English, which it does not say", name, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d links found", found)
	}
}

// The figures of docs/performance.md are measured; those of its translation are
// copied: go test -run Performance ./internal/suite -update-readme
func TestPerformanceIsTheSameInBothLanguages(t *testing.T) {
	const name = "docs/performance.zh-CN.md"
	part := func(text, mark string) (before, part, after string) {
		before, rest, ok := strings.Cut(text, "<!-- "+mark+" -->\n")
		part, after, end := strings.Cut(rest, "<!-- end -->\n")
		if !ok || !end {
			t.Fatalf("no %s", mark)
		}
		return before, part, after
	}
	english, chinese := readFile(t, "docs/performance.md"), readFile(t, name)

	_, figures, _ := part(english, "table")
	before, old, after := part(chinese, "table")
	lines, translated := strings.Split(figures, "\n"), strings.Split(old, "\n")
	if len(lines) != len(translated) {
		t.Fatalf("%s has %d lines of figures, the original %d", name, len(translated), len(lines))
	}
	rounds := regexp.MustCompile(`^Medians of (\d+) rounds on (\d+) cores, (\S+), Go (\S+)\.$`)
	for i, line := range lines {
		row := strings.SplitN(line, " | ", 2)
		switch {
		case i < 2 || len(row) < 2: // the heading
			lines[i] = rounds.ReplaceAllString(line, "$1 轮的中位数，$2 核，$3，Go $4。")
			if i < 2 {
				lines[i] = translated[i]
			}
		default:
			label, _, _ := strings.Cut(translated[i], " | ")
			lines[i] = label + " | " + strings.ReplaceAll(row[1], " round trips", " 次往返")
		}
	}
	want := before + "<!-- table -->\n" + strings.Join(lines, "\n") + "<!-- end -->\n" + after

	_, chart, _ := part(english, "chart")
	before, _, after = part(want, "chart")
	want = before + "<!-- chart -->\n" + chart + "<!-- end -->\n" + after

	if *updateREADME {
		if err := os.WriteFile(root+name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != chinese {
		t.Errorf("%s has other figures than the original; go test -run Performance ./internal/suite -update-readme", name)
	}
}
