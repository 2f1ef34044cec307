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
	"github.com/nlsgo/nls/nlstest"
)

var updateREADME = flag.Bool("update-readme", false, "write code and porting tables into the documents")

// Documents are generated in part: a block of Go comes after the name of its function,
// in a comment, and the porting table is between two comments.
var (
	readmeCode  = regexp.MustCompile("(?s)<!-- code: (\\w+) -->\n```go\n(.*?)```\n")
	readmeTable = regexp.MustCompile(`(?s)(<!-- porting table -->\n).*?(<!-- end -->\n)`)
	readmeBlock = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```\n")
)

var readmes = []string{"README.md", "README.zh-CN.md"}

// portingTables are the documents with a porting table, and what each remarks on a row.
var portingTables = map[string]func(parityRow) string{
	"docs/python.md":       func(r parityRow) string { return r.why },
	"docs/python.zh-CN.md": func(r parityRow) string { return r.whyZH },
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
func portingTable(rows []parityRow, remark func(parityRow) string) string {
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
	b.WriteString("| Python | Go | | |\n| --- | --- | --- | --- |\n")
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

func TestTheFileOfTheExamplesIsWhatTheGatewaySays(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	file, err := os.Open(root + "testdata/hello.wav")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := nls.ReadWAVHeader(file); err != nil {
		t.Fatal(err)
	}
	audio, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	err = clientOf(t, server).Synthesize(t.Context(), &said, nls.SynthesisParams{Text: "你好", SpeechRate: 500, Format: nls.FormatPCM})
	if err != nil || !bytes.Equal(audio, said.Bytes()) {
		t.Errorf("go generate . makes another file; %v", err)
	}
}
