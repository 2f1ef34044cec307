// Package nlsotel makes OpenTelemetry spans and metrics of the sessions of package nls.
//
// It knows the API of OpenTelemetry and no SDK: where spans and metrics go is the
// program's choice. One Trace does for any number of Clients:
//
//	cfg.Trace, err = nlsotel.NewTrace(nlsotel.Options{})
//
// # Spans
//
// There is one for each session, named after its namespace, such as
// "SpeechTranscriber", from the call of Start to the last callback. Its parent is the
// span in the context of Start. Its events are "token", "admitted" (Config.Limiter),
// "dial" (one for each attempt), "stalled", "first result" and "end". A session that the
// caller has dropped, by Shutdown or by cancelling, is no error.
//
// # Metrics
//
// All have the attribute nls.product, the namespace.
//
//	nls.sessions.running       sessions between Start and their last callback
//	nls.sessions.started       Starts
//	nls.sessions.failed        by error.type: a status of the service, http_503, close_1006, start_timeout...
//	nls.first_result.duration  s, from the first command to the first result or audio
//	nls.admission.duration     s, the wait for Config.Limiter
//	nls.audio.size             By, by network.io.direction: transmit or receive
//	nls.audio.duration         s of audio, the same; of PCM only
//	nls.queue.stalls           reading stopped for slow callbacks
//	nls.token.lookups          by nls.token.result: cached, found, renewed, failed, renewal_failed
package nlsotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/nlsgo/nls"
)

// scope names what makes the telemetry.
const scope = "github.com/nlsgo/nls/contrib/otel"

// Options says where spans and metrics go.
type Options struct {
	TracerProvider trace.TracerProvider // nil means otel.GetTracerProvider()
	MeterProvider  metric.MeterProvider // nil means otel.GetMeterProvider()
}

// NewTrace returns hooks for Config.Trace. They are safe for concurrent use, and hold
// nothing of a session that has ended. The error is that of a MeterProvider that
// refuses an instrument.
func NewTrace(o Options) (*nls.Trace, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	t := &telemetry{tracer: o.TracerProvider.Tracer(scope, trace.WithInstrumentationVersion(nls.Version))}
	if err := t.instruments(o.MeterProvider.Meter(scope, metric.WithInstrumentationVersion(nls.Version))); err != nil {
		return nil, fmt.Errorf("nlsotel: %w", err)
	}
	return &nls.Trace{
		SessionStart: t.start,
		TokenDone: func(v nls.TraceToken) {
			if v.TaskID == "" { // for a warm connection; the rest is told to sessions
				t.lookups.Add(context.Background(), 1, metric.WithAttributes(tokenResult.String(resultOf(v))))
			}
		},
	}, nil
}

// telemetry is what all sessions share.
type telemetry struct {
	tracer trace.Tracer

	running                                metric.Int64UpDownCounter
	started, failed, size, stalls, lookups metric.Int64Counter
	seconds                                metric.Float64Counter
	firstResult, admission                 metric.Float64Histogram
}

func (t *telemetry) instruments(m metric.Meter) (err error) {
	counter := func(name, unit, text string) (c metric.Int64Counter) {
		if err == nil {
			c, err = m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		}
		return c
	}
	histogram := func(name, text string) (h metric.Float64Histogram) {
		if err == nil {
			h, err = m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text),
				metric.WithExplicitBucketBoundaries(.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60))
		}
		return h
	}
	t.started = counter("nls.sessions.started", "{session}", "Starts.")
	t.failed = counter("nls.sessions.failed", "{session}", "Sessions that failed, by the type of the error.")
	t.size = counter("nls.audio.size", "By", "Audio sent and received.")
	t.stalls = counter("nls.queue.stalls", "{stall}", "Times that reading stopped, since callbacks were too slow.")
	t.lookups = counter("nls.token.lookups", "{lookup}", "Lookups of tokens, by what came of them.")
	t.firstResult = histogram("nls.first_result.duration", "From the first command to the first result or audio.")
	t.admission = histogram("nls.admission.duration", "The wait for the Limiter.")
	if err == nil {
		t.seconds, err = m.Float64Counter("nls.audio.duration", metric.WithUnit("s"), metric.WithDescription("How long audio sent and received plays, of PCM."))
	}
	if err == nil {
		t.running, err = m.Int64UpDownCounter("nls.sessions.running", metric.WithUnit("{session}"), metric.WithDescription("Sessions between Start and their last callback."))
	}
	return err
}

// The attributes.
const (
	product     = attribute.Key("nls.product")
	taskID      = attribute.Key("nls.task_id")
	status      = attribute.Key("nls.status")
	attempt     = attribute.Key("nls.dial.attempt")
	origin      = attribute.Key("nls.dial.connection")
	tokenResult = attribute.Key("nls.token.result")
	waited      = attribute.Key("nls.wait")
	outcome     = attribute.Key("nls.outcome")
	pending     = attribute.Key("nls.pending_bytes")
	sentBytes   = attribute.Key("nls.sent_bytes")
	rcvBytes    = attribute.Key("nls.received_bytes")
	errorType   = attribute.Key("error.type")
	httpStatus  = attribute.Key("http.response.status_code")
	peer        = attribute.Key("network.peer.address")
	direction   = attribute.Key("network.io.direction")
)

