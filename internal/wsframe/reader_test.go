package wsframe_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/nlsgo/nls/internal/wsframe"
)

const limit = 1 << 20

// item is what Next returns, kept.
type item struct {
	opcode  byte
	payload string
}

// readAll is what Next returns up to its error.
func readAll(r *wsframe.Reader) (items []item, err error) {
	for {
		opcode, payload, err := r.Next()
		if err != nil {
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

func reader(stream []byte) *wsframe.Reader {
	return wsframe.NewReader(bytes.NewReader(stream), nil, limit)
}

func TestTheStreamMayEndBetweenMessagesOnly(t *testing.T) {
	long := string(noise(200))
	message := server(nil).frame(wsframe.Text, "one").frame(wsframe.Fin|wsframe.Ping, "ping").
		frame(wsframe.Continuation, long).frame(wsframe.Fin|wsframe.Continuation, "")
	stream := server(nil).frame(wsframe.Fin|wsframe.Binary, "first")
	ends := map[int]bool{0: true, len(stream): true, len(stream) + len(message): true}
	stream = append(stream, message...)
	ends[len(stream)+2] = true
	stream = stream.frame(wsframe.Fin|wsframe.Close, "")
	for n := range len(stream) + 1 {
		want := io.ErrUnexpectedEOF
		if ends[n] {
			want = io.EOF
		}
		if _, err := readAll(reader(stream[:n])); err != want {
			t.Errorf("%d bytes of %d: %v, want %v", n, len(stream), err, want)
		}
	}
}

// Only an end is told by where it comes.
func TestErrorsOfTheSourceAreHandedOn(t *testing.T) {
	errBroken := errors.New("broken")
	stream := server(nil).frame(wsframe.Binary, "one").frame(wsframe.Fin|wsframe.Continuation, string(noise(200)))
	for n := range len(stream) + 1 {
		src := io.MultiReader(bytes.NewReader(stream[:n]), errReader{errBroken})
		if _, err := readAll(wsframe.NewReader(src, nil, limit)); err != errBroken {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// reads is a source that is one step a Read: bytes, which have to fit, an error,
// or both. It notes how much it was offered room for.
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
		return n, nil // the rest and the error come later
	}
	err := next.err
	s.steps = s.steps[1:]
	return n, err
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

// What a source is offered room for is the memory that a Reader holds while it
// waits, or more.
func TestALongBufferIsHeldOnlyWhileItIsFilled(t *testing.T) {
	const small, big = 1 << 10, 64 << 10
	type lengths []int
	for _, test := range []struct {
		name     string
		messages []int // each comes in as few reads as it fits
	}{
		{"nothing", nil},
		{"short", lengths{100}},
		{"just fits", lengths{small - 4}},
		{"just does not", lengths{small - 3}},
		{"several", lengths{8000, 8000, 8000}},
		{"a frame of the service", lengths{65535}},
		{"as long as the buffer", lengths{big}},
		{"fills the buffer with its header", lengths{big - 4}},
		{"longer", lengths{big + 1}},
		{"much longer", lengths{300_000}},
		{"the longest", lengths{limit}},
		{"long and short", lengths{300_000, 8000, 100, 300_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := &reads{}
			for _, n := range test.messages {
				src.steps = append(src.steps, step{server(nil).frame(wsframe.Fin|wsframe.Binary, string(noise(n))), nil})
			}
			r := wsframe.NewReader(src, nil, limit)
			for range test.messages {
				if _, _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
			}
			src.room = nil
			if _, _, err := r.Next(); err != io.EOF || src.room[0] > small {
				t.Errorf("it waits with room for %d bytes, and %v", src.room, err)
			}
		})
	}
}

// The length is the peer's word. Memory follows what has come.
func TestAnnouncedBytesCostNothing(t *testing.T) {
	for _, come := range []int{0, 1, 1000, 64 << 10, 100_000, 300_000} {
		stream := wsframe.AppendHeader(nil, wsframe.Fin|wsframe.Binary, limit)
		src := &reads{steps: []step{{append(stream, make([]byte, come)...), nil}}}
		if _, err := readAll(wsframe.NewReader(src, nil, limit)); err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		if most := slices.Max(src.room); most > max(64<<10, come) {
			t.Errorf("room for %d bytes when %d had come", most, come)
		}
	}
}
