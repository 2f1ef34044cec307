package suite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// proxy is a proxy that opens tunnels. An HTTP one answers CONNECT with status
// instead if that is not 200, and with silence if it is zero.
type proxy struct {
	*httptest.Server
	status int

	asked chan struct{} // gets one at the first CONNECT

	mu       sync.Mutex
	connects []*http.Request
	serving  sync.WaitGroup
}

func newProxy(t *testing.T, scheme string, status int) *proxy {
	p := &proxy{status: status, asked: make(chan struct{}, 1)}
	p.Server = httptest.NewUnstartedServer(p)
	if scheme == "https" {
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
		p.serving.Wait() // which Close does not, for what was hijacked
	})
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.serving.Add(1)
	defer p.serving.Done()
	p.mu.Lock()
	p.connects = append(p.connects, r)
	p.mu.Unlock()
	select {
	case p.asked <- struct{}{}:
	default:
	}
	switch {
	case p.status == 0:
		<-r.Context().Done()
	case p.status != http.StatusOK || r.Method != http.MethodConnect:
		w.WriteHeader(p.status)
	default:
		service, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			service.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		tunnel(client, service)
	}
}

// tunnel passes on what either side says until one of them has gone.
func tunnel(a, b net.Conn) {
	var wg sync.WaitGroup
	pass := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		dst.Close()
		src.Close()
	}
	wg.Go(func() { pass(a, b) })
	pass(b, a)
	wg.Wait()
}

// use makes the sessions of cfg go through p.
func (p *proxy) use(cfg *nls.Config) {
	u, _ := url.Parse(p.URL)
	u.User = url.UserPassword("guest", "sesame")
	cfg.Proxy = http.ProxyURL(u)
	if u.Scheme == "https" {
		if cfg.TLSConfig == nil {
			cfg.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		}
		cfg.TLSConfig.RootCAs.AddCert(p.Certificate())
		cfg.TLSConfig.ServerName = "localhost" // which the gateway is, and the proxy is not
	}
}

func TestSessionsGoThroughAProxy(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		for _, opts := range []nlstest.Options{{ReplyDelay: -1}, {TLS: true, ReplyDelay: -1}} {
			t.Run(fmt.Sprintf("%s, TLS beyond it %v", scheme, opts.TLS), func(t *testing.T) {
				server := nlstest.NewServer(opts)
				defer server.Close()
				p := newProxy(t, scheme, http.StatusOK)
				client := clientOf(t, server, p.use)
				for _, product := range products {
					s := product.new(client)
					if err := s.run(t.Context()); err != nil {
						t.Fatalf("%s: %v", product.name, err)
					}
					<-s.Done()
					if text := s.result(t, client); text != spoken {
						t.Errorf("%s: the result is %q", product.name, text)
					}
				}
				gateway, _ := url.Parse(server.URL)
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, r := range p.connects {
					user := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
					name, password, _ := user.BasicAuth()
					if r.Method != http.MethodConnect || r.Host != gateway.Host || name != "guest" || password != "sesame" {
						t.Errorf("the proxy got %s %s from %q", r.Method, r.Host, name)
					}
				}
				if len(p.connects) < len(products) {
					t.Errorf("%d connections through the proxy", len(p.connects))
				}
			})
		}
	}
}

func TestTokenLookupsGoThroughTheProxyToo(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{TLS: true})
	defer server.Close()
	p := newProxy(t, "http", http.StatusOK)
	client := clientOf(t, server, p.use, func(cfg *nls.Config) {
		cfg.Token, cfg.TokenOptions.Transport = "", nil
	})
	if err := newRecognizerSubject(client).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var hosts []string
	for _, r := range p.connects {
		hosts = append(hosts, r.Host)
	}
	gateway, _ := url.Parse(server.URL)
	want := []string{server.Config().TokenOptions.Endpoint, gateway.Host}
	slices.Sort(hosts) // they are asked at the same time
	if slices.Sort(want); !slices.Equal(hosts, want) {
		t.Errorf("connections to %q, want %q", hosts, want)
	}
}

func TestSessionsGoThroughASOCKSProxy(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{TLS: true})
	defer server.Close()
	gateway, _ := url.Parse(server.URL)
	addr := listen(t, func(c net.Conn) {
		// RFC 1928: methods, the choice of none; a request, its grant.
		head := make([]byte, 2)
		_, _ = io.ReadFull(c, head)
		_, _ = io.CopyN(io.Discard, c, int64(head[1]))
		_, _ = c.Write([]byte{5, 0})
		_, _ = io.CopyN(io.Discard, c, 4+4+2)
		service, err := net.Dial("tcp", gateway.Host)
		if err != nil {
			c.Close()
			return
		}
		_, _ = c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
		tunnel(c, service)
	})
	s := newRecognizerSubject(clientOf(t, server, func(cfg *nls.Config) {
		cfg.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: addr})
	}))
	if err := s.run(t.Context()); err != nil || s.text.String() != spoken {
		t.Errorf("%q, %v", &s.text, err)
	}
}

func TestAProxyThatDoesNotAnswerIsBounded(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{TLS: true})
	defer server.Close()
	for name, c := range map[string]struct {
		timeout time.Duration
		end     func(*nls.Recognizer, context.CancelFunc) // once the proxy has been asked
		want    error
	}{
		"cancelled": {time.Minute, func(_ *nls.Recognizer, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"Shutdown":  {time.Minute, func(r *nls.Recognizer, _ context.CancelFunc) { r.Shutdown() }, nls.ErrShutdown},
		"timeout":   {100 * time.Millisecond, func(*nls.Recognizer, context.CancelFunc) {}, nls.ErrStartTimeout},
	} {
		p := newProxy(t, "http", 0)
		rec := clientOf(t, server, p.use).NewRecognizer(nls.RecognizerHandlers{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin := time.Now()
		result := make(chan error)
		go func() { result <- rec.Start(ctx, nls.RecognitionParams{Timeout: c.timeout}) }()
		var err error
		select {
		case <-p.asked:
			c.end(rec, cancel)
			err = <-result
		case err = <-result: // a slow machine has met the timeout
		}
		if !errors.Is(err, c.want) || nls.TaskID(err) != "" || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: Start = %v after %v", name, err, time.Since(begin))
		}
	}
}

func TestAProxyThatRefusesIsNoRefusalOfTheService(t *testing.T) {
	t.Parallel()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	for status, retryable := range map[int]bool{
		http.StatusForbidden: false, http.StatusProxyAuthRequired: false, http.StatusTooManyRequests: true, http.StatusBadGateway: true,
	} {
		p := newProxy(t, "http", status)
		rec := clientOf(t, server, p.use).NewRecognizer(nls.RecognizerHandlers{
			OnError: func(e *nls.ErrorEvent) { t.Errorf("OnError(%v)", e) },
			OnClose: func(e *nls.CloseEvent) { t.Errorf("OnClose(%v)", e) },
		})
		err := rec.Start(t.Context(), nls.RecognitionParams{})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("proxy: HTTP ", status)) || rec.Err() != err {
			t.Fatalf("%d: Start = %v, Err = %v", status, err, rec.Err())
		}
		if strings.Contains(err.Error(), "sesame") || errors.Is(err, nls.ErrAccessDenied) || nls.Retryable(err) != retryable {
			t.Errorf("%d: %v, ErrAccessDenied %v, Retryable %v", status, err, errors.Is(err, nls.ErrAccessDenied), nls.Retryable(err))
		}
	}
}
