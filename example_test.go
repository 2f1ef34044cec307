package nls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// The gateway of TestMain understands what it has spoken itself. README and docs
// copy code from here: see internal/suite/readme_test.go.
//
//go:generate go run ./examples/synthesizer -text 你好 -rate 500 -out testdata/hello.wav

// newClient takes NLS_URL, NLS_APPKEY and NLS_TOKEN, or an access key, from the
// environment.
func newClient() *nls.Client {
	client, err := nls.NewClient(nls.ConfigFromEnv())
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// A Recognizer turns one utterance into text. It can be started again and again.
func ExampleRecognizer() {
	ctx := context.Background()
	rec := newClient().NewRecognizer(nls.RecognizerHandlers{
		OnResultChanged: func(r *nls.RecognitionResult) { fmt.Println("so far:", r.Text) },
		OnCompleted:     func(r *nls.RecognitionResult) { fmt.Println("final:", r.Text) },
	})
	for range 2 {
		file, err := os.Open("testdata/hello.wav")
		if err != nil {
			log.Fatal(err)
		}
		pcm, wav, err := nls.OpenWAV(file)
		if err != nil {
			log.Fatal(err)
		}
		params := nls.RecognitionParams{SampleRate: wav.SampleRate, EnableIntermediateResult: true}
		if err := rec.Start(ctx, params); err != nil {
			log.Fatal(err)
		}
		if _, err := nls.Pump(ctx, rec, pcm, nls.PumpOptions{BytesPerSecond: 2 * wav.SampleRate}); err != nil {
			log.Print(err) // Stop returns the reason
		}
		if err := rec.Stop(ctx); err != nil {
			log.Fatal(err)
		}
		file.Close()
	}
	// Output:
	// so far: 你
	// so far: 你号
	// so far: 你好
	// final: 你好
	// so far: 你
	// so far: 你号
	// so far: 你好
	// final: 你好
}

// A session lives until Stop or Shutdown. This one lives no longer than ctx.
func ExampleSession_Bind() {
	ctx, cancel := context.WithCancelCause(context.Background())
	rec := newClient().NewRecognizer(nls.RecognizerHandlers{})
	if err := rec.Start(ctx, nls.RecognitionParams{}); err != nil {
		log.Fatal(err)
	}
	defer rec.Session().Bind(ctx)()
	hungUp := errors.New("the caller has hung up")
	cancel(hungUp)
	<-rec.Done()
	fmt.Println(errors.Is(rec.Err(), context.Canceled), errors.Is(rec.Err(), hungUp))
	// Output: true true
}

// A Transcriber turns a stream of any length into sentences.
func ExampleTranscriber() {
	ctx := context.Background()
	tr := newClient().NewTranscriber(nls.TranscriberHandlers{
		OnSentenceBegin: func(s *nls.Sentence) { fmt.Println("sentence", s.Index, "begins") },
		OnSentenceEnd: func(s *nls.Sentence) {
			for _, word := range s.Words {
				fmt.Println(word.Start.Round(time.Second/10), word.Text)
			}
			fmt.Println("sentence", s.Index, "is", s.Text)
		},
		OnError: func(e *nls.ErrorEvent) { log.Println("task", e.TaskID, "failed:", e.Err) },
	})
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	pcm, wav, err := nls.OpenWAV(file)
	if err != nil {
		log.Fatal(err)
	}
	if err := tr.Start(ctx, nls.TranscriptionParams{
		SampleRate:                     wav.SampleRate,
		EnablePunctuationPrediction:    true,
		EnableInverseTextNormalization: true,
		EnableWords:                    true,
	}); err != nil {
		log.Fatal(err)
	}
	if _, err := nls.Pump(ctx, tr, pcm, nls.PumpOptions{BytesPerSecond: 2 * wav.SampleRate}); err != nil {
		log.Print(err) // Stop returns the reason
	}
	if err := tr.Stop(ctx); err != nil { // nil: every sentence has been delivered
		log.Fatal(err)
	}
	// Output:
	// sentence 1 begins
	// 200ms 你好
	// sentence 1 is 你好
}

// A ContinuousTranscriber goes on when connections break.
func ExampleContinuousTranscriber() {
	ctx := context.Background()
	ct := newClient().NewContinuousTranscriber(nls.ContinuousHandlers{
		OnSentenceEnd: func(s *nls.Sentence) { fmt.Println("sentence", s.Index, "is", s.Text) },
		OnInterrupted: func(i *nls.Interruption) { log.Printf("%v; again from %v in %v", i.Err, i.From, i.Wait) },
		OnError:       func(e *nls.ErrorEvent) { log.Println("given up:", e.Err) },
	}, nls.ContinuousOptions{FillSilence: true, GiveUpAfter: 10 * time.Minute})
	if err := ct.Start(ctx, nls.TranscriptionParams{EnablePunctuationPrediction: true}); err != nil {
		log.Fatal(err)
	}
	microphone, err := os.Open("testdata/hello.wav") // or whatever has audio for hours
	if err != nil {
		log.Fatal(err)
	}
	defer microphone.Close()
	pcm, _, err := nls.OpenWAV(microphone)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := nls.Pump(ctx, ct, pcm, nls.PumpOptions{}); err != nil {
		log.Print(err) // Stop returns the reason
	}
	if err := ct.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: sentence 1 is 你好
}

// TranscribeContinuously is a loop over what a ContinuousTranscriber hears.
func ExampleClient_TranscribeContinuously() {
	microphone, err := os.Open("testdata/hello.wav") // or os.Stdin, with arecord before it
	if err != nil {
		log.Fatal(err)
	}
	defer microphone.Close()
	options := nls.ContinuousOptions{FillSilence: true}
	for s, err := range newClient().TranscribeContinuously(context.Background(), microphone, nls.TranscriptionParams{}, nls.PumpOptions{}, options) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Index, s.Text)
	}
	// Output: 1 你好
}

