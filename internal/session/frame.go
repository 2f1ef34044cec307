package session

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// maxFrame is the longest message that is sent, a first directive excepted.
// Nobody knows whether the gateway reassembles fragments (protocol §1.8), so each
// message is one frame.
const maxFrame = 16 << 10

// frames are the buffers in which frames are made.
var frames = sync.Pool{New: func() any {
	b := make([]byte, 0, wsframe.MaxHeader+maxFrame)
	return &b
}}

// write writes a message in one frame. The caller has the write lock. It returns
// ErrWriteTimeout if the deadline has passed, and errClosing if nothing may follow.
func (c *conn) write(opcode byte, data []byte, deadline time.Duration) error {
	if c.closing.Load() && opcode != wsframe.Close {
		return errClosing
	}
	var mask [4]byte
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32()) // ChaCha8, seeded by the system
	buf := frames.Get().(*[]byte)
	frame := wsframe.AppendMasked((*buf)[:0], wsframe.Fin|opcode, data, mask)
	err := c.socket.write(frame, deadline, c.writeTimeout/8)
	frames.Put(buf) // a frame that is longer has outgrown it
	if err != nil {
		c.torn.Store(true)
	}
	// Before the deadline it is the system's patience that has ended.
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && c.age() >= deadline {
		return ErrWriteTimeout
	}
	return err
}

// socket is what frames are written to. Setting a deadline costs a fifth of all that
// is ours in that, so on a socket of the system, which can go on after one has passed
// (TLS cannot), it is moved only when it is more than a slack too early.
type socket struct {
	net.Conn
	resumes bool
	opened  time.Time     // what deadlines are counted from
	by      time.Duration // the deadline that is set; zero before the first
}

func (s *socket) write(b []byte, deadline, slack time.Duration) error {
	if !s.resumes || s.by == 0 || deadline < s.by || deadline-s.by > slack {
		s.set(deadline)
	}
	n, err := s.Write(b)
	if err != nil && s.by != deadline && errors.Is(err, os.ErrDeadlineExceeded) {
		s.set(deadline)
		_, err = s.Write(b[n:])
	}
	return err
}

// set sets the deadline. An error shows in Write.
func (s *socket) set(deadline time.Duration) {
	s.by = deadline
	if deadline == noDeadline {
		_ = s.SetWriteDeadline(time.Time{})
		return
	}
	_ = s.SetWriteDeadline(s.opened.Add(deadline))
}
