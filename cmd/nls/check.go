package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest/acceptance"
)

func newCheck() *cobra.Command {
	var s service
	var o acceptance.Options
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try a whole service: the way to it, a token, every product",
		Long: `Try a whole service: name, connection, TLS, token, AppKey, and every product. What each
step has taken and what to do about one that failed is printed as it is known.

A sentence of a few characters is spoken and recognised some ten times, which costs what
that costs with the account, and takes a minute. With --dir a report and a recording of
all messages, without secrets, are left in a directory.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var stop func()
			if o.Config, stop, err = s.resolve(); err != nil {
				return err
			}
			defer stop()
			if _, err := nls.NewClient(o.Config); err != nil {
				return err
			}
			o.Progress = func(c acceptance.Check) {
				state := "ok"
				if c.Err != "" {
					state = "FAILED"
				} else if c.Skipped != "" {
					state = "skipped"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-8s%s: %s\n", state, c.Name, cmp.Or(c.Err, c.Skipped, c.Measured, c.Took.String()))
				if c.Advice != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "        %s\n", c.Advice)
				}
			}
			report, err := acceptance.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			return interrupted(cmd.Context(), report.Err())
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "`directory` for report.json and recording.jsonl")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "leave out what has to wait half a minute for the service to lose patience")
	s.flags(cmd)
	return cmd
}
