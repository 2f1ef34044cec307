package bench

import (
	"context"
	"io"
	"net/http"
	"sync"

	official "github.com/aliyun/alibabacloud-nls-go-sdk"
	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
)

// gateway is how to reach a gateway: the first line that nlsgateway prints.
type gateway struct{ URL, AppKey, Token string }

// session is an open transcription.
type session struct {
	send  func([]byte) error
	close func()
}

// clients are what is compared. Each returns a function that opens sessions, on
// any goroutine, and panics if it cannot.
var clients = map[string]func(gateway) func() session{
	"gorilla":  newGorilla,
	"nls":      newNLS,
	"official": newOfficial,
}

func newNLS(g gateway) func() session {
	c, err := nls.NewClient(nls.Config{URL: g.URL, AppKey: g.AppKey, Token: g.Token})
	if err != nil {
		panic(err)
	}
	return func() session {
		tr := c.NewTranscriber(nls.TranscriberHandlers{OnSentenceEnd: func(*nls.Sentence) {}})
		if err := tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
			panic(err)
		}
		return session{tr.SendAudio, tr.Shutdown}
	}
}

// newGorilla is a bare connection with a goroutine that reads it.
func newGorilla(g gateway) func() session {
	d := websocket.Dialer{WriteBufferSize: 16 << 10, WriteBufferPool: new(sync.Pool)}
	return func() session {
		conn, _, err := d.Dial(g.URL, http.Header{"X-NLS-Token": {g.Token}})
		if err != nil {
			panic(err)
		}
		const id = "0123456789abcdef0123456789abcdef"
		start := `{"header":{"appkey":"` + g.AppKey + `","message_id":"` + id + `","task_id":"` + id +
			`","namespace":"SpeechTranscriber","name":"StartTranscription"},"payload":{"format":"pcm","sample_rate":16000}}`
		if err := conn.WriteMessage(websocket.TextMessage, []byte(start)); err != nil {
			panic(err)
		}
		if _, _, err := conn.ReadMessage(); err != nil {
			panic(err)
		}
		go func() {
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
			}
		}()
		return session{
			func(b []byte) error { return conn.WriteMessage(websocket.BinaryMessage, b) },
			func() { conn.Close() },
		}
	}
}

// newOfficial is the official Go SDK. The channel that its Start returns misses
// fast answers, so the callback counts.
func newOfficial(g gateway) func() session {
	cfg := official.NewConnectionConfigWithToken(g.URL, g.AppKey, g.Token)
	log := official.NewNlsLogger(io.Discard, "", 0)
	ignore := func(string, any) {}
	return func() session {
		started := make(chan struct{})
		tr, err := official.NewSpeechTranscription(cfg, log,
			func(text string, _ any) { panic(text) },
			func(string, any) { close(started) }, ignore, ignore, ignore, ignore, func(any) {}, nil)
		if err != nil {
			panic(err)
		}
		if _, err := tr.Start(official.DefaultSpeechTranscriptionParam(), nil); err != nil {
			panic(err)
		}
		<-started
		return session{tr.SendAudioData, tr.Shutdown}
	}
}
