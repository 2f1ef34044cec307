package nlstest

import (
	"bytes"
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
	words   bool // enable_words
	got     bool // any audio at all
	samples int
	pace    pace
	ctx     context.Context // of the task
	cancel  context.CancelFunc

	// Of the goroutine of the engine.
	writing
	engine  Recognition
	decoder *decoder // nil if there is none, or it is closed
	wav     wav.Reader
	odd     []byte // half a sample, waiting for the other half
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

// prepare starts the engine, on a goroutine of its own.
func (l *listener) prepare(ready func()) {
	l.ctx, l.cancel = context.WithCancel(l.c.server.ctx)
	l.request.MaxSilence = l.maxSilence()
	l.c.engine = l.c.server.newEngineQueue(l.ctx, func() { l.c.fail(errServer) }, l.close)
	l.c.engine.call(0, func() func() {
		var err error
		if l.decoder, err = l.c.server.newDecoder(l.ctx, l.format, l.rate); err == nil {
			l.engine, err = l.c.server.opts.Engine.Recognize(l.ctx, l.request)
		}
		if err != nil {
			return func() { l.c.fail(errServer) }
		}
		return ready
	})
}

// close frees what the goroutine of the engine holds, at its end.
func (l *listener) close() {
	if l.decoder != nil {
		l.decoder.Close()
	}
	if l.engine != nil {
		l.engine.Close()
	}
}

func (l *listener) begin() {}

func (l *listener) maxSilence() time.Duration { return time.Duration(l.silence) * time.Millisecond }

func (l *listener) end() {
	if l.cancel != nil {
		l.cancel()
	}
	l.c.engine = engineQueue{}
}

// position is how much audio has been processed.
func (l *listener) position() time.Duration {
	return time.Duration(l.samples) * time.Second / time.Duration(l.rate)
}

// decode returns the whole samples in data.
func (l *listener) decode(data []byte) ([]byte, *failure) {
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
		if l.decoder == nil {
			return nil, errDecode
		}
		var err error
		if data, err = l.decoder.Write(data); err != nil {
			return nil, errDecode
		}
	}
	return l.whole(data), nil
}

// whole returns the whole samples in pcm, and keeps half a one for the next.
func (l *listener) whole(pcm []byte) []byte {
	if len(l.odd) > 0 {
		pcm = append(l.odd, pcm...)
	}
	n := len(pcm) &^ 1
	l.odd = slices.Clone(pcm[n:])
	return pcm[:n]
}

// pieces cuts samples into what is heard at once, whatever the client has sent at
// once.
func (l *listener) pieces(pcm []byte) iter.Seq[[]byte] {
	return slices.Chunk(pcm, int(voiceStep.Seconds()*float64(l.rate))*2)
}

// write gives audio to the engine. What is heard in each piece of it goes to heard,
// until that reports false.
func (l *listener) write(data []byte, heard func([]draft) bool) {
	l.got = l.got || len(data) > 0
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	buf.Write(data)
	l.c.engine.call(len(data), func() func() {
		pcm, f := l.decode(buf.Bytes())
		all, f := l.listen(pcm, f)
		recycle(message{buf: buf})
		return func() {
			if l.pass(all, heard) && f != nil {
				l.c.fail(f)
			}
		}
	})
}

// finish gives to heard what the decoder still has, as write does, and then to last
// what the engine still has. It completes the task unless one reports false.
func (l *listener) finish(heard, last func([]draft) bool) {
	l.c.engine.call(0, func() func() {
		var all []finding
		var f *failure
		if d := l.decoder; d != nil {
			l.decoder = nil
			pcm, err := d.Close()
			if err != nil {
				f = errDecode
			}
			all, f = l.listen(l.whole(pcm), f)
		}
		var rest []draft
		if f == nil {
			hs, err := l.engine.Finish()
			if rest = l.drafts(hs, true); err != nil {
				f = errServer
			}
		}
		return func() {
			if !l.pass(all, heard) {
				return
			}
			if f != nil {
				l.c.fail(f)
			} else if last(rest) {
				l.c.complete()
			}
		}
	})
}

// finding is what is heard in a piece of audio.
type finding struct {
	samples int
	drafts  []draft
}

