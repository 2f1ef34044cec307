package acceptance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/redact"
	"github.com/nlsgo/nls/internal/wire"
)

func (r *run) answer(number int, question, seen string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Answers = append(r.report.Answers, Answer{number, question, seen})
}

// questions looks for answers to protocol §14. What the SDK would not do is done on
// a plain websocket.
func (r *run) questions(ctx context.Context, quick bool) {
	for _, c := range r.report.Checks {
		for _, e := range c.Events {
			if payload, ok := strings.CutPrefix(e, fmt.Sprint("RecognitionStarted ", nls.StatusOK)); ok && c.Name == "SpeechRecognizer" {
				r.answer(4, "Has RecognitionStarted a payload?", cmp.Or(strings.TrimSpace(payload), "none"))
			}
		}
		if c.Name == "SpeechTranscriber" && c.Err == "" {
			r.answer(10, "Does ControlTranscriber have a reply?", strings.Join(unknownEvents(c.Events), ", "))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	for _, q := range []struct {
		number   int
		question string
		ask      func(context.Context) (string, error)
	}{
		{2, "How is a handshake without a token refused?", func(ctx context.Context) (string, error) { return r.refusal(ctx, "") }},
		{2, "And one with a token that does not exist?", func(ctx context.Context) (string, error) {
			return r.refusal(ctx, strings.Repeat("0", 32))
		}},
		{8, "What sizes does the header of a streamed WAV have?", r.header},
		{10, "Is an upper-case format taken?", func(ctx context.Context) (string, error) {
			return r.outcome(ctx, startTranscription, func(d directive) { d["payload"].(map[string]any)["format"] = "PCM" })
		}},
		{10, "Is an unknown key in the payload taken?", func(ctx context.Context) (string, error) {
			return r.outcome(ctx, startTranscription, func(d directive) { d["payload"].(map[string]any)["no_such_key"] = 1 })
		}},
		{11, "What does a Start without appkey get?", func(ctx context.Context) (string, error) {
			return r.outcome(ctx, startTranscription, func(d directive) { delete(d.header(), "appkey") })
		}},
		{11, "And one with an upper-case message_id?", func(ctx context.Context) (string, error) {
			return r.outcome(ctx, startTranscription, func(d directive) {
				d.header()["message_id"] = strings.ToUpper(d.header()["message_id"].(string))
			})
		}},
	} {
		r.ask(ctx, q.number, q.question, q.ask)
	}
	if quick {
		return
	}
	// Two at a time, which a trial account may have.
	var both sync.WaitGroup
	both.Go(func() {
		r.ask(ctx, 1, "When and how does the service close a connection after Completed?", r.closing)
		r.ask(ctx, 7, "What becomes of 301 characters of short synthesis?", r.long)
	})
	both.Go(func() { r.ask(ctx, 5, "Do pings keep a recognition without audio alive?", r.pinging) })
	both.Wait()
}

func (r *run) ask(ctx context.Context, number int, question string, ask func(context.Context) (string, error)) {
	seen, err := ask(ctx)
	if err != nil {
		seen = "no answer: " + err.Error()
	}
	r.answer(number, question, seen)
}

// unknownEvents are the names among events that no document has for a
// transcription, or "none".
func unknownEvents(events []string) (names []string) {
	for _, e := range events {
		name, _, _ := strings.Cut(e, " ")
		switch name {
		case "TranscriptionStarted", "SentenceBegin", "TranscriptionResultChanged", "SentenceEnd", "TranscriptionCompleted":
		default:
			names = append(names, name)
		}
	}
	if names == nil {
		return []string{"none"}
	}
	return names
}

// raw is a connection without the SDK.
type raw struct {
	*websocket.Conn
	r      *run
	taskID string
}

// dial connects with a token, "" for none.
func (r *run) dial(ctx context.Context, token string) (*raw, *http.Response, error) {
	d := websocket.Dialer{NetDialContext: r.cfg.NetDialContext, TLSClientConfig: r.cfg.TLSConfig, Proxy: r.cfg.Proxy}
	if d.Proxy == nil {
		d.Proxy = http.ProxyFromEnvironment
	}
	header := http.Header{}
	if token != "" {
		header.Set("X-NLS-Token", token)
	}
	url := r.gateway()
	if url == "" {
		return nil, nil, errors.New("no gateway was reached")
	}
	ws, resp, err := d.DialContext(ctx, url, header)
	if err != nil {
		return nil, resp, err
	}
	context.AfterFunc(ctx, func() { ws.SetReadDeadline(time.Unix(1, 0)) })
	return &raw{ws, r, wire.NewID()}, resp, nil
}

// open connects with the token of the account.
func (r *run) open(ctx context.Context) (*raw, error) {
	value := r.cfg.Token
	switch token, err := r.token(ctx); {
	case err == nil:
		value = token.Value
	case !errors.Is(err, errGiven):
		return nil, err
	}
	c, _, err := r.dial(ctx, value)
	return c, err
}

type directive map[string]any

func (d directive) header() map[string]any { return d["header"].(map[string]any) }

const (
	startTranscription = "SpeechTranscriber.StartTranscription"
	stopTranscription  = "SpeechTranscriber.StopTranscription"
)

// send sends a directive that change, if not nil, has been at.
func (c *raw) send(title string, payload map[string]any, change func(directive)) error {
	namespace, name, _ := strings.Cut(title, ".")
	d := directive{
		"header": map[string]any{
			"appkey": c.r.cfg.AppKey, "message_id": wire.NewID(), "task_id": c.taskID, "namespace": namespace, "name": name,
		},
	}
	if payload != nil {
		d["payload"] = payload
	}
	if change != nil {
		change(d)
	}
	return c.WriteJSON(d)
}

// event is the next event, and the bytes of audio before it.
func (c *raw) event() (name, seen string, audio int, err error) {
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return "", "", audio, err
		}
		if kind == websocket.BinaryMessage {
			audio += len(data)
			continue
		}
		var e struct {
			Header struct {
				Name       string `json:"name"`
				Status     int    `json:"status"`
				StatusText string `json:"status_text"`
			} `json:"header"`
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return "", "", audio, err
		}
		return e.Header.Name, fmt.Sprintf("%s %d %s", e.Header.Name, e.Header.Status, e.Header.StatusText), audio, nil
	}
}

