package session

import (
	"log/slog"
	"net"
	"time"
)

// Asker is the task that asks for a token. Its hooks are nil if nobody listens.
type Asker struct {
	Namespace, TaskID string
	Hooks             *Hooks
}

// LevelTrace is the level at which frames are logged.
const LevelTrace = slog.LevelDebug - 4

// Where a connection came from: it was opened for this Start; it was open; it
// served a task before.
const (
	ConnDialed = "dialed"
	ConnWarm   = "warm"
	ConnReused = "reused"
)

// Hooks observe a session. Every field is set; the structs have the fields of
// their namesakes in package nls, which converts them.
type Hooks struct {
	TokenDone   func(Token)
	LimitDone   func(Limit)
	DialStart   func(Dial)
	DialDone    func(Dial)
	Command     func(Message)
	Audio       func(Message)
	Event       func(Message)
	Callback    func(Message)
	Pong        func(Pong)
	Stalled     func(Stall)
	SessionDone func(Summary)
}

type (
	// Beginning is a Start that begins.
	Beginning struct {
		Namespace, TaskID string
		BytesPerSecond    int
	}
	// Token is a lookup of a token.
	Token struct {
		TaskID     string
		Cached     bool
		Background bool
		Expiry     time.Time
		Duration   time.Duration
		Left       time.Duration
		Err        error
	}
	// Limit is a wait for a place.
	Limit struct {
		Namespace, TaskID string
		Duration          time.Duration
		Err               error
	}
	// Dial is a connection attempt.
	Dial struct {
		URL, TaskID string
		Attempt     int
		Conn        string
		RemoteAddr  net.Addr
		StatusCode  int
		Duration    time.Duration
		Err         error
	}
	// Message is one message.
	Message struct {
		Namespace, Name, TaskID string
		Size                    int
		Status                  int
		Duration                time.Duration
		Pending                 int
		Err                     error
	}
	// Pong is an answered ping.
	Pong struct {
		TaskID string
		RTT    time.Duration
	}
	// Stall is a full event queue.
	Stall struct {
		TaskID       string
		Stalled      bool
		PendingBytes int
	}
	// Summary sums up a session.
	Summary struct {
		Namespace, TaskID   string
		Start, End          time.Time
		FirstResult         time.Duration
		SentBytes, RcvBytes int64
		Err                 error
	}
)
