package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestOnlyHexDigitsAreInAnID(t *testing.T) {
	for c := range 128 {
		id := strings.Repeat("0", 31) + string(rune(c))
		if got, want := ValidID(id), strings.ContainsRune("0123456789abcdef", rune(c)); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestAScalarIsWhatItsJSONSays(t *testing.T) {
	for in, want := range map[string]string{`"\n"`: "\n", `"\u4f60好"`: "你好", `"a\\"`: `a\`, "\"\xff\"": "\ufffd", `"你好"`: "你好"} {
		var got Text
		if err := json.Unmarshal([]byte(in), &got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
		if got := scalar([]byte(in)); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

// As a float64 each of them is another number.
func TestLargeIntegersAreExact(t *testing.T) {
	for _, want := range []int64{9007199254740993, -9007199254740993, math.MaxInt64 - 1, math.MinInt64 + 1, math.MinInt64} {
		for _, form := range []string{"%d", `"%d"`, `" %d "`} {
			var got Int
			if err := json.Unmarshal(fmt.Appendf(nil, form, want), &got); err != nil || int64(got) != want {
				t.Errorf(form+": %d, %v", want, got, err)
			}
		}
	}
}

func TestInfinityIsNoNumber(t *testing.T) {
	for _, in := range []string{`"inf"`, `"-inf"`, `"+Infinity"`, `"nan"`} {
		i, f := Int(7), Float(7)
		if json.Unmarshal([]byte(in), &i) != nil || json.Unmarshal([]byte(in), &f) != nil || i != 7 || f != 7 {
			t.Errorf("%s: %d, %v", in, i, f)
		}
	}
}

func TestObjectsInAnObjectAreNoElements(t *testing.T) {
	budget := 9
	for e := range Elements[struct{ A Int }]([]byte(`{"x":{"a":1}}`), &budget) {
		t.Errorf("%+v", e)
	}
}

func TestWhereThePayloadOfAnEventIs(t *testing.T) {
	for in, want := range map[string]string{
		`{"header":{"name":"X"}}`:                     "",
		`{"header":{"name":"X"},"payload":null}`:      "",
		`{"header":{"name":"X"},"payload":5}`:         "5",
		`{"header":{"name":"X"}, "payload": {"a":1}}`: `{"a":1}`,
	} {
		e, err := DecodeEvent([]byte(in))
		if got := in[e.Payload.Start:e.Payload.End]; err != nil || got != want || want == "" && e.Payload != (Part{}) {
			t.Errorf("%s: %v, %q, %v", in, e.Payload, got, err)
		}
	}
}
