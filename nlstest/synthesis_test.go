package nlstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/wav"

	"github.com/nlsgo/nls/internal/effort"
)

// audioOf joins the audio of replies.
func audioOf(replies []reply) (pcm []byte) {
	for _, r := range replies {
		pcm = append(pcm, r.audio...)
	}
	return pcm
}

// synthesise runs a SpeechSynthesizer task in a bubble.
func synthesise(t *testing.T, space, payload string) []reply {
	t.Helper()
	c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), space, "")
	c.taskID = strings.Repeat("a", 32)
	c.send("StartSynthesis", payload)
	return c.until("SynthesisCompleted")
}

// Who has asked for speech has nothing to say while it is made, however long that takes.
func TestWhoWaitsForSpeechIsNotIdle(t *testing.T) {
	for _, space := range []string{"SpeechSynthesizer", "SpeechLongSynthesizer"} {
		inBubble(t, func(t *testing.T) {
			said := make(chan string)
			c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{said: said}}), space, "")
			c.send("StartSynthesis", `{"text":"你好。"}`)
			time.AfterFunc(time.Hour, func() { <-said })
			if got := names(c.until("SynthesisCompleted")); got != "audio SynthesisCompleted" {
				t.Errorf("%s: %s", space, got)
			}
		})
	}
}

func TestSynthesis(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, space := range []string{"SpeechSynthesizer", "SpeechLongSynthesizer"} {
			replies := synthesise(t, space, `{"text":"你好。再见。"}`)
			if got := names(replies); got != "audio SynthesisCompleted" { // no SynthesisStarted (protocol §5.1)
				t.Errorf("got %s", got)
			}
			if !bytes.Equal(audioOf(replies), sound(600*time.Millisecond, 16000)) {
				t.Errorf("%d bytes of audio", len(audioOf(replies)))
			}
			want := `{"header":{"namespace":"` + space + `","name":"SynthesisCompleted","status":20000000,"message_id":"#",` +
				`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:SUCCESS:Success."}}`
			if got := golden(replies[len(replies)-1].raw); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func TestAudioMessagesAreShortAndNeverEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		// 48 kHz: a character is 9600 bytes.
		for _, r := range synthesise(t, "SpeechSynthesizer", `{"text":"`+strings.Repeat("好", 50)+`","voice":"zhiqi","sample_rate":48000}`) {
			if r.audio != nil && (len(r.audio) == 0 || len(r.audio) > maxAudioFrame) {
				t.Fatalf("a message of %d bytes", len(r.audio))
			}
		}
	})
}

func TestWAVHeaderIsInTheFirstMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replies := synthesise(t, "SpeechSynthesizer", `{"text":"你好。再见。","format":"wav","sample_rate":8000}`)
		want := slices.Concat(wav.Header(8000, wav.Unknown), sound(600*time.Millisecond, 8000))
		if !bytes.Equal(audioOf(replies), want) {
			t.Errorf("got %d bytes, want %d", len(audioOf(replies)), len(want))
		}
		if len(replies[0].audio) <= wav.HeaderSize {
			t.Errorf("the first message has %d bytes", len(replies[0].audio))
		}
	})
}

func TestShortTextIsCutAfter300Characters(t *testing.T) {
	effort.Long(t)
	inBubble(t, func(t *testing.T) {
		text := strings.Repeat("好👍。", 200) // 600 characters
		for space, want := range map[string]int{"SpeechSynthesizer": 300, "SpeechLongSynthesizer": 600} {
			replies := synthesise(t, space, `{"text":"`+text+`"}`)
			if got := len(audioOf(replies)) / 3200; got != want {
				t.Errorf("%s: %d characters were spoken, want %d", space, got, want)
			}
		}
	})
}

func TestTagsOfSSMLAreNotSpoken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for text, want := range map[string]int{
			`<speak>你<break time=\"1s\"/>好 &amp; x</speak>`: 6,
			`你 & <b>好</b>`: 12, // no root, no SSML
		} {
			if got := len(audioOf(synthesise(t, "SpeechSynthesizer", `{"text":"`+text+`"}`))) / 3200; got != want {
				t.Errorf("%s: %d characters were spoken, want %d", text, got, want)
			}
		}
	})
}

// subtitleText shows the items of a list: their text, times and indexes, the
// sentence item in brackets.
func subtitleText(t *testing.T, r reply) string {
	t.Helper()
	var p struct {
		Payload subtitles `json:"payload"`
	}
	if err := json.Unmarshal([]byte(r.raw), &p); err != nil || p.Payload.Subtitles == nil {
		t.Fatalf("%s: %v", r.raw, err)
	}
	var b []string
	for _, s := range p.Payload.Subtitles {
		text := fmt.Sprintf("%s %d-%d %d-%d", s.Text, s.BeginTime, s.EndTime, s.BeginIndex, s.EndIndex)
		if s.Sentence {
			text = "[" + text + "]"
		}
		b = append(b, text)
	}
	return strings.Join(b, ", ")
}

