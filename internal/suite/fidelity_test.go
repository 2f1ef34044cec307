package suite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fidelity is what nlstest does that the service does, why we think so, and the tests
// that hold it. The evidence is that of protocol.md: D a vendor document, S the source of
// an official SDK, M the vendor's mock server, W a capture or log of the service, I
// an inference, R our own choice where nothing is known.
var fidelity = []struct {
	does, section, evidence string
	tests                   string // separated by spaces
	differs                 string // from the service, as far as anybody knows
}{
	{"A token in X-NLS-Token or in ?token= opens a connection", "1.2", "D S M", "TestHandshakesOfOfficialClientsAreAccepted", ""},
	{"A bad, expired or missing token is refused with HTTP 403 and the text of the service", "1.3", "S D", "TestHandshakeRefusals TestRefusalIsByteForByteTheOneOfTheService TestTokensAreRefusedInTheWordsOfTheService", "403 for a missing or expired token is inferred"},
	{"Constant keys and masks, repeated headers and abrupt ends are accepted", "1.2", "S", "TestHandshakesOfOfficialClientsAreAccepted TestClientMayClose", ""},
	{"Pings are answered with their payload; the server sends none", "1.4", "S I", "TestPingsAreAnsweredWithTheirPayload", ""},
	{"10 s without data end a connection with 40000004 that names the last directive", "1.5", "D W", "TestIdleTimers", "one old answer says 20 s for real-time recognition"},
	{"Pings stretch that to 23 s", "1.4", "S D", "TestIdleTimers", "the exact rule is open (§14.5)"},
	{"10 s without audio end a recognition with 41040201", "1.5", "D", "TestIdleTimers", ""},
	{"A connection takes task after task", "1.7", "S W", "TestAConnectionTakesTaskAfterTask", "whether the token is looked at again is open (§14.3)"},
	{"Frames are at most 64 KiB, never fragmented, JSON compact with integers as such", "1.8, 2.2", "I", "TestLongResultComesWithoutItsWords TestTranscriptionEventsByteForByte", ""},
	{"Every directive needs its appkey, message_id and task_id of 32 lower-case hex digits", "2.1", "W S D", "TestValidationOrder TestStopNeedsAnAppKeyToo TestMalformedMessageFailsTheRunningTask", "the order of checks is ours (§14.12)"},
	{"Directives out of their state fail with 40010005 or 40000002", "12", "W S", "TestStateMachine", "some cells are recommendations"},
	{"Audio before ...Started fails with 40000002 ROUTING", "3.1", "W", "TestStateMachine", ""},
	{"Text that is not UTF-8 drops the connection without a word", "1.6", "D", "TestBrokenFramesEndTheConnection", ""},
	{"After TaskFailed the connection is closed", "16.3", "D M", "TestTaskFailedIsTheLastMessageOfASynthesis", "code 1000 is ours (§14.1)"},
	{"Recognition of more than 60 s fails with 41010104", "3.1", "D", "TestRecognitionOfMoreThanAMinuteFails", ""},
	{"Voice detection completes a recognition by itself; a Stop that comes then is harmless", "3.1", "S D", "TestVoiceDetectionCompletesByItself TestVoiceDetectionWaitsForSilenceBetweenTones", ""},
	{"max_start_silence ends in 41010105", "3.2", "S", "TestVoiceDetectionGivesUpOnSilence", "other documents say RecognitionCompleted (§14.4)"},
	{"No punctuation unless it is asked for; none in words, ever", "16.1", "W", "TestPunctuationComesWhenAskedFor TestWordsAreWords", "marks of numbers stay"},
	{"Numbers are words, and digits with ITN", "16.1", "W D", "TestNumbersAreWordsOrDigits TestEveryNumberIsReadBackAsItIsSaid", "common forms of Mandarin and English only"},
	{"Words are words, not characters", "16.1", "W", "TestWordsAreWords TestWordsOfAnEngineStayAsTheyAre", "by a small list, where the service has a segmenter"},
	{"Partial results are taken back now and then", "16.1", "W", "TestPartialResultsAreTakenBack TestStashResultHoldsTheNextSentence", "by a fixed rule; with text of the next sentence only with semantic detection"},
	{"Silence in the audio ends a sentence; ControlTranscriber changes how much", "4.2, 4.3", "D S", "TestSilenceEndsSentencesOfTones TestMaxSentenceSilence TestControlChangesMaxSentenceSilence", ""},
	{"SentenceEnd.time includes that silence and comes that much later", "16.1", "W D", "TestTranscriptionEventsByteForByte TestSilenceEndsSentencesOfTones", ""},
	{"Semantic detection ends sentences by what they say; stash_result has the next one's text", "4.2, 4.4", "D W", "TestSemanticSentencesEndWithTheirMeaning TestStashResultHoldsTheNextSentence", "by punctuation marks, where the service has a model"},
	{"WAV is checked as the service does; other coded audio needs a decoder", "8.1", "D", "TestFormatsAreChecked", ""},
	{"Text of short synthesis is cut after 300 characters", "5.2", "D", "TestShortTextIsCutAfter300Characters", "documents only (§14.7)"},
	{"MetaInfo has units and the sentence, and grows", "5.4", "W", "TestMetaInfoByteForByte TestSubtitlesGrowWithinASentence", ""},
	{"Flowing synthesis speaks a sentence before the text is over", "6.3", "W", "TestFlowingSpeaksASentenceBeforeTheTextIsOver TestFlowingSentences", ""},
	{"A streamed WAV has its header in the first message", "8.5", "W", "TestWAVHeaderIsInTheFirstMessage", "its sizes are open (§14.8)"},
	{"CreateToken checks signature, nonce and time, and answers in the service's shape", "9", "D S", "TestSignatureVectors TestCreateTokenAnswersInTheShapeOfTheService TestCreateTokenRefuses TestNonceIsGoodOnceForItsKey TestManyTokensInASecondAreThrottled", "the QPS limit is ours (§14.11)"},
	{"Sessions are counted for each account and product: 200, long synthesis 100, streaming synthesis 10; a trial 2, 2, 2 and 40000010", "16.3", "D", "TestQuotasAreThoseOfTheServiceForEachProduct TestAQuotaIsSharedByTheAppKeysOfAnAccount", ""},
	{"A dropped session holds its place until the idle cut", "11", "D W", "TestAPlaceIsFreeAtOnceAfterAnEndAndAtTheIdleCutAfterADrop TestADroppedSynthesisHoldsItsPlace", "a place is free at once after Completed, where one report says it is not (§16.3)"},
	{"40000010 comes before the appkey is looked at", "1.3", "W", "TestExpiredComesBeforeTheAppKey", "seen on FlashRecognizer"},
	{"Voices have the rates, timestamps and emotions of the vendor's list; what one lacks is refused with 418, 423, 425", "7.3, 16.2", "D W", "TestVoicesCanDoWhatTheVendorsListSays TestCosyVoiceHasNoTimestamps", "40010003 for a rate that a voice lacks is ours; the vendor's page says Illegal ssml text for an emotion of a voice that has none; it gives some newer voices of CosyVoice timestamps"},
	{"Phonemes with enable_phoneme_timestamp, spelt by product", "5.4", "D S", "TestPhonemesByteForByte", "which sounds they are is invented"},
	{"...Started takes 20 ms and ...Completed 40 ms, or 60 and 140 with Latency", "16.1", "W", "TestHowLongTheServiceTakes TestAudioBeforeStartedIsRefused", "20 and 40 ms are ours; 220 ms to the first audio is of one capture"},
	{"An audio message of more than 512 KiB is swallowed; then 40000004 'StartTranscription'", "16.1", "W", "TestALongAudioMessageIsSwallowed", "the size is a guess; more than 2 MiB end the connection"},
	{"With RealTime, audio far faster than it plays drops the connection", "16.1", "W", "TestAudioFarFasterThanItPlaysDropsTheConnection", "10 times over 5 s is a guess"},
	{"Official SDKs of Go and Node and the wire habits of C++, Python and Java complete unchanged", "1.2", "S", "TestOfficialRecognition TestOfficialLongSynthesisWithSubtitles", ""},
}

