package nls

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/effort"
)

// countingSource makes tokens that live for ttl and takes a second for each.
// While fail is set it fails with that.
type countingSource struct {
	mu      sync.Mutex
	ttl     time.Duration
	fail    error
	lookups int
	ended   int
	at      []time.Duration // of each lookup, since the first
	first   time.Time
}

func (s *countingSource) Token(ctx context.Context) (*Token, error) {
	s.mu.Lock()
	if s.lookups == 0 {
		s.first = time.Now()
	}
	s.lookups++
	s.at = append(s.at, time.Since(s.first))
	n, fail := s.lookups, s.fail
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
	}()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if fail != nil {
		return nil, fail
	}
	return &Token{fmt.Sprint("token-", n), time.Now().Add(s.ttl)}, nil
}

func (s *countingSource) setFail(err error) {
	s.mu.Lock()
	s.fail = err
	s.mu.Unlock()
}

func (s *countingSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookups
}

// get is Token with a check of the value; "" stands for an error.
func get(t *testing.T, src TokenSource, want string) *Token {
	t.Helper()
	tok, err := src.Token(t.Context())
	if want == "" {
		if err == nil {
			t.Fatalf("token %q, want an error", tok.Value)
		}
		return nil
	}
	if err != nil || tok.Value != want {
		t.Fatalf("Token = %v, %v, want %s", tok, err, want)
	}
	return tok
}

func TestCacheMakesOneLookupForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: 24 * time.Hour}
		cache := CacheTokens(src, tokenEarly)
		for range 3 {
			var wg sync.WaitGroup
			for range 500 {
				wg.Go(func() { get(t, cache, "token-1") })
			}
			wg.Wait()
		}
		if src.count() != 1 {
			t.Errorf("%d lookups, want 1", src.count())
		}
	})
}

func TestCacheRenewsEarlyInTheBackground(t *testing.T) {
	for _, c := range []struct {
		name             string
		ttl, early, when time.Duration // when after the token came it is due
	}{
		{"a day", 24 * time.Hour, tokenEarly, 24*time.Hour - tokenEarly},
		{"shorter than early", 4 * time.Minute, tokenEarly, 2 * time.Minute},
		{"no early", time.Hour, 0, time.Hour},
		{"negative early", time.Hour, -time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &countingSource{ttl: c.ttl}
				cache := CacheTokens(src, c.early).(*tokenCache)
				get(t, cache, "token-1")
				time.Sleep(c.when - time.Nanosecond)
				get(t, cache, "token-1")
				synctest.Wait()
				if src.count() != 1 {
					t.Fatal("renewed too early")
				}
				time.Sleep(time.Nanosecond)
				if c.early <= 0 {
					get(t, cache, "token-2")
					return
				}
				for range 10 { // the old token serves, and one lookup runs
					before := time.Now()
					tok, cached, err := cache.tokens().lookup(t.Context(), func(tokenRenewal) {})
					if err != nil || tok.Value != "token-1" || !cached || time.Since(before) != 0 {
						t.Fatalf("%v, %v, %v after %v", tok, cached, err, time.Since(before))
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				get(t, cache, "token-2")
				if src.count() != 2 {
					t.Errorf("%d lookups, want 2", src.count())
				}
			})
		})
	}
}

func TestLookupTellsWhoWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := CacheTokens(&countingSource{ttl: time.Hour}, tokenEarly).(*tokenCache)
		for _, want := range []bool{false, true} {
			if _, cached, err := cache.tokens().lookup(t.Context(), func(tokenRenewal) {}); cached != want || err != nil {
				t.Errorf("cached = %v, %v, want %v", cached, err, want)
			}
		}
	})
}

