// Command nlsgateway serves a local NLS gateway for programs in any language, and
// for the official SDKs.
//
// It first prints one line of JSON with what a client needs: url, token_url,
// token_url_plain (without TLS, as the official SDKs call it),
// ca_file, appkey, token, access_key_id and access_key_secret. It serves until
// it gets an interrupt or SIGTERM, then removes ca_file and exits with status 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nlsgo/nls/internal/gateway"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "nlsgateway:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return gateway.Run(ctx, args, stdout, stderr)
}
