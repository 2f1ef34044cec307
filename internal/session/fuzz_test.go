package session_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/session"
	"github.com/nlsgo/nls/internal/wsframe"
)

// peer is the server's end of a connection that says what a script tells it to.
// It reads what the client sends, unless it is told not to.
type peer struct {
	net.Conn
	taskID string        // of the client's first directive
	gone   chan struct{} // closed when the client has hung up
	pongs  bool          // answer pings

	writing chan struct{} // one slot; net.Pipe has a mutex, which synctest cannot wait for

	mu     sync.Mutex
	paused chan struct{} // nil while the peer reads; closed when it goes on
	got    []string      // what the client has sent, by first byte and the start of the payload; the end, if it is text
}

// pause makes the peer stop reading, and resume go on.
func (p *peer) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil {
		p.paused = make(chan struct{})
	}
}

func (p *peer) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// drain reads what the client sends. A pong waits its turn on a goroutine of its
// own, as if the connection had a buffer.
func (p *peer) drain(r io.Reader) {
	var pongs sync.WaitGroup
	defer pongs.Wait()
	for {
		f, err := wsframe.Read(r)
		if err != nil {
			return
		}
		if f.Opcode() == wsframe.Ping && p.pongs {
			pongs.Go(func() { p.frame(wsframe.Fin|wsframe.Pong, f.Payload) })
		}
		part := f.Payload[:min(len(f.Payload), 8)]
		if f.Opcode() == wsframe.Text {
			part = f.Payload[max(0, len(f.Payload)-8):]
		}
		p.mu.Lock()
		p.got = append(p.got, fmt.Sprintf("%x %x", f.First, part))
		paused := p.paused
		p.mu.Unlock()
		if paused != nil {
			select {
			case <-paused:
			case <-p.gone:
			}
		}
	}
}

// hangup is the client's end of a connection. It tells when it is closed, and
// what is written to it afterwards.
type hangup struct {
	net.Conn
	writing chan struct{} // as in peer
	once    sync.Once
	gone    chan struct{}
	late    *atomic.Int64
}

func (c *hangup) Write(b []byte) (int, error) {
	select {
	case <-c.gone:
		c.late.Add(1)
	default:
	}
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	return c.Conn.Write(b)
}

func (c *hangup) Close() error {
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// play serves the handshake on c and, once the first directive has come, runs
// script.
func play(c net.Conn, gone chan struct{}, pongs bool, script func(*peer)) {
	defer c.Close()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	accept := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if _, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:])); err != nil {
		return
	}
	start, err := wsframe.Read(r)
	if err != nil {
		return
	}
	p := &peer{Conn: c, gone: gone, pongs: pongs, writing: make(chan struct{}, 1)}
	if _, after, ok := strings.Cut(string(start.Payload), `"task_id":"`); ok && len(after) > 32 {
		p.taskID = after[:32]
	}
	var drained sync.WaitGroup
	drained.Go(func() { p.drain(r) })
	script(p)
	p.Close()
	p.resume()
	drained.Wait()
}

// sent is what the client has sent since its first directive.
func (p *peer) sent() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// frame writes a frame whose first byte is first. It returns false if the client
// has gone.
func (p *peer) frame(first byte, payload []byte) bool {
	return p.bytes(wsframe.Append(nil, first, payload))
}

// bytes writes bytes.
func (p *peer) bytes(b []byte) bool {
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	_, err := p.Write(b)
	return err == nil
}

// event writes an event of the task.
func (p *peer) event(name string, status int, text string) bool {
	return p.frame(0x81, fmt.Appendf(nil, `{"header":{"name":%q,"status":%d,"status_text":%q,"task_id":%q}}`, name, status, text, p.taskID))
}

func (p *peer) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.gone:
	}
}

