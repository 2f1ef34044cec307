package suite

import (
	"bufio"
	"compress/flate"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
)

// The answer to a handshake is HTTP from a stranger, be it the gateway's or a
// proxy's.
func TestAStrangeAnswerToTheHandshakeIsAnError(t *testing.T) {
	const endless = 64 * mib
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   string // in the error
	}{
		"no reason phrase": {func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 403\r\n\r\n") }, "HTTP 403"},
		"no HTTP":          {func(c net.Conn) { _, _ = io.WriteString(c, "220 ready\r\n\r\n") }, "malformed HTTP"},
		"nothing":          {func(c net.Conn) {}, "EOF"},
		"an endless line": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			_, _ = io.Copy(c, io.LimitReader(forever{}, endless))
		}, "too long"},
		"endless lines": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			lines := strings.Repeat("X: y\r\n", 10_000)
			for sent := 0; sent < endless; sent += len(lines) {
				if _, err := io.WriteString(c, lines); err != nil {
					return
				}
			}
		}, ""},
	} {
		for _, who := range []string{"gateway", "proxy"} {
			t.Run(who+", "+name, func(t *testing.T) {
				addr := listen(t, func(conn net.Conn) {
					defer conn.Close()
					if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
						c.answer(conn)
					}
				})
				cfg := nls.Config{AppKey: "key", Token: "token", URL: "ws://" + addr}
				if who == "proxy" {
					cfg.URL, cfg.Proxy = "ws://gateway.example", http.ProxyURL(&url.URL{Scheme: "http", Host: addr})
				}
				rec := newClient(t, cfg).NewRecognizer(nls.RecognizerHandlers{})
				var err error
				peak := peakHeap(func() { err = rec.Start(t.Context(), nls.RecognitionParams{}) })
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Start = %v", err)
				}
				checkHeap(t, peak, 8*mib)
			})
		}
	}
}

// forever is a reader of the same byte.
type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// An extension that was not offered ends the handshake, however much its messages
// would unfold to.
func TestCompressionThatWasNotOfferedIsRefused(t *testing.T) {
	var zipped strings.Builder
	z, _ := flate.NewWriter(&zipped, flate.BestSpeed)
	_, _ = io.Copy(z, io.LimitReader(forever{}, 64*mib))
	_ = z.Flush()
	bomb := wsframe.Append(nil, wsframe.Fin|wsframe.Reserved|wsframe.Binary, []byte(zipped.String()))
	addr := listen(t, func(conn net.Conn) {
		defer conn.Close()
		r, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		accept := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"+
			"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n",
			base64.StdEncoding.EncodeToString(accept[:]))
		_, _ = conn.Write(bomb)
	})
	rec := newClient(t, nls.Config{AppKey: "key", Token: "token", URL: "ws://" + addr}).NewRecognizer(nls.RecognizerHandlers{})
	var err error
	peak := peakHeap(func() { err = rec.Start(t.Context(), nls.RecognitionParams{}) })
	if e, ok := errors.AsType[*nls.HandshakeError](err); !ok || e.HTTPStatus != 101 || nls.Retryable(err) || !strings.Contains(e.Error(), "extension") {
		t.Errorf("Start = %v", err)
	}
	checkHeap(t, peak, 8*mib)
}
