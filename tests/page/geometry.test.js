import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FARTHEST, NEAREST, distance, fittingFov, lensOf, makeGrid, tangents, unproject } from './static/geometry.js';

const close = (found, expected) => { assert.ok(Math.abs(found - expected) < 1e-6, `${found}, not ${expected}`); };

/** The gray of what is so far away, as streamd writes it. */
function grayAt(far, logStrength = 0) {
  const share = (1 / far - 1 / FARTHEST) / (1 / NEAREST - 1 / FARTHEST);
  return logStrength ? Math.log1p(logStrength * share) / Math.log1p(logStrength) : share;
}

test('gray is inverse depth, from the far end to the near one', () => {
  close(distance(0), FARTHEST);
  close(distance(1), NEAREST);
  for (const far of [1, 1.7, 3, 9.5]) {
    close(distance(grayAt(far)), far);
    close(distance(grayAt(far, 9), 9), far);
  }
});

test('a wall is flat, a ramp is straight, a box has its width', () => {
  const seen = tangents(60, 16 / 9);
  const places = [[0.5, 0.5], [0, 0], [1, 1], [0.2, 0.7]];
  for (const [x, y] of places) close(unproject({ x, y, gray: grayAt(4) }, seen)[2], -4);

  // A floor one below the camera: what is seen at y below the middle is 1 / (tangent of that angle) away.
  for (const y of [0.1, 0.2, 0.25]) {
    const far = 1 / ((1 - 2 * y) * seen[1]);
    const point = unproject({ x: 0.3, y, gray: grayAt(far) }, seen);
    close(point[1], -1);
    close(point[2], -far);
  }

  // One wide at a distance of two: it covers 1 / (2 * 2 * tan 30°) of the picture.
  const share = 1 / (4 * Math.tan(Math.PI / 6));
  const [left, right] = [0.5 - share / 2, 0.5 + share / 2].map((x) => unproject({ x, y: 0.5, gray: grayAt(2) }, seen)[0]);
  close(right - left, 1);
});

test('the whole picture fits, upright and across', () => {
  const seen = tangents(90, 2);
  close(fittingFov(seen, 4), (Math.atan(0.5) * 360) / Math.PI); // a wide screen: its height counts
  close(fittingFov(seen, 0.5), (Math.atan(2) * 360) / Math.PI); // a phone: its width
});

test('a lens is what the settings say, else the default', () => {
  assert.deepEqual(lensOf(null), { fovDegrees: 60, logStrength: 0 });
  assert.deepEqual(lensOf({ settings: { horizontal_fov_degrees: 90, compress: 'log' } }), { fovDegrees: 90, logStrength: 9 });
});

test('the grid has two triangles per cell, all facing one way', () => {
  const { columns, rows, places, triangles } = makeGrid(2, 6);
  assert.deepEqual([columns, rows, places.length, triangles.length], [6, 3, 54, 5 * 2 * 6]);
  for (let at = 0; at < triangles.length; at += 3) {
    const [a, b, c] = [0, 1, 2].map((i) => places.slice(triangles[at + i] * 3, triangles[at + i] * 3 + 2));
    close((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]), 1 / 18);
  }
});
