package nlstest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/internal/wav"
)

// This file is what the two services for recorded files share: how a file is heard,
// and where one comes from that a client names.

// What may be wrong with a file.
var (
	errNoDecoder    = errors.New("there is no decoder for it")
	errBadRate      = errors.New("no model has its sample rate")
	errEngineFailed = errors.New("the engine has failed")
	errEmptyAudio   = errors.New("there is no audio in it")
)

// hearing says how a file is to be heard.
type hearing struct {
	pcm          bool // raw samples, of rate; else a WAV file
	rate         int
	anyRate      bool // else 8000 and 16000, which models have
	firstChannel bool
	silence      int // ms that end a sentence
	writing
}

// fileSentence is a sentence of a file.
type fileSentence struct {
	Hypothesis
	channel int
}

// hear transcribes the audio in r with engine. The sentences are in the order of time. An error
// that is none of the above is one of r or of ctx.
func hear(ctx context.Context, engine Engine, r io.Reader, h hearing) (sentences []fileSentence, length time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &fileHearing{hearing: h, ctx: ctx, engine: engine}
	defer f.close()
	buf := make([]byte, 32<<10)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		if e := f.write(buf[:n]); e != nil {
			return nil, 0, e
		}
	}
	if err != io.EOF {
		return nil, 0, err
	}
	if f.samples == 0 {
		return nil, 0, errEmptyAudio
	}
	for i, c := range f.channels {
		if err := f.keep(i)(c.Finish()); err != nil {
			return nil, 0, err
		}
	}
	slices.SortStableFunc(f.sentences, func(a, b fileSentence) int { return cmp.Compare(a.Begin, b.Begin) })
	return f.sentences, samplesTime(f.samples, f.rate), nil
}

// fileHearing is a file that is being heard.
type fileHearing struct {
	hearing
	ctx    context.Context
	engine Engine
	wav    wav.Reader

	channels  []Recognition // nil before the header is complete
	count     int           // of channels in the file
	half      []byte        // of the samples of one moment
	samples   int64         // of each channel
	sentences []fileSentence
}

func (f *fileHearing) close() {
	for _, c := range f.channels {
		c.Close()
	}
}

func (f *fileHearing) write(p []byte) error {
	if !f.pcm {
		var err error
		if p, err = f.wav.Samples(p); err != nil {
			return errNoDecoder
		}
		if f.wav.Format == nil {
			return nil
		}
	}
	if f.channels == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if len(f.half) > 0 {
		p = append(f.half, p...)
	}
	frame := 2 * f.count
	n := len(p) / frame * frame
	f.half = slices.Clone(p[n:])
	p = p[:n]
	f.samples += int64(n / frame)
	for i, c := range f.channels {
		one := p
		if f.count > 1 {
			one = make([]byte, 0, len(p)/f.count)
			for at := 2 * i; at < len(p); at += frame {
				one = append(one, p[at], p[at+1])
			}
		}
		if len(one) == 0 {
			continue
		}
		if err := f.keep(i)(c.Write(one)); err != nil {
			return err
		}
	}
	return nil
}

// open starts a recognition for each channel.
func (f *fileHearing) open() error {
	f.count = 1
	if format := f.wav.Format; format != nil {
		if format.BitsPerSample != 16 || format.Channels < 1 || format.Channels > 8 {
			return errNoDecoder
		}
		f.rate, f.count = format.SampleRate, format.Channels
	}
	if !f.anyRate && f.rate != 8000 && f.rate != 16000 {
		return errBadRate
	}
	use := f.count
	if f.firstChannel {
		use = 1
	}
	for range use {
		r, err := f.engine.Recognize(f.ctx, RecognitionRequest{
			SampleRate: f.rate, Punctuation: f.punctuation, Digits: f.digits,
			MaxSilence: time.Duration(cmp.Or(f.silence, defaultSilence)) * time.Millisecond,
		})
		if err != nil {
			return errBadRate
		}
		f.channels = append(f.channels, r)
	}
	return nil
}

// keep keeps the finished sentences of a channel.
func (f *fileHearing) keep(channel int) func([]Hypothesis, error) error {
	return func(hs []Hypothesis, err error) error {
		if err != nil && f.ctx.Err() != nil {
			return f.ctx.Err()
		} else if err != nil {
			return errEngineFailed
		}
		for _, h := range hs {
			if h.Final && h.Text != "" {
				f.sentences = append(f.sentences, fileSentence{h, channel})
			}
		}
		return nil
	}
}

// punctuatedWord is a Word and the marks behind it.
type punctuatedWord struct {
	nls.Word
	punc string
}

// punctuatedWords are the words of a result, with the marks behind them.
func punctuatedWords(words []nls.Word, digits bool) (all []punctuatedWord) {
	var run []nls.Word // without a mark
	flush := func(punc string) {
		for _, w := range wordsOf(run, digits) {
			all = append(all, punctuatedWord{Word: w})
		}
		if run = nil; len(all) > 0 {
			all[len(all)-1].punc += punc
		}
	}
	for _, w := range words {
		text := strings.TrimRight(w.Text, punctuationMarks)
		punc := w.Text[len(text):]
		if w.Text = text; text != "" {
			run = append(run, w)
		}
		if punc != "" {
			flush(punc)
		}
	}
	flush("")
	return all
}

// fetch gets a file that a client has named, from Options.Files and never from the
// network. The caller closes it.
func (s *Server) fetch(ctx context.Context, link string) (status int, body io.ReadCloser, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return 0, nil, err
	}
	return s.ask(r)
}

// ask has Options.Files answer r, which is as a client sends it.
func (s *Server) ask(r *http.Request) (status int, body io.ReadCloser, err error) {
	if s.opts.Files == nil {
		return http.StatusNotFound, io.NopCloser(strings.NewReader("")), nil
	}
	if !s.enter() {
		return 0, nil, http.ErrServerClosed
	}
	ctx, cancel := context.WithCancel(r.Context())
	r = r.WithContext(ctx)
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "192.0.2.1:1234"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &pipedResponse{header: http.Header{}, body: pw, status: make(chan int, 1)}
	go func() {
		defer s.running.Done()
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				pw.CloseWithError(io.ErrUnexpectedEOF)
			} else if p != nil {
				panic(p)
			}
			w.WriteHeader(http.StatusOK)
			pw.Close()
		}()
		s.opts.Files.ServeHTTP(w, r)
	}()
	select {
	case status = <-w.status:
		stop := context.AfterFunc(ctx, func() { pr.CloseWithError(ctx.Err()) })
		return status, &pipedBody{pr, func() { stop(); cancel(); pr.Close() }}, nil
	case <-ctx.Done():
		defer cancel()
		pr.Close()
		return 0, nil, ctx.Err()
	}
}

// pipedResponse is a ResponseWriter whose body is read while it is written.
type pipedResponse struct {
	header http.Header
	body   *io.PipeWriter
	status chan int
	once   sync.Once
}

func (w *pipedResponse) Header() http.Header    { return w.header }
func (w *pipedResponse) WriteHeader(status int) { w.once.Do(func() { w.status <- status }) }
func (w *pipedResponse) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

type pipedBody struct {
	io.Reader
	close func()
}

func (b *pipedBody) Close() error {
	b.close()
	return nil
}
