package nls

import (
	"context"
	"errors"
	"math"
	"net"
	"testing"
	"time"
)

func TestWhichContinuousOptionsAreRefused(t *testing.T) {
	for _, c := range []struct {
		o     ContinuousOptions
		param string
	}{
		{ContinuousOptions{}, ""},
		{ContinuousOptions{Buffer: 24 * time.Hour, CatchUp: 1, GiveUpAfter: -1, MaxSession: time.Hour}, ""},
		{ContinuousOptions{Buffer: 24*time.Hour + 1}, "Buffer"},
		{ContinuousOptions{Buffer: -1}, "Buffer"},
		{ContinuousOptions{MaxSession: -1}, "MaxSession"},
		{ContinuousOptions{CatchUp: 1.5}, ""},
		{ContinuousOptions{CatchUp: 0.99}, "CatchUp"},
		{ContinuousOptions{CatchUp: -1}, "CatchUp"},
		{ContinuousOptions{CatchUp: math.NaN()}, "CatchUp"},
		{ContinuousOptions{CatchUp: math.Inf(1)}, "CatchUp"},
		{ContinuousOptions{CatchUp: math.Inf(-1)}, "CatchUp"},
	} {
		e, _ := errors.AsType[*ParamError](c.o.check())
		if (e != nil) != (c.param != "") || e != nil && e.Param != c.param {
			t.Errorf("%+v: %v, want %q", c.o, e, c.param)
		}
	}
}

func TestBindOfWhatWasNeverStartedBindsNothing(t *testing.T) {
	if new(ContinuousTranscriber).Bind(t.Context())() {
		t.Error("it says that it kept a context from ending something")
	}
}

func TestAContinuousTranscriberWhoseStartFailedHasEnded(t *testing.T) {
	broken := errors.New("no network")
	c, err := NewClient(Config{AppKey: "k", Token: "t", URL: "ws://gateway.example/ws/v1",
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, broken }})
	if err != nil {
		t.Fatal(err)
	}
	ct := c.NewContinuousTranscriber(ContinuousHandlers{}, ContinuousOptions{})
	for range 2 { // it may be started again
		err := ct.Start(t.Context(), TranscriptionParams{})
		if !errors.Is(err, broken) || !errors.Is(ct.Err(), broken) || !errors.Is(ct.SendAudio(make([]byte, 2)), broken) || !errors.Is(ct.Stop(t.Context()), broken) {
			t.Errorf("Start: %v, Err: %v", err, ct.Err())
		}
		if !isClosed(ct.Done()) || ct.run.ctx.Err() == nil {
			t.Error("it has not ended")
		}
		ct.Shutdown()
		if !errors.Is(ct.Err(), broken) {
			t.Errorf("a Shutdown behind the end is its reason: %v", ct.Err())
		}
	}
}
