package nlstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls/internal/wire"
	"github.com/nlsgo/nls/internal/wsframe"

	"github.com/nlsgo/nls/internal/effort"
)

// inBubble runs f in a testing/synctest bubble, where time passes when everybody
// waits.
func inBubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// everywhere runs f with each way to connect: TCP, TLS, memory, and TLS in memory.
func everywhere(t *testing.T, f func(t *testing.T, opts Options)) {
	t.Run("tcp", func(t *testing.T) { f(t, Options{}) })
	t.Run("tls", func(t *testing.T) { f(t, Options{TLS: true}) })
	t.Run("pipe", func(t *testing.T) { inBubble(t, func(t *testing.T) { f(t, Options{Pipe: true}) }) })
	t.Run("pipe+tls", func(t *testing.T) { inBubble(t, func(t *testing.T) { f(t, Options{Pipe: true, TLS: true}) }) })
}

func TestATaskRunsOverEveryTransport(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		s := start(t, opts)
		c := dial(t, s, "SpeechTranscriber", "")
		c.send("StartTranscription", `{}`)
		c.want("TranscriptionStarted")
		for range 10 {
			c.binary(sound(100*time.Millisecond, 16000))
		}
		c.send("StopTranscription", "")
		if got := names(c.until("TranscriptionCompleted")); got != "SentenceBegin SentenceEnd TranscriptionCompleted" {
			t.Errorf("got %s", got)
		}
	})
}

