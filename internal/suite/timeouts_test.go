package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// Every bound on time, in the synctest bubble of a gateway that is too slow for it.

// bounds are ways to bound a call, and what then ends it when nobody answers. The
// time of a bound on the call itself is given as the default.
type bound struct {
	name    string
	param   time.Duration // Timeout, CompleteTimeout or Config.StopTimeout
	context time.Duration // zero for none
	cancel  bool          // end the context by cancelling it
	after   time.Duration
}

func boundsOf(standard time.Duration) []bound {
	return []bound{
		{"by default", 0, 0, false, standard},
		{"by the parameter", 3 * time.Second, 0, false, 3 * time.Second},
		{"by the context", 0, 2 * time.Second, false, 2 * time.Second},
		{"by the earlier of the two, the parameter", 3 * time.Second, 5 * time.Second, false, 3 * time.Second},
		{"by the earlier of the two, the context", 5 * time.Second, 3 * time.Second, false, 3 * time.Second},
		{"by the context alone", -1, 5 * time.Minute, false, 5 * time.Minute},
		{"by its caller", 0, 2 * time.Second, true, 2 * time.Second},
	}
}

// check runs call within b and checks its error.
func (b bound) check(t *testing.T, timeout error, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if b.context > 0 && !b.cancel {
		ctx, cancel = context.WithTimeout(ctx, b.context)
	} else if b.cancel {
		time.AfterFunc(b.context, cancel)
	}
	defer cancel()
	want := timeout
	if b.cancel {
		want = context.Canceled
	}
	begin := time.Now()
	err := call(ctx)
	if took := time.Since(begin); took != b.after {
		t.Errorf("took %v, want %v", took, b.after)
	}
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if is := errors.Is(err, context.DeadlineExceeded); is == b.cancel {
		t.Errorf("%v: DeadlineExceeded %v", err, is)
	}
	// The caller's own context is no reason to try again, a slow service is.
	if callers := b.after == b.context; nls.Retryable(err) == callers {
		t.Errorf("%v: Retryable %v", err, !callers)
	}
}

func TestStartTimeouts(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"hang@handshake", "hang@on-start"} {
		forSomeProducts(t, func(t *testing.T, p product) {
			if fault == "hang@on-start" && strings.HasPrefix(p.name, "Synthesizer") {
				return // Start is not answered anyway
			}
			for _, b := range boundsOf(nls.DefaultStartTimeout) {
				t.Run(fault+"/"+b.name, func(t *testing.T) {
					inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(fault)}, func(t *testing.T, server *nlstest.Server) {
						s := p.new(clientOf(t, server))
						s.timeout = b.param
						b.check(t, nls.ErrStartTimeout, s.start)
						<-s.Done()
						want := ""
						if fault == "hang@on-start" {
							want = "OnError OnClose"
						}
						if got := strings.TrimPrefix(s.called(), "OnOpen "); got != want {
							t.Errorf("called %q, want %q", got, want)
						}
					})
				})
			}
		})
	}
}

func TestStopTimeouts(t *testing.T) {
	t.Parallel()
	for name, standard := range map[string]time.Duration{
		"Recognizer": nls.DefaultStopTimeout, "Transcriber": nls.DefaultStopTimeout, "StreamSynthesizer": nls.DefaultCompleteTimeout,
	} {
		for _, b := range boundsOf(standard) {
			t.Run(name+"/"+b.name, func(t *testing.T) {
				inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways("hang@on-stop")}, func(t *testing.T, server *nlstest.Server) {
					s := productNamed(name).new(clientOf(t, server, func(cfg *nls.Config) { cfg.StopTimeout = b.param }))
					s.complete = b.param // of StreamSynthesizer, whose Stop this bounds
					if err := errors.Join(s.start(t.Context()), s.send()); err != nil {
						t.Fatal(err)
					}
					b.check(t, nls.ErrStopTimeout, s.stop)
					<-s.Done()
					if got := s.called(); !strings.HasSuffix(got, "OnError OnClose") {
						t.Errorf("called %s", got)
					}
				})
			})
		}
	}
}

