// A day of a stream as a line of time: a row for each view, a playhead and the two ends of a clip. By pointer: tap to
// seek, drag to move, wheel or two fingers to zoom. By keyboard: arrows, page keys, Home, End, + and -.

/** @import { TimeSpan } from './types.js' */

import { $, context2d } from './dom.js';
import { clamped, clock, marks, moved, zoomed } from './timescale.js';

const ROW_PX = 26;
const AXIS_PX = 20;
const DRAG_PX = 6; // less is a tap
const STEPS = 60; // of an arrow key, over what is shown; with shift it is a second
const LONGEST_STEP_MS = 600_000;
const ZOOM = 1.6;

/** @typedef {{view: string, spans: TimeSpan[]}} Row */
/** @typedef {'playhead' | 'clip-from' | 'clip-to'} Hand */

export class Timeline {
  /** @type {Row[]} */
  rows = [];
  /** @type {TimeSpan} */
  whole = [0, 1];
  /** @type {TimeSpan} */
  shown = [0, 1];
  playhead = 0;
  /** @type {TimeSpan | null} */
  clip = null;
  /** @type {Map<number, number>} x of each pointer that is down */
  #pointers = new Map();
  #dragged = false;

  /**
   * @param {(ms: number) => void} onSeek
   * @param {(clip: TimeSpan) => void} onClip
   * @param {() => void} onShown called when another part of the day is shown
   */
  constructor(onSeek, onClip, onShown) {
    this.onSeek = onSeek;
    this.onClip = onClip;
    this.onShown = onShown;
    this.box = $('timeline');
    this.canvas = $('timeline-canvas', HTMLCanvasElement);
    this.#listen();
    new ResizeObserver(() => { this.draw(); }).observe(this.box);
  }

  /**
   * Another day, in full.
   * @param {TimeSpan} whole
   */
  open(whole) {
    this.whole = this.shown = whole;
    this.clip = null;
  }

  /**
   * @param {number} factor less than 1 shows less time
   * @param {number} [about]
   */
  zoom(factor, about = clamped(this.playhead, this.shown)) {
    this.#show(zoomed(this.shown, this.whole, factor, about));
  }

  /** Moves on when the playhead leaves what is shown. */
  follow() {
    const [from, to] = this.shown;
    if (this.playhead > to || this.playhead < from) this.#show(moved(this.shown, this.whole, this.playhead - from));
    else this.draw();
  }

