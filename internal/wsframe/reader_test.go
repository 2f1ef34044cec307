package wsframe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/nlsgo/nls/internal/effort"
	"github.com/nlsgo/nls/internal/wsframe"
)

// limit is the longest message here. small is the buffer that a Reader waits with,
// big the one that it borrows.
const (
	limit = 1 << 20
	small = 512
	big   = 64 << 10
)

// item is what Next returns, kept.
type item struct {
	opcode  byte
	payload string
}

func (i item) String() string { return fmt.Sprintf("{%d of %d bytes}", i.opcode, len(i.payload)) }

// readAll is what Next returns up to its error.
func readAll(r *wsframe.Reader) (items []item, err error) {
	for {
		opcode, payload, err := r.Next()
		if err != nil {
			if opcode != 0 || payload != nil {
				panic("a message and an error")
			}
			return items, err
		}
		items = append(items, item{opcode, string(payload)})
	}
}

// server is what a server sends.
type server []byte

func (s server) frame(first byte, payload string) server {
	return wsframe.Append(s, first, []byte(payload))
}

// message adds a message of one frame, the most usual case.
func (s server) message(payload string) server { return s.frame(wsframe.Fin|wsframe.Binary, payload) }

func reader(stream []byte) *wsframe.Reader {
	return wsframe.NewReader(bytes.NewReader(stream), nil, limit)
}

// reads is a source that takes one step a Read, or several if they do not fit:
// bytes, an error, or both. It notes how much it was offered room for, which is
// the buffer of a Reader that has nothing in it.
type reads struct {
	steps []step
	room  []int
}

type step struct {
	data []byte
	err  error
}

func (s *reads) Read(p []byte) (int, error) {
	s.room = append(s.room, len(p))
	if len(s.steps) == 0 {
		return 0, io.EOF
	}
	next := &s.steps[0]
	n := copy(p, next.data)
	if next.data = next.data[n:]; len(next.data) > 0 {
		return n, nil
	}
	err := next.err
	s.steps = s.steps[1:]
	return n, err
}

// stutter returns nothing as often as a source may before each byte or error.
type stutter struct {
	io.Reader
	empty int
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.empty++; s.empty%100 != 0 {
		return 0, nil
	}
	return s.Reader.Read(p[:1])
}

// splits are the ways in which the same bytes may come.
var splits = []struct {
	name string
	of   func(io.Reader) io.Reader
}{
	{"all at once", func(r io.Reader) io.Reader { return r }},
	{"one byte at a time", iotest.OneByteReader},
	{"half of what is asked for", iotest.HalfReader},
	{"the end with the last byte", iotest.DataErrReader},
	{"halves and the end", func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.HalfReader(r)) }},
}

func TestMessagesOfEveryLengthAreReadHoweverTheyCome(t *testing.T) {
	effort.Long(t)
	// Around what changes the header or the buffer.
	var sizes []int
	for _, at := range []int{1, 126, small - 3, small, small + 4, 8000, big - 4, big, big + 4, 2 * big} {
		for n := at - 1; n <= at+1; n++ {
			sizes = append(sizes, n)
		}
	}
	sizes = append(sizes, limit-1, limit)
	for _, n := range sizes {
		want := []item{
			{wsframe.Text, ""}, {wsframe.Ping, string(noise(n % 126))}, {wsframe.Binary, string(noise(n))},
			{wsframe.Text, string(noise(n / 3))}, {wsframe.Close, string(noise(125))},
		}
		var stream server
		for _, i := range want {
			stream = stream.frame(wsframe.Fin|i.opcode, i.payload)
		}
		for _, split := range splits {
			if split.name == "one byte at a time" && n > big+5 {
				continue // takes long under the race detector, and says nothing more
			}
			items, err := readAll(wsframe.NewReader(split.of(bytes.NewReader(stream)), nil, limit))
			if err != io.EOF || !slices.Equal(items, want) {
				t.Errorf("%d bytes, %s: %v, %v", n, split.name, items, err)
			}
		}
	}
}

