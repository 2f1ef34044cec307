package nlstest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// get sends an HTTP request as it is and returns the answer.
func get(t *testing.T, s *Server, request string) (*http.Response, string) {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// upgrade is a handshake request with more header lines.
func upgrade(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

const anyKey = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

func TestHandshakeRefusals(t *testing.T) {
	s := start(t, Options{Tokens: map[string]string{"good": "1"}})
	const notFound = `{"task_id":"00000000000000000000000000000000","result":"","status":40000003,"message":"Gateway:PARAMETER_INVALID:appkey not set"}`
	for _, c := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"unknown token", upgrade("/ws/v1", anyKey, "X-NLS-Token: 12345ffdsfdfvdfcdfcdc"), 403, "Meta:ACCESS_DENIED:The token '12345ffdsfdfvdfcdfcdc' is invalid!"},
		{"empty token", upgrade("/ws/v1", anyKey, "X-NLS-Token:"), 403, "Meta:ACCESS_DENIED:The token '' is invalid!"},
		{"empty token in the query", upgrade("/ws/v1?token=", anyKey), 403, "Meta:ACCESS_DENIED:The token '' is invalid!"},
		{"bad token in the query, good one in the header", upgrade("/ws/v1?token=bad", anyKey, "X-NLS-Token: good"), 403, "Meta:ACCESS_DENIED:The token 'bad' is invalid!"},
		{"no token", upgrade("/ws/v1", anyKey), 403, "Gateway:ACCESS_DENIED:Missing authorization header!"},
		{"wrong path", upgrade("/ws/v2", anyKey, "X-NLS-Token: good"), 400, notFound},
		{"no upgrade", "GET /ws/v1 HTTP/1.1\r\nHost: localhost\r\nX-NLS-Token: good\r\n\r\n", 400, notFound},
		{"no key", upgrade("/ws/v1", "X-NLS-Token: good"), 400, notFound},
		{"unknown fault", upgrade("/ws/v1?fault=explode@handshake", anyKey, "X-NLS-Token: good"), 400, `nlstest: fault "explode@handshake": unknown action`},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := get(t, s, c.request)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, body, c.status, c.body)
			}
			if got := resp.Header.Get("Server"); got != "Tengine" {
				t.Errorf("Server: %q", got)
			}
			want := "text/plain"
			if strings.HasPrefix(c.body, "{") {
				want = "application/json"
			}
			if got := resp.Header.Get("Content-Type"); got != want || resp.ContentLength != int64(len(c.body)) {
				t.Errorf("Content-Type %q, Content-Length %d", got, resp.ContentLength)
			}
		})
	}
	if n := s.Stats().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestHandshakesOfOfficialClientsAreAccepted(t *testing.T) {
	s := start(t, Options{Tokens: map[string]string{"good": "1"}})
	for name, request := range map[string]string{
		"token in the header": upgrade("/ws/v1", anyKey, "X-NLS-Token: good"),
		"token in the query":  upgrade("/ws/v1?token=good", anyKey, "Origin: https://example.com"),
		"Python, two keys":    upgrade("/ws/v1", anyKey, "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==", "Sec-WebSocket-Version: 13", "X-NLS-Token: good"),
		"C++, lower case":     upgrade("/ws/v1", "sec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==", "x-nls-token: good"),
		"Java, compression":   upgrade("/ws/v1", anyKey, "Sec-WebSocket-Extensions: permessage-deflate", "X-NLS-Token: good"),
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := get(t, s, request)
			if resp.StatusCode != 101 || resp.Header.Get("Server") != "Tengine" {
				t.Fatalf("got %d %s, Server: %q", resp.StatusCode, body, resp.Header.Get("Server"))
			}
			if e := resp.Header.Get("Sec-WebSocket-Extensions"); e != "" {
				t.Errorf("extension %s", e)
			}
			if strings.Contains(request, "dGhlIHNhbXBsZSBub25jZQ==") && resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("accept %q", resp.Header.Get("Sec-WebSocket-Accept"))
			}
		})
	}
}

func TestRefusalIsByteForByteTheOneOfTheService(t *testing.T) {
	s := start(t, Options{})
	resp, body := get(t, s, upgrade("/ws/v1", anyKey, "X-NLS-Token: 12345ffdsfdfvdfcdfcdc"))
	if got := fmt.Sprint(resp.Status, " ", resp.ContentLength, " ", len(body)); got != "403 Forbidden 64 64" {
		t.Errorf("got %s", got)
	}
}
