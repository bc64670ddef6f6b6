// One picture on the page: a stream in a view, by WebRTC, else by Motion JPEG, else by stills.
// The last picture stays until the next one shows.

/** @import { ApiError, Clock } from './api.js' */
/** @import { Measured, Phase, PhaseChange, Wanted } from './types.js' */

import { ofStream, whepUrl } from './api.js';
import { CaptureToScreen } from './measuring.js';
import { served } from './palettes.js';
import { path } from './path.js';
import { Pictures } from './pictures.js';
import { Screen } from './screen.js';
import { WhepViewer } from './whep.js';

const PATIENCE_MS = 15_000; // for WebRTC to find a way, before Motion JPEG takes over
const STALL_MS = 10_000; // the server repeats its picture about each second, come what may
const STILL_MS = 5000;
const FALL_BACK_STILL_MS = 1500; // small pictures without WebRTC: connections are few

export class Player {
  picture = false; // something of what is wanted has been shown
  /** @type {'webrtc' | 'mjpeg' | 'stills' | null} */
  via = null; // null while stopped
  /** @type {Phase} */
  phase = 'stopped';
  /** @type {string | null} */
  reason = null; // why not WebRTC
  /** @type {ApiError | null} */
  error = null; // the last failure stays during the next attempt
  blocked = false; // the browser wants a tap before it plays
  /** @type {Measured | null} */
  measured = null;
  /** @type {Wanted | null} */
  #wanted = null;
  #pathless = 0; // sessions in a row that found no media path
  #trying = false; // WebRTC again, behind Motion JPEG
  /** @type {number | undefined} */
  #patience;
  #frames = { count: -1, at: 0 };

