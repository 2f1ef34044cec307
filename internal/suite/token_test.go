package suite

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// withKey leaves a Config nothing but its access key.
func withKey(cfg *nls.Config) { cfg.Token = "" }

// withToken leaves a Config nothing but its token.
func withToken(cfg *nls.Config) { cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken = "", "", "" }

// refusals counts handshakes that the gateway refuses.
func refusals(n *atomic.Int32) func(*nls.Config) {
	return func(cfg *nls.Config) {
		cfg.Trace = &nls.Trace{DialDone: func(d nls.TraceDial) {
			if d.StatusCode == 403 {
				n.Add(1)
			}
		}}
	}
}

// startAtOnce starts and ends n sessions of c at a time.
func startAtOnce(t *testing.T, c *nls.Client, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			s := newTranscriberSubject(c)
			if err := s.start(t.Context()); err != nil {
				t.Error(err)
			}
			s.Shutdown()
			<-s.Done()
		})
	}
	wg.Wait()
}

func TestAnAccessKeyIsEnoughForEveryProduct(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			c := clientOf(t, server, withKey)
			if err := p.new(c).run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := server.Stats().Tokens; n != 1 {
				t.Errorf("%d tokens", n)
			}
		})
	})
}

func TestTemporaryAccessKeysWork(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{AccessKeys: map[string]string{"STS.example": "secret"}}, func(t *testing.T, server *nlstest.Server) {
		if err := newTranscriberSubject(clientOf(t, server, withKey)).run(t.Context()); err != nil {
			t.Error(err)
		}
		c := clientOf(t, server, withKey, func(cfg *nls.Config) { cfg.SecurityToken = "" })
		err := newTranscriberSubject(c).run(t.Context())
		if e, ok := errors.AsType[*nls.TokenError](err); !ok || e.Code != "MissingSecurityToken" {
			t.Error(err)
		}
	})
}

func TestManySessionsShareOneToken(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{MaxSessions: -1}, func(t *testing.T, server *nlstest.Server) {
		startAtOnce(t, clientOf(t, server, withKey), effort.Times(500, 100))
		if n := server.Stats().Tokens; n != 1 {
			t.Errorf("%d calls of CreateToken, want 1", n)
		}
	})
}

func TestTokenIsReplacedBeforeItIsRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{TokenTTL: 20 * time.Minute}, func(t *testing.T, server *nlstest.Server) {
		var refused atomic.Int32
		c := clientOf(t, server, withKey, refusals(&refused))
		for range 60 {
			startAtOnce(t, c, 2)
			time.Sleep(time.Minute)
		}
		if n := server.Stats().Tokens; refused.Load() != 0 || n != 4 {
			t.Errorf("%d refused handshakes and %d tokens in an hour, want 0 and 4", refused.Load(), n)
		}
	})
}

func TestRevokedTokenCostsOneRefusalAndOneCall(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{MaxSessions: -1}, func(t *testing.T, server *nlstest.Server) {
		var refused atomic.Int32
		c := clientOf(t, server, withKey, refusals(&refused))
		startAtOnce(t, c, 1)
		for round := 1; round <= 3; round++ {
			server.ExpireTokens()
			startAtOnce(t, c, 1) // notices
			startAtOnce(t, c, 50)
			if n := server.Stats().Tokens; int(refused.Load()) != round || n != round+1 {
				t.Errorf("round %d: %d refused handshakes and %d tokens", round, refused.Load(), n)
			}
		}
	})
}

func TestManySessionsRefusedTogetherCostOneCall(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{MaxSessions: -1}, func(t *testing.T, server *nlstest.Server) {
		c := clientOf(t, server, withKey)
		startAtOnce(t, c, 1)
		server.ExpireTokens()
		startAtOnce(t, c, effort.Times(500, 100))
		if n := server.Stats().Tokens; n != 2 {
			t.Errorf("%d tokens, want 2", n)
		}
	})
}

func TestStaticTokenThatExpiredIsAccessDenied(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		server.ExpireTokens()
		err := newTranscriberSubject(clientOf(t, server, withToken)).run(t.Context())
		e, ok := errors.AsType[*nls.HandshakeError](err)
		if !ok || e.HTTPStatus != 403 || !strings.Contains(e.Body, "has expired!") || !errors.Is(err, nls.ErrAccessDenied) || nls.Retryable(err) {
			t.Errorf("%#v", err)
		}
	})
}

