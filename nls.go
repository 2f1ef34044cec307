package nls

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
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
	DefaultSampleRate      = 16000
	DefaultVoice           = "xiaoyun"
	DefaultVolume          = 50
	DefaultMaxPending      = 8 << 20
)

// LevelTrace is the slog level at which every frame is logged.
const LevelTrace = slog.LevelDebug - 4

// Format names an audio encoding, in lower case. The SDK never transcodes. A
// Format that the service does not document for a product is a *ParamError of
// Start; Extra{"format": ...} overrides it for a private gateway.
type Format string

// Audio encodings known to NLS (protocol §8.1).
const (
	FormatPCM   Format = "pcm"   // signed 16-bit little-endian mono; the default
	FormatWAV   Format = "wav"   // PCM in a WAV container
	FormatOpus  Format = "opus"  // Ogg Opus, encoded by the caller
	FormatOPU   Format = "opu"   // NLS-framed Opus packets, encoded by the caller
	FormatSpeex Format = "speex" // Ogg Speex, recognition only
	FormatAMR   Format = "amr"   // recognition only
	FormatMP3   Format = "mp3"   // synthesis and transcription
	FormatAAC   Format = "aac"   // transcription only
)

// Config says how to reach the service. The zero value of every field but
// AppKey and the credentials is usable. NewClient copies it.
type Config struct {
	// URL of the gateway, "ws" or "wss". Empty means the gateway of Region.
	URL string

	// Region picks the gateway and the token host when URL is empty:
	// "cn-shanghai" (the default), "cn-beijing", "cn-shenzhen" or
	// "ap-southeast-1". A StreamSynthesizer defaults to "cn-beijing", the only
	// region that documents it. Internal picks the address inside the region's
	// VPC, which is plain ws.
	Region   string
	Internal bool

	// AppKey of the project in the NLS console. Required.
	AppKey string

	// Credentials. The first one set wins: TokenSource, Token, AccessKeyID
	// with AccessKeySecret. With an access key the Client creates tokens as
	// needed and shares them between all of its sessions.
	TokenSource     TokenSource
	Token           string
	AccessKeyID     string
	AccessKeySecret string
	SecurityToken   string // with a temporary (STS) access key

	// TokenOptions says where an access key gets its tokens. Nil means the
	// token host of Region. Without a Transport in it, lookups go through Proxy,
	// TLSConfig and NetDialContext. A TokenSource is used as it is: wrap it in
	// CacheTokens if it does I/O.
	TokenOptions *TokenOptions

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

	// Header is added to the websocket handshake request. It must not have the
	// fields of the handshake itself.
	Header http.Header

	// TLSConfig, Proxy and NetDialContext customise the connection, as the
	// fields of the same names in net/http.Transport do. A nil Proxy means
	// http.ProxyFromEnvironment. Proxies are http, https or socks5 URLs.
	TLSConfig      *tls.Config
	Proxy          func(*http.Request) (*url.URL, error)
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Logger receives the SDK's own messages. Nil means silent. Tokens and
	// access keys are never logged; frames are, at LevelTrace.
	Logger *slog.Logger

	// Trace receives structured hooks from every session of the Client.
	// See WithTrace for hooks on one session.
	Trace *Trace
}

// ConfigFromEnv reads a Config from the environment: NLS_URL, NLS_APPKEY,
// NLS_TOKEN, and the access key in ALIBABA_CLOUD_ACCESS_KEY_ID,
// ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.
// What is not set stays zero.
func ConfigFromEnv() Config {
	return Config{
		URL:             os.Getenv("NLS_URL"),
		AppKey:          os.Getenv("NLS_APPKEY"),
		Token:           os.Getenv("NLS_TOKEN"),
		AccessKeyID:     os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"),
		AccessKeySecret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
		SecurityToken:   os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"),
	}
}

// credentials names the kind of credentials that c uses.
func (c *Config) credentials() string {
	switch {
	case c.TokenSource != nil:
		return "TokenSource"
	case c.Token != "":
		return "Token"
	case c.AccessKeyID != "":
		return "AccessKey"
	}
	return "none"
}

// String returns the parts of c that are not secret.
func (c Config) String() string {
	return fmt.Sprintf("nls.Config{URL:%q Region:%q AppKey:%q Credentials:%s}",
		redactURL(c.URL), c.Region, c.AppKey, c.credentials())
}

// GoString returns String.
func (c Config) GoString() string { return c.String() }

// LogValue returns the parts of c that are not secret.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("url", redactURL(c.URL)), slog.String("region", c.Region),
		slog.String("appkey", c.AppKey), slog.String("credentials", c.credentials()))
}

// redactURL drops the query of u, where a token may be, and the user info.
func redactURL(u string) string {
	u, _, _ = strings.Cut(u, "?")
	if scheme, rest, ok := strings.Cut(u, "://"); ok {
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			return scheme + "://" + rest[i+1:]
		}
	}
	return u
}

