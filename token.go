package nls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls/internal/pop"
	"github.com/nlsgo/nls/internal/session"
)

const (
	// tokenEarly is how long before its expiry a token is replaced.
	tokenEarly = 5 * time.Minute

	// tokenTimeout bounds a token lookup. The lookups of a cache have it from
	// the cache, since no caller's context bounds what others wait for.
	tokenTimeout = 30 * time.Second

	// The pause after a throttled lookup doubles from the first to the second.
	tokenMinPause = time.Second
	tokenMaxPause = time.Minute
)

// Token is a short-lived credential for the gateway. Printing or logging a
// Token shows its expiry and hides its value; so does JSON. In an unexported field
// of another struct, where fmt calls no methods, it shows all: keep a TokenSource
// there instead.
type Token struct {
	Value  string    `json:"-"`
	Expiry time.Time // zero means unknown: the token is used until refused
}

// Valid reports whether t has a value and will not expire within d.
func (t *Token) Valid(d time.Duration) bool {
	return t != nil && t.Value != "" && (t.Expiry.IsZero() || time.Until(t.Expiry) > d)
}

// String returns the expiry of t and hides its value.
func (t Token) String() string {
	if t.Expiry.IsZero() {
		return "nls.Token{***}"
	}
	return "nls.Token{*** until " + t.Expiry.Format(time.RFC3339) + "}"
}

// GoString returns String.
func (t Token) GoString() string { return t.String() }

// LogValue returns String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// TokenSource supplies tokens. Token must be safe for concurrent use and must
// give up when ctx ends. Callers must not change the Token.
type TokenSource interface {
	Token(ctx context.Context) (*Token, error)
}

// TokenSourceFunc makes a function a TokenSource.
type TokenSourceFunc func(ctx context.Context) (*Token, error)

// Token calls f.
func (f TokenSourceFunc) Token(ctx context.Context) (*Token, error) { return f(ctx) }

// Invalidator may be implemented by a TokenSource that caches. When the gateway
// refuses a token, Start calls Invalidate with it and tries once more. A source
// that has another token by then keeps it, so that many sessions refused
// together cost one lookup.
type Invalidator interface {
	Invalidate(*Token)
}

// StaticToken returns a TokenSource that always returns value. Tokens live for
// a day or so; servers should use NewTokenSource.
func StaticToken(value string) TokenSource {
	return TokenSourceFunc(func(context.Context) (*Token, error) { return &Token{Value: value}, nil })
}

// AccessKey is an Alibaba Cloud access key. SecurityToken is set for temporary
// (STS) keys. White space around each is ignored. Printed, logged or as JSON it
// shows nothing; in an unexported field of another struct, where fmt calls no
// methods, it shows all: keep the TokenSource of NewTokenSource there instead.
type AccessKey struct {
	ID            string `json:"-"`
	Secret        string `json:"-"`
	SecurityToken string `json:"-"`
}

// String hides the key.
func (AccessKey) String() string { return "nls.AccessKey{***}" }

// GoString returns String.
func (k AccessKey) GoString() string { return k.String() }

