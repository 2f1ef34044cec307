package suite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/nlstest"
)

// This file is the fault matrix: every action of nlstest at every point of a
// session of every product, each with what the caller has to see. docs/faults.md
// is made from it.

// outcome is what the caller of a faulty session sees.
type outcome struct {
	says      string // in docs/faults.md
	err       string // the type that errors.As finds, with its code; "" for none of ours
	is        error  // the sentinel that errors.Is finds, if any
	status    int    // StatusCode; zero means -1
	retryable bool
	unopened  bool          // the connection was never open: no callback, no task id
	completes bool          // nil, or ErrCompleted from a call that came too late
	anyResult bool          // what was recognised or spoken may differ
	or        *outcome      // what it may be instead, if two things race
	after     time.Duration // when the caller has the error, on the virtual clock
	within    time.Duration // a bound in the place of after
}

// The outcomes. Times are the defaults of the SDK, but for PingTimeout, which is
// 5 s here.
var (
	unharmed = outcome{says: "completes, with the right result", completes: true}
	harmed   = outcome{says: "completes; the result may be incomplete or have something added", completes: true, anyResult: true}
	delayed  = outcome{says: "completes later, with the right result", completes: true, after: time.Second}
	slow     = outcome{says: "completes later, with the right result", completes: true, within: 10 * time.Second}

	lost     = outcome{says: "the connection broke", err: "*CloseError -1", retryable: true}
	violated = outcome{says: "the service broke the websocket protocol", err: "*CloseError 1002"}
	tooLong  = outcome{says: "the message is longer than 1 MiB, and is not read", err: "*CloseError 1009"}

	noStart    = outcome{says: "Start times out", is: nls.ErrStartTimeout, retryable: true, after: 10 * time.Second}
	noStop     = outcome{says: "Stop times out", is: nls.ErrStopTimeout, retryable: true, after: 10 * time.Second}
	noMessage  = outcome{says: "Stop times out: a minute without a message", is: nls.ErrStopTimeout, retryable: true, after: time.Minute}
	noComplete = outcome{says: "the synthesis times out", is: nls.ErrCompleteTimeout, retryable: true, after: time.Minute}
	noPong     = outcome{says: "a ping is not answered (with PingTimeout set)", is: nls.ErrPingTimeout, retryable: true, after: 13 * time.Second}
	patient    = outcome{says: "Wait returns when its context ends, for CommonProto has no timeout but that of Start",
		is: context.DeadlineExceeded, after: callersPatience}

	ended    = outcome{says: "Start fails, for the service has completed the task before it began", is: nls.ErrCompleted}
	unopened = outcome{says: "the connection broke before it was open", retryable: true, unopened: true}
	noAnswer = outcome{says: "Start times out", is: nls.ErrStartTimeout, retryable: true, unopened: true, after: 10 * time.Second}
)

// A reset may overtake what was sent before it.
var (
	dropped   = outcome{says: "the connection broke", err: "*CloseError -1", retryable: true, or: &unopened}
	overtaken = outcome{says: "completes, with the right result", completes: true, or: &lost}
)

// callersPatience is the deadline of the context that the callers here have.
const callersPatience = 10 * time.Minute

func closed(code int, retryable bool) outcome {
	return outcome{says: "the service closed the connection", err: fmt.Sprint("*CloseError ", code), retryable: retryable}
}

func failed(status int, retryable bool) outcome {
	o := outcome{says: "the service failed the task", err: fmt.Sprint("*TaskError ", status), status: status, retryable: retryable}
	if status == nls.StatusAccessDenied {
		o.says, o.is = "the service denied access", nls.ErrAccessDenied
	}
	return o
}

func refused(status int, retryable bool) outcome {
	o := outcome{says: "the service refused the connection", err: fmt.Sprint("*HandshakeError ", status), retryable: retryable, unopened: true}
	if status == 401 || status == 403 {
		o.is = nls.ErrAccessDenied
	}
	return o
}

// The points of a session, without the handshake.
const (
	early    = "before-start on-start"
	working  = "after-start during-audio during-text during-events"
	midway   = early + " " + working
	live     = midway + " on-stop"
	anywhere = live + " after-stop"
)

const tts = "Synthesizer" // which has all its text in Start

