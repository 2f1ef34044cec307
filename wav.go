package nls

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// This file reads WAV files as people have them, and writes them.

// WAVFormat is what a WAV header says about its audio.
type WAVFormat struct {
	SampleRate, Channels, BitsPerSample int
	DataSize                            int64 // bytes of samples; -1 if the header does not know
}

// Codes of the "fmt " chunk.
const (
	wavePCM        = 1
	waveExtensible = 0xFFFE // the code is then in the first two bytes of the GUID
)

// waveCodes names what else may be in a WAV file.
var waveCodes = map[uint16]string{
	wavePCM: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3", 0xFF: "AAC",
}

// Bounds of what is read in search of the samples.
const (
	maxWAVChunks = 1000
	maxWAVSkip   = 64 << 20 // bytes
)

// ReadWAVHeader reads a RIFF/WAVE, RF64 or BW64 header and leaves r at the first
// sample, so that r can be sent as FormatPCM, up to DataSize bytes. A leading
// ID3v2 tag and chunks other than "fmt " are skipped, up to 1,000 of them and 64
// MiB. What is not uncompressed PCM is a *ParamError as in OpenWAV, which is the
// better way unless the audio has other channels or bits.
//
// DataSize is -1 where the header does not know or cannot be right: when it is
// zero, within a mebibyte of 2 or 4 GiB, or more than the size of the whole file in
// the header. So it is in what programs write to pipes.
//
// A header that ends early, or an empty r, is an error that matches
// io.ErrUnexpectedEOF; any other error of r is returned. A hundred Reads in a row
// without data or error are io.ErrNoProgress.
func ReadWAVHeader(r io.Reader) (WAVFormat, error) {
	h, err := readWAVHeader(r)
	if err == nil && h.code != wavePCM {
		err = h.refusal("uncompressed PCM")
	}
	if err != nil {
		return WAVFormat{}, err
	}
	return h.WAVFormat, nil
}

// OpenWAV reads the header of r, as [ReadWAVHeader] does, and returns its samples
// alone, without what may follow them: up to the DataSize of the header, or to the
// end of r if that is unknown or comes first. Audio of any sample rate is good, but
// if it is not 16-bit mono PCM the error is a *ParamError that says what it is and
// how to convert it. Use pcm as r was: by one goroutine at a time.
func OpenWAV(r io.Reader) (pcm io.Reader, f WAVFormat, err error) {
	h, err := readWAVHeader(r)
	if err == nil && (h.code != wavePCM || h.Channels != 1 || h.BitsPerSample != 16) {
		err = h.refusal("16-bit mono PCM")
	}
	if err != nil {
		return nil, WAVFormat{}, err
	}
	if pcm = r; h.DataSize >= 0 {
		pcm = io.LimitReader(r, h.DataSize)
	}
	return pcm, h.WAVFormat, nil
}

// wavHeader is a WAVFormat with the coding of the audio.
type wavHeader struct {
	WAVFormat
	code uint16
}

func (h *wavHeader) String() string {
	coding, ok := waveCodes[h.code]
	if !ok {
		coding = fmt.Sprintf("coding 0x%04x", h.code)
	}
	return fmt.Sprintf("%s of %d Hz, %d channels, %d bits", coding, h.SampleRate, h.Channels, h.BitsPerSample)
}

// refusal is the error of audio that is not wanted, in a WAV file.
func (h *wavHeader) refusal(wanted string) error {
	return &ParamError{"audio", nil, fmt.Sprintf("a WAV file with %v, where %s is needed; %s", h, wanted, conversion("wav", h.SampleRate))}
}

// conversion is a command that makes of a file what the service takes.
func conversion(extension string, sampleRate int) string {
	rate := DefaultSampleRate
	if sampleRate == 8000 { // which no conversion makes any better
		rate = sampleRate
	}
	return fmt.Sprintf("convert it: ffmpeg -i in.%s -ac 1 -ar %d -c:a pcm_s16le out.wav", extension, rate)
}

// readWAVHeader leaves r at the first sample of a WAV file, of whatever coding.
func readWAVHeader(r io.Reader) (h wavHeader, err error) {
	w := wavReader{r: steadyReader{context.Background(), r}}
	if err := w.read(); err != nil {
		if _, ok := errors.AsType[*ParamError](err); ok {
			return h, err
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
			if w.empty {
				err = fmt.Errorf("the file is empty: %w", err)
			}
		}
		return h, fmt.Errorf("nls: WAV header: %w", err)
	}
	return w.h, nil
}

// wavReader is a WAV header that is being read.
type wavReader struct {
	r       io.Reader
	h       wavHeader
	empty   bool  // there is nothing to read, if read returns io.EOF
	skipped int64 // bytes

	riff     int64 // size of what follows in the file
	longData int64 // size of the samples, in files that may be longer than 4 GiB
}

