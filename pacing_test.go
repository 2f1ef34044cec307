package nls_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/effort"
)

// How Pump paces sources, in virtual time.

const playRate = 32000 // bytes per second, Pump's default

// microphone is a source that blocks by itself: it has a packet for every 20 ms of
// its own clock, and keeps what nobody has fetched.
type microphone struct {
	clock  float64 // 1 is exact, 1.001 is 0.1 % fast
	length time.Duration
	stalls map[time.Duration]time.Duration // when nothing comes out of it, and for how long; the packets come after
	before time.Duration                   // how long before the first Read it was switched on

	start time.Time
	read  int64
}

const packet = playRate / 50

// recorded is when the microphone has heard n bytes.
func (m *microphone) recorded(n int64) time.Time {
	return m.start.Add(time.Duration(float64(n) / playRate / m.clock * float64(time.Second)))
}

func (m *microphone) Read(p []byte) (int, error) {
	if m.start.IsZero() {
		m.start = time.Now().Add(-m.before)
	}
	if time.Since(m.start) >= m.length {
		return 0, io.EOF
	}
	n := min(int64(len(p)), packet-m.read%packet)
	time.Sleep(time.Until(m.recorded((m.read/packet + 1) * packet)))
	for at, d := range m.stalls {
		if since := time.Since(m.start); since >= at && since < at+d {
			time.Sleep(at + d - since)
		}
	}
	m.read += n
	return int(n), nil
}

// network takes audio and notes how late it is: how long ago the microphone has
// heard the end of each chunk.
type network struct {
	m      *microphone
	stalls map[time.Duration]time.Duration // when SendAudio blocks, and for how long

	sent   int64
	delays map[time.Duration]time.Duration // the longest of each second
	last   time.Time
	gap    time.Duration // the shortest between two chunks
}

func (n *network) SendAudio(data []byte) error {
	now := time.Now()
	if !n.last.IsZero() && (n.gap == 0 || now.Sub(n.last) < n.gap) {
		n.gap = now.Sub(n.last)
	}
	n.last = now
	for at, d := range n.stalls {
		if since := time.Since(n.m.start); since >= at && since < at+d {
			time.Sleep(at + d - since)
		}
	}
	n.sent += int64(len(data))
	if n.delays == nil {
		n.delays = map[time.Duration]time.Duration{}
	}
	second := time.Since(n.m.start).Truncate(time.Second)
	n.delays[second] = max(n.delays[second], time.Since(n.m.recorded(n.sent)))
	return nil
}

