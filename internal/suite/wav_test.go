package suite

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// WAV files as people have them, in the calls that take any reader.

// wavChunk is a chunk of a RIFF file.
func wavChunk(id, body string) string {
	return id + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body + strings.Repeat("\x00", len(body)&1)
}

// wavFile is a WAV file with chunks before and after the samples.
func wavFile(code, channels uint16, rate uint32, bits uint16, before, samples, after string) string {
	le := binary.LittleEndian
	f := le.AppendUint16(nil, code)
	f = le.AppendUint16(f, channels)
	f = le.AppendUint32(f, rate)
	f = le.AppendUint32(f, rate*uint32(channels*bits/8))
	f = le.AppendUint16(f, channels*bits/8)
	f = le.AppendUint16(f, bits)
	return wavChunk("RIFF", "WAVE"+wavChunk("fmt ", string(f))+before+wavChunk("data", samples)+after)
}

// samples8k and samples16k say recorded.
func samples(t *testing.T, rate int) string {
	t.Helper()
	file, err := os.Open(root + map[int]string{8000: "testdata/test1-8k.wav", 16000: "testdata/test1.wav"}[rate])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pcm, _, err := nls.OpenWAV(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(pcm)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const recorded = "你好，世界。Hello, Go! 🎙"

// wavCall is a call that listens, with a Format and a SampleRate.
func wavCall(name string, format nls.Format, rate int, extra map[string]any) func(context.Context, *nls.Client, io.Reader) (string, error) {
	return func(ctx context.Context, c *nls.Client, r io.Reader) (string, error) {
		if name == "Recognize" {
			result, err := c.Recognize(ctx, r, nls.RecognitionParams{Format: format, SampleRate: rate, EnablePunctuationPrediction: true, Extra: extra}, nls.PumpOptions{})
			if err != nil {
				return "", err
			}
			return result.Text, nil
		}
		var text strings.Builder
		for s, err := range c.Transcribe(ctx, r, nls.TranscriptionParams{Format: format, SampleRate: rate, EnablePunctuationPrediction: true, Extra: extra}, nls.PumpOptions{}) {
			if err != nil {
				return "", err
			}
			text.WriteString(s.Text)
		}
		return text.String(), nil
	}
}

// sentAudio notes what a Start asks for and which audio follows.
type sentAudio struct {
	format string
	rate   int
	audio  bytes.Buffer
}

func (s *sentAudio) onFrame(f nlstest.Frame) {
	if f.Sent {
		return
	}
	if f.Binary {
		s.audio.Write(f.Payload)
		return
	}
	var d struct {
		Payload struct {
			Format     *string `json:"format"`
			SampleRate int     `json:"sample_rate"`
		} `json:"payload"`
	}
	if json.Unmarshal(f.Payload, &d) == nil && d.Payload.Format != nil {
		s.format, s.rate = *d.Payload.Format, d.Payload.SampleRate
	}
}

func TestAnyWAVFileIsUnderstoodAsItPlays(t *testing.T) {
	t.Parallel()
	type file struct {
		data string
		rate int
	}
	narrow, wide := samples(t, 8000), samples(t, 16000)
	list, tail := wavChunk("LIST", "INFOISFT\x05\x00\x00\x00sox \x00\x00"), wavChunk("id3 ", "ID3\x03\x00\x00\x00\x00\x00\x00")
	tail += wavChunk("junk", strings.Repeat("\x55\xAA", 5000))
	rf64 := "RF64\xff\xff\xff\xffWAVE" + wavChunk("ds64", string(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(len(wide)+100)), uint64(len(wide))))) +
		wavFile(1, 1, 16000, 16, "", "", "")[12:36] + "data\xff\xff\xff\xff" + wide + tail
	files := map[string]file{
		"LIST before, id3 after": {wavFile(1, 1, 8000, 16, list, narrow, tail), 8000},
		"RF64":                   {rf64, 16000},
		"a leading ID3v2 tag":    {"ID3\x04\x00\x00\x00\x00\x00\x05title" + wavFile(1, 1, 8000, 16, "", narrow, tail), 8000},
		"2 MiB of LIST":          {wavFile(1, 1, 8000, 16, wavChunk("LIST", strings.Repeat("x", 2<<20)), narrow, tail), 8000},
	}
	for _, name := range []string{"arecord", "gstreamer", "mpg123", "faad", "ffmpeg"} {
		head := readFile(t, "testdata/wav/"+name+".head")
		files["a pipe of "+name] = file{head + wide, 16000}
		if name == "faad" {
			files["a pipe of "+name] = file{head + narrow, 8000}
		}
	}
	files["testdata/test1-8k.wav"] = file{readFile(t, "testdata/test1-8k.wav"), 8000}
	for name, f := range files {
		want := map[int]string{8000: narrow, 16000: wide}[f.rate]
		for _, call := range []string{"Recognize", "Transcribe"} {
			for _, format := range []nls.Format{"", nls.FormatWAV} {
				t.Run(call+"/"+name+"/"+string(format), func(t *testing.T) {
					var sent sentAudio
					inBubble(t, nlstest.Options{OnFrame: sent.onFrame}, func(t *testing.T, server *nlstest.Server) {
						begin := time.Now()
						text, err := wavCall(call, format, 0, nil)(t.Context(), clientOf(t, server), iotest.HalfReader(strings.NewReader(f.data)))
						took, plays := time.Since(begin), time.Duration(len(want))*time.Second/time.Duration(2*f.rate)
						if err != nil || text != recorded {
							t.Errorf("heard %q, %v", text, err)
						}
						if took > plays+100*time.Millisecond || took < plays-time.Second/2 {
							t.Errorf("took %v, the audio %v", took, plays)
						}
					})
					audio := sent.audio.String()
					if format == nls.FormatWAV {
						head, err := nls.ReadWAVHeader(strings.NewReader(audio))
						if err != nil || head.SampleRate != f.rate || head.DataSize != -1 && head.DataSize != int64(len(want)) {
							t.Errorf("sent the header %+v, %v", head, err)
						}
						audio = audio[44:]
					}
					wantFormat := map[nls.Format]string{"": "pcm", nls.FormatWAV: "wav"}[format]
					if audio != want || sent.format != wantFormat || sent.rate != f.rate {
						t.Errorf("sent %d bytes of %q at %d Hz; want %d", len(audio), sent.format, sent.rate, len(want))
					}
				})
			}
		}
	}
}