// Who has started a lookup hears once how it went, unless nobody wants it any more.
func TestLookupTellsHowItWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly).(*tokenCache)
		var mu sync.Mutex // renewals are told by goroutines of their own
		var told []tokenRenewal
		lookup := func(ctx context.Context) (cached bool, err error) {
			_, cached, err = cache.tokens().lookup(ctx, func(r tokenRenewal) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, r)
			})
			return cached, err
		}
		broken := errors.New("broken")
		const second, due = time.Second, time.Hour - tokenEarly

		short, cancel := context.WithTimeout(t.Context(), second/2)
		defer cancel()
		if cached, err := lookup(short); cached || err != context.DeadlineExceeded {
			t.Errorf("cached = %v, %v", cached, err)
		}
		synctest.Wait()
		lookup(t.Context())
		first := time.Now().Add(time.Hour)
		src.setFail(broken)
		time.Sleep(due)
		lookup(t.Context())
		time.Sleep(2 * second) // the lookup and a pause
		src.setFail(nil)
		lookup(t.Context())
		time.Sleep(2 * second)
		second2 := time.Now().Add(time.Hour - second)
		want := []tokenRenewal{
			{took: second, expiry: first},
			{background: true, took: second, left: tokenEarly - second, err: broken},
			{background: true, took: second, expiry: second2},
		}
		mu.Lock()
		defer mu.Unlock()
		if !reflect.DeepEqual(told, want) {
			t.Errorf("told %+v\nwant %+v", told, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		told, stuck := 0, make(chan struct{})
		fail := errors.New("no expiry, and no token")
		cache := CacheTokens(TokenSourceFunc(func(context.Context) (*Token, error) {
			<-stuck
			return &Token{Value: "with an error"}, fail
		}), tokenEarly).(*tokenCache)
		lookup := func() (*Token, error) {
			tok, _, err := cache.tokens().lookup(t.Context(), func(tokenRenewal) { told++ })
			return tok, err
		}
		if _, err := lookup(); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(stuck)
		synctest.Wait()
		if told != 1 {
			t.Errorf("told %d times of a lookup that was given up, and returned later", told)
		}
		if tok, err := lookup(); tok != nil || err != fail {
			t.Errorf("%v, %v, where the source has an error", tok, err)
		}
	})
}

func TestATokenIsAtHandWhenNobodyWouldWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour, fail: &TokenError{HTTPStatus: 429}}
		cache := CacheTokens(src, tokenEarly).(*tokenCache)
		at := func(when string, want bool) {
			t.Helper()
			if got := cache.tokens().atHand(); got != want {
				t.Errorf("%s: %v", when, got)
			}
		}
		at("before the first lookup", false)
		get(t, cache, "")
		at("while lookups pause, and the error is at hand", true)
		time.Sleep(tokenMinPause - 1)
		at("up to the end of the pause", true)
		time.Sleep(1 * time.Nanosecond)
		at("at the end of the pause", false)
		src.setFail(nil)
		get(t, cache, "token-2")
		at("with a token", true)
		time.Sleep(time.Hour - 1)
		at("up to its expiry", true)
		time.Sleep(1 * time.Nanosecond)
		at("at its expiry", false)

		src.setFail(errors.New("broken"))
		get(t, cache, "")
		at("after a failure that pauses nothing", false)
	})
}

func TestTokenOfUnknownExpiryIsUsedUntilRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookups := 0
		cache := CacheTokens(TokenSourceFunc(func(context.Context) (*Token, error) {
			lookups++
			return &Token{Value: fmt.Sprint("token-", lookups)}, nil
		}), tokenEarly)
		tok := get(t, cache, "token-1")
		time.Sleep(1000 * time.Hour)
		get(t, cache, "token-1")
		synctest.Wait()
		if lookups != 1 {
			t.Errorf("%d lookups, of which the token needs one", lookups)
		}
		cache.(Invalidator).Invalidate(tok)
		get(t, cache, "token-2")
	})
}

func TestTokenThatComesExpiredIsHandedOnAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: -time.Hour}
		cache := CacheTokens(src, tokenEarly)
		get(t, cache, "token-1")
		get(t, cache, "token-2")
	})
}

func TestTokenThatExpiresInThousandsOfYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := CacheTokens(TokenSourceFunc(func(context.Context) (*Token, error) {
			return &Token{"far", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, nil
		}), tokenEarly)
		get(t, cache, "far")
		tok, cached, err := cache.(*tokenCache).tokens().lookup(t.Context(), func(tokenRenewal) {})
		if tok == nil || !cached || err != nil {
			t.Errorf("%v, %v, %v", tok, cached, err)
		}
	})
}

func TestWaitersGiveUpByTheirOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		first, cancel := context.WithCancel(t.Context())
		short, cancelShort := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancelShort()
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { // it starts the lookup
			if _, err := cache.Token(first); !errors.Is(err, context.Canceled) || time.Since(start) != 100*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
		wg.Go(func() {
			if _, err := cache.Token(short); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		wg.Go(func() { get(t, cache, "token-1") }) // the others' contexts do not matter to it
		time.Sleep(100 * time.Millisecond)
		cancel()
		wg.Wait()
		if src.count() != 1 {
			t.Errorf("%d lookups", src.count())
		}
	})
}

func TestLookupEndsWhenNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		for n := 1; n <= 2; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := cache.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			cancel()
			synctest.Wait()
			if src.ended != n {
				t.Errorf("%d of %d lookups have ended", src.ended, n)
			}
		}
		get(t, cache, "token-3")
	})
}

func TestCallerAfterAnAbandonedLookupGetsOneThatIsNotCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lookups atomic.Int32
		cache := CacheTokens(TokenSourceFunc(func(ctx context.Context) (*Token, error) {
			if n := lookups.Add(1); n > 1 {
				time.Sleep(2 * time.Second)
				return &Token{Value: fmt.Sprint("token-", n)}, nil
			}
			<-ctx.Done()
			time.Sleep(time.Second) // slow to give up
			return nil, ctx.Err()
		}), tokenEarly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := cache.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { get(t, cache, "token-2") })
		time.Sleep(1500 * time.Millisecond) // the first lookup has ended, and the second runs
		get(t, cache, "token-2")
		wg.Wait()
	})
}

func TestRenewalGoesOnWhenItsWaitersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		tok := get(t, cache, "token-1")
		time.Sleep(time.Hour - tokenEarly)
		get(t, cache, "token-1")
		cache.(Invalidator).Invalidate(tok)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := cache.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		get(t, cache, "token-2")
		if src.count() != 2 {
			t.Errorf("%d lookups, want 2", src.count())
		}
	})
}

func TestCallerThatComesWithADeadContextStartsNoLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cache.Token(ctx); !errors.Is(err, context.Canceled) || src.count() != 0 {
			t.Errorf("%v, %d lookups", err, src.count())
		}
		get(t, cache, "token-1")
		if _, err := cache.Token(ctx); err != nil {
			t.Errorf("a cached token needs no I/O: %v", err)
		}
	})
}

func TestLookupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := CacheTokens(TokenSourceFunc(func(ctx context.Context) (*Token, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), tokenEarly)
		start := time.Now()
		_, err := cache.Token(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != tokenTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestFailureIsNotCached(t *testing.T) {
	for _, fail := range []error{errors.New("broken"), &TokenError{Code: "ServiceUnavailable", HTTPStatus: 503}} {
		synctest.Test(t, func(t *testing.T) {
			src := &countingSource{ttl: time.Hour, fail: fail}
			cache := CacheTokens(src, tokenEarly)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, err := cache.Token(t.Context()); err != fail {
						t.Errorf("%v", err)
					}
				})
			}
			wg.Wait()
			src.setFail(nil)
			get(t, cache, "token-2")
		})
	}
}

func TestSourceWithoutATokenIsAnError(t *testing.T) {
	for _, tok := range []*Token{nil, {}} {
		get(t, CacheTokens(TokenSourceFunc(func(context.Context) (*Token, error) { return tok, nil }), 0), "")
	}
}

func TestThrottledLookupsBackOff(t *testing.T) {
	for _, fail := range []*TokenError{
		{Code: "Throttling", HTTPStatus: 400},
		{Code: "Throttling.User", HTTPStatus: 400},
		{HTTPStatus: 429},
	} {
		t.Run(fail.Code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &countingSource{ttl: time.Hour, fail: fail}
				cache := CacheTokens(src, tokenEarly)
				for range 3000 { // five minutes of impatience
					before := time.Now()
					_, cached, err := cache.(*tokenCache).tokens().lookup(t.Context(), func(tokenRenewal) {})
					if err != fail || cached != (time.Since(before) == 0) {
						t.Fatalf("%v, cached %v, after %v", err, cached, time.Since(before))
					}
					time.Sleep(100 * time.Millisecond)
				}
				var pauses []time.Duration // a lookup takes a second
				for i := 1; i < len(src.at); i++ {
					pauses = append(pauses, (src.at[i] - src.at[i-1] - time.Second).Round(time.Second))
				}
				want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
				for i := range want {
					want[i] *= time.Second
				}
				if !slices.Equal(pauses, want) {
					t.Errorf("pauses %v, want %v", pauses, want)
				}

				src.setFail(nil)
				time.Sleep(tokenMaxPause)
				tok, err := cache.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				cache.(Invalidator).Invalidate(tok)
				src.setFail(fail)
				get(t, cache, "")
				get(t, cache, "")
				n := src.count()
				time.Sleep(tokenMinPause) // success has set the pause back
				get(t, cache, "")
				if src.count() != n+1 {
					t.Errorf("%d lookups, want %d", src.count(), n+1)
				}
			})
		})
	}
}

