package nlsredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls/nlstest"
)

// shared is the Redis of all tests but those that break theirs.
var shared *server

func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	if addr := os.Getenv("NLSREDIS_HOLD"); addr != "" {
		hold(addr)
		return
	}
	if addr := os.Getenv("NLSREDIS_WORK"); addr != "" {
		work(addr)
		return
	}
	goleak.VerifyTestMain(withRedis{m})
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// withRedis runs the tests with a Redis, which is closed before goleak looks.
type withRedis struct{ *testing.M }

func (m withRedis) Run() int {
	shared = &server{}
	if err := shared.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.close()
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	cfg := gateway.Config()
	for name, value := range map[string]string{ // where the Examples find them
		"REDIS_URL":                       "redis://" + shared.addr,
		"TOKEN_KEY":                       strings.Repeat("01", 32),
		"NLS_URL":                         cfg.URL,
		"NLS_APPKEY":                      cfg.AppKey,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     cfg.AccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": cfg.AccessKeySecret,
		"NLSTEST_TOKENS":                  cfg.TokenOptions.Endpoint,
		"NLSTEST_CA":                      string(gateway.CertificatePEM()),
	} {
		os.Setenv(name, value)
	}
	return m.M.Run()
}

// server is a redis-server, or a miniredis where none is installed.
type server struct {
	addr string
	args []string // of redis-server
	cmd  *exec.Cmd
	mini *miniredis.Miniredis
	done chan struct{}
	wg   sync.WaitGroup
}

// installed reports whether there is a redis-server.
func installed() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}

// start starts it at a free port, or again where it was.
func (s *server) start() error {
	if !installed() {
		return s.startMini()
	}
	if s.addr == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.addr = l.Addr().String()
		l.Close()
	}
	_, port, _ := net.SplitHostPort(s.addr)
	s.cmd = exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--loglevel", "warning"}, s.args...)...)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := client.Ping(context.Background()).Err()
		if err == nil {
			return nil
		}
		if time.Since(begin) > 10*time.Second {
			s.close()
			return fmt.Errorf("redis-server does not answer: %w", err)
		}
	}
}

// startMini starts a miniredis, whose keys live as long as those of a Redis.
func (s *server) startMini() error {
	s.mini = miniredis.NewMiniRedis()
	if err := s.mini.StartAddr(s.addr); err != nil {
		return err
	}
	s.addr = s.mini.Addr()
	s.done = make(chan struct{})
	s.wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.mini.FastForward(50 * time.Millisecond)
			case <-s.done:
				return
			}
		}
	})
	return nil
}

// close kills it.
func (s *server) close() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()         // killed
		s.cmd = nil
	}
	if s.mini != nil {
		close(s.done)
		s.wg.Wait()
		s.mini.Close()
		s.mini = nil
	}
}

// client is a client of s.
func (s *server) client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr, ReadTimeout: time.Second, DialTimeout: time.Second, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// own is a Redis of the test's own.
func own(t *testing.T, args ...string) *server {
	s := &server{args: args}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// hold is a process that takes as many places of an account as it can, says so for each
// on standard output, and keeps them until it is killed or has no more standard input.
func hold(addr string) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	l, err := NewLimiter(client, testOptions(os.Getenv("NLSREDIS_ACCOUNT"), 3))
	if err != nil {
		panic(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 10 {
		go func() {
			if _, err := l.Acquire(ctx, "A"); err == nil {
				fmt.Println("a place")
			} else if !errors.Is(err, context.Canceled) {
				panic(err)
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// testOptions are those of a fleet with limit places, and short leases.
func testOptions(account string, limit int) LimiterOptions {
	o := LimiterOptions{Account: account, Lease: 2 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	o.Limits.Each = limit
	return o
}
