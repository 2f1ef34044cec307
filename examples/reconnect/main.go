// Command reconnect transcribes a long recording over a bad network. The service
// cannot resume a task, so after a failure that may pass a new task starts where
// the last finished sentence ended: nothing is lost, and times stay those of the
// recording.
//
//	go run ./examples/reconnect -file testdata/test1.wav
package main

import (
	"context"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/examples/internal/cli"
)

const firstWait, longestWait = 500 * time.Millisecond, time.Minute

func main() { cli.Main(cli.Recording, transcribe) }

func transcribe(ctx context.Context, s *cli.Session) error {
	for range s.Repeat {
		text, err := transcribeAll(ctx, s)
		if err != nil {
			return err
		}
		s.Result(text)
	}
	return nil
}

func transcribeAll(ctx context.Context, s *cli.Session) (string, error) {
	var text strings.Builder
	var done time.Duration // what comes before this time is transcribed
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		offset, failure := done, error(nil)
		params := nls.TranscriptionParams{SampleRate: s.SampleRate}
		for sentence, err := range s.Client.Transcribe(ctx, s.AudioFrom(offset), params, s.Pace) {
			if err != nil {
				failure = err
				break
			}
			s.Log.Printf("%v to %v: %q", offset+sentence.Begin, offset+sentence.Time, sentence.Text)
			text.WriteString(sentence.Text)
			done = offset + sentence.Time
			wait = firstWait
		}
		if failure == nil {
			return text.String(), nil
		}
		if !nls.Retryable(failure) {
			return "", failure
		}
		s.Log.Printf("%v; again from %v in %v", failure, done, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
