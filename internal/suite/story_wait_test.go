package suite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wsframe"
)

// Nobody waits for the user's code but who must.

// Code that only looks on runs beside the reader, so its slowness is no silence of
// the service.
func TestSlowHooksAndLoggersAreNoReasonForAPingTimeout(t *testing.T) {
	const slow = 20 * time.Second // longer than PingInterval and PingTimeout
	for _, c := range []struct {
		name string
		with func(cfg *nls.Config, sleep func())
	}{
		{"Trace.Event", func(cfg *nls.Config, sleep func()) {
			cfg.Trace = &nls.Trace{Event: func(nls.TraceMessage) { sleep() }}
		}},
		{"Trace.Pong", func(cfg *nls.Config, sleep func()) {
			cfg.Trace = &nls.Trace{Pong: func(nls.TracePong) { sleep() }}
		}},
		{"Logger, a warning", func(cfg *nls.Config, sleep func()) {
			cfg.Logger = slog.New(&logbook{level: slog.LevelWarn, handle: func(slog.Record) { sleep() }})
		}},
		{"Logger, every frame", func(cfg *nls.Config, sleep func()) {
			cfg.Logger = slog.New(&logbook{level: nls.LevelTrace, handle: func(slog.Record) { sleep() }})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.pongs.Store(true)
					p.event("RecognitionStarted", 20000000, "")
					p.sleep(10 * time.Second)
					p.event("RecognitionResultChanged", 20000000, "")
					task := p.taskID
					p.taskID = strings.Repeat("a", 32) // of another task, which is warned of
					p.event("RecognitionResultChanged", 20000000, "")
					p.taskID = task
					p.saw(isDirective("StopRecognition"))
					p.event("RecognitionCompleted", 20000000, "")
				})
				var idle, slept atomic.Bool // the caller does nothing meanwhile
				s := newRecognizerSubject(g.client(func(cfg *nls.Config) {
					c.with(cfg, func() {
						if idle.Load() && !slept.Swap(true) {
							time.Sleep(slow)
						}
					})
				}))
				settle(t, s)
				s.ping, s.pong = 8*time.Second, 5*time.Second
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				idle.Store(true)
				time.Sleep(time.Minute)
				idle.Store(false)
				if !slept.Load() {
					t.Fatal("nothing was slow")
				}
				if err := s.Err(); err != nil {
					t.Fatalf("Err = %v", err)
				}
				if err := goCall(func() error { return s.stop(t.Context()) }).within(t, "Stop", patience); err != nil {
					t.Errorf("Stop = %v", err)
				}
			})
		})
	}
}

// lingering is a connection whose Close takes its time.
type lingering struct {
	net.Conn
	release chan struct{}
}

func (c lingering) Close() error {
	<-c.release
	return c.Conn.Close()
}

func TestShutdownDoesNotWaitForTheCloseOfAConnection(t *testing.T) {
	for _, where := range []string{"outside", "OnStart", "OnClose after a failure"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.event("RecognitionStarted", 20000000, "")
					if where == "OnClose after a failure" {
						p.sleep(time.Second)
						p.event("TaskFailed", 50000000, "boom")
					}
				})
				release := make(chan struct{})
				g.wrap = func(_ int, c net.Conn) net.Conn { return lingering{c, release} }
				s := newRecognizerSubject(g.client())
				settle(t, s)
				free := sync.OnceFunc(func() { close(release) })
				time.AfterFunc(patience/2, free) // at the latest
				t.Cleanup(free)
				took := make(chan time.Duration, 2)
				shutdown := func() {
					begin := time.Now()
					s.Shutdown()
					took <- time.Since(begin)
				}
				handler, _, _ := strings.Cut(where, " ")
				s.on(handler, shutdown)
				_ = s.start(t.Context())
				if where == "outside" {
					shutdown()
				}
				if where == "OnClose after a failure" {
					time.Sleep(2 * time.Second)
					free()
				}
				select {
				case d := <-took:
					if d != 0 {
						t.Errorf("Shutdown took %v", d)
					}
				case <-time.After(patience):
					t.Error("Shutdown was not called, or has not returned")
				}
				free()
				mustBeDone(t, s)
				g.mustLeaveNothing()
			})
		})
	}
}

