package nlstest

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nlsgo/nls/internal/constant"
)

// As TestConstantsAreThoseOfTheServiceAndOfTheDocuments of package nls.
func TestConstantsAreThoseOfTheService(t *testing.T) {
	longest := 0
	for w := range commonWords {
		longest = max(longest, utf8.RuneCountInString(w))
	}
	constant.Check(t, []constant.Row{
		{"defaultIdleTimeout", defaultIdleTimeout, 10 * time.Second, "protocol §1.5"},
		{"linger", linger, 3 * time.Second, "protocol §1.6"},
		{"maxFrame", maxFrame, 64 << 10, "protocol §1.8"},
		{"maxMessage", maxMessage, 2 << 20, "100,000 characters as \\u escapes"},
		{"maxAudio", maxAudio, 512 << 10, "protocol §16.1"},
		{"maxSpeed", maxSpeed, 10, "protocol §16.1"},
		{"paceWindow", paceWindow, 5 * time.Second, "protocol §16.1"},
		{"maxSpeech", maxSpeech, 60 * time.Second, "protocol §3.1"},
		{"maxSentenceTime", maxSentenceTime, 60 * time.Second, "ours"},
		{"defaultSilence", defaultSilence, 800, "protocol §4.2"},
		{"minSilence", minSilence, 200, "protocol §4.2"},
		{"maxSilence", maxSilence, 6000, "protocol §4.2"},
		{"voiceStep", voiceStep, 100 * time.Millisecond, "ours"},
		{"voiceDelay", voiceDelay, 500 * time.Millisecond, "ours"},
		{"maxShortText", maxShortText, 300, "protocol §5.2"},
		{"maxLongText", maxLongText, 100_000, "protocol §5.2"},
		{"maxFlowingText", maxFlowingText, 10_000, "protocol §6.1"},
		{"maxAudioFrame", maxAudioFrame, 8000, "protocol §5.3"},
		{"maxSentence", maxSentence, 200, "ours"},

		{"defaultTTL", defaultTTL, 24 * time.Hour, "protocol §9.4"},
		{"maxClockSkew", maxClockSkew, 15 * time.Minute, "protocol §9.3"},
		{"tokensPerSecond", tokensPerSecond, 100, "ours"},
		{"submitsPerSecond", submitsPerSecond, 200, "protocol §10.5"},
		{"resultsPerSecond", resultsPerSecond, 500, "protocol §10.5"},
		{"maxTokenRequest", maxTokenRequest, 64 << 10, "ours"},
		{"maxTokenParams", maxTokenParams, 100, "ours"},
		{"maxTokens", maxTokens, 1 << 14, "ours"},
		{"maxNonces", maxNonces, 1 << 14, "ours"},

		{"maxFile", maxFile, 512 << 20, "protocol §10.5"},
		{"maxFileLength", maxFileLength, 12 * time.Hour, "protocol §10.5"},
		{"fileResultKept", fileResultKept, 72 * time.Hour, "protocol §10.5"},
		{"maxFileTasks", maxFileTasks, 1 << 10, "ours"},
		{"maxFilesAtOnce", maxFilesAtOnce, 4, "ours"},
		{"callbackTimeout", callbackTimeout, 10 * time.Second, "ours"},
		{"maxFlashFile", maxFlashFile, 100 << 20, "protocol §10.4"},
		{"flashPatience", flashPatience, 50 * time.Second, "protocol §10.4"},

		{"maxBacklog", maxBacklog, 512 << 10, "ours"},
		{"callCost", callCost, 512, "ours"},
		{"engineGrace", engineGrace, 100 * time.Millisecond, "ours"},
		{"pipeBuffer", pipeBuffer, 64 << 10, "ours"},
		{"scriptPace", scriptPace, 200 * time.Millisecond, "ours"},
		{"maxHugeText", maxHugeText, 1024, "ours"},
		{"longestWord", longestWord, longest, "commonWords"},
		{"maxDepartures", maxDepartures, 100, "ours"},
	})
}
