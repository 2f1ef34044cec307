package nls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/mailbox"
	"github.com/nlsgo/nls/internal/session"
)

// This file has the one-shot calls that speak. As in oneshot.go, a Writer or a
// source of text that never returns holds up neither the call nor the session.

// Synthesize writes the audio of p.Text to w as it arrives. The first error of
// w ends the session and is returned; a short write is io.ErrShortWrite. The end
// of ctx ends the session, and the error is then that of Start. Errors of a session
// that reached the gateway, and those of w, have its TaskID. p.NoWait has no
// effect.
//
// The text may have any length. More than 300 characters, unless they are SSML or
// for LongText, are several sessions: the text is cut at the ends of sentences
// where it can be, and never inside a grapheme. Each session starts when the audio
// of the one before begins to be written, so there are two at a time, and the audio
// of all of them is one stream without a pause. The timeouts of p are those of each session. White space that would
// be a piece of its own is not spoken.
//
// FormatWAV writes one header, for the PCM that the service is then asked for. Where
// w can seek, as files can, its sizes are right in the end, also if the synthesis
// fails; elsewhere they say that they are not known.
//
// The session does not wait for w: 8 MiB of audio may wait, beside
// Config.MaxPendingBytes, and as much again of the next session. So a slow w is not
// a matter of p.CompleteTimeout, and Synthesize returns when all is written, after
// the end of the session if need be. When ctx ends, what waits is dropped; when the
// session fails, unless w takes it at once. A Write that does not return may then
// outlive the call, on a goroutine that ends with it.
func (c *Client) Synthesize(ctx context.Context, w io.Writer, p SynthesisParams) error {
	out := &output{w: w}
	var err error
	if out.header, err = ownHeader(&p.Format, p.SampleRate, &p.Extra); err != nil {
		return err
	}
	p.NoWait = false
	texts := []string{p.Text}
	if !p.unlimited() {
		if pieces := splitText(withoutBOM(p.Text), maxShortText); len(pieces) > 0 {
			texts = pieces
		}
	}
	for _, p.Text = range texts {
		if _, err := p.payload(); err != nil {
			return err
		}
	}
	speaking, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var next *speech
	for i := range texts {
		s := next
		if next = nil; s == nil {
			p.Text = texts[i]
			s = c.say(speaking, p)
		}
		select {
		case <-s.begun:
		case <-s.over:
		}
		last := i == len(texts)-1
		if !last && s.tts.Err() == nil {
			p.Text = texts[i+1]
			next = c.say(speaking, p)
		}
		go s.write(out, last)
		if err := s.finish(ctx, giveUp, ErrCompleteTimeout); err != nil {
			if giveUp(); next != nil {
				<-next.over
			}
			return err
		}
	}
	return nil
}

// say starts a session that speaks p.Text.
func (c *Client) say(ctx context.Context, p SynthesisParams) *speech {
	s := newSpeech(ctx)
	tts := c.NewSynthesizer(SynthesizerHandlers{OnData: s.hear})
	s.tts = tts
	go func() {
		defer close(s.over)
		s.err = errors.New("nls: Start ended its goroutine")
		s.err = tts.start(ctx, p, session.Params{Patient: true})
	}()
	return s
}

