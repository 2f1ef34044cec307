package session

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nlsgo/nls/internal/wsframe"
)

// watcher tells the hooks and the logger. They are the user's and may be slow, so
// what the reader sees is told beside the reader and not on it, in order.
type watcher struct {
	hooks *Hooks // nil means none
	log   *slog.Logger
	limit int // bytes that may wait

	product string // of the task whose lines these are
	id      *atomic.Pointer[string]
	summed  bool // the end has been told

	queue atomic.Pointer[queue[observation]] // nil while there is nothing to tell
}

type observation func()

// observationCost is an estimate of what an observation keeps.
const observationCost = 512

func (observation) size() int { return observationCost }

// later runs f beside the caller.
func (w *watcher) later(f observation) {
	q := w.queue.Load()
	if q == nil {
		w.queue.CompareAndSwap(nil, &queue[observation]{
			gate: gate{limit: w.limit}, base: time.Now(),
			run: func(f observation) { f() }, exited: func() {}, last: func() {},
		})
		q = w.queue.Load()
	}
	if q.push(f) {
		go q.dispatch()
	}
}

// flush returns when everything has been told.
func (w *watcher) flush() {
	if w.queue.Load() != nil {
		done := make(chan struct{})
		w.later(func() { close(done) })
		<-done
	}
}

// who puts what every line has before args.
func (w *watcher) who(args ...any) []any {
	return append([]any{"product", w.product, "task_id", *w.id.Load()}, args...)
}

// warn logs what the reader has noticed.
func (w *watcher) warn(msg string, args ...any) { w.info(slog.LevelWarn, msg, args...) }

// info logs beside the reader.
func (w *watcher) info(level slog.Level, msg string, args ...any) {
	if w.log.Enabled(context.Background(), level) {
		args = w.who(args...)
		w.later(func() { w.log.Log(context.Background(), level, msg, args...) })
	}
}

// tracing reports whether frames are logged.
func (w *watcher) tracing() bool { return w.log.Enabled(context.Background(), LevelTrace) }

// frame logs a frame; the size alone if it is audio.
func (w *watcher) frame(sent bool, id string, opcode byte, data []byte, redact func(string) string) {
	msg, direction := "nls: receive", "in"
	if sent {
		msg, direction = "nls: send", "out"
	}
	attr := slog.Int("bytes", len(data))
	if opcode == wsframe.Text {
		attr = slog.String("frame", redact(string(data)))
	}
	w.log.LogAttrs(context.Background(), LevelTrace, msg,
		slog.String("product", w.product), slog.String("task_id", id), slog.String("direction", direction), attr)
}

// wrote tells of a message that has been written, or could not be. The caller has
// no lock, since hooks may send.
func (w *watcher) wrote(opcode byte, m Message) {
	if opcode == wsframe.Binary {
		w.hooks.Audio(m)
	} else {
		w.hooks.Command(m)
	}
}
