package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
)

func newToken() *cobra.Command {
	var s service
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make an access token",
		Long: `Make an access token from the access key in the environment and print it. When it
ends is printed on standard error. The service limits how often this may be asked.`,
		Example: "  export NLS_TOKEN=$(nls token)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.config()
			if err != nil {
				return err
			}
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.TLSClientConfig = cfg.TLSConfig
			token, err := nls.GetToken(cmd.Context(),
				nls.AccessKey{ID: cfg.AccessKeyID, Secret: cfg.AccessKeySecret, SecurityToken: cfg.SecurityToken},
				&nls.TokenOptions{Region: cfg.Region, Endpoint: s.tokenEndpoint, Transport: transport})
			if err != nil {
				return err
			}
			if !token.Expiry.IsZero() {
				fmt.Fprintln(cmd.ErrOrStderr(), "good until", token.Expiry.Local().Format(time.DateTime))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Value)
			return err
		},
	}
	s.keyFlags(cmd)
	return cmd
}
