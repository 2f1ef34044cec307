package nls

import (
	"context"
	"io"
	"iter"

	"github.com/nlsgo/nls/internal/session"
)

// Recognize sends the audio in r to a new recogniser and returns the final
// result. The end of ctx ends the session.
func (c *Client) Recognize(ctx context.Context, r io.Reader, p RecognitionParams, o PumpOptions) (*RecognitionResult, error) {
	var result *RecognitionResult
	rec := c.NewRecognizer(RecognizerHandlers{
		OnCompleted: func(r *RecognitionResult) { result = r },
	})
	if err := rec.Start(ctx, p); err != nil {
		return nil, err
	}
	if _, err := Pump(ctx, rec, r, o.forParams(p.Format, p.SampleRate)); err != nil && rec.Err() == nil {
		rec.Shutdown()
		<-rec.Done()
		return nil, err
	}
	if err := rec.Stop(ctx); err != nil {
		return nil, err
	}
	return result, nil
}

// Transcribe sends the audio in r to a new transcriber and yields each finished
// sentence as it arrives. The audio is sent at the speed at which it plays. An
// error is yielded once, last. Breaking out of the loop, or the end of ctx,
// shuts the session down; the loop is left once a Read of r that is under way has
// returned. While the loop body runs, results wait; nothing is lost.
//
//	for s, err := range client.Transcribe(ctx, file, nls.TranscriptionParams{}, nls.PumpOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(s.Index, s.Text)
//	}
func (c *Client) Transcribe(ctx context.Context, r io.Reader, p TranscriptionParams, o PumpOptions) iter.Seq2[*Sentence, error] {
	return func(yield func(*Sentence, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		sentences := make(chan *Sentence)
		tr := c.NewTranscriber(TranscriberHandlers{
			OnSentenceEnd: func(s *Sentence) {
				select {
				case sentences <- s:
				case <-ctx.Done():
				}
			},
		})
		// A slow loop body must not use up the time of Stop, so it is the
		// service's silence that is bounded.
		if err := tr.start(ctx, p, session.Params{StopTimeout: -1, IdleTimeout: c.cfg.StopTimeout}); err != nil {
			yield(nil, err)
			return
		}
		end := make(chan error, 1)
		go func() {
			defer close(end)
			_, err := Pump(ctx, tr, r, o.forParams(p.Format, p.SampleRate))
			if err != nil && tr.Err() == nil {
				tr.Shutdown()
				<-tr.Done()
			} else {
				err = tr.Stop(ctx)
			}
			end <- err
		}()
		defer func() {
			cancel()
			tr.Shutdown()
			for range end { // r is not read any more
			}
		}()
		for {
			select {
			case s := <-sentences:
				if !yield(s, nil) {
					return
				}
			case err := <-end:
				if err != nil {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// forParams fills in what the params know about the pace of the audio.
func (o PumpOptions) forParams(f Format, sampleRate int) PumpOptions {
	if o.BytesPerSecond != 0 {
		return o
	}
	switch f {
	case "", FormatPCM, FormatWAV:
		o.BytesPerSecond = 2 * orDefault(sampleRate, DefaultSampleRate)
	default:
		o.Speed = -1
	}
	return o
}

// Synthesize writes the audio of p.Text to w as it arrives. The first error of
// w ends the session and is returned. p.NoWait has no effect.
func (c *Client) Synthesize(ctx context.Context, w io.Writer, p SynthesisParams) error {
	var writeErr error
	var tts *Synthesizer
	tts = c.NewSynthesizer(SynthesizerHandlers{
		OnData: func(a AudioEvent) {
			if _, err := w.Write(a.Data); err != nil {
				writeErr = err
				tts.Shutdown()
			}
		},
	})
	p.NoWait = false
	err := tts.Start(ctx, p)
	<-tts.Done() // a Write may still run after a deadline
	if writeErr != nil {
		return writeErr
	}
	return err
}
