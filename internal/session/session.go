// Package session is the core of every NLS session: one websocket, one task. It
// knows no product.
package session

import "github.com/nlsgo/nls/internal/wire"

// Event is a text message of the task.
type Event struct {
	wire.Event
	Redacted string // Raw without the token, if Raw has it
}
