package nlstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

// toldEngine is an Engine whose recognitions do what a test tells them.
type toldEngine struct {
	fakeEngine
	recognize func(context.Context, RecognitionRequest) (Recognition, error)
}

func (e toldEngine) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	return e.recognize(ctx, q)
}

// toldRecognition calls what is not nil.
type toldRecognition struct {
	write  func(pcm []byte) ([]Hypothesis, error)
	finish func() ([]Hypothesis, error)
	close  func()
}

func (r *toldRecognition) Write(pcm []byte) ([]Hypothesis, error) {
	if r.write == nil {
		return nil, nil
	}
	return r.write(pcm)
}

func (r *toldRecognition) Finish() ([]Hypothesis, error) {
	if r.finish == nil {
		return nil, nil
	}
	return r.finish()
}

func (r *toldRecognition) Close() error {
	if r.close != nil {
		r.close()
	}
	return nil
}

// engineOf is an Engine with one recognition, for one task.
func engineOf(r *toldRecognition) Engine {
	return toldEngine{recognize: func(context.Context, RecognitionRequest) (Recognition, error) { return r, nil }}
}

func TestAnEngineIsToldWhatTheTaskAsksFor(t *testing.T) {
	const st, sr = "SpeechTranscriber", "SpeechRecognizer"
	inBubble(t, func(t *testing.T) {
		var got RecognitionRequest
		s := start(t, Options{Pipe: true, Engine: toldEngine{recognize: func(_ context.Context, q RecognitionRequest) (Recognition, error) {
			got = q
			return &toldRecognition{}, nil
		}}})
		for _, row := range []struct {
			space, payload string
			want           RecognitionRequest
		}{
			{st, `{}`, RecognitionRequest{}},
			{sr, `{}`, RecognitionRequest{}},
			{st, `{"sample_rate":8000,"max_sentence_silence":300}`, RecognitionRequest{SampleRate: 8000, MaxSilence: 300 * time.Millisecond}},
			{sr, `{"enable_voice_detection":true,"max_end_silence":400}`, RecognitionRequest{MaxSilence: 400 * time.Millisecond}},
			{sr, `{"max_end_silence":400}`, RecognitionRequest{}},
			{st, `{"enable_punctuation_prediction":true}`, RecognitionRequest{Punctuation: true}},
			{sr, `{"enable_inverse_text_normalization":true}`, RecognitionRequest{Digits: true}},
			{st, `{"vocabulary_id":"v","customization_id":"c"}`, RecognitionRequest{VocabularyID: "v", CustomizationID: "c"}},
			// Sentences by their meaning need partial results (protocol §4.2).
			{st, `{"enable_semantic_sentence_detection":true,"enable_intermediate_result":true}`, RecognitionRequest{Semantic: true}},
			{st, `{"enable_semantic_sentence_detection":true}`, RecognitionRequest{}},
			{st, `{"enable_intermediate_result":true}`, RecognitionRequest{}},
		} {
			c := dial(t, s, row.space, "")
			c.send(startOf(row.space), row.payload)
			c.want(products[row.space].started)
			row.want.Namespace, row.want.AppKey = row.space, c.appKey
			row.want.SampleRate, row.want.MaxSilence = orDefault(row.want.SampleRate, 16000), orDefault(row.want.MaxSilence, 800*time.Millisecond)
			if got != row.want {
				t.Errorf("%s %s\ngot  %+v\nwant %+v", row.space, row.payload, got, row.want)
			}
		}
	})
}