// faults are the rows of the matrix. What they leave out is in inapplicable.
var faults = []struct {
	do     string // actions, with their options
	at     string // points
	want   outcome
	except map[string]outcome // by product
}{
	// The handshake.
	{"refuse,code=401", "handshake", refused(401, false), nil},
	{"refuse", "handshake", refused(403, false), nil},
	{"refuse,code=404", "handshake", refused(404, false), nil},
	{"refuse,code=408", "handshake", refused(408, true), nil},
	{"refuse,code=429", "handshake", refused(429, true), nil},
	{"refuse,code=500", "handshake", refused(500, true), nil},
	{"refuse,code=503", "handshake", refused(503, true), nil},
	{"refuse,code=302", "handshake", refused(302, false), nil},
	{"refuse,code=200", "handshake", refused(200, false), nil},
	{"garbage", "handshake", refused(0, false), nil},
	{"garbage,code=101", "handshake", refused(101, false), nil},
	{"reset eof", "handshake", unopened, nil},
	{"hang halfopen trickle", "handshake", noAnswer, nil},
	{"trickle,delay=10ms", "handshake", slow, nil},
	{"delay", "handshake", delayed, nil},

	// The end of the connection.
	{"reset", "before-start", dropped, nil},
	{"reset", "on-start " + working + " on-stop", lost, nil},
	{"eof truncated", live, lost, nil},
	{"close", live, closed(1005, true), nil},
	{"close,code=1000", live, closed(1000, true), nil},
	{"close,code=1001,text=going%20away", "after-start", closed(1001, true), nil},
	{"close,code=1002", "after-start", closed(1002, false), nil},
	{"close,code=1003", "after-start", closed(1003, false), nil},
	{"close,code=1007", "after-start", closed(1007, false), nil},
	{"close,code=1008,text=policy", "after-start", closed(1008, false), nil},
	{"close,code=1009", "after-start", closed(1009, false), nil},
	{"close,code=1011,text=internal%20error", "after-start", closed(1011, true), nil},
	{"close,code=1013", "after-start", closed(1013, true), nil},
	{"close,code=4000,text=private", "after-start", closed(4000, true), nil},
	{"close,code=1006", "after-start", violated, nil}, // which is not for the wire

	// The end of the task.
	{"taskfailed", live, failed(50000000, true), nil},
	{"taskfailed,code=40000001,text=No%20privilege%20to%20this%20voice!", "on-start after-start", failed(40000001, false), nil},
	{"taskfailed,code=40000001,text=The%20token%20has%20expired!", "on-start", failed(40000001, false), nil},
	{"taskfailed,code=40000000", "after-start", failed(40000000, false), nil},
	{"taskfailed,code=40000002", "after-start", failed(40000002, false), nil},
	{"taskfailed,code=40000003", "on-start", failed(40000003, false), nil},
	{"taskfailed,code=40000004", "after-start", failed(40000004, true), nil},
	{"taskfailed,code=40000005", "on-start", failed(40000005, true), nil},
	{"taskfailed,code=40000010", "on-start", failed(40000010, false), nil},
	{"taskfailed,code=40020105", "on-start", failed(40020105, false), nil},
	{"taskfailed,code=40020106", "on-start", failed(40020106, false), nil},
	{"taskfailed,code=41040201", "after-start", failed(41040201, true), nil},
	{"taskfailed,code=43040001", "on-start", failed(43040001, true), nil},
	{"taskfailed,code=50000001", "during-events", failed(50000001, true), nil},
	{"taskfailed,code=51020001", "during-events", failed(51020001, true), nil},
	{"idle", live, failed(40000004, true), nil}, // on-stop: after audio without speech
	{"early", "on-start", ended, map[string]outcome{tts: harmed}},
	{"early", working, harmed, nil},

	// Silence.
	{"hang", early, noStart, map[string]outcome{tts: noComplete}},
	{"hang", working + " on-stop", noStop, map[string]outcome{
		tts: noComplete, "StreamSynthesizer": noMessage, "CommonProto": patient}},
	{"halfopen", early, noStart, map[string]outcome{tts: noPong}},
	{"halfopen", working + " on-stop", noStop, map[string]outcome{
		tts: noPong, "StreamSynthesizer": noPong, "CommonProto": noPong}},
	{"stopreading", "before-start", noStart, map[string]outcome{tts: noPong}},
	{"stopreading", "on-start " + working, noStop, map[string]outcome{
		tts: unharmed, "StreamSynthesizer": noPong, "CommonProto": noPong}},
	{"stopreading", "on-stop", unharmed, nil},
	{"nopong", anywhere, unharmed, nil}, // these sessions are shorter than PingInterval

	// Slowness.
	{"delay", live, delayed, nil},
	{"trickle", early, noStart, map[string]outcome{tts: noPong}},
	{"trickle", working + " on-stop", noStop, map[string]outcome{
		tts: noPong, "StreamSynthesizer": noPong, "CommonProto": noPong}},
	{"trickle,delay=1ms", live, slow, nil},

	// The usual messages, otherwise.
	{"twice", live, unharmed, nil},
	{"twice,after=1", "during-events", unharmed, map[string]outcome{tts: harmed}},
	{"fragmented", live, unharmed, nil},

	// Messages that do not belong.
	{"notjson array emptytext noheader wrongtypes unknown wrongtask wrongnamespace invalidutf8", live, unharmed, nil},
	{"nullpayload", midway, unharmed, nil},
	{"nullpayload", "on-stop", unharmed, map[string]outcome{"Recognizer": harmed, "CommonProto": harmed}},
	{"binary", live, unharmed, map[string]outcome{tts: harmed, "StreamSynthesizer": harmed}},
	{"hugetext", live, tooLong, nil},
	{"hugetext,code=64", "after-start", tooLong, nil},

	// Messages in the place of the usual one.
	{"notjson,only", "on-start", noStart, map[string]outcome{tts: unharmed}},
	{"wrongtask,only", "on-start", noStart, map[string]outcome{tts: unharmed}},
	{"unknown,only", "on-stop", noStop, map[string]outcome{"StreamSynthesizer": noMessage, "CommonProto": patient}},
	{"nullpayload,only", "on-start", unharmed, nil},
	{"wrongnamespace,only", "on-start during-events on-stop", unharmed, nil},
	{"invalidutf8,only", "on-start on-stop", unharmed, nil},

	// Broken frames.
	{"badopcode rsv masked bigping", live, violated, nil},

	// Once Completed has been seen, the client has gone.
	{"hang halfopen stopreading eof close taskfailed idle delay trickle twice late fragmented", "after-stop", unharmed, nil},
	{"notjson array emptytext noheader nullpayload wrongtypes unknown wrongnamespace wrongtask invalidutf8", "after-stop", unharmed, nil},
	{"hugetext binary badopcode rsv masked truncated bigping", "after-stop", unharmed, nil},
	{"reset", "after-stop", overtaken, nil},
}

