package nls

import (
	"slices"
	"testing"
)

// A voice pauses between two pieces, so an end of a sentence is looked for first,
// also where white space or the limit is next to it.
func TestTextIsSplitAtAnEndThatIsNextToSpace(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"一二三\n 四五六七八九十", []string{"一二三\n ", "四五六七八九十"}},
		{"一二，三四五六七八九\n十", []string{"一二，三四五六七八九", "\n十"}},
		{"One, abcd. efg", []string{"One, abcd.", " efg"}},
		{"ab…cd efghijk", []string{"ab…", "cd efghijk"}},
	} {
		if got := splitText(c.text, 10); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// Text that is taken for SSML is sent whole, and refused.
func TestOnlyARootMakesSSML(t *testing.T) {
	for text, want := range map[string]bool{
		"<!-- a > b --><speak>x</speak>": true, "> a quotation": false, "/ a path": false, " \n": false,
	} {
		if got := isSSML(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
