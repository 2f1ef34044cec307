package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

// Memory is bounded whatever the service sends and however slow the user's code
// is. The heap measured is that of the process; the peer is a raw writer, which
// has next to none.

// peakHeap is how much the heap grows while f runs, at most.
func peakHeap(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // little garbage among what counts
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	base := heap()
	var peak atomic.Int64
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			peak.Store(max(peak.Load(), heap()))
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return peak.Load() - base
}

// checkHeap checks what peakHeap says.
func checkHeap(t *testing.T, peak, limit int64) {
	t.Helper()
	t.Logf("the heap grew by %.1f MiB", float64(peak)/mib)
	if peak > limit {
		t.Errorf("the heap grew by more than %d MiB", limit/mib)
	}
}

// rawService is a service that answers the first directive with started, if that
// is not empty, and then does what it likes with the connection.
func rawService(t *testing.T, started string, trace *nls.Trace, then func(net.Conn)) *nls.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if _, _, err := c.ReadMessage(); err != nil {
			return
		}
		if started != "" {
			if err := c.WriteMessage(websocket.TextMessage, event(started, "")); err != nil {
				return
			}
		}
		then(c.NetConn())
	}))
	t.Cleanup(server.Close)
	return newClient(t, nls.Config{
		URL: "ws" + strings.TrimPrefix(server.URL, "http"), AppKey: "key", Token: "token", WriteTimeout: time.Second, Trace: trace,
	})
}

func event(name, payload string) []byte {
	if payload != "" {
		payload = `,"payload":` + payload
	}
	return fmt.Appendf(nil, `{"header":{"namespace":"SpeechTranscriber","name":%q,"status":20000000}%s}`, name, payload)
}

const mib = 1 << 20