// Only throttling makes callers wait: another failure after it ends the pauses.
func TestAFailureAfterThrottlingDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour, fail: &TokenError{HTTPStatus: 429}}
		cache := CacheTokens(src, tokenEarly)
		get(t, cache, "")
		time.Sleep(tokenMinPause)
		src.setFail(errors.New("broken"))
		get(t, cache, "")
		src.setFail(nil)
		get(t, cache, "token-3")
	})
}

func TestFailedRenewalBacksOffWhileTheOldTokenServes(t *testing.T) {
	for _, fail := range []error{errors.New("broken"), &TokenError{Code: "Throttling.User", HTTPStatus: 400}} {
		synctest.Test(t, func(t *testing.T) {
			src := &countingSource{ttl: time.Hour}
			cache := CacheTokens(src, tokenEarly)
			get(t, cache, "token-1")
			src.setFail(fail)
			time.Sleep(time.Hour - tokenEarly)
			for range int(tokenEarly/(100*time.Millisecond)) - 1 {
				get(t, cache, "token-1")
				time.Sleep(100 * time.Millisecond)
			}
			if n := src.count(); n < 9 || n > 11 { // 1 s to 32 s, then minutes
				t.Errorf("%d lookups in five minutes", n)
			}
			src.setFail(nil)
			time.Sleep(tokenMaxPause)
			if _, err := cache.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailedRenewalDoesNotDelayTheLookupForARefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		tok := get(t, cache, "token-1")
		src.setFail(errors.New("broken"))
		time.Sleep(time.Hour - tokenEarly)
		get(t, cache, "token-1")
		time.Sleep(time.Second)
		synctest.Wait() // the lookup has failed
		src.setFail(nil)
		cache.(Invalidator).Invalidate(tok)
		get(t, cache, "token-3")
	})
}

func TestInvalidateDropsOnlyTheTokenItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &countingSource{ttl: time.Hour}
		cache := CacheTokens(src, tokenEarly)
		refused := get(t, cache, "token-1")
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond) // some before, some after the new one is there
				cache.(Invalidator).Invalidate(&Token{Value: refused.Value})
				get(t, cache, "token-2")
			})
		}
		wg.Wait()
		cache.(Invalidator).Invalidate(nil)
		get(t, cache, "token-2")
		if src.count() != 2 {
			t.Errorf("%d lookups, want 2", src.count())
		}
	})
}

func TestInvalidateReachesACacheInACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := CacheTokens(CacheTokens(&countingSource{ttl: time.Hour}, tokenEarly), tokenEarly)
		tok := get(t, cache, "token-1")
		cache.(Invalidator).Invalidate(tok)
		get(t, cache, "token-2")
	})
}

func TestTokenValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(time.Minute)
		for _, c := range []struct {
			tok  *Token
			d    time.Duration
			want bool
		}{
			{nil, 0, false},
			{&Token{}, 0, false},
			{&Token{Value: "x"}, time.Hour, true},
			{&Token{"x", soon}, 0, true},
			{&Token{"x", soon}, time.Minute - 1, true},
			{&Token{"x", soon}, time.Minute, false},
			{&Token{"x", soon.Add(-time.Hour)}, 0, false},
			{&Token{"", soon}, 0, false},
		} {
			if got := c.tok.Valid(c.d); got != c.want {
				t.Errorf("%v.Valid(%v) = %v", c.tok, c.d, got)
			}
		}
	})
}

