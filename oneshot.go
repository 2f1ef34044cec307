package nls

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/nlsgo/nls/internal/mailbox"
	"github.com/nlsgo/nls/internal/session"
)

// The calls of this file run a whole session each. Where audio comes from and
// where it goes is the caller's: a Reader that never returns, or a Writer, holds
// up neither the call nor the session.

// maxWaiting is how many bytes of results and of audio wait for a caller that is
// slower than the session.
const maxWaiting = DefaultMaxPending

// Recognize sends the audio in r to a new recogniser, at the pace that
// [PumpOptions] describe, and returns the final result. Where nobody speaks its
// Text is empty. The end of ctx ends the session, and the error is then that of
// Stop. Errors of a session that reached the gateway, and those of r while it runs,
// have its TaskID.
//
// Without p.Format the first bytes of r decide: of a WAV file the samples are sent,
// as FormatPCM, at the sample rate in its header; anything else is raw PCM of
// p.SampleRate. FormatWAV sends samples behind a plain header, and takes the rate
// from the file if p.SampleRate is zero. A source that is empty, a WAV file that is
// not 16-bit mono PCM of 8 or 16 kHz, and files of other kinds without p.Format are a
// *ParamError before any connection, which says how to convert them. The first bytes
// have to come within p.Timeout. A "format" or "sample_rate" in p.Extra is not
// checked, and audio whose format it names is not looked at.
//
// A Read that does not return may outlive the call, see [Pump].
func (c *Client) Recognize(ctx context.Context, r io.Reader, p RecognitionParams, o PumpOptions) (*RecognitionResult, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if _, err := p.payload(); err != nil {
		return nil, err
	}
	in := source{r: r, format: p.Format, sampleRate: p.SampleRate}
	if err := in.open(ctx, p.Extra, p.Timeout); err != nil {
		return nil, err
	}
	p.Format, p.SampleRate = in.format, in.sampleRate
	var result *RecognitionResult
	rec := c.NewRecognizer(RecognizerHandlers{
		OnCompleted: func(r *RecognitionResult) { result = r },
	})
	if err := rec.Start(ctx, p); err != nil {
		return nil, startError(rec, err)
	}
	if err := listen(ctx, rec.Session(), in.r, o.forSource(in)); err != nil {
		return nil, err
	}
	return result, nil
}

// Transcribe sends the audio in r to a new transcriber, at the pace that
// [PumpOptions] describe, and yields each finished sentence as it arrives. With
// EnableIntermediateResult it yields partial results too; Sentence.Final tells
// them apart. An error is yielded once, last; all errors of a session that reached
// the gateway, and those of r while it runs, have its TaskID. Where nobody speaks
// nothing is yielded; a [Trace] on ctx still learns the task ID. It takes what
// [Client.Recognize] takes, and looks at the audio in the same way.
//
// Breaking out of the loop, or the end of ctx, shuts the session down. While the
// loop body runs, results wait; nothing is lost unless ctx ends. A Read that does
// not return may outlive the loop, see [Pump].
//
//	for s, err := range client.Transcribe(ctx, file, nls.TranscriptionParams{}, nls.PumpOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(s.Index, s.Text)
//	}
func (c *Client) Transcribe(ctx context.Context, r io.Reader, p TranscriptionParams, o PumpOptions) iter.Seq2[*Sentence, error] {
	return c.transcribe(ctx, r, p, o, func(take func(*Sentence), p TranscriptionParams) (listener, error) {
		h := TranscriberHandlers{OnSentenceEnd: take}
		if p.EnableIntermediateResult {
			h.OnResultChanged = take
		}
		t := c.NewTranscriber(h)
		// A service that has much to say after Stop may take its time, so it is its
		// silence that is bounded.
		err := t.start(ctx, p, session.Params{StopTimeout: -1, IdleTimeout: c.cfg.StopTimeout, Patient: true})
		return t.Session(), err
	})
}

// transcribe yields what the listener that start starts gives to take.
func (c *Client) transcribe(ctx context.Context, r io.Reader, p TranscriptionParams, o PumpOptions,
	start func(take func(*Sentence), p TranscriptionParams) (listener, error)) iter.Seq2[*Sentence, error] {
	return func(yield func(*Sentence, error) bool) {
		if err := o.check(); err != nil {
			yield(nil, err)
			return
		}
		if _, err := p.payload(); err != nil {
			yield(nil, err)
			return
		}
		in := source{r: r, format: p.Format, sampleRate: p.SampleRate}
		if err := in.open(ctx, p.Extra, p.Timeout); err != nil {
			yield(nil, err)
			return
		}
		p := p // for the loops to come
		p.Format, p.SampleRate = in.format, in.sampleRate
		audio, cancel := context.WithCancel(ctx)
		defer cancel()
		sentences := mailbox.New[*Sentence](maxWaiting, audio.Done(), func() bool { return false })
		tr, err := start(func(s *Sentence) { sentences.Put(s, len(s.Raw)) }, p)
		if err != nil {
			yield(nil, startError(tr, err))
			return
		}
		over := make(chan struct{}) // err is set
		go func() {
			defer close(over)
			err = listen(audio, tr, in.r, o.forSource(in))
		}()
		defer func() {
			tr.Shutdown()
			cancel()
			<-over
		}()
		for {
			s, ok := sentences.Next(over)
			if !ok {
				break
			}
			if !yield(s, nil) {
				return
			}
		}
		<-over
		if err == nil && !sentences.Empty() { // completed, but ctx has ended meanwhile
			err = contextError(ctx, ErrStopTimeout, tr.TaskID())
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// listener is a session that hears.
type listener interface {
	AudioSender
	Bind(context.Context) (stop func() bool)
	Stop(context.Context) error
	Shutdown()
	Done() <-chan struct{}
	Err() error
	TaskID() string
}

// listen sends the audio in r to l, which has been started, and stops it. When it
// returns the session has ended.
func listen(ctx context.Context, l listener, r io.Reader, o PumpOptions) error {
	defer l.Bind(ctx)() // which also ends a SendAudio that blocks
	_, err := Pump(ctx, l, r, o)
	if err != nil && ctx.Err() == nil && l.Err() == nil { // of r
		l.Shutdown()
		<-l.Done()
		return &sessionError{l.TaskID(), err}
	}
	err = l.Stop(ctx)
	if ctx.Err() != nil {
		settled(l.Done()) // Stop does not wait for a callback that a mailbox has held
	}
	return err
}

// startError puts the task id to the only error of a Start that has none though
// there was a task: the service completed it before it had answered.
func startError(l interface{ TaskID() string }, err error) error {
	if errors.Is(err, ErrCompleted) {
		return &sessionError{l.TaskID(), err}
	}
	return err
}

// contextError is the error of a call whose ctx has ended, as the objects have it.
func contextError(ctx context.Context, timeout error, taskID string) error {
	return &sessionError{taskID, session.ContextEnd(ctx, timeout)}
}

// forSource fills in what is known about the rate of the audio.
func (o PumpOptions) forSource(s source) PumpOptions {
	if o.BytesPerSecond != 0 {
		return o
	}
	switch s.format {
	case "", FormatPCM, FormatWAV:
		o.BytesPerSecond = 2 * orDefault(s.pace, DefaultSampleRate)
	default:
		o.BytesPerSecond = compressedRate
	}
	return o
}
