// Package continuous has the parts of a transcription that outlives its sessions:
// what keeps the audio, what knows where in it a time of a session is, and what says
// how long to wait between two sessions. None knows of a session.
package continuous

import (
	"sync"
	"time"
)

// Position is a place in the audio that was given, in bytes.
type Position int64

// settled is how long after it was sent audio is taken to have been heard: the
// service has by then begun and ended the sentences in it, or there is none.
const settled = 10 * time.Second

// Tape keeps audio from when it is given until it is not needed any more. What is on
// it is from its start to its end, and the place from which it is played is between
// them. It is safe for concurrent use.
type Tape struct {
	limit int // bytes

	mu      sync.Mutex
	data    []byte   // from start on
	start   Position // of data[0]
	head    Position // what is played next
	played  []mark   // the latest last
	more    chan struct{}
	room    chan struct{} // closed and replaced when there may be room
	stopped bool          // nothing is recorded any more
}

// mark says when the tape had been played up to a place.
type mark struct {
	at   Position
	when time.Time
}

// NewTape returns a Tape that keeps so many bytes.
func NewTape(limit int) *Tape {
	return &Tape{limit: limit, more: make(chan struct{}, 1), room: make(chan struct{})}
}

// More gets a value when the tape may have more to play.
func (t *Tape) More() <-chan struct{} { return t.more }

// Record adds audio. While the tape is full it waits, until quit is closed; it
// reports whether all of it is on the tape. Audio that was played long ago, and that
// nobody has erased since, makes room: a pause without an end, and a sentence without
// one, hold up nobody.
func (t *Tape) Record(audio []byte, quit <-chan struct{}) bool {
	for {
		n, room, wait := t.record(audio)
		if audio = audio[n:]; len(audio) == 0 {
			return true
		}
		if room == nil {
			return false
		}
		select {
		case <-room:
		case <-time.After(wait):
		case <-quit:
			return false
		}
	}
}

// record adds what fits. If that is not all, room says when more may, at the latest
// after wait; room is nil once the tape has been stopped.
func (t *Tape) record(audio []byte) (n int, room <-chan struct{}, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return 0, nil, 0
	}
	if len(t.data)+len(audio) > t.limit {
		t.eraseLocked(t.settledLocked())
	}
	n = min(len(audio), t.limit-len(t.data))
	if need := len(t.data) + n; need > cap(t.data) {
		t.data = append(make([]byte, 0, min(max(need, 2*cap(t.data)), t.limit)), t.data...)
	}
	t.data = append(t.data, audio[:n]...)
	if n > 0 {
		signal(t.more)
	}
	wait = settled
	if len(t.played) > 0 {
		wait = max(time.Until(t.played[0].when.Add(settled)), time.Millisecond)
	}
	return n, t.room, wait
}

// settledLocked is up to where the tape was played long ago.
func (t *Tape) settledLocked() Position {
	at := t.start
	for _, m := range t.played {
		if time.Since(m.when) < settled {
			break
		}
		at = m.at
	}
	return at
}

// Play returns at most n bytes, and an even number of them, and goes on to what
// follows them. It returns nothing where there is nothing.
func (t *Tape) Play(n int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.data[t.head-t.start:]
	n = min(n, len(rest)) &^ 1
	if n == 0 {
		return nil
	}
	t.head += Position(n)
	// A mark for each tenth of what the tape holds is enough.
	now := time.Now()
	if k := len(t.played); k > 0 && (t.played[k-1].when.Equal(now) || k > 1 && int(t.head-t.played[k-2].at) < t.limit/10) {
		t.played[k-1] = mark{t.head, now}
	} else {
		t.played = append(t.played, mark{t.head, now})
	}
	return append([]byte(nil), rest[:n]...)
}

// Rewind goes back to at, or to the start of what is left.
func (t *Tape) Rewind(at Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = min(max(at, t.start), t.end())
	t.played = nil
	signal(t.more)
}

// Erase says that what comes before at is not needed any more.
func (t *Tape) Erase(at Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eraseLocked(at)
}

// eraseLocked erases no audio that has not been played.
func (t *Tape) eraseLocked(at Position) {
	at = min(at, t.head)
	if at <= t.start {
		return
	}
	t.data = append(t.data[:0], t.data[at-t.start:]...)
	t.start = at
	for len(t.played) > 0 && t.played[0].at <= at {
		t.played = t.played[1:]
	}
	close(t.room)
	t.room = make(chan struct{})
}

// Stop says that nothing is recorded any more. Calls of Record end.
func (t *Tape) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.stopped = true
		close(t.room)
		t.room = make(chan struct{})
		signal(t.more)
	}
}

// Start is where what is left begins.
func (t *Tape) Start() Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.start
}

// Behind is how many bytes wait to be played.
func (t *Tape) Behind() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.end() - t.head)
}

func (t *Tape) end() Position { return t.start + Position(len(t.data)) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