// A task lets go of its engine and its decoder when it ends, however it ends, and not
// only when its connection does.
func TestAnEngineIsClosedWithItsTask(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(*client)
	}{
		{"Stop", func(c *client) { c.send("StopTranscription", ""); c.want("TranscriptionCompleted") }},
		{"a mistake", func(c *client) { c.send("ControlTranscriber", ""); c.want("TaskFailed") }},
		{"a drop", func(c *client) { c.ws.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var closed, open atomic.Int64
				var of context.Context
				r := &toldRecognition{close: func() { closed.Add(1) }}
				s := start(t, Options{Pipe: true, Codecs: codecs(&open, runs{}), Engine: toldEngine{recognize: func(ctx context.Context, _ RecognitionRequest) (Recognition, error) {
					of = ctx
					return r, nil
				}}})
				c := dial(t, s, "SpeechTranscriber", "")
				c.send("StartTranscription", `{"format":"mp3"}`)
				c.want("TranscriptionStarted")
				c.binary(compressed(1))
				synctest.Wait()
				if of.Err() != nil || closed.Load() != 0 || open.Load() != 1 {
					t.Error("it is closed already")
				}
				row.end(c)
				synctest.Wait()
				if of.Err() == nil || closed.Load() != 1 || open.Load() != 0 {
					t.Errorf("context %v, closed %d times, %d decoders are open", of.Err(), closed.Load(), open.Load())
				}
			})
		})
	}
	t.Run("none to close", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: toldEngine{recognize: func(context.Context, RecognitionRequest) (Recognition, error) {
				return nil, errEngine
			}}}), "SpeechTranscriber", "")
			c.send("StartTranscription", "{}")
			c.wantFailed(50000000, "Gateway:SERVER_ERROR:Server error!")
		})
	})
}

// What waits for the engine of a task that is over holds up nobody.
func TestATaskAfterOneWithMuchLeftToHear(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: toldEngine{recognize: func(context.Context, RecognitionRequest) (Recognition, error) {
			return &toldRecognition{write: func(pcm []byte) ([]Hypothesis, error) {
				time.Sleep(10 * time.Millisecond)
				return []Hypothesis{{Final: true, End: 1}}, nil
			}}, nil
		}}})
		c := dial(t, s, "SpeechRecognizer", "")
		for range 2 {
			c.send("StartRecognition", `{"enable_voice_detection":true,"max_end_silence":200}`)
			c.want("RecognitionStarted")
			c.binary(silence(8*time.Second, 16000))
			c.binary(silence(8*time.Second, 16000))
			c.binary(silence(time.Second, 16000))
			c.want("RecognitionCompleted")
		}
	})
}

func TestWAVMayBeCutAnywhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := slices.Concat(wav.Header(16000, wav.Unknown), sound(100*time.Millisecond, 16000))
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
		for _, at := range []int{0, 1, 12, 35, 36, 43, 44, 45, 46} {
			c := dial(t, s, "SpeechRecognizer", "")
			c.send("StartRecognition", `{"format":"wav"}`)
			c.want("RecognitionStarted")
			c.binary(file[:at])
			c.binary(file[at:])
			c.send("StopRecognition", "")
			if got := events(c.until("RecognitionCompleted")); !strings.Contains(got, `"duration":100}`) {
				t.Errorf("cut at %d: got %s", at, got)
			}
		}
		eight := wav.Header(16000, 100)
		eight[34] = 8
		c := recognition(t, "SpeechRecognizer", `{"format":"wav"}`)
		c.binary(append(eight, 0))
		c.want("TaskFailed")
	})
}

func TestARecognizerWantsAudioAndNotMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, row := range []struct {
			name     string
			messages [][]byte
			failed   bool
		}{
			{"an empty one", [][]byte{{}}, true},
			{"one byte", [][]byte{{0}}, false},
			{"audio and an empty one", [][]byte{make([]byte, 320), {}}, false},
		} {
			c := recognition(t, "SpeechRecognizer", "{}")
			for _, m := range row.messages {
				c.binary(m)
			}
			c.send("StopRecognition", "")
			if row.failed {
				c.wantFailed(40000000, "Gateway:CLIENT_ERROR:Empty audio data!")
			} else if r := c.read(); r.Header.Name != "RecognitionCompleted" {
				t.Errorf("%s: got %s %v", row.name, r.raw, r.err)
			}
		}
	})
}