const fidelityIntro = `# How the local gateway holds up to the service

Made from internal/suite/fidelity_test.go by go test -run Fidelity ./internal/suite -update; the
same test fails when a row has lost its tests. Sections are those of docs/protocol.md. Evidence:
D a vendor document, S the source of an official SDK, M the vendor's mock server, W a capture or
log of the service, I an inference from what clients need, R our choice where nothing is known.

| nlstest | protocol | evidence | tests | known to differ, or not known |
| --- | --- | --- | --- | --- |
`

func TestFidelityIsTested(t *testing.T) {
	names := map[string]bool{}
	for _, dir := range []string{"nlstest", "internal/suite", "internal/interop", "."} {
		files, err := filepath.Glob(root + dir + "/*_test.go")
		if err != nil || files == nil {
			t.Fatalf("%s: no tests, %v", dir, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(b, -1) {
				names[string(m[1])] = true
			}
		}
	}
	b := bytes.NewBufferString(fidelityIntro)
	for _, row := range fidelity {
		tests := strings.Fields(row.tests)
		if len(tests) == 0 {
			t.Errorf("%q has no test", row.does)
		}
		for i, name := range tests {
			if !names[name] {
				t.Errorf("%q: there is no %s", row.does, name)
			}
			tests[i] = "`" + name + "`"
		}
		for _, e := range strings.Fields(row.evidence) {
			if !strings.Contains("DSMWIR", e) {
				t.Errorf("%q: evidence %q", row.does, e)
			}
		}
		fmt.Fprintf(b, "| %s | §%s | %s | %s | %s |\n", row.does, row.section, row.evidence, strings.Join(tests, " "), row.differs)
	}
	const file = root + "docs/fidelity.md"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%s is not current; go test -run Fidelity ./internal/suite -update; %v", file, err)
	}
}
