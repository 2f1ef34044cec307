package nlstest

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
	"github.com/nlsgo/nls/internal/wire"
)

const (
	// maxSpeech is the longest utterance of SpeechRecognizer (protocol §3.1).
	maxSpeech = 60 * time.Second

	defaultSilence = 800 // ms, of max_sentence_silence and max_end_silence
	minSilence     = 200
	maxSilence     = 6000

	// voiceStep is how often voice detection looks at the audio.
	voiceStep = 100 * time.Millisecond

	// voiceDelay is what an engine may take to notice that speech has begun. It is
	// allowed for before speech is found missing.
	voiceDelay = 500 * time.Millisecond
)

// listener is what the two recognition products have in common: audio goes in,
// hypotheses come out.
type listener struct {
	c       *conn
	format  string
	rate    int
	silence int // ms that end a sentence
	request RecognitionRequest
	writing

	engine  Recognition // nil before begin
	cancel  context.CancelFunc
	wav     wav.Reader
	odd     []byte // half a sample, waiting for the other half
	got     bool   // any audio at all
	samples int
}

// newListener reads the parameters that the products share.
func newListener(c *conn, p *params) *listener {
	l := &listener{c: c, silence: defaultSilence}
	l.rate = p.int("sample_rate", nls.DefaultSampleRate, math.MinInt, math.MaxInt)
	l.format = p.str("format", string(nls.FormatPCM))
	l.writing = writing{
		punctuation: p.bool("enable_punctuation_prediction"),
		digits:      p.bool("enable_inverse_text_normalization"),
		partials:    p.bool("enable_intermediate_result"),
		plain:       c.server.opts.PlainPartials,
	}
	l.request = RecognitionRequest{
		Namespace: p.d.namespace, AppKey: p.d.appKey, SampleRate: l.rate,
		Punctuation: l.punctuation, Digits: l.digits,
		VocabularyID: p.str("vocabulary_id", ""), CustomizationID: p.str("customization_id", ""),
	}
	p.check(func() any { return new(bool) }, "disfluency")
	p.check(func() any { return new(object) }, "special_word_filter")
	var noise float64
	if p.read("speech_noise_threshold", &noise) && (noise < -1 || noise > 1) {
		p.fail(invalidField("speech_noise_threshold", string(p.d.payload["speech_noise_threshold"])))
	}
	if !oneOf(l.rate, 8000, 16000) {
		p.fail(&failure{nls.StatusUnsupportedSampleRate, "UNSUPPORTED_SAMPLE_RATE"})
	}
	if !oneOf(l.format, "pcm", "wav", "opus", "opu", "speex", "amr", "mp3", "aac") {
		p.fail(&failure{nls.StatusUnsupportedFormat, "UNSUPPORTED_FORMAT"})
	}
	return l
}

func (l *listener) begin() *failure {
	ctx, cancel := context.WithCancel(l.c.ctx)
	l.cancel = cancel
	l.request.MaxSilence = l.maxSilence()
	r, err := l.c.server.opts.Engine.Recognize(ctx, l.request)
	if err != nil {
		return errServer
	}
	l.engine = r
	return nil
}

func (l *listener) maxSilence() time.Duration { return time.Duration(l.silence) * time.Millisecond }

func (l *listener) end() {
	if l.cancel != nil {
		l.cancel()
	}
	if l.engine != nil {
		l.engine.Close()
	}
}

// position is how much audio has been processed.
func (l *listener) position() time.Duration {
	return time.Duration(l.samples) * time.Second / time.Duration(l.rate)
}

// decode returns the whole samples in data.
func (l *listener) decode(data []byte) ([]byte, *failure) {
	l.got = l.got || len(data) > 0
	switch l.format {
	case "pcm":
	case "wav":
		var err error
		switch data, err = l.wav.Samples(data); {
		case errors.Is(err, wav.ErrTooLarge):
			return nil, &failure{nls.StatusContainerInvalid, "Too large wav header!"}
		case err != nil:
			return nil, &failure{nls.StatusContainerInvalid, "Invalid wav header!"}
		}
		if f := l.wav.Format; f != nil && (f.Channels != 1 || f.BitsPerSample != 16 || f.SampleRate != l.rate) {
			return nil, errDecode
		}
	default:
		return nil, errDecode // there is no decoder here
	}
	if len(l.odd) > 0 {
		data = append(l.odd, data...)
	}
	n := len(data) &^ 1
	l.odd = slices.Clone(data[n:])
	return data[:n], nil
}

