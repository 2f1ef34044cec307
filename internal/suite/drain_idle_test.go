package suite

import (
	"testing"
	"testing/synctest"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// A process that has drained its Client may be gone before a warm connection is, and
// the gateway would count it until it notices.
func TestDrainClosesTheConnectionsThatWait(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		w := new(wires)
		client := clientOf(t, server, func(c *nls.Config) { c.WarmConnections = 2 }, w.use)
		err := client.Warm(t.Context())
		if _, open := w.count(); err != nil || open != 2 {
			t.Fatalf("%d warm connections, %v", open, err)
		}
		if err := client.Drain(t.Context()); err != nil {
			t.Errorf("Drain = %v", err)
		}
		synctest.Wait()
		if _, open := w.count(); open != 0 {
			t.Errorf("%d connections are left", open)
		}
	})
}
