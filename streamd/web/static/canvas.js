// What a player shows on: a video, an image in its place, and behind them the last picture, until the next one shows.

import { paint } from './palettes.js';

export class Canvas {
  #palette = 'inferno';

  constructor(box) {
    this.last = document.createElement('canvas');
    this.img = document.createElement('img');
    this.video = Object.assign(document.createElement('video'), { autoplay: true, muted: true, playsInline: true });
    this.last.hidden = true;
    this.img.alt = '';
    box.prepend(this.last, this.img, this.video);
  }

  get hasVideo() {
    return Boolean(this.video.srcObject && this.video.videoWidth);
  }

  paint(palette) {
    this.#palette = palette;
    for (const element of [this.video, this.img]) paint(element, palette);
  }

  /** What is shown now stays, behind what comes. */
  keep() {
    const { video, img, last } = this;
    const shown = this.hasVideo ? video : img.naturalWidth ? img : null;
    if (!shown) return;
    last.width = shown.videoWidth || shown.naturalWidth;
    last.height = shown.videoHeight || shown.naturalHeight;
    last.getContext('2d').drawImage(shown, 0, 0);
    last.hidden = false;
    paint(last, this.#palette);
  }

  /** The next picture shows. */
  uncover() {
    this.last.hidden = true;
  }
}
