package nlstest

import (
	"encoding/json"
	"fmt"
)

// push is an event of Server.Push.
type push struct {
	taskID, name string
	payload      json.RawMessage // nil for none
	err          chan error      // has room for the answer
}

// Push sends an event of the test's own to a task that runs: its namespace and
// taskID, the given name, and payload as JSON, none if nil. The Server itself takes no
// notice of it, whatever its name. Push returns when the event has been written; not
// so from OnFrame or Fault, which hold the connection up, so do not call it there. It
// fails where no such task runs, the connection is lost, or the payload is no JSON or
// too long for a frame.
func (s *Server) Push(taskID, name string, payload any) error {
	p := push{taskID: taskID, name: name, err: make(chan error, 1)}
	if payload != nil {
		var err error
		if p.payload, err = json.Marshal(payload); err != nil {
			return fmt.Errorf("nlstest: push: %w", err)
		}
		if len(p.payload) > maxFrame/2 {
			return fmt.Errorf("nlstest: push: a payload of %d bytes is more than %d", len(p.payload), maxFrame/2)
		}
	}
	s.mu.Lock()
	c := s.tasks[taskID]
	s.mu.Unlock()
	if c == nil {
		return noSuchTask(taskID)
	}
	select {
	case c.pushed <- p:
	case <-c.done:
		return noSuchTask(taskID)
	}
	select {
	case err := <-p.err:
		return err
	case <-c.done: // over the event itself, perhaps
		return lostConnection(taskID)
	}
}

func noSuchTask(taskID string) error { return fmt.Errorf("nlstest: push: no task %q runs", taskID) }

func lostConnection(taskID string) error {
	return fmt.Errorf("nlstest: push: task %s: the connection is lost", taskID)
}

// push sends an event of Server.Push.
func (c *conn) push(p push) error {
	if c.task == nil || c.taskID != p.taskID {
		return noSuchTask(p.taskID)
	}
	m := c.event(p.name, nil)
	if p.payload != nil {
		m.payload(p.payload)
	}
	c.checker = nil // the test knows what it does
	c.write(m)
	if c.over {
		return lostConnection(p.taskID)
	}
	return nil
}

// register and unregister say which task runs on c.
func (s *Server) register(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[c.taskID] = c
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[c.taskID] == c {
		delete(s.tasks, c.taskID)
	}
}