func (w *wavReader) skip(size int64) error {
	if w.skipped += size; w.skipped > maxWAVSkip {
		return errors.New("no data in the first 64 MiB")
	}
	_, err := io.CopyN(io.Discard, w.r, size)
	return err
}

// read reads up to the first sample. The end of the file is io.EOF.
func (w *wavReader) read() error {
	if err := w.file(); err != nil {
		return err
	}
	for range maxWAVChunks {
		var head [8]byte
		if _, err := io.ReadFull(w.r, head[:]); err != nil {
			return err
		}
		id, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		read := int64(0)
		var err error
		switch id {
		case "data":
			if w.h.Channels == 0 {
				return errors.New("no fmt chunk before the data")
			}
			w.h.DataSize = w.dataSize(size)
			return nil
		case "fmt ":
			read, err = w.format(size)
		case "ds64":
			read, err = w.sizes(size)
		}
		if err != nil {
			return err
		}
		if err := w.skip(size + size&1 - read); err != nil { // chunks are padded to an even size
			return err
		}
	}
	return fmt.Errorf("no data in the first %d chunks", maxWAVChunks)
}

// file reads what the file begins with, up to the first chunk.
func (w *wavReader) file() error {
	var head [12]byte
	for tags := range maxWAVChunks {
		if _, err := io.ReadFull(w.r, head[:id3HeaderSize]); err != nil {
			w.empty = tags == 0
			return err
		}
		size, ok := id3Size(head[:])
		if ok {
			if err := w.skip(size); err != nil {
				return err
			}
			continue
		}
		if _, err := io.ReadFull(w.r, head[id3HeaderSize:]); err != nil {
			return err
		}
		switch {
		case !isRIFF(head[:]):
			return notWAV(head[:], tags > 0)
		case string(head[8:]) != "WAVE":
			return &ParamError{"audio", nil, fmt.Sprintf("a RIFF file, but of type %q and not WAVE; %s", head[8:], conversion("avi", 0))}
		}
		w.riff = int64(binary.LittleEndian.Uint32(head[4:]))
		return nil
	}
	return errors.New("nothing but tags")
}

// format reads a fmt chunk, and returns how much of it.
func (w *wavReader) format(size int64) (read int64, err error) {
	var chunk [26]byte
	n := min(size, int64(len(chunk)))
	if n < 16 {
		return 0, errors.New("fmt chunk too short")
	}
	if _, err := io.ReadFull(w.r, chunk[:n]); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	code := le.Uint16(chunk[0:])
	if code == waveExtensible {
		code = le.Uint16(chunk[24:])
	}
	channels, rate, bits := le.Uint16(chunk[2:]), le.Uint32(chunk[4:]), le.Uint16(chunk[14:])
	if channels == 0 || rate == 0 || rate > math.MaxInt32 || bits == 0 && code == wavePCM {
		return 0, fmt.Errorf("no audio has %d channels, %d Hz and %d bits", channels, rate, bits)
	}
	w.h.code = code
	w.h.Channels, w.h.SampleRate, w.h.BitsPerSample = int(channels), int(rate), int(bits)
	return n, nil
}

// sizes reads a ds64 chunk, and returns how much of it.
func (w *wavReader) sizes(size int64) (read int64, err error) {
	var chunk [16]byte
	if size < int64(len(chunk)) {
		return 0, errors.New("ds64 chunk too short")
	}
	if _, err := io.ReadFull(w.r, chunk[:]); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if w.riff == math.MaxUint32 {
		w.riff = int64(le.Uint64(chunk[:]))
	}
	w.longData = int64(le.Uint64(chunk[8:]))
	return int64(len(chunk)), nil
}

// dataSize is how much data follows, by the size of its chunk; -1 if that is not
// known. Programs that cannot seek leave any of these sizes: arecord 0x80000000,
// GStreamer 0x7fff0000, ffmpeg 0xffffffff, mpg123 and faad 0.
func (w *wavReader) dataSize(size int64) int64 {
	if size == math.MaxUint32 {
		size = w.longData // 0 if there is none
	} else if near(size, 2<<30) || near(size, 4<<30) {
		return -1
	}
	if size <= 0 || size > w.riff {
		return -1
	}
	return size
}

func near(size, limit int64) bool { return limit-1<<20 <= size && size <= limit+1<<20 }

// id3HeaderSize is the length of the header of an ID3v2 tag.
const id3HeaderSize = 10

// id3Size returns the length of the ID3v2 tag of which head is the header, without
// the header.
func id3Size(head []byte) (size int64, ok bool) {
	if len(head) < id3HeaderSize || string(head[:3]) != "ID3" {
		return 0, false
	}
	for _, b := range head[6:10] {
		if b >= 0x80 {
			return 0, false
		}
		size = size<<7 | int64(b)
	}
	if head[5]&0x10 != 0 {
		size += id3HeaderSize // a footer
	}
	return size, true
}

