package nlstest

import (
	"testing"
	"testing/synctest"
)

// everywhere runs f with each way to connect: TCP, TLS, memory, and TLS in memory.
func everywhere(t *testing.T, f func(t *testing.T, opts Options)) {
	t.Run("tcp", func(t *testing.T) { f(t, Options{}) })
	t.Run("tls", func(t *testing.T) { f(t, Options{TLS: true}) })
	t.Run("pipe", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, Options{Pipe: true}) }) })
	t.Run("pipe+tls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, Options{Pipe: true, TLS: true}) })
	})
}

func TestTranscriptionRunsOverEveryTransport(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		s := start(t, opts)
		c := dial(t, s, "SpeechTranscriber", "")
		c.send("StartTranscription", `{"enable_intermediate_result":true}`)
		c.want("TranscriptionStarted")
		for range 60 {
			c.binary(make([]byte, 640))
		}
		c.send("StopTranscription", "")
		t.Log(names(c.until("TranscriptionCompleted")))
	})
}
