// Where the points of a depth picture are in space, as in the point cloud of a snapshot (streamd/render/pointcloud.py):
// a pinhole camera at the origin, x to the right, y up, z towards the viewer. No metres: the network knows none.

/** @import { Stream } from './types.js' */

export const NEAREST = 1;
export const FARTHEST = 10;
const LOG_STRENGTH = 9; // of `compress = "log"`, streamd/depth/range.py
const COLUMNS = 256; // as the networks see it

/** What the shape of the scene depends on, besides the picture. @typedef {{fovDegrees: number, logStrength: number}} Lens */

/**
 * @param {Stream | null} stream
 * @returns {Lens}
 */
export function lensOf(stream) {
  const { horizontal_fov_degrees: fovDegrees = 60, compress } = stream?.settings ?? {};
  return { fovDegrees, logStrength: compress === 'log' ? LOG_STRENGTH : 0 };
}

/**
 * From a gray of the picture, 0 (far) to 1 (near).
 * @param {number} gray
 * @param {number} logStrength 0: linear
 */
export function distance(gray, logStrength = 0) {
  const share = logStrength ? ((1 + logStrength) ** gray - 1) / logStrength : gray;
  return 1 / (1 / FARTHEST + share * (1 / NEAREST - 1 / FARTHEST));
}

/**
 * Tangents of half of what the camera sees: [to the side, up].
 * @param {number} fovDegrees from left to right
 * @param {number} aspect width : height of the picture
 * @returns {[number, number]}
 */
export function tangents(fovDegrees, aspect) {
  const side = Math.tan((fovDegrees * Math.PI) / 360);
  return [side, side / aspect];
}

/**
 * [x, y, z] of what is at (x, y) of the picture: shares of its width and height, from the left and from below.
 * @param {{x: number, y: number, gray: number}} point
 * @param {[number, number]} tangents
 * @returns {[number, number, number]}
 */
export function unproject({ x, y, gray }, [side, up], logStrength = 0) {
  const far = distance(gray, logStrength);
  return [(2 * x - 1) * side * far, (2 * y - 1) * up * far, -far];
}

/**
 * What a viewer's camera must see from top to bottom, degrees, for the whole picture to fit.
 * @param {[number, number]} tangents
 * @param {number} aspect width : height of the screen
 */
export const fittingFov = ([side, up], aspect) => (Math.atan(Math.max(up, side / aspect)) * 360) / Math.PI;

/**
 * The grid of points that stands for a picture: their (x, y, 0), row by row from below, and two triangles per cell.
 * @param {number} aspect width : height
 */
export function makeGrid(aspect, columns = COLUMNS) {
  const rows = Math.max(2, Math.round(columns / aspect));
  const places = new Float32Array(columns * rows * 3);
  const triangles = new Uint32Array((columns - 1) * (rows - 1) * 6);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const point = row * columns + column;
      places.set([(column + 0.5) / columns, (row + 0.5) / rows], point * 3);
      if (row + 1 === rows || column + 1 === columns) continue;
      const above = point + columns;
      triangles.set([point, point + 1, above, above, point + 1, above + 1], at);
      at += 6;
    }
  }
  return { columns, rows, places, triangles };
}