// hasty hears a sentence in each stretch of sound, and ends it with the sound.
func hasty() *toldRecognition {
	var at, begin time.Duration
	open := false
	return &toldRecognition{write: func(pcm []byte) (hs []Hypothesis, _ error) {
		end := at + samplesTime(int64(len(pcm)/2), 16000)
		switch loud := pcm[0] != 0; {
		case loud && !open:
			begin = at
			fallthrough
		case loud:
			hs = []Hypothesis{{Text: "x", Begin: begin, End: end}}
		case open:
			hs = []Hypothesis{{Text: "x", Begin: begin, End: at, Final: true}}
		}
		open = pcm[0] != 0
		at = end
		return hs, nil
	}}
}

// Silence ends a recognition when max_end_silence of it has passed since a sentence,
// whatever the engine took for the end of that, and not while somebody speaks again.
// The service looks every 100 ms.
func TestVoiceDetectionCountsTheSilenceItself(t *testing.T) {
	const ms = time.Millisecond
	for _, row := range []struct {
		name     string
		payload  string // more of it
		audio    []byte
		duration int // 0: it goes on
	}{
		{"silence enough", "", slices.Concat(sound(100*ms, 16000), silence(2000*ms, 16000)), 900},
		{"an end between two looks", `,"max_end_silence":250`, slices.Concat(sound(100*ms, 16000), silence(2000*ms, 16000)), 400},
		{"not enough", "", slices.Concat(sound(100*ms, 16000), silence(700*ms, 16000)), 0},
		{"long speech after a short pause", "", slices.Concat(sound(100*ms, 16000), silence(300*ms, 16000), sound(2000*ms, 16000)), 0},
		{"nobody has said how soon speech must begin", "", silence(5000*ms, 16000), 0},
		{"the start is not late yet", `,"max_start_silence":2000`, silence(2500*ms, 16000), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Engine: engineOf(hasty())}), "SpeechRecognizer", "")
				c.send("StartRecognition", `{"enable_voice_detection":true`+row.payload+`}`)
				c.want("RecognitionStarted")
				c.binary(row.audio)
				if row.duration == 0 {
					c.wantSilence(time.Second)
				} else if got, want := events([]reply{c.want("RecognitionCompleted")}), fmt.Sprintf(`"duration":%d}`, row.duration); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
	t.Run("the start is late", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c := recognition(t, "SpeechRecognizer", `{"enable_voice_detection":true,"max_start_silence":2000}`)
			c.binary(silence(2600*ms, 16000))
			c.wantFailed(41010105, "SILENT_SPEECH")
		})
	})
}

// An engine that fails after the end of speech spoils nothing.
func TestWhatComesAfterTheEndOfSpeechDoesNoHarm(t *testing.T) {
	const ms = time.Millisecond
	failing := func(after int) *toldRecognition {
		r, n := hasty(), 0
		hears := r.write
		r.write = func(pcm []byte) ([]Hypothesis, error) {
			if n++; n > after {
				return nil, errEngine
			}
			return hears(pcm)
		}
		r.finish = func() ([]Hypothesis, error) { return nil, errEngine }
		return r
	}
	for _, row := range []struct {
		name   string
		engine *toldRecognition
		format string
		delay  time.Duration
		send   func(*client)
	}{
		{"in the same message", failing(9), "pcm", -1, func(c *client) {
			c.binary(slices.Concat(sound(100*ms, 16000), silence(2000*ms, 16000)))
		}},
		{"while Completed is on its way", failing(9), "pcm", time.Second, func(c *client) {
			c.binary(slices.Concat(sound(100*ms, 16000), silence(800*ms, 16000)))
			synctest.Wait()
			c.binary(silence(100*ms, 16000))
		}},
		{"in what a decoder had kept", failing(99), "mp3", -1, func(c *client) {
			c.binary([]byte{1, 16, 0, 200})
			c.send("StopRecognition", "")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var open atomic.Int64
				c := dial(t, start(t, Options{Pipe: true, ReplyDelay: row.delay, Engine: engineOf(row.engine), Codecs: codecs(&open, runs{})}), "SpeechRecognizer", "")
				c.send("StartRecognition", `{"enable_voice_detection":true,"format":"`+row.format+`"}`)
				c.want("RecognitionStarted")
				row.send(c)
				c.want("RecognitionCompleted")
				c.wantSilence(time.Second)
			})
		})
	}
}

