package nls

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls/internal/session"
)

// Defaults of the NLS service and of this SDK.
const (
	Version = "0.1.0" // SDK version, sent as context.sdk.version

	DefaultURL       = "wss://nls-gateway.cn-shanghai.aliyuncs.com/ws/v1"
	DefaultStreamURL = "wss://nls-gateway-cn-beijing.aliyuncs.com/ws/v1" // StreamSynthesizer without Region

	DefaultStartTimeout    = 10 * time.Second
	DefaultStopTimeout     = 10 * time.Second
	DefaultCompleteTimeout = 60 * time.Second
	DefaultPingInterval    = 8 * time.Second
	DefaultWriteTimeout    = 10 * time.Second
	DefaultSampleRate      = 16000 // hertz
	DefaultVoice           = "xiaoyun"
	DefaultVolume          = 50      // 0, silence, to 100
	DefaultMaxPending      = 8 << 20 // bytes, a session
)

// LevelTrace is the slog level at which every frame is logged.
const LevelTrace = slog.LevelDebug - 4

// Format names an audio encoding, in lower case. The SDK never transcodes. A
// Format that the service does not document for a product is a *ParamError of
// Start; Extra{"format": ...} overrides it for a private gateway.
type Format string

// Audio encodings known to NLS.
const (
	FormatPCM   Format = "pcm"   // signed 16-bit little-endian mono; the default
	FormatWAV   Format = "wav"   // PCM in a WAV container
	FormatOpus  Format = "opus"  // Ogg Opus, encoded by the caller
	FormatOPU   Format = "opu"   // NLS-framed Opus packets, encoded by the caller
	FormatSpeex Format = "speex" // Ogg Speex, recognition only
	FormatAMR   Format = "amr"   // recognition only
	FormatMP3   Format = "mp3"
	FormatAAC   Format = "aac" // recognition only
	FormatMP4   Format = "mp4" // RecognizeFile only
)

// Config says how to reach the service. The zero value of every field but
// AppKey and the credentials is usable. NewClient copies it.
//
// White space around URL, AppKey, tokens and keys is ignored. Durations above
// zero and below a millisecond are refused, since they are numbers without a unit.
//
// A Config prints without its secrets. In an unexported field of another struct
// it does not: fmt calls no methods there, and shows the fields instead. Keep a
// Client or a TokenSource in such a field; they have nothing to show.
type Config struct {
	// URL of the gateway, "ws" or "wss". Empty means the gateway of Region. A
	// token may be in its query (?token=).
	URL string

	// Region picks the gateway when URL is empty, and the token host: it is
	// "cn-shanghai" (the default), "cn-beijing", "cn-shenzhen" or
	// "ap-southeast-1". A StreamSynthesizer defaults to "cn-beijing", the only
	// region that documents it. With the URL of the international site,
	// "ap-southeast-1" is the default. Internal picks the address inside the
	// region's VPC, which is plain ws.
	Region   string
	Internal bool

	// AppKey of the project in the NLS console. Required.
	AppKey string

	// Credentials. The first one set wins: TokenSource, Token, Credentials,
	// AccessKeyID with AccessKeySecret, a token in URL. With an access key the Client
	// creates tokens as needed and shares them between all of its sessions; with a
	// Token too, once that is refused. Credentials are asked for the key at each
	// lookup; see DefaultCredentials. What no HTTP header can carry is a *ParamError:
	// of Start, if it comes from a TokenSource or from Credentials.
	TokenSource     TokenSource
	Token           string
	Credentials     CredentialSource
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string // with a temporary (STS) access key

	// TokenOptions says where an access key gets its tokens. Its Region, if
	// empty, is that of the Config. Without a Transport in it, lookups go through
	// Proxy, NetDialContext and TLSConfig, whose ServerName and NextProtos are for
	// the gateway and not used. A TokenSource is used as it is: wrap it in
	// CacheTokens if it does I/O.
	TokenOptions *TokenOptions

	// FileEndpoint is the host, or host:port, of the file service: SubmitFile,
	// FileStatus and WaitFile. Empty means that of Region, of either edition. HTTPS is
	// used, on the way that token lookups go.
	FileEndpoint string

	// StopTimeout bounds how long the service may take to complete after Stop,
	// and how long a single callback may run then; see [Recognizer.Stop].
	// Zero means DefaultStopTimeout; negative means no bound.
	StopTimeout time.Duration

	// WriteTimeout bounds every call that sends, however much it sends and
	// whoever sends at the same time. One that times out ends the session: a
	// websocket cannot be resumed mid-frame.
	// Zero means DefaultWriteTimeout; negative means no bound.
	WriteTimeout time.Duration

	// MaxPendingBytes bounds the events that wait for a slow callback, per
	// session. When it is reached the SDK stops reading the socket until a
	// callback returns. Zero means DefaultMaxPending.
	MaxPendingBytes int

	// WarmConnections is how many connections a Client keeps open and upgraded
	// for the next Start, per gateway. Start then takes one round trip. They are
	// opened in the background when the first session has started (or by Warm),
	// pinged, and replaced when 18 s old, since the service drops idle ones, or
	// when the token has been. Without a running session none is replaced. One
	// that turns out to be dead costs a fresh dial, not an error. A Start that
	// waits for no answer (NoWait, a CommonProto without Started) dials.
	WarmConnections int

	// ReuseConnections starts the next task on the connection of one that has
	// completed within the last 8 seconds, as the service permits.
	ReuseConnections bool

	// Limiter admits sessions; nil admits all. See NewLimiter. A Start that waits
	// for it for too long fails with an error that matches ErrStartTimeout. A
	// RecognizeFile is a session of "FlashRecognizer".
	Limiter Limiter

	// Header is added to the websocket handshake request, and to that of
	// RecognizeFile. It must not have the
	// fields of the handshake itself; X-NLS-Token in it is ignored.
	Header http.Header

	// TLSConfig, Proxy and NetDialContext customise the connection, as
	// TLSClientConfig, Proxy and DialContext in net/http.Transport do. A nil Proxy
	// means http.ProxyFromEnvironment. Proxies are http, https, socks5 or socks5h
	// URLs; the last two are the same, and mean port 1080 without a port. A proxy
	// that refuses is a *ProxyError. "h2" in NextProtos is ignored.
	TLSConfig      *tls.Config
	Proxy          func(*http.Request) (*url.URL, error)
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Logger receives the SDK's own messages. Nil means silent. Tokens and
	// access keys are never logged; frames are, at LevelTrace.
	Logger *slog.Logger

	// Record receives every message of every session as a line of JSON, for
	// nlstest.Replay: text whole, without the token, audio as its length and hash, or
	// whole with RecordAudio. Text is what users said and heard. Each line is one Write,
	// never two at a time, and all of a session are written when it is done. A Record
	// that is slow for long slows its sessions; one that returns an error, or does not
	// return for 10 s while a session waits for it, gets no more, which is logged.
	Record      io.Writer
	RecordAudio bool

	// Trace receives structured hooks from every session of the Client.
	// See WithTrace for hooks on one session.
	Trace *Trace
}