// inapplicable are the cells that do not exist: actions and points, or products
// and points. "*" is any.
var inapplicable = []struct{ do, at, products, why string }{
	{"refuse garbage", anywhere, "*", "ParseFault refuses it: only a handshake can be answered so"},
	{"close taskfailed idle nopong stopreading twice early late notjson array emptytext noheader nullpayload wrongtypes unknown " +
		"wrongnamespace wrongtask invalidutf8 hugetext binary fragmented badopcode rsv masked truncated bigping",
		"handshake", "*", "ParseFault refuses it: there is no websocket yet"},
	{"late", live, "*", "ParseFault refuses it: nothing is late before Completed"},
	{"early", "before-start on-stop after-stop", "*", "ParseFault refuses it: there is no task, or it has been asked to complete"},
	{"*", "during-audio", "Synthesizer StreamSynthesizer", "these send no audio"},
	{"*", "during-text", "Recognizer Synthesizer CommonProto", "these send no text after Start (CommonProto is used as a recognizer here)"},
	{"*", "on-stop", "Synthesizer", "it has no Stop"},
}

// matrixProducts are the columns of the matrix: every product once.
func matrixProducts() []product {
	return slices.DeleteFunc(slices.Clone(products), func(p product) bool { return strings.Contains(p.name, "long") })
}

func has(list, item string) bool { return list == "*" || slices.Contains(strings.Fields(list), item) }

// reaches reports whether a session of product comes to a point.
func reaches(product, at string) bool {
	for _, i := range inapplicable {
		if i.do == "*" && has(i.at, at) && has(i.products, product) {
			return false
		}
	}
	return true
}

func TestFaultTableIsCurrent(t *testing.T) {
	const file = root + "docs/faults.md"
	got := faultTable()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s is not what faults_test.go says; run go test -run FaultTable ./internal/suite -update", file)
	}
}

