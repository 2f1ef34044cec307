package nls_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
)

// The two ends of each secret in these tests. Neither is to be seen anywhere.
const (
	mark    = "MARKED"
	endMark = "DEKRAM"
)

// disguises are secrets that do not come back as they were sent.
var disguises = map[string]string{
	"plain":        mark + "0123456789abcdef0123456789" + endMark,
	"quotes":       mark + `"it's" "quoted"` + endMark,
	"backslash":    mark + `\back\n\u0041\\slash` + endMark,
	"tab":          mark + "\tand\t\ttabs" + endMark,
	"non-ASCII":    mark + "-schlüssel-密钥-🔑-" + endMark,
	"URL":          mark + "+a/b==&c=d?e#f%20g%" + endMark,
	"HTML":         mark + "<b>&amp;&#34;</b>" + endMark,
	"blanks":       mark + " with  blanks " + endMark,
	"Latin-1":      mark + "\xe9t\xe9" + endMark,
	"padded":       " \t" + mark + "-padded-" + endMark + "\r\n",
	"newline":      mark + "\nof two lines" + endMark,
	"control":      mark + "\x00\x1b[2J" + endMark,
	"three stars":  mark + "***" + endMark,
	"format verbs": mark + "%s%d%!v(MISSING)" + endMark,
}

// spelled is s in the spellings in which a service may say it.
func spelled(s string) []string {
	js, _ := json.Marshal(s)
	inJSON := string(js[1 : len(js)-1])
	return []string{
		s, inJSON, strings.ReplaceAll(inJSON, "/", `\/`), strconv.QuoteToASCII(s), url.QueryEscape(s), url.PathEscape(s),
		url.QueryEscape(url.QueryEscape(s)), url.QueryEscape(inJSON), html.EscapeString(s), string(latin1(s)),
	}
}

// latin1 is s as a server reads it that takes headers for Latin-1.
func latin1(s string) (runes []rune) {
	for _, c := range []byte(s) {
		runes = append(runes, rune(c))
	}
	return runes
}

// echo is a text with s in each spelling.
func echo(s string) string {
	return "The token '" + strings.Join(spelled(s), "' or '") + "' is invalid!"
}

// handler serves a connection that has asked for a websocket with token.
type handler func(c net.Conn, r *http.Request, token string)

// gatewayOf is a gateway that knows nothing but h.
func gatewayOf(t *testing.T, h handler) (addr string) {
	return accept(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		token := r.URL.Query().Get("token")
		if token == "" {
			token = r.Header.Get("X-NLS-Token")
		}
		h(c, r, token)
	})
}

// refusal answers with status and body.
func refusal(status int, body func(token string) string) handler {
	return func(c net.Conn, _ *http.Request, token string) {
		b := body(token)
		fmt.Fprintf(c, "HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s", status, len(b), b)
	}
}

// raw answers with bytes.
func raw(answer func(token string) string) handler {
	return func(c net.Conn, _ *http.Request, token string) { _, _ = io.WriteString(c, answer(token)) }
}

// messages opens the websocket, waits for the first directive and sends frames.
func messages(frames func(token string) []byte) handler {
	return func(c net.Conn, r *http.Request, token string) {
		accept := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(accept[:]))
		if _, err := wsframe.Read(c); err != nil {
			return
		}
		_, _ = c.Write(frames(token))
		_, _ = io.Copy(io.Discard, c)
	}
}

// text is the frame of an event.
func text(name string, status int, statusText string, payload any) []byte {
	js, _ := json.Marshal(map[string]any{
		"header":  map[string]any{"name": name, "status": status, "status_text": statusText, "namespace": "SpeechTranscriber", "message_id": statusText},
		"payload": payload,
	})
	return wsframe.Append(nil, wsframe.Fin|wsframe.Text, js)
}

// closing is a Close frame. Its reason has room for 123 bytes.
func closing(reason string) []byte {
	reason = string([]rune(reason)) // UTF-8
	return wsframe.Append(nil, wsframe.Fin|wsframe.Close, append([]byte{1011 >> 8, 1011 & 0xff}, reason[:min(len(reason), 123)]...))
}

