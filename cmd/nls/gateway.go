package main

import (
	"flag"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls/internal/gateway"
)

func newGateway() *cobra.Command {
	var command gateway.Command
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Serve a local gateway to develop against",
		Long: `Serve a gateway that behaves as the service does, for programs in any language.

It first prints one line of JSON with what a client needs: url, token_url, ca_file,
appkey, token, access_key_id and access_key_secret. It serves until Ctrl-C or SIGTERM,
removes ca_file and exits with status 0.`,
		Example: `  nls gateway --addr 127.0.0.1:8101
  nls gateway --engine script --script sentences.txt`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return command.Serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	command.Flags(flags)
	cmd.Flags().AddGoFlagSet(flags)
	return cmd
}
