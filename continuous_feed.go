package nls

import (
	"context"
	"time"

	"github.com/nlsgo/nls/internal/continuous"
)

const (
	feedTime  = 100 * time.Millisecond // of audio in a message, as Pump sends it
	muteAfter = time.Second            // without audio silence is sent

	// retireTime bounds how long a session that has been asked to complete, and
	// whose results nobody waits for, holds up the next.
	retireTime = 5 * time.Second
)

// feed sends l what is on the tape, and returns when l is done.
func (r *continuousRun) feed(l *leg) {
	f := feeder{
		continuousRun: r, l: l, chunk: int(pcmBytes(feedTime, r.rate)), catching: l.follows,
		quiet: time.NewTimer(muteAfter), wake: time.NewTimer(time.Hour),
	}
	for f.step() {
	}
	<-l.tr.Done()
}

// feeder sends one session what is on the tape: what has waited at the speed of
// CatchUp, and then what comes as it comes.
type feeder struct {
	*continuousRun
	l        *leg
	chunk    int         // bytes in a message
	catching bool        // what is next has waited for the session
	due      time.Time   // when the next of that may be sent
	quiet    *time.Timer // fires when there has been nothing for a while
	wake     *time.Timer
}

// step does the next thing there is to do, and waits for it. It reports whether there
// may be another.
func (f *feeder) step() bool {
	var ready <-chan time.Time
	stopping, quiet := f.stopping, f.quiet.C
	if !f.t.o.FillSilence {
		quiet = nil
	}
	if f.tape.Behind() >= 2 {
		wait := time.Until(f.due)
		if !f.catching || wait <= 0 {
			return !f.interrupted() && f.send()
		}
		f.wake.Reset(wait)
		ready, stopping, quiet = f.wake.C, nil, nil
	} else if f.catching = false; isClosed(f.stopping) {
		f.l.asked = true
		_ = f.l.tr.Stop(f.ctx) // what it returns is the session's Err
		return false
	}
	select {
	case <-f.tape.More():
	case <-ready:
	case <-stopping:
	case <-quiet:
		return f.silence()
	case <-f.l.tr.Done():
	case <-f.l.pause:
	case <-f.ctx.Done():
	}
	return !f.interrupted()
}

// interrupted reports whether the session gets no more audio, and ends it if it has
// not ended.
func (f *feeder) interrupted() bool {
	switch {
	case isClosed(f.l.tr.Done()):
	case f.ctx.Err() != nil:
		f.l.tr.Shutdown()
	case isClosed(f.l.pause):
		ctx, cancel := context.WithTimeout(f.ctx, retireTime)
		defer cancel()
		_ = f.l.tr.Stop(ctx) // it has said all that is asked for
	default:
		return false
	}
	return true
}

// send sends what comes next on the tape.
func (f *feeder) send() bool {
	audio := f.tape.Play(f.chunk)
	d := pcmTime(continuous.Position(len(audio)), f.rate)
	f.due = time.Now().Add(time.Duration(float64(d) / f.speed()))
	f.quiet.Reset(muteAfter)
	f.hears(d, (*continuous.Axis).Audio)
	return f.l.tr.SendAudio(audio) == nil
}

// silence sends some that nobody has given.
func (f *feeder) silence() bool {
	f.quiet.Reset(feedTime)
	f.hears(feedTime, (*continuous.Axis).Silence)
	return f.l.tr.SendAudio(make([]byte, f.chunk)) == nil
}

// hears tells the axis what the session is about to hear.
func (f *feeder) hears(d time.Duration, what func(*continuous.Axis, time.Duration)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what(&f.l.axis, d)
}

func (f *feeder) speed() float64 { return orDefault(f.t.o.CatchUp, defaultCatchUp) }