func TestTokenServices(t *testing.T) {
	mainland := [3]string{"nls-meta.cn-shanghai.aliyuncs.com", "2019-02-28", "cn-shanghai"}
	for _, c := range []struct {
		opts  *TokenOptions
		want  [3]string // host, version, region
		param string
	}{
		{nil, mainland, ""},
		{&TokenOptions{}, mainland, ""},
		{&TokenOptions{Region: "cn-shanghai"}, mainland, ""},
		{&TokenOptions{Region: "cn-beijing"}, mainland, ""},
		{&TokenOptions{Region: "cn-shenzhen"}, mainland, ""},
		{&TokenOptions{Region: "ap-southeast-1"}, [3]string{"nlsmeta.ap-southeast-1.aliyuncs.com", "2019-07-17", "ap-southeast-1"}, ""},
		{&TokenOptions{Version: "2020-01-01"}, [3]string{mainland[0], "2020-01-01", mainland[2]}, ""},
		{&TokenOptions{Endpoint: "h"}, [3]string{"h", mainland[1], mainland[2]}, ""},
		{&TokenOptions{Endpoint: "h:8443"}, [3]string{"h:8443", mainland[1], mainland[2]}, ""},
		{&TokenOptions{Endpoint: "[::1]:8443"}, [3]string{"[::1]:8443", mainland[1], mainland[2]}, ""},
		{&TokenOptions{Endpoint: "https://h:1/"}, [3]string{"h:1", mainland[1], mainland[2]}, ""},
		{&TokenOptions{Endpoint: "h", Region: "moon-1"}, [3]string{"h", mainland[1], "moon-1"}, ""},
		{&TokenOptions{Endpoint: "h", Region: "ap-southeast-1"}, [3]string{"h", "2019-07-17", "ap-southeast-1"}, ""},
		{&TokenOptions{Region: "moon-1"}, [3]string{}, "Region"},
		{&TokenOptions{Endpoint: "http://h"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: "h/path"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: "user:MARKED@h"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: "https://user:MARKED@h?token=MARKED"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: "h\n"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: ":443"}, [3]string{}, "Endpoint"},
		{&TokenOptions{Endpoint: "https://"}, [3]string{}, "Endpoint"},
	} {
		r, err := tokenRequest(AccessKey{ID: "id", Secret: "secret"}, c.opts)
		if got := [3]string{r.Host, r.Version, r.RegionID}; got != c.want {
			t.Errorf("%+v: %v, want %v", c.opts, got, c.want)
		}
		e, _ := errors.AsType[*ParamError](err)
		if (e == nil) != (c.param == "") || e != nil && (e.Param != c.param || strings.Contains(err.Error(), "MARKED")) {
			t.Errorf("%+v: error %v", c.opts, err)
		}
	}
	for k, param := range map[AccessKey]string{{}: "AccessKey.ID", {ID: "id"}: "AccessKey.Secret", {Secret: "secret"}: "AccessKey.ID"} {
		_, err := NewTokenSource(k, nil).Token(t.Context())
		if e, ok := errors.AsType[*ParamError](err); !ok || e.Param != param {
			t.Errorf("%+v: %v", k, err)
		}
	}
	for _, opts := range []*TokenOptions{nil, {}} {
		if r, err := tokenRequest(AccessKey{ID: "id", Secret: "secret"}, opts); err != nil || r.Transport != http.DefaultTransport {
			t.Errorf("%v: sent by %v, %v", opts, r.Transport, err)
		}
	}
	if _, err := NewTokenSource(AccessKey{ID: "id", Secret: "secret"}, &TokenOptions{Region: "moon-1"}).Token(t.Context()); !errors.Is(err, ErrInvalidParameter) {
		t.Errorf("%v", err)
	}
}

// tokenServer is a token service over TLS and options that reach it.
func tokenServer(t *testing.T, h http.HandlerFunc) (*httptest.Server, *TokenOptions) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, &TokenOptions{Endpoint: s.Listener.Addr().String(), Transport: s.Client().Transport}
}

