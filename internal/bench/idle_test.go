package bench

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var idleSessions = flag.Int("idle-sessions", 2000, "idle sessions to open")

// startGateway runs nlsgateway as a process of its own, so that its memory is
// not ours.
func startGateway(t *testing.T) gateway {
	bin := filepath.Join(t.TempDir(), "nlsgateway")
	build := exec.Command("go", "build", "-o", bin, "./nlstest/cmd/nlsgateway")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bin, "-idle-timeout", "-1s", "-max-sessions", "-1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var g gateway
	if err := json.Unmarshal(line, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// An idle session of ours costs little more than a bare gorilla connection with
// a goroutine that reads it. Each is measured as resident memory, in a process of
// its own, and so is one of the official SDK, for comparison.
func TestIdleSessionMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	if mode := os.Getenv("NLS_BENCH_IDLE"); mode != "" {
		measureIdle(t, mode)
		return
	}
	g := startGateway(t)
	env, _ := json.Marshal(g)
	kib := map[string]float64{}
	for _, mode := range []string{"gorilla", "nls", "gorilla", "nls", "official"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestIdleSessionMemory$", "-idle-sessions", strconv.Itoa(*idleSessions))
		cmd.Env = append(os.Environ(), "NLS_BENCH_IDLE="+mode, "NLS_BENCH_GATEWAY="+string(env))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, rest, _ := strings.Cut(string(out), "KIB ")
		v, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-8s %.2f KiB resident for each of %d idle sessions", mode, v, *idleSessions)
		if kib[mode] == 0 || v < kib[mode] {
			kib[mode] = v
		}
	}
	ratio := kib["nls"] / kib["gorilla"]
	t.Logf("ratio %.3f; the official SDK's %.3f", ratio, kib["official"]/kib["gorilla"])
	if ratio > 1.25 {
		t.Errorf("an idle session costs %.2f times a bare connection, want at most 1.25", ratio)
	}
}

func measureIdle(t *testing.T, mode string) {
	var g gateway
	if err := json.Unmarshal([]byte(os.Getenv("NLS_BENCH_GATEWAY")), &g); err != nil {
		t.Fatal(err)
	}
	open := clients[mode](g)
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
