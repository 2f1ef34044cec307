package nls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/nlsgo/nls/internal/constant"
	"github.com/nlsgo/nls/internal/session"
)

// The numbers and names here are those of the wire, written once more: who changes one
// in the code fails here by its name.

func TestStatusCodesAreThoseOfTheService(t *testing.T) {
	rows := []constant.Row{
		{"StatusOK", StatusOK, 20000000, "protocol §7.1"},
		{"StatusClientError", StatusClientError, 40000000, "protocol §7.1"},
		{"StatusAccessDenied", StatusAccessDenied, 40000001, "protocol §7.1"},
		{"StatusMessageInvalid", StatusMessageInvalid, 40000002, "protocol §7.1"},
		{"StatusParameterInvalid", StatusParameterInvalid, 40000003, "protocol §7.1"},
		{"StatusIdleTimeout", StatusIdleTimeout, 40000004, "protocol §7.1"},
		{"StatusTooManyRequests", StatusTooManyRequests, 40000005, "protocol §7.1"},
		{"StatusContainerInvalid", StatusContainerInvalid, 40000009, "protocol §7.1"},
		{"StatusTrialExpired", StatusTrialExpired, 40000010, "protocol §7.1"},
		{"StatusNamespaceNotFound", StatusNamespaceNotFound, 40010001, "protocol §7.1"},
		{"StatusDirectiveNotSupported", StatusDirectiveNotSupported, 40010002, "protocol §7.1"},
		{"StatusDirectiveInvalid", StatusDirectiveInvalid, 40010003, "protocol §7.1"},
		{"StatusTaskStateError", StatusTaskStateError, 40010005, "protocol §7.1"},
		{"StatusAppKeyNotExist", StatusAppKeyNotExist, 40020105, "protocol §7.1"},
		{"StatusAppKeyMismatch", StatusAppKeyMismatch, 40020106, "protocol §7.1"},
		{"StatusUnsupportedAudio", StatusUnsupportedAudio, 40270001, "protocol §7.2"},
		{"StatusNoValidAudio", StatusNoValidAudio, 40270002, "protocol §7.2"},
		{"StatusDecoderError", StatusDecoderError, 40270003, "protocol §7.2"},
		{"StatusNoAudioStream", StatusNoAudioStream, 40270004, "protocol §7.2"},
		{"StatusDownloadFailed", StatusDownloadFailed, 40270006, "protocol §7.2"},
		{"StatusUnsupportedFormat", StatusUnsupportedFormat, 41010100, "protocol §7.2"},
		{"StatusUnsupportedSampleRate", StatusUnsupportedSampleRate, 41010101, "protocol §7.2"},
		{"StatusSpeechTooLong", StatusSpeechTooLong, 41010104, "protocol §7.2"},
		{"StatusSilentSpeech", StatusSilentSpeech, 41010105, "protocol §7.2"},
		{"StatusSynthesisClientError", StatusSynthesisClientError, 41020001, "protocol §7.3"},
		{"StatusAudioTimeout", StatusAudioTimeout, 41040201, "protocol §7.2"},
		{"StatusConcurrencyExceeded", StatusConcurrencyExceeded, 43040001, "protocol §7.1"},
		{"StatusServerError", StatusServerError, 50000000, "protocol §7.1"},
		{"StatusGRPCError", StatusGRPCError, 50000001, "protocol §7.1"},
		{"StatusSynthesisServerError", StatusSynthesisServerError, 51020001, "protocol §7.3"},
		{"StatusFileSuccess", StatusFileSuccess, 21050000, "protocol §7.4"},
		{"StatusFileRunning", StatusFileRunning, 21050001, "protocol §7.4"},
		{"StatusFileQueueing", StatusFileQueueing, 21050002, "protocol §7.4"},
		{"StatusFileNoValidFragment", StatusFileNoValidFragment, 21050003, "protocol §7.4"},
		{"StatusFileQuotaExceeded", StatusFileQuotaExceeded, 41050001, "protocol §7.4"},
		{"StatusFileDownloadFailed", StatusFileDownloadFailed, 41050002, "protocol §7.4"},
		{"StatusFileCheckFailed", StatusFileCheckFailed, 41050003, "protocol §7.4"},
		{"StatusFileTooLarge", StatusFileTooLarge, 41050004, "protocol §7.4"},
		{"StatusFileNormalizeFailed", StatusFileNormalizeFailed, 41050005, "protocol §7.4"},
		{"StatusFileParseFailed", StatusFileParseFailed, 41050006, "protocol §7.4"},
		{"StatusFileMKVParseFailed", StatusFileMKVParseFailed, 41050007, "protocol §7.4"},
		{"StatusFileUnsupportedSampleRate", StatusFileUnsupportedSampleRate, 41050008, "protocol §7.4"},
		{"StatusFileUnsupportedASRGroup", StatusFileUnsupportedASRGroup, 41050009, "protocol §7.4"},
		{"StatusFileTaskExpired", StatusFileTaskExpired, 41050010, "protocol §7.4"},
		{"StatusFileInvalidURL", StatusFileInvalidURL, 41050011, "protocol §7.4"},
		{"StatusFileInvalidCallback", StatusFileInvalidCallback, 41050012, "protocol §7.4"},
		{"StatusFileParameterInvalid", StatusFileParameterInvalid, 41050013, "protocol §7.4"},
		{"StatusFileEmptyAppKey", StatusFileEmptyAppKey, 41050014, "protocol §7.4"},
		{"StatusFileAppKeyUnregistered", StatusFileAppKeyUnregistered, 41050015, "protocol §7.4"},
		{"StatusFileRAMCheckFailed", StatusFileRAMCheckFailed, 41050021, "protocol §7.4"},
		{"StatusFileContentLengthCheckFailed", StatusFileContentLengthCheckFailed, 41050023, "protocol §7.4"},
		{"StatusFileNotFound", StatusFileNotFound, 41050024, "protocol §7.4"},
		{"StatusFileForbidden", StatusFileForbidden, 41050025, "protocol §7.4"},
		{"StatusFileServerError", StatusFileServerError, 41050026, "protocol §7.4"},
		{"StatusFileNoWords", StatusFileNoWords, 41050029, "protocol §7.4"},
		{"StatusFileTooLong", StatusFileTooLong, 41050103, "protocol §7.4"},
		{"StatusFileInternalError", StatusFileInternalError, 51050000, "protocol §7.4"},
		{"StatusFileVADFailed", StatusFileVADFailed, 51050001, "protocol §7.4"},
		{"StatusFileRecognizeFailed", StatusFileRecognizeFailed, 51050002, "protocol §7.4"},
		{"StatusFileRecognizeInterrupted", StatusFileRecognizeInterrupted, 51050003, "protocol §7.4"},
		{"StatusFileOfferInterrupted", StatusFileOfferInterrupted, 51050004, "protocol §7.4"},
		{"StatusFileTimeout", StatusFileTimeout, 51050005, "protocol §7.4"},
		{"StatusFileFragmentFailed", StatusFileFragmentFailed, 51050006, "protocol §7.4"},
	}
	constant.Check(t, rows)

	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(s.Names[0].Name, "Status") &&
			!slices.ContainsFunc(rows, func(r constant.Row) bool { return r[0] == s.Names[0].Name }) {
			t.Errorf("%s has no row", s.Names[0].Name)
		}
		return true
	})
}

