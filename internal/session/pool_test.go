package session

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// basin is a Pool under test, its gateway, and a diary of what becomes of the
// connections, by time.
type basin struct {
	*Pool
	begin time.Time
	cfg   *Config

	mu      sync.Mutex
	lines   []basinLine
	token   string
	fresh   bool                     // Invalidate renews the token
	manner  string                   // of the gateway
	slow    time.Duration            // how long it takes to answer
	ends    []net.Conn               // of the gateway
	dialing int                      // now
	most    int                      // at a time
	taken   []*parked                // by the test
	serving sync.WaitGroup           // gateway and calls
	waits   []context.CancelFunc     // of Warm
	quiet   bool                     // pings are not answered
	hook    func(context.Context)    // called in Token
	values  []any                    // of the contexts of dials
	written map[net.Conn]*writeNotes // what the client writes
}

type writeNotes struct {
	net.Conn
	mu     sync.Mutex
	closed bool
	late   int // writes after Close
}

func (c *writeNotes) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.late++
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *writeNotes) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.Conn.Close()
}

type basinLine struct {
	at   time.Duration
	text string
}

type basinKey struct{}

func newBasin(size int) *basin {
	b := &basin{begin: time.Now(), token: "t1", manner: "good", written: map[net.Conn]*writeNotes{}}
	b.cfg = &Config{
		WriteTimeout: 10 * time.Second, NetDialContext: b.dial, Log: slog.New(warnings{b}),
		Token: func(ctx context.Context, _ *Asker) (string, error) {
			b.mu.Lock()
			token, hook := b.token, b.hook
			b.mu.Unlock()
			if hook != nil {
				hook(ctx)
			}
			if token == "" {
				return "", errors.New("no token")
			}
			return token, nil
		},
		Invalidate: func(token string) bool {
			b.note("invalidate %s", token)
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fresh {
				b.token += "'"
			}
			return b.fresh
		},
		Explain: func(_ string, err error) error { return err },
	}
	b.Pool = NewPool(b.cfg, NewSecret("ws://gateway.example/ws/v1"), size, true, 10*time.Second)
	return b
}

func (b *basin) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, basinLine{time.Since(b.begin), fmt.Sprintf(format, args...)})
}

// String is the diary, by time and then by text.
func (b *basin) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortStableFunc(b.lines, func(x, y basinLine) int {
		return cmp.Or(cmp.Compare(x.at, y.at), strings.Compare(x.text, y.text))
	})
	var s []string
	for _, l := range b.lines {
		s = append(s, fmt.Sprintf("%s@%v", l.text, l.at))
	}
	return strings.Join(s, ", ")
}

// warnings notes what is logged.
type warnings struct{ b *basin }

func (warnings) Enabled(context.Context, slog.Level) bool { return true }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w warnings) WithGroup(string) slog.Handler          { return w }
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	var pause any
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pause" {
			pause = a.Value.Any()
		}
		return true
	})
	w.b.note("%v pause %v", r.Level, pause)
	return nil
}

// dial is the way to the gateway.
func (b *basin) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	b.mu.Lock()
	b.dialing++
	b.most = max(b.most, b.dialing)
	manner, slow := b.manner, b.slow
	b.values = append(b.values, ctx.Value(basinKey{}))
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.dialing--
	}()
	b.note("dial")
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if manner == "down" {
		return nil, errors.New("down")
	}
	client, server := net.Pipe()
	noted := &writeNotes{Conn: client}
	b.mu.Lock()
	b.ends = append(b.ends, server)
	b.written[server] = noted
	b.mu.Unlock()
	b.serving.Go(func() { b.serve(server, manner) })
	return noted, nil
}

