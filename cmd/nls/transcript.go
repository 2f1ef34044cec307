package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asticode/go-astisub"

	"github.com/nlsgo/nls"
)

// sentence is a sentence of any of the services.
type sentence struct {
	Begin, End time.Duration
	Text       string
	Words      []nls.Word
}

// MarshalJSON has times in milliseconds, as the service does.
func (s sentence) MarshalJSON() ([]byte, error) {
	type word struct {
		Text  string `json:"text"`
		Begin int64  `json:"begin_time"`
		End   int64  `json:"end_time"`
	}
	words := make([]word, len(s.Words))
	for i, w := range s.Words {
		words[i] = word{w.Text, w.Start.Milliseconds(), w.End.Milliseconds()}
	}
	return json.Marshal(struct {
		Begin int64  `json:"begin_time"`
		End   int64  `json:"end_time"`
		Text  string `json:"text"`
		Words []word `json:"words"`
	}{s.Begin.Milliseconds(), s.End.Milliseconds(), s.Text, words})
}

// writers write a transcript as what the ending of a file's name says.
var writers = map[string]func(io.Writer, []sentence) error{
	".txt":  writeText,
	".json": writeJSON,
	".srt": func(w io.Writer, s []sentence) error {
		if len(s) == 0 { // which astisub refuses
			return nil
		}
		var b bytes.Buffer
		if err := subtitles(s).WriteToSRT(&b); err != nil {
			return err
		}
		// There are no entities in SRT: players show them as they are.
		_, err := strings.NewReplacer("&amp;", "&", "&lt;", "<", "&nbsp;", "\u00a0").WriteString(w, b.String())
		return err
	},
	".vtt": func(w io.Writer, s []sentence) error {
		if len(s) == 0 {
			_, err := io.WriteString(w, "WEBVTT\n")
			return err
		}
		return subtitles(s).WriteToWebVTT(w)
	},
}

func writeText(w io.Writer, sentences []sentence) error {
	for _, s := range sentences {
		if _, err := fmt.Fprintln(w, s.Text); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, sentences []sentence) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Sentences []sentence `json:"sentences"`
	}{append([]sentence{}, sentences...)})
}

func subtitles(sentences []sentence) *astisub.Subtitles {
	s := astisub.NewSubtitles()
	for _, sentence := range sentences {
		for _, c := range cut(sentence) {
			s.Items = append(s.Items, &astisub.Item{
				StartAt: c.begin, EndAt: c.end,
				Lines: []astisub.Line{{Items: []astisub.LineItem{{Text: c.text}}}},
			})
		}
	}
	return s
}

// outputs are the files that a transcript is to be written to.
type outputs []*os.File

// openOutputs finds out whether the files can be written, before there is anything to
// write. What is in them stays until then.
func openOutputs(names []string) (files outputs, err error) {
	for _, name := range names {
		if writers[strings.ToLower(filepath.Ext(name))] == nil {
			return nil, usageError(fmt.Sprintf("-o %s: the name must end with .srt, .vtt, .json or .txt", name))
		}
	}
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			files.write(nil)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// write writes the transcript, unless nothing is known and the files are better left
// as they were.
func (o outputs) write(sentences []sentence) error {
	var first error
	for _, f := range o {
		err := error(nil)
		if sentences == nil {
			if info, e := f.Stat(); e == nil && info.Mode().IsRegular() && info.Size() == 0 {
				err = os.Remove(f.Name())
			}
		} else {
			if info, e := f.Stat(); e == nil && info.Mode().IsRegular() {
				err = f.Truncate(0)
			}
			if err == nil {
				err = writers[strings.ToLower(filepath.Ext(f.Name()))](f, sentences)
			}
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// oneLine is a text as a line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
