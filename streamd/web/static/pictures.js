// Single pictures: Motion JPEG, which one connection brings, or stills that are asked for one by one.

import { ApiError, ask, errorFrom } from './api.js';
import { jpegs } from './mjpeg.js';

const AGAIN_MS = 1000;
const AGAIN_CAP_MS = 15_000;
const STILL_TIMEOUT_MS = 12_000; // the server waits up to 10 s for a frame

export class Pictures {
  #timer;
  #failures = 0;
  #abort = new AbortController();
  #key = null;
  #counted = { pictures: 0, bytes: 0, at: 0 };

  /** onPicture(ImageBitmap) for each; onFailure(error) each time that none comes: it goes on trying. */
  constructor({ onPicture, onFailure }) {
    Object.assign(this, { onPicture, onFailure });
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#key = null;
    this.#failures = 0;
  }

  /** Motion JPEG from `url`. */
  stream(url) {
    this.#begin(url, async (signal) => {
      const response = await fetch(url, { signal, cache: 'no-store' });
      if (!response.ok) throw await errorFrom(response);
      for await (const jpeg of jpegs(response.body)) await this.#show(jpeg, signal);
      throw new ApiError('The pictures ended.', { code: 'ended' });
    });
  }

  /** A still from `url` each `everyMs`, counted from the last one's arrival. */
  stills(url, everyMs) {
    this.#begin(`${url} ${everyMs}`, async (signal) => {
      const either = AbortSignal.any([signal, AbortSignal.timeout(STILL_TIMEOUT_MS)]);
      await this.#show(await (await ask(url, { signal: either })).blob(), signal);
      return everyMs;
    });
  }

  /** {fps, kbps} since the last call. */
  take() {
    const { pictures, bytes, at } = this.#counted;
    const now = performance.now();
    this.#counted = { pictures: 0, bytes: 0, at: now };
    return at ? { fps: (pictures * 1000) / (now - at), kbps: (bytes * 8) / (now - at) } : null;
  }

  /** `act` gives how long to wait before it is to be done again, or raises. */
  #begin(key, act) {
    if (key === this.#key) return;
    this.stop();
    this.#key = key;
    this.#abort = new AbortController();
    this.#counted.at = 0;
    this.#run(act, this.#abort.signal);
  }

  async #run(act, signal) {
    let waitMs;
    try {
      waitMs = await act(signal);
    } catch (error) {
      if (signal.aborted) return;
      waitMs = error.retryAfterMs ?? Math.min(AGAIN_MS * 2 ** this.#failures++, AGAIN_CAP_MS);
      this.onFailure(error);
    }
    if (!signal.aborted) this.#timer = setTimeout(() => this.#run(act, signal), waitMs);
  }

  async #show(blob, signal) {
    if (signal.aborted) return;
    const picture = await createImageBitmap(blob);
    if (signal.aborted) return;
    this.#counted.pictures += 1;
    this.#counted.bytes += blob.size;
    this.#failures = 0;
    this.onPicture(picture);
    picture.close();
  }
}