  /**
   * @param {HTMLElement} box
   * @param {Clock} clock
   * @param {() => void} onChange called whenever something above has changed
   */
  constructor(box, clock, onChange) {
    this.onChange = onChange;
    this.screen = new Screen(box);
    this.video = this.screen.video;
    this.viewer = new WhepViewer({
      onStream: (stream, receiver) => { this.#receive(stream, receiver); },
      onState: (change) => { this.#stateChanged(change); },
    });
    this.captureToScreen = new CaptureToScreen(this.video, clock);
    this.pictures = new Pictures({
      onPicture: (picture) => { this.#pictureArrived(picture); },
      onFailure: (error) => { this.#failed(error); },
    });
    this.video.addEventListener('loadeddata', () => { this.#videoArrived(); });
  }

  /** @param {Wanted} wanted */
  show(wanted) {
    const [view, palette] = served(wanted.view, wanted.palette);
    const before = this.#wanted;
    this.#wanted = { ...wanted, view };
    const same = before?.name === wanted.name && before.view === view && before.still === wanted.still;
    if (!same) this.screen.keep();
    this.screen.paint(palette);
    if (!same) this.#start(this.#wanted);
    else if (this.via === 'mjpeg') this.#withoutWebRtc(this.#wanted);
  }

  /** Nothing runs any more; the last picture stays. */
  stop() {
    if (!this.#wanted) return;
    this.screen.keep();
    this.#wanted = null;
    this.#quiet();
    this.via = null;
    this.onChange();
  }

  /** Cut a wait short: for example when the server is back, or on request. */
  retry() {
    if (!this.#wanted) return;
    this.viewer.retry();
    if (this.via !== 'webrtc' && !this.picture) this.#start(this.#wanted);
  }

  /** Begin again: what shows the old pictures may not have noticed that the server is another. */
  restart() {
    if (!this.#wanted || this.via === 'webrtc') {
      this.viewer.retry();
      return;
    }
    this.screen.keep();
    this.#start(this.#wanted);
  }

  /** From Motion JPEG, which goes on meanwhile. */
  tryWebRtc() {
    if (!this.#wanted || this.via !== 'mjpeg' || this.#trying) return;
    this.#trying = true;
    this.viewer.play(whepUrl(this.#wanted.name, this.#wanted.view));
    this.onChange();
  }

  /** Another player has found the way. */
  comeBack() {
    if (this.#wanted && this.via === 'mjpeg' && !this.#trying) this.#start(this.#wanted);
  }

  /** Whether pictures come, and not only the last one is kept. */
  get shows() {
    return this.picture && (this.via !== 'webrtc' || this.phase === 'connected');
  }

  get trying() {
    return this.#trying;
  }

  /** Call it each second. */
  async measure() {
    if (this.via === 'mjpeg') {
      this.measured = this.pictures.take();
      return;
    }
    const measured = await this.viewer.measure().catch(() => null);
    this.measured = measured && { ...measured, captureMs: this.captureToScreen.take() };
    if (!measured) return;
    const now = performance.now();
    if (measured.frames !== this.#frames.count) this.#frames = { count: measured.frames, at: now };
    else if (now - this.#frames.at > STALL_MS) this.viewer.reconnect('No pictures arrive.');
  }

  /** Nothing was counted while the page was hidden. */
  awake() {
    this.#frames.at = performance.now();
    this.retry();
  }

  /** @param {Wanted} wanted */
  #start({ name, view, still }) {
    this.#quiet();
    if (still) {
      this.via = 'stills';
      this.pictures.stills(ofStream(name, '/snapshot', { view, format: 'jpg' }), STILL_MS);
    } else if (path.reason) {
      this.#fallBack(path.reason);
    } else {
      this.via = 'webrtc';
      this.#patience = setTimeout(() => { this.#losePatience(); }, PATIENCE_MS);
      this.viewer.play(whepUrl(name, view));
    }
    this.onChange();
  }

  #quiet() {
    clearTimeout(this.#patience);
    path.leave(this);
    this.#trying = false;
    this.#pathless = 0;
    this.picture = false;
    this.error = null;
    this.via = null;
    this.viewer.stop();
    this.pictures.stop();
    this.captureToScreen.follow(null);
    this.video.srcObject = null;
  }

  // --- WebRTC

  /** @param {PhaseChange} change */
  #stateChanged({ phase, error }) {
    this.phase = phase;
    if (phase !== 'connected') this.measured = null;
    this.#frames = { count: -1, at: performance.now() };
    if (phase === 'connected') {
      this.#pathless = 0;
      clearTimeout(this.#patience);
      path.found();
    }
    if (this.#trying) {
      if (phase === 'waiting' || phase === 'failed') this.#giveUpTrying();
      return;
    }
    if (this.via !== 'webrtc') return;
    if (phase !== 'connecting') this.error = error;
    if (error?.code === 'no_media_path') this.#pathless += 1;
    const unauthorised = error?.status === 401 || error?.status === 403;
    if (phase === 'failed' && error && !unauthorised) this.#fallBack(error.code === 'no_webrtc' ? 'no WebRTC here' : error.message);
    else if (this.#pathless > 1) this.#fallBack('WebRTC finds no path (UDP)');
    this.onChange();
  }

  #losePatience() {
    const stuck = this.viewer.phase === 'connecting' && this.viewer.answered;
    if (this.via === 'webrtc' && (stuck || this.#pathless)) this.#fallBack('WebRTC finds no path (UDP)');
  }

  /**
   * @param {MediaStream} stream
   * @param {RTCRtpReceiver} receiver
   */
  #receive(stream, receiver) {
    this.screen.keep();
    if (!this.#trying) this.picture = false;
    this.video.srcObject = stream;
    this.captureToScreen.follow(receiver);
    void this.play();
  }

  /** A browser may want a tap first. */
  async play() {
    try {
      await this.video.play();
    } catch (error) {
      this.blocked = error instanceof DOMException && error.name === 'NotAllowedError';
      this.onChange();
    }
  }

  // --- without WebRTC

  /** @param {string} reason */
  #fallBack(reason) {
    this.viewer.stop();
    this.captureToScreen.follow(null);
    this.video.srcObject = null;
    this.via = 'mjpeg';
    this.error = null;
    this.reason = reason;
    if (this.#wanted) this.#withoutWebRtc(this.#wanted);
    path.missing(this, reason);
    this.onChange();
  }

  /** @param {Wanted} wanted */
  #withoutWebRtc({ name, view, small, silent }) {
    if (small && silent) {
      this.pictures.stop();
      this.picture = false;
    } else if (small) this.pictures.stills(ofStream(name, '/snapshot', { view, format: 'jpg' }), FALL_BACK_STILL_MS);
    else this.pictures.stream(ofStream(name, '/mjpeg', { view }));
  }

  #giveUpTrying() {
    this.#trying = false;
    this.viewer.stop();
    this.video.srcObject = null;
    path.missing(this, this.reason ?? '');
    this.onChange();
  }

  /** @param {ApiError} error */
  #failed(error) {
    this.error = error;
    this.picture = false;
    this.onChange();
  }

  /** @param {ImageBitmap} picture */
  #pictureArrived(picture) {
    this.screen.draw(picture);
    this.#arrived();
  }

  #videoArrived() {
    if (!this.#wanted) return;
    this.#trying = false;
    this.via = 'webrtc';
    path.leave(this);
    this.pictures.stop();
    this.screen.clear();
    this.picture = false; // that was another
    this.#arrived();
  }

  #arrived() {
    const known = this.picture && !this.error;
    this.picture = true;
    this.blocked = false;
    this.error = null;
    if (!known) this.onChange();
  }
}
