package nlsotel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// station is a gateway, a Client with telemetry, and what has come of that.
type station struct {
	*nls.Client
	server *nlstest.Server
	spans  *tracetest.SpanRecorder
	tracer *trace.TracerProvider
	reader *metric.ManualReader
}

func newStation(t *testing.T, o nlstest.Options, change func(*nls.Config)) *station {
	t.Helper()
	o.Pipe = true
	s := &station{server: nlstest.NewServer(o), spans: tracetest.NewSpanRecorder(), reader: metric.NewManualReader()}
	t.Cleanup(s.server.Close)
	s.tracer = trace.NewTracerProvider(trace.WithSpanProcessor(s.spans))
	hooks, err := NewTrace(Options{TracerProvider: s.tracer, MeterProvider: metric.NewMeterProvider(metric.WithReader(s.reader))})
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.server.Config()
	cfg.Trace = hooks
	if change != nil {
		change(&cfg)
	}
	if s.Client, err = nls.NewClient(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// fault makes the connections to a gateway misbehave.
func fault(name string) func(*http.Request) *nlstest.Fault {
	return func(*http.Request) *nlstest.Fault {
		f, err := nlstest.ParseFault(name)
		if err != nil {
			panic(err)
		}
		return f
	}
}

// audio is a second of it.
var audio = make([]byte, 32000)

// transcribe is a session with a second of audio.
func (s *station) transcribe(ctx context.Context) (task string, err error) {
	tr := s.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(ctx, nls.TranscriptionParams{}); err != nil {
		return tr.TaskID(), err
	}
	return tr.TaskID(), errors.Join(tr.SendAudio(audio), tr.Stop(ctx))
}

// span is the one span of product that has ended.
func (s *station) span(t *testing.T, product string) trace.ReadOnlySpan {
	t.Helper()
	var found []trace.ReadOnlySpan
	for _, span := range s.spans.Ended() {
		if span.Name() == product {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans of %s", len(found), product)
	}
	return found[0]
}

func events(span trace.ReadOnlySpan) string {
	var names []string
	for _, e := range span.Events() {
		names = append(names, e.Name)
	}
	return strings.Join(names, ", ")
}

func attr(attrs []attribute.KeyValue, key attribute.Key) any {
	for _, a := range attrs {
		if a.Key == key {
			return a.Value.AsInterface()
		}
	}
	return nil
}

func event(span trace.ReadOnlySpan, name string, key attribute.Key) any {
	for _, e := range span.Events() {
		if e.Name == name {
			return attr(e.Attributes, key)
		}
	}
	return nil
}

// metrics are the sums, and the sums of histograms with their count, as text: the name
// without "nls.", the values of the attributes, the value.
func (s *station) metrics(t *testing.T) []string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var lines []string
	line := func(name string, set attribute.Set, value any) {
		var words []string
		for _, a := range set.ToSlice() {
			if a.Key != product {
				words = append(words, a.Value.String())
			}
		}
		lines = append(lines, fmt.Sprint(strings.TrimPrefix(name, "nls."), words, " ", value))
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, math.Round(100*p.Value)/100)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					line(m.Name, p.Attributes, fmt.Sprintf("%d in %.2gs", p.Count, p.Sum))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (s *station) mustCount(t *testing.T, want ...string) {
	t.Helper()
	got := s.metrics(t)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("counted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestASessionThatCompletesIsASpanUnderTheCallersWithItsMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, nlstest.Options{ReplyDelay: 100 * time.Millisecond}, nil)
		ctx, parent := s.tracer.Tracer("test").Start(t.Context(), "request")
		task, err := s.transcribe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		parent.End()
		span := s.span(t, "SpeechTranscriber")
		if span.Parent().SpanID() != parent.SpanContext().SpanID() || span.SpanContext().TraceID() != parent.SpanContext().TraceID() {
			t.Error("it has another parent")
		}
		if got := events(span); got != "token, dial, first result, end" {
			t.Errorf("events %s", got)
		}
		for key, want := range map[attribute.Key]any{product: "SpeechTranscriber", taskID: task, rcvBytes: attr(span.Attributes(), rcvBytes)} {
			if got := attr(span.Attributes(), key); got != want || got == nil {
				t.Errorf("%s = %v", key, got)
			}
		}
		if span.Status().Code != codes.Unset || event(span, "end", outcome) != "completed" || event(span, "dial", httpStatus) != int64(101) ||
			event(span, "dial", taskID) != task || event(span, "token", tokenResult) != "cached" {
			t.Errorf("%+v, %+v", span.Status(), span.Events())
		}
		if took := span.EndTime().Sub(span.StartTime()); took != 200*time.Millisecond {
			t.Errorf("took %v", took)
		}
		s.mustCount(t, "sessions.started[] 1", "sessions.running[] 0", "first_result.duration[] 1 in 0.2s",
			"audio.size[transmit] 32000", "audio.duration[transmit] 1", "token.lookups[cached] 1")
	})
}

func TestASynthesisCountsTheAudioThatCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, nlstest.Options{}, nil)
		n := 0
		tts := s.NewSynthesizer(nls.SynthesizerHandlers{OnData: func(a nls.AudioEvent) { n += len(a.Data) }})
		if err := tts.Start(t.Context(), nls.SynthesisParams{Text: "你好"}); err != nil {
			t.Fatal(err)
		}
		if span := s.span(t, "SpeechSynthesizer"); span.Parent().IsValid() || n == 0 {
			t.Errorf("%d bytes, parent %v", n, span.Parent())
		}
		want := []string{
			fmt.Sprint("audio.size[receive] ", n), fmt.Sprint("audio.duration[receive] ", math.Round(float64(n)/320)/100),
		}
		got := s.metrics(t)
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("no %s in %v", line, got)
			}
		}
	})
}

