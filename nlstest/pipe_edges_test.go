package nlstest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Errors are those of package net, and say where.
func TestPipeErrorsNameTheOperation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, _ := pipe()
		a.SetDeadline(time.Unix(1, 0))
		n, read := a.Read(make([]byte, 1))
		if n != 0 {
			t.Errorf("read %d bytes", n)
		}
		_, write := a.Write([]byte("x"))
		l := newPipeListener("127.0.0.1:1")
		if got := l.Addr(); got.Network() != "pipe" || got.String() != "127.0.0.1:1" {
			t.Errorf("the listener is at %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, canceled := l.dial(ctx)
		l.Close()
		_, accept := l.Accept()
		_, dial := l.dial(t.Context())
		for err, want := range map[error]string{
			read: "read pipe 127.0.0.1:1: i/o timeout", write: "write pipe 127.0.0.1:1: i/o timeout",
			accept: "accept pipe 127.0.0.1:1: use of closed network connection", dial: "dial pipe 127.0.0.1:1: connection refused", canceled: "dial pipe 127.0.0.1:1: context canceled",
		} {
			if _, ok := errors.AsType[*net.OpError](err); !ok || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

func TestPipeLosesNoByteToSmallReads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := pipe()
		for _, c := range "ab" {
			if n, err := a.Write([]byte{byte(c)}); n != 1 || err != nil {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
		}
		if n, err := b.Read(nil); n != 0 || err != nil { // at once
			t.Errorf("nothing is %d bytes, %v", n, err)
		}
		for _, want := range "ab" {
			p := make([]byte, 1)
			if n, err := b.Read(p); n != 1 || err != nil || p[0] != byte(want) {
				t.Errorf("read %q, %v", p[:n], err)
			}
		}
		if n, err := b.Read(nil); n != 0 || err != nil {
			t.Errorf("nothing of an empty pipe is %d bytes, %v", n, err)
		}
		if b.in.buf != nil {
			t.Error("an idle pipe holds a buffer")
		}
	})
}

// Nobody reads what has come to an end that is closed.
func TestPipeThatIsClosedHoldsNothing(t *testing.T) {
	for name, end := range map[string]func(*pipeConn) error{"close": (*pipeConn).Close, "reset": (*pipeConn).reset} {
		a, b := pipe()
		b.Write([]byte("abc"))
		if end(a); a.in.buf != nil {
			t.Errorf("%s: %q", name, a.in.buf)
		}
	}
}

// An end that is closed says so, whatever the other has done before.
func TestPipeClosedByBothEnds(t *testing.T) {
	for name, first := range map[string]func(*pipeConn) error{"close": (*pipeConn).Close, "reset": (*pipeConn).reset, "half": (*pipeConn).CloseWrite} {
		a, b := pipe()
		first(b)
		a.Close()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after %s: reads %v", name, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after %s: writes %v", name, err)
		}
	}
}

// The first deadline of all reaches a read and a write that wait already.
func TestPipeDeadlineSetWhileWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, _ := pipe()
		begin := time.Now()
		errs := make(chan error, 3)
		go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
		for range 2 { // the second waits for the first
			go func() { _, err := io.Writer(a).Write(make([]byte, pipeBuffer+1)); errs <- err }()
		}
		synctest.Wait()
		a.SetDeadline(begin.Add(time.Second))
		for range 3 {
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("after %v: %v", time.Since(begin), err)
			}
		}
	})
}

// A Write waits for another, though there is room.
func TestPipeTakesOneWriteAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, _ := pipe()
		a.out.writing <- struct{}{} // another Write
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
		<-a.out.writing
		a.SetWriteDeadline(time.Time{})
		if n, err := a.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
	})
}
