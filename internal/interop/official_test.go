package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/nlsgo/nls"
)

// The texts that are spoken. The long one is longer than the 300 characters that
// SpeechSynthesizer speaks.
var (
	shortText = `你好，世界 🎙 & <b>Go</b> "quoted" C:\n`
	longText  = strings.Repeat("今天下午有雨，记得带伞。The meeting starts at 9:30. 很好👍！", 8) + "再见。"
)

// everyOfficial runs f for each official SDK, all at once.
func everyOfficial(t *testing.T, f func(t *testing.T, i int)) {
	for i, sdk := range official {
		t.Run(sdk.name, func(t *testing.T) {
			t.Parallel()
			f(t, i)
		})
	}
}

// wantOrder checks the order of what a client reports, but for the end of its
// connection, about which the SDKs differ.
func wantOrder(t *testing.T, reports []report, want string) {
	t.Helper()
	got := strings.TrimSuffix(order(reports), " closed")
	if got != want {
		t.Fatalf("the client reports %q, want %q\n%v", got, want, reports)
	}
}

func TestOfficialRecognition(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "recognition", "exact text")
		reports := runClient(t, i, job{Product: "recognition", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Audio: testPCM})
		wantOrder(t, reports, "started changed completed")
		if got := named(reports, "completed")[0].event(t).Payload; got.Result != testText || got.Duration == 0 {
			t.Errorf("recognised %q, %d ms", got.Result, got.Duration)
		}
		grown, takenBack := 0, 0
		for _, r := range named(reports, "changed") {
			if strings.HasPrefix(testText, r.event(t).Payload.Result) {
				grown++
			} else {
				takenBack++
			}
		}
		if takenBack == 0 || grown < 2*takenBack {
			t.Errorf("%d partial results are of the text, %d are taken back", grown, takenBack)
		}
	})
}

func TestOfficialTranscription(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "transcription", "exact text, words")
		reports := runClient(t, i, job{
			Product: "transcription", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Audio: testPCM,
			Params: map[string]any{"enable_words": true},
		})
		if got := order(reports); !strings.HasPrefix(got, "started begin changed end") || !strings.HasSuffix(strings.TrimSuffix(got, " closed"), "end completed") {
			t.Errorf("the client reports %q", got)
		}
		if got := sentences(t, reports); strings.Join(got, "") != testText {
			t.Errorf("transcribed %q", got)
		}
		for _, r := range named(reports, "end") {
			if e := r.event(t); len(e.Payload.Words) == 0 {
				t.Errorf("no words: %s", r.Message)
			}
		}
	})
}

// sentences are the texts of the SentenceEnd events, whose index must count from 1.
func sentences(t *testing.T, reports []report) (texts []string) {
	t.Helper()
	for i, r := range named(reports, "end") {
		e := r.event(t)
		if e.Payload.Index != i+1 {
			t.Errorf("sentence %d has index %d", i+1, e.Payload.Index)
		}
		texts = append(texts, e.Payload.Result)
	}
	return texts
}

// Speech with long pauses is one sentence, unless control says in the middle of it
// that shorter pauses end sentences.
func TestOfficialControlTakesEffect(t *testing.T) {
	wav, err := os.Open("../../testdata/speech-espeak.wav")
	if err != nil {
		t.Fatal(err)
	}
	defer wav.Close()
	speech := tempFile(t, "speech.pcm")
	var pcm bytes.Buffer
	if _, err := nls.ReadWAVHeader(wav); err != nil {
		t.Fatal(err)
	}
	if _, err := pcm.ReadFrom(wav); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(speech, pcm.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "transcription, control", "pauses end sentences from there on")
		j := job{
			Product: "transcription", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Audio: speech,
			Params: map[string]any{"max_sentence_silence": 6000},
		}
		if got := sentences(t, runClient(t, i, j)); len(got) != 1 {
			t.Errorf("without control: %q", got)
		}
		j.Control = map[string]any{"max_sentence_silence": 500}
		reports := runClient(t, i, j)
		if got := sentences(t, reports); len(got) < 2 {
			t.Errorf("with control: %q", got)
		}
		if len(named(reports, "completed")) != 1 {
			t.Errorf("with control: %v", reports)
		}
	})
}

