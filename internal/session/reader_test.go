package session

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

func closeFrame(code int, reason string) []byte {
	return wsframe.Append(nil, 0x88, append(wsframe.AppendClose(nil, code), reason...))
}

func bigFrame(n int) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x82, 127}, uint64(n)), make([]byte, n)...)
}

// What the owner is told of the end of a connection, what the peer is, and what
// stays known of the peer's Close.
func TestHowAConnectionEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []byte // before the peer hangs up
		lost string
		told string
		code int // of farewell
		text string
	}{
		{"the end of the stream", nil, "lost:-1:unexpected EOF", "", -1, ""},
		{"the end after a message", wsframe.Append(nil, 0x81, []byte("hi")), "1:hi lost:-1:unexpected EOF", "", -1, ""},
		{"the end in a frame", []byte{0x81, 5, 'h'}, "lost:-1:unexpected EOF", "", -1, ""},
		{"a frame that breaks the protocol", []byte{0x83, 0}, "lost:1002:websocket: unknown opcode 3", "88:03ea@0s", -1, ""},
		{"the longest message", bigFrame(1 << 20), "2:" + strings.Repeat("\x00", 20) + " lost:-1:unexpected EOF", "", -1, ""},
		{"a longer message", bigFrame(1<<20 + 1)[:10], "lost:1009:websocket: message of more than 1048576 bytes", "88:03f1@0s", -1, ""},
		{"a Close", closeFrame(1000, ""), "lost:1000:", "88:03e8@0s", 1000, ""},
		{"a Close that says why", closeFrame(4001, "bye"), "lost:4001:bye", "88:0fa1@0s", 4001, "bye"},
		{"a Close without a code", []byte{0x88, 0}, "lost:1005:", "88:@0s", -1, ""},
		{"a Close of one byte", []byte{0x88, 1, 3}, "lost:1002:websocket: close code of one byte", "88:03ea@0s", -1, ""},
		{"a Close with a code that no frame has", closeFrame(1005, ""), "lost:1002:websocket: close code 1005", "88:03ea@0s", -1, ""},
		{"a message after a Close", append(closeFrame(1001, ""), 0x81, 0), "lost:1001:", "88:03e9@0s", 1001, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inLine(t, time.Second, func(t *testing.T, l *line) {
				l.listen()
				if code, text := l.reader.farewell(); code != -1 || text != "" {
					t.Errorf("farewell before: %d %q", code, text)
				}
				l.serve()
				_, _ = l.peer.Write(c.sent)
				synctest.Wait()
				_ = l.peer.Close()
				expect(t, l.owner, c.lost)
				<-l.reader.done
				if code, text := l.reader.farewell(); code != c.code || text != c.text {
					t.Errorf("farewell: %d %q", code, text)
				}
				l.abort()
				expect(t, l.told, strings.TrimSpace(c.told+" end@0s"))
			})
		})
	}
}

// A goodbye to a peer that broke the protocol is bounded, whatever WriteTimeout is.
func TestAnswersToTheEndAreBounded(t *testing.T) {
	for name, sent := range map[string][]byte{"close": closeFrame(1000, ""), "broken": {0x83, 0}} {
		inLine(t, time.Hour, func(t *testing.T, l *line) {
			l.serve()
			begin := time.Now()
			_, _ = l.peer.Write(sent) // and reads nothing
			<-l.reader.done
			if took := time.Since(begin); took != time.Second {
				t.Errorf("%s: the reader ended after %v", name, took)
			}
		})
	}
}

// reset is a connection that the network has broken.
type reset struct{ net.Conn }

func (reset) Read([]byte) (int, error) { return 0, syscall.ECONNRESET }

func TestAnErrorOfTheNetworkIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, time.Second, func(conn net.Conn) net.Conn { return reset{conn} })
		l.listen()
		l.serve()
		<-l.reader.done
		expect(t, l.owner, "lost:-1:connection reset by peer")
		expect(t, l.told, "")
	})
}

func TestTheReaderAnswersPingsAndNotesPongs(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.listen()
		l.serve()
		l.says(0x8a, "") // a connection without a clock
		l.startPings(newPinger(2*time.Second, time.Second))
		l.says(0x8a, "") // nobody asked
		l.says(0x89, "abc")
		expect(t, l.told, "8a:616263@0s")
		time.Sleep(2500 * time.Millisecond)
		l.says(0x8a, "")
		l.says(0x82, "more")
		expect(t, l.owner, "pong:500ms 2:more")
		l.close(0)
	})
}

// What owners tell the reader.
func TestWhatTheReaderDoesNext(t *testing.T) {
	t.Run("wait ends it", func(t *testing.T) {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			waits := 0
			l.hold = func() bool { waits++; return waits < 3 }
			l.serve()
			l.says(0x81, "a")
			l.says(0x89, "b")
			<-l.reader.done
			expect(t, l.owner, "1:a")
		})
	})
	t.Run("receive ends it", func(t *testing.T) {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.owner.take = func() (func(), bool) { return nil, false }
			l.serve()
			l.says(0x81, "a")
			<-l.reader.done
			expect(t, l.owner, "1:a")
		})
	})
	t.Run("receive ends it and has more to do", func(t *testing.T) {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.owner.take = func() (func(), bool) {
				return func() { l.note("ended:%v", isClosed(l.reader.done)) }, false
			}
			l.serve()
			l.says(0x81, "a")
			expect(t, l.owner, "1:a ended:true")
		})
	})
	t.Run("it goes on beside what receive has to do", func(t *testing.T) {
		inLine(t, time.Second, func(t *testing.T, l *line) {
			l.owner.take = func() (func(), bool) {
				return func() { time.Sleep(time.Second); l.now("then") }, true
			}
			l.serve()
			l.says(0x81, "a")
			l.says(0x81, "b")
			expect(t, l.owner, "1:a 1:b")
			time.Sleep(2 * time.Second)
			expect(t, l.owner, "1:a 1:b then@1s then@1s")
		})
	})
}

// What was read ahead of the first message is not lost.
func TestAConnectionBeginsWithWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		o := &owner{diary: newDiary()}
		sent := slices.Concat(wsframe.Append(nil, 0x81, []byte("one")), wsframe.Append(nil, 0x82, bytes.Repeat([]byte("2"), 1<<16)))
		c := newConn(near, near, sent[:len(sent)-1], time.Second)
		c.handTo(o)
		c.serve()
		_, _ = far.Write(sent[len(sent)-1:])
		expect(t, o, "1:one 2:"+strings.Repeat("2", 20))
		_ = far.Close()
		<-c.reader.done
		c.abort()
	})
}

// The clock says who is told: the owner at that time.
func TestAnotherOwnerIsTold(t *testing.T) {
	inLine(t, time.Second, func(t *testing.T, l *line) {
		l.listen()
		l.serve()
		l.startPings(newPinger(2*time.Second, time.Second))
		next := &owner{diary: newDiary()}
		l.handTo(next)
		l.says(0x81, "x")
		time.Sleep(5 * time.Second)
		expect(t, next, "1:x lost:nls: no pong from the service@3s")
		expect(t, l.owner, "")
		l.close(0)
	})
}