// A Synthesizer turns a text into audio. Start returns when all of it is there.
func ExampleSynthesizer() {
	file, err := os.Create(filepath.Join(os.TempDir(), "nls-hello.wav"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	wav, err := nls.NewWAVWriter(file, nls.WAVFormat{SampleRate: 16000})
	if err != nil {
		log.Fatal(err)
	}
	defer wav.Close() // puts the sizes into the header
	var timing []nls.Subtitle
	var tts *nls.Synthesizer
	tts = newClient().NewSynthesizer(nls.SynthesizerHandlers{
		OnData: func(a nls.AudioEvent) {
			if _, err := wav.Write(a.Data); err != nil {
				tts.Shutdown() // allowed in a callback, as Start and Stop are not
			}
		},
		OnMetaInfo: func(m *nls.MetaInfo) { timing = m.Subtitles }, // of the text so far
	})
	err = tts.Start(context.Background(), nls.SynthesisParams{
		Text:           "你好",
		Voice:          "ailun",
		Volume:         new(80),
		EnableSubtitle: true,
	})
	for _, s := range timing {
		if !s.Sentence {
			fmt.Println(s.Begin.Round(time.Second/10), s.Text)
		}
	}
	fmt.Println("done:", err)
	// Output:
	// 200ms 你
	// 400ms 好
	// done: <nil>
}

// A StreamSynthesizer speaks text while it is being written.
func ExampleStreamSynthesizer() {
	ctx := context.Background()
	var audio bytes.Buffer
	tts := newClient().NewStreamSynthesizer(nls.StreamSynthesizerHandlers{
		OnData: func(a nls.AudioEvent) { audio.Write(a.Data) },
	})
	if err := tts.Start(ctx, nls.StreamSynthesisParams{Voice: "longxiaochun"}); err != nil {
		log.Fatal(err)
	}
	for _, piece := range []string{"床前", "明月光，", "疑是地上霜。"} { // from a language model
		if err := tts.SendText(piece); err != nil {
			log.Print(err) // Stop returns the reason
			break
		}
	}
	if err := tts.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(audio.Len() > 0)
	// Output: true
}

// SynthesizeStream is a StreamSynthesizer in one call, as a voice assistant wants it.
func ExampleClient_SynthesizeStream() {
	ctx, interrupt := context.WithTimeout(context.Background(), time.Minute)
	defer interrupt() // call it when the listener begins to speak
	answer := func(yield func(string, error) bool) {
		for _, piece := range []string{"床前", "明月光，", "疑是地上霜。"} { // from a language model
			if !yield(piece, nil) {
				return
			}
		}
	}
	var speaker bytes.Buffer
	err := newClient().SynthesizeStream(ctx, &speaker, answer, nls.StreamSynthesisParams{Voice: "longxiaochun"})
	fmt.Println(speaker.Len() > 0, err)
	// Output: true <nil>
}

// OpenWAV returns the samples alone, and says what it cannot use.
func ExampleOpenWAV() {
	file, err := os.Open("testdata/test1-8k.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	pcm, wav, err := nls.OpenWAV(file)
	if err != nil {
		log.Fatal(err)
	}
	samples, err := io.ReadAll(pcm)
	fmt.Println(wav.SampleRate, "Hz,", len(samples), "bytes,", err)

	_, _, err = nls.OpenWAV(strings.NewReader("fLaC, a lossless codec"))
	fmt.Println(err)
	// Output:
	// 8000 Hz, 98880 bytes, <nil>
	// nls: invalid audio: a FLAC file; convert it: ffmpeg -i in.flac -ac 1 -ar 16000 -c:a pcm_s16le out.wav
}

// A WAVWriter writes a header first, and on Close the sizes in it.
func ExampleWAVWriter() {
	file, err := os.Create(filepath.Join(os.TempDir(), "nls-silence.wav"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	w, err := nls.NewWAVWriter(file, nls.WAVFormat{SampleRate: 16000})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 32000)); err != nil { // a second of silence
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		log.Fatal(err)
	}
	fmt.Println(nls.ReadWAVHeader(file))
	// Output: {16000 1 16 32000} <nil>
}

// A CommonProto speaks to services that have no type of their own.
func ExampleCommonProto() {
	ctx := context.Background()
	proto := newClient().NewCommonProto("SpeechRecognizer", nls.CommonHandlers{
		OnOpen: func(*nls.OpenEvent) { fmt.Println("open") },
		Events: map[string]func(*nls.Event){
			"RecognitionStarted":   func(e *nls.Event) { fmt.Println(e.Name, e.Status) },
			"RecognitionCompleted": func(e *nls.Event) { fmt.Println(e.Name, e.Status) },
		},
	})
	if err := proto.Start(ctx, "StartRecognition", nls.CommonParams{
		Payload: map[string]any{"format": "pcm", "sample_rate": 16000},
		Started: []string{"RecognitionStarted"},
		Final:   []string{"RecognitionCompleted"},
	}); err != nil {
		log.Fatal(err)
	}
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	pcm, _, err := nls.OpenWAV(file)
	if err != nil {
		log.Fatal(err)
	}
	audio, err := io.ReadAll(pcm)
	if err != nil {
		log.Fatal(err)
	}
	if err := proto.SendBinary(audio); err != nil {
		log.Fatal(err)
	}
	if err := proto.SendText("StopRecognition", nil, nil); err != nil {
		log.Fatal(err)
	}
	if err := proto.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// open
	// RecognitionStarted 20000000
	// RecognitionCompleted 20000000
}

// Recognize is a Recognizer in one call.
func ExampleClient_Recognize() {
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	result, err := newClient().Recognize(context.Background(), file, nls.RecognitionParams{}, nls.PumpOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text)
	// Output: 你好
}

// Transcribe is a Transcriber as an iterator.
func ExampleClient_Transcribe() {
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for sentence, err := range newClient().Transcribe(context.Background(), file, nls.TranscriptionParams{}, nls.PumpOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sentence.Index, sentence.Text)
	}
	// Output: 1 你好
}

// Synthesize is a Synthesizer that writes to an io.Writer.
// RecognizeFile takes a file of up to two hours, and does not wait for as long as it
// plays.
func ExampleClient_RecognizeFile() {
	file, err := os.Open("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	result, err := newClient().RecognizeFile(context.Background(), file, nls.FileParams{EnableWords: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range result.Sentences {
		fmt.Println(s.Begin.Round(time.Second/10), s.Text, len(s.Words), "words")
	}
	// Output:
	// 0s 你好 1 words
}

// SubmitFile takes longer ones, by their URL. Here a local gateway stands in for the
// service and for the web.
func ExampleClient_WaitFile() {
	server := nlstest.NewServer(nlstest.Options{Files: http.FileServer(http.Dir("testdata"))})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Hour)
	defer cancel()
	task, err := client.SubmitFile(ctx, nls.FileTaskParams{URL: "https://files.example/hello.wav"})
	if err != nil {
		log.Fatal(err)
	}
	result, err := client.WaitFile(ctx, task)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text())
	// Output:
	// 你好
}

