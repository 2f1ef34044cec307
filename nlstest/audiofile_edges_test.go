package nlstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// channelsEngine keeps what each of its recognitions hears. The first has a sentence at
// 2 s, the second one at 1 s, and so on.
type channelsEngine struct {
	fakeEngine
	heard  []*bytes.Buffer
	closed int
	asked  []RecognitionRequest
	over   context.Context
	fails  error // of Write
}

func (e *channelsEngine) Recognize(ctx context.Context, q RecognitionRequest) (Recognition, error) {
	e.asked, e.over = append(e.asked, q), ctx
	b := new(bytes.Buffer)
	e.heard = append(e.heard, b)
	at := time.Duration(3-len(e.heard)) * time.Second
	return &toldRecognition{
		write: func(pcm []byte) ([]Hypothesis, error) {
			b.Write(pcm)
			return []Hypothesis{{Text: "not yet"}, {Final: true}}, e.fails
		},
		finish: func() ([]Hypothesis, error) { return []Hypothesis{{Text: "x", Begin: at, End: at, Final: true}}, nil },
		close:  func() { e.closed++ },
	}, nil
}

// multi is a WAV file of n channels at 8 kHz, with the values 1 to n in each moment.
func multi(n, moments, bits int) []byte {
	var pcm []byte
	for range moments {
		for i := range n {
			pcm = append(pcm, byte(i+1), byte(i+101))
		}
	}
	f := wavFile(8000, pcm)
	f[22], f[34] = byte(n), byte(bits)
	return f
}

// Each channel of a file is heard by itself, wherever the reads are cut, and the sentences
// of all stand in the order of time.
func TestEachChannelIsHeardByItself(t *testing.T) {
	for name, cut := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
		for _, n := range []int{1, 2, 8} {
			for _, first := range []bool{false, true} {
				e := &channelsEngine{}
				sentences, length, err := hear(t.Context(), e, cut(bytes.NewReader(append(multi(n, 80, 16), 7))), hearing{firstChannel: first, silence: 300})
				want := n
				if first {
					want = 1
				}
				if err != nil || length != 10*time.Millisecond || len(e.heard) != want || len(sentences) != want || e.closed != want || e.over.Err() == nil {
					t.Fatalf("%s, %d channels: %v, %v, %d heard, %d sentences, %d closed", name, n, err, length, len(e.heard), len(sentences), e.closed)
				}
				for i, b := range e.heard {
					if !bytes.Equal(b.Bytes(), bytes.Repeat([]byte{byte(i + 1), byte(i + 101)}, 80)) {
						t.Errorf("%s: channel %d of %d is not what was said", name, i, n)
					}
					if q := (RecognitionRequest{SampleRate: 8000, MaxSilence: 300 * time.Millisecond}); e.asked[i] != q {
						t.Errorf("asked %+v", e.asked[i])
					}
					if s := sentences[i]; s.channel != want-1-i || i > 0 && s.Begin <= sentences[i-1].Begin {
						t.Errorf("sentence %d is of channel %d at %v", i, s.channel, s.Begin)
					}
				}
			}
		}
	}
}

func TestFilesThatCannotBeHeard(t *testing.T) {
	for _, row := range []struct {
		name string
		file []byte
		rate bool // any
		err  error
		want error
	}{
		{"no channel", multi(0, 1, 16), false, nil, errNoDecoder},
		{"nine channels", multi(9, 1, 16), false, nil, errNoDecoder},
		{"8 bits", multi(1, 1, 8), false, nil, errNoDecoder},
		{"half a sample", multi(1, 1, 16)[:45], false, nil, errEmptyAudio},
		{"an engine that fails", multi(1, 1, 16), false, errEngine, errEngineFailed},
		{"44.1 kHz", wavFile(44100, make([]byte, 2)), false, nil, errBadRate},
		{"44.1 kHz, any rate", wavFile(44100, make([]byte, 2)), true, nil, nil},
		{"8 kHz", multi(1, 1, 16), false, nil, nil},
		{"16 kHz", wavFile(16000, make([]byte, 2)), false, nil, nil},
	} {
		if _, _, err := hear(t.Context(), &channelsEngine{fails: row.err}, bytes.NewReader(row.file), hearing{anyRate: row.rate}); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	engine := &channelsEngine{fails: errEngine}
	cancel()
	if _, _, err := hear(ctx, engine, bytes.NewReader(multi(1, 1, 16)), hearing{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestMarksGoWithTheWordBeforeThem(t *testing.T) {
	for heard, want := range map[string]string{
		"我|好": "我+ 好+", "你|，|好|。": "你+， 好+。", "你好，|吗？！": "你好+， 吗+？！", "，|你": "你+", "好|。|”|！": "好+。 ”+！", "": "",
	} {
		var words []nls.Word
		for text := range strings.SplitSeq(heard, "|") {
			words = append(words, nls.Word{Text: text})
		}
		var got []string
		for _, w := range punctuatedWords(words, false) {
			got = append(got, w.Text+"+"+w.punc)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", heard, got, want)
		}
	}
}

// A handler of Options.Files sees a request as a server does, and hears of its end.
func TestFilesAreAskedForAsAServerIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var seen string
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			seen = fmt.Sprintf("%s %s %s %s %q %v", r.Method, r.Host, r.RequestURI, r.RemoteAddr, body, err)
		})})
		if got := submit(t, s, `{"appkey":"nlstest-appkey","file_link":"https://a.example/b?c=d"}`)["StatusText"]; got != "FILE_PARSE_FAILED" { // 200, and nothing in it
			t.Errorf("got %v", got)
		}
		if want := `GET a.example /b?c=d 192.0.2.1:1234 "" <nil>`; seen != want {
			t.Errorf("got  %s\nwant %s", seen, want)
		}
	})
	inBubble(t, func(t *testing.T) {
		ended := false
		s := start(t, Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("ID3 is all that is read of it"))
			<-r.Context().Done()
			ended = true
		})})
		submit(t, s, `{"appkey":"nlstest-appkey","file_link":"https://a.example/b"}`)
		synctest.Wait()
		if !ended {
			t.Error("nobody told the handler that its file is not read any more")
		}
	})
}

// A download ends with the one who waits for it, before the answer and in the middle.
func TestADownloadEndsWithItsReader(t *testing.T) {
	for _, begun := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			ended := false
			s := NewServer(Options{Pipe: true, ReplyDelay: -1, Engine: fakeEngine{}, Files: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if begun {
					w.Write(make([]byte, 640))
				}
				<-r.Context().Done()
				ended = true
			})})
			submit(t, s, `{"appkey":"nlstest-appkey","file_link":"https://a.example/b"}`)
			s.Close()
			if !ended {
				t.Error("the handler goes on after Close")
			}
		})
	}
}
