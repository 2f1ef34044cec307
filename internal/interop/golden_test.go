package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
)

// difference is one in what we and an official SDK send for the same parameters.
type difference struct {
	directive, field string
	sdk              string // Go, Node, or "" for both
	theirs, ours     string // type and value; "" for none
	reason           string
}

// differences are all that there are. One that is not here fails the test, and so
// does one here that does not show.
var differences = []difference{
	{"*", "context.sdk.name", "Go", `string nls-go-sdk`, `string nlsgo`, "the name of the SDK"},
	{"*", "context.sdk.name", "Node", `string nls-nodejs-sdk`, `string nlsgo`, "the name of the SDK"},
	{"*", "context.sdk.version", "Go", `string 0.0.1fix`, `string ` + nls.Version, "the version of the SDK"},
	{"*", "context.sdk.version", "Node", `string 0.0.1`, `string ` + nls.Version, "the version of the SDK"},
	{"*", "context.sdk.language", "Node", `string nodejs`, `string go`, "the language of the SDK"},
	{"StartTranscription", "payload.enable_words", "Go", `bool false`, "",
		"Go sends it always; false is the service's default (protocol §4.2), so we do as Python does and leave it out"},
	{"StartSynthesis", "payload.enable_subtitle", "", `bool false`, "",
		"both send it always; false is the service's default (protocol §5.2)"},
	{"ControlTranscriber", "header.name", "Node", `string ControlTranscription`, `string ControlTranscriber`,
		"C++, Go and Python say ControlTranscriber; the service takes both (protocol §4.3)"},
}

var hexID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// flatten lists the fields of a directive with their types and values. IDs are all
// the same.
func flatten(path string, v any, fields map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			fields[path] = "object"
		}
		for key, field := range v {
			flatten(strings.TrimPrefix(path+"."+key, "."), field, fields)
		}
	case []any:
		fields[path] = fmt.Sprint("array ", v)
	case string:
		if path == "header.message_id" || path == "header.task_id" {
			if !hexID.MatchString(v) {
				fields[path] = "string " + v
				return
			}
			v = "(32 hex digits)"
		}
		fields[path] = "string " + v
	case json.Number:
		fields[path] = "number " + v.String()
	case bool:
		fields[path] = fmt.Sprint("bool ", v)
	case nil:
		fields[path] = "null"
	}
}

// product is a session that both SDKs run, with the same parameters.
type product struct {
	name string
	job  job
	ours func(t *testing.T, c *nls.Client) // the same with our SDK
}