// refusal is how a handshake is refused.
func (r *run) refusal(ctx context.Context, token string) (string, error) {
	c, resp, err := r.dial(ctx, token)
	if err == nil {
		defer c.Close()
		return "not at all", nil
	}
	if resp == nil {
		return "", err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return redact.Line(fmt.Sprintf("%s, Content-Type %q: %s", resp.Status, resp.Header.Get("Content-Type"), body), 200), nil
}

// outcome is the first event after a Start that was changed.
func (r *run) outcome(ctx context.Context, start string, change func(directive)) (string, error) {
	c, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.send(start, map[string]any{"format": "pcm", "sample_rate": 16000}, change); err != nil {
		return "", err
	}
	name, seen, _, err := c.event()
	if err == nil && strings.HasSuffix(name, "Started") { // give the place back
		c.send(stopTranscription, nil, nil)
		c.event()
	}
	return seen, err
}

// header is what a streamed WAV says of its sizes.
func (r *run) header(ctx context.Context) (string, error) {
	var wav bytes.Buffer
	s := r.silent.NewSynthesizer(nls.SynthesizerHandlers{OnData: func(a nls.AudioEvent) { wav.Write(a.Data) }})
	defer s.Shutdown()
	if err := s.Start(ctx, nls.SynthesisParams{Text: r.report.Text, Format: nls.FormatWAV}); err != nil {
		return "", err
	}
	b := wav.Bytes()
	at := bytes.Index(b, []byte("data"))
	if !bytes.HasPrefix(b, []byte("RIFF")) || at < 0 || len(b) < at+8 {
		return fmt.Sprintf("there is none: the audio begins with %q", b[:min(len(b), 12)]), nil
	}
	return fmt.Sprintf("RIFF %d, data %d, for %d bytes in all", binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[at+4:]), len(b)), nil
}

// end waits until the connection ends and says how.
func (c *raw) end(since time.Time) string {
	var events []string
	for {
		_, seen, _, err := c.event()
		if err == nil {
			events = append(events, fmt.Sprintf("after %v %s; ", time.Since(since).Round(100*time.Millisecond), seen))
			continue
		}
		how := err.Error()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			how = fmt.Sprintf("code %d %q", closed.Code, closed.Text)
		}
		return fmt.Sprintf("%safter %v %s", strings.Join(events, ""), time.Since(since).Round(100*time.Millisecond), how)
	}
}

// closing is how a connection ends on which a task has completed.
func (r *run) closing(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.send(startTranscription, map[string]any{}, nil); err != nil {
		return "", err
	}
	if _, _, _, err := c.event(); err != nil {
		return "", err
	}
	if err := c.send(stopTranscription, nil, nil); err != nil {
		return "", err
	}
	if name, seen, _, err := c.event(); err != nil || name != "TranscriptionCompleted" {
		return seen, err
	}
	return c.end(time.Now()), nil
}

// pinging is how a recognition ends that gets pings and no audio.
func (r *run) pinging(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.send("SpeechRecognizer.StartRecognition", map[string]any{}, nil); err != nil {
		return "", err
	}
	if name, seen, _, err := c.event(); err != nil || name != "RecognitionStarted" {
		return seen, err
	}
	since := time.Now()
	done := make(chan struct{})
	var pings sync.WaitGroup
	pings.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(4 * time.Second):
				c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			}
		}
	})
	seen := c.end(since)
	close(done)
	pings.Wait()
	return "a ping each 4 s: " + seen, nil
}

// long is what becomes of more text than a short synthesis takes.
func (r *run) long(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c, err := r.open(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	text := strings.Repeat("好", 300) + "坏"
	if err := c.send("SpeechSynthesizer.StartSynthesis", map[string]any{"text": text}, nil); err != nil {
		return "", err
	}
	_, seen, audio, err := c.event()
	return fmt.Sprintf("%s, after %d bytes of audio", seen, audio), err
}
