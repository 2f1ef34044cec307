package nlstest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls"
)

// fakeEngine is an Engine that is exact to the sample: sound is what is not zero,
// a sentence is sound up to 800 ms of silence, and its text counts the sentences.
// A character takes 100 ms to say.
type fakeEngine struct {
	said chan string // if not nil, takes each text before it is spoken
	fail error       // of everything
}

type fakeRecognition struct {
	rate, at   int // samples
	silence    int
	begin, end int
	open       bool
	reported   int // 100 ms of the open sentence
	index      int
}

func (e fakeEngine) Recognize(_ context.Context, q RecognitionRequest) (Recognition, error) {
	r := &fakeRecognition{rate: q.SampleRate}
	r.SetMaxSilence(q.MaxSilence)
	return r, e.fail
}

func (r *fakeRecognition) SetMaxSilence(d time.Duration) {
	r.silence = int(d.Seconds() * float64(r.rate))
}

func (r *fakeRecognition) time(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(r.rate)
}

func (r *fakeRecognition) hypothesis(final bool) Hypothesis {
	h := Hypothesis{
		Text: fmt.Sprintf("S%d:%d", r.index, r.reported), Begin: r.time(r.begin), End: r.time(r.end), Final: final, Confidence: 0.5,
		Words: []nls.Word{{Text: "w", Start: r.time(r.begin), End: r.time(r.end)}},
	}
	if final {
		h.Text, h.Confidence = fmt.Sprintf("Sentence%d.", r.index), 1
	}
	return h
}

func (r *fakeRecognition) Write(pcm []byte) (hs []Hypothesis, err error) {
	for ; len(pcm) > 0; pcm = pcm[2:] {
		loud := binary.LittleEndian.Uint16(pcm) != 0
		r.at++
		if loud {
			if !r.open {
				r.open, r.begin, r.reported = true, r.at-1, 0
				r.index++
			}
			r.end = r.at
			if n := (r.end - r.begin) * 10 / r.rate; n > r.reported {
				r.reported = n
				hs = append(hs, r.hypothesis(false))
			}
		} else if r.open && r.at-r.end >= r.silence {
			r.open = false
			hs = append(hs, r.hypothesis(true))
		}
	}
	return hs, nil
}

func (r *fakeRecognition) Finish() ([]Hypothesis, error) {
	if !r.open {
		return nil, nil
	}
	r.open = false
	return []Hypothesis{r.hypothesis(true)}, nil
}

func (r *fakeRecognition) Close() error { return nil }

func (e fakeEngine) Synthesize(ctx context.Context, text string, v Voice, emit func([]byte, []nls.Subtitle) error) error {
	if e.said != nil {
		select {
		case e.said <- text:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i, n := 0, 0; i < len(text); n++ {
		_, size := utf8.DecodeRuneInString(text[i:])
		at := time.Duration(n) * 100 * time.Millisecond
		word := nls.Subtitle{Text: text[i : i+size], Begin: at, End: at + 100*time.Millisecond, BeginIndex: n, EndIndex: n + 1}
		if err := emit(sound(100*time.Millisecond, v.SampleRate), []nls.Subtitle{word}); err != nil {
			return err
		}
		i += size
	}
	return e.fail
}

var errEngine = errors.New("engine failed")

// sound and silence are audio of that length.
func sound(d time.Duration, rate int) []byte {
	b := silence(d, rate)
	for i := range b {
		b[i] = 1
	}
	return b
}

func silence(d time.Duration, rate int) []byte {
	return make([]byte, int(d.Seconds()*float64(rate)+0.5)*2)
}

// wordyEngine hears a sentence of more words than fit into a frame.
type wordyEngine struct{ fakeEngine }

func (wordyEngine) Recognize(context.Context, RecognitionRequest) (Recognition, error) {
	return wordyRecognition{}, nil
}

type wordyRecognition struct{}

func (wordyRecognition) Write([]byte) ([]Hypothesis, error) { return nil, nil }
func (wordyRecognition) Close() error                       { return nil }
func (wordyRecognition) Finish() ([]Hypothesis, error) {
	words := slices.Repeat([]nls.Word{{Text: "word"}}, 2000)
	return []Hypothesis{{Text: "longer", Words: words}, {Text: "long", Final: true, Words: words}}, nil
}
