package modem

import (
	"math"
	"math/bits"
	"unicode/utf16"
)

// Kind says what an Event is.
type Kind int

// The kinds. A sentence is one SentenceBegin, one Character for each
// character, one SentenceEnd.
const (
	Other         Kind = iota // Samples that belong to no sentence
	SentenceBegin             // a sentence begins
	Character                 // a character was read, or Damage found in its place
	SentenceEnd               // the sentence ends
)

// Event is something a Decoder heard. Events come in the order of the audio and
// do not depend on how it was cut for Write.
type Event struct {
	Kind       Kind
	Begin, End int64   // place in the audio, in samples from its start
	Samples    []int16 // of Other; valid until emit returns
	Text       string  // of Character
	Damaged    bool    // of Character: Text is Damage; of SentenceEnd: the text is not what was sent
}

const (
	pilotWindow = 0.010 // seconds; windows overlap by half
	pilotRun    = 3     // windows in a row that make a pilot: 20 ms, what a hole in it leaves over
	pilotPatch  = 0.100 // seconds in which further runs are the same pilot
	pilotShare  = 0.65  // of the power of a window in one tone; of two tones none has more than half
	noiseFloor  = 8     // root mean square; less is silence
	guard       = 0.1   // of a symbol, left out at either end
	headerRange = 0.012 // seconds around the end of the pilot in which the header begins
	headerStep  = 0.004 // seconds beyond a header that was found in which there may be a better place
	headerPeak  = 0.9   // of the best share; with less a place is off the header
	toneShare   = 0.15  // of the power of a symbol in either of its tones
	bothShare   = 0.7   // and in both
	brokenTwins = 6     // symbols of two tones make a header, if a broken one
	aloneShare  = 0.3   // of the power of a unit in its tones
	readShare   = 0.6   // the same, when it is found out of place
	quietShare  = 0.2   // of the power of a sentence; less is a pause
	quietTime   = 0.100 // seconds of pause that end a sentence with a broken header
	quietUnits  = 2     // pauses as long as a unit that end a sentence before its time
	reach       = 8     // units by which audio may have been lost or repeated
	maxBroken   = 70    // seconds of a sentence with a broken header; the longest is 60
)

// Decoder finds sentences in a stream of audio and keeps about a second of it.
// One goroutine at a time may use it.
type Decoder struct {
	rate     float64
	stride   int   // one sample of so many is enough for tones
	hop      int64 // half a pilot window
	pilot    float64
	plain    [tones]float64 // Goertzel coefficients of the header
	buf      []int16
	base     int64 // position of buf[0]
	done     int64 // before this the audio is told as Other or claimed by a sentence
	finished bool

	pos              int64 // of the next window
	run              int   // windows of pilot in a row; at pilotRun the pilot is found
	runBegin, runEnd int64
	broken           *broken  // nil outside a sentence whose header is broken
	s                *reading // nil outside any other sentence
}

// broken is the state inside a sentence whose header is broken.
type broken struct {
	begin, sound int64 // where it begins, and where it was last heard
	power        float64
}

// reading is the state inside a sentence.
type reading struct {
	header
	packed       uint64
	voice        [tones]float64 // Goertzel coefficients
	symbol, unit float64        // length in samples
	power        float64

	next    float64 // where the next unit should begin
	tried   bool    // it does not begin there
	units   []uint16
	misses  int    // units in a row that were not found
	pauses  int    // of these, silent ones in a row
	high    uint16 // first half of a surrogate pair
	from    int64  // where that begins
	told    int64  // where the last unit ended
	damaged bool
}

// NewDecoder returns a Decoder for audio of sampleRate hertz, MinSampleRate to
// MaxSampleRate.
func NewDecoder(sampleRate int) (*Decoder, error) {
	if err := checkSampleRate(sampleRate); err != nil {
		return nil, err
	}
	d := &Decoder{rate: float64(sampleRate), stride: sampleRate / MinSampleRate}
	d.hop = int64(pilotWindow / 2 * d.rate)
	d.pilot = d.coefficient(pilotHz)
	for t := range tones {
		d.plain[t] = d.coefficient(toneHz(t, 1))
	}
	return d, nil
}

