package cli

import (
	"bytes"
	"cmp"
	"context"

	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// defaultFile is there when a program runs at the root of the repository.
const defaultFile = "testdata/test1.wav"

// readAudio reads -file into memory, or what there is without one.
func (p *program) readAudio(ctx context.Context) error {
	name := p.file
	if name == "" {
		name = defaultFile
		if p.local != nil { // whose audio this is
			p.want = cmp.Or(p.want, recordedText)
			if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
				return p.speakDefault(ctx)
			}
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.ToLower(filepath.Ext(name)) != ".pcm" {
		pcm, format, err := nls.OpenWAV(f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r, p.sampleRate = pcm, format.SampleRate
	}
	p.audio, err = io.ReadAll(r)
	return err
}

// speakDefault lets the local gateway say what the default file says.
func (p *program) speakDefault(ctx context.Context) error {
	var b bytes.Buffer
	err := p.client.Synthesize(ctx, &b, nls.SynthesisParams{Text: recordedText})
	p.audio = b.Bytes()
	return err
}

// Audio returns the samples to recognise, from the start.
func (s *Session) Audio() io.Reader { return bytes.NewReader(s.audio) }

// Speech takes the audio of a synthesis as it comes. It writes the file that -out
// names, and listens: audio of the local gateway can be read back.
type Speech struct {
	session *Session
	size    int64
	file    *os.File            // nil without -out
	out     io.Writer           // to file
	wav     *nls.WAVWriter      // the same, with a header; nil without
	ear     nlstest.Recognition // nil with any gateway but the local one
	text    strings.Builder     // what ear has heard
	err     error               // of the first Write that failed
}

// Speech returns a Speech. Its Finish must be called.
func (s *Session) Speech(ctx context.Context) (*Speech, error) {
	o := &Speech{session: s}
	var err error
	if s.local != nil {
		if o.ear, err = nlstest.Loopback().Recognize(ctx, nlstest.RecognitionRequest{SampleRate: s.SampleRate}); err != nil {
			return nil, err
		}
	}
	if s.out != "" && s.number == 1 {
		if o.file, err = os.Create(s.out); err != nil {
			return nil, err
		}
		o.out = o.file
		if strings.ToLower(filepath.Ext(s.out)) == ".wav" {
			if o.wav, o.err = nls.NewWAVWriter(o.file, nls.WAVFormat{SampleRate: s.SampleRate}); o.err == nil {
				o.out = o.wav
			}
		}
	}
	return o, nil
}

// Write takes 16-bit mono samples.
func (o *Speech) Write(pcm []byte) (int, error) {
	o.size += int64(len(pcm))
	if o.err == nil && o.ear != nil {
		o.hear(o.ear.Write(pcm))
	}
	if o.err == nil && o.file != nil {
		_, o.err = o.out.Write(pcm)
	}
	return len(pcm), o.err
}

func (o *Speech) hear(sentences []nlstest.Hypothesis, err error) {
	o.err = err
	for _, s := range sentences {
		if s.Final {
			o.text.WriteString(s.Text)
		}
	}
}

// Finish completes the file. ended is how the session did: if well, the text of
// the audio is its result, or the length where the text cannot be read back.
// Finish returns what went wrong, the first Write that failed above all.
func (o *Speech) Finish(ended error) error {
	if o.ear != nil && o.err == nil {
		o.hear(o.ear.Finish())
	}
	if o.file != nil {
		if o.wav != nil {
			o.err = cmp.Or(o.err, o.wav.Close())
		}
		o.err = cmp.Or(o.err, o.file.Close())
	}
	if err := cmp.Or(o.err, ended); err != nil {
		return err
	}
	if o.ear != nil {
		o.session.Result(o.text.String())
	} else {
		length := time.Duration(float64(o.size) / float64(2*o.session.SampleRate) * float64(time.Second))
		o.session.Result(fmt.Sprintf("%v of audio", length.Round(time.Millisecond)))
	}
	return nil
}
