package nlsotel_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/nlsgo/nls"
	nlsotel "github.com/nlsgo/nls/contrib/otel"
	"github.com/nlsgo/nls/nlstest"
)

// newObservedClient returns a Client whose metrics Prometheus can fetch.
func newObservedClient(cfg nls.Config) *nls.Client {
	exporter, err := prometheus.New() // of go.opentelemetry.io/otel/exporters/prometheus
	if err != nil {
		log.Fatal(err)
	}
	metrics := metric.NewMeterProvider(metric.WithReader(exporter)) // of go.opentelemetry.io/otel/sdk/metric
	if cfg.Trace, err = nlsotel.NewTrace(nlsotel.Options{MeterProvider: metrics}); err != nil {
		log.Fatal(err)
	}
	http.Handle("/metrics", promhttp.Handler()) // of github.com/prometheus/client_golang
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return client
}

func ExampleNewTrace() {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client := newObservedClient(server.Config())
	if err := client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "你好"}); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "nls_sessions_") {
			name, _, _ := strings.Cut(line, "{")
			fmt.Println(name, strings.Fields(line)[1])
		}
	}
	// Output:
	// nls_sessions_running 0
	// nls_sessions_started_total 1
}