// listen writes PCM to the engine, piece by piece up to a failure; f is one already.
func (l *listener) listen(pcm []byte, f *failure) (all []finding, _ *failure) {
	if f != nil {
		return nil, f
	}
	for piece := range l.pieces(pcm) {
		if l.ctx.Err() != nil {
			break // nobody is there to hear
		}
		hs, err := l.engine.Write(piece)
		if err != nil {
			return all, errServer
		}
		all = append(all, finding{len(piece) / 2, l.drafts(hs, false)})
	}
	return all, nil
}

// drafts is what becomes of hypotheses, whose memory may be the engine's.
func (l *listener) drafts(hs []Hypothesis, last bool) []draft {
	drafts := l.written(hs, last)
	for i := range drafts {
		if d := &drafts[i]; l.words {
			d.Words = slices.Clone(d.Words)
		} else {
			d.Words = nil
		}
	}
	return drafts
}

// pass passes findings to heard, until that reports false.
func (l *listener) pass(all []finding, heard func([]draft) bool) bool {
	for _, f := range all {
		l.samples += f.samples
		if l.c.server.opts.RealTime && l.pace.tooFast(samplesTime(int64(f.samples), l.rate)) {
			l.c.over = true
			return false
		}
		if !heard(f.drafts) {
			return false
		}
	}
	return true
}

// transcriber is a task of SpeechTranscriber.
type transcriber struct {
	*listener

	// What a client that has lost a session wants added in the next one (protocol
	// §4.2).
	timeOffset  int64 // ms
	indexOffset int

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
	t.timeOffset = int64(p.int("tw_time_offset", 0, 0, math.MaxInt32))
	t.indexOffset = p.int("tw_index_offset", 0, 0, math.MaxInt32)
	p.check(func() any { return new(bool) }, "enable_multi_thresh_mod", "enable_ignore_sentence_timeout")
	return t, p.failed
}

func (t *transcriber) audio(data []byte) { t.write(data, t.report) }

// control takes the parameters that may change while a task runs.
func (t *transcriber) control(d *directive) *failure {
	p := paramsOf(d)
	t.silence = p.int("max_sentence_silence", t.silence, minSilence, maxSilence)
	p.check(func() any { return new(string) }, "vocabulary_id")
	if p.failed == nil {
		d := t.maxSilence()
		t.c.engine.call(0, func() func() {
			if s, ok := t.engine.(SilenceSetter); ok {
				s.SetMaxSilence(d)
			}
			return nil
		})
	}
	return p.failed
}

func (t *transcriber) stop(*directive) *failure {
	t.finish(t.report, t.report)
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
	return t.c.runs(t)
}

func (t *transcriber) event(name string, payload continuable) {
	if t.c.runs(t) {
		if t.timeOffset != 0 || t.indexOffset != 0 {
			t.c.checker = nil // which counts from 1
			payload = payload.continued(t.indexOffset, t.timeOffset)
		}
		t.c.send(t.c.event(name, payload))
	}
}

// rows are the words of a result, never null.
func (t *transcriber) rows(words []nls.Word) []wordRow {
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

func (r *recognizer) audio(data []byte) { r.write(data, r.hear) }

// hear takes in what is heard in a piece of audio. It reports false if the task has
// ended over it, or is about to.
func (r *recognizer) hear(drafts []draft) bool {
	switch {
	case r.c.unasked == r.c.taskID: // what came after the end of speech
		return false
	case r.position() > maxSpeech:
		r.c.fail(errSpeechTooLong)
	case !r.report(drafts) || !r.detect || r.open:
	case r.until == 0:
		if r.maxStart > 0 && r.position() > r.maxStart+voiceDelay {
			r.c.fail(errSilent)
		}
	case r.position()-r.until >= time.Duration(r.silence)*time.Millisecond:
		r.c.completeUnasked()
		return false
	}
	return r.c.runs(r)
}

// control is never called: there is no such directive.
func (r *recognizer) control(d *directive) *failure { return unsupportedDirective(d) }

func (r *recognizer) stop(*directive) *failure {
	if !r.got {
		return errNoAudio
	}
	r.finish(r.hear, r.report)
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
		if now := r.result(); r.partials && now.Result != before && r.c.runs(r) {
			r.c.send(r.c.event("RecognitionResultChanged", now))
		}
	}
	return r.c.runs(r)
}