var started = text("TranscriptionStarted", nls.StatusOK, "Gateway:SUCCESS:Success.", nil)

// indiscreet are gateways that say the token in every way on which a session can
// end.
func indiscreet() map[string]handler {
	sayAll := func(token string) []byte {
		var frames []byte
		for _, name := range []string{"SentenceBegin", "TranscriptionResultChanged", "SentenceEnd", "Unknown"} {
			for _, s := range spelled(token) {
				frames = append(frames, text(name, nls.StatusOK, s, map[string]any{"index": 1, "said": s, "list": []string{s}, s: s})...)
			}
		}
		return frames
	}
	h := map[string]handler{
		"403":        refusal(403, echo),
		"403, short": refusal(403, func(token string) string { return token }),
		"500":        refusal(500, echo),
		"101 with another key": raw(func(token string) string {
			return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n" + echo(token)
		}),
		"no HTTP":            raw(func(token string) string { return "220 " + echo(token) + "\r\n\r\n" }),
		"a strange status":   raw(func(token string) string { return "HTTP/1.1 " + echo(token) + "\r\n\r\n" }),
		"a strange version":  raw(func(token string) string { return echo(token) + " 200 OK\r\n\r\n" }),
		"a strange header":   raw(func(token string) string { return "HTTP/1.1 200 OK\r\n" + echo(token) + "\r\n\r\n" }),
		"a strange name":     raw(func(token string) string { return "HTTP/1.1 200 OK\r\n" + token + "(): x\r\n\r\n" }),
		"a strange length":   raw(func(token string) string { return "HTTP/1.1 200 OK\r\nContent-Length: " + token + "\r\n\r\n" }),
		"a strange encoding": raw(func(token string) string { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + token + "\r\n\r\n" }),
		"a redirect": raw(func(token string) string {
			return "HTTP/1.1 302 Found\r\nLocation: http://h/?" + token + "\r\nContent-Length: 0\r\n\r\n"
		}),
		"TaskFailed at once": messages(func(token string) []byte { return text("TaskFailed", nls.StatusAccessDenied, echo(token), nil) }),
		"TaskFailed later":   messages(func(token string) []byte { return append(started, text("TaskFailed", 40000000, echo(token), nil)...) }),
		"Close":              messages(func(token string) []byte { return append(started, closing(token)...) }),
		"Close, in a query":  messages(func(token string) []byte { return append(started, closing(url.QueryEscape(token))...) }),
		"events, TaskFailed": messages(func(token string) []byte {
			return slices.Concat(started, sayAll(token), text("TaskFailed", 40000000, token, nil))
		}),
		"events, a lost link": messages(func(token string) []byte { return slices.Concat(started, sayAll(token), []byte{0xff, 0xff}) }),
		"no JSON": messages(func(token string) []byte {
			return slices.Concat(started, wsframe.Append(nil, wsframe.Fin|wsframe.Text, []byte(token)), closing(""))
		}),
		"nothing": func(net.Conn, *http.Request, string) {},
	}
	// The first KiB of a body is kept, and ends within the secret, or an escape.
	for _, n := range []int{4, 7, 10, 13, 14, 15, 20, 25} {
		for i, name := range []string{"as it is", "JSON", "", "", "URL"} {
			if name != "" {
				h[fmt.Sprintf("403, cut after %d bytes, %s", n, name)] = refusal(403, func(token string) string {
					return strings.Repeat(".", 1024-n) + spelled(token)[i] + strings.Repeat(".", 2000)
				})
			}
		}
	}
	return h
}

// notebook keeps what is printed.
type notebook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// print prints v in every way that there is.
func (n *notebook) print(v any) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %v %+v %#v %q\n", v, v, v, v, v)
	nested := struct{ V any }{v}
	fmt.Fprintf(&b, "%s %v %+v %#v\n", nested, nested, nested, map[string]any{"": v})
	js, err := json.Marshal(v)
	fmt.Fprintln(&b, string(js), err)
	js, err = json.Marshal(nested)
	fmt.Fprintln(&b, string(js), err)
	for _, h := range handlersOf(&b) {
		l := slog.New(h)
		l.Info("x", "v", v)
		l.With("v", v).Error("x", slog.Group("g", "v", v))
	}
	_, _ = n.Write(b.Bytes())
	reflected(n, reflect.ValueOf(v), 0)
}

