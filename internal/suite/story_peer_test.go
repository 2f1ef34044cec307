package suite

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

// What the tests of the story share: a gateway that does what a script says, over
// connections in memory, and bounds on waiting, so that what hangs is a failure.

// patience is how long these tests wait, on the virtual clock, for what should
// have happened long before.
const patience = time.Hour

// goCall runs a call that may not return.
func goCall(f func() error) *running {
	r := &running{done: make(chan struct{}), begin: time.Now()}
	go func() {
		returned := false
		defer func() {
			if !returned && r.err == nil {
				r.err = errGone
			}
			r.took = time.Since(r.begin)
			close(r.done)
		}()
		r.err = f()
		returned = true
	}()
	return r
}

// errGone is what a call "returns" whose goroutine has ended within it.
var errGone = errors.New("the goroutine ended in the call")

type running struct {
	begin time.Time
	done  chan struct{}
	err   error         // once done is closed
	took  time.Duration // once done is closed
}

// within waits for the call and fails the test if it takes longer than limit.
func (r *running) within(t *testing.T, what string, limit time.Duration) error {
	t.Helper()
	if !closedWithin(r.done, limit-time.Since(r.begin)) {
		t.Fatalf("%s has not returned after %v", what, limit)
	}
	return r.err
}

func closedWithin(ch <-chan struct{}, limit time.Duration) bool {
	select {
	case <-ch:
		return true
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
		return false
	}
}

// mustBeDone waits for the end of the session of s.
func mustBeDone(t *testing.T, s interface{ Done() <-chan struct{} }) {
	t.Helper()
	if !closedWithin(s.Done(), patience) {
		t.Fatal("Done does not close")
	}
}

// bubble is synctest.Test, in which goroutines that are left behind fail the test and
// not the process.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Error(r)
		}
	}()
	synctest.Test(t, f)
}

// gatewayInBubble is inBubble on the same terms.
func gatewayInBubble(t *testing.T, opts nlstest.Options, f func(t *testing.T, server *nlstest.Server)) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Error(r)
		}
	}()
	inBubble(t, opts, f)
}

// settle ends the session of s when the test does, however it ends: on the virtual
// clock nobody else waits for a callback that sleeps.
func settle(t *testing.T, s object) {
	t.Cleanup(func() {
		s.Shutdown()
		closedWithin(s.Done(), patience)
	})
}

// cancelled is a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// memConn is one end of a connection in memory. Each direction holds a bounded
// number of bytes, as sockets do. Everything that waits here waits on a channel.
type memConn struct {
	in, out *half
	once    sync.Once
	gone    chan struct{} // closed by Close
}

type half struct {
	size int

	mu              sync.Mutex
	buf             []byte
	err             error // of reads from it, once buf is empty, and of writes to it
	wake            chan struct{}
	readBy, writeBy time.Time
}

func newMemConns(size int) (client, server *memConn) {
	up, down := &half{size: size}, &half{size: size}
	client = &memConn{in: down, out: up, gone: make(chan struct{})}
	server = &memConn{in: up, out: down, gone: make(chan struct{})}
	return client, server
}

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// wait waits for a change or the deadline. h.mu is held.
func (h *half) wait(by time.Time) {
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	wake := h.wake
	h.mu.Unlock()
	defer h.mu.Lock()
	if by.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(by))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

func passed(by time.Time) bool { return !by.IsZero() && !time.Now().Before(by) }

func (c *memConn) Read(p []byte) (n int, err error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case passed(h.readBy):
			return 0, os.ErrDeadlineExceeded
		case errors.Is(h.err, net.ErrClosed):
			return 0, h.err
		case len(h.buf) > 0:
			n = copy(p, h.buf)
			h.buf = h.buf[n:]
			if h.wake != nil {
				close(h.wake)
				h.wake = nil
			}
			return n, nil
		case h.err != nil:
			return 0, h.err
		}
		h.wait(h.readBy)
	}
}

func (c *memConn) Write(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case passed(h.writeBy):
			return n, os.ErrDeadlineExceeded
		case h.err != nil:
			return n, net.ErrClosed
		case len(p) == n:
			return n, nil
		}
		if room := min(h.size-len(h.buf), len(p)-n); room > 0 {
			h.buf = append(h.buf, p[n:n+room]...)
			n += room
			if h.wake != nil {
				close(h.wake)
				h.wake = nil
			}
			continue
		}
		h.wait(h.writeBy)
	}
}

func (c *memConn) Close() error {
	c.once.Do(func() {
		c.in.change(func() { c.in.err = net.ErrClosed })
		c.out.change(func() {
			if c.out.err == nil {
				c.out.err = io.EOF
			}
		})
		close(c.gone)
	})
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (c *memConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.readBy = t })
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.out.change(func() { c.out.writeBy = t })
	return nil
}

