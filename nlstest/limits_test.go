package nlstest

import "github.com/nlsgo/nls/internal/conformance"

// Every frame that a gateway sends in the tests of this package is checked, those
// of connections with a fault excepted.
func init() { conformance.Strict.Store(true) }