// A message is read up to 1 MiB, whatever its header announces and however it is
// cut. The limit here leaves as much for the copy, and for buffers that grow.
func TestALongMessageTakesLittleMemory(t *testing.T) {
	const limit = 8 * mib
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for name, script := range map[string]func(net.Conn){
		"a frame of 64 MiB": func(c net.Conn) {
			if _, err := c.Write([]byte{0x81, 127, 0, 0, 0, 0, 4, 0, 0, 0}); err != nil {
				return
			}
			for range 1024 {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		},
		"64 MiB in fragments": func(c net.Conn) {
			opcode := byte(wsframe.Text)
			for range 1024 {
				if _, err := c.Write(wsframe.Append(nil, opcode, chunk)); err != nil {
					return
				}
				opcode = wsframe.Continuation
			}
		},
		"a frame that says 2^63 bytes": func(c net.Conn) {
			_, _ = c.Write([]byte{0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			_, _ = io.Copy(io.Discard, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := rawService(t, "TranscriptionStarted", nil, script).NewTranscriber(nls.TranscriberHandlers{})
			var err error
			peak := peakHeap(func() {
				if err = tr.Start(t.Context(), nls.TranscriptionParams{}); err == nil {
					<-tr.Done()
					err = tr.Err()
				}
			})
			if e, ok := errors.AsType[*nls.CloseError](err); !ok || e.Code != 1009 {
				t.Errorf("Err = %v", err)
			}
			checkHeap(t, peak, limit)
		})
	}
}

// What waits for a stuck callback is bounded by MaxPendingBytes; what does not fit
// stays with the service, and nothing is lost.
func TestAStuckCallbackTakesBoundedMemory(t *testing.T) {
	effort.Thorough(t)
	const limit = 20 * mib // of which DefaultMaxPending is 8
	small := wsframe.Append(nil, wsframe.Fin|wsframe.Text, event("TranscriptionResultChanged", `{"index":1,"result":"x"}`))
	for _, c := range []struct {
		name    string
		message []byte // sent count times
		count   int
		end     bool // wait for the last, which must be the right one
	}{
		{"a million small events", small, 1_000_000, false},
		{"small events to the end", small, 20_000, true},
		{"events of nothing", wsframe.Append(nil, wsframe.Fin|wsframe.Text, []byte(`{"header":{}}`)), 20_000, true},
		{"messages of almost 1 MiB", wsframe.Append(nil, wsframe.Fin|wsframe.Text, event("SomethingNew", `"`+strings.Repeat("x", mib-200)+`"`)), 16, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			batch := bytes.Repeat(c.message, max(1, 64<<10/len(c.message)))
			per := len(batch) / len(c.message)
			full := make(chan struct{})
			var once sync.Once
			trace := &nls.Trace{Stalled: func(nls.TraceStall) { once.Do(func() { close(full) }) }}
			client := rawService(t, "TranscriptionStarted", trace, func(conn net.Conn) {
				for sent := 0; sent < c.count; sent += per {
					b := batch[:min(per, c.count-sent)*len(c.message)]
					if _, err := conn.Write(b); err != nil {
						return
					}
				}
				_, _ = conn.Write(wsframe.Append(nil, wsframe.Fin|wsframe.Text, event("TranscriptionCompleted", "")))
				_, _ = io.Copy(io.Discard, conn)
			})
			release := make(chan struct{})
			var got int
			tr := client.NewTranscriber(nls.TranscriberHandlers{OnEvent: func(e *nls.Event) {
				if e.Name == "TranscriptionStarted" {
					return
				}
				<-release
				got++
			}})
			peak := peakHeap(func() {
				if err := tr.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-full:
				case <-time.After(20 * time.Second):
					t.Error("the queue is never full")
				}
				time.Sleep(100 * time.Millisecond) // for what may come nevertheless
				if !c.end {
					tr.Shutdown()
				}
				close(release)
				<-tr.Done()
			})
			if err := tr.Err(); c.end && (err != nil || got != c.count+1) {
				t.Errorf("%d events of %d, Err = %v", got-1, c.count, err)
			}
			checkHeap(t, peak, limit)
		})
	}
}

// Audio that the service does not read stays with its sender.
func TestAudioThatIsNotReadTakesLittleMemory(t *testing.T) {
	effort.Thorough(t)
	const limit = 4 * mib
	stop := make(chan struct{})
	client := rawService(t, "TranscriptionStarted", nil, func(net.Conn) { <-stop })
	defer close(stop)
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	audio := make([]byte, 32*mib)
	senders := make(chan error)
	var errs []error
	peak := peakHeap(func() {
		if err := tr.Start(t.Context(), nls.TranscriptionParams{}); err != nil {
			t.Error(err)
			return
		}
		for range 4 {
			go func() {
				var err error
				for err == nil {
					err = tr.SendAudio(audio)
				}
				senders <- err
			}()
		}
		for range 4 {
			errs = append(errs, <-senders)
		}
		<-tr.Done()
	})
	if slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, nls.ErrWriteTimeout) }) {
		t.Errorf("the senders got %v", errs)
	}
	checkHeap(t, peak, limit)
}

