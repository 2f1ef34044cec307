package suite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// recordingOf runs use against a gateway and returns what Config.Record has.
func recordingOf(t *testing.T, opts nlstest.Options, audio bool, use func(*testing.T, *nls.Client)) []byte {
	t.Helper()
	var recording bytes.Buffer
	inBubble(t, opts, func(t *testing.T, server *nlstest.Server) {
		use(t, clientOf(t, server, func(c *nls.Config) {
			c.URL += "?token=" + c.Token
			c.Record, c.RecordAudio = &recording, audio
		}))
	})
	return recording.Bytes()
}

// replay runs use against a replay of recording and returns the departures.
func replay(t *testing.T, recording []byte, atOnce bool, use func(*testing.T, *nls.Client)) (departures []string) {
	t.Helper()
	spokenAudio()
	synctest.Test(t, func(t *testing.T) {
		gateway, err := nlstest.Replay(bytes.NewReader(recording), nlstest.ReplayOptions{Pipe: true, AtOnce: atOnce})
		if err != nil {
			t.Fatal(err)
		}
		defer gateway.Close()
		use(t, clientOf(t, gateway.Server))
		departures = gateway.Departures()
	})
	return departures
}

// shown is what a session has shown its caller.
func shown(s *subject, err error) string {
	return fmt.Sprintf("%v %s %q %x", err, s.called(), s.text.String(), s.audio)
}

func TestARecordingReplayedGivesTheSameEvents(t *testing.T) {
	t.Parallel()
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			var want, got string
			var took [2]time.Duration
			recording := recordingOf(t, nlstest.Options{ReplyDelay: time.Second}, true, func(t *testing.T, c *nls.Client) {
				s, start := p.new(c), time.Now()
				want = shown(s, s.run(t.Context()))
				took[0] = time.Since(start)
			})
			for _, secret := range []string{"nlstest-token", "nlstest-access-key-secret"} {
				if bytes.Contains(recording, []byte(secret)) {
					t.Errorf("the recording has %s", secret)
				}
			}
			departures := replay(t, recording, false, func(t *testing.T, c *nls.Client) {
				s, start := p.new(c), time.Now()
				got = shown(s, s.run(t.Context()))
				took[1] = time.Since(start)
			})
			if got != want {
				t.Errorf("got %.300s, recorded %.300s", got, want)
			}
			if len(departures) > 0 {
				t.Error(departures)
			}
			if took[0] != took[1] {
				t.Errorf("took %v, recorded %v", took[1], took[0])
			}
			if departures := replay(t, recording, true, func(t *testing.T, c *nls.Client) {
				s, start := p.new(c), time.Now()
				got = shown(s, s.run(t.Context()))
				took[1] = time.Since(start)
			}); got != want || len(departures) > 0 || took[1] >= time.Second {
				t.Errorf("at once: after %v %.300s, recorded %.300s; %s", took[1], got, want, departures)
			}
		})
	}
}

func TestAChangedEventOfARecordingIsNoticed(t *testing.T) {
	t.Parallel()
	use := func(text *string) func(*testing.T, *nls.Client) {
		return func(t *testing.T, c *nls.Client) {
			s := newRecognizerSubject(c)
			if err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			*text = s.text.String()
		}
	}
	var text string
	recording := recordingOf(t, nlstest.Options{}, false, use(&text))
	changed := bytes.ReplaceAll(recording, []byte(text), []byte("something else"))
	if replay(t, changed, true, use(&text)); text != "something else" {
		t.Errorf("heard %q", text)
	}
}

