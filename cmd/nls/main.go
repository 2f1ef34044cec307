// Command nls transcribes recordings and microphones, and speaks texts, with Alibaba
// Cloud Intelligent Speech Interaction. Without an account it uses a local gateway.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
)

// Exit codes beside 0.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// errInterrupted is the end of a command that Ctrl-C has cut short, after it has
// printed what it knows.
var errInterrupted = errors.New("interrupted")

// errTold is a command line that cannot work, or a wish for help, of which the user has
// been told.
var errTold = errors.New("told")

const about = `nls transcribes recordings and microphones, and speaks texts, with Alibaba Cloud
Intelligent Speech Interaction.`

const manual = about + `

ENVIRONMENT
  NLS_APPKEY                        key of the project in the NLS console
  NLS_TOKEN                         access token, good for a day or so; or
  ALIBABA_CLOUD_ACCESS_KEY_ID       and
  ALIBABA_CLOUD_ACCESS_KEY_SECRET   an access key, from which tokens are made, with
  ALIBABA_CLOUD_SECURITY_TOKEN      if it is a temporary one
  NLS_REGION                        cn-shanghai, cn-beijing, cn-shenzhen or ap-southeast-1
  NLS_URL                           gateway, in place of that of the region

  Flags win over the environment. Where neither names a service, commands start a
  gateway of their own, which needs no account and no network. It understands no
  speech but what it has synthesised itself: in other audio it finds where somebody
  speaks, and not what.

EXIT STATUS
  0    all is well
  1    it failed; standard error says why
  2    the command line is wrong
  130  Ctrl-C; what was known by then has been printed. "nls mic" ends with 0`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one kills
	running := false             // what fails before is the command line
	root := &cobra.Command{
		Use:               "nls",
		Short:             "Speech to text and text to speech",
		Long:              manual,
		Version:           nls.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { running = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddCommand(newTranscribe(), newMic(), newSpeak(), newCheck(), newToken(), newGateway())
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errTold):
		return exitUsage
	case !running:
		fmt.Fprintf(os.Stderr, "nls: %v\nsee %s --help\n", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "nls: interrupted")
		return exitInterrupted
	}
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(os.Stderr, "nls: %v\nsee %s --help\n", err, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintln(os.Stderr, "nls:", strings.TrimPrefix(err.Error(), "nls: "))
	if h := hint(err); h != "" {
		fmt.Fprintln(os.Stderr, h)
	}
	return exitFailed
}

// usageError is a command line that cannot work.
type usageError string

func (e usageError) Error() string { return string(e) }
