package session

import (
	"context"
	"errors"
	"fmt"
)

// The sentinels that package nls re-exports; it documents them.
var (
	ErrAlreadyStarted  = errors.New("nls: session already started")
	ErrNotStarted      = errors.New("nls: session not started")
	ErrStopping        = errors.New("nls: session is stopping")
	ErrCompleted       = errors.New("nls: task completed")
	ErrDrained         = errors.New("nls: client drained")
	ErrShutdown        = errors.New("nls: session shut down")
	ErrStartTimeout    = error(&timeoutError{"nls: start timed out", context.DeadlineExceeded})
	ErrStopTimeout     = error(&timeoutError{"nls: stop timed out", context.DeadlineExceeded})
	ErrCompleteTimeout = error(&timeoutError{"nls: synthesis timed out", context.DeadlineExceeded})
	ErrPingTimeout     = error(&timeoutError{"nls: no pong from the service", nil})
	ErrWriteTimeout    = error(&timeoutError{"nls: write timed out", nil})
)

// timeoutError is a sentinel with the method Timeout that package net has made
// a convention.
type timeoutError struct {
	text string
	also error // what errors.Is finds beside the sentinel itself
}

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Timeout() bool { return true }
func (e *timeoutError) Unwrap() error { return e.also }

// stuckError is a bound that was passed because of a callback.
type stuckError struct {
	timeout  error
	callback string
}

func (e *stuckError) Error() string {
	return fmt.Sprintf("%v: %s has not returned", e.timeout, e.callback)
}
func (e *stuckError) Timeout() bool { return true }
func (e *stuckError) Unwrap() error { return e.timeout }

// exitError is user code that ended its goroutine with runtime.Goexit, as
// testing.T.FailNow does.
type exitError struct{ code string }

func (e *exitError) Error() string { return "nls: " + e.code + " has exited its goroutine" }

// The error types below have the fields of their namesakes in package nls, which
// converts them.

// HandshakeError is a refusal of the websocket upgrade.
type HandshakeError struct {
	HTTPStatus int
	Body       string
	Err        error
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("handshake refused: HTTP %d", e.HTTPStatus)
}

// CloseError is a connection that ended before the task did.
type CloseError struct {
	Code   int
	Reason string
	Err    error
}

func (e *CloseError) Error() string { return fmt.Sprintf("connection closed: %d", e.Code) }
func (e *CloseError) Unwrap() error { return e.Err }

// TaskFailed is the event of that name.
type TaskFailed struct{ Event *Event }

func (e *TaskFailed) Error() string { return "task failed: " + e.Event.StatusText }

// EncodeError is a payload or context that JSON cannot express, or one too long
// for the frame it has to fit in.
type EncodeError struct{ Reason string }

func (e *EncodeError) Error() string { return e.Reason }

// ProxyError is a proxy that opens no way to the gateway.
type ProxyError struct {
	HTTPStatus int
	SOCKSReply int
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("proxy refused: HTTP %d, SOCKS reply %d", e.HTTPStatus, e.SOCKSReply)
}