// SynthesizeStream speaks text as it comes and writes the audio to w as it comes:
// the loop of every voice assistant. The session starts before the first piece of
// text is asked for, and the audio of what has come is written while text is still
// to come. SynthesizeStream returns nil when all audio is written.
//
// Whatever fails first ends the session at once and is returned, with the task ID:
// the end of ctx, when somebody interrupts, as it is the error of
// [StreamSynthesizer.Stop]; an error that text yields; one of w. Pieces of text may
// be cut anywhere, in the middle of a character too; an error of SendText, as for
// text that is no UTF-8, counts as one that text yields. With p.EnableSSML the
// pieces are put together and sent at the end, since a document has to come whole.
// [StreamSynthesizer.SendText] says how long text may pause.
//
// FormatWAV and slow Writers are as in [Client.Synthesize]. Text is ranged over on
// another goroutine. One that does not yield, and a Write that does not return, may
// outlive the call; nothing is asked of them afterwards.
func (c *Client) SynthesizeStream(ctx context.Context, w io.Writer, text iter.Seq2[string, error], p StreamSynthesisParams) error {
	out := &output{w: w}
	var err error
	if out.header, err = ownHeader(&p.Format, p.SampleRate, &p.Extra); err != nil {
		return err
	}
	writing, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s := newSpeech(writing)
	tts := c.NewStreamSynthesizer(StreamSynthesizerHandlers{OnData: s.hear})
	s.tts = tts
	if err := tts.start(ctx, p, session.Params{Patient: true}); err != nil {
		return startError(tts, err)
	}
	go s.write(out, true)
	textErr := errors.New("nls: text ended its goroutine")
	told := make(chan struct{}) // textErr is set
	go func() {
		defer close(told)
		textErr = tell(writing, tts, text, p.EnableSSML)
	}()
	select {
	case <-told:
		if textErr != nil && ctx.Err() == nil && tts.Err() == nil { // else the session has the reason
			tts.Shutdown()
			<-tts.Done()
			s.err = &sessionError{tts.TaskID(), textErr}
		} else {
			s.err = tts.Stop(ctx)
		}
	case <-tts.Done():
		if s.err = tts.Err(); s.err == nil { // with text still to come
			s.err = &sessionError{tts.TaskID(), ErrCompleted}
		}
	case <-ctx.Done():
		s.err = tts.Stop(ctx)
	}
	close(s.over)
	err = s.finish(ctx, giveUp, ErrStopTimeout)
	giveUp()
	settled(told)
	return err
}

// maxDocument is more than fits a message, and what is kept of a document.
const maxDocument = 16 << 10

// tell sends text as it comes, or as a whole at its end. It ends with ctx or the
// session when the next piece comes.
func tell(ctx context.Context, tts *StreamSynthesizer, text iter.Seq2[string, error], whole bool) error {
	held := "" // what cannot be sent yet
	for piece, err := range text {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("nls: text: %w", err)
		}
		held += piece
		if whole {
			if len(held) > maxDocument {
				return &ParamError{"Text", nil, "an SSML document has to fit a message of 16 KiB"}
			}
			continue
		}
		n := wholeRunes(held)
		if err := tts.SendText(held[:n]); err != nil {
			return err
		}
		held = held[n:]
	}
	if ctx.Err() != nil {
		return nil
	}
	return tts.SendText(held)
}

// wholeRunes returns how much of s has no rune that is cut at its end.
func wholeRunes(s string) int {
	for i := len(s) - 1; i >= max(0, len(s)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(s[i]) && !utf8.FullRuneInString(s[i:]) {
			return i
		}
	}
	return len(s)
}

// speech is the audio of one session on its way to a Writer.
type speech struct {
	tts interface {
		Shutdown()
		Done() <-chan struct{}
		Err() error
		TaskID() string
	}
	audio *mailbox.Mailbox[[]byte]
	quit  context.Context // ends when nobody wants the audio any more
	begun chan struct{}   // closed when there is audio

	over chan struct{} // closed when no more audio comes; err is set
	err  error         // of the session

	written  chan struct{} // closed when nothing is left to write; writeErr is set
	writeErr error
}

func newSpeech(quit context.Context) *speech {
	s := &speech{quit: quit, begun: make(chan struct{}), over: make(chan struct{}), written: make(chan struct{})}
	s.audio = mailbox.New[[]byte](maxWaiting, quit.Done(), func() bool { return s.tts.Err() != nil })
	return s
}

// hear is the OnData of the session.
func (s *speech) hear(a AudioEvent) {
	s.audio.Put(a.Data, len(a.Data))
	select {
	case <-s.begun:
	default:
		close(s.begun)
	}
}

