//go:build unix

package bench

import (
	"flag"
	"fmt"
	"slices"
	"testing"
)

var rounds = flag.Int("rounds", 1, "rounds of each client for the table; goals are for 5 and more")

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
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			runs := map[string]measure{}
			for client, start := range g.clients {
				runs[client] = start(t)
			}
			values := map[string][][]float64{}
			for range *rounds {
				for _, client := range []string{floor, ours, theirs} {
					if run, ok := runs[client]; ok {
						values[client] = append(values[client], run())
					}
				}
			}
			for i, r := range g.rows {
				of := func(client string) float64 {
					var column []float64
					for _, v := range values[client] {
						column = append(column, v[i])
					}
					if column == nil {
						return 0
					}
					return median(column)
				}
				line := fmt.Sprintf("%s: floor %.1f %s, ours %.2f times", r.what, of(floor), r.unit, of(ours)/of(floor))
				if v := of(theirs); v != 0 {
					line += fmt.Sprintf(", official %.2f", v/of(floor))
				}
				t.Log(line, "goal", r.goal)
			}
		})
	}
}
