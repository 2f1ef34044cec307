package nlstest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

const (
	// The longest texts that are spoken (protocol §5.2, §6.1).
	maxShortText   = 300
	maxLongText    = 100_000
	maxFlowingText = 10_000 // in one RunSynthesis; maxLongText in a task

	// maxAudioFrame is the usual size of an audio message (protocol §5.3).
	maxAudioFrame = 8000
)

// synthesis is a task of one of the three synthesis products. Text is cut into
// sentences, which an engine speaks one after the other on a goroutine of its own,
// so that the connection goes on meanwhile.
type synthesis struct {
	c        *conn
	flowing  bool
	voice    Voice
	subtitle bool
	phonemes bool     // enable_phoneme_timestamp
	ssml     bool     // the text of a flowing synthesis is SSML
	taken    int      // characters
	splitter splitter // of text that is not a sentence yet
	waiting  []string // sentences to speak
	speaking string   // the one that is being spoken, "" if none
	stopping bool     // no more text will come
	header   []byte   // of a WAV file, until it is sent

	// newEncoder is that of Options.Codecs, nil for PCM.
	newEncoder func(ctx context.Context, sampleRate int) (Transcoder, error)

	ctx    context.Context
	cancel context.CancelFunc

	index   int           // of the sentence, from 0 (protocol §11.3)
	units   int           // in the sentences before it
	start   time.Duration // where it begins
	samples int           // sent
	rows    []subtitleRow // of its units so far
}

// utterance is a piece of a sentence, from the engine to the connection.
type utterance struct {
	samples int
	audio   []byte // of those and earlier ones, in the format that was asked for
	words   []nls.Subtitle
	done    bool // the sentence has ended
	err     error
}

// newSynthesis reads the parameters that the products share.
func newSynthesis(c *conn, p *params) *synthesis {
	s := &synthesis{c: c}
	s.voice.SampleRate = p.int("sample_rate", nls.DefaultSampleRate, math.MinInt, math.MaxInt)
	if !oneOf(s.voice.SampleRate, 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000) {
		p.fail(invalidField("sample_rate", fmt.Sprint(s.voice.SampleRate)))
	}
	format := p.str("format", string(nls.FormatPCM))
	switch format {
	case "pcm":
	case "wav":
		s.header = wav.Header(s.voice.SampleRate, wav.Unknown)
	default:
		if s.newEncoder = c.server.opts.Codecs[format].NewEncoder; s.newEncoder == nil {
			p.fail(invalidField("format", format))
		}
	}
	s.voice.Volume = p.int("volume", nls.DefaultVolume, 0, 100)
	s.voice.SpeechRate = p.int("speech_rate", 0, -500, 500)
	s.voice.PitchRate = p.int("pitch_rate", 0, -500, 500)
	s.subtitle = p.bool("enable_subtitle")
	s.phonemes = p.bool("enable_phoneme_timestamp")
	return s
}

// readVoice reads the voice, which is looked at after the text.
func (s *synthesis) readVoice(p *params) {
	s.voice.Name = p.str("voice", nls.DefaultVoice)
	if f := s.checkVoice(); f != nil {
		p.fail(f)
	}
}

func openSynthesizer(c *conn, d *directive) (task, *failure)     { return openText(c, d, maxShortText) }
func openLongSynthesizer(c *conn, d *directive) (task, *failure) { return openText(c, d, maxLongText) }

// openText opens a task that has its text in the Start. The service speaks the
// first limit characters.
func openText(c *conn, d *directive, limit int) (task, *failure) {
	p := paramsOf(d)
	s := newSynthesis(c, p)
	text := p.str("text", "")
	if strings.TrimSpace(text) == "" {
		p.fail(errNoText)
	}
	s.readVoice(p)
	if p.failed != nil {
		return nil, p.failed
	}
	text, f := s.plainText(text)
	if f != nil {
		return nil, f
	}
	if utf8.RuneCountInString(text) > limit {
		text = string([]rune(text)[:limit])
	}
	s.waiting = append(s.splitter.add(text), s.splitter.flush()...)
	s.stopping = true
	return s, nil
}

func openFlowingSynthesizer(c *conn, d *directive) (task, *failure) {
	p := paramsOf(d)
	s := newSynthesis(c, p)
	s.flowing = true
	s.readVoice(p)
	s.ssml = p.bool("enable_ssml")
	return s, p.failed
}

