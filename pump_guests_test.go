package nls_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nlsgo/nls"
)

// What Pump is given need not keep to the rules.

// A Read that counts wrong has lost audio, also where it says that this was the end.
func TestPumpDoesNotBelieveTheEndOfAReaderThatCountsBelowZero(t *testing.T) {
	src := readerFunc(func([]byte) (int, error) { return -1, io.EOF })
	if n, err := nls.Pump(t.Context(), &sink{}, src, nls.PumpOptions{}); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Pump = %d, %v", n, err)
	}
}

// doneSink has a Done that is closed, and takes audio all the same.
type doneSink struct {
	sink
	asked atomic.Int32
}

func (*doneSink) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (s *doneSink) SendAudio(data []byte) error {
	if len(data) == 0 {
		s.asked.Add(1)
		return nil
	}
	return s.sink.SendAudio(data)
}

// Else it would burn a processor until the audio ends.
func TestPumpAsksOnceWhetherADoneIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		time.AfterFunc(time.Second, func() { _, _ = w.Write(make([]byte, 100)); w.Close() })
		s := new(doneSink)
		n, err := nls.Pump(t.Context(), s, r, nls.PumpOptions{})
		if n != 100 || err != nil || s.asked.Load() != 1 {
			t.Errorf("Pump = %d, %v, after %d questions", n, err, s.asked.Load())
		}
	})
}

func TestAnySpeedBelowZeroIsThatOfTheNetwork(t *testing.T) {
	for _, speed := range []float64{-1, -0.1, -math.SmallestNonzeroFloat64, -math.MaxFloat64, math.Inf(-1)} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			n, err := nls.Pump(t.Context(), &sink{}, strings.NewReader(strings.Repeat("x", 100<<10)), nls.PumpOptions{Speed: speed})
			if took := time.Since(begin); n != 100<<10 || err != nil || took != 0 {
				t.Errorf("%v: Pump = %d, %v, after %v", speed, n, err, took)
			}
		})
	}
}
