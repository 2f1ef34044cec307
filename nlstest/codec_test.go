package nlstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/effort"
)

// runs is a format for tests: a byte with a sample value and a byte with a count of
// 100 samples. Its decoder keeps the last half of a pair, and its encoder the run that
// goes on; so something is left at the end.
type runs struct {
	rate         int
	decode       bool
	half         []byte
	value, count byte
	open         *atomic.Int64 // transcoders that were not closed
	fail         string        // "write" or "close"
	block        time.Duration
	packets      *[]string // what Write got, if not nil
}

var errCodec = errors.New("broken")

func (r *runs) Write(p []byte) (out []byte, err error) {
	time.Sleep(r.block)
	if r.packets != nil {
		*r.packets = append(*r.packets, string(p))
	}
	if r.fail == "write" {
		return nil, errCodec
	}
	if r.decode {
		for r.half = append(r.half, p...); len(r.half) > 2; r.half = r.half[2:] { // the last pair waits for Close
			out = append(out, r.sound(r.half)...)
		}
		return out, nil
	}
	for ; len(p) > 0; p = p[min(200, len(p)):] {
		if p[0] != r.value || r.count == 255 {
			out = append(out, r.rest()...)
			r.value, r.count = p[0], 0
		}
		r.count++
	}
	return out, nil
}

func (r *runs) sound(pair []byte) []byte {
	return bytes.Repeat([]byte{pair[0], 0}, 100*int(pair[1]))
}

func (r *runs) rest() []byte {
	if r.count == 0 {
		return nil
	}
	return []byte{r.value, r.count}
}

func (r *runs) Close() ([]byte, error) {
	if r.open.Add(-1) < 0 {
		panic("closed twice")
	}
	if r.fail == "close" {
		return nil, errCodec
	}
	if !r.decode {
		return r.rest(), nil
	}
	if len(r.half) == 2 {
		return r.sound(r.half), nil
	}
	return nil, nil
}

// codecs has the format under every compressed name, as like says.
func codecs(open *atomic.Int64, like runs) map[string]Codec {
	transcoder := func(decode bool) func(context.Context, int) (Transcoder, error) {
		return func(_ context.Context, rate int) (Transcoder, error) {
			if like.fail == "start" {
				return nil, errCodec
			}
			open.Add(1)
			r := like
			r.rate, r.decode, r.open = rate, decode, open
			return &r, nil
		}
	}
	all := map[string]Codec{}
	for _, format := range []string{"opus", "opu", "speex", "amr", "mp3", "aac"} {
		all[format] = Codec{transcoder(true), transcoder(false)}
	}
	return all
}

// The audio counts, not the bytes: 0.5 s of sound, 1 s of silence and 0.5 s of sound.
func compressed(rate byte) []byte { return []byte{1, rate, 0, 2 * rate, 1, rate} }

func TestACodecMakesAudioOfCompressedBytes(t *testing.T) {
	for _, format := range []string{"opus", "speex", "amr", "mp3", "aac"} {
		t.Run(format, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var open atomic.Int64
				c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{})}), "SpeechTranscriber", "")
				c.send("StartTranscription", `{"sample_rate":8000,"format":"`+format+`"}`)
				c.want("TranscriptionStarted")
				for b := range slices.Chunk(compressed(40), 1) { // cut anywhere
					c.binary(b)
				}
				c.send("StopTranscription", "")
				var ends []any
				for _, r := range c.until("TranscriptionCompleted") {
					if r.Header.Name == "SentenceEnd" {
						p := r.Payload.(map[string]any)
						ends = append(ends, p["begin_time"])
					}
				}
				if got := fmt.Sprint(ends); got != "[0 1500]" {
					t.Errorf("sentences begin at %s", got)
				}
				c.ws.Close()
				time.Sleep(time.Second)
				if open.Load() != 0 {
					t.Error("the decoder is still open")
				}
			})
		})
	}
}

