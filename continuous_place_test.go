package nls

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
)

// All that a sentence says of places in the audio is in the audio that was given.
func TestEachPlaceInASentenceIsInTheAudioThatWasGiven(t *testing.T) {
	r := newContinuousRun(t.Context(), &ContinuousTranscriber{}, TranscriptionParams{})
	defer r.cancel()
	const s = time.Second
	r.index = 7
	l := &leg{axis: continuous.NewAxis(100 * s)}
	got := &Sentence{Begin: s, Time: 3 * s, Words: []Word{{Start: s, End: 2 * s}},
		Stash: &Stash{Index: 1, Begin: 4 * s, Now: 6 * s, Words: []Word{{Start: 4 * s, End: 5 * s}}}}
	r.place(l, got)
	w, n := got.Words[0], got.Stash.Words[0]
	if got.Index != 7 || got.Begin != 101*s || got.Time != 103*s || w.Start != 101*s || w.End != 102*s {
		t.Errorf("the sentence: %+v", got)
	}
	if st := got.Stash; st.Index != 8 || st.Begin != 104*s || st.Now != 106*s || n.Start != 104*s || n.End != 105*s {
		t.Errorf("the next: %+v", got.Stash)
	}
}

// A Shutdown between the beginning of Start and its session has no task to name.
func TestShutdownBeforeThereIsASessionEndsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(Config{URL: "ws://127.0.0.1:1", AppKey: "key", Token: "token"})
		if err != nil {
			t.Fatal(err)
		}
		r := newContinuousRun(t.Context(), c.NewContinuousTranscriber(ContinuousHandlers{}, ContinuousOptions{}), TranscriptionParams{})
		r.end(ErrShutdown, true)
		if err := r.start(t.Context()); err != ErrShutdown || !isClosed(r.done) || r.taskID() != "" {
			t.Errorf("Start = %v", err)
		}
	})
}

// OnError has what the service said only where that is the cause.
func TestTheErrorEventIsThatOfTheCause(t *testing.T) {
	said := errors.New("nls: task failed")
	for name, c := range map[string]struct {
		cause error
		want  int
	}{
		"what the service said": {said, StatusServerError},
		"something else":        {ErrStopTimeout, 0},
	} {
		var got *ErrorEvent
		r := newContinuousRun(t.Context(), &ContinuousTranscriber{h: ContinuousHandlers{OnError: func(e *ErrorEvent) { got = e }}}, TranscriptionParams{})
		r.cause, r.leg = c.cause, &leg{tr: new(Transcriber), failed: &ErrorEvent{Event: Event{Status: StatusServerError}, Err: said}}
		r.last()
		if r.cancel(); got == nil || got.Status != c.want || !errors.Is(got.Err, c.cause) || strings.Count(got.Err.Error(), "nls:") != 1 {
			t.Errorf("%s: OnError had %+v", name, got)
		}
	}
}

// Which may be of a session that is not the last.
func TestACauseThatIsTheServicesIsGivenAsItIs(t *testing.T) {
	c, err := NewClient(Config{URL: "ws://127.0.0.1:1", AppKey: "key", Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	r := newContinuousRun(t.Context(), c.NewContinuousTranscriber(ContinuousHandlers{}, ContinuousOptions{}), TranscriptionParams{})
	r.leg = &leg{tr: c.NewTranscriber(TranscriberHandlers{})}
	cause := errors.New("nls: task failed (task 1)")
	if r.end(cause, false); r.err() != cause {
		t.Errorf("Err = %v, want %v", r.err(), cause)
	}
}