func TestFragmentsAreOneMessage(t *testing.T) {
	const fin, text, bin, more = wsframe.Fin, wsframe.Text, wsframe.Binary, wsframe.Continuation
	long, longer := string(noise(8000)), string(noise(100_000))
	for _, test := range []struct {
		name   string
		stream server
		want   []item
	}{
		{"two", server(nil).frame(text, "a").frame(fin|more, "b"), []item{{text, "ab"}}},
		{"three", server(nil).frame(bin, "a").frame(more, "b").frame(fin|more, "c"), []item{{bin, "abc"}}},
		{"of nothing", server(nil).frame(bin, "").frame(more, "").frame(fin|more, ""), []item{{bin, ""}}},
		{"the first is empty", server(nil).frame(bin, "").frame(fin|more, "a"), []item{{bin, "a"}}},
		{"the last is empty", server(nil).frame(bin, "a").frame(fin|more, ""), []item{{bin, "a"}}},
		{
			"long and short", server(nil).frame(bin, long).frame(more, "a").frame(more, longer).frame(fin|more, long),
			[]item{{bin, long + "a" + longer + long}},
		},
		{
			"control frames between",
			server(nil).frame(bin, "a").frame(fin|wsframe.Ping, "p").frame(more, long).frame(fin|wsframe.Pong, "").
				frame(fin|wsframe.Ping, "q").frame(fin|more, "b").frame(fin|text, "next"),
			[]item{{wsframe.Ping, "p"}, {wsframe.Pong, ""}, {wsframe.Ping, "q"}, {bin, "a" + long + "b"}, {text, "next"}},
		},
		{
			"a goodbye between", server(nil).frame(bin, "a").frame(fin|wsframe.Close, "\x03\xe8"),
			[]item{{wsframe.Close, "\x03\xe8"}},
		},
		{
			"one message after the other",
			server(nil).frame(bin, "a").frame(fin|more, "b").frame(text, "c").frame(fin|more, "d").message("e"),
			[]item{{bin, "ab"}, {text, "cd"}, {bin, "e"}},
		},
	} {
		for _, split := range splits {
			t.Run(test.name+", "+split.name, func(t *testing.T) {
				items, err := readAll(wsframe.NewReader(split.of(bytes.NewReader(test.stream)), nil, limit))
				end := io.EOF
				if last := test.want[len(test.want)-1]; last.opcode == wsframe.Close {
					end = io.ErrUnexpectedEOF // the message goes on after it
				}
				if err != end || !slices.Equal(items, test.want) {
					t.Errorf("%v, %v", items, err)
				}
			})
		}
	}
}