func TestBytesCountAsTheAudioThatTheyDecodeTo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var open atomic.Int64
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{})}), "SpeechRecognizer", "")
		c.send("StartRecognition", `{"format":"opus"}`)
		c.want("RecognitionStarted")
		c.binary(compressed(80))
		c.send("StopRecognition", "")
		all := c.until("RecognitionCompleted")
		if got := all[len(all)-1].Payload.(map[string]any)["duration"]; got != 2000.0 {
			t.Errorf("duration %v", got)
		}
		// 42 bytes are more than a minute.
		c.send("StartRecognition", `{"format":"opus"}`)
		c.want("RecognitionStarted")
		c.binary(bytes.Repeat([]byte{0, 250}, 42))
		c.wantFailed(41010104, "TOO_LONG_SPEECH")
	})
}

func TestWithoutACodecAudioCannotBeDecoded(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, format := range []string{"opus", "opu", "speex", "amr", "mp3", "aac"} {
		c := dial(t, start(t, Options{Codecs: map[string]Codec{format: {}}}), "SpeechTranscriber", "")
		c.send("StartTranscription", `{"format":"`+format+`"}`)
		c.want("TranscriptionStarted")
		c.binary([]byte("x"))
		c.wantFailed(40270003, "DECODE_ERROR")
	}
}

func TestACodecThatFailsFailsTheTask(t *testing.T) {
	for _, row := range []struct {
		fail, space, start, stop string
		status                   int
		text                     string
	}{
		{"start", "SpeechTranscriber", "StartTranscription", "", 50000000, "Gateway:SERVER_ERROR:Server error!"},
		{"write", "SpeechTranscriber", "StartTranscription", "", 40270003, "DECODE_ERROR"},
		{"close", "SpeechTranscriber", "StartTranscription", "StopTranscription", 40270003, "DECODE_ERROR"},
		{"start", "SpeechSynthesizer", "StartSynthesis", "", 51020001, "TTS:TtsServerError:[tts]Failed to invoke engine!"},
		{"write", "SpeechSynthesizer", "StartSynthesis", "", 51020001, "TTS:TtsServerError:[tts]Failed to invoke engine!"},
		{"close", "SpeechSynthesizer", "StartSynthesis", "", 51020001, "TTS:TtsServerError:[tts]Failed to invoke engine!"},
	} {
		t.Run(row.space+" "+row.fail, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var open atomic.Int64
				c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{fail: row.fail})}), row.space, "")
				c.send(row.start, `{"format":"mp3","text":"a"}`)
				if row.space == "SpeechTranscriber" && row.fail != "start" {
					c.want("TranscriptionStarted")
					c.binary(compressed(1))
					if row.stop != "" {
						c.send(row.stop, "")
					}
				}
				for r := c.read(); ; r = c.read() {
					if r.err != nil || r.Header.Name == "TaskFailed" {
						if r.Header.Status != row.status || r.Header.StatusText != row.text {
							t.Errorf("got %s %v, want %d %s", r.raw, r.err, row.status, row.text)
						}
						break
					}
				}
				c.ws.Close()
				time.Sleep(time.Second)
				if open.Load() != 0 {
					t.Error("still open")
				}
			})
		})
	}
}

// A session that breaks off leaves no process of an encoder or decoder behind, also
// when one is at work just then.
func TestTranscodersAreClosedWithTheirTask(t *testing.T) {
	for _, space := range []string{"SpeechTranscriber", "FlowingSpeechSynthesizer"} {
		for _, block := range []time.Duration{0, time.Minute} {
			inBubble(t, func(t *testing.T) {
				var open atomic.Int64
				c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{block: block})}), space, "")
				if space == "SpeechTranscriber" {
					c.send("StartTranscription", `{"format":"opus"}`)
					c.want("TranscriptionStarted")
					c.binary(compressed(1))
				} else {
					c.send("StartSynthesis", `{"format":"mp3"}`)
					c.want("SynthesisStarted")
					c.send("RunSynthesis", `{"text":"a。"}`)
				}
				time.Sleep(time.Second)
				if block > 0 && open.Load() != 1 {
					t.Error("no transcoder")
				}
				c.ws.Close()
				time.Sleep(2 * time.Minute)
				if open.Load() != 0 {
					t.Error("still open")
				}
			})
		}
	}
}

