package nlstest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wav"
)

// golden replaces what differs from run to run: the IDs that the server makes.
func golden(raw string) string {
	return regexp.MustCompile(`"(message_id|sentence_id)":"[0-9a-f]{32}"`).ReplaceAllString(raw, `"$1":"#"`)
}

// events returns the raw events, after golden and without the header fields that
// never change.
func events(replies []reply) string {
	var b strings.Builder
	for _, r := range replies {
		fmt.Fprintln(&b, regexp.MustCompile(`^\{"header":\{.*"name":"(\w+)".*?\}`).ReplaceAllString(golden(r.raw), "$1"))
	}
	return b.String()
}

// recognition starts a task with a payload, in a bubble.
func recognition(t *testing.T, space, payload string) *client {
	t.Helper()
	c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), space, "")
	c.taskID = strings.Repeat("a", 32)
	name := map[string]string{"SpeechTranscriber": "StartTranscription", "SpeechRecognizer": "StartRecognition"}[space]
	c.send(name, payload)
	c.want(products[space].started)
	return c
}

// say sends audio in messages of 100 ms.
func (c *client) say(audio []byte) {
	for message := range slices.Chunk(audio, 3200) {
		c.binary(message)
	}
}

func TestTranscriptionEventsByteForByte(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := recognition(t, "SpeechTranscriber", `{"enable_intermediate_result":true,"enable_words":true,"enable_punctuation_prediction":true}`)
		c.say(slices.Concat(silence(80*time.Millisecond, 16000), sound(120*time.Millisecond, 16000), silence(time.Second, 16000)))
		c.send("StopTranscription", "")
		var got []string
		for _, r := range c.until("TranscriptionCompleted") {
			got = append(got, golden(r.raw))
		}
		header := func(name string) string {
			return `{"header":{"namespace":"SpeechTranscriber","name":"` + name + `","status":20000000,"message_id":"#",` +
				`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:SUCCESS:Success."}`
		}
		words := `"words":[{"text":"w","startTime":80,"endTime":%d}]`
		want := []string{
			header("SentenceBegin") + `,"payload":{"index":1,"time":80}}`,
			header("TranscriptionResultChanged") + `,"payload":{"index":1,"time":200,"result":"S1:1","confidence":0.5,` +
				fmt.Sprintf(words, 180) + `,"status":0,"fixed_result":"","unfixed_result":""}}`,
			header("SentenceEnd") + `,"payload":{"index":1,"time":1000,"result":"Sentence1.","confidence":1.0,` +
				fmt.Sprintf(words, 200) + `,"status":0,"gender":"","begin_time":80,"fixed_result":"","unfixed_result":"",` +
				`"stash_result":{"sentenceId":2,"beginTime":1000,"text":"","fixedText":"","unfixedText":"","currentTime":1000,"words":[]},` +
				`"audio_extra_info":"","sentence_id":"#","gender_score":0.0}}`,
			header("TranscriptionCompleted") + `}`,
		}
		if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	})
}

