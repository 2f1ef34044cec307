package nls

// Trace is a set of hooks.
type Trace struct{}