// sentFrame is a frame that a peer has read.
type sentFrame struct {
	at      time.Duration // since the connection was made
	opcode  byte
	name    string // of a directive
	payload []byte
}

// peer is the gateway's end of one connection.
type peer struct {
	*memConn
	number int // of the connection, counted from 1
	r      *bufio.Reader
	begin  time.Time
	client <-chan struct{} // closed when the client has closed its end
	read   chan struct{}   // closed when the reader has ended
	pongs  atomic.Bool     // answer pings
	taskID string          // of the first directive

	mu     sync.Mutex
	rate   int           // bytes that are read in a second; zero for no limit
	paused chan struct{} // nil while the peer reads
	got    []sentFrame
	news   chan struct{} // closed with the next frame
}

// pause makes the peer stop reading, resume go on, and slow read slowly.
func (p *peer) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = make(chan struct{})
}

func (p *peer) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

func (p *peer) slow(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
}

// Read reads as the script says.
func (p *peer) Read(b []byte) (int, error) {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused != nil {
		select {
		case <-paused:
		case <-p.client:
		}
	}
	n, err := p.memConn.Read(b)
	p.mu.Lock()
	rate := p.rate
	p.mu.Unlock()
	if rate > 0 {
		p.sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
	return n, err
}

// sleep waits for d, or until the client hangs up.
func (p *peer) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.client:
	}
}

// drain reads what the client sends.
func (p *peer) drain() {
	defer close(p.read)
	for {
		f, err := wsframe.Read(p.r)
		if err != nil {
			return
		}
		s := sentFrame{at: time.Since(p.begin), opcode: f.Opcode(), payload: f.Payload}
		if s.opcode == wsframe.Text {
			var d struct{ Header struct{ Name string } }
			_ = json.Unmarshal(f.Payload, &d)
			s.name = d.Header.Name
		}
		if s.opcode == wsframe.Ping && p.pongs.Load() {
			p.frame(wsframe.Fin|wsframe.Pong, f.Payload)
		}
		p.mu.Lock()
		p.got = append(p.got, s)
		if p.news != nil {
			close(p.news)
			p.news = nil
		}
		p.mu.Unlock()
	}
}

// sent is what the client has sent since its first directive.
func (p *peer) sent() []sentFrame {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]sentFrame(nil), p.got...)
}

// saw waits until the client has sent a frame that is so, and reports false if it
// hangs up before.
func (p *peer) saw(is func(sentFrame) bool) bool {
	for from := 0; ; {
		p.mu.Lock()
		got := p.got
		if p.news == nil {
			p.news = make(chan struct{})
		}
		news := p.news
		p.mu.Unlock()
		for ; from < len(got); from++ {
			if is(got[from]) {
				return true
			}
		}
		select {
		case <-news:
		case <-p.read:
			return false
		}
	}
}

func isDirective(name string) func(sentFrame) bool {
	return func(s sentFrame) bool { return s.opcode == wsframe.Text && s.name == name }
}

// frame writes a frame whose first byte is first. It reports false if the client
// has gone.
func (p *peer) frame(first byte, payload []byte) bool {
	_, err := p.Write(wsframe.Append(nil, first, payload))
	return err == nil
}

// event writes an event of the task.
func (p *peer) event(name string, status int, text string) bool {
	data, _ := json.Marshal(map[string]any{
		"header":  map[string]any{"name": name, "status": status, "status_text": text, "task_id": p.taskID},
		"payload": map[string]any{},
	})
	return p.frame(wsframe.Fin|wsframe.Text, data)
}

// refuseToken writes the refusal of a token by a message.
func (p *peer) refuseToken() bool {
	return p.event("TaskFailed", nls.StatusAccessDenied, "Meta:ACCESS_DENIED:The token has expired!")
}

// accept opens the websocket, takes the first directive, and reads on from there.
func (p *peer) accept(req *http.Request) bool {
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if _, err := fmt.Fprintf(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:])); err != nil {
		return false
	}
	f, err := wsframe.Read(p.r)
	if err != nil {
		return false
	}
	var d struct {
		Header struct {
			TaskID string `json:"task_id"`
		}
	}
	_ = json.Unmarshal(f.Payload, &d)
	p.taskID = d.Header.TaskID
	p.read = make(chan struct{})
	go p.drain()
	return true
}

