package nlstest

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is one way to misbehave, at one point of a session. It happens once for
// each connection.
//
// The usual message of a point is what the server says there when it behaves:
// the 101 at AtHandshake, ...Started at OnStart (for SpeechSynthesizer, which has
// none, its first message), the result or audio itself at DuringEvents,
// ...Completed at OnStop, and at the other points the message that is sent next.
type Fault struct {
	At    Point
	Do    Action
	Code  int           // HTTP status, task status, close code, or MiB, as Do needs; zero means what Do says
	Text  string        // body, status text or close reason
	After int           // at DuringAudio, DuringText and DuringEvents: how many messages later
	Delay time.Duration // for Delay and Trickle; zero means one second
	Only  bool          // leave the usual message out
}

// Point is where in a session a Fault happens.
type Point int

// The points, in the order of a session.
const (
	AtHandshake  Point = iota // handshake: instead of 101
	BeforeStart               // before-start: connected, nothing received
	OnStart                   // on-start: Start received, not answered
	AfterStart                // after-start: Started sent
	DuringAudio               // during-audio: a binary message received
	DuringText                // during-text: RunSynthesis, FlushText or Control received
	DuringEvents              // during-events: a result or audio is about to be sent
	OnStop                    // on-stop: Stop received, not answered
	AfterStop                 // after-stop: Completed sent
)

// String returns the name of p in ParseFault.
func (p Point) String() string { return nameOf(pointNames, int(p)) }

// pointNames are the names of the points, in their order.
var pointNames = []string{
	"handshake", "before-start", "on-start", "after-start", "during-audio", "during-text", "during-events", "on-stop", "after-stop",
}

// Action is what a Fault does.
type Action int

// The actions. Those that send a message of their own send it before the usual
// one, and in its place if Fault.Only is set. Where that is an event, it takes
// after the usual message at OnStart, DuringEvents and OnStop, and elsewhere after
// the message sent last.
const (
	Refuse      Action = iota // refuse: HTTP Code, 403 if zero, with Text (AtHandshake only)
	Garbage                   // garbage: bytes that are no HTTP; with Code 101 an upgrade with a broken accept key (AtHandshake only)
	Hang                      // hang: no answer from here on, still reading; pings are answered
	HalfOpen                  // halfopen: neither reads nor writes any more
	Reset                     // reset: TCP reset
	EOF                       // eof: TCP end without a close frame
	CloseFrame                // close: close frame with Code and Text; with Code zero one without a code
	TaskFailed                // taskfailed: TaskFailed with Code, 50000000 if zero, and Text
	NoPong                    // nopong: pings are never answered
	StopReading               // stopreading: writes on, reads no more
	Delay                     // delay: the usual message comes Delay later
	Trickle                   // trickle: the usual message comes one byte every Delay
	Twice                     // twice: the usual message comes two times; after-start and after-stop: once more
	Early                     // early: Completed without having been asked
	Late                      // late: a result or audio after Completed (AfterStop only)
	NotJSON                   // notjson: a text message that is no JSON
	JSONArray                 // array: a text message that is a JSON array
	EmptyText                 // emptytext: a text message of no bytes
	NoHeader                  // noheader: an object without header
	NullPayload               // nullpayload: an event with "payload":null
	WrongTypes                // wrongtypes: header fields of other JSON types
	UnknownName               // unknown: a well-formed event with an unknown name
	WrongSpace                // wrongnamespace: an event of another namespace
	WrongTask                 // wrongtask: an event of another task
	InvalidUTF8               // invalidutf8: an event whose text is not UTF-8
	HugeText                  // hugetext: an event of Code MiB, 1 if zero
	Binary                    // binary: a binary message where none belongs
	Fragmented                // fragmented: the usual message in three frames with a ping between
	BadOpcode                 // badopcode: a frame with a reserved opcode
	ReservedBit               // rsv: a frame with a reserved bit set
	Masked                    // masked: a masked server frame
	Truncated                 // truncated: half a frame, then the end
	BigPing                   // bigping: a ping with an oversize payload
	Idle                      // idle: TaskFailed 40000004 in the words of the idle cut, which name the last directive; on-stop: as after audio without speech, elsewhere as of a service that is too busy
)

// String returns the name of a in ParseFault.
func (a Action) String() string { return nameOf(actionNames, int(a)) }