func TestMetaInfoByteForByte(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replies := synthesise(t, "SpeechSynthesizer", `{"text":"你","voice":"siqi","enable_subtitle":true}`)
		want := `{"header":{"namespace":"SpeechSynthesizer","name":"MetaInfo","status":20000000,"message_id":"#",` +
			`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:SUCCESS:Success."},"payload":{"subtitles":[` +
			`{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme":"null"},` +
			`{"text":"你","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme":"null"}]}}`
		if got := golden(replies[0].raw); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestSubtitlesGrowWithinASentence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replies := synthesise(t, "SpeechLongSynthesizer", `{"text":"你好。见","voice":"siqi","enable_subtitle":true}`)
		if got, want := names(replies), strings.Repeat("MetaInfo audio ", 3)+"MetaInfo MetaInfo audio MetaInfo SynthesisCompleted"; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		var got []string
		for _, r := range replies {
			if r.Header.Name == "MetaInfo" {
				got = append(got, subtitleText(t, r))
			}
		}
		want := []string{
			"[ 0-0 0-1], 你 0-100 0-1",
			"[ 0-0 0-1], 你 0-100 0-1, 好 100-200 1-2",
			"[ 0-0 0-1], 你 0-100 0-1, 好 100-200 1-2, 。 200-300 2-3",
			"[ 0-300 0-1], 你 0-100 0-1, 好 100-200 1-2, 。 200-300 2-3",
			"[ 300-300 3-4], 见 300-400 3-4",
			"[ 300-400 3-4], 见 300-400 3-4",
		}
		if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	})
}

func TestSubtitlesOfLongTextFitIntoFrames(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		for _, r := range synthesise(t, "SpeechLongSynthesizer", `{"text":"`+strings.Repeat("好", maxSentence+10)+`","voice":"siqi","enable_subtitle":true}`) {
			if len(r.raw) > maxFrame {
				t.Fatalf("a message of %d bytes", len(r.raw))
			}
		}
	})
}

