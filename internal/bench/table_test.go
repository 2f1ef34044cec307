//go:build unix

package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", 1, "rounds of each client for the table; goals are for 5 and more")
	doc    = flag.String("doc", "", "`file` to write the table and the chart into")
)

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkRow has each row of the table by itself, a round an operation.
func BenchmarkRow(b *testing.B) {
	for _, g := range groups {
		for _, client := range []string{floor, ours, theirs} {
			start, ok := g.clients[client]
			if !ok {
				continue
			}
			b.Run(g.name+"/client="+client, func(b *testing.B) {
				run := start(b)
				values := make([][]float64, len(g.rows))
				for b.Loop() {
					for i, v := range run() {
						values[i] = append(values[i], v)
					}
				}
				for i, r := range g.rows {
					b.ReportMetric(median(values[i]), r.unit)
				}
			})
		}
	}
}

// The table of docs/performance.md. Rounds alternate, so that what else the machine
// does meets all alike, and medians are compared.
func TestTable(t *testing.T) {
	var lines []string
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			runs, values := map[string]measure{}, map[string][][]float64{}
			for client, start := range g.clients {
				runs[client] = start(t)
			}
			for range *rounds {
				for _, client := range []string{floor, ours, theirs} {
					if run, ok := runs[client]; ok {
						values[client] = append(values[client], run())
					}
				}
			}
			for i, r := range g.rows {
				line, ratio := r.line(values, i)
				t.Log(line)
				lines = append(lines, line)
				if r.fail > 0 && (ratio > r.fail) != r.more {
					t.Errorf("%.2f times the floor, want %.2f", ratio, r.fail)
				}
			}
		})
	}
	if *doc != "" {
		replace(t, "table", fmt.Sprintf("| what | bare gorilla | nls | official SDK | goal |\n| --- | --- | --- | --- | --- |\n%s\n\nMedians of %d rounds on %d cores, %s, Go %s.",
			strings.Join(lines, "\n"), *rounds, runtime.NumCPU(), time.Now().Format(time.DateOnly), strings.TrimPrefix(runtime.Version(), "go")))
	}
}

// line is row i of the table, and what ours is as a multiple of the floor.
func (r row) line(values map[string][][]float64, i int) (line string, ratio float64) {
	of := func(client string) float64 {
		var column []float64
		for _, v := range values[client] {
			column = append(column, v[i])
		}
		return median(column)
	}
	ratio = of(ours) / of(floor)
	other, goal := "", ""
	if values[theirs] != nil {
		other = fmt.Sprintf("%.2f", of(theirs)/of(floor))
	}
	switch {
	case r.goal == 0:
	case r.more:
		goal = fmt.Sprintf("≥ %.2f", r.goal)
	default:
		goal = fmt.Sprintf("≤ %.2f", r.goal)
	}
	return fmt.Sprintf("| %s | %.3g %s | %.2f | %s | %s |", r.what, of(floor), r.unit, ratio, other, goal), ratio
}

// replace puts text into the document, between the marks of a part.
func replace(t *testing.T, part, text string) {
	old, err := os.ReadFile(*doc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(old), "<!-- "+part+" -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok1 || !ok2 {
		t.Fatalf("%s has no part %q", *doc, part)
	}
	if err := os.WriteFile(*doc, []byte(before+"<!-- "+part+" -->\n"+text+"\n<!-- end -->"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
