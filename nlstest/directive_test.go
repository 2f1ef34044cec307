package nlstest

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"
)

// Whatever a client sends, a connection answers with events that clients can
// read, or ends. seeds covers what the tables of the other tests do not combine.
func FuzzDirective(f *testing.F) {
	id := strings.Repeat("a", 32)
	header := `{"header":{"appkey":"nlstest-appkey","message_id":"` + id + `","task_id":"` + id + `","namespace":"%","name":"%"},"payload":`
	fill := func(space, name string) string {
		return strings.Replace(strings.Replace(header, "%", space, 1), "%", name, 1)
	}
	for _, seed := range []string{
		``, `{}`, `{"header":{}}`, `[{}]`, "\xff",
		fill("SpeechTranscriber", "StartTranscription") + `{"format":"wav","sample_rate":8000,"max_sentence_silence":500}}`,
		fill("SpeechTranscriber", "ControlTranscriber") + `{"max_sentence_silence":-1e99}}`,
		fill("SpeechRecognizer", "StartRecognition") + `{"enable_voice_detection":true,"max_end_silence":200}}`,
		fill("SpeechSynthesizer", "StartSynthesis") + `{"text":"<speak>\ud800</speak>","volume":0}}`,
		fill("SpeechLongSynthesizer", "StartSynthesis") + `{"text":"x","voice":"siqi","enable_subtitle":true,"format":"wav"}}`,
		fill("FlowingSpeechSynthesizer", "StartSynthesis") + `{}}`,
		fill("SpeechSynthesizer", "StartSynthesis") + `{"text":"<speak voice='zhimi_emo'><emotion category='hate'>x</emotion></speak>"}}`,
		fill("FlowingSpeechSynthesizer", "RunSynthesis") + `{"text":"好。"}}`,
		fill("FlowingSpeechSynthesizer", "StopSynthesis") + `null}`,
	} {
		f.Add(seed, []byte("RIFF"))
	}
	s := NewServer(Options{Pipe: true, Engine: fakeEngine{}})
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, text string, audio []byte) {
		d, failed := parseDirective([]byte(text))
		if failed == nil && (!wire.ValidID(d.taskID) || d.appKey == "") {
			t.Errorf("%q was taken", text)
		}
		if failed != nil && (failed.status < 40000000 || !utf8.ValidString(failed.text) || len(failed.text) > 1000) {
			t.Errorf("%q failed with %v", text, failed)
		}

		c := rawDial(t, s, "", "")
		c.SetDeadline(time.Now().Add(10 * time.Second))
		c.send(wsframe.Fin|wsframe.Text, []byte(text))
		c.send(wsframe.Fin|wsframe.Binary, audio)
		c.send(wsframe.Fin|wsframe.Text, []byte(text))
		c.send(wsframe.Fin|wsframe.Close, nil)
		for {
			what, err := c.frame()
			if err != nil {
				return
			}
			if what == "half a frame" || strings.Contains(what, `"`) || strings.HasPrefix(what, "ping") {
				t.Fatalf("%q is answered with %s", text, what)
			}
			if strings.HasPrefix(what, "close") {
				return
			}
		}
	})
}
