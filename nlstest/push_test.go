package nlstest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

func TestPushTakesHalfAFrame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		text := strings.Repeat("x", maxFrame/2-2) // and the quotes
		if err := s.Push(c.taskID, "X", text); err != nil {
			t.Error(err)
		}
		c.want("X")
		want := fmt.Sprintf("nlstest: push: a payload of %d bytes is more than %d", 32<<10+1, 32<<10)
		if err := s.Push(c.taskID, "X", text+"x"); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// A Server remembers no task that is over.
func TestTasksThatAreOverAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := start(t, Options{Pipe: true, Engine: fakeEngine{}})
		c := dial(t, s, "SpeechTranscriber", "")
		enter(c, "working")
		c.send("StopTranscription", "")
		c.want("TranscriptionCompleted")
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.tasks) != 0 {
			t.Errorf("%d tasks", len(s.tasks))
		}
	})
}

// A task may end, and another begin, before the connection comes to what is pushed.
func TestPushThatComesTooLateFails(t *testing.T) {
	for name, c := range map[string]*conn{"no task": {taskID: "a"}, "another task": {task: &transcriber{}, taskID: "b"}} {
		if err := c.push(push{taskID: "a", name: "X"}); err == nil || err.Error() != `nlstest: push: no task "a" runs` {
			t.Errorf("%s: %v", name, err)
		}
	}
}