// pieces cuts samples into what is heard at once, whatever the client has sent at
// once.
func (l *listener) pieces(pcm []byte) iter.Seq[[]byte] {
	return slices.Chunk(pcm, int(voiceStep.Seconds()*float64(l.rate))*2)
}

// write gives samples to the engine.
func (l *listener) write(pcm []byte) ([]draft, *failure) {
	l.samples += len(pcm) / 2
	hs, err := l.engine.Write(pcm)
	if err != nil {
		return nil, errServer
	}
	return l.written(hs, false), nil
}

// finish returns what the engine still has.
func (l *listener) finish() ([]draft, *failure) {
	hs, err := l.engine.Finish()
	if err != nil {
		return nil, errServer
	}
	return l.written(hs, true), nil
}

// transcriber is a task of SpeechTranscriber.
type transcriber struct {
	*listener
	words bool

	index int // of the sentence that runs or was the last
	open  bool
	since time.Duration // where the open sentence began
}

func openTranscriber(c *conn, d *directive) (task, *failure) {
	p := paramsOf(d)
	t := &transcriber{listener: newListener(c, p)}
	t.words = p.bool("enable_words")
	t.silence = p.int("max_sentence_silence", defaultSilence, minSilence, maxSilence)
	if p.bool("enable_semantic_sentence_detection") && t.partials { // which it needs (protocol §4.2)
		t.cutter = new(cutter)
		t.request.Semantic = true
	}
	p.check(func() any { return new(bool) }, "enable_multi_thresh_mod", "enable_ignore_sentence_timeout")
	return t, p.failed
}

func (t *transcriber) audio(data []byte) *failure {
	pcm, f := t.decode(data)
	if f != nil {
		return f
	}
	for piece := range t.pieces(pcm) {
		drafts, f := t.write(piece)
		if f != nil || !t.report(drafts) {
			return f
		}
	}
	return nil
}

// control takes the parameters that may change while a task runs.
func (t *transcriber) control(d *directive) *failure {
	p := paramsOf(d)
	silence := p.int("max_sentence_silence", t.silence, minSilence, maxSilence)
	p.check(func() any { return new(string) }, "vocabulary_id")
	if p.failed == nil && silence != t.silence {
		t.silence = silence
		if s, ok := t.engine.(SilenceSetter); ok {
			s.SetMaxSilence(t.maxSilence())
		}
	}
	return p.failed
}

func (t *transcriber) stop() *failure {
	drafts, f := t.finish()
	if f != nil {
		return f
	}
	if t.report(drafts) {
		t.c.complete()
	}
	return nil
}

func (t *transcriber) completed() any { return nil }

// closed is where the service had got to when it closed a sentence: the silence
// behind it included, unless it was its meaning that ended it (protocol §16.1).
func (t *transcriber) closed(d draft) time.Duration {
	if d.rest != "" {
		return d.End
	}
	return max(d.End, min(t.position(), d.End+t.maxSilence()))
}

// report sends the events of drafts. It reports false if the task has ended over
// it.
func (t *transcriber) report(drafts []draft) bool {
	for _, h := range drafts {
		if !t.open {
			t.open = true
			t.index++
			t.since = h.Begin
			t.event("SentenceBegin", sentenceBegin{t.index, t.since.Milliseconds()})
		}
		switch {
		case h.Final:
			t.open = false
			end := t.closed(h).Milliseconds()
			current := end
			if h.rest != "" {
				current = t.position().Milliseconds()
			}
			t.event("SentenceEnd", sentenceEnd{
				Index: t.index, BeginTime: t.since.Milliseconds(), Time: end,
				Result: h.Text, Confidence: double(h.Confidence), Words: t.rows(h.Words),
				SentenceID: wire.NewID(),
				Stash: stash{
					SentenceID: t.index + 1, BeginTime: end, Text: h.rest, UnfixedText: h.rest,
					CurrentTime: current, Words: []wordRow{},
				},
			})
		case t.partials && h.Text != "":
			t.event("TranscriptionResultChanged", resultChanged{
				Index: t.index, Time: t.position().Milliseconds(),
				Result: h.Text, Confidence: double(h.Confidence), Words: t.rows(h.Words),
			})
		}
	}
	return t.runs()
}

