//go:build unix

package bench

import (
	"context"
	"io"

	official "github.com/aliyun/alibabacloud-nls-go-sdk"
	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
)

// session is an open transcription.
type session struct {
	send  func([]byte) error
	close func()
}

// clients are what is compared. Each returns a function that opens sessions, on
// any goroutine, and panics if it cannot.
var clients = map[string]func(peer) func() session{
	floor:  newGorilla,
	ours:   newNLS,
	theirs: newOfficial,
}

func newNLS(p peer) func() session {
	c, err := nls.NewClient(p.config())
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
func newGorilla(p peer) func() session {
	d := gorillaDialer()
	return func() session {
		c, err := startByHand(d, p)
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				if _, _, err := c.ReadMessage(); err != nil {
					return
				}
			}
		}()
		return session{
			func(b []byte) error { return c.WriteMessage(websocket.BinaryMessage, b) },
			func() { c.Close() },
		}
	}
}

// newOfficial is the official Go SDK. The channel that its Start returns misses
// fast answers, so the callback counts.
func newOfficial(p peer) func() session {
	cfg := official.NewConnectionConfigWithToken(p.URL, p.AppKey, p.Token)
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
