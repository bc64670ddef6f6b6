// What is near, as sound and as words: by side, height and nearness. Pure: sounder.js makes it heard, listen.js asks.

/** @import { Palette, View } from './types.js' */

import { channel } from './palettes.js';

export const COLUMNS = 7; // odd: one is straight ahead
export const ROWS = 5;
const SAMPLES = 6; // of a cell, each way
export const SAMPLED = { width: COLUMNS * SAMPLES, height: ROWS * SAMPLES };
const LOWEST_HZ = 220;
const OCTAVES = 2;
const NEAREST_SHARE = 0.25; // of a cell counts: what is thin is near, too
const ALIKE = 0.05; // as near as each other
const PACE_MS = 4000;
const SETTLED = 2; // readings in a row that say the same

/** One voice: what is heard from one side. @typedef {{pan: number, hz: number, loudness: number}} Voice */

/**
 * Where depth is in a picture of this view, or null: [from, to], shares of its width.
 * @param {View} view as served
 * @returns {[number, number] | null}
 */
export function depthPart(view) {
  if (view === 'rgbd' || view === 'side-by-side') return [0.5, 1];
  return view === 'depth' || view === 'gray' ? [0, 1] : null;
}

/**
 * @param {number} red
 * @param {number} green
 * @param {number} blue
 */
const brightness = (red, green, blue) => 0.299 * red + 0.587 * green + 0.114 * blue;

/**
 * Nearness by brightness, 256 each: Inferno gets brighter all the way.
 * @param {Palette} palette
 */
export function nearnessByBrightness(palette) {
  const [reds = [], greens = [], blues = []] = [0, 1, 2].map((i) => channel(palette, i));
  const ladder = reds.map((red, i) => 255 * brightness(red, greens[i] ?? 0, blues[i] ?? 0));
  const steps = ladder.length - 1;
  return Float32Array.from({ length: 256 }, (_, bright) => {
    const above = ladder.findIndex((each) => each >= bright);
    if (above <= 0) return above < 0 ? 1 : 0;
    const [low = 0, high = 1] = ladder.slice(above - 1, above + 1);
    return (above - 1 + (bright - low) / (high - low)) / steps;
  });
}

/**
 * Nearness of each cell, 0 to 1, row by row from above: of its nearest part.
 * @param {Uint8ClampedArray} pixels RGBA, of SAMPLED's size
 * @param {Float32Array} nearness of each brightness
 */
export function cellsOf(pixels, nearness) {
  return Array.from({ length: ROWS * COLUMNS }, (_, cell) => {
    const [left, top] = [(cell % COLUMNS) * SAMPLES, Math.floor(cell / COLUMNS) * SAMPLES];
    const samples = Array.from({ length: SAMPLES ** 2 }, (_, i) => {
      const at = ((top + Math.floor(i / SAMPLES)) * SAMPLED.width + left + (i % SAMPLES)) * 4;
      return nearness[Math.round(brightness(pixels[at] ?? 0, pixels[at + 1] ?? 0, pixels[at + 2] ?? 0))] ?? 0;
    });
    const nearest = samples.sort((a, b) => b - a).slice(0, SAMPLES ** 2 * NEAREST_SHARE);
    return nearest.reduce((sum, each) => sum + each, 0) / nearest.length;
  });
}

/**
 * The nearest of a column: the middle of its rows, 0 above, and how near it is.
 * @param {number[]} cells
 * @param {number} column
 */
function nearestOf(cells, column) {
  const there = Array.from({ length: ROWS }, (_, row) => cells[row * COLUMNS + column] ?? 0);
  const near = Math.max(...there);
  const rows = [...there.keys()].filter((row) => (there[row] ?? 0) > near - ALIKE);
  return { row: rows.reduce((sum, row) => sum + row, 0) / rows.length, near };
}

/**
 * One voice per column: side by pan, height by pitch, nearness above `level` by loudness.
 * @param {number[]} cells
 * @param {number} level 0 to 1: what is farther is silent
 * @returns {Voice[]}
 */
export function voicesOf(cells, level) {
  return Array.from({ length: COLUMNS }, (_, column) => {
    const { row, near } = nearestOf(cells, column);
    const over = Math.max(0, (near - level) / Math.max(1 - level, 0.01));
    return {
      pan: (2 * column) / (COLUMNS - 1) - 1,
      hz: LOWEST_HZ * 2 ** (OCTAVES * (1 - row / (ROWS - 1))),
      loudness: Math.min(1, over) ** 1.5,
    };
  });
}

const SIDES = [
  { name: 'on the left', columns: [0, 1] },
  { name: 'ahead', columns: [2, 3, 4] },
  { name: 'on the right', columns: [5, 6] },
];

/**
 * "near on the left, low; clear ahead and on the right".
 * @param {number[]} cells
 * @param {number} level as of voicesOf
 */
export function wordsFor(cells, level) {
  const clear = [];
  const said = [];
  for (const { name, columns } of SIDES) {
    const { row, near } = columns.map((column) => nearestOf(cells, column)).reduce((a, b) => (b.near > a.near ? b : a));
    if (near <= level) clear.push(name);
    else said.push(`${near > (1 + level) / 2 ? 'very near' : 'near'} ${name}${heightWord(row)}`);
  }
  if (!said.length) return 'Clear.';
  if (clear.length) said.push(`clear ${clear.join(' and ')}`);
  const words = said.join('; ');
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

/** @param {number} row */
const heightWord = (row) => (row < 1 ? ', high' : row > ROWS - 2 ? ', low' : '');

/** Says what has changed, and has stayed so, at a polite pace. */
export class Announcer {
  #said = '';
  #saidMs = -Infinity;
  #heard = '';
  #times = 0;

  /**
   * What to say now, or null.
   * @param {string} words
   * @param {number} nowMs
   */
  take(words, nowMs) {
    this.#times = words === this.#heard ? this.#times + 1 : 1;
    this.#heard = words;
    if (words === this.#said || this.#times < SETTLED || nowMs - this.#saidMs < PACE_MS) return null;
    this.#said = words;
    this.#saidMs = nowMs;
    return words;
  }
}
