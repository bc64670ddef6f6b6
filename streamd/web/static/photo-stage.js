// The picture and its depth: drawn, wiped, measured.

/** @import { DepthMap, Tone } from './photo-tone.js' */
/** @import { Palette } from './types.js' */

import { $, context2d, fixed, has, write } from './dom.js';
import { channel, lookupTable } from './palettes.js';
import { Effects } from './photo-effects.js';
import { coloured, shareOf, toned, valueAt } from './photo-tone.js';

/** @typedef {'wipe' | 'side' | 'overlay' | 'blur' | 'tilt'} Mode */
/** @typedef {Tone & {mode: Mode, palette: Palette, wipe: number, alpha: number, aperture: number, strength: number, focus: number}} Look */

const STEP = 0.01; // of the picture, by an arrow key
const LARGE_STEP = 0.1;
/** @satisfies {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const MAX_BLUR = 0.05; // of the picture's width
const MAX_TILT = 0.08;
const MEASURE = 'Point at something to measure it';

/** Where the pictures are that can be seen now. */
const boxes = () => ['effect', 'original', 'depth'].map((id) => $(id).getBoundingClientRect()).filter(({ width }) => width > 0);

export class Stage {
  /** @type {HTMLCanvasElement | null} */
  #picture = null;
  /** @type {DepthMap | null} */
  #map = null;
  /** @type {Look | null} */
  #look = null;
  /** @type {Float32Array<ArrayBuffer> | null} */
  #shares = null;
  /** @type {Effects | null} */
  #effects = null;
  /** @type {unknown[]} */
  #drawn = [];
  #loaded = false;
  /** @type {[number, number]} */
  #point = [0.5, 0.5];
  /** @type {[number, number]} */
  #tilt = [0.35, 0.15];
  #frame = 0;

