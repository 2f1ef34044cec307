package nls

import "time"

// MetaInfo carries the timing of the words being spoken.
type MetaInfo struct {
	Event
	Index     int // sentence, as the service counts; StreamSynthesizer only
	Subtitles []Subtitle
}

// Subtitle is a spoken unit, such as one Chinese character, or a sentence, with
// its place in the audio and in the input. Units follow the pronunciation: "12"
// gives two of them. They are for timing, not for display.
type Subtitle struct {
	Text                 string
	Begin, End           time.Duration
	BeginIndex, EndIndex int // units from the start of the text, end exclusive
	Sentence             bool
	Phoneme              string
	Phonemes             []Phoneme // StreamSynthesizer only
}

// Phoneme is a part of a Subtitle.
type Phoneme struct {
	Text, Tone string
	Begin, End time.Duration
}
