package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"

	"github.com/nlsgo/nls"
)

var taskID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// recorded transcribes a file by one of the services for recorded files.
func recorded(ctx context.Context, s *service, name string, files []string, fast, later, lite bool) (err error) {
	switch {
	case fast == later:
		return usageError("--fast, or --later with or without --lite: which of them?")
	case fast && lite:
		return usageError("--lite is for --later")
	case later && !isURL(name) && !taskID.MatchString(name):
		return usageError("--later takes a URL that the service can fetch, or the ID of a task that it has printed; for a file there is --fast")
	}
	var file io.Reader
	if fast && name == "-" {
		file = os.Stdin
	} else if fast && !isURL(name) {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		file = f
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
	screen := newScreen(0, len(files) == 0, true)
	var result *nls.FileResult
	if fast {
		p := nls.FileParams{EnableInverseTextNormalization: true, EnableWords: true}
		if file == nil {
			p.URL = name
		}
		result, err = client.RecognizeFile(ctx, file, p)
		if nls.StatusCode(err) == nls.StatusNoValidAudio { // nobody speaks
			result, err = &nls.FileResult{}, nil
		}
	} else {
		task := nls.FileTask{ID: name, Lite: lite}
		if isURL(name) {
			if task, err = client.SubmitFile(ctx, nls.FileTaskParams{
				URL: name, Lite: lite, EnableInverseTextNormalization: true, EnableWords: true, EnableSampleRateAdaptive: true,
			}); err != nil {
				return err
			}
			screen.note("nls: submitted, task %s", task.ID)
		}
		result, err = client.WaitFile(ctx, task)
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(result.Sentences, func(a, b nls.FileSentence) int { return cmp.Compare(a.Begin, b.Begin) }) // of all channels
	heard = []sentence{}
	for _, f := range result.Sentences {
		if text := oneLine(f.Text); text != "" {
			heard = append(heard, sentence{f.Begin, f.End, text, f.Words})
			screen.sentence(text)
		}
	}
	return nil
}
