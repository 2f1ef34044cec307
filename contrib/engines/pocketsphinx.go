//go:build linux && (amd64 || arm64)

package engines

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// model is where Debian's pocketsphinx-en-us is.
const model = "/usr/share/pocketsphinx/model/en-us"

// sphinx is libpocketsphinx 5prealpha, as Debian has it. The pointers are to the C
// types of the same names, which we do not look into.
type sphinx struct {
	psArgs       func() uintptr
	cmdLnParse   func(cmdln, args uintptr, argc int32, argv unsafe.Pointer, strict int32) uintptr
	cmdLnFree    func(cmdln uintptr) int32
	psInit       func(cmdln uintptr) uintptr
	psFree       func(ps uintptr) int32
	psStartUtt   func(ps uintptr) int32
	psEndUtt     func(ps uintptr) int32
	psProcessRaw func(ps uintptr, data *int16, samples uintptr, noSearch, fullUtt int32) int32
	psGetHyp     func(ps uintptr, score *int32) string
	psGetProb    func(ps uintptr) int32
	psGetLogmath func(ps uintptr) uintptr
	logmathExp   func(lmath uintptr, p int32) float64
	psSegIter    func(ps uintptr) uintptr
	psSegNext    func(seg uintptr) uintptr
	psSegWord    func(seg uintptr) string
	psSegFrames  func(seg uintptr, first, last *int32)
}

// loadSphinx loads the library. An error says what is missing.
func loadSphinx() (*sphinx, error) {
	base, err := purego.Dlopen("libsphinxbase.so.3", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	lib, err := purego.Dlopen("libpocketsphinx.so.3", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"en-us", "en-us.lm.bin", "cmudict-en-us.dict"} {
		if _, err := os.Stat(filepath.Join(model, name)); err != nil {
			return nil, err
		}
	}
	s := &sphinx{}
	var log func(file uintptr)
	for _, f := range []struct {
		lib  uintptr
		name string
		to   any
	}{
		{lib, "ps_args", &s.psArgs},
		{base, "cmd_ln_parse_r", &s.cmdLnParse},
		{base, "cmd_ln_free_r", &s.cmdLnFree},
		{lib, "ps_init", &s.psInit},
		{lib, "ps_free", &s.psFree},
		{lib, "ps_start_utt", &s.psStartUtt},
		{lib, "ps_end_utt", &s.psEndUtt},
		{lib, "ps_process_raw", &s.psProcessRaw},
		{lib, "ps_get_hyp", &s.psGetHyp},
		{lib, "ps_get_prob", &s.psGetProb},
		{lib, "ps_get_logmath", &s.psGetLogmath},
		{base, "logmath_exp", &s.logmathExp},
		{lib, "ps_seg_iter", &s.psSegIter},
		{lib, "ps_seg_next", &s.psSegNext},
		{lib, "ps_seg_word", &s.psSegWord},
		{lib, "ps_seg_frames", &s.psSegFrames},
		{base, "err_set_logfp", &log},
	} {
		symbol, err := purego.Dlsym(f.lib, f.name)
		if err != nil { // of another version
			return nil, err
		}
		purego.RegisterFunc(f.to, symbol)
	}
	log(0) // to nowhere
	return s, nil
}

// decoder is one ps_decoder_t with its configuration. One goroutine at a time may
// use it.
type decoder struct {
	*sphinx
	ps, config uintptr
}

func (s *sphinx) newDecoder() (*decoder, error) {
	args := []string{"engines",
		"-hmm", filepath.Join(model, "en-us"),
		"-lm", filepath.Join(model, "en-us.lm.bin"),
		"-dict", filepath.Join(model, "cmudict-en-us.dict"),
		"-remove_silence", "no", // else the times of words are wrong
	}
	argv := make([]*byte, len(args))
	var pins runtime.Pinner
	defer pins.Unpin()
	for i, arg := range args {
		b := append([]byte(arg), 0)
		argv[i] = &b[0]
		pins.Pin(argv[i])
	}
	d := &decoder{sphinx: s}
	d.config = s.cmdLnParse(0, s.psArgs(), int32(len(args)), unsafe.Pointer(&argv[0]), 1)
	if d.config == 0 {
		return nil, errors.New("engines: pocketsphinx refuses its parameters")
	}
	if d.ps = s.psInit(d.config); d.ps == 0 {
		s.cmdLnFree(d.config)
		return nil, fmt.Errorf("engines: pocketsphinx cannot load the model in %s", model)
	}
	return d, nil
}

func (d *decoder) free() {
	d.psFree(d.ps)
	d.cmdLnFree(d.config)
}

// begin begins an utterance.
func (d *decoder) begin() error { return check("ps_start_utt", d.psStartUtt(d.ps)) }

// write takes samples of it, at 16 kHz.
func (d *decoder) write(samples []int16) error {
	if len(samples) == 0 {
		return nil
	}
	return check("ps_process_raw", d.psProcessRaw(d.ps, &samples[0], uintptr(len(samples)), 0, 0))
}

// end ends the utterance; its text and words are still there.
func (d *decoder) end() error { return check("ps_end_utt", d.psEndUtt(d.ps)) }

func check(name string, code int32) error {
	if code < 0 {
		return fmt.Errorf("engines: %s of pocketsphinx failed", name)
	}
	return nil
}

// text is what has been heard of the utterance so far.
func (d *decoder) text() string { return d.psGetHyp(d.ps, nil) }

// confidence is the posterior probability of an utterance of so many words that has
// ended, for each of them.
func (d *decoder) confidence(words int) float64 {
	p := d.logmathExp(d.psGetLogmath(d.ps), d.psGetProb(d.ps))
	return math.Pow(min(1, p), 1/float64(max(1, words)))
}

// words are those of the text. Their times are frames of the utterance, of which
// there are 100 in a second.
func (d *decoder) words() (words []frames) {
	for seg := d.psSegIter(d.ps); seg != 0; seg = d.psSegNext(seg) {
		var w frames
		d.psSegFrames(seg, &w.first, &w.last)
		w.text, _, _ = strings.Cut(d.psSegWord(seg), "(")            // the(2) is another way to pronounce it
		if w.text != "" && !strings.ContainsAny(w.text[:1], "<[+") { // silence and noise
			words = append(words, w)
		}
	}
	return words
}