// opu carries Opus packets, which the codec gets one by one (protocol §8.2).
func TestOpuPacketsComeOutOfTheirFrames(t *testing.T) {
	long := strings.Repeat("x", 255)
	packets := []string{"\x01\x02", "", long, "\x01\x01"}
	var stream []byte
	for _, p := range packets {
		stream = append(append(stream, byte(len(p))), p...)
	}
	for size := 1; size <= len(stream); size++ {
		var o opuReader
		var got []string
		for b := range slices.Chunk(stream, size) {
			if err := o.read(bytes.Clone(b), func(p []byte) error { got = append(got, string(p)); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, packets) || len(o.rest) > 0 {
			t.Fatalf("in messages of %d bytes: %q", size, got)
		}
	}

	inBubble(t, func(t *testing.T) {
		var open atomic.Int64
		var got []string
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{packets: &got})})
		c := dial(t, s, "SpeechTranscriber", "")
		for _, whole := range []bool{true, false} {
			got = nil
			c.send("StartTranscription", `{"format":"opu"}`)
			c.want("TranscriptionStarted")
			c.binary([]byte{2, 1, 80, 2, 0, 16, 2})
			if c.binary([]byte{1}); whole {
				c.binary([]byte{80})
			}
			if c.send("StopTranscription", ""); whole {
				c.until("TranscriptionCompleted")
				if want := []string{"\x01\x50", "\x00\x10", "\x01\x50"}; !slices.Equal(got, want) {
					t.Errorf("got %q", got)
				}
				continue
			}
			c.want("SentenceBegin")
			c.wantFailed(40270003, "DECODE_ERROR") // half a packet
		}
	})
}

func FuzzOpu(f *testing.F) {
	f.Add([]byte{2, 1, 2, 0, 1}, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		var o opuReader
		var again []byte
		for b := range slices.Chunk(data, int(size)+1) {
			o.read(b, func(p []byte) error {
				again = append(append(again, byte(len(p))), p...)
				return nil
			})
		}
		if again = append(again, o.rest...); !bytes.Equal(again, data) {
			t.Errorf("%x became %x", data, again)
		}
	})
}

// With an encoder a synthesis speaks its format, up to the last byte.
func TestACodecEncodesWhatIsSpoken(t *testing.T) {
	for _, space := range []string{"SpeechSynthesizer", "FlowingSpeechSynthesizer"} {
		t.Run(space, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var open atomic.Int64
				c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}, Codecs: codecs(&open, runs{})}), space, "")
				if c.send("StartSynthesis", `{"format":"mp3","text":"ab. cd.","enable_subtitle":true,"voice":"siqi"}`); space != "SpeechSynthesizer" {
					c.want("SynthesisStarted")
					c.send("RunSynthesis", `{"text":"ab. cd."}`)
					c.send("StopSynthesis", "")
				}
				var audio []byte
				last := 0.0
				for _, r := range c.until("SynthesisCompleted") {
					audio = append(audio, r.audio...)
					if p, ok := r.Payload.(map[string]any); ok && p["subtitles"] != nil {
						for _, s := range p["subtitles"].([]any) {
							last = max(last, s.(map[string]any)["end_time"].(float64))
						}
					}
				}
				samples := 0
				for i := 0; i+1 < len(audio); i += 2 {
					if audio[i] != 1 {
						t.Fatalf("got % x", audio)
					}
					samples += 100 * int(audio[i+1])
				}
				// A character takes 100 ms, and times are those of the audio.
				if samples != 7*1600 || last != 700 || open.Load() != 0 {
					t.Errorf("%d samples, the last unit ends at %v, %d are open", samples, last, open.Load())
				}
			})
		})
	}
}

func TestAFormatWithoutAnEncoderIsRefused(t *testing.T) {
	c := dial(t, start(t, Options{Codecs: map[string]Codec{"mp3": {}}}), "SpeechSynthesizer", "")
	c.send("StartSynthesis", `{"format":"mp3","text":"a"}`)
	c.wantFailed(40010003, "Gateway:DIRECTIVE_INVALID:Invalid format 'mp3'!")
}