// regions are the gateways of protocol §1.1.
var regions = map[string]struct{ public, internal string }{
	"":               {DefaultURL, "ws://nls-gateway-cn-shanghai-internal.aliyuncs.com:80/ws/v1"},
	"cn-shanghai":    {DefaultURL, "ws://nls-gateway-cn-shanghai-internal.aliyuncs.com:80/ws/v1"},
	"cn-beijing":     {DefaultStreamURL, "ws://nls-gateway-cn-beijing-internal.aliyuncs.com:80/ws/v1"},
	"cn-shenzhen":    {"wss://nls-gateway-cn-shenzhen.aliyuncs.com/ws/v1", "ws://nls-gateway-cn-shenzhen-internal.aliyuncs.com:80/ws/v1"},
	"ap-southeast-1": {"wss://nls-gateway-ap-southeast-1.aliyuncs.com/ws/v1", ""},
}

// Client creates sessions that share a Config. It is safe for concurrent use
// and needs no closing. Printed in any way it shows no secret.
type Client struct {
	_ noCopy
	*client
}

type client struct {
	cfg       Config // without its secrets
	tokens    TokenSource
	url       session.Secret
	streamURL session.Secret
	log       *slog.Logger
	tls       *tls.Config
	session   *session.Config
}

// NewClient checks cfg and returns a Client. It does no I/O. The error is a
// *ParamError.
func NewClient(cfg Config) (*Client, error) {
	c := &client{cfg: cfg, url: session.NewSecret(cfg.URL), streamURL: session.NewSecret(cfg.URL)}
	if cfg.AppKey == "" {
		return nil, &ParamError{"AppKey", nil, "must not be empty"}
	}
	if cfg.URL != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" || u.User != nil {
			return nil, &ParamError{"URL", redactURL(cfg.URL), "must be a ws or wss URL, without user"}
		}
	} else {
		r, ok := regions[cfg.Region]
		if !ok {
			return nil, &ParamError{"Region", cfg.Region, "must be cn-shanghai, cn-beijing, cn-shenzhen or ap-southeast-1"}
		}
		stream := r
		if cfg.Region == "" {
			stream = regions["cn-beijing"]
		}
		c.url, c.streamURL = session.NewSecret(r.public), session.NewSecret(stream.public)
		if cfg.Internal {
			if r.internal == "" {
				return nil, &ParamError{"Internal", true, "region " + cfg.Region + " has no VPC address"}
			}
			c.url, c.streamURL = session.NewSecret(r.internal), session.NewSecret(stream.internal)
		}
	}
	if cfg.MaxPendingBytes < 0 {
		return nil, &ParamError{"MaxPendingBytes", cfg.MaxPendingBytes, "must not be negative"}
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions"} {
		if cfg.Header.Get(name) != "" {
			return nil, &ParamError{"Header", name, "belongs to the websocket handshake"}
		}
	}
	c.cfg.Header = cfg.Header.Clone()
	c.cfg.StopTimeout = orDefault(cfg.StopTimeout, DefaultStopTimeout)
	c.cfg.WriteTimeout = orDefault(cfg.WriteTimeout, DefaultWriteTimeout)
	c.cfg.MaxPendingBytes = orDefault(cfg.MaxPendingBytes, DefaultMaxPending)
	if cfg.Proxy == nil {
		c.cfg.Proxy = http.ProxyFromEnvironment
	}
	c.tls = cfg.TLSConfig.Clone()
	if c.tls == nil {
		c.tls = &tls.Config{}
	}
	if c.tls.ClientSessionCache == nil {
		c.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if c.log = cfg.Logger; c.log == nil {
		c.log = traceLogger
	}
	switch {
	case cfg.TokenSource != nil:
		c.tokens = cfg.TokenSource
	case cfg.Token != "":
		c.tokens = StaticToken(cfg.Token)
	case cfg.AccessKeyID != "" && cfg.AccessKeySecret != "":
		c.tokens = NewTokenSource(AccessKey{cfg.AccessKeyID, cfg.AccessKeySecret, cfg.SecurityToken}, c.tokenOptions())
	case cfg.AccessKeyID != "":
		return nil, &ParamError{"AccessKeySecret", nil, "must not be empty"}
	default:
		return nil, &ParamError{"Token", nil, "no credentials: set TokenSource, Token, or AccessKeyID and AccessKeySecret"}
	}
	c.cfg.URL, c.cfg.Token, c.cfg.AccessKeyID, c.cfg.AccessKeySecret, c.cfg.SecurityToken = "", "", "", "", ""
	c.session = c.sessionConfig()
	return &Client{client: c}, nil
}

// tokenOptions are the TokenOptions of an access key in the Config.
func (c *client) tokenOptions() *TokenOptions {
	o := TokenOptions{Region: c.cfg.Region}
	if c.cfg.TokenOptions != nil {
		o = *c.cfg.TokenOptions
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy:             c.cfg.Proxy,
			TLSClientConfig:   c.tls,
			DialContext:       c.cfg.NetDialContext,
			DisableKeepAlives: true, // lookups are hours apart, and a Client needs no closing
		}
	}
	return &o
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
// Config.Logger instead.
func EnableTrace(enable bool) { traceEnabled.Store(enable) }

// traceLogger is the Logger of a Config without one.
var traceLogger = slog.New(traceHandler{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: LevelTrace})})

// traceHandler is silent unless EnableTrace was called.
type traceHandler struct{ slog.Handler }

func (traceHandler) Enabled(context.Context, slog.Level) bool { return traceEnabled.Load() }

type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