// newScriptedFixture is newFixture with a peer in the place of the gateway. Each
// connection runs script from its start.
func newScriptedFixture(t *testing.T, script func(*peer)) *fixture {
	f := &fixture{t: t, on: map[string]func(*session.Delivery){}}
	var peers sync.WaitGroup
	f.cfg = &session.Config{
		AppKey: "key", WriteTimeout: 10 * time.Second, MaxPending: 8 << 20, Log: discard,
		NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			c := &hangup{Conn: client, writing: make(chan struct{}, 1), gone: make(chan struct{}), late: &f.late}
			peers.Go(func() { play(server, c.gone, f.pongs, script) })
			return c, nil
		},
		Token:      func(context.Context, *session.Asker) (string, error) { return "0f1e2d3c", nil }, // not a word of a status text
		Invalidate: func(string) bool { return false },
		Explain:    func(_ string, err error) error { return err },
	}
	f.params = session.Params{
		Spec: transcription, URL: session.NewSecret("ws://peer.example/ws/v1"), Payload: map[string]any{},
		StartTimeout: 10 * time.Second, StopTimeout: 10 * time.Second, Deliver: f.deliver,
	}
	t.Cleanup(func() {
		f.s.Task().Shutdown()
		<-f.s.Task().Done()
		peers.Wait()
	})
	return f
}

// tape is the input of FuzzSession, read as a program.
type tape struct {
	mu   sync.Mutex
	data []byte
}

// next returns the next byte, or io.EOF.
func (t *tape) next() (byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.data) == 0 {
		return 0, io.EOF
	}
	b := t.data[0]
	t.data = t.data[1:]
	return b, nil
}

// bytes returns the next bytes, as many as the one before them says.
func (t *tape) bytes() []byte {
	n, _ := t.next()
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.data[:min(int(n), len(t.data))]
	t.data = t.data[len(b):]
	return b
}

func (t *tape) seconds() time.Duration {
	b, _ := t.next()
	return time.Duration(b%30) * 500 * time.Millisecond
}

// The programs of the peer. Every connection goes on where the last one stopped.
func (t *tape) playPeer(p *peer) {
	for on := true; on; {
		op, err := t.next()
		if err != nil {
			<-p.gone // say nothing more
			return
		}
		switch op % 20 {
		case 0:
			on = p.event("TranscriptionStarted", 20000000, "")
		case 1:
			on = p.event("SentenceEnd", 20000000, "")
		case 2:
			on = p.event("TranscriptionCompleted", 20000000, "")
		case 3:
			on = p.event("TaskFailed", 50000000, "boom")
		case 4:
			on = p.event("TaskFailed", 40000001, "the token has expired")
		case 5:
			on = p.frame(0x82, t.bytes())
		case 6:
			on = p.bytes(t.bytes())
		case 7:
			on = p.frame(0x89, nil)
		case 8:
			on = p.frame(0x88, t.bytes())
		case 9:
			on = false
		case 10, 11:
			p.sleep(t.seconds())
		case 12:
			p.pause()
		case 13:
			p.resume()
		case 14:
			id := p.taskID
			p.taskID = "0123456789abcdef0123456789abcdef"
			on = p.event("TranscriptionCompleted", 20000000, "")
			p.taskID = id
		case 15:
			on = p.frame(0x81, t.bytes())
		case 16:
			first, _ := t.next()
			on = p.frame(first, t.bytes())
		case 17:
			for range 50 {
				on = on && p.event("TranscriptionResultChanged", 20000000, "")
			}
		case 18:
			on = p.frame(0x8a, nil)
		case 19:
			on = p.frame(0x01, []byte(`{"header":`)) && p.frame(0x80, []byte(`{"name":"SentenceBegin"}}`))
		}
	}
}

// record is what one Start was seen to do.
type record struct {
	mu        sync.Mutex
	seen      []session.Kind
	busy      bool
	failed    error
	closed    error
	over      bool // Done is about to close
	muted     bool // Shutdown has returned, and Start before it
	problems  []string
	onNext    func() // what the next callback does
	connected bool
}

func (r *record) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *record) deliver(d *session.Delivery) {
	r.mu.Lock()
	switch {
	case r.busy:
		r.problem("two callbacks at a time")
	case r.over:
		r.problem("callback %d after Done", d.Kind)
	case r.muted && d.Kind != session.KindClosed:
		r.problem("callback %d after Shutdown", d.Kind)
	case slices.Contains(r.seen, session.KindClosed):
		r.problem("callback %d after OnClose", d.Kind)
	case slices.Contains(r.seen, session.KindFailed) && d.Kind != session.KindClosed:
		r.problem("callback %d after OnError", d.Kind)
	}
	r.seen = append(r.seen, d.Kind)
	switch d.Kind {
	case session.KindFailed:
		r.failed = d.Err
	case session.KindClosed:
		r.closed = d.Err
	}
	r.busy = true
	next := r.onNext
	r.onNext = nil
	r.mu.Unlock()
	if next != nil {
		next()
	}
	r.mu.Lock()
	r.busy = false
	r.mu.Unlock()
}

