package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// screen shows what is heard: finished sentences on standard output, one a line, and
// on a terminal, below them, how far it has got and what is being said.
type screen struct {
	lines   io.Writer // nil to show none
	bars    *mpb.Progress
	bar     *mpb.Bar // nil without a terminal
	partial atomic.Pointer[string]
}

// newScreen returns a screen for audio that takes length to play, or 0 if that is
// not known. Without lines only a terminal shows anything.
func newScreen(length time.Duration, lines, plain bool) *screen {
	s := &screen{}
	if lines {
		s.lines = os.Stdout
	}
	terminal := os.Stderr
	if lines && isTerminal(os.Stdout) {
		terminal = os.Stdout
	}
	if plain || !isTerminal(terminal) {
		return s
	}
	s.bars = mpb.New(mpb.WithOutput(terminal), mpb.WithWidth(20))
	if lines && terminal == os.Stdout {
		s.lines = s.bars // above the bar
	}
	columns := 80
	if n, _, err := term.GetSize(int(terminal.Fd())); err == nil && n > 0 {
		columns = n
	}
	position := func(ds decor.Statistics) string {
		at := clock(time.Duration(ds.Current) * time.Millisecond)
		if length > 0 {
			at += "/" + clock(length)
		}
		return at
	}
	said := decor.Any(func(decor.Statistics) string {
		text := ""
		if p := s.partial.Load(); p != nil {
			text = *p
		}
		room := max(columns-60, 20)
		if length == 0 {
			room = max(columns-12, 20)
		}
		return "  " + runewidth.TruncateLeft(text, max(0, runewidth.StringWidth(text)-room), "")
	})
	if length > 0 {
		// Which is never complete: it goes when it is closed.
		s.bar = s.bars.New(length.Milliseconds()+1, mpb.BarStyle(), mpb.PrependDecorators(decor.Any(position)),
			mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS), decor.Name(" left"), said))
	} else {
		s.bar = s.bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(position), said))
	}
	return s
}

// sentence shows a finished sentence.
func (s *screen) sentence(text string) {
	s.partialResult("")
	if s.lines != nil {
		fmt.Fprintln(s.lines, text)
	}
}

// partialResult shows what has been said of a sentence, in the place of what was shown.
func (s *screen) partialResult(text string) { s.partial.Store(&text) }

// note says what the user should know, beside the results.
func (s *screen) note(format string, args ...any) {
	w := io.Writer(os.Stderr)
	if s.bar != nil {
		w = s.bars
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// at says how far it has got.
func (s *screen) at(d time.Duration) {
	if s.bar != nil {
		s.bar.SetCurrent(d.Milliseconds())
	}
}

// close leaves the lines alone on the screen.
func (s *screen) close() {
	if s.bar != nil {
		s.bar.Abort(true)
		s.bars.Wait()
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func clock(d time.Duration) string {
	d = d.Truncate(time.Second)
	return fmt.Sprintf("%02d:%02d", d/time.Minute, d%time.Minute/time.Second)
}