// flow starts a FlowingSpeechSynthesizer task in a bubble.
func flow(t *testing.T, payload string, e Engine) *client {
	t.Helper()
	c := dial(t, start(t, Options{Pipe: true, Engine: e}), "FlowingSpeechSynthesizer", "")
	c.taskID = strings.Repeat("a", 32)
	c.send("StartSynthesis", payload)
	if got, want := golden(c.want("SynthesisStarted").raw), `{"header":{"namespace":"FlowingSpeechSynthesizer","name":"SynthesisStarted","status":20000000,"message_id":"#",`+
		`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:SUCCESS:Success."}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	return c
}

func (c *client) speak(text string) {
	c.send("RunSynthesis", fmt.Sprintf(`{"text":%q,"voice":"x"}`, text))
}

func TestFlowingSentences(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := flow(t, `{"enable_subtitle":true,"voice":"siqi"}`, fakeEngine{})
		for _, piece := range []string{"春", "天。花", "开"} {
			c.speak(piece)
		}
		c.send("StopSynthesis", "")
		replies := c.until("SynthesisCompleted")
		sentence := func(n int) string {
			return "SentenceBegin " + strings.Repeat("SentenceSynthesis audio ", n) + "SentenceEnd "
		}
		if got, want := names(replies), sentence(3)+sentence(2)+"SynthesisCompleted"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !bytes.Equal(audioOf(replies), sound(500*time.Millisecond, 16000)) {
			t.Errorf("%d bytes of audio", len(audioOf(replies)))
		}
		var got []string
		for _, r := range replies {
			switch r.Header.Name {
			case "SentenceBegin":
				got = append(got, strings.TrimSpace(events([]reply{r})))
			case "SentenceEnd":
				got = append(got, subtitleText(t, r))
			}
		}
		want := []string{
			`SentenceBegin,"payload":{"index":0}}`, // from 0 on the wire (protocol §6.3)
			"[ 0-300 0-1], 春 0-100 0-1, 天 100-200 1-2, 。 200-300 2-3",
			`SentenceBegin,"payload":{"index":1}}`,
			"[ 300-500 3-4], 花 300-400 3-4, 开 400-500 4-5",
		}
		if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
		if r := replies[1]; !strings.HasSuffix(r.raw, `"payload":{"subtitles":[{"text":"","begin_time":0,"end_time":0,"begin_index":0,"end_index":1,"sentence":true,"phoneme_list":[]},`+
			`{"text":"春","begin_time":0,"end_time":100,"begin_index":0,"end_index":1,"sentence":false,"phoneme_list":[]}]}}`) {
			t.Errorf("got %s", r.raw)
		}
	})
}

func TestFlowingWithoutSubtitles(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := flow(t, `{"format":"wav","voice":"siqi","sample_rate":24000}`, fakeEngine{})
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
		if want := slices.Concat(wav.Header(24000, wav.Unknown), sound(200*time.Millisecond, 24000)); !bytes.Equal(audioOf(replies), want) {
			t.Error("other audio")
		}
	})
}

func TestFlowingSpeaksASentenceBeforeTheTextIsOver(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		c := dial(t, start(t, opts), "FlowingSpeechSynthesizer", "")
		c.send("StartSynthesis", "{}")
		c.want("SynthesisStarted")
		c.speak("一。二")
		if got := names(c.until("SentenceEnd")); got != "SentenceBegin audio SentenceSynthesis SentenceEnd" {
			t.Errorf("got %s", got)
		}
		c.send("FlushText", "")
		if got := names(c.until("SentenceEnd")); got != "SentenceBegin audio SentenceSynthesis SentenceEnd" {
			t.Errorf("got %s", got)
		}
		c.send("FlushText", `{"volume":50}`)
		c.speak("三")
		c.send("StopSynthesis", "")
		if got := names(c.until("SynthesisCompleted")); got != "SentenceBegin audio SentenceSynthesis SentenceEnd SynthesisCompleted" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFlowingWithoutText(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := flow(t, `{}`, fakeEngine{})
		c.send("StopSynthesis", "")
		c.want("SynthesisCompleted")
	})
}

func TestFlowingTextIsChecked(t *testing.T) {
	tooLong := &failure{40010003, "Gateway:DIRECTIVE_INVALID:Text is too long!"}
	for _, row := range []struct {
		name    string
		payload string
		times   int
		want    *failure
	}{
		{"no payload", "", 1, &failure{40010003, "Gateway:DIRECTIVE_INVALID:Invalid payload for event 'FlowingSpeechSynthesizer.RunSynthesis'!"}},
		{"no text", "{}", 1, errNoText},
		{"empty text", `{"text":""}`, 1, errNoText},
		{"text a number", `{"text":1}`, 1, &failure{40010003, "Gateway:DIRECTIVE_INVALID:Invalid payload for event 'FlowingSpeechSynthesizer.RunSynthesis'!"}},
		{"10,000 characters", `{"text":"` + strings.Repeat("好", 10_000) + `"}`, 10, nil},
		{"more in one message", `{"text":"` + strings.Repeat("好", 10_001) + `"}`, 1, tooLong},
		{"more in all", `{"text":"` + strings.Repeat("好", 10_000) + `"}`, 11, tooLong},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := flow(t, `{}`, fakeEngine{said: make(chan string)})
				for range row.times {
					c.send("RunSynthesis", row.payload)
				}
				synctest.Wait()
				if row.want == nil {
					c.want("SentenceBegin")
					c.wantSilence(9 * time.Second)
					return
				}
				for {
					r := c.read()
					if r.Header.Name == "TaskFailed" {
						if r.Header.Status != row.want.status || r.Header.StatusText != row.want.text {
							t.Errorf("got %s", r.raw)
						}
						return
					}
					if r.err != nil {
						t.Fatal(r.err)
					}
				}
			})
		})
	}
}

// A failure ends the speech: no audio comes after it.
func TestTaskFailedIsTheLastMessageOfASynthesis(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechLongSynthesizer", "")
		c.send("StartSynthesis", `{"text":"`+strings.Repeat("好。", 1000)+`"}`)
		c.read()
		c.text("nonsense")
		for r := c.read(); r.Header.Name != "TaskFailed"; r = c.read() {
			if r.err != nil {
				t.Fatal(r.err)
			}
		}
		c.wantClosed(1000)
	})
}

func TestLoopbackSpeaksThroughTheGatewayAndIsUnderstood(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	const text = "你好，世界 🎙 & <b>Go</b>! Pi is 3.14. 再见。\n第二行，没有结尾"
	everywhere(t, func(t *testing.T, opts Options) {
		s := start(t, opts)
		for _, space := range []string{"SpeechSynthesizer", "FlowingSpeechSynthesizer"} {
			c := dial(t, s, space, "")
			c.send("StartSynthesis", fmt.Sprintf(`{"text":%q,"format":"wav"}`, text))
			if space != "SpeechSynthesizer" {
				c.want("SynthesisStarted")
				for rest := text; rest != ""; {
					_, n := utf8.DecodeRuneInString(rest)
					c.speak(rest[:n])
					rest = rest[n:]
				}
				c.send("StopSynthesis", "")
			}
			audio := audioOf(c.until("SynthesisCompleted"))

			c = dial(t, s, "SpeechRecognizer", "")
			c.send("StartRecognition", `{"format":"wav","enable_punctuation_prediction":true,"enable_inverse_text_normalization":true}`)
			c.want("RecognitionStarted")
			c.say(audio)
			c.send("StopRecognition", "")
			r := c.want("RecognitionCompleted")
			var p struct{ Payload recognitionResult }
			if err := json.Unmarshal([]byte(r.raw), &p); err != nil || p.Payload.Result != text {
				t.Errorf("got %s, want %q", r.raw, text)
			}
		}
	})
}