func TestBrokenFramesAreRefusedByTheirHeader(t *testing.T) {
	const fin, text, bin, more = wsframe.Fin, wsframe.Text, wsframe.Binary, wsframe.Continuation
	masked := string(wsframe.AppendMasked(nil, fin|bin, []byte("hello"), [4]byte{1, 2, 3, 4})[:2])
	type test struct {
		name   string
		before server // is in order, but for a message that has not ended
		header string
		want   string
	}
	tests := []test{
		{"masked", nil, masked, "masks"},
		{"masked and long", nil, "\x82\xff", "masks"},
		{"masked control frame", nil, "\x89\x80", "masks"},
		{"first reserved bit", nil, "\xc1\x00", "reserved bits in 0xc1"},
		{"second reserved bit", nil, "\xa1\x00", "reserved bits in 0xa1"},
		{"third reserved bit", nil, "\x91\x00", "reserved bits in 0x91"},
		{"reserved bit of a control frame", nil, "\xc9\x00", "reserved bits in 0xc9"},
		{"reserved bit of a fragment", server(nil).frame(text, "a"), "\xc0\x00", "reserved bits in 0xc0"},
		{"control frame too long", nil, "\x89\x7e", "too long"},
		{"control frame much too long", nil, "\x89\x7f", "too long"},
		{"goodbye too long", nil, "\x88\x7e", "too long"},
		{"fragmented ping", nil, "\x09\x01", "in fragments"},
		{"fragmented goodbye", nil, "\x08\x02", "in fragments"},
		{"fragmented pong within a message", server(nil).frame(bin, "a"), "\x0a\x00", "in fragments"},
		{"continuation of nothing", nil, "\x00\x01", "continuation of no message"},
		{"last continuation of nothing", nil, "\x80\x00", "continuation of no message"},
		{"continuation of a whole message", server(nil).message("a"), "\x80\x00", "continuation of no message"},
		{
			"continuation of a message that has ended", server(nil).frame(bin, "a").frame(fin|more, "b"), "\x80\x00",
			"continuation of no message",
		},
		{"continuation of a ping", server(nil).frame(fin|wsframe.Ping, "a"), "\x80\x00", "continuation of no message"},
		{"text within a message", server(nil).frame(bin, "a"), "\x81\x01", "message within a message"},
		{"binary within a message", server(nil).frame(text, ""), "\x82\x01", "message within a message"},
		{
			"a fragment within a message, after a ping", server(nil).frame(text, "a").frame(fin|wsframe.Ping, ""), "\x01\x01",
			"message within a message",
		},
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		want := fmt.Sprintf("unknown opcode %d", opcode)
		tests = append(tests,
			test{fmt.Sprintf("opcode %d", opcode), nil, string([]byte{fin | opcode, 0}), want},
			test{fmt.Sprintf("opcode %d within a message", opcode), server(nil).frame(text, "a"), string([]byte{fin | opcode, 0}), want})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Two bytes say it: whoever waits for more waits on a peer that is wrong.
			src := &reads{steps: []step{{append(test.before, test.header...), nil}, {nil, errors.New("asked for more")}}}
			_, err := readAll(wsframe.NewReader(src, nil, limit))
			e, ok := errors.AsType[*wsframe.Error](err)
			if !ok || e.Code != wsframe.CloseProtocol {
				t.Fatalf("%v", err)
			}
			if text := e.Error(); !strings.HasPrefix(text, "websocket: ") || !strings.Contains(text, test.want) {
				t.Errorf("%q, want %q", text, test.want)
			}
		})
	}
}

