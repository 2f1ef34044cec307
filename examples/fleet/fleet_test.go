package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(scratch.Tests{M: m}) }

// startRedis starts a redis-server, if one is installed.
func startRedis(t *testing.T) (addr string) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server is installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	})
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	for begin := time.Now(); rdb.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("redis-server does not answer")
		}
	}
	return addr
}

func TestAFleetOfWhichOneIsKilledDoesAllUploads(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	bin := filepath.Join(t.TempDir(), "fleet.exe")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(t *testing.T, args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, bin, append(args, "-replicas", "3")...).CombinedOutput()
		t.Logf("\n%s", out)
		if err != nil {
			t.Fatal(err)
		}
		row := func(what string) int {
			m := regexp.MustCompile(`(?m)^` + what + ` +(\d+)`).FindSubmatch(out)
			if m == nil {
				t.Fatalf("no row %q", what)
			}
			n, _ := strconv.Atoi(string(m[1])) // digits
			return n
		}
		for what, want := range map[string]int{"done": 300, "refused": 0, "CreateTokens": 1, "at a time": 20} {
			if got := row(what); got != want {
				t.Errorf("%s %d, want %d", what, got, want)
			}
		}
		lost := row("places lost")
		if lost == 0 || row("places found") != lost || row("retried") < lost {
			t.Errorf("%d places lost, %d found, %d uploads retried", lost, row("places found"), row("retried"))
		}
	}
	t.Run("with the Redis of its own", func(t *testing.T) {
		t.Parallel()
		run(t)
	})
	t.Run("with a redis-server", func(t *testing.T) {
		t.Parallel()
		run(t, "-redis", startRedis(t))
	})
}

func TestAnUploadIsAnsweredWithItsTextOrWithWhatIsWrong(t *testing.T) {
	gateway := nlstest.NewServer(nlstest.Options{})
	defer gateway.Close()
	client, err := nls.NewClient(gateway.Config())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer((&service{client: client, speed: -1}).handler())
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	wav, err := speak(t.Context(), "好。")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := post(t.Context(), server.URL+"/transcribe", wav); err != nil || a.Text != "好。" || a.Attempts != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{"", "fLaC and so on"} {
		_, err := post(t.Context(), server.URL+"/transcribe", []byte(bad))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusBadRequest)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAServiceWithoutAKeySaysSo(t *testing.T) {
	for _, key := range []string{"", "no hex", "0123"} {
		t.Setenv("FLEET_KEY", key)
		err := (&service{addr: "127.0.0.1:0", redis: "127.0.0.1:1"}).run(t.Context(), t.Output())
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "key") {
			t.Errorf("%q: %v", key, err)
		}
	}
}
