package suite

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// inBubble runs f in a synctest bubble with a gateway over in-memory connections.
func inBubble(t *testing.T, opts nlstest.Options, f func(t *testing.T, server *nlstest.Server)) {
	t.Helper()
	spokenAudio() // made outside, once
	synctest.Test(t, func(t *testing.T) {
		opts.Pipe = true
		opts.ReplyDelay = cmp.Or(opts.ReplyDelay, -1) // what a test measures is the SDK
		server := nlstest.NewServer(opts)
		defer server.Close()
		// What waits for ever fails, and neither panics as a deadlock nor, where there are
		// pings, runs until the binary is killed.
		defer time.AfterFunc(week, func() {
			t.Errorf("not over after %v of the bubble's time: the server is closed", week)
			server.Close()
		}).Stop()
		f(t, server)
	})
}

const week = 7 * 24 * time.Hour

// clientOf returns a Client for server.
func clientOf(t testing.TB, server *nlstest.Server, change ...func(*nls.Config)) *nls.Client {
	t.Helper()
	cfg := server.Config()
	for _, f := range change {
		f(&cfg)
	}
	return newClient(t, cfg)
}

func newClient(t testing.TB, cfg nls.Config) *nls.Client {
	t.Helper()
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faultAlways makes every connection misbehave, "" none.
func faultAlways(name string) func(*http.Request) *nlstest.Fault {
	if name == "" {
		return nil
	}
	f, err := nlstest.ParseFault(name)
	if err != nil {
		panic(err)
	}
	return func(*http.Request) *nlstest.Fault { return f }
}

// faultOnce makes the first connection misbehave.
func faultOnce(name string) func(*http.Request) *nlstest.Fault {
	fault := faultAlways(name)
	var used atomic.Bool
	return func(r *http.Request) *nlstest.Fault {
		if used.Swap(true) {
			return nil
		}
		return fault(r)
	}
}

// listen serves one connection and returns its address.
func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			serve(c)
		}
	}()
	return l.Addr().String()
}

// spoken is the text that all products speak or hear in these tests.
const spoken = "你好，Go 🎙。"

// spokenAudio is spoken as the gateway speaks it.
var spokenAudio = sync.OnceValue(func() []byte { return speech(spoken) })

// speech is text as the gateway speaks it.
func speech(text string) []byte {
	var pcm bytes.Buffer
	err := nlstest.Loopback().Synthesize(context.Background(), text,
		nlstest.Voice{Name: nls.DefaultVoice, SampleRate: nls.DefaultSampleRate, Volume: nls.DefaultVolume},
		func(piece []byte, _ []nls.Subtitle) error {
			_, err := pcm.Write(piece)
			return err
		})
	if err != nil {
		panic(err)
	}
	return pcm.Bytes()
}
