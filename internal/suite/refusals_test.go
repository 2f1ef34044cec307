package suite

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// What would fail in production fails against a gateway without any Options, with
// the service's own words.
func TestProgramsThatTheServiceRefusesFailHere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run    func(t *testing.T, client *nls.Client) error
		status int
		text   string
	}{
		"audio before Started": {func(t *testing.T, client *nls.Client) error {
			p := client.NewCommonProto("SpeechTranscriber", nls.CommonHandlers{})
			if err := p.Start(t.Context(), "StartTranscription", nls.CommonParams{Payload: map[string]any{"format": "pcm"}}); err != nil {
				return err
			}
			_ = p.SendBinary(make([]byte, 3200)) // Wait says how it went
			return p.Wait(t.Context())
		}, nls.StatusMessageInvalid, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'"},
		"an eleventh streaming synthesis": {func(t *testing.T, client *nls.Client) error {
			for range 10 {
				tts := client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{})
				if err := tts.Start(t.Context(), nls.StreamSynthesisParams{}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(tts.Shutdown)
			}
			return client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{}).Start(t.Context(), nls.StreamSynthesisParams{})
		}, nls.StatusTooManyRequests, "Gateway:TOO_MANY_REQUESTS:Too many requests!"},
		"subtitles of xiaoyun": {func(t *testing.T, client *nls.Client) error {
			return client.NewSynthesizer(nls.SynthesizerHandlers{}).Start(t.Context(), nls.SynthesisParams{Text: "你好", EnableSubtitle: true})
		}, nls.StatusSynthesisClientError, "TTS:TtsClientError:[tts]Engine return error code: 425"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := nlstest.NewServer(nlstest.Options{Pipe: true})
				t.Cleanup(server.Close)
				e, ok := errors.AsType[*nls.TaskError](c.run(t, clientOf(t, server)))
				if !ok || e.Status != c.status || e.StatusText != c.text {
					t.Errorf("got %v, want %d %s", e, c.status, c.text)
				}
			})
		})
	}
}

// SendAudio cuts what it is given, so however much it is, nothing is swallowed.
func TestAWholeFileAtOnceIsHeard(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Engine: nlstest.Script("all of it")}, func(t *testing.T, server *nlstest.Server) {
		file := make([]byte, 2<<20)
		for i := 1 << 20; i < len(file); i++ {
			file[i] = byte(i * 37)
		}
		var text string
		r := clientOf(t, server).NewTranscriber(nls.TranscriberHandlers{OnSentenceEnd: func(s *nls.Sentence) { text = s.Text }})
		if err := r.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.SendAudio(file), r.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		if text != "all of it" {
			t.Errorf("heard %q", text)
		}
	})
}