func TestDirectivesAndEventsOfAProductAreThoseOfTheService(t *testing.T) {
	for _, c := range []struct {
		spec                                  session.Spec
		namespace, start, started, final, end string
	}{
		{recognition, "SpeechRecognizer", "StartRecognition", "RecognitionStarted", "RecognitionCompleted", "StopRecognition"},
		{transcription, "SpeechTranscriber", "StartTranscription", "TranscriptionStarted", "TranscriptionCompleted", "StopTranscription"},
		{synthesis, "SpeechSynthesizer", "StartSynthesis", "", "SynthesisCompleted", ""},
		{longSynthesis, "SpeechLongSynthesizer", "StartSynthesis", "", "SynthesisCompleted", ""},
		{streamSynthesis, "FlowingSpeechSynthesizer", "StartSynthesis", "SynthesisStarted", "SynthesisCompleted", "StopSynthesis"},
	} {
		constant.Check(t, []constant.Row{
			{c.namespace, c.spec.Namespace, c.namespace, "protocol §2.1"},
			{c.namespace + ", start", c.spec.Start, c.start, "protocol §2.1"},
			{c.namespace + ", started", strings.Join(c.spec.Started, " "), c.started, "protocol §2.2"},
			{c.namespace + ", final", strings.Join(c.spec.Final, " "), c.final, "protocol §2.2"},
			{c.namespace + ", stop", c.spec.Stop, c.end, "protocol §2.1"},
		})
	}
	constant.Check(t, []constant.Row{{"flashNamespace", flashNamespace, "FlashRecognizer", "protocol §10.4"}})
}

func TestEachEventCallsTheHandlerOfItsName(t *testing.T) {
	called := ""
	event := func(name string) func(*Event) { return func(*Event) { called = name } }
	sentence := func(name string) func(*Sentence) { return func(*Sentence) { called = name } }
	meta := func(name string) func(*MetaInfo) { return func(*MetaInfo) { called = name } }
	result := func(name string) func(*RecognitionResult) { return func(*RecognitionResult) { called = name } }
	recognizer := RecognizerHandlers{OnStart: event("start"), OnResultChanged: result("changed"), OnCompleted: result("completed")}
	transcriber := TranscriberHandlers{OnStart: event("start"), OnSentenceBegin: sentence("begin"), OnResultChanged: sentence("changed"),
		OnSentenceEnd: sentence("end"), OnCompleted: event("completed")}
	synthesizer := SynthesizerHandlers{OnStart: event("start"), OnMetaInfo: meta("meta"), OnCompleted: event("completed")}
	stream := StreamSynthesizerHandlers{OnStart: event("start"), OnSentenceBegin: meta("begin"), OnSentenceSynthesis: meta("synthesis"),
		OnSentenceEnd: meta("end"), OnCompleted: event("completed")}
	for _, c := range []struct {
		product string
		typed   func(Event)
		events  map[string]string // by name; the handler
	}{
		{"recognizer", recognizer.typed, map[string]string{
			"RecognitionStarted": "start", "RecognitionResultChanged": "changed", "RecognitionCompleted": "completed", "Unknown": "",
		}},
		{"transcriber", transcriber.typed(), map[string]string{
			"TranscriptionStarted": "start", "SentenceBegin": "begin", "TranscriptionResultChanged": "changed", "SentenceEnd": "end",
			"TranscriptionCompleted": "completed", "Unknown": "",
		}},
		{"synthesizer", synthesizer.typed, map[string]string{"SynthesisStarted": "start", "MetaInfo": "meta", "SynthesisCompleted": "completed", "Unknown": ""}},
		{"stream synthesizer", stream.typed, map[string]string{
			"SynthesisStarted": "start", "SentenceBegin": "begin", "SentenceSynthesis": "synthesis", "SentenceEnd": "end", "SynthesisCompleted": "completed", "Unknown": "",
		}},
	} {
		for name, want := range c.events {
			called = ""
			if c.typed(eventOf(name, "{}")); called != want {
				t.Errorf("%s: %s calls %q, want %q", c.product, name, called, want)
			}
		}
	}
}