func TestASessionThatFailsIsAnErrorWithItsType(t *testing.T) {
	for _, c := range []struct {
		fault  string
		events string
		kind   string
		status any
	}{
		{"refuse@handshake,code=503", "token, dial, end", "http_503", nil},
		{"taskfailed@on-start,code=40000005", "token, dial, end", "40000005", int64(40000005)},
		{"reset@on-start", "token, dial, end", "close_-1", nil},
		{"hang@on-start", "token, dial, end", "start_timeout", nil},
	} {
		t.Run(c.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, nlstest.Options{ReplyDelay: 100 * time.Millisecond, Fault: fault(c.fault)}, nil)
				_, err := s.transcribe(t.Context())
				if err == nil {
					t.Fatal("it did not fail")
				}
				span := s.span(t, "SpeechTranscriber")
				if got := events(span); got != c.events {
					t.Errorf("events %s", got)
				}
				if span.Status().Code != codes.Error || span.Status().Description != err.Error() || attr(span.Attributes(), errorType) != c.kind ||
					attr(span.Attributes(), status) != c.status || event(span, "end", outcome) != "failed" {
					t.Errorf("%+v, %v", span.Status(), span.Attributes())
				}
				s.mustCount(t, "sessions.started[] 1", "sessions.running[] 0", "token.lookups[cached] 1", "sessions.failed["+c.kind+"] 1")
			})
		})
	}
}

func TestASessionThatTheCallerEndsIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, nlstest.Options{Fault: fault("hang@on-start")}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := s.transcribe(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		span := s.span(t, "SpeechTranscriber")
		if span.Status().Code != codes.Unset || event(span, "end", outcome) != "interrupted" || event(span, "end", errorType) != "canceled" {
			t.Errorf("%+v, %v", span.Status(), span.Events())
		}
		s.mustCount(t, "sessions.started[] 1", "sessions.running[] 0", "token.lookups[cached] 1")
	})
}

func TestASessionThatWaitsForItsPlaceShowsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, nlstest.Options{ReplyDelay: 100 * time.Millisecond}, func(cfg *nls.Config) { cfg.Limiter = nls.NewLimiter(nls.Limits{Each: 1}) })
		first := s.NewRecognizer(nls.RecognizerHandlers{})
		if err := first.Start(t.Context(), nls.RecognitionParams{}); err != nil {
			t.Fatal(err)
		}
		// Places are per namespace: take that of the transcriber too.
		other := s.NewTranscriber(nls.TranscriberHandlers{})
		if err := other.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := s.transcribe(t.Context())
			done <- err
		}()
		time.Sleep(3 * time.Second)
		if got := s.metrics(t); !slices.Contains(got, "sessions.running[] 2") { // of this product, one of which waits
			t.Errorf("while it waits: %v", got)
		}
		other.Shutdown()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		first.Shutdown()
		<-first.Done()
		var span trace.ReadOnlySpan
		for _, ended := range s.spans.Ended() {
			if ended.Name() == "SpeechTranscriber" && event(ended, "end", outcome) == "completed" {
				span = ended
			}
		}
		if span == nil || events(span) != "admitted, token, dial, first result, end" || event(span, "admitted", waited) != 3.0 {
			t.Errorf("%d spans, %v", len(s.spans.Ended()), span)
		}
		got := s.metrics(t)
		for _, want := range []string{"admission.duration[] 2 in 3s", "admission.duration[] 1 in 0s", "sessions.running[] 0"} {
			if !slices.Contains(got, want) {
				t.Errorf("no %s in %v", want, got)
			}
		}
	})
}

func TestStallsAndRenewalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookups := 0
		s := newStation(t, nlstest.Options{}, func(cfg *nls.Config) {
			token := cfg.Token
			cfg.MaxPendingBytes = 1
			cfg.TokenSource = nls.CacheTokens(nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) {
				if lookups++; lookups == 2 {
					return nil, &nls.TokenError{HTTPStatus: 503}
				}
				return &nls.Token{Value: token, Expiry: time.Now().Add(time.Hour)}, nil
			}), 5*time.Minute)
		})
		for _, wait := range []time.Duration{0, 56 * time.Minute, time.Minute} {
			time.Sleep(wait)
			tts := s.NewSynthesizer(nls.SynthesizerHandlers{OnData: func(nls.AudioEvent) { time.Sleep(time.Millisecond) }})
			if err := tts.Start(t.Context(), nls.SynthesisParams{Text: strings.Repeat("你好。", 50)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		got := strings.Join(s.metrics(t), "\n")
		for _, want := range []string{"token.lookups[found] 1", "token.lookups[cached] 2", "token.lookups[renewed] 1", "token.lookups[renewal_failed] 1", "queue.stalls[] "} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
	})
}

func TestErrorType(t *testing.T) {
	for want, err := range map[string]error{
		"40000005":          &nls.TaskError{Event: nls.Event{Status: 40000005}},
		"http_403":          &nls.HandshakeError{HTTPStatus: 403},
		"close_1006":        &nls.CloseError{Code: 1006},
		"invalid_parameter": &nls.ParamError{},
		"start_timeout":     fmt.Errorf("x: %w", nls.ErrStartTimeout),
		"ping_timeout":      nls.ErrPingTimeout,
		"shutdown":          nls.ErrShutdown,
		"canceled":          context.Canceled,
		"deadline":          context.DeadlineExceeded,
		"proxy":             &nls.ProxyError{HTTPStatus: 407},
		"token":             &nls.TokenError{Code: "Forbidden"},
		"_OTHER":            errors.New("x"),
	} {
		if got := ErrorType(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