// LogValue returns String.
func (k AccessKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// TokenOptions says where tokens come from. Nil means the defaults.
type TokenOptions struct {
	Region    string            // "" means "cn-shanghai"; "ap-southeast-1" is the international site
	Endpoint  string            // host or host:port; "" means the one of Region. HTTPS is used
	Version   string            // API version; "" means the one of Region
	Transport http.RoundTripper // nil means http.DefaultTransport, but see Config.TokenOptions
}

// tokenServices are the token services of protocol §9.1 by Region. A token of
// Shanghai is good in every mainland region.
var (
	mainlandTokens = tokenService{"nls-meta.cn-shanghai.aliyuncs.com", "2019-02-28", "cn-shanghai"}
	tokenServices  = map[string]tokenService{
		"":                  mainlandTokens,
		"cn-shanghai":       mainlandTokens,
		"cn-beijing":        mainlandTokens,
		"cn-shenzhen":       mainlandTokens,
		internationalRegion: {"nlsmeta.ap-southeast-1.aliyuncs.com", "2019-07-17", "ap-southeast-1"},
	}
)

type tokenService struct{ host, version, regionID string }

// service is the token service that o, which may be nil, asks for. The error is a
// *ParamError.
func (o *TokenOptions) service() (tokenService, error) {
	if o == nil {
		o = &TokenOptions{}
	}
	service, ok := tokenServices[o.Region]
	switch {
	case ok:
	case o.Endpoint == "":
		return tokenService{}, &ParamError{"Region", o.Region, "has no known token service; set Endpoint"}
	default:
		service = tokenService{version: mainlandTokens.version, regionID: o.Region}
	}
	if o.Endpoint != "" {
		host, err := endpointHost("Endpoint", o.Endpoint)
		if err != nil {
			return tokenService{}, err
		}
		service.host = host
	}
	service.version = orDefault(o.Version, service.version)
	return service, nil
}

// endpointHost is the host and port of an endpoint that the caller has named.
func endpointHost(param, endpoint string) (string, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(endpoint, "https://"), "/")
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || !validPort(u.Port()) {
		return "", &ParamError{param, shownURL("https://" + host), "must be host or host:port; HTTPS is used"}
	}
	return host, nil
}

// tokenRequest is the call of CreateToken for key and opts. The error is a
// *ParamError.
func tokenRequest(key AccessKey, opts *TokenOptions) (pop.Request, error) {
	service, err := opts.service()
	if err != nil {
		return pop.Request{}, err
	}
	transport := http.DefaultTransport
	if opts != nil && opts.Transport != nil {
		transport = opts.Transport
	}
	return keyRequest(key, service, transport)
}

// keyRequest is a call of service with key, which has no action. The error is a
// *ParamError.
func keyRequest(key AccessKey, service tokenService, transport http.RoundTripper) (pop.Request, error) {
	key = AccessKey{trim(key.ID), trim(key.Secret), trim(key.SecurityToken)}
	switch {
	case key.ID == "":
		return pop.Request{}, &ParamError{"AccessKey.ID", nil, "must not be empty"}
	case key.Secret == "":
		return pop.Request{}, &ParamError{"AccessKey.Secret", nil, "must not be empty"}
	}
	for _, f := range []struct{ param, value string }{
		{"AccessKey.ID", key.ID}, {"AccessKey.Secret", key.Secret}, {"AccessKey.SecurityToken", key.SecurityToken},
	} {
		if err := checkHeaderValue(f.param, f.value); err != nil {
			return pop.Request{}, err
		}
	}
	return pop.Request{
		AccessKeyID:     key.ID,
		AccessKeySecret: key.Secret,
		SecurityToken:   key.SecurityToken,
		Host:            service.host,
		Version:         service.version,
		RegionID:        service.regionID,
		Transport:       transport,
	}, nil
}

// GetToken calls CreateToken once. The service limits how often it may be
// called; use NewTokenSource for anything but tests. It gives up when ctx ends,
// and after 30 seconds. The error is a *ParamError or a *TokenError, which
// matches context.Canceled or context.DeadlineExceeded when that is the cause.
func GetToken(ctx context.Context, key AccessKey, opts *TokenOptions) (*Token, error) {
	tok, err := getToken(ctx, key, opts)
	if e, ok := errors.AsType[*TokenError](err); ok && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		e.Err = session.ContextEnd(ctx, nil)
	}
	return tok, err
}

// getToken is GetToken, where ctx may be a cache's.
func getToken(ctx context.Context, key AccessKey, opts *TokenOptions) (*Token, error) {
	r, err := tokenRequest(key, opts)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	tok, err := pop.CreateToken(ctx, r)
	if err != nil {
		e, _ := errors.AsType[*pop.Error](err)
		return nil, (*TokenError)(e)
	}
	return &Token{Value: tok.ID, Expiry: tok.Expiry}, nil
}

