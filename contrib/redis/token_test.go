package nlsredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
)

// service counts lookups.
type service struct {
	lookups atomic.Int32
	life    time.Duration // of tokens; 0 means unknown
	answer  func(ctx context.Context, n int) error
}

func (s *service) Token(ctx context.Context) (*nls.Token, error) {
	n := int(s.lookups.Add(1))
	if s.answer != nil {
		if err := s.answer(ctx, n); err != nil {
			return nil, err
		}
	}
	tok := &nls.Token{Value: fmt.Sprintf("recognisable-%d", n)}
	if s.life > 0 {
		tok.Expiry = time.Now().Add(s.life)
	}
	return tok, nil
}

var testKey = []byte("0123456789abcdef")

// fleet are the sources of n processes.
func fleet(t *testing.T, n int, client redis.UniversalClient, s *service) []nls.TokenSource {
	t.Helper()
	sources := make([]nls.TokenSource, n)
	for i := range sources {
		src, err := NewTokenSource(client, s, TokenOptions{Account: t.Name(), Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		sources[i] = src
	}
	return sources
}

// tokens asks all sources at a time. It returns how many said what: values or errors.
func tokens(t *testing.T, sources []nls.TokenSource) map[string]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for _, src := range sources {
		wg.Go(func() {
			tok, err := src.Token(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				got[err.Error()]++
				return
			}
			if !tok.Valid(0) {
				t.Error("a token that has expired")
			}
			got[tok.Value]++
		})
	}
	wg.Wait()
	return got
}

func refuse(sources []nls.TokenSource, value string) {
	for _, src := range sources {
		src.(nls.Invalidator).Invalidate(&nls.Token{Value: value})
	}
}

func TestBadTokenOptionsAreParamErrors(t *testing.T) {
	client := shared.client(t)
	good := TokenOptions{Account: "a", Key: testKey}
	for _, c := range []struct {
		param  string
		client redis.UniversalClient
		src    nls.TokenSource
		change func(*TokenOptions)
	}{
		{"client", nil, &service{}, func(*TokenOptions) {}},
		{"src", client, nil, func(*TokenOptions) {}},
		{"Account", client, &service{}, func(o *TokenOptions) { o.Account = "" }},
		{"Key", client, &service{}, func(o *TokenOptions) { o.Key = []byte("recognisable") }},
		{"Early", client, &service{}, func(o *TokenOptions) { o.Early = -1 }},
	} {
		o := good
		c.change(&o)
		_, err := NewTokenSource(c.client, c.src, o)
		if e := new(nls.ParamError); !errors.As(err, &e) || e.Param != c.param || strings.Contains(err.Error(), "recognisable") {
			t.Errorf("%v, want one about %s", err, c.param)
		}
	}
}

func TestAFleetMakesOneLookup(t *testing.T) {
	client := shared.client(t)
	s := &service{life: time.Hour, answer: func(context.Context, int) error { time.Sleep(300 * time.Millisecond); return nil }}
	sources := fleet(t, 10, client, s)
	if got := tokens(t, sources); got["recognisable-1"] != 10 {
		t.Errorf("%v", got)
	}
	sources = append(sources, fleet(t, 5, client, s)...) // that start later
	if got := tokens(t, sources); got["recognisable-1"] != 15 {
		t.Errorf("%v", got)
	}
	refuse(sources, "recognisable-1")
	refuse(sources, "another")
	if got := tokens(t, sources); got["recognisable-2"] != 15 {
		t.Errorf("after a refusal %v", got)
	}
	if n := s.lookups.Load(); n != 2 {
		t.Errorf("%d lookups", n)
	}
	tok, err := sources[0].Token(t.Context())
	if err != nil || time.Until(tok.Expiry) > time.Hour || time.Until(tok.Expiry) < 59*time.Minute {
		t.Errorf("%v, %v", tok, err)
	}
}

func TestRedisHasNothingReadable(t *testing.T) {
	s := own(t)
	client := s.client(t)
	src := &service{}
	tokens(t, fleet(t, 1, client, src))
	src.answer = func(context.Context, int) error { return &nls.TokenError{Message: "recognisable"} }
	other, err := NewTokenSource(client, src, TokenOptions{Account: "other", Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	tokens(t, []nls.TokenSource{other})
	keys := client.Keys(t.Context(), "*").Val()
	if len(keys) != 2 {
		t.Errorf("keys %q", keys)
	}
	for _, key := range keys {
		value := client.Get(t.Context(), key).Val()
		if strings.Contains(key+value, "recognisable") || strings.Contains(key+value, string(testKey)) || len(value) < 28 {
			t.Errorf("%q is %q", key, value)
		}
	}
}

func TestWhatIsNotSealedWithTheKeyOfTheCallerIsNoToken(t *testing.T) {
	client := shared.client(t)
	s := &service{life: time.Hour}
	first := fleet(t, 1, client, s)
	tokens(t, first)
	src, err := NewTokenSource(client, s, TokenOptions{Account: t.Name(), Key: []byte("fedcba9876543210")})
	if err != nil {
		t.Fatal(err)
	}
	if got := tokens(t, []nls.TokenSource{src}); got["recognisable-2"] != 1 {
		t.Errorf("with another key %v", got)
	}
	// A thing of another account, and one that somebody has damaged.
	box, err := newSealer(testKey, "nls:{another}:token:")
	if err != nil {
		t.Fatal(err)
	}
	key := client.Keys(t.Context(), "nls:{"+t.Name()+"}:token:"+box.id).Val()[0]
	damaged := client.Get(t.Context(), key).Val()
	damaged = damaged[:20] + string(damaged[20]^1) + damaged[21:]
	for i, value := range []string{box.seal(secret{Token: "stolen"}), damaged, "", "{}"} {
		client.Set(t.Context(), key, value, 0)
		want := fmt.Sprintf("recognisable-%d", i+3)
		if got := tokens(t, fleet(t, 2, client, s)); got[want] != 2 {
			t.Errorf("%q: %v, want %s", value, got, want)
		}
	}
}

func TestATokenIsRenewedOnceBeforeItExpires(t *testing.T) {
	client := shared.client(t)
	s := &service{life: 2 * time.Second}
	sources := fleet(t, 5, client, s)
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(20 * time.Millisecond) {
		tokens(t, sources) // has none that has expired
	}
	// At half of its life, so every second.
	if n := s.lookups.Load(); n < 4 || n > 6 {
		t.Errorf("%d lookups in 5 seconds", n)
	}
}

func TestAFailedLookupIsSharedAndThrottlingSlowsTheFleetDown(t *testing.T) {
	client := shared.client(t)
	throttled := &nls.TokenError{Code: "Throttling.User", Message: "too many", RequestID: "17", HTTPStatus: 400}
	s := &service{answer: func(context.Context, int) error { time.Sleep(200 * time.Millisecond); return throttled }}
	for range 10 { // processes that start anew, and have no cache that waits
		for said := range tokens(t, fleet(t, 10, client, s)) {
			if said != throttled.Error() {
				t.Errorf("%s, want %v", said, throttled)
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	// In 7 seconds: at 0, 1 and 3 s, and then at 7.
	if n := s.lookups.Load(); n < 2 || n > 4 {
		t.Errorf("%d lookups", n)
	}
	s.answer = nil
	deadline := time.Now().Add(20 * time.Second)
	for tokens(t, fleet(t, 1, client, s))[fmt.Sprintf("recognisable-%d", s.lookups.Load())] != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the pause does not end")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestATokenThatIsGoodServesWhileNoneBetterIsToBeHad(t *testing.T) {
	client := shared.client(t)
	s := &service{life: 4 * time.Second}
	tokens(t, fleet(t, 1, client, s))
	s.answer = func(context.Context, int) error { return errors.New("down") }
	time.Sleep(2500 * time.Millisecond) // it is due
	if got := tokens(t, fleet(t, 3, client, s)); got["recognisable-1"] != 3 {
		t.Errorf("%v", got)
	}
	time.Sleep(2 * time.Second) // it has expired
	if got := tokens(t, fleet(t, 3, client, s)); got["recognisable-1"] != 0 {
		t.Errorf("%v", got)
	}
}

func TestWhoeverDiesInALookupIsReplacedAndWhoeverIsSlowIsNot(t *testing.T) {
	client := shared.client(t)
	t.Run("dead", func(t *testing.T) {
		s := &service{}
		sources := fleet(t, 3, client, s)
		box, err := newSealer(testKey, "")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		client.Set(t.Context(), "nls:{"+t.Name()+"}:token:"+box.id+":lock", "the dead", time.Second)
		if got := tokens(t, sources); got["recognisable-1"] != 3 || time.Since(begin) < 900*time.Millisecond {
			t.Errorf("%v after %v", got, time.Since(begin))
		}
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		s := &service{answer: func(context.Context, int) error { time.Sleep(lockTime + time.Second); return nil }}
		if got := tokens(t, fleet(t, 3, client, s)); got["recognisable-1"] != 3 {
			t.Errorf("%v", got)
		}
	})
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		s := &service{answer: func(ctx context.Context, n int) error {
			if n == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		}}
		sources := fleet(t, 2, client, s)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := sources[0].Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		begin := time.Now()
		if got := tokens(t, sources); got["recognisable-2"] != 2 || time.Since(begin) > lockTime/2 {
			t.Errorf("%v after %v", got, time.Since(begin))
		}
	})
}

func TestWithoutRedisEachProcessAsksForItself(t *testing.T) {
	client := redis.NewClient(&redis.Options{Dialer: (&cable{cut: true}).dial})
	defer client.Close()
	s := &service{}
	sources := fleet(t, 3, client, s)
	for range 2 {
		if got := tokens(t, sources); len(got) != 3 {
			t.Errorf("%v", got)
		}
	}
	if n := s.lookups.Load(); n != 3 {
		t.Errorf("%d lookups", n)
	}
}

// A source that caches, as that of nls.NewTokenSource, is told what will not do.
func TestASourceThatCachesIsAskedForANewToken(t *testing.T) {
	client := shared.client(t)
	s := &service{life: time.Hour}
	src, err := NewTokenSource(client, nls.CacheTokens(s, time.Minute), TokenOptions{Account: t.Name(), Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	sources := []nls.TokenSource{src}
	tokens(t, sources)
	refuse(sources, "recognisable-1")
	if got := tokens(t, sources); got["recognisable-2"] != 1 || s.lookups.Load() != 2 {
		t.Errorf("%v, %d lookups", got, s.lookups.Load())
	}
}
