package nls

import (
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/wire"
)

// The gateway refuses null where it wants an object.
func TestAPayloadThatIsNotSetIsSentAsAnObject(t *testing.T) {
	for want, m := range map[string]map[string]any{`{}`: nil, `{"a":1}`: {"a": 1}} {
		if got, err := wire.Marshal(jsonObject(m)); err != nil || string(got) != want {
			t.Errorf("%v is sent as %s, %v", m, got, err)
		}
	}
}

// A hostile message cannot fill the memory, and an honest one of any length is whole.
func TestAsManyElementsAreDecodedAsAMessageCanHave(t *testing.T) {
	const n = 3000
	words := func(element string, n int) int {
		return len(sentenceOf(`{"words":[` + strings.Repeat(element+",", n-1) + element + `]}`).Words)
	}
	if got := words(`{"text":"x"}`, n); got != n {
		t.Errorf("%d of %d words are left", got, n)
	}
	if got := words(`{}`, n); got > n/3 {
		t.Errorf("%d of %d words that say nothing are kept", got, n)
	}
	if got := words(`{}`, 64); got != 64 {
		t.Errorf("%d of 64 words of a short message are left", got)
	}
}

// A rate that Extra has set is not trusted to be one.
func TestASampleRateThatOverflowsIsNotKnown(t *testing.T) {
	if got := audioRate(map[string]any{"format": FormatPCM, "sample_rate": "99999999999999999999"}); got != 0 {
		t.Errorf("%d bytes a second", got)
	}
}
