package suite

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
	"github.com/nlsgo/nls/nlstest"
)

// upgrade opens the websocket and no more.
func upgrade(p *peer, req *http.Request) bool {
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err := fmt.Fprintf(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	return err == nil
}

// directive takes the first directive and reads on from there. It reports false if
// the client hangs up.
func (p *peer) directive() bool {
	for {
		f, err := wsframe.Read(p.r)
		switch {
		case err != nil || f.Opcode() == wsframe.Close:
			return false
		case f.Opcode() == wsframe.Text:
			var d struct {
				Header struct {
					TaskID string `json:"task_id"`
				}
			}
			_ = json.Unmarshal(f.Payload, &d)
			p.taskID = d.Header.TaskID
			p.read = make(chan struct{})
			go p.drain()
			return true
		}
	}
}

// reset ends the connection as a TCP reset does.
func (p *peer) reset() {
	p.out.change(func() { p.out.buf, p.out.err = nil, syscall.ECONNRESET })
	p.in.change(func() { p.in.buf, p.in.err = nil, syscall.ECONNRESET })
}

// says writes an event of a task.
func (p *peer) says(taskID, name string, status int, text string) {
	header := map[string]any{"name": name, "status": status, "status_text": text}
	if taskID != "" {
		header["task_id"] = taskID
	}
	data, _ := json.Marshal(map[string]any{"header": header, "payload": map[string]any{}})
	p.frame(wsframe.Fin|wsframe.Text, data)
}

const idleText = "Gateway:IDLE_TIMEOUT:Websocket session is idle for too long time!"

// deaths are the ways in which a connection ends that has waited for too long, or
// whose gateway has gone.
var deaths = map[string]func(p *peer){
	"reset":       (*peer).reset,
	"EOF":         func(p *peer) { p.Close() },
	"half closed": func(p *peer) { p.out.change(func() { p.out.err = io.EOF }) },
	"Close frame": func(p *peer) { p.frame(wsframe.Fin|wsframe.Close, []byte{3, 0xe8}) },
	"idle TaskFailed of no task": func(p *peer) {
		p.says(strings.Repeat("0", 32), "TaskFailed", nls.StatusIdleTimeout, idleText)
	},
	"idle TaskFailed without a task": func(p *peer) { p.says("", "TaskFailed", nls.StatusIdleTimeout, idleText) },
	"idle TaskFailed of another task, and Close": func(p *peer) {
		p.says(strings.Repeat("1", 32), "TaskFailed", nls.StatusIdleTimeout, idleText)
		p.frame(wsframe.Fin|wsframe.Close, []byte{3, 0xe8})
	},
	"TaskFailed of another task, and reset": func(p *peer) {
		p.says(strings.Repeat("1", 32), "TaskFailed", nls.StatusServerError, "late")
		p.out.change(func() { p.out.err = syscall.ECONNRESET })
	},
	"broken frame": func(p *peer) { p.frame(wsframe.Fin|wsframe.Reserved|wsframe.Text, nil) },
}

// doomed is a client whose warm connection is one of a script, while those that
// Start dials are of a good gateway. dead makes the script go on.
type doomed struct {
	wires
	client *nls.Client
	dead   func()
	first  *peers

	// Called when Start has taken the warm connection, and when it writes there.
	onTake, onWrite func()
}

// newDoomed warms it.
func newDoomed(t *testing.T, server *nlstest.Server, script func(p *peer, dead <-chan struct{}), change ...func(*nls.Config)) *doomed {
	t.Helper()
	d := &doomed{onTake: func() {}, onWrite: func() {}}
	death := make(chan struct{})
	d.dead = sync.OnceFunc(func() { close(death) })
	d.first = newPeers(t, func(p *peer) { script(p, death) })
	d.first.shake = upgrade
	d.client = clientOf(t, server, append([]func(*nls.Config){func(cfg *nls.Config) {
		good := cfg.NetDialContext
		cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if ctx.Value(startKey{}) == nil && d.first.count() == 0 {
				c, err := d.first.dial(ctx, network, addr)
				return tripwire{c, d}, err
			}
			return good(ctx, network, addr)
		}
		d.keeps(1, false)(cfg)
		cfg.Trace.DialDone = func(dial nls.TraceDial) {
			d.dialDone(dial)
			if dial.Conn == "warm" {
				d.onTake()
			}
		}
	}}, change...)...)
	if err := d.client.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// tripwire tells when a directive is written.
type tripwire struct {
	net.Conn
	d *doomed
}

func (c tripwire) Write(b []byte) (int, error) {
	if b[0] == wsframe.Fin|wsframe.Text {
		c.d.onWrite()
	}
	return c.Conn.Write(b)
}

// A warm connection that is dead, or dies while Start takes it, costs a dial and
// nothing else: no error, no callback, no time.
func TestAWarmConnectionThatIsDeadCostsADial(t *testing.T) {
	t.Parallel()
	for when, c := range map[string]struct {
		seen  bool // the client has noticed before it goes on
		taken string
	}{
		"while it waits":            {true, "dialed"},
		"with the call":             {false, ""}, // it is taken, or not
		"as it is taken":            {true, "warm dialed"},
		"as it is taken, unseen":    {false, "warm dialed"},
		"on the write":              {true, "warm dialed"},
		"on the write, unseen":      {false, "warm dialed"},
		"before the answer":         {true, "warm dialed"},
		"a second before an answer": {true, "warm dialed"},
	} {
		for how, die := range deaths {
			t.Run(when+": "+how, func(t *testing.T) {
				forSomeProducts(t, func(t *testing.T, p product) {
					gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
						var d *doomed
						dies := func() { // once Warm has returned
							d.dead()
							if c.seen {
								synctest.Wait()
							}
						}
						d = newDoomed(t, server, func(peer *peer, dead <-chan struct{}) {
							if when == "before the answer" || when == "a second before an answer" {
								if !peer.directive() {
									return
								}
								if when != "before the answer" {
									peer.sleep(time.Second)
								}
							} else {
								<-dead
							}
							die(peer)
						})
						switch {
						case strings.HasPrefix(when, "as it is taken"):
							d.onTake = dies
						case strings.HasPrefix(when, "on the write"):
							d.onWrite = dies
						}
						defer d.dead()
						s := p.new(d.client)
						s.wait = true
						begin := time.Now()
						if when == "while it waits" || when == "with the call" {
							dies()
						}
						if err := s.run(startCtx(t.Context())); err != nil {
							t.Fatal(err)
						}
						mustBeDone(t, s)
						if got := firsts(s.called()); got != p.calls || len(s.errs) != 0 || len(s.closes) != 1 || s.closes[0].TaskID != s.TaskID() {
							t.Errorf("called %s; errors %v; closes %v", got, s.errs, s.closes)
						}
						if text := s.text.String(); text != "" && text != spoken {
							t.Errorf("the result is %q", text)
						}
						if got := d.taken(); got != c.taken && c.taken != "" {
							t.Errorf("the connections of Start: %s, want %s", got, c.taken)
						}
						limit := time.Duration(0)
						if when == "a second before an answer" {
							limit = time.Second
						}
						if took := time.Since(begin); took > limit {
							t.Errorf("took %v", took)
						}
						d.mustLeaveNothing(t, d.client)
					})
				})
			})
		}
	}
}

