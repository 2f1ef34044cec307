package nls

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/wire"
)

func payloadOf[P interface {
	payload() (map[string]any, error)
}](p P) func() (map[string]any, error) {
	return p.payload
}

func TestStartPayloadsByteForByte(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload func() (map[string]any, error)
		want    string
	}{
		{"recognition, defaults", payloadOf(&RecognitionParams{}),
			`{"enable_intermediate_result":false,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"format":"pcm","sample_rate":16000}`},
		{"recognition, everything", payloadOf(&RecognitionParams{
			Format: FormatOPU, SampleRate: 8000, Channels: 1, EnableIntermediateResult: true, EnablePunctuationPrediction: true,
			EnableInverseTextNormalization: true, EnableVoiceDetection: true, MaxStartSilence: 5 * time.Second,
			MaxEndSilence: 800 * time.Millisecond, VocabularyID: "v", CustomizationID: "c", Extra: map[string]any{"hello": 123}}),
			`{"customization_id":"c","enable_intermediate_result":true,"enable_inverse_text_normalization":true,"enable_punctuation_prediction":true,"enable_voice_detection":true,"format":"opu","hello":123,"max_end_silence":800,"max_start_silence":5000,"sample_rate":8000,"vocabulary_id":"v"}`},
		{"transcription, defaults", payloadOf(&TranscriptionParams{}),
			`{"enable_intermediate_result":false,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"format":"pcm","sample_rate":16000}`},
		{"transcription, everything", payloadOf(&TranscriptionParams{
			Format: FormatAAC, EnableIntermediateResult: true, EnableWords: true, MaxSentenceSilence: time.Second, Disfluency: true,
			EnableSemanticSentenceDetection: true, SpeechNoiseThreshold: new(-0.5), VocabularyID: "v", CustomizationID: "c"}),
			`{"customization_id":"c","disfluency":true,"enable_intermediate_result":true,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"enable_semantic_sentence_detection":true,"enable_words":true,"format":"aac","max_sentence_silence":1000,"sample_rate":16000,"speech_noise_threshold":-0.5,"vocabulary_id":"v"}`},
		{"synthesis, defaults", payloadOf(&SynthesisParams{Text: "你好 <b>&</b>"}),
			`{"format":"pcm","pitch_rate":0,"sample_rate":16000,"speech_rate":0,"text":"你好 <b>&</b>","voice":"xiaoyun","volume":50}`},
		{"synthesis, everything", payloadOf(&SynthesisParams{
			Text: "x", Voice: "ailun", Format: FormatWAV, SampleRate: 48000, Volume: new(0), SpeechRate: -500, PitchRate: 500, EnableSubtitle: true}),
			`{"enable_subtitle":true,"format":"wav","pitch_rate":500,"sample_rate":48000,"speech_rate":-500,"text":"x","voice":"ailun","volume":0}`},
		{"synthesis, phonemes", payloadOf(&SynthesisParams{Text: "\ufeffx", EnablePhonemes: true}),
			`{"enable_phoneme_timestamp":true,"enable_subtitle":true,"format":"pcm","pitch_rate":0,"sample_rate":16000,"speech_rate":0,"text":"x","voice":"xiaoyun","volume":50}`},
		{"streaming synthesis, defaults", payloadOf(&StreamSynthesisParams{}),
			`{"format":"pcm","pitch_rate":0,"sample_rate":16000,"speech_rate":0,"voice":"xiaoyun","volume":50}`},
		{"streaming synthesis, SSML and phonemes", payloadOf(&StreamSynthesisParams{EnableSSML: true, EnablePhonemes: true}),
			`{"enable_phoneme_timestamp":true,"enable_ssml":true,"enable_subtitle":true,"format":"pcm","pitch_rate":0,"sample_rate":16000,"speech_rate":0,"voice":"xiaoyun","volume":50}`},
		{"recognition, MP3", payloadOf(&RecognitionParams{Format: FormatMP3}),
			`{"enable_intermediate_result":false,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"format":"mp3","sample_rate":16000}`},
		{"recognition, AAC", payloadOf(&RecognitionParams{Format: FormatAAC}),
			`{"enable_intermediate_result":false,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"format":"aac","sample_rate":16000}`},
		{"Extra wins", payloadOf(&TranscriptionParams{Extra: map[string]any{"format": "flac", "sample_rate": 44100}}),
			`{"enable_intermediate_result":false,"enable_inverse_text_normalization":false,"enable_punctuation_prediction":false,"format":"flac","sample_rate":44100}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.payload()
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.Marshal(m)
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestBadParametersAreNamed(t *testing.T) {
	synth := func(p SynthesisParams) func() (map[string]any, error) {
		if p.Text == "" {
			p.Text = "x"
		}
		return p.payload
	}
	for _, c := range []struct {
		param   string
		payload func() (map[string]any, error)
	}{
		{"Format", payloadOf(&RecognitionParams{Format: "PCM"})},
		{"Format", payloadOf(&TranscriptionParams{Format: "flac"})},
		{"Format", synth(SynthesisParams{Format: FormatOpus})},
		{"Format", payloadOf(&StreamSynthesisParams{Format: FormatAAC})},
		{"SampleRate", payloadOf(&RecognitionParams{SampleRate: -1})},
		{"SampleRate", payloadOf(&RecognitionParams{SampleRate: 44100})},
		{"SampleRate", payloadOf(&TranscriptionParams{SampleRate: 24000})},
		{"SampleRate", synth(SynthesisParams{SampleRate: 16001})},
		{"SampleRate", synth(SynthesisParams{SampleRate: -8000})},
		{"SampleRate", payloadOf(&StreamSynthesisParams{SampleRate: 96000})},
		{"Channels", payloadOf(&RecognitionParams{Channels: 2})},
		{"Channels", payloadOf(&TranscriptionParams{Channels: -1})},
		{"MaxStartSilence", payloadOf(&RecognitionParams{MaxStartSilence: -1})},
		{"MaxEndSilence", payloadOf(&RecognitionParams{MaxEndSilence: -1})},
		{"MaxSentenceSilence", payloadOf(&TranscriptionParams{MaxSentenceSilence: -1})},
		{"EnableSemanticSentenceDetection", payloadOf(&TranscriptionParams{EnableSemanticSentenceDetection: true})},
		{"SpeechNoiseThreshold", payloadOf(&TranscriptionParams{SpeechNoiseThreshold: new(1.5)})},
		{"Volume", synth(SynthesisParams{Volume: new(101)})},
		{"Volume", synth(SynthesisParams{Volume: new(-1)})},
		{"SpeechRate", synth(SynthesisParams{SpeechRate: 501})},
		{"SpeechRate", synth(SynthesisParams{SpeechRate: -501})},
		{"PitchRate", synth(SynthesisParams{PitchRate: 501})},
		{"PitchRate", payloadOf(&StreamSynthesisParams{PitchRate: -501})},
		{"Text", payloadOf(&SynthesisParams{})},
		{"Text", synth(SynthesisParams{Text: "a\xff"})},
		{"Text", synth(SynthesisParams{Text: "\ufeff"})},
		{"Text", synth(SynthesisParams{Text: strings.Repeat("字", 301)})},
		{"Text", synth(SynthesisParams{Text: "<speaker>" + strings.Repeat("a", 300)})},
	} {
		_, err := c.payload()
		var e *ParamError
		if !errors.As(err, &e) || e.Param != c.param || !errors.Is(err, ErrInvalidParameter) {
			t.Errorf("%s: got %v", c.param, err)
		}
	}
}

// What is documented is taken, up to its ends.
func TestDocumentedParametersAreTaken(t *testing.T) {
	for _, rate := range []int{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000} {
		for _, end := range []int{-500, 500} {
			for _, volume := range []int{0, 100} {
				p := SynthesisParams{Text: "x", SampleRate: rate, Volume: &volume, SpeechRate: end, PitchRate: end}
				if m, err := p.payload(); err != nil || m["sample_rate"] != rate || m["volume"] != volume {
					t.Errorf("%+v: %v, %v", p, m, err)
				}
			}
		}
	}
}

func TestAudioPlaysAtTheRateOfItsPayload(t *testing.T) {
	for _, c := range []struct {
		format, rate any
		want         int
	}{
		{FormatPCM, 16000, 32000},
		{"wav", "8000", 16000},
		{"pcm", 1, 2},
		{"pcm", 0, 0},
		{"pcm", -8000, 0},
		{"pcm", "fast", 0},
		{"pcm", nil, 0},
		{"mp3", 16000, 0},
		{nil, 16000, 0},
	} {
		if got := audioRate(map[string]any{"format": c.format, "sample_rate": c.rate}); got != c.want {
			t.Errorf("%v of %v Hz: %d, want %d", c.format, c.rate, got, c.want)
		}
	}
}
