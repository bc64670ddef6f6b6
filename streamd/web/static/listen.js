// Sounds what is near in the large picture, and says it. Off until it is asked for; loaded then.

/** @import { Player } from './player.js' */
/** @import { Page } from './types.js' */

import { DEFAULT_VIEW } from './address.js';
import { $, context2d, write } from './dom.js';
import { Announcer, SAMPLED, cellsOf, depthPart, nearnessByBrightness, voicesOf, wordsFor } from './hearing.js';
import { served } from './palettes.js';
import { Sounder } from './sounder.js';

const EVERY_MS = 100;
const STALE_MS = 3000; // a picture that stands still may be of what is long gone; streamd repeats its own each second
const SILENCE = voicesOf([], 1);
const NEARNESS = { gray: nearnessByBrightness('gray'), inferno: nearnessByBrightness('inferno') };

/** @type {Listener | null} */
let listener = null;

/**
 * @param {Page} page
 * @param {() => Player | null} player
 */
export async function toggle(page, player) {
  if (listener) {
    listener.stop();
    return;
  }
  listener = new Listener(page, player);
  await listener.start();
}

class Listener {
  #context = new AudioContext({ latencyHint: 'interactive' });
  #sounder = new Sounder(this.#context, SILENCE);
  #announcer = new Announcer();
  #canvas = context2d(Object.assign(document.createElement('canvas'), SAMPLED), { willReadFrequently: true });
  #shown = { time: -1, at: 0 };
  #level = $('listen-level', HTMLInputElement);
  #volume = $('listen-volume', HTMLInputElement);

  /**
   * @param {Page} page
   * @param {() => Player | null} player
   */
  constructor(page, player) {
    this.page = page;
    this.player = player;
  }

  async start() {
    this.#show(true);
    write($('heard'), 'Listening.');
    const setVolume = () => { this.#sounder.setVolume(Number(this.#volume.value)); };
    this.#volume.oninput = setVolume;
    setVolume();
    this.timer = setInterval(() => { this.#listen(); }, EVERY_MS);
    await this.#context.resume();
  }

  stop() {
    clearInterval(this.timer);
    listener = null;
    this.#show(false);
    void this.#sounder.close();
  }

  /** @param {boolean} on */
  #show(on) {
    $('listen').hidden = !on;
    $('listen-toggle').ariaPressed = String(on);
  }

  #listen() {
    const player = this.player();
    if (!player) { // no large one
      this.stop();
      return;
    }
    const level = Number(this.#level.value);
    const cells = this.#look(player);
    this.#sounder.play(cells instanceof Array ? voicesOf(cells, level) : SILENCE);
    const words = this.#announcer.take(cells instanceof Array ? wordsFor(cells, level) : cells, performance.now());
    if (words) write($('heard'), words);
  }

  /**
   * The cells that are seen, or why there are none.
   * @param {Player} player
   */
  #look(player) {
    const { stream, views, palette } = this.page.state;
    const [view] = served(views.get(stream ?? '') ?? DEFAULT_VIEW, palette);
    const part = depthPart(view);
    if (!part) return 'This view has no depth to sound: choose Depth.';
    if (document.hidden || !player.shows || this.#isStale(player)) return 'No picture.';
    const { video, still, hasVideo } = player.screen;
    const [picture, width, height] = hasVideo ? [video, video.videoWidth, video.videoHeight] : [still, still.width, still.height];
    const [from, to] = part;
    this.#canvas.drawImage(picture, from * width, 0, (to - from) * width, height, 0, 0, SAMPLED.width, SAMPLED.height);
    const { data } = this.#canvas.getImageData(0, 0, SAMPLED.width, SAMPLED.height);
    return cellsOf(data, NEARNESS[view === 'gray' || view === 'rgbd' ? 'gray' : 'inferno']);
  }

  /** @param {Player} player */
  #isStale({ screen, video }) {
    if (!screen.hasVideo) return false; // single pictures: their player tells
    const now = performance.now();
    if (video.currentTime !== this.#shown.time) this.#shown = { time: video.currentTime, at: now };
    return now - this.#shown.at > STALE_MS;
  }
}
