package nlstest

import (
	"context"
	"testing"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/conformance"
)

// Every frame that a gateway sends in the tests of this package is checked, those
// of connections with a fault excepted.
func init() { conformance.Strict.Store(true) }

// quietEngine speaks a word without a sound.
type quietEngine struct{ fakeEngine }

func (quietEngine) Synthesize(_ context.Context, text string, _ Voice, emit func([]byte, []nls.Subtitle) error) error {
	return emit(nil, []nls.Subtitle{{Text: text, EndIndex: 1}})
}

func TestAnEngineThatSaysNothingMakesNoEmptyMessage(t *testing.T) {
	c := dial(t, start(t, Options{Engine: quietEngine{}}), "SpeechSynthesizer", "")
	c.send("StartSynthesis", `{"text":"a","voice":"siqi","enable_subtitle":true}`)
	if got := names(c.until("SynthesisCompleted")); got != "MetaInfo MetaInfo SynthesisCompleted" {
		t.Errorf("got %s", got)
	}
}
