package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/scratch"
	"github.com/nlsgo/nls/nlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(scratch.Tests{M: m}) }

// serve starts a gateway and a relay for so many pages. change, if not nil, is for
// the relay's Config.
func serve(t *testing.T, pages int, change func(*nls.Config)) (*nlstest.Server, *httptest.Server) {
	t.Helper()
	gateway := nlstest.NewServer(nlstest.Options{MaxSessions: -1, ReplyDelay: -1})
	t.Cleanup(gateway.Close)
	cfg := gateway.Config()
	if change != nil {
		change(&cfg)
	}
	client, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(client, pages)
	var running sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		running.Add(1)
		defer running.Done()
		r.handler().ServeHTTP(w, req)
	}))
	r.origins = []string{server.URL}
	t.Cleanup(func() { server.Close(); running.Wait() })
	return gateway, server
}

// browser is the connection of a page.
type browser struct{ *websocket.Conn }

func dial(url, origin string) (browser, error) {
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/captions", header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return browser{}, err
	}
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	return browser{ws}, nil
}

func open(t *testing.T, server *httptest.Server) browser {
	t.Helper()
	b, err := dial(server.URL, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// speak sends audio as a page does.
func (b browser) speak(pcm []byte) error {
	for chunk := range slices.Chunk(pcm, 3200) {
		if err := b.WriteMessage(websocket.BinaryMessage, chunk); err != nil {
			return err
		}
	}
	return nil
}

// until reads messages up to one that is wanted, and returns the text of all that
// were final.
func (b browser) until(wanted func(message) bool) (string, error) {
	var text strings.Builder
	for {
		var m message
		if err := b.ReadJSON(&m); err != nil {
			return text.String(), err
		}
		if m.Final {
			text.WriteString(m.Text)
		}
		if wanted(m) {
			return text.String(), nil
		}
	}
}

func state(name string) func(message) bool { return func(m message) bool { return m.State == name } }

// say is a text as the voice of the gateway says it.
func say(t *testing.T, gateway *nlstest.Server, text string) []byte {
	t.Helper()
	client, err := nls.NewClient(gateway.Config())
	if err != nil {
		t.Fatal(err)
	}
	var pcm bytes.Buffer
	if err := client.Synthesize(t.Context(), &pcm, nls.SynthesisParams{Text: text, SpeechRate: 500}); err != nil {
		t.Fatal(err)
	}
	return pcm.Bytes()
}

func TestManyPagesAtOnceHaveTheirOwnCaptions(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	pages := effort.Times(100, 30)
	gateway, server := serve(t, pages, nil)
	texts, audio := make([]string, pages), make([][]byte, pages)
	for i := range pages {
		texts[i] = fmt.Sprintf("第%d页。Page %d.", i, i)
		audio[i] = say(t, gateway, texts[i])
	}
	var running sync.WaitGroup
	together := make(chan struct{})
	var listening sync.WaitGroup
	listening.Add(pages)
	for i := range pages {
		running.Go(func() {
			b, err := dial(server.URL, server.URL)
			if err == nil {
				defer b.Close()
				_, err = b.until(state("listening"))
			}
			listening.Done()
			if err != nil {
				t.Error(err)
				return
			}
			<-together
			if err := b.speak(audio[i]); err != nil {
				t.Error(err)
			}
			b.WriteMessage(websocket.TextMessage, []byte("stop"))
			if text, err := b.until(state("done")); err != nil || text != texts[i] {
				t.Errorf("page %d reads %q, %v; want %q", i, text, err, texts[i])
			}
			if _, _, err := b.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				t.Errorf("page %d: %v after the end", i, err)
			}
		})
	}
	listening.Wait()
	if n := gateway.Stats().Concurrent; n != pages {
		t.Errorf("%d sessions at once, want %d", n, pages)
	}
	close(together)
	running.Wait()
}

func TestCaptionsGoOnWhereTheGatewayBrokeOff(t *testing.T) {
	effort.Thorough(t)
	t.Parallel()
	gateway, server := serve(t, 1, nil)
	var text string
	var audio []byte
	for _, sentence := range []string{"一。", "第二句话很长。", "3."} {
		text += sentence
		audio = append(append(audio, say(t, gateway, sentence)...), make([]byte, 28000)...) // and a pause, which ends a sentence
	}
	b := open(t, server)
	half := len(audio) / 5 * 2 // in the second
	if err := b.speak(audio[:half]); err != nil {
		t.Fatal(err)
	}
	first, err := b.until(func(m message) bool { return m.Index == 2 && !m.Final && m.Text != "" })
	if err != nil {
		t.Fatal(err)
	}
	gateway.CloseClientConnections()
	if err := b.speak(audio[half:]); err != nil {
		t.Fatal(err)
	}
	broken, err := b.until(state("interrupted"))
	if err != nil {
		t.Fatal(err)
	}
	b.WriteMessage(websocket.TextMessage, []byte("stop"))
	rest, err := b.until(state("done"))
	if got := first + broken + rest; err != nil || got != text {
		t.Errorf("the page reads %q, %v; want %q", got, err, text)
	}
}

func TestOnlyTheRelaysOwnPageMayConnect(t *testing.T) {
	_, server := serve(t, 1, nil)
	for _, origin := range []string{"", "null", "http://evil.example", "https" + strings.TrimPrefix(server.URL, "http"), server.URL + ".evil.example"} {
		if b, err := dial(server.URL, origin); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("origin %q: %v, want 403", origin, err)
			if err == nil {
				b.Close()
			}
		}
	}
}

func TestAPageTooManyIsToldSo(t *testing.T) {
	_, server := serve(t, 1, nil)
	b := open(t, server)
	if _, err := b.until(state("listening")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, server).until(state("busy")); err != nil {
		t.Fatal(err)
	}
	b.Close() // as the page does when it is left
	for free := false; !free; {
		another := open(t, server)
		_, err := another.until(func(m message) bool { free = m.State == "listening"; return m.State != "" })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMessageThatIsTooLongEndsThePage(t *testing.T) {
	_, server := serve(t, 1, nil)
	b := open(t, server)
	b.WriteMessage(websocket.BinaryMessage, make([]byte, maxMessage+1))
	if _, err := b.until(state("done")); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("got %v", err)
	}
}

func TestAPageIsToldOfAFailureButNotWhatOnlyTheLogSays(t *testing.T) {
	_, server := serve(t, 1, func(cfg *nls.Config) { cfg.AppKey = "unknown-app-key" })
	b := open(t, server)
	for {
		_, data, err := b.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "failed") {
			if want := `{"state":"failed","code":40020105}`; strings.TrimSpace(string(data)) != want {
				t.Errorf("got %s, want %s", data, want)
			}
			return
		}
	}
}

func TestThePageIsThere(t *testing.T) {
	_, server := serve(t, 1, nil)
	for path, kind := range map[string]string{"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript", "/worklet.js": "text/javascript"} {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || len(body) == 0 || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) ||
			!strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestTheRelayPrintsItsAddressAndEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, stdout := io.Pipe()
	ended := make(chan error)
	go func() { ended <- run(ctx, stdout, nls.Config{}, "127.0.0.1:0", "", 1) }()
	var url string
	if _, err := fmt.Fscanln(r, &url); err != nil {
		t.Fatal(err)
	}
	for _, origin := range []string{strings.TrimSuffix(url, "/"), strings.TrimSuffix(strings.Replace(url, "127.0.0.1", "localhost", 1), "/")} {
		b, err := dial(strings.TrimSuffix(url, "/"), origin)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.until(state("listening")); err != nil {
			break // the second is one too many
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