func TestOfficialSynthesis(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		other := (i + 1) % len(official)
		results.record(t, official[i].name, "synthesis", "exact text, read by "+official[other].name+" and ours")
		wav := tempFile(t, "out.wav")
		reports := runClient(t, i, job{Product: "synthesis", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Text: shortText, Out: wav})
		wantOrder(t, reports, "completed")

		reports = runClient(t, other, job{
			Product: "recognition", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Audio: wav,
			Params: map[string]any{"format": "wav"},
		})
		wantOrder(t, reports, "started changed completed")
		if got := named(reports, "completed")[0].event(t).Payload.Result; got != shortText {
			t.Errorf("%s reads %q", official[other].name, got)
		}
		f, err := os.Open(wav)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := g.client(t, p.URL).Recognize(t.Context(), f, nls.RecognitionParams{Format: nls.FormatWAV, EnablePunctuationPrediction: true}, nls.PumpOptions{Speed: -1})
		if err != nil || r.Text != shortText {
			t.Errorf("our SDK reads %v, %v", r, err)
		}
	})
}

func TestOfficialLongSynthesisWithSubtitles(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "long synthesis, subtitles", fmt.Sprintf("exact text of %d characters", len([]rune(longText))))
		pcm := tempFile(t, "out.pcm")
		reports := runClient(t, i, job{
			Product: "long", URL: p.URL, Token: g.Token, AppKey: g.AppKey, Text: longText, Out: pcm,
			Params: map[string]any{"voice": "siqi", "enable_subtitle": true, "format": "pcm"},
		})
		wantOrder(t, reports, "meta completed")
		audio, err := os.ReadFile(pcm)
		if err != nil {
			t.Fatal(err)
		}

		// Units say where they stand in the text, and only what is not pronounced
		// stands between them.
		characters := []rune(longText)
		silent := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
		index, at := 0, 0
		for _, r := range named(reports, "meta") {
			for _, u := range r.event(t).Payload.Subtitles {
				if u.Sentence || u.BeginIndex < index {
					continue // each message repeats those before
				}
				if u.BeginTime < at || u.EndTime <= u.BeginTime || u.EndIndex > len(characters) ||
					u.Text != string(characters[u.BeginIndex:u.EndIndex]) ||
					slices.IndexFunc(characters[index:u.BeginIndex], func(r rune) bool { return !silent(r) }) >= 0 {
					t.Fatalf("unit %+v after index %d and %d ms", u, index, at)
				}
				index, at = u.EndIndex, u.EndTime
			}
		}
		if rest := strings.TrimFunc(string(characters[index:]), silent); rest != "" {
			t.Errorf("no subtitles for %q", rest)
		}
		if length := len(audio) / 32; at > length || at < length*9/10 {
			t.Errorf("the subtitles end at %d ms, the audio at %d ms", at, length)
		}

		var text strings.Builder
		for s, err := range g.client(t, p.URL).Transcribe(t.Context(), bytes.NewReader(audio), nls.TranscriptionParams{EnablePunctuationPrediction: true, EnableInverseTextNormalization: true}, nls.PumpOptions{Speed: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(s.Text)
		}
		if text.String() != longText {
			t.Errorf("our SDK reads %q", text.String())
		}
	})
}

// jobs is one job for each product.
func jobs(t *testing.T, url, token, appKey string) []job {
	return []job{
		{Product: "recognition", URL: url, Token: token, AppKey: appKey, Audio: testPCM},
		{Product: "transcription", URL: url, Token: token, AppKey: appKey, Audio: testPCM},
		{Product: "synthesis", URL: url, Token: token, AppKey: appKey, Text: "a", Out: tempFile(t, "out")},
		{Product: "long", URL: url, Token: token, AppKey: appKey, Text: "a", Out: tempFile(t, "out")},
	}
}

