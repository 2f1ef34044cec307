package nls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// AudioSender is the sending half of Recognizer and Transcriber.
type AudioSender interface {
	SendAudio(data []byte) error
}

// PumpOptions configures Pump. It has the pace of the audio:
//
// A file, whose Reads return at once, is sent as fast as it plays, times Speed,
// give or take half a second.
// A live source, whose Reads block until there is audio, sets the pace itself,
// also when its clock is faster than this one. What a stall of the source or of
// the network has held up is made up for by sending a quarter faster until
// nothing waits. Nothing is sent in bursts, which the service refuses.
type PumpOptions struct {
	// BytesPerSecond is the rate at which the audio plays. Zero means 32000,
	// 16-bit mono at DefaultSampleRate; in Recognize and Transcribe it means the
	// rate of the Params and, for compressed formats, 40000: 320 kbit/s, above
	// what such audio has, so that it is sent faster than it plays.
	BytesPerSecond int

	// ChunkSize in bytes, at most 16 MiB. Zero means 100 ms of audio, at most
	// 16 KiB.
	ChunkSize int

	// Speed is how much faster than it plays the audio may be sent. Zero means
	// 1, which is all that the service promises to take; negative means as
	// fast as the network allows.
	Speed float64
}

const (
	compressedRate = 40000 // bytes per second

	maxChunk     = 16 << 20
	defaultChunk = 16 << 10 // at most: SendAudio cuts what is longer
)

// check refuses options that Pump cannot follow.
func (o PumpOptions) check() error {
	switch {
	case o.BytesPerSecond < 0:
		return &ParamError{"BytesPerSecond", o.BytesPerSecond, "must not be negative"}
	case o.ChunkSize < 0 || o.ChunkSize > maxChunk:
		return &ParamError{"ChunkSize", o.ChunkSize, "must be from 0 to 16 MiB"}
	case math.IsNaN(o.Speed):
		return &ParamError{"Speed", o.Speed, "must be a number"}
	}
	return nil
}

// settleTime is how long a call that is over waits for a Read or Write that is
// under way. One that waits for nobody is done by then, and with it the call's
// use of what is the caller's.
const settleTime = 30 * time.Millisecond

// settled reports whether ch has something before settleTime is over.
func settled[T any](ch <-chan T) bool {
	select {
	case <-ch:
		return true
	case <-time.After(settleTime):
		return false
	}
}

// Pump reads src to EOF and sends it to dst in chunks of equal size, the last
// one excepted. It returns the bytes sent and the first error, nil at EOF and
// when the service completed the task by itself. An error of src, its own
// io.ErrUnexpectedEOF among them, is returned once what came before is sent. A
// hundred Reads in a row without data or error are io.ErrNoProgress. It allocates
// one buffer.
//
// The end of ctx ends Pump at once, unless SendAudio blocks, and so does the end
// of the session if dst is a Recognizer or Transcriber, or has their method Done.
// Neither can end a Read: one that does not return soon outlives Pump, on a
// goroutine that ends with it. It may consume data of src that nobody gets.
func Pump(ctx context.Context, dst AudioSender, src io.Reader, opts PumpOptions) (int64, error) {
	if err := opts.check(); err != nil {
		return 0, err
	}
	rate := orDefault(opts.BytesPerSecond, 2*DefaultSampleRate)
	buf := make([]byte, orDefault(opts.ChunkSize, min(max(rate/10&^1, 2), defaultChunk)))
	pace := newPacer(rate, orDefault(opts.Speed, 1))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a Read that outlives Pump is the last one
	p := pump{ctx: ctx, dst: dst}
	if session, ok := dst.(interface{ Done() <-chan struct{} }); ok {
		p.done = session.Done()
	}

	filled := make(chan chunk, 1)
	for sent := int64(0); ; {
		go fill(ctx, src, buf, filled)
		c, err := wait(&p, filled)
		if err != nil {
			settled(filled)
			return sent, completed(err)
		}
		if ctx.Err() != nil {
			return sent, session.ContextEnd(ctx, nil)
		}
		if c.n > 0 {
			if d := pace.next(c.n, time.Now()); d > 0 {
				if _, err := wait(&p, time.After(d)); err != nil {
					return sent, completed(err)
				}
			}
			if err := dst.SendAudio(buf[:c.n]); err != nil {
				return sent, completed(err)
			}
			sent += int64(c.n)
		}
		switch c.err {
		case nil:
		case io.EOF:
			return sent, nil
		default:
			return sent, fmt.Errorf("nls: read audio: %w", c.err)
		}
	}
}