// session is the telemetry of one session.
type session struct {
	*telemetry
	span           trace.Span
	ctx            context.Context // has the span and nothing else
	bytesPerSecond int

	product           metric.MeasurementOption
	transmit, receive metric.MeasurementOption
}

// start is SessionStart.
func (t *telemetry) start(ctx context.Context, v nls.TraceStart) *nls.Trace {
	_, span := t.tracer.Start(ctx, v.Namespace, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(product.String(v.Namespace)))
	s := &session{
		telemetry: t, span: span, ctx: trace.ContextWithSpan(context.Background(), span), bytesPerSecond: v.BytesPerSecond,
		product:  metric.WithAttributes(product.String(v.Namespace)),
		transmit: metric.WithAttributes(product.String(v.Namespace), direction.String("transmit")),
		receive:  metric.WithAttributes(product.String(v.Namespace), direction.String("receive")),
	}
	t.started.Add(s.ctx, 1, s.product)
	t.running.Add(s.ctx, 1, s.product)
	return &nls.Trace{
		TokenDone:   s.token,
		LimitDone:   s.admitted,
		DialDone:    s.dial,
		Audio:       func(m nls.TraceMessage) { s.audio(m, s.transmit) },
		Event:       s.event,
		Stalled:     s.stalled,
		SessionDone: s.done,
	}
}

// add adds an event to the span, with what has failed.
func (s *session) add(name string, err error, attrs ...attribute.KeyValue) {
	if err != nil {
		attrs = append(attrs, errorType.String(ErrorType(err)))
	}
	s.span.AddEvent(name, trace.WithAttributes(attrs...))
}

// resultOf is what came of a lookup.
func resultOf(v nls.TraceToken) string {
	switch {
	case v.Background && v.Err != nil:
		return "renewal_failed"
	case v.Err != nil:
		return "failed"
	case v.Background:
		return "renewed"
	case v.Cached:
		return "cached"
	}
	return "found"
}

func (s *session) token(v nls.TraceToken) {
	s.lookups.Add(s.ctx, 1, s.product, metric.WithAttributes(tokenResult.String(resultOf(v))))
	s.add("token", v.Err, tokenResult.String(resultOf(v)), waited.Float64(v.Duration.Seconds()))
}

func (s *session) admitted(v nls.TraceLimit) {
	s.admission.Record(s.ctx, v.Duration.Seconds(), s.product)
	s.add("admitted", v.Err, waited.Float64(v.Duration.Seconds()))
}

func (s *session) dial(v nls.TraceDial) {
	attrs := []attribute.KeyValue{
		taskID.String(v.TaskID), attempt.Int(v.Attempt), origin.String(v.Conn), waited.Float64(v.Duration.Seconds()),
	}
	if v.StatusCode != 0 {
		attrs = append(attrs, httpStatus.Int(v.StatusCode))
	}
	if v.RemoteAddr != nil {
		attrs = append(attrs, peer.String(v.RemoteAddr.String()))
	}
	s.add("dial", v.Err, attrs...)
}

// event is told of a message that came; it has no name if it is audio.
func (s *session) event(m nls.TraceMessage) {
	if m.Name == "" && m.Err == nil {
		s.audio(m, s.receive)
	}
}

func (s *session) audio(m nls.TraceMessage, way metric.MeasurementOption) {
	if m.Err != nil {
		return
	}
	s.size.Add(s.ctx, int64(m.Size), way)
	if s.bytesPerSecond > 0 {
		s.seconds.Add(s.ctx, float64(m.Size)/float64(s.bytesPerSecond), way)
	}
}

func (s *session) stalled(v nls.TraceStall) {
	if v.Stalled {
		s.stalls.Add(s.ctx, 1, s.product)
		s.add("stalled", nil, pending.Int(v.PendingBytes))
	}
}

func (s *session) done(v nls.TraceSession) {
	s.running.Add(s.ctx, -1, s.product)
	if v.FirstResult > 0 {
		s.firstResult.Record(s.ctx, v.FirstResult.Seconds(), s.product)
		s.span.AddEvent("first result", trace.WithTimestamp(v.Start.Add(v.FirstResult)))
	}
	how := "completed"
	switch {
	case v.Err == nil:
	case interrupted(v.Err):
		how = "interrupted"
	default:
		how = "failed"
		s.failed.Add(s.ctx, 1, s.product, metric.WithAttributes(errorType.String(ErrorType(v.Err))))
		s.span.SetStatus(codes.Error, v.Err.Error())
		s.span.SetAttributes(errorType.String(ErrorType(v.Err)))
		if n := nls.StatusCode(v.Err); n >= 0 {
			s.span.SetAttributes(status.Int(n))
		}
	}
	s.span.SetAttributes(taskID.String(v.TaskID), sentBytes.Int64(v.SentBytes), rcvBytes.Int64(v.RcvBytes))
	s.add("end", v.Err, outcome.String(how))
	s.span.End(trace.WithTimestamp(v.End))
}
