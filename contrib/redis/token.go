package nlsredis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
)

const (
	// DefaultEarly is what TokenOptions.Early is when zero.
	DefaultEarly = 5 * time.Minute

	// lockTime is after which time somebody else asks when who asks has died.
	lockTime = 5 * time.Second

	// pollTime is how often those look who wait for the token.
	pollTime = 100 * time.Millisecond

	// maxRefused is how many tokens are remembered that are not to be served again.
	maxRefused = 8
)

// The scripts have KEYS token, lock and failures, all of one slot.
var (
	// lookScript returns the token and how many ms it lives. If there is none but
	// ARGV[3], which will not do, it returns who has the lock: ARGV[1], for ARGV[2] ms,
	// if nobody had it. After a failure that has it.
	lookScript = redis.NewScript(`
local token = redis.call('GET', KEYS[1])
if token and token ~= ARGV[3] then
  return {token, redis.call('PTTL', KEYS[1]), ''}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2], 'NX')
return {'', 0, redis.call('GET', KEYS[2])}`)

	// keepScript keeps the lock of ARGV[1] for ARGV[2] ms.
	keepScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 0`)

	// saveScript saves the token ARGV[2], for ARGV[3] ms if that is not zero, and
	// unlocks.
	saveScript = redis.NewScript(`
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('DEL', KEYS[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 0`)

	// failScript lets everybody have the failure ARGV[2] for a second, or for twice as
	// long each time if ARGV[3] says that there were too many lookups. Without a
	// failure it only unlocks.
	failScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  return redis.call('DEL', KEYS[2])
end
local pause = 1000
if ARGV[3] == '1' then
  local n = redis.call('INCR', KEYS[3])
  redis.call('PEXPIRE', KEYS[3], 180000)
  pause = math.min(1000 * 2 ^ (n - 1), 60000)
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', pause)
return 0`)
)

// TokenOptions configures NewTokenSource.
type TokenOptions struct {
	// Account names whose token it is. Required, without braces.
	Account string

	// Key encrypts the token in Redis, with AES-GCM: 16, 24 or 32 random bytes, the
	// same in every process. Processes with another Key have another token.
	Key []byte

	// Early is how long before its expiry a token is replaced, or at half of its life
	// if that is later. Zero means DefaultEarly.
	Early time.Duration
}

// NewTokenSource returns a nls.TokenSource that shares the token of src through
// client, which stays the caller's and must outlive it. One process asks src at a time,
// for all. One that dies meanwhile is replaced within 5 seconds. When src fails all
// processes that wait have the error, as a *nls.TokenError, and for a second nobody
// asks; when the service throttles lookups, for one second to one minute, twice as
// long each time.
//
// The source is a cache, as that of [nls.CacheTokens] is, and asks Redis when its token
// is due. How long a token lives is measured by Redis: clocks need not agree. Without
// Redis each process asks src for itself. When the gateway refuses a token, it is
// replaced once for all.
//
// src may be the source of [nls.NewTokenSource]. The error is a *nls.ParamError.
func NewTokenSource(client redis.UniversalClient, src nls.TokenSource, opts TokenOptions) (nls.TokenSource, error) {
	switch {
	case client == nil:
		return nil, &nls.ParamError{Param: "client", Reason: "must not be nil"}
	case src == nil:
		return nil, &nls.ParamError{Param: "src", Reason: "must not be nil"}
	case opts.Early < 0:
		return nil, &nls.ParamError{Param: "Early", Value: opts.Early, Reason: "must not be negative"}
	}
	if err := checkAccount(opts.Account); err != nil {
		return nil, err
	}
	if opts.Early == 0 {
		opts.Early = DefaultEarly
	}
	prefix := fmt.Sprintf("nls:{%s}:token:", opts.Account)
	box, err := newSealer(opts.Key, prefix)
	if err != nil {
		return nil, &nls.ParamError{Param: "Key", Reason: "must be 16, 24 or 32 bytes"}
	}
	prefix += box.id
	return nls.CacheTokens(&sharedTokens{
		client: client,
		src:    src,
		early:  opts.Early,
		keys:   []string{prefix, prefix + ":lock", prefix + ":failures"},
		box:    box,
	}, opts.Early), nil
}

// sharedTokens is the token of the fleet, behind the cache of the process.
type sharedTokens struct {
	client redis.UniversalClient
	src    nls.TokenSource
	early  time.Duration
	keys   []string
	box    *sealer

	mu      sync.Mutex
	refused []string // tokens that the gateway did not take, the last maxRefused
}

// secret is what is in Redis, sealed: a token or a failure.
type secret struct {
	Token   string        `json:",omitempty"`
	Life    time.Duration `json:",omitempty"` // when it was new; 0 means unknown
	Failure *failure      `json:",omitempty"`
}

// failure is a *nls.TokenError of another process.
type failure struct {
	Code, Message, RequestID string
	HTTPStatus               int
	Text                     string // of Err
}

// Invalidate notes that the gateway does not take tok.
func (s *sharedTokens) Invalidate(tok *nls.Token) {
	if tok == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.refused, tok.Value) {
		s.refused = append(s.refused[max(0, len(s.refused)-maxRefused+1):], tok.Value)
	}
}

