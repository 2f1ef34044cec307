//go:build unix

package bench

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	official "github.com/aliyun/alibabacloud-nls-go-sdk"
	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
)

// The clients that are compared. The floor is bare gorilla by hand, as one would
// write it who needs nothing else.
const (
	floor    = "gorilla"
	ours     = "nls"
	theirs   = "official"
	mega     = 1e6
	unlikely = "0123456789abcdef0123456789abcdef" // a task id
)

// measure does a fixed amount of work and returns a value for each row of its group.
type measure func() []float64

// group is work that several rows of the table are read from.
type group struct {
	name    string
	clients map[string]func(t testing.TB) measure
	rows    []row
}

// row is a line of the table.
type row struct {
	what string
	unit string
	more bool    // is better
	goal float64 // of ours, as a multiple of the floor's; 0 if there is none
	fail float64 // what fails the test, however busy the machine is; 0 if nothing does
}

var groups = []group{
	{
		"Synthesis", map[string]func(testing.TB) measure{floor: synthesisOfGorilla, ours: synthesisOfNLS, theirs: synthesisOfOfficial},
		[]row{
			{"synthesis to callbacks, frames of 8,000 bytes that may be kept", "MB/s", true, 0.85, 0.7},
			{"the same, CPU", "ms/100 MB", false, 1.25, 1.5},
		},
	},
	{
		"SynthesisToWriter", map[string]func(testing.TB) measure{floor: synthesisOfGorilla, ours: synthesisToWriter},
		[]row{
			{"synthesis to a writer (Client.Synthesize)", "MB/s", true, 1.25, 1},
			{"the same, CPU", "ms/100 MB", false, 0, 0},
		},
	},
	{
		"Partial", map[string]func(testing.TB) measure{floor: partialOfGorilla, ours: partialOfNLS, theirs: partialOfOfficial},
		[]row{{"a partial result on real sockets, CPU", "µs", false, 1.25, 0}},
	},
	{
		"PartialOnOneCore", map[string]func(testing.TB) measure{
			floor: onOneCore(partialOfGorilla), ours: onOneCore(partialOfNLS), theirs: onOneCore(partialOfOfficial),
		},
		[]row{{"the same, on one core", "µs", false, 1.25, 0}},
	},
	{
		"PartialInMemory", map[string]func(testing.TB) measure{floor: memoryOfGorilla, ours: memoryOfNLS},
		[]row{{"a partial result in memory, user time", "µs", false, 1.8, 3}},
	},
	{
		"SendAudio", map[string]func(testing.TB) measure{floor: sendOfGorilla, ours: sendOfNLS},
		[]row{{"SendAudio of 640 bytes without the system call", "ns", false, 0.8, 1.3}},
	},
	{
		"Ping", map[string]func(testing.TB) measure{floor: pingOfGorilla, ours: pingOfNLS},
		[]row{{"a ping and its pong, CPU", "µs", false, 0, 0}},
	},
	{
		"Paced", map[string]func(testing.TB) measure{floor: pacedOfGorilla, ours: pacedOfNLS},
		[]row{
			{"4,000 sessions that send 100 ms of audio each 100 ms, on one core: CPU", "ms/s", false, 1, 0},
			{"the same, lateness p99", "ms", false, 1.2, 0},
		},
	},
	{
		"IdleSession", map[string]func(testing.TB) measure{floor: idle(floor, false), ours: idle(ours, false), theirs: idle(theirs, false)},
		[]row{{"an idle session, resident, ws", "KiB", false, 0.86, 1.05}},
	},
	{
		"IdleSessionTLS", map[string]func(testing.TB) measure{floor: idle(floor, true), ours: idle(ours, true)},
		[]row{{"an idle session, resident, wss", "KiB", false, 1, 1.15}},
	},
	{
		"StartCold", map[string]func(testing.TB) measure{floor: startOfGorilla(false), ours: startOfNLS(false, false)},
		[]row{{"Start, ws", "round trips", false, 1.05, 1.2}},
	},
	{
		"StartColdTLS", map[string]func(testing.TB) measure{floor: startOfGorilla(true), ours: startOfNLS(true, false)},
		[]row{{"Start, wss", "round trips", false, 1.05, 1.2}},
	},
	{
		"StartWarm", map[string]func(testing.TB) measure{floor: startOfGorilla(false), ours: startOfNLS(false, true)},
		[]row{{"Start with WarmConnections, ws", "round trips", false, 0.35, 0.5}},
	},
	{
		"StartWarmTLS", map[string]func(testing.TB) measure{floor: startOfGorilla(true), ours: startOfNLS(true, true)},
		[]row{{"Start with WarmConnections, wss", "round trips", false, 0.26, 0.5}},
	},
	{
		"ShortSession", map[string]func(testing.TB) measure{floor: shortOfGorilla, ours: shortOfNLS},
		[]row{
			{"Stop to its return, p50", "µs", false, 1.2, 0},
			{"a session of a second of audio, CPU", "µs", false, 1.1, 0},
		},
	},
	{
		"ShortSessionOnOneCore", map[string]func(testing.TB) measure{floor: onOneCore(shortOfGorilla), ours: onOneCore(shortOfNLS)},
		[]row{
			{"the same on one core: Stop", "µs", false, 1.2, 0},
			{"and CPU", "µs", false, 1.1, 0},
		},
	},
}

