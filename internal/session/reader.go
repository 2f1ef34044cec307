package session

import (
	"errors"
	"io"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// readLimit is the longest message that is read. The service sends frames of at
// most 64 KiB (protocol §1.8).
const readLimit = 1 << 20

// receiver is who owns a connection. Its methods are called on the reader, but
// for lost, which any goroutine may call, and must not block but in wait.
type receiver interface {
	// wait returns when the next message may come; false ends the reader.
	wait(c *conn) bool
	// receive takes a message, whose data is lent until it returns. If then is
	// not nil it is run when the reader has gone on. If on is false the reader
	// ends.
	receive(c *conn, opcode byte, data []byte) (then func(), on bool)
	// lost is told that the connection has ended or cannot go on.
	lost(c *conn, err error)
	ponged(c *conn, rtt time.Duration)
}

// reader is the goroutine that reads a connection, and never runs user code.
type reader struct {
	conn   *conn
	frames *wsframe.Reader
	done   chan struct{} // closed when it has returned

	// The Close frame of the peer; -1 if it sent none. See farewell.
	code   int
	reason string
}

// read reads until the connection ends or its owner has enough.
func (r *reader) read() {
	c := r.conn
	for c.receiver().wait(c) {
		opcode, data, err := r.frames.Next()
		switch {
		case err != nil:
			r.failed(err)
		case opcode == wsframe.Ping:
			c.controls.pong(data)
			continue
		case opcode == wsframe.Pong:
			r.ponged()
			continue
		case opcode == wsframe.Close:
			r.closed(data)
		default:
			if opcode == wsframe.Text {
				growStack(0)
			}
			then, on := c.receiver().receive(c, opcode, data)
			if then != nil {
				// What receive and then do has grown the stack; a fresh
				// goroutine waits on 2 KiB and not on 8.
				if on {
					go r.read()
				} else {
					r.end()
				}
				then()
				return
			}
			if on {
				continue
			}
		}
		break
	}
	r.end()
}

// growStack grows the stack to the 8 KiB that decoding takes, while there is little on
// it to be moved; else it would grow twice, under the decoder.
//
//go:noinline
func growStack(i int) byte {
	var room [5 << 10]byte
	return room[i]
}

func (r *reader) end() {
	r.frames.Release()
	close(r.done)
}

func (r *reader) ponged() {
	if p := r.conn.pings.Load(); p != nil {
		if rtt, ok := p.pong(); ok {
			r.conn.receiver().ponged(r.conn, rtt)
		}
	}
}

// failed says how the connection ended, and tells a peer that broke the protocol.
func (r *reader) failed(err error) {
	lost := &CloseError{Code: -1, Err: err}
	if err == io.EOF {
		lost.Err = io.ErrUnexpectedEOF // it came before the task's end
	}
	if e, ok := errors.AsType[*wsframe.Error](err); ok {
		lost.Code = e.Code
		r.conn.writeClose(e.Code, closeTimeout)
	}
	r.conn.receiver().lost(r.conn, lost)
}

// closed answers the peer's Close.
func (r *reader) closed(data []byte) {
	code, reason, err := wsframe.ParseClose(data)
	if err != nil {
		r.failed(err)
		return
	}
	if code != wsframe.CloseNoStatus {
		r.code, r.reason = code, reason
	}
	r.conn.writeClose(code, closeTimeout)
	r.conn.receiver().lost(r.conn, &CloseError{Code: code, Reason: reason})
}

// farewell is the Close frame of the peer, if there was one: its code, else -1.
func (r *reader) farewell() (code int, reason string) {
	select {
	case <-r.done:
		return r.code, r.reason
	default:
		return -1, ""
	}
}
