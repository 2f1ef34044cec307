package suite

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/nlsgo/nls"
)

// TestLive talks to the real service, with the account in the environment (see
// ConfigFromEnv): what it speaks it has to understand.
func TestLive(t *testing.T) {
	if os.Getenv("NLS_LIVE") != "1" {
		t.Skip("NOT RUN AGAINST THE REAL SERVICE: set NLS_LIVE=1, NLS_APPKEY and an access key to do so")
	}
	client, err := nls.NewClient(nls.ConfigFromEnv())
	if err != nil {
		t.Fatal(err)
	}
	var audio bytes.Buffer
	if err := client.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: "北京的天气"}); err != nil {
		t.Fatal(err)
	}
	result, err := client.Recognize(t.Context(), bytes.NewReader(audio.Bytes()), nls.RecognitionParams{}, nls.PumpOptions{})
	if err != nil || !strings.Contains(result.Text, "天气") {
		t.Errorf("Recognize = %v, %v", result, err)
	}
	for s, err := range client.Transcribe(t.Context(), bytes.NewReader(audio.Bytes()), nls.TranscriptionParams{}, nls.PumpOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		t.Log(s.Index, s.Begin, s.Time, s.Text)
	}
}
