package acceptance

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls"
)

// way tries what every product needs: the connection, step by step, a token, and
// the AppKey.
func (r *run) way(ctx context.Context) {
	r.check("token", func(c *Check) error {
		token, err := r.token(ctx)
		if errors.Is(err, errGiven) {
			c.Skipped = err.Error()
			return nil
		}
		if err != nil {
			return err
		}
		if !token.Expiry.IsZero() {
			lifetime := time.Until(token.Expiry).Round(time.Minute)
			c.Measured = fmt.Sprintf("good for %v", lifetime)
			r.answer(11, "How long does a token live?", c.Measured)
		}
		return nil
	})
	r.check("connection", func(c *Check) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cfg := r.cfg
		cfg.WarmConnections = 1
		client, err := nls.NewClient(cfg)
		if err != nil {
			return err
		}
		var s stages
		err = client.Warm(httptrace.WithClientTrace(ctx, s.hooks()))
		client.CloseIdleConnections()
		c.Measured = s.String()
		r.report.URL = r.gateway()
		return err
	})
	r.check("AppKey", func(c *Check) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		t := r.silent.NewTranscriber(nls.TranscriberHandlers{})
		defer t.Shutdown()
		begin := time.Now()
		if err := t.Start(ctx, nls.TranscriptionParams{}); err != nil {
			return err
		}
		c.Measured = fmt.Sprintf("start %v", time.Since(begin).Round(time.Millisecond))
		return t.Stop(ctx)
	})
}

// errGiven is a token that was not looked up.
var errGiven = errors.New("the token is given")

// token is a token for the account, and errGiven if there is nothing to look up.
func (r *run) token(ctx context.Context) (*nls.Token, error) {
	c := r.cfg
	options := nls.TokenOptions{}
	if c.TokenOptions != nil {
		options = *c.TokenOptions
	}
	options.Region = cmp.Or(options.Region, c.Region)
	switch {
	case c.TokenSource != nil:
		return c.TokenSource.Token(ctx)
	case c.Credentials != nil:
		return nls.NewTokenSourceFrom(c.Credentials, &options).Token(ctx)
	case c.AccessKeyID != "":
		return nls.GetToken(ctx, nls.AccessKey{ID: c.AccessKeyID, Secret: c.AccessKeySecret, SecurityToken: c.SecurityToken}, &options)
	}
	return nil, errGiven
}

// stages measures the steps of a connection. An error is that of the last one.
type stages struct {
	mu    sync.Mutex
	begin time.Time
	done  []string
}

func (s *stages) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin = time.Now()
}

func (s *stages) end(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		what += " failed"
	}
	s.done = append(s.done, fmt.Sprintf("%s %v", what, time.Since(s.begin).Round(time.Millisecond)))
	s.begin = time.Now()
}

func (s *stages) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { s.start() },
		DNSDone:              func(i httptrace.DNSDoneInfo) { s.end("DNS", i.Err) },
		ConnectStart:         func(string, string) { s.start() },
		ConnectDone:          func(_, addr string, err error) { s.end("TCP to "+addr, err) },
		TLSHandshakeStart:    func() { s.start() },
		TLSHandshakeDone:     func(_ tls.ConnectionState, err error) { s.end("TLS", err) },
		GotFirstResponseByte: func() { s.end("upgrade", nil) },
	}
}

func (s *stages) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.done, ", ")
}