// startedEvents are the answers of the products to their first directive.
var startedEvents = map[string]string{
	"Recognizer": "RecognitionStarted", "Transcriber": "TranscriptionStarted",
	"StreamSynthesizer": "SynthesisStarted", "CommonProto": "RecognitionStarted",
}

// What the service has said cannot be unsaid.
func TestASessionThatHasHeardSomethingIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	for how, die := range deaths {
		if strings.Contains(how, "TaskFailed of no") || strings.Contains(how, "TaskFailed without") {
			continue // it is then one of the task
		}
		t.Run(how, func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					d := newDoomed(t, server, func(peer *peer, _ <-chan struct{}) {
						if !peer.directive() {
							return
						}
						if name, ok := startedEvents[p.name]; ok {
							peer.event(name, nls.StatusOK, "")
						} else {
							peer.frame(wsframe.Fin|wsframe.Binary, []byte("audio"))
						}
						peer.sleep(time.Second)
						die(peer)
						peer.sleep(time.Second)
					})
					s := p.new(d.client)
					s.wait = true
					err := s.start(startCtx(t.Context()))
					if _, ok := startedEvents[p.name]; ok {
						if err != nil {
							t.Fatal(err)
						}
						mustBeDone(t, s)
						err = s.Err()
					}
					if e, ok := errors.AsType[*nls.CloseError](err); !ok {
						t.Errorf("%v (%v)", err, e)
					}
					if got := s.called(); !strings.HasSuffix(got, " OnError OnClose") {
						t.Errorf("called %s", got)
					}
					if got := d.taken(); got != "warm" {
						t.Errorf("the connections of Start: %s", got)
					}
					d.mustLeaveNothing(t, d.client)
				})
			})
		})
	}
}

