package nls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

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
// Stop. Errors of a session that reached the gateway, and those of r, have its
// TaskID.
//
// A Read that does not return may outlive the call, see [Pump].
func (c *Client) Recognize(ctx context.Context, r io.Reader, p RecognitionParams, o PumpOptions) (*RecognitionResult, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var result *RecognitionResult
	rec := c.NewRecognizer(RecognizerHandlers{
		OnCompleted: func(r *RecognitionResult) { result = r },
	})
	if err := rec.Start(ctx, p); err != nil {
		return nil, startError(rec, err)
	}
	if err := listen(ctx, rec, r, o.forParams(p.Format, p.SampleRate)); err != nil {
		return nil, err
	}
	return result, nil
}

// Transcribe sends the audio in r to a new transcriber, at the pace that
// [PumpOptions] describe, and yields each finished sentence as it arrives. With
// EnableIntermediateResult it yields partial results too; Sentence.Final tells
// them apart. An error is yielded once, last; all errors of a session that reached
// the gateway, and those of r, have its TaskID. Where nobody speaks nothing is
// yielded; a [Trace] on ctx still learns the task ID.
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
	return func(yield func(*Sentence, error) bool) {
		if err := o.check(); err != nil {
			yield(nil, err)
			return
		}
		audio, cancel := context.WithCancel(ctx)
		defer cancel()
		sentences := mailbox.New[*Sentence](maxWaiting, audio.Done(), func() bool { return false })
		take := func(s *Sentence) { sentences.Put(s, len(s.Raw)) }
		handlers := TranscriberHandlers{OnSentenceEnd: take}
		if p.EnableIntermediateResult {
			handlers.OnResultChanged = take
		}
		tr := c.NewTranscriber(handlers)
		// A service that has much to say after Stop may take its time, so it is its
		// silence that is bounded.
		if err := tr.start(ctx, p, session.Params{StopTimeout: -1, IdleTimeout: c.cfg.StopTimeout, Patient: true}); err != nil {
			yield(nil, startError(tr, err))
			return
		}
		var err error
		over := make(chan struct{}) // err is set
		go func() {
			defer close(over)
			err = listen(audio, tr, r, o.forParams(p.Format, p.SampleRate))
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

// listener is a Recognizer or a Transcriber.
type listener interface {
	AudioSender
	Stop(context.Context) error
	Shutdown()
	Done() <-chan struct{}
	Err() error
	TaskID() string
}

// listen sends the audio in r to l, which has been started, and stops it. When it
// returns the session has ended.
func listen(ctx context.Context, l listener, r io.Reader, o PumpOptions) error {
	// A Stop whose context has ended ends the session with that, and with it a
	// SendAudio that blocks.
	stopped := make(chan error, 1)
	unwatch := context.AfterFunc(ctx, func() { stopped <- l.Stop(ctx) })
	_, err := Pump(ctx, l, r, o)
	switch {
	case !unwatch():
		err = <-stopped
		settled(l.Done()) // Stop does not wait for a callback that a mailbox has held
		return err
	case err != nil && l.Err() == nil: // of r
		l.Shutdown()
		<-l.Done()
		return &sessionError{l.TaskID(), err}
	}
	return l.Stop(ctx)
}

// startError puts the task id to the only error of a Start that has none though
// there was a task: the service completed it before it had answered.
func startError(l listener, err error) error {
	if errors.Is(err, ErrCompleted) {
		return &sessionError{l.TaskID(), err}
	}
	return err
}

// contextError is the error of a call whose ctx has ended, as the objects have it.
func contextError(ctx context.Context, timeout error, taskID string) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		err = timeout
	}
	return &sessionError{taskID, err}
}

// forParams fills in what the params know about the rate of the audio.
func (o PumpOptions) forParams(f Format, sampleRate int) PumpOptions {
	if o.BytesPerSecond != 0 {
		return o
	}
	switch f {
	case "", FormatPCM, FormatWAV:
		rate := orDefault(sampleRate, DefaultSampleRate)
		o.BytesPerSecond = rate + min(rate, math.MaxInt-rate)
	default:
		o.BytesPerSecond = compressedRate
	}
	return o
}

// Synthesize writes the audio of p.Text to w as it arrives. The first error of
// w ends the session and is returned; a short write is io.ErrShortWrite. The end
// of ctx ends the session, and the error is then that of Start. Errors of a session
// that reached the gateway, and those of w, have its TaskID. p.NoWait has no
// effect.
//
// The session does not wait for w: 8 MiB of audio may wait, beside
// Config.MaxPendingBytes. So a slow w is not a matter of p.CompleteTimeout, and
// Synthesize returns when all is written, after the end of the session if need be.
// When ctx ends, what waits is dropped; when the session fails, unless w takes it
// at once. A Write that does not return may then outlive the call, on a goroutine
// that ends with it.
func (c *Client) Synthesize(ctx context.Context, w io.Writer, p SynthesisParams) error {
	writing, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var tts *Synthesizer
	audio := mailbox.New[[]byte](maxWaiting, writing.Done(), func() bool { return tts.Err() != nil })
	tts = c.NewSynthesizer(SynthesizerHandlers{
		OnData: func(a AudioEvent) { audio.Put(a.Data, len(a.Data)) },
	})
	complete := make(chan struct{}) // no more audio comes
	written := make(chan struct{})  // writeErr is set
	writeErr := errors.New("nls: a Write ended its goroutine")
	go func() {
		defer close(written)
		defer func() {
			if writeErr != nil {
				tts.Shutdown()
			}
		}()
		writeErr = writeTo(w, audio, complete)
	}()

	p.NoWait = false
	err := tts.start(ctx, p, session.Params{Patient: true})
	if errors.Is(err, ErrShutdown) { // which is the writer's doing
		err = nil
	}
	close(complete)
	var enough <-chan time.Time
	if err != nil { // what came before the failure is w's, if w is quick
		enough = time.After(settleTime)
	}
	select {
	case <-written:
	case <-ctx.Done():
	case <-enough:
	}
	giveUp()
	finished := settled(written)
	settled(tts.Done()) // Start does not wait for a callback that the mailbox has held
	switch {
	case err != nil:
		return err
	case finished && writeErr != nil:
		return &sessionError{tts.TaskID(), writeErr}
	case !finished || !audio.Empty(): // since ctx has ended
		return contextError(ctx, ErrCompleteTimeout, tts.TaskID())
	}
	return nil
}

// writeTo writes what comes in m to w, until over is closed and all is written or m
// has quit.
func writeTo(w io.Writer, m *mailbox.Mailbox[[]byte], over <-chan struct{}) error {
	for {
		data, ok := m.Next(over)
		if !ok {
			return nil
		}
		n, err := w.Write(data)
		if err == nil && n != len(data) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("nls: write audio: %w", err)
		}
	}
}