// Where FileTaskParams.CallbackURL is set, the service posts the result.
func ExampleParseFileCallback() {
	callback := func(w http.ResponseWriter, r *http.Request) {
		result, err := nls.ParseFileCallback(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(result.TaskID, result.Text())
	}
	for _, body := range []string{
		`{"TaskId":"t1","StatusCode":21050000,"Result":{"Sentences":[{"Text":"你好。","BeginTime":0,"EndTime":900}]}}`,
		`{"TaskId":"t2","StatusCode":41050024,"StatusText":"FILE_404_NOT_FOUND"}`,
	} {
		callback(httptest.NewRecorder(), httptest.NewRequest("POST", "/done", strings.NewReader(body)))
	}
	// Output:
	// t1 你好。
	// nls: task failed: 41050024 FILE_404_NOT_FOUND (task t2)
}

func ExampleClient_Synthesize() {
	var wav bytes.Buffer
	params := nls.SynthesisParams{Text: "你好", Format: nls.FormatWAV, SampleRate: 8000}
	if err := newClient().Synthesize(context.Background(), &wav, params); err != nil {
		log.Fatal(err)
	}
	header, err := nls.ReadWAVHeader(&wav)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.SampleRate, "Hz,", wav.Len() > 0)
	// Output: 8000 Hz, true
}

