package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// service says which service to use, by flags and environment.
type service struct {
	url, region, appKey, token string
	keyID, keySecret           string
	tokenEndpoint, ca          string
	fileEndpoint               string
	trace                      bool
}

func (s *service) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.url, "url", "", "`URL` of the gateway ($NLS_URL)")
	f.StringVar(&s.appKey, "appkey", "", "`key` of the project ($NLS_APPKEY)")
	f.StringVar(&s.token, "token", "", "access `token` ($NLS_TOKEN)")
	f.BoolVar(&s.trace, "trace", false, "print every message on standard error")
	s.keyFlags(cmd)
}

// keyFlags are those that getting a token needs.
func (s *service) keyFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.region, "region", "", "`region` of the service ($NLS_REGION)")
	f.StringVar(&s.keyID, "akid", "", "`ID` of an access key ($ALIBABA_CLOUD_ACCESS_KEY_ID)")
	f.StringVar(&s.keySecret, "aksecret", "", "`secret` of the access key ($ALIBABA_CLOUD_ACCESS_KEY_SECRET)")
	f.StringVar(&s.tokenEndpoint, "token-endpoint", "", "`host` that makes tokens, in place of that of the region")
	f.StringVar(&s.ca, "ca", "", "PEM `file` of a certificate authority to trust")
	_ = cmd.RegisterFlagCompletionFunc("region", cobra.FixedCompletions(
		[]string{"cn-shanghai", "cn-beijing", "cn-shenzhen", "ap-southeast-1"}, cobra.ShellCompDirectiveNoFileComp))
}

// config is what flags and environment name; its AppKey may be missing.
func (s *service) config() (nls.Config, error) {
	cfg := nls.ConfigFromEnv()
	cfg.URL, cfg.Region, cfg.AppKey = cmp.Or(s.url, cfg.URL), cmp.Or(s.region, cfg.Region), cmp.Or(s.appKey, cfg.AppKey)
	if s.keyID != "" { // a credential on the command line beats any in the environment
		cfg.Token, cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken = "", s.keyID, s.keySecret, ""
	}
	cfg.Token = cmp.Or(s.token, cfg.Token)
	cfg.FileEndpoint = s.fileEndpoint
	cfg.TokenOptions = &nls.TokenOptions{Endpoint: s.tokenEndpoint}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return cfg, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return cfg, fmt.Errorf("%s: no certificate in it", s.ca)
		}
		cfg.TLSConfig = &tls.Config{RootCAs: roots}
	}
	return cfg, nil
}

// resolve is config, or that of a local gateway, which ends with stop.
func (s *service) resolve() (cfg nls.Config, stop func(), err error) {
	if cfg, err = s.config(); err != nil {
		return cfg, nil, err
	}
	stop = func() {}
	if cfg.URL == "" && cfg.Region == "" && cfg.AppKey == "" && cfg.Token == "" && cfg.AccessKeyID == "" {
		gateway := nlstest.NewServer(nlstest.Options{})
		cfg, stop = gateway.Config(), gateway.Close
		fmt.Fprintf(os.Stderr, "nls: no service named by flags or environment: using a local gateway at %s,\n"+
			"which understands no speech but what it has synthesised itself\n", gateway.URL)
	}
	if s.trace {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: nls.LevelTrace}))
	}
	return cfg, stop, nil
}

// connect returns a client for the service that resolve says.
func (s *service) connect() (client *nls.Client, stop func(), err error) {
	cfg, stop, err := s.resolve()
	if err != nil {
		return nil, nil, err
	}
	if client, err = nls.NewClient(cfg); err != nil {
		stop()
		return nil, nil, err
	}
	return client, stop, nil
}

// hint says which flag or variable has to do with err.
func hint(err error) string {
	if e, ok := errors.AsType[*nls.ParamError](err); ok {
		return map[string]string{
			"AppKey":           "set --appkey or NLS_APPKEY to the key of a project in the NLS console",
			"Token":            "set --token or NLS_TOKEN, or ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
			"AccessKeyID":      "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
			"AccessKey.ID":     "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET",
			"AccessKeySecret":  "set ALIBABA_CLOUD_ACCESS_KEY_SECRET",
			"AccessKey.Secret": "set ALIBABA_CLOUD_ACCESS_KEY_SECRET",
			"URL":              "it comes from --url or NLS_URL",
			"Region":           "it comes from --region or NLS_REGION",
			"Endpoint":         "it comes from --token-endpoint",
			"FileEndpoint":     "it comes from --file-endpoint",
		}[e.Param]
	}
	_, token := errors.AsType[*nls.TokenError](err)
	if _, api := errors.AsType[*nls.APIError](err); api || token {
		return "check ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, and --region or NLS_REGION"
	}
	switch nls.StatusCode(err) {
	case nls.StatusAppKeyNotExist, nls.StatusAppKeyMismatch:
		return "check --appkey or NLS_APPKEY, and --region or NLS_REGION"
	case nls.StatusTooManyRequests, nls.StatusConcurrencyExceeded:
		return "the account has no session left: wait until others have ended"
	}
	if errors.Is(err, nls.ErrAccessDenied) {
		return "check --token or NLS_TOKEN, which ends after a day or so; an access key makes tokens as they are needed"
	}
	return ""
}
