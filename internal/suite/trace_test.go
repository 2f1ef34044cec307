package suite

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// hookLog is what the hooks of a Trace were told, by hook.
type hookLog struct {
	mu   sync.Mutex
	seen map[string][]any
}

func (l *hookLog) add(hook string, v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string][]any{}
	}
	l.seen[hook] = append(l.seen[hook], v)
}

func (l *hookLog) trace() *nls.Trace {
	return &nls.Trace{
		TokenDone:   func(v nls.TraceToken) { l.add("TokenDone", v) },
		DialStart:   func(v nls.TraceDial) { l.add("DialStart", v) },
		DialDone:    func(v nls.TraceDial) { l.add("DialDone", v) },
		Command:     func(v nls.TraceMessage) { l.add("Command", v) },
		Audio:       func(v nls.TraceMessage) { l.add("Audio", v) },
		Event:       func(v nls.TraceMessage) { l.add("Event", v) },
		Callback:    func(v nls.TraceMessage) { l.add("Callback", v) },
		Pong:        func(v nls.TracePong) { l.add("Pong", v) },
		Stalled:     func(v nls.TraceStall) { l.add("Stalled", v) },
		SessionDone: func(v nls.TraceSession) { l.add("SessionDone", v) },
	}
}

func (l *hookLog) names(hook string) string {
	var names []string
	for _, v := range l.seen[hook] {
		names = append(names, v.(nls.TraceMessage).Name)
	}
	return strings.Join(slices.Compact(names), " ")
}

func TestTraceSeesTheLifeOfASession(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{ReplyDelay: time.Second, IdleTimeout: -1}, func(t *testing.T, server *nlstest.Server) {
		var all, one hookLog
		client := clientOf(t, server, func(c *nls.Config) {
			c.Trace = all.trace()
			c.URL += "?token=" + c.Token
			c.MaxPendingBytes = 1
		})
		s := newTranscriberSubject(client)
		s.on("OnSentenceBegin", func() { time.Sleep(time.Second) }) // or no message would find another
		var connected bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { connected = true },
		})
		ctx = nls.WithTrace(nls.WithTrace(ctx, one.trace()), &nls.Trace{})
		if err := s.start(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(17 * time.Second) // two pings
		if err := s.send(); err != nil {
			t.Fatal(err)
		}
		if err := s.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, l := range map[string]*hookLog{"Config.Trace": &all, "WithTrace": &one} {
			if got := l.seen["TokenDone"][0].(nls.TraceToken); got.Err != nil {
				t.Errorf("%s: %+v", name, got)
			}
			start, done := l.seen["DialStart"][0].(nls.TraceDial), l.seen["DialDone"][0].(nls.TraceDial)
			if start.Attempt != 1 || start.TaskID != s.TaskID() || start.URL != server.URL {
				t.Errorf("%s: DialStart %+v", name, start)
			}
			if done.StatusCode != 101 || done.Err != nil || done.RemoteAddr == nil {
				t.Errorf("%s: DialDone %+v", name, done)
			}
			if got := l.names("Command"); got != "StartTranscription StopTranscription" {
				t.Errorf("%s: commands %s", name, got)
			}
			sent := 0
			for _, v := range l.seen["Audio"] {
				sent += v.(nls.TraceMessage).Size
			}
			if sent != len(spokenAudio()) {
				t.Errorf("%s: %d bytes of audio", name, sent)
			}
			const events = "TranscriptionStarted SentenceBegin TranscriptionResultChanged SentenceEnd TranscriptionCompleted"
			if got := l.names("Event"); got != events {
				t.Errorf("%s: events %s", name, got)
			}
			if got := l.names("Callback"); got != events+" " { // OnClose has no name
				t.Errorf("%s: callbacks %q", name, got)
			}
			if got := len(l.seen["Pong"]); got != 2 {
				t.Errorf("%s: %d pongs", name, got)
			}
			if len(l.seen["Stalled"]) == 0 || len(l.seen["Stalled"])%2 == 1 && !l.seen["Stalled"][len(l.seen["Stalled"])-1].(nls.TraceStall).Stalled {
				t.Errorf("%s: stalls %v", name, l.seen["Stalled"])
			}
			if len(l.seen["SessionDone"]) != 1 {
				t.Fatalf("%s: %d sessions", name, len(l.seen["SessionDone"]))
			}
			sum := l.seen["SessionDone"][0].(nls.TraceSession)
			if sum.TaskID != s.TaskID() || sum.Namespace != "SpeechTranscriber" || sum.Err != nil || sum.SentBytes < int64(sent) ||
				sum.RcvBytes == 0 || sum.FirstResult < 17*time.Second || sum.End.Sub(sum.Start) < 18*time.Second {
				t.Errorf("%s: %+v", name, sum)
			}
		}
		if !connected {
			t.Error("net/http/httptrace saw nothing")
		}
	})
}

func TestTraceOfAFailedDialSaysWhy(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{Fault: faultOnce("refuse@handshake,code=503,text=busy")}, func(t *testing.T, server *nlstest.Server) {
		var l hookLog
		s := newRecognizerSubject(clientOf(t, server))
		err := s.start(nls.WithTrace(context.Background(), l.trace()))
		done := l.seen["DialDone"][0].(nls.TraceDial)
		if err == nil || done.StatusCode != 503 || done.Err == nil || len(l.seen["SessionDone"]) != 1 ||
			l.seen["SessionDone"][0].(nls.TraceSession).Err != err {
			t.Errorf("%v: %+v, %v", err, done, fmt.Sprint(l.seen["SessionDone"]))
		}
	})
}
