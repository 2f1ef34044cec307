package suite

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

// constant is the number that the value of a constant in file begins with, such as 60
// of 60 * time.Second.
func constant(t *testing.T, file, name string) int {
	t.Helper()
	n := -1
	for _, f := range parseGo(t, false, root+file) {
		ast.Inspect(f, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			i := slices.IndexFunc(spec.Names, func(id *ast.Ident) bool { return id.Name == name })
			if i < 0 || i >= len(spec.Values) {
				return true
			}
			value := spec.Values[i]
			if product, ok := value.(*ast.BinaryExpr); ok {
				value = product.X
			}
			if lit, ok := value.(*ast.BasicLit); ok {
				n, _ = strconv.Atoi(strings.ReplaceAll(lit.Value, "_", ""))
			}
			return true
		})
	}
	if n < 0 {
		t.Fatalf("%s has no constant %s", file, name)
	}
	return n
}

// The numbers in the READMEs and the guides are those of constants.
func TestREADMEHasTheNumbersOfConstants(t *testing.T) {
	t.Parallel()
	short := constant(t, "splittext.go", "maxShortText")
	piece := constant(t, "splittext.go", "maxPieceChars")
	long := constant(t, "nlstest/synthesis.go", "maxLongText")
	idle := constant(t, "nlstest/nlstest.go", "defaultIdleTimeout")
	speech := constant(t, "nlstest/recognition.go", "maxSpeech")
	thousands := func(n int) string { return fmt.Sprintf("%d,%03d", n/1000, n%1000) }
	said := [][2]string{ // in English and in Chinese
		{fmt.Sprint(short, " characters"), fmt.Sprint(short, " 个字符")},
		{thousands(piece) + " characters a message", thousands(piece) + " 个字符"},
		{thousands(long), thousands(long)},
		{fmt.Sprint("more than ", idle), fmt.Sprint("不能超过 ", idle)},
		{fmt.Sprint(speech, " seconds"), fmt.Sprint(speech, " 秒")},
	}
	inGuide := [][2]string{
		{fmt.Sprint(short, " characters"), fmt.Sprint(short, " 个字符")},
		{fmt.Sprint(speech, " seconds"), fmt.Sprint(speech, " 秒")},
		{fmt.Sprint(nls.DefaultMaxPending>>20, " MiB"), fmt.Sprint(nls.DefaultMaxPending>>20, " MiB")},
	}
	for name, d := range map[string]time.Duration{
		"DefaultStartTimeout": nls.DefaultStartTimeout, "DefaultStopTimeout": nls.DefaultStopTimeout,
		"DefaultCompleteTimeout": nls.DefaultCompleteTimeout, "DefaultPingInterval": nls.DefaultPingInterval,
		"DefaultWriteTimeout": nls.DefaultWriteTimeout,
	} {
		inGuide = append(inGuide, [2]string{fmt.Sprintf("`%s`, %v s", name, d.Seconds()), fmt.Sprintf("`%s`，%v 秒", name, d.Seconds())})
	}
	for i, ending := range []string{".md", ".zh-CN.md"} {
		for name, numbers := range map[string][][2]string{"README": said, "docs/guide": inGuide} {
			text := regexp.MustCompile(`\s+`).ReplaceAllString(readFile(t, name+ending), " ")
			for _, n := range numbers {
				if !strings.Contains(text, n[i]) {
					t.Errorf("%s%s does not say %q", name, ending, n[i])
				}
			}
		}
	}
}