func TestStartedAndTaskFailedByteForByte(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechRecognizer", "")
		c.taskID = strings.Repeat("a", 32)
		c.send("StartRecognition", "{}")
		if got, want := golden(c.want("RecognitionStarted").raw), `{"header":{"namespace":"SpeechRecognizer","name":"RecognitionStarted","status":20000000,"message_id":"#",`+
			`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:SUCCESS:Success."}}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got, want := golden(c.want("TaskFailed").raw), `{"header":{"namespace":"Default","name":"TaskFailed","status":40000004,"message_id":"#",`+
			`"task_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","status_text":"Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StartRecognition'!"}}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// A row is a Start payload, the audio, and the events that follow.
func TestTranscriptionParameters(t *testing.T) {
	twoSentences := slices.Concat(sound(200*time.Millisecond, 16000), silence(700*time.Millisecond, 16000), sound(100*time.Millisecond, 16000), silence(500*time.Millisecond, 16000))
	for _, row := range []struct {
		name, payload string
		audio         []byte
		want          string
	}{
		{"the defaults", `{}`, twoSentences, "SentenceBegin SentenceEnd TranscriptionCompleted"},
		{"enable_intermediate_result", `{"enable_intermediate_result":true}`, twoSentences,
			"SentenceBegin" + strings.Repeat(" TranscriptionResultChanged", 4) + " SentenceEnd TranscriptionCompleted"},
		{"max_sentence_silence", `{"max_sentence_silence":600}`, twoSentences, "SentenceBegin SentenceEnd SentenceBegin SentenceEnd TranscriptionCompleted"},
		{"silence only", `{}`, silence(5*time.Second, 16000), "TranscriptionCompleted"},
		{"no audio", `{}`, nil, "TranscriptionCompleted"},
		{"what is accepted and has no effect", `{"format":"pcm","enable_punctuation_prediction":true,"enable_inverse_text_normalization":true,
			"customization_id":"c","vocabulary_id":"v","disfluency":true,"speech_noise_threshold":-0.5,"special_word_filter":{"system_reserved_filter":true},
			"enable_semantic_sentence_detection":false,"unknown":[1]}`, nil, "TranscriptionCompleted"},
		{"null is the default", `{"format":null,"sample_rate":null,"enable_words":null}`, nil, "TranscriptionCompleted"},
		{"8 kHz", `{"sample_rate":8000,"max_sentence_silence":1400}`, twoSentences, "SentenceBegin SentenceEnd SentenceBegin SentenceEnd TranscriptionCompleted"},
		{"wav", `{"format":"wav"}`, slices.Concat(wav.Header(16000, wav.Unknown), twoSentences), "SentenceBegin SentenceEnd TranscriptionCompleted"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := recognition(t, "SpeechTranscriber", row.payload)
				c.say(row.audio)
				c.send("StopTranscription", "")
				if got := names(c.until("TranscriptionCompleted")); got != row.want {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

func TestResultsComeWhileAudioIsStillSent(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		c := dial(t, start(t, opts), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_intermediate_result":true}`)
		c.want("TranscriptionStarted")
		c.say(sound(100*time.Millisecond, 16000))
		c.want("SentenceBegin")
		c.want("TranscriptionResultChanged")
		c.say(silence(time.Second, 16000))
		c.want("SentenceEnd")
	})
}

func TestSamplesMayBeSplitAcrossMessages(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		whole := slices.Concat(silence(300*time.Millisecond, 16000), sound(200*time.Millisecond, 16000), silence(time.Second, 16000))
		var want string
		for i, size := range []int{3200, 1, 3, 641, 100_000} {
			c := recognition(t, "SpeechTranscriber", "{}")
			if size == 1 {
				for j := range 1001 {
					c.binary(whole[j : j+1])
				}
				c.binary(whole[1001:])
			} else {
				for piece := range slices.Chunk(whole, size) {
					c.binary(piece)
				}
			}
			c.send("StopTranscription", "")
			got := events(c.until("TranscriptionCompleted"))
			if i == 0 {
				want = got
			} else if got != want {
				t.Errorf("messages of %d bytes: got\n%s\nwant\n%s", size, got, want)
			}
		}
	})
}

func TestControlChangesMaxSentenceSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, name := range []string{"ControlTranscriber", "ControlTranscription", "UpdateControl"} {
			c := recognition(t, "SpeechTranscriber", `{"max_sentence_silence":6000}`)
			c.say(slices.Concat(sound(100*time.Millisecond, 16000), silence(time.Second, 16000)))
			c.send(name, `{"max_sentence_silence":300}`)
			c.say(slices.Concat(sound(100*time.Millisecond, 16000), silence(time.Second, 16000)))
			c.want("SentenceBegin")
			if got := events([]reply{c.want("SentenceEnd")}); !strings.Contains(got, `"time":1500,`) {
				t.Errorf("%s: got %s", name, got)
			}
		}
		c := recognition(t, "SpeechTranscriber", `{}`)
		c.send("ControlTranscriber", `{"max_sentence_silence":100}`)
		c.wantFailed(40010003, "Gateway:DIRECTIVE_INVALID:Invalid max_sentence_silence '100'!")
		c = recognition(t, "SpeechTranscriber", `{}`)
		c.send("ControlTranscriber", "")
		c.wantFailed(40010003, "Gateway:DIRECTIVE_INVALID:Invalid payload for event 'SpeechTranscriber.ControlTranscriber'!")
	})
}