// A Config shows no secret, however it is printed.
func ExampleNewClient() {
	cfg := nls.Config{
		Region:          "cn-shanghai",
		AppKey:          "AppKeyExample01",
		AccessKeyID:     "AccessKeyIDExample",
		AccessKeySecret: "AccessKeySecretExample",
	}
	if _, err := nls.NewClient(cfg); err != nil { // no I/O yet
		log.Fatal(err)
	}
	fmt.Println(cfg)

	cfg.Region = "cn-nowhere"
	_, err := nls.NewClient(cfg)
	fmt.Println(err)
	// Output:
	// nls.Config{URL:"" Region:"cn-shanghai" AppKey:"AppKeyExample01" Credentials:AccessKey}
	// nls: invalid Region "cn-nowhere": must be cn-shanghai, cn-beijing, cn-shenzhen or ap-southeast-1
}

// counter is an AudioSender, such as a test of your own code may want.
type counter struct{ chunks, bytes int }

func (c *counter) SendAudio(data []byte) error {
	c.chunks++
	c.bytes += len(data)
	return nil
}

// Pump sends 100 ms of audio at a time, at the speed of speech unless told
// otherwise.
func ExamplePump() {
	audio := strings.NewReader(strings.Repeat("..", 16000)) // one second
	var dst counter
	sent, err := nls.Pump(context.Background(), &dst, audio, nls.PumpOptions{Speed: -1})
	fmt.Println(sent, err, dst)
	// Output: 32000 <nil> {10 32000}
}

// ReadWAVHeader leaves the reader at the first sample.
func ExampleReadWAVHeader() {
	file, err := os.Open("testdata/test1-8k.wav")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	wav, err := nls.ReadWAVHeader(file)
	if err != nil {
		log.Fatal(err)
	}
	samples, err := io.ReadAll(file)
	fmt.Println(wav.SampleRate, wav.Channels, wav.BitsPerSample, int64(len(samples)) == wav.DataSize, err)
	// Output: 8000 1 16 true <nil>
}

// At the end of a process the HTTP server stops taking requests, and what has begun is
// finished, for half a minute at most.
func ExampleClient_Drain() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	cfg := nls.ConfigFromEnv()
	cfg.Limiter = nls.NewLimiter(nls.Limits{Each: 20}) // what the account may have
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: "localhost:0"} // its handlers use client
	go server.ListenAndServe()
	time.AfterFunc(10*time.Millisecond, stop) // a program waits for its signal
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println(server.Shutdown(last), client.Drain(last))
	// Output: <nil> <nil>
}

// A task cannot be resumed, but after some failures a new one may do better.
func ExampleRetry() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client := newClient()
	var result *nls.RecognitionResult
	err := nls.Retry(ctx, func(ctx context.Context) error {
		file, err := os.Open("testdata/hello.wav")
		if err != nil {
			return err
		}
		defer file.Close()
		result, err = client.Recognize(ctx, file, nls.RecognitionParams{}, nls.PumpOptions{})
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text)
	// Output: 你好
}

