// Command captions shows in a web page what is said into a microphone, while it is
// said. Without an account it runs against a local gateway:
//
//	go run ./examples/captions
//
// The page in the directory page records and resamples. This relay, which alone has
// the credentials, transcribes what the page sends and sends back the captions; when
// the gateway breaks off, the captions go on where they were. Whoever opens the page
// uses the account: put a login in front of it before others can reach it.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

//go:embed page
var page embed.FS

func main() {
	log.SetFlags(0)
	cfg := nls.ConfigFromEnv()
	flag.StringVar(&cfg.URL, "url", cfg.URL, "gateway `URL` ($NLS_URL)")
	flag.StringVar(&cfg.Region, "region", cfg.Region, "`name` of the region, in place of a URL ($NLS_REGION)")
	flag.StringVar(&cfg.AppKey, "appkey", cfg.AppKey, "`key` of the project ($NLS_APPKEY)")
	token := flag.String("token", "", "access `token` ($NLS_TOKEN)")
	addr := flag.String("addr", "127.0.0.1:0", "`address` to listen at")
	origin := flag.String("origin", "", "`origin` of the page where a proxy serves it, such as https://captions.example.com")
	pages := flag.Int("pages", 100, "how many `pages` may listen at once")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "captions shows live captions of a microphone in a web page.\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *pages < 1 {
		log.Println("error: it takes no arguments, and -pages of 1 or more")
		os.Exit(2)
	}
	cfg.Token = cmp.Or(*token, cfg.Token)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, cfg, *addr, *origin, *pages); err != nil {
		log.Fatal("error: ", err)
	}
}

// run serves the page until ctx ends, and prints its address.
func run(ctx context.Context, stdout io.Writer, cfg nls.Config, addr, origin string, pages int) error {
	if cfg.URL == "" && cfg.Region == "" && cfg.AppKey == "" && cfg.Token == "" && cfg.AccessKeyID == "" {
		gateway := nlstest.NewServer(nlstest.Options{MaxSessions: -1})
		defer gateway.Close()
		cfg = gateway.Config()
		log.Printf("no gateway named by flags or environment: using a local one at %s,\n"+
			"which understands no speech but what it has synthesised itself, and captions the rest by its length", gateway.URL)
	}
	client, err := nls.NewClient(cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	host := listener.Addr().String()
	r := newRelay(client, pages, "http://"+host, origin)
	if _, port, _ := net.SplitHostPort(host); listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		r.origins = append(r.origins, "http://localhost:"+port)
	}
	server := &http.Server{
		Handler:           r.handler(),
		ReadHeaderTimeout: patience,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	fmt.Fprintln(stdout, cmp.Or(origin, "http://"+host)+"/")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

const (
	patience   = 8 * time.Second // with a page that sends or takes nothing; the service has ten
	maxMessage = 16 << 10        // bytes from a page, whose messages have 3,200
)

// relay transcribes for pages.
type relay struct {
	client   *nls.Client
	upgrader websocket.Upgrader
	origins  []string      // whose pages may connect
	seats    chan struct{} // of pages
}

func newRelay(client *nls.Client, pages int, origins ...string) *relay {
	r := &relay{client: client, origins: origins, seats: make(chan struct{}, pages)}
	// Any page that the browser shows can try to connect, but cannot lie about its origin.
	r.upgrader.CheckOrigin = func(req *http.Request) bool {
		origin := req.Header.Get("Origin")
		return origin != "" && slices.Contains(r.origins, origin)
	}
	return r
}

func (r *relay) handler() http.Handler {
	files, _ := fs.Sub(page, "page")
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /captions", r.serve)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, req)
	})
}

// message is what a page gets: a caption, or else a state. The states are those of
// page.js.
type message struct {
	State string `json:"state,omitempty"`
	Code  int    `json:"code,omitempty"` // of the service, if failed
	Index int    `json:"index,omitempty"`
	Text  string `json:"text,omitempty"`
	Final bool   `json:"final,omitempty"`
}

// serve is one page: audio comes in binary messages, then a text to say that there is
// no more.
func (r *relay) serve(w http.ResponseWriter, req *http.Request) {
	ws, err := r.upgrader.Upgrade(w, req, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer ws.Close()
	ws.SetReadLimit(maxMessage)
	send := func(m message) {
		ws.SetWriteDeadline(time.Now().Add(patience))
		if ws.WriteJSON(m) != nil {
			ws.Close() // which ends the loop below
		}
	}
	select {
	case r.seats <- struct{}{}:
		defer func() { <-r.seats }()
	default:
		send(message{State: "busy"}) // a page cannot see HTTP statuses of a handshake
		return
	}
	if err := r.transcribe(req.Context(), ws, send); err != nil {
		log.Printf("%s: %v", req.RemoteAddr, err)
		send(message{State: "failed", Code: nls.StatusCode(err)})
	}
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience))
}

// transcribe returns what failed at the gateway; a page may go at any time.
func (r *relay) transcribe(ctx context.Context, ws *websocket.Conn, send func(message)) error {
	caption := func(s *nls.Sentence) { send(message{Index: s.Index, Text: s.Text, Final: s.Final}) }
	listening := func(*nls.Event) { send(message{State: "listening"}) }
	ct := r.client.NewContinuousTranscriber(nls.ContinuousHandlers{
		OnStart:         listening,
		OnResultChanged: caption,
		OnSentenceEnd:   caption,
		OnInterrupted: func(i *nls.Interruption) {
			log.Printf("%s: %v; again in %v", ws.RemoteAddr(), i.Err, i.Wait)
			send(message{State: "interrupted"})
		},
		OnResumed:   listening,
		OnCompleted: func(*nls.Event) { send(message{State: "done"}) },
	}, nls.ContinuousOptions{})
	if err := ct.Start(ctx, nls.TranscriptionParams{
		EnableIntermediateResult:       true,
		EnablePunctuationPrediction:    true,
		EnableInverseTextNormalization: true,
	}); err != nil {
		return err
	}
	defer func() { ct.Shutdown(); <-ct.Done() }() // send is then not in use
	defer context.AfterFunc(ctx, func() { ws.Close() })()
	for {
		ws.SetReadDeadline(time.Now().Add(patience))
		kind, data, err := ws.ReadMessage()
		switch {
		case err != nil:
			return ct.Err()
		case kind == websocket.TextMessage:
			return ct.Stop(ctx)
		}
		if err := ct.SendAudio(data); err != nil {
			return err
		}
	}
}