// completed is err, or nil if err says that the service has completed the task.
func completed(err error) error {
	if errors.Is(err, ErrCompleted) {
		return nil
	}
	return err
}

// pump is what ends a Pump while it waits.
type pump struct {
	ctx  context.Context
	dst  AudioSender
	done <-chan struct{} // of the session; nil if dst is none
}

// wait receives from ch, unless ctx or the session ends.
func wait[T any](p *pump, ch <-chan T) (v T, err error) {
	for {
		select {
		case v = <-ch:
			return v, nil
		case <-p.ctx.Done():
			return v, session.ContextEnd(p.ctx, nil)
		case <-p.done:
			if err := p.dst.SendAudio(nil); err != nil { // the session's last word
				return v, err
			}
			p.done = nil // this Done means something else
		}
	}
}

// chunk is what fill has put into the buffer.
type chunk struct {
	n   int
	err error // io.EOF at the end of the source
}

// fill reads src until buf is full, src has ended or ctx has.
func fill(ctx context.Context, src io.Reader, buf []byte, filled chan<- chunk) {
	c := chunk{err: errors.New("a Read ended its goroutine")}
	defer func() { filled <- c }()
	n, r := 0, steadyReader{ctx, src}
	var err error
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	c = chunk{n, err}
}

// maxEmptyReads is how many Reads in a row may return nothing, as in bufio.
const maxEmptyReads = 100

// steadyReader is a Reader that can be trusted to make progress: it passes on what
// src returns, unless src breaks the rules of io.Reader or ctx has ended. A Read of
// it wants a byte at least.
type steadyReader struct {
	ctx context.Context
	src io.Reader
}

func (r steadyReader) Read(p []byte) (int, error) {
	for range maxEmptyReads {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := r.src.Read(p)
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("a Read returned %d of %d bytes", n, len(p))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

const (
	catchUp = 1.25 // how much faster than Speed audio is sent that is late

	// A source that keeps something back is held up for good by a schedule that is
	// not faster than its clock, and looks like a file. So now and then the schedule
	// is a bit faster, until it has gained what makes no difference to a file: after
	// gainAfter, and whenever the source seems to be live.
	gain      = 0.01
	gainMost  = 500 * time.Millisecond
	gainAfter = 10 * time.Second

	longestPause = math.MaxInt64 / 4 // 73 years
)

// pacer says when chunks are due.
type pacer struct {
	rate    float64       // bytes per second
	due     time.Time     // of the next chunk
	soonest time.Time     // the next chunk may go, however late it is
	gained  time.Duration // by the schedule; below zero while it must not yet
}

func newPacer(bytesPerSecond int, speed float64) *pacer {
	rate := float64(bytesPerSecond) * speed
	if speed < 0 {
		rate = math.Inf(1)
	}
	return &pacer{rate: rate, gained: time.Duration(-gain * float64(gainAfter))}
}

// next returns how long a chunk of n bytes has to wait that was read now. The
// caller then sends it.
func (p *pacer) next(n int, now time.Time) time.Duration {
	if p.due.IsZero() {
		p.due = now
	} else if !now.Before(p.soonest) { // it took about as long as it plays
		p.gained = 0
	}
	at := later(now, later(p.due, p.soonest))
	length := min(float64(n)/p.rate*float64(time.Second), longestPause)
	p.soonest = at.Add(time.Duration(length / catchUp))
	p.due = p.due.Add(time.Duration(length))
	if p.gained < gainMost {
		if p.gained += time.Duration(length * gain); p.gained > 0 {
			p.due = p.due.Add(-time.Duration(length * gain))
		}
	}
	return at.Sub(now)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