func TestFormatsAreChecked(t *testing.T) {
	stereo := wav.Header(16000, 100)
	stereo[22] = 2
	for _, row := range []struct {
		space, payload string
		audio          []byte
		status         int
		text           string
	}{
		{"SpeechTranscriber", `{"format":"wav"}`, make([]byte, 100), 40000009, "Invalid wav header!"},
		{"SpeechTranscriber", `{"format":"wav"}`, slices.Concat(wav.Header(16000, 100)[:36], []byte("LIST\x00\x00\x01\x00"), make([]byte, 64<<10)), 40000009, "Too large wav header!"},
		{"SpeechRecognizer", `{"format":"wav"}`, slices.Concat(wav.Header(8000, 100), make([]byte, 100)), 40270003, "DECODE_ERROR"},
		{"SpeechRecognizer", `{"format":"wav"}`, stereo, 40270003, "DECODE_ERROR"},
		{"SpeechTranscriber", `{"format":"opus"}`, []byte("OggS"), 40270003, "DECODE_ERROR"},
		{"SpeechTranscriber", `{"format":"mp3"}`, []byte("ID3"), 40270003, "DECODE_ERROR"},
		{"SpeechTranscriber", `{"format":"aac"}`, []byte("x"), 40270003, "DECODE_ERROR"},
		{"SpeechRecognizer", `{"format":"opu"}`, []byte("x"), 40270003, "DECODE_ERROR"},
		{"SpeechRecognizer", `{"format":"speex"}`, []byte("x"), 40270003, "DECODE_ERROR"},
		{"SpeechRecognizer", `{"format":"amr"}`, []byte("x"), 40270003, "DECODE_ERROR"},
	} {
		t.Run(row.space+row.payload, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := recognition(t, row.space, row.payload)
				c.binary(row.audio)
				c.wantFailed(row.status, row.text)
			})
		})
	}
}

