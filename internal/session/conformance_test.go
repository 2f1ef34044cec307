package session_test

import "github.com/nlsgo/nls/internal/conformance"

// Every frame that nlstest sends in these tests has to be one that the official
// SDKs of other languages could read too.
func init() { conformance.Strict.Store(true) }