func TestMessagesEndAtTheLimit(t *testing.T) {
	const fin, bin, more, ping = wsframe.Fin, wsframe.Binary, wsframe.Continuation, wsframe.Fin | wsframe.Ping
	of := func(n int) string { return strings.Repeat("x", n) }
	header := func(s server, first byte, n uint64) server {
		return binary.BigEndian.AppendUint64(append(s, first, 127), n)
	}
	for _, test := range []struct {
		name     string
		limit    int
		stream   server
		messages int
		over     bool
	}{
		{"at the limit", 200, server(nil).message(of(200)), 1, false},
		{"over it", 200, server(nil).frame(fin|bin, of(201))[:4], 0, true},
		{"a short one over it", 100, server(nil).frame(fin|bin, of(101))[:2], 0, true},
		{"fragments at it", 200, server(nil).frame(bin, of(120)).frame(more, of(40)).frame(fin|more, of(40)), 1, false},
		{"fragments over it", 200, append(server(nil).frame(bin, of(120)).frame(more, of(40)), more, 41), 0, true},
		{"a fragment over it", 200, header(nil, bin, 201), 0, true},
		{"nothing after the limit", 200, server(nil).frame(bin, of(200)).frame(fin|more, ""), 1, false},
		{"each message anew", 100, server(nil).frame(bin, of(60)).frame(fin|more, of(40)).message(of(100)).message(of(100)), 3, false},
		{"pings do not count", 100, server(nil).frame(bin, of(60)).frame(ping, of(125)).frame(fin|more, of(40)), 2, false},
		{"a ping may be longer", 10, server(nil).frame(ping, of(125)), 1, false},
		{"a goodbye may be longer", 10, server(nil).frame(fin|wsframe.Close, of(125)), 1, false},
		{"nothing is allowed", 0, server(nil).message("").frame(bin, "").frame(fin|more, "").frame(ping, "a"), 3, false},
		{"nothing is allowed and one byte comes", 0, append(server(nil), fin|bin, 1), 0, true},
		{"2^32", 200, header(nil, fin|bin, 1<<32), 0, true},
		{"2^32 and what is allowed", 200, header(nil, fin|bin, 1<<32+100), 0, true},
		{"2^63-1", 200, header(nil, fin|bin, 1<<63-1), 0, true},
		{"2^63", 200, header(nil, fin|bin, 1<<63), 0, true},
		{"2^63 and what is allowed", 200, header(nil, fin|bin, 1<<63+100), 0, true},
		{"2^64-1", 200, header(nil, fin|bin, 1<<64-1), 0, true},
		{"2^63 without a limit", math.MaxInt, header(nil, fin|bin, 1<<63), 0, true},
		{"a sum of 2^63 without a limit", math.MaxInt, header(server(nil).frame(bin, "a"), fin|more, 1<<63-1), 0, true},
		// Lengths in more bytes than they need are against RFC 6455 §5.2, but they
		// harm nobody and gorilla has always taken them.
		{"a short length in eight bytes", 200, append(header(nil, fin|bin, 5), "hello"...), 1, false},
		{"a short length in two bytes", 200, append(server(nil), "\x82\x7e\x00\x05hello"...), 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The header says it, and costs no memory.
			src := &reads{steps: []step{{test.stream, nil}}}
			items, err := readAll(wsframe.NewReader(src, nil, test.limit))
			e, over := errors.AsType[*wsframe.Error](err)
			if len(items) != test.messages || over != test.over || !over && err != io.EOF {
				t.Errorf("%v, %v", items, err)
			}
			if over && (e.Code != wsframe.CloseTooBig || !strings.Contains(e.Error(), fmt.Sprintf("more than %d bytes", test.limit))) {
				t.Errorf("code %d: %v", e.Code, e)
			}
			if most := slices.Max(src.room); most > small {
				t.Errorf("room for %d bytes", most)
			}
		})
	}
}

func TestGoodbyesAreReadAsTheRFCSays(t *testing.T) {
	for code := range 1 << 16 {
		// RFC 6455 §7.4, and the codes that have been registered since: none that no
		// frame may have, and none that is not given out.
		valid := code >= 3000 && code <= 4999 || slices.Contains([]int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}, code)
		payload := wsframe.AppendClose(nil, code)
		got, reason, err := wsframe.ParseClose(payload)
		if valid && (err != nil || got != code || reason != "") {
			t.Errorf("%d: %d, %q, %v", code, got, reason, err)
		}
		if e, ok := errors.AsType[*wsframe.Error](err); !valid && (!ok || got != 0 || e.Code != wsframe.CloseProtocol || !strings.Contains(e.Error(), fmt.Sprint(code))) {
			t.Errorf("%d: %d, %v", code, got, err)
		}
	}
	for _, test := range []struct {
		payload string
		code    int // 0 if it is refused
		reason  string
	}{
		{"", wsframe.CloseNoStatus, ""},
		{"\x03", 0, ""},
		{"\x03\xe8", wsframe.CloseNormal, ""},
		{"\x03\xe8bye", wsframe.CloseNormal, "bye"},
		{"\x0f\xa0再见", 4000, "再见"},
		{"\x0f\xa0\x00", 4000, "\x00"},
		{"\x0f\xa0" + strings.Repeat("x", 123), 4000, strings.Repeat("x", 123)},
		{"\x03\xe8\xff", 0, ""},
		{"\x03\xe8再\xe8\xa7", 0, ""},
		{"\x03\xe8\xed\xa0\x80", 0, ""}, // half of a surrogate pair
	} {
		code, reason, err := wsframe.ParseClose([]byte(test.payload))
		e, refused := errors.AsType[*wsframe.Error](err)
		if code != test.code || reason != test.reason || refused != (test.code == 0) || refused && e.Code != wsframe.CloseProtocol {
			t.Errorf("%q: %d, %q, %v", test.payload, code, reason, err)
		}
	}
	if got := wsframe.AppendClose([]byte("a"), wsframe.CloseTooBig); string(got) != "a\x03\xf1" {
		t.Errorf("AppendClose makes %q", got)
	}
}

