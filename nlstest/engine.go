package nlstest

import (
	"context"
	"time"

	"github.com/nlsgo/nls"
)

// Engine turns audio into text and text into audio. Its methods are safe for
// concurrent use.
type Engine interface {
	// Recognize starts to recognise one stream of 16-bit mono PCM. It ends with
	// Finish, or when ctx does.
	Recognize(ctx context.Context, sampleRate int) (Recognition, error)

	// Synthesize speaks text, which is not empty, as 16-bit mono PCM. It calls
	// emit for each piece, in order, and returns the first error of emit or of
	// ctx.
	//
	// With a piece come the subtitles of the units that begin in it, such as one
	// Chinese character or one English word: Text, and Begin and End from the
	// start of the audio, BeginIndex and EndIndex in characters from the start of
	// text, Phonemes if it knows them; where a client asks for phonemes and they are
	// nil, the server invents some. The server adds the item for the whole sentence
	// (protocol §5.4). Both slices are valid until emit returns.
	Synthesize(ctx context.Context, text string, v Voice, emit func(pcm []byte, words []nls.Subtitle) error) error
}

// Voice is what a synthesis asks for. The server has checked it and filled in
// the defaults of the service: zero values mean what they say.
type Voice struct {
	Name       string
	SampleRate int // hertz
	Volume     int // 0, silence, to 100; the service's default is 50
	SpeechRate int // -500, half the speed, to 500, twice the speed
	PitchRate  int // -500 to 500
}

// Recognition is one running recognition, used by one goroutine.
type Recognition interface {
	// Write takes audio, cut anywhere, and returns what changed, oldest first.
	Write(pcm []byte) ([]Hypothesis, error)

	// Finish returns the rest. The Recognition is then used up.
	Finish() ([]Hypothesis, error)
}

// Hypothesis is the state of one sentence. The first one of a sentence says that
// it has begun and may have no Text; the one that is Final says that it has
// ended. There is one sentence at a time.
type Hypothesis struct {
	Text       string
	Begin, End time.Duration // from the start of the stream; so far, if not Final
	Final      bool
	Confidence float64 // 0 to 1
	Words      []nls.Word
}

// sentenceSilencer is a Recognition that can be told how much silence ends a
// sentence: max_sentence_silence of SpeechTranscriber, which ControlTranscriber
// changes, and max_end_silence of SpeechRecognizer. Both are measured on the
// audio, and are 800 ms unless told (protocol §4.2). It is called between Writes.
type sentenceSilencer interface {
	SetMaxSentenceSilence(d time.Duration)
}
