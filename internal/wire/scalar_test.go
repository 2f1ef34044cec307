package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// scalars has a field of each type with what it is if it is left alone.
type scalars struct {
	Int   Int
	Float Float
	Bool  Bool
	Text  Text
}

func TestScalarsAreReadInWhicheverFormTheyCome(t *testing.T) {
	alone := scalars{7, 7, true, "seven"}
	for in, want := range map[string]scalars{
		`null`:                   alone,
		`{"a":1}`:                alone,
		`[1]`:                    alone,
		`""`:                     alone,
		`"x"`:                    {7, 7, true, "x"},
		`0`:                      {0, 0, false, "0"},
		`"0"`:                    {0, 0, false, "0"},
		`12`:                     {12, 12, true, "12"},
		`" 12 "`:                 {12, 12, true, " 12 "},
		`"1\u0032"`:              {12, 12, true, "12"},
		`-3.9`:                   {-3, -3.9, true, "-3.9"},
		`"4e2"`:                  {400, 400, true, "4e2"},
		`true`:                   {7, 7, true, "true"},
		`"false"`:                {7, 7, false, "false"},
		`"inf"`:                  {7, 7, true, "inf"},
		`"NaN"`:                  {7, 7, true, "NaN"},
		`9223372036854775807`:    {math.MaxInt64, 9223372036854775807, true, "9223372036854775807"},
		`9223372036854775808`:    {math.MaxInt64, 9223372036854775808, true, "9223372036854775808"},
		`-9223372036854775809`:   {math.MinInt64, -9223372036854775809, true, "-9223372036854775809"},
		`9007199254740993`:       {9007199254740993, 9007199254740992, true, "9007199254740993"},
		`1e400`:                  {math.MaxInt64, 7, true, "1e400"},
		`"-1e400"`:               {math.MinInt64, 7, true, "-1e400"},
		`1e-400`:                 {0, 0, false, "1e-400"},
		`"20000000000000000000"`: {math.MaxInt64, 2e19, true, "20000000000000000000"},
	} {
		got := alone
		if err := json.Unmarshal(fmt.Appendf(nil, `{"Int":%[1]s,"Float":%[1]s,"Bool":%[1]s,"Text":%[1]s}`, in), &got); err != nil || got != want {
			t.Errorf("%s is %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestNothingWrapsAround(t *testing.T) {
	const most = math.MaxInt64 / int64(time.Millisecond)
	for n, want := range map[Int]time.Duration{
		0: 0, 1: time.Millisecond, -1: -time.Millisecond, Int(most): time.Duration(most) * time.Millisecond, Int(most) + 1: math.MaxInt64,
		-Int(most): time.Duration(-most) * time.Millisecond, -Int(most) - 1: math.MinInt64, math.MaxInt64: math.MaxInt64, math.MinInt64: math.MinInt64,
	} {
		if got := n.Milliseconds(); got != want {
			t.Errorf("%d ms is %d, want %d", n, got, want)
		}
	}
	for n, want := range map[Int]int{
		5: 5, math.MaxInt64: math.MaxInt, math.MinInt64: math.MinInt, math.MaxInt32: math.MaxInt32, math.MinInt32: math.MinInt32,
	} {
		if got := n.Int(); got != want {
			t.Errorf("%d is %d, want %d", n, got, want)
		}
	}
}

func TestElements(t *testing.T) {
	type item struct{ A, B Int }
	for _, c := range []struct {
		list   string
		budget int
		want   []item
		left   int
	}{
		{`[]`, 9, nil, 9},
		{``, 9, nil, 9},
		{`null`, 9, nil, 9},
		{`{"a":1}`, 9, nil, 9},
		{`"[]"`, 9, nil, 9},
		{`[{"a":1,"b":2},{"a":3}]`, 9, []item{{1, 2}, {3, 0}}, 7}, // nothing of one is left in the next
		{"[ null ,\n{\"a\":1} , null,3,\"x\",[{\"a\":5}],true,{\"b\":2}]", 9, []item{{1, 0}, {0, 2}}, 7},
		{`[{"a":[1]},{"a":{}},{}]`, 9, []item{{}, {}, {}}, 6},
		{`[{"a":1},{"a":2},{"a":3}]`, 2, []item{{1, 0}, {2, 0}}, 0},
		{`[{"a":1}]`, 0, nil, 0},
		{`[{"a":1},{"a"`, 9, []item{{1, 0}}, 8}, // no JSON, from no caller
	} {
		var got []item
		budget := c.budget
		for e := range Elements[item]([]byte(c.list), &budget) {
			got = append(got, *e)
		}
		if !slices.Equal(got, c.want) || budget != c.left {
			t.Errorf("%s: %+v and a budget of %d, want %+v and %d", c.list, got, budget, c.want, c.left)
		}
	}
	budget := 9
	for range Elements[item]([]byte(`[{},{}]`), &budget) {
		break
	}
	if budget != 8 {
		t.Errorf("a loop that is left costs %d", 9-budget)
	}
}