// isRIFF reports whether head is that of a file of chunks, little-endian.
func isRIFF(head []byte) bool {
	return slices.Contains([]string{"RIFF", "RF64", "BW64"}, string(head[:min(len(head), 4)]))
}

// kinds are what files begin with that are neither WAV nor raw PCM.
var kinds = []struct {
	at           int
	magic        string
	what, suffix string
	format       Format // in which the service takes it, or ""
}{
	{0, "OggS", "an Ogg file", "ogg", FormatOpus},
	{0, "#!AMR", "an AMR file", "amr", FormatAMR},
	{0, "fLaC", "a FLAC file", "flac", ""},
	{4, "ftyp", "an MP4 file", "m4a", ""},
	{0, "\x1aE\xdf\xa3", "a WebM or Matroska file", "webm", ""},
	{0, "0&\xb2u\x8ef\xcf\x11", "a Windows Media file", "wma", ""},
	{0, "RIFX", "a big-endian RIFF file", "wav", ""},
	{0, "FORM", "an AIFF file", "aiff", ""},
	{0, "caff", "a CAF file", "caf", ""},
	{0, ".snd", "an AU file", "au", ""},
}

// kindOf is the refusal of a file that begins with head, or nil if head says
// nothing, as that of raw PCM.
func kindOf(head []byte) error {
	for _, k := range kinds {
		if len(head) < k.at || !bytes.HasPrefix(head[k.at:], []byte(k.magic)) {
			continue
		}
		if k.format == "" {
			return &ParamError{"audio", nil, fmt.Sprintf("%s; %s", k.what, conversion(k.suffix, 0))}
		}
		return compressed(k.what, k.suffix, k.format)
	}
	return nil
}

// compressed is the refusal of a file that the service takes if it is told so.
func compressed(what, suffix string, f Format) error {
	return &ParamError{"audio", nil, fmt.Sprintf("%s; set Format to %q if that is in it, or %s", what, f, conversion(suffix, 0))}
}

// notWAV is the refusal of a file that should be WAV, and begins with head, after a
// tag if it is tagged.
func notWAV(head []byte, tagged bool) error {
	if err := kindOf(head); err != nil {
		return err
	}
	_, format := mpegFrame(head)
	switch {
	case format == FormatAAC:
		return compressed("an AAC file", "aac", FormatAAC)
	case format == FormatMP3 || tagged:
		return compressed("an MP3 file", "mp3", FormatMP3)
	}
	return &ParamError{"audio", nil, "not a WAV file"}
}

// mpegFrame returns the length of the frame of MP3 or AAC (ADTS) that begins with
// head, and which of them it is; 0 and "" if head is no such thing.
func mpegFrame(head []byte) (size int, f Format) {
	if len(head) < 6 || head[0] != 0xFF || head[1]&0xE0 != 0xE0 {
		return 0, ""
	}
	if head[1]&0xF6 == 0xF0 { // ADTS has layer 0
		size = int(head[3]&3)<<11 | int(head[4])<<3 | int(head[5])>>5
		if head[2]>>2&0xF > 12 || size < 7 {
			return 0, ""
		}
		return size, FormatAAC
	}
	version, layer, bitrate, rate := head[1]>>3&3, head[1]>>1&3, head[2]>>4, head[2]>>2&3
	if version == 1 || layer != 1 || bitrate == 0 || bitrate == 15 || rate == 3 {
		return 0, ""
	}
	kbps := [2][16]int{
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},     // MPEG 2 and 2.5
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}, // MPEG 1
	}
	hertz, mpeg1, samples := [3]int{44100, 48000, 32000}[rate], 1, 144
	if version != 3 {
		hertz, mpeg1, samples = hertz/2, 0, 72
	}
	if version == 0 {
		hertz /= 2
	}
	return samples*kbps[mpeg1][bitrate]*1000/hertz + int(head[2]>>1&1), FormatMP3
}

const (
	wavHeaderSize = 44

	// unknownSize of the samples says that they are still being made. RIFF has no
	// way to say so; readers take sizes near the greatest signed number for it, and
	// this one makes the RIFF size that number (protocol §5.3).
	unknownSize = math.MaxInt32 - (wavHeaderSize - 8)
)

