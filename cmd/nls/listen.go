package main

import (
	"context"
	"time"

	"github.com/nlsgo/nls"
)

// listen transcribes in until it or ctx ends, and returns what it has heard, also
// with an error. The end of ctx is none: it is errInterrupted once the service has said
// what it knows.
func listen(ctx context.Context, client *nls.Client, in *input, o nls.PumpOptions, live bool, s *screen) (heard []sentence, err error) {
	heard = []sentence{}
	ct := client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnResultChanged: func(e *nls.Sentence) { s.partialResult(oneLine(e.Text)) },
		OnSentenceEnd: func(e *nls.Sentence) {
			if text := oneLine(e.Text); text != "" {
				heard = append(heard, sentence{e.Begin, e.End(), text, e.Words})
				s.sentence(text)
			}
		},
		OnInterrupted: func(i *nls.Interruption) {
			s.note("nls: %v; again in %v", i.Err, i.Wait.Round(time.Second/10))
		},
	}, nls.ContinuousOptions{FillSilence: live})
	if err := ct.Start(ctx, nls.TranscriptionParams{
		SampleRate:                     in.rate,
		EnableIntermediateResult:       true,
		EnablePunctuationPrediction:    true,
		EnableInverseTextNormalization: true,
		EnableWords:                    true,
	}); err != nil {
		return nil, err
	}
	o.BytesPerSecond = 2 * in.rate
	_, err = nls.Pump(ctx, meter{ct, in.rate, s, new(int64)}, in, o)
	if err != nil && ctx.Err() == nil && ct.Err() == nil { // of in
		ct.Shutdown()
		<-ct.Done()
		return heard, err
	}
	last, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = ct.Stop(last)
	<-ct.Done()
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return heard, err
}

// meter shows how much of the audio is sent.
type meter struct {
	*nls.ContinuousTranscriber
	rate int
	s    *screen
	sent *int64
}

func (m meter) SendAudio(data []byte) error {
	err := m.ContinuousTranscriber.SendAudio(data)
	*m.sent += int64(len(data))
	m.s.at(playing(*m.sent, m.rate))
	return err
}
