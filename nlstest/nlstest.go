// Package nlstest is an NLS gateway for tests and for development without a
// cloud account, in the manner of net/http/httptest.
//
// A [Server] speaks the server side of the NLS protocol: the websocket gateway
// at Server.URL with the five speech namespaces and FlashRecognizer beside it, and
// the CreateToken and file transcription APIs at Server.TokenURL. It checks what the real service checks (token, envelope,
// ids, state, payload, quota, timers) and answers with the same events and
// status codes, so that code which works against it works against the service.
// The official SDKs of other languages work against it too.
//
// What it does not have is a speech model. The built-in [Loopback] engine
// writes text into the audio it synthesises and reads it back when that audio
// is recognised; in any other audio it finds where speech is, not what was
// said. [Script] answers any audio with given sentences, for tests of code that
// needs known words. Set Options.Engine to plug in a real engine, Options.Codecs for
// compressed audio, and Options.Namespaces for products that only CommonProto speaks.
//
// # Text
//
// What any Engine hears is written as the service writes it. Without
// enable_punctuation_prediction there is no punctuation; Words never have any, and
// are words: Han by a small built-in list, other scripts by their spaces. Partial results
// are taken back now and then, see Options.PlainPartials.
//
// Without enable_inverse_text_normalization numbers are words, with it digits. Known
// are, in Mandarin, whole numbers below 10^12 (三百二十五, 三万), decimals
// (三点一四), percentages (百分之二十), years digit by digit, dates and times (11月26日,
// 9点), and longer numbers digit by digit, as of telephones; in English whole
// numbers to millions, decimals and percentages. From digits, also 9:30 and 1,250. A
// number is Mandarin where there is Han text around it. What is beside a letter, as in
// MP3, stays, and so do single numerals that may be part of a word (一个, one).
//
// A sentence ends with max_sentence_silence of silence in the audio, and
// SentenceEnd.time includes it; with enable_semantic_sentence_detection with its
// mark (。！？ and the like), and stash_result has what was heard after it.
//
// # Accounts, voices, time
//
// Sessions are counted for each account and product, see Options.MaxSessions,
// Trial and Expired.
//
// Voices are those of the vendor's public list, with its sample rates, timestamps
// and emotions. What a voice cannot do is refused with the status of the service:
// an unknown name and, outside FlowingSpeechSynthesizer, a voice of CosyVoice
// ("long...", "loong...", "cosyvoice...") with 418 of the engine, an emotion of SSML
// with 423, subtitles with 425, for which xiaoyun, the default, is an example. Those of
// CosyVoice have neither timestamps nor emotions, and their Sentence events no
// subtitles. Phonemes that the Engine does not know are invented.
//
// ...Started and ...Completed take a moment, see Options.ReplyDelay and Latency. Audio
// before ...Started fails the task, and an audio message of more than 512 KiB is
// swallowed without an answer.
//
// # Where it differs from the service
//
// Audio may come faster than it plays, unless Options.RealTime says otherwise
// (status 41040202 does not occur). Formats that need a codec (opus, opu, speex,
// amr, mp3, aac) are accepted by name for recognition, and without one in
// Options.Codecs their audio then fails with 40270003; without one synthesis makes
// pcm and wav only, and refuses mp3 as it refuses an unknown format. The status of a
// sample rate that a voice lacks, 40010003, is a guess, every name that looks like
// one of CosyVoice is good, at any rate, and a voice without emotions refuses
// <emotion> with 423 where the service may call the SSML illegal. A
// max_sentence_silence outside 200 to 6000 fails with 40010003. An event that would
// not fit into the 64 KiB that clients can read comes without its words.
// Recorded files are WAV of 16 bits or raw PCM; others fail as what cannot be
// decoded. A task of the file service is done as soon as it can be, and knows no
// emotions and no speakers.
package nlstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

const (
	defaultIdleTimeout = 10 * time.Second // protocol §1.5

	// The addresses of the listeners in Pipe mode. Nothing listens there on TCP.
	pipeGateway    = "127.0.0.1:1"
	pipeToken      = "127.0.0.1:2"
	pipeTokenPlain = "127.0.0.1:3"
)