// listen sends audio to a session of ours that has started, and stops it.
func listen(t *testing.T, s nls.AudioSender, stop func() error, middle func() error) {
	t.Helper()
	pcm := readPCM(t)
	for len(pcm) > 0 {
		n := min(3200, len(pcm))
		if err := s.SendAudio(pcm[:n]); err != nil {
			t.Fatal(err)
		}
		if pcm = pcm[n:]; middle != nil {
			if err := middle(); err != nil {
				t.Fatal(err)
			}
			middle = nil
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func products(t *testing.T) []product {
	recognition := map[string]any{"vocabulary_id": "v1", "enable_voice_detection": false}
	transcription := map[string]any{"max_sentence_silence": 900, "customization_id": "c1"}
	control := map[string]any{"max_sentence_silence": 1200, "vocabulary_id": "v2"}
	voice := map[string]any{"voice": "siqi", "format": "pcm", "sample_rate": 8000, "volume": 70, "speech_rate": -100, "pitch_rate": 200}
	speak := func(long, subtitle bool) func(*testing.T, *nls.Client) {
		return func(t *testing.T, c *nls.Client) {
			if err := c.NewSynthesizer(nls.SynthesizerHandlers{}).Start(t.Context(), nls.SynthesisParams{
				Text: shortText, Voice: "siqi", SampleRate: 8000, Volume: new(70), SpeechRate: -100, PitchRate: 200, LongText: long, EnableSubtitle: subtitle,
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	withSubtitle := maps.Clone(voice)
	withSubtitle["enable_subtitle"] = true
	return []product{
		{"recognition", job{Product: "recognition", Audio: testPCM, Params: recognition}, func(t *testing.T, c *nls.Client) {
			r := c.NewRecognizer(nls.RecognizerHandlers{})
			if err := r.Start(t.Context(), nls.RecognitionParams{
				EnableIntermediateResult: true, EnablePunctuationPrediction: true, EnableInverseTextNormalization: true,
				VocabularyID: "v1", Extra: map[string]any{"enable_voice_detection": false},
			}); err != nil {
				t.Fatal(err)
			}
			listen(t, r, func() error { return r.Stop(t.Context()) }, nil)
		}},
		{"transcription", job{Product: "transcription", Audio: testPCM, Params: transcription, Control: control}, func(t *testing.T, c *nls.Client) {
			r := c.NewTranscriber(nls.TranscriberHandlers{})
			if err := r.Start(t.Context(), nls.TranscriptionParams{
				EnableIntermediateResult: true, EnablePunctuationPrediction: true, EnableInverseTextNormalization: true,
				MaxSentenceSilence: 900 * time.Millisecond, CustomizationID: "c1",
			}); err != nil {
				t.Fatal(err)
			}
			listen(t, r, func() error { return r.Stop(t.Context()) }, func() error { return r.Ctrl(control) })
		}},
		{"synthesis", job{Product: "synthesis", Text: shortText, Out: tempFile(t, "out"), Params: voice}, speak(false, false)},
		{"long synthesis", job{Product: "long", Text: shortText, Out: tempFile(t, "out"), Params: withSubtitle}, speak(true, true)},
	}
}

// sent runs f against a fresh tap of g and returns what it sent: its handshake, and
// its directives.
func sent(t *testing.T, g *gateway, f func(url string)) (*http.Request, []map[string]any) {
	t.Helper()
	p := newTap(t, g.URL)
	f(p.URL)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) != 1 {
		t.Fatalf("%d connections", len(p.conns))
	}
	return p.conns[0].directives(t)
}

// TestGoldenDirectives compares our directives with those of the official SDKs.
func TestGoldenDirectives(t *testing.T) {
	g := startGateway(t)
	shown := map[int]bool{}
	for _, p := range products(t) {
		t.Run(p.name, func(t *testing.T) {
			_, ours := sent(t, g, func(url string) { p.ours(t, g.client(t, url)) })
			for i, sdk := range official {
				t.Run(sdk.name, func(t *testing.T) {
					results.record(t, sdk.name, p.name+", golden frames", "ours are the same but for what is listed")
					j := p.job
					_, theirs := sent(t, g, func(url string) {
						j.URL, j.Token, j.AppKey = url, g.Token, g.AppKey
						if reports := runClient(t, i, j); len(named(reports, "completed")) != 1 {
							t.Errorf("%v", reports)
						}
					})
					if len(ours) != len(theirs) {
						t.Fatalf("we send %d directives, they send %d", len(ours), len(theirs))
					}
					for k := range ours {
						compare(t, strings.Fields(sdk.name)[0], ours[k], theirs[k], shown)
					}
				})
			}
		})
	}
	for i, d := range differences {
		if !shown[i] {
			t.Errorf("this difference does not show: %+v", d)
		}
	}
}

// compare compares two directives field by field.
func compare(t *testing.T, sdk string, ours, theirs map[string]any, shown map[int]bool) {
	t.Helper()
	our, their := map[string]string{}, map[string]string{}
	flatten("", ours, our)
	flatten("", theirs, their)
	name := strings.TrimPrefix(our["header.name"], "string ")
	fields := map[string]bool{}
	for field := range our {
		fields[field] = true
	}
	for field := range their {
		fields[field] = true
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if our[field] == their[field] {
			continue
		}
		i := slices.IndexFunc(differences, func(d difference) bool {
			return (d.directive == name || d.directive == "*") && d.field == field && (d.sdk == sdk || d.sdk == "") &&
				d.ours == our[field] && d.theirs == their[field]
		})
		if i < 0 {
			t.Errorf("%s %s: we send %q, %s sends %q", name, field, our[field], sdk, their[field])
			continue
		}
		shown[i] = true
	}
}

// A Stop with parameters, which only Node has, differs from ours by its payload,
// and the service takes both.
func TestGoldenStopWithPayload(t *testing.T) {
	g := startGateway(t)
	const node = 1
	results.record(t, official[node].name, "Stop with a payload", "taken")
	_, directives := sent(t, g, func(url string) {
		reports := runClient(t, node, job{
			Product: "transcription", URL: url, Token: g.Token, AppKey: g.AppKey, Audio: testPCM, Stop: map[string]any{"enable_words": true},
		})
		if got := strings.Join(sentences(t, reports), ""); got != testText {
			t.Errorf("transcribed %q", got)
		}
	})
	stop := directives[len(directives)-1]
	if got := fmt.Sprint(stop["payload"]); got != "map[enable_words:true]" {
		t.Errorf("the payload of Stop is %s", got)
	}
}

// The official Go and Node SDKs have no FlowingSpeechSynthesizer. Its Run has the
// envelope of their Control, a directive in the middle of a task, and its Start
// and Stop those of theirs.
func TestGoldenRun(t *testing.T) {
	g := startGateway(t)
	results.record(t, "Go SDK 1.1.1", "flowing synthesis, golden frames", "the envelope of its Start, Control, Stop; it has no such product")
	_, ours := sent(t, g, func(url string) {
		s := g.client(t, url).NewStreamSynthesizer(nls.StreamSynthesizerHandlers{})
		if err := s.Start(t.Context(), nls.StreamSynthesisParams{}); err != nil {
			t.Fatal(err)
		}
		if err := s.SendText(shortText); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	_, theirs := sent(t, g, func(url string) {
		runClient(t, 0, job{Product: "transcription", URL: url, Token: g.Token, AppKey: g.AppKey, Audio: testPCM, Control: map[string]any{"vocabulary_id": "v"}})
	})
	var names []string
	for i := range max(len(ours), len(theirs)) {
		if i >= len(ours) || i >= len(theirs) {
			t.Fatalf("we send %d directives, they send %d", len(ours), len(theirs))
		}
		names = append(names, fmt.Sprint(ours[i]["header"].(map[string]any)["name"]))
		if got, want := shape(ours[i]), shape(theirs[i]); got != want {
			t.Errorf("%s: our envelope is %s, theirs %s", names[i], got, want)
		}
	}
	if got := strings.Join(names, " "); got != "StartSynthesis RunSynthesis StopSynthesis" {
		t.Errorf("we send %s", got)
	}
	if got := fmt.Sprint(ours[1]["payload"]); got != fmt.Sprint(map[string]any{"text": shortText}) {
		t.Errorf("the payload of RunSynthesis is %s", got)
	}
}

// shape is the envelope of a directive: its fields and their types, but for what
// is in the payload.
func shape(d map[string]any) string {
	d = maps.Clone(d)
	if d["payload"] != nil {
		d["payload"] = map[string]any{}
	}
	fields := map[string]string{}
	flatten("", d, fields)
	var b []string
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		kind, _, _ := strings.Cut(fields[field], " ")
		b = append(b, field+" "+kind)
	}
	return strings.Join(b, ", ")
}

// The handshakes differ in nothing that the service looks at.
func TestGoldenHandshake(t *testing.T) {
	g := startGateway(t)
	ours, _ := sent(t, g, func(url string) {
		f, err := os.Open(testPCM)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := g.client(t, url).Recognize(t.Context(), f, nls.RecognitionParams{}, nls.PumpOptions{Speed: -1}); err != nil {
			t.Fatal(err)
		}
	})
	for i, sdk := range official {
		results.record(t, sdk.name, "golden handshake", "same path, token and version; no extension, no sub-protocol")
		theirs, _ := sent(t, g, func(url string) {
			runClient(t, i, job{Product: "recognition", URL: url, Token: g.Token, AppKey: g.AppKey, Audio: testPCM})
		})
		if ours.RequestURI != theirs.RequestURI || ours.Method != theirs.Method {
			t.Errorf("%s: %s %s, ours %s %s", sdk.name, theirs.Method, theirs.RequestURI, ours.Method, ours.RequestURI)
		}
		for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Version", "X-Nls-Token", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol", "Origin"} {
			if got, want := fmt.Sprint(ours.Header[name]), fmt.Sprint(theirs.Header[name]); !strings.EqualFold(got, want) {
				t.Errorf("%s: %s %s, ours %s", sdk.name, name, want, got)
			}
		}
	}
}
