package nlstest

import (
	"encoding/json"
	"math"
	"testing"
)

// Java casts to Double what has a point, and reads no exponent without one.
func TestADoubleHasAPoint(t *testing.T) {
	for v, want := range map[double]string{0: "0.0", 1: "1.0", -1: "-1.0", 0.25: "0.25", 1e-7: "0.0000001", 1e21: "1000000000000000000000.0",
		double(math.Inf(1)): "0.0", double(math.Inf(-1)): "0.0"} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%v is written %s, %v, want %s", float64(v), got, err, want)
		}
	}
	if got, err := json.Marshal(double(math.NaN())); err != nil || string(got) != "0.0" {
		t.Errorf("NaN is written %s, %v", got, err)
	}
}