// ConfigFromEnv reads a Config from the environment: NLS_URL, NLS_REGION,
// NLS_APPKEY, NLS_TOKEN, and the access key in ALIBABA_CLOUD_ACCESS_KEY_ID,
// ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN. The names in
// the vendor's samples stand in for those that are not set: NLS_GATEWAY_URL,
// NLS_APP_KEY, and ALIYUN_AK_ID with ALIYUN_AK_SECRET for the access key as a
// whole. White space around values is dropped. What is not set stays zero.
func ConfigFromEnv() Config {
	env := func(names ...string) string {
		for _, name := range names {
			if v := trim(os.Getenv(name)); v != "" {
				return v
			}
		}
		return ""
	}
	cfg := Config{
		URL:             env("NLS_URL", "NLS_GATEWAY_URL"),
		Region:          env("NLS_REGION"),
		AppKey:          env("NLS_APPKEY", "NLS_APP_KEY"),
		Token:           env("NLS_TOKEN"),
		AccessKeyID:     env("ALIBABA_CLOUD_ACCESS_KEY_ID"),
		AccessKeySecret: env("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
		SecurityToken:   env("ALIBABA_CLOUD_SECURITY_TOKEN"),
	}
	if cfg.AccessKeyID == "" && cfg.AccessKeySecret == "" { // half a key of each account would be no key
		cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken = env("ALIYUN_AK_ID"), env("ALIYUN_AK_SECRET"), ""
	}
	return cfg
}

// credentials names the kind of credentials that c uses.
func (c *Config) credentials() string {
	switch {
	case c.TokenSource != nil:
		return "TokenSource"
	case c.Token != "":
		return "Token"
	case c.Credentials != nil:
		return "Credentials"
	case c.AccessKeyID != "":
		return "AccessKey"
	case queryToken(c.URL) != "":
		return "URL"
	}
	return "none"
}

// String returns the parts of c that are not secret.
func (c Config) String() string {
	return fmt.Sprintf("nls.Config{URL:%q Region:%q AppKey:%q Credentials:%s}",
		withoutSecrets(c.URL), c.Region, c.AppKey, c.credentials())
}

// GoString returns String.
func (c Config) GoString() string { return c.String() }

// LogValue returns the parts of c that are not secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("url", withoutSecrets(c.URL)), slog.String("region", c.Region),
		slog.String("appkey", c.AppKey), slog.String("credentials", c.credentials()))
}