// Options configures a Server. The zero value accepts the AppKey, token and
// access key that Server.Config returns, and nothing else.
type Options struct {
	Addr string // TCP address to listen on; "" means a free port on 127.0.0.1
	TLS  bool   // serve wss with nlstest's own certificate authority
	Pipe bool   // no TCP: in-memory connections, for testing/synctest

	// PlainToken serves the token API over plain HTTP too, at Server.TokenURLPlain,
	// where the official SDKs call it. Package nls does not.
	PlainToken bool

	AppKeys    map[string]string // app key to account; nil means one default key
	Tokens     map[string]string // token to account; nil means one default token
	AccessKeys map[string]string // access key ID to secret; nil means one default pair
	TokenTTL   time.Duration     // lifetime of created tokens; zero means 24 hours

	// MaxSessions is how many sessions an account may have at a time in each
	// product, whatever the app key; a Start beyond fails with 40000005. Zero means
	// the quotas of the service: 200, of SpeechLongSynthesizer 100, of
	// FlowingSpeechSynthesizer 10. Negative means no limit. A session that ends with
	// Completed or TaskFailed gives its place back at once; the place of one that is
	// dropped is held until the idle cut, see IdleTimeout.
	MaxSessions int

	// Trial makes the accounts trial ones: quotas of 2 sessions, unless MaxSessions
	// says otherwise, and 40000010 for SpeechLongSynthesizer and
	// FlowingSpeechSynthesizer, of which there is no trial.
	Trial bool

	// Expired answers every directive with 40000010, before its app key is looked at,
	// as the service does when a trial is over or a bill unpaid.
	Expired bool

	// IdleTimeout is how long a client may be silent where the service waits for
	// it: 40000004, and 41040201 for a recognition whose audio stops. With pings in
	// between it is 2.3 times as long, but not for audio. Zero means 10 seconds,
	// as the service has; negative means none.
	IdleTimeout time.Duration

	// ReplyDelay passes before ...Started and ...Completed. Zero means 20 ms and 40 ms,
	// so that audio which a client sends before it has seen ...Started is refused as by
	// the service; negative means none, for tests that measure.
	ReplyDelay time.Duration

	// Latency slows the server down to what captures of the service show: 60 ms to
	// ...Started and 140 ms to ...Completed, unless ReplyDelay is set, and 220 ms to
	// the first audio of a synthesis.
	Latency bool

	// RealTime drops the connection, without TaskFailed, of a client whose audio comes
	// more than 10 times faster than it plays over 5 seconds.
	RealTime bool

	// Voices are the names of further voices, such as those that were made for a
	// customer or that only an Engine has. They have every sample rate and timestamps,
	// and no emotions.
	Voices []string

	Engine Engine // nil means Loopback

	// PlainPartials gives partial results as the Engine makes them. Without it they
	// are taken back now and then, as the service's are: a last character changes, a
	// mark moves, the final text is shorter than the last partial one. It depends on
	// their length alone.
	PlainPartials bool

	// Codecs decode and encode audio, by format: for recognition "opus", "opu",
	// "speex", "amr", "mp3" and "aac", for synthesis any name, such as "mp3". "pcm" and
	// "wav" need none.
	Codecs map[string]Codec

	// Namespaces are more products, by name, in answer to CommonProto.
	Namespaces map[string]Namespace
	// Files is the web as the file services see it: what a client names in
	// audio_address and file_link is got from it, whatever its host, and never from
	// the network; callbacks are posted to it, but for those to a loopback address,
	// which go over the network. A handler must end when the request's context does.
	// Nil answers 404.
	Files http.Handler

	// Fault decides how a connection misbehaves, nil for not at all. It is
	// called once for each connection, from its goroutine. Other programs name a
	// fault in the URL instead, see ParseFault. It is called for FlashRecognizer,
	// whose URL.Path has the name, and for the actions of the file service, whose
	// Form has it as Action, too.
	Fault func(*http.Request) *Fault

	// TaskFault decides how a task misbehaves, nil for not at all. It is called for
	// each Start that is accepted, from the goroutine of its connection, and goes
	// before what Fault said. Its points are those from OnStart on.
	TaskFault func(Task) *Fault

	// OnFrame sees every message received and sent, in the order of the wire,
	// one call at a time for each connection. The Payload may be kept.
	OnFrame func(Frame)
}