// header returns the header of f, which has 16-bit PCM.
func (f WAVFormat) header() []byte {
	le := binary.LittleEndian
	size, padded := f.DataSize, f.DataSize+f.DataSize&1
	if size < 0 {
		size, padded = unknownSize, unknownSize
	}
	h := make([]byte, 0, wavHeaderSize)
	h = append(h, "RIFF"...)
	h = le.AppendUint32(h, uint32(padded+wavHeaderSize-8))
	h = append(h, "WAVEfmt "...)
	h = le.AppendUint32(h, 16) // size of this chunk
	h = le.AppendUint16(h, wavePCM)
	h = le.AppendUint16(h, uint16(f.Channels))
	h = le.AppendUint32(h, uint32(f.SampleRate))
	h = le.AppendUint32(h, uint32(2*f.Channels*f.SampleRate)) // bytes a second
	h = le.AppendUint16(h, uint16(2*f.Channels))              // bytes of all channels
	h = le.AppendUint16(h, 16)                                // bits
	h = append(h, "data"...)
	return le.AppendUint32(h, uint32(size))
}

// WAVWriter writes 16-bit PCM with a WAV header, and mends the sizes in it on Close
// where the target can seek. It is not safe for concurrent use.
type WAVWriter struct {
	w      io.Writer
	f      WAVFormat
	begin  int64 // where in w the header is; -1 if w cannot seek
	size   int64 // bytes of samples that are written
	closed bool
}

// NewWAVWriter writes a header for f to w. No Channels mean 1, no BitsPerSample
// 16, which is all there is. A DataSize above zero is for those who know it
// before; with any other the header says that the size is unknown, until Close.
// Impossible values are a *ParamError.
func NewWAVWriter(w io.Writer, f WAVFormat) (*WAVWriter, error) {
	f.Channels, f.BitsPerSample = orDefault(f.Channels, 1), orDefault(f.BitsPerSample, 16)
	switch {
	case f.SampleRate <= 0 || f.SampleRate > 1<<20:
		return nil, &ParamError{"SampleRate", f.SampleRate, "must be from 1 to 1048576"}
	case f.Channels < 0 || f.Channels > 1<<10:
		return nil, &ParamError{"Channels", f.Channels, "must be from 1 to 1024"}
	case f.BitsPerSample != 16:
		return nil, &ParamError{"BitsPerSample", f.BitsPerSample, "must be 16"}
	case f.DataSize > maxDataSize:
		return nil, &ParamError{"DataSize", f.DataSize, "does not fit into a WAV header"}
	}
	if f.DataSize <= 0 {
		f.DataSize = -1
	}
	ww, err := newWAVWriter(w, f)
	if err != nil {
		return nil, fmt.Errorf("nls: write WAV header: %w", err)
	}
	return ww, nil
}

// maxDataSize is the greatest size that a header can tell.
const maxDataSize = math.MaxUint32 - wavHeaderSize

func newWAVWriter(w io.Writer, f WAVFormat) (*WAVWriter, error) {
	ww := &WAVWriter{w: w, f: f, begin: -1}
	if s, ok := w.(io.Seeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil {
			ww.begin = at
		}
	}
	if at, ok := w.(io.WriterAt); ok && ww.begin >= 0 {
		if _, err := at.WriteAt(nil, ww.begin); err != nil { // a file that can only be appended to
			ww.begin = -1
		}
	}
	if _, err := write(w, f.header()); err != nil {
		return nil, err
	}
	return ww, nil
}

// write writes p to w, which is not trusted to keep the rules of io.Writer.
func write(w io.Writer, p []byte) (int, error) {
	n, err := w.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return min(max(n, 0), len(p)), err
}

// Write writes samples, cut anywhere. Errors are those of the target.
func (w *WAVWriter) Write(pcm []byte) (int, error) {
	if w.closed {
		return 0, errors.New("nls: write to a WAVWriter that is closed")
	}
	n, err := write(w.w, pcm)
	w.size += int64(n)
	return n, err
}

// Close completes the file: it puts the sizes of what has been written into the
// header where the target can seek, and leaves it at its end. Where it cannot, they
// stay as they are, and Close fails if there are not as many samples as
// NewWAVWriter was told. Close does not close the target, and does nothing the
// second time.
func (w *WAVWriter) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	promised := w.f.DataSize
	w.f.DataSize = w.size
	switch {
	case w.begin < 0 && promised >= 0 && w.size != promised:
		return fmt.Errorf("nls: WAV file has %d bytes of samples, and %d in its header", w.size, promised)
	case w.begin < 0:
		return nil
	case w.size > maxDataSize:
		w.f.DataSize = -1
	}
	if err := w.mend(); err != nil {
		return fmt.Errorf("nls: write sizes of WAV file: %w", err)
	}
	return nil
}

func (w *WAVWriter) mend() error {
	end := w.begin + wavHeaderSize + w.size
	if w.size&1 == 1 { // chunks are padded to an even size
		if _, err := write(w.w, []byte{0}); err != nil {
			return err
		}
		end++
	}
	s := w.w.(io.Seeker)
	if _, err := s.Seek(w.begin, io.SeekStart); err != nil {
		return err
	}
	if _, err := write(w.w, w.f.header()); err != nil {
		return err
	}
	_, err := s.Seek(end, io.SeekStart)
	return err
}
