package session_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

// A session that Shutdown has ended gets no second token: whether it has ended is
// looked at when the first was refused.
func TestShutdownWhileATokenIsRefusedAsksForNoOther(t *testing.T) {
	for _, by := range []string{"refuse@handshake,code=403,text=no", "taskfailed@on-start,code=40000001,text=Meta:ACCESS_DENIED:The token 'x' is invalid!"} {
		for range 20 { // what dials runs beside Start
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, nlstest.Options{Fault: firstConnections(1, by)})
				var lookups atomic.Int32
				token := f.cfg.Token
				f.cfg.Token = func(ctx context.Context, who *session.Asker) (string, error) { lookups.Add(1); return token(ctx, who) }
				f.cfg.Invalidate = func(string) bool { f.s.Task().Shutdown(); return true }
				err := f.start()
				synctest.Wait()
				if !errors.Is(err, session.ErrShutdown) || lookups.Load() != 1 {
					t.Errorf("%s: Start = %v after %d lookups", by, err, lookups.Load())
				}
			})
		}
	}
}

// A connection that is open when Shutdown has just been called is closed, and
// nothing is written to it.
func TestAConnectionThatComesAfterShutdownIsNotUsed(t *testing.T) {
	for range 50 { // Start sees either of the two first
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, nlstest.Options{})
			var writes, closes atomic.Int32
			f.wrap(func(conn net.Conn) net.Conn { return &tally{conn, &writes, &closes} })
			hooks := noHooks()
			f.params.Begin = always(hooks)
			hooks.DialDone = func(session.Dial) { writes.Store(0); f.s.Task().Shutdown() }
			if err := f.start(); !errors.Is(err, session.ErrShutdown) {
				t.Errorf("Start = %v", err)
			}
			<-f.s.Task().Done()
			synctest.Wait()
			if writes.Load() != 0 || closes.Load() != 1 {
				t.Errorf("%d writes, closed %d times", writes.Load(), closes.Load())
			}
		})
	}
}

// tally is a connection that counts.
type tally struct {
	net.Conn
	writes, closes *atomic.Int32
}

func (c *tally) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }
func (c *tally) Close() error                { c.closes.Add(1); return c.Conn.Close() }
