package nlsredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
)

const (
	// DefaultLease is what LimiterOptions.Lease is when zero.
	DefaultLease = 30 * time.Second

	minLease = time.Second
	maxTick  = time.Second

	// callTimeout bounds what is asked of Redis at a time, as far as the client does.
	callTimeout = 2 * time.Second
)

// ErrClosed is what Acquire returns once a Limiter is closed.
var ErrClosed = errors.New("nlsredis: the limiter is closed")

// LimiterOptions configures NewLimiter. All processes of an account have the same.
type LimiterOptions struct {
	// Account names what the places are of: limiters of one Account share them.
	// Required, without braces.
	Account string

	// Limits are those of the account.
	Limits nls.Limits

	// Lease is after which time the places of a process that has died or is cut off
	// are free again. The service holds the session of a connection that is lost for
	// 10 seconds or so; a Lease that is shorter hands a place on before. It is
	// renewed every second, and six times in a Lease at least. Zero means
	// DefaultLease; the least is a second.
	Lease time.Duration

	// FailOpen admits sessions while Redis does not answer, as many in each process
	// as the whole account may have. Without it they wait for Redis.
	FailOpen bool

	// Owner names the process in Usage. Empty means the name of the host and the
	// process ID.
	Owner string

	// Logger is told, at Warn, when Redis does not answer, and at Info when it does
	// again. Nil means silent.
	Logger *slog.Logger
}

// Limiter is a nls.Limiter for all processes of an account. Its methods are safe for
// concurrent use.
//
// A place is a lease in Redis. A session that runs goes on whatever becomes of Redis;
// its lease is renewed when Redis is back, even if more places are taken then than
// there are. When Redis has restarted, no place is given for the first seconds (five,
// or five sixths of a short Lease), in which those who have one say so.
//
// First come, first served holds for all processes together, in the order in which
// Redis hears of them.
type Limiter struct {
	state func() *limiter // hidden from printers that use package reflect
}

type limiter struct {
	client redis.UniversalClient
	opts   LimiterOptions
	tick   time.Duration

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	lines map[string]*line // by namespace
}

// NewLimiter returns a Limiter on client, which stays the caller's and must outlive
// it. It does no I/O before the first Acquire. The caller must call Close. The error is
// a *nls.ParamError.
func NewLimiter(client redis.UniversalClient, opts LimiterOptions) (*Limiter, error) {
	if client == nil {
		return nil, &nls.ParamError{Param: "client", Reason: "must not be nil"}
	}
	if err := checkAccount(opts.Account); err != nil {
		return nil, err
	}
	if opts.Lease == 0 {
		opts.Lease = DefaultLease
	}
	if opts.Lease < minLease {
		return nil, &nls.ParamError{Param: "Lease", Value: opts.Lease, Reason: "must be a second at least"}
	}
	if opts.Owner == "" {
		host, _ := os.Hostname() // without one the process ID has to do
		opts.Owner = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Limits.ByNamespace = maps.Clone(opts.Limits.ByNamespace)
	l := &limiter{client: client, opts: opts, tick: min(maxTick, opts.Lease/6), lines: map[string]*line{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return &Limiter{func() *limiter { return l }}, nil
}

// checkAccount refuses what cannot be part of the keys.
func checkAccount(account string) error {
	if account == "" || strings.ContainsAny(account, "{}") {
		return &nls.ParamError{Param: "Account", Value: account, Reason: "must not be empty, nor have braces"}
	}
	return nil
}

// Acquire implements nls.Limiter. While Redis does not answer, its error says so.
func (l *Limiter) Acquire(ctx context.Context, namespace string) (release func(), err error) {
	return l.state().acquire(ctx, namespace)
}

func (l *limiter) acquire(ctx context.Context, namespace string) (release func(), err error) {
	limit, ok := l.opts.Limits.ByNamespace[namespace]
	if !ok {
		limit = l.opts.Limits.Each
	}
	if limit <= 0 {
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	line := l.line(namespace, limit)
	if line == nil {
		return nil, ErrClosed
	}
	w := line.enter()
	select {
	case <-w.admitted:
	case <-ctx.Done():
		return nil, line.giveUp(w, ctx.Err())
	case <-l.ctx.Done():
		return nil, line.giveUp(w, ErrClosed)
	}
	return sync.OnceFunc(func() { line.release(w) }), nil
}

// line is that of namespace; nil once l is closed.
func (l *limiter) line(namespace string, limit int) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil
	}
	n := l.lines[namespace]
	if n == nil {
		n = newLine(l, namespace, limit)
		l.lines[namespace] = n
		l.running.Go(n.run)
		l.running.Go(n.listen)
	}
	return n
}

// Close ends the waits, with ErrClosed, and tells Redis what has been given back. It is
// to be called when the sessions have ended, after [nls.Client.Drain]: the places of
// those that run are free a Lease later, and what they give back is not heard.
func (l *Limiter) Close() error {
	s := l.state()
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// Usage is how the places of a namespace are used, by LimiterOptions.Owner.
type Usage struct {
	Taken   map[string]int // leases that have not run out yet, of the dead too
	Waiting map[string]int
}

// Usage asks Redis how the places of namespace are used.
func (l *Limiter) Usage(ctx context.Context, namespace string) (Usage, error) {
	s := l.state()
	keys := limiterKeys(s.opts.Account, namespace)
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return Usage{}, fmt.Errorf("nlsredis: usage: %w", err)
	}
	count := func(key, after string) map[string]int {
		n := map[string]int{}
		var ids []string
		if err == nil {
			ids, err = s.client.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: after, Max: "+inf"}).Result()
		}
		for _, id := range ids {
			owner := id[:max(0, strings.LastIndexByte(id, '/'))]
			n[owner[:max(0, strings.LastIndexByte(owner, '/'))]]++
		}
		return n
	}
	after := fmt.Sprintf("(%d", now.UnixMilli())
	u := Usage{Taken: count(keys[0], after), Waiting: count(keys[2], after)}
	if err != nil {
		return Usage{}, fmt.Errorf("nlsredis: usage: %w", err)
	}
	return u, nil
}

// limiterKeys are the KEYS of limiter.lua.
func limiterKeys(account, namespace string) []string {
	prefix := fmt.Sprintf("nls:{%s}:%s:", account, namespace)
	return []string{prefix + "places", prefix + "queue", prefix + "waiters", prefix + "state"}
}
