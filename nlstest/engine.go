package nlstest

import (
	"context"
	"time"

	"github.com/nlsgo/nls"
)

// Engine turns audio into text and text into audio. Its methods are safe for
// concurrent use and may take their time: the connection goes on meanwhile. One that
// exits its goroutine, as t.FailNow does, fails its task.
type Engine interface {
	// Recognize begins to recognise one stream of 16-bit mono PCM, and gives up
	// when ctx ends, as the task does. ...Started is sent once it has returned; an
	// error fails the task with 50000000.
	Recognize(ctx context.Context, r RecognitionRequest) (Recognition, error)

	// Synthesize speaks text, which is not empty, as 16-bit mono PCM. It calls
	// emit for each piece, in order, and returns the first error of emit or of
	// ctx.
	//
	// With a piece come the subtitles of the units that begin in it, such as one
	// Chinese character or one English word: Text, and Begin and End from the
	// start of the audio, BeginIndex and EndIndex in characters from the start of
	// text, Phonemes if it knows them; where a client asks for phonemes and they are
	// nil, the server invents some. The server adds the item for the whole sentence.
	// Both slices are valid until emit returns.
	Synthesize(ctx context.Context, text string, v Voice, emit func(pcm []byte, words []nls.Subtitle) error) error
}

// RecognitionRequest is what a recognition asks for. The server has checked it and
// filled in the defaults of the service.
type RecognitionRequest struct {
	Namespace  string // SpeechRecognizer or SpeechTranscriber; "" for a recorded file
	AppKey     string // "" for a recorded file
	SampleRate int    // hertz, 8000 or 16000

	// Punctuation and Digits (enable_inverse_text_normalization) are for an Engine
	// that is better at them than the server, which sees to both in any text.
	Punctuation, Digits bool

	// Semantic says that sentences end where their meaning does
	// (enable_semantic_sentence_detection), which the server sees to as well.
	Semantic bool

	VocabularyID, CustomizationID string // hot words and model; may be empty

	// MaxSilence is how much silence in the audio ends a sentence:
	// max_sentence_silence of SpeechTranscriber, max_end_silence of SpeechRecognizer,
	// 800 ms unless it was asked for.
	MaxSilence time.Duration
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

// Recognition is one running recognition, used by one goroutine at a time. What it returns
// may share memory with it until the next call.
type Recognition interface {
	// Write takes audio, cut anywhere, and returns what changed, oldest first.
	Write(pcm []byte) ([]Hypothesis, error)

	// Finish returns the rest, at the end of the audio. Only Close follows.
	Finish() ([]Hypothesis, error)

	// Close releases what the Recognition holds. It is the last call, once for each
	// Recognition, and may come at any time, without Finish when the connection was lost.
	Close() error
}

// Hypothesis is the state of one sentence. The first one of a sentence says that
// it has begun and may have no Text; the one that is Final says that it has
// ended. There is one sentence at a time.
type Hypothesis struct {
	Text       string        // with punctuation; numbers in words or digits
	Begin, End time.Duration // of the speech, from the start of the stream; so far, if not Final
	Final      bool
	Confidence float64    // 0 to 1
	Words      []nls.Word // each character, white space too, or whole words
}

// SilenceSetter is a Recognition that can be told how much silence ends a sentence
// from now on, as ControlTranscriber does. It is called between Writes.
type SilenceSetter interface {
	SetMaxSilence(d time.Duration)
}
