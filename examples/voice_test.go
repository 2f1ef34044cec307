package examples_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// serve starts examples/voice and returns where it listens.
func serve(t *testing.T, cmd *exec.Cmd) (url string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "open "))
}

// ask asks a question and returns the answer, whose audio still comes.
func ask(t *testing.T, url, question, session string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"speak?session="+session+"&q="+strings.ReplaceAll(question, " ", "+"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// heard is the text of a WAV file.
func heard(t *testing.T, wav []byte) string {
	t.Helper()
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	client, err := nls.NewClient(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	result, err := client.Recognize(t.Context(), bytes.NewReader(wav), nls.RecognitionParams{EnablePunctuationPrediction: true}, nls.PumpOptions{Speed: -1})
	if err != nil {
		t.Fatal(err)
	}
	return result.Text
}

func TestVoiceSpeaksWhileTextIsWritten(t *testing.T) {
	t.Parallel()
	cmd := command(t, "voice")
	url := serve(t, cmd)
	if resp, err := http.Get(url); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	} else {
		page, _ := io.ReadAll(resp.Body)
		if resp.Body.Close(); !bytes.Contains(page, []byte("<form")) {
			t.Errorf("the page is %q", page)
		}
	}
	resp := ask(t, url, "你好。今天天气怎么样？", "1")
	wav, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != "audio/wav" {
		t.Fatal(err, resp)
	}
	if got := heard(t, wav); got != "你好。今天天气怎么样？" {
		t.Errorf("heard %q", got)
	}
	if runtime.GOOS == "windows" {
		return
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func TestVoiceIsInterruptedByTheNextQuestion(t *testing.T) {
	t.Parallel()
	model := newModel(t)
	cmd := command(t, "voice", "-llm", model.URL)
	url := serve(t, cmd)
	first := ask(t, url, "endless", "1")
	if _, err := io.ReadFull(first.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	other := ask(t, url, "endless", "2") // somebody else, who hears on
	second := ask(t, url, "hello", "1")
	wav, err := io.ReadAll(second.Body)
	if got := heard(t, wav); err != nil || got != "You said: hello." {
		t.Errorf("heard %q, %v", got, err)
	}
	if _, err := io.ReadAll(first.Body); err == nil {
		t.Error("the first answer is taken for whole")
	}
	if got := <-model.gone; got != "endless" {
		t.Errorf("the model writes on, but for %q", got)
	}
	if _, err := io.ReadFull(other.Body, make([]byte, 1000)); err != nil {
		t.Error("the other listener:", err)
	}
	other.Body.Close() // goes away
	select {
	case <-model.gone:
	case <-time.After(20 * time.Second):
		t.Error("the model writes on for a listener who is gone")
	}
}

// languageModel is an API like OpenAI's.
type languageModel struct {
	*httptest.Server
	gone chan string // the questions whose listeners have gone
}

func newModel(t *testing.T) *languageModel {
	m := &languageModel{gone: make(chan string, 10)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model    string
			Stream   bool
			Messages []struct{ Role, Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !body.Stream || r.URL.Path != "/chat/completions" ||
			len(body.Messages) != 1 || body.Messages[0].Role != "user" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		say := func(text string) {
			data, _ := json.Marshal(text)
			fmt.Fprintf(w, ": a comment\n\ndata: {\"choices\":[{\"delta\":{\"content\":%s}}]}\n\n", data)
			w.(http.Flusher).Flush()
		}
		switch question := body.Messages[0].Content; question {
		case "endless":
			for {
				say("再说一句话。")
				select {
				case <-r.Context().Done():
					m.gone <- question
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		case "broken":
			say("It breaks ")
			say("here. ")
		case "who":
			say(body.Model + " with " + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			io.WriteString(w, "data: [DONE]\n\n")
		case "forbidden":
			http.Error(w, "no", http.StatusUnauthorized)
		default:
			say("You said: ")
			say(question + ".")
			io.WriteString(w, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n")
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func TestVoiceAsksAnyModelAndTellsItsErrors(t *testing.T) {
	t.Parallel()
	model := newModel(t)
	cmd := command(t, "voice", "-llm", model.URL+"/", "-model", "parrot")
	cmd.Env = append(cmd.Env, "OPENAI_API_KEY=key")
	url := serve(t, cmd)
	wav, err := io.ReadAll(ask(t, url, "who", "1").Body)
	if got := heard(t, wav); err != nil || got != "parrot with key" {
		t.Errorf("heard %q, %v", got, err)
	}
	resp := ask(t, url, "forbidden", "1")
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), "HTTP 401 Unauthorized; check -llm, -model and OPENAI_API_KEY") {
		t.Errorf("%s: %s", resp.Status, text)
	}
	broken := ask(t, url, "broken", "1")
	if _, err := io.ReadAll(broken.Body); err == nil && broken.StatusCode == http.StatusOK {
		t.Error("an answer that was cut is taken for whole")
	}
}

func TestVoiceEndsWithAnErrorWhereItCannotListen(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-addr", "nonsense"}, {"x"}} {
		if _, stderr, code := run(t, command(t, "voice", args...)); code != 1 || strings.Count(stderr, "error: ") != 1 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
	server := nlstest.NewServer(nlstest.Options{})
	defer server.Close()
	url := serve(t, command(t, "voice", arguments(server.Config(), "-token", "made-up")...))
	resp := ask(t, url, "x", "1")
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), "HTTP 403") {
		t.Errorf("%s: %s", resp.Status, text)
	}
}
