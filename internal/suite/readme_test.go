package suite

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/nlsgo/nls"
)

var updateREADME = flag.Bool("update-readme", false, "write code and porting table into the READMEs")

// The READMEs are generated in part: a block of Go comes after the name of its
// function, in a comment, and the porting table is between two comments.
var (
	readmeCode  = regexp.MustCompile("(?s)<!-- code: (\\w+) -->\n```go\n(.*?)```\n")
	readmeTable = regexp.MustCompile(`(?s)(<!-- porting table -->\n).*?(<!-- end -->\n)`)
	readmeBlock = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```\n")
)

var readmes = []struct {
	file   string
	head   string // of the porting table
	remark func(parityRow) string
}{
	{file: "README.md", head: "| Python | Go | | |", remark: func(r parityRow) string { return r.why }},
	{file: "README.zh-CN.md", head: "| Python | Go | | |", remark: func(r parityRow) string { return r.whyZH }},
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// To bring the READMEs up to date: go test -run README ./internal/suite -update-readme
func TestREADMEIsUpToDate(t *testing.T) {
	functions := exampleCode(t)
	for _, readme := range readmes {
		text := readFile(t, readme.file)
		want := readmeCode.ReplaceAllStringFunc(text, func(block string) string {
			name := readmeCode.FindStringSubmatch(block)[1]
			code, ok := functions[name]
			if !ok {
				t.Errorf("%s: example_test.go has no function %s", readme.file, name)
			}
			return "<!-- code: " + name + " -->\n```go\n" + code + "```\n"
		})
		table := portingTable(parityRows(t), readme.head, readme.remark)
		want = readmeTable.ReplaceAllStringFunc(want, func(old string) string {
			m := readmeTable.FindStringSubmatch(old)
			return m[1] + table + m[2]
		})
		if *updateREADME {
			if err := os.WriteFile(root+readme.file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if text != want {
			t.Errorf("%s is out of date; go test -run README ./internal/suite -update-readme", readme.file)
		}
		if !readmeTable.MatchString(text) {
			t.Errorf("%s has no porting table", readme.file)
		}
		if blocks := strings.Count(text, "```go\n"); blocks != len(readmeCode.FindAllString(text, -1)) {
			t.Errorf("%s has Go code that no test runs", readme.file)
		}
	}
}

// exampleCode is the code of the functions in the files of which documents show
// something: the body of an Example without its output, and all of any other function.
func exampleCode(t *testing.T) map[string]string {
	t.Helper()
	code := map[string]string{}
	for _, name := range []string{"example_test.go", "example_types_test.go", "nlstest/example_test.go", "contrib/otel/example_test.go"} {
		addExampleCode(t, code, name)
	}
	return code
}

func addExampleCode(t *testing.T, code map[string]string, name string) {
	t.Helper()
	src := []byte(readFile(t, name))
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if !strings.HasPrefix(name, "Example") {
			code[name] = string(src[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset]) + "\n"
			continue
		}
		body := src[fset.Position(f.Body.Lbrace).Offset+1 : fset.Position(f.Body.Rbrace).Offset]
		body, _, _ = bytes.Cut(body, []byte("\t// Output:"))
		code[name] = strings.ReplaceAll(strings.TrimPrefix(string(body), "\n\t"), "\n\t", "\n")
	}
}