// serve is one connection of the gateway.
func (b *basin) serve(c net.Conn, manner string) {
	defer c.Close()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if manner == "401" || manner == "401 of t1" && req.Header["X-Nls-Token"][0] == "t1" {
		_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		return
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if manner == "hangs up with 101" {
		answer = wsframe.Append(answer, wsframe.Fin|wsframe.Close, []byte("\x03\xe9"))
	}
	if _, err := c.Write(answer); err != nil || manner == "hangs up after 101" {
		return
	}
	for {
		f, err := wsframe.Read(r)
		if err != nil {
			b.note("cut")
			return
		}
		switch f.Opcode() {
		case wsframe.Close:
			b.note("bye %x", f.Payload)
			return
		case wsframe.Ping:
			b.mu.Lock()
			quiet := b.quiet
			b.mu.Unlock()
			if !quiet {
				_, _ = c.Write(wsframe.Append(nil, wsframe.Fin|wsframe.Pong, f.Payload))
			}
		}
	}
}

// The steps of a test.

func (b *basin) enters() { b.enter() }
func (b *basin) leaves() { b.leave() }
func (b *basin) closes() { b.CloseIdle() }

func (b *basin) becomes(manner string, slow time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manner, b.slow = manner, slow
}

func (b *basin) rotates() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token += "'"
}

// takes is what Start does first.
func (b *basin) takes() {
	k := b.take(b.token)
	if k == nil {
		b.note("take none")
		return
	}
	b.note("take %s", k.origin())
	b.taken = append(b.taken, k)
}

// completes gives back the connection that was taken last; callback is how long
// OnCompleted takes.
func (b *basin) completes(callback time.Duration) {
	if len(b.taken) == 0 {
		b.note("nothing was taken that completes")
		return
	}
	k := b.taken[len(b.taken)-1]
	b.taken = b.taken[:len(b.taken)-1]
	k = b.adopt(&attempt{conn: k.conn, token: k.token})
	time.Sleep(callback)
	synctest.Wait()
	if !b.put(k) {
		b.note("no use")
		k.conn.close(wsframe.CloseNormal)
	}
}

// cuts makes the gateway close its newest connection, says makes it say something
// there.
func (b *basin) cuts() { b.newest().Close() }

func (b *basin) says(frame []byte) { _, _ = b.newest().Write(frame) }

func (b *basin) newest() net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ends) == 0 {
		end, _ := net.Pipe()
		end.Close() // the diary shows that there was no dial
		return end
	}
	return b.ends[len(b.ends)-1]
}

func (b *basin) falls() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.quiet = true
}

func (b *basin) warms() {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), basinKey{}, "mine"))
	b.waits = append(b.waits, cancel)
	b.serving.Go(func() { b.note("Warm %v", b.Warm(ctx)) })
}

func (b *basin) impatient() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	b.waits = append(b.waits, cancel)
	b.serving.Go(func() { b.note("Warm %v", b.Warm(ctx)) })
}

func (b *basin) givesUp() { b.waits[len(b.waits)-1]() }

// end closes all, and says what is left.
func (b *basin) end(t *testing.T) {
	synctest.Wait()
	b.CloseIdle()
	for _, k := range b.taken {
		k.conn.close(0)
	}
	for _, cancel := range b.waits {
		cancel()
	}
	synctest.Wait()
	time.Sleep(time.Minute)
	for _, c := range b.ends {
		n := b.written[c]
		n.mu.Lock()
		if !n.closed {
			t.Error("a connection is left open")
		}
		if n.late > 1 { // a goodbye may be
			t.Errorf("%d writes to a connection that was closed", n.late)
		}
		n.mu.Unlock()
	}
	b.serving.Wait()
	b.Pool.mu.Lock()
	defer b.Pool.mu.Unlock()
	if len(b.idle) != 0 || len(b.warmer.dials) != 0 || b.warmer.retry != nil {
		t.Errorf("left: %d connections, %d dials, a pause %v", len(b.idle), len(b.warmer.dials), b.warmer.retry != nil)
	}
}

// moment is a step of a table: what happens after so many seconds.
type moment struct {
	second float64
	do     func(b *basin)
}

func becomes(manner string) func(*basin) { return func(b *basin) { b.becomes(manner, 0) } }
func slow(d time.Duration) func(*basin)  { return func(b *basin) { b.becomes("good", d) } }
func says(frame ...byte) func(*basin)    { return func(b *basin) { b.says(frame) } }
func completes(callback time.Duration) func(*basin) {
	return func(b *basin) { b.completes(callback) }
}

