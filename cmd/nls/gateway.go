package main

import (
	"errors"
	"flag"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls/internal/gateway"
)

func newGateway() *cobra.Command {
	return &cobra.Command{
		Use:   "gateway",
		Short: "Serve a local gateway to develop against",
		// The program nlsgateway has the same flags.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := gateway.Run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if errors.Is(err, flag.ErrHelp) {
				return errTold
			}
			return err
		},
	}
}