func faultTable() string {
	var b strings.Builder
	b.WriteString(`# What a caller sees when something breaks

English | [简体中文](faults.zh-CN.md)

Made from internal/suite/faults_test.go by go test -run FaultTable ./internal/suite -update; a
test keeps it current, and another runs every line against the local gateway. The names of faults and points are those of
nlstest.ParseFault: "reset@after-start" is a TCP reset once the service has answered Start.

Whatever the fault, Done closes, no goroutine is left, OnError is called at most once, OnClose
once and last (neither if the connection was never open), and the same object starts again.
The error of a session that reached the service has its task id. Times are the defaults; with
PingTimeout unset, a line that ends in ErrPingTimeout ends with the timeout of the call or, for
CommonProto, with the caller's context; but no later than 16 s after the last answer to a ping,
once there has been one.

| fault | at | what the caller sees | after | error | Retryable | callbacks |
| --- | --- | --- | --- | --- | --- | --- |
`)
	line := func(do, at string, o outcome) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", do, at, o.says, o.when(), o.error(), o.retry(), o.callbacks())
	}
	for _, row := range faults {
		at := strings.Join(strings.Fields(row.at), ", ")
		switch row.at {
		case live:
			at = "any point before Completed"
		case anywhere:
			at = "any point"
		}
		do := strings.ReplaceAll(strings.Join(strings.Fields(row.do), ", "), "%20", " ")
		line(do, at, row.want)
		if row.want.or != nil {
			line("", "… or, since it overtakes what was sent", *row.want.or)
		}
		for _, product := range slices.Sorted(maps.Keys(row.except)) {
			line("", "… "+product, row.except[product])
		}
	}
	b.WriteString("\nThese do not happen:\n\n| fault | at | product | why |\n| --- | --- | --- | --- |\n")
	any := func(list, word string) string {
		if list == "*" {
			return word
		}
		return strings.Join(strings.Fields(list), ", ")
	}
	for _, i := range inapplicable {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", any(i.do, "any"), any(i.at, "any"), any(i.products, "any"), i.why)
	}
	b.WriteString(fileFaultTable())
	return b.String()
}

// when is when the caller has the outcome.
func (o outcome) when() string {
	switch {
	case o.after == callersPatience:
		return "that time"
	case o.within != 0:
		return "at most " + o.within.String()
	case o.after != 0:
		return o.after.String()
	}
	return "at once"
}

// retry says whether o is Retryable, if it is an error.
func (o outcome) retry() string {
	switch {
	case o.completes:
		return ""
	case o.retryable:
		return "yes"
	}
	return "no"
}

// error is the error of o as a program tests for it.
func (o outcome) error() string {
	text := strings.NewReplacer("*TaskError HTTPStatus ", "`*TaskError` HTTPStatus ", "*APIError HTTPStatus ", "`*APIError` HTTPStatus ",
		"*APIError", "`*APIError`", "*TaskError ", "`*TaskError` Status ", "*CloseError ", "`*CloseError` Code ",
		"*HandshakeError ", "`*HandshakeError` HTTPStatus ").Replace(o.err)
	switch {
	case o.is != nil:
		name := sentinelNames[o.is]
		if text != "" {
			text += ", "
		}
		text += "`" + name + "`"
	case text == "" && !o.completes:
		text = "of package net"
	}
	return text
}

var sentinelNames = map[error]string{
	nls.ErrAccessDenied: "ErrAccessDenied", nls.ErrCompleted: "ErrCompleted", nls.ErrStartTimeout: "ErrStartTimeout",
	nls.ErrStopTimeout: "ErrStopTimeout", nls.ErrCompleteTimeout: "ErrCompleteTimeout", nls.ErrPingTimeout: "ErrPingTimeout",
	nls.ErrWriteTimeout: "ErrWriteTimeout", nls.ErrFileRunning: "ErrFileRunning", context.DeadlineExceeded: "context.DeadlineExceeded",
}

// cell is one square of the matrix.
type cell struct {
	fault   string
	product product
	want    outcome
	again   bool // and then a session without a fault with the same object
}

func cells() []cell {
	var all []cell
	for _, row := range faults {
		for _, do := range strings.Fields(row.do) {
			for _, at := range strings.Fields(row.at) {
				action, options, _ := strings.Cut(do, ",")
				name := action + "@" + at
				if options != "" {
					name += "," + options
				}
				for _, p := range matrixProducts() {
					if !reaches(p.name, at) {
						continue
					}
					want, ok := row.except[p.name]
					if !ok {
						want = row.want
					}
					all = append(all, cell{name, p, want, true})
				}
			}
		}
	}
	return all
}

