//go:build unix

package bench

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

// roundTrip is what it takes from us to the service and back, for a Start.
const roundTrip = 20 * time.Millisecond

// starts is how many Starts a round has.
const starts = 10

// far is a connection on which what comes has been on its way for a round trip.
type far struct {
	net.Conn
	arrived chan arrival
	rest    []byte
}

type arrival struct {
	data []byte
	err  error
	due  time.Time
}

// dialFar is a NetDialContext.
func dialFar(ctx context.Context, network, addr string) (net.Conn, error) {
	time.Sleep(roundTrip) // of TCP
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	f := &far{Conn: c, arrived: make(chan arrival, 1000)}
	go func() {
		for {
			b := make([]byte, 4<<10)
			n, err := c.Read(b)
			f.arrived <- arrival{b[:n], err, time.Now().Add(roundTrip)}
			if err != nil {
				close(f.arrived)
				return
			}
		}
	}()
	return f, nil
}

func (f *far) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		a, ok := <-f.arrived
		if !ok {
			return 0, net.ErrClosed
		}
		time.Sleep(time.Until(a.due))
		if f.rest = a.data; a.err != nil && len(a.data) == 0 {
			return 0, a.err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *far) SetDeadline(time.Time) error     { return nil }
func (f *far) SetReadDeadline(time.Time) error { return nil }

// roundTrips is the median of how many a Start takes.
func roundTrips(start func() (stop func())) []float64 {
	var all []float64
	for range starts {
		begin := time.Now()
		stop := start()
		all = append(all, float64(time.Since(begin))/float64(roundTrip))
		stop()
	}
	return []float64{median(all)}
}

func startOfGorilla(encrypted bool) func(testing.TB) measure {
	return func(t testing.TB) measure {
		p, d := startPeer(t), gorillaDialer()
		if encrypted {
			p.URL = p.TLSURL
		}
		d.NetDialContext = dialFar
		return func() []float64 {
			return roundTrips(func() func() {
				c := mustStartByHand(t, d, p)
				return func() { c.Close() }
			})
		}
	}
}

func startOfNLS(encrypted, warm bool) func(testing.TB) measure {
	return func(t testing.TB) measure {
		p := startPeer(t)
		if encrypted {
			p.URL = p.TLSURL
		}
		cfg := p.config()
		cfg.NetDialContext = dialFar
		if warm {
			cfg.WarmConnections = 1
		}
		client := clientOf(t, cfg)
		t.Cleanup(client.CloseIdleConnections)
		return func() []float64 {
			return roundTrips(func() func() {
				tr := client.NewTranscriber(nls.TranscriberHandlers{})
				if err := tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
					t.Fatal(err)
				}
				return func() {
					if warm { // for the next one
						if err := client.Warm(context.Background()); err != nil {
							t.Fatal(err)
						}
					}
					tr.Shutdown()
				}
			})
		}
	}
}
