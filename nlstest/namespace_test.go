package nlstest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wire"
)

// dialog describes DialogAssistant: audio and then a text that answers it.
func dialog() map[string]Namespace {
	return map[string]Namespace{"DialogAssistant": {
		Start: []string{"StartRecognition"}, Run: []string{"UpdateContext"}, Stop: []string{"StopRecognition"},
		Started: "RecognitionStarted", Completed: "DialogResultGenerated",
		Answer: func(in Input) []Answer {
			switch {
			case in.Audio != nil:
				return []Answer{{Name: "RecognitionResultChanged", Payload: map[string]int{"bytes": len(in.Audio)}}}
			case in.Directive == "UpdateContext":
				return []Answer{{Name: "ContextUpdated", Payload: in.Payload}, {Audio: []byte("beep")}}
			case in.Directive == "StopRecognition":
				return []Answer{{Name: "RecognitionCompleted"}, {Name: "DialogResultGenerated", Payload: map[string]string{"say": "ok"}}, {Name: "Never"}}
			}
			return nil
		},
	}, "Private": {
		Start: []string{"Ask", "AskAgain"}, Completed: "Answered",
		Answer: func(in Input) []Answer {
			return []Answer{{Name: "Heard", Payload: map[string]any{"directive": in.Directive, "task": in.Task.Number, "q": in.Payload["q"]}}}
		},
	}}
}

func TestCommonProtoSpeaksADescribedNamespace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Namespaces: dialog()})
		client, err := nls.NewClient(s.Config())
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		p := client.NewCommonProto("DialogAssistant", nls.CommonHandlers{
			OnEvent: func(e *nls.Event) {
				var v struct{ Payload json.RawMessage }
				json.Unmarshal(e.Raw, &v)
				seen = append(seen, e.Name+string(v.Payload))
			},
			OnData: func(a nls.AudioEvent) { seen = append(seen, string(a.Data)) },
		})
		if err := p.Start(t.Context(), "StartRecognition", nls.CommonParams{Started: []string{"RecognitionStarted"}, Final: []string{"DialogResultGenerated"}}); err != nil {
			t.Fatal(err)
		}
		if err := p.SendBinary(make([]byte, 640)); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"UpdateContext", "StopRecognition"} {
			if err := p.SendText(d, map[string]any{"a": 1}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := `RecognitionStarted RecognitionResultChanged{"bytes":640} ContextUpdated{"a":1} beep RecognitionCompleted DialogResultGenerated{"say":"ok"}`
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestANamespaceWithoutAStopCompletesByItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Namespaces: dialog()}), "Private", "")
		for i, directive := range []string{"Ask", "AskAgain"} {
			c.taskID = wire.NewID()
			c.send(directive, `{"q":"why"}`)
			r := c.want("Heard")
			if want := fmt.Sprintf(`"payload":{"directive":%q,"q":"why","task":%d}`, directive, i+1); !strings.Contains(r.raw, want) {
				t.Errorf("got %s, want %s", r.raw, want)
			}
			if r := c.want("Answered"); strings.Contains(r.raw, "payload") || r.Header.Namespace != "Private" || r.Header.TaskID != c.taskID {
				t.Errorf("got %s", r.raw)
			}
		}
	})
}

// What holds for the products holds for a described one.
func TestADescribedNamespaceHasTheStatesOfAProduct(t *testing.T) {
	for _, row := range []struct {
		name   string
		do     func(*client)
		status int
		text   string
	}{
		{"unknown directive", func(c *client) { c.send("StartDialog", "{}") }, 40010002, "Gateway:DIRECTIVE_NOT_SUPPORTED:Directive 'DialogAssistant.StartDialog' is not supported!"},
		{"unknown namespace", func(c *client) { c.space = "Dialog"; c.send("StartRecognition", "{}") }, 40010001, "Gateway:NAMESPACE_NOT_FOUND:RESTful url path illegal!"},
		{"no task", func(c *client) { c.send("UpdateContext", "{}") }, 40010005,
			"Gateway:TASK_STATE_ERROR:State is not WORKING, empty body data or appkey illegal, can not handle last content!"},
		{"audio too early", func(c *client) { c.send("StartRecognition", "{}"); c.binary([]byte{1}) }, 40000002,
			"Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'"},
		{"idle", func(c *client) { c.send("StartRecognition", ""); c.want("RecognitionStarted") }, 40000004,
			"Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time, the last directive is 'StartRecognition'!"},
		{"unknown AppKey", func(c *client) { c.appKey = "x"; c.send("StartRecognition", "{}") }, 40020105, "Meta:APPKEY_NOT_EXIST:Appkey not exist!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Namespaces: dialog(), ReplyDelay: time.Millisecond}), "DialogAssistant", "")
				row.do(c)
				c.wantFailed(row.status, row.text)
			})
		})
	}
}

// No fault at any point panics with a product that the Server does not know.
func TestEveryFaultHappensToADescribedNamespace(t *testing.T) {
	effort.Long(t)
	tried := effort.OneIn(3)
	for do := Refuse; do <= BigPing; do++ {
		for at := BeforeStart; at <= AfterStop; at++ {
			f := Fault{Do: do, At: at, Delay: time.Millisecond}
			if f.check() != nil || !tried() {
				continue
			}
			inBubble(t, func(t *testing.T) {
				s := start(t, Options{Pipe: true, Namespaces: dialog()})
				ws, _, err := handshake(t, s, "?fault="+url.QueryEscape(f.String()), nil)
				if err != nil { // a reset may overtake the 101
					return
				}
				c := &client{t: t, ws: ws, space: "DialogAssistant", taskID: wire.NewID(), appKey: s.Config().AppKey}
				go func() {
					c.ws.WriteMessage(1, []byte(c.directive("StartRecognition", "{}")))
					time.Sleep(time.Second)
					c.ws.WriteMessage(2, []byte("audio"))
					c.ws.WriteMessage(1, []byte(c.directive("UpdateContext", "{}")))
					c.ws.WriteMessage(1, []byte(c.directive("StopRecognition", "{}")))
					time.Sleep(time.Minute)
					c.ws.Close()
				}()
				for {
					if _, _, err := c.ws.ReadMessage(); err != nil {
						break
					}
				}
				time.Sleep(2 * time.Minute)
				enter(dial(t, s, "SpeechTranscriber", ""), "working") // the Server is well
			})
		}
	}
}

func TestANamespaceThatMakesNoSenseIsRefused(t *testing.T) {
	good := Namespace{Start: []string{"S"}, Completed: "C"}
	for want, all := range map[string]map[string]Namespace{
		"it has no name":             {"": good},
		"the Server has that itself": {"SpeechTranscriber": good},
		"no directive starts a task": {"X": {Completed: "C"}},
		"no event completes a task":  {"X": {Start: []string{"S"}}},
		"a directive has no name":    {"X": {Start: []string{""}, Completed: "C"}},
		"a directive is there twice": {"X": {Start: []string{"S"}, Stop: []string{"S"}, Completed: "C"}},
	} {
		if _, err := newServer(Options{Namespaces: all}); err == nil || !strings.HasPrefix(err.Error(), "nlstest: namespace ") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
