package session

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// watching is a watcher whose log is read.
func watching(level slog.Level) (*watcher, *bytes.Buffer) {
	var log bytes.Buffer
	w := &watcher{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})), limit: 2 * observationCost}
	id := "id"
	w.product, w.id = "p", new(atomic.Pointer[string])
	w.id.Store(&id)
	return w, &log
}

func TestObservationsAreToldInOrderBesideTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watching(slog.LevelInfo)
		d := newDiary()
		for range 3 {
			w.later(func() { time.Sleep(time.Second); d.now("told") })
		}
		d.now("back")
		w.flush()
		d.now("flushed")
		expect(t, d, "back@0s told@1s told@2s told@3s flushed@3s")
		w.later(func() { d.now("again") })
		w.flush()
		expect(t, d, "back@0s told@1s told@2s told@3s flushed@3s again@3s")
	})
}

func TestAnObservationIsToldThoughNobodyFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watching(slog.LevelInfo)
		d := newDiary()
		for range 2 {
			w.later(func() { d.now("told") })
			time.Sleep(time.Second)
		}
		expect(t, d, "told@0s told@1s")
	})
}

func TestThereIsNothingToFlush(t *testing.T) {
	w, _ := watching(slog.LevelInfo)
	w.flush()
	if w.queue.Load() != nil {
		t.Error("a queue for nothing")
	}
}

// How much may wait is for the reader to look at.
func TestObservationsThatWaitAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watching(slog.LevelInfo)
		w.later(func() { time.Sleep(time.Second) })
		q := w.queue.Load()
		if q.full() {
			t.Error("one is too many")
		}
		w.later(func() {})
		if !q.full() {
			t.Error("two are not enough")
		}
		w.flush()
		synctest.Wait()
		if q.full() || q.pending.Load() != 0 {
			t.Errorf("%d bytes wait at the end", q.pending.Load())
		}
	})
}

// A hook that exits its goroutine takes none with it.
func TestAHookThatExitsLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watching(slog.LevelInfo)
		d := newDiary()
		for i := range 4 {
			w.later(func() {
				d.note("%d", i)
				if i%2 == 0 {
					runtime.Goexit()
				}
			})
		}
		w.flush()
		expect(t, d, "0 1 2 3")
	})
}

func TestWarningsAreToldBesideTheCaller(t *testing.T) {
	for level, want := range map[slog.Level]bool{slog.LevelWarn: true, slog.LevelError: false} {
		w, log := watching(level)
		w.warn("watch out", "n", 3)
		if (w.queue.Load() != nil) != want {
			t.Errorf("level %v: told %v", level, !want)
		}
		w.flush()
		if got := strings.Contains(log.String(), `level=WARN msg="watch out" product=p task_id=id n=3`); got != want {
			t.Errorf("level %v: %s", level, log)
		}
	}
}

func TestFramesAreLoggedWithoutTheirTokens(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "token", "***") }
	for _, c := range []struct {
		opcode byte
		data   string
		want   string
	}{
		{wsframe.Text, "my token", `msg="nls: send" product=p task_id=id direction=out frame="my ***"`},
		{wsframe.Binary, "my token", `msg="nls: send" product=p task_id=id direction=out bytes=8`},
	} {
		w, log := watching(LevelTrace)
		w.frame(true, "id", c.opcode, []byte(c.data), redact)
		if !strings.Contains(log.String(), c.want) || strings.Contains(log.String(), "token") {
			t.Errorf("%x: %s", c.opcode, log)
		}
	}
	for level, want := range map[slog.Level]bool{LevelTrace: true, LevelTrace + 1: false} {
		if w, _ := watching(level); w.tracing() != want {
			t.Errorf("tracing at %v: %v", level, !want)
		}
	}
}

func TestWhatIsWrittenIsACommandOrAudio(t *testing.T) {
	d := newDiary()
	w := watcher{hooks: &Hooks{
		Audio:   func(m Message) { d.note("audio:%d", m.Size) },
		Command: func(m Message) { d.note("command:%d", m.Size) },
	}}
	w.wrote(wsframe.Text, Message{Size: 1})
	w.wrote(wsframe.Binary, Message{Size: 2})
	if got := d.String(); got != "command:1 audio:2" {
		t.Error(got)
	}
}