// The matrix is complete: every action at every point is either in faults or, with
// a reason, in inapplicable, and not in both.
func TestFaultMatrixHasEveryActionAtEveryPoint(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, c := range cells() {
		name, _, _ := strings.Cut(c.fault, ",")
		covered[name+" "+c.product.name] = true
	}
	for do := nlstest.Refuse; do <= nlstest.BigPing; do++ {
		for at := nlstest.AtHandshake; at <= nlstest.AfterStop; at++ {
			for _, p := range matrixProducts() {
				name := do.String() + "@" + at.String()
				excused, refused := false, false
				for _, i := range inapplicable {
					if has(i.do, do.String()) && has(i.at, at.String()) && has(i.products, p.name) {
						excused = true
						refused = refused || i.do != "*"
					}
				}
				if covered[name+" "+p.name] == excused {
					t.Errorf("%s of %s: in the matrix %v, inapplicable %v", name, p.name, !excused, excused)
				}
				if _, err := nlstest.ParseFault(name); (err != nil) != refused {
					t.Errorf("ParseFault(%s) = %v", name, err)
				}
			}
		}
	}
}

func TestFaultMatrix(t *testing.T) {
	all := cells()
	distinct := map[string]bool{}
	for _, c := range all {
		distinct[c.fault] = true
	}
	begin := time.Now()
	tried, again := effort.OneIn(4), effort.OneIn(3) // of each row a fourth of the cells
	t.Run("cells", func(t *testing.T) {
		for _, p := range matrixProducts() {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				for _, c := range all {
					if c.product.name == p.name && tried() {
						c.again = again()
						t.Run(c.fault, c.test)
					}
				}
			})
		}
	})
	t.Logf("%d cells: %d faults, %d products, in %v", len(all), len(distinct), len(matrixProducts()), time.Since(begin).Round(time.Millisecond))
	if len(distinct) < 35 {
		t.Errorf("%d faults, want 35", len(distinct))
	}
}

func (c cell) test(t *testing.T) {
	inBubble(t, nlstest.Options{IdleTimeout: -1, Fault: faultOnce(c.fault)}, func(t *testing.T, server *nlstest.Server) {
		client := clientOf(t, server, withToken)
		s := c.product.new(client)
		s.ping, s.pong = 8*time.Second, 5*time.Second
		s.play(t, client, c.want, 0)
		if c.again {
			s.playAgain(t, client)
		}
	})
}

// SpeechLongSynthesizer is the Synthesizer with another bound on time.
func TestFaultsOfLongTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []cell{
		{fault: "refuse@handshake", want: refused(403, false)},
		{fault: "reset@during-events", want: lost},
		{fault: "close@during-events,code=1000", want: closed(1000, true)},
		{fault: "taskfailed@on-start", want: failed(50000000, true)},
		{fault: "taskfailed@during-events,after=2", want: failed(50000000, true)},
		{fault: "hang@before-start", want: noComplete},
		{fault: "hang@during-events,after=2", want: noComplete},
		{fault: "halfopen@during-events,after=2", want: noPong},
		{fault: "early@during-events", want: harmed},
		{fault: "hugetext@during-events", want: tooLong},
		{fault: "masked@after-start", want: violated},
		{fault: "delay@during-events", want: delayed},
	} {
		c.product, c.again = product{new: newLongSynthesizerSubject}, true
		t.Run(c.fault, c.test)
	}
}

// The faults that need a session longer than the ping interval.
func TestFaultsOfALongSession(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"nopong@before-start", "nopong@on-start", "nopong@after-start", "halfopen@after-start", "stopreading@after-start",
	} {
		for _, p := range matrixProducts() {
			t.Run(p.name+"/"+fault, func(t *testing.T) {
				opts := nlstest.Options{IdleTimeout: -1, Fault: faultOnce(fault), Engine: hesitant{nlstest.Loopback()}}
				inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
					client := clientOf(t, server)
					s := p.new(client)
					s.ping, s.pong = 8*time.Second, 5*time.Second
					s.play(t, client, noPong, 30*time.Second)
					s.playAgain(t, client)
				})
			})
		}
	}
}

