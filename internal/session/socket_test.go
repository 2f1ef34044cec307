package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/nlstest"
)

// Tests that need real sockets, or none of the gateway's allocations.

func blockingDial(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func newSocketFixture(t *testing.T, opts nlstest.Options) *fixture {
	f := newFixture(t, opts)
	f.server.Close()
	opts.Pipe = false
	f.server = nlstest.NewServer(opts)
	c := f.server.Config()
	f.params.URL, f.cfg.TLSConfig, f.cfg.NetDialContext = session.NewSecret(c.URL), c.TLSConfig, c.NetDialContext
	return f
}

// The best of a few attempts counts: a busy machine may keep any goroutine
// waiting, but tls.Conn.Close on a full socket takes 5 s every time.
func TestShutdownUnderTLSWithAFullSocketReturnsWithin50ms(t *testing.T) {
	best := time.Hour
	for range 5 {
		if best = min(best, shutdownOnFullSocket(t)); best <= 50*time.Millisecond {
			return
		}
	}
	t.Errorf("Shutdown and the end of the session took %v", best)
}

func shutdownOnFullSocket(t *testing.T) time.Duration {
	f := newSocketFixture(t, nlstest.Options{TLS: true, IdleTimeout: -1, Fault: fault("stopreading@after-start")})
	f.mustStart()
	var sends atomic.Int64
	call := goCall(func() error {
		for {
			if err := f.s.SendBinary(make([]byte, 16<<10)); err != nil {
				return err
			}
			sends.Add(1)
		}
	})
	// The socket is full when no send has returned for a while.
	for last := int64(-1); sends.Load() != last; time.Sleep(300 * time.Millisecond) {
		last = sends.Load()
	}
	begin := time.Now()
	f.s.Shutdown()
	<-f.s.Done()
	<-call.done
	took := time.Since(begin)
	if !errors.Is(call.err, session.ErrShutdown) {
		t.Errorf("the sender got %v", call.err)
	}
	return took
}

// sinkConn forwards until it is told to swallow what is written.
type sinkConn struct {
	net.Conn
	swallow atomic.Bool
}

func (c *sinkConn) Write(p []byte) (int, error) {
	if c.swallow.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestSendAudioAllocatesTwiceForAMessage(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumented code allocates")
	}
	f := newSocketFixture(t, nlstest.Options{IdleTimeout: -1})
	var conn *sinkConn
	f.cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		conn = &sinkConn{Conn: c}
		return conn, err
	}
	f.mustStart()
	conn.swallow.Store(true)
	for _, size := range []int{2, 640, 3200, 6400, 16 << 10, 100_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			chunk := make([]byte, size)
			messages := float64((size + 16<<10 - 1) / (16 << 10))
			got := testing.AllocsPerRun(1000, func() {
				if err := f.s.SendBinary(chunk); err != nil {
					t.Fatal(err)
				}
			})
			if got > 2*messages {
				t.Errorf("%v allocations for %v messages", got, messages)
			}
		})
	}
}

func BenchmarkSendBinary(b *testing.B) {
	for _, size := range []int{640, 3200, 6400} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			server := nlstest.NewServer(nlstest.Options{IdleTimeout: -1})
			defer server.Close()
			c := server.Config()
			f := &fixture{on: map[string]func(*session.Delivery){}}
			var s session.Session
			cfg := &session.Config{
				AppKey: c.AppKey, WriteTimeout: 10 * time.Second, MaxPending: 8 << 20, Log: discard,
				Token:   func(context.Context) (string, error) { return c.Token, nil },
				Explain: func(_ string, err error) error { return err },
			}
			if err := s.Start(b.Context(), cfg, session.Params{Spec: transcription, URL: session.NewSecret(c.URL), Payload: map[string]any{},
				StartTimeout: 10 * time.Second, StopTimeout: 10 * time.Second, Deliver: f.deliver}); err != nil {
				b.Fatal(err)
			}
			defer s.Shutdown()
			chunk := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.SendBinary(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
