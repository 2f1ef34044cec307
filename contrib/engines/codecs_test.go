package engines

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

const recordedText = "你好，世界。Hello, Go! 🎙" // in test1.wav, which Loopback has spoken

func needFFmpeg(t *testing.T, e *Engine) {
	t.Helper()
	if e.ffmpeg == "" {
		t.Skip("no ffmpeg here: apt-get install ffmpeg")
	}
}

// encoded is test1.wav as ffmpeg encodes it.
func encoded(t *testing.T, e *Engine, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"-nostdin", "-loglevel", "error", "-i", "../../testdata/test1.wav"}, append(args, "pipe:1")...)
	out, err := exec.CommandContext(ctx, e.ffmpeg, args...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	return out
}

// gateway reads and writes what Loopback speaks, in all formats of e.
func gateway(t *testing.T, e *Engine) *nls.Client {
	t.Helper()
	server := nlstest.NewServer(nlstest.Options{Codecs: e.Codecs()})
	t.Cleanup(server.Close)
	c, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSpeechIsUnderstoodInEachFormat(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	c := gateway(t, e)
	opus := func(frame, rate int) []byte {
		return encoded(t, e, "-c:a", "libopus", "-frame_duration", strconv.Itoa(frame), "-ar", strconv.Itoa(rate), "-f", "ogg")
	}
	for _, f := range []struct {
		name   string
		format nls.Format
		rate   int
		audio  []byte
	}{
		{"opus", nls.FormatOpus, 16000, opus(20, 16000)},
		{"opus as the C++ SDK makes it", nls.FormatOpus, 16000, encoded(t, e, "-c:a", "libopus", "-frame_duration", "100",
			"-b:a", "27800", "-compression_level", "8", "-page_duration", "200000", "-f", "ogg")},
		{"opus of 8 kHz", nls.FormatOpus, 8000, opus(20, 8000)},
		{"opus, two streams", nls.FormatOpus, 16000, slices.Concat(opus(60, 16000), opus(20, 16000))},
		{"opu", nls.FormatOPU, 16000, opu(t, encoded(t, e, "-c:a", "libopus", "-b:a", "32k", "-f", "ogg"))},
		{"mp3", nls.FormatMP3, 16000, encoded(t, e, "-f", "mp3")},
		{"aac", nls.FormatAAC, 16000, encoded(t, e, "-f", "adts")},
		{"speex", nls.FormatSpeex, 16000, encoded(t, e, "-c:a", "libspeex", "-b:a", "42k", "-f", "ogg")},
	} {
		t.Run(f.name, func(t *testing.T) {
			got, err := c.Recognize(t.Context(), bytes.NewReader(f.audio),
				nls.RecognitionParams{Format: f.format, SampleRate: f.rate, EnablePunctuationPrediction: true}, nls.PumpOptions{Speed: -1})
			want := recordedText
			if f.name == "opus, two streams" {
				want += want
			}
			if err != nil || got.Text != want {
				t.Errorf("%v, %v; want %q", got, err, want)
			}
		})
	}
}

// opu is the packets of Ogg Opus as the format opu has them.
func opu(t *testing.T, ogg []byte) []byte {
	t.Helper()
	r := &recorder{}
	o := &oggOpus{Transcoder: r, rate: 16000}
	for b := range slices.Chunk(ogg, 100) { // cut anywhere
		if _, err := o.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return r.opu
}

// recorder is a Transcoder that keeps packets.
type recorder struct{ opu []byte }

func (r *recorder) Write(packet []byte) ([]byte, error) {
	r.opu = append(append(r.opu, byte(len(packet))), packet...) // 255 bytes at most
	return nil, nil
}

func (r *recorder) Close() ([]byte, error) { return nil, nil }

func TestAMRIsDecoded(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	d, err := e.Codecs()["amr"].NewDecoder(t.Context(), 8000)
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{0x04}, make([]byte, 12)...) // of 20 ms at 4.75 kbit/s
	pcm, err := d.Write(append([]byte("#!AMR\n"), bytes.Repeat(frame, 50)...))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := d.Close()
	if n := len(pcm) + len(rest); err != nil || n != 16000 {
		t.Errorf("%d bytes, %v; want 16000", n, err)
	}
}

func TestWhatIsSpokenAsMP3IsUnderstood(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	c := gateway(t, e)
	const text = "第一句话。第二句话。Third."
	var audio bytes.Buffer
	if err := c.Synthesize(t.Context(), &audio, nls.SynthesisParams{Text: text, Format: nls.FormatMP3}); err != nil {
		t.Fatal(err)
	}
	if audio.Len() > 60000 { // of 230 kB
		t.Errorf("it has %d bytes", audio.Len())
	}
	got, err := c.Recognize(t.Context(), &audio, nls.RecognitionParams{Format: nls.FormatMP3, EnablePunctuationPrediction: true}, nls.PumpOptions{Speed: -1})
	if err != nil || got.Text != text {
		t.Errorf("%v, %v; want %q", got, err, text)
	}
}

func TestBrokenAudioIsAnErrorAndNoMore(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	c := gateway(t, e)
	for _, f := range []nls.Format{nls.FormatOpus, nls.FormatOPU, nls.FormatMP3, nls.FormatAAC, nls.FormatSpeex, nls.FormatAMR} {
		_, err := c.Recognize(t.Context(), bytes.NewReader(bytes.Repeat([]byte("no audio at all "), 5000)), nls.RecognitionParams{Format: f}, nls.PumpOptions{Speed: -1})
		var failed *nls.TaskError
		if !errors.As(err, &failed) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestATranscoderEndsWithItsContext(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	d, err := e.Codecs()["mp3"].NewDecoder(ctx, 16000)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := d.Close(); err == nil {
		t.Error("Close does not say that it was killed")
	}
}

func TestAudioIsDecodedWhileItComes(t *testing.T) {
	e := New(Options{})
	needFFmpeg(t, e)
	for format, data := range map[string][]byte{"mp3": encoded(t, e, "-f", "mp3"), "aac": encoded(t, e, "-f", "adts")} {
		d, err := e.Codecs()[format].NewDecoder(t.Context(), 16000)
		if err != nil {
			t.Fatal(err)
		}
		early, err := d.Write(data)
		for deadline := time.Now().Add(20 * time.Second); err == nil && len(early) < 4*32000 && time.Now().Before(deadline); {
			var more []byte
			time.Sleep(10 * time.Millisecond) // it does not say when there is more
			more, err = d.Write(nil)
			early = append(early, more...)
		}
		if err != nil || len(early) < 4*32000 {
			t.Errorf("%s: %d bytes before the end, %v", format, len(early), err)
		}
		if _, err := d.Close(); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func FuzzOpusPacket(f *testing.F) {
	f.Add([]byte{0x08, 1, 2, 3}, []byte{0xfc, 0xff, 0xfe})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, err := newPackets(t.Context(), 16000)
		if err != nil {
			t.Fatal(err)
		}
		for _, packet := range [][]byte{first, second} {
			if pcm, err := d.Write(packet); err == nil && len(pcm) > 2*16000*120/1000 {
				t.Errorf("%d bytes from one packet", len(pcm))
			}
		}
	})
}

func FuzzOggOpus(f *testing.F) {
	f.Add([]byte("OggS"), 1)
	page := append([]byte("OggS\x00\x02"), make([]byte, 20)...)
	f.Add(append(append(page, 1, 19), "OpusHead\x01\x01\x38\x01\x80\x3e\x00\x00\x00\x00\x00"...), 7)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole, pieces := &recorder{}, &recorder{}
		a, b := &oggOpus{Transcoder: whole, rate: 16000}, &oggOpus{Transcoder: pieces, rate: 16000}
		_, wrong := a.Write(data)
		var wrongToo error
		for p := range slices.Chunk(data, 1+max(0, cut)%1000) {
			if _, wrongToo = b.Write(p); wrongToo != nil {
				break
			}
		}
		if (wrong == nil) != (wrongToo == nil) || !bytes.Equal(whole.opu, pieces.opu) {
			t.Errorf("%v and %q at once, %v and %q in pieces", wrong, whole.opu, wrongToo, pieces.opu)
		}
	})
}