func TestNewTokenSourceMakesOneCallForManySessions(t *testing.T) {
	calls := make(chan struct{}, 10)
	_, opts := tokenServer(t, func(w http.ResponseWriter, r *http.Request) {
		calls <- struct{}{}
		time.Sleep(20 * time.Millisecond) // while the others come
		fmt.Fprintf(w, `{"Token":{"Id":"tok","ExpireTime":%d}}`, time.Now().Add(time.Hour).Unix())
	})
	src := NewTokenSource(AccessKey{ID: "id", Secret: "secret"}, opts)
	opts.Endpoint = "changed later" // the source has its copy
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			tok, err := src.Token(t.Context())
			if err != nil || tok.Value != "tok" || !tok.Valid(59*time.Minute) {
				t.Errorf("%v, %v", tok, err)
			}
		})
	}
	wg.Wait()
	if len(calls) != 1 {
		t.Errorf("%d calls, want 1", len(calls))
	}
}

func TestTokensAreNeverAskedForInClear(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	seen := make(chan string, 1)
	go func() {
		c, err := plain.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		seen <- string(b[:n])
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n"+`{"Token":{"Id":"tok"}}`)
	}()
	tr := &http.Transport{}
	_, err = GetToken(t.Context(), AccessKey{ID: "MARKEDid", Secret: "MARKEDsecret"}, &TokenOptions{Endpoint: plain.Addr().String(), Transport: tr})
	if _, ok := errors.AsType[*TokenError](err); !ok || Retryable(err) {
		t.Errorf("%v", err)
	}
	hello := <-seen
	if !strings.HasPrefix(hello, "\x16\x03") || strings.Contains(hello, "MARKED") || strings.Contains(hello, "POST") {
		t.Errorf("sent %q, want a TLS hello", hello)
	}
}

// roundTrip is an http.RoundTripper that looks at the request.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestEveryRegionIsAskedOverHTTPS(t *testing.T) {
	for region := range tokenServices {
		var url string
		opts := &TokenOptions{Region: region, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			url = r.URL.String()
			return nil, io.ErrClosedPipe
		})}
		_, err := GetToken(t.Context(), AccessKey{ID: "id", Secret: "secret"}, opts)
		if url != "https://"+tokenServices[region].host+"/" || !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%q: %s, %v", region, url, err)
		}
	}
}

func TestTokenServiceMustProveItself(t *testing.T) {
	s, opts := tokenServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request to a stranger") })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	unknown := &http.Transport{}
	for _, c := range []struct {
		name  string
		opts  TokenOptions
		check func(error) bool
	}{
		{"unknown authority", TokenOptions{Endpoint: opts.Endpoint, Transport: unknown}, func(err error) bool {
			_, ok := errors.AsType[x509.UnknownAuthorityError](err)
			return ok
		}},
		{"other host name", TokenOptions{Endpoint: "localhost:" + port, Transport: opts.Transport}, func(err error) bool {
			_, ok := errors.AsType[x509.HostnameError](err)
			return ok
		}},
	} {
		_, err := GetToken(t.Context(), AccessKey{ID: "id", Secret: "secret"}, &c.opts)
		e, ok := errors.AsType[*TokenError](err)
		if !ok || e.HTTPStatus != 0 || !c.check(err) || Retryable(err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGetTokenIsBounded(t *testing.T) {
	hang := &TokenOptions{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	})}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := GetToken(t.Context(), AccessKey{ID: "id", Secret: "secret"}, hang)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != tokenTimeout || !Retryable(err) {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = GetToken(ctx, AccessKey{ID: "id", Secret: "secret"}, hang)
		if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || Retryable(err) {
			t.Errorf("%v", err)
		}
		cause := errors.New("the caller has gone")
		ctx, cancelFor := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancelFor(cause) })
		dead := &TokenOptions{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		if _, err := GetToken(ctx, AccessKey{ID: "id", Secret: "secret"}, dead); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
	})
}

// secretive holds its secret by value and would hide it, if fmt let it.
type secretive struct{ secret string }

func (secretive) Token(context.Context) (*Token, error) {
	return &Token{"MARKEDtoken", time.Now().Add(time.Hour)}, nil
}