// plainText returns what is to be spoken of a text that may be SSML, which is
// known by its root element (protocol §5.2). The root may name another voice.
func (s *synthesis) plainText(text string) (string, *failure) {
	if !strings.HasPrefix(strings.TrimSpace(text), "<speak") {
		return text, nil
	}
	var b strings.Builder
	for dec := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := dec.Token()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", errIllegalSSML
		}
		var f *failure
		switch t := token.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			switch t.Name.Local {
			case "speak":
				if voice, ok := attribute(t, "voice"); ok {
					s.voice.Name = voice
					f = s.checkVoice()
				}
			case "emotion":
				category, _ := attribute(t, "category")
				f = s.checkEmotion(category)
			}
		}
		if f != nil {
			return "", f
		}
	}
}

func attribute(e xml.StartElement, name string) (value string, ok bool) {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

func (s *synthesis) prepare(ready func()) { ready() }

func (s *synthesis) begin() {
	s.ctx, s.cancel = context.WithCancel(s.c.server.ctx)
	s.c.spoken = make(chan utterance)
	if s.stopping {
		s.next()
	}
}

func (s *synthesis) end() {
	if s.cancel != nil {
		s.cancel()
	}
	s.c.spoken = nil
}

// audio is never called: the connection refuses it.
func (s *synthesis) audio([]byte) {}

func (s *synthesis) control(d *directive) *failure {
	if d.name == "FlushText" {
		s.waiting = append(s.waiting, s.splitter.flush()...)
		s.next()
		return nil
	}
	p := paramsOf(d)
	text := p.str("text", "")
	n := utf8.RuneCountInString(text)
	s.taken += n
	switch {
	case text == "":
		p.fail(errNoText)
	case n > maxFlowingText || s.taken > maxLongText:
		p.fail(&failure{nls.StatusDirectiveInvalid, "Gateway:DIRECTIVE_INVALID:Text is too long!"})
	}
	if p.failed != nil {
		return p.failed
	}
	if s.ssml {
		var f *failure
		if text, f = s.plainText(text); f != nil {
			return f
		}
	}
	s.waiting = append(s.waiting, s.splitter.add(text)...)
	s.next()
	return nil
}

func (s *synthesis) stop(*directive) *failure {
	s.waiting = append(s.waiting, s.splitter.flush()...)
	s.stopping = true
	s.next()
	return nil
}

func (s *synthesis) completed() any { return nil }

// next speaks the next sentence, if none is being spoken, or completes the task.
func (s *synthesis) next() {
	switch {
	case s.speaking != "":
	case len(s.waiting) > 0:
		s.speaking = s.waiting[0]
		s.waiting = s.waiting[1:]
		s.start = s.position()
		s.rows = nil
		if s.flowing {
			s.event("SentenceBegin", sentenceIndex{s.index})
		}
		if !s.c.runs(s) {
			return
		}
		ctx, out, text, voice := s.ctx, s.c.spoken, s.speaking, s.voice
		engine, delay := encoding{s.c.server.opts.Engine, s.newEncoder}, time.Duration(0)
		if s.samples == 0 {
			delay = s.c.server.delays.firstAudio
		}
		s.c.server.running.Go(func() {
			select {
			case <-time.After(delay):
				speak(ctx, engine, text, voice, out)
			case <-ctx.Done():
			}
		})
	case s.stopping:
		s.c.complete()
	}
}

// errExited is an engine that has ended its goroutine, as t.FailNow does.
var errExited = errors.New("the engine has exited")

// encoding speaks in the format that a client has asked for.
type encoding struct {
	Engine
	newEncoder func(ctx context.Context, sampleRate int) (Transcoder, error) // nil for PCM
}

// speak lets an engine speak text into out, until ctx ends.
func speak(ctx context.Context, e encoding, text string, v Voice, out chan<- utterance) {
	pass := func(u utterance) error {
		select {
		case out <- u:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := errExited
	defer func() { pass(utterance{done: true, err: err}) }()
	err = e.speak(ctx, text, v, pass)
}

func (e encoding) speak(ctx context.Context, text string, v Voice, pass func(utterance) error) error {
	speak := func(encode func([]byte) ([]byte, error)) error {
		return e.Synthesize(ctx, text, v, func(pcm []byte, words []nls.Subtitle) error {
			audio, err := encode(pcm)
			if err != nil {
				return err
			}
			return pass(utterance{samples: len(pcm) / 2, audio: bytes.Clone(audio), words: slices.Clone(words)})
		})
	}
	if e.newEncoder == nil {
		return speak(func(pcm []byte) ([]byte, error) { return pcm, nil })
	}
	encoder, err := e.newEncoder(ctx, v.SampleRate)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			encoder.Close()
		}
	}()
	if err := speak(encoder.Write); err != nil {
		return err
	}
	closed = true
	rest, err := encoder.Close()
	if err != nil {
		return err
	}
	return pass(utterance{audio: rest})
}

// position is where in the audio the next sample is.
func (s *synthesis) position() time.Duration {
	return time.Duration(s.samples) * time.Second / time.Duration(s.voice.SampleRate)
}

// hear sends what the engine has spoken.
func (s *synthesis) hear(u utterance) {
	for _, w := range u.words {
		s.rows = append(s.rows, s.row(w))
	}
	switch {
	case u.err != nil:
		s.c.fail(&failure{nls.StatusSynthesisServerError, "TTS:TtsServerError:[tts]Failed to invoke engine!"})
	case u.done:
		s.sentenceEnd()
	default:
		if len(u.words) > 0 && s.subtitle {
			s.event(s.progress(), s.subtitles(false))
		}
		s.audioOut(u)
	}
}

// sentenceEnd ends a sentence and goes on with the next.
func (s *synthesis) sentenceEnd() {
	if s.flowing {
		if !s.subtitle {
			s.event("SentenceSynthesis", s.subtitles(true))
		}
		s.event("SentenceEnd", s.subtitles(true))
	} else if s.subtitle && len(s.rows) > 0 {
		s.event("MetaInfo", s.subtitles(true))
	}
	if !s.c.runs(s) {
		return
	}
	s.index++
	s.units += utf8.RuneCountInString(s.speaking)
	s.speaking = ""
	s.next()
}

// progress is the event that carries subtitles while a sentence is spoken.
func (s *synthesis) progress() string {
	if s.flowing {
		return "SentenceSynthesis"
	}
	return "MetaInfo"
}

// audioOut sends audio, the first after the header of the WAV file.
func (s *synthesis) audioOut(u utterance) {
	s.samples += u.samples
	audio := u.audio
	if len(audio) == 0 {
		return // an empty message upsets the C++ SDK (protocol §5.3)
	}
	if s.header != nil {
		audio = append(s.header, audio...)
		s.header = nil
	}
	for frame := range slices.Chunk(audio, maxAudioFrame) {
		if s.c.runs(s) {
			s.c.send(outgoing{audio: frame})
		}
	}
}

// row is a unit as it stands in the whole text and the whole audio.
func (s *synthesis) row(w nls.Subtitle) subtitleRow {
	row := subtitleRow{
		Text:       w.Text,
		BeginTime:  (s.start + w.Begin).Milliseconds(),
		EndTime:    (s.start + w.End).Milliseconds(),
		BeginIndex: s.units + w.BeginIndex,
		EndIndex:   s.units + w.EndIndex,
		Sentence:   w.Sentence,
	}
	if !s.flowing {
		if row.Phoneme = w.Phoneme; row.Phoneme == "" {
			row.Phoneme = "null"
		}
	}
	if s.flowing || s.phonemes {
		list := []any{}
		if s.phonemes {
			if w.Phonemes == nil {
				w.Phonemes = inventedPhonemes(w)
			}
			for i, p := range w.Phonemes {
				list = append(list, s.phoneme(i, p))
			}
		}
		row.PhonemeList = &list
	}
	return row
}

// phoneme is a phoneme as the product writes it (protocol §5.4).
func (s *synthesis) phoneme(i int, p nls.Phoneme) any {
	begin, end := (s.start + p.Begin).Milliseconds(), (s.start + p.End).Milliseconds()
	if s.flowing {
		return phonemeRow{p.Text, begin, end, p.Tone}
	}
	tone, _ := strconv.Atoi(p.Tone) // 0 is none
	return shortPhonemeRow{i, begin, end, p.Text, tone}
}

// subtitles are the units of the sentence so far, after an item for the sentence
// itself that has no end before the sentence has one (protocol §5.4).
func (s *synthesis) subtitles(ended bool) subtitles {
	if !s.subtitle || len(s.rows) == 0 {
		return subtitles{[]subtitleRow{}}
	}
	whole := s.rows[0]
	whole.Text, whole.Sentence = "", true
	whole.EndTime = whole.BeginTime
	if ended {
		whole.EndTime = s.rows[len(s.rows)-1].EndTime
	}
	if s.flowing {
		whole.PhonemeList = &[]any{}
	} else {
		whole.Phoneme, whole.PhonemeList = "null", nil
	}
	return subtitles{append([]subtitleRow{whole}, s.rows...)}
}

// event sends an event, unless the task has ended over an earlier one.
func (s *synthesis) event(name string, payload any) {
	if s.c.runs(s) {
		s.c.send(s.c.event(name, payload))
	}
}
