// Command goclient runs one session with the official Go SDK and prints what the
// SDK says about it, one JSON object a line. It is a process of its own, since
// that SDK ends its process when it is surprised.
//
// Its argument is a job as JSON; see type job in the tests of the directory above.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	sdk "github.com/aliyun/alibabacloud-nls-go-sdk"
)

type job struct {
	Product, URL, Token, AppKey string

	Audio   string         // file to send
	Chunk   int            // bytes in a message
	Control map[string]any // parameters to change in the middle of the audio
	Stop    map[string]any // Node only: this SDK's Stop takes none
	Text    string         // to speak
	Out     string         // file for the audio received
	Params  map[string]any // of the Start
}

// patience is how long anything may take.
const patience = 20 * time.Second

func main() {
	var j job
	if err := json.Unmarshal([]byte(os.Args[1]), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(&j); err != nil {
		say("error", err.Error())
	}
}

var out = json.NewEncoder(os.Stdout)

func say(name, message string) {
	out.Encode(map[string]string{"name": name, "message": message})
}

// session knows what the callbacks of a session have told. The SDK calls them one
// after the other.
type session struct {
	told map[string]chan struct{} // by name, closed when it has been called
}

func (s *session) on(name string) func(string, any) {
	told := make(chan struct{})
	s.told[name] = told
	var once sync.Once
	return func(message string, _ any) {
		say(name, message)
		once.Do(func() { close(told) })
	}
}

func (s *session) closed(any) { say("closed", "") }

// await waits for the SDK to signal, which it forgets if its callback comes while
// it still sends, so that the callback counts too.
func (s *session) await(name string, signal chan bool, err error) (bool, error) {
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	select {
	case ok := <-signal:
		return ok, nil
	case <-s.told[name]:
		return true, nil
	case <-s.told["failed"]:
		return false, nil
	case <-time.After(patience):
		return false, fmt.Errorf("%s: no answer", name)
	}
}

// recognizer is what the two products that take audio have in common.
type recognizer interface {
	SendAudioData([]byte) error
	Stop() (chan bool, error)
	Shutdown()
}

func run(j *job) error {
	config := sdk.NewConnectionConfigWithToken(j.URL, j.AppKey, j.Token)
	logger := sdk.NewNlsLogger(io.Discard, "", 0)
	s := &session{told: map[string]chan struct{}{}}
	switch j.Product {
	case "recognition":
		p := sdk.DefaultSpeechRecognitionParam()
		r, err := sdk.NewSpeechRecognition(config, logger,
			s.on("failed"), s.on("started"), s.on("changed"), s.on("completed"), s.closed, nil)
		if err != nil {
			return err
		}
		ready, err := r.Start(p, j.Params)
		return s.listen(j, r, nil, ready, err)
	case "transcription":
		p := sdk.DefaultSpeechTranscriptionParam()
		r, err := sdk.NewSpeechTranscription(config, logger,
			s.on("failed"), s.on("started"), s.on("begin"), s.on("end"), s.on("changed"), s.on("completed"), s.closed, nil)
		if err != nil {
			return err
		}
		ready, err := r.Start(p, j.Params)
		return s.listen(j, r, r.Ctrl, ready, err)
	case "synthesis", "long":
		p := sdk.DefaultSpeechSynthesisParam()
		f, err := os.Create(j.Out)
		if err != nil {
			return err
		}
		defer f.Close()
		var writeErr error
		audio := func(data []byte, _ any) {
			if _, err := f.Write(data); err != nil {
				writeErr = err
			}
		}
		t, err := sdk.NewSpeechSynthesis(config, logger, j.Product == "long",
			s.on("failed"), audio, s.on("meta"), s.on("completed"), s.closed, nil)
		if err != nil {
			return err
		}
		done, err := t.Start(j.Text, p, j.Params)
		if _, err := s.await("completed", done, err); err != nil {
			return err
		}
		t.Shutdown()
		return writeErr
	}
	return fmt.Errorf("no product %q", j.Product)
}

// listen sends the audio of the job.
func (s *session) listen(j *job, r recognizer, control func(map[string]any) error, ready chan bool, err error) error {
	if ok, err := s.await("started", ready, err); err != nil || !ok {
		return err
	}
	audio, err := os.ReadFile(j.Audio)
	if err != nil {
		return err
	}
	for sent := 0; sent < len(audio); sent += j.Chunk {
		if j.Control != nil && sent*2 >= len(audio) {
			if err := control(j.Control); err != nil {
				return fmt.Errorf("control: %w", err)
			}
			j.Control = nil
		}
		if err := r.SendAudioData(audio[sent:min(sent+j.Chunk, len(audio))]); err != nil {
			return fmt.Errorf("audio: %w", err)
		}
	}
	done, err := r.Stop()
	if _, err := s.await("completed", done, err); err != nil {
		return err
	}
	r.Shutdown()
	return nil
}
