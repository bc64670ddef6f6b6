// Pictures in an <img>: Motion JPEG, which one connection brings, or stills that are asked for one by one.

import { ask } from './api.js';

const LOOK_MS = 200;
const AGAIN_MS = 2000;
const AGAIN_CAP_MS = 15_000;

export class Pictures {
  #timer;
  #looking;
  #failures = 0;
  #abort = null;
  #url = null;

  /** onPicture() once for each start; onFailure(error or null) each time that none comes: it goes on trying. */
  constructor(img, { onPicture, onFailure }) {
    Object.assign(this, { img, onPicture, onFailure });
  }

  stop() {
    clearTimeout(this.#timer);
    clearInterval(this.#looking);
    this.#abort?.abort();
    this.img.onerror = null;
    this.img.removeAttribute('src'); // ends the connection
    this.#url = null;
    this.#failures = 0;
    URL.revokeObjectURL(this.img.dataset.blob);
  }

  /** Motion JPEG from `url`. */
  stream(url) {
    if (url === this.#url) return;
    this.stop();
    this.#url = url;
    this.#stream();
  }

  #stream() {
    const { img } = this;
    let seen = false;
    img.src = this.#url;
    this.#looking = setInterval(() => {
      if (!img.naturalWidth) return;
      clearInterval(this.#looking); // browsers differ in when they call such a picture loaded
      seen = true;
      this.#failures = 0;
      this.onPicture();
    }, LOOK_MS);
    img.onerror = () => {
      clearInterval(this.#looking);
      if (!seen) this.onFailure(null);
      this.#again(() => this.#stream());
    };
  }

  /** A still from `url` each `everyMs`, counted from the last one's arrival. */
  stills(url, everyMs) {
    const key = `${url} ${everyMs}`;
    if (key === this.#url) return;
    this.stop();
    this.#url = key;
    this.#abort = new AbortController();
    this.#still(url, everyMs, this.#abort.signal);
  }

  async #still(url, everyMs, signal) {
    const more = () => this.#still(url, everyMs, signal);
    try {
      const blob = await (await ask(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(12_000)]) })).blob();
      if (signal.aborted) return;
      const before = this.img.dataset.blob;
      this.img.src = this.img.dataset.blob = URL.createObjectURL(blob);
      await this.img.decode();
      URL.revokeObjectURL(before);
      if (signal.aborted) return;
      this.#failures = 0;
      this.onPicture();
      this.#timer = setTimeout(more, everyMs);
    } catch (error) {
      if (signal.aborted) return;
      this.onFailure(error);
      this.#again(more);
    }
  }

  #again(act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, Math.min(AGAIN_MS * 2 ** this.#failures++, AGAIN_CAP_MS));
  }
}
