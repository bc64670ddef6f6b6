// What a player shows on: a video, and behind it a canvas with single pictures: those that come one by one, and the
// last one of a video, until the next one shows.

/** @import { Palette } from './types.js' */

import { context2d } from './dom.js';
import { DEFAULT_PALETTE, paint } from './palettes.js';

export class Screen {
  #palette = DEFAULT_PALETTE;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.still = Object.assign(document.createElement('canvas'), { hidden: true });
    this.video = Object.assign(document.createElement('video'), { autoplay: true, muted: true, playsInline: true });
    box.prepend(this.still, this.video);
  }

  get hasVideo() {
    return Boolean(this.video.srcObject && this.video.videoWidth);
  }

  /**
   * The colours of what is shown from now on.
   * @param {Palette} palette
   */
  paint(palette) {
    this.#palette = palette;
    paint(this.video, palette);
  }

  /** What the video shows now stays, behind what comes. */
  keep() {
    if (this.hasVideo) this.draw(this.video, this.video.videoWidth, this.video.videoHeight);
  }

  /** @param {ImageBitmap | HTMLVideoElement} picture */
  draw(picture, width = picture.width, height = picture.height) {
    const { still } = this;
    if (still.width !== width || still.height !== height) Object.assign(still, { width, height });
    context2d(still).drawImage(picture, 0, 0);
    still.hidden = false;
    paint(still, this.#palette);
  }

  /** Nothing of before is shown any more. */
  clear() {
    this.still.hidden = true;
  }
}