func TestTheStreamMayEndBetweenMessagesOnly(t *testing.T) {
	long := string(noise(200))
	message := server(nil).frame(wsframe.Text, "one").frame(wsframe.Fin|wsframe.Ping, "ping").
		frame(wsframe.Continuation, long).frame(wsframe.Fin|wsframe.Continuation, "")
	stream := server(nil).message("first")
	ends := map[int]bool{0: true, len(stream): true, len(stream) + len(message): true}
	stream = append(stream, message...)
	ends[len(stream)+2] = true
	stream = stream.frame(wsframe.Fin|wsframe.Close, "")
	for n := range len(stream) + 1 {
		want := io.ErrUnexpectedEOF
		if ends[n] {
			want = io.EOF
		}
		for _, split := range splits {
			if _, err := readAll(wsframe.NewReader(split.of(bytes.NewReader(stream[:n])), nil, limit)); err != want {
				t.Errorf("%d bytes of %d, %s: %v, want %v", n, len(stream), split.name, err, want)
			}
		}
	}
}

// Only an end is told by where it comes.
func TestErrorsOfTheSourceAreHandedOn(t *testing.T) {
	errBroken := errors.New("broken")
	stream := server(nil).frame(wsframe.Binary, "one").frame(wsframe.Fin|wsframe.Continuation, string(noise(200)))
	for n := range len(stream) + 1 {
		for _, steps := range [][]step{{{stream[:n], errBroken}}, {{stream[:n], nil}, {nil, errBroken}}} {
			if _, err := readAll(wsframe.NewReader(&reads{steps: steps}, nil, limit)); err != errBroken {
				t.Errorf("after %d bytes: %v", n, err)
			}
		}
	}
}

// An error that comes with data counts once the data is used up, whatever the
// source says when it is asked again.
func TestAnErrorWithDataIsNotForgotten(t *testing.T) {
	errBroken := errors.New("broken")
	stream := server(nil).frame(wsframe.Fin|wsframe.Text, "one").frame(wsframe.Fin|wsframe.Text, "two")
	later := server(nil).frame(wsframe.Fin|wsframe.Text, "three")
	for n := range len(stream) + 1 {
		src := &reads{steps: []step{{stream[:n], errBroken}, {stream[n:], nil}, {later, nil}}}
		r := wsframe.NewReader(src, nil, limit)
		items, err := readAll(r)
		if want := n / 5; len(items) != want || err != errBroken {
			t.Errorf("%d bytes and an error: %v, %v", n, items, err)
		}
		if len(src.room) != 1 {
			t.Errorf("%d bytes and an error: read %d times", n, len(src.room))
		}
	}
}

func TestASourceMayReturnNothingButNotForever(t *testing.T) {
	stream := server(nil).frame(wsframe.Binary, "one").frame(wsframe.Fin|wsframe.Continuation, string(noise(130)))
	items, err := readAll(wsframe.NewReader(&stutter{Reader: bytes.NewReader(stream)}, nil, limit))
	if len(items) != 1 || err != io.EOF {
		t.Errorf("%v, %v", items, err)
	}
	for n := range len(stream) + 1 {
		src := &reads{steps: append([]step{{stream[:n], nil}}, make([]step, 1000)...)}
		_, err := readAll(wsframe.NewReader(src, nil, limit))
		empty := len(src.room)
		if n > 0 {
			empty--
		}
		if err != io.ErrNoProgress || empty != 100 {
			t.Errorf("%d bytes: %v after %d reads of nothing", n, err, empty)
		}
	}
}

