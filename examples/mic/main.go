// Command mic transcribes 16 kHz PCM from standard input for as long as it comes:
//
//	arecord -q -f S16_LE -r 16000 -c 1 -t raw | go run ./examples/mic
//
// The service ends a session that gets no audio for ten seconds. So while the
// source is silent, as a muted microphone is, silence is sent in its place.
package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

const (
	tick      = 100 * time.Millisecond
	chunkSize = 2 * nls.DefaultSampleRate / 10 // bytes in a tick
	patience  = 5 * tick                       // a source this late is muted
)

func main() { cli.Main(cli.Live, transcribe) }

func transcribe(ctx context.Context, s *cli.Session) error {
	var text strings.Builder
	tr := s.Client.NewTranscriber(nls.TranscriberHandlers{
		OnResultChanged: func(e *nls.Sentence) { s.Log.Printf("%d: %s ...", e.Index, e.Text) },
		OnSentenceEnd: func(e *nls.Sentence) {
			s.Log.Printf("%d: %s", e.Index, e.Text)
			text.WriteString(e.Text)
		},
	})
	if err := tr.Start(ctx, nls.TranscriptionParams{EnableIntermediateResult: true}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, tr.Shutdown)()

	if err := send(tr, read(os.Stdin)); err != nil {
		tr.Shutdown()
		return err
	}
	if err := tr.Stop(ctx); err != nil {
		return err
	}
	s.Result(text.String())
	return nil
}

// source is audio that comes when it likes.
type source struct {
	chunks chan []byte
	err    error // why chunks was closed; nil at EOF
}

// read reads r from a goroutine of its own, since nothing can interrupt a Read.
func read(r io.Reader) *source {
	src := &source{chunks: make(chan []byte)}
	go func() {
		defer close(src.chunks)
		for {
			buf := make([]byte, chunkSize)
			n, err := 0, error(nil)
			for n < len(buf) && err == nil { // as io.ReadFull, but for what it makes of an EOF
				var more int
				more, err = r.Read(buf[n:])
				n += more
			}
			if n &^= 1; n > 0 { // whole samples
				src.chunks <- buf[:n]
			}
			if err != nil {
				if err != io.EOF {
					src.err = err
				}
				return
			}
		}
	}()
	return src
}

// send sends what comes, and silence while nothing does, until the end.
func send(tr *nls.Transcriber, src *source) error {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	silence := make([]byte, chunkSize)
	heard := time.Now()
	for {
		audio := silence
		select {
		case chunk, ok := <-src.chunks:
			if !ok {
				return src.err
			}
			audio, heard = chunk, time.Now()
		case <-clock.C:
			if time.Since(heard) < patience {
				continue
			}
		}
		if tr.SendAudio(audio) != nil {
			return nil // Stop has the reason
		}
	}
}
