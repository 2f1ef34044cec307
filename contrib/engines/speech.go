package engines

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/mozillazg/go-pinyin"

	"github.com/nlsgo/nls"
	"github.com/nlsgo/nls/nlstest"
)

// speaker is the program that speaks text, with the arguments that make it write a WAV
// file to standard output; "" if there is none. Text to speak is no argument of
// espeak-ng, which reads its standard input.
func (e *Engine) speaker(text string, v nlstest.Voice) (program string, args []string) {
	rate, pitch := factor(v.SpeechRate), factor(v.PitchRate)
	mandarin := strings.ContainsFunc(text, isHan)
	switch {
	case mandarin && e.espeak == "":
		return "", nil
	case !mandarin && e.flite != "":
		return e.flite, []string{
			"-voice", "slt", "--setf", fmt.Sprintf("duration_stretch=%.3f", 1/rate),
			"--setf", fmt.Sprintf("f0_shift=%.3f", pitch), "-t", text, "-o", "/dev/stdout",
		}
	case e.espeak == "":
		return "", nil
	}
	voice := "en-us"
	if mandarin {
		voice = "cmn-latn-pinyin"
	}
	return e.espeak, []string{
		"--stdin", "--stdout", "-b", "1", "-v", voice,
		"-s", strconv.Itoa(int(175 * rate)), "-p", strconv.Itoa(min(99, 50+v.PitchRate/10)),
	}
}

// factor is what a rate of -500 to 500 multiplies by: 1/2 to 2.
func factor(rate int) float64 { return math.Pow(2, float64(rate)/500) }

func isHan(r rune) bool { return unicode.Is(unicode.Han, r) }

// speak speaks text by one process, at the rate and volume of v.
func (e *Engine) speak(ctx context.Context, program string, args []string, text string, v nlstest.Voice, emit func(pcm []byte, words []nls.Subtitle) error) error {
	select {
	case e.processes <- struct{}{}:
		defer func() { <-e.processes }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(syllables(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("engines: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("engines: %w", err)
	}
	err = pass(stdout, v, emit)
	if err != nil {
		cancel()
	}
	ended := cmd.Wait()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case ended != nil:
		return fmt.Errorf("engines: %s: %w: %s", program, ended, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// pass emits the samples of a WAV file at the rate and volume of v.
func pass(wav io.Reader, v nlstest.Voice, emit func(pcm []byte, words []nls.Subtitle) error) error {
	pcm, format, err := nls.OpenWAV(wav)
	if err != nil {
		return fmt.Errorf("engines: %w", err)
	}
	r := newResampler(format.SampleRate, v.SampleRate)
	volume := float64(v.Volume) / nls.DefaultVolume
	piece := func(samples []int16) error {
		if len(samples) == 0 {
			return nil
		}
		b := make([]byte, 0, 2*len(samples))
		for _, s := range samples {
			loud := max(math.MinInt16, min(math.MaxInt16, float64(s)*volume))
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(loud)))
		}
		return emit(b, nil)
	}
	buffer := make([]byte, 8192)
	for {
		n, err := io.ReadFull(pcm, buffer)
		samples := make([]int16, n/2)
		for i := range samples {
			samples[i] = int16(binary.LittleEndian.Uint16(buffer[2*i:]))
		}
		if err := piece(r.write(samples)); err != nil {
			return err
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return piece(r.flush())
		case err != nil:
			return fmt.Errorf("engines: %w", err)
		}
	}
}

// punctuation is what espeak-ng's voice for pinyin does not pause at.
var punctuation = strings.NewReplacer("，", ", ", "。", ". ", "！", "! ", "？", "? ", "；", "; ", "：", ": ", "、", ", ", "…", "... ")

// syllables is text with pinyin, such as ni3, in the place of Han characters.
func syllables(text string) string {
	args := pinyin.NewArgs()
	args.Style = pinyin.Tone3
	var b strings.Builder
	for _, r := range punctuation.Replace(text) {
		said := pinyin.SinglePinyin(r, args)
		if len(said) == 0 {
			b.WriteRune(r)
			continue
		}
		b.WriteString(" " + said[0])
		if !strings.ContainsAny(said[0], "1234") {
			b.WriteByte('5') // without a tone
		}
		b.WriteByte(' ')
	}
	return b.String()
}