// portingTable renders rows, those of several classes that say the same as one.
func portingTable(rows []parityRow, head string, remark func(parityRow) string) string {
	type line struct {
		python string
		row    parityRow
		names  []string
	}
	var lines []*line
	for _, row := range rows {
		python := pythonName(row)
		i := slices.IndexFunc(lines, func(l *line) bool {
			return l.python == python && l.row.match == row.match && l.row.why == row.why
		})
		if i < 0 {
			i = len(lines)
			lines = append(lines, &line{python: python, row: row})
		}
		for name := range strings.SplitSeq(row.goNames, ", ") {
			if !slices.Contains(lines[i].names, name) {
				lines[i].names = append(lines[i].names, name)
			}
		}
	}
	var b strings.Builder
	b.WriteString(head + "\n| --- | --- | --- | --- |\n")
	for _, l := range lines {
		match := "="
		if l.row.match == "differs" {
			match = "≠"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", l.python, braces(l.names), match, remark(l.row))
	}
	return b.String()
}

// pythonName is the name of a row without its class.
func pythonName(row parityRow) string {
	class, rest, ok := strings.Cut(row.python, ".")
	switch {
	case !ok || !strings.HasPrefix(class, classPrefix):
		return row.python
	case rest == "__init__":
		return "__init__"
	}
	rest = strings.TrimPrefix(rest, "__init__.")
	method, parameter, ok := strings.Cut(rest, ".")
	switch {
	case !ok && row.kind == "method":
		return method + "()"
	case !ok:
		parameter = method
		method = ""
	case row.kind == "return":
		return method + "() → " + row.def
	}
	if row.def != "" {
		parameter += "=" + row.def
	}
	if method == "" {
		return parameter
	}
	return method + "(" + parameter + ")"
}

// braces writes names that end alike as {A,B}Suffix.
func braces(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	suffix := names[0]
	for _, name := range names[1:] {
		for !strings.HasSuffix(name, suffix) {
			suffix = suffix[1:]
		}
	}
	suffix = strings.TrimLeftFunc(suffix, func(r rune) bool { return r != '.' && !unicode.IsUpper(r) })
	var heads []string
	for _, name := range names {
		heads = append(heads, strings.TrimSuffix(name, suffix))
	}
	head := strings.Join(heads, ",")
	if suffix == "" || strings.Contains(head, ".") {
		return strings.Join(names, "`, `")
	}
	return "{" + head + "}" + suffix
}

func TestREADMENamesOnlyWhatExists(t *testing.T) {
	names := goNames(t)
	mention := regexp.MustCompile("`([A-Z]\\w*\\.[A-Z]\\w*|(?:Err|Default|Status|Format|Level)[A-Z]\\w*)`")
	for _, readme := range readmes {
		found := mention.FindAllStringSubmatch(readFile(t, readme.file), -1)
		if len(found) < 20 {
			t.Errorf("%s: only %d names found", readme.file, len(found))
		}
		for _, m := range found {
			if !names[m[1]] {
				t.Errorf("%s: there is no %s", readme.file, m[1])
			}
		}
	}
}

func TestREADMEIsTheSameInBothLanguages(t *testing.T) {
	type shape struct {
		blocks   []string // of code
		headings int
		rows     int // of tables
		links    []string
	}
	shapeOf := func(name string) (s shape) {
		text := readFile(t, name)
		for _, m := range readmeBlock.FindAllStringSubmatch(text, -1) {
			s.blocks = append(s.blocks, m[1]+"\n"+m[2])
		}
		prose := readmeBlock.ReplaceAllString(text, "")
		for line := range strings.Lines(prose) {
			if strings.HasPrefix(line, "#") {
				s.headings++
			}
			if strings.HasPrefix(line, "|") {
				s.rows++
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(prose, -1) {
			if !strings.HasPrefix(m[1], "README") {
				link, _, _ := strings.Cut(m[1], "#") // headings are translated
				s.links = append(s.links, docTwin.ReplaceAllString(link, ".md"))
			}
		}
		return s
	}
	en, zh := shapeOf(readmes[0].file), shapeOf(readmes[1].file)
	if !slices.Equal(en.blocks, zh.blocks) {
		t.Errorf("the code differs")
	}
	if en.headings != zh.headings || en.rows != zh.rows {
		t.Errorf("%d and %d headings, %d and %d rows of tables", en.headings, zh.headings, en.rows, zh.rows)
	}
	if !slices.Equal(en.links, zh.links) {
		t.Errorf("links %v and %v", en.links, zh.links)
	}
}

func TestTheFileOfTheExamplesIsWhatTheGatewaySays(t *testing.T) {
	file, err := os.Open(root + "testdata/hello.wav")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := nls.ReadWAVHeader(file); err != nil {
		t.Fatal(err)
	}
	if audio, err := io.ReadAll(file); err != nil || !bytes.Equal(audio, speech("你好")) {
		t.Errorf("go generate . makes another file; %v", err)
	}
}
