package suite

import (
	"context"
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
)

// documents are the Markdown files of the repository, with what is in them beside
// blocks of code.
func documents(t *testing.T) map[string]document {
	t.Helper()
	docs := map[string]document{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"):
			name = filepath.ToSlash(strings.TrimPrefix(name, filepath.FromSlash(root)))
			docs[name] = newDocument(readFile(t, name))
		}
		return nil
	})
	if err != nil || len(docs) < 10 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return docs
}

type document struct {
	text, prose string
	blocks      []block
}

type block struct{ language, code string }

func newDocument(text string) document {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	d := document{text: text, prose: readmeBlock.ReplaceAllString(text, "")}
	for _, m := range readmeBlock.FindAllStringSubmatch(text, -1) {
		d.blocks = append(d.blocks, block{m[1], m[2]})
	}
	return d
}

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docSpan    = regexp.MustCompile("`([^`\n]+)`")
	docHeading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	docTwin    = regexp.MustCompile(`\.zh-CN\.md$`)
)

// anchors are the names that GitHub gives to the headings of d.
func (d document) anchors() map[string]bool {
	names := map[string]bool{}
	for _, m := range docHeading.FindAllStringSubmatch(d.prose, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(m[1]))
		for n, first := 1, name; names[name]; n++ {
			name = fmt.Sprintf("%s-%d", first, n)
		}
		names[name] = true
	}
	return names
}

// links are those of d that lead somewhere in the repository.
func (d document) links() (links []string) {
	for _, m := range docLink.FindAllStringSubmatch(docSpan.ReplaceAllString(d.prose, ""), -1) {
		if !strings.Contains(m[1], "://") {
			links = append(links, m[1])
		}
	}
	return links
}

func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	for name, d := range docs {
		for _, link := range d.links() {
			file, anchor, _ := strings.Cut(link, "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(root + target); err != nil {
				t.Errorf("%s: there is no %s", name, link)
				continue
			}
			if anchor != "" && !docs[target].anchors()[anchor] {
				t.Errorf("%s: %s has no such heading", name, link)
			}
		}
	}
}

// What a newcomer looks for is one link away from the README.
func TestREADMELinksToEachDocument(t *testing.T) {
	t.Parallel()
	readme := documents(t)["README.md"]
	for name := range documents(t) {
		if path.Dir(name) == "docs" && !docTwin.MatchString(name) && !slices.Contains(readme.links(), name) {
			t.Errorf("README.md does not link to %s", name)
		}
	}
}