// handlersOf are log handlers that write to w.
func handlersOf(w io.Writer) []slog.Handler {
	opts := &slog.HandlerOptions{Level: nls.LevelTrace, AddSource: true}
	return []slog.Handler{slog.NewTextHandler(w, opts), slog.NewJSONHandler(w, opts), &simpleHandler{w}}
}

// simpleHandler is a log handler as programs have them: it prints.
type simpleHandler struct{ w io.Writer }

func (*simpleHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *simpleHandler) WithAttrs(as []slog.Attr) slog.Handler  { fmt.Fprintln(h.w, as); return h }
func (h *simpleHandler) WithGroup(string) slog.Handler          { return h }

func (h *simpleHandler) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	fmt.Fprint(&b, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		v := a.Value.Resolve()
		fmt.Fprintf(&b, " %s=%v %+v", a.Key, v, v.Any())
		return true
	})
	fmt.Fprintln(&b)
	_, err := h.w.Write(b.Bytes())
	return err
}

// allHandlers is a log handler that writes to several.
type allHandlers []slog.Handler

func (allHandlers) Enabled(context.Context, slog.Level) bool { return true }
func (h allHandlers) WithAttrs([]slog.Attr) slog.Handler     { panic("not used") }
func (h allHandlers) WithGroup(string) slog.Handler          { panic("not used") }

func (h allHandlers) Handle(ctx context.Context, r slog.Record) error {
	for _, h := range h {
		_ = h.Handle(ctx, r.Clone())
	}
	return nil
}

