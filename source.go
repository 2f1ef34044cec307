package nls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// This file finds out what audio Recognize and Transcribe were given.

// source is the audio of a call, and what its Params say of it.
type source struct {
	r          io.Reader
	format     Format
	sampleRate int
	pace       int // samples a second, for the PumpOptions; zero if not known
}

// open looks at the first bytes of the audio, unless the Params have a format that
// needs no look, and changes s to what is to be sent. It returns when ctx ends or
// timeout has passed, which is that of the Start that follows; a Read that does not
// return then outlives it.
func (s *source) open(ctx context.Context, extra map[string]any, timeout time.Duration) error {
	s.pace = s.sampleRate
	if _, ok := extra["format"]; ok || s.format != "" && s.format != FormatWAV {
		return nil
	}
	if ctx.Err() != nil {
		return contextError(ctx, ErrStartTimeout, "")
	}
	_, anyRate := extra["sample_rate"]
	seen, err := *s, errors.New("nls: a Read ended its goroutine")
	r, done := &abandonable{Reader: s.r}, make(chan struct{})
	seen.r = r
	go func() {
		defer close(done)
		err = seen.look(anyRate)
	}()
	var late <-chan time.Time
	if timeout = orDefault(timeout, DefaultStartTimeout); timeout > 0 {
		late = time.After(timeout)
	}
	select {
	case <-done:
		*s = seen
		return err
	case <-late:
		r.gone.Store(true)
		return fmt.Errorf("%w: no audio has come", ErrStartTimeout)
	case <-ctx.Done():
	}
	r.gone.Store(true)
	select { // a Read that ends with ctx is no longer under way when the call returns
	case <-done:
	case <-time.After(settleTime):
	}
	return contextError(ctx, ErrStartTimeout, "")
}

// look makes of a WAV file its samples, and refuses what the service cannot take,
// which has any sample rate if the caller says so. What it does not know is raw PCM.
// An error of the Reader is left to whoever reads on, but for those in a header.
func (s *source) look(anyRate bool) error {
	head, all, err := peek(s.r, 12)
	if len(head) == 0 && err == io.EOF {
		return &ParamError{"audio", nil, "there is none, the source is empty"}
	}
	if _, tagged := id3Size(head); s.format == "" && !tagged && !isRIFF(head) {
		s.r = all
		return s.lookAtRaw(head)
	}
	h, err := readWAVHeader(all)
	switch {
	case err != nil:
		return err
	case h.code != wavePCM || h.Channels != 1 || h.BitsPerSample != 16 || !anyRate && !slices.Contains(recognitionRates, h.SampleRate):
		return h.refusal("16-bit mono PCM of 8000 or 16000 Hz")
	case s.format == FormatWAV && s.sampleRate != 0 && s.sampleRate != h.SampleRate && !anyRate:
		return &ParamError{"SampleRate", s.sampleRate, fmt.Sprintf("the WAV file has %d Hz", h.SampleRate)}
	}
	if h.DataSize >= 0 {
		all = io.LimitReader(all, h.DataSize)
	}
	if head, all, err = peek(all, 1); len(head) == 0 && err == io.EOF {
		return &ParamError{"audio", nil, "a WAV file without samples"}
	}
	if s.r = all; s.format == FormatWAV {
		// The service refuses large headers and what is no plain RIFF.
		if h.DataSize > maxDataSize {
			h.DataSize = -1
		}
		s.r = io.MultiReader(bytes.NewReader(h.header()), all)
	}
	if s.pace = h.SampleRate; !anyRate {
		s.sampleRate = h.SampleRate
	}
	return nil
}

// lookAtRaw refuses files of another kind, which would be recognised as noise.
func (s *source) lookAtRaw(head []byte) error {
	if err := kindOf(head); err != nil {
		return err
	}
	// Raw PCM may look like the header of a frame of MP3 or AAC, but hardly like two
	// of them at the right distance.
	size, format := mpegFrame(head)
	if size == 0 {
		return nil
	}
	head, s.r, _ = peek(s.r, size+6)
	if len(head) < size {
		return nil
	}
	if _, again := mpegFrame(head[size:]); again == format {
		return notWAV(head, false)
	}
	return nil
}

// peek reads the first n bytes of r, or fewer and the error that came instead, and
// returns a Reader of all of them.
func peek(r io.Reader, n int) (head []byte, all io.Reader, err error) {
	head = make([]byte, n)
	n = 0
	for n < len(head) && err == nil {
		var m int
		m, err = steadyReader{context.Background(), r}.Read(head[n:])
		n += m
	}
	head = head[:n]
	if err != nil {
		r = failed{err}
	}
	return head, io.MultiReader(bytes.NewReader(head), r), err
}

// abandonable is a Reader that is not read any more once nobody waits for it.
type abandonable struct {
	io.Reader
	gone atomic.Bool // whoever waited
}

func (a *abandonable) Read(p []byte) (int, error) {
	if a.gone.Load() {
		return 0, errors.New("nobody waits for the audio")
	}
	return a.Reader.Read(p)
}

// failed is a Reader that has come to an error.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
