// From inverse depth to what is seen: numbers only, so that the palette, the curve and the ends of the range change
// without asking the server again.

/** @import { FloatArray } from './photo-npz.js' */

/** Values of a picture, and the range of all of them; of a large one only some: each of them is one of the server's. */
/** @typedef {{width: number, height: number, values: Float32Array<ArrayBuffer>, low: number, high: number}} DepthMap */
/** Shares of the range that are shown as farthest and nearest; `log` gives more colours to what is far. */
/** @typedef {{far: number, near: number, log: boolean}} Tone */

const LOG_STRENGTH = 9; // as streamd's compress = "log"

/**
 * Every so-manyth row and column, so that at most `most` values are left.
 * @param {FloatArray} array of two dimensions
 * @param {number} most
 * @returns {DepthMap}
 */
export function thinned({ shape, values }, most) {
  const [rows = 0, columns = 0] = shape;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const step = Math.max(1, Math.ceil(Math.sqrt((rows * columns) / most)));
  const [width, height] = [Math.ceil(columns / step), Math.ceil(rows / step)];
  const left = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) left[y * width + x] = values[y * step * columns + x * step] ?? 0;
  }
  return { width, height, values: left, low, high };
}

/**
 * Where a value lies in the range, 0 farthest to 1 nearest.
 * @param {DepthMap} map
 * @param {number} value
 */
export const shareOf = ({ low, high }, value) => (value - low) / Math.max(high - low, 1e-12);

/**
 * The value at a place; x and y are shares of width and height.
 * @param {DepthMap} map
 * @param {number} x
 * @param {number} y
 */
export function valueAt({ width, height, values }, x, y) {
  const column = Math.min(Math.max(Math.floor(x * width), 0), width - 1);
  const row = Math.min(Math.max(Math.floor(y * height), 0), height - 1);
  return values[row * width + column] ?? 0;
}

/**
 * 0 to 1 for each value, as it is to be coloured.
 * @param {DepthMap} map
 * @param {Tone} tone
 */
export function toned(map, { far, near, log }) {
  const span = Math.max(map.high - map.low, 1e-12);
  const start = map.low + far * span;
  const scale = 1 / Math.max((near - far) * span, 1e-12);
  const full = Math.log1p(LOG_STRENGTH);
  return map.values.map((value) => {
    const share = Math.min(Math.max((value - start) * scale, 0), 1);
    return log ? Math.log1p(LOG_STRENGTH * share) / full : share;
  });
}

/**
 * RGBA of each share.
 * @param {Float32Array} shares
 * @param {Uint8ClampedArray[]} tables red, green and blue of 256 levels
 */
export function coloured(shares, [red, green, blue]) {
  const pixels = new Uint8ClampedArray(shares.length * 4);
  shares.forEach((share, i) => {
    const level = Math.round(share * 255);
    pixels[4 * i] = red?.[level] ?? 0;
    pixels[4 * i + 1] = green?.[level] ?? 0;
    pixels[4 * i + 2] = blue?.[level] ?? 0;
    pixels[4 * i + 3] = 255;
  });
  return pixels;
}
