package nlstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

const (
	engine418 = "TTS:TtsClientError:[tts]Engine return error code: 418"
	engine423 = "TTS:TtsClientError:[tts]Engine return error code: 423"
	engine425 = "TTS:TtsClientError:[tts]Engine return error code: 425"
)

func TestVoicesCanDoWhatTheVendorsListSays(t *testing.T) {
	const (
		short = "SpeechSynthesizer"
		long  = "SpeechLongSynthesizer"
		flow  = "FlowingSpeechSynthesizer"
	)
	rate := func(hertz int) string {
		return fmt.Sprintf("Gateway:DIRECTIVE_INVALID:Invalid sample_rate '%d'!", hertz)
	}
	happy := func(voice string) string {
		return `"voice":"` + voice + `","text":"<speak><emotion category='happy'>好</emotion></speak>"`
	}
	for _, c := range []struct {
		product, payload string
		status           int // 0 is none
		text             string
	}{
		{short, `"enable_subtitle":true`, 41020001, engine425}, // xiaoyun, the default
		{flow, `"enable_subtitle":true`, 41020001, engine425},
		{long, `"enable_subtitle":true,"voice":"sijia"`, 41020001, engine425},
		{short, `"enable_subtitle":true,"voice":"siqi"`, 0, ""},
		{flow, `"enable_subtitle":true,"voice":"Ailun"`, 0, ""}, // older lists begin names with a capital

		{short, `"voice":"nobody"`, 41020001, engine418},
		{short, `"voice":"ours","enable_subtitle":true,"sample_rate":44100`, 0, ""}, // of Options.Voices
		{flow, `"voice":"nobody"`, 41020001, engine418},
		{short, `"voice":"aida aicheng"`, 41020001, engine418},
		{short, `"voice":""`, 40000003, "Gateway:PARAMETER_INVALID:Invalid voice name ''!"},
		{short, `"voice":"longxiaochun"`, 41020001, engine418},
		{long, `"voice":"cosyvoice-mine-1"`, 41020001, engine418},
		{flow, `"voice":"cosyvoice-mine-1","sample_rate":22050`, 0, ""},
		{flow, `"voice":"longxiaochun","enable_subtitle":true`, 0, ""},

		{short, `"sample_rate":8000`, 0, ""},
		{short, `"sample_rate":24000`, 40010003, rate(24000)},
		{short, `"sample_rate":11025`, 40010003, rate(11025)},
		{short, `"voice":"siqi","sample_rate":24000`, 0, ""},
		{short, `"voice":"siqi","sample_rate":22050`, 40010003, rate(22050)},
		{long, `"voice":"siqi","sample_rate":48000`, 40010003, rate(48000)},
		{flow, `"voice":"zhiqi","sample_rate":48000`, 0, ""},

		{short, happy("xiaoyun"), 41020001, engine423},
		{short, happy("zhimi_emo"), 0, ""},
		{short, strings.Replace(happy("zhimi_emo"), "happy", "arousal", 1), 41020001, engine423},
		{short, strings.Replace(happy("zhiyan_emo"), "happy", "arousal", 1), 0, ""},
		{short, strings.Replace(happy("zhimi_emo"), "category", "intensity", 1), 41020001, engine423},
		{long, strings.Replace(happy("xiaoyun"), "<speak>", "<speak voice='zhimiao_emo'>", 1), 0, ""}, // the element wins
		{short, strings.Replace(happy("zhimi_emo"), "<speak>", "<speak voice='nobody'>", 1), 41020001, engine418},
		{short, `"voice":"xiaoyun","text":"<emotion category='happy'>no SSML</emotion>"`, 0, ""},
	} {
		t.Run(c.product+" "+c.payload, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				one := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Voices: []string{"theirs", "ours"}}), c.product, "")
				payload := c.payload
				if !strings.Contains(payload, `"text"`) {
					payload += `,"text":"好"`
				}
				one.send("StartSynthesis", "{"+payload+"}")
				if c.status != 0 {
					one.wantFailed(c.status, c.text)
					return
				}
				if c.product == flow {
					one.want("SynthesisStarted")
					one.send("StopSynthesis", "")
				}
				one.until("SynthesisCompleted")
			})
		})
	}
}

func TestAVoiceIsInTheListOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, group := range voices {
		for name := range strings.FieldsSeq(group.names) {
			if seen[name] || name != strings.ToLower(name) || isCosyVoice(name) {
				t.Errorf("%s is there twice, not in lower case, or of CosyVoice", name)
			}
			seen[name] = true
			if (emotionsOf(name) != nil) != strings.HasSuffix(name, "_emo") {
				t.Errorf("%s: emotions %q", name, emotionsOf(name))
			}
		}
	}
}

