package acceptance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls"
)

// patience is how long a product may take.
const patience = 30 * time.Second

// products tries every product of the gateway. The first makes the audio that the
// others hear.
func (r *run) products(ctx context.Context) {
	for _, p := range []struct {
		name string
		run  func(context.Context, *witness) error
	}{
		{"SpeechSynthesizer", r.synthesizer},
		{"SpeechRecognizer", r.recognizer},
		{"SpeechTranscriber", r.transcriber},
		{"FlowingSpeechSynthesizer", r.streamSynthesizer},
		{"SpeechLongSynthesizer", r.longSynthesizer},
		{"SpeechRecognizer as CommonProto", r.commonProto},
	} {
		r.check(p.name, func(c *Check) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			w := &witness{begin: time.Now()}
			err := p.run(ctx, w)
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.audioBytes > 0 {
				w.events = append(w.events, fmt.Sprintf("audio %d %x", w.audioBytes, sha256.Sum256(w.audio.Bytes())))
			}
			c.Events, c.Measured = w.events, strings.Join(w.measured, ", ")
			return err
		})
	}
	r.report.URL = r.gateway()
}

// witness takes down what callbacks see. They come one at a time, but on a
// goroutine of their own.
type witness struct {
	mu         sync.Mutex
	begin      time.Time
	stopped    time.Time
	events     []string
	measured   []string
	audio      bytes.Buffer
	audioBytes int
	smallest   int // pieces of audio
	largest    int
	first      bool // there was a result or audio
}

func (w *witness) measure(what string, since time.Time) {
	w.measured = append(w.measured, fmt.Sprintf("%s %v", what, time.Since(since).Round(time.Millisecond)))
}

// event takes down e without what differs from run to run: its IDs.
func (w *witness) event(e *nls.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var payload map[string]any
	e.Payload(&payload)
	delete(payload, "sentence_id")
	line := fmt.Sprint(e.Name, " ", e.Status)
	if payload != nil {
		b, _ := json.Marshal(payload)
		line += " " + string(b)
	}
	w.events = append(w.events, line)
	switch {
	case strings.HasSuffix(e.Name, "Started"):
		w.measure("started", w.begin)
	case strings.HasSuffix(e.Name, "ResultChanged"):
		w.result("first result")
	case strings.HasSuffix(e.Name, "Completed"):
		if !w.stopped.IsZero() {
			w.measure("completed after stop", w.stopped)
		} else {
			w.measure("completed", w.begin)
		}
	}
}

func (w *witness) result(what string) {
	if !w.first {
		w.first = true
		w.measure(what, w.begin)
	}
}

func (w *witness) data(a nls.AudioEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result("first audio")
	w.audio.Write(a.Data)
	w.audioBytes += len(a.Data)
	w.smallest = cmp.Or(w.smallest, len(a.Data))
	w.smallest = min(w.smallest, len(a.Data))
	w.largest = max(w.largest, len(a.Data))
}

func (w *witness) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = time.Now()
}

// heard is the audio so far, or an error if there is none.
func (w *witness) heard() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.audioBytes == 0 {
		return nil, fmt.Errorf("acceptance: no audio came")
	}
	w.measured = append(w.measured, fmt.Sprintf("%d bytes in pieces of %d to %d", w.audioBytes, w.smallest, w.largest))
	return bytes.Clone(w.audio.Bytes()), nil
}

func (r *run) synthesizer(ctx context.Context, w *witness) error {
	s := r.client.NewSynthesizer(nls.SynthesizerHandlers{OnEvent: w.event, OnData: w.data})
	defer s.Shutdown()
	if err := s.Start(ctx, nls.SynthesisParams{Text: r.report.Text}); err != nil {
		return err
	}
	var err error
	r.audio, err = w.heard()
	return err
}

func (r *run) longSynthesizer(ctx context.Context, w *witness) error {
	s := r.client.NewSynthesizer(nls.SynthesizerHandlers{OnEvent: w.event, OnData: w.data})
	defer s.Shutdown()
	if err := s.Start(ctx, nls.SynthesisParams{Text: r.report.Text, LongText: true}); err != nil {
		return err
	}
	_, err := w.heard()
	return err
}

