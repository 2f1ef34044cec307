package nlsredis_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/nlsgo/nls"
	nlsredis "github.com/nlsgo/nls/contrib/redis"
)

// tokenOptions are those of the local gateway of these tests; programs pass nil.
func tokenOptions() *nls.TokenOptions {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv("NLSTEST_CA")))
	return &nls.TokenOptions{
		Endpoint:  os.Getenv("NLSTEST_TOKENS"),
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
}

// A process of a fleet whose account may have 20 sessions of each product.
func Example() {
	opts, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	limiter, err := nlsredis.NewLimiter(rdb, nlsredis.LimiterOptions{
		Account: "production",
		Limits:  nls.Limits{Each: 20},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer limiter.Close()

	key, err := hex.DecodeString(os.Getenv("TOKEN_KEY")) // 32 random bytes
	if err != nil {
		log.Fatal(err)
	}
	cfg := nls.ConfigFromEnv()
	lookups := nls.NewTokenSource(nls.AccessKey{ID: cfg.AccessKeyID, Secret: cfg.AccessKeySecret}, tokenOptions())
	tokens, err := nlsredis.NewTokenSource(rdb, lookups, nlsredis.TokenOptions{Account: "production", Key: key})
	if err != nil {
		log.Fatal(err)
	}

	cfg.Limiter, cfg.TokenSource = limiter, tokens
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.Open("../../testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	result, err := client.Recognize(context.Background(), file, nls.RecognitionParams{}, nls.PumpOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text)
	// Output: 你好
}

func ExampleLimiter_Usage() {
	opts, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	limiter, err := nlsredis.NewLimiter(rdb, nlsredis.LimiterOptions{
		Account: "staging",
		Limits:  nls.Limits{ByNamespace: map[string]int{"SpeechRecognizer": 2}},
		Owner:   "pod-7",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer limiter.Close()
	release, err := limiter.Acquire(context.Background(), "SpeechRecognizer") // as Start does
	if err != nil {
		log.Fatal(err)
	}
	defer release()
	usage, err := limiter.Usage(context.Background(), "SpeechRecognizer")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(usage.Taken["pod-7"], "taken,", usage.Waiting["pod-7"], "waiting")
	// Output: 1 taken, 0 waiting
}
