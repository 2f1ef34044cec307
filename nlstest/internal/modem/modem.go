// Package modem writes text into 16-bit mono audio as audible tones, and reads
// it back. It knows nothing of sessions or gateways, and the samples are all
// that passes from Encoder to Decoder.
//
// A sentence sounds like this, times at normal speed:
//
//	pilot    70 ms   one tone of 1000 Hz: here comes a sentence
//	header  140 ms   10 symbols of 14 ms: speed, pitch, length, two checksums
//	units   150 ms   each: 30 ms of silence, then 5 symbols of 24 ms
//	silence 300 ms
//
// A symbol is two tones at once, one of eight low and one of eight high ones,
// which makes six bits. A unit is a UTF-16 code unit with a 14-bit checksum over
// itself, its place in the sentence and the header, so that a unit that is hit
// by a gap, a repeat or a swap, or that strayed in from somewhere else, is not
// taken for another one. The header carries a checksum of the whole text, which
// is the last word: a sentence is either the one that was sent or marked.
//
// Speed and pitch change the units, never pilot and header, so that a Decoder
// learns both before it needs them.
package modem

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// MinSampleRate and MaxSampleRate bound what Encoder and Decoder take. Below
// 8000 Hz the highest tone does not fit.
const (
	MinSampleRate = 8000
	MaxSampleRate = 48000
)

// MaxUnits is the greatest length of a sentence in UTF-16 code units: 30 seconds
// at normal speed, which bounds what one checksum stands for.
const MaxUnits = 200

// Damage is the text of a character that could not be read.
const Damage = "\uFFFD"

// Times in seconds at normal speed.
const (
	pilotTime        = 0.070
	headerSymbolTime = 0.014
	gapTime          = 0.030
	symbolTime       = 0.024
	unitTime         = gapTime + unitSymbols*symbolTime
	silenceTime      = 0.300
)

const (
	headerSymbols = 10
	unitSymbols   = 5
	symbolBits    = 6
	unitCheckBits = unitSymbols*symbolBits - 16
)

// The tones at normal pitch run from 540 to 2640 Hz, so that three semitones up
// or down stay between 450 and 3200 Hz, clear of hum below and of the filters of
// 8 kHz audio above.
const (
	pilotHz     = 1000
	lowestHz    = 540
	toneSpacing = 140
	tones       = 16 // eight low, eight high
)

// toneHz returns the frequency of a tone, 0 to 7 low and 8 to 15 high.
func toneHz(tone int, pitch float64) float64 {
	return (lowestHz + toneSpacing*float64(tone)) * pitch
}

// header is what precedes the units. Speed and pitch are in steps of eight,
// less than anybody hears, around rateOffset.
type header struct {
	speed, pitch uint64 // 7 bits each
	count        uint64 // 8 bits, 1 to MaxUnits
	textCheck    uint64 // 22 bits
}

const (
	rateStep   = 8
	rateOffset = 63 // the code of rate 0; 126 is the highest
)

// rateCode returns the nearest code of a speech or pitch rate from -500 to 500.
func rateCode(rate int) uint64 {
	return uint64(math.Round(float64(rate)/rateStep)) + rateOffset
}

func codedRate(code uint64) float64 { return (float64(code) - rateOffset) * rateStep }

// speedFactor is 0.5 to 2 for rates from -500 to 500, as the service has it.
func (h header) speedFactor() float64 { return math.Exp2(codedRate(h.speed) / 500) }

// pitchFactor is three semitones down to three up.
func (h header) pitchFactor() float64 { return math.Exp2(codedRate(h.pitch) / 2000) }

// pack returns the 60 bits of h, the lowest 16 of them a checksum.
func (h header) pack() uint64 {
	body := h.speed<<37 | h.pitch<<30 | h.count<<22 | h.textCheck
	return body<<16 | headerCheck(body)
}

// unpackHeader reports whether bits are a header.
func unpackHeader(bits uint64) (header, bool) {
	body := bits >> 16
	h := header{
		speed:     body >> 37,
		pitch:     body >> 30 & 0x7f,
		count:     body >> 22 & 0xff,
		textCheck: body & (1<<22 - 1),
	}
	ok := bits&0xffff == headerCheck(body) &&
		h.speed <= 2*rateOffset && h.pitch <= 2*rateOffset && h.count >= 1 && h.count <= MaxUnits
	return h, ok
}

func headerCheck(body uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], body)
	return uint64(crc32.ChecksumIEEE(b[:])) & 0xffff
}

func textCheck(units []uint16) uint64 {
	sum := uint32(0)
	for _, u := range units {
		sum = crc32.Update(sum, crc32.IEEETable, []byte{byte(u), byte(u >> 8)})
	}
	return uint64(sum) & (1<<22 - 1)
}

// packUnit returns the 30 bits of a unit. The header is part of its checksum:
// a unit fits one place in one sentence.
func packUnit(h uint64, index int, unit uint16) uint32 {
	var b [11]byte
	binary.LittleEndian.PutUint64(b[:], h)
	b[8] = byte(index)
	binary.LittleEndian.PutUint16(b[9:], unit)
	return uint32(unit)<<unitCheckBits | crc32.ChecksumIEEE(b[:])&(1<<unitCheckBits-1)
}

func checkSampleRate(rate int) error {
	if rate < MinSampleRate || rate > MaxSampleRate {
		return fmt.Errorf("modem: sample rate %d is not between %d and %d", rate, MinSampleRate, MaxSampleRate)
	}
	return nil
}