// write writes the audio, and completes out after the last speech or one that
// failed.
func (s *speech) write(out *output, last bool) {
	defer close(s.written)
	s.writeErr = errors.New("nls: a Write ended its goroutine")
	defer func() {
		if s.writeErr != nil {
			s.tts.Shutdown()
		}
	}()
	err := writeTo(out, s.audio, s.over)
	fine := false
	select {
	case <-s.over:
		fine = err == nil && s.err == nil && s.quit.Err() == nil
	default:
	}
	if !fine || last {
		if closeErr := out.complete(fine); err == nil {
			err = closeErr
		}
	}
	s.writeErr = err
}

// finish waits until the session has ended and its audio is written, and returns
// the error of either. When ctx ends, or soon after the session has failed, it
// gives up what is not written; timeout is what a deadline is called.
func (s *speech) finish(ctx context.Context, giveUp func(), timeout error) error {
	<-s.over
	err := s.err
	if errors.Is(err, ErrShutdown) { // which is the writer's doing
		err = nil
	}
	var enough <-chan time.Time
	if err != nil { // what came before the failure is w's, if w is quick
		enough = time.After(settleTime)
	}
	finished := false
	select {
	case <-s.written:
		finished = true
	case <-ctx.Done():
	case <-enough:
	}
	if !finished {
		giveUp()
		finished = settled(s.written)
	}
	settled(s.tts.Done()) // nobody waited for a callback that the mailbox has held
	switch {
	case err != nil:
		return err
	case finished && s.writeErr != nil:
		return &sessionError{s.tts.TaskID(), s.writeErr}
	case !finished || !s.audio.Empty(): // since ctx has ended
		return contextError(ctx, timeout, s.tts.TaskID())
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
		if _, err := write(w, data); err != nil {
			return fmt.Errorf("nls: write audio: %w", err)
		}
	}
}

// output is where audio goes, with a WAV header if there is to be one.
type output struct {
	w      io.Writer
	header *WAVFormat // nil for none
	wav    *WAVWriter // nil before the first audio, and without a header
}

func (o *output) Write(p []byte) (int, error) {
	if o.header == nil {
		return o.w.Write(p)
	}
	if err := o.begin(); err != nil {
		return 0, err
	}
	return o.wav.Write(p)
}

func (o *output) begin() (err error) {
	if o.wav == nil {
		o.wav, err = newWAVWriter(o.w, *o.header)
	}
	return err
}

// complete ends a WAV file. If all is fine there is one, even without audio.
func (o *output) complete(fine bool) error {
	if o.header == nil {
		return nil
	}
	if fine {
		if err := o.begin(); err != nil {
			return fmt.Errorf("nls: write audio: %w", err)
		}
	}
	if o.wav == nil {
		return nil
	}
	return o.wav.Close()
}

// ownHeader returns the header of the audio if it is to be WAV, and changes the
// parameters so that they ask for the PCM behind it: the sizes in the service's own
// are not right, and there would be one for each session.
func ownHeader(format *Format, sampleRate int, extra *map[string]any) (*WAVFormat, error) {
	asked, rate := any(*format), any(orDefault(sampleRate, DefaultSampleRate))
	override, overridden := (*extra)["format"]
	if overridden {
		asked = override
	}
	if fmt.Sprint(asked) != string(FormatWAV) {
		return nil, nil
	}
	if r, ok := (*extra)["sample_rate"]; ok {
		rate = r
	}
	hertz, err := strconv.Atoi(fmt.Sprint(rate))
	if err != nil {
		return nil, &ParamError{"Extra", rate, "is no sample rate for a WAV header"}
	}
	*format = FormatPCM
	if overridden {
		*extra = maps.Clone(*extra)
		delete(*extra, "format")
	}
	return &WAVFormat{SampleRate: hertz, Channels: 1, BitsPerSample: 16, DataSize: -1}, nil
}