// What peers and logs see.
func TestCloseCodesAreThoseOfTheRFC(t *testing.T) {
	got := []int{wsframe.CloseNormal, wsframe.CloseProtocol, wsframe.CloseNoStatus, wsframe.CloseTooBig}
	if want := []int{1000, 1002, 1005, 1009}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A message that has come is not held back by a Read that would block.
func TestWhatHasComeIsReturnedBeforeTheNextRead(t *testing.T) {
	stream := server(nil).message("one").frame(wsframe.Fin|wsframe.Ping, "").message("two").frame(wsframe.Text, "th").
		frame(wsframe.Fin|wsframe.Continuation, "ree")
	for _, ahead := range []bool{false, true} {
		src := &reads{steps: []step{{stream, nil}}}
		r := wsframe.NewReader(src, nil, limit)
		want := 1
		if ahead {
			src.steps, want = nil, 0
			r = wsframe.NewReader(src, stream, limit)
		}
		for range 4 {
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if len(src.room) != want {
			t.Errorf("ahead: %v, read %d times", ahead, len(src.room))
		}
	}
}

func TestMessagesThatWaitAreReadSeveralAtATime(t *testing.T) {
	for _, test := range []struct{ size, messages, most int }{
		{500, 2000, 22}, // 1 MB in 16 long reads, each of which may end in a message
		{8000, 125, 22},
		{60_000, 16, 32}, // one fits, and a half
		{limit, 2, 14},   // 64 KiB, and twice as much each time
	} {
		var stream server
		for range test.messages {
			stream = stream.message(string(noise(test.size)))
		}
		src := &reads{steps: []step{{stream, nil}}}
		if items, err := readAll(wsframe.NewReader(src, nil, limit)); len(items) != test.messages || err != io.EOF {
			t.Fatalf("%d messages, %v", len(items), err)
		}
		if len(src.room) > test.most {
			t.Errorf("%d messages of %d bytes: %d reads, want %d", test.messages, test.size, len(src.room), test.most)
		}
	}
}

func TestWhatWasReadAheadComesFirst(t *testing.T) {
	effort.Long(t)
	short := server(nil).message("one").frame(wsframe.Text, "t").frame(wsframe.Fin|wsframe.Continuation, "wo").
		message(string(noise(990))).message(string(noise(200)))
	long := short.message(string(noise(3000))).message(string(noise(70_000))).message(string(noise(200))).
		message(string(noise(140_000)))
	type test struct {
		stream server
		cut    int // so much is ahead
	}
	var tests []test
	for cut := range len(short) + 1 {
		tests = append(tests, test{short, cut})
	}
	for _, cut := range []int{0, 1000, 4000, 20_000, big - 1, big, big + 1, 74_400, 75_000, 150_000, len(long) - 1, len(long)} {
		tests = append(tests, test{long, cut})
	}
	one := server(nil).message(string(noise(3 * big)))
	for _, n := range []int{small, big, 2 * big} { // of the payload
		for i := -1; i <= 1; i++ {
			tests = append(tests, test{one, len(one) - 3*big + n + i})
		}
	}
	for _, test := range tests {
		want, err := readAll(reader(test.stream))
		if err != io.EOF || len(want) == 0 {
			t.Fatal(err)
		}
		for _, split := range splits {
			ahead := bytes.Clone(test.stream[:test.cut])
			r := wsframe.NewReader(split.of(bytes.NewReader(test.stream[test.cut:])), ahead, limit)
			clear(ahead) // it is the caller's
			if items, err := readAll(r); err != io.EOF || !slices.Equal(items, want) {
				t.Errorf("%d bytes ahead, %s: %v, %v", test.cut, split.name, items, err)
			}
		}
	}
}

// A payload is lent, and not to two at a time.
func TestAPayloadIsValidUntilTheNextCall(t *testing.T) {
	effort.Long(t)
	for _, n := range []int{0, 1, 125, 1000, small, 8000, big, big + 1, 300_000} {
		want := []item{{wsframe.Ping, "ping"}, {wsframe.Binary, string(noise(n))}, {wsframe.Text, string(noise(n))}, {wsframe.Binary, string(noise(n))}}
		stream := server(nil).frame(wsframe.Fin|wsframe.Ping, "ping").message(want[1].payload).
			frame(wsframe.Text, want[2].payload[:n/2]).frame(wsframe.Fin|wsframe.Continuation, want[2].payload[n/2:]).
			message(want[3].payload)
		for _, split := range splits {
			r := wsframe.NewReader(split.of(bytes.NewReader(stream)), nil, limit)
			for _, want := range want {
				opcode, payload, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				// Whoever borrows the buffer now writes over it.
				other := reader(server(nil).message(strings.Repeat("x", big)))
				if _, _, err := other.Next(); err != nil {
					t.Fatal(err)
				}
				if (item{opcode, string(payload)}) != want {
					t.Errorf("%d bytes, %s: message %d is not what was sent any more", n, split.name, opcode)
				}
				other.Release()
			}
			r.Release()
		}
	}
}

func TestALongBufferIsHeldOnlyWhileItIsFilled(t *testing.T) {
	effort.Long(t)
	for _, test := range []struct {
		name     string
		messages []int // each comes in as few reads as it fits
	}{
		{"nothing", nil},
		{"short", []int{100}},
		{"just fits", []int{small - 4}},
		{"just does not", []int{small - 3}},
		{"several", []int{8000, 8000, 8000}},
		{"a frame of the service", []int{65535}},
		{"as long as the buffer", []int{big}},
		{"fills the buffer with its header", []int{big - 4}},
		{"longer", []int{big + 1}},
		{"much longer", []int{300_000}},
		{"the longest", []int{limit}},
		{"long and short", []int{300_000, 8000, 100, 300_000}},
	} {
		for _, fragments := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, fragments: %d", test.name, fragments), func(t *testing.T) {
				src := &reads{}
				for _, n := range test.messages {
					var stream server
					for i := range fragments {
						first := byte(wsframe.Continuation)
						if i == 0 {
							first = wsframe.Binary
						}
						if i == fragments-1 {
							first |= wsframe.Fin
						}
						stream = stream.frame(first, string(noise(n/fragments)))
					}
					src.steps = append(src.steps, step{stream, nil})
				}
				var before, waiting uint64
				source := &gauge{reads: src, waiting: &waiting}
				r := wsframe.NewReader(source, nil, limit)
				before = heap()
				for range test.messages {
					if _, _, err := r.Next(); err != nil {
						t.Fatal(err)
					}
				}
				src.room = nil
				if _, _, err := r.Next(); err != io.EOF || src.room[0] > small {
					t.Errorf("it waits with room for %d bytes, and %v", src.room, err)
				}
				if waiting > before+8<<10 {
					t.Errorf("it waits with %d bytes more than at first", waiting-before)
				}
				runtime.KeepAlive(r)
			})
		}
	}
}