func TestCompleteTimeouts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Synthesizer", "Synthesizer, long text"} {
		for _, b := range boundsOf(nls.DefaultCompleteTimeout) {
			t.Run(name+"/"+b.name, func(t *testing.T) {
				inBubble(t, nlstest.Options{Fault: faultAlways("hang@on-start")}, func(t *testing.T, server *nlstest.Server) {
					s := productNamed(name).new(clientOf(t, server))
					s.wait, s.complete, s.timeout = true, b.param, -1
					b.check(t, nls.ErrCompleteTimeout, s.start)
					<-s.Done()
				})
			})
		}
		t.Run(name+"/without waiting", func(t *testing.T) {
			inBubble(t, nlstest.Options{Fault: faultAlways("hang@on-start")}, func(t *testing.T, server *nlstest.Server) {
				s := productNamed(name).new(clientOf(t, server))
				s.complete = 5 * time.Second
				begin := time.Now()
				if err := s.start(t.Context()); err != nil || time.Since(begin) != 0 {
					t.Fatalf("Start = %v after %v", err, time.Since(begin))
				}
				// Wait gives up and leaves the session alone.
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := s.stop(ctx); !errors.Is(err, context.DeadlineExceeded) || nls.TaskID(err) != s.TaskID() || s.Err() != nil {
					t.Errorf("Wait = %v, Err = %v", err, s.Err())
				}
				if err := s.stop(t.Context()); !errors.Is(err, nls.ErrCompleteTimeout) || time.Since(begin) != 5*time.Second {
					t.Errorf("Wait = %v after %v", err, time.Since(begin))
				}
			})
		})
	}
}

// flood sends until that fails.
func (s *subject) flood() (err error) {
	for err == nil {
		err = s.send()
	}
	return err
}

func TestWriteTimeouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		timeout time.Duration // of Config
		after   time.Duration
		pong    time.Duration // later than the write timeout, for a ping waits its turn
		tls     string        // "", "SDK" or "caller", who dials it; a full connection takes 5 s to say goodbye under it
		stuck   bool          // a callback is
	}{
		{"by default", 0, nls.DefaultWriteTimeout, 0, "", false},
		{"by the configuration", 3 * time.Second, 3 * time.Second, 0, "", false},
		{"with PingTimeout", 3 * time.Second, 3 * time.Second, 2 * time.Second, "", false},
		{"with a stuck callback", 3 * time.Second, 3 * time.Second, 0, "", true},
		{"under TLS", 3 * time.Second, 3 * time.Second, 0, "SDK", false},
		{"under TLS with a stuck callback", 3 * time.Second, 3 * time.Second, 0, "SDK", true},
		{"under TLS of the caller with a stuck callback", 3 * time.Second, 3 * time.Second, 0, "caller", true},
	} {
		for _, name := range []string{"Recognizer", "Transcriber", "StreamSynthesizer", "CommonProto"} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				fault, handler := "stopreading@after-start", ""
				if c.stuck {
					fault = "stopreading@during-events"
					handler = map[string]string{
						"Recognizer": "OnResultChanged", "Transcriber": "OnSentenceBegin",
						"StreamSynthesizer": "OnSentenceBegin", "CommonProto": "RecognitionResultChanged",
					}[name]
				}
				opts := nlstest.Options{IdleTimeout: -1, TLS: c.tls != "", Fault: faultAlways(fault)}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					s := productNamed(name).new(clientOf(t, server, func(cfg *nls.Config) {
						cfg.WriteTimeout = c.timeout
						if c.tls == "caller" {
							dial, tlsConfig := cfg.NetDialContext, cfg.TLSConfig
							tlsConfig.ServerName = "127.0.0.1"
							cfg.URL = strings.Replace(cfg.URL, "wss:", "ws:", 1)
							cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
								c, err := dial(ctx, network, addr)
								if err != nil {
									return nil, err
								}
								return tls.Client(c, tlsConfig), nil
							}
						}
					}))
					s.pong = c.pong
					release := make(chan struct{})
					s.on(handler, func() { <-release })
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					begin := time.Now()
					senders := make(chan error)
					for range 3 {
						go func() { senders <- s.flood() }()
					}
					for range 3 {
						if err := <-senders; !errors.Is(err, nls.ErrWriteTimeout) || time.Since(begin) != c.after || err != s.Err() {
							t.Errorf("SendAudio = %v after %v, Err = %v", err, time.Since(begin), s.Err())
						}
					}
					close(release)
					<-s.Done()
					if took := time.Since(begin); took != c.after {
						t.Errorf("Done after %v", took)
					}
					if got := s.called(); !strings.HasSuffix(got, "OnError OnClose") {
						t.Errorf("called %s", got)
					}
				})
			})
		}
	}
}