func (d *Decoder) coefficient(hz float64) float64 {
	return 2 * math.Cos(2*math.Pi*hz*float64(d.stride)/d.rate)
}

// Write takes the next samples of the stream and tells what became certain.
func (d *Decoder) Write(samples []int16, emit func(Event)) {
	// In pieces, so that the buffer stays small whatever comes.
	for len(samples) > 0 {
		n := min(len(samples), 2048)
		d.buf = append(d.buf, samples[:n]...)
		samples = samples[n:]
		for d.step(emit) {
		}
		d.forget()
	}
}

// Finish tells the rest at the end of the stream. The Decoder is then used up.
func (d *Decoder) Finish(emit func(Event)) {
	d.finished = true
	for d.step(emit) {
	}
	if d.broken != nil {
		d.endBroken(d.end(), emit)
	}
	d.tell(d.end(), emit)
}

// step goes on by one window, header or unit, and reports whether there was
// enough audio for it.
func (d *Decoder) step(emit func(Event)) bool {
	switch {
	case d.s != nil:
		return d.readUnit(emit)
	case d.run >= pilotRun && d.pos >= d.runBegin+int64(pilotPatch*d.rate):
		return d.readHeader(emit)
	default:
		return d.findPilot(emit)
	}
}

func (d *Decoder) end() int64 { return d.base + int64(len(d.buf)) }

// at returns the samples from begin to end, or nil if they are not all there.
func (d *Decoder) at(begin, end int64) []int16 {
	if begin < d.base || end > d.end() || begin >= end {
		return nil
	}
	return d.buf[begin-d.base : end-d.base]
}

// forget drops what no step will look at again.
func (d *Decoder) forget() {
	keep := d.done
	if d.s != nil {
		keep = int64(d.s.next - d.s.unit)
	}
	// Moving the rest is worth it for a good part of the buffer only.
	if n := min(keep-d.base, int64(len(d.buf))); n > int64(len(d.buf)/2) {
		d.buf = d.buf[:copy(d.buf, d.buf[n:])]
		d.base += n
	}
}

// tell gives away the audio up to end, which is no sentence.
func (d *Decoder) tell(end int64, emit func(Event)) {
	if x := d.at(d.done, end); x != nil {
		emit(Event{Kind: Other, Begin: d.done, End: end, Samples: x})
	}
	d.done = max(d.done, end)
}

// findPilot looks at one window.
func (d *Decoder) findPilot(emit func(Event)) bool {
	x := d.at(d.pos, d.pos+2*d.hop)
	if x == nil {
		return false
	}
	pilot, power := d.isPilot(x)
	switch {
	case pilot:
		if d.run == 0 {
			d.runBegin = d.pos
		}
		d.run++
		d.runEnd = d.pos + 2*d.hop
	case d.run < pilotRun:
		d.run = 0
	}
	if b := d.broken; b != nil {
		if power > quietShare*b.power {
			b.sound = d.pos + 2*d.hop
		}
		if float64(d.pos-b.sound) > quietTime*d.rate || float64(d.pos-b.begin) > maxBroken*d.rate {
			d.endBroken(b.sound, emit)
		}
	}
	d.pos += d.hop
	switch {
	case d.run > 0:
	case d.broken != nil:
		d.done = d.pos
	default:
		d.tell(d.pos, emit)
	}
	return true
}

// power returns the power of x without its mean, and the mean. It looks at one
// sample of stride.
func power(x []int16, stride int) (power, mean float64) {
	var sum, squares int64 // three loud samples fill an int of 32 bits
	for i := 0; i < len(x); i += stride {
		v := int64(x[i])
		sum += v
		squares += v * v
	}
	n := float64(max(used(x, stride), 1))
	mean = float64(sum) / n
	return float64(squares)/n - mean*mean, mean
}