// Server is a running gateway. Its methods are safe for concurrent use.
type Server struct {
	URL      string // ws://127.0.0.1:port/ws/v1, or wss
	TokenURL string // https://127.0.0.1:port/, always TLS, as the SDK demands

	TokenURLPlain string // http://127.0.0.1:port/ with Options.PlainToken, else ""

	opts      Options
	replay    atomic.Pointer[replay] // nil but in a Replayer
	accounts  *accounts
	products  map[string]*product // by namespace
	authority *authority
	files     *fileTasks
	pipes     map[string]*pipeListener // by address, in Pipe mode
	gateway   *http.Server
	token     *http.Server // of all listeners of the token API

	ctx     context.Context // of the engines; ends with the Server
	cancel  context.CancelFunc
	running sync.WaitGroup // every goroutine of the Server

	counters

	quota  *quota
	delays delays

	mu     sync.Mutex // never held while waiting
	closed bool
	conns  map[*link]struct{} // every open connection of the gateway
	tasks  map[string]*conn   // that run, by ID
}

// counters are what Stats counts without a lock.
type counters struct {
	connections, started, framesIn, framesOut, pings atomic.Int64
	bytesIn, bytesOut                                atomic.Int64
}

// New starts a Server for a test, which it ends with. If it cannot listen, the test
// fails at once.
//
// Options.Engine, Options.OnFrame and Options.Fault may call t.Fatal, though they run
// on goroutines of the Server: the test is then marked as failed and the connection
// ends, so that no client waits for what will not come. None of them runs after the
// test.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := newServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// NewServer starts a Server. Like httptest.NewServer, it panics if it cannot
// listen, and also if a Namespace makes no sense. The caller must call Close.
func NewServer(opts Options) *Server {
	s, err := newServer(opts)
	if err != nil {
		panic(err)
	}
	return s
}

func newServer(opts Options) (*Server, error) {
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = defaultIdleTimeout
	}
	if opts.Engine == nil {
		opts.Engine = Loopback()
	}
	all := maps.Clone(products)
	for name, n := range opts.Namespaces {
		if err := n.check(name); err != nil {
			return nil, err
		}
		all[name] = n.product(name)
	}
	authority, err := theAuthority()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:      opts,
		accounts:  newAccounts(opts),
		products:  all,
		authority: authority,
		files:     newFileTasks(),
		conns:     map[*link]struct{}{},
		tasks:     map[string]*conn{},
		quota:     newQuota(opts),
		delays:    newDelays(opts),
	}
	gateway, token, plain, err := s.listen()
	if err != nil {
		return nil, fmt.Errorf("nlstest: listen: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())

	scheme := "ws"
	if opts.TLS {
		scheme = "wss"
	}
	s.URL = scheme + "://" + reachable(gateway.Addr()) + gatewayPath
	s.TokenURL = "https://" + token.Addr().String() + "/"

	gateway = &linkListener{gateway, s}
	if opts.TLS {
		gateway = tls.NewListener(gateway, authority.server())
	}
	s.gateway = newHTTPServer(http.HandlerFunc(s.serveGateway))
	s.gateway.ConnContext = withLink
	token = &linkListener{token, s}
	s.token = newHTTPServer(s.accounts.handler(s.serveFiles))
	s.token.ConnContext = withLink
	s.running.Go(func() { s.gateway.Serve(gateway) })
	s.running.Go(func() { s.token.Serve(tls.NewListener(token, authority.server())) })
	if plain != nil {
		s.TokenURLPlain = "http://" + plain.Addr().String() + "/"
		s.running.Go(func() { s.token.Serve(plain) })
	}
	return s, nil
}

// reachable is the address by which a client on this machine reaches addr, and for
// which the certificate is good.
func reachable(addr net.Addr) string {
	if a, ok := addr.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return addr.String()
}

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that hangs up is no news
	}
}

// listen opens the listeners of the gateway and of the token API, plain being nil
// without Options.PlainToken.
func (s *Server) listen() (gateway, token, plain net.Listener, err error) {
	if s.opts.Pipe {
		s.pipes = map[string]*pipeListener{}
		listen := func(addr string) net.Listener {
			l := newPipeListener(addr)
			s.pipes[addr] = l
			return l
		}
		gateway, token = listen(pipeGateway), listen(pipeToken)
		if s.opts.PlainToken {
			plain = listen(pipeTokenPlain)
		}
		return gateway, token, plain, nil
	}
	addrs := []string{cmp.Or(s.opts.Addr, "127.0.0.1:0"), "127.0.0.1:0"}
	if s.opts.PlainToken {
		addrs = append(addrs, "127.0.0.1:0")
	}
	listeners := make([]net.Listener, 3)
	for i, addr := range addrs {
		if listeners[i], err = net.Listen("tcp", addr); err != nil {
			for _, l := range listeners[:i] {
				l.Close()
			}
			return nil, nil, nil, err
		}
	}
	return listeners[0], listeners[1], listeners[2], nil
}

