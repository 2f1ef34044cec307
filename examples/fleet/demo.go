package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
	nlsredis "github.com/nlsgo/nls/contrib/redis"
	"github.com/nlsgo/nls/nlstest"
)

const (
	// idle is when the gateway gives up a silent client. The service has 10 s; a
	// lease is to be longer.
	idle = 3 * time.Second

	// demoSpeed makes the demonstration short.
	demoSpeed = 2

	// product is what the replicas start.
	product = "SpeechTranscriber"
)

// demo is a fleet on this machine, of which one is killed.
type demo struct {
	redis           string
	replicas        int
	uploads         int
	quota           int
	lease           time.Duration
	done, retried   atomic.Int32
	refused, sooner atomic.Int32 // after the lease of the dead, and sooner
	settled         atomic.Bool  // that lease has run out

	mu    sync.Mutex
	alive []*replica
}

// replica is a process of the fleet.
type replica struct {
	owner, url string
	cmd        *exec.Cmd
	stdin      io.Closer
}

// run runs all, and prints the table. The error says what is not as it should be.
func (d *demo) run(ctx context.Context, out io.Writer) error {
	if d.replicas < 2 || d.uploads < 2 || d.quota < 1 {
		return errors.New("two replicas, two uploads and a quota of one are the least")
	}
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.redis == "" {
		stop, err := d.embedRedis()
		if err != nil {
			return err
		}
		defer stop()
	}
	gateway := nlstest.NewServer(nlstest.Options{MaxSessions: d.quota, IdleTimeout: idle, OnFrame: d.look})
	defer gateway.Close()
	rdb := redis.NewClient(&redis.Options{Addr: d.redis})
	defer rdb.Close()
	if err := clean(ctx, rdb); err != nil {
		return err
	}
	observer, err := nlsredis.NewLimiter(rdb, nlsredis.LimiterOptions{Account: account, Limits: nls.Limits{Each: d.quota}, Lease: d.lease})
	if err != nil {
		return err
	}
	defer observer.Close()
	defer d.stop()
	if err := d.start(ctx, gateway); err != nil {
		return err
	}

	half := make(chan struct{})
	var jobs sync.WaitGroup
	failures := make(chan error, d.uploads)
	jobs.Go(func() { // so that all is waited for, whatever fails
		var uploads sync.WaitGroup
		for i := range d.uploads {
			uploads.Go(func() {
				if err := d.upload(ctx, i); err != nil {
					failures <- err
					cancel()
				} else if int(d.done.Add(1)) == d.uploads/2 {
					close(half)
				}
			})
		}
		uploads.Wait()
	})
	select {
	case <-half:
	case <-ctx.Done():
	}
	lost, found, took, err := d.killOne(ctx, observer)
	jobs.Wait()
	close(failures)
	for failure := range failures {
		err = errors.Join(failure, err)
	}
	if err != nil {
		return err
	}

	stats := gateway.Stats()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		what string
		n    int
		note string
	}{
		{"uploads", d.uploads, fmt.Sprintf("to %d replicas", d.replicas)},
		{"done", int(d.done.Load()), fmt.Sprintf("in %v", time.Since(begin).Round(100*time.Millisecond))},
		{"refused", int(d.refused.Load()), "by the gateway, which has room for " + fmt.Sprint(d.quota)},
		{"refused sooner", int(d.sooner.Load()), "before the first lease had run out"},
		{"retried", int(d.retried.Load()), "at another replica, mostly"},
		{"places lost", lost, "by a replica that was killed"},
		{"places found", found, fmt.Sprintf("within %v; the lease is %v", took.Round(100*time.Millisecond), d.lease)},
		{"at a time", stats.MaxConcurrent, "at most"},
		{"CreateTokens", stats.Tokens, "by all replicas"},
	} {
		fmt.Fprintf(table, "%s\t%d\t%s\n", row.what, row.n, row.note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if int(d.done.Load()) != d.uploads || d.refused.Load() != 0 || found != lost || stats.Tokens != 1 {
		return errors.New("that is not as it should be")
	}
	return nil
}

// embedRedis starts a Redis in this process, whose keys live as long as elsewhere.
func (d *demo) embedRedis() (stop func(), err error) {
	mini, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	d.redis = mini.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	var clock sync.WaitGroup
	clock.Go(func() {
		const tick = 100 * time.Millisecond
		for ctx.Err() == nil {
			time.Sleep(tick)
			mini.FastForward(tick)
		}
	})
	return func() {
		cancel()
		clock.Wait()
		mini.Close()
	}, nil
}

// clean removes what an earlier run has left in Redis.
func clean(ctx context.Context, rdb *redis.Client) error {
	keys, err := rdb.Keys(ctx, "nls:{"+account+"}:*").Result()
	if err == nil && len(keys) > 0 {
		err = rdb.Del(ctx, keys...).Err()
	}
	return err
}

// look counts what the gateway refuses.
func (d *demo) look(f nlstest.Frame) {
	var event struct {
		Header struct {
			Status int `json:"status"`
		} `json:"header"`
	}
	if !f.Sent || f.Binary || json.Unmarshal(f.Payload, &event) != nil || event.Header.Status != nls.StatusConcurrencyExceeded {
		return
	}
	if d.settled.Load() {
		d.refused.Add(1)
	} else {
		d.sooner.Add(1)
	}
}

// start starts the replicas.
func (d *demo) start(ctx context.Context, gateway *nlstest.Server) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	cfg := gateway.Config()
	env := append(os.Environ(),
		"NLS_URL="+cfg.URL, "NLS_APPKEY="+cfg.AppKey, "NLS_TOKEN=",
		"ALIBABA_CLOUD_ACCESS_KEY_ID="+cfg.AccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET="+cfg.AccessKeySecret, "ALIBABA_CLOUD_SECURITY_TOKEN=",
		"FLEET_TOKENS="+cfg.TokenOptions.Endpoint, "FLEET_CA="+string(gateway.CertificatePEM()), "FLEET_KEY="+hex.EncodeToString(key))
	for i := range d.replicas {
		r := &replica{owner: fmt.Sprintf("replica-%d", i+1)}
		r.cmd = exec.CommandContext(ctx, exe, "-serve", "127.0.0.1:0", "-redis", d.redis, "-owner", r.owner, "-child",
			"-quota", fmt.Sprint(d.quota), "-lease", d.lease.String(), "-speed", fmt.Sprint(demoSpeed))
		r.cmd.Env, r.cmd.Stderr = env, os.Stderr
		if r.stdin, err = r.cmd.StdinPipe(); err != nil {
			return err
		}
		stdout, err := r.cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := r.cmd.Start(); err != nil {
			return err
		}
		d.alive = append(d.alive, r)
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", r.owner, err)
		}
		r.url = "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on ")) + "/transcribe"
	}
	return nil
}

