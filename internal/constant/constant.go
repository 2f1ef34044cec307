// Package constant compares constants with the numbers that they were chosen to be, so
// that a changed one fails by its name.
package constant

import "testing"

// Row is the name of a constant, what it is, what it has to be, and why: a document
// that has the number, or "ours".
type Row [4]any

// Check fails t for each row that is not what it has to be.
func Check(t *testing.T, rows []Row) {
	t.Helper()
	for _, r := range rows {
		if name, got, want, source := r[0], r[1], r[2], r[3]; got != want {
			t.Errorf("%s is %v, want %v: %s", name, got, want, source)
		}
	}
}