// The pool has one connection unless the case says otherwise. Each case ends after
// two minutes.
func TestThePool(t *testing.T) {
	idle := wsframe.Append(nil, wsframe.Fin|wsframe.Text, []byte(`{"header":{"name":"TaskFailed","status":40000004}}`))
	for _, c := range []struct {
		name  string
		size  int
		steps []moment
		want  string
	}{
		// Filled.
		{name: "nobody asks", steps: nil, want: ""},
		{name: "the first session", steps: []moment{{0, (*basin).enters}, {1, (*basin).leaves}}, want: "dial@0s, bye 03e8@18s"},
		{name: "a second session", steps: []moment{{0, (*basin).enters}, {1, (*basin).enters}, {2, (*basin).leaves}, {3, (*basin).leaves}},
			want: "dial@0s, bye 03e8@18s"},
		{name: "Warm", steps: []moment{{0, (*basin).warms}}, want: "Warm <nil>@0s, dial@0s, bye 03e8@18s"},
		{name: "Warm, then a session", steps: []moment{{0, (*basin).warms}, {1, (*basin).enters}, {2, (*basin).leaves}},
			want: "Warm <nil>@0s, dial@0s, bye 03e8@18s"},
		{name: "Warm twice", steps: []moment{{0, (*basin).warms}, {1, (*basin).warms}}, want: "Warm <nil>@0s, dial@0s, Warm <nil>@1s, bye 03e8@18s"},
		{name: "Warm while Warm dials waits for the same", steps: []moment{{0, slow(2 * time.Second)}, {0, (*basin).warms}, {1, (*basin).warms}},
			want: "dial@0s, Warm <nil>@2s, Warm <nil>@2s, bye 03e8@20s"},
		{name: "Warm while a session's dial runs waits for it", steps: []moment{{0, slow(2 * time.Second)}, {0, (*basin).enters}, {1, (*basin).warms}, {1, (*basin).leaves}},
			want: "dial@0s, Warm <nil>@2s, bye 03e8@20s"},
		{name: "three", size: 3, steps: []moment{{0, (*basin).enters}, {1, (*basin).leaves}},
			want: "dial@0s, dial@0s, dial@0s, bye 03e8@18s, bye 03e8@18s, bye 03e8@18s"},
		{name: "none", size: -1, steps: []moment{{0, (*basin).enters}, {0, (*basin).warms}, {1, (*basin).takes}, {2, (*basin).leaves}}, want: "Warm <nil>@0s, take none@1s"},

		// Taken.
		{name: "taken", steps: []moment{{0, (*basin).enters}, {5, (*basin).takes}, {6, (*basin).leaves}}, want: "dial@0s, dial@5s, take warm@5s, bye 03e8@23s"},
		{name: "taken after the last session", steps: []moment{{0, (*basin).enters}, {5, (*basin).leaves}, {6, (*basin).takes}, {7, (*basin).takes}},
			want: "dial@0s, take warm@6s, take none@7s"},
		{name: "taken at the last moment", steps: []moment{{0, (*basin).enters}, {1, (*basin).leaves}, {17.999, (*basin).takes}}, want: "dial@0s, take warm@17.999s"},
		{name: "taken while it dials", steps: []moment{{0, slow(2 * time.Second)}, {0, (*basin).enters}, {1, (*basin).takes}, {1, (*basin).leaves}},
			want: "dial@0s, take none@1s, bye 03e8@20s"},

		// Expired.
		{name: "replaced while sessions run", steps: []moment{{0, (*basin).enters}, {40, (*basin).leaves}},
			want: "dial@0s, bye 03e8@18s, dial@18s, bye 03e8@36s, dial@36s, bye 03e8@54s"},
		{name: "the token has been replaced", steps: []moment{{0, (*basin).enters}, {5, (*basin).rotates}, {6, (*basin).takes}, {7, (*basin).takes}, {8, (*basin).leaves}},
			want: "dial@0s, bye 03e8@6s, dial@6s, take none@6s, dial@7s, take warm@7s, bye 03e8@25s"},
		{name: "the token of some has been replaced", size: 2, steps: []moment{{0, (*basin).enters}, {5, (*basin).rotates}, {6, (*basin).cuts}, {7, (*basin).takes}, {8, (*basin).leaves}},
			want: "dial@0s, dial@0s, cut@6s, dial@6s, dial@7s, take warm@7s, bye 03e8@18s, bye 03e8@25s"},

		// Dead.
		{name: "cut", steps: []moment{{0, (*basin).enters}, {5, (*basin).cuts}, {6, (*basin).leaves}}, want: "cut@5s, dial@0s, dial@5s, bye 03e8@23s"},
		{name: "cut after the last session", steps: []moment{{0, (*basin).enters}, {1, (*basin).leaves}, {5, (*basin).cuts}, {6, (*basin).takes}},
			want: "dial@0s, cut@5s, take none@6s"},
		{name: "a Close frame", steps: []moment{{0, (*basin).enters}, {5, says(0x88, 2, 3, 0xe9)}, {6, (*basin).leaves}}, want: "dial@0s, bye 03e9@5s, dial@5s, bye 03e8@23s"},
		{name: "an idle TaskFailed", steps: []moment{{0, (*basin).enters}, {5, says(idle...)}, {6, (*basin).leaves}}, want: "dial@0s, cut@5s, dial@5s, bye 03e8@23s"},
		{name: "audio", steps: []moment{{0, (*basin).enters}, {5, says(0x82, 1, 1)}, {6, (*basin).leaves}}, want: "dial@0s, cut@5s, dial@5s, bye 03e8@23s"},
		{name: "a ping", steps: []moment{{0, (*basin).enters}, {1, (*basin).leaves}, {5, says(0x89, 0)}}, want: "dial@0s, bye 03e8@18s"},
		{name: "pings without pongs", steps: []moment{{0, (*basin).falls}, {0, (*basin).enters}, {1, (*basin).leaves}}, want: "dial@0s, cut@13s"},

		// Refused.
		{name: "down", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {100, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, WARN pause 2s@1s, dial@1s, WARN pause 4s@3s, dial@3s, WARN pause 8s@7s, dial@7s, " +
				"WARN pause 16s@15s, dial@15s, WARN pause 30s@31s, dial@31s, WARN pause 30s@1m1s, dial@1m1s, WARN pause 30s@1m31s, dial@1m31s"},
		{name: "down, for three", size: 3, steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {2, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, dial@0s, dial@0s, WARN pause 2s@1s, dial@1s, dial@1s, dial@1s"},
		{name: "down, while sessions start", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {0.25, (*basin).takes}, {0.5, (*basin).enters}, {0.75, (*basin).leaves}, {0.8, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, take none@250ms"},
		{name: "down, then up", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {2, becomes("good")}, {9, becomes("down")}, {26, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, WARN pause 2s@1s, dial@1s, dial@3s, WARN pause 1s@21s, bye 03e8@21s, dial@21s, WARN pause 2s@22s, dial@22s, WARN pause 4s@24s, dial@24s"},
		{name: "down, then up and taken", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {2, becomes("good")}, {9, becomes("down")}, {10, (*basin).takes}, {10.5, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, WARN pause 2s@1s, dial@1s, dial@3s, WARN pause 1s@10s, dial@10s, take warm@10s"},
		{name: "down, Warm", steps: []moment{{0, becomes("down")}, {0, (*basin).warms}}, want: "Warm nls: dial: down@0s, dial@0s"},
		{name: "Warm does not wait for the end of a pause", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {3.5, becomes("good")}, {4, (*basin).warms}, {5, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, WARN pause 2s@1s, dial@1s, WARN pause 4s@3s, dial@3s, Warm <nil>@4s, dial@4s, bye 03e8@22s"},
		{name: "no token", steps: []moment{{0, func(b *basin) { b.token = "" }}, {0, (*basin).enters}, {2, (*basin).leaves}, {3, (*basin).warms}},
			want: "WARN pause 1s@0s, WARN pause 2s@1s, Warm no token@3s"},
		{name: "a refused token", steps: []moment{{0, becomes("401")}, {0, (*basin).enters}, {0.5, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, invalidate t1@0s"},
		{name: "a refused token, and another", steps: []moment{{0, becomes("401 of t1")}, {0, func(b *basin) { b.fresh = true }}, {0, (*basin).enters}, {1, (*basin).takes}, {1, (*basin).leaves}},
			want: "dial@0s, dial@0s, invalidate t1@0s, dial@1s, take warm@1s, bye 03e8@19s"},
		{name: "refused tokens", steps: []moment{{0, becomes("401")}, {0, func(b *basin) { b.fresh = true }}, {0, (*basin).warms}},
			want: "Warm handshake refused: HTTP 401@0s, dial@0s, dial@0s, invalidate t1@0s"},
		{name: "hangs up with 101", steps: []moment{{0, becomes("hangs up with 101")}, {0, (*basin).enters}, {6, (*basin).leaves}},
			want: "WARN pause 1s@0s, bye 03e9@0s, dial@0s, WARN pause 2s@1s, bye 03e9@1s, dial@1s, WARN pause 4s@3s, bye 03e9@3s, dial@3s"},
		{name: "hangs up after 101", steps: []moment{{0, becomes("hangs up after 101")}, {0, (*basin).enters}, {6, (*basin).leaves}},
			want: "WARN pause 1s@0s, dial@0s, WARN pause 2s@1s, dial@1s, WARN pause 4s@3s, dial@3s"},
		{name: "hangs up soon", steps: []moment{{0, (*basin).enters}, {0.999, (*basin).cuts}, {1.5, (*basin).leaves}}, want: "WARN pause 1s@999ms, cut@999ms, dial@0s"},
		{name: "hangs up later", steps: []moment{{0, (*basin).enters}, {1, (*basin).cuts}, {1.5, (*basin).leaves}}, want: "dial@0s, cut@1s, dial@1s, bye 03e8@19s"},
		{name: "never answers", steps: []moment{{0, slow(time.Hour)}, {0, (*basin).enters}, {12, (*basin).leaves}},
			want: "dial@0s, WARN pause 1s@10s, dial@11s, WARN pause 2s@21s"},
		{name: "never answers Warm", steps: []moment{{0, slow(time.Hour)}, {0, (*basin).warms}}, want: "dial@0s, Warm nls: start timed out@10s"},
		{name: "never answers a Warm that is given up", steps: []moment{{0, slow(time.Hour)}, {0, (*basin).warms}, {1, (*basin).givesUp}}, want: "dial@0s, Warm nls: context canceled@1s"},
		{name: "never answers an impatient Warm", steps: []moment{{0, slow(time.Hour)}, {0, (*basin).impatient}}, want: "dial@0s, Warm nls: start timed out: context deadline exceeded@1s"},
		{name: "what a Warm that is given up dialled is kept", steps: []moment{{0, slow(2 * time.Second)}, {0, (*basin).warms}, {1, (*basin).givesUp}, {3, (*basin).takes}},
			want: "dial@0s, Warm nls: context canceled@1s, take warm@3s"},

		// Reused.
		{name: "reused", size: -1, steps: []moment{{0, seized}, {7.999, (*basin).takes}}, want: "dial@0s, take warm@0s, take reused@7.999s"},
		{name: "reused too late", size: -1, steps: []moment{{0, seized}, {8, (*basin).takes}}, want: "dial@0s, take warm@0s, bye 03e8@8s, take none@8s"},
		{name: "reused in time after a slow callback", size: -1, steps: []moment{{0, seizedAfter(5 * time.Second)}, {7.999, (*basin).takes}},
			want: "dial@0s, take warm@0s, take reused@7.999s"},
		{name: "reused too late after a slow callback", size: -1, steps: []moment{{0, seizedAfter(5 * time.Second)}, {9, (*basin).takes}},
			want: "dial@0s, take warm@0s, bye 03e8@8s, take none@9s"},
		{name: "a callback of eight seconds", size: -1, steps: []moment{{0, seizedAfter(8 * time.Second)}}, want: "dial@0s, take warm@0s, bye 03e8@8s, no use@8s"},
		{name: "twice", size: -1, steps: []moment{{0, seized}, {5, (*basin).takes}, {6, completes(0)}, {13, (*basin).takes}},
			want: "dial@0s, take warm@0s, take reused@5s, take reused@13s"},
		{name: "it is no warm one", steps: []moment{{0, (*basin).enters}, {1, (*basin).takes}, {2, completes(0)}, {3, (*basin).takes}, {3, (*basin).leaves}},
			want: "dial@0s, dial@1s, take warm@1s, take reused@3s, bye 03e8@19s"},
		{name: "cut before it is taken", size: -1, steps: []moment{{0, seized}, {0.5, (*basin).cuts}, {1, (*basin).takes}}, want: "dial@0s, take warm@0s, cut@500ms, take none@1s"},
		{name: "one that the gateway closes is no failure", steps: []moment{{0, (*basin).enters}, {0.1, (*basin).takes}, {0.2, completes(0)}, {0.3, oldest}, {0.4, (*basin).takes}, {0.4, (*basin).leaves}},
			want: "dial@0s, dial@100ms, take warm@100ms, cut@300ms, dial@400ms, take warm@400ms, bye 03e8@18.4s"},
		{name: "cut in the callback", size: -1, steps: []moment{{0, seizing}, {1, func(b *basin) {
			b.serving.Go(func() { b.completes(2 * time.Second) })
			time.Sleep(time.Second)
			b.cuts()
		}}}, want: "dial@0s, take warm@0s, cut@2s, no use@3s"},
		{name: "its token has been replaced", size: -1, steps: []moment{{0, seized}, {1, (*basin).rotates}, {2, (*basin).takes}}, want: "dial@0s, take warm@0s, bye 03e8@2s, take none@2s"},
		{name: "a frame was cut", size: -1, steps: []moment{{0, seizing}, {1, func(b *basin) {
			b.taken[0].conn.torn.Store(true)
			b.completes(0)
		}}}, want: "dial@0s, take warm@0s, bye 03e8@1s, no use@1s"},

		// Closed.
		{name: "CloseIdle", steps: []moment{{0, (*basin).enters}, {5, (*basin).closes}, {6, (*basin).takes}, {7, (*basin).enters}, {8, (*basin).leaves}, {9, (*basin).leaves}},
			want: "dial@0s, bye 03e8@5s, dial@6s, take none@6s, bye 03e8@24s"},
		{name: "CloseIdle of all", size: 2, steps: []moment{{0, (*basin).enters}, {1, (*basin).takes}, {2, completes(0)}, {3, (*basin).closes}, {4, (*basin).leaves}},
			want: "dial@0s, dial@0s, dial@1s, take warm@1s, bye 03e8@3s, bye 03e8@3s, bye 03e8@3s"},
		{name: "CloseIdle during a dial", steps: []moment{{0, slow(5 * time.Second)}, {0, (*basin).enters}, {2, (*basin).closes}, {9, (*basin).leaves}}, want: "dial@0s"},
		{name: "CloseIdle during Warm", steps: []moment{{0, slow(5 * time.Second)}, {0, (*basin).warms}, {2, (*basin).closes}}, want: "dial@0s, Warm nls: session shut down@2s"},
		{name: "CloseIdle in a pause", steps: []moment{{0, becomes("down")}, {0, (*basin).enters}, {0.5, (*basin).closes}, {60, (*basin).leaves}}, want: "WARN pause 1s@0s, dial@0s"},
		{name: "what completes after CloseIdle waits", size: -1, steps: []moment{{0, seizing}, {1, (*basin).closes}, {2, completes(0)}, {3, (*basin).takes}},
			want: "dial@0s, take warm@0s, take reused@3s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				size := cmp.Or(c.size, 1)
				b := newBasin(max(size, 0))
				for _, s := range c.steps {
					time.Sleep(time.Duration(s.second*float64(time.Second)) - time.Since(b.begin))
					synctest.Wait()
					s.do(b)
					synctest.Wait()
				}
				time.Sleep(2*time.Minute - time.Since(b.begin))
				synctest.Wait()
				got, want := b.String(), strings.Split(c.want, ", ")
				if c.want == "" {
					want = nil
				}
				for s := range strings.SplitSeq(got, ", ") {
					i := slices.Index(want, s)
					if i < 0 && s != "" {
						t.Errorf("%s\nwant %s", got, c.want)
						break
					}
					if i >= 0 {
						want = slices.Delete(want, i, i+1)
					}
				}
				if len(want) > 0 {
					t.Errorf("%s\nwant also %q", got, want)
				}
				if b.most > max(size, 0) && size > 0 {
					t.Errorf("%d dials at a time", b.most)
				}
				b.end(t)
			})
		})
	}
}

// seizing takes a connection that the pool would not have opened, as a task does
// that dials for itself.
func seizing(b *basin) {
	b.warmer.size = 1
	_ = b.Warm(context.Background())
	b.warmer.size = 0
	b.takes()
}

func seized(b *basin) {
	seizing(b)
	b.completes(0)
}

func seizedAfter(callback time.Duration) func(*basin) {
	return func(b *basin) {
		seizing(b)
		b.completes(callback)
	}
}

// oldest makes the gateway close its first connection.
func oldest(b *basin) { b.ends[0].Close() }
