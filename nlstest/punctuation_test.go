package nlstest

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestUnpunctuated(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"今天天气怎么样？":              "今天天气怎么样",
		"你好，世界。Hello, Go! 🎙":    "你好世界Hello Go 🎙",
		"Wait...what?":          "Wait what",
		"约 3.14，是12:30。":        "约 3.14是12:30",
		"one,two":               "one two",
		"1、2，3":                 "1 2 3",
		"It's a well-known <b>": "It's a well-known <b>",
		"1.":                    "1",
		"1, 2":                  "1 2",
		"1.。2":                  "1 2", // the end of a sentence, not a number
		"。？！":                   "",
		"[speech 1.48s]":        "[speech 1.48s]",
		"\uFFFD，\uFFFD":         "\uFFFD\uFFFD",
	} {
		if got := unpunctuated(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// A program that forgets enable_punctuation_prediction sees here what it would see
// of the service: in partial results and in final ones, of both products.
func TestPunctuationComesWhenAskedFor(t *testing.T) {
	const spoken = "你好，世界。Go, MP3.5!"
	tones, _ := synthesize(t, Loopback(), strings.Repeat("声", 30), loopbackVoice) // Script needs sound, no more
	for _, product := range []struct{ space, start, stop, completed string }{
		{"SpeechRecognizer", "StartRecognition", "StopRecognition", "RecognitionCompleted"},
		{"SpeechTranscriber", "StartTranscription", "StopTranscription", "TranscriptionCompleted"},
	} {
		for asked, want := range map[string]string{
			"": "你好世界Go MP3.5", `,"enable_punctuation_prediction":false`: "你好世界Go MP3.5", `,"enable_punctuation_prediction":true`: spoken,
		} {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Engine: Script(spoken)}), product.space, "")
				c.send(product.start, `{"enable_intermediate_result":true,"enable_words":true`+asked+`}`)
				c.want(products[product.space].started)
				c.say(tones)
				c.send(product.stop, "")
				marks := 0
				found := false
				for _, r := range c.until(product.completed) {
					var e struct {
						Payload struct {
							Result string    `json:"result"`
							Words  []wordRow `json:"words"`
						} `json:"payload"`
					}
					if err := json.Unmarshal([]byte(r.raw), &e); err != nil {
						t.Fatal(err)
					}
					result := e.Payload.Result
					found = found || result == want
					if strings.ContainsAny(strings.ReplaceAll(result, "3.5", ""), punctuationMarks) {
						marks++
					}
					for _, w := range e.Payload.Words {
						if strings.ContainsAny(strings.ReplaceAll(w.Text, "3.5", ""), punctuationMarks) {
							t.Errorf("%s: the word %q", product.space, w.Text)
						}
					}
				}
				if !found || (marks > 0) != (want == spoken) {
					t.Errorf("%s%s: %q found: %v; %d results with punctuation", product.space, asked, want, found, marks)
				}
			})
		}
	}
}