// An endless synthesis against a player that has stopped.
func TestAnEndlessSynthesisTakesBoundedMemory(t *testing.T) {
	effort.Thorough(t)
	const limit = 20 * mib // of which DefaultMaxPending is 8
	frame := wsframe.Append(nil, wsframe.Fin|wsframe.Binary, make([]byte, 8000))
	var sent atomic.Int64
	client := rawService(t, "", nil, func(c net.Conn) {
		for {
			n, err := c.Write(frame)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	release := make(chan struct{})
	tts := client.NewSynthesizer(nls.SynthesizerHandlers{OnData: func(nls.AudioEvent) { <-release }})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	peak := peakHeap(func() {
		err := tts.Start(ctx, nls.SynthesisParams{Text: "endless"})
		if !errors.Is(err, nls.ErrCompleteTimeout) {
			t.Errorf("Start = %v", err)
		}
		close(release)
		<-tts.Done()
	})
	t.Logf("the heap grew by %.1f MiB, %.1f MiB were sent", float64(peak)/mib, float64(sent.Load())/mib)
	if peak > limit || sent.Load() < nls.DefaultMaxPending/2 {
		t.Errorf("the heap grew by %.1f MiB, %.1f MiB were sent", float64(peak)/mib, float64(sent.Load())/mib)
	}
}

// sinkConn is a connection that, once told to, swallows what is written: the
// gateway of these tests would allocate for it.
type sinkConn struct {
	net.Conn
	swallow *atomic.Bool
}

func (c sinkConn) Write(p []byte) (int, error) {
	if c.swallow.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// swallowing is a Client whose connections swallow what is written while the
// result is true.
func swallowing(t testing.TB, server *nlstest.Server) (*nls.Client, *atomic.Bool) {
	swallow := new(atomic.Bool)
	return clientOf(t, server, func(cfg *nls.Config) {
		cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			return sinkConn{c, swallow}, err
		}
	}), swallow
}

func TestSendAudioAllocatesNothing(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumented code allocates")
	}
	server := nlstest.NewServer(nlstest.Options{IdleTimeout: -1})
	defer server.Close()
	client, swallow := swallowing(t, server)
	rec, tr := client.NewRecognizer(nls.RecognizerHandlers{}), client.NewTranscriber(nls.TranscriberHandlers{})
	proto := client.NewCommonProto("SpeechRecognizer", nls.CommonHandlers{})
	defer rec.Shutdown()
	defer tr.Shutdown()
	defer proto.Shutdown()
	for _, err := range []error{
		rec.Start(t.Context(), nls.RecognitionParams{}),
		tr.Start(t.Context(), nls.TranscriptionParams{}),
		proto.Start(t.Context(), "StartRecognition", nls.CommonParams{
			Payload: map[string]any{"format": "pcm", "sample_rate": 16000}, Started: []string{"RecognitionStarted"},
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	swallow.Store(true)
	for name, send := range map[string]func([]byte) error{
		"Recognizer": rec.SendAudio, "Transcriber": tr.SendAudio, "CommonProto": proto.SendBinary,
	} {
		for _, size := range []int{2, 640, 3200, 6400, 16 << 10, 100_000, mib} {
			chunk := make([]byte, size)
			got := testing.AllocsPerRun(200, func() {
				if err := send(chunk); err != nil {
					t.Fatal(err)
				}
			})
			if got != 0 {
				t.Errorf("%s, %d bytes: %v allocations", name, size, got)
			}
		}
	}
}

// What the SDK does for a chunk, without the system call.
func BenchmarkSendAudio(b *testing.B) {
	server := nlstest.NewServer(nlstest.Options{IdleTimeout: -1})
	defer server.Close()
	client, swallow := swallowing(b, server)
	tr := client.NewTranscriber(nls.TranscriberHandlers{})
	if err := tr.Start(b.Context(), nls.TranscriptionParams{}); err != nil {
		b.Fatal(err)
	}
	defer tr.Shutdown()
	swallow.Store(true)
	for _, size := range []int{640, 3200, 6400, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			chunk := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := tr.SendAudio(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a context of a request carries is not kept for as long as the session runs,
// nor by the object afterwards.
func TestASessionKeepsNothingOfTheContextOfItsStart(t *testing.T) {
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	for _, p := range products {
		if p.name == "Synthesizer" || p.name == "Synthesizer, long text" {
			continue // whose Start here is their end
		}
		t.Run(p.name, func(t *testing.T) {
			s := p.new(clientOf(t, server))
			freed := make(chan struct{})
			start := func() {
				type key struct{}
				value := new([1 << 10]byte)
				runtime.AddCleanup(value, func(freed chan struct{}) { close(freed) }, freed)
				// With no deadline, whose timer the runtime may keep.
				ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, value))
				defer cancel()
				if err := s.start(ctx); err != nil {
					t.Fatal(err)
				}
			}
			start()
			for begin := time.Now(); ; runtime.GC() {
				select {
				case <-freed:
				case <-time.After(time.Millisecond):
					if time.Since(begin) < 10*time.Second {
						continue
					}
					t.Error("a value of the context is still there")
				}
				break
			}
			s.Shutdown()
			<-s.Done()
		})
	}
}
