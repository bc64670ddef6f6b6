// A picture to point at: with a mouse, a finger, or the keyboard. What is on it is drawn anew from what it is given.

import { part, write } from './dom.js';

const STEP = 0.01;
const FAR = 0.05; // with Shift
const SVG = 'http://www.w3.org/2000/svg';

/** Shares of width and height. @typedef {[number, number]} Point */
/** @typedef {{points: Point[], kind: string, active: boolean}} Shape */

/**
 * @typedef {{
 *   add: (point: Point) => void,
 *   move: (index: number, point: Point) => void,
 *   removeLast: () => void,
 * }} Hands
 */

export class Easel {
  /** @type {Point} */
  #cross = [0.5, 0.5];
  /** @type {{index: number, id: number} | null} */
  #held = null;
  #url = '';

  /**
   * @param {HTMLElement} root
   * @param {Hands} hands
   */
  constructor(root, hands) {
    this.root = root;
    this.hands = hands;
    this.picture = part(root, 'img', HTMLImageElement);
    this.shapes = part(root, 'svg', SVGElement);
    this.pins = part(root, '.pins');
    this.cross = part(root, '.cross');
    this.place = part(root, '.place');
    this.picture.addEventListener('load', () => {
      root.style.setProperty('--aspect', String(this.picture.naturalWidth / this.picture.naturalHeight));
    });
    root.addEventListener('keydown', (event) => { this.#pressed(event); });
    root.addEventListener('pointerdown', (event) => { this.#touched(event); });
    root.addEventListener('pointermove', (event) => { this.#moved(event); });
    root.addEventListener('pointerup', () => { this.#held = null; });
    root.addEventListener('pointercancel', () => { this.#held = null; });
    root.addEventListener('focus', () => { this.#showCross(); });
  }

  /** @param {Blob} blob */
  show(blob) {
    this.clear();
    this.#url = URL.createObjectURL(blob);
    this.picture.src = this.#url;
    this.root.hidden = false;
  }

  clear() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = '';
    this.picture.removeAttribute('src');
    this.root.hidden = true;
  }

  /**
   * @param {Shape[]} shapes
   * @param {{point: Point, label: string}[]} pins those that can be moved
   */
  draw(shapes, pins) {
    this.shapes.replaceChildren(...shapes.map(({ points, kind, active }) => {
      const polygon = document.createElementNS(SVG, 'polygon');
      polygon.setAttribute('points', points.map(([x, y]) => `${x},${y}`).join(' '));
      polygon.dataset.kind = kind;
      polygon.dataset.active = String(active);
      return polygon;
    }));
    this.pins.replaceChildren(...pins.map(({ point, label }, index) => {
      const pin = Object.assign(document.createElement('b'), { textContent: label });
      pin.dataset.index = String(index);
      put(pin, point);
      return pin;
    }));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const by = event.shiftKey ? FAR : STEP;
    /** @type {Record<string, Point>} */
    const ways = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    const way = ways[event.key];
    if (way) this.#cross = inside([this.#cross[0] + way[0], this.#cross[1] + way[1]]);
    else if (event.key === 'Enter' || event.key === ' ') this.hands.add(this.#cross);
    else if (event.key === 'Backspace' || event.key === 'Delete') this.hands.removeLast();
    else return;
    event.preventDefault();
    this.#showCross();
  }

  #showCross() {
    put(this.cross, this.#cross);
    write(this.place, this.#cross.map((share) => `${Math.round(share * 100)} %`).join(', '));
  }

  /** @param {PointerEvent} event */
  #touched(event) {
    if (event.button !== 0) return;
    const { target } = event;
    this.root.setPointerCapture(event.pointerId);
    const index = target instanceof HTMLElement ? target.dataset.index : undefined;
    event.preventDefault(); // the browser would take the focus back from where add() puts it
    this.root.focus({ preventScroll: true });
    this.#cross = this.#point(event);
    this.#showCross();
    if (index === undefined) this.hands.add(this.#cross);
    else this.#held = { index: Number(index), id: event.pointerId };
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    if (this.#held?.id !== event.pointerId) return;
    this.#cross = this.#point(event);
    this.#showCross();
    this.hands.move(this.#held.index, this.#cross);
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #point({ clientX, clientY }) {
    const { left, top, width, height } = this.picture.getBoundingClientRect();
    return inside([(clientX - left) / width, (clientY - top) / height]);
  }
}

/**
 * In the picture, to a ten-thousandth of its side.
 * @param {Point} point
 * @returns {Point}
 */
export function inside([x, y]) {
  /** @param {number} share */
  const clamped = (share) => Math.round(Math.min(Math.max(share, 0), 1) * 1e4) / 1e4;
  return [clamped(x), clamped(y)];
}

/**
 * @param {HTMLElement} element
 * @param {Point} point
 */
function put(element, [x, y]) {
  element.style.left = `${x * 100}%`;
  element.style.top = `${y * 100}%`;
}
