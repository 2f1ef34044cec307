package suite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// A first session needs a token and a connection. It gets them at the same time.
func TestTheWayToTheGatewayIsGoneWhileTheTokenIsLookedUp(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	errLookup, errDial := errors.New("no token"), errors.New("no connection")
	for _, c := range []struct {
		name         string
		lookup, dial time.Duration
		lookupErr    error
		dialErr      error
		panics       bool // the dialer
		starts       time.Duration
		err          error
		again        time.Duration // a Start with the token at hand
	}{
		{name: "the token takes longer", lookup: 3 * time.Second, dial: 2 * time.Second, starts: 3 * time.Second, again: 2 * time.Second},
		{name: "the connection takes longer", lookup: 2 * time.Second, dial: 3 * time.Second, starts: 3 * time.Second, again: 3 * time.Second},
		{name: "no token", lookup: 2 * time.Second, dial: time.Second, lookupErr: errLookup, starts: 2 * time.Second, err: errLookup},
		{name: "no token, and still no connection", lookup: time.Second, dial: 2 * time.Second, lookupErr: errLookup, starts: time.Second, err: errLookup},
		{name: "no token, and a dialer that never returns", lookup: time.Second, dial: never, lookupErr: errLookup, starts: time.Second, err: errLookup},
		{name: "no connection", lookup: 3 * time.Second, dial: time.Second, dialErr: errDial, starts: 3 * time.Second, err: errDial},
		{name: "a lookup that never returns", lookup: never, dial: time.Second, starts: 10 * time.Second, err: nls.ErrStartTimeout},
		{name: "a dialer that panics", lookup: 2 * time.Second, dial: time.Second, panics: true, starts: 2 * time.Second, err: errPanic},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
				var w wires
				lookups := 0
				client := clientOf(t, server, func(cfg *nls.Config) {
					token := cfg.Token
					cfg.Token = ""
					cfg.TokenSource = nls.CacheTokens(nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) {
						if lookups++; !sleep(ctx, c.lookup) {
							return nil, ctx.Err()
						}
						return &nls.Token{Value: token}, c.lookupErr
					}), 0)
					dial := cfg.NetDialContext
					cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						time.Sleep(c.dial) // whatever ctx says
						if c.panics {
							panic(errPanic)
						}
						if c.dialErr != nil {
							return nil, c.dialErr
						}
						return dial(ctx, network, addr)
					}
				}, w.use)
				tr := client.NewTranscriber(nls.TranscriberHandlers{})
				begin := time.Now()
				err := recovered(func() error { return tr.Start(t.Context(), nls.TranscriptionParams{}) })
				if took := time.Since(begin); !errors.Is(err, c.err) || took != c.starts {
					t.Errorf("Start = %v after %v, want %v after %v", err, took, c.err, c.starts)
				}
				tr.Shutdown()
				<-tr.Done()
				if c.again > 0 {
					begin = time.Now()
					if err := tr.Start(t.Context(), nls.TranscriptionParams{}); err != nil || time.Since(begin) != c.again || lookups != 1 {
						t.Errorf("Start = %v after %v and %d lookups, want %v", err, time.Since(begin), lookups, c.again)
					}
					tr.Shutdown()
					<-tr.Done()
				}
				time.Sleep(never)
				synctest.Wait()
				if dials, open := w.count(); dials == 0 || open != 0 {
					t.Errorf("%d dials, %d connections left", dials, open)
				}
				mustHaveNoGoroutine(t)
			})
		})
	}
}

var errPanic = errors.New("the dialer has panicked")

// recovered is the error of f, or what it has panicked with.
func recovered(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			var ok bool
			if err, ok = v.(error); !ok {
				err = fmt.Errorf("panic: %v", v)
			}
		}
	}()
	return f()
}

// sleep reports whether d has passed before ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