// Sockets of the system, where resets and certificates are real.
func TestFaultsOnRealSockets(t *testing.T) {
	tried := effort.OneIn(4)
	for _, transport := range []string{"tcp", "tls"} {
		server := nlstest.NewServer(nlstest.Options{TLS: transport == "tls", IdleTimeout: -1, ReplyDelay: -1})
		defer server.Close()
		for _, c := range []struct {
			fault string
			want  outcome
		}{
			{"refuse@handshake", refused(403, false)},
			{"refuse@handshake,code=503", refused(503, true)},
			{"garbage@handshake", refused(0, false)},
			{"reset@handshake", unopened},
			{"eof@handshake", unopened},
			{"reset@on-start", lost},
			{"reset@after-start", lost},
			{"reset@during-events", lost},
			{"eof@after-start", lost},
			{"eof@during-events", lost},
			{"truncated@after-start", lost},
			{"close@after-start,code=1011", closed(1011, true)},
			{"close@during-events,code=4000", closed(4000, true)},
			{"taskfailed@on-start,code=40000005", failed(40000005, true)},
			{"taskfailed@during-events", failed(50000000, true)},
			{"hugetext@during-events", tooLong},
			{"badopcode@after-start", violated},
			{"early@after-start", harmed},
			{"fragmented@during-events", unharmed},
			{"twice@on-stop", unharmed},
		} {
			for _, p := range matrixProducts() {
				if !tried() {
					continue
				}
				t.Run(transport+"/"+p.name+"/"+c.fault, func(t *testing.T) {
					s := p.new(clientOf(t, server, func(cfg *nls.Config) { cfg.URL += "?fault=" + c.fault }))
					s.mustEnd(t, c.want)
				})
			}
		}
	}
}

func TestCertificatesAreChecked(t *testing.T) {
	encrypted := nlstest.NewServer(nlstest.Options{TLS: true})
	defer encrypted.Close()
	plain := nlstest.NewServer(nlstest.Options{})
	defer plain.Close()
	closed := nlstest.NewServer(nlstest.Options{})
	closed.Close()
	certificate := outcome{unopened: true}
	for _, c := range []struct {
		name   string
		server *nlstest.Server
		change func(*nls.Config)
		want   outcome
	}{
		{"unknown authority", encrypted, func(cfg *nls.Config) { cfg.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool()} }, certificate},
		{"wrong host name", encrypted, func(cfg *nls.Config) { cfg.TLSConfig.ServerName = "nls-gateway.example" }, certificate},
		{"expired", encrypted, func(cfg *nls.Config) {
			cfg.TLSConfig.Time = func() time.Time { return time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, certificate},
		{"not yet valid", encrypted, func(cfg *nls.Config) {
			cfg.TLSConfig.Time = func() time.Time { return time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, certificate},
		{"no TLS at all", plain, func(cfg *nls.Config) { cfg.URL = strings.Replace(cfg.URL, "ws:", "wss:", 1) }, certificate},
		{"TLS unasked for", encrypted, func(cfg *nls.Config) { cfg.URL = strings.Replace(cfg.URL, "wss:", "ws:", 1) }, refused(400, false)},
		{"nobody listens", closed, func(*nls.Config) {}, unopened},
		{"none of the system's authorities", encrypted, func(cfg *nls.Config) { cfg.TLSConfig = nil }, certificate},
	} {
		for _, p := range matrixProducts() {
			t.Run(c.name+"/"+p.name, func(t *testing.T) {
				s := p.new(clientOf(t, c.server, func(cfg *nls.Config) {
					cfg.TLSConfig = cfg.TLSConfig.Clone()
					c.change(cfg)
				}))
				s.mustEnd(t, c.want)
			})
		}
	}
}

// mustEnd runs a session on the clock of the system.
func (s *subject) mustEnd(t *testing.T, want outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	err := s.use(ctx, 0)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	<-s.Done()
	s.mustSee(t, err, want)
	mustLeaveNoGoroutine(t) // that which closes Done needs a moment to end
}

// hesitant is an engine that falls silent for half a minute after the first sound.
type hesitant struct{ nlstest.Engine }

func (h hesitant) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func([]byte, []nls.Subtitle) error) error {
	first := true
	return h.Engine.Synthesize(ctx, text, v, func(pcm []byte, words []nls.Subtitle) error {
		err := emit(pcm, words)
		if first {
			first = false
			select {
			case <-time.After(30 * time.Second):
			case <-ctx.Done():
			}
		}
		return err
	})
}

// play runs a session that has a fault and looks at everything that its caller can
// see. pause is spent between the input and Stop.
func (s *subject) play(t *testing.T, c *nls.Client, want outcome, pause time.Duration) {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), callersPatience)
	defer cancel()
	err := s.use(ctx, pause)
	took := time.Since(begin)
	if want.after == callersPatience && took == callersPatience {
		s.Shutdown() // the caller has to
	}
	<-s.Done()
	atEnd := len(s.calls)
	synctest.Wait()
	mustHaveNoGoroutine(t)

	want = s.mustSee(t, err, want)
	if want.within != 0 && took > want.within || want.within == 0 && took != want.after {
		t.Errorf("took %v, want %v, at most %v", took, want.after, want.within)
	}
	if want.completes && !want.anyResult {
		if text := s.result(t, c); text != spoken {
			t.Errorf("the result is %q, want %q", text, spoken)
		}
	}

	// Nothing comes after Done.
	time.Sleep(time.Minute)
	if len(s.calls) != atEnd {
		t.Errorf("called %s after Done", s.calls[atEnd:])
	}
}

