package suite

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// swallowed is a connection over a network that can die: then it takes what is
// written, as a system does that has room for it, and nothing comes any more.
type swallowed struct {
	net.Conn
	dead *atomic.Bool
	gone chan struct{}
	once sync.Once
}

func (c *swallowed) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *swallowed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.dead.Load() && err == nil {
		<-c.gone
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *swallowed) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

func TestADeadNetworkIsNoticedWithinTwentySeconds(t *testing.T) {
	t.Parallel()
	type input struct {
		start func(ctx context.Context, c *nls.Client) (done <-chan struct{}, err func() error, send func() error)
	}
	second := make([]byte, 3200)
	inputs := map[string]input{
		"Recognizer": {func(ctx context.Context, c *nls.Client) (<-chan struct{}, func() error, func() error) {
			r := c.NewRecognizer(nls.RecognizerHandlers{})
			if err := r.Start(ctx, nls.RecognitionParams{}); err != nil {
				t.Error(err)
			}
			return r.Done(), r.Err, func() error { return r.SendAudio(second) }
		}},
		"Transcriber": {func(ctx context.Context, c *nls.Client) (<-chan struct{}, func() error, func() error) {
			r := c.NewTranscriber(nls.TranscriberHandlers{})
			if err := r.Start(ctx, nls.TranscriptionParams{}); err != nil {
				t.Error(err)
			}
			return r.Done(), r.Err, func() error { return r.SendAudio(second) }
		}},
		"StreamSynthesizer": {func(ctx context.Context, c *nls.Client) (<-chan struct{}, func() error, func() error) {
			s := c.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{})
			if err := s.Start(ctx, nls.StreamSynthesisParams{}); err != nil {
				t.Error(err)
			}
			return s.Done(), s.Err, func() error { return s.SendText("好") }
		}},
	}
	for name, in := range inputs {
		for _, alive := range []time.Duration{9, 16, 29, 30} { // seconds; the pings are at 8, 16, 24
			t.Run(name, func(t *testing.T) {
				inBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
					var dead atomic.Bool
					var network *swallowed
					client := clientOf(t, server, func(cfg *nls.Config) {
						dial := cfg.NetDialContext
						cfg.NetDialContext = func(ctx context.Context, proto, addr string) (net.Conn, error) {
							c, err := dial(ctx, proto, addr)
							network = &swallowed{Conn: c, dead: &dead, gone: make(chan struct{})}
							return network, err
						}
					})
					done, ended, send := in.start(t.Context(), client)
					begin := time.Now()
					for ended() == nil && time.Since(begin) < time.Minute {
						_ = send() // ended says how it went
						time.Sleep(100 * time.Millisecond)
						if time.Since(begin) >= alive*time.Second && !dead.Swap(true) {
							begin = time.Now().Add(-alive * time.Second)
						}
					}
					took := time.Since(begin) - alive*time.Second
					if ended() == nil {
						network.Close() // or it would never be
					}
					<-done
					if err := ended(); !errors.Is(err, nls.ErrPingTimeout) || took > 20*time.Second || !nls.Retryable(err) {
						t.Errorf("dead after %d s: noticed %v later with %v; DefaultPingInterval is %v", alive, took, err, nls.DefaultPingInterval)
					}
				})
			})
		}
	}
}

// What the system takes for a peer that does not read is seconds of audio.
func TestTheSystemKeepsSecondsOfAudioAndNotMinutes(t *testing.T) {
	effort.Thorough(t)
	server := nlstest.NewServer(nlstest.Options{Fault: faultAlways("stopreading@after-start")})
	defer server.Close()
	client := clientOf(t, server, func(cfg *nls.Config) { cfg.WriteTimeout = 300 * time.Millisecond })
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for tr.SendAudio(make([]byte, 3200)) == nil {
		sent += 3200
	}
	<-tr.Done()
	if err := tr.Err(); !errors.Is(err, nls.ErrWriteTimeout) {
		t.Error(err)
	}
	// Half a megabyte is 16 s; what the peer's system takes is part of it.
	if t.Logf("%d bytes were taken", sent); sent > 512<<10 {
		t.Errorf("%d bytes were taken before a write blocked", sent)
	}
}
