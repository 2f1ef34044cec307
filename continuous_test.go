package nls

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
)

// Where the next sentence has begun before the end of the last is told, it is not cut.
func TestWhatIsSentAgainBeginsWithTheNextSentence(t *testing.T) {
	for _, c := range []struct {
		name  string
		stash *Stash
		want  time.Duration
	}{
		{"no next sentence", nil, 13 * time.Second},
		{"one that has begun", &Stash{Begin: 2500 * time.Millisecond, Now: 3 * time.Second}, 12500 * time.Millisecond},
		{"one that begins later", &Stash{Begin: 4 * time.Second, Now: 5 * time.Second}, 13 * time.Second},
		{"one that makes no sense", &Stash{Begin: 0, Now: 5 * time.Second}, 13 * time.Second},
	} {
		ct := &ContinuousTranscriber{}
		r := newContinuousRun(t.Context(), ct, TranscriptionParams{})
		r.covered = pcmBytes(10*time.Second, r.rate)
		l := &leg{axis: continuous.NewAxis(10 * time.Second), begin: time.Now()}
		r.sentence(l, &Sentence{Begin: time.Second, Time: 3 * time.Second, Stash: c.stash}, sentenceEnded)
		if got := pcmTime(r.covered, r.rate); got != c.want {
			t.Errorf("%s: from %v, want %v", c.name, got, c.want)
		}
		r.cancel()
	}
}

// What a session was sent and has not finished is not taken to have been heard while
// the next is waited for.
func TestTheTapeIsRewoundWhenASessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(Config{URL: "ws://127.0.0.1:1", AppKey: "key", Token: "token"})
		if err != nil {
			t.Fatal(err)
		}
		r := newContinuousRun(t.Context(), c.NewContinuousTranscriber(ContinuousHandlers{}, ContinuousOptions{}), TranscriptionParams{})
		r.tape.Record(make([]byte, 1000), nil)
		r.tape.Play(1000)
		l := &leg{tr: c.NewTranscriber(TranscriberHandlers{})} // which is done
		r.leg = l
		go r.conduct(l)
		synctest.Wait()
		if n := r.tape.Behind(); n != 1000 {
			t.Errorf("%d bytes of 1000 wait to be sent again", n)
		}
		r.end(ErrShutdown, true)
		<-r.over
	})
}

func TestPlacesInAudioAreExact(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		for _, d := range []time.Duration{0, time.Millisecond, 1999 * time.Millisecond, 100 * time.Hour, 5000*time.Hour + time.Millisecond} {
			if got := pcmTime(pcmBytes(d, rate), rate); got != d {
				t.Errorf("%v at %d Hz is %v", d, rate, got)
			}
		}
	}
}
