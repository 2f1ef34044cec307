// Command fleet is an HTTP service that transcribes uploads, in as many processes as one
// likes, with the sessions and the one token of one account. Redis has both.
//
//	go run -C examples/fleet . -serve :8080 -redis localhost:6379
//
// serves, with the account in the environment (see nls.ConfigFromEnv) and the key for
// the token in FLEET_KEY, 32 bytes in hex; a WAV file posted to /transcribe comes back as
// text. Without -serve it shows what a fleet does when a process is killed, on this
// machine and without an account:
//
//	go run -C examples/fleet . -replicas 3
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var s service
	flag.StringVar(&s.addr, "serve", "", "serve at this address")
	flag.StringVar(&s.redis, "redis", "", "address of Redis; without -serve, empty means one of its own")
	flag.StringVar(&s.owner, "owner", "", "name of this process in Redis; empty means host and process ID")
	flag.IntVar(&s.quota, "quota", 20, "sessions that the account may have")
	flag.DurationVar(&s.lease, "lease", 0, "after which time the places of a process that was killed are free; 0 means 30s, or 6s in the demonstration")
	flag.Float64Var(&s.speed, "speed", 1, "how much faster than it plays audio is sent; the service promises to take 1")
	flag.BoolVar(&s.child, "child", false, "end with standard input")
	var d demo
	flag.IntVar(&d.replicas, "replicas", 3, "processes of the demonstration")
	flag.IntVar(&d.uploads, "uploads", 300, "uploads of the demonstration")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if s.addr != "" {
		err = s.run(ctx, os.Stdout)
	} else {
		if s.lease == 0 {
			s.lease = 6 * time.Second
		}
		d.redis, d.quota, d.lease = s.redis, s.quota, s.lease
		err = d.run(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