// ConfigFromEnv finds both where an old NLS_TOKEN has been left behind.
func TestRefusedTokenFallsBackToTheKey(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			var refused atomic.Int32
			c := clientOf(t, server, refusals(&refused))
			server.ExpireTokens()
			for range 3 {
				if err := p.new(c).run(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := server.Stats().Tokens; refused.Load() != 1 || n != 1 {
				t.Errorf("%d refused handshakes and %d tokens, want 1 and 1", refused.Load(), n)
			}
		})
	})
}

func TestAppKeyOfAnotherAccountIsRefused(t *testing.T) {
	t.Parallel()
	opts := nlstest.Options{
		AppKeys:    map[string]string{"app-of-alice": "alice", "app-of-key": "key"},
		AccessKeys: map[string]string{"key": "secret"},
	}
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		for appKey, want := range map[string]int{"app-of-key": -1, "app-of-alice": nls.StatusAppKeyMismatch, "unknown": nls.StatusAppKeyNotExist} {
			c := clientOf(t, server, withKey, func(cfg *nls.Config) { cfg.AppKey = appKey })
			err := newTranscriberSubject(c).run(t.Context())
			if nls.StatusCode(err) != want || (err == nil) != (want == -1) {
				t.Errorf("%s: %v", appKey, err)
			}
		}
	})
}

// What a token says about its expiry decides when it is looked up again, never
// whether it is sent: the gateway knows better, and clocks are wrong.
func TestTokensOfAnyExpiryAreSent(t *testing.T) {
	t.Parallel()
	for name, expiry := range map[string]time.Time{
		"unknown": {}, "the year 1": time.Unix(-62135596800, 1), "1970": time.Unix(0, 0), "1999": time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC),
		"tomorrow": time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC), "9999": time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		"the end of time": time.Unix(math.MaxInt64-62135596801, 0), "beyond it": time.Unix(math.MaxInt64, 999999999),
	} {
		for _, cached := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/cached"}[cached], func(t *testing.T) {
				inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					value, lookups := server.Config().Token, 0
					var source nls.TokenSource = nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) {
						lookups++
						return &nls.Token{Value: value, Expiry: expiry}, nil
					})
					if cached {
						source = nls.CacheTokens(source, 5*time.Minute)
					}
					client := clientOf(t, server, func(cfg *nls.Config) { cfg.Token, cfg.TokenSource = "", source })
					for range 3 {
						if err := newRecognizerSubject(client).run(t.Context()); err != nil {
							t.Error(err)
						}
					}
					synctest.Wait()
					want := 3
					if cached && (expiry.IsZero() || expiry.After(time.Now())) {
						want = 1
					}
					if lookups != want {
						t.Errorf("%d lookups, want %d", lookups, want)
					}
				})
			})
		}
	}
}

func TestThrottledTokenLookupsAreRetryable(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		opts := server.Config().TokenOptions
		throttled := false
		for range 200 {
			_, err := nls.GetToken(t.Context(), server.AccessKey(), opts)
			if e, ok := errors.AsType[*nls.TokenError](err); ok && e.Code == "Throttling.User" && nls.Retryable(err) {
				throttled = true
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !throttled {
			t.Error("200 tokens in a second")
		}
		time.Sleep(time.Second)
		if _, err := nls.GetToken(t.Context(), server.AccessKey(), opts); err != nil {
			t.Error(err)
		}
	})
}

func TestGatewayOfAnUnknownAuthorityGetsNoKey(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	right := server.Config().TokenOptions
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(server.CertificatePEM())
	for name, c := range map[string]struct {
		cfg   *tls.Config
		check func(error) bool
	}{
		"no authority": {&tls.Config{}, func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok }},
		"other host": {&tls.Config{RootCAs: pool, ServerName: "nls-meta.cn-shanghai.aliyuncs.com"},
			func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok }},
	} {
		cfg := server.Config()
		withKey(&cfg)
		cfg.TokenOptions = &nls.TokenOptions{Endpoint: right.Endpoint, Transport: &http.Transport{TLSClientConfig: c.cfg, DisableKeepAlives: true}}
		err := newTranscriberSubject(newClient(t, cfg)).start(t.Context())
		if _, ok := errors.AsType[*nls.TokenError](err); !ok || !c.check(err) || nls.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := server.Stats().Tokens; n != 0 {
		t.Errorf("%d tokens", n)
	}
}