func TestAFlowingTextMayNotAskForAnEmotionThatTheVoiceLacks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := flow(t, `{"enable_ssml":true}`, fakeEngine{})
		c.speak("<speak><emotion category='sad'>好</emotion></speak>")
		c.wantFailed(41020001, engine423)
	})
}

func TestCosyVoiceHasNoTimestamps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := flow(t, `{"enable_subtitle":true,"enable_phoneme_timestamp":true,"voice":"longxiaochun"}`, fakeEngine{})
		c.speak("好。")
		c.send("StopSynthesis", "")
		replies := c.until("SynthesisCompleted")
		if got := names(replies); got != "SentenceBegin audio SentenceSynthesis SentenceEnd SynthesisCompleted" {
			t.Errorf("got %s", got)
		}
		for _, r := range replies {
			if name := r.Header.Name; (name == "SentenceSynthesis" || name == "SentenceEnd") && !strings.HasSuffix(r.raw, `"payload":{"subtitles":[]}}`) {
				t.Errorf("got %s", r.raw)
			}
		}
	})
}

// Loopback and fakeEngine know no phonemes, so they are invented.
func TestPhonemesByteForByte(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, c := range []struct{ product, payload, want string }{
			{"SpeechSynthesizer", `{"text":"好","voice":"siqi","enable_subtitle":true,"enable_phoneme_timestamp":true}`,
				`{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme":"null"},` +
					`{"text":"好","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme":"null","phoneme_list":[` +
					`{"index":0,"begin_time":0,"end_time":50,"phoneme":"I_c","tone":T},{"index":1,"begin_time":50,"end_time":100,"phoneme":"F_c","tone":T}]}`},
			{"SpeechSynthesizer", `{"text":"好","voice":"siqi","enable_subtitle":true}`,
				`{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme":"null"},` +
					`{"text":"好","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme":"null"}`},
			{"FlowingSpeechSynthesizer", `{"voice":"siqi","enable_subtitle":true,"enable_phoneme_timestamp":true}`,
				`{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme_list":[]},` +
					`{"text":"好","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme_list":[` +
					`{"text":"I_c","begin_time":0,"end_time":50,"tone":"T"},{"text":"F_c","begin_time":50,"end_time":100,"tone":"T"}]}`},
			{"FlowingSpeechSynthesizer", `{"voice":"siqi","enable_subtitle":true}`,
				`{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme_list":[]},` +
					`{"text":"好","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme_list":[]}`},
		} {
			one := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), c.product, "")
			one.send("StartSynthesis", c.payload)
			if c.product == "FlowingSpeechSynthesizer" {
				one.want("SynthesisStarted")
				one.speak("好")
				one.send("StopSynthesis", "")
			}
			var first string
			for _, r := range one.until("SynthesisCompleted") {
				if r.Header.Name == "MetaInfo" || r.Header.Name == "SentenceSynthesis" {
					first = r.raw
					break
				}
			}
			invented := inventedPhonemes(unitOf("好"))
			want := strings.NewReplacer("I_c", invented[0].Text, "F_c", invented[1].Text, "T", invented[0].Tone).Replace(c.want)
			if !strings.HasSuffix(first, `"payload":{"subtitles":[`+want+`]}}`) {
				t.Errorf("%s %s\ngot  %s\nwant %s", c.product, c.payload, first, want)
			}
		}
	})
}

func TestInventedPhonemesFillTheUnit(t *testing.T) {
	for text, want := range map[string]int{"好": 2, "Zoë": 3, "": 0, "。": 0, "42": 0} {
		u := unitOf(text)
		got := inventedPhonemes(u)
		if len(got) != want {
			t.Errorf("%q: %d phonemes", text, len(got))
			continue
		}
		at := u.Begin
		for _, p := range got {
			if p.Begin != at || p.End <= p.Begin || p.Text == "" {
				t.Errorf("%q: %+v", text, got)
			}
			at = p.End
		}
		if want > 0 && at != u.End {
			t.Errorf("%q ends at %v", text, at)
		}
	}
}

// Mandarin has four tones.
func TestInventedTonesAreFromOneToFour(t *testing.T) {
	tones := map[string]int{}
	for r := '一'; r < '一'+200; r++ {
		for _, p := range inventedPhonemes(unitOf(string(r))) {
			tones[p.Tone]++
		}
	}
	if got := slices.Sorted(maps.Keys(tones)); !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("%q", got)
	}
}

func unitOf(text string) nls.Subtitle {
	return nls.Subtitle{Text: text, Begin: time.Second, End: 1300 * time.Millisecond}
}
