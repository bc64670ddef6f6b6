// Depth under the cursor: of a mouse, a finger, or the one that the arrow keys move.

/** @import { Page, Value } from './types.js' */
/** @import { Point } from './easel.js' */

import { DEFAULT_VIEW } from './address.js';
import { ask, ofStream, readJson } from './api.js';
import { distance } from './calibrating.js';
import { $, fixed, joined, part, write } from './dom.js';
import { inside } from './easel.js';

const EVERY_MS = 250;
const WIDE = ['side-by-side', 'rgbd']; // two pictures beside each other

export class Cursor {
  /** @type {Point | null} */
  #point = null; // shares of the picture
  #keys = false; // the arrow keys move it
  #asking = false;
  #askedAt = 0;

  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.label = $('cursor');
    const tiles = $('tiles');
    tiles.addEventListener('pointermove', (event) => { this.#moved(event); });
    tiles.addEventListener('pointerdown', (event) => { this.#moved(event); });
    tiles.addEventListener('pointerleave', () => { if (!this.#keys) this.#go(null); });
    document.addEventListener('keydown', (event) => { this.#pressed(event); }, true); // before the page's own arrows
    setInterval(() => void this.#ask(), EVERY_MS);
  }

  /** By keyboard: in the middle at first; off the second time. */
  toggle() {
    if (!this.#box()) return false;
    this.#keys = !this.#keys;
    this.#go(this.#keys ? [0.5, 0.5] : null);
    return true;
  }

  /** The large one may be another, or gone. */
  render() {
    if (!this.#box()) {
      this.#keys = false;
      this.#go(null);
    } else if (this.#keys) {
      this.#place();
    }
  }

  /** @param {PointerEvent} event */
  #moved({ clientX, clientY }) {
    const box = this.#box();
    if (!box) return;
    const x = (clientX - box.left) / box.width;
    const y = (clientY - box.top) / box.height;
    this.#keys = false;
    const isIn = x >= 0 && y >= 0 && x < box.pictures && y <= 1;
    this.#go(isIn ? inside([x % 1, y]) : null, Math.floor(x));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (!this.#keys || !this.#point || document.querySelector('dialog[open]')) return;
    const by = event.shiftKey ? 0.05 : 0.01;
    /** @type {Record<string, Point>} */
    const ways = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const way = ways[event.key];
    if (event.key === 'Escape') this.toggle();
    else if (way) this.#go(inside([this.#point[0] + way[0], this.#point[1] + way[1]]));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The first of the pictures that the large tile shows, in the window; null: there is none, or it has no depth yet. */
  #box() {
    const { layout, stream: name, views } = this.page.state;
    const stream = this.page.news.stream(name);
    const screen = document.querySelector('.tile.large .screen');
    if (layout !== 'one' || !screen || !stream?.width || !stream.height || this.page.news.gone) return null;
    const pictures = WIDE.includes(views.get(stream.name) ?? DEFAULT_VIEW) ? 2 : 1;
    const { left, top, width, height } = screen.getBoundingClientRect();
    const scale = Math.min(width / (stream.width * pictures), height / stream.height);
    const [w, h] = [stream.width * scale, stream.height * scale];
    return { left: left + (width - w * pictures) / 2, top: top + (height - h) / 2, width: w, height: h, pictures };
  }

  #column = 0;

  /**
   * @param {Point | null} point
   * @param {number} column which of the pictures
   */
  #go(point, column = this.#column) {
    const isNew = !this.#point && point !== null;
    this.#point = point;
    this.#column = column;
    if (!point) {
      this.label.hidden = true;
      return;
    }
    this.#place();
    if (isNew) void this.#ask();
  }

  #place() {
    const box = this.#box();
    if (!box || !this.#point) return;
    const { left, top, width } = part(document, '.wall').getBoundingClientRect();
    const column = Math.min(this.#column, box.pictures - 1);
    const x = box.left - left + (this.#point[0] + column) * box.width;
    const y = box.top - top + this.#point[1] * box.height;
    this.label.style.left = `${x}px`;
    this.label.style.top = `${y}px`;
    this.label.dataset.side = x > width * 0.5 ? 'left' : 'right';
  }

  async #ask() {
    const [x, y] = this.#point ?? [];
    const { stream: name } = this.page.state;
    const now = performance.now();
    if (x === undefined || y === undefined || !name || this.#asking || document.hidden || now - this.#askedAt < EVERY_MS / 2) return;
    this.#asking = true;
    this.#askedAt = now;
    try {
      const answer = await ask(ofStream(name, '/value', { x: String(x), y: String(y) }));
      const value = /** @type {Value} */ (await readJson(answer));
      write(part(this.label, 'output'), valueText(value));
      this.label.hidden = !this.#point;
    } catch {
      this.label.hidden = true;
    } finally {
      this.#asking = false;
    }
  }
}

/**
 * Metres where they are known, else how near it is.
 * @param {Value} value
 */
export function valueText(value) {
  return joined(' · ', distance(value), `${fixed(value.share * 100)} % near`, `inverse depth ${value.inverse_depth.toPrecision(4)}`);
}