// regions are the gateways of protocol §1.1.
var regions = map[string]struct{ public, internal string }{
	"":               {DefaultURL, "ws://nls-gateway-cn-shanghai-internal.aliyuncs.com:80/ws/v1"},
	"cn-shanghai":    {DefaultURL, "ws://nls-gateway-cn-shanghai-internal.aliyuncs.com:80/ws/v1"},
	"cn-beijing":     {DefaultStreamURL, "ws://nls-gateway-cn-beijing-internal.aliyuncs.com:80/ws/v1"},
	"cn-shenzhen":    {"wss://nls-gateway-cn-shenzhen.aliyuncs.com/ws/v1", "ws://nls-gateway-cn-shenzhen-internal.aliyuncs.com:80/ws/v1"},
	"ap-southeast-1": {"wss://nls-gateway-ap-southeast-1.aliyuncs.com/ws/v1", ""},
}

// internationalRegion is the one outside of the mainland, with a token service and
// accounts of its own.
const internationalRegion = "ap-southeast-1"

// Client creates sessions that share a Config. It is safe for concurrent use
// and needs no closing. Printed in any way it shows no secret. A zero Client
// answers with a *ParamError.
type Client struct {
	_ noCopy
	client
}

type client struct {
	cfg Config // without what may be or have a secret

	// tokens is a function, since printers that use package reflect follow
	// pointers and interfaces to whatever the source holds.
	tokens func() TokenSource
	padded atomic.Pointer[session.Secret] // the last token that was not sent as the source has it

	files func() *fileService // a function for the same reason

	url       session.Secret
	streamURL session.Secret
	log       *slog.Logger
	session   *session.Config // nil in a zero Client

	pool, streamPool *session.Pool // nil if no connections are kept
}

// NewClient checks cfg and returns a Client. It does no I/O. The error is a
// *ParamError.
func NewClient(cfg Config) (*Client, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	c := new(Client)
	c.url, c.streamURL = session.NewSecret(cfg.URL), session.NewSecret(cfg.URL)
	if cfg.URL == "" {
		region, stream := regions[cfg.Region], regions[orDefault(cfg.Region, "cn-beijing")]
		c.url, c.streamURL = session.NewSecret(region.public), session.NewSecret(stream.public)
		if cfg.Internal {
			if region.internal == "" {
				return nil, &ParamError{"Internal", true, "region " + cfg.Region + " has no VPC address"}
			}
			c.url, c.streamURL = session.NewSecret(region.internal), session.NewSecret(stream.internal)
		}
	}
	c.log = orDefault(cfg.Logger, traceLogger)
	tokens, err := cfg.tokens()
	if err != nil {
		return nil, err
	}
	c.tokens = func() TokenSource { return tokens }
	files, err := cfg.newFileService()
	if err != nil {
		return nil, err
	}
	c.files = func() *fileService { return files }
	c.session = c.sessionConfig(cfg)
	c.setPools(cfg)
	c.cfg = Config{AppKey: cfg.AppKey, StopTimeout: cfg.StopTimeout, Trace: cfg.Trace}
	return c, nil
}

// normalize checks c, puts defaults where there is nothing, and makes what it
// points to its own.
func (c *Config) normalize() error {
	c.URL, c.Region, c.AppKey = trim(c.URL), trim(c.Region), trim(c.AppKey)
	c.Token, c.SecurityToken = trim(c.Token), trim(c.SecurityToken)
	c.AccessKeyID, c.AccessKeySecret = trim(c.AccessKeyID), trim(c.AccessKeySecret)
	if c.AppKey == "" {
		return &ParamError{"AppKey", nil, "must not be empty"}
	}
	for _, f := range []struct{ param, value string }{
		{"AppKey", c.AppKey}, {"Token", c.Token}, {"AccessKeyID", c.AccessKeyID},
		{"AccessKeySecret", c.AccessKeySecret}, {"SecurityToken", c.SecurityToken},
	} {
		if err := checkHeaderValue(f.param, f.value); err != nil {
			return err
		}
	}
	if _, ok := regions[c.Region]; !ok {
		return &ParamError{"Region", c.Region, "must be cn-shanghai, cn-beijing, cn-shenzhen or ap-southeast-1"}
	}
	if c.URL != "" {
		if err := checkURL(c.URL); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		param string
		value time.Duration
	}{{"StopTimeout", c.StopTimeout}, {"WriteTimeout", c.WriteTimeout}} {
		if err := checkDuration(f.param, f.value); err != nil {
			return err
		}
	}
	if c.MaxPendingBytes < 0 {
		return &ParamError{"MaxPendingBytes", c.MaxPendingBytes, "must not be negative"}
	}
	if c.WarmConnections < 0 {
		return &ParamError{"WarmConnections", c.WarmConnections, "must not be negative"}
	}
	header := make(http.Header, len(c.Header))
	for name, values := range c.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions":
			return &ParamError{"Header", name, "belongs to the websocket handshake"}
		case "X-Nls-Token":
		default:
			header[name] = slices.Clone(values)
		}
	}
	c.Header = header
	c.StopTimeout = orDefault(c.StopTimeout, DefaultStopTimeout)
	c.WriteTimeout = orDefault(c.WriteTimeout, DefaultWriteTimeout)
	c.MaxPendingBytes = orDefault(c.MaxPendingBytes, DefaultMaxPending)
	if c.Proxy == nil {
		c.Proxy = http.ProxyFromEnvironment
	}
	if c.TLSConfig = c.TLSConfig.Clone(); c.TLSConfig == nil {
		c.TLSConfig = &tls.Config{}
	}
	if c.TLSConfig.ClientSessionCache == nil {
		c.TLSConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	// A websocket is HTTP/1.1. Who shares a tls.Config with net/http has h2 in it.
	c.TLSConfig.NextProtos = slices.DeleteFunc(slices.Clone(c.TLSConfig.NextProtos), func(p string) bool { return p == "h2" })
	return nil
}

