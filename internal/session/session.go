// Package session is the core of every NLS session: one websocket, one task. It
// knows the wire's envelope but no product; a product is a [Spec] and a function
// that takes what the session delivers.
//
// Four kinds of goroutines touch a task. The caller's send. The reader, one for
// each connection, reads the socket and never runs user code. The dispatcher runs
// the callbacks; it exists only while something waits to be delivered. The ping
// timer's function writes pings. The dispatcher outlives the others and closes
// the task's done channel as its last act.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/wire"
)

// Spec is what a product is to the core: the names on the wire.
type Spec struct {
	Namespace string
	Start     string   // the directive that opens the task
	Started   []string // the events that answer it; none means that sending it is enough
	Final     []string // the events that complete the task
	Stop      string   // the directive that ends the input, if there is one
}

// Config is what the sessions of a client share.
type Config struct {
	AppKey         string
	WriteTimeout   time.Duration // negative means none
	MaxPending     int           // bytes
	Header         http.Header
	TLSConfig      *tls.Config
	Proxy          func(*http.Request) (*url.URL, error)
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Log            *slog.Logger

	// Token supplies the token of a connection. Invalidate is told of one that
	// the gateway refused and reports whether Token may now have another.
	Token      func(context.Context) (string, error)
	Invalidate func(token string) bool

	// Explain turns an error of this package into the one that callers see. It
	// is called once for each error, so that everybody gets the same value.
	// taskID is "" before the connection is open.
	Explain func(taskID string, err error) error
}

// Params are the parameters of one Start.
type Params struct {
	Spec
	URL              Secret // its query may have a token in it
	Payload, Context any    // JSON objects; nil leaves them out

	StartTimeout    time.Duration // from dialling to readiness; negative means none
	StopTimeout     time.Duration // of Stop; negative means none
	CompleteTimeout time.Duration // of a task without Stop, from readiness; not positive means none
	IdleTimeout     time.Duration // without a message, once the input is over; not positive means none
	PingInterval    time.Duration // not positive means no pings
	PingTimeout     time.Duration // zero means none

	WaitDone bool // Start waits for the end of the session
	Open     bool // deliver KindOpen

	Deliver func(*Delivery)
	Hooks   *Hooks // nil means none
}

// Event is a text message of the task.
type Event struct {
	wire.Event
	Redacted string // Raw without the token, if Raw has it
}

// Kind is what a Delivery is.
type Kind int

// The kinds, in the order in which a session may deliver them.
const (
	KindOpen   Kind = iota // connected, and the first directive is sent
	KindEvent              // a text message
	KindData               // a binary message
	KindFailed             // the session failed; at most once, not after Shutdown
	KindClosed             // the connection is gone; once, last
)

// Delivery is something for the user's callbacks. Deliveries of a session come
// one at a time, in order.
type Delivery struct {
	Kind   Kind
	TaskID string
	Event  *Event // KindEvent; and KindFailed, if a TaskFailed was the reason
	Data   []byte // KindData
	Err    error  // KindFailed, KindClosed
	Code   int    // KindClosed: websocket close code, -1 if the peer sent none
	Reason string // KindClosed: websocket close reason

	ready bool // Start may return when this has been delivered
}

// deliveryCost is what a small Delivery costs beside its message, for the bound
// on pending bytes: the struct, the decoded header and their allocations.
const deliveryCost = 512

func (d *Delivery) size() int {
	n := deliveryCost + len(d.Data)
	if d.Event != nil {
		n += len(d.Event.Raw)
	}
	return n
}

// Session is a reusable session object: each Start makes a new task. The zero
// value has never been started. All methods are safe for concurrent use.
type Session struct {
	mu   sync.Mutex
	task *task // current or last
}

func (s *Session) current() *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.task
}

// Start opens a task. See nls.Recognizer.Start.
func (s *Session) Start(ctx context.Context, cfg *Config, p Params) error {
	t := newTask(cfg, p)
	if _, err := t.encode(p.Start, p.Payload, p.Context); err != nil {
		return err
	}
	open, cancel := withTimeout(ctx, p.StartTimeout)
	defer cancel()
	if err := s.claim(open, t); err != nil {
		return err
	}
	return t.run(ctx, open)
}

// claim makes t the current task, after the end of the one before.
func (s *Session) claim(ctx context.Context, t *task) error {
	for {
		s.mu.Lock()
		last := s.task
		if last == nil || last.ended() {
			s.task = t
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		if last.getPhase() < closing {
			return ErrAlreadyStarted
		}
		select {
		case <-last.done:
		case <-ctx.Done():
			return t.cfg.Explain("", deadlineError(ctx, ErrStartTimeout))
		}
	}
}

// Stop sends the stop directive and waits for the end of the session.
func (s *Session) Stop(ctx context.Context) error {
	t := s.current()
	if t == nil {
		return ErrNotStarted
	}
	ctx, cancel := withTimeout(ctx, t.p.StopTimeout)
	defer cancel()
	return t.stop(ctx)
}

// SendBinary sends data in messages of at most maxFrame bytes.
func (s *Session) SendBinary(data []byte) error {
	t := s.current()
	if t == nil {
		return ErrNotStarted
	}
	return t.sendBinary(data)
}

// Send sends directives of the same name, one for each payload, with no other
// message of the session between them.
func (s *Session) Send(name string, context any, payloads ...any) error {
	t := s.current()
	if t == nil {
		return ErrNotStarted
	}
	return t.sendDirectives(name, context, payloads)
}

// Wait waits for the end of the session or of ctx and leaves the session alone.
func (s *Session) Wait(ctx context.Context) error {
	t := s.current()
	if t == nil {
		return ErrNotStarted
	}
	defer t.hint("Wait")()
	select {
	case <-t.done:
		return t.err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown ends the session now.
func (s *Session) Shutdown() {
	if t := s.current(); t != nil {
		t.shutdown()
	}
}

// closedChan is the Done of a session that was never started.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done is closed when the last callback of the session has returned.
func (s *Session) Done() <-chan struct{} {
	if t := s.current(); t != nil {
		return t.done
	}
	return closedChan
}

// Err is why the session ended; nil while it runs and when it completed.
func (s *Session) Err() error {
	if t := s.current(); t != nil {
		return t.err()
	}
	return nil
}

// TaskID is the id of the current task or of the last one.
func (s *Session) TaskID() string {
	if t := s.current(); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.id
	}
	return ""
}

// withTimeout is context.WithTimeout for which a negative d means none.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// deadlineError is the error of a call whose context has ended: timeout if it
// was a deadline that passed, else the context's own.
func deadlineError(ctx context.Context, timeout error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return timeout
	}
	return ctx.Err()
}