  /** @param {TimeSpan} shown */
  #show(shown) {
    this.shown = shown;
    this.draw();
    this.onShown();
  }

  // --- drawing

  draw() {
    const { clientWidth: width } = this.box;
    if (!width) return;
    const height = AXIS_PX + ROW_PX * Math.max(1, this.rows.length);
    Object.assign(this.box.dataset, { from: Math.round(this.shown[0]), to: Math.round(this.shown[1]) });
    this.box.style.height = `${height}px`;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    const context = context2d(this.canvas);
    context.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(this.box);
    /** @param {string} name */
    const colour = (name) => style.getPropertyValue(name);
    context.font = `11px ${style.fontFamily}`;
    this.#drawAxis(context, width, height, colour);
    this.#drawRows(context, width, colour);
    this.#place('playhead', this.playhead, 'Time');
    for (const [index, hand] of /** @type {const} */ ([[0, 'clip-from'], [1, 'clip-to']])) {
      $(hand).hidden = !this.clip;
      if (this.clip) this.#place(hand, this.clip[index], hand);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {number} height
   * @param {(name: string) => string} colour
   */
  #drawAxis(context, width, height, colour) {
    const { times, withSeconds } = marks(this.shown, width);
    context.textAlign = 'center';
    for (const time of times) {
      const x = this.#x(time, width);
      context.fillStyle = colour('--line');
      context.fillRect(x, AXIS_PX - 4, 1, height);
      context.fillStyle = colour('--soft');
      if (x > 18 && x < width - 18) context.fillText(clock(time, withSeconds), x, 12);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width
   * @param {(name: string) => string} colour
   */
  #drawRows(context, width, colour) {
    context.textAlign = 'left';
    for (const [index, { view, spans }] of this.rows.entries()) {
      const top = AXIS_PX + index * ROW_PX;
      context.fillStyle = colour('--accent');
      for (const [from, to] of spans) {
        const left = Math.max(this.#x(from, width), 0);
        const right = Math.min(this.#x(to, width), width);
        if (right >= 0 && left <= width) context.fillRect(left, top + 3, Math.max(right - left, 1.5), ROW_PX - 6);
      }
      const label = context.measureText(view).width + 10;
      context.fillStyle = colour('--panel');
      context.fillRect(0, top + 5, label, ROW_PX - 10);
      context.fillStyle = colour('--text');
      context.fillText(view, 4, top + ROW_PX / 2 + 4);
    }
    if (!this.clip) return;
    const [left, right] = this.clip.map((ms) => this.#x(ms, width));
    context.fillStyle = colour('--good');
    context.globalAlpha = 0.28;
    context.fillRect(left ?? 0, AXIS_PX, Math.max((right ?? 0) - (left ?? 0), 1), ROW_PX * Math.max(1, this.rows.length));
    context.globalAlpha = 1;
  }

  /**
   * @param {Hand} hand
   * @param {number} ms
   * @param {string} name
   */
  #place(hand, ms, name) {
    const element = $(hand);
    const x = this.#x(ms, this.box.clientWidth);
    element.style.left = `${x}px`;
    element.classList.toggle('away', x < 0 || x > this.box.clientWidth);
    element.ariaValueMin = '0';
    element.ariaValueMax = String(Math.round((this.whole[1] - this.whole[0]) / 1000));
    element.ariaValueNow = String(Math.round((ms - this.whole[0]) / 1000));
    element.ariaValueText = clock(ms);
    element.dataset.ms = String(Math.round(ms));
    element.title = `${name === 'Time' ? '' : name === 'clip-from' ? 'Clip begins ' : 'Clip ends '}${clock(ms)}`;
  }

  /**
   * @param {number} ms
   * @param {number} width
   */
  #x(ms, width) {
    const [from, to] = this.shown;
    return ((ms - from) / (to - from)) * width;
  }

  /** @param {number} clientX */
  #timeAt(clientX) {
    const { left, width } = this.box.getBoundingClientRect();
    const [from, to] = this.shown;
    return from + ((clientX - left) / width) * (to - from);
  }

  // --- hands

  #listen() {
    const { canvas } = this;
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.#pan(event.deltaX);
      else this.zoom(event.deltaY > 0 ? ZOOM : 1 / ZOOM, this.#timeAt(event.clientX));
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, event.clientX);
      this.#dragged = this.#pointers.size > 1;
    });
    canvas.addEventListener('pointermove', (event) => { this.#moved(event); });
    canvas.addEventListener('pointerup', (event) => {
      if (!this.#dragged) this.onSeek(clamped(this.#timeAt(event.clientX), this.whole));
      this.#pointers.delete(event.pointerId);
    });
    canvas.addEventListener('pointercancel', (event) => { this.#pointers.delete(event.pointerId); });
    for (const hand of /** @type {const} */ (['playhead', 'clip-from', 'clip-to'])) this.#listenToHand(hand);
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) return;
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other !== undefined) {
      const [was, is] = [Math.abs(before - other), Math.abs(event.clientX - other)];
      this.zoom(Math.max(was, 1) / Math.max(is, 1), this.#timeAt((event.clientX + other) / 2));
    } else if (!this.#dragged && Math.abs(event.clientX - before) < DRAG_PX) {
      return;
    } else {
      this.#pan(before - event.clientX);
    }
    this.#dragged = true;
    this.#pointers.set(event.pointerId, event.clientX);
  }

  /** @param {number} px */
  #pan(px) {
    const [from, to] = this.shown;
    this.#show(moved(this.shown, this.whole, (px / this.box.clientWidth) * (to - from)));
  }

  /** @param {Hand} hand */
  #listenToHand(hand) {
    const element = $(hand);
    element.addEventListener('pointerdown', (event) => {
      element.setPointerCapture(event.pointerId);
      element.focus();
      event.preventDefault();
    });
    element.addEventListener('pointermove', (event) => {
      if (element.hasPointerCapture(event.pointerId)) this.#put(hand, this.#timeAt(event.clientX));
    });
    element.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === '+' || event.key === '-') this.zoom(event.key === '+' ? 1 / ZOOM : ZOOM);
      else if (!this.#step(hand, event)) return;
      event.preventDefault();
    });
  }

  /**
   * @param {Hand} hand
   * @param {KeyboardEvent} event
   */
  #step(hand, { key, shiftKey }) {
    const now = this.#timeOf(hand);
    const length = this.shown[1] - this.shown[0];
    const step = shiftKey ? 1000 : clamped(length / STEPS, [1000, LONGEST_STEP_MS]);
    /** @type {Record<string, number>} */
    const times = {
      ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step,
      PageUp: now + length / 6, PageDown: now - length / 6, Home: this.whole[0], End: this.whole[1],
    };
    const time = times[key];
    if (time === undefined) return false;
    this.#put(hand, time);
    return true;
  }

  /** @param {Hand} hand */
  #timeOf(hand) {
    if (hand === 'playhead' || !this.clip) return this.playhead;
    return this.clip[hand === 'clip-from' ? 0 : 1];
  }

  /**
   * @param {Hand} hand
   * @param {number} ms
   */
  #put(hand, ms) {
    const time = clamped(ms, this.whole);
    if (hand === 'playhead') {
      this.onSeek(time);
    } else if (this.clip) {
      const [from, to] = this.clip;
      this.onClip(hand === 'clip-from' ? [Math.min(time, to - 1000), to] : [from, Math.max(time, from + 1000)]);
    }
  }
}