// reflected prints v as printers do that use package reflect and call no methods:
// all fields, and whatever is behind pointers and interfaces. What an event has in
// Raw is what the service said.
func reflected(w io.Writer, v reflect.Value, depth int) {
	if depth > 12 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		fmt.Fprintln(w, v.String())
	case reflect.Pointer, reflect.Interface:
		reflected(w, v.Elem(), depth+1)
	case reflect.Struct:
		for f, value := range v.Fields() {
			if f.Name != "Raw" || f.Type != reflect.TypeFor[json.RawMessage]() {
				reflected(w, value, depth+1)
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			reflected(w, k, depth+1)
			reflected(w, v.MapIndex(k), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			fmt.Fprintf(w, "%q\n", v.Bytes())
			return
		}
		for i := range v.Len() {
			reflected(w, v.Index(i), depth+1)
		}
	}
}

// all are the errors that err is made of.
func all(err error) []error {
	if err == nil {
		return nil
	}
	errs := []error{err}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		errs = append(errs, all(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			errs = append(errs, all(err)...)
		}
	}
	return errs
}

// witness runs a session of cfg and prints all that can be had of it. It returns
// the error of the session.
func witness(t *testing.T, cfg nls.Config, n *notebook) error {
	t.Helper()
	cfg.Logger = slog.New(allHandlers(handlersOf(n)))
	cfg.Trace = &nls.Trace{
		TokenDone: func(v nls.TraceToken) { n.print(v) }, DialStart: func(v nls.TraceDial) { n.print(v) }, DialDone: func(v nls.TraceDial) { n.print(v) },
		Command: func(v nls.TraceMessage) { n.print(v) }, Event: func(v nls.TraceMessage) { n.print(v) },
		Callback: func(v nls.TraceMessage) { n.print(v) }, SessionDone: func(v nls.TraceSession) { n.print(v) },
	}
	n.print(cfg.String())
	client, err := nls.NewClient(cfg)
	if err != nil {
		n.print(err)
		return err
	}
	n.print(client)
	failed := make(chan error, 1)
	tr := client.NewTranscriber(nls.TranscriberHandlers{
		OnStart: func(e *nls.Event) { n.print(e); n.print(*e) }, OnEvent: func(e *nls.Event) { n.print(e) },
		OnSentenceBegin: func(s *nls.Sentence) { n.print(s) }, OnResultChanged: func(s *nls.Sentence) { n.print(s) },
		OnSentenceEnd: func(s *nls.Sentence) { n.print(s); n.print(*s) },
		OnError:       func(e *nls.ErrorEvent) { n.print(e); n.print(*e) },
		OnClose:       func(e *nls.CloseEvent) { n.print(e); n.print(*e); failed <- e.Err },
	})
	fmt.Fprintf(n, "%v %+v %#v", tr, tr, tr)
	err = tr.Start(t.Context(), nls.TranscriptionParams{Timeout: 5 * time.Second})
	if err == nil {
		err = <-failed
	}
	<-tr.Done()
	n.print(client)
	fmt.Fprintf(n, "%v %+v %#v", tr, tr, tr)
	for _, err := range append(all(err), all(tr.Err())...) {
		n.print(err)
	}
	return err
}

// shows is the place in text where a secret is, if there is one.
func shows(text string) string {
	for _, m := range []string{mark, endMark, strings.Trim(fmt.Sprint([]byte(mark)), "[]"), base64.StdEncoding.EncodeToString([]byte(mark))} {
		if i := strings.Index(text, m); i >= 0 {
			return fmt.Sprintf("%q is in ...%s...", m, text[max(0, i-300):min(len(text), i+100)])
		}
	}
	return ""
}

func TestNoTokenIsShownByAnySessionInAnyDisguise(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	turn, tried := 0, effort.OneIn(13)
	gateways := indiscreet()
	for _, gateway := range slices.Sorted(maps.Keys(gateways)) {
		addr := gatewayOf(t, gateways[gateway])
		turn++ // so that each disguise meets each gateway, in one place or another
		for _, name := range slices.Sorted(maps.Keys(disguises)) {
			secret := disguises[name]
			where := []string{"Token", "TokenSource", "CacheTokens", "URL"}[turn%4]
			if turn++; !tried() {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s in %s", gateway, name, where), func(t *testing.T) {
				cfg := nls.Config{AppKey: "key", URL: "ws://" + addr + "/ws/v1"}
				switch where {
				case "Token":
					cfg.Token = secret
				case "TokenSource":
					cfg.TokenSource = nls.StaticToken(secret)
				case "CacheTokens":
					cfg.TokenSource = nls.CacheTokens(nls.StaticToken(secret), time.Minute)
				case "URL":
					cfg.URL += "?token=" + url.QueryEscape(secret)
					cfg.Token = "other"
				}
				var n notebook
				if err := witness(t, cfg, &n); err == nil {
					t.Error("no error")
				}
				if cfg.TokenSource != nil {
					n.print(cfg.TokenSource)
				}
				if text := shows(n.String()); text != "" {
					t.Error(text)
				}
			})
		}
	}
}

