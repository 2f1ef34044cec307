package suite

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

// counted says how often each word is in s.
func counted(s string) map[string]int {
	counts := map[string]int{}
	for word := range strings.FieldsSeq(s) {
		counts[word]++
	}
	return counts
}

// closesAll waits until c has no connection and no goroutine.
func (w *wires) closesAll(t *testing.T, c *nls.Client) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c.CloseIdleConnections() // a session that has just ended may give one back
		_, open := w.count()
		if open == 0 {
			break
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("%d connections left", open)
		}
	}
	mustLeaveNoGoroutine(t)
}

func TestWarmConnectionsOverEveryWayToTheGateway(t *testing.T) {
	tried := effort.OneIn(2)
	for _, c := range []struct {
		name  string
		opts  nlstest.Options
		proxy string
	}{
		{"TCP", nlstest.Options{}, ""},
		{"TLS", nlstest.Options{TLS: true}, ""},
		{"Pipe", nlstest.Options{Pipe: true}, ""},
		{"Pipe and TLS", nlstest.Options{Pipe: true, TLS: true}, ""},
		{"HTTP proxy", nlstest.Options{}, "http"},
		{"HTTP proxy and TLS", nlstest.Options{TLS: true}, "http"},
		{"HTTPS proxy and TLS", nlstest.Options{TLS: true}, "https"},
	} {
		if !tried() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a goodbye takes a third of a second
			server := nlstest.NewServer(c.opts)
			defer server.Close()
			var w wires
			client := clientOf(t, server, func(cfg *nls.Config) {
				if c.proxy != "" {
					newProxy(t, c.proxy, http.StatusOK).use(cfg)
				}
			}, w.keeps(1, true))
			if err := client.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, p := range products {
				s := p.new(client)
				s.wait = true
				if err := s.run(startCtx(t.Context())); err != nil {
					t.Fatalf("%s: %v", p.name, err)
				}
				<-s.Done()
				if text := s.text.String(); text != "" && text != spoken {
					t.Errorf("%s: the result is %q", p.name, text)
				}
			}
			if got := w.taken(); strings.Contains(got, "dialed") || !strings.HasPrefix(got, "warm ") {
				t.Errorf("the connections of Start: %s", got)
			}
			w.closesAll(t, client)
		})
	}
}

// mortal is a connection that may die while it waits, or when a session starts on
// it that did not dial it.
type mortal struct {
	net.Conn
	number int
	cold   bool // a Start has dialled it

	mu     sync.Mutex
	fate   *rand.Rand
	taken  bool
	starts int
}

var errDead = errors.New("the test has killed it")

// RemoteAddr tells the connections apart.
func (c *mortal) RemoteAddr() net.Addr { return &net.TCPAddr{Port: c.number} }

// Write may kill c with a directive that starts a session. Under TLS none is seen.
func (c *mortal) Write(b []byte) (int, error) {
	f, _ := wsframe.Read(bytes.NewReader(b))
	if f.Opcode() != wsframe.Text || !bytes.Contains(f.Payload, []byte(`"name":"Start`)) {
		return c.Conn.Write(b)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.starts++; c.cold && c.starts == 1 {
		return c.Conn.Write(b)
	}
	switch c.fate.IntN(6) {
	case 0:
		c.Conn.Close()
		return 0, errDead
	case 1:
		c.Conn.Close()
		return len(b), nil // it was on its way
	}
	return c.Conn.Write(b)
}

// isTaken is called when a Start has taken c, which may kill it.
func (c *mortal) isTaken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = true
	if c.fate.IntN(6) == 0 {
		c.Conn.Close()
	}
}

// dies kills c unless a session has it.
func (c *mortal) dies() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken {
		c.Conn.Close()
	}
}

// mortality makes half of the connections of w die. It is used before w.
func (w *wires) mortality(seed uint64) {
	var all sync.Map
	w.wrap = func(ctx context.Context, number int, c net.Conn) net.Conn {
		fate := rand.New(rand.NewPCG(seed, uint64(number)))
		m := &mortal{Conn: c, number: number, cold: ctx.Value(startKey{}) != nil, fate: fate}
		all.Store(number, m)
		if !m.cold && fate.IntN(3) == 0 {
			time.AfterFunc(time.Duration(fate.Int64N(int64(500*time.Millisecond))), m.dies)
		}
		return m
	}
	w.onTake = func(d nls.TraceDial) {
		if m, ok := all.Load(d.RemoteAddr.(*net.TCPAddr).Port); ok {
			m.(*mortal).isTaken()
		}
	}
}