// What the service refuses has a status, and a task ID to quote to its support.
func ExampleTaskError() {
	cfg := nls.ConfigFromEnv()
	cfg.AppKey = "AppKeyOfNobody"
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	err = client.NewTranscriber(nls.TranscriberHandlers{}).Start(context.Background(), nls.TranscriptionParams{})
	if task, ok := errors.AsType[*nls.TaskError](err); ok {
		fmt.Println(task.Status == nls.StatusAppKeyNotExist, task.StatusText)
	}
	fmt.Println(nls.StatusCode(err), len(nls.TaskID(err)), nls.Retryable(err), errors.Is(err, nls.ErrAccessDenied))
	// Output:
	// true Meta:APPKEY_NOT_EXIST:Appkey not exist!
	// 40020105 32 false false
}

// Fields that this SDK does not know are in the payload.
func ExampleEvent_Payload() {
	var confidence struct {
		Value float64 `json:"confidence"`
	}
	tr := newClient().NewTranscriber(nls.TranscriberHandlers{
		OnSentenceEnd: func(s *nls.Sentence) {
			if err := s.Payload(&confidence); err != nil {
				log.Print(err)
			}
		},
	})
	if err := tr.Start(context.Background(), nls.TranscriptionParams{Format: nls.FormatWAV}); err != nil {
		log.Fatal(err)
	}
	audio, err := os.ReadFile("testdata/hello.wav")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(tr.SendAudio(audio), tr.Stop(context.Background())); err != nil {
		log.Fatal(err)
	}
	fmt.Println(confidence.Value > 0.5)
	// Output: true
}

// A Trace sees what happens on the wire.
func ExampleWithTrace() {
	ctx := nls.WithTrace(context.Background(), &nls.Trace{
		DialDone:    func(d nls.TraceDial) { fmt.Println("dial", d.StatusCode, d.Err) },
		Command:     func(m nls.TraceMessage) { fmt.Println("sent", m.Name) },
		Event:       func(m nls.TraceMessage) { fmt.Println("received", m.Name) },
		SessionDone: func(s nls.TraceSession) { fmt.Println("done", errors.Is(s.Err, nls.ErrShutdown)) },
	})
	rec := newClient().NewRecognizer(nls.RecognizerHandlers{})
	if err := rec.Start(ctx, nls.RecognitionParams{}); err != nil {
		log.Fatal(err)
	}
	rec.Shutdown()
	<-rec.Done()
	// Output:
	// dial 101 <nil>
	// sent StartRecognition
	// received RecognitionStarted
	// done true
}

// The role of a pod or of an instance, or a profile file: wherever a key is found, it is
// asked for again before it expires. docs/credentials.md says what to set up.
func ExampleDefaultCredentials() {
	cfg := nls.ConfigFromEnv()
	cfg.Credentials = nls.DefaultCredentials()
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("done:", client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"}))
	// Output: done: <nil>
}

// Keys that something else renews, here in a file of a vault.
func ExampleCredentialSourceFunc() {
	cfg := nls.ConfigFromEnv()
	cfg.Credentials = nls.CredentialSourceFunc(func(ctx context.Context) (nls.AccessKey, error) {
		var key nls.AccessKey
		text, err := os.ReadFile("/vault/secrets/nls") // "id secret sts"
		if err == nil {
			_, err = fmt.Sscan(string(text), &key.ID, &key.Secret, &key.SecurityToken)
		}
		return key, err
	})
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("done:", client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"}))
	// Output: done: <nil>
}

// A TokenSource of your own: here a service of yours that holds the access key.
func ExampleCacheTokens() {
	source := nls.TokenSourceFunc(func(ctx context.Context) (*nls.Token, error) {
		fmt.Println("asking for a token")
		return &nls.Token{Value: os.Getenv("NLS_TOKEN"), Expiry: time.Now().Add(24 * time.Hour)}, nil
	})
	cfg := nls.ConfigFromEnv()
	cfg.TokenSource = nls.CacheTokens(source, 5*time.Minute)
	client, err := nls.NewClient(cfg)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if err := client.Synthesize(context.Background(), io.Discard, nls.SynthesisParams{Text: "好"}); err != nil {
			log.Fatal(err)
		}
		fmt.Println("spoken")
	}
	// Output:
	// asking for a token
	// spoken
	// spoken
	// spoken
}
