package nls_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/nlsgo/nls"
)

// What a file is that is no WAV file with PCM, by its first bytes.

var errDial = errors.New("the audio is taken, and a connection wanted")

// taker returns what Recognize makes of the audio in: errDial, or a refusal.
func taker(t *testing.T) func(in string) error {
	t.Helper()
	client := clientFor(t, nls.Config{AppKey: "k", Token: "t", URL: "ws://127.0.0.1:1/ws/v1",
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errDial }})
	return func(in string) error {
		_, err := client.Recognize(t.Context(), strings.NewReader(in), nls.RecognitionParams{}, nls.PumpOptions{})
		return err
	}
}

// mpegFrame is a frame of MP3 that lasts as many samples as frames of its version do.
func mpegFrame(version, bitrateIndex, rateIndex, padding byte, bitrate, hertz, samples int) string {
	head := []byte{0xFF, 0xE3 | version<<3, bitrateIndex<<4 | rateIndex<<2 | padding<<1, 0}
	return string(head) + strings.Repeat("x", bitrate*samples/8/hertz+int(padding)-len(head))
}

// adtsFrame is a frame of AAC.
func adtsFrame(rateIndex byte, size int) string {
	head := []byte{0xFF, 0xF1, 0x40 | rateIndex<<2, 0x80 | byte(size>>11), byte(size >> 3), byte(size<<5) | 0x1F, 0xFC}
	return string(head) + strings.Repeat("x", size-len(head))
}

// Sent as PCM it would be recognised as noise, and paid for.
func TestAFileOfFramesIsNotTakenForPCM(t *testing.T) {
	taken := taker(t)
	type frame struct{ what, data string }
	var frames []frame
	for _, v := range []struct {
		version byte
		samples int
		hertz   [3]int
		kbps    [14]int // ISO 11172-3 and 13818-3, of indexes from 1
	}{
		{3, 1152, [3]int{44100, 48000, 32000}, [14]int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}},
		{2, 576, [3]int{22050, 24000, 16000}, [14]int{8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}},
		{0, 576, [3]int{11025, 12000, 8000}, [14]int{8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}},
	} {
		for i, kbps := range v.kbps {
			for rate, hertz := range v.hertz {
				for padding := range byte(2) {
					frames = append(frames, frame{"an MP3 file", mpegFrame(v.version, byte(i+1), byte(rate), padding, kbps*1000, hertz, v.samples)})
				}
			}
		}
	}
	for _, rate := range []byte{0, 12} {
		for _, size := range []int{7, 8, 256, 2048, 5000, 8191} {
			frames = append(frames, frame{"an AAC file", adtsFrame(rate, size)})
		}
	}
	for i, f := range frames {
		err := taken(f.data + f.data[:6])
		if paramOf(err) != "audio" || !strings.Contains(err.Error(), f.what) {
			t.Errorf("%x of %d bytes, twice: %v", f.data[:4], len(f.data), err)
		}
		if i%5 != 0 {
			continue
		}
		for _, noise := range []string{f.data + "x" + f.data, f.data[:len(f.data)-1] + f.data[:6]} {
			if err := taken(noise); !errors.Is(err, errDial) {
				t.Errorf("%x of %d bytes, and another elsewhere: %v", f.data[:4], len(f.data), err)
			}
		}
	}
	mp3, aac := frames[0].data, frames[len(frames)-1].data
	if err := taken(mp3 + aac); !errors.Is(err, errDial) {
		t.Errorf("a frame of MP3 and one of AAC: %v", err)
	}
}

