// Package cli is what the example programs share: flags, a client for them, the
// audio that goes in and out, n sessions at once, the summary and the exit code.
package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// Input is what a program works on. It decides which flags there are.
type Input int

const (
	Live       Input = iota // audio from standard input, for one session
	Recording               // audio from -file
	Text                    // text from -text
	TextStream              // text from -text, or piped in
)

// recordedText is what testdata/test1.wav says.
const recordedText = "你好，世界。Hello, Go! 🎙"

// spokenText is spoken without -text. It is the one of the Python sample TestTts.
const spokenText = "大壮正想去摘取花瓣,谁知阿丽和阿强突然内讧,阿丽拿去手枪向树干边的阿强射击,两声枪响,阿强直接倒入水中"

// subtitledVoice is a voice that says when it speaks each word. nls.DefaultVoice
// cannot.
const subtitledVoice = "siqi"

// program is one run of an example.
type program struct {
	url, appKey, token, akid, akSecret, tokenEndpoint, ca string

	n, repeat int
	verbose   bool

	file  string
	speed float64
	want  string

	text, voice, out string
	subtitle         bool
	piped            bool // the text comes from standard input

	client     *nls.Client
	local      *nlstest.Server // nil if the user named a gateway
	audio      []byte
	sampleRate int

	mu      sync.Mutex
	results map[string]int // how often each text was the result
}

// Session is what one of the sessions that run at once works with.
type Session struct {
	Client     *nls.Client
	Log        *log.Logger // events, one a line; silent when there are many sessions, but for -v
	Repeat     int         // how often to start and stop
	SampleRate int         // of Audio and Speech
	Pace       nls.PumpOptions

	Text, Voice string
	Subtitle    bool

	*program
	number int // counts from 1
}

// Main parses the flags, runs session as often as they say and exits. The exit
// code is 0 if no session failed and none had another result than the expected.
func Main(input Input, session func(context.Context, *Session) error) {
	p := &program{n: 1, repeat: 1, speed: 1, sampleRate: nls.DefaultSampleRate, results: map[string]int{}}
	p.defineFlags(input)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := p.run(ctx, input, session); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (p *program) defineFlags(input Input) {
	flag.StringVar(&p.url, "url", "", "gateway `URL` ($NLS_URL)")
	flag.StringVar(&p.appKey, "appkey", "", "`key` of the project ($NLS_APPKEY)")
	flag.StringVar(&p.token, "token", "", "access `token` ($NLS_TOKEN)")
	flag.StringVar(&p.akid, "akid", "", "access key `ID`, to create tokens with ($ALIBABA_CLOUD_ACCESS_KEY_ID)")
	flag.StringVar(&p.akSecret, "aksecret", "", "access key `secret` ($ALIBABA_CLOUD_ACCESS_KEY_SECRET)")
	flag.StringVar(&p.tokenEndpoint, "token-endpoint", "", "`host` of the token API")
	flag.StringVar(&p.ca, "ca", "", "PEM `file` of a certificate authority to trust")
	if input == Live {
		return
	}
	flag.IntVar(&p.n, "n", p.n, "`sessions` at once")
	flag.IntVar(&p.repeat, "repeat", p.repeat, "how many `times` each session object starts and stops")
	flag.BoolVar(&p.verbose, "v", false, "print events also when there are many sessions")
	flag.StringVar(&p.want, "want", "", "the `text` that has to come out; anything else is a failure")
	if input == Recording {
		flag.StringVar(&p.file, "file", "", "`file` to recognise: .wav, or 16 kHz .pcm (testdata/test1.wav)")
		flag.Float64Var(&p.speed, "speed", p.speed, "how much faster than it plays the audio is sent; -1: no limit")
	}
	if input == Text || input == TextStream {
		flag.StringVar(&p.text, "text", "", "`text` to speak (the one of the Python sample)")
		flag.StringVar(&p.voice, "voice", "", "`name` of the voice ("+nls.DefaultVoice+")")
		flag.StringVar(&p.out, "out", "", "`file` for the audio of the first session: .wav, or raw PCM")
		flag.BoolVar(&p.subtitle, "subtitle", false, "print when each word is spoken; not every voice can say, so the default is then "+subtitledVoice)
	}
}

// run prepares what the sessions need, runs them and sums up.
func (p *program) run(ctx context.Context, input Input, session func(context.Context, *Session) error) error {
	if err := p.connect(); err != nil {
		return err
	}
	if p.local != nil {
		defer p.local.Close()
	}
	switch input {
	case Recording:
		if err := p.readAudio(ctx); err != nil {
			return err
		}
	case TextStream, Text:
		p.piped = input == TextStream && p.text == "" && stdinIsPipe()
		if p.piped && p.n*p.repeat > 1 {
			return errors.New("piped text is read once: for many sessions use -text")
		}
		if p.text == "" && !p.piped {
			p.text = spokenText
		}
		if p.subtitle {
			p.voice = cmp.Or(p.voice, subtitledVoice)
		}
		if p.local != nil { // whose voice is read back
			p.want = cmp.Or(p.want, p.text)
		}
	}

	errs := make([]error, p.n)
	var running sync.WaitGroup
	for i := range p.n {
		running.Go(func() { errs[i] = session(ctx, p.session(i+1)) })
	}
	running.Wait()
	return p.sumUp(errs)
}

func (p *program) session(number int) *Session {
	s := &Session{
		program: p, number: number,
		Client: p.client, Log: log.New(io.Discard, "", 0), Repeat: p.repeat, SampleRate: p.sampleRate,
		Pace: nls.PumpOptions{BytesPerSecond: 2 * p.sampleRate, Speed: p.speed},
		Text: p.text, Voice: p.voice, Subtitle: p.subtitle,
	}
	switch {
	case p.n == 1:
		s.Log.SetOutput(os.Stdout)
	case p.verbose:
		s.Log = log.New(os.Stdout, fmt.Sprintf("%d: ", number), 0)
	}
	return s
}

// Result counts text as what came out of a session, once for each repetition.
func (s *Session) Result(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[text]++
}

// sumUp prints the results and returns what is wrong with them.
func (p *program) sumUp(errs []error) error {
	sessions, results, wrong := p.n*p.repeat, 0, 0
	texts := slices.SortedFunc(maps.Keys(p.results), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.results[b], p.results[a]), cmp.Compare(a, b))
	})
	for _, text := range texts {
		fmt.Printf("%d of %d sessions: %q\n", p.results[text], sessions, text)
		results += p.results[text]
		if p.want != "" && text != p.want {
			wrong += p.results[text]
		}
	}
	failed := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch {
	case len(failed) > 0 && p.n == 1:
		return failed[0]
	case len(failed) > 0:
		return fmt.Errorf("%d of %d sessions failed, the first of them with: %w", len(failed), p.n, failed[0])
	case results < sessions:
		return fmt.Errorf("%d of %d sessions had no result", sessions-results, sessions)
	case wrong > 0:
		return fmt.Errorf("%d of %d sessions: not the expected text %q", wrong, sessions, p.want)
	}
	return nil
}
