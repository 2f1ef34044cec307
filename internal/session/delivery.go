package session

import "github.com/nlsgo/nls/internal/wire"

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

	ready  bool // Start may return when this has been delivered
	result bool // it completes the task
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