// Marked secrets are looked for in everything that can be printed, on every
// way on which a lookup fails.
func TestNothingShowsASecret(t *testing.T) {
	effort.Long(t)
	key := AccessKey{ID: "MARKEDid", Secret: "MARKEDsecret", SecurityToken: "MARKEDsts+/="}
	token := Token{"MARKEDtoken", time.Now()}
	cached := CacheTokens(secretive{"MARKED"}, time.Minute)
	get(t, cached, "MARKEDtoken")

	signatures := make(chan string, 2*20)
	hang := make(chan struct{})
	defer close(hang)
	answer := func(status int, format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			signatures <- r.PostForm.Get("Signature")
			w.WriteHeader(status)
			canonical, _ := json.Marshal(r.PostForm.Encode())
			fmt.Fprintf(w, format, canonical)
		}
	}
	failing := map[string]http.HandlerFunc{
		"ok":          answer(200, `{"Token":{"Id":"MARKEDtoken"},"ErrMsg":%s}`),
		"mismatch":    answer(400, `{"Code":"SignatureDoesNotMatch","Message":%s}`),
		"throttled":   answer(400, `{"Code":"Throttling.User","Message":%s}`),
		"no token":    answer(200, `{"ErrCode":5,"ErrMsg":%s,"RequestId":"MARKEDsecret"}`),
		"not JSON":    answer(200, `MARKEDtoken %s`),
		"cut":         answer(200, `{"Token":{"Id":"MARKEDtoken`),
		"unavailable": answer(503, ``),
		"hang-up":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hang":        func(w http.ResponseWriter, r *http.Request) { <-hang },
	}
	values := []any{key, &key, token, &token, StaticToken("MARKEDtoken"), cached}
	for name, h := range failing {
		_, opts := tokenServer(t, h)
		src := NewTokenSource(key, opts)
		timeout := 30 * time.Second
		if name == "hang" {
			timeout = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		tok, err := GetToken(ctx, key, opts)
		ctx2, cancel2 := context.WithTimeout(t.Context(), timeout)
		defer cancel2()
		tok2, err2 := src.Token(ctx2)
		if (err == nil) != (name == "ok") || (err2 == nil) != (name == "ok") {
			t.Errorf("%s: %v, %v", name, err, err2)
		}
		values = append(values, tok, tok2, src)
		for _, err := range []error{err, err2} {
			for ; err != nil; err = errors.Unwrap(err) {
				values = append(values, err, err.Error())
			}
		}
	}
	marks := []string{"MARKED"}
	for len(signatures) > 0 {
		s := <-signatures
		marks = append(marks, s, strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(s))
	}

	for _, v := range values {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "v", v)
		js, _ := json.Marshal(v)
		nested, _ := json.Marshal(struct{ V any }{v})
		text := fmt.Sprintf("%v %+v %#v %s %s %s %v %+v %#v", v, v, v, js, nested, &log, struct{ V any }{v}, []any{v}, []any{&v})
		if src, ok := v.(TokenSource); ok { // in a field of the user, where fmt uses no method
			text += fmt.Sprintf("%v %+v %#v", struct{ v TokenSource }{src}, struct{ v TokenSource }{src}, struct{ v TokenSource }{src})
		}
		for _, m := range marks {
			if strings.Contains(text, m) {
				t.Errorf("%v shows %q: %.1000s", reflect.TypeOf(v), m, text)
			}
		}
	}
	for text, v := range map[string]any{
		"nls.Token{***}": Token{Value: "MARKEDtoken"},
		"nls.Token{*** until 2026-01-02T03:04:05Z}": Token{"MARKEDtoken", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		"nls.TokenSource{***}":                      cached,
	} {
		if got := fmt.Sprint(v); got != text {
			t.Errorf("printed as %s, want %s", got, text)
		}
	}
	if text := fmt.Sprint(token); !strings.Contains(text, token.Expiry.Format(time.RFC3339)) {
		t.Errorf("%s does not show its expiry", text)
	}
}

// A region without a token host could not be used with an access key.
func TestEveryRegionHasATokenService(t *testing.T) {
	for region := range regions {
		if _, ok := tokenServices[region]; !ok {
			t.Errorf("%s has a gateway and no token service", region)
		}
	}
	for region := range tokenServices {
		if _, ok := regions[region]; !ok && region != "" {
			t.Errorf("%s has a token service and no gateway", region)
		}
	}
}
