package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

// What writers do to each other: callers that send, the answers to the peer's
// pings and Close, the goodbye.

// audio is a chunk of n messages of b.
func audio(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n*16<<10) }

// A long chunk holds up no other sender: messages take turns. The directives of
// one call are one text, and stay together.
func TestWhoSendsBetweenTheMessagesOfACall(t *testing.T) {
	for _, c := range []struct {
		name     string
		send     func(f *fixture, b byte) error
		together bool
	}{
		{"SendBinary", func(f *fixture, b byte) error { return f.s.Task().SendBinary(audio(4, b)) }, false},
		{"Send", func(f *fixture, b byte) error {
			return f.s.Task().Send("RunSynthesis", nil, map[string]any{"n": b}, map[string]any{"n": b}, map[string]any{"n": b}, map[string]any{"n": b})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *peer
				f := newScriptedFixture(t, func(c *peer) {
					p = c
					p.pause()
					p.event("TranscriptionStarted", 20000000, "")
					<-p.gone
				})
				f.mustStart()
				var senders sync.WaitGroup
				for b := range byte(8) {
					senders.Go(func() {
						if err := c.send(f, b); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait() // each waits for its turn
				p.resume()
				senders.Wait()
				synctest.Wait()
				f.s.Task().Shutdown()
				<-f.s.Task().Done()
				synctest.Wait()
				got := p.sent()
				if len(got) != 32 {
					t.Fatalf("%d messages", len(got))
				}
				mixed := 0
				for chunk := range slices.Chunk(got, 4) {
					if slices.ContainsFunc(chunk, func(m string) bool { return m != chunk[0] }) {
						mixed++
					}
				}
				if c.together && mixed > 0 || !c.together && mixed < 6 {
					t.Errorf("%d of 8 calls were interrupted: %q", mixed, got)
				}
			})
		})
	}
}

// pensive is a connection of a client that takes a second to go on after Close.
type pensive struct{ net.Conn }

func (c pensive) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if b[0] == 0x88 {
		time.Sleep(time.Second)
	}
	return n, err
}

func TestALongChunkEndsWithTheTask(t *testing.T) {
	for end, want := range map[string]struct {
		last string // what the peer gets last
		err  error
	}{
		"TranscriptionCompleted": {"88 03e8", session.ErrCompleted},
		"close":                  {"88 03e9", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var p *peer
			f := newScriptedFixture(t, func(c *peer) {
				p = c
				p.pause()
				p.event("TranscriptionStarted", 20000000, "")
				p.sleep(time.Second)
				if end == "close" {
					p.frame(0x88, []byte("\x03\xe9"))
				} else {
					p.event(end, 20000000, "")
				}
				p.sleep(time.Second / 2)
				p.resume()
				<-p.gone
			})
			f.wrap(func(conn net.Conn) net.Conn { return pensive{conn} })
			f.mustStart()
			err := f.s.Task().SendBinary(audio(64, 1))
			if e, ok := errors.AsType[*session.CloseError](err); want.err != nil && err != want.err || want.err == nil && (!ok || e.Code != 1001) {
				t.Errorf("%s: SendBinary = %v", end, err)
			}
			<-f.s.Task().Done()
			synctest.Wait()
			got := p.sent()
			if n := len(got); n == 0 || n > 5 || got[n-1] != want.last {
				t.Errorf("%s: the client sent %d messages, last %q", end, n, got[max(0, n-3):])
			}
		})
	}
}

// A sender is blocked, and its write has a deadline. Whoever else writes must not
// move it.
func TestAnswersDoNotMoveTheDeadlineOfABlockedSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			p.event("TranscriptionStarted", 20000000, "")
			p.pause()
			p.sleep(5 * time.Second)
			p.frame(0x89, nil)
			<-p.gone
		})
		f.mustStart()
		begin := time.Now()
		var err error
		for err == nil {
			err = f.s.Task().SendBinary(audio(1, 1))
		}
		if took := time.Since(begin); err != session.ErrWriteTimeout || took != 10*time.Second {
			t.Errorf("SendBinary = %v after %v", err, took)
		}
	})
}

func TestABrokenFrameIsNoWriteTimeoutOfABlockedSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedFixture(t, func(p *peer) {
			p.event("TranscriptionStarted", 20000000, "")
			p.pause()
			p.sleep(5 * time.Second)
			p.frame(0x83, nil) // a reserved opcode
			<-p.gone
		})
		f.mustStart()
		var err error
		for err == nil {
			err = f.s.Task().SendBinary(audio(1, 1))
		}
		if e, ok := errors.AsType[*session.CloseError](err); !ok || e.Code != 1002 || f.s.Task().Err() != err {
			t.Errorf("SendBinary = %v, Err = %v", err, f.s.Task().Err())
		}
	})
}

func TestPingsOfThePeerAreAnsweredBetweenMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *peer
		f := newScriptedFixture(t, func(c *peer) {
			p = c
			p.event("TranscriptionStarted", 20000000, "")
			for i := range 5 {
				p.frame(0x89, fmt.Append(nil, i))
				p.sleep(time.Second)
			}
			p.event("TranscriptionCompleted", 20000000, "")
			<-p.gone
		})
		f.mustStart()
		var err error
		for err == nil {
			err = f.s.Task().SendBinary(audio(1, 1))
			time.Sleep(100 * time.Millisecond)
		}
		<-f.s.Task().Done()
		synctest.Wait()
		pongs := slices.DeleteFunc(p.sent(), func(m string) bool { return !strings.HasPrefix(m, "8a") })
		if want := []string{"8a 30", "8a 31", "8a 32", "8a 33", "8a 34"}; !slices.Equal(pongs, want) {
			t.Errorf("pongs %q", pongs)
		}
	})
}

// masks is a connection that notes the masks of the audio that is written.
type masks struct {
	net.Conn
	seen map[[4]byte]bool
}

func (c masks) Write(b []byte) (int, error) {
	if b[0] == 0x82 {
		c.seen[[4]byte(b[2:])] = true
	}
	return c.Conn.Write(b)
}

func TestEachMessageHasAMaskOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nlstest.Options{})
		seen := map[[4]byte]bool{}
		f.wrap(func(conn net.Conn) net.Conn { return masks{conn, seen} })
		f.mustStart()
		for range 100 {
			if err := f.s.Task().SendBinary(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		if len(seen) < 99 {
			t.Errorf("%d masks in 100 messages", len(seen))
		}
	})
}
