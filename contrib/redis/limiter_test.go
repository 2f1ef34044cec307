package nlsredis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
)

var _ nls.Limiter = (*Limiter)(nil)

// newLimiter is a Limiter of a process of its own.
func newLimiter(t *testing.T, client redis.UniversalClient, opts LimiterOptions) *Limiter {
	t.Helper()
	l, err := NewLimiter(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// take takes a place within d; nil if there is none.
func take(t *testing.T, l *Limiter, d time.Duration) (release func()) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	release, err := l.Acquire(ctx, "A")
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	return release
}

// takeN takes n places, or fails.
func takeN(t *testing.T, l *Limiter, n int) (releases []func()) {
	t.Helper()
	for range n {
		release := take(t, l, 10*time.Second)
		if release == nil {
			t.Fatal("no place")
		}
		releases = append(releases, release)
	}
	return releases
}

// waiting waits until n sessions wait for a place.
func waiting(t *testing.T, l *Limiter, n int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		u, err := l.Usage(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, n := range u.Waiting {
			sum += n
		}
		if sum == n {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%+v, want %d waiting", u, n)
		}
	}
}

func TestBadLimiterOptionsAreParamErrors(t *testing.T) {
	client := shared.client(t)
	good := testOptions("a", 1)
	for _, c := range []struct {
		param  string
		client redis.UniversalClient
		change func(*LimiterOptions)
	}{
		{"client", nil, func(*LimiterOptions) {}},
		{"Account", client, func(o *LimiterOptions) { o.Account = "" }},
		{"Account", client, func(o *LimiterOptions) { o.Account = "a}" }},
		{"Lease", client, func(o *LimiterOptions) { o.Lease = 30 }},
		{"Lease", client, func(o *LimiterOptions) { o.Lease = -time.Second }},
	} {
		o := good
		c.change(&o)
		_, err := NewLimiter(c.client, o)
		if e := new(nls.ParamError); !errors.As(err, &e) || e.Param != c.param {
			t.Errorf("%v, want one about %s", err, c.param)
		}
	}
}

func TestPlacesAreOfANamespaceAndOfTheWholeFleet(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 2)
	opts.Limits.ByNamespace = map[string]int{"B": 1, "C": 0}
	one, two := newLimiter(t, client, opts), newLimiter(t, client, opts)
	first := takeN(t, one, 1)[0]
	takeN(t, two, 1)
	if take(t, one, 300*time.Millisecond) != nil || take(t, two, 300*time.Millisecond) != nil {
		t.Fatal("a third place of two")
	}
	for _, namespace := range []string{"B", "C", "C", "C"} {
		if _, err := one.Acquire(t.Context(), namespace); err != nil {
			t.Fatal(err)
		}
	}
	other := testOptions(t.Name()+" of another account", 1)
	takeN(t, newLimiter(t, client, other), 1)
	first()
	first() // counts once
	takeN(t, two, 1)
	if take(t, one, 300*time.Millisecond) != nil {
		t.Fatal("a place was given back twice")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := one.Acquire(ended, "A"); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire with a context that has ended: %v", err)
	}
}

func TestPlacesOutliveTheirLeaseWhileTheirProcessLives(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 2)
	opts.Lease = time.Second
	one, two := newLimiter(t, client, opts), newLimiter(t, client, opts)
	takeN(t, one, 2)
	if take(t, two, 3*opts.Lease) != nil {
		t.Error("a lease was not renewed")
	}
}

func TestWhoWaitsIsServedInTheOrderOfArrivalWhateverTheProcess(t *testing.T) {
	client := shared.client(t)
	limiters := make([]*Limiter, 4)
	for i := range limiters {
		limiters[i] = newLimiter(t, client, testOptions(t.Name(), 1))
	}
	release := takeN(t, limiters[0], 1)[0]
	const n = 40
	order := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			defer cancel()
			release, err := limiters[i*7%4].Acquire(ctx, "A")
			if err != nil {
				return
			}
			order <- i
			release()
		})
		waiting(t, limiters[0], i+1-i/10)
		if i%10 == 9 { // these give up
			cancel()
			waiting(t, limiters[0], i-i/10)
		}
	}
	begin := time.Now()
	release()
	wg.Wait()
	close(order)
	var got, want []int
	for i := range order {
		got = append(got, i)
	}
	for i := range n {
		if i%10 != 9 {
			want = append(want, i)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("served %v", got)
	}
	// Places that change hands between processes do so at once, and not at a tick.
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestAThousandWhoWaitAllHaveTheirTurnAndPlacesAreBusy(t *testing.T) {
	client := shared.client(t)
	const quota, length = 20, 50 * time.Millisecond
	starts := 1000
	if !installed() {
		starts = 200 // a miniredis is slow
	}
	limiters := make([]*Limiter, 5)
	for i := range limiters {
		limiters[i] = newLimiter(t, client, testOptions(t.Name(), quota))
	}
	releases := takeN(t, limiters[0], quota)
	var running, most atomic.Int32
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range starts {
		wg.Go(func() {
			release, err := limiters[i%len(limiters)].Acquire(t.Context(), "A")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			most.Store(max(most.Load(), running.Add(1)))
			mu.Unlock()
			time.Sleep(length)
			running.Add(-1)
			release()
		})
	}
	waiting(t, limiters[0], starts)
	begin := time.Now()
	for _, release := range releases {
		release()
	}
	wg.Wait()
	ideal := time.Duration(starts) / quota * length
	t.Logf("%v, at best %v", time.Since(begin), ideal)
	if time.Since(begin) > 2*ideal {
		t.Errorf("took %v, at best %v", time.Since(begin), ideal)
	}
	if most.Load() > quota {
		t.Errorf("%d at a time", most.Load())
	}
}

// holder starts a process that has all three places of account.
func holder(t *testing.T, addr, account string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "NLSREDIS_HOLD="+addr, "NLSREDIS_ACCOUNT="+account)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	for range 3 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return cmd
}