// The header that says so cannot be that of a frame.
func TestWhatIsNoFrameIsNoMP3AndNoAAC(t *testing.T) {
	cfg, got := flashGateway(t, flashSuccess)
	client := clientFor(t, cfg)
	for name, head := range map[string]string{
		"no bitrate":          "\xff\xfb\x02\x00\x00\x00",
		"no such bitrate":     "\xff\xfb\xf2\x00\x00\x00",
		"no such rate":        "\xff\xfb\x9c\x00\x00\x00",
		"no such version":     "\xff\xeb\x90\x00\x00\x00",
		"layer II":            "\xff\xfd\x90\x00\x00\x00",
		"layer I":             "\xff\xff\x90\x00\x00\x00",
		"half a sync":         "\xff\x7b\x90\x00\x00\x00",
		"no sync":             "\xfe\xfb\x90\x00\x00\x00",
		"AAC of no such rate": "\xff\xf1\x74\x80\x02\x1f\xfc",
		"AAC of 6 bytes":      "\xff\xf1\x40\x80\x00\xdf\xfc",
		"too short":           "\xff\xfb\x90\x00\x00",
	} {
		_, err := client.RecognizeFile(t.Context(), strings.NewReader(head), nls.FileParams{})
		if paramOf(err) != "audio" || got.path != "" {
			t.Errorf("%s: sent as %q, %v", name, got.query.Get("format"), err)
		}
	}
}

func TestTheRefusalOfAFileHasTheCommandThatConvertsIt(t *testing.T) {
	taken := taker(t)
	for head, suffix := range map[string]string{
		"OggS\x00\x02":                         "ogg",
		"#!AMR\n":                              "amr",
		"fLaC":                                 "flac",
		"\x00\x00\x00\x20ftypM4A ":             "m4a",
		"\x1aE\xdf\xa3":                        "webm",
		"0&\xb2u\x8ef\xcf\x11\xa6\xd9\x00\xaa": "wma",
		"RIFX\x00\x00\x00\x20WAVE":             "wav",
		"FORM\x00\x00\x00\x20AIFF":             "aiff",
		"caff\x00\x01":                         "caf",
		".snd\x00\x00\x00\x18":                 "au",
		string(chunk("RIFF", 100, []byte("AVI ")...)):                   "avi",
		string(riff(40, fmtChunk(2, 1, 22050, 4), chunk("data", 4, 1))): "wav",
		string(id3(0, "title")) + "padding, before any frame":           "mp3",
	} {
		head += strings.Repeat("\x00", 100)
		command := "ffmpeg -i in." + suffix + " -ac 1 -ar 16000 -c:a pcm_s16le out.wav"
		_, _, err := nls.OpenWAV(strings.NewReader(head))
		if paramOf(err) != "audio" || !strings.Contains(err.Error(), command) {
			t.Errorf("OpenWAV of %q: %v; want %s", head[:4], err, command)
		}
		err = taken(head)
		if paramOf(err) != "audio" || !strings.Contains(err.Error(), command) {
			t.Errorf("Recognize of %q: %v; want %s", head[:4], err, command)
		}
	}
}

func TestWhatIsNothingThatIsKnownIsNotWAV(t *testing.T) {
	_, _, err := nls.OpenWAV(strings.NewReader("This is no audio at all."))
	if paramOf(err) != "audio" || !strings.Contains(err.Error(), "not a WAV file") {
		t.Error(err)
	}
}

// So that one knows what a file has inside that is called WAV.
func TestTheCodingOfAWAVFileIsNamed(t *testing.T) {
	for code, name := range map[uint16]string{
		1: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC",
		4: "coding 0x0004", 0xF1AC: "coding 0xf1ac",
	} {
		in := riff(40, fmtChunk(code, 2, 8000, 4), chunk("data", 4))
		if _, _, err := nls.OpenWAV(strings.NewReader(string(in))); err == nil || !strings.Contains(err.Error(), " "+name+" of 8000 Hz, 2 channels, 4 bits") {
			t.Errorf("%#x: %v; want %s", code, err, name)
		}
	}
}

