package nlstest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// startOf is the directive that starts a task of a product.
func startOf(space string) string {
	for name, role := range products[space].directives {
		if role == roleStart {
			return name
		}
	}
	return ""
}

// A row is a parameter with the values that are just good enough, and those that are
// not any more.
func TestParametersHaveTheBoundsOfTheService(t *testing.T) {
	const st, sr, tts, flow = "SpeechTranscriber", "SpeechRecognizer", "SpeechSynthesizer", "FlowingSpeechSynthesizer"
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Voices: []string{"own"}})
		for _, row := range []struct{ space, more, key, good, bad string }{
			{st, "", "speech_noise_threshold", "-1 -0.5 0 1", "-1.01 1.01"},
			{st, "", "max_sentence_silence", "200 6000", "199 6001"},
			{st, "", "tw_time_offset", "0 2147483647", "-1 2147483648"},
			{st, "", "tw_index_offset", "0 2147483647", "-1 2147483648"},
			{sr, `"enable_voice_detection":true,`, "max_start_silence", "1 60000", "0 60001"},
			{sr, `"enable_voice_detection":true,`, "max_end_silence", "200 6000", "199 6001"},
			{sr, "", "max_start_silence", "0 60001", ""}, // means nothing
			{tts, `"text":"x",`, "volume", "0 100", "-1 101"},
			{tts, `"text":"x",`, "speech_rate", "-500 500", "-501 501"},
			{tts, `"text":"x",`, "pitch_rate", "-500 500", "-501 501"},
			{flow, `"voice":"own",`, "sample_rate", "8000 11025 16000 22050 24000 32000 44100 48000", "8001 96000"},
			{flow, "", "sample_rate", "8000 16000", "24000 48000"}, // of xiaoyun
		} {
			for i, values := range []string{row.good, row.bad} {
				for value := range strings.FieldsSeq(values) {
					c := dial(t, s, row.space, "")
					c.send(startOf(row.space), fmt.Sprintf(`{%s%q:%s}`, row.more, row.key, value))
					if i == 1 {
						c.wantFailed(40010003, fmt.Sprintf("Gateway:DIRECTIVE_INVALID:Invalid %s '%s'!", row.key, value))
					} else if r := c.read(); r.err != nil || r.Header.Name == "TaskFailed" {
						t.Errorf("%s %s %s: got %s %v", row.space, row.key, value, r.raw, r.err)
					}
					c.ws.Close()
				}
			}
		}
	})
}

// Whether the server makes use of a parameter or not, another type is refused.
func TestParametersHaveTheirTypes(t *testing.T) {
	const st, sr, tts, long, flow = "SpeechTranscriber", "SpeechRecognizer", "SpeechSynthesizer", "SpeechLongSynthesizer", "FlowingSpeechSynthesizer"
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
		for _, row := range []struct{ spaces, value, keys string }{
			{st + " " + sr, `1`, "format vocabulary_id customization_id enable_intermediate_result enable_punctuation_prediction enable_inverse_text_normalization disfluency"},
			{st + " " + sr, `"x"`, "sample_rate special_word_filter speech_noise_threshold"},
			{st, `1`, "enable_words enable_semantic_sentence_detection enable_multi_thresh_mod enable_ignore_sentence_timeout"},
			{st, `"x"`, "max_sentence_silence tw_time_offset tw_index_offset"},
			{sr, `1`, "enable_voice_detection"},
			{tts + " " + long + " " + flow, `1`, "voice format enable_subtitle enable_phoneme_timestamp"},
			{tts + " " + long + " " + flow, `"x"`, "sample_rate volume speech_rate pitch_rate"},
			{tts + " " + long, `1`, "text"},
			{flow, `1`, "enable_ssml"},
		} {
			for space := range strings.FieldsSeq(row.spaces) {
				name := startOf(space)
				for key := range strings.FieldsSeq(row.keys) {
					c := dial(t, s, space, "")
					payload := fmt.Sprintf(`{%q:%s,"text":"x"}`, key, row.value)
					if key == "text" {
						payload = `{"text":` + row.value + `}`
					}
					c.send(name, payload)
					c.wantFailed(40010003, fmt.Sprintf("Gateway:DIRECTIVE_INVALID:Invalid payload for event '%s.%s'!", space, name))
				}
			}
		}
		for key, value := range map[string]string{"vocabulary_id": "1", "max_sentence_silence": `"500"`} {
			c := dial(t, s, st, "")
			c.send("StartTranscription", "{}")
			c.want("TranscriptionStarted")
			c.send("ControlTranscriber", fmt.Sprintf(`{%q:%s}`, key, value))
			c.wantFailed(40010003, "Gateway:DIRECTIVE_INVALID:Invalid payload for event 'SpeechTranscriber.ControlTranscriber'!")
		}
	})
}

// Values at their bounds do what they say.
func TestOffsetsOfOneCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
		for payload, want := range map[string]string{
			`{}`:                     "1 at 0",
			`{"tw_time_offset":1}`:   "1 at 1",
			`{"tw_index_offset":1}`:  "2 at 0",
			`{"tw_index_offset":0}`:  "1 at 0",
			`{"tw_time_offset":500}`: "1 at 500",
		} {
			c := dial(t, s, "SpeechTranscriber", "")
			c.send("StartTranscription", payload)
			c.want("TranscriptionStarted")
			c.binary(sound(100*time.Millisecond, 16000))
			p := c.want("SentenceBegin").Payload.(map[string]any)
			if got := fmt.Sprintf("%v at %v", p["index"], p["time"]); got != want {
				t.Errorf("%s: sentence %s, want %s", payload, got, want)
			}
		}
	})
}
