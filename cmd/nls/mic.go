package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/nlsgo/nls"
)

func newMic() *cobra.Command {
	var (
		s     service
		files []string
	)
	cmd := &cobra.Command{
		Use:   "mic",
		Short: "Transcribe a microphone",
		Long: `Transcribe a microphone until Ctrl-C, which is a good end: the exit status is 0.

It is recorded by arecord, parec or rec, the first that is installed. Where standard
input is no terminal it is 16-bit mono samples of 16 kHz. Broken connections are made up
for, and while the microphone is muted silence is sent.`,
		Example: `  nls mic -o minutes.txt
  arecord -q -D hw:1 -f S16_LE -r 16000 -c 1 -t raw | nls mic`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			in := &input{Reader: os.Stdin, rate: 16000}
			if isTerminal(os.Stdin) {
				if in.Reader, err = record(ctx); err != nil {
					return err
				}
			}
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
			screen := newScreen(0, true, s.trace)
			defer screen.close()
			if heard, err = listen(ctx, client, in, nls.PumpOptions{}, true, screen); err == errInterrupted {
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&files, "output", "o", nil, "`file` to write at the end, as its name says: .srt, .vtt, .json or .txt; may be repeated")
	s.flags(cmd)
	return cmd
}