// An ID3v2 tag stands before the audio, and may hold a picture.
func TestATagIsSkippedWhateverItsSize(t *testing.T) {
	file := string(riff(40, fmtChunk(1, 1, 8000, 16), chunk("data", 4, 1, 2, 3, 4)))
	picture := strings.Repeat("x", 1<<21)
	for _, size := range []int{0, 1, 127, 128, 1<<14 - 1, 1 << 14, 1<<21 - 1, 1 << 21} {
		tag := "ID3\x04\x00\x00" + string([]byte{byte(size >> 21), byte(size >> 14 & 0x7F), byte(size >> 7 & 0x7F), byte(size & 0x7F)})
		f, err := nls.ReadWAVHeader(io.MultiReader(strings.NewReader(tag), strings.NewReader(picture[:size]), strings.NewReader(file)))
		if err != nil || f.SampleRate != 8000 {
			t.Errorf("a tag of %d bytes: %+v, %v", size, f, err)
		}
	}
}

func TestOnlyAWholeTagIsATag(t *testing.T) {
	taken := taker(t)
	for name, in := range map[string]string{
		"three bytes": "ID3", "nine bytes": "ID3\x04\x00\x00\x00\x00\x00",
		"a size that is none":            "ID3\x04\x00\x00\x00\x00\x00\x80" + strings.Repeat("\x00", 1000),
		"a size that is none, the first": "ID3\x04\x00\x00\x80\x00\x00\x00" + strings.Repeat("\x00", 1000),
	} {
		if err := taken(in); !errors.Is(err, errDial) {
			t.Errorf("%s: %v; want it to be sent as PCM", name, err)
		}
	}
	if err := taken(string(id3(0, ""))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a tag alone: %v", err)
	}
}

func TestOnlyAFileOfNoBytesIsCalledEmpty(t *testing.T) {
	for _, in := range []string{"R", "RIFF\x24", string(id3(0, "")), string(id3(0, "title")) + "RIFF"} {
		if _, _, err := nls.OpenWAV(strings.NewReader(in)); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "empty") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// Where the format of the samples is not known in full, nothing is returned.
func TestAFmtChunkSaysAllOrNothing(t *testing.T) {
	rate := func(channels uint16, rate uint32, bits uint16) []byte { return fmtChunk(1, channels, rate, bits) }
	for name, c := range map[string]struct {
		fmt []byte
		why string // "" if it is good
	}{
		"16 bytes":                      {rate(1, 8000, 16), ""},
		"18 bytes, an empty extension":  {fmtChunk(1, 1, 8000, 16, 0, 0), ""},
		"odd":                           {append(fmtChunk(1, 1, 8000, 16, 9), 0), ""},
		"longer than what is read":      {fmtChunk(1, 1, 8000, 16, make([]byte, 100)...), ""},
		"extensible, cut before a code": {fmtChunk(0xFFFE, 1, 8000, 16, make([]byte, 8)...), "coding 0x0000"},
		"15 bytes":                      {append(chunk("fmt ", 15, fmtChunk(1, 1, 8000, 16)[8:23]...), 0), "too short"},
		"no channels":                   {rate(0, 8000, 16), "0 channels"},
		"no rate":                       {rate(1, 0, 16), "0 Hz"},
		"no bits":                       {rate(1, 8000, 0), "0 bits"},
	} {
		f, err := nls.ReadWAVHeader(strings.NewReader(string(riff(math.MaxUint32, c.fmt, chunk("data", 4)))))
		switch {
		case c.why == "" && (err != nil || f != nls.WAVFormat{SampleRate: 8000, Channels: 1, BitsPerSample: 16, DataSize: 4}):
			t.Errorf("%s: %+v, %v", name, f, err)
		case c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)):
			t.Errorf("%s: %+v, %v; want %q", name, f, err, c.why)
		}
	}
}

// What an RF64 header says in 32 bits counts, unless it says that it is elsewhere.
func TestSizesOf32BitsCountInRF64(t *testing.T) {
	file := long("RF64", 0, 0, 900)
	copy(file[4:], "\xe8\x03\x00\x00") // 1000
	if f, err := nls.ReadWAVHeader(strings.NewReader(string(file))); err != nil || f.DataSize != 900 {
		t.Errorf("%+v, %v", f, err)
	}
}
