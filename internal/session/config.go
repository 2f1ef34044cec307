package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"
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
	Record         func(Frame) // is told of every message, of one session at a time or of several; nil means none

	// Token supplies the token of a connection, for a task or, with nil, for a Pool.
	// Invalidate is told of one that the gateway refused and reports whether Token may
	// now have another.
	Token      func(context.Context, *Asker) (string, error)
	Invalidate func(token string) bool
	// TokenAtHand reports whether Token would return at once. If it is nil, so it
	// would.
	TokenAtHand func() bool

	// Acquire waits for the place of a task; nil means that all have one.
	Acquire func(ctx context.Context, namespace string) (release func(), err error)
	Roster  Roster

	// Explain turns an error of this package into the one that callers see. It
	// is called once for each error, so that everybody gets the same value, and
	// must not block. taskID is "" before the connection is open.
	Explain func(taskID string, err error) error
}

// Params are the parameters of one Start.
type Params struct {
	Spec
	URL              Secret // its query may have a token in it
	Pool             *Pool  // of the gateway at URL; nil means none
	Payload, Context any    // JSON objects; nil leaves them out
	BytesPerSecond   int    // at which the audio plays; 0 if not known. For Begin

	StartTimeout    time.Duration // from dialling to readiness; negative means none
	StopTimeout     time.Duration // of Stop; negative means none
	CompleteTimeout time.Duration // of a task without Stop, from readiness; not positive means none
	IdleTimeout     time.Duration // without a message, once the input is over; not positive means none
	PingInterval    time.Duration // not positive means no pings
	PingTimeout     time.Duration // negative means none; zero means PingInterval, once a ping has been answered

	Patient  bool // callbacks take as long as they want: none is stuck
	WaitDone bool // Start waits for the end of the session
	Open     bool // deliver KindOpen

	Deliver  func(*Delivery)
	Callback func(*Delivery) string // the name of the callback that Deliver calls
	// Begin is called when Start begins, with its context. Nil means none, and so do
	// nil Hooks.
	Begin func(context.Context, Beginning) *Hooks
}

// Secret is a string that no verb of fmt prints: a function shows as an address
// wherever it stands, which even String methods of unexported fields do not.
type Secret func() string

// NewSecret hides s.
func NewSecret(s string) Secret { return func() string { return s } }

// Value is the hidden string.
func (s Secret) Value() string {
	if s == nil {
		return ""
	}
	return s()
}