// gauge is reads that notes the heap while its Reader waits for more than there is.
type gauge struct {
	*reads
	waiting *uint64
}

func (g *gauge) Read(p []byte) (int, error) {
	if len(g.steps) == 0 {
		*g.waiting = heap()
	}
	return g.reads.Read(p)
}

// heap is what is in use; pools keep nothing past two collections.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A header may come alone, as from servers that write it so.
func TestAPayloadIsReadAtOnceWhenItsHeaderComesAlone(t *testing.T) {
	for n, room := range map[int]int{1: small, 500: small, small: small, small + 1: big, 8000: big, big: big} {
		stream := server(nil).message(string(noise(n)))
		src := &reads{steps: []step{{stream[:len(stream)-n], nil}, {stream[len(stream)-n:], nil}}}
		if items, err := readAll(wsframe.NewReader(src, nil, limit)); len(items) != 1 || err != io.EOF {
			t.Fatalf("%v, %v", items, err)
		}
		if want := []int{small, room, small}; !slices.Equal(src.room, want) {
			t.Errorf("%d bytes: room for %d, want %d", n, src.room, want)
		}
	}
}

func TestAShortMessageInPiecesNeedsNoLongBuffer(t *testing.T) {
	for _, n := range []int{2, 100, 126, small - 4} {
		stream := server(nil).message(string(noise(n)))
		for cut := range stream {
			src := &reads{steps: []step{{stream[:cut], nil}, {stream[cut:], nil}}}
			if items, err := readAll(wsframe.NewReader(src, nil, limit)); len(items) != 1 || err != io.EOF {
				t.Fatalf("%v, %v", items, err)
			}
			if most := slices.Max(src.room); most > small {
				t.Errorf("%d bytes, the first %d of them alone: room for %d", n, cut, src.room)
			}
		}
	}
}

