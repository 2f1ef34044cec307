package nls

import (
	"context"

	"github.com/nlsgo/nls/internal/session"
)

// object is what all session objects are made of.
type object struct {
	client *client // nil in a zero value, which has never been started
	core   session.Session
	audio  bool // it takes audio
}

// Session is one session of an object: of one Start. Its methods mean that session
// and no other, also when the object has started again; those of the objects mean
// the current session or the last one. All are safe for concurrent use.
type Session struct {
	task  *session.Task
	audio bool // SendAudio is legal
}

// session is the current session or the last one; of an object that was never
// started, one that nobody started.
func (o *object) session() Session { return Session{o.core.Task(), o.audio} }

// handle is what the method Session of an object returns.
func (o *object) handle() *Session {
	s := o.session()
	if s.task == nil {
		return nil
	}
	return &s
}

// SendAudio sends audio. See [Recognizer.SendAudio]; of a CommonProto it is
// SendBinary. A synthesis takes none, which is a *ParamError.
func (s Session) SendAudio(data []byte) error {
	if !s.audio && s.task != nil {
		return &ParamError{"SendAudio", nil, "a synthesis takes no audio"}
	}
	return s.task.SendBinary(data)
}

// Stop ends the input and waits for the end of the session. See
// [Recognizer.Stop]. Where there is no input to end, in a Synthesizer and a
// CommonProto, it waits only.
func (s Session) Stop(ctx context.Context) error { return s.task.Stop(ctx) }

// Wait waits for the end of the session, or of ctx. See [Synthesizer.Wait].
func (s Session) Wait(ctx context.Context) error { return s.task.Wait(ctx) }

// Bind ties the session to ctx until stop is called, which reports as that of
// context.AfterFunc does: the end of ctx ends the session as it would end a Stop. The
// error, which OnError and everybody else gets, is ctx's: it matches context.Canceled
// or context.DeadlineExceeded (and ErrStopTimeout, where there is a Stop), and
// context.Cause(ctx). With the same context in Start, Bind and Stop it does so whenever
// ctx ends, in whichever of them. A ctx that has ended ends the session at once.
func (s Session) Bind(ctx context.Context) (stop func() bool) { return s.task.Bind(ctx) }

// Shutdown drops the session. See [Recognizer.Shutdown].
func (s Session) Shutdown() { s.task.Shutdown() }

// Done is closed when the last callback of the session has returned.
func (s Session) Done() <-chan struct{} { return s.task.Done() }

// Err says why the session ended; nil while it runs and when it completed.
func (s Session) Err() error { return s.task.Err() }

// TaskID returns the ID of the session.
func (s Session) TaskID() string { return s.task.TaskID() }
