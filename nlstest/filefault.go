package nlstest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/nlsgo/nls/internal/wire"
)

// fileRequest is a request to a service for recorded files, and the fault of its
// connection. The points that it has are handshake, before anything is read of the
// body; during-audio, while it comes; and on-stop, when the answer is due. An action
// without a meaning there, such as fragmented, does nothing.
type fileRequest struct {
	w      http.ResponseWriter
	r      *http.Request
	link   *link
	fault  *Fault
	failed func(*failure) (status int, answer any) // is the answer to a failure

	pieces int  // of the body that have come
	over   bool // the fault has answered, or will not let anybody answer
}

// begin lets a fault happen instead of the answer. It reports whether there will be
// one.
func (c *fileRequest) begin() bool {
	f := c.fault
	if f == nil || f.At != AtHandshake {
		return true
	}
	if f.Do == Trickle {
		return true // of the answer
	}
	return f.handshake(c.w, c.r, c.link) != nil
}

// faultyBody is the body of a request, with the fault that happens while it comes.
type faultyBody struct {
	call *fileRequest
	body io.Reader
}

func (b *faultyBody) Read(p []byte) (int, error) {
	c := b.call
	n, err := b.body.Read(p)
	if c.pieces++; n > 0 && c.fault != nil && c.fault.At == DuringAudio && c.pieces == c.fault.After+1 {
		switch f := c.fault; f.Do {
		case TaskFailed:
			c.write(c.failed(f.failure()))
			c.over = true
		case Delay:
			c.link.sleep(orDefault(f.Delay, time.Second))
		case StopReading:
			(&Fault{Do: HalfOpen}).handshake(c.w, c.r, c.link)
			c.over = true
		case Hang, HalfOpen, Reset, EOF:
			f.handshake(c.w, c.r, c.link)
			c.over = true
		}
		if c.over {
			return 0, io.ErrClosedPipe
		}
	}
	return n, err
}

// failure is what TaskFailed fails with.
func (f *Fault) failure() *failure {
	code := orDefault(f.Code, errServer.status)
	text := f.Text
	if text == "" {
		text = orDefault(fileTexts[code], errServer.text)
	}
	return &failure{code, text}
}

// fail answers with a failure.
func (c *fileRequest) fail(f *failure) { c.answer(c.failed(f)) }

// answer answers with the JSON of v, unless a fault makes something else of it.
func (c *fileRequest) answer(status int, v any) {
	f := c.fault
	switch {
	case f == nil || f.At != OnStop && (f.At != AtHandshake || f.Do != Trickle):
	case f.Do == TaskFailed:
		status, v = c.failed(f.failure())
	case f.Do == Delay:
		if !c.link.sleep(orDefault(f.Delay, time.Second)) {
			return
		}
	case oneOf(f.Do, Hang, HalfOpen, Reset, EOF):
		f.handshake(c.w, c.r, c.link)
		return
	case f.Do == StopReading: // there is nothing more to read
	case f.Do == Trickle || f.Do == Truncated:
		body, _ := wire.Marshal(v)
		c.cut(status, body)
		return
	default:
		if body := f.otherAnswer(); body != nil {
			refuse(c.w, http.StatusOK, "application/json", string(body))
			return
		}
	}
	c.write(status, v)
}

func (c *fileRequest) write(status int, v any) {
	body, _ := wire.Marshal(v)
	refuse(c.w, status, "application/json;charset=utf-8", string(body))
}

// otherAnswer is what a fault says in the place of the answer; nil for nothing.
func (f *Fault) otherAnswer() []byte {
	switch f.Do {
	case NotJSON:
		return []byte("this is not JSON")
	case JSONArray:
		return []byte("[1,2,3]")
	case EmptyText:
		return []byte{}
	case NoHeader:
		return []byte("{}")
	case NullPayload:
		return []byte(`{"task_id":"` + noTask + `","status":20000000,"message":"SUCCESS","flash_result":null,"TaskId":"` + noTask + `","StatusCode":21050000,"StatusText":"SUCCESS","Result":null}`)
	case WrongTypes:
		return []byte(`{"task_id":5,"status":"20000000","message":{},"flash_result":{"duration":"x","sentences":[1,{"text":7,"begin_time":{}}]},"TaskId":5,"StatusCode":"21050000","StatusText":[],"Result":{"Sentences":{},"Words":"x"}}`)
	case HugeText:
		return bytes.Repeat([]byte{' '}, orDefault(f.Code, 1)<<20)
	}
	return nil
}

// cut writes an answer byte by byte, or half of it and the end.
func (c *fileRequest) cut(status int, body []byte) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return
	}
	defer c.link.Close()
	head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nServer: Tengine\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
		status, http.StatusText(status), len(body))
	if c.fault.Do == Truncated {
		_, _ = conn.Write(append(head, body[:len(body)/2]...))
		conn.Close()
		return
	}
	slow := &trickleConn{Conn: conn, link: c.link, delay: orDefault(c.fault.Delay, time.Second)}
	_, _ = slow.Write(append(head, body...))
	conn.Close()
}