// A refusal on a warm connection is that of the service, as on any other.
func TestARefusalOnAWarmConnectionIsARefusal(t *testing.T) {
	t.Parallel()
	denied := func(err error) bool { return errors.Is(err, nls.ErrAccessDenied) }
	status := func(code int) func(error) bool {
		return func(err error) bool { return nls.StatusCode(err) == code }
	}
	const expired = "Meta:ACCESS_DENIED:The token has expired!"
	none := strings.Repeat("0", 32)
	for _, c := range []struct {
		name  string
		say   func(p *peer)
		fresh bool // the source has another token
		want  func(error) bool
		taken string
		asked int
	}{
		{"the token, and there is another", func(p *peer) { p.event("TaskFailed", nls.StatusAccessDenied, expired) }, true,
			func(err error) bool { return err == nil }, "warm dialed", 1},
		{"the token, of no task, and there is another", func(p *peer) { p.says(none, "TaskFailed", nls.StatusAccessDenied, expired) }, true,
			func(err error) bool { return err == nil }, "warm dialed", 1},
		{"the token", func(p *peer) { p.event("TaskFailed", nls.StatusAccessDenied, expired) }, false, denied, "warm", 0},
		{"something that is no token", func(p *peer) { p.event("TaskFailed", nls.StatusAccessDenied, "no") }, true, status(nls.StatusAccessDenied), "warm", 0},
		{"too many", func(p *peer) { p.event("TaskFailed", nls.StatusTooManyRequests, "Too many connections!") }, false, status(nls.StatusTooManyRequests), "warm", 0},
		{"too many, of no task", func(p *peer) { p.says(none, "TaskFailed", nls.StatusTooManyRequests, "Too many connections!") }, false, status(nls.StatusTooManyRequests), "warm", 0},
		{"idle, of the task", func(p *peer) { p.event("TaskFailed", nls.StatusIdleTimeout, idleText) }, false, status(nls.StatusIdleTimeout), "warm", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				opts := nlstest.Options{Tokens: map[string]string{"one": "a", "two": "a"}, AppKeys: map[string]string{"key": "a"}}
				gatewayInBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					tokens := &rotating{tokens: []string{"one", "two"}}
					var source nls.TokenSource = tokens
					if !c.fresh {
						source = nls.StaticToken("one")
					}
					d := newDoomed(t, server, func(peer *peer, _ <-chan struct{}) {
						if peer.directive() {
							c.say(peer)
						}
					}, withSource(source))
					s := p.new(d.client)
					s.wait = true
					err := s.run(startCtx(t.Context()))
					mustBeDone(t, s)
					if !c.want(err) {
						t.Errorf("%v", err)
					}
					calls := s.called()
					if err == nil && firsts(calls) != p.calls || err != nil && !strings.HasSuffix(calls, "OnError OnClose") {
						t.Errorf("called %s", calls)
					}
					if got := d.taken(); got != c.taken {
						t.Errorf("the connections of Start: %s, want %s", got, c.taken)
					}
					if tokens.asked != c.asked {
						t.Errorf("%d tokens given up", tokens.asked)
					}
					d.mustLeaveNothing(t, d.client)
				})
			})
		})
	}
}

// Start stays within its bounds, whatever becomes of the warm connection.
func TestTheBoundsOfAStartOnAWarmConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		set   func(s *subject)
		fault string // of the connections that Start dials
		want  error  // of Start; nil if the session completes
		took  time.Duration
		taken string
	}{
		{"never answers", func(s *subject) { s.timeout, s.complete = 3*time.Second, 3*time.Second }, "", context.DeadlineExceeded, 3 * time.Second, "warm"},
		{"never answers, not even pings", func(s *subject) { s.ping, s.pong = time.Second, time.Second/2 }, "", nil, 1500 * time.Millisecond, "warm dialed"},
		{"nor does the next", func(s *subject) {
			s.ping, s.pong, s.timeout, s.complete = time.Second, time.Second/2, 3*time.Second, 3*time.Second
		}, "hang@handshake", nls.ErrStartTimeout, 0, "warm dialed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forSomeProducts(t, func(t *testing.T, p product) {
				gatewayInBubble(t, nlstest.Options{Fault: faultAlways(c.fault)}, func(t *testing.T, server *nlstest.Server) {
					d := newDoomed(t, server, func(peer *peer, _ <-chan struct{}) { peer.directive() })
					s := p.new(d.client)
					s.wait = true
					c.set(s)
					begin := time.Now()
					err := s.start(startCtx(t.Context()))
					took, want := time.Since(begin), c.took
					if want == 0 {
						if want = 3 * time.Second; strings.HasPrefix(p.name, "Synthesizer") {
							want += 1500 * time.Millisecond // of the time of completion, which is another
						}
					}
					if (err == nil) != (c.want == nil) || !errors.Is(err, c.want) || took != want {
						t.Errorf("Start = %v after %v, want %v", err, took, want)
					}
					s.Shutdown()
					mustBeDone(t, s)
					synctest.Wait()
					if got := d.taken(); got != c.taken {
						t.Errorf("the connections of Start: %s", got)
					}
					d.mustLeaveNothing(t, d.client)
				})
			})
		})
	}
}

