package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// hammerFaults is what goes wrong in the hammer, each for one connection in four.
var hammerFaults = []string{
	"refuse@handshake", "refuse@handshake,code=503", "garbage@handshake", "reset@handshake", "eof@handshake",
	"reset@on-start", "reset@after-start", "reset@during-audio", "reset@during-events", "reset@on-stop",
	"eof@after-start", "eof@during-events,after=2", "truncated@on-start", "truncated@during-events",
	"close@after-start,code=1001", "close@during-audio,code=1011,after=3", "close@on-stop", "taskfailed@before-start",
	"taskfailed@on-start,code=40000005", "taskfailed@after-start", "taskfailed@during-events,after=1", "taskfailed@on-stop,code=51020001",
	"early@on-start", "early@after-start", "early@during-events,after=1", "twice@on-start", "twice@on-stop", "late@after-stop",
	"notjson@during-events", "wrongtask@on-stop", "unknown@after-start", "nullpayload@during-events", "binary@after-start",
	"fragmented@during-events", "hugetext@during-events", "badopcode@during-events", "masked@on-start", "bigping@after-start",
	"delay@on-start,delay=5ms", "delay@on-stop,delay=5ms", "nopong@before-start", "hang@on-start", "hang@on-stop", "stopreading@after-start",
	"halfopen@after-start",
}

// TestHammer runs 64 sessions of all products at once, over TCP, with several
// senders, commands, pings, Shutdowns at any moment, and faults. The seed is
// printed, and NLS_HAMMER_SEED sets it.
func TestHammer(t *testing.T) {
	effort.Thorough(t)
	const workers = 64
	const rounds = 5
	seed := rand.Uint64()
	if s := os.Getenv("NLS_HAMMER_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("NLS_HAMMER_SEED=%d", seed)

	var connections atomic.Uint64
	server := nlstest.NewServer(nlstest.Options{
		Engine:      nlstest.Script("one", "two"),
		IdleTimeout: -1,
		MaxSessions: -1,
		ReplyDelay:  -1, // more sessions in the same time
		Fault: func(*http.Request) *nlstest.Fault {
			r := rand.New(rand.NewPCG(seed, connections.Add(1)))
			if r.IntN(4) > 0 {
				return nil
			}
			f, err := nlstest.ParseFault(hammerFaults[r.IntN(len(hammerFaults))])
			if err != nil {
				t.Error(err)
			}
			return f
		},
	})
	defer server.Close()
	client := clientOf(t, server, func(cfg *nls.Config) {
		cfg.StopTimeout, cfg.WriteTimeout, cfg.MaxPendingBytes = 300*time.Millisecond, 300*time.Millisecond, 16<<10
	})

	var completed, failed atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1<<32+uint64(worker)))
			s := products[worker%len(products)].new(client)
			for round := range rounds {
				if err := s.hammer(r); err != nil {
					t.Errorf("worker %d, round %d: %v", worker, round, err)
					return
				}
				if s.Err() == nil {
					completed.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d sessions completed, %d failed", completed.Load(), failed.Load())
	if completed.Load() == 0 || failed.Load() == 0 {
		t.Error("the mix is not one")
	}
	mustLeaveNoGoroutine(t)
}

// hammer runs one session and returns what is wrong with it. The handlers of the
// last session have all returned, so nothing here is locked.
//
// The bound on time is one on hanging: a busy machine takes its time.
func (s *subject) hammer(r *rand.Rand) error {
	s.calls, s.errs, s.closes, s.audio = nil, nil, nil, nil
	s.text.Reset()
	s.timeout, s.complete = time.Second, 300*time.Millisecond
	s.ping, s.pong = time.Duration(100+r.IntN(20))*time.Millisecond, 0
	if r.IntN(2) == 0 {
		s.ping, s.pong = 100*time.Millisecond, 90*time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()

	var wg sync.WaitGroup
	after := func(limit time.Duration, f func()) {
		d := time.Duration(r.Int64N(int64(limit)))
		wg.Go(func() { time.Sleep(d); f() })
	}
	if r.IntN(8) == 0 {
		after(30*time.Millisecond, s.Shutdown)
	}
	if r.IntN(8) == 0 {
		after(30*time.Millisecond, cancel)
	}
	if r.IntN(8) == 0 {
		handler := []string{"OnStart", "OnData", "OnCompleted", "OnError", "OnClose", "OnResultChanged"}[r.IntN(6)]
		s.on(handler, s.Shutdown)
	} else {
		s.on("", nil)
	}
	begin := time.Now()
	err := s.start(ctx)
	if err == nil {
		for range 3 {
			for _, send := range []func() error{s.send, s.ctrl} {
				if send != nil {
					after(10*time.Millisecond, func() { _ = send() })
				}
			}
		}
		if r.IntN(2) == 0 {
			after(20*time.Millisecond, func() { _ = s.stop(ctx) })
		}
		time.Sleep(time.Duration(r.Int64N(int64(15 * time.Millisecond))))
		err = s.stop(ctx)
		if ctx.Err() != nil {
			s.Shutdown() // Wait leaves the session alone
		}
	}
	<-s.Done()
	took := time.Since(begin)
	wg.Wait()

	failures, closes := 0, 0
	for i, call := range s.calls {
		switch {
		case call == "OnError":
			failures++
		case call == "OnClose":
			closes++
			if i != len(s.calls)-1 {
				return fmt.Errorf("OnClose is not last: %s", s.calls)
			}
		case failures > 0:
			return fmt.Errorf("called after OnError: %s", s.calls)
		}
	}
	switch {
	case failures > 1 || closes > 1 || closes == 0 && len(s.calls) > 0:
		return fmt.Errorf("called %s", s.calls)
	case err == nil && s.Err() != nil:
		return fmt.Errorf("the last call returned nil, Err is %v", s.Err())
	case failures == 1 && s.errs[0].Err != s.Err():
		return fmt.Errorf("OnError got %v, Err is %v", s.errs[0].Err, s.Err())
	case closes == 1 && s.closes[0].Err != s.Err():
		return fmt.Errorf("OnClose got %v, Err is %v", s.closes[0].Err, s.Err())
	case took > time.Minute:
		return fmt.Errorf("took %v", took)
	}
	return nil
}