// allNames are the names of the packages that documents speak of, with and without the
// package, of fields also without the type, and of tests.
func allNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for pkg, pattern := range map[string]string{"nls": "*.go", "nlstest": "nlstest/*.go", "acceptance": "nlstest/acceptance/*.go"} {
		for name := range namesOf(parseGo(t, false, root+pattern)) {
			_, field, _ := strings.Cut(name, ".")
			names[name], names[pkg+"."+name], names[field] = true, true, true
		}
	}
	for _, file := range parseGo(t, true, root+"*_test.go", root+"*/*_test.go", root+"*/*/*_test.go") {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// Of what is in backticks these are meant to be names of Go, and files.
var (
	docName = regexp.MustCompile(`^(?:(?:nls|nlstest|acceptance)\.)?(?:[A-Z]\w*\.[A-Z]\w*|(?:Err|Default|Status|Format|Level|Test|Example)[A-Z]\w*)$|^(?:nls|nlstest|acceptance)\.[A-Z]\w*$`)
	docFile = regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)*(?:/|\.go|\.md)$`)
)

// wireDocuments speak of the protocol, in names like those of Go.
var wireDocuments = []string{"docs/protocol.md", "docs/fidelity.md"}

func TestDocumentsNameOnlyWhatExists(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	names := allNames(t)
	found := 0
	for name, d := range documents(t) {
		if slices.Contains(wireDocuments, name) {
			continue
		}
		for _, m := range docSpan.FindAllStringSubmatch(d.prose, -1) {
			span := strings.TrimPrefix(strings.TrimSuffix(m[1], "()"), "*")
			switch {
			case docName.MatchString(span):
				if found++; !names[span] {
					t.Errorf("%s: there is no %s", name, m[1])
				}
			case docFile.MatchString(span):
				_, here := os.Stat(root + path.Join(path.Dir(name), span))
				_, err := os.Stat(root + span)
				if err != nil && here != nil && strings.Contains(span, "/") {
					t.Errorf("%s: there is no %s", name, m[1])
				}
			}
		}
	}
	if found < 200 {
		t.Errorf("only %d names found", found)
	}
}

// What comments cite as protocol §1.3 is a heading of docs/protocol.md, or a number of
// a list in it.
func TestCitedSectionsOfTheProtocolExist(t *testing.T) {
	t.Parallel()
	sections := map[string]bool{}
	chapter := ""
	for line := range strings.Lines(readFile(t, "docs/protocol.md")) {
		if m := regexp.MustCompile(`^#+ (\d+(?:\.\d+)?)\.? `).FindStringSubmatch(line); m != nil {
			sections[m[1]], chapter = true, m[1]
		} else if m := regexp.MustCompile(`^(\d+)\. `).FindStringSubmatch(line); m != nil {
			sections[chapter+"."+m[1]] = true
		}
	}
	cited := 0
	cite := regexp.MustCompile(`§ ?(\d+(?:\.\d+)?)`)
	check := func(name, text string) {
		for _, m := range cite.FindAllStringSubmatch(text, -1) {
			if cited++; !sections[m[1]] {
				t.Errorf("%s cites §%s, which docs/protocol.md does not have", name, m[1])
			}
		}
	}
	for name, d := range documents(t) {
		check(name, d.text)
	}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := os.ReadFile(name)
		check(name, string(text))
		return err
	})
	if err != nil || cited < 150 {
		t.Errorf("%d citations, %v", cited, err)
	}
}