// spy notes the signatures that go out and the tokens that come back.
type spy struct {
	http.RoundTripper
	mu    sync.Mutex
	marks []string
}

func (s *spy) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := s.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	form, _ := url.ParseQuery(string(body))
	var a struct{ Token struct{ Id string } }
	json.Unmarshal(answer, &a)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, mark := range []string{form.Get("Signature"), url.QueryEscape(form.Get("Signature")), a.Token.Id} {
		if mark != "" {
			s.marks = append(s.marks, mark)
		}
	}
	return resp, nil
}

// Key, signature and token are looked for in all that is logged at LevelTrace,
// traced, returned and printed, on every way a token can take.
func TestSessionsShowNeitherKeyNorToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*nls.Config)
		before func(*nlstest.Server)
		fault  string
	}{
		"works":               {},
		"wrong secret":        {change: func(cfg *nls.Config) { cfg.AccessKeySecret = "MARKEDwrong" }},
		"unknown key":         {change: func(cfg *nls.Config) { cfg.AccessKeyID = "MARKEDother" }},
		"wrong STS token":     {change: func(cfg *nls.Config) { cfg.SecurityToken = "MARKEDsts" }},
		"refused and retried": {before: func(s *nlstest.Server) { s.ExpireTokens() }},
		"refused":             {fault: "refuse@handshake,code=403"},
		"token echoed":        {change: func(cfg *nls.Config) { cfg.Token = "MARKEDtoken" }},
		"no gateway":          {change: func(cfg *nls.Config) { cfg.URL = "ws://127.0.0.1:9/ws/v1?token=MARKEDtoken" }},
		"token in the URL":    {change: func(cfg *nls.Config) { cfg.URL += "?token=MARKEDtoken" }},
		"other account":       {change: func(cfg *nls.Config) { cfg.AppKey = "unknown" }},
		"reset":               {fault: "reset@after-start"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := nlstest.Options{AccessKeys: map[string]string{"MARKEDid": "MARKEDsecret"}, Fault: faultAlways(c.fault)}
			inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
				var out bytes.Buffer
				var mu sync.Mutex
				note := func(v any) {
					mu.Lock()
					defer mu.Unlock()
					js, _ := json.Marshal(v)
					fmt.Fprintf(&out, "%v %+v %#v %s\n", v, v, v, js)
				}
				eye := &spy{}
				client := clientOf(t, server, withKey, func(cfg *nls.Config) {
					eye.RoundTripper = cfg.TokenOptions.Transport
					cfg.TokenOptions.Transport = eye
					if c.change != nil {
						c.change(cfg)
					}
					cfg.Logger = slog.New(slog.NewTextHandler(&lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: nls.LevelTrace}))
					cfg.Trace = &nls.Trace{
						TokenDone:   func(v nls.TraceToken) { note(v) },
						DialStart:   func(v nls.TraceDial) { note(v) },
						DialDone:    func(v nls.TraceDial) { note(v) },
						Command:     func(v nls.TraceMessage) { note(v) },
						Event:       func(v nls.TraceMessage) { note(v) },
						SessionDone: func(v nls.TraceSession) { note(v) },
					}
					note(*cfg)
				})
				note(client)
				if c.before != nil {
					newTranscriberSubject(client).run(t.Context())
					c.before(server)
				}
				s := newTranscriberSubject(client)
				err := s.run(t.Context())
				for _, err := range append(s.reported(), err, s.Err()) {
					for ; err != nil; err = errors.Unwrap(err) {
						note(err)
					}
				}
				note(s.object)
				mu.Lock()
				text := out.String()
				mu.Unlock()
				if !strings.Contains(text, "StartTranscription") && err == nil {
					t.Error("nothing logged")
				}
				for _, mark := range append(eye.marks, "MARKED") {
					if i := strings.Index(text, mark); i >= 0 {
						t.Errorf("%q is in ...%s...", mark, text[max(0, i-200):min(len(text), i+200)])
					}
				}
			})
		})
	}
}

// reported are the errors that OnError has got.
func (s *subject) reported() []error {
	var errs []error
	for _, e := range s.errs {
		errs = append(errs, e.Err)
	}
	return errs
}

// lockedWriter is a writer that shares a lock with others.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