func TestRecognition(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		name, payload string
		audio         []byte
		want          string // up to Completed or TaskFailed
	}{
		{"two sentences are one text", `{"enable_punctuation_prediction":true}`,
			slices.Concat(sound(100*ms, 16000), silence(time.Second, 16000), sound(100*ms, 16000)),
			`RecognitionCompleted,"payload":{"result":"Sentence1.Sentence2.","duration":1200}}`},
		{"each change is the whole text", `{"enable_intermediate_result":true,"enable_punctuation_prediction":true}`,
			slices.Concat(sound(100*ms, 16000), silence(time.Second, 16000), sound(100*ms, 16000)),
			`RecognitionResultChanged,"payload":{"result":"S1:1","duration":100}}
RecognitionResultChanged,"payload":{"result":"Sentence1.","duration":900}}
RecognitionResultChanged,"payload":{"result":"Sentence1.S2:1","duration":1200}}
RecognitionResultChanged,"payload":{"result":"Sentence1.Sentence2.","duration":1200}}
RecognitionCompleted,"payload":{"result":"Sentence1.Sentence2.","duration":1200}}`},
		{"silence", `{}`, silence(time.Second, 16000), `RecognitionCompleted,"payload":{"result":"","duration":1000}}`},
		{"60 seconds", `{}`, slices.Concat(sound(100*ms, 16000), silence(59900*ms, 16000)),
			`RecognitionCompleted,"payload":{"result":"Sentence1","duration":60000}}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := recognition(t, "SpeechRecognizer", row.payload)
				c.say(row.audio)
				c.send("StopRecognition", "")
				if got := events(c.until("RecognitionCompleted")); got != row.want+"\n" {
					t.Errorf("got\n%s", got)
				}
			})
		})
	}
}

func TestRecognitionOfMoreThanAMinuteFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := recognition(t, "SpeechRecognizer", "{}")
		c.say(silence(60*time.Second, 16000))
		synctest.Wait()
		c.binary(silence(time.Millisecond, 16000))
		c.wantFailed(41010104, "TOO_LONG_SPEECH")
	})
}

func TestVoiceDetectionCompletesByItself(t *testing.T) {
	const ms = time.Millisecond
	speech := slices.Concat(silence(300*ms, 16000), sound(200*ms, 16000), silence(2*time.Second, 16000))
	for _, row := range []struct {
		name, payload string
		audio         []byte
		messages      int // bytes in each
		duration      int
	}{
		{"after 800 ms", `{"enable_voice_detection":true}`, speech, 3200, 1300},
		{"after max_end_silence", `{"enable_voice_detection":true,"max_end_silence":300}`, speech, 3200, 800},
		{"in one message", `{"enable_voice_detection":true,"max_end_silence":300}`, speech, 1 << 20, 800},
		{"after a short start silence", `{"enable_voice_detection":true,"max_start_silence":1000}`, speech, 3200, 1300},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := recognition(t, "SpeechRecognizer", row.payload)
				for message := range slices.Chunk(row.audio, row.messages) {
					c.binary(message)
				}
				want := fmt.Sprintf("RecognitionCompleted,\"payload\":{\"result\":\"Sentence1\",\"duration\":%d}}\n", row.duration)
				if got := events(c.until("RecognitionCompleted")); got != want {
					t.Errorf("got  %swant %s", got, want)
				}
				// What the client has sent before it knew is harmless (protocol §3.1).
				c.binary(sound(100*ms, 16000))
				c.send("StopRecognition", "")
				c.wantSilence(9 * time.Second)
			})
		})
	}
	t.Run("not without enable_voice_detection", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := recognition(t, "SpeechRecognizer", `{"max_end_silence":300,"max_start_silence":100}`)
			c.say(speech)
			c.wantSilence(9 * time.Second)
		})
	})
	t.Run("Stop may come first", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := recognition(t, "SpeechRecognizer", `{"enable_voice_detection":true}`)
			c.say(speech[:16000])
			c.send("StopRecognition", "")
			c.want("RecognitionCompleted")
			c.send("StopRecognition", "") // and then a second one is a fault
			c.want("TaskFailed")
		})
	})
	t.Run("Stop while Completed is on its way", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, ReplyDelay: time.Second, Engine: fakeEngine{}}), "SpeechRecognizer", "")
			c.send("StartRecognition", `{"enable_voice_detection":true}`)
			c.want("RecognitionStarted")
			c.say(speech)
			synctest.Wait()
			c.send("StopRecognition", "")
			c.want("RecognitionCompleted")
			c.wantSilence(9 * time.Second)
		})
	})
}

func TestVoiceDetectionGivesUpOnSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := recognition(t, "SpeechRecognizer", `{"enable_voice_detection":true,"max_start_silence":2000}`)
		c.say(silence(3*time.Second, 16000))
		c.wantFailed(41010105, "SILENT_SPEECH")
	})
}

func TestLongResultComesWithoutItsWords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, ReplyDelay: -1, Engine: wordyEngine{}}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_words":true,"enable_intermediate_result":true}`)
		c.send("StopTranscription", "")
		for _, r := range c.until("TranscriptionCompleted") {
			if len(r.raw) > maxFrame || strings.Contains(r.raw, `"result"`) && !strings.Contains(r.raw, `"words":[],`) {
				t.Errorf("%s has %d bytes", r.Header.Name, len(r.raw))
			}
		}
	})
}