func TestAStartThatCannotBeWrittenTimesOut(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Fault: faultAlways("halfopen@before-start")}, func(t *testing.T, server *nlstest.Server) {
		c := clientOf(t, server, func(cfg *nls.Config) { cfg.WriteTimeout = 3 * time.Second })
		tts := c.NewSynthesizer(nls.SynthesizerHandlers{})
		begin := time.Now()
		// The directive is longer than the gateway reads at once.
		err := tts.Start(t.Context(), nls.SynthesisParams{Text: strings.Repeat(spoken, 150_000), LongText: true})
		if !errors.Is(err, nls.ErrWriteTimeout) || time.Since(begin) != 3*time.Second {
			t.Errorf("Start = %v after %v", err, time.Since(begin))
		}
		<-tts.Done()
	})
}

func TestStopAndShutdownFreeABlockedSender(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Recognizer", "Transcriber", "StreamSynthesizer"} {
		for end, want := range map[string]error{"Stop": nls.ErrStopTimeout, "Shutdown": nls.ErrShutdown} {
			t.Run(name+"/"+end, func(t *testing.T) {
				inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways("stopreading@after-start")}, func(t *testing.T, server *nlstest.Server) {
					s := productNamed(name).new(clientOf(t, server, func(cfg *nls.Config) { cfg.WriteTimeout = -1 }))
					if err := s.start(t.Context()); err != nil {
						t.Fatal(err)
					}
					sender := make(chan error, 1)
					go func() { sender <- s.flood() }()
					time.Sleep(time.Hour)
					begin := time.Now()
					if end == "Stop" {
						ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
						defer cancel()
						if err := s.stop(ctx); !errors.Is(err, want) || time.Since(begin) != 4*time.Second {
							t.Errorf("Stop = %v after %v", err, time.Since(begin))
						}
					} else {
						s.Shutdown()
					}
					now := time.Now()
					// ErrStopping is what a sender gets that comes after Stop.
					if err := <-sender; !errors.Is(err, want) && !errors.Is(err, nls.ErrStopping) || time.Since(now) != 0 {
						t.Errorf("the sender got %v after %v", err, time.Since(now))
					}
					<-s.Done()
					if time.Since(now) != 0 {
						t.Errorf("Done after %v", time.Since(now))
					}
				})
			})
		}
	}
}

func TestPingParameters(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		tr := clientOf(t, server).NewTranscriber(nls.TranscriberHandlers{})
		for _, p := range []nls.TranscriptionParams{
			{PingTimeout: nls.DefaultPingInterval},
			{PingInterval: 5 * time.Second, PingTimeout: 6 * time.Second},
			{PingInterval: -1, PingTimeout: 1},
		} {
			var e *nls.ParamError
			if err := tr.Start(t.Context(), p); !errors.As(err, &e) || e.Param != "PingTimeout" {
				t.Errorf("%+v: %v", p, err)
			}
		}
		if tr.TaskID() != "" || server.Stats().Connections != 0 {
			t.Error("a bad parameter reached the gateway")
		}
	})
}

func TestPingTimeouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		ping, pong time.Duration
		want       outcome
	}{
		{"default interval", 0, 5 * time.Second, noPong},
		{"own interval", 2 * time.Second, time.Second, outcome{is: nls.ErrPingTimeout, retryable: true, after: 3 * time.Second}},
		{"not checked", 2 * time.Second, -1, outcome{completes: true, after: 30 * time.Second}},
		{"none has been answered", 2 * time.Second, 0, outcome{completes: true, after: 30 * time.Second}},
		{"no pings", -1, 0, outcome{completes: true, after: 30 * time.Second}},
	} {
		for _, p := range matrixProducts() {
			t.Run(c.name+"/"+p.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Fault: faultOnce("nopong@before-start"), Engine: hesitant{nlstest.Loopback()}}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					s.ping, s.pong = c.ping, c.pong
					want := c.want
					if p.name == "StreamSynthesizer" && want.completes {
						want.after = 60 * time.Second // it hesitates in the pause and, since the text has no end, after it
						want.within = want.after
					}
					s.play(t, client, want, 30*time.Second)
					s.playAgain(t, client)
				})
			})
		}
	}
}

// A callback that does not return holds up no call beyond its bound, and Done no
// longer than it takes.
func TestEachCallHoldsItsBoundWhileEachCallbackIsStuck(t *testing.T) {
	t.Parallel()
	const failure = "taskfailed@on-stop"
	type call struct {
		handler, fault string
		want           error // nil for the TaskError
	}
	errNone := errors.New("none") // OnClose has been told so, and it is too late for another
	for _, c := range []struct {
		product string
		calls   []call
	}{
		{"Recognizer", []call{
			{"OnStart", "", nls.ErrStartTimeout}, {"OnResultChanged", "", nls.ErrStopTimeout}, {"OnCompleted", "", nls.ErrStopTimeout},
			{"OnError", failure, nil}, {"OnClose", "", errNone}}},
		{"Transcriber", []call{
			{"OnStart", "", nls.ErrStartTimeout}, {"OnSentenceBegin", "", nls.ErrStopTimeout}, {"OnResultChanged", "", nls.ErrStopTimeout},
			{"OnSentenceEnd", "", nls.ErrStopTimeout}, {"OnCompleted", "", nls.ErrStopTimeout},
			{"OnError", failure, nil}, {"OnClose", "", errNone}}},
		{"Synthesizer", []call{
			{"OnMetaInfo", "", nls.ErrCompleteTimeout}, {"OnData", "", nls.ErrCompleteTimeout}, {"OnCompleted", "", nls.ErrCompleteTimeout},
			{"OnError", "taskfailed@during-events", nil}, {"OnClose", "", errNone}}},
		{"StreamSynthesizer", []call{
			{"OnStart", "", nls.ErrStartTimeout}, {"OnSentenceBegin", "", nls.ErrStopTimeout}, {"OnSentenceSynthesis", "", nls.ErrStopTimeout},
			{"OnData", "", nls.ErrStopTimeout}, {"OnSentenceEnd", "", nls.ErrStopTimeout}, {"OnCompleted", "", nls.ErrStopTimeout},
			{"OnError", failure, nil}, {"OnClose", "", errNone}}},
		{"CommonProto", []call{
			{"OnOpen", "", nls.ErrStartTimeout}, {"RecognitionStarted", "", nls.ErrStartTimeout},
			{"RecognitionResultChanged", "", context.DeadlineExceeded}, {"RecognitionCompleted", "", context.DeadlineExceeded},
			{"OnError", failure, context.DeadlineExceeded}, {"OnClose", "", context.DeadlineExceeded}}},
	} {
		for _, stuck := range c.calls {
			t.Run(c.product+"/"+stuck.handler, func(t *testing.T) {
				inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultAlways(stuck.fault)}, func(t *testing.T, server *nlstest.Server) {
					s := productNamed(c.product).new(clientOf(t, server))
					s.wait, s.complete = true, 10*time.Second
					release := make(chan struct{})
					s.on(stuck.handler, func() { <-release })
					ctx := t.Context()
					if c.product == "CommonProto" { // has no bound of its own but that of Start
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
						defer cancel()
					}
					begin := time.Now()
					err := s.run(ctx)
					if took := time.Since(begin); took != 10*time.Second {
						t.Errorf("took %v", took)
					}
					switch {
					case stuck.want == errNone && err == nil:
					case stuck.want == nil && nls.StatusCode(err) == 50000000:
					case stuck.want != nil && errors.Is(err, stuck.want):
					default:
						t.Errorf("got %v, want %v", err, stuck.want)
					}
					time.Sleep(time.Hour)
					select {
					case <-s.Done():
						t.Error("Done has closed before the callback returned")
					default:
					}
					close(release)
					<-s.Done()
					if n := len(s.closes); n != 1 || s.calls[len(s.calls)-1] != "OnClose" {
						t.Errorf("called %s", s.calls)
					}
				})
			})
		}
	}
}

