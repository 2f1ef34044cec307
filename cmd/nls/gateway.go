package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls/contrib/engines"
	"github.com/nlsgo/nls/internal/gateway"
	"github.com/nlsgo/nls/nlstest"
)

// realEngine is the engine real, which tells stderr what it is made of.
func realEngine(stderr io.Writer) map[string]func(*nlstest.Options) {
	return map[string]func(*nlstest.Options){"real": func(o *nlstest.Options) {
		e := engines.New(engines.Options{})
		for _, p := range e.Parts() {
			switch {
			case p.Uses != "":
				fmt.Fprintf(stderr, "%s: %s\n", p.Name, p.Uses)
			case p.Install != "":
				fmt.Fprintf(stderr, "%s: missing; %s\n", p.Name, p.Install)
			default:
				fmt.Fprintf(stderr, "%s: not to be had\n", p.Name)
			}
		}
		o.Engine, o.Codecs = e, e.Codecs()
		o.PlainPartials = true // it takes enough back itself
	}}
}

func newGateway() *cobra.Command {
	return &cobra.Command{
		Use:   "gateway",
		Short: "Serve a local gateway to develop against",
		Long: `Serve a gateway that behaves as the service does, for programs in any language.

It first prints one line of JSON with what a client needs, such as url, appkey and token.
It serves until Ctrl-C or SIGTERM and exits with status 0.

With -engine real it recognises and speaks English, and speaks Mandarin, by what is
installed here: pocketsphinx, flite, espeak-ng and, for compressed audio, ffmpeg. It says
what it has found, and how to install what is missing.`,
		DisableFlagParsing: true, // the program nlsgateway has the same flags
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" }) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", cmd.Long)
				_ = gateway.Run(cmd.Context(), []string{"-h"}, realEngine(cmd.ErrOrStderr()), cmd.OutOrStdout(), cmd.OutOrStdout())
				return nil
			}
			err := gateway.Run(cmd.Context(), args, realEngine(cmd.ErrOrStderr()), cmd.OutOrStdout(), cmd.ErrOrStderr())
			if errors.Is(err, flag.ErrHelp) {
				return errTold
			}
			return err
		},
	}
}