// playAgain runs a session that has no fault: the object is as good as new.
func (s *subject) playAgain(t *testing.T, c *nls.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callersPatience)
	defer cancel()
	s.calls, s.errs, s.closes, s.audio = nil, nil, nil, nil
	s.text.Reset()
	if err := s.use(ctx, 0); err != nil {
		t.Fatalf("the next session: %v", err)
	}
	if text := s.result(t, c); text != spoken {
		t.Errorf("the result of the next session is %q, want %q", text, spoken)
	}
	if calls := firstCalls(s.called()); !strings.HasSuffix(calls, "OnClose") || strings.Contains(calls, "OnError") {
		t.Errorf("the next session called %s", calls)
	}
}

// mustSee checks all that the caller sees of a session whose calls returned err. It
// returns the outcome if there was a choice.
func (s *subject) mustSee(t *testing.T, err error, want outcome) outcome {
	t.Helper()
	// What the calls say.
	if want.or != nil && describe(err) != want.err {
		want = *want.or
	}
	mustSeeOf(t, err, want)

	// What everybody else is told.
	switch cause := s.Err(); {
	case want.after == callersPatience:
		if !errors.Is(cause, nls.ErrShutdown) {
			t.Errorf("Err = %v after Shutdown", cause)
		}
	case want.completes, want.is == nls.ErrCompleted:
		if cause != nil {
			t.Errorf("Err = %v", cause)
		}
	default:
		if cause != err {
			t.Errorf("Err = %v, the call returned %v", cause, err)
		}
		if got := nls.TaskID(err); want.unopened && got != "" || !want.unopened && got != s.TaskID() {
			t.Errorf("TaskID(%v) = %q, want %q", err, got, s.TaskID())
		}
	}
	var last []string
	for _, call := range s.calls {
		if call == "OnError" || call == "OnClose" {
			last = append(last, call)
		}
	}
	if got := strings.Join(last, " "); got != want.callbacks() {
		t.Errorf("called %s; want %q last", s.calls, want.callbacks())
	}
	if n := len(s.calls); want.unopened && n != 0 || !want.unopened && s.calls[n-1] != "OnClose" {
		t.Errorf("called %s", s.calls)
	}
	for _, handler := range []string{"OnOpen", "OnStart", "RecognitionStarted", "OnCompleted", "RecognitionCompleted", "TaskFailed"} {
		if n := strings.Count(" "+strings.Join(s.calls, " ")+" ", " "+handler+" "); n > 1 {
			t.Errorf("%s was called %d times", handler, n)
		}
	}
	for _, e := range s.errs {
		if e.Err != err || e.TaskID != s.TaskID() || (len(e.Raw) > 0) != (want.status != 0) {
			t.Errorf("ErrorEvent %+v", e)
		}
	}
	for _, e := range s.closes {
		if e.Err != s.Err() || e.TaskID != s.TaskID() {
			t.Errorf("CloseEvent %+v", e)
		}
	}
	return want
}

// mustSeeOf checks what the caller sees of an error.
func mustSeeOf(t *testing.T, err error, want outcome) {
	t.Helper()
	switch got := describe(err); {
	case want.completes && err != nil, !want.completes && err == nil, got != want.err:
		t.Fatalf("the caller got %v, a %q; want %q", err, got, want.err)
	}
	for _, sentinel := range sentinels {
		if is := errors.Is(err, sentinel); is != (sentinel == want.is || sentinel == context.DeadlineExceeded && errors.Is(want.is, sentinel)) {
			t.Errorf("errors.Is(%v, %v) = %v", err, sentinel, is)
		}
	}
	if got := nls.StatusCode(err); want.status == 0 && got != -1 || want.status != 0 && got != want.status {
		t.Errorf("StatusCode = %d", got)
	}
	if got := nls.Retryable(err); got != want.retryable {
		t.Errorf("Retryable(%v) = %v", err, got)
	}
}