// The token service sees the key, and may say it.
func TestNoKeyIsShownByAnyLookupInAnyDisguise(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	var signedWith string // which the service knows, though nobody sends it
	said := func(r *http.Request) string {
		_ = r.ParseForm()
		return strings.Join([]string{
			echo(r.PostForm.Get("AccessKeyId")), echo(r.PostForm.Get("SecurityToken")), echo(r.PostForm.Get("Signature")),
			echo(r.PostForm.Encode()), echo(signedWith),
		}, " ")
	}
	answer := func(status int, body func(said string) any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body(said(r)))
		}
	}
	hijacked := func(format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body := strings.NewReplacer("\n", " ", "\r", " ").Replace(said(r))
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprintf(c, format, body)
				c.Close()
			}
		}
	}
	services := map[string]http.HandlerFunc{
		"mismatch": answer(400, func(s string) any {
			return map[string]any{"Code": "SignatureDoesNotMatch", "Message": s, "RequestId": s}
		}),
		"code":             answer(400, func(s string) any { return map[string]any{"Code": s} }),
		"throttled":        answer(429, func(s string) any { return map[string]any{"Code": "Throttling.User", "Message": s, "Recommend": s} }),
		"no token":         answer(200, func(s string) any { return map[string]any{"ErrCode": s, "ErrMsg": s, "RequestId": s} }),
		"no JSON":          func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, said(r)) },
		"no HTTP":          hijacked("220 %s\r\n\r\n"),
		"a strange status": hijacked("HTTP/1.1 %s\r\n\r\n"),
		"a strange header": hijacked("HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
		"a strange length": hijacked("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n"),
		"hang-up":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a token": answer(200, func(s string) any {
			return map[string]any{"Token": map[string]any{"Id": mark + "-the-token", "ExpireTime": time.Now().Add(time.Hour).Unix()}, "ErrMsg": s}
		}),
	}
	turn, tried := 0, effort.OneIn(11)
	for _, service := range slices.Sorted(maps.Keys(services)) {
		server := httptest.NewUnstartedServer(services[service])
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		turn++ // so that each disguise meets each service, in one place or another
		for _, name := range slices.Sorted(maps.Keys(disguises)) {
			secret := disguises[name]
			where := []string{"ID", "Secret", "SecurityToken"}[turn%3]
			if turn++; !tried() {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s in %s", service, name, where), func(t *testing.T) {
				key := nls.AccessKey{ID: "some-id", Secret: "some-secret"}
				reflect.ValueOf(&key).Elem().FieldByName(where).SetString(secret)
				signedWith = strings.TrimSpace(key.Secret)
				opts := &nls.TokenOptions{Endpoint: server.Listener.Addr().String(), Transport: server.Client().Transport}
				src := nls.NewTokenSource(key, opts)
				var n notebook
				tok, err := src.Token(t.Context())
				if (err == nil) != (service == "a token" && name != "newline" && name != "control") {
					t.Errorf("%v", err)
				}
				for _, v := range []any{src, tok, key, &key, struct{ Key nls.AccessKey }{key}} {
					fmt.Fprintf(&n, "%v %+v %#v\n", v, v, v)
					js, _ := json.Marshal(v)
					fmt.Fprintf(&n, "%s\n", js)
					for _, h := range handlersOf(&n) {
						slog.New(h).Info("x", "v", v)
					}
				}
				reflected(&n, reflect.ValueOf(src), 0)
				for _, err := range all(err) {
					n.print(err)
				}
				_ = witness(t, nls.Config{
					AppKey: "key", URL: "ws://127.0.0.1:1", AccessKeyID: key.ID, AccessKeySecret: key.Secret, SecurityToken: key.SecurityToken, TokenOptions: opts,
					NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no gateway") },
				}, &n)
				if text := shows(n.String()); text != "" {
					t.Error(text)
				}
			})
		}
	}
}

