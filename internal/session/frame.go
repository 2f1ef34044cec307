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

// writeFrame writes a message in one frame. It returns ErrWriteTimeout if the
// deadline has passed.
func (l *link) writeFrame(messageType int, data []byte, deadline time.Time) error {
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	buf := frames.Get().(*[]byte)
	frame := wsframe.AppendMasked((*buf)[:0], wsframe.Fin|byte(messageType), data, mask)
	conn := l.conn.NetConn()
	_ = conn.SetWriteDeadline(deadline) // an error shows in Write
	_, err := conn.Write(frame)
	frames.Put(buf) // a frame that is longer has outgrown it
	// Before the deadline it is the system's patience that has ended, or that of
	// gorilla, which says Close to a peer that broke the protocol.
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && !deadline.IsZero() && !time.Now().Before(deadline) {
		return ErrWriteTimeout
	}
	return err
}