  /**
   * @param {(change: Partial<Look>) => void} onChange what was done on the stage itself
   * @param {(problem: string) => void} onProblem
   */
  constructor(onChange, onProblem) {
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.#wirePointer($('stage'));
    $('stage').addEventListener('keydown', (event) => { this.#key(event); });
    addEventListener('deviceorientation', ({ beta, gamma }) => {
      if (beta !== null && gamma !== null) this.#tiltTo(gamma / 30, (beta - 40) / 30);
    });
  }

  /**
   * @param {HTMLCanvasElement | null} picture
   * @param {DepthMap | null} map of the same size
   * @param {Look} look
   */
  show(picture, map, look) {
    const another = map !== this.#map || picture !== this.#picture;
    this.#look = look;
    document.body.dataset.mode = look.mode;
    const { style } = $('pair');
    style.setProperty('--wipe', String(look.wipe));
    style.setProperty('--alpha', String(look.alpha));
    if (another) {
      [this.#picture, this.#map, this.#drawn] = [picture, map, []];
      $('point').hidden = true;
      write($('value'), MEASURE);
      for (const id of ['original', 'depth', 'effect']) Object.assign($(id), { width: picture?.width ?? 300, height: picture?.height ?? 200 });
      style.setProperty('--aspect', String((picture?.width ?? 3) / (picture?.height ?? 2)));
      if (picture) context2d($('original', HTMLCanvasElement)).drawImage(picture, 0, 0);
    }
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => { this.#draw(); });
  }

  /**
   * What is seen, as a file.
   * @param {string} type
   * @returns {Promise<Blob>}
   */
  async asSeen(type) {
    this.#draw();
    const look = this.#look;
    const [original, depth, effect] = ['original', 'depth', 'effect'].map((id) => $(id, HTMLCanvasElement));
    if (!look || !original || !depth || !effect) throw new TypeError('There is no picture.');
    const { width, height } = original;
    const canvas = new OffscreenCanvas(look.mode === 'side' ? 2 * width : width, height);
    const context = canvas.getContext('2d');
    if (!context) throw new TypeError('This browser cannot draw.');
    if (look.mode === 'blur' || look.mode === 'tilt') context.drawImage(effect, 0, 0);
    else if (look.mode === 'wipe') context.drawImage(depth, 0, 0); // all of it
    else {
      context.drawImage(original, 0, 0);
      if (look.mode === 'overlay') context.globalAlpha = look.alpha;
      context.drawImage(depth, look.mode === 'side' ? width : 0, 0);
    }
    return canvas.convertToBlob({ type, quality: 0.92 });
  }

  #draw() {
    const [map, look] = [this.#map, this.#look];
    if (!map || !look) return;
    const wanted = [map, look.far, look.near, look.log, look.palette];
    if (wanted.some((each, i) => each !== this.#drawn[i])) {
      this.#drawn = wanted;
      this.#loaded = false;
      this.#shares = toned(map, look);
      const pixels = coloured(this.#shares, [0, 1, 2].map((i) => lookupTable(channel(look.palette, i))));
      context2d($('depth', HTMLCanvasElement)).putImageData(new ImageData(pixels, map.width, map.height), 0, 0);
    }
    if (look.mode === 'blur' || look.mode === 'tilt') this.#drawEffect(look, look.mode);
  }

  /**
   * @param {Look} look
   * @param {'blur' | 'tilt'} mode
   */
  #drawEffect(look, mode) {
    if (!this.#picture || !this.#shares) return;
    try {
      this.#effects ??= new Effects($('effect', HTMLCanvasElement));
      if (!this.#loaded) this.#effects.load(this.#picture, this.#shares);
      this.#loaded = true;
      const strength = mode === 'blur' ? look.aperture * MAX_BLUR : look.strength * MAX_TILT;
      this.#effects.draw({ mode, focus: look.focus, strength, tilt: this.#tilt });
    } catch (thrown) {
      this.onProblem(thrown instanceof Error ? thrown.message : String(thrown));
      this.onChange({ mode: 'wipe' });
    }
  }

  /** @param {HTMLElement} stage */
  #wirePointer(stage) {
    let dragging = false;
    stage.addEventListener('pointerdown', (event) => {
      dragging = true;
      stage.setPointerCapture(event.pointerId);
      this.#pointed(event, true, true);
    });
    stage.addEventListener('pointermove', (event) => { this.#pointed(event, dragging, false); });
    for (const end of ['pointerup', 'pointercancel']) stage.addEventListener(end, () => { dragging = false; });
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} held
   * @param {boolean} pressed
   */
  #pointed({ clientX, clientY }, held, pressed) {
    if (!this.#look) return;
    const { mode } = this.#look;
    const shown = boxes();
    const over = (/** @type {DOMRect} */ { left, right, top, bottom }) => clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    const box = shown.find(over) ?? shown[0];
    if (!box) return;
    const inside = (/** @type {number} */ share) => Math.min(Math.max(share, 0), 1);
    const [x, y] = [inside((clientX - box.left) / box.width), inside((clientY - box.top) / box.height)];
    this.#measure(x, y);
    $('point').hidden = true;
    if (mode === 'wipe' && held) this.onChange({ wipe: x });
    if (mode === 'blur' && pressed) this.#focusHere();
    if (mode === 'tilt') this.#tiltTo(2 * x - 1, 2 * y - 1);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [dx, dy] = has(ARROWS, event.key) ? ARROWS[event.key] : [0, 0];
    if (event.key === 'Enter' && this.#look?.mode === 'blur') this.#focusHere();
    else if (!dx && !dy) return;
    event.preventDefault();
    if (!dx && !dy) return;
    if (this.#look?.mode === 'tilt') {
      this.#tiltTo(this.#tilt[0] + dx * LARGE_STEP, this.#tilt[1] + dy * LARGE_STEP);
      return;
    }
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const [x, y] = this.#point;
    this.#measure(Math.min(Math.max(x + dx * step, 0), 1), Math.min(Math.max(y + dy * step, 0), 1));
    $('point').hidden = false;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #measure(x, y) {
    this.#point = [x, y];
    const [all, shown] = [$('pair').getBoundingClientRect(), boxes()[0]];
    if (shown) {
      $('point').style.left = `${shown.left - all.left + x * shown.width}px`;
      $('point').style.top = `${shown.top - all.top + y * shown.height}px`;
    }
    const map = this.#map;
    if (!map) return;
    const value = valueAt(map, x, y);
    write($('value'), `Inverse depth ${value.toPrecision(5)} · ${fixed(100 * shareOf(map, value), 1)} % of the range (100 % is nearest)`);
  }

  #focusHere() {
    if (this.#shares && this.#map) this.onChange({ focus: valueAt({ ...this.#map, values: this.#shares }, ...this.#point) });
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #tiltTo(x, y) {
    if (this.#look?.mode !== 'tilt') return;
    this.#tilt = [Math.min(Math.max(x, -1), 1), Math.min(Math.max(y, -1), 1)];
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => { this.#draw(); });
  }
}