// An engine may use the memory of what it returns again.
func TestResultsKeepTheirWords(t *testing.T) {
	words := make([]nls.Word, 1)
	n := 0
	r := &toldRecognition{write: func([]byte) ([]Hypothesis, error) {
		n++
		words[0] = nls.Word{Text: fmt.Sprint("w", n)}
		return []Hypothesis{{Text: words[0].Text, Words: words}}, nil
	}}
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, PlainPartials: true, Engine: engineOf(r)}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_words":true,"enable_intermediate_result":true,"enable_inverse_text_normalization":true}`)
		c.want("TranscriptionStarted")
		c.binary(silence(300*time.Millisecond, 16000))
		c.want("SentenceBegin")
		for i := range 3 {
			r := c.want("TranscriptionResultChanged")
			if want := fmt.Sprintf(`"words":[{"text":"w%d",`, i+1); !strings.Contains(r.raw, want) {
				t.Errorf("got %s, want %s", r.raw, want)
			}
		}
	})
}

// words are those of the service, without marks, and there are none unless they are
// asked for.
func TestWordsOfResultsOnTheWire(t *testing.T) {
	var words []nls.Word
	for text := range strings.SplitSeq("今天好。", "") {
		words = append(words, nls.Word{Text: text})
	}
	heard := &toldRecognition{finish: func() ([]Hypothesis, error) {
		return []Hypothesis{{Text: "今天好。", Words: words, Final: true}}, nil
	}}
	for payload, want := range map[string]string{
		`{"enable_words":true,"enable_punctuation_prediction":true}`: "今天 好",
		`{"enable_words":true}`:  "今天 好",
		`{"enable_words":false}`: "",
		`{}`:                     "",
	} {
		inBubble(t, func(t *testing.T) {
			c := dial(t, start(t, Options{Pipe: true, Engine: engineOf(heard)}), "SpeechTranscriber", "")
			c.send("StartTranscription", payload)
			c.want("TranscriptionStarted")
			c.send("StopTranscription", "")
			c.want("SentenceBegin")
			var texts []string
			for _, w := range c.want("SentenceEnd").Payload.(map[string]any)["words"].([]any) {
				texts = append(texts, w.(map[string]any)["text"].(string))
			}
			if got := strings.Join(texts, " "); got != want {
				t.Errorf("%s: words %q, want %q", payload, got, want)
			}
		})
	}
}

// A result is sent when there is something new in it.
func TestResultsSaySomethingNew(t *testing.T) {
	for space, want := range map[string]string{
		"SpeechTranscriber": `SentenceBegin "" TranscriptionResultChanged "b" TranscriptionResultChanged "b" SentenceEnd "b" TranscriptionCompleted ""`,
		"SpeechRecognizer":  `RecognitionResultChanged "b" RecognitionCompleted "b"`,
	} {
		inBubble(t, func(t *testing.T) {
			said := []Hypothesis{{}, {Text: "b"}, {Text: "b"}, {Text: "b", Final: true}}
			c := dial(t, start(t, Options{Pipe: true, Engine: engineOf(&toldRecognition{finish: func() ([]Hypothesis, error) { return said, nil }})}), space, "")
			enterWith(c, `{"enable_intermediate_result":true}`)
			var got []string
			for _, r := range c.until(products[space].completed) {
				var result any = ""
				if p, ok := r.Payload.(map[string]any); ok && p["result"] != nil {
					result = p["result"]
				}
				got = append(got, fmt.Sprintf("%s %q", r.Header.Name, result))
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// enterWith starts a task, says a little, and stops it.
func enterWith(c *client, payload string) {
	c.send(startOf(c.space), payload)
	c.want(products[c.space].started)
	c.binary(make([]byte, 320))
	for name, role := range products[c.space].directives {
		if role == roleStop {
			c.send(name, "")
		}
	}
}