// The code of documents is that of examples, and the porting table that of
// testdata/python-parity.tsv. To bring them up to date:
// go test -run Documents ./internal/suite -update-readme
func TestDocumentsAreUpToDate(t *testing.T) {
	functions := exampleCode(t)
	docs := documents(t)
	for name, d := range docs {
		if path.Dir(name) != "docs" && name != "CONTRIBUTING.md" && !slices.Contains(readmes, name) {
			continue
		}
		want := readmeCode.ReplaceAllStringFunc(d.text, func(block string) string {
			function := readmeCode.FindStringSubmatch(block)[1]
			code, ok := functions[function]
			if !ok {
				t.Errorf("%s: there is no function %s", name, function)
			}
			return "<!-- code: " + function + " -->\n```go\n" + code + "```\n"
		})
		if remark := portingTables[name]; remark != nil {
			if !readmeTable.MatchString(want) {
				t.Errorf("%s has no porting table", name)
			}
			table := portingTable(parityRows(t), remark)
			want = readmeTable.ReplaceAllStringFunc(want, func(old string) string {
				m := readmeTable.FindStringSubmatch(old)
				return m[1] + table + m[2]
			})
		}
		if *updateREADME {
			if err := os.WriteFile(root+name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if want != d.text {
			t.Errorf("%s is out of date; go test -run Documents ./internal/suite -update-readme", name)
		}
		if blocks := strings.Count(d.text, "```go\n"); blocks != len(readmeCode.FindAllString(d.text, -1)) {
			t.Errorf("%s has Go code that no test runs", name)
		}
	}
	for name := range portingTables {
		if docs[name].text == "" {
			t.Errorf("there is no %s", name)
		}
	}
}

// Commands name packages that exist, and tests that match.
func TestCommandsInDocumentsExist(t *testing.T) {
	t.Parallel()
	found := 0
	for name, d := range documents(t) {
		if strings.HasPrefix(name, "contrib/") || strings.HasPrefix(name, "examples/") {
			continue
		}
		for _, b := range d.blocks {
			if b.language != "sh" {
				continue
			}
			for line := range strings.Lines(b.code) {
				found++
				if err := checkCommand(t, strings.TrimSpace(line)); err != nil {
					t.Errorf("%s: %s: %v", name, line, err)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands found", found)
	}
}

func checkCommand(t *testing.T, line string) error {
	dir := ""
	if rest, ok := strings.CutPrefix(line, "cd "); ok {
		dir, line, _ = strings.Cut(rest, " && ")
		dir += "/"
	}
	words := strings.Fields(line)
	for len(words) > 0 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || words[0] == "#" {
		return nil
	}
	if strings.Contains(words[0], "/") {
		_, err := os.Stat(root + words[0])
		return err
	}
	if len(words) < 3 || words[0] != "go" || words[1] != "run" && words[1] != "test" {
		return nil
	}
	var pkgs []string
	pattern := ""
	for i, w := range words {
		if strings.HasPrefix(w, "./") || w == "." {
			pkgs = append(pkgs, w)
		}
		if w == "-run" || w == "-fuzz" {
			pattern = strings.Trim(words[i+1], "'")
		}
	}
	for _, pkg := range pkgs {
		if strings.HasSuffix(pkg, "...") {
			continue
		}
		sources, err := filepath.Glob(root + dir + pkg + "/*.go")
		if err != nil || sources == nil {
			return fmt.Errorf("no package %s", pkg)
		}
		if pattern == "" || pattern == "^$" {
			continue
		}
		// TestX/Y names a subtest.
		re, err := regexp.Compile(strings.Split(pattern, "/")[0])
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(sources, func(source string) bool {
			text, err := os.ReadFile(source)
			return err == nil && slices.ContainsFunc(regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`).FindAllStringSubmatch(string(text), -1),
				func(m []string) bool { return re.MatchString(m[1]) })
		}) {
			return fmt.Errorf("no test in %s matches %s", pkg, pattern)
		}
	}
	return nil
}

// A document and its translation have the same headings, tables, code and links.
func TestDocumentsAreTheSameInBothLanguages(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	shape := func(d document) (blocks []block, lines string, links []string) {
		for line := range strings.Lines(d.prose) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "|") {
				lines += line[:1]
			}
		}
		for _, link := range d.links() {
			link, _, _ = strings.Cut(link, "#") // headings are translated
			links = append(links, docTwin.ReplaceAllString(link, ".md"))
		}
		return d.blocks, lines, links
	}
	twins := 0
	for name, zh := range docs {
		if !docTwin.MatchString(name) {
			continue
		}
		twins++
		en, ok := docs[docTwin.ReplaceAllString(name, ".md")]
		if !ok {
			t.Errorf("%s translates nothing", name)
			continue
		}
		blocks, lines, links := shape(zh)
		enBlocks, enLines, enLinks := shape(en)
		// The first link of each leads to the other.
		if !slices.Equal(blocks, enBlocks) || lines != enLines || !slices.Equal(links[1:], enLinks[1:]) {
			t.Errorf("%s differs from its original: code %v, headings and rows %v, links %v and %v",
				name, slices.Equal(blocks, enBlocks), lines == enLines, links, enLinks)
		}
	}
	if twins < 7 {
		t.Errorf("only %d translations found", twins)
	}
}

// errorsOf are the errors that a row of docs/troubleshooting.md is about, by its first
// cell.
func errorsOf(t *testing.T, cell string) (errs []error) {
	t.Helper()
	m := regexp.MustCompile("^`(\\*?[\\w.]+)`(.*)$").FindStringSubmatch(cell)
	if m == nil {
		t.Fatalf("no error in %q", cell)
	}
	var numbers []int
	for _, w := range strings.FieldsFunc(m[2], func(r rune) bool { return r == ' ' || r == ',' }) {
		if n, err := strconv.Atoi(w); err == nil {
			numbers = append(numbers, n)
		}
	}
	switch m[1] {
	case "*ParamError":
		return []error{&nls.ParamError{}}
	case "*TokenError":
		return []error{&nls.TokenError{Code: strings.TrimSpace(m[2]), HTTPStatus: 400}}
	case "*APIError":
		return []error{&nls.APIError{Code: strings.TrimSpace(m[2]), HTTPStatus: 400}}
	case "*HandshakeError":
		for _, n := range numbers {
			errs = append(errs, &nls.HandshakeError{HTTPStatus: n})
		}
	case "*ProxyError":
		for _, n := range numbers {
			errs = append(errs, &net.OpError{Op: "dial", Err: &nls.ProxyError{HTTPStatus: n}})
		}
	case "*CloseError":
		for _, n := range numbers {
			errs = append(errs, &nls.CloseError{Code: n})
		}
	case "context.Canceled":
		return []error{context.Canceled}
	case "context.DeadlineExceeded":
		return []error{context.DeadlineExceeded}
	default:
		if err := sentinelsByName[m[1]]; err != nil {
			return []error{err}
		}
	}
	if errs == nil {
		t.Fatalf("%q is no error that this test knows", cell)
	}
	return errs
}

var sentinelsByName = map[string]error{
	"ErrStartTimeout": nls.ErrStartTimeout, "ErrStopTimeout": nls.ErrStopTimeout, "ErrCompleteTimeout": nls.ErrCompleteTimeout,
	"ErrPingTimeout": nls.ErrPingTimeout, "ErrWriteTimeout": nls.ErrWriteTimeout, "ErrShutdown": nls.ErrShutdown,
	"ErrClientDrained": nls.ErrClientDrained, "ErrNotStarted": nls.ErrNotStarted, "ErrAlreadyStarted": nls.ErrAlreadyStarted,
	"ErrStopping": nls.ErrStopping, "ErrCompleted": nls.ErrCompleted, "ErrFileRunning": nls.ErrFileRunning,
}

// statusConstants are the constants of package nls for what a service says, by name.
func statusConstants(t *testing.T) map[string]int {
	codes := map[string]int{}
	for _, file := range parseGo(t, false, root+"errors.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Status") || len(spec.Values) != 1 {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				codes[spec.Names[0].Name], _ = strconv.Atoi(lit.Value)
			}
			return true
		})
	}
	return codes
}

// tableRows are the cells of the tables in text.
func tableRows(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "| ---") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// What docs/troubleshooting.md says of Retryable is what Retryable says, and each
// status and each error of the package is in it.
func TestTroubleshootingSaysWhatRetryableSays(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	codes := statusConstants(t)
	for _, name := range []string{"docs/troubleshooting.md", "docs/troubleshooting.zh-CN.md"} {
		left := statusConstants(t)
		maps.DeleteFunc(left, func(_ string, code int) bool { return code/10000000 == 2 }) // no failures
		errsLeft := map[string]bool{}
		for name := range sentinelsByName {
			errsLeft[name] = true
		}
		checked := 0
		for _, row := range tableRows(documents(t)[name].prose) {
			var errs []error
			status, err := strconv.Atoi(row[0])
			switch {
			case err == nil:
				constant := strings.Trim(row[1], "`")
				if codes[constant] != status {
					t.Errorf("%s: %s is %d, not %d", name, constant, codes[constant], status)
				}
				delete(left, constant)
				errs = []error{&nls.TaskError{Event: nls.Event{Status: status}}}
			case strings.HasPrefix(row[0], "`"):
				errs = errorsOf(t, row[0])
				delete(errsLeft, strings.Trim(row[0], "`"))
			default:
				continue // a heading
			}
			want := map[string]bool{"yes": true, "是": true, "no": false, "否": false}
			for _, err := range errs {
				said, ok := want[row[len(row)-1]]
				if checked++; !ok || said != nls.Retryable(err) || said != nls.Retryable(fmt.Errorf("mine: %w", err)) {
					t.Errorf("%s: %s: Retryable is %v", name, row[0], nls.Retryable(err))
				}
			}
		}
		if len(left) != 0 || len(errsLeft) != 0 {
			t.Errorf("%s lacks %v and %v", name, left, errsLeft)
		}
		if checked < 50 {
			t.Errorf("%s: only %d rows found", name, checked)
		}
	}
}

// The hosts that docs/deploy.md tells to let through are those that the code dials.
func TestDeployNamesTheHosts(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	host := regexp.MustCompile(`[\w.-]+\.aliyuncs\.com`)
	dialled := map[string]bool{}
	for _, file := range parseGo(t, false, root+"*.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				for _, name := range host.FindAllString(lit.Value, -1) {
					dialled[name] = true
				}
			}
			return true
		})
	}
	if len(dialled) < 16 {
		t.Errorf("only %d hosts found: %v", len(dialled), dialled)
	}
	for _, doc := range []string{"docs/deploy.md", "docs/deploy.zh-CN.md"} {
		named := map[string]bool{}
		for _, name := range host.FindAllString(documents(t)[doc].prose, -1) {
			if named[name] = true; !dialled[name] {
				t.Errorf("%s names %s, which the code does not dial", doc, name)
			}
		}
		for name := range dialled {
			if !named[name] && !strings.Contains(name, "-internal.") {
				t.Errorf("%s does not name %s", doc, name)
			}
		}
	}
}

// The first entry of the changelog is that of the version that the code says it is.
func TestChangelogBeginsWithTheVersion(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`(?m)^## (\S+)`).FindStringSubmatch(readFile(t, "CHANGELOG.md"))
	if m == nil || m[1] != nls.Version {
		t.Errorf("the first entry is %q, the version %s", m, nls.Version)
	}
}

// A type that no Example uses is one that godoc shows no use of.
func TestEachTypeIsInAnExample(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, file := range parseGo(t, true, root+"example*_test.go", root+"nlstest/example*_test.go") {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok {
					used[pkg.Name+"."+sel.Sel.Name] = true
				}
			}
			if f, ok := n.(*ast.FuncDecl); ok {
				name, _, _ := strings.Cut(strings.TrimPrefix(f.Name.Name, "Example"), "_")
				used[file.Name.Name[:len(file.Name.Name)-len("_test")]+"."+name] = true
			}
			return true
		})
	}
	for pkg, pattern := range map[string]string{"nls": "*.go", "nlstest": "nlstest/*.go"} {
		files := parseGo(t, false, root+pattern)
		// A plain struct is shown where a function that returns it is used, or another
		// struct that has it.
		structs := map[string]bool{}
		for range 3 {
			for _, file := range files {
				for _, decl := range file.Decls {
					var shown ast.Node
					switch d := decl.(type) {
					case *ast.FuncDecl:
						name := d.Name.Name
						if d.Recv != nil {
							recv := d.Recv.List[0].Type
							if star, ok := recv.(*ast.StarExpr); ok {
								recv = star.X
							}
							if id, ok := recv.(*ast.Ident); ok {
								name = id.Name
							}
						}
						if used[pkg+"."+name] {
							shown = d.Type
						}
					case *ast.GenDecl:
						for _, spec := range d.Specs {
							if s, ok := spec.(*ast.TypeSpec); ok {
								st, isStruct := s.Type.(*ast.StructType)
								structs[s.Name.Name] = isStruct
								if isStruct && used[pkg+"."+s.Name.Name] {
									markStructs(st, structs, used, pkg)
								}
							}
						}
					}
					if shown != nil {
						markStructs(shown, structs, used, pkg)
					}
				}
			}
		}
		for _, file := range files {
			for _, decl := range file.Decls {
				d, ok := decl.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range d.Specs {
					s, ok := spec.(*ast.TypeSpec)
					if !ok || !s.Name.IsExported() || used[pkg+"."+s.Name.Name] {
						continue
					}
					switch s.Type.(type) {
					case *ast.StructType, *ast.InterfaceType:
						t.Errorf("no Example uses %s.%s", pkg, s.Name.Name)
					}
				}
			}
		}
	}
}

// markStructs marks the structs that n speaks of as used.
func markStructs(n ast.Node, structs, used map[string]bool, pkg string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && structs[id.Name] {
			used[pkg+"."+id.Name] = true
		}
		return true
	})
}
