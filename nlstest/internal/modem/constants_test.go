package modem

import (
	"testing"

	"github.com/nlsgo/nls/internal/constant"
)

// Speech that was written to a file is read by later versions, so what it is made of
// stays. What a Decoder takes for speech was tried with noise, other rates and losses.
func TestConstantsAreThoseOfTheSpeechThatIsThere(t *testing.T) {
	const format, tried = "recordings that are there", "tried, see decode.go"
	constant.Check(t, []constant.Row{
		{"MinSampleRate", MinSampleRate, 8000, format},
		{"MaxSampleRate", MaxSampleRate, 48000, format},
		{"MaxUnits", MaxUnits, 200, format},
		{"pilotTime", pilotTime, 0.070, format},
		{"headerSymbolTime", headerSymbolTime, 0.014, format},
		{"gapTime", gapTime, 0.030, format},
		{"symbolTime", symbolTime, 0.024, format},
		{"silenceTime", silenceTime, 0.300, format},
		{"headerSymbols", headerSymbols, 10, format},
		{"unitSymbols", unitSymbols, 5, format},
		{"symbolBits", symbolBits, 6, format},
		{"pilotHz", pilotHz, 1000, format},
		{"lowestHz", lowestHz, 540, format},
		{"toneSpacing", toneSpacing, 140, format},
		{"tones", tones, 16, format},
		{"rateStep", rateStep, 8, format},
		{"rateOffset", rateOffset, 63, format},

		{"pilotWindow", pilotWindow, 0.010, tried},
		{"pilotRun", pilotRun, 3, tried},
		{"pilotPatch", pilotPatch, 0.100, tried},
		{"pilotShare", pilotShare, 0.65, tried},
		{"noiseFloor", noiseFloor, 8, tried},
		{"guard", guard, 0.1, tried},
		{"headerRange", headerRange, 0.012, tried},
		{"headerStep", headerStep, 0.004, tried},
		{"headerPeak", headerPeak, 0.9, tried},
		{"toneShare", toneShare, 0.15, tried},
		{"bothShare", bothShare, 0.7, tried},
		{"brokenTwins", brokenTwins, 6, tried},
		{"aloneShare", aloneShare, 0.3, tried},
		{"readShare", readShare, 0.6, tried},
		{"quietShare", quietShare, 0.2, tried},
		{"quietTime", quietTime, 0.100, tried},
		{"quietUnits", quietUnits, 2, tried},
		{"reach", reach, 8, tried},
		{"maxBroken", maxBroken, 70, tried},
	})
}