// NewTokenSource returns a caching TokenSource for key. One lookup runs at a
// time; callers that wait for it can give up on their own. A token is replaced
// five minutes before it expires. Share one source per key. See CacheTokens for
// how the cache behaves.
func NewTokenSource(key AccessKey, opts *TokenOptions) TokenSource {
	return NewTokenSourceFrom(CredentialSourceFunc(func(context.Context) (AccessKey, error) { return key, nil }), opts)
}

// CacheTokens wraps src in the cache of NewTokenSource, replacing a token early
// before its expiry, or at half of its life if that is later.
//
// A token that is due for replacement is served until it expires, while the
// lookup runs in the background. A lookup has 30 seconds; it ends sooner when
// every caller that waits for it has given up. One whose source ignores its context
// is given up then, and the source is asked again, beside the call that goes on. A failed lookup is not cached;
// but when the service throttles (a *TokenError with a Throttling code or HTTP
// status 429), no lookup starts before a pause has passed, and that error is
// returned meanwhile. The pause grows from one second to one minute. A lookup in
// the background pauses so after any failure.
//
// An early above zero and below a millisecond is a *ParamError of each lookup.
//
// A source that returns a token which has expired, as a wrong clock can make it
// seem, is asked again for each call. The result is an Invalidator. No goroutine
// runs between lookups.
func CacheTokens(src TokenSource, early time.Duration) TokenSource {
	if err := checkDuration("early", early); err != nil {
		src = TokenSourceFunc(func(context.Context) (*Token, error) { return nil, err })
	}
	c := &cachedTokens{src: src, early: max(early, 0)}
	return &tokenCache{func() *cachedTokens { return c }}
}

// tokenCache is the TokenSource of CacheTokens. It keeps what it has behind a
// function, since printers that use package reflect follow all else to the token,
// and would read fields while they change.
type tokenCache struct{ tokens func() *cachedTokens }

// Token returns the token, looking it up if need be.
func (c *tokenCache) Token(ctx context.Context) (*Token, error) {
	tok, _, err := c.tokens().lookup(ctx, func(tokenRenewal) {})
	return tok, err
}

// atHand reports whether lookup would return at once.
func (c *cachedTokens) atHand() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token.Valid(0) || c.throttled != nil && time.Now().Before(c.pauseEnd)
}

// Invalidate drops tok, and only tok: another token that is there by now stays.
func (c *tokenCache) Invalidate(tok *Token) { c.tokens().invalidate(tok) }

// String hides what c has.
func (c *tokenCache) String() string { return "nls.TokenSource{***}" }

// GoString returns String.
func (c *tokenCache) GoString() string { return c.String() }

// startWith makes value the token until it is refused.
func (c *tokenCache) startWith(value string) *tokenCache {
	c.tokens().token = &Token{Value: value}
	return c
}

// cachedTokens is what a tokenCache has.
type cachedTokens struct {
	src   TokenSource
	early time.Duration

	mu        sync.Mutex // never held over a lookup
	token     *Token
	renewAt   time.Time    // token is due for replacement; zero means never
	running   *tokenLookup // nil between lookups
	pause     time.Duration
	pauseEnd  time.Time // no lookup in the background, nor after throttled, starts before
	throttled error     // of the last lookup
}

// tokenLookup is a lookup that runs.
type tokenLookup struct {
	cancel  context.CancelFunc
	told    func(tokenRenewal)
	begun   time.Time
	waiters int           // guarded by cachedTokens.mu; one of a background lookup is the cache
	done    chan struct{} // closed when token and err are set
	token   *Token
	err     error
}

// tokenRenewal is what has come of a lookup.
type tokenRenewal struct {
	background bool // nobody has waited for it
	took       time.Duration
	expiry     time.Time     // of the new token
	left       time.Duration // if it has failed, of the token that is there
	err        error
}

