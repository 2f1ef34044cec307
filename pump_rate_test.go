package nls

import "testing"

// PumpOptions has these numbers: what a caller does not say is known from the source.
func TestAudioPlaysAtTheRateThatPumpOptionsDocument(t *testing.T) {
	for _, c := range []struct {
		name string
		o    PumpOptions
		s    source
		want int
	}{
		{"raw PCM", PumpOptions{}, source{}, 32000},
		{"raw PCM of 8 kHz", PumpOptions{}, source{format: FormatPCM, pace: 8000}, 16000},
		{"a WAV file of 48 kHz", PumpOptions{}, source{format: FormatWAV, pace: 48000}, 96000},
		{"MP3, 320 kbit/s", PumpOptions{}, source{format: FormatMP3, pace: 16000}, 40000},
		{"Opus", PumpOptions{}, source{format: FormatOpus}, 40000},
		{"the caller knows better", PumpOptions{BytesPerSecond: 4000}, source{format: FormatMP3}, 4000},
	} {
		if got := c.o.forSource(c.s).BytesPerSecond; got != c.want {
			t.Errorf("%s: %d bytes a second, want %d", c.name, got, c.want)
		}
	}
}