// FuzzSession plays random frames of a peer against random calls and checks what
// holds for every session.
func FuzzSession(f *testing.F) {
	for _, seed := range []struct{ peer, calls string }{
		{"\x00\x01\x02", "\x00\x02\x03\x04\x0a"},                                     // all is well
		{"\x00\x03", "\x00\x02\x10\x03"},                                             // TaskFailed
		{"\x04\x00\x01\x02", "\x00\x0a\x03"},                                         // a refused token, and another
		{"\x04\x04", "\x00\x0a"},                                                     // two
		{"\x00\x0a\x10\x0c\x0a\x10\x0d", "\x00\x0a\x02\xff\x02\xff\x02\xff\x03"},     // a peer that stops reading
		{"\x00\x11\x11\x02", "\x08\x14\x00\x03"},                                     // a slow callback
		{"\x00\x09\x00\x02", "\x00\x0a\x00\x0a\x03"},                                 // EOF, and a second Start
		{"\x00\x08\x05\x03\xe8bye", "\x00\x05\x0a\x03"},                              // a close frame
		{"\x0a\x08\x00\x02", "\x00\x04\x00\x06\x04\x03"},                             // Shutdown during Start
		{"\x00\x10\xff\x02ab", "\x00\x09\x02\x03"},                                   // a broken frame; a callback that shuts down
		{"\x02", "\x00\x0a\x00"},                                                     // Completed without an answer
		{"\x00\x02", "\x08\x04\x00\x03\x01\x05"},                                     // Completed without Stop
		{"\x00\x13\x0e\x0f\x02{}\x05\x02ab\x07\x12\x02", "\x00\x02\x03\x07\x0a\x03"}, // everything skipped
	} {
		f.Add([]byte(seed.peer), []byte(seed.calls), byte(0))
		f.Add([]byte(seed.peer), []byte(seed.calls), byte(7))
	}
	f.Fuzz(func(t *testing.T, peerTape, callTape []byte, mode byte) {
		if len(peerTape) > 200 || len(callTape) > 100 {
			t.Skip("long enough")
		}
		synctest.Test(t, func(t *testing.T) { fuzzSession(t, &tape{data: peerTape}, &tape{data: callTape}, mode) })
	})
}

