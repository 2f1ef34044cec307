package nls

import (
	"errors"
	"maps"
	"testing"
)

func TestTheServiceIsAskedForThePCMBehindAHeaderOfOurOwn(t *testing.T) {
	for _, c := range []struct {
		name       string
		format     Format
		rate       int
		extra      map[string]any
		header     int // its sample rate, 0 for none
		asked      Format
		extraAsked map[string]any
	}{
		{"PCM", FormatPCM, 0, nil, 0, FormatPCM, nil},
		{"no format", "", 8000, nil, 0, "", nil},
		{"WAV", FormatWAV, 0, nil, 16000, FormatPCM, nil},
		{"WAV of 8 kHz", FormatWAV, 8000, map[string]any{"x": 1}, 8000, FormatPCM, map[string]any{"x": 1}},
		{"WAV by Extra", FormatMP3, 0, map[string]any{"format": "wav", "x": 1}, 16000, FormatPCM, map[string]any{"x": 1}},
		{"MP3 by Extra", FormatWAV, 0, map[string]any{"format": "mp3"}, 0, FormatWAV, map[string]any{"format": "mp3"}},
		{"a rate by Extra", FormatWAV, 8000, map[string]any{"sample_rate": 24000}, 24000, FormatPCM, map[string]any{"sample_rate": 24000}},
	} {
		format, before, extra := c.format, maps.Clone(c.extra), c.extra
		h, err := ownHeader(&format, c.rate, &extra)
		if err != nil || format != c.asked || !maps.Equal(extra, c.extraAsked) || !maps.Equal(c.extra, before) {
			t.Errorf("%s: asks for %s, %v, the caller's is %v, %v", c.name, format, extra, c.extra, err)
		}
		if h == nil && c.header != 0 || h != nil && *h != (WAVFormat{SampleRate: c.header, Channels: 1, BitsPerSample: 16, DataSize: -1}) {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
	format, extra := FormatWAV, map[string]any{"sample_rate": "fast"}
	_, err := ownHeader(&format, 0, &extra)
	if e, ok := errors.AsType[*ParamError](err); !ok || e.Param != "Extra" {
		t.Errorf("a rate that is none: %v", err)
	}
}

func TestARuneIsSentWhole(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "a": 1, "你": 3, "你好": 6, "a😀": 5,
		"你\xe5": 3, "你\xe5\xa5": 3, "a\xf0\x9f": 1, "a\xf0\x9f\x98": 1, "\xf0": 0, "\xf0\x9f\x98": 0,
		"\xff": 1, "a\x98\x98\x98\x98": 5, "\xe4\xbda": 3, // no text, and SendText says so
	} {
		if got := wholeRunes(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