// tokens is the TokenSource that c asks for.
func (c *Config) tokens() (TokenSource, error) {
	opts := c.tokenOptions()
	if _, err := opts.service(); err != nil {
		return nil, err
	}
	switch {
	case c.TokenSource != nil:
		return c.TokenSource, nil
	case c.Token != "" && c.lookups(opts) != nil:
		return c.lookups(opts).(*tokenCache).startWith(c.Token), nil
	case c.Token != "":
		return StaticToken(c.Token), nil
	case c.lookups(opts) != nil:
		return c.lookups(opts), nil
	case c.AccessKeyID != "":
		return nil, &ParamError{"AccessKeySecret", nil, "must not be empty"}
	case c.AccessKeySecret != "":
		return nil, &ParamError{"AccessKeyID", nil, "must not be empty"}
	case queryToken(c.URL) != "":
		return StaticToken(queryToken(c.URL)), nil
	}
	return nil, &ParamError{"Token", nil, "no credentials: set TokenSource, Token, Credentials, or AccessKeyID and AccessKeySecret"}
}

// lookups is the TokenSource of the access keys in c; nil if there are none.
func (c *Config) lookups(opts *TokenOptions) TokenSource {
	switch {
	case c.Credentials != nil:
		return NewTokenSourceFrom(c.Credentials, opts)
	case c.AccessKeyID != "" && c.AccessKeySecret != "":
		return NewTokenSource(AccessKey{c.AccessKeyID, c.AccessKeySecret, c.SecurityToken}, opts)
	}
	return nil
}

// tokenOptions are the TokenOptions of an access key in c.
func (c *Config) tokenOptions() *TokenOptions {
	var o TokenOptions
	if c.TokenOptions != nil {
		o = *c.TokenOptions
	}
	if o.Region == "" {
		o.Region = c.Region
		if u, err := url.Parse(c.URL); o.Region == "" && err == nil && isInternational(u.Hostname()) {
			o.Region = internationalRegion
		}
	}
	if o.Transport == nil {
		cfg := c.TLSConfig.Clone()
		cfg.ServerName, cfg.NextProtos = "", nil // those that are set are for the gateway
		o.Transport = &http.Transport{
			Proxy:                  c.Proxy,
			OnProxyConnectResponse: checkProxyAnswer,
			TLSClientConfig:        cfg,
			DialContext:            c.NetDialContext,
			DisableKeepAlives:      true, // lookups are hours apart, and a Client needs no closing
		}
	}
	return &o
}

// isInternational reports whether host is a gateway of the international site.
func isInternational(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.HasSuffix(host, ".aliyuncs.com") && strings.Contains(host, internationalRegion)
}

// checkProxyAnswer gives a type to the refusal of a proxy of token lookups.
func checkProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &ProxyError{HTTPStatus: resp.StatusCode}
	}
	return nil
}

// orDefault returns v, or def if v is zero.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// traceEnabled is what EnableTrace sets. It is the only state of the package.
var traceEnabled atomic.Bool

// EnableTrace makes sessions whose Config has no Logger write every frame to
// standard error, through a slog.TextHandler at LevelTrace. It is a process-wide
// debugging aid, the one place where the SDK prints; programs should set
// Config.Logger instead. It is safe for concurrent use.
func EnableTrace(enable bool) { traceEnabled.Store(enable) }

// traceLogger is the Logger of a Config without one.
var traceLogger = slog.New(traceHandler{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: LevelTrace})})

// traceHandler is silent unless EnableTrace was called.
type traceHandler struct{ slog.Handler }

func (traceHandler) Enabled(context.Context, slog.Level) bool { return traceEnabled.Load() }

type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
