package session

import (
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// SendBinary sends data in messages of at most maxFrame bytes. Others may send
// between them.
func (t *Task) SendBinary(data []byte) error {
	s, err := beginSend(t, false)
	for err == nil && len(data) > 0 {
		chunk := data[:min(len(data), maxFrame)]
		if err = s.before(wsframe.Binary, chunk); err == nil {
			err = s.conn.write(wsframe.Binary, chunk, s.deadline)
			s.after("", len(chunk), err)
		}
		if data = data[len(chunk):]; err == nil && len(data) > 0 {
			err = s.yield()
		}
	}
	return s.end(wsframe.Binary, err)
}

// Send sends directives of the same name, one for each payload, with no other
// message of the task between them.
func (t *Task) Send(name string, context any, payloads ...any) error {
	if t == nil {
		return ErrNotStarted
	}
	frames, err := encodeAll(t, name, context, payloads)
	if err != nil {
		return err
	}
	return sendText(t, false, name, frames...)
}

// encodeAll makes a directive of each payload, which has to fit a frame.
func encodeAll(t *Task, name string, context any, payloads []any) ([][]byte, error) {
	frames := make([][]byte, len(payloads))
	for i, payload := range payloads {
		frame, err := encode(t, name, payload, context)
		if err != nil {
			return nil, err
		}
		if len(frame) > maxFrame {
			return nil, &EncodeError{"the directive is longer than a frame of 16 KiB"}
		}
		frames[i] = frame
	}
	return frames, nil
}

func sendText(t *Task, stop bool, name string, frames ...[]byte) error {
	s, err := beginSend(t, stop)
	for i := 0; err == nil && i < len(frames); i++ {
		if err = s.before(wsframe.Text, frames[i]); err == nil {
			err = s.conn.write(wsframe.Text, frames[i], s.deadline)
			s.after(name, len(frames[i]), err)
		}
	}
	return s.end(wsframe.Text, err)
}

// sendStop sends the stop directive.
func sendStop(t *Task) {
	frame, err := encode(t, t.p.Stop, nil, t.p.Context)
	if err == nil {
		err = sendText(t, true, t.p.Stop, frame)
	}
	if err == nil && t.p.StopTimeout <= 0 {
		t.bounds.startFirst(bound{limit: t.p.IdleTimeout, silence: true, timeout: ErrStopTimeout})
	}
}

// sending is a call that sends, while it has the write lock.
type sending struct {
	t        *Task
	a        *attempt
	conn     *conn // nil if there is no lock
	stop     bool  // it sends the stop directive
	deadline time.Duration
	start    time.Time // of the message that is being written; zero without hooks
	written  []Message // the hooks are told when the lock has been given back, since they may send
	frames   []Frame   // as written, for the recording
	failed   error     // of the write
}

// beginSend takes the write lock if the caller may send.
func beginSend(t *Task, stop bool) (sending, error) {
	s := sending{t: t, stop: stop}
	if err := s.allowed(); err != nil {
		return s, err
	}
	if s.a = t.current.Load(); s.a == nil { // it has just ended
		return s, s.allowed()
	}
	s.deadline = s.a.conn.writeDeadline()
	return s, s.lock()
}

func (s *sending) lock() error {
	switch err := s.a.conn.lock(s.t.outcome.over, s.deadline); err {
	case nil:
		s.conn = s.a.conn
		return nil
	case errGone:
		return s.allowed()
	default:
		return writeFailed(s.t, err)
	}
}

// yield lets whoever waits for the lock have it first.
func (s *sending) yield() error {
	s.conn.unlock()
	s.conn = nil
	return s.lock()
}

// allowed returns nil if the phase allows s to send.
func (s *sending) allowed() error {
	switch {
	case s.t == nil:
		return ErrNotStarted
	case s.stop && s.t.outcome.phase() == stopping:
		return nil
	}
	return s.t.outcome.sendable()
}

// before says whether a message may be written: Stop may have been called while
// the lock was somebody else's, or since the last message.
func (s *sending) before(opcode byte, data []byte) error {
	if err := s.allowed(); err != nil {
		return err
	}
	if s.t.watch.tracing() {
		s.t.watch.frame(true, s.a.id, opcode, data, s.a.redact)
	}
	if s.t.cfg.Record != nil {
		s.frames = append(s.frames, s.t.recordFrame(s.a, true, opcode, data))
	}
	if s.t.watch.hooks != nil {
		s.start = time.Now()
	}
	return nil
}

// after notes what has come of a message.
func (s *sending) after(name string, size int, err error) {
	if s.failed = err; err == nil {
		s.t.stats.sent.Add(int64(size))
	}
	if s.t.watch.hooks != nil {
		s.written = append(s.written, Message{
			Namespace: s.t.p.Namespace, Name: name, TaskID: s.a.id, Size: size,
			Duration: time.Since(s.start), Pending: int(s.t.queue.waiting.Load()), Err: err,
		})
	}
}

// end gives the lock back and returns what callers see of err.
func (s *sending) end(opcode byte, err error) error {
	switch {
	case s.conn == nil:
	case s.failed == nil:
		s.conn.unlock()
	default: // in the middle of a frame, perhaps
		if s.failed == ErrWriteTimeout {
			s.t.fail(s.failed)
		}
		<-s.conn.writing
	}
	for _, f := range s.frames {
		s.t.record(s.a, f)
	}
	for _, m := range s.written {
		s.t.watch.wrote(opcode, m)
	}
	if s.failed != nil {
		return writeFailed(s.t, s.failed)
	}
	return err
}

// writeFailed ends the task after a failed write and returns the cause. The
// service often says why it hangs up, and the reader is about to see it, so the
// reader gets the first word.
func writeFailed(t *Task, err error) error {
	switch err {
	case ErrWriteTimeout:
		t.fail(err)
	case errClosing:
		<-t.outcome.over // the reader has seen why
	default:
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-t.outcome.over:
		case <-timer.C:
			t.fail(&CloseError{Code: -1, Err: err})
		}
	}
	return t.outcome.sendable()
}
