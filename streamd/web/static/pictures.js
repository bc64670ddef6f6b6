// Single pictures: Motion JPEG, which one connection brings, or stills that are asked for one by one.

import { ApiError, asApiError, ask, errorFrom } from './api.js';
import { jpegs } from './mjpeg.js';

const AGAIN_MS = 1000;
const AGAIN_CAP_MS = 15_000;
const STILL_TIMEOUT_MS = 12_000; // the server waits up to 10 s for a frame

export class Pictures {
  /** @type {number | undefined} */
  #timer;
  #failures = 0;
  #abort = new AbortController();
  /** @type {string | null} */
  #key = null;
  #counted = { pictures: 0, bytes: 0, at: 0 };

  /**
   * onPicture() for each; onFailure() each time that none comes: it goes on trying.
   * @param {{onPicture: (picture: ImageBitmap) => void, onFailure: (error: ApiError) => void}} callbacks
   */
  constructor({ onPicture, onFailure }) {
    this.onPicture = onPicture;
    this.onFailure = onFailure;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#key = null;
    this.#failures = 0;
  }

  /**
   * Motion JPEG.
   * @param {string} url
   */
  stream(url) {
    this.#begin(url, async (signal) => {
      const response = await fetch(url, { signal, cache: 'no-store' });
      if (!response.ok || !response.body) throw await errorFrom(response);
      for await (const jpeg of jpegs(response.body)) await this.#show(jpeg, signal);
      throw new ApiError('The pictures ended.', { code: 'ended' });
    });
  }

  /**
   * A still each `everyMs`, counted from the last one's arrival.
   * @param {string} url
   * @param {number} everyMs
   */
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

  /**
   * `act` gives how long to wait before it is to be done again, ms, or raises.
   * @param {string} key
   * @param {(signal: AbortSignal) => Promise<number>} act
   */
  #begin(key, act) {
    if (key === this.#key) return;
    this.stop();
    this.#key = key;
    this.#abort = new AbortController();
    this.#counted.at = 0;
    void this.#run(act, this.#abort.signal);
  }

  /**
   * @param {(signal: AbortSignal) => Promise<number>} act
   * @param {AbortSignal} signal
   */
  async #run(act, signal) {
    let waitMs = 0;
    try {
      waitMs = await act(signal);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = asApiError(thrown);
      waitMs = error.retryAfterMs ?? Math.min(AGAIN_MS * 2 ** this.#failures++, AGAIN_CAP_MS);
      this.onFailure(error);
    }
    if (!signal.aborted) this.#timer = setTimeout(() => void this.#run(act, signal), waitMs);
  }

  /**
   * @param {Blob} blob
   * @param {AbortSignal} signal
   */
  async #show(blob, signal) {
    const picture = await createImageBitmap(blob);
    signal.throwIfAborted();
    this.#counted.pictures += 1;
    this.#counted.bytes += blob.size;
    this.#failures = 0;
    this.onPicture(picture);
    picture.close();
  }
}
