// One view of a stream, played across its recorded files: two video elements, of which one shows and the other has the
// next file ready.

/** @import { Piece, Recording } from './types.js' */

import { ask, at, readJson } from './api.js';

const AHEAD_MS = 15 * 60_000; // of recordings that are asked for at once
const LIMIT = 1000;
const NEAR_MS = 50; // the end of a file

/** @param {string} path */
export const recordingUrl = (path) => at(`recordings/${path.split('/').map(encodeURIComponent).join('/')}`);

export class Reel {
  /** @type {Piece[]} sorted */
  #pieces = [];
  #knownFrom = 0;
  #knownTo = 0;
  /** @type {Piece | null} */
  #piece = null; // the one that shows
  #seeks = 0; // counts them: what an earlier one finds is thrown away
  #playing = false;

  /**
   * @param {string} stream
   * @param {string} view
   * @param {HTMLElement} box gets the videos
   * @param {() => void} onEnd called when there is nothing more
   */
  constructor(stream, view, box, onEnd) {
    this.stream = stream;
    this.view = view;
    this.box = box;
    this.onEnd = onEnd;
    const make = () => {
      const video = document.createElement('video');
      Object.assign(video, { muted: true, playsInline: true, preload: 'auto', hidden: true });
      video.addEventListener('ended', () => { if (video === this.video) void this.#goOn(); });
      video.addEventListener('error', () => { if (video === this.video && video.getAttribute('src')) void this.#goOn(); });
      box.append(video);
      return video;
    };
    this.video = make(); // the one that shows
    this.spare = make();
  }

  /** What is shown, ms since 1970; null while nothing is. */
  get time() {
    return this.#piece ? this.#piece.startMs + this.video.currentTime * 1000 : null;
  }

  /**
   * Shows this time, or the first after it that was recorded.
   * @param {number} ms
   */
  async seek(ms) {
    const seek = ++this.#seeks;
    const piece = await this.#find(ms);
    if (seek !== this.#seeks) return;
    if (!piece) {
      this.#show(null, 0);
      return;
    }
    this.#show(piece, Math.max(ms - piece.startMs, 0) / 1000);
    await this.#prepare(piece);
  }

  play() {
    this.#playing = true;
    if (this.#piece) void this.video.play().catch(() => undefined);
  }

  pause() {
    this.#playing = false;
    this.video.pause();
  }

  close() {
    this.#seeks += 1;
    this.pause();
    for (const video of [this.video, this.spare]) {
      video.removeAttribute('src');
      video.load(); // lets go of its connection
    }
    this.box.replaceChildren();
  }

  /** What is known of the files is asked for anew. */
  forget() {
    this.#pieces = [];
    this.#knownFrom = this.#knownTo = 0;
  }

  /** Whether nothing is known to follow. */
  get isAtEnd() {
    return this.#piece === null;
  }

  /**
   * @param {Piece | null} piece
   * @param {number} seconds
   */
  #show(piece, seconds) {
    this.#piece = piece;
    if (!piece) {
      this.video.hidden = true;
      this.video.pause();
      return;
    }
    if (this.spare.src === piece.url) {
      [this.video, this.spare] = [this.spare, this.video];
      this.spare.pause();
    } else if (this.video.src !== piece.url) {
      this.video.src = piece.url;
    }
    this.video.hidden = false;
    this.spare.hidden = true;
    if (Math.abs(this.video.currentTime - seconds) > 0.001) this.video.currentTime = seconds;
    if (this.#playing) void this.video.play().catch(() => undefined);
  }

  /** @param {Piece} piece */
  async #prepare(piece) {
    const next = await this.#find(piece.endMs);
    if (next && this.#piece === piece && next !== piece && this.spare.src !== next.url) this.spare.src = next.url;
  }

  async #goOn() {
    const seek = ++this.#seeks;
    const piece = this.#piece;
    const next = piece && (await this.#find(piece.endMs));
    if (seek !== this.#seeks) return;
    this.#show(next, 0);
    if (next) await this.#prepare(next);
    else this.onEnd();
  }

  /**
   * The file of this time, or the first after it among those of the next minutes.
   * @param {number} ms
   * @returns {Promise<Piece | null>}
   */
  async #find(ms) {
    if (ms < this.#knownFrom || ms >= this.#knownTo) await this.#load(ms);
    return this.#pieces.find(({ endMs }) => endMs > ms + NEAR_MS) ?? null;
  }

  /** @param {number} ms */
  async #load(ms) {
    const [from, to] = [ms, ms + AHEAD_MS];
    const query = { stream: this.stream, view: this.view, limit: String(LIMIT), from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    const answer = /** @type {{recordings: Recording[]}} */ (await readJson(await ask(at('api/v1/recordings', query))));
    this.#pieces = answer.recordings.map(pieceOf).filter(({ startMs, endMs }) => endMs > startMs).reverse();
    this.#knownFrom = from;
    this.#knownTo = to;
  }
}

/**
 * @param {Recording} recording
 * @returns {Piece}
 */
function pieceOf({ path, started, duration_s: seconds }) {
  const startMs = Date.parse(started ?? '');
  return { url: recordingUrl(path), startMs, endMs: startMs + (seconds ?? 0) * 1000 };
}
