// Package engines makes real speech of the local gateway of [nlstest], without an
// account: recognition by pocketsphinx, speech by flite and espeak-ng, as a Debian user
// can install them:
//
//	apt-get install libpocketsphinx3 pocketsphinx-en-us flite espeak-ng ffmpeg
//
// Expect of it what these programs are. Recognition is of English alone, with about
// three words of ten wrong in read books at 16 kHz, and half of them at 8 kHz, for which
// the model is not made; there is no Mandarin recognition to be had this way. Speech
// sounds like a machine, in English and Mandarin. Engine.Codecs adds the compressed
// formats.
//
// Nothing of it is linked: the package needs no C compiler, builds everywhere, and
// looks for the library, on Linux on amd64 and arm64, and for the programs when New is
// called. What is not there is done by [nlstest.Loopback].
package engines

import (
	"cmp"
	"context"
	"errors"
	"os/exec"
	"runtime"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// ErrBusy is the error of Recognize while Options.Recognitions others run.
var ErrBusy = errors.New("engines: no recognition is free")

// Options say how much of the machine an Engine may take.
type Options struct {
	// Recognitions is how many may run at a time: each takes about half a core while
	// somebody speaks, and half a second of one to begin. One more fails with ErrBusy. Zero means one for
	// each core.
	Recognitions int

	// Processes is how many sentences may be spoken at a time. One more waits. Zero
	// means one for each core.
	Processes int
}

// Engine is an [nlstest.Engine]. New makes it; it is safe for concurrent use.
//
// Its recognitions are of 8 and 16 kHz, with partial results and the times of words.
// Of punctuation there is a full stop after each sentence, since pocketsphinx knows none.
// Its speech has no subtitles. Of a Voice it takes the volume and the rates; the name
// makes no difference.
type Engine struct {
	sphinx    *sphinx       // nil if it is not there
	decoders  chan struct{} // that are in use
	flite     string        // program, "" if it is not there
	espeak    string
	ffmpeg    string
	processes chan struct{} // that run
	parts     []Part
}

// Part is something that an Engine can do.
type Part struct {
	Name    string // what
	Uses    string // by what; "" if that is missing, and Loopback does it
	Install string // how to get what is missing; "" if there is nothing to get
}

// New looks for what is installed and returns an Engine of it. It does not fail: what
// is missing is in Parts.
func New(o Options) *Engine {
	cores := runtime.NumCPU()
	e := &Engine{
		decoders:  make(chan struct{}, cmp.Or(o.Recognitions, cores)),
		processes: make(chan struct{}, cmp.Or(o.Processes, cores)),
	}
	found := func(name, uses, install string, ok bool) {
		if ok {
			install = ""
		} else {
			uses = ""
		}
		e.parts = append(e.parts, Part{name, uses, install})
	}
	var err error
	e.sphinx, err = loadSphinx()
	found("English recognition", "pocketsphinx", "apt-get install libpocketsphinx3 pocketsphinx-en-us", err == nil)
	found("Mandarin recognition", "", "", false)
	e.flite, _ = exec.LookPath("flite")
	e.espeak, _ = exec.LookPath("espeak-ng")
	english := "flite"
	if e.flite == "" {
		english = "espeak-ng"
	}
	found("English speech", english, "apt-get install flite", e.flite != "" || e.espeak != "")
	found("Mandarin speech", "espeak-ng", "apt-get install espeak-ng", e.espeak != "")
	e.ffmpeg, _ = exec.LookPath("ffmpeg")
	found("opus and opu", "pion/opus", "", true)
	found("mp3, aac, speex and amr", "ffmpeg", "apt-get install ffmpeg", e.ffmpeg != "")
	return e
}

// Parts returns what e does by what, and what is missing for the rest.
func (e *Engine) Parts() []Part { return append([]Part(nil), e.parts...) }

// Recognize is nlstest.Engine.
func (e *Engine) Recognize(ctx context.Context, r nlstest.RecognitionRequest) (nlstest.Recognition, error) {
	if e.sphinx == nil {
		return nlstest.Loopback().Recognize(ctx, r)
	}
	return e.newRecognition(ctx, r)
}

// Synthesize is nlstest.Engine.
func (e *Engine) Synthesize(ctx context.Context, text string, v nlstest.Voice, emit func(pcm []byte, words []nls.Subtitle) error) error {
	if program, args := e.speaker(text, v); program != "" {
		return e.speak(ctx, program, args, text, v, emit)
	}
	return nlstest.Loopback().Synthesize(ctx, text, v, emit)
}