// Whatever the token is, only the token is hidden: a text about a failure is the
// same with one that is a word of it as with one that is not.
func TestNothingIsHiddenWhereNoSecretWas(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	const none = "0123456789abcdef0123456789abcdef"
	quiet := func(body string) handler { return refusal(403, func(string) string { return body }) }
	paths := map[string]func(t *testing.T, token string) nls.Config{}
	for name, h := range map[string]handler{
		"403":         quiet(""),
		"no HTTP":     raw(func(string) string { return "220 ?\r\n\r\n" }),
		"bad header":  raw(func(string) string { return "HTTP/1.1 200 OK\r\n?\r\n\r\n" }),
		"EOF":         func(net.Conn, *http.Request, string) {},
		"TaskFailed":  messages(func(string) []byte { return text("TaskFailed", 40000000, "?", nil) }),
		"Close":       messages(func(string) []byte { return slices.Concat(started, closing("")) }),
		"lost":        messages(func(string) []byte { return slices.Concat(started, []byte{0xff, 0xff}) }),
		"token, said": refusal(403, func(token string) string { return "'" + token + "'" }),
	} {
		paths[name] = func(t *testing.T, token string) nls.Config {
			return nls.Config{URL: "ws://" + gatewayOf(t, h), Token: token}
		}
	}
	paths["refused"] = func(t *testing.T, token string) nls.Config { return nls.Config{URL: "ws://127.0.0.1:1/", Token: token} }
	paths["TLS"] = func(t *testing.T, token string) nls.Config {
		return nls.Config{URL: "wss://" + accept(t, func(c net.Conn) { _, _ = io.WriteString(c, "no TLS at all") }), Token: token}
	}
	paths["certificate"] = func(t *testing.T, token string) nls.Config {
		s := httptest.NewUnstartedServer(nil)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return nls.Config{URL: "wss://" + s.Listener.Addr().String(), Token: token, TLSConfig: &tls.Config{ServerName: "example.com"}}
	}
	for proxy, answer := range map[string]string{"proxy": "HTTP/1.1 407 x\r\n\r\n", "odd proxy": "?\r\n\r\n"} {
		paths[proxy] = func(t *testing.T, token string) nls.Config {
			cfg := through("http://" + accept(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _, _ = io.WriteString(c, answer) }))
			cfg.Token = token
			return cfg
		}
	}
	for code, body := range map[string]string{"lookup": `{}`, "odd lookup": "x", "refused lookup": `{"Code":"?","Message":"?"}`} {
		paths[code] = func(t *testing.T, token string) nls.Config {
			return nls.Config{URL: "ws://127.0.0.1:1/", AccessKeyID: token, AccessKeySecret: token, SecurityToken: token, TokenOptions: &nls.TokenOptions{
				Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(body))}, nil
				}),
			}}
		}
	}
	words := regexp.MustCompile(`[A-Za-z]+`)
	varying := regexp.MustCompile(`[0-9a-f]{32}|127\.0\.0\.1:\d+`)
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			errorWith := func(token string) string {
				cfg := path(t, token)
				cfg.AppKey = "key"
				client, err := nls.NewClient(cfg)
				if err != nil {
					t.Fatal(err)
				}
				tr := client.NewTranscriber(nls.TranscriberHandlers{})
				if err = tr.Start(t.Context(), nls.TranscriptionParams{}); err == nil {
					<-tr.Done()
					err = tr.Err()
				}
				return varying.ReplaceAllString(err.Error(), "#")
			}
			want := errorWith(none)
			for _, token := range append(words.FindAllString(want, -1), "e", "dial", "n", ":", "\"") {
				if got := errorWith(token); got != want || strings.Contains(got, "***") != strings.Contains(name, "said") {
					t.Errorf("with the token %q: %s\nwant %s", token, got, want)
				}
			}
		})
	}
}

// What ends as a token begins is hidden where a body may have been cut, and not
// where all of it is there.
func TestTheEndOfAWholeBodyStays(t *testing.T) {
	const token, body = "dialling-tone", "no dial"
	for name, c := range map[string]struct{ head, want string }{
		"whole":          {"Content-Length: 7", "no dial"},
		"perhaps cut":    {"Connection: close", "no ***"},
		"certainly cut":  {"Content-Length: 8", "no ***"},
		"whole, chunked": {"Transfer-Encoding: chunked", "no ***"}, // which is not known
	} {
		answer := "HTTP/1.1 403 No\r\n" + c.head + "\r\n\r\n" + body
		if strings.Contains(c.head, "chunked") {
			answer = "HTTP/1.1 403 No\r\n" + c.head + "\r\n\r\n7\r\n" + body + "\r\n0\r\n\r\n"
		}
		err := startOf(t, nls.Config{AppKey: "k", URL: "ws://" + gatewayOf(t, raw(func(string) string { return answer })), Token: token})
		if e, ok := errors.AsType[*nls.HandshakeError](err); !ok || e.Body != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Text of the service with a token that is a word loses the token and no letter
// more, wherever it comes from.
func TestAShortTokenIsHiddenAloneInWhatTheServiceSays(t *testing.T) {
	const said, want = "Gateway:ACCESS_DENIED:The token 'e' has expired!", "Gateway:ACCESS_DENIED:The token '***' has expired!"
	for name, h := range map[string]handler{
		"403":        refusal(403, func(string) string { return said }),
		"TaskFailed": messages(func(string) []byte { return text("TaskFailed", nls.StatusAccessDenied, said, nil) }),
		"Close":      messages(func(string) []byte { return slices.Concat(started, closing(said)) }),
	} {
		var n notebook
		err := witness(t, nls.Config{AppKey: "key", URL: "ws://" + gatewayOf(t, h), Token: "e"}, &n)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
