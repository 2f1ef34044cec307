package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// connect makes the client: from flags, else from the environment, else for a
// gateway of its own.
func (p *program) connect() error {
	cfg := nls.ConfigFromEnv()
	cfg.URL = cmp.Or(p.url, cfg.URL)
	cfg.AppKey = cmp.Or(p.appKey, cfg.AppKey)
	switch { // a credential on the command line beats any in the environment
	case p.token != "":
		cfg.Token = p.token
	case p.akid != "":
		cfg.Token, cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken = "", p.akid, p.akSecret, ""
	}
	if cfg.URL == "" && cfg.AppKey == "" && cfg.Token == "" && cfg.AccessKeyID == "" {
		p.local = nlstest.NewServer(nlstest.Options{MaxSessions: -1})
		cfg = p.local.Config()
		fmt.Fprintf(os.Stderr, "no gateway named by flags or environment: using a local one at %s,\n"+
			"which understands no speech but what it has synthesised itself\n", p.local.URL)
	}
	if err := p.trust(&cfg); err != nil {
		return err
	}
	client, err := nls.NewClient(cfg)
	p.client = client
	return err
}

// trust applies -ca and -token-endpoint.
func (p *program) trust(cfg *nls.Config) error {
	if p.ca != "" {
		pem, err := os.ReadFile(p.ca)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificate in it", p.ca)
		}
		cfg.TLSConfig = &tls.Config{RootCAs: roots}
	}
	if p.tokenEndpoint != "" {
		cfg.TokenOptions = &nls.TokenOptions{Endpoint: p.tokenEndpoint}
	}
	return nil
}
