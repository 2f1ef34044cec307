package session

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// A connection is opened, handed over, used by one task after another and closed,
// and knows of no task.
func TestAConnectionServesOneOwnerAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialing(t, func(req *http.Request, w io.Writer) { _, _ = io.WriteString(w, accept(req, "")) })
		c, err := d.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-d.served
		// Whatever the gateway gets, it answers; pings like the rest.
		seen := newDiary()
		go func() {
			for {
				f, err := wsframe.Read(d.peer)
				if err != nil {
					return
				}
				seen.now("%x:%s", f.First, f.Payload)
				first := f.First
				switch f.Opcode() {
				case wsframe.Ping:
					first = wsframe.Fin | wsframe.Pong
				case wsframe.Close:
					continue
				}
				go func() { _, _ = d.peer.Write(wsframe.Append(nil, first, f.Payload)) }()
			}
		}()

		idle := &owner{diary: newDiary()} // it waits for a task
		c.handTo(idle)
		c.startPings(newPinger(8*time.Second, time.Second))
		c.serve()
		time.Sleep(20 * time.Second)
		expect(t, idle, "pong:0s pong:0s")

		var owners []*owner
		for i := range 3 {
			o := &owner{diary: newDiary()}
			owners = append(owners, o)
			c.handTo(o)
			c.startPings(newPinger(2*time.Second, time.Second))
			for range 2 {
				if err := c.lock(nil, c.writeDeadline()); err != nil {
					t.Fatal(err)
				}
				if err := c.write(wsframe.Text, fmt.Append(nil, "task", i), c.writeDeadline()); err != nil {
					t.Fatal(err)
				}
				c.unlock()
			}
			time.Sleep(3 * time.Second)
			c.startPings(nil) // of a task
			c.handTo(idle)
			time.Sleep(time.Minute)
		}
		c.close(wsframe.CloseNormal)
		if !isClosed(c.reader.done) || !isClosed(c.closed) {
			t.Error("it is still open")
		}
		for i, o := range owners {
			expect(t, o, fmt.Sprintf("1:task%d 1:task%d pong:0s", i, i))
		}
		if got := idle.String(); !strings.HasPrefix(got, "pong:0s pong:0s lost:-1:") {
			t.Error("the first owner saw", got)
		}
		expect(t, seen, "89:@8s 89:@16s 81:task0@20s 81:task0@20s 89:@22s 81:task1@1m23s 81:task1@1m23s 89:@1m25s "+
			"81:task2@2m26s 81:task2@2m26s 89:@2m28s 88:\x03\xe8@3m29s")
	})
}