// A client that has lost a session has the next one continue it (protocol §4.2).
func TestOffsetsShiftWhatTheyName(t *testing.T) {
	session := func(t *testing.T, more string) []reply {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_intermediate_result":true,"enable_words":true`+more+`}`)
		c.want("TranscriptionStarted")
		for range 2 {
			c.binary(sound(200*time.Millisecond, 16000))
			c.binary(silence(time.Second, 16000))
		}
		c.send("StopTranscription", "")
		return c.until("TranscriptionCompleted")
	}
	inBubble(t, func(t *testing.T) {
		plain := session(t, "")
		shifted := session(t, `,"tw_time_offset":60000,"tw_index_offset":7`)
		const times, indices = "time begin_time startTime endTime beginTime currentTime", "index sentenceId"
		var compare func(path string, a, b any)
		compare = func(path string, a, b any) {
			switch a := a.(type) {
			case map[string]any:
				for key := range a {
					compare(key, a[key], b.(map[string]any)[key])
				}
			case []any:
				for i := range a {
					compare(path, a[i], b.([]any)[i])
				}
			case float64:
				want := a
				if slices.Contains(strings.Fields(times), path) {
					want += 60000
				} else if slices.Contains(strings.Fields(indices), path) {
					want += 7
				}
				if b != want {
					t.Errorf("%s is %v, and %v with the offsets", path, a, b)
				}
			}
		}
		for i, r := range plain {
			if r.Payload != nil {
				compare(r.Header.Name, r.Payload, shifted[i].Payload)
			}
		}
		if len(plain) < 7 || len(plain) != len(shifted) {
			t.Errorf("%d and %d events", len(plain), len(shifted))
		}
	})
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"tw_time_offset":-1}`)
		c.wantFailed(40010003, "Gateway:DIRECTIVE_INVALID:Invalid tw_time_offset '-1'!")
	})
}

// Two sentences of tones are 300 ms apart, and only more silence than was asked
// for ends a recognition.
func TestVoiceDetectionWaitsForSilenceBetweenTones(t *testing.T) {
	tones, _ := synthesize(t, Loopback(), "你好。再见。", loopbackVoice)
	tones = append(tones, silence(2*time.Second, 16000)...)
	for _, ms := range []int{200, 350, 400, 500, 800} {
		want := "你好。再见。"
		if ms < 300 {
			want = "你好。"
		}
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true}), "SpeechRecognizer", "")
			c.send("StartRecognition", fmt.Sprintf(`{"enable_voice_detection":true,"max_end_silence":%d,"enable_punctuation_prediction":true}`, ms))
			c.want("RecognitionStarted")
			c.say(tones)
			if got := c.want("RecognitionCompleted").raw; !strings.Contains(got, `"result":"`+want+`"`) {
				t.Errorf("after %d ms: got %s", ms, got)
			}
		})
	}
}

// With semantic detection what was heard of the next sentence is in stash_result.
func TestStashResultHoldsTheNextSentence(t *testing.T) {
	tones, _ := synthesize(t, Loopback(), "你好。再见。", loopbackVoice)
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_semantic_sentence_detection":true,"enable_intermediate_result":true,"enable_punctuation_prediction":true}`)
		c.want("TranscriptionStarted")
		c.say(tones)
		c.send("StopTranscription", "")
		var ends []sentenceEnd
		held := false
		for _, r := range c.until("TranscriptionCompleted") {
			var e struct{ Payload sentenceEnd }
			if err := json.Unmarshal([]byte(r.raw), &e); err != nil {
				t.Fatal(err)
			}
			if r.Header.Name == "SentenceEnd" {
				ends = append(ends, e.Payload)
			} else if e.Payload.Index == 1 {
				held = held || strings.Contains(e.Payload.Result, "再")
			}
		}
		if len(ends) != 2 || ends[0].Result != "你好。" || ends[1].Result != "再见。" {
			t.Fatalf("got %+v", ends)
		}
		s := ends[0].Stash
		if s.Text != "再见" || s.SentenceID != 2 || s.BeginTime != ends[0].Time || s.CurrentTime <= s.BeginTime || ends[1].BeginTime < s.BeginTime {
			t.Errorf("stash_result %+v, the next sentence begins at %d", s, ends[1].BeginTime)
		}
		if !held {
			t.Error("no partial result of the first sentence holds text of the second")
		}
	})
}