func (s *sharedTokens) isRefused(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.refused, token)
}

// Token returns the token of the fleet, and makes a new one if it is this process's turn.
func (s *sharedTokens) Token(ctx context.Context) (*nls.Token, error) {
	me := rand.Text()
	stale := ""             // what Redis has that will not do
	var old *nls.Token      // the token in it
	var fallback *nls.Token // old, if it is only due
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := lookScript.Run(call, s.client, s.keys, me, lockTime.Milliseconds(), stale).Slice()
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // each for itself
			return s.ask(ctx, old)
		}
		sealed, ttl, lock := answer[0].(string), time.Duration(answer[1].(int64))*time.Millisecond, answer[2].(string)
		switch {
		case sealed != "":
			c := s.box.open(sealed)
			tok := &nls.Token{Value: c.Token}
			if c.Life != 0 {
				ttl = min(ttl, c.Life) // should the clock have been turned back
				tok.Expiry = time.Now().Add(ttl)
			}
			stale, old, fallback = sealed, tok, nil
			if c.Token == "" || s.isRefused(c.Token) {
				continue
			}
			if c.Life == 0 || ttl > min(s.early, c.Life/2) {
				return tok, nil
			}
			fallback = tok
			continue
		case lock == me:
			tok, err := s.lookUp(ctx, me, old)
			if err != nil && fallback.Valid(0) {
				return fallback, nil
			}
			return tok, err
		}
		if c := s.box.open(lock); c.Failure != nil {
			if fallback.Valid(0) {
				return fallback, nil
			}
			return nil, c.Failure.err()
		}
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask asks src for a token that is not old, which may be nil.
func (s *sharedTokens) ask(ctx context.Context, old *nls.Token) (*nls.Token, error) {
	if src, ok := s.src.(nls.Invalidator); ok && old != nil {
		src.Invalidate(old)
	}
	tok, err := s.src.Token(ctx)
	if err == nil && (tok == nil || tok.Value == "") {
		err = &nls.TokenError{Message: "the TokenSource returned no token"}
	}
	return tok, err
}

// lookUp asks src, and tells the fleet.
func (s *sharedTokens) lookUp(ctx context.Context, me string, old *nls.Token) (*nls.Token, error) {
	tok, err := func() (*nls.Token, error) {
		keep, cancel := context.WithCancel(ctx)
		var keeping sync.WaitGroup
		keeping.Go(func() { s.keepLock(keep, me) })
		defer keeping.Wait()
		defer cancel()
		return s.ask(ctx, old)
	}()
	// Even if ctx has ended others wait.
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err != nil {
		sealed, throttled := "", "0"
		if !errors.Is(err, context.Canceled) {
			f := newFailure(err)
			sealed = s.box.seal(secret{Failure: f})
			if strings.HasPrefix(f.Code, "Throttling") || f.HTTPStatus == http.StatusTooManyRequests {
				throttled = "1"
			}
		}
		_ = failScript.Run(tell, s.client, s.keys, me, sealed, throttled).Err() // then others learn it from src
		return nil, err
	}
	var life time.Duration
	if !tok.Expiry.IsZero() {
		if life = time.Until(tok.Expiry).Truncate(time.Millisecond); life <= 0 {
			life = time.Millisecond // the clock is wrong; others may find that out
		}
	}
	sealed := s.box.seal(secret{Token: tok.Value, Life: life})
	_ = saveScript.Run(tell, s.client, s.keys, me, sealed, life.Milliseconds()).Err() // then others ask src
	return tok, nil
}

// keepLock keeps the lock of me until ctx ends.
func (s *sharedTokens) keepLock(ctx context.Context, me string) {
	tick := time.NewTicker(lockTime / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			call, cancel := context.WithTimeout(ctx, callTimeout)
			_ = keepScript.Run(call, s.client, s.keys, me, lockTime.Milliseconds()).Err() // then another asks, too
			cancel()
		}
	}
}

// newFailure is err for other processes.
func newFailure(err error) *failure {
	var e *nls.TokenError
	if !errors.As(err, &e) {
		return &failure{Text: err.Error()}
	}
	f := &failure{Code: e.Code, Message: e.Message, RequestID: e.RequestID, HTTPStatus: e.HTTPStatus}
	if e.Err != nil {
		f.Text = e.Err.Error()
	}
	return f
}

func (f *failure) err() error {
	e := &nls.TokenError{Code: f.Code, Message: f.Message, RequestID: f.RequestID, HTTPStatus: f.HTTPStatus}
	if f.Text != "" {
		e.Err = errors.New(f.Text)
	}
	return e
}