// What has no ear for its context returns when it does, and finds nobody waiting.
func TestUserCodeThatIgnoresItsContextDoesNotHoldStart(t *testing.T) {
	const deaf = 30 * time.Minute
	for where, with := range map[string]func(cfg *nls.Config){
		"TokenSource": func(cfg *nls.Config) {
			cfg.TokenSource = nls.TokenSourceFunc(func(context.Context) (*nls.Token, error) {
				time.Sleep(deaf)
				return &nls.Token{Value: "late"}, nil
			})
		},
		"Proxy": func(cfg *nls.Config) {
			cfg.Proxy = func(*http.Request) (*url.URL, error) { time.Sleep(deaf); return nil, nil }
		},
		"NetDialContext": func(cfg *nls.Config) {
			dial := cfg.NetDialContext
			cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(deaf)
				return dial(context.WithoutCancel(ctx), network, addr)
			}
		},
	} {
		for _, end := range []struct {
			by    string
			after time.Duration
			want  error
		}{
			{"Timeout", 10 * time.Second, nls.ErrStartTimeout},
			{"deadline", 3 * time.Second, nls.ErrStartTimeout},
			{"cancelling", 3 * time.Second, context.Canceled},
			{"Shutdown", 3 * time.Second, nls.ErrShutdown},
		} {
			t.Run(where+"/"+end.by, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					g := newPeers(t, func(p *peer) { p.event("RecognitionStarted", 20000000, "") })
					s := newRecognizerSubject(g.client(with))
					settle(t, s)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					switch end.by {
					case "deadline":
						ctx, cancel = context.WithTimeout(ctx, end.after)
						defer cancel()
					case "cancelling":
						time.AfterFunc(end.after, cancel)
					case "Shutdown":
						time.AfterFunc(end.after, s.Shutdown)
					}
					call := goCall(func() error { return s.start(ctx) })
					err := call.within(t, "Start", patience)
					if !errors.Is(err, end.want) || call.took != end.after || s.Err() != err {
						t.Errorf("Start = %v after %v, Err = %v", err, call.took, s.Err())
					}
					if !closedWithin(s.Done(), 0) {
						t.Error("Done is open")
					}
					time.Sleep(patience) // what was deaf has returned
					g.mustLeaveNothing()
					if calls := s.callsSoFar(); len(calls) > 0 {
						t.Errorf("called %s", calls)
					}
				})
			})
		}
	}
}

// A ping that meets a busy write lock comes when the lock is free, and not an
// interval later.
func TestAPingThatMeetsABusyLockComesWhenTheLockIsFree(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Second} {
		t.Run(fmt.Sprintf("PingTimeout %v", timeout), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newPeers(t, func(p *peer) {
					p.pongs.Store(true)
					p.event("RecognitionStarted", 20000000, "")
					p.sleep(7 * time.Second)
					p.pause()
					p.sleep(2 * time.Second)
					p.resume()
				})
				s, send := senders[0].new(g.client())
				settle(t, s)
				s.ping, s.pong = 8*time.Second, timeout
				if err := s.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(7500 * time.Millisecond)
				// More than the connection holds, so the lock is busy from 7.5 s to 9 s.
				if err := goCall(func() error { return send(make([]byte, 96<<10)) }).within(t, "SendAudio", patience); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute - time.Since(g.last().begin))
				var pings []time.Duration
				for _, f := range g.last().sent() {
					if f.opcode == wsframe.Ping {
						pings = append(pings, f.at)
					}
				}
				if len(pings) < 5 || pings[0] < 8*time.Second || pings[0] > 9500*time.Millisecond {
					t.Errorf("pings at %v", pings)
				}
				if err := s.Err(); err != nil {
					t.Errorf("Err = %v", err)
				}
			})
		})
	}
}