// dialPipe is the NetDialContext of Pipe mode.
func (s *Server) dialPipe(ctx context.Context, network, addr string) (net.Conn, error) {
	l, ok := s.pipes[addr]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: pipeAddr(addr), Err: errors.New("nlstest: no such address in Pipe mode")}
	}
	return l.dial(ctx)
}

// Config returns a Config that reaches the server: its URL, a valid AppKey and
// token, an access key with TokenOptions for the server's token API, and the
// TLS roots or the in-memory dialer where those are needed. The token wins over
// the access key; clear Token to create tokens with the key.
func (s *Server) Config() nls.Config {
	appKey, token, key := s.accounts.defaults()
	cfg := nls.Config{
		URL:             s.URL,
		AppKey:          appKey,
		Token:           token,
		AccessKeyID:     key.ID,
		AccessKeySecret: key.Secret,
		SecurityToken:   key.SecurityToken,
	}
	transport := &http.Transport{
		TLSClientConfig:   s.authority.client(),
		DisableKeepAlives: true, // nobody closes it
	}
	if s.opts.Pipe {
		cfg.NetDialContext = s.dialPipe
		transport.DialContext = s.dialPipe
	}
	if s.opts.TLS {
		cfg.TLSConfig = s.authority.client()
	}
	endpoint := strings.Trim(strings.TrimPrefix(s.TokenURL, "https:"), "/")
	cfg.FileEndpoint = endpoint
	cfg.TokenOptions = &nls.TokenOptions{Endpoint: endpoint, Transport: transport}
	return cfg
}

// AccessKey returns the default access key.
func (s *Server) AccessKey() nls.AccessKey {
	_, _, key := s.accounts.defaults()
	return key
}

// CertificatePEM returns the certificate of the authority that all Servers of this
// process share. Each process makes its own.
func (s *Server) CertificatePEM() []byte { return append([]byte(nil), s.authority.pem...) }

// Stats counts what a Server has seen.
type Stats struct {
	Connections   int // websockets that were opened
	Sessions      int // tasks that were started
	Concurrent    int // tasks that run now; not the dropped ones whose place is held
	MaxConcurrent int // the most that ran at a time

	FramesIn, FramesOut int   // messages
	BytesIn, BytesOut   int64 // in those messages
	Pings               int   // received
	Tokens              int   // created by the CreateToken API
}

// Stats returns counters.
func (s *Server) Stats() Stats {
	concurrent, most := s.quota.concurrent()
	return Stats{
		Connections:   int(s.connections.Load()),
		Sessions:      int(s.started.Load()),
		Concurrent:    concurrent,
		MaxConcurrent: most,
		FramesIn:      int(s.framesIn.Load()),
		FramesOut:     int(s.framesOut.Load()),
		BytesIn:       s.bytesIn.Load(),
		BytesOut:      s.bytesOut.Load(),
		Pings:         int(s.pings.Load()),
		Tokens:        s.accounts.issued(),
	}
}

// ExpireTokens makes every token issued so far invalid.
func (s *Server) ExpireTokens() { s.accounts.expireAll() }

// CloseClientConnections drops every open connection to the gateway without a
// word. Their sessions may count as running for a moment, and hold their places until
// the idle cut.
func (s *Server) CloseClientConnections() {
	s.mu.Lock()
	links := make([]*link, 0, len(s.conns))
	for l := range s.conns {
		links = append(links, l)
	}
	s.mu.Unlock()
	for _, l := range links {
		l.Close()
	}
}

// Close ends every connection and waits for them. It may be called more than
// once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.CloseClientConnections() // before http.Server, whose Close can wait for a full socket under TLS
	s.gateway.Close()
	s.token.Close()
	s.running.Wait()
}

// enter counts a goroutine that Close has to wait for. It reports false after
// Close.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// Frame is one websocket message.
type Frame struct {
	Conn    int  // connections count from 1
	Sent    bool // by the server
	Binary  bool
	Payload []byte
}
