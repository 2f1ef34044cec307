package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
)

func newTranscribe() *cobra.Command {
	var (
		s     service
		files []string
		raw   bool
		rate  int
		speed float64

		fast, later, lite bool
	)
	cmd := &cobra.Command{
		Use:   "transcribe {FILE|URL|-}",
		Short: "Turn a recording into text or subtitles",
		Long: `Turn a recording into text, one sentence a line, or into files.

A WAV file of 16-bit mono PCM at 8 or 16 kHz is sent as it is. Everything else is
decoded by ffmpeg, where that is installed. "-" is standard input, which may be live.

The service takes audio at the speed at which it plays, so that an hour takes an hour.
Broken connections are made up for. Ctrl-C ends it early: what has been said is
printed and written, and the exit status is 130.

--fast uses the service for recorded files, which takes a file of up to two hours and 100
MB, WAV, MP3, AAC, MP4 or Opus, or its URL, in seconds. --later uses the cheapest one,
which fetches a URL and takes hours; that needs an access key. It prints the ID of the
task: after Ctrl-C, "nls transcribe --later ID" waits for it again, for three days.`,
		Example: `  nls transcribe talk.mp4 -o talk.srt -o talk.txt
  nls transcribe --fast talk.mp3 -o talk.vtt
  nls transcribe https://example.com/talk.wav
  ffmpeg -i rtsp://camera/1 -f wav - | nls transcribe -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if rate != 8000 && rate != 16000 {
				return usageError(fmt.Sprintf("--rate %d: must be 8000 or 16000", rate))
			}
			ctx := cmd.Context()
			if fast || later || lite {
				return recorded(ctx, &s, args[0], files, fast, later, lite)
			}
			in, err := openInput(ctx, args[0], raw, rate)
			if err != nil {
				return err
			}
			defer in.close()
			out, err := openOutputs(files)
			if err != nil {
				return err
			}
			var heard []sentence
			defer func() { err = errors.Join(err, out.write(heard)) }()
			client, stop, err := s.connect()
			if err != nil {
				return err
			}
			defer stop()
			screen := newScreen(in.length, len(files) == 0, s.trace)
			defer screen.close()
			heard, err = listen(ctx, client, in, nls.PumpOptions{Speed: speed}, args[0] == "-", screen)
			return err
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&files, "output", "o", nil, "`file` to write, as its name says: .srt, .vtt, .json or .txt; may be repeated")
	f.BoolVar(&raw, "raw", false, "the input is 16-bit mono samples without a header, as a file *.pcm")
	f.IntVar(&rate, "rate", 16000, "`rate` of raw samples, and of what ffmpeg decodes: 8000 or 16000")
	f.Float64Var(&speed, "speed", 1, "how much faster than it plays audio is sent, which the service may refuse; negative: no limit")
	f.BoolVar(&fast, "fast", false, "use the service for recorded files, which answers in seconds")
	f.BoolVar(&later, "later", false, "use the service that fetches a URL and answers in hours")
	f.BoolVar(&lite, "lite", false, "with --later: the cheaper edition, within 24 hours")
	f.StringVar(&s.fileEndpoint, "file-endpoint", "", "`host` of the service of --later, in place of that of the region")
	s.flags(cmd)
	return cmd
}