// actionNames are the names of the actions, in their order.
var actionNames = []string{
	"refuse", "garbage", "hang", "halfopen", "reset", "eof", "close", "taskfailed", "nopong", "stopreading",
	"delay", "trickle", "twice", "early", "late",
	"notjson", "array", "emptytext", "noheader", "nullpayload", "wrongtypes", "unknown", "wrongnamespace", "wrongtask",
	"invalidutf8", "hugetext", "binary", "fragmented", "badopcode", "rsv", "masked", "truncated", "bigping", "idle",
}

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return strconv.Itoa(i)
	}
	return names[i]
}

// maxHugeText is the most MiB that HugeText sends.
const maxHugeText = 1024

// Task is a task whose Start the Server has accepted.
type Task struct {
	Conn      int // its connection; connections count from 1
	Number    int // on that connection, from 1
	AppKey    string
	Namespace string // the product, such as "SpeechTranscriber"
	TaskID    string
}

// faultPrefix begins a token or an app key that is the name of a fault.
const faultPrefix = "fault:"

// check reports a Fault that cannot happen.
func (f *Fault) check() error {
	can := true
	switch f.Do {
	case Refuse, Garbage:
		can = f.At == AtHandshake
	case Hang, HalfOpen, Reset, EOF, Delay, Trickle:
	case Late:
		can = f.At == AfterStop
	case Early:
		can = f.At > BeforeStart && f.At < OnStop
	default:
		can = f.At != AtHandshake
	}
	switch {
	case !can:
		return fmt.Errorf("nlstest: fault %s does not happen at %s", f.Do, f.At)
	case f.Code < 0 || f.After < 0 || f.Delay < 0:
		return fmt.Errorf("nlstest: fault %s: negative value", f.Do)
	case f.Do == Refuse && f.Code != 0 && (f.Code < 200 || f.Code > 599):
		return fmt.Errorf("nlstest: fault %s: code %d is no HTTP status", f.Do, f.Code)
	case f.Do == CloseFrame && (f.Code > 0xffff || len(f.Text) > 123):
		return fmt.Errorf("nlstest: fault %s: code or text is too long for a close frame", f.Do)
	case f.Do == HugeText && f.Code > maxHugeText:
		return fmt.Errorf("nlstest: fault %s: code is above %d MiB", f.Do, maxHugeText)
	}
	return nil
}

// ParseFault reads the name of a fault, such as "reset@after-start" or
// "taskfailed@during-audio,code=50000000,after=3": an action, a point and any of
// code=N, text=T, after=N, delay=D and only. D is a duration such as 200ms; in T
// a comma is written %2C and a percent sign %25.
//
// A program that cannot set Options names a fault in the URL, as ?fault=NAME, or has
// "fault:NAME" for its token; either is of the connection. "fault:NAME" for its AppKey
// is of each of its tasks: the points from OnStart on. Such a token and AppKey are
// good for the default account. What Options say goes before.
func ParseFault(name string) (*Fault, error) {
	head, rest, more := strings.Cut(name, ",")
	do, at, ok := strings.Cut(head, "@")
	if !ok {
		return nil, fmt.Errorf("nlstest: fault %q: want action@point", name)
	}
	f := new(Fault)
	if f.Do = Action(slices.Index(actionNames, do)); f.Do < 0 {
		return nil, fmt.Errorf("nlstest: fault %q: unknown action", name)
	}
	if f.At = Point(slices.Index(pointNames, at)); f.At < 0 {
		return nil, fmt.Errorf("nlstest: fault %q: unknown point", name)
	}
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "code":
			f.Code, err = strconv.Atoi(value)
		case "text":
			f.Text, err = url.PathUnescape(value)
		case "after":
			f.After, err = strconv.Atoi(value)
		case "delay":
			f.Delay, err = time.ParseDuration(value)
		case "only":
			f.Only = true
		default:
			return nil, fmt.Errorf("nlstest: fault %q: unknown option %q", name, key)
		}
		if err != nil {
			return nil, fmt.Errorf("nlstest: fault %q: %w", name, err)
		}
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// String returns the name that ParseFault reads.
func (f *Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s@%s", f.Do, f.At)
	if f.Code != 0 {
		fmt.Fprintf(&b, ",code=%d", f.Code)
	}
	if f.Text != "" {
		fmt.Fprintf(&b, ",text=%s", url.PathEscape(f.Text))
	}
	if f.After != 0 {
		fmt.Fprintf(&b, ",after=%d", f.After)
	}
	if f.Delay != 0 {
		fmt.Fprintf(&b, ",delay=%s", f.Delay)
	}
	if f.Only {
		b.WriteString(",only")
	}
	return b.String()
}
