package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls/internal/gateway"
)

func newGateway() *cobra.Command {
	return &cobra.Command{
		Use:   "gateway",
		Short: "Serve a local gateway to develop against",
		Long: `Serve a gateway that behaves as the service does, for programs in any language.

It first prints one line of JSON with what a client needs, such as url, appkey and token.
It serves until Ctrl-C or SIGTERM and exits with status 0.`,
		DisableFlagParsing: true, // the program nlsgateway has the same flags
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" }) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", cmd.Long)
				_ = gateway.Run(cmd.Context(), []string{"-h"}, cmd.OutOrStdout(), cmd.OutOrStdout())
				return nil
			}
			err := gateway.Run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if errors.Is(err, flag.ErrHelp) {
				return errTold
			}
			return err
		},
	}
}
