package nlsredis

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// counter counts connections: a gateway that knows nothing else.
type counter struct {
	net.Listener
	wg sync.WaitGroup

	mu                 sync.Mutex
	running, most, all int
	longest            time.Duration // wait for a place
}

// serve counts a connection until it has said how long it waited, or is gone.
func (c *counter) serve() {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.running++
		c.all++
		c.most = max(c.most, c.running)
		c.mu.Unlock()
		c.wg.Go(func() {
			defer conn.Close()
			var waited time.Duration
			_, err := fmt.Fscanln(conn, (*int64)(&waited))
			c.mu.Lock()
			c.running--
			if err == nil {
				c.longest = max(c.longest, waited)
			}
			c.mu.Unlock()
			_, _ = conn.Write([]byte{'\n'}) // it is not counted any more
		})
	}
}

// work is a process with sessions all the time, until it has no more standard input.
func work(addr string) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	l, err := NewLimiter(client, testOptions(os.Getenv("NLSREDIS_ACCOUNT"), chaosLimit))
	if err != nil {
		panic(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 10 {
		wg.Go(func() {
			for ctx.Err() == nil {
				begin := time.Now()
				wait, stop := ctx, context.CancelFunc(func() {})
				if rand.N(10) == 0 { // some give up
					wait, stop = context.WithTimeout(ctx, rand.N(20*time.Millisecond))
				}
				release, err := l.Acquire(wait, "A")
				stop()
				if err != nil {
					continue
				}
				waited := time.Since(begin)
				if conn, err := net.Dial("tcp", os.Getenv("NLSREDIS_COUNTER")); err == nil {
					time.Sleep(rand.N(20 * time.Millisecond))
					fmt.Fprintln(conn, int64(waited))
					_, _ = conn.Read(make([]byte, 1))
					conn.Close()
				}
				release()
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

const chaosLimit = 8

func TestTheLimitHoldsWhileProcessesAreKilledAndRedisRestarts(t *testing.T) {
	if !installed() || testing.Short() {
		t.Skip("no redis-server is installed, or -short")
	}
	length := 10 * time.Second
	if d, err := time.ParseDuration(os.Getenv("NLSREDIS_CHAOS")); err == nil {
		length = d
	}
	s := own(t, "--appendonly", []string{"yes", "no"}[rand.N(2)], "--dir", t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{Listener: listener}
	c.wg.Go(c.serve)
	defer c.wg.Wait()
	defer listener.Close()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for time.Since(begin) < length {
				cmd := exec.Command(exe)
				cmd.Env = append(os.Environ(), "NLSREDIS_WORK="+s.addr, "NLSREDIS_ACCOUNT=chaos", "NLSREDIS_COUNTER="+listener.Addr().String())
				cmd.Stderr = os.Stderr
				stdin, err := cmd.StdinPipe()
				if err != nil {
					t.Error(err)
					return
				}
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Second + rand.N(4*time.Second))
				if i == 0 || rand.N(2) == 0 && time.Since(begin) < length {
					_ = cmd.Process.Kill() // kill -9
				}
				stdin.Close()
				_ = cmd.Wait() // killed or not
			}
		})
	}
	for time.Since(begin) < length-4*time.Second {
		time.Sleep(4*time.Second + rand.N(4*time.Second))
		s.close()
		time.Sleep(rand.N(2 * time.Second))
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d sessions, %d at a time, the longest wait %v", c.all, c.most, c.longest)
	if c.most > chaosLimit {
		t.Errorf("%d at a time, want %d at most", c.most, chaosLimit)
	}
	if c.all < 100 {
		t.Errorf("%d sessions", c.all)
	}
}
