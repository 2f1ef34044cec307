package nls

import (
	"errors"
	"io"
	"log/slog"

	"github.com/nlsgo/nls/internal/recording"
	"github.com/nlsgo/nls/internal/session"
)

// recorder writes Config.Record.
type recorder struct {
	w     io.Writer
	audio bool
	log   *slog.Logger

	// writing is a lock held over the Write of the user, and so a channel. It
	// has true, and false once a Write has failed.
	writing chan bool
}

// newRecorder is the recorder of cfg, nil if there is none.
func newRecorder(cfg Config, log *slog.Logger) func(session.Frame) {
	if cfg.Record == nil {
		return nil
	}
	r := &recorder{w: cfg.Record, audio: cfg.RecordAudio, log: log, writing: make(chan bool, 1)}
	r.writing <- true
	return r.record
}

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
	good := <-r.writing
	defer func() { r.writing <- good }() // also if Write panics
	if err == nil && good {
		_, err = r.w.Write(line)
	}
	if err != nil {
		good = false
		r.log.Warn("nls: recording has ended", "err", err)
	}
}