func TestThePlacesOfAKilledProcessAreFreeWithinTheLease(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 3)
	l := newLimiter(t, client, opts)
	for range 3 {
		cmd := holder(t, shared.addr, t.Name())
		waiting(t, l, 7) // in that process
		got := make(chan func())
		go func() { got <- take(t, l, 10*time.Second) }()
		waiting(t, l, 8)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		release := <-got
		if release == nil {
			t.Fatal("no place")
		}
		// The first place that is found is given after the lease and a tick; those who
		// waited in the dead process have left the queue by then.
		if d := time.Since(begin); d > opts.Lease+time.Second || d < opts.Lease/2 {
			t.Errorf("free after %v, want the lease, %v", d, opts.Lease)
		}
		for _, r := range append(takeN(t, l, 2), release) {
			r()
		}
	}
}

// Whose turn it is when they are dead hold up the others for moments, and not for a lease.
func TestThePlaceOfOneWhoHasDiedWaitingGoesToTheNext(t *testing.T) {
	opts := testOptions(t.Name(), 1)
	opts.Lease = 6 * time.Second
	var cable cable
	client := redis.NewClient(&redis.Options{Addr: shared.addr, Dialer: cable.dial})
	t.Cleanup(func() { client.Close() })
	one, two, dead := newLimiter(t, shared.client(t), opts), newLimiter(t, shared.client(t), opts), newLimiter(t, client, opts)
	release := takeN(t, one, 1)[0]
	var wg sync.WaitGroup
	defer wg.Wait()
	defer dead.Close()
	wg.Go(func() { take(t, dead, time.Minute) })
	waiting(t, one, 1)
	got := make(chan func())
	wg.Go(func() { got <- take(t, two, time.Minute) })
	waiting(t, one, 2)
	cable.set(true)
	begin := time.Now()
	release()
	if <-got == nil || time.Since(begin) > opts.Lease*5/6 {
		t.Errorf("after %v", time.Since(begin))
	}
}

func TestAProcessThatEndsWellLeavesNothing(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 1)
	one, two := newLimiter(t, client, opts), newLimiter(t, client, opts)
	release := takeN(t, one, 1)[0]
	failed := make(chan error)
	go func() {
		_, err := one.Acquire(t.Context(), "A")
		failed <- err
	}()
	waiting(t, two, 1)
	release()
	one.Close()
	if err := <-failed; err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("the one who waited has %v", err)
	}
	if _, err := one.Acquire(t.Context(), "A"); !errors.Is(err, ErrClosed) {
		t.Errorf("Acquire after Close: %v", err)
	}
	one.Close()
	waiting(t, two, 0)
	release() // in vain
}

func TestWhatIsGivenBackBeforeCloseIsFreeAtOnce(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 5)
	two := newLimiter(t, client, opts)
	for i := range 40 {
		one := newLimiter(t, client, opts)
		for _, release := range takeN(t, one, 5) {
			release()
			time.Sleep(time.Duration(i) * 10 * time.Microsecond) // while Redis hears of another, say
		}
		one.Close()
		begin := time.Now()
		for _, release := range takeN(t, two, 5) {
			release()
		}
		if d := time.Since(begin); d > opts.Lease/2 {
			t.Fatalf("free after %v", d)
		}
	}
}