// Fifty goroutines start and stop sessions of all products, while half of the
// connections that wait for them die.
func TestSessionsStartWhileTheirConnectionsDie(t *testing.T) {
	effort.Thorough(t)
	for _, c := range []struct{ reuse, tls bool }{{true, false}, {false, false}, {false, true}} {
		seed := rand.Uint64()
		t.Logf("seed %d, %+v", seed, c)
		server := nlstest.NewServer(nlstest.Options{TLS: c.tls, MaxSessions: -1, ReplyDelay: -1, Engine: nlstest.Script("one", "two")})
		defer server.Close()
		var w wires
		w.mortality(seed)
		client := clientOf(t, server, w.keeps(10, c.reuse))
		var wg sync.WaitGroup
		for worker := range 50 {
			p := products[worker%len(products)]
			wg.Go(func() {
				s := p.new(client)
				s.wait = true
				for range 3 {
					s.closes = nil
					if err := s.run(startCtx(t.Context())); err != nil {
						t.Errorf("%s: %v", p.name, err)
					}
					<-s.Done()
					if len(s.errs) != 0 || len(s.closes) != 1 || !slices.Contains(s.calls, "OnClose") {
						t.Errorf("%s: %v, called %s", p.name, s.errs, s.called())
					}
					s.called()
				}
			})
		}
		wg.Wait()
		counts := counted(w.taken())
		if counts["warm"]+counts["reused"] == 0 || counts["reused"] > 0 && !c.reuse || counts["dialed"] == 0 {
			t.Errorf("no mix: %v", counts) // of which a busy machine decides
		}
		t.Log(counts)
		if w.most > 10 {
			t.Errorf("%d dials at a time", w.most)
		}
		w.closesAll(t, client)
	}
}

// farAway is a way to addr on which everything takes 40 ms, in each direction.
func farAway(t *testing.T, addr string) string {
	const delay = 40 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	pass := func(dst, src net.Conn) {
		type packet struct {
			at   time.Time
			data []byte
		}
		packets := make(chan packet, 1024)
		serving.Go(func() {
			defer close(packets)
			for {
				b := make([]byte, 4<<10)
				n, err := src.Read(b)
				if n > 0 {
					packets <- packet{time.Now().Add(delay), b[:n]}
				}
				if err != nil {
					return
				}
			}
		})
		serving.Go(func() {
			for p := range packets {
				time.Sleep(time.Until(p.at))
				_, _ = dst.Write(p.data)
			}
			time.Sleep(delay)
			dst.Close()
			src.Close()
		})
	}
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			service, err := net.Dial("tcp", addr)
			if err != nil {
				c.Close()
				continue
			}
			pass(service, c)
			pass(c, service)
		}
	})
	return l.Addr().String()
}

// roundTrips is how long the trips to an echo and back took, the shortest first:
// those of several travellers, until ended is closed.
func roundTrips(t *testing.T, ended <-chan struct{}) (took []time.Duration) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving, travellers sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(c, c)
				c.Close()
			})
		}
	})
	way := farAway(t, echo.Addr().String())
	var mu sync.Mutex
	for range 10 {
		travellers.Go(func() {
			c, err := net.Dial("tcp", way)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			message := make([]byte, 500) // as long as a directive
			for !isClosed(ended) {
				begin := time.Now()
				_, err1 := c.Write(message)
				_, err2 := io.ReadFull(c, message)
				if err := errors.Join(err1, err2); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	travellers.Wait()
	echo.Close()
	serving.Wait()
	slices.Sort(took)
	return took
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Starts on a network of 80 ms: half of them take no more than a round
// trip there takes at the same time, and a tenth of one. The best of three rounds
// counts, since a busy machine may keep any goroutine waiting.
func TestAWarmStartTakesOneRoundTrip(t *testing.T) {
	effort.Thorough(t)
	for _, c := range []struct {
		name string
		tls  bool
		half bool // of the pool dies
	}{{"ws", false, false}, {"wss", true, false}, {"ws, half of the pool killed", false, true}, {"wss, half of the pool killed", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			if c.half {
				t.Parallel() // nothing is measured
			}
			server := nlstest.NewServer(nlstest.Options{TLS: c.tls, MaxSessions: -1, ReplyDelay: -1, Engine: nlstest.Script("one")})
			defer server.Close()
			way := farAway(t, strings.TrimSuffix(server.URL[strings.Index(server.URL, "//")+2:], "/ws/v1"))
			best := time.Duration(1<<63 - 1)
			for range 3 {
				var w wires
				if c.half {
					w.mortality(rand.Uint64())
				}
				client := clientOf(t, server, func(cfg *nls.Config) {
					cfg.NetDialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, network, way)
					}
				}, w.keeps(20, false))
				ended, trips := make(chan struct{}), make(chan []time.Duration, 1)
				if c.half {
					trips <- nil
				} else {
					go func() { trips <- roundTrips(t, ended) }()
				}
				took := manyStarts(t, client, c.half)
				close(ended)
				trip := <-trips
				t.Logf("p50 %v, p90 %v; %v", took[len(took)/2], took[len(took)*9/10], counted(w.taken()))
				w.closesAll(t, client)
				if c.half {
					return
				}
				best = min(best, took[len(took)/2]-trip[len(trip)/2]*11/10)
				t.Logf("a round trip: %v", trip[len(trip)/2])
				if best <= 0 || raceEnabled {
					return
				}
			}
			t.Errorf("a warm Start takes %v longer than 1.1 round trips", best)
		})
	}
}

// manyStarts is how long each took, the shortest first. Ten callers start and
// stop, one after the other.
func manyStarts(t *testing.T, client *nls.Client, half bool) (took []time.Duration) {
	each := effort.Times(10, 4)
	if err := client.Warm(t.Context()); err != nil && !half { // else some have died while they were opened
		t.Fatal(err)
	}
	var mu sync.Mutex
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range each {
				s := newTranscriberSubject(client)
				begin := time.Now()
				err := s.start(startCtx(t.Context()))
				d := time.Since(begin)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				if err == nil {
					err = s.stop(t.Context())
				}
				if err != nil && failed.Add(1) < 5 {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}