// What a stranger says does not break lines, nor speak to terminals, where an error
// is printed.
func TestErrorTextsHoldNoControlCharactersOfThePeer(t *testing.T) {
	const (
		evil    = "one\r\ntwo\x1b[31m three\x00\x07\x7f four\u0085five"
		oneLine = "one\x1b[31m two\x07\x7f three" // fits a header
	)
	websocket := func(script func(*peer)) func(t *testing.T) error {
		return func(t *testing.T) error {
			g := newPeers(t, script)
			s := newRecognizerSubject(g.client())
			settle(t, s)
			err := goCall(func() error { return s.start(t.Context()) }).within(t, "Start", patience)
			mustBeDone(t, s)
			return err
		}
	}
	answer := func(text string, proxy bool) func(t *testing.T) error {
		return func(t *testing.T) error {
			g := newPeers(t, nil)
			g.shake = func(p *peer, _ *http.Request) bool {
				_, _ = io.WriteString(p, text)
				p.Close()
				return false
			}
			s := newRecognizerSubject(g.client(func(cfg *nls.Config) {
				if proxy {
					cfg.URL, cfg.Proxy = "ws://gateway.example", http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
				}
			}))
			settle(t, s)
			return goCall(func() error { return s.start(t.Context()) }).within(t, "Start", patience)
		}
	}
	for name, fail := range map[string]func(t *testing.T) error{
		"StatusText":                 websocket(func(p *peer) { p.event("TaskFailed", 40000000, evil) }),
		"close reason":               websocket(func(p *peer) { p.frame(wsframe.Fin|wsframe.Close, []byte("\x03\xf3"+evil)) }),
		"HTTP body":                  answer(fmt.Sprintf("HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil), false),
		"HTTP reason":                answer("HTTP/1.1 503 "+oneLine+"\r\nContent-Length: 0\r\n\r\n", false),
		"HTTP header":                answer("HTTP/1.1 503 Busy\r\n"+oneLine+"\r\n\r\n", false),
		"HTTP header, name":          answer("HTTP/1.1 101 Switching Protocols\r\n"+oneLine+": x\r\n\r\n", false),
		"no HTTP":                    answer(oneLine+"\r\n\r\n", false),
		"HTTP version":               answer("HTTP/"+oneLine+" 200\r\n\r\n", false),
		"HTTP status":                answer("HTTP/1.1 "+oneLine+"\r\n\r\n", false),
		"HTTP length":                answer("HTTP/1.1 503 Busy\r\nContent-Length: "+oneLine+"\r\n\r\n", false),
		"HTTP transfer encoding":     answer("HTTP/1.1 503 Busy\r\nTransfer-Encoding: "+oneLine+"\r\n\r\n", false),
		"CONNECT, body":              answer(fmt.Sprintf("HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s", len(evil), evil), true),
		"CONNECT, reason":            answer("HTTP/1.1 503 "+oneLine+"\r\nContent-Length: 0\r\n\r\n", true),
		"CONNECT, header":            answer("HTTP/1.1 503 Busy\r\n"+oneLine+"\r\n\r\n", true),
		"CONNECT, no HTTP":           answer(oneLine+"\r\n\r\n", true),
		"CONNECT, status":            answer("HTTP/1.1 "+oneLine+"\r\n\r\n", true),
		"CONNECT, length":            answer("HTTP/1.1 503 Busy\r\nContent-Length: "+oneLine+"\r\n\r\n", true),
		"CONNECT, transfer encoding": answer("HTTP/1.1 503 Busy\r\nTransfer-Encoding: "+oneLine+"\r\n\r\n", true),
		"CreateToken": func(t *testing.T) error {
			body, _ := json.Marshal(map[string]string{"Code": "Bad" + evil, "Message": evil, "RequestId": evil})
			_, err := nls.GetToken(t.Context(), nls.AccessKey{ID: "id", Secret: "secret"}, &nls.TokenOptions{Transport: answering{400, string(body)}})
			return err
		},
		"CreateToken, no JSON": func(t *testing.T) error {
			_, err := nls.GetToken(t.Context(), nls.AccessKey{ID: "id", Secret: "secret"}, &nls.TokenOptions{Transport: answering{500, evil}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				err := fail(t)
				if err == nil {
					t.Fatal("no error")
				}
				if strings.ContainsFunc(err.Error(), unicode.IsControl) {
					t.Errorf("the text is %q", err.Error())
				}
			})
		})
	}
}

// answering is a RoundTripper.
type answering struct {
	status int
	body   string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(strings.NewReader(
		fmt.Sprintf("HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n%s", a.status, len(a.body), a.body))), r)
}

// What is left of a refused attempt does nothing to the second one.
func TestTimersOfARefusedAttemptDoNotFireIntoTheSecond(t *testing.T) {
	const bound = 5 * time.Second
	for _, c := range []struct {
		name     string
		long     bool
		complete time.Duration
		ping     time.Duration
		refused  time.Duration // after the first directive
		done     time.Duration // after the second
		meets    bool          // the refusal comes as the bound passes, which may be first
	}{
		{"CompleteTimeout", false, bound, -1, 4 * time.Second, 3 * time.Second, false},
		{"CompleteTimeout, long text", true, bound, -1, 4 * time.Second, 3 * time.Second, false},
		{"silence, long text", true, 0, -1, 50 * time.Second, 40 * time.Second, false},
		{"PingTimeout", false, time.Minute, 2 * time.Second, 3 * time.Second, 5 * time.Second, false},
		{"CompleteTimeout, as it passes", false, bound, -1, bound, 3 * time.Second, true},
		{"silence, as it passes", true, 0, -1, time.Minute, 3 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				for range 20 {
					g := newPeers(t, func(p *peer) {
						if p.number == 1 {
							p.sleep(c.refused)
							p.refuseToken()
							return
						}
						p.pongs.Store(true)
						p.sleep(c.done)
						p.event("SynthesisCompleted", 20000000, "")
					})
					s := newSynthesisSubject(g.client(withSource(new(renewable))), c.long)
					s.wait, s.complete, s.timeout, s.ping = true, c.complete, -1, c.ping
					if c.ping > 0 {
						s.pong = c.ping - time.Millisecond
					}
					settle(t, s)
					call := goCall(func() error { return s.start(t.Context()) })
					err := call.within(t, "Start", patience)
					mustBeDone(t, s)
					switch {
					case err == nil && call.took == c.refused+c.done && g.count() == 2:
					case c.meets && errors.Is(err, nls.ErrCompleteTimeout) && call.took == c.refused && g.count() == 1:
					default:
						t.Fatalf("Start = %v after %v and %d connections", err, call.took, g.count())
					}
					if s.Err() != err || len(s.closes) != 1 || s.closes[0].Err != err {
						t.Fatalf("Start = %v, Err = %v, OnClose %+v", err, s.Err(), s.closes)
					}
					g.mustLeaveNothing()
				}
			})
		})
	}
}