// lookup is Token. cached is false if the caller had to wait. told is called, without
// a lock, if the call has started a lookup and that has ended.
func (c *cachedTokens) lookup(ctx context.Context, told func(tokenRenewal)) (tok *Token, cached bool, err error) {
	c.mu.Lock()
	now := time.Now()
	if c.token.Valid(0) {
		if !c.renewAt.IsZero() && !now.Before(c.renewAt) && c.running == nil && !now.Before(c.pauseEnd) {
			c.start(true, told)
		}
		defer c.mu.Unlock()
		return c.token, true, nil
	}
	if c.running == nil {
		if c.throttled != nil && now.Before(c.pauseEnd) {
			defer c.mu.Unlock()
			return nil, true, c.throttled
		}
		if err := ctx.Err(); err != nil {
			c.mu.Unlock()
			return nil, false, err
		}
		c.start(false, told)
	}
	l := c.running
	l.waiters++
	c.mu.Unlock()

	select {
	case <-l.done:
		return l.token, false, l.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.waiters--; l.waiters == 0 {
		l.cancel()
		if c.running == l {
			c.running = nil // who comes now gets a lookup that is not cancelled
		}
	}
	return nil, false, ctx.Err()
}

// start starts a lookup. The caller holds mu. The goroutine ends with the call of
// the source; the lookup, at the latest, after tokenTimeout and a moment, in which a
// source that obeys its context says its own error.
func (c *cachedTokens) start(background bool, told func(tokenRenewal)) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	l := &tokenLookup{cancel: cancel, told: told, begun: time.Now(), done: make(chan struct{})}
	if background {
		l.waiters = 1
	}
	c.running = l
	late := time.AfterFunc(tokenTimeout+settleTime, func() {
		c.finish(l, background, nil, &TokenError{Err: fmt.Errorf("the TokenSource does not return: %w", context.DeadlineExceeded)})
	})
	go func() {
		defer late.Stop()
		defer cancel()
		var tok *Token
		err := error(&TokenError{Message: "the TokenSource has exited its goroutine"})
		defer func() { c.finish(l, background, tok, err) }() // whether the source returns or exits
		if tok, err = c.src.Token(ctx); err == nil && (tok == nil || tok.Value == "") {
			err = &TokenError{Message: "the TokenSource returned no token"}
		}
	}()
}

// finish keeps what the lookup l brought.
func (c *cachedTokens) finish(l *tokenLookup, background bool, tok *Token, err error) {
	if !c.keep(l, background, tok, err) {
		return
	}
	r := tokenRenewal{background: background, took: time.Since(l.begun), err: err}
	c.mu.Lock()
	if t := c.token; err == nil {
		r.expiry = tok.Expiry
	} else if t != nil && !t.Expiry.IsZero() {
		r.left = time.Until(t.Expiry)
	}
	c.mu.Unlock()
	l.told(r)
}

// keep is finish up to where others are told. It reports whether l was still asked
// for.
func (c *cachedTokens) keep(l *tokenLookup, background bool, tok *Token, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-l.done:
		return false // it took too long
	default:
	}
	defer close(l.done)
	if err != nil {
		tok = nil
	}
	l.token, l.err = tok, err
	if c.running != l {
		return false // given up; another lookup may have its result already
	}
	c.running = nil
	now := time.Now()
	if err == nil {
		c.token, c.renewAt = tok, time.Time{}
		if !tok.Expiry.IsZero() {
			c.renewAt = tok.Expiry.Add(-min(c.early, tok.Expiry.Sub(now)/2))
		}
		c.pause, c.pauseEnd, c.throttled = 0, time.Time{}, nil
		return true
	}
	c.throttled = nil
	e, ok := errors.AsType[*TokenError](err)
	if ok && isThrottled(e.Code, e.HTTPStatus) {
		c.throttled = err
	}
	if c.throttled != nil || background {
		c.pause = min(max(2*c.pause, tokenMinPause), tokenMaxPause)
		c.pauseEnd = now.Add(c.pause)
	}
	return true
}

// invalidate is Invalidate of tokenCache.
func (c *cachedTokens) invalidate(tok *Token) {
	c.mu.Lock()
	if tok != nil && c.token != nil && c.token.Value == tok.Value {
		c.token = nil
	}
	c.mu.Unlock()
	if src, ok := c.src.(Invalidator); ok {
		src.Invalidate(tok)
	}
}