// Whatever ends a Start in the moment in which its warm connection dies, it ends,
// once, and the object can be used again.
func TestAStartThatIsEndedWhileItsWarmConnectionDies(t *testing.T) {
	t.Parallel()
	tried := effort.OneIn(5)
	type end struct {
		name string
		do   func(s *subject, cancel context.CancelFunc)
		want error
	}
	for _, e := range []end{
		{"Shutdown", func(s *subject, _ context.CancelFunc) { s.Shutdown() }, nls.ErrShutdown},
		{"cancelled", func(_ *subject, cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		for how, die := range deaths {
			t.Run(e.name+", "+how, func(t *testing.T) {
				forSomeProducts(t, func(t *testing.T, p product) {
					for round := range 6 { // with a directive or without, before or at once
						if !tried() {
							continue
						}
						gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
							d := newDoomed(t, server, func(peer *peer, dead <-chan struct{}) {
								if round%2 == 0 && !peer.directive() {
									return
								}
								<-dead
								die(peer)
							})
							defer d.dead()
							s := p.new(d.client)
							s.wait = true
							ctx, cancel := context.WithCancel(startCtx(t.Context()))
							defer cancel()
							start := goCall(func() error { return s.run(ctx) })
							if round < 4 {
								synctest.Wait()
							}
							var both sync.WaitGroup
							both.Go(d.dead)
							both.Go(func() { e.do(s, cancel) })
							both.Wait()
							if err := start.within(t, "Start", patience); err != nil && !errors.Is(err, e.want) {
								t.Errorf("Start = %v", err)
							}
							mustBeDone(t, s)
							if calls := s.called(); strings.Count(calls, "OnClose") > 1 || strings.Count(calls, "OnStart") > 1 {
								t.Errorf("called %s", calls)
							}
							again := startCtx(t.Context())
							if err := s.run(again); err != nil {
								t.Errorf("the next session: %v", err)
							}
							mustBeDone(t, s)
							d.mustLeaveNothing(t, d.client)
						})
					}
				})
			})
		}
	}
}

// The answer comes in the moment in which a pong is late. It is taken, or the
// connection was dead; never both.
func TestAnAnswerInTheMomentOfItsTimeout(t *testing.T) {
	t.Parallel()
	forEachProduct(t, func(t *testing.T, p product) {
		for range effort.Times(40, 8) {
			gatewayInBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
				d := newDoomed(t, server, func(peer *peer, _ <-chan struct{}) {
					if !peer.directive() {
						return
					}
					peer.sleep(1500 * time.Millisecond)
					if name, ok := startedEvents[p.name]; ok {
						peer.event(name, nls.StatusOK, "")
					} else {
						peer.frame(wsframe.Fin|wsframe.Binary, []byte("audio"))
					}
				})
				s := p.new(d.client)
				s.wait, s.ping, s.pong = true, time.Second, time.Second/2
				err := s.run(startCtx(t.Context()))
				mustBeDone(t, s)
				calls := firsts(s.called())
				switch taken := d.taken(); {
				case err == nil && (calls != p.calls || taken != "warm dialed"):
					t.Errorf("called %s, connections %s", calls, taken)
				case err != nil && (!errors.Is(err, nls.ErrPingTimeout) || taken != "warm" || !strings.HasSuffix(calls, "OnError OnClose")):
					t.Errorf("%v, called %s, connections %s", err, calls, taken)
				}
				d.mustLeaveNothing(t, d.client)
			})
		}
	})
}

// A gateway that accepts and hangs up is dialled as seldom as one that is down, and
// no Start notices.
func TestAGatewayThatHangsUpIsNotDialledAgainAndAgain(t *testing.T) {
	t.Parallel()
	tried := effort.OneIn(3)
	for how, die := range deaths {
		if !tried() {
			continue
		}
		t.Run(how, func(t *testing.T) {
			gatewayInBubble(t, nlstest.Options{Engine: nlstest.Script("one")}, func(t *testing.T, server *nlstest.Server) {
				var w wires
				g := newPeers(t, func(p *peer) { die(p) })
				g.shake = upgrade
				client := clientOf(t, server, func(cfg *nls.Config) {
					good := cfg.NetDialContext
					cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if ctx.Value(startKey{}) == nil {
							return g.dial(ctx, network, addr)
						}
						return good(ctx, network, addr)
					}
				}, w.keeps(2, false))
				begin := time.Now()
				for time.Since(begin) < time.Minute {
					if err := newRecognizerSubject(client).run(startCtx(t.Context())); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if n := g.count(); n < 2*5 || n > 2*7 {
					t.Errorf("%d dials in a minute", n)
				}
				w.mustLeaveNothing(t, client)
			})
		})
	}
}