// What README's first program does with a file that the service cannot take.
func TestWhatTheServiceCannotTakeIsRefusedBeforeAnyConnection(t *testing.T) {
	t.Parallel()
	silence := strings.Repeat("\x00", 1000)
	mp3 := "\xff\xfb\x90\x00" + strings.Repeat("x", 413)
	for _, c := range []struct{ name, in, what, command string }{
		{"stereo", wavFile(1, 2, 16000, 16, "", silence, ""), "2 channels", "ffmpeg"},
		{"44.1 kHz", wavFile(1, 1, 44100, 16, "", silence, ""), "44100 Hz", "-ar 16000"},
		{"48 kHz stereo", wavFile(1, 2, 48000, 16, "", silence, ""), "48000 Hz, 2 channels", "ffmpeg"},
		{"8 bits", wavFile(1, 1, 8000, 8, "", silence, ""), "8 bits", "-ar 8000"},
		{"24 bits", wavFile(1, 1, 16000, 24, "", silence, ""), "24 bits", "ffmpeg"},
		{"float", wavFile(3, 1, 16000, 32, "", silence, ""), "float", "ffmpeg"},
		{"A-law", wavFile(6, 1, 8000, 8, "", silence, ""), "A-law", "ffmpeg"},
		{"MP3 inside", wavFile(0x55, 1, 16000, 0, "", silence, ""), "MP3", "ffmpeg"},
		{"an MP3", mp3 + mp3 + mp3, "an MP3 file", "in.mp3"},
		{"an MP3 with a tag", "ID3\x04\x00\x00\x00\x00\x00\x05title" + mp3, "an MP3 file", `"mp3"`},
		{"Ogg", "OggS\x00\x02" + silence, "an Ogg file", `"opus"`},
		{"WebM", "\x1aE\xdf\xa3" + silence, "WebM", "ffmpeg"},
		{"nothing", "", "empty", ""},
		{"no samples", wavFile(1, 1, 16000, 16, "", "", ""), "without samples", ""},
	} {
		for _, call := range []string{"Recognize", "Transcribe"} {
			for _, format := range []nls.Format{"", nls.FormatWAV} {
				inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					_, err := wavCall(call, format, 0, nil)(t.Context(), clientOf(t, server), strings.NewReader(c.in))
					var e *nls.ParamError
					if !errors.As(err, &e) || !strings.Contains(e.Reason, c.what) || !strings.Contains(e.Reason, c.command) || nls.Retryable(err) {
						t.Errorf("%s of %s as %q: %v", call, c.name, format, err)
					}
					if n := server.Stats().Connections; n != 0 {
						t.Errorf("%s of %s: %d connections", call, c.name, n)
					}
				})
			}
		}
	}
	for name, c := range map[string]struct {
		format nls.Format
		rate   int
		extra  map[string]any
		in     string
		is     func(error) bool
	}{
		"a header that contradicts": {nls.FormatWAV, 16000, nil, wavFile(1, 1, 8000, 16, "", silence, ""), is(nls.ErrInvalidParameter)},
		"no WAV":                    {nls.FormatWAV, 0, nil, silence, is(nls.ErrInvalidParameter)},
		"a header that is cut":      {"", 0, nil, wavFile(1, 1, 8000, 16, "", silence, "")[:30], is(io.ErrUnexpectedEOF)},
		"a rate of Extra":           {"", 0, map[string]any{"sample_rate": 48000}, wavFile(1, 1, 48000, 16, "", silence, ""), func(err error) bool { return nls.StatusCode(err) == nls.StatusUnsupportedSampleRate }},
	} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			for _, call := range []string{"Recognize", "Transcribe"} {
				_, err := wavCall(call, c.format, c.rate, c.extra)(t.Context(), clientOf(t, server), strings.NewReader(c.in))
				if !c.is(err) {
					t.Errorf("%s, %s: %v", call, name, err)
				}
			}
			if n := server.Stats().Connections; n > 0 != (c.extra != nil) {
				t.Errorf("%s: %d connections", name, n)
			}
		})
	}
}