// used is how many samples of x are looked at.
func used(x []int16, stride int) int { return (len(x) + stride - 1) / stride }

// isPilot reports whether x is the one tone that announces a sentence.
func (d *Decoder) isPilot(x []int16) (pilot bool, p float64) {
	p, mean := power(x, d.stride)
	if p < noiseFloor*noiseFloor {
		return false, p
	}
	var s1, s2 float64
	for i := 0; i < len(x); i += d.stride {
		s1, s2 = float64(x[i])-mean+d.pilot*s1-s2, s1
	}
	n := float64(used(x, d.stride))
	return 2*(s1*s1+s2*s2-d.pilot*s1*s2)/(n*n) > pilotShare*p, p
}

// symbols reads n symbols from at. share is the part of their power that is in
// their tones, and twins has a bit for each that consists of two tones.
func (d *Decoder) symbols(at float64, n int, length float64, coef *[tones]float64) (bits uint64, share float64, twins uint) {
	for i := range n {
		begin := at + (float64(i)+guard)*length
		x := d.at(int64(math.Round(begin)), int64(math.Round(begin+(1-2*guard)*length)))
		p, _ := power(x, d.stride)
		bits <<= symbolBits
		if p < noiseFloor*noiseFloor {
			continue
		}
		var t [tones]float64
		for g := 0; g < tones; g += 4 {
			goertzel(x, d.stride, coef[g:g+4], t[g:g+4])
		}
		low, high := 0, 8
		for k := range 8 {
			if t[k] > t[low] {
				low = k
			}
			if t[8+k] > t[high] {
				high = 8 + k
			}
		}
		bits |= uint64(low)<<3 | uint64(high-8)
		share += (t[low] + t[high]) / p
		if min(t[low], t[high]) > toneShare*p && t[low]+t[high] > bothShare*p {
			twins |= 1 << i
		}
	}
	return bits, share / float64(n), twins
}

// goertzel puts the power of four tones in x into t. Four at a time keep the
// processor busy, as each sample waits for the one before.
func goertzel(x []int16, stride int, coef, t []float64) {
	c0, c1, c2, c3 := coef[0], coef[1], coef[2], coef[3]
	var a0, a1, a2, a3, b0, b1, b2, b3 float64
	for i := 0; i < len(x); i += stride {
		f := float64(x[i])
		a0, b0 = f+c0*a0-b0, a0
		a1, b1 = f+c1*a1-b1, a1
		a2, b2 = f+c2*a2-b2, a2
		a3, b3 = f+c3*a3-b3, a3
	}
	n := float64(used(x, stride))
	t[0] = 2 * (a0*a0 + b0*b0 - c0*a0*b0) / (n * n)
	t[1] = 2 * (a1*a1 + b1*b1 - c1*a1*b1) / (n * n)
	t[2] = 2 * (a2*a2 + b2*b2 - c2*a2*b2) / (n * n)
	t[3] = 2 * (a3*a3 + b3*b3 - c3*a3*b3) / (n * n)
}

