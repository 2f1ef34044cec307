package continuous

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a quit that is not closed.
var never chan struct{}

// room reports how many bytes are recorded before Record waits.
func room(t *Tape) int {
	quit := make(chan struct{})
	close(quit)
	n := 0
	for t.Record([]byte{1, 1}, quit) {
		n += 2
	}
	return n
}

func TestATapeKeepsWhatIsNotErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tape := NewTape(10)
		tape.Record([]byte("abcdefg"), never)
		if got := string(tape.Play(4)) + "|" + string(tape.Play(9)) + "|" + string(tape.Play(9)); got != "abcd|ef|" {
			t.Errorf("played %q", got)
		}
		if tape.Behind() != 1 {
			t.Errorf("%d behind", tape.Behind())
		}
		tape.Erase(2)
		tape.Rewind(0) // there is nothing left of that
		if got := string(tape.Play(10)); got != "cdef" || tape.Start() != 2 {
			t.Errorf("again %q from %d", got, tape.Start())
		}
		tape.Rewind(4)
		tape.Erase(100) // no more than was played
		if got := string(tape.Play(10)); got != "ef" || tape.Start() != 4 {
			t.Errorf("again %q from %d", got, tape.Start())
		}
		tape.Rewind(100)
		if tape.Behind() != 0 {
			t.Errorf("%d behind the end", tape.Behind())
		}
	})
}

func TestRecordWaitsWhileTheTapeIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tape := NewTape(8)
		if n := room(tape); n != 8 {
			t.Errorf("room for %d", n)
		}
		recorded := make(chan bool)
		go func() { recorded <- tape.Record([]byte("wxyz"), never) }()
		time.Sleep(time.Hour) // nothing has been played
		select {
		case <-recorded:
			t.Fatal("it did not wait")
		default:
		}
		tape.Play(8)
		tape.Erase(2)
		synctest.Wait()
		tape.Erase(4)
		if !<-recorded || room(tape) != 0 {
			t.Error("there is room now")
		}
		go func() { recorded <- tape.Record([]byte("wxyz"), never) }()
		synctest.Wait()
		tape.Stop()
		if <-recorded || tape.Record([]byte("z"), never) {
			t.Error("a stopped tape records")
		}
		if got := tape.Play(10); !bytes.Equal(got, []byte("wxyz")) {
			t.Errorf("and plays %q", got)
		}
	})
}

func TestWhatWasPlayedLongAgoMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tape := NewTape(20)
		room(tape)
		tape.Play(10)
		time.Sleep(6 * time.Second)
		tape.Play(6)
		if n := room(tape); n != 0 {
			t.Errorf("room for %d at once", n)
		}
		time.Sleep(4 * time.Second)
		if n := room(tape); n != 10 || tape.Start() != 10 {
			t.Errorf("room for %d after ten seconds, from %d", n, tape.Start())
		}
		begin := time.Now()
		if !tape.Record([]byte("ab"), never) || time.Since(begin) != 6*time.Second || tape.Start() != 16 {
			t.Errorf("recorded after %v, from %d", time.Since(begin), tape.Start())
		}
		room(tape)
		tape.Rewind(0) // what is played again was not heard
		time.Sleep(time.Hour)
		if n := room(tape); n != 0 {
			t.Errorf("room for %d", n)
		}
	})
}

func TestATapeTakesNoMoreMemoryThanItKeeps(t *testing.T) {
	tape := NewTape(1 << 20)
	for range 100 {
		tape.Record(make([]byte, 1<<18), never)
		tape.Play(1 << 18)
		tape.Erase(tape.Start() + 1<<17)
		tape.Erase(tape.Start() + 1<<17)
	}
	if c := cap(tape.data); c > 1<<20 {
		t.Errorf("%d bytes", c)
	}
}

func TestAxisKnowsNoSilenceThatWasPutIn(t *testing.T) {
	const s = time.Second
	a := NewAxis(100 * s)
	a.Audio(10 * s)
	a.Silence(s)
	a.Silence(4 * s)
	a.Audio(10 * s)
	a.Silence(3600 * s)
	a.Audio(10 * s)
	for _, forget := range []time.Duration{0, 5 * s, 12 * s, 15 * s, 20 * s, 3700 * s} {
		a.Forget(forget)
		for session, want := range map[time.Duration]time.Duration{
			0: 100 * s, 10 * s: 110 * s, 12 * s: 110 * s, 15 * s: 110 * s, 16 * s: 111 * s, 25 * s: 120 * s, 1000 * s: 120 * s, 3625 * s: 120 * s, 3630 * s: 125 * s,
		} {
			if session < forget {
				continue
			}
			if got := a.Given(session); got != want {
				t.Errorf("forgotten up to %v: %v is %v, want %v", forget, session, got, want)
			}
		}
	}
	if len(a.gaps) != 0 {
		t.Errorf("%d silences are kept", len(a.gaps))
	}
}

func TestPausesGrow(t *testing.T) {
	most := func(n int, overloaded bool) (least, most time.Duration) {
		var all []time.Duration
		for range 2000 {
			all = append(all, Pause(n, overloaded).Round(time.Second/10))
		}
		return slices.Min(all), slices.Max(all)
	}
	for n, want := range map[int]time.Duration{1: time.Second / 2, 2: time.Second, 6: 16 * time.Second, 7: 30 * time.Second, 100: 30 * time.Second} {
		if low, high := most(n, false); (low-want/2).Abs() > want/10 || (high-want).Abs() > want/10 {
			t.Errorf("pause %d is from %v to %v, want half of %v to that", n, low, high, want)
		}
		if _, high := most(n, true); (high - min(2*want, 30*time.Second)).Abs() > want/5 {
			t.Errorf("pause %d of an overloaded service is up to %v", n, high)
		}
	}
}
