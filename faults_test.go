package nls_test

import (
	"net/http"
	"sync/atomic"

	"github.com/nlsgo/nls/nlstest"
)

// faultOnce makes the first connection misbehave.
func faultOnce(name string) func(*http.Request) *nlstest.Fault {
	f, err := nlstest.ParseFault(name)
	if err != nil {
		panic(err)
	}
	var used atomic.Bool
	return func(*http.Request) *nlstest.Fault {
		if used.Swap(true) {
			return nil
		}
		return f
	}
}
