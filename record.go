package nls

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/recording"
	"github.com/nlsgo/nls/internal/session"
)

const (
	// maxRecordQueue bounds the lines that wait for Config.Record, in bytes: a minute
	// of recorded audio. Sessions wait while there are more.
	maxRecordQueue = 4 << 20

	// maxRecordWait is how long a session waits for Config.Record. A recording that
	// takes longer has ended.
	maxRecordWait = 10 * time.Second
)

var errRecordStuck = errors.New("Config.Record did not return in time")

// recorder writes Config.Record, on a goroutine of its own while there is something
// to write, since a disk may hang and a session must not.
type recorder struct {
	w     io.Writer
	audio bool
	log   *slog.Logger

	mu      sync.Mutex
	lines   [][]byte      // to be written
	size    int           // of those, and of the one that is being written
	running bool          // there is a goroutine that writes
	over    bool          // a Write has failed: there is no more
	moved   chan struct{} // closed and replaced when size falls or over is set
}

// newRecorder is the recorder of cfg, nil if there is none.
func newRecorder(cfg Config, log *slog.Logger) func(session.Frame) {
	if cfg.Record == nil {
		return nil
	}
	r := &recorder{w: cfg.Record, audio: cfg.RecordAudio, log: log, moved: make(chan struct{})}
	return r.record
}

// record takes a frame. After the last one of a session it waits until all that the
// session has recorded is written.
func (r *recorder) record(f session.Frame) {
	l := recording.Line{TaskID: f.TaskID, Seq: f.Seq, Time: f.Time, Kind: recording.Receive}
	switch {
	case f.End:
		l.Kind = recording.End
		if f.Err != nil {
			l.Error = f.Err.Error()
		}
		if e, ok := errors.AsType[*CloseError](f.Err); ok {
			l.Lost, l.Code = true, e.Code
		}
	case f.Sent:
		l.Kind = recording.Send
		fallthrough
	default:
		l.Message(f.Binary, f.Data, r.audio && !f.Secret)
	}
	line, err := l.Append(nil)
	if err != nil {
		r.end(err)
		return
	}
	if !r.wait(maxRecordQueue) {
		return
	}
	r.mu.Lock()
	r.lines = append(r.lines, line)
	r.size += len(line)
	if !r.running {
		r.running = true
		go r.write()
	}
	r.mu.Unlock()
	if f.End {
		r.wait(1)
	}
}

// wait waits until less than size bytes wait to be written. It reports false if the
// recording is over.
func (r *recorder) wait(size int) bool {
	var late <-chan time.Time
	for {
		r.mu.Lock()
		over, ready, moved := r.over, r.size < size, r.moved
		r.mu.Unlock()
		if over || ready {
			return !over
		}
		if late == nil {
			late = time.After(maxRecordWait)
		}
		select {
		case <-moved:
		case <-late:
			r.end(errRecordStuck)
			return false
		}
	}
}

// write writes lines until there are none.
func (r *recorder) write() {
	err := errors.New("Config.Record has exited") // as t.FailNow does
	defer func() {
		if err != nil {
			r.end(err)
		}
	}()
	for {
		r.mu.Lock()
		if len(r.lines) == 0 || r.over {
			r.running, err = false, nil
			r.mu.Unlock()
			return
		}
		line := r.lines[0]
		r.lines = r.lines[1:]
		r.mu.Unlock()
		if _, werr := r.w.Write(line); werr != nil {
			err = werr
			return
		}
		r.mu.Lock()
		r.size -= len(line)
		r.wake()
		r.mu.Unlock()
	}
}

// end ends the recording because of err.
func (r *recorder) end(err error) {
	r.mu.Lock()
	over := r.over
	r.over, r.lines = true, nil
	r.wake()
	r.mu.Unlock()
	if !over {
		r.log.Warn("nls: recording has ended", "err", err)
	}
}

// wake wakes who waits. It is called with the lock.
func (r *recorder) wake() {
	close(r.moved)
	r.moved = make(chan struct{})
}
