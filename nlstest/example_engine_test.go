package nlstest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// clicks is a whole Engine: it hears how often there was a click, and speaks in
// clicks of its own.
type clicks struct{}

func (clicks) Recognize(ctx context.Context, q nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	return &counter{second: q.SampleRate}, nil
}

func (clicks) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	for i, r := range []rune(text) {
		pcm := make([]byte, v.SampleRate/5*2) // 200 ms
		binary.LittleEndian.PutUint16(pcm, uint16(300*v.Volume))
		begin := time.Duration(i) * 200 * time.Millisecond
		word := nls.Subtitle{Text: string(r), Begin: begin, End: begin + 200*time.Millisecond, BeginIndex: i, EndIndex: i + 1}
		if err := emit(pcm, []nls.Subtitle{word}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// counter is a Recognition: everything is one sentence, until the audio ends.
type counter struct {
	second, samples, clicks int
	odd                     []byte
}

func (c *counter) hypothesis(final bool) []nlstest.Hypothesis {
	return []nlstest.Hypothesis{{
		Text: fmt.Sprintf("%d clicks.", c.clicks), Final: final, Confidence: 1,
		End: time.Duration(c.samples) * time.Second / time.Duration(c.second),
	}}
}

func (c *counter) Write(pcm []byte) ([]nlstest.Hypothesis, error) {
	before := c.clicks
	pcm = append(c.odd, pcm...)
	for ; len(pcm) >= 2; pcm = pcm[2:] {
		if binary.LittleEndian.Uint16(pcm) != 0 {
			c.clicks++
		}
		c.samples++
	}
	c.odd = bytes.Clone(pcm)
	if c.clicks == before {
		return nil, nil
	}
	return c.hypothesis(false), nil
}

func (c *counter) Finish() ([]nlstest.Hypothesis, error) {
	if c.clicks == 0 {
		return nil, nil
	}
	return c.hypothesis(true), nil
}

func (c *counter) Close() error { return nil }

func ExampleEngine() {
	server := nlstest.NewServer(nlstest.Options{Engine: clicks{}})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	var audio bytes.Buffer
	if err := client.Synthesize(context.Background(), &audio, nls.SynthesisParams{Text: "你好世界"}); err != nil {
		log.Fatal(err)
	}
	result, err := client.Recognize(context.Background(), &audio, nls.RecognitionParams{EnableInverseTextNormalization: true}, nls.PumpOptions{Speed: -1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text)
	// Output: 4 clicks
}