// The rows are those of the state machine in protocol §12, and then some. Each
// brings a fresh connection into a state, sends one message, and says what comes
// of it: a TaskFailed with status and text, an event, or nothing.
func TestStateMachine(t *testing.T) {
	const (
		notWorking = "Gateway:TASK_STATE_ERROR:State is not WORKING, empty body data or appkey illegal, can not handle last content!"
		tooEarly   = "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'ROUTING'"
	)
	startAs := func(name string) func(*client) {
		return func(c *client) { c.send(name, `{}`) }
	}
	run := func(text string) func(*client) {
		return func(c *client) { c.send("RunSynthesis", `{"text":"`+text+`"}`) }
	}
	plain := func(name string) func(*client) { return func(c *client) { c.send(name, "") } }
	audio := func(c *client) { c.binary(sound(200*time.Millisecond, 16000)) }
	control := func(c *client) { c.send("ControlTranscriber", `{"max_sentence_silence":500}`) }
	otherTask := func(name string) func(*client) {
		return func(c *client) {
			c.taskID = strings.Repeat("b", 32)
			c.send(name, `{"text":"x","max_sentence_silence":500}`)
		}
	}
	otherSpace := func(c *client) { c.space = "SpeechRecognizer"; c.send("StopRecognition", "") }
	const st, sr, tts, long, flow = "SpeechTranscriber", "SpeechRecognizer", "SpeechSynthesizer", "SpeechLongSynthesizer", "FlowingSpeechSynthesizer"

	for _, row := range []struct {
		state, space string
		input        string
		send         func(*client)
		status       int    // of TaskFailed; 0 for none
		text         string // of TaskFailed, or the event that comes; "" for silence
	}{
		{"ready", st, "Start", startAs("StartTranscription"), 0, "TranscriptionStarted"},
		{"ready", sr, "Start", startAs("StartRecognition"), 0, "RecognitionStarted"},
		{"ready", flow, "Start", startAs("StartSynthesis"), 0, "SynthesisStarted"},
		{"ready", st, "binary", audio, 0, ""},
		{"ready", tts, "binary", audio, 0, ""},
		{"ready", st, "Start in a binary message", func(c *client) { c.binary([]byte(c.directive("StartTranscription", `{}`))) }, 0, ""},
		{"ready", st, "Stop", plain("StopTranscription"), 40010005, notWorking},
		{"ready", st, "Control", control, 40010005, notWorking},
		{"ready", flow, "Run", run("x"), 40010005, notWorking},
		{"ready", flow, "Flush", plain("FlushText"), 40010005, notWorking},

		{"starting", st, "binary", audio, 40000002, tooEarly},
		{"starting", sr, "binary", audio, 40000002, tooEarly},
		{"starting", flow, "binary", audio, 40000002, tooEarly},
		{"starting", st, "Start", startAs("StartTranscription"), 40010005, "Gateway:TASK_STATE_ERROR:Got start directive while task is starting!"},
		{"starting", st, "Stop", plain("StopTranscription"), 40010005, notWorking},
		{"starting", st, "Control", control, 40010005, notWorking},
		{"starting", flow, "Run", run("x"), 40010005, notWorking},
		{"starting", st, "Stop of another task", otherTask("StopTranscription"), 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'!"},

		{"working", st, "binary", audio, 0, "SentenceBegin"},
		{"working", sr, "binary", audio, 0, ""},
		{"working", st, "empty binary", func(c *client) { c.binary(nil) }, 0, ""},
		{"working", tts, "binary", audio, 40000002, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'WORKING'"},
		{"working", long, "binary", audio, 40000002, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'WORKING'"},
		{"working", flow, "binary", audio, 40000002, "Gateway:MESSAGE_INVALID:Invalid binary message while server state is 'WORKING'"},
		{"working", st, "Start", startAs("StartTranscription"), 40010005, "Gateway:TASK_STATE_ERROR:Got start directive while task is working!"},
		{"working", st, "Start of another task", otherTask("StartTranscription"), 40010005, "Gateway:TASK_STATE_ERROR:Got start directive while task is working!"},
		{"working", tts, "Start", func(c *client) { c.send("StartSynthesis", `{"text":"x"}`) }, 40010005, "Gateway:TASK_STATE_ERROR:Got start directive while task is working!"},
		{"working", st, "Stop of another task", otherTask("StopTranscription"), 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'!"},
		{"working", st, "Control of another task", otherTask("ControlTranscriber"), 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'!"},
		{"working", flow, "Run of another task", otherTask("RunSynthesis"), 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'!"},
		{"working", st, "Stop of another product", otherSpace, 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'!"},
		{"working", st, "Control", control, 0, ""},
		{"working", st, "Control as Node calls it", func(c *client) { c.send("ControlTranscription", `{"vocabulary_id":"v"}`) }, 0, ""},
		{"working", st, "Control as C++ may call it", func(c *client) { c.send("UpdateControl", `{}`) }, 0, ""},
		{"working", flow, "Run", run("x。"), 0, "SentenceBegin"},
		{"working", flow, "Run without an end", run("x"), 0, ""},
		{"working", flow, "Flush of nothing", plain("FlushText"), 0, ""},
		{"working", st, "Stop", plain("StopTranscription"), 0, "TranscriptionCompleted"},
		{"working", st, "Stop with context and payload", func(c *client) {
			d := strings.TrimSuffix(c.directive("StopTranscription", `{"a":null}`), "}")
			c.text(d + `,"context":{"sdk":{"name":"nls-nodejs-sdk"}}}`)
		}, 0, "TranscriptionCompleted"},
		{"working", flow, "Stop", plain("StopSynthesis"), 0, "SynthesisCompleted"},
		{"working", sr, "Stop without audio", plain("StopRecognition"), 40000000, "Gateway:CLIENT_ERROR:Empty audio data!"},
		{"working", tts, "Stop", plain("StopSynthesis"), 40010002, "Gateway:DIRECTIVE_NOT_SUPPORTED:Directive 'SpeechSynthesizer.StopSynthesis' is not supported!"},

		{"stopping", st, "Stop", plain("StopTranscription"), 40010005, "Gateway:TASK_STATE_ERROR:Got stop directive while task is stopping!"},
		{"stopping", flow, "Stop", plain("StopSynthesis"), 40010005, "Gateway:TASK_STATE_ERROR:Got stop directive while task is stopping!"},
		{"stopping", st, "binary", audio, 0, "TranscriptionCompleted"},
		{"stopping", flow, "binary", audio, 0, "SynthesisCompleted"},
		{"stopping", flow, "Run", run("x"), 40010005, notWorking},
		{"stopping", st, "Control", control, 40010005, notWorking},
		{"stopping", st, "Start", startAs("StartTranscription"), 40010005, "Gateway:TASK_STATE_ERROR:Got start directive while task is stopping!"},

		{"completed", st, "Start with a new task ID", func(c *client) {
			c.taskID = wire.NewID()
			c.send("StartTranscription", `{}`)
		}, 0, "TranscriptionStarted"},
		{"completed", st, "Start of another product", func(c *client) {
			c.taskID, c.space = wire.NewID(), sr
			c.send("StartRecognition", `{}`)
		}, 0, "RecognitionStarted"},
		{"completed", st, "binary", audio, 0, ""},
		{"completed", st, "Stop", plain("StopTranscription"), 40010005, notWorking},
	} {
		t.Run(row.state+"/"+row.space+"/"+row.input, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				// The engine blocks where a synthesis is to be caught at work.
				s := start(t, Options{Pipe: true, ReplyDelay: time.Second, Engine: fakeEngine{said: make(chan string)}})
				c := dial(t, s, row.space, "")
				c.taskID = strings.Repeat("a", 32)
				enter(c, row.state)
				row.send(c)
				switch {
				case row.status != 0:
					r := c.wantFailed(row.status, row.text)
					if r.Header.Namespace != "Default" {
						t.Errorf("namespace %s", r.Header.Namespace)
					}
				case row.text != "":
					if r := c.want(row.text); r.Header.TaskID != c.taskID || r.Header.Namespace != c.space {
						t.Errorf("got %s", r.raw)
					}
				default:
					c.wantSilence(9 * time.Second)
				}
			})
		})
	}
}

// enter brings c into a state.
func enter(c *client, state string) {
	product := products[c.space]
	var startName, stopName string
	for name, role := range product.directives {
		switch role {
		case roleStart:
			startName = name
		case roleStop:
			stopName = name
		}
	}
	if state == "ready" {
		return
	}
	c.send(startName, `{"text":"x"}`)
	if state == "starting" {
		return
	}
	if product.started != "" {
		c.want(product.started)
	}
	if state == "working" {
		return
	}
	c.send(stopName, "")
	synctest.Wait()
	if state == "completed" {
		c.want(product.completed)
	}
}

func TestValidationOrder(t *testing.T) {
	effort.Long(t)
	// Each message has the faults of the rows below it as well, so that the order
	// of the checks shows.
	id := strings.Repeat("a", 32)
	header := func(appkey, message, task, space, name string) string {
		var fields []string
		for _, f := range [][2]string{{"appkey", appkey}, {"message_id", message}, {"task_id", task}, {"namespace", space}, {"name", name}} {
			if f[1] != "" {
				fields = append(fields, fmt.Sprintf("%q:%s", f[0], f[1]))
			}
		}
		return `{"header":{` + strings.Join(fields, ",") + `},"payload":`
	}
	const (
		good  = `"good"`
		st    = `"SpeechTranscriber"`
		sr    = `"SpeechRecognizer"`
		tts   = `"SpeechSynthesizer"`
		flow  = `"FlowingSpeechSynthesizer"`
		begin = `"StartTranscription"`
		speak = `"StartSynthesis"`
	)
	quoted := `"` + id + `"`
	fine := func(space, name string) string { return header(good, quoted, quoted, space, name) }
	bad := `{"format":"PCM","sample_rate":11025}}`
	invalid := func(what string) string {
		return "Gateway:DIRECTIVE_INVALID:Invalid payload for event '" + what + "'!"
	}
	const noHeader = "Gateway:MESSAGE_INVALID:Missing message header!"

	for _, row := range []struct {
		name, message string
		status        int
		text          string
	}{
		{"not JSON", `hello`, 40000002, noHeader},
		{"empty", ``, 40000002, noHeader},
		{"JSON and more", fine(st, begin) + `{}}}`, 40000002, noHeader},
		{"array", `[]`, 40000002, noHeader},
		{"null", `null`, 40000002, noHeader},
		{"no header", `{"payload":{}}`, 40000002, noHeader},
		{"header null", `{"header":null}`, 40000002, noHeader},
		{"header a string", `{"header":"x"}`, 40000002, noHeader},
		{"header in upper case", `{"HEADER":{}}`, 40000002, noHeader},
		{"no message ID", header("", "", "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id 'null'!"},
		{"null message ID", header("", "null", "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id 'null'!"},
		{"empty message ID", header("", `""`, "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id ''!"},
		{"message ID a number", header("", `5`, "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id '5'!"},
		{"upper-case message ID", header("", `"`+strings.ToUpper(id)+`"`, "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id '" + strings.ToUpper(id) + "'!"},
		{"message ID with dashes", header("", `"6f0a1c2b-3d4e-4f60-8182-93a4b5c6d7e8"`, "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid message id '6f0a1c2b-3d4e-4f60-8182-93a4b5c6d7e8'!"},
		{"no task ID", header("", quoted, "", `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'null'!"},
		{"short task ID", header("", quoted, `"abc"`, `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Invalid task id 'abc'!"},
		{"no appkey", header("", quoted, quoted, `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Missing message appkey!"},
		{"empty appkey", header(`""`, quoted, quoted, `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Missing message appkey!"},
		{"appkey a number", header(`7`, quoted, quoted, `"x"`, `"y"`) + bad, 40000002, "Gateway:MESSAGE_INVALID:Missing message appkey!"},
		{"unknown appkey", header(`"unknown"`, quoted, quoted, `"x"`, `"y"`) + bad, 40020105, "Meta:APPKEY_NOT_EXIST:Appkey not exist!"},
		{"appkey of another account", header(`"other"`, quoted, quoted, `"x"`, `"y"`) + bad, 40020106, "Meta:APPKEY_UID_MISMATCH:Appkey and user mismatch!"},
		{"no namespace", fine("", begin) + bad, 40010001, "Gateway:NAMESPACE_NOT_FOUND:RESTful url path illegal!"},
		{"unknown namespace", fine(`"DialogAssistant"`, `"y"`) + bad, 40010001, "Gateway:NAMESPACE_NOT_FOUND:RESTful url path illegal!"},
		{"no name", fine(st, "") + bad, 40010002, "Gateway:DIRECTIVE_NOT_SUPPORTED:Directive 'SpeechTranscriber.null' is not supported!"},
		{"name of another product", fine(st, `"StartRecognition"`) + bad, 40010002, "Gateway:DIRECTIVE_NOT_SUPPORTED:Directive 'SpeechTranscriber.StartRecognition' is not supported!"},
		{"no payload", strings.TrimSuffix(fine(st, begin), `,"payload":`) + `}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"payload null", fine(st, begin) + `null}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"payload an array", fine(st, begin) + `[]}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"format a number", fine(st, begin) + `{"format":1}}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"sample rate a string", fine(st, begin) + `{"format":"PCM","sample_rate":"16000"}}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"sample rate a fraction", fine(st, begin) + `{"sample_rate":16000.5}}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"flag a number", fine(st, begin) + `{"enable_words":1}}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"flag a string", fine(sr, `"StartRecognition"`) + `{"enable_punctuation_prediction":"true"}}`, 40010003, invalid("SpeechRecognizer.StartRecognition")},
		{"special_word_filter a string", fine(st, begin) + `{"special_word_filter":"{}"}}`, 40010003, invalid("SpeechTranscriber.StartTranscription")},
		{"speech_noise_threshold", fine(st, begin) + `{"speech_noise_threshold":1.5}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid speech_noise_threshold '1.5'!"},
		{"sample rate before format", fine(st, begin) + bad, 41010101, "UNSUPPORTED_SAMPLE_RATE"},
		{"upper-case format", fine(st, begin) + `{"format":"PCM","max_sentence_silence":100}}`, 41010100, "UNSUPPORTED_FORMAT"},
		{"format of no product", fine(sr, `"StartRecognition"`) + `{"format":"flac"}}`, 41010100, "UNSUPPORTED_FORMAT"},
		{"max_sentence_silence too short", fine(st, begin) + `{"max_sentence_silence":199}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid max_sentence_silence '199'!"},
		{"max_sentence_silence too long", fine(st, begin) + `{"max_sentence_silence":6001}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid max_sentence_silence '6001'!"},
		{"max_start_silence", fine(sr, `"StartRecognition"`) + `{"enable_voice_detection":true,"max_start_silence":60001}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid max_start_silence '60001'!"},
		{"max_end_silence", fine(sr, `"StartRecognition"`) + `{"enable_voice_detection":true,"max_end_silence":0}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid max_end_silence '0'!"},

		{"TTS sample rate before format", fine(tts, speak) + `{"sample_rate":12345,"format":"PCM"}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid sample_rate '12345'!"},
		{"TTS upper-case format before text", fine(tts, speak) + `{"format":"PCM"}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid format 'PCM'!"},
		{"TTS mp3", fine(tts, speak) + `{"format":"mp3","text":"x"}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid format 'mp3'!"},
		{"TTS volume", fine(tts, speak) + `{"volume":101}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid volume '101'!"},
		{"TTS speech_rate", fine(tts, speak) + `{"speech_rate":-501}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid speech_rate '-501'!"},
		{"TTS pitch_rate", fine(tts, speak) + `{"pitch_rate":501}}`, 40010003, "Gateway:DIRECTIVE_INVALID:Invalid pitch_rate '501'!"},
		{"TTS no text before voice", fine(tts, speak) + `{"voice":""}}`, 40010003, "Gateway:DIRECTIVE_INVALID:No text specified!"},
		{"TTS empty text", fine(tts, speak) + `{"text":" \n"}}`, 40010003, "Gateway:DIRECTIVE_INVALID:No text specified!"},
		{"TTS text a number", fine(`"SpeechLongSynthesizer"`, speak) + `{"text":5}}`, 40010003, invalid("SpeechLongSynthesizer.StartSynthesis")},
		{"TTS empty voice", fine(tts, speak) + `{"text":"x","voice":""}}`, 40000003, "Gateway:PARAMETER_INVALID:Invalid voice name ''!"},
		{"broken SSML before the emotion", fine(tts, speak) + `{"text":"<speak><emotion x>"}}`, 41020001, "TTS:TtsClientError:Illegal ssml text"},
		{"broken SSML", fine(tts, speak) + `{"text":"<speak>x"}}`, 41020001, "TTS:TtsClientError:Illegal ssml text"},

		{"long quotation", fine(st, `"`+strings.Repeat("长", 100_000)+`"`) + bad, 40010002,
			"Gateway:DIRECTIVE_NOT_SUPPORTED:Directive 'SpeechTranscriber." + strings.Repeat("长", 66) + "…' is not supported!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := start(t, Options{
				Engine:  fakeEngine{},
				Tokens:  map[string]string{"token": "1"},
				AppKeys: map[string]string{"good": "1", "other": "2"},
			})
			ws, _, err := handshake(t, s, "", http.Header{"X-NLS-Token": {"token"}})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			c := &client{t: t, ws: ws}
			c.text(row.message)
			r := c.wantFailed(row.status, row.text)
			want := id
			if row.text == noHeader || !strings.Contains(row.message, `"task_id":`+quoted) {
				want = noTask
			}
			if r.Header.TaskID != want || r.Header.Namespace != "Default" {
				t.Errorf("got %s", r.raw)
			}
			if n := s.Stats().Sessions; n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

func TestMalformedMessageFailsTheRunningTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		enter(c, "working")
		c.text("hello")
		if r := c.wantFailed(40000002, "Gateway:MESSAGE_INVALID:Missing message header!"); r.Header.TaskID != c.taskID {
			t.Errorf("task %s, want %s", r.Header.TaskID, c.taskID)
		}
	})
}

func TestStopNeedsAnAppKeyToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		enter(c, "working")
		c.appKey = ""
		c.send("StopTranscription", "")
		c.wantFailed(40000002, "Gateway:MESSAGE_INVALID:Missing message appkey!")
	})
}

// A row is what a client does and when, and when it is told that this was not
// enough. Times count from the 101.
func TestIdleTimers(t *testing.T) {
	const idle = "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time"
	const starved = "Realtime:GET_CLIENT_DATA_TIMEOUT:Client data does not send continuously!"
	ping := func(c *client) { c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}) }
	audio := func(c *client) { c.binary(silence(20*time.Millisecond, 16000)) }
	send := func(name, payload string) func(*client) { return func(c *client) { c.send(name, payload) } }
	type step struct {
		at time.Duration
		do func(*client)
	}
	every := func(from, to, d time.Duration, do func(*client)) (steps []step) {
		for at := from; at <= to; at += d {
			steps = append(steps, step{at, do})
		}
		return steps
	}
	const st, sr, flow = "SpeechTranscriber", "SpeechRecognizer", "FlowingSpeechSynthesizer"
	const sec = time.Second
	for _, row := range []struct {
		name, space string
		steps       []step
		at          time.Duration
		status      int
		text        string
	}{
		{"nothing at all", st, nil, 10 * sec, 40000004, idle + "!"},
		{"binary before Start does not count", st, every(1*sec, 9*sec, sec, audio), 10 * sec, 40000004, idle + "!"},
		{"pings before Start, to the ceiling", st, every(1*sec, 30*sec, sec, ping), 23 * sec, 40000004, idle + "!"},
		{"one ping", st, []step{{8 * sec, ping}}, 18 * sec, 40000004, idle + "!"},
		{"after Start", st, []step{{3 * sec, send("StartTranscription", "{}")}}, 13 * sec, 40000004, idle + ", the last directive is 'StartTranscription'!"},
		{"after audio", st, append([]step{{0, send("StartTranscription", "{}")}}, every(1*sec, 30*sec, 9*sec, audio)...), 38 * sec, 41040201, starved},
		{"after audio, one sentence", sr, []step{{0, send("StartRecognition", "{}")}, {sec, audio}}, 11 * sec, 41040201, starved},
		{"pings without audio", st, append([]step{{0, send("StartTranscription", "{}")}}, every(8*sec, 40*sec, 8*sec, ping)...), 10 * sec, 41040201, starved},
		{"controls without audio", st, []step{{0, send("StartTranscription", "{}")}, {9 * sec, send("ControlTranscriber", "{}")}}, 10 * sec, 41040201, starved},
		{"pings without audio, one sentence", sr, append([]step{{0, send("StartRecognition", "{}")}}, every(8*sec, 40*sec, 8*sec, ping)...), 10 * sec, 41040201, starved},
		{"text", flow, []step{{0, send("StartSynthesis", "{}")}, {9 * sec, send("RunSynthesis", `{"text":"x。"}`)}}, 19 * sec, 40000004, idle + ", the last directive is 'RunSynthesis'!"},
		{"text and pings", flow, append([]step{{0, send("StartSynthesis", "{}")}, {5 * sec, send("RunSynthesis", `{"text":"x"}`)}}, every(8*sec, 40*sec, 8*sec, ping)...), 28 * sec, 40000004, idle + ", the last directive is 'RunSynthesis'!"},
		{"after Completed", st, []step{{0, send("StartTranscription", "{}")}, {4 * sec, send("StopTranscription", "")}}, 14 * sec, 40000004, idle + ", the last directive is 'StopTranscription'!"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}})
				c := dial(t, s, row.space, "")
				begin := time.Now()
				over := make(chan struct{})
				defer close(over)
				go func() {
					for _, step := range row.steps {
						select {
						case <-time.After(time.Until(begin.Add(step.at))):
							step.do(c)
						case <-over:
							return
						}
					}
				}()
				for {
					r := c.read()
					if r.err != nil {
						t.Fatal(r.err)
					}
					if r.Header.Name != "TaskFailed" {
						continue
					}
					if at := time.Since(begin); at != row.at || r.Header.Status != row.status || r.Header.StatusText != row.text {
						t.Errorf("at %v %s\nwant at %v %d %s", at, r.raw, row.at, row.status, row.text)
					}
					break
				}
				c.wantClosed(websocket.CloseNormalClosure)
				c.ws.Close()
			})
		})
	}
}

func TestNoIdleTimerWhileTheServiceHasToSpeak(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		said := make(chan string)
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{said: said}}), "SpeechSynthesizer", "")
		c.send("StartSynthesis", `{"text":"好。"}`)
		time.Sleep(time.Hour)
		<-said
		if got := names(c.until("SynthesisCompleted")); got != "audio SynthesisCompleted" {
			t.Errorf("got %s", got)
		}
	})
}

func TestNegativeIdleTimeoutMeansNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, IdleTimeout: -1, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		time.Sleep(time.Hour)
		enter(c, "working")
		time.Sleep(time.Hour)
		c.send("StopTranscription", "")
		c.want("TranscriptionCompleted")
	})
}

func TestAConnectionTakesTaskAfterTask(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		s := start(t, opts)
		c := dial(t, s, "", "")
		for _, task := range []struct{ space, start, started, stop, completed string }{
			{"SpeechTranscriber", "StartTranscription", "TranscriptionStarted", "StopTranscription", "TranscriptionCompleted"},
			{"FlowingSpeechSynthesizer", "StartSynthesis", "SynthesisStarted", "StopSynthesis", "SynthesisCompleted"},
			{"SpeechSynthesizer", "StartSynthesis", "", "", "SynthesisCompleted"},
			{"SpeechTranscriber", "StartTranscription", "TranscriptionStarted", "StopTranscription", "TranscriptionCompleted"},
		} {
			c.space, c.taskID = task.space, wire.NewID()
			c.send(task.start, `{"text":"好"}`)
			if task.started != "" {
				c.want(task.started)
				c.send(task.stop, "")
			}
			for _, r := range c.until(task.completed) {
				if r.audio == nil && (r.Header.TaskID != c.taskID || r.Header.Namespace != c.space) {
					t.Errorf("got %s", r.raw)
				}
			}
		}
		if got := s.Stats(); got.Connections != 1 || got.Sessions != 4 || got.Concurrent != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestPingsAreAnsweredWithTheirPayload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "")
		var pongs []string
		c.ws.SetPongHandler(func(data string) error { pongs = append(pongs, data); return nil })
		c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
		c.ws.WriteControl(websocket.PingMessage, []byte("hello"), time.Time{})
		enter(c, "working")
		if got := strings.Join(pongs, "|"); got != "|hello" || len(pongs) != 2 || s.Stats().Pings != 2 {
			t.Errorf("pongs %q, %d pings", pongs, s.Stats().Pings)
		}
	})
}

func TestClientMayClose(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for name, c := range map[string]struct {
		payload []byte
		want    int
	}{
		"with a code":    {websocket.FormatCloseMessage(1001, "bye"), 1001},
		"without a code": {nil, websocket.CloseNoStatusReceived},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, opts Options) {
				s := start(t, opts)
				cl := dial(t, s, "SpeechTranscriber", "")
				enter(cl, "working")
				cl.ws.WriteControl(websocket.CloseMessage, c.payload, time.Time{})
				cl.wantClosed(c.want)
			})
		})
	}
}

func TestBrokenFramesEndTheConnection(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, row := range []struct {
		name  string
		frame []byte
		code  int
	}{
		{"text that is not UTF-8", maskedFrame(wsframe.Fin|wsframe.Text, []byte("\xff\xfe")), 1007},
		{"reserved opcode", maskedFrame(wsframe.Fin|0x3, nil), 1002},
		{"reserved bit", maskedFrame(wsframe.Fin|wsframe.Reserved|wsframe.Text, []byte("{}")), 1002},
		{"unmasked", wsframe.Append(nil, wsframe.Fin|wsframe.Text, []byte("{}")), 1002},
		{"message beyond 2 MiB", maskedFrame(wsframe.Fin|wsframe.Text, make([]byte, maxMessage+1))[:1000], 1009},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, opts Options) {
				c := dial(t, start(t, opts), "SpeechTranscriber", "")
				enter(c, "working")
				if _, err := c.ws.NetConn().Write(row.frame); err != nil {
					t.Fatal(err)
				}
				c.wantClosed(row.code)
			})
		})
	}
}

// maskedFrame is a frame of a client, masked as C++ masks all of them.
func maskedFrame(first byte, payload []byte) []byte {
	return wsframe.AppendMasked(nil, first, payload, [4]byte{0x12, 0x34, 0x56, 0x78})
}

func TestFragmentsFromClientsAreJoined(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{}}), "SpeechTranscriber", "")
		d := []byte(c.directive("StartTranscription", "{}"))
		for _, frame := range [][]byte{maskedFrame(wsframe.Text, d[:50]), maskedFrame(wsframe.Fin|wsframe.Ping, nil), maskedFrame(0, d[50:60]), maskedFrame(wsframe.Fin, d[60:])} {
			c.ws.NetConn().Write(frame)
		}
		c.want("TranscriptionStarted")
	})
}

func TestOnFrameSeesTheWireInItsOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log []string // no lock: one call at a time for each connection
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}, OnFrame: func(f Frame) {
			text := string(f.Payload)
			if f.Binary {
				text = fmt.Sprintf("%d bytes", len(f.Payload))
			} else if _, rest, ok := strings.Cut(text, `"name":"`); ok {
				text, _, _ = strings.Cut(rest, `"`)
			}
			log = append(log, fmt.Sprintf("%d %t %s", f.Conn, f.Sent, text))
		}})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		c.binary(make([]byte, 640))
		c.send("StopTranscription", "")
		c.want("TranscriptionCompleted")
		c.text("x")
		c.want("TaskFailed")
		s.Close()
		want := []string{
			"1 false StartTranscription", "1 true TranscriptionStarted", "1 false 640 bytes",
			"1 false StopTranscription", "1 true TranscriptionCompleted", "1 false x", "1 true TaskFailed",
		}
		if got := strings.Join(log, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s", got)
		}
		got := s.Stats()
		got.BytesIn, got.BytesOut = 0, 0
		if want := (Stats{Connections: 1, Sessions: 1, MaxConcurrent: 1, FramesIn: 4, FramesOut: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestCloseEndsEverythingAndWaits(t *testing.T) {
	effort.Long(t)
	everywhere(t, func(t *testing.T, opts Options) {
		said := make(chan string)
		opts.Engine = fakeEngine{said: said}
		s := NewServer(opts)
		handshaken := dial(t, s, "SpeechTranscriber", "")
		working := dial(t, s, "SpeechTranscriber", "")
		enter(working, "working")
		speaking := dial(t, s, "SpeechSynthesizer", "")
		speaking.send("StartSynthesis", `{"text":"好"}`)
		<-said
		waiting := dial(t, s, "SpeechSynthesizer", "")
		waiting.send("StartSynthesis", `{"text":"好"}`)
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(s.Close)
		}
		closing.Wait()
		for _, c := range []*client{handshaken, working, speaking, waiting} {
			for r := c.read(); r.err == nil; r = c.read() {
			}
		}
		if got := s.Stats(); got.Concurrent != 0 {
			t.Errorf("%d sessions are left", got.Concurrent)
		}
		if _, _, err := handshake(t, s, "", nil); err == nil {
			t.Error("a connection after Close")
		}
	})
}

func TestCloseClientConnectionsLeavesTheServerRunning(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	everywhere(t, func(t *testing.T, opts Options) {
		s := start(t, opts)
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		s.CloseClientConnections()
		if r := c.read(); r.err == nil || websocket.IsCloseError(r.err, 1000) {
			t.Errorf("got %s %v", r.raw, r.err)
		}
		enter(dial(t, s, "SpeechTranscriber", ""), "working")
	})
}

// A client that does not read cannot keep Close, CloseClientConnections or its
// own end from coming.
func TestStuckClientDoesNotDelayClose(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		opts.Engine = fakeEngine{}
		s := NewServer(opts)
		c := dial(t, s, "SpeechLongSynthesizer", "")
		c.send("StartSynthesis", `{"text":"`+strings.Repeat("好", 50_000)+`"}`)
		if r := c.read(); r.err != nil {
			t.Fatal(r.err)
		}
		begin := time.Now()
		s.Close()
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestEngineFailuresFailTheTask(t *testing.T) {
	for _, row := range []struct {
		space, start string
		answered     bool // a recognition starts when its engine has
		status       int
		text         string
	}{
		{"SpeechTranscriber", "StartTranscription", false, 50000000, "Gateway:SERVER_ERROR:Server error!"},
		{"SpeechRecognizer", "StartRecognition", false, 50000000, "Gateway:SERVER_ERROR:Server error!"},
		{"SpeechSynthesizer", "StartSynthesis", true, 51020001, "TTS:TtsServerError:[tts]Failed to invoke engine!"},
	} {
		t.Run(row.space, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := dial(t, start(t, Options{Pipe: true, Engine: fakeEngine{fail: errEngine}}), row.space, "")
				c.send(row.start, `{"text":"好"}`)
				if row.answered {
					if c.read().Header.Name == "TaskFailed" {
						t.Fatal("failed before it was answered")
					}
				}
				c.wantFailed(row.status, row.text) // ...Started waits for Recognize
			})
		})
	}
}

func TestConfigReachesTheTokenAPI(t *testing.T) {
	everywhere(t, func(t *testing.T, opts Options) {
		s := start(t, opts)
		cfg := s.Config()
		if !strings.HasPrefix(s.TokenURL, "https://127.0.0.1:") || s.TokenURL != "https://"+cfg.TokenOptions.Endpoint+"/" {
			t.Errorf("TokenURL %s, endpoint %s", s.TokenURL, cfg.TokenOptions.Endpoint)
		}
		resp, err := (&http.Client{Transport: cfg.TokenOptions.Transport}).Get(s.TokenURL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if s.AccessKey().ID != cfg.AccessKeyID || s.AccessKey().Secret != cfg.AccessKeySecret || cfg.AccessKeyID == "" {
			t.Error("another access key")
		}
		if !bytes.Contains(s.CertificatePEM(), []byte("BEGIN CERTIFICATE")) {
			t.Error("no certificate")
		}
	})
}

func TestPipeModeDialsItsOwnAddressesOnly(t *testing.T) {
	s := start(t, Options{Pipe: true})
	if _, err := s.Config().NetDialContext(context.Background(), "tcp", "127.0.0.1:443"); err == nil {
		t.Error("dialled another address")
	}
}

func TestExpiredTokensAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true})
		enter(dial(t, s, "SpeechTranscriber", ""), "working")
		s.ExpireTokens()
		_, resp, err := handshake(t, s, "", nil)
		if err == nil || resp == nil {
			t.Fatalf("got %v, %v", resp, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if want := "Gateway:ACCESS_DENIED:The token '" + s.Config().Token + "' has expired!"; resp.StatusCode != 403 || string(body) != want {
			t.Errorf("got %d %s", resp.StatusCode, body)
		}
	})
}

func TestNewServerPanicsIfItCannotListen(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !strings.HasPrefix(err.Error(), "nlstest: listen: ") {
			t.Errorf("got %v", err)
		}
	}()
	NewServer(Options{Addr: "nonsense"})
}