func TestReplaySaysWhereAClientDeparts(t *testing.T) {
	t.Parallel()
	recording := recordingOf(t, nlstest.Options{}, false, func(t *testing.T, c *nls.Client) {
		if err := newRecognizerSubject(c).run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	for _, test := range []struct {
		name, want string
		use        func(t *testing.T, c *nls.Client)
	}{
		{"nothing is started", "session 1 (SpeechRecognizer.StartRecognition) was not started", func(*testing.T, *nls.Client) {}},
		{"another product", "SpeechTranscriber.StartTranscription: no session of the recording", func(t *testing.T, c *nls.Client) {
			err := newTranscriberSubject(c).start(t.Context())
			if e, ok := errors.AsType[*nls.CloseError](err); !ok || e.Code != 1008 {
				t.Error(err)
			}
		}},
		{"another parameter", `line 1: StartRecognition with payload`, func(t *testing.T, c *nls.Client) {
			r := c.NewRecognizer(nls.RecognizerHandlers{})
			if err := r.Start(t.Context(), nls.RecognitionParams{SampleRate: 8000}); err != nil {
				t.Fatal(err)
			}
			r.Shutdown()
		}},
		{"no audio", "StopRecognition came instead of", func(t *testing.T, c *nls.Client) {
			s := newRecognizerSubject(c)
			if err := errors.Join(s.start(t.Context()), s.stop(t.Context())); err != nil {
				t.Error(err)
			}
		}},
		{"other audio", "other audio", func(t *testing.T, c *nls.Client) {
			s := newRecognizerSubject(c)
			other := slices.Clone(spokenAudio())
			other[0]++
			send := s.object.(*nls.Recognizer).SendAudio
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for part := range slices.Chunk(other, 3200) {
				if err := send(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.stop(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		{"more audio", "2 bytes of audio came before StopRecognition", func(t *testing.T, c *nls.Client) {
			s := newRecognizerSubject(c)
			send := s.object.(*nls.Recognizer).SendAudio
			if err := errors.Join(s.start(t.Context()), s.send(), send([]byte{0, 0}), s.stop(t.Context())); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			departures := replay(t, recording, true, func(t *testing.T, c *nls.Client) {
				test.use(t, c)
				synctest.Wait()
			})
			if !slices.ContainsFunc(departures, func(d string) bool { return strings.Contains(d, test.want) }) {
				t.Errorf("%q, want %q", departures, test.want)
			}
		})
	}
}

func TestARecordedFailureFailsAgain(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{
		"taskfailed@after-start,code=50000000,text=busy", "close@after-start,code=1011", "close@after-start", "eof@after-start",
	} {
		t.Run(fault, func(t *testing.T) {
			var want, got error
			run := func(err *error) func(*testing.T, *nls.Client) {
				return func(t *testing.T, c *nls.Client) {
					s := newTranscriberSubject(c)
					if *err = s.start(t.Context()); *err == nil {
						*err = s.object.(*nls.Transcriber).Session().Wait(t.Context())
					}
				}
			}
			recording := recordingOf(t, nlstest.Options{Fault: faultAlways(fault)}, false, run(&want))
			departures := replay(t, recording, false, run(&got))
			if want == nil || got == nil || describe(want) != describe(got) || nls.StatusCode(want) != nls.StatusCode(got) || len(departures) > 0 {
				t.Errorf("%v, recorded %v; departures %v", got, want, departures)
			}
		})
	}
}

// recordTo is a Config.Record.
type recordTo func([]byte) (int, error)

func (f recordTo) Write(b []byte) (int, error) { return f(b) }

func TestARecordThatFailsHarmsNoSession(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var writes int
		client := clientOf(t, server, func(c *nls.Config) {
			c.Record = recordTo(func([]byte) (int, error) { writes++; return 0, errors.New("disk full") })
		})
		if err := newRecognizerSubject(client).run(t.Context()); err != nil || writes != 1 {
			t.Errorf("%v after %d writes", err, writes)
		}
	})
}

// A Record that never returns, as on a disk that hangs, ends the recording and no
// session.
func TestARecordThatHangsHoldsUpNoSession(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"hangs", "exits"} {
		inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
			release := make(chan struct{})
			writes := 0
			var logged atomic.Int32
			client := clientOf(t, server, func(c *nls.Config) {
				c.Logger = slog.New(&logbook{level: slog.LevelWarn, handle: func(r slog.Record) {
					if r.Message == "nls: recording has ended" {
						logged.Add(1)
					}
				}})
				c.Record = recordTo(func(b []byte) (int, error) {
					if writes++; writes == 3 {
						if how == "exits" {
							runtime.Goexit()
						}
						<-release
					}
					return len(b), nil
				})
			})
			for range 3 {
				begin := time.Now()
				if err := newRecognizerSubject(client).run(t.Context()); err != nil {
					t.Errorf("%s: %v", how, err)
				}
				if took := time.Since(begin); took > 20*time.Second {
					t.Errorf("%s: a session took %v", how, took)
				}
			}
			close(release)
			synctest.Wait()
			if logged.Load() != 1 || writes != 3 {
				t.Errorf("%s: %d warnings after %d writes", how, logged.Load(), writes)
			}
		})
	}
}

// What a session has recorded is written when it is done, however slow Record is.
func TestARecordingIsCompleteWhenTheSessionIsDone(t *testing.T) {
	t.Parallel()
	inBubble(t, nlstest.Options{}, func(t *testing.T, server *nlstest.Server) {
		var recording bytes.Buffer
		client := clientOf(t, server, func(c *nls.Config) {
			c.Record = recordTo(func(b []byte) (int, error) {
				time.Sleep(50 * time.Millisecond)
				return recording.Write(b)
			})
		})
		if err := newRecognizerSubject(client).run(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSpace(recording.Bytes()), []byte("\n"))
		if last := lines[len(lines)-1]; !bytes.Contains(last, []byte(`"kind":"end"`)) {
			t.Errorf("the last line is %s", last)
		}
	})
}

func TestTheLinesOfManySessionsDoNotMix(t *testing.T) {
	t.Parallel()
	recording := recordingOf(t, nlstest.Options{}, true, func(t *testing.T, c *nls.Client) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := newSynthesizerSubject(c).run(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
	if departures := replay(t, recording, true, func(t *testing.T, c *nls.Client) {
		for range 20 {
			if err := newSynthesizerSubject(c).run(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}); len(departures) > 0 {
		t.Error(departures)
	}
	for line := range bytes.Lines(recording) {
		if !bytes.HasPrefix(line, []byte(`{"task_id"`)) || !bytes.HasSuffix(line, []byte("}\n")) {
			t.Fatalf("line %q", line)
		}
	}
}

func TestReplayRefusesWhatIsNoRecording(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "{}", `{"task_id":"a","kind":"receive"}`, `{"task_id":"a","kind":"send","binary":true}`} {
		if _, err := nlstest.Replay(strings.NewReader(text), nlstest.ReplayOptions{}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