// A queue that is full for a minute, because a callback is slow, is no silence of
// the service: PingTimeout does not pass, and nothing is lost.
func TestAFullQueueIsNoReasonForAPingTimeout(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]string{
		"Recognizer": "OnResultChanged", "Transcriber": "OnResultChanged", "Synthesizer": "OnData",
		"Synthesizer, long text": "OnData", "StreamSynthesizer": "OnData", "CommonProto": "RecognitionResultChanged",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
				stalls := 0
				client := clientOf(t, server, func(cfg *nls.Config) {
					cfg.MaxPendingBytes = 4 << 10
					cfg.StopTimeout = 10 * time.Minute
					cfg.Trace = &nls.Trace{Stalled: func(i nls.TraceStall) {
						if i.Stalled {
							stalls++
						}
					}}
				})
				s := productNamed(name).new(client)
				s.ping, s.pong, s.complete, s.wait = 8*time.Second, 5*time.Second, 10*time.Minute, true
				slow := true
				s.on(handler, func() {
					if slow {
						slow = false
						time.Sleep(time.Minute)
					}
				})
				if err := s.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				pings := server.Stats().Pings
				if slow || stalls == 0 || pings < 5 {
					t.Errorf("slow callback %v, %d stalls, %d pings", !slow, stalls, pings)
				}
				if got := s.result(t, clientOf(t, server)); got != spoken {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// spaced is an engine that is silent for a while after each piece of audio.
type spaced struct {
	nlstest.Engine
	pause time.Duration
}

func (e spaced) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	return e.Engine.Synthesize(ctx, text, v, func(pcm []byte, words []nls.Subtitle) error {
		err := emit(pcm, words)
		select {
		case <-time.After(e.pause):
		case <-ctx.Done():
		}
		return err
	})
}

// A long synthesis may take as long as it wants, as long as something comes and
// each callback returns in time.
func TestTheBoundOnSilenceIsRenewedByEachMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		pause   time.Duration // of the service, between messages
		stall   time.Duration // of a callback
		want    error
		atLeast time.Duration
		atMost  time.Duration
	}{
		{"59 s between messages", 59 * time.Second, 0, nil, 3 * time.Minute, time.Hour},
		{"61 s between messages", 61 * time.Second, 0, nls.ErrStopTimeout, time.Minute, time.Minute},
		{"callbacks of 59 s", 0, 59 * time.Second, nil, 2 * time.Minute, time.Hour},
		{"a callback of two minutes", 0, 2 * time.Minute, nls.ErrStopTimeout, time.Minute, time.Minute},
	} {
		for _, name := range []string{"Synthesizer, long text", "StreamSynthesizer"} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Engine: spaced{nlstest.Loopback(), c.pause}}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server, func(cfg *nls.Config) { cfg.MaxPendingBytes = 4 << 10 })
					s := productNamed(name).new(client)
					s.wait = true
					s.on("OnData", func() { time.Sleep(c.stall) })
					begin := time.Now()
					err := s.run(t.Context())
					took := time.Since(begin)
					want := c.want
					if want != nil && name != "StreamSynthesizer" {
						want = nls.ErrCompleteTimeout
					}
					if !errors.Is(err, want) || took < c.atLeast || took > c.atMost {
						t.Errorf("got %v after %v, want %v", err, took, want)
					}
					<-s.Done()
				})
			})
		}
	}
}

func TestSilenceBeforeStopIsNoneOfTheStreamSynthesizersBusiness(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server)
		s := newStreamSubject(client)
		if err := errors.Join(s.start(t.Context()), s.send()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := s.stop(t.Context()); err != nil || s.result(t, client) != spoken {
			t.Errorf("Stop = %v", err)
		}
	})
}
