package nls_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

func TestALimiterServesThoseWhoWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := nls.NewLimiter(nls.Limits{Each: 1, ByNamespace: map[string]int{"B": 2, "C": 0}})
		take := func(ctx context.Context, namespace string) func() {
			release, err := l.Acquire(ctx, namespace)
			if err != nil {
				return nil
			}
			return release
		}
		first := take(t.Context(), "A")
		for range 2 { // places are of each namespace
			if take(t.Context(), "B") == nil {
				t.Fatal("no place")
			}
		}
		for range 100 {
			take(t.Context(), "C")
		}
		var mu sync.Mutex
		var got []int
		note := func(i int) { mu.Lock(); defer mu.Unlock(); got = append(got, i) }
		for i := range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			if i == 1 {
				time.AfterFunc(time.Second, cancel)
			}
			go func() {
				defer cancel()
				if release := take(ctx, "A"); release != nil {
					note(i)
					time.Sleep(time.Second)
					release()
					release() // counts once
				} else {
					note(-i)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		first()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []int{-1, 0, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if take(ended, "A") != nil {
			t.Error("a place for a context that has ended")
		}
		if take(t.Context(), "A") == nil {
			t.Error("a place is lost")
		}
	})
}
