package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
)

func newSpeak() *cobra.Command {
	var (
		s                       service
		output, file, voice     string
		rate, speechRate, pitch int
		volume                  int
		long                    bool
		formats                 = map[string]nls.Format{".wav": nls.FormatWAV, ".mp3": nls.FormatMP3, ".pcm": nls.FormatPCM}
	)
	cmd := &cobra.Command{
		Use:   "speak {TEXT|-|--file FILE} -o OUTPUT",
		Short: "Turn text into speech",
		Long: `Turn text into speech. Text of any length will do: it is cut at the ends of sentences
into what the service takes.

With "-" the text is standard input, spoken line by line as it comes, by the service for
text that is still being written. Ctrl-C ends it early: the file has what was spoken, and
the exit status is 130.`,
		Example: `  nls speak 你好，世界 -o hello.wav
  nls speak --file book.txt -o book.mp3
  some-language-model | nls speak - -o - | aplay`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := nls.SynthesisParams{Voice: voice, Format: nls.FormatWAV, SampleRate: rate, Volume: &volume, SpeechRate: speechRate, PitchRate: pitch, LongText: long}
			switch {
			case (len(args) == 1) == (file != ""):
				return usageError("give a text, or - for standard input, or --file FILE")
			case output == "":
				return usageError("say where the speech is to go: -o x.wav, -o x.mp3, or -o - for standard output")
			case output != "-":
				if p.Format = formats[strings.ToLower(filepath.Ext(output))]; p.Format == "" {
					return usageError(fmt.Sprintf("-o %s: the name must end with .wav, .mp3 or .pcm", output))
				}
			case isTerminal(os.Stdout):
				return usageError("-o -: standard output is a terminal, which plays no sound; name a file, or | aplay")
			}
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				p.Text = string(text)
			} else {
				p.Text = args[0]
			}
			client, stop, err := s.connect()
			if err != nil {
				return err
			}
			defer stop()
			speak := func(w io.Writer) error {
				if len(args) == 1 && args[0] == "-" {
					return client.SynthesizeStream(cmd.Context(), w, lines(os.Stdin), nls.StreamSynthesisParams{
						Voice: voice, Format: p.Format, SampleRate: rate, Volume: &volume, SpeechRate: speechRate, PitchRate: pitch,
					})
				}
				return client.Synthesize(cmd.Context(), w, p)
			}
			if output == "-" {
				return interrupted(cmd.Context(), speak(os.Stdout))
			}
			return interrupted(cmd.Context(), speakInto(output, speak))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "`file` for the speech, .wav, .mp3 or .pcm, or - for WAV on standard output")
	f.StringVarP(&file, "file", "f", "", "`file` with the text")
	f.StringVar(&voice, "voice", "", "`name` of the voice (default "+nls.DefaultVoice+")")
	f.IntVar(&rate, "rate", 16000, "sample `rate`")
	f.IntVar(&volume, "volume", nls.DefaultVolume, "0 to 100")
	f.IntVar(&speechRate, "speech-rate", 0, "-500, half the speed, to 500, twice the speed")
	f.IntVar(&pitch, "pitch-rate", 0, "-500 to 500")
	f.BoolVar(&long, "long", false, "use the service for long texts, which is bought separately")
	s.flags(cmd)
	return cmd
}

// interrupted is err, or errInterrupted if Ctrl-C is the reason.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// speakInto speaks into a file. What is in it stays until there is something to write.
func speakInto(name string, speak func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	err = speak(&lazyFile{File: f})
	info, statErr := f.Stat()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil && statErr == nil && info.Mode().IsRegular() && info.Size() == 0 {
		os.Remove(name)
	}
	return err
}

// lazyFile is a file that is made empty by the first Write.
type lazyFile struct {
	*os.File
	begun bool
}

func (f *lazyFile) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			if err := f.Truncate(0); err != nil {
				return 0, err
			}
		}
	}
	return f.File.Write(p)
}

// lines yields the lines of r as they come.
func lines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for b := bufio.NewReader(r); ; {
			line, err := b.ReadString('\n')
			if line != "" && !yield(line, nil) || err == io.EOF {
				return
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}
