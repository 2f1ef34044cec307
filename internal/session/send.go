package session

import (
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
)

// sendable returns the connection if the caller may send on it now.
func (t *task) sendable() (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.phase >= closing && t.cause != nil:
		return nil, t.cause
	case t.phase >= closing:
		return nil, ErrCompleted
	case t.phase == stopping:
		return nil, ErrStopping
	case !t.answered:
		return nil, ErrNotStarted
	}
	return t.link, nil
}

// lockSendable returns the connection with its write lock taken.
func (t *task) lockSendable() (*link, error) {
	l, err := t.sendable()
	if err != nil {
		return nil, err
	}
	if l.lock(t) {
		// Stop may have been sent while the lock was somebody else's.
		if _, err = t.sendable(); err == nil {
			return l, nil
		}
		l.unlock()
		return nil, err
	}
	_, err = t.sendable()
	return nil, err
}

func (t *task) sendBinary(data []byte) error {
	l, err := t.lockSendable()
	if err != nil {
		return err
	}
	for len(data) > 0 && err == nil {
		n := min(len(data), maxFrame)
		err = l.write(t, websocket.BinaryMessage, "", data[:n])
		data = data[n:]
	}
	l.unlock()
	if err != nil {
		return t.writeFailed(err)
	}
	return nil
}

func (t *task) sendDirectives(name string, context any, payloads []any) error {
	frames := make([][]byte, len(payloads))
	for i, payload := range payloads {
		frame, err := t.encode(name, payload, context)
		if err != nil {
			return err
		}
		if len(frame) > maxFrame {
			return &EncodeError{"the directive is longer than a frame of 16 KiB"}
		}
		frames[i] = frame
	}
	l, err := t.lockSendable()
	if err != nil {
		return err
	}
	for _, frame := range frames {
		if err = l.write(t, websocket.TextMessage, name, frame); err != nil {
			break
		}
	}
	l.unlock()
	if err != nil {
		return t.writeFailed(err)
	}
	return nil
}

func (t *task) encode(name string, payload, context any) ([]byte, error) {
	t.mu.Lock()
	id := t.id
	t.mu.Unlock()
	frame, err := wire.Marshal(wire.Directive{
		Header: wire.DirectiveHeader{
			AppKey: t.cfg.AppKey, MessageID: wire.NewID(), TaskID: id, Namespace: t.p.Namespace, Name: name,
		},
		Payload: payload,
		Context: context,
	})
	if err != nil {
		return nil, &EncodeError{err.Error()}
	}
	return frame, nil
}

// writeFailed ends the task after a failed write and returns the cause. The
// service often says why it hangs up, and the reader is about to see it, so the
// reader gets the first word.
func (t *task) writeFailed(err error) error {
	switch err {
	case ErrWriteTimeout:
		t.fail(err)
	case errClosing:
		<-t.over // the reader has seen why
	default:
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-t.over:
		case <-timer.C:
			t.fail(&CloseError{Code: -1, Err: err})
		}
	}
	_, err = t.sendable()
	return err
}