// stop lets the replicas end.
func (d *demo) stop() {
	for _, r := range d.alive {
		r.stdin.Close()
	}
	for _, r := range d.alive {
		_ = r.cmd.Wait() // says nothing new
	}
}

// pick is the replica of an attempt.
func (d *demo) pick(n int) *replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.alive[n%len(d.alive)]
}

// upload has upload i transcribed by one replica, or by another should that fail.
func (d *demo) upload(ctx context.Context, i int) error {
	text := fmt.Sprintf("upload %d.", i)
	wav, err := speak(ctx, text)
	if err != nil {
		return err
	}
	for attempt := i; ; attempt++ {
		a, err := post(ctx, d.pick(attempt).url, wav)
		switch {
		case err == nil && a.Text != text:
			return fmt.Errorf("upload %d came back as %q", i, a.Text)
		case err == nil:
			d.retried.Add(int32(attempt - i + a.Attempts - 1))
			return nil
		case attempt-i == 10 || ctx.Err() != nil:
			return fmt.Errorf("upload %d: %w", i, err)
		}
	}
}

// post is one attempt of an upload.
func post(ctx context.Context, url string, wav []byte) (a reply, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(wav))
	if err != nil {
		return a, err
	}
	r.GetBody = nil // what is tried again is counted
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // as far as it came
		return a, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(said))
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// speak is text as a WAV file that the gateway understands.
func speak(ctx context.Context, text string) ([]byte, error) {
	var wav bytes.Buffer
	w, err := nls.NewWAVWriter(&wav, nls.WAVFormat{SampleRate: nls.DefaultSampleRate, Channels: 1, BitsPerSample: 16})
	if err != nil {
		return nil, err
	}
	voice := nlstest.Voice{SampleRate: nls.DefaultSampleRate, Volume: 50}
	err = nlstest.Loopback().Synthesize(ctx, text, voice, func(pcm []byte, _ []nls.Subtitle) error {
		_, err := w.Write(pcm)
		return err
	})
	return wav.Bytes(), errors.Join(err, w.Close())
}

// killOne kills the replica that has most places, and waits until they are free.
func (d *demo) killOne(ctx context.Context, observer *nlsredis.Limiter) (lost, found int, took time.Duration, err error) {
	u, err := observer.Usage(ctx, product)
	if err != nil {
		return 0, 0, 0, err
	}
	d.mu.Lock()
	victim := slices.MaxFunc(d.alive, func(a, b *replica) int { return cmp.Compare(u.Taken[a.owner], u.Taken[b.owner]) })
	d.alive = slices.DeleteFunc(d.alive, func(r *replica) bool { return r == victim })
	d.mu.Unlock()
	if err := victim.cmd.Process.Kill(); err != nil {
		return 0, 0, 0, err
	}
	begin := time.Now()
	_ = victim.cmd.Wait() // killed
	for lost = -1; ; {
		took = time.Since(begin)
		u, err := observer.Usage(ctx, product)
		if err != nil {
			return 0, 0, 0, err
		}
		n := u.Taken[victim.owner]
		if lost < 0 {
			lost = n // later it may have more for moments: its turn comes, and nobody is there
		}
		if n == 0 || took > d.lease+time.Second {
			d.settled.Store(true)
			return lost, lost - n, took, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, 0, 0, ctx.Err()
		}
	}
}