// readHeader reads the header behind the pilot.
func (d *Decoder) readHeader(emit func(Event)) bool {
	const length = headerSymbols * headerSymbolTime
	enough := float64(d.end()) >= float64(d.runEnd)+(headerRange+length)*d.rate+1
	if !enough && !d.finished {
		return false
	}
	d.run, d.pos = 0, d.runEnd
	if !enough {
		return true
	}

	var packed uint64
	var share float64
	var twins uint
	var begins, shares []float64 // of all places where it can be read
	// From the middle outwards, where it mostly is; a header that was found is in
	// step within a part of a symbol, which is the rest of the search.
	for off, last := 0.0, headerRange; off <= last; off += 0.001 {
		for _, begin := range []float64{float64(d.runEnd) - off*d.rate, float64(d.runEnd) + off*d.rate} {
			b, sh, tw := d.symbols(begin, headerSymbols, headerSymbolTime*d.rate, &d.plain)
			if _, ok := unpackHeader(b); ok {
				begins, shares = append(begins, begin), append(shares, sh)
				if sh > share {
					packed, share = b, sh
					last = min(headerRange, off+headerStep)
				}
			}
			twins |= tw // what follows a hole is out of step
			if off == 0 {
				break
			}
		}
	}
	p, _ := power(d.at(d.runEnd, d.runEnd+int64(length*d.rate)), d.stride)
	if share == 0 {
		if bits.OnesCount(twins) >= brokenTwins && d.broken == nil {
			d.tell(d.runBegin, emit)
			d.broken = &broken{begin: d.runBegin, sound: d.runEnd, power: p}
			emit(Event{Kind: SentenceBegin, Begin: d.runBegin, End: d.runBegin})
		}
		return true
	}

	// As long as each symbol is met within its guard the share is about the same: the
	// header begins in the middle of the best places.
	var at, weights float64
	for i, sh := range shares {
		w := max(0, sh-headerPeak*share)
		at, weights = at+w*begins[i], weights+w
	}
	at /= weights

	if d.broken != nil {
		d.endBroken(d.runBegin, emit)
	}
	d.tell(d.runBegin, emit)
	h, _ := unpackHeader(packed)
	s := &reading{header: h, packed: packed, power: p, next: at + length*d.rate}
	for t := range tones {
		s.voice[t] = d.coefficient(toneHz(t, h.pitchFactor()))
	}
	s.symbol = symbolTime / h.speedFactor() * d.rate
	s.unit = unitTime / h.speedFactor() * d.rate
	s.told = int64(math.Round(s.next))
	d.s = s
	begin := max(0, int64(math.Round(at-pilotTime*d.rate)))
	emit(Event{Kind: SentenceBegin, Begin: begin, End: begin})
	return true
}

// endBroken ends a sentence with a broken header, of which nothing is known.
func (d *Decoder) endBroken(end int64, emit func(Event)) {
	emit(Event{Kind: Character, Begin: d.broken.begin, End: end, Text: Damage, Damaged: true})
	emit(Event{Kind: SentenceEnd, Begin: end, End: end, Damaged: true})
	d.broken = nil
}

// readUnit reads the next unit of the sentence.
func (d *Decoder) readUnit(emit func(Event)) bool {
	s := d.s
	last := int64(math.Ceil(s.next + s.unit - guard*s.symbol + 1)) // sample of the unit
	if !s.tried {
		if d.end() < last {
			if d.finished {
				d.cut(d.end(), emit)
			}
			return d.finished
		}
		if bits, share := d.unitAt(s.next); share > aloneShare && uint32(bits) == packUnit(s.packed, len(s.units), uint16(bits>>unitCheckBits)) {
			d.put(uint16(bits>>unitCheckBits), true, s.next+s.unit, emit)
			return true
		}
		s.tried = true
	}

	// Audio was lost or repeated. The unit is half a length away at most, or it
	// is not this one that is there.
	if d.end() < last+int64(s.unit/2) && !d.finished {
		return false
	}
	index, unit, at, ok := d.search()
	if !ok {
		d.miss(emit)
		return true
	}
	if index < len(s.units) { // again; the next one follows
		s.next = at + float64(len(s.units)-index)*s.unit
		s.tried, s.misses, s.pauses = false, 0, 0
		return true
	}
	for len(s.units) < index {
		d.put(0, false, at-float64(index-len(s.units)-1)*s.unit, emit)
	}
	d.put(unit, true, at+s.unit, emit)
	return true
}

func (d *Decoder) unitAt(at float64) (bits uint64, share float64) {
	bits, share, _ = d.symbols(at+d.s.unit-unitSymbols*d.s.symbol, unitSymbols, d.s.symbol, &d.s.voice)
	return bits, share
}