func TestOfficialRefusedToken(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "refused token", "refused at the handshake")
		want := []string{"websocket: bad handshake", "Unexpected server response: 403"}[i]
		for _, j := range jobs(t, p.URL, "wrong", g.AppKey) {
			reports := runClient(t, i, j)
			if got := named(reports, "error"); len(got) != 1 || !strings.HasSuffix(got[0].Message, want) {
				t.Errorf("%s: %v", j.Product, reports)
			}
			if got := strings.TrimPrefix(order(reports), "closed "); got != "error" {
				t.Errorf("%s: the client reports %q", j.Product, got)
			}
		}
	})
}

// wantFailed checks that a client was told of one failure, and of nothing else.
func wantFailed(t *testing.T, reports []report, status int, text string) {
	t.Helper()
	wantOrder(t, reports, "failed")
	e := named(reports, "failed")[0].event(t)
	if h := e.Header; h.Namespace != "Default" || h.Name != "TaskFailed" || h.Status != status || h.StatusText != text {
		t.Errorf("got %+v", h)
	}
}

func TestOfficialUnknownAppKey(t *testing.T) {
	g := startGateway(t)
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "unknown appkey", "40020105")
		for _, j := range jobs(t, p.URL, g.Token, "unknown") {
			wantFailed(t, runClient(t, i, j), nls.StatusAppKeyNotExist, "Meta:APPKEY_NOT_EXIST:Appkey not exist!")
		}
	})
}

func TestOfficialTooManySessions(t *testing.T) {
	everyOfficial(t, func(t *testing.T, i int) {
		g := startGateway(t, "-max-sessions", "1")
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "too many sessions", "40000005, then served")
		client := g.client(t, p.URL)
		one, two := client.NewRecognizer(nls.RecognizerHandlers{}), client.NewTranscriber(nls.TranscriberHandlers{})
		if err := errors.Join(one.Start(t.Context(), nls.RecognitionParams{}), two.Start(t.Context(), nls.TranscriptionParams{})); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		sent := make(chan struct{})
		go func() { // the service gives up a session without audio
			defer close(sent)
			for {
				one.SendAudio(make([]byte, 3200))
				two.SendAudio(make([]byte, 3200))
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
			}
		}()
		listening := jobs(t, p.URL, g.Token, g.AppKey)[:2] // each product has a quota of its own
		for _, j := range listening {
			wantFailed(t, runClient(t, i, j), nls.StatusTooManyRequests, "Gateway:TOO_MANY_REQUESTS:Too many requests!")
		}
		close(stop)
		<-sent
		if err := errors.Join(one.Stop(t.Context()), two.Stop(t.Context())); err != nil {
			t.Errorf("the sessions that were there first: %v", err)
		}
		for _, j := range listening {
			if reports := runClient(t, i, j); len(named(reports, "completed")) != 1 {
				t.Errorf("after it: %v", reports)
			}
		}
	})
}

func TestOfficialTrial(t *testing.T) {
	g := startGateway(t, "-trial")
	everyOfficial(t, func(t *testing.T, i int) {
		p := newTap(t, g.URL)
		results.record(t, official[i].name, "trial", "40000010 for long synthesis")
		long := jobs(t, p.URL, g.Token, g.AppKey)[3]
		wantFailed(t, runClient(t, i, long), nls.StatusTrialExpired, "Gateway:FREE_TRIAL_EXPIRED:The free trial has expired!")
	})
}

func TestOfficialOverTLS(t *testing.T) {
	g := startGateway(t, "-tls")
	everyOfficial(t, func(t *testing.T, i int) {
		results.record(t, official[i].name, "recognition over TLS", "exact text; refused without the authority")
		j := job{Product: "recognition", URL: g.URL, Token: g.Token, AppKey: g.AppKey, Audio: testPCM}
		reports := runClient(t, i, j, official[i].env+"="+g.CAFile)
		wantOrder(t, reports, "started changed completed")
		if got := named(reports, "completed")[0].event(t).Payload.Result; got != testText {
			t.Errorf("recognised %q", got)
		}
		if reports := runClient(t, i, j); len(named(reports, "error")) != 1 {
			t.Errorf("without the authority: %v", reports)
		}
	})
}
