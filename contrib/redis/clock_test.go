package nlsredis

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	miniserver "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

// jumper is a Redis whose clock jumps, and goes on between jumps: each script reads the
// time anew.
func jumper(t *testing.T) (client *redis.Client, jump func(time.Duration)) {
	s := miniredis.RunT(t)
	var offset atomic.Int64
	s.Server().SetPreHook(func(_ *miniserver.Peer, cmd string, _ ...string) bool {
		if cmd == "EVAL" || cmd == "EVALSHA" { // what these call runs in their lock
			s.SetTime(time.Now().Add(time.Duration(offset.Load())))
		}
		return false
	})
	return (&server{addr: s.Addr()}).client(t), func(d time.Duration) { offset.Add(int64(d)) }
}

func TestAClockThatJumpsNeitherAddsNorLosesPlaces(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			client, jump := jumper(t)
			opts := testOptions("jump", 2)
			limiters := []*Limiter{newLimiter(t, client, opts), newLimiter(t, client, opts)}
			var cable cable
			doomed := redis.NewClient(&redis.Options{Addr: client.Options().Addr, Dialer: cable.dial, MaxRetries: -1})
			defer doomed.Close()
			dead := newLimiter(t, doomed, opts)
			takeN(t, dead, 1)
			first := takeN(t, limiters[0], 1)[0]
			order := make(chan int, 4)
			var wg sync.WaitGroup
			defer wg.Wait()
			enter := func(i int) {
				wg.Go(func() {
					if release := take(t, limiters[i%2], 20*time.Second); release != nil {
						order <- i
						release()
					}
				})
				waiting(t, limiters[0], i+1)
			}
			enter(0)
			enter(1)
			cable.set(true)
			begin := time.Now()
			jump(d)
			enter(2) // is behind those that came before the jump
			enter(3)
			for want := range 4 {
				if got := <-order; got != want {
					t.Errorf("%d is served, want %d", got, want)
				}
				if d := time.Since(begin); d < opts.Lease*3/4 {
					t.Errorf("a third place of two after %v", d)
				}
			}
			if since := time.Since(begin); since > 2*opts.Lease {
				t.Errorf("a place of the dead is free after %v, want %v", since, opts.Lease)
			}
			first()
		})
	}
}