// runs reports whether the task has not ended while it was sending.
func (t *transcriber) runs() bool { return t.c.task == task(t) && !t.c.over }

func (t *transcriber) event(name string, payload any) {
	if t.runs() {
		t.c.send(t.c.event(name, payload))
	}
}

// rows are the words of a result: none unless enable_words is set, but never null.
func (t *transcriber) rows(words []nls.Word) []wordRow {
	if !t.words {
		return []wordRow{}
	}
	words = wordsOf(words, t.digits)
	rows := make([]wordRow, len(words))
	for i, w := range words {
		rows[i] = wordRow{w.Text, w.Start.Milliseconds(), w.End.Milliseconds()}
	}
	return rows
}

// recognizer is a task of SpeechRecognizer.
type recognizer struct {
	*listener
	detect   bool          // enable_voice_detection
	maxStart time.Duration // zero for no limit

	said    strings.Builder // the sentences that are final
	current string          // the one that is not
	open    bool
	until   time.Duration // end of the last final sentence; zero before there is one
}

func openRecognizer(c *conn, d *directive) (task, *failure) {
	p := paramsOf(d)
	r := &recognizer{listener: newListener(c, p)}
	if r.detect = p.bool("enable_voice_detection"); r.detect {
		r.silence = p.int("max_end_silence", defaultSilence, minSilence, maxSilence)
		r.maxStart = time.Duration(p.int("max_start_silence", 0, 1, 60000)) * time.Millisecond
	}
	return r, p.failed
}

func (r *recognizer) audio(data []byte) *failure {
	pcm, f := r.decode(data)
	if f != nil {
		return f
	}
	for piece := range r.pieces(pcm) {
		drafts, f := r.write(piece)
		if f != nil {
			return f
		}
		if r.position() > maxSpeech {
			return errSpeechTooLong
		}
		if !r.report(drafts) {
			return nil
		}
		if !r.detect || r.open {
			continue
		}
		if r.until == 0 {
			if r.maxStart > 0 && r.position() > r.maxStart+voiceDelay {
				return errSilent
			}
		} else if r.position()-r.until >= time.Duration(r.silence)*time.Millisecond {
			r.c.completeUnasked()
			return nil
		}
	}
	return nil
}

// control is never called: there is no such directive.
func (r *recognizer) control(d *directive) *failure { return unsupportedDirective(d) }

func (r *recognizer) stop() *failure {
	if !r.got {
		return errNoAudio
	}
	drafts, f := r.finish()
	if f != nil {
		return f
	}
	if r.report(drafts) {
		r.c.complete()
	}
	return nil
}

func (r *recognizer) completed() any { return r.result() }

// result is the whole text so far.
func (r *recognizer) result() recognitionResult {
	return recognitionResult{r.said.String() + r.current, r.position().Milliseconds()}
}

// report takes in drafts and sends what has changed. It reports false if the task
// has ended over it.
func (r *recognizer) report(drafts []draft) bool {
	for _, h := range drafts {
		before := r.result().Result
		if r.open = !h.Final; r.open {
			r.current = h.Text
		} else {
			r.said.WriteString(h.Text)
			r.current = ""
			r.until = h.End
		}
		if now := r.result(); r.partials && now.Result != before && r.runs() {
			r.c.send(r.c.event("RecognitionResultChanged", now))
		}
	}
	return r.runs()
}

func (r *recognizer) runs() bool { return r.c.task == task(r) && !r.c.over }