func fuzzSession(t *testing.T, frames, calls *tape, mode byte) {
	fix := newScriptedFixture(t, frames.playPeer)
	fix.cfg.Invalidate = func(string) bool { return mode&1 != 0 }
	if mode&2 != 0 {
		fix.cfg.MaxPending = 2 << 10
	}
	if mode&4 != 0 {
		fix.params.PingInterval, fix.params.PingTimeout = 4*time.Second, 2*time.Second
	}
	fix.params.Open = mode&8 != 0
	if mode&16 != 0 { // a synthesis: no answer, no Stop
		fix.params.Started, fix.params.Stop = nil, ""
		fix.params.WaitDone = mode&32 != 0
		fix.params.CompleteTimeout, fix.params.IdleTimeout = 20*time.Second, 15*time.Second
	}
	fix.pongs = mode&64 != 0
	s := &fix.s
	var (
		mu      sync.Mutex
		records []*record
		wg      sync.WaitGroup
		slept   time.Duration // by callbacks, at most
		late    []func() (string, bool)
	)
	last := func() *record {
		mu.Lock()
		defer mu.Unlock()
		if len(records) == 0 {
			return &record{}
		}
		return records[len(records)-1]
	}
	// timed runs a call that has to return in time. Callbacks that make progress
	// are given the time they take.
	timed := func(name string, limit time.Duration, call func()) {
		wg.Go(func() {
			begin := time.Now()
			call()
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			late = append(late, func() (string, bool) { return fmt.Sprintf("%s took %v", name, took), took > limit+slept })
		})
	}
	start := func(ctx context.Context) {
		r := &record{}
		p := fix.params
		p.Deliver = r.deliver
		hooks := noHooks()
		p.Begin = always(hooks)
		hooks.DialStart = func(session.Dial) { r.mu.Lock(); r.connected = false; r.mu.Unlock() }
		hooks.Command = func(m session.Message) {
			if m.Name == p.Start {
				r.mu.Lock()
				r.connected = true
				r.mu.Unlock()
			}
		}
		hooks.SessionDone = func(session.Summary) { r.mu.Lock(); r.over = true; r.mu.Unlock() }
		mu.Lock()
		records = append(records, r)
		mu.Unlock()
		err := s.Start(ctx, fix.cfg, p)
		if err == nil && !p.WaitDone && len(p.Started) > 0 {
			r.mu.Lock()
			if !slices.Contains(r.seen, session.KindEvent) {
				r.problem("Start returned nil before its answer was delivered")
			}
			r.mu.Unlock()
		}
	}
	const limit = 12 * time.Second // ten, and the grace
	startLimit, stopLimit := limit, limit
	if fix.params.Stop == "" {
		stopLimit += 20 * time.Second // Stop is Wait, which ends with the synthesis
	}
	if fix.params.WaitDone {
		startLimit += 20*time.Second + 10*time.Second // CompleteTimeout, and another attempt
	}
	for range 60 {
		op, err := calls.next()
		if err != nil {
			break
		}
		switch op % 14 {
		case 0, 1:
			timed("Start", startLimit, func() { start(t.Context()) })
			if op%14 == 0 {
				synctest.Wait()
			}
		case 2:
			n, _ := calls.next()
			timed("SendBinary", time.Minute, func() { _ = s.Task().SendBinary(make([]byte, 100*int(n))) })
		case 3:
			timed("Stop", stopLimit, func() { _ = s.Task().Stop(t.Context()) })
		case 4:
			s.Task().Shutdown()
		case 5:
			timed("Send", time.Minute, func() { _ = s.Task().Send("ControlTranscriber", nil, map[string]any{}) })
		case 6, 7:
			time.Sleep(calls.seconds())
		case 8:
			d := calls.seconds()
			slept += d
			r := last()
			r.mu.Lock()
			r.onNext = func() { time.Sleep(d) }
			r.mu.Unlock()
		case 9:
			r := last()
			r.mu.Lock()
			r.onNext = s.Task().Shutdown
			r.mu.Unlock()
		case 10:
			synctest.Wait()
		case 11:
			d := calls.seconds()
			ctx, cancel := context.WithTimeout(t.Context(), d)
			timed("Wait", d, func() { defer cancel(); _ = s.Task().Wait(ctx) })
		case 12:
			ctx, cancel := context.WithCancel(t.Context())
			d := calls.seconds()
			timed("Start", startLimit, func() { defer cancel(); start(ctx) })
			wg.Go(func() { time.Sleep(d); cancel() })
		case 13:
			r := last()
			r.mu.Lock()
			r.onNext = func() { _ = s.Task().SendBinary(make([]byte, 640)); _ = s.Task().Err(); _ = s.Task().TaskID() }
			r.mu.Unlock()
		}
	}

	// The end. A Start may have been waiting for the session before it.
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	for ended := false; !ended; {
		synctest.Wait()
		s.Task().Shutdown()
		select {
		case <-all:
			ended = true
		case <-time.After(time.Minute):
		}
	}
	for _, f := range late {
		if what, ok := f(); ok {
			t.Error(what)
		}
	}
	s.Task().Shutdown()
	for _, r := range records {
		r.mu.Lock()
		r.muted = true
		r.mu.Unlock()
	}
	begin := time.Now()
	<-s.Task().Done()
	if took := time.Since(begin); took > slept+time.Second { // for the callbacks and the goodbye
		t.Errorf("Done took %v", took)
	}
	synctest.Wait()
	if n, stacks := sessionGoroutines(); n != 0 {
		t.Errorf("%d goroutines after Done:\n%s", n, stacks)
	}
	time.Sleep(time.Minute)

	for i, r := range records {
		closed := 0
		for _, kind := range r.seen {
			if kind == session.KindClosed {
				closed++
			}
		}
		if want := map[bool]int{true: 1}[r.connected]; closed != want {
			t.Errorf("start %d: OnClose %d times, want %d: %v", i, closed, want, r.seen)
		}
		if r.failed != nil && r.failed != r.closed {
			t.Errorf("start %d: OnError got %v, OnClose %v", i, r.failed, r.closed)
		}
		if r.failed == nil && slices.Contains(r.seen, session.KindFailed) {
			t.Errorf("start %d: OnError without an error", i)
		}
		for _, p := range r.problems {
			t.Errorf("start %d: %s", i, p)
		}
	}
	if len(records) > 0 && errors.Is(s.Task().Err(), session.ErrAlreadyStarted) {
		t.Errorf("Err = %v", s.Task().Err())
	}
}