// peers is a gateway in which scripts answer.
type peers struct {
	t      *testing.T
	script func(p *peer)
	shake  func(p *peer, r *http.Request) bool   // the handshake; nil means peer.accept
	wrap   func(number int, c net.Conn) net.Conn // of the client's end
	size   int                                   // bytes that each direction holds; zero means 64 KiB
	mu     sync.Mutex
	all    []*peer
	ends   []*memConn // of the client
	served sync.WaitGroup
}

// newPeers returns a gateway that opens each connection, takes the first directive
// and runs script. The connection then stays until the client hangs up.
func newPeers(t *testing.T, script func(p *peer)) *peers {
	g := &peers{t: t, script: script}
	t.Cleanup(func() {
		g.mu.Lock()
		ends := g.ends
		g.mu.Unlock()
		for _, c := range ends {
			c.Close() // which the client has done if all is well
		}
		g.served.Wait()
	})
	return g
}

// config is a Config for the gateway.
func (g *peers) config() nls.Config {
	return nls.Config{URL: "ws://127.0.0.1:1/ws/v1", AppKey: "key", Token: "secret-0", NetDialContext: g.dial}
}

func (g *peers) client(change ...func(*nls.Config)) *nls.Client {
	g.t.Helper()
	cfg := g.config()
	for _, f := range change {
		f(&cfg)
	}
	c, err := nls.NewClient(cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (g *peers) dial(context.Context, string, string) (net.Conn, error) {
	size := g.size
	if size == 0 {
		size = 64 << 10
	}
	client, server := newMemConns(size)
	g.mu.Lock()
	p := &peer{memConn: server, number: len(g.all) + 1, begin: time.Now(), client: client.gone}
	p.r = bufio.NewReader(p)
	g.all = append(g.all, p)
	g.ends = append(g.ends, client)
	g.mu.Unlock()
	g.served.Go(func() {
		defer p.Close()
		req, err := http.ReadRequest(p.r)
		if err != nil {
			return
		}
		shake := g.shake
		if shake == nil {
			shake = (*peer).accept
		}
		if shake(p, req) {
			g.script(p)
		}
		<-p.client
		if p.read != nil {
			p.resume()
			<-p.read
		}
	})
	if g.wrap != nil {
		return g.wrap(p.number, client), nil
	}
	return client, nil
}

// last is the newest connection.
func (g *peers) last() *peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.all) == 0 {
		return nil
	}
	return g.all[len(g.all)-1]
}

func (g *peers) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

// open counts the connections that the client has not closed.
func (g *peers) open() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.ends {
		select {
		case <-c.gone:
		default:
			n++
		}
	}
	return n
}

// mustLeaveNothing fails the test if there is a goroutine or a connection left.
func (g *peers) mustLeaveNothing() {
	g.t.Helper()
	synctest.Wait()
	if n := g.open(); n != 0 {
		g.t.Errorf("%d connections left open", n)
	}
	mustHaveNoGoroutine(g.t)
}

// renewable is a source whose tokens can be replaced, as those of CacheTokens.
type renewable struct {
	mu           sync.Mutex
	lookups      int
	onInvalidate func()
}

func (r *renewable) Token(context.Context) (*nls.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups++
	return &nls.Token{Value: fmt.Sprint("secret-", r.lookups)}, nil
}

func (r *renewable) Invalidate(*nls.Token) {
	if r.onInvalidate != nil {
		r.onInvalidate()
	}
}

func withSource(source nls.TokenSource) func(*nls.Config) {
	return func(cfg *nls.Config) { cfg.Token, cfg.TokenSource = "", source }
}

// logbook is a slog.Handler that notes what is logged and when.
type logbook struct {
	handle func(slog.Record) // may be nil
	level  slog.Level

	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	at    time.Time
	level slog.Level
	text  string
}

func (b *logbook) Enabled(_ context.Context, level slog.Level) bool { return level >= b.level }
func (b *logbook) WithAttrs([]slog.Attr) slog.Handler               { return b }
func (b *logbook) WithGroup(string) slog.Handler                    { return b }

func (b *logbook) Handle(ctx context.Context, r slog.Record) error {
	var text bytes.Buffer
	_ = slog.NewTextHandler(&text, &slog.HandlerOptions{Level: b.level}).Handle(ctx, r)
	b.mu.Lock()
	b.lines = append(b.lines, logLine{time.Now(), r.Level, text.String()})
	b.mu.Unlock()
	if b.handle != nil {
		b.handle(r)
	}
	return nil
}

// warned lists the warnings that contain text.
func (b *logbook) warned(text string) (at []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if l.level == slog.LevelWarn && strings.Contains(l.text, text) {
			at = append(at, l.at)
		}
	}
	return at
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s strings.Builder
	for _, l := range b.lines {
		s.WriteString(l.text)
	}
	return s.String()
}