// The length is the peer's word. Memory follows what has come.
func TestAnnouncedBytesCostNothing(t *testing.T) {
	effort.Long(t)
	for _, test := range []struct{ announced, come int }{
		{limit, 0}, {limit, 1}, {limit, 1000}, {limit, big}, {limit, 100_000}, {limit, 300_000},
		{700_000, 600_000}, {700_000, 699_999},
	} {
		stream := wsframe.AppendHeader(nil, wsframe.Fin|wsframe.Binary, test.announced)
		var waiting uint64
		src := &gauge{&reads{steps: []step{{append(stream, make([]byte, test.come)...), nil}}}, &waiting}
		before := heap()
		r := wsframe.NewReader(src, nil, limit)
		if _, err := readAll(r); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if most := min(max(big, 2*test.come), test.announced) + 32<<10; waiting > before+uint64(most) {
			t.Errorf("%d bytes in use when %d of %d had come", waiting-before, test.come, test.announced)
		}
		if most := slices.Max(src.room); most > max(big, test.come) {
			t.Errorf("room for %d bytes when %d of %d had come", most, test.come, test.announced)
		}
		runtime.KeepAlive(r)
	}
}

// The race detector sees a buffer that is used after it was given back.
func TestReadersShareBuffersOneAfterTheOther(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, n := range []int{8000, 200_000, 70_000, big, 500, 140_000} {
				want := noise(n)
				r := wsframe.NewReader(iotest.HalfReader(bytes.NewReader(server(nil).message(string(want)))), nil, limit)
				if _, payload, err := r.Next(); err != nil || !bytes.Equal(payload, want) {
					t.Errorf("%d bytes: %v", n, err)
				}
				r.Release()
			}
		})
	}
	all.Wait()
}

func TestReleaseGivesTheLongBufferBack(t *testing.T) {
	const readers = 100
	stream := server(nil).message(string(noise(8000)))
	r := bytes.NewReader(nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range readers {
		r.Reset(stream)
		frames := wsframe.NewReader(r, nil, limit)
		if _, _, err := frames.Next(); err != nil {
			t.Fatal(err)
		}
		frames.Release()
	}
	runtime.ReadMemStats(&after)
	// Some is lost to collections, and on purpose under the race detector.
	if took := after.TotalAlloc - before.TotalAlloc; took > readers*big/2 {
		t.Errorf("%d readers took %d bytes", readers, took)
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	for _, n := range []int{0, 500, 8000, big} {
		r := wsframe.NewReader(&endless{stream: server(nil).message(string(noise(n)))}, nil, limit)
		allocs := testing.AllocsPerRun(1000, func() {
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		})
		if allocs >= 1 { // a collection empties the pool
			t.Errorf("%d bytes: %v allocations", n, allocs)
		}
	}
}

// endless is a source of the same bytes again and again.
type endless struct {
	stream []byte
	at     int
}

func (s *endless) Read(p []byte) (int, error) {
	n := copy(p, s.stream[s.at:])
	s.at = (s.at + n) % len(s.stream)
	return n, nil
}
