package nls

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/wire"
)

// This file has what the payloads of several products share: from parameters to
// JSON, and from JSON to events.

// The formats that protocol §3.1, §4.2 and §5.2 document.
var (
	recognitionFormats = []Format{FormatPCM, FormatWAV, FormatOpus, FormatOPU, FormatSpeex, FormatAMR, FormatMP3, FormatAAC}
	synthesisFormats   = []Format{FormatPCM, FormatWAV, FormatMP3}
)

// recognitionRates are the sample rates that models exist for (protocol §3.2).
var recognitionRates = []int{8000, 16000}

func checkFormat(f Format, documented []Format) (Format, error) {
	f = orDefault(f, FormatPCM)
	if !slices.Contains(documented, f) {
		return "", &ParamError{"Format", f, fmt.Sprintf("must be one of %v", documented)}
	}
	return f, nil
}

func checkRate(rate int, documented []int) error {
	if !slices.Contains(documented, rate) {
		return &ParamError{"SampleRate", rate, fmt.Sprintf("must be one of %v", documented)}
	}
	return nil
}

// audioParams are the parameters that recognition and transcription share.
type audioParams struct {
	format                             Format
	sampleRate, channels               int
	intermediate, punctuation, inverse bool
	vocabularyID, customizationID      string
}

func audioPayload(p audioParams) (map[string]any, error) {
	format, err := checkFormat(p.format, recognitionFormats)
	if err != nil {
		return nil, err
	}
	rate := orDefault(p.sampleRate, DefaultSampleRate)
	if err := checkRate(rate, recognitionRates); err != nil {
		return nil, err
	}
	if p.channels != 0 && p.channels != 1 {
		return nil, &ParamError{"Channels", p.channels, "the service takes one channel"}
	}
	m := map[string]any{
		"format":                            format,
		"sample_rate":                       rate,
		"enable_intermediate_result":        p.intermediate,
		"enable_punctuation_prediction":     p.punctuation,
		"enable_inverse_text_normalization": p.inverse,
	}
	putString(m, "vocabulary_id", p.vocabularyID)
	putString(m, "customization_id", p.customizationID)
	return m, nil
}

func putString(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// putSilence puts a length of silence, in milliseconds, unless it is zero.
func putSilence(m map[string]any, key, param string, d time.Duration) error {
	if d < 0 {
		return &ParamError{param, d, "must not be negative"}
	}
	if err := checkDuration(param, d); err != nil {
		return err
	}
	if d > 0 {
		m[key] = d.Milliseconds()
	}
	return nil
}

// voiceParams are the parameters that all kinds of synthesis share.
type voiceParams struct {
	voice                 string
	format                Format
	sampleRate            int
	volume                *int
	speechRate, pitchRate int
	subtitle, phonemes    bool
}

// synthesisRates are the sample rates that voices exist for (protocol §5.2).
var synthesisRates = []int{8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000}

func voicePayload(p voiceParams) (map[string]any, error) {
	format, err := checkFormat(p.format, synthesisFormats)
	if err != nil {
		return nil, err
	}
	rate := orDefault(p.sampleRate, DefaultSampleRate)
	if err := checkRate(rate, synthesisRates); err != nil {
		return nil, err
	}
	volume := DefaultVolume
	if p.volume != nil {
		volume = *p.volume
	}
	if volume < 0 || volume > 100 {
		return nil, &ParamError{"Volume", volume, "must be from 0 to 100"}
	}
	if p.speechRate < -500 || p.speechRate > 500 {
		return nil, &ParamError{"SpeechRate", p.speechRate, "must be from -500 to 500"}
	}
	if p.pitchRate < -500 || p.pitchRate > 500 {
		return nil, &ParamError{"PitchRate", p.pitchRate, "must be from -500 to 500"}
	}
	m := map[string]any{
		"voice":       orDefault(p.voice, DefaultVoice),
		"format":      format,
		"sample_rate": rate,
		"volume":      volume,
		"speech_rate": p.speechRate,
		"pitch_rate":  p.pitchRate,
	}
	if p.subtitle || p.phonemes { // which are part of the subtitles
		m["enable_subtitle"] = true
	}
	if p.phonemes {
		m["enable_phoneme_timestamp"] = true
	}
	return m, nil
}

// checkText refuses what the service drops the connection over.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return &ParamError{"Text", nil, "must be valid UTF-8"}
	}
	return nil
}

// withExtra adds extra to payload; it has the last word.
func withExtra(payload, extra map[string]any) map[string]any {
	maps.Copy(payload, extra)
	return payload
}

// audioRate is how many bytes of audio play in a second, by a payload that asks for
// or announces it; 0 if it does not say so.
func audioRate(payload map[string]any) int {
	switch fmt.Sprint(payload["format"]) {
	case string(FormatPCM), string(FormatWAV):
		if rate, err := strconv.Atoi(fmt.Sprint(payload["sample_rate"])); err == nil && rate > 0 {
			return 2 * rate
		}
	}
	return 0
}

// jsonObject is m, or {} if m is nil, which JSON would call null.
func jsonObject(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// A payload is declared as it is documented, with Go's own types, and once more with
// those of package wire, which take what services send in their place.
type payload[T any] interface{ of(*Event) T }

// decodePayload decodes what it can of e's payload. Fields of a type that makes no
// sense stay as they are: the event still has its Raw form.
func decodePayload[T any](e *Event, strict payload[T], lenient func() payload[T]) T {
	p := strict
	if _, ok := errors.AsType[*json.UnmarshalTypeError](e.Payload(p)); ok { // rare, and worth twice the time then
		p = lenient()
		_ = e.Payload(p)
	}
	return p.of(e)
}

// elementBudget bounds how many elements of the lists in e are decoded: as many as
// fit into it with a text of a letter. Without a bound a message full of {} takes
// up hundreds of times more memory decoded.
func elementBudget(e *Event) int { return 64 + len(e.Raw)/len(`{"text":"x"}`) }

// decodeWords decodes a list of words.
func decodeWords(list json.RawMessage, budget *int) []Word {
	type word struct {
		Text  wire.Text `json:"text"`
		Start wire.Int  `json:"startTime"`
		End   wire.Int  `json:"endTime"`
	}
	var words []Word
	for w := range wire.Elements[word](list, budget) {
		words = append(words, Word{string(w.Text), w.Start.Milliseconds(), w.End.Milliseconds()})
	}
	return words
}

// call calls f unless it is nil.
func call[E any](f func(E), e E) {
	if f != nil {
		f(e)
	}
}