// search looks for a unit around the place of the next one: for the next one
// after a first miss, after a second for any near it.
func (d *Decoder) search() (index int, unit uint16, at float64, ok bool) {
	s := d.s
	first, last := len(s.units), len(s.units)
	if s.misses > 0 {
		first, last = max(0, first-reach), min(int(s.count)-1, last+reach)
	}
	best := readShare
	try := func(begin float64) {
		bits, share := d.unitAt(begin)
		if share <= best {
			return
		}
		u := uint16(bits >> unitCheckBits)
		for i := first; i <= last; i++ {
			if uint32(bits) == packUnit(s.packed, i, u) {
				best, index, unit, at, ok = share, i, u, begin, true
			}
		}
	}
	step := s.symbol / 6
	for off := -0.48 * s.unit; off <= 0.48*s.unit; off += step {
		try(s.next + off)
	}
	for center, i := at, -3; ok && i <= 3; i++ {
		try(center + float64(i)*step/4)
	}
	return index, unit, at, ok
}

// miss goes on without the next unit, or ends the sentence if it is over.
func (d *Decoder) miss(emit func(Event)) {
	s := d.s
	begin, end := int64(s.next), int64(s.next+s.unit)
	run := 0
	for pos := begin; pos+2*d.hop <= min(end, d.end()); pos += d.hop {
		if pilot, _ := d.isPilot(d.at(pos, pos+2*d.hop)); !pilot {
			run = 0
		} else if run++; run == pilotRun {
			d.cut(pos-(pilotRun-1)*d.hop, emit)
			return
		}
	}
	s.pauses++
	if p, _ := power(d.at(begin, min(end, d.end())), d.stride); p > quietShare*s.power {
		s.pauses = 0
	}
	if s.pauses >= quietUnits {
		d.cut(begin, emit)
		return
	}
	d.put(0, false, s.next+s.unit, emit)
}

// put takes a unit, or the lack of one, that ends at end.
func (d *Decoder) put(unit uint16, ok bool, end float64, emit func(Event)) {
	s := d.s
	s.units = append(s.units, unit)
	s.next, s.tried = end, false
	if ok {
		s.misses, s.pauses = 0, 0
	} else {
		s.misses++
	}

	begin, r, damaged := s.told, rune(unit), !ok
	s.told = max(s.told, int64(math.Round(end)))
	switch {
	case s.high != 0:
		begin = s.from
		r = utf16.DecodeRune(rune(s.high), r)
		damaged = damaged || r == 0xFFFD
		s.high = 0
	case ok && utf16.IsSurrogate(r):
		if r < 0xDC00 && len(s.units) < int(s.count) {
			s.high, s.from = unit, begin
			return
		}
		damaged = true
	}
	if damaged {
		d.damage(begin, s.told, emit)
	} else {
		emit(Event{Kind: Character, Begin: begin, End: s.told, Text: string(r)})
	}

	if len(s.units) == int(s.count) {
		if !s.damaged && textCheck(s.units) != s.textCheck {
			d.damage(s.told, s.told, emit)
		}
		d.endSentence(s.told, emit)
	}
}

func (d *Decoder) damage(begin, end int64, emit func(Event)) {
	d.s.damaged = true
	emit(Event{Kind: Character, Begin: begin, End: end, Text: Damage, Damaged: true})
}

// cut ends the sentence before its time.
func (d *Decoder) cut(at int64, emit func(Event)) {
	at = max(at, d.s.told)
	d.damage(d.s.told, at, emit)
	d.endSentence(at, emit)
}

func (d *Decoder) endSentence(at int64, emit func(Event)) {
	emit(Event{Kind: SentenceEnd, Begin: at, End: at, Damaged: d.s.damaged})
	d.s = nil
	d.pos, d.done = at, at
}
