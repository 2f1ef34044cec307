package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
	nlsredis "github.com/nlsgo/nls/contrib/redis"
)

const (
	account   = "fleet" // in Redis
	maxUpload = 64 << 20
	lastWords = 30 * time.Second // for what runs when the process is to end
)

// service is one process of the fleet.
type service struct {
	addr, redis, owner string
	quota              int
	lease              time.Duration
	speed              float64
	child              bool

	client *nls.Client
}

// reply is the answer to an upload.
type reply struct {
	Text     string `json:"text"`
	Attempts int    `json:"attempts"` // sessions that it took
}

// run serves until ctx ends, and then lets end what runs.
func (s *service) run(ctx context.Context, out io.Writer) error {
	key, err := hex.DecodeString(os.Getenv("FLEET_KEY"))
	if err != nil {
		return fmt.Errorf("FLEET_KEY: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	rdb := redis.NewClient(&redis.Options{Addr: s.redis, ContextTimeoutEnabled: true})
	defer rdb.Close()
	limiter, err := nlsredis.NewLimiter(rdb, nlsredis.LimiterOptions{
		Account: account,
		Limits:  nls.Limits{Each: s.quota},
		Lease:   s.lease,
		Owner:   s.owner,
		Logger:  log,
	})
	if err != nil {
		return err
	}
	defer limiter.Close()

	cfg := nls.ConfigFromEnv()
	cfg.Limiter = limiter
	lookups := nls.NewTokenSource(nls.AccessKey{ID: cfg.AccessKeyID, Secret: cfg.AccessKeySecret, SecurityToken: cfg.SecurityToken}, tokenOptions())
	if cfg.TokenSource, err = nlsredis.NewTokenSource(rdb, lookups, nlsredis.TokenOptions{Account: account, Key: key}); err != nil {
		return err
	}
	if s.client, err = nls.NewClient(cfg); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintln(out, "listening on", listener.Addr())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.child { // whatever becomes of the parent
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	return errors.Join(server.Shutdown(last), s.client.Drain(last))
}

// tokenOptions are those of a local gateway, if FLEET_TOKENS says where that is and
// FLEET_CA whom to trust; else nil, for the service.
func tokenOptions() *nls.TokenOptions {
	endpoint := os.Getenv("FLEET_TOKENS")
	if endpoint == "" {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv("FLEET_CA")))
	return &nls.TokenOptions{
		Endpoint:  endpoint,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /transcribe", s.transcribe)
	return mux
}

func (s *service) transcribe(w http.ResponseWriter, r *http.Request) {
	audio, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var a reply
	err = nls.Retry(r.Context(), func(ctx context.Context) error {
		a.Attempts++
		var text strings.Builder
		// It waits for its place as long as the client does.
		p := nls.TranscriptionParams{Timeout: -1, EnablePunctuationPrediction: true, EnableInverseTextNormalization: true}
		for sentence, err := range s.client.Transcribe(ctx, bytes.NewReader(audio), p, nls.PumpOptions{Speed: s.speed}) {
			if err != nil {
				return err
			}
			text.WriteString(sentence.Text)
		}
		a.Text = text.String()
		return nil
	})
	switch {
	case errors.Is(err, nls.ErrInvalidParameter):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // who has hung up needs no answer
	}
}
