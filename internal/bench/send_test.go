package bench

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// newSink is a service that answers a Start and reads whatever follows, without
// looking at it.
func newSink(b *testing.B) gateway {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
		started := `{"header":{"namespace":"SpeechTranscriber","name":"TranscriptionStarted","status":20000000}}`
		if err := conn.WriteMessage(websocket.TextMessage, []byte(started)); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn.NetConn())
	}))
	b.Cleanup(server.Close)
	return gateway{URL: "ws" + strings.TrimPrefix(server.URL, "http"), AppKey: "key", Token: "token"}
}

// BenchmarkSendAudio is what a chunk of audio costs the sender, system call
// included: 20, 100 and 200 ms at 16 kHz, and two seconds.
func BenchmarkSendAudio(b *testing.B) {
	for _, size := range []int{640, 3200, 6400, 64000} {
		for _, name := range slices.Sorted(maps.Keys(clients)) {
			b.Run(fmt.Sprintf("client=%s/size=%d", name, size), func(b *testing.B) {
				s := clients[name](newSink(b))()
				defer s.close()
				chunk := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := s.send(chunk); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