func TestALiveSourceIsNotThrottledForGood(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	const tolerance = 200 * time.Millisecond // two chunks
	longest := time.Duration(effort.Times(8*60, 4)) * time.Minute
	once := func(at, d time.Duration) map[time.Duration]time.Duration {
		return map[time.Duration]time.Duration{at: d}
	}
	for _, c := range []struct {
		name            string
		clock           float64
		length          time.Duration
		source, network map[time.Duration]time.Duration // stalls
		before          time.Duration
		chunk           int
		gone            time.Duration // when the delay has to be gone
	}{
		{name: "a clock that is exact", clock: 1, length: 10 * time.Minute},
		{name: "a clock 0.1 % fast, for 8 hours", clock: 1.001, length: 8 * time.Hour},
		{name: "a clock 0.1 % slow", clock: 0.999, length: time.Hour},
		{name: "a clock 0.1 % fast, chunks of 20 ms", clock: 1.001, length: 20 * time.Minute, chunk: 640},
		{name: "a clock 0.1 % fast, chunks of 1 s", clock: 1.001, length: time.Hour, chunk: 32000},
		{name: "a clock 0.9 % fast", clock: 1.009, length: time.Hour},
		{name: "a stall of the source", clock: 1, length: time.Minute, source: once(5*time.Second, 6*time.Second), gone: 41 * time.Second},
		{name: "a stall of the network", clock: 1, length: time.Minute, network: once(5*time.Second, 6*time.Second), gone: 41 * time.Second},
		{name: "a stall of the source, a fast clock", clock: 1.001, length: time.Hour, source: once(5*time.Second, 6*time.Second), gone: 41 * time.Second},
		{name: "a stall of the network, a fast clock", clock: 1.001, length: time.Hour, network: once(5*time.Second, 6*time.Second), gone: 41 * time.Second},
		{name: "a stall at the start", clock: 1.001, length: time.Hour, network: once(0, 6*time.Second), gone: 36 * time.Second},
		{name: "a stall of less than a chunk", clock: 1.001, length: time.Hour, network: once(5*time.Second, 95*time.Millisecond), gone: 35 * time.Second},
		{name: "chunks of 20 ms", clock: 1.001, length: 20 * time.Minute, chunk: 640, network: once(5*time.Second, 6*time.Second), gone: 41 * time.Second},
		{name: "switched on early", clock: 1.001, length: time.Hour, before: 400 * time.Millisecond, gone: time.Minute},
		{name: "three stalls", clock: 1.001, length: 10 * time.Minute, gone: 191 * time.Second,
			source:  map[time.Duration]time.Duration{5 * time.Second: 6 * time.Second, 155 * time.Second: 6 * time.Second},
			network: once(65*time.Second, 6*time.Second)},
	} {
		t.Run(c.name, func(t *testing.T) {
			length := min(c.length, longest)
			synctest.Test(t, func(t *testing.T) {
				m := &microphone{clock: c.clock, length: length, stalls: c.source, before: c.before}
				n := &network{m: m, stalls: c.network}
				sent, err := nls.Pump(t.Context(), n, m, nls.PumpOptions{ChunkSize: c.chunk})
				if err != nil || sent != m.read {
					t.Fatalf("Pump = %d, %v", sent, err)
				}
				tolerance := max(tolerance, time.Duration(c.chunk)*time.Second/playRate)
				for second, delay := range n.delays {
					if delay > tolerance && second >= c.gone {
						t.Errorf("%v late after %v", delay, second)
						break
					}
				}
				if least := time.Duration(max(c.chunk, 0)) * time.Second / playRate * 8 / 10; n.gap < least {
					t.Errorf("two chunks in %v", n.gap)
				}
			})
		})
	}
}

// slowFile is a file whose Reads take some time, all of them or each so manieth.
type slowFile struct {
	io.Reader
	read  time.Duration
	every int
	n     int
}

func (s *slowFile) Read(p []byte) (int, error) {
	if s.n++; s.every == 0 || s.n%s.every == 0 {
		time.Sleep(s.read)
	}
	return s.Reader.Read(p)
}

// A file is sent as fast as it plays, also from a slow disk or decoder.
func TestAFileIsSentAsFastAsItPlays(t *testing.T) {
	effort.Long(t)
	t.Parallel()
	for _, c := range []struct {
		name  string
		read  time.Duration
		every int
		speed float64
		early time.Duration // by which it may be sent before its time, beside a second
	}{
		{"from memory", 0, 0, 1, 0},
		{"from memory, at double speed", 0, 0, 2, 0},
		{"from memory, at half speed", 0, 0, 0.5, 0},
		{"1 ms a Read", time.Millisecond, 0, 1, 0},
		{"50 ms a Read", 50 * time.Millisecond, 0, 1, 0},
		{"79 ms a Read", 79 * time.Millisecond, 0, 1, 0},
		{"a second now and then", time.Second, 100, 1, 6 * time.Second},
		{"six seconds now and then", 6 * time.Second, 600, 1, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			length := 10 * time.Minute
			if c.every < 600 {
				length = time.Duration(effort.Times(10, 3)) * time.Minute
			}
			synctest.Test(t, func(t *testing.T) {
				src := &slowFile{Reader: bytes.NewReader(make([]byte, playRate*int(length/time.Second))), read: c.read, every: c.every}
				var s sink
				if _, err := nls.Pump(t.Context(), &s, src, nls.PumpOptions{Speed: c.speed}); err != nil {
					t.Fatal(err)
				}
				want := time.Duration(float64(length) / c.speed)
				if took := s.at[len(s.at)-1]; took < want-c.early-time.Second || took > want+time.Second {
					t.Errorf("%v of audio sent in %v", want, took)
				}
				for i, at := range s.at[1:] {
					if gap := at - s.at[i]; gap < time.Duration(80*float64(time.Millisecond)/c.speed) {
						t.Fatalf("two chunks in %v", gap)
					}
				}
			})
		})
	}
}