func TestUsageSaysWhoHasThePlaces(t *testing.T) {
	client := shared.client(t)
	opts := testOptions(t.Name(), 3)
	opts.Owner = "pod/1"
	one := newLimiter(t, client, opts)
	opts.Owner = "pod/2"
	two := newLimiter(t, client, opts)
	takeN(t, one, 2)
	takeN(t, two, 1)
	var wg sync.WaitGroup
	wg.Go(func() { take(t, two, time.Minute) })
	defer wg.Wait()
	defer two.Close()
	waiting(t, one, 1)
	u, err := one.Usage(t.Context(), "A")
	if err != nil || u.Taken["pod/1"] != 2 || u.Taken["pod/2"] != 1 || u.Waiting["pod/2"] != 1 || len(u.Waiting) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestARedisThatRestartsIsToldWhatRuns(t *testing.T) {
	if !installed() {
		t.Skip("no redis-server is installed")
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"it has forgotten all", nil},
		{"it has an append-only file", []string{"--appendonly", "yes", "--appendfsync", "everysec"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := own(t, append(c.args, "--dir", t.TempDir())...)
			client := s.client(t)
			opts := testOptions("restart", 4)
			limiters := []*Limiter{newLimiter(t, client, opts), newLimiter(t, client, opts)}
			first := append(takeN(t, limiters[0], 2), takeN(t, limiters[1], 2)...)
			order := make(chan int, 6)
			var wg sync.WaitGroup
			defer wg.Wait()
			for i := range cap(order) {
				wg.Go(func() {
					if take(t, limiters[i%2], 20*time.Second) != nil {
						order <- i
					}
				})
				waiting(t, limiters[0], i+1)
				time.Sleep(100 * time.Millisecond) // that is how well the order is known
			}
			s.close()
			time.Sleep(opts.Lease / 2)
			if err := s.start(); err != nil {
				t.Fatal(err)
			}
			// Whoever runs or waits says so, in the old order; nobody is let in beyond
			// the limit, not even by a new process.
			late := newLimiter(t, client, opts)
			if take(t, late, 2*opts.Lease) != nil {
				t.Error("a fifth place of four")
			}
			waiting(t, limiters[0], 6)
			for i := range 4 {
				first[i]()
				if got := <-order; got != i {
					t.Errorf("%d is served, want %d", got, i)
				}
			}
			limiters[0].Close()
			limiters[1].Close()
		})
	}
}

// cable is a connection to Redis that can be cut, with or without a word.
type cable struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for _, conn := range c.conns {
			conn.Close()
		}
		c.conns = nil
	}
}

func TestWhileRedisIsCutOffSessionsWaitOrAreAdmittedAsWanted(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("FailOpen %v", open), func(t *testing.T) {
			var cable cable
			client := redis.NewClient(&redis.Options{Addr: shared.addr, Dialer: cable.dial})
			t.Cleanup(func() { client.Close() })
			var log lockedBuffer
			opts := testOptions(t.Name(), 3)
			opts.FailOpen = open
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			l := newLimiter(t, client, opts)
			other := newLimiter(t, shared.client(t), opts)
			first := takeN(t, l, 1)[0]
			takeN(t, other, 1)
			cable.set(true)
			if open {
				releases := takeN(t, l, 2) // the process itself keeps the limit
				if take(t, l, time.Second) != nil {
					t.Error("a fourth place of three")
				}
				releases[0]()
				takeN(t, l, 1)
			} else {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := l.Acquire(ctx, "A")
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the cable is cut") || time.Since(begin) > 3*time.Second {
					t.Errorf("Acquire = %v after %v", err, time.Since(begin))
				}
			}
			taken := func() (n int) {
				u, err := other.Usage(t.Context(), "A")
				if err != nil {
					t.Fatal(err)
				}
				for _, of := range u.Taken {
					n += of
				}
				return n
			}
			for begin := time.Now(); taken() != 1; time.Sleep(10 * time.Millisecond) {
				if time.Since(begin) > 2*opts.Lease {
					t.Fatal("the lease of a process that is cut off has not run out")
				}
			}
			cable.set(false)
			want := 2
			if open {
				want = 4
			}
			for begin := time.Now(); taken() != want; time.Sleep(10 * time.Millisecond) {
				if time.Since(begin) > 10*time.Second {
					t.Fatalf("Redis knows of %d places, want %d", taken(), want)
				}
			}
			if open && take(t, other, time.Second) != nil {
				t.Error("a place when there are more sessions than places")
			}
			first()
			if n := strings.Count(log.String(), "Redis does not answer"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, log.String())
			}
			if !strings.Contains(log.String(), "Redis answers again") {
				t.Errorf("log:\n%s", log.String())
			}
		})
	}
}

// A Redis that swallows what it is told keeps nobody longer than a context says.
func TestARedisThatSaysNothingHoldsUpNobody(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	client := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), ReadTimeout: time.Second, DialTimeout: time.Second})
	defer client.Close()
	opts := testOptions(t.Name(), 1)
	begin := time.Now()
	l := newLimiter(t, client, opts)
	if take(t, l, 100*time.Millisecond) != nil || time.Since(begin) > time.Second {
		t.Errorf("no answer after %v", time.Since(begin))
	}
	opts.FailOpen = true
	begin = time.Now()
	takeN(t, newLimiter(t, client, opts), 1)
	if time.Since(begin) > 5*time.Second {
		t.Errorf("admitted after %v", time.Since(begin))
	}
	begin = time.Now()
	l.Close()
	if time.Since(begin) > 5*time.Second {
		t.Errorf("Close took %v", time.Since(begin))
	}
}

// lockedBuffer is a Buffer for a logger.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestAPlaceThatComesAsItsSessionGivesUpIsGivenBack(t *testing.T) {
	l := newLimiter(t, shared.client(t), testOptions(t.Name(), 1))
	line := l.state().line("A", 1)
	w := line.enter()
	<-w.admitted
	if err := line.giveUp(w, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	takeN(t, l, 1)
}
