package nlstest

import "time"

const (
	// maxAudio is the longest audio message that is heard; a longer one is swallowed
	// without an answer (protocol §16.1).
	maxAudio = 512 << 10

	// With Options.RealTime audio may not come more than maxSpeed times faster than it
	// plays over paceWindow (protocol §16.1: audio far faster than it plays is dropped).
	maxSpeed   = 10
	paceWindow = 5 * time.Second
)

// delays are how long the service takes.
type delays struct {
	started    time.Duration // from Start to ...Started
	completed  time.Duration // from Stop, or the last result after it, to ...Completed
	firstAudio time.Duration // from the first text of a synthesis to its audio
}

func newDelays(o Options) (d delays) {
	switch {
	case o.ReplyDelay < 0:
	case o.ReplyDelay > 0:
		d.started, d.completed = o.ReplyDelay, o.ReplyDelay
	case o.Latency: // as captures show (protocol §16.1)
		d.started, d.completed = 60*time.Millisecond, 140*time.Millisecond
	default:
		d.started, d.completed = 20*time.Millisecond, 40*time.Millisecond
	}
	if o.Latency {
		d.firstAudio = 220 * time.Millisecond
	}
	return d
}

// pace measures how fast audio comes.
type pace struct {
	since  time.Time     // when the window began
	played time.Duration // how long what came in it plays
}

// tooFast counts audio that plays for d, and reports whether there was too much of
// it.
func (p *pace) tooFast(d time.Duration) bool {
	if now := time.Now(); now.Sub(p.since) >= paceWindow {
		p.since, p.played = now, 0
	}
	p.played += d
	return p.played > maxSpeed*paceWindow
}
