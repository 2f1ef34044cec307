package nls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// This file is the way of a file into a request: how it is read, and for how long it
// may take.

// sizeOf is how much there is to read in r, if r can say so; zero if not.
func sizeOf(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Len() int }:
		return int64(r.Len())
	case io.Seeker:
		here, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0
		}
		end, err := r.Seek(0, io.SeekEnd)
		if _, back := r.Seek(here, io.SeekStart); err != nil || back != nil {
			return 0
		}
		return max(end-here, 0)
	}
	return 0
}

// watchdog ends a call that waits for too long.
type watchdog struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer // nil before the first bound
	stopped bool
}

// bound lets the call end with err after d, unless another bound takes its place. A d
// that is not positive is none.
func (w *watchdog) bound(d time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	if d > 0 && !w.stopped {
		w.timer = time.AfterFunc(d, func() { w.cancel(err) })
	}
}

// stop ends all bounds.
func (w *watchdog) stop() {
	w.bound(0, nil)
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
}

// fileBody is the body of a request with a file in it. What bounds a write is the
// time until the next Read.
type fileBody struct {
	file    *upload
	ctx     context.Context
	watch   *watchdog
	timeout time.Duration // of a write; negative means none
}

func (b *fileBody) Read(p []byte) (int, error) {
	b.watch.bound(0, nil)
	n, err := b.file.read(b.ctx, p)
	if err == nil {
		b.watch.bound(b.timeout, ErrWriteTimeout)
	}
	return n, err
}

func (b *fileBody) Close() error { return nil }

// pieceSize is how much of a file is in memory.
const pieceSize = 64 << 10

// upload is a file on its way. It reads src on goroutines of its own, so that a Read
// that does not return holds up nobody.
type upload struct {
	src  io.Reader
	size int64 // zero if it is not known
	from int64 // where a Seeker was

	turn    chan struct{} // held by who uses what follows
	buf     []byte
	filled  chan chunk
	filling bool   // a Read of src is under way
	next    []byte // of buf: what is to be handed out
	got     int64  // of src
	pieces  int    // that got came in
	err     error  // of src, io.EOF included
}

// openUpload looks at the first bytes of r, and puts into query what they say, as far
// as p does not.
func openUpload(ctx context.Context, r io.Reader, p *FileParams, query url.Values) (*upload, error) {
	u := &upload{src: r, size: sizeOf(r), turn: make(chan struct{}, 1), buf: make([]byte, pieceSize), filled: make(chan chunk, 1)}
	if s, ok := r.(io.Seeker); ok {
		u.from, _ = s.Seek(0, io.SeekCurrent)
	}
	_, err := u.read(ctx, nil)
	switch {
	case ctx.Err() != nil:
		u.settle()
		return nil, fileContextError(ctx)
	case len(u.next) > 0:
	case err == io.EOF:
		return nil, &ParamError{"audio", nil, "there is none, the source is empty"}
	default:
		return nil, u.failure()
	}
	head := u.next[:min(len(u.next), headSize)]
	format, sampleRate, err := formatOfFile(head)
	if !query.Has("format") {
		if err != nil {
			return nil, err
		}
		query.Set("format", string(format))
	}
	if !query.Has("sample_rate") {
		query.Set("sample_rate", strconv.Itoa(orDefault(sampleRate, DefaultSampleRate)))
	}
	return u, nil
}

// read is Read, unless ctx ends. Without p it makes sure that there is a next piece.
func (u *upload) read(ctx context.Context, p []byte) (int, error) {
	select {
	case u.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-u.turn }()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(u.next) == 0 && u.err == nil {
		if !u.filling {
			u.filling = true
			go fill(ctx, u.src, u.buf, u.filled)
		}
		select {
		case c := <-u.filled:
			u.take(c)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if len(u.next) == 0 {
		return 0, u.err
	}
	n := copy(p, u.next)
	u.next = u.next[n:]
	return n, nil
}

// take takes a piece of src.
func (u *upload) take(c chunk) {
	u.filling = false
	u.pieces++
	u.got += int64(c.n)
	u.next, u.err = u.buf[:c.n], c.err
	switch {
	case u.size > 0 && u.got >= u.size: // a file may grow meanwhile
		u.next = u.next[:int64(c.n)-(u.got-u.size)]
		u.err = io.EOF
	case u.size > 0 && u.err == io.EOF:
		u.err = io.ErrUnexpectedEOF
	case u.got > maxFlashFile:
		u.next, u.err = nil, &ParamError{"audio", nil, "is more than the 100 MB that the service takes; see SubmitFile"}
	}
}

// rewind goes back to the first byte, and reports whether it could. No Read of the
// upload may follow that began before.
func (u *upload) rewind(ctx context.Context) bool {
	if u == nil {
		return true
	}
	u.turn <- struct{}{}
	defer func() { <-u.turn }()
	if u.filling {
		select {
		case c := <-u.filled:
			u.take(c)
		case <-ctx.Done():
			return false
		}
	}
	if u.pieces == 1 && (u.err == nil || u.err == io.EOF) {
		u.next = u.buf[:u.got]
		if u.size > 0 {
			u.next = u.buf[:min(u.got, u.size)]
		}
		return true
	}
	s, ok := u.src.(io.Seeker)
	if !ok {
		return false
	}
	if _, err := s.Seek(u.from, io.SeekStart); err != nil {
		return false
	}
	u.next, u.err, u.got, u.pieces = nil, nil, 0, 0
	return true
}

// failure is the error of src, if it has failed. No read may be under way whose
// context has not ended.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	u.turn <- struct{}{}
	defer func() { <-u.turn }()
	if u.err == nil || u.err == io.EOF || errors.Is(u.err, context.Canceled) {
		return nil
	}
	if e, ok := errors.AsType[*ParamError](u.err); ok {
		return e
	}
	return fmt.Errorf("nls: read audio: %w", u.err)
}

// settle waits for a Read of src that is under way, if it ends soon.
func (u *upload) settle() {
	u.turn <- struct{}{}
	defer func() { <-u.turn }()
	if u.filling {
		settled(u.filled)
	}
}
