package nlstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

// speaker is an Engine that speaks as a test tells it.
type speaker struct {
	fakeEngine
	speak func(ctx context.Context, emit func([]byte, []nls.Subtitle) error) error
}

func (e speaker) Synthesize(ctx context.Context, _ string, _ Voice, emit func([]byte, []nls.Subtitle) error) error {
	return e.speak(ctx, emit)
}

// Whichever result a task ends over, nothing follows its Completed.
func TestNothingFollowsAnEarlyCompleted(t *testing.T) {
	speech := slices.Concat(sound(300*time.Millisecond, 16000), silence(time.Second, 16000))
	for _, row := range []struct {
		space, payload string
		results        int // of a session, at least
	}{
		{"SpeechTranscriber", `{"enable_intermediate_result":true}`, 10},
		{"SpeechRecognizer", `{"enable_intermediate_result":true}`, 8},
		{"SpeechSynthesizer", `{"text":"好。好。","voice":"zhiqi","sample_rate":48000,"enable_subtitle":true}`, 14},
		{"FlowingSpeechSynthesizer", `{"voice":"zhiqi","sample_rate":48000,"enable_subtitle":true}`, 16},
		{"FlowingSpeechSynthesizer", `{"sample_rate":8000}`, 8},
	} {
		inBubble(t, func(t *testing.T) {
			s := start(t, Options{Pipe: true, ReplyDelay: -1, MaxSessions: 1, Engine: fakeEngine{}})
			product := products[row.space]
			for after := range row.results {
				c := dial(t, s, row.space, fmt.Sprintf("?fault=early@during-events,after=%d", after))
				c.send(startOf(row.space), row.payload)
				if product.started != "" {
					c.want(product.started)
				}
				switch {
				case row.space == "FlowingSpeechSynthesizer":
					c.send("RunSynthesis", `{"text":"好。好。"}`)
				case !product.text:
					c.binary(slices.Concat(speech, speech))
				}
				for name, role := range product.directives {
					if role == roleStop {
						c.send(name, "")
					}
				}
				if got := names(c.until(product.completed)); after == 0 && strings.Contains(got, " ") {
					t.Errorf("%s: got %s", row.space, got)
				}
				c.wantSilence(time.Second)
				c.ws.Close()
			}
		})
	}
}

func TestAnEngineSpeaksToNobody(t *testing.T) {
	for _, fault := range []string{"early", "close", "eof", "taskfailed"} {
		inBubble(t, func(t *testing.T) {
			said := make(chan string, 1)
			s := start(t, Options{Pipe: true, Engine: fakeEngine{said: said}})
			c := dial(t, s, "FlowingSpeechSynthesizer", "?fault="+fault+"@during-events") // SentenceBegin
			c.send("StartSynthesis", "{}")
			c.want("SynthesisStarted")
			c.send("RunSynthesis", `{"text":"好。"}`)
			synctest.Wait()
			if len(said) != 0 {
				t.Errorf("%s: it spoke for a task that is over", fault)
			}
		})
	}
}

// An engine that speaks hears when nobody listens any more.
func TestAnEngineStopsSpeakingWithItsTask(t *testing.T) {
	for name, end := range map[string]func(*client){
		"a mistake": func(c *client) { c.send("StartSynthesis", "{}") },
		"a drop":    func(c *client) { c.ws.Close() },
	} {
		inBubble(t, func(t *testing.T) {
			stopped := false
			s := start(t, Options{Pipe: true, Engine: speaker{speak: func(ctx context.Context, _ func([]byte, []nls.Subtitle) error) error {
				<-ctx.Done()
				stopped = true
				return ctx.Err()
			}}})
			c := dial(t, s, "SpeechSynthesizer", "")
			c.send("StartSynthesis", `{"text":"好"}`)
			synctest.Wait()
			if stopped {
				t.Fatal("it stopped at once")
			}
			end(c)
			synctest.Wait()
			if !stopped {
				t.Errorf("it goes on after %s", name)
			}
		})
	}
}

// Subtitles come with pieces of audio that bring some, and in FlowingSpeechSynthesizer
// at the end of a sentence, if only to say that there are none.
func TestSubtitlesAreAsManyAsTheEngineHas(t *testing.T) {
	pcm := sound(100*time.Millisecond, 16000)
	word := []nls.Subtitle{{Text: "好", End: 100 * time.Millisecond, EndIndex: 1}}
	speaks := func(pieces ...[]nls.Subtitle) speaker {
		return speaker{speak: func(_ context.Context, emit func([]byte, []nls.Subtitle) error) error {
			for _, words := range pieces {
				if err := emit(pcm, words); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	for _, row := range []struct {
		name   string
		engine speaker
		want   string
	}{
		{"none", speaks(nil, nil), "audio SynthesisCompleted SentenceBegin audio SentenceEnd SynthesisCompleted"},
		{"in the first of two pieces", speaks(word, nil),
			"MetaInfo audio MetaInfo SynthesisCompleted SentenceBegin SentenceSynthesis audio SentenceEnd SynthesisCompleted"},
	} {
		inBubble(t, func(t *testing.T) {
			s := start(t, Options{Pipe: true, Engine: row.engine})
			short := dial(t, s, "SpeechSynthesizer", "")
			short.send("StartSynthesis", `{"text":"好","voice":"siqi","enable_subtitle":true}`)
			got := short.until("SynthesisCompleted")
			flowing := dial(t, s, "FlowingSpeechSynthesizer", "")
			flowing.send("StartSynthesis", `{"voice":"siqi","enable_subtitle":true}`)
			flowing.want("SynthesisStarted")
			flowing.send("RunSynthesis", `{"text":"好"}`)
			flowing.send("StopSynthesis", "")
			more := flowing.until("SynthesisCompleted")
			if got := names(got) + " " + names(more); got != row.want {
				t.Errorf("%s: got %s", row.name, got)
			}
			for _, r := range more {
				if r.Header.Name == "SentenceEnd" && strings.Contains(r.raw, `"subtitles":[]`) != (row.name == "none") {
					t.Errorf("%s: got %s", row.name, r.raw)
				}
			}
		})
	}
}

func TestAWAVHeaderWaitsForAudio(t *testing.T) {
	pcm := sound(100*time.Millisecond, 16000)
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: speaker{speak: func(_ context.Context, emit func([]byte, []nls.Subtitle) error) error {
			emit(nil, nil)
			return emit(pcm, nil)
		}}}), "SpeechSynthesizer", "")
		c.send("StartSynthesis", `{"text":"好","format":"wav"}`)
		if got := len(c.read().audio); got != wav.HeaderSize+len(pcm) {
			t.Errorf("the first message has %d bytes", got)
		}
	})
}