func (r *run) streamSynthesizer(ctx context.Context, w *witness) error {
	s := r.client.NewStreamSynthesizer(nls.StreamSynthesizerHandlers{OnEvent: w.event, OnData: w.data})
	defer s.Shutdown()
	if err := s.Start(ctx, nls.StreamSynthesisParams{}); err != nil {
		return err
	}
	if err := s.SendText(r.report.Text); err != nil {
		return err
	}
	w.stop()
	if err := s.Stop(ctx); err != nil {
		return err
	}
	_, err := w.heard()
	return err
}

// understood is an error unless text has the word that matters of what was spoken.
// A service that hears the rest a little otherwise has not failed.
func (r *run) understood(text string) error {
	if r.audio == nil {
		return fmt.Errorf("acceptance: there was no audio to recognise, see SpeechSynthesizer")
	}
	if !strings.Contains(text, "天气") {
		return fmt.Errorf("acceptance: it heard %q, and %q was spoken", text, r.report.Text)
	}
	return nil
}

// spoken is the audio to recognise: silence, if there is none.
func (r *run) spoken() *bytes.Reader {
	if r.audio == nil {
		return bytes.NewReader(make([]byte, 32000))
	}
	return bytes.NewReader(r.audio)
}

func (r *run) recognizer(ctx context.Context, w *witness) error {
	var text string
	rec := r.client.NewRecognizer(nls.RecognizerHandlers{
		OnEvent:     w.event,
		OnCompleted: func(e *nls.RecognitionResult) { text = e.Text },
	})
	defer rec.Shutdown()
	if err := rec.Start(ctx, nls.RecognitionParams{EnableIntermediateResult: true, EnablePunctuationPrediction: true}); err != nil {
		return err
	}
	if _, err := nls.Pump(ctx, rec, r.spoken(), nls.PumpOptions{}); err != nil {
		return err
	}
	w.stop()
	if err := rec.Stop(ctx); err != nil {
		return err
	}
	return r.understood(text)
}

func (r *run) transcriber(ctx context.Context, w *witness) error {
	var text strings.Builder
	t := r.client.NewTranscriber(nls.TranscriberHandlers{
		OnEvent:       w.event,
		OnSentenceEnd: func(s *nls.Sentence) { text.WriteString(s.Text) },
	})
	defer t.Shutdown()
	if err := t.Start(ctx, nls.TranscriptionParams{EnableIntermediateResult: true, EnablePunctuationPrediction: true, EnableWords: true}); err != nil {
		return err
	}
	if err := t.Ctrl(map[string]any{"max_sentence_silence": 800}); err != nil {
		return err
	}
	if _, err := nls.Pump(ctx, t, r.spoken(), nls.PumpOptions{}); err != nil {
		return err
	}
	w.stop()
	if err := t.Stop(ctx); err != nil {
		return err
	}
	return r.understood(text.String())
}

func (r *run) commonProto(ctx context.Context, w *witness) error {
	var text string
	p := r.client.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{OnEvent: w.event, Events: map[string]func(*nls.Event){
		"RecognitionCompleted": func(e *nls.Event) {
			var payload struct{ Result string }
			e.Payload(&payload)
			text = payload.Result
		},
	}})
	defer p.Shutdown()
	err := p.Start(ctx, "StartRecognition", nls.CommonParams{
		Payload: map[string]any{"format": "pcm", "sample_rate": 16000},
		Started: []string{"RecognitionStarted"}, Final: []string{"RecognitionCompleted"},
	})
	if err != nil {
		return err
	}
	if _, err := nls.Pump(ctx, binarySender{p}, r.spoken(), nls.PumpOptions{}); err != nil {
		return err
	}
	w.stop()
	if err := p.SendText("StopRecognition", nil, nil); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return err
	}
	return r.understood(text)
}

// binarySender makes a CommonProto an AudioSender.
type binarySender struct{ *nls.CommonProto }

func (b binarySender) SendAudio(data []byte) error { return b.SendBinary(data) }
