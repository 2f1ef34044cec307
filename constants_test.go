package nls

import (
	"math"
	"testing"
	"time"

	"github.com/nlsgo/nls/internal/constant"
)

// A constant that decides how the SDK behaves is changed here too, by whoever has read
// where its number comes from. In packages session and nlstest it is the same.
func TestConstantsAreThoseOfTheServiceAndOfTheDocuments(t *testing.T) {
	constant.Check(t, []constant.Row{
		{"DefaultStartTimeout", DefaultStartTimeout, 10 * time.Second, "docs/guide.md, Timeouts"},
		{"DefaultStopTimeout", DefaultStopTimeout, 10 * time.Second, "docs/guide.md, Timeouts"},
		{"DefaultCompleteTimeout", DefaultCompleteTimeout, 60 * time.Second, "docs/guide.md, Timeouts"},
		{"DefaultWriteTimeout", DefaultWriteTimeout, 10 * time.Second, "docs/guide.md, Timeouts"},
		{"DefaultPingInterval", DefaultPingInterval, 8 * time.Second, "below the 10 s of protocol §1.5"},
		{"minPingInterval", minPingInterval, 100 * time.Millisecond, "Config.PingInterval"},
		{"DefaultSampleRate", DefaultSampleRate, 16000, "protocol §3.2"},
		{"DefaultVolume", DefaultVolume, 50, "protocol §5.2"},
		{"DefaultMaxPending", DefaultMaxPending, 8 << 20, "Config.MaxPendingBytes"},
		{"maxRecordQueue", maxRecordQueue, 4 << 20, "a minute of recorded audio"},
		{"maxRecordWait", maxRecordWait, 10 * time.Second, "Config.Record"},

		{"tokenEarly", tokenEarly, 5 * time.Minute, "longer than a Start, shorter than any token"},
		{"tokenTimeout", tokenTimeout, 30 * time.Second, "ours"},
		{"tokenMinPause", tokenMinPause, time.Second, "ours"},
		{"tokenMaxPause", tokenMaxPause, time.Minute, "ours"},

		{"compressedRate", compressedRate, 40000, "PumpOptions.BytesPerSecond"},
		{"settleTime", settleTime, 30 * time.Millisecond, "ours"},
		{"gain", gain, 0.01, "ours"},
		{"gainMost", gainMost, 500 * time.Millisecond, "ours"},
		{"longestPause", int64(longestPause), int64(math.MaxInt64 / 4), "far from an overflow"},
		{"gainAfter", gainAfter, 10 * time.Second, "ours"},
		{"defaultChunk", defaultChunk, 16 << 10, "protocol §1.8"},
		{"maxChunk", maxChunk, 16 << 20, "PumpOptions.ChunkSize"},
		{"catchUp", catchUp, 1.25, "PumpOptions.Speed"},
		{"maxEmptyReads", maxEmptyReads, 100, "as in package bufio"},
		{"feedTime", feedTime, 100 * time.Millisecond, "protocol §1.8"},
		{"muteAfter", muteAfter, time.Second, "ContinuousOptions.FillSilence"},
		{"retireTime", retireTime, 5 * time.Second, "ours"},
		{"ofUse", ofUse, 10 * time.Second, "ours"},
		{"defaultBuffer", defaultBuffer, time.Minute, "ContinuousOptions.Buffer"},
		{"defaultGiveUpAfter", defaultGiveUpAfter, 2 * time.Minute, "ContinuousOptions.GiveUpAfter"},
		{"defaultCatchUp", defaultCatchUp, 2, "ContinuousOptions.CatchUp"},

		{"maxShortText", maxShortText, 300, "protocol §5.2"},
		{"maxPieceChars", maxPieceChars, 1000, "protocol §16.2: 2,000, and a Han character is two"},
		{"maxPieceBytes", maxPieceBytes, 14 << 10, "16 KiB of a frame, less the envelope"},
		{"maxDocument", maxDocument, 16 << 10, "no message is longer"},

		{"fileMinPause", fileMinPause, time.Second, "protocol §10.5"},
		{"fileMaxPause", fileMaxPause, 30 * time.Second, "ours"},
		{"fileThrottledPause", fileThrottledPause, 2 * time.Minute, "ours"},
		{"filePatience", filePatience, 2 * time.Minute, "ours"},
		{"maxFileAnswer", maxFileAnswer, 64 << 20, "20 MiB for 12 hours"},
		{"maxBodyKept", maxBodyKept, 1 << 10, "ours"},
		{"maxFlashFile", maxFlashFile, 100 << 20, "protocol §10.4"},
		{"headSize", headSize, 4 << 10, "ours"},
		{"pieceSize", pieceSize, 64 << 10, "ours"},
		{"maxWAVChunks", maxWAVChunks, 1000, "ours"},
		{"maxWAVSkip", maxWAVSkip, 64 << 20, "ours"},
		{"maxBodyShown", maxBodyShown, 200, "ours"},
		{"maxTextShown", maxTextShown, 1000, "ours"},
	})
}
