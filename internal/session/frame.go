package session

import (
	"crypto/rand"
	"errors"
	"net"
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
func (c *conn) write(opcode byte, data []byte, deadline time.Time) error {
	if c.closing.Load() && opcode != wsframe.Close {
		return errClosing
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	buf := frames.Get().(*[]byte)
	frame := wsframe.AppendMasked((*buf)[:0], wsframe.Fin|opcode, data, mask)
	_ = c.net.SetWriteDeadline(deadline) // an error shows in Write
	_, err := c.net.Write(frame)
	frames.Put(buf) // a frame that is longer has outgrown it
	if err != nil {
		c.torn.Store(true)
	}
	// Before the deadline it is the system's patience that has ended.
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && !deadline.IsZero() && !time.Now().Before(deadline) {
		return ErrWriteTimeout
	}
	return err
}