// speech is how much audio a round of synthesis has: 100 MB.
const speech = 12500

// timed runs f and returns its wall-clock time and its CPU time.
func timed(t testing.TB, f func()) (wall, cpu time.Duration) {
	before, begin := cpuTime(t), time.Now()
	f()
	return time.Since(begin), cpuTime(t) - before
}

// throughput is MB a second, and milliseconds of CPU for 100 MB.
func throughput(t testing.TB, f func()) []float64 {
	wall, cpu := timed(t, f)
	const bytes = speech * audioFrame
	return []float64{bytes / mega / wall.Seconds(), cpu.Seconds() * 1e3 * (100 * mega / bytes)}
}

func clientOf(t testing.TB, cfg nls.Config) *nls.Client {
	c, err := nls.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p peer) config() nls.Config {
	return nls.Config{URL: p.URL, AppKey: p.AppKey, Token: p.Token, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
}

// gorillaDialer is the dialler of the floor: pooled buffers for writing, gorilla's
// own 4 KiB for reading.
func gorillaDialer() *websocket.Dialer {
	return &websocket.Dialer{WriteBufferSize: 16 << 10, WriteBufferPool: new(sync.Pool), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}

func dialGorilla(t testing.TB, d *websocket.Dialer, url string, p peer) *websocket.Conn {
	c, _, err := d.Dial(url, http.Header{"X-NLS-Token": {p.Token}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// directive is a directive as one writes it by hand.
func directive(p peer, namespace, name, payload string) []byte {
	return []byte(`{"header":{"appkey":"` + p.AppKey + `","message_id":"` + unlikely + `","task_id":"` + unlikely +
		`","namespace":"` + namespace + `","name":"` + name + `"},"payload":` + payload + `}`)
}

func write(t testing.TB, c *websocket.Conn, opcode int, data []byte) {
	if err := c.WriteMessage(opcode, data); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, c *websocket.Conn) (opcode int, data []byte) {
	opcode, data, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return opcode, data
}

// startByHand opens a transcription.
func startByHand(d *websocket.Dialer, p peer) (*websocket.Conn, error) {
	c, _, err := d.Dial(p.URL, http.Header{"X-NLS-Token": {p.Token}})
	if err != nil {
		return nil, err
	}
	start := directive(p, "SpeechTranscriber", "StartTranscription", `{"format":"pcm","sample_rate":16000}`)
	if err := c.WriteMessage(websocket.TextMessage, start); err != nil {
		return nil, err
	}
	_, _, err = c.ReadMessage()
	return c, err
}

func mustStartByHand(t testing.TB, d *websocket.Dialer, p peer) *websocket.Conn {
	c, err := startByHand(d, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Synthesis.

func synthesisOfGorilla(t testing.TB) measure {
	p, d := startPeer(t), gorillaDialer()
	return func() []float64 {
		return throughput(t, func() {
			c := dialGorilla(t, d, p.URL, p)
			defer c.Close()
			write(t, c, websocket.TextMessage, directive(p, "SpeechSynthesizer", "StartSynthesis", `{"text":"`+strconv.Itoa(speech)+`"}`))
			n := 0
			for {
				opcode, data := read(t, c)
				if opcode == websocket.TextMessage {
					break
				}
				kept = data
				n += len(data)
			}
			whole(t, n)
		})
	}
}

var kept []byte

func whole(t testing.TB, n int) {
	if n != speech*audioFrame {
		t.Fatalf("%d bytes of audio", n)
	}
}

func synthesisOfNLS(t testing.TB) measure {
	p := startPeer(t)
	client := clientOf(t, p.config())
	return func() []float64 {
		return throughput(t, func() {
			n := 0
			tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnData: func(e nls.AudioEvent) {
				kept = e.Data
				n += len(e.Data)
			}})
			if err := tts.Start(context.Background(), nls.SynthesisParams{Text: strconv.Itoa(speech)}); err != nil {
				t.Fatal(err)
			}
			<-tts.Done()
			whole(t, n)
		})
	}
}

func synthesisToWriter(t testing.TB) measure {
	p := startPeer(t)
	client := clientOf(t, p.config())
	return func() []float64 {
		return throughput(t, func() {
			var w counter
			if err := client.Synthesize(context.Background(), &w, nls.SynthesisParams{Text: strconv.Itoa(speech)}); err != nil {
				t.Fatal(err)
			}
			whole(t, int(w))
		})
	}
}

// counter is a Writer that counts.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

func synthesisOfOfficial(t testing.TB) measure {
	p := startPeer(t)
	cfg := official.NewConnectionConfigWithToken(p.URL, p.AppKey, p.Token)
	log := official.NewNlsLogger(io.Discard, "", 0)
	return func() []float64 {
		return throughput(t, func() {
			n, over := 0, make(chan struct{})
			tts, err := official.NewSpeechSynthesis(cfg, log, false,
				func(text string, _ any) { panic(text) },
				func(data []byte, _ any) { kept = data; n += len(data) }, nil,
				func(string, any) { close(over) }, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tts.Start(strconv.Itoa(speech), official.DefaultSpeechSynthesisParam(), nil); err != nil {
				t.Fatal(err)
			}
			<-over
			tts.Shutdown()
			whole(t, n)
		})
	}
}

// Partial results.

// onOneCore is what a busy machine does: no thread has to be woken for a goroutine.
func onOneCore(start func(testing.TB) measure) func(testing.TB) measure {
	return func(t testing.TB) measure {
		run := start(t)
		return func() []float64 {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			return run()
		}
	}
}

// results is how many partial results a round has.
const results = 2000

func ask(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

// eachOf is the CPU time of f for each of n, in microseconds.
func eachOf(t testing.TB, n int, f func()) []float64 {
	_, cpu := timed(t, f)
	return []float64{float64(cpu.Nanoseconds()) / 1e3 / float64(n)}
}

// result is a partial result as one declares it who needs no more.
type result struct {
	Header struct {
		Namespace  string `json:"namespace"`
		Name       string `json:"name"`
		Status     int    `json:"status"`
		MessageID  string `json:"message_id"`
		TaskID     string `json:"task_id"`
		StatusText string `json:"status_text"`
	} `json:"header"`
	Payload struct {
		Index      int     `json:"index"`
		Time       int     `json:"time"`
		Result     string  `json:"result"`
		Confidence float64 `json:"confidence"`
		Words      []struct {
			Text  string `json:"text"`
			Start int    `json:"startTime"`
			End   int    `json:"endTime"`
		} `json:"words"`
	} `json:"payload"`
}

// readResults reads n partial results by hand.
func readResults(t testing.TB, c *websocket.Conn, n int) {
	for range n {
		_, data := read(t, c)
		var r result
		if err := json.Unmarshal(data, &r); err != nil || r.Payload.Result == "" {
			t.Fatalf("%v: %s", err, data)
		}
	}
}

func partialOfGorilla(t testing.TB) measure {
	p := startPeer(t)
	c := mustStartByHand(t, gorillaDialer(), p)
	t.Cleanup(func() { c.Close() })
	return func() []float64 {
		return eachOf(t, results, func() {
			write(t, c, websocket.BinaryMessage, ask(results))
			readResults(t, c, results+1) // and the sentence after them
		})
	}
}

func partialOfNLS(t testing.TB) measure {
	over, got := make(chan struct{}), 0
	tr := clientOf(t, startPeer(t).config()).NewTranscriber(nls.TranscriberHandlers{
		OnResultChanged: func(s *nls.Sentence) { got += min(1, len(s.Text)) },
		OnSentenceEnd:   func(s *nls.Sentence) { over <- struct{}{} },
	})
	if err := tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Shutdown)
	return func() []float64 {
		return eachOf(t, results, func() {
			got = 0
			if err := tr.SendAudio(ask(results)); err != nil {
				t.Fatal(err)
			}
			<-over
			if got != results {
				t.Fatalf("%d results", got)
			}
		})
	}
}

func partialOfOfficial(t testing.TB) measure {
	p := startPeer(t)
	started, over := make(chan struct{}), make(chan struct{})
	ignore := func(string, any) {}
	tr, err := official.NewSpeechTranscription(official.NewConnectionConfigWithToken(p.URL, p.AppKey, p.Token), official.NewNlsLogger(io.Discard, "", 0),
		func(text string, _ any) { panic(text) }, func(string, any) { close(started) }, ignore,
		func(string, any) { over <- struct{}{} },
		func(text string, _ any) {
			var r result // which is the caller's to decode
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				panic(err)
			}
		}, ignore, func(any) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Start(official.DefaultSpeechTranscriptionParam(), nil); err != nil {
		t.Fatal(err)
	}
	<-started
	t.Cleanup(tr.Shutdown)
	return func() []float64 {
		return eachOf(t, results, func() {
			if err := tr.SendAudioData(ask(results)); err != nil {
				t.Fatal(err)
			}
			<-over
		})
	}
}

// Short sessions.

// sessions is how many a round has.
const sessions = 300

func shortSessions(t testing.TB, one func(second []byte) (stop time.Duration)) []float64 {
	second := make([]byte, 3200)
	var stops []float64
	_, cpu := timed(t, func() {
		for range sessions {
			stops = append(stops, float64(one(second).Nanoseconds())/1e3)
		}
	})
	return []float64{median(stops), float64(cpu.Microseconds()) / sessions}
}

func shortOfGorilla(t testing.TB) measure {
	p, d := startPeer(t), gorillaDialer()
	return func() []float64 {
		return shortSessions(t, func(chunk []byte) time.Duration {
			c := mustStartByHand(t, d, p)
			defer c.Close()
			for range 10 {
				write(t, c, websocket.BinaryMessage, chunk)
			}
			begin := time.Now()
			write(t, c, websocket.TextMessage, directive(p, "SpeechTranscriber", "StopTranscription", `{}`))
			_, data := read(t, c)
			var r result
			if err := json.Unmarshal(data, &r); err != nil || r.Header.Name != "TranscriptionCompleted" {
				t.Fatalf("%v: %s", err, data)
			}
			write(t, c, websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
			return time.Since(begin)
		})
	}
}

func shortOfNLS(t testing.TB) measure {
	client := clientOf(t, startPeer(t).config())
	return func() []float64 {
		return shortSessions(t, func(chunk []byte) time.Duration {
			tr := client.NewTranscriber(nls.TranscriberHandlers{OnCompleted: func(*nls.Event) {}})
			if err := tr.Start(context.Background(), nls.TranscriptionParams{}); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				if err := tr.SendAudio(chunk); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			if err := tr.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
			return time.Since(begin)
		})
	}
}

// Pings.

// Pings come from so many sessions, each with one every pingInterval, for pingTime.
const (
	pingSessions = 1000
	pingInterval = 100 * time.Millisecond
	pingTime     = time.Second
)

// eachPing is the CPU time of a ping, in microseconds. count is how many there have
// been.
func eachPing(t testing.TB, count func() int) []float64 {
	before := count()
	_, cpu := timed(t, func() { time.Sleep(pingTime) })
	n := count() - before
	if n < 1000 {
		t.Fatalf("%d pings", n)
	}
	return []float64{float64(cpu.Nanoseconds()) / 1e3 / float64(n)}
}

func pingOfGorilla(t testing.TB) measure {
	p, d := startPeer(t), gorillaDialer()
	counts := make(chan int)
	var asks []func()
	for range pingSessions {
		c := mustStartByHand(t, d, p)
		ticker := time.NewTicker(pingInterval)
		go func() {
			for range ticker.C {
				if c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)) != nil {
					return
				}
			}
		}()
		go func() {
			for {
				_, data, err := c.ReadMessage() // which takes the pongs
				if err != nil {
					return
				}
				var r result
				if err := json.Unmarshal(data, &r); err != nil {
					panic(err)
				}
				counts <- r.Payload.Index
			}
		}()
		t.Cleanup(func() { c.Close(); ticker.Reset(time.Nanosecond) })
		asks = append(asks, func() { write(t, c, websocket.BinaryMessage, make([]byte, 2)) })
	}
	return func() []float64 { return eachPing(t, func() int { return sum(asks, counts) }) }
}

func pingOfNLS(t testing.TB) measure {
	client := clientOf(t, startPeer(t).config())
	counts := make(chan int)
	var asks []func()
	for range pingSessions {
		tr := client.NewTranscriber(nls.TranscriberHandlers{OnSentenceEnd: func(s *nls.Sentence) { counts <- s.Index }})
		if err := tr.Start(context.Background(), nls.TranscriptionParams{PingInterval: pingInterval}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.Shutdown)
		asks = append(asks, func() {
			if err := tr.SendAudio(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		})
	}
	return func() []float64 { return eachPing(t, func() int { return sum(asks, counts) }) }
}

func sum(asks []func(), counts <-chan int) (n int) {
	for _, ask := range asks {
		ask()
		n += <-counts
	}
	return n
}

// Pace.

const (
	pacedSessions = 4000
	pacedTime     = 3 * time.Second
)

// paced sends what is spoken meanwhile, at each pace, for pacedTime. It returns the
// CPU time, and how late the latest hundredth of the messages had been written.
func paced(t testing.TB, sends []func([]byte) error, pace time.Duration) (cpu time.Duration, late99 float64) {
	chunk := make([]byte, 32*pace/time.Millisecond) // of 16 kHz
	late := make([][]float64, len(sends))
	_, cpu = timed(t, func() {
		var wg sync.WaitGroup
		begin := time.Now()
		for i, send := range sends {
			wg.Go(func() {
				for due := begin.Add(pace * time.Duration(i) / time.Duration(len(sends))); due.Sub(begin) < pacedTime; due = due.Add(pace) {
					time.Sleep(time.Until(due))
					if err := send(chunk); err != nil {
						t.Error(err)
						return
					}
					late[i] = append(late[i], float64(time.Since(due).Microseconds())/1e3)
				}
			})
		}
		wg.Wait()
	})
	all := slices.Sorted(slices.Values(slices.Concat(late...)))
	return cpu, all[len(all)*99/100]
}

func pacedOfGorilla(t testing.TB) measure {
	return pacedOf(t, newGorilla)
}

func pacedOfNLS(t testing.TB) measure {
	return pacedOf(t, newNLS)
}

func pacedOf(t testing.TB, client func(peer) func() session) measure {
	open := client(startPeer(t))
	var sends []func([]byte) error
	for range pacedSessions {
		s := open()
		t.Cleanup(s.close)
		sends = append(sends, s.send)
	}
	return func() []float64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		cpu, late := paced(t, sends, 100*time.Millisecond)
		return []float64{cpu.Seconds() * 1e3 / pacedTime.Seconds(), late}
	}
}
