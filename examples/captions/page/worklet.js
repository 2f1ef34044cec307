// Makes of what a microphone gives, at the rate of the sound card, 16-bit samples at
// 16 kHz. It posts {pcm, peak} ten times a second; told to end, the rest and null.

const RATE = 16000; // of what it posts
const CHUNK = RATE / 10; // samples
const CROSSINGS = 16; // of zero by the filter, on either side
const QUANTUM = 128; // samples that process is given

const gcd = (a, b) => (b === 0 ? a : gcd(b, a % b));

class Resampler extends AudioWorkletProcessor {
  constructor() {
    super();
    const divisor = gcd(Math.round(sampleRate), RATE);
    this.up = RATE / divisor; // samples out for
    this.down = Math.round(sampleRate) / divisor; // samples in
    // A windowed sinc cuts off what the lower of the two rates cannot hold. It has one
    // row of taps for each place of a sample out between two samples in.
    const band = Math.min(1, RATE / sampleRate);
    this.half = Math.ceil(CROSSINGS / band);
    this.taps = Array.from({length: this.up}, (_, phase) =>
      Float32Array.from({length: 2 * this.half}, (_, i) => {
        const x = i - this.half + 1 - phase / this.up;
        const window = Math.cos((Math.PI * x) / (2 * this.half)) ** 2;
        const turn = Math.PI * band * 0.95 * x;
        return 0.95 * band * window * (turn === 0 ? 1 : Math.sin(turn) / turn);
      }));
    this.input = new Float32Array(2 * this.half + QUANTUM);
    this.at = this.input.length; // of the next sample out, in input
    this.phase = 0; // and so many ups after it
    this.begin();
    this.ended = false;
    this.port.onmessage = () => {
      this.ended = true;
      this.post();
      this.port.postMessage(null);
    };
  }

  begin() {
    this.pcm = new Int16Array(CHUNK);
    this.count = 0;
    this.peak = 0;
  }

  post() {
    const pcm = this.pcm.slice(0, this.count).buffer;
    this.port.postMessage({pcm, peak: this.peak}, [pcm]);
    this.begin();
  }

  process([[channel]]) {
    if (this.ended) return false;
    if (channel === undefined) return true; // the microphone is not connected yet
    const {input, half, taps} = this;
    input.copyWithin(0, channel.length);
    input.set(channel, input.length - channel.length);
    this.at -= channel.length;
    while (this.at + half < input.length) {
      const row = taps[this.phase];
      const first = this.at - half + 1;
      let sum = 0;
      for (let i = 0; i < row.length; i++) sum += row[i] * input[first + i];
      this.peak = Math.max(this.peak, Math.abs(sum));
      this.pcm[this.count++] = Math.max(-32768, Math.min(32767, Math.round(sum * 32768)));
      if (this.count === CHUNK) this.post();
      this.phase += this.down;
      this.at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    return true;
  }
}

registerProcessor('resampler', Resampler);