// The header knows better than a SampleRate, which is that of raw PCM; and what is
// no file is raw PCM, also when it begins like one.
func TestRawPCMIsSentAsItIs(t *testing.T) {
	t.Parallel()
	narrow := samples(t, 8000)
	for name, in := range map[string]string{
		"one sample": "ab", "half a sample": "a", "the start of a RIFF": "RIF", "the sync of an MP3": "\xff\xfb\x90\x00" + strings.Repeat("ab", 1000),
		"the sync of AAC": "\xff\xf1\x50\x80\x02\x1f\xfc" + strings.Repeat("ab", 1000), "the sync alone": "\xff\xfb\x90\x00\x00\x00", "tag": "ID3\xff" + strings.Repeat("\xff", 20),
		"audio": narrow,
	} {
		var sent sentAudio
		inBubble(t, nlstest.Options{OnFrame: sent.onFrame}, func(t *testing.T, server *nlstest.Server) {
			if _, err := wavCall("Transcribe", "", 8000, nil)(t.Context(), clientOf(t, server), iotest.OneByteReader(strings.NewReader(in))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if sent.audio.String() != in || sent.format != "pcm" || sent.rate != 8000 {
			t.Errorf("%s: sent %d bytes of %q at %d Hz", name, sent.audio.Len(), sent.format, sent.rate)
		}
	}
	var sent sentAudio
	inBubble(t, nlstest.Options{OnFrame: sent.onFrame}, func(t *testing.T, server *nlstest.Server) {
		text, err := wavCall("Transcribe", "", 16000, nil)(t.Context(), clientOf(t, server), strings.NewReader(wavFile(1, 1, 8000, 16, "", narrow, "")))
		if err != nil || text != recorded || sent.rate != 8000 {
			t.Errorf("heard %q at %d Hz, %v", text, sent.rate, err)
		}
	})
	inBubble(t, nlstest.Options{OnFrame: sent.onFrame}, func(t *testing.T, server *nlstest.Server) {
		for _, extra := range []map[string]any{{"format": "pcm"}, nil} { // a format that is named is believed
			format := map[bool]nls.Format{true: "", false: nls.FormatPCM}[extra != nil]
			sent.audio.Reset()
			if _, err := wavCall("Transcribe", format, 0, extra)(t.Context(), clientOf(t, server), strings.NewReader("OggS no, noise")); err != nil || sent.audio.Len() != 14 {
				t.Errorf("%v: %d bytes, %v", extra, sent.audio.Len(), err)
			}
		}
	})
}

// A source that has no first byte holds up nothing for longer than a Start may take.
func TestASourceThatDoesNotBegin(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Recognize", "Transcribe"} {
		for name, c := range map[string]struct {
			ctx, timeout, want time.Duration
			is                 func(error) bool
		}{
			"a deadline":       {3 * time.Second, 0, 3 * time.Second, is(nls.ErrStartTimeout)},
			"nobody waits":     {0, 0, nls.DefaultStartTimeout, is(nls.ErrStartTimeout)},
			"an end by hand":   {-3 * time.Second, 0, 3 * time.Second, is(context.Canceled)},
			"a patient caller": {-time.Hour, -1, time.Hour, is(context.Canceled)},
		} {
			for _, begin := range []string{"", "RIFF\x00"} {
				inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if c.ctx > 0 {
						ctx, cancel = context.WithTimeout(ctx, c.ctx)
						defer cancel()
					} else if c.ctx < 0 {
						time.AfterFunc(-c.ctx, cancel)
					}
					src := newStuckReader([]byte(begin))
					start := time.Now()
					var err error
					if call == "Recognize" {
						_, err = clientOf(t, server).Recognize(ctx, src, nls.RecognitionParams{Timeout: c.timeout}, nls.PumpOptions{})
					} else {
						for _, err = range clientOf(t, server).Transcribe(ctx, src, nls.TranscriptionParams{Timeout: c.timeout}, nls.PumpOptions{}) {
						}
					}
					if took := time.Since(start); !c.is(err) || took < c.want || took > c.want+atOnce || nls.TaskID(err) != "" || server.Stats().Connections != 0 {
						t.Errorf("%s, %s, %q: %v after %v", call, name, begin, err, took)
					}
					synctest.Wait()
					reads := src.reads
					close(src.release)
					synctest.Wait()
					if src.reads != reads {
						t.Errorf("%d Reads after the end", src.reads-reads)
					}
				})
			}
		}
	}
}

// README's first program, with the file that it is given.
func TestREADMEsFirstProgramTakesAnyFile(t *testing.T) {
	t.Parallel()
	blocks := readmeCode.FindAllStringSubmatch(readFile(t, "README.md"), -1)
	if len(blocks) < 2 || blocks[1][1] != "ExampleClient_Transcribe" ||
		!strings.Contains(blocks[1][2], "Transcribe(context.Background(), file, nls.TranscriptionParams{}, nls.PumpOptions{})") {
		t.Fatalf("the first program does not leave the format to the file")
	}
	dir := t.TempDir()
	for name, in := range map[string]string{
		"list.wav": wavFile(1, 1, 8000, 16, wavChunk("LIST", "abc"), samples(t, 8000), wavChunk("id3 ", "abc")),
		"8k.wav":   readFile(t, "testdata/test1-8k.wav"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			if text, err := wavCall("Transcribe", "", 0, nil)(t.Context(), clientOf(t, server), file); err != nil || text != recorded {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		})
		file.Close()
	}
}
