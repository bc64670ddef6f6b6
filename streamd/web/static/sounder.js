// The sound itself: a sine per voice, to its side, at its loudness. What changes glides: nothing clicks.

/** @import { Voice } from './hearing.js' */

const GLIDE_S = 0.06;
const FADE_S = 0.15;
const HEADROOM = 0.35; // several voices may be loud at once

/** @typedef {{oscillator: OscillatorNode, gain: GainNode}} Tone */

export class Sounder {
  /** @type {Tone[]} */
  #tones = [];

  /**
   * @param {BaseAudioContext} context
   * @param {Voice[]} voices as they are at first, all silent
   */
  constructor(context, voices) {
    this.context = context;
    this.master = new GainNode(context, { gain: 0 });
    this.master.connect(new DynamicsCompressorNode(context)).connect(context.destination);
    for (const { pan, hz } of voices) {
      const tone = { oscillator: new OscillatorNode(context, { frequency: hz }), gain: new GainNode(context, { gain: 0 }) };
      tone.oscillator.connect(tone.gain).connect(new StereoPannerNode(context, { pan })).connect(this.master);
      tone.oscillator.start();
      this.#tones.push(tone);
    }
  }

  /** @param {number} volume 0 to 1 */
  setVolume(volume) {
    this.#glide(this.master.gain, HEADROOM * volume ** 2, FADE_S);
  }

  /** @param {Voice[]} voices */
  play(voices) {
    this.#tones.forEach(({ oscillator, gain }, i) => {
      const { hz = 0, loudness = 0 } = voices[i] ?? {};
      this.#glide(gain.gain, loudness, GLIDE_S);
      if (loudness) this.#glide(oscillator.frequency, hz, GLIDE_S);
    });
  }

  /** Fades out; afterwards nothing of it is left. */
  async close() {
    this.setVolume(0);
    await new Promise((done) => { setTimeout(done, FADE_S * 4000); });
    for (const { oscillator } of this.#tones) oscillator.stop();
    if (this.context instanceof AudioContext) await this.context.close();
  }

  /**
   * @param {AudioParam} param
   * @param {number} value
   * @param {number} constantS
   */
  #glide(param, value, constantS) {
    param.setTargetAtTime(value, this.context.currentTime, constantS);
  }
}