// use is run with everything that a session can do. Sending to a task that the
// service has completed is not an error here, as it is none for Pump.
func (s *subject) use(ctx context.Context, pause time.Duration) error {
	err := s.start(ctx)
	for _, send := range []func() error{s.ctrl, s.send} {
		if err == nil && send != nil {
			if err = send(); errors.Is(err, nls.ErrCompleted) {
				err = nil
			}
		}
	}
	if err != nil {
		return err
	}
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-s.Done():
		}
	}
	return s.stop(ctx)
}

func (o outcome) callbacks() string {
	switch {
	case o.unopened:
		return ""
	case o.completes, o.is == nls.ErrCompleted, o.after == callersPatience:
		return "OnClose"
	}
	return "OnError OnClose"
}

// describe is the error type in err's chain, with its code.
func describe(err error) string {
	if e, ok := errors.AsType[*nls.TaskError](err); ok && e.Status == 0 && e.HTTPStatus != 0 {
		return fmt.Sprint("*TaskError HTTPStatus ", e.HTTPStatus)
	} else if ok {
		return fmt.Sprint("*TaskError ", e.Status)
	}
	if e, ok := errors.AsType[*nls.APIError](err); ok && e.HTTPStatus != 0 {
		return fmt.Sprint("*APIError HTTPStatus ", e.HTTPStatus)
	} else if ok {
		return "*APIError"
	}
	if e, ok := errors.AsType[*nls.CloseError](err); ok {
		return fmt.Sprint("*CloseError ", e.Code)
	}
	if e, ok := errors.AsType[*nls.HandshakeError](err); ok {
		return fmt.Sprint("*HandshakeError ", e.HTTPStatus)
	}
	if _, ok := errors.AsType[*nls.TokenError](err); ok {
		return "*TokenError"
	}
	return ""
}

var sentinels = []error{
	nls.ErrInvalidParameter, nls.ErrAccessDenied, nls.ErrAlreadyStarted, nls.ErrNotStarted, nls.ErrStopping, nls.ErrCompleted,
	nls.ErrFileRunning, nls.ErrShutdown, nls.ErrStartTimeout, nls.ErrStopTimeout, nls.ErrCompleteTimeout, nls.ErrPingTimeout, nls.ErrWriteTimeout,
	context.Canceled, context.DeadlineExceeded,
}

// goroutinesOfSessions counts the goroutines of package session in this bubble,
// or in this process if there is none.
func goroutinesOfSessions() (n int, stacks string) {
	dump := make([]byte, 256<<10)
	for {
		if n := runtime.Stack(dump, true); n < len(dump) {
			dump = dump[:n]
			break
		}
		dump = make([]byte, 2*len(dump))
	}
	bubble := ""
	var ours []string
	for i, g := range strings.Split(string(dump), "\n\n") {
		header, _, _ := strings.Cut(g, "\n")
		if i == 0 { // this goroutine
			if _, after, ok := strings.Cut(header, "synctest bubble"); ok {
				bubble = "synctest bubble" + after
			}
		}
		if i := strings.LastIndex(g, "created by "); i >= 0 && strings.Contains(g[i:], "internal/session.") && strings.HasSuffix(header, bubble) {
			ours = append(ours, g)
		}
	}
	return len(ours), strings.Join(ours, "\n\n")
}

// mustHaveNoGoroutine fails the test if a goroutine of package session is left in its
// bubble, which it looks at now and then: stacks are taken while the whole process
// stands still. What is left for good ends no bubble either.
func mustHaveNoGoroutine(t *testing.T) {
	t.Helper()
	if !turnOfStacks() {
		return
	}
	if n, stacks := goroutinesOfSessions(); n != 0 {
		t.Errorf("%d goroutines left:\n%s", n, stacks)
	}
}

var turnOfStacks = effort.OneIn(10)

// mustLeaveNoGoroutine waits until no goroutine of package session is left in this
// process.
func mustLeaveNoGoroutine(t *testing.T) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		n, stacks := goroutinesOfSessions()
		if n == 0 {
			return
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("%d goroutines left:\n%s", n, stacks)
		}
	}
}
