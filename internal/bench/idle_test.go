//go:build unix

package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var idleSessions = flag.Int("idle-sessions", 2000, "idle sessions to open")

// idle measures the resident memory of a session that does nothing, in a process
// of its own.
func idle(client string, encrypted bool) func(testing.TB) measure {
	return func(t testing.TB) measure {
		if runtime.GOOS != "linux" {
			t.Skip("reads /proc")
		}
		p := startPeer(t)
		if encrypted {
			p.URL = p.TLSURL
		}
		env, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return func() []float64 {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestIdleSessions$", "-idle-sessions", strconv.Itoa(*idleSessions))
			cmd.Env = append(os.Environ(), "NLS_BENCH_IDLE="+client, "NLS_BENCH_IDLE_PEER="+string(env))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, rest, _ := strings.Cut(string(out), "KIB ")
			v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return []float64{v}
		}
	}
}

// TestIdleSessions is the process of idle.
func TestIdleSessions(t *testing.T) {
	client := os.Getenv("NLS_BENCH_IDLE")
	if client == "" {
		t.Skip("a part of the benchmarks")
	}
	var p peer
	if err := json.Unmarshal([]byte(os.Getenv("NLS_BENCH_IDLE_PEER")), &p); err != nil {
		t.Fatal(err)
	}
	open := clients[client](p)
	first := open() // what is made once is not the session's
	before := resident(t)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for range *idleSessions {
		slots <- struct{}{}
		wg.Go(func() {
			open()
			<-slots
		})
	}
	wg.Wait()
	after := resident(t)
	fmt.Printf("KIB %.3f\n", float64(after-before)/float64(*idleSessions))
	first.close()
	os.Exit(0) // the connections end with the process
}

// resident is the resident memory of this process in KiB, after the collector
// has given back and shrunk what it can.
func resident(t *testing.T) int {
	for range 5 {
		debug.FreeOSMemory()
		time.Sleep(50 * time.Millisecond) // sweeping and scavenging go on in the background
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
