import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Announcer, COLUMNS, ROWS, SAMPLED, cellsOf, depthPart, nearnessByBrightness, voicesOf, wordsFor } from './static/hearing.js';
import { channel } from './static/palettes.js';

const GRAY = nearnessByBrightness('gray');

/** Cells of nearness `far`, but for [column, row, near]. */
function scene(far, ...others) {
  const cells = Array(COLUMNS * ROWS).fill(far);
  for (const [column, row, near] of others) cells[row * COLUMNS + column] = near;
  return cells;
}

test('nearness is read from a gray picture, and from an Inferno one', () => {
  for (const [nearness, palette] of [[GRAY, 'gray'], [nearnessByBrightness('inferno'), 'inferno']]) {
    const [reds, greens, blues] = [0, 1, 2].map((i) => channel(palette, i));
    reds.forEach((red, i) => {
      const bright = Math.round(255 * (0.299 * red + 0.587 * greens[i] + 0.114 * blues[i]));
      assert.ok(Math.abs(nearness[bright] - i / (reds.length - 1)) < 0.03, `${palette} ${i}: ${nearness[bright]}`);
    });
    assert.ok(nearness.every((each, i) => i === 0 || each >= nearness[i - 1]));
  }
});

test('a cell is as near as its nearest quarter', () => {
  const pixels = new Uint8ClampedArray(SAMPLED.width * SAMPLED.height * 4).fill(51);
  const paint = (column, row, share) => {
    const [width, height] = [SAMPLED.width / COLUMNS, SAMPLED.height / ROWS];
    for (let y = row * height; y < (row + 1) * height; y++) {
      for (let x = column * width; x < (column + share) * width; x++) pixels.fill(255, (y * SAMPLED.width + x) * 4, (y * SAMPLED.width + x) * 4 + 3);
    }
  };
  paint(0, 4, 1);
  paint(3, 1, 1 / 3); // a post
  const cells = cellsOf(pixels, GRAY);
  assert.deepEqual(cells.map((each) => each.toFixed(2)), scene(0.2, [0, 4, 1], [3, 1, 1]).map((each) => each.toFixed(2)));
});

test('side is pan, height is pitch, nearness is loudness', () => {
  const voices = voicesOf(scene(0.1, [0, 4, 0.7], [6, 0, 0.9]), 0.5);
  assert.deepEqual(voices.map(({ pan }) => pan.toFixed(2)), ['-1.00', '-0.67', '-0.33', '0.00', '0.33', '0.67', '1.00']);
  const [low, , , ahead, , , high] = voices;
  assert.equal(low.hz, 220);
  assert.equal(high.hz, 880);
  assert.ok(high.loudness > low.loudness && low.loudness > 0);
  assert.equal(ahead.loudness, 0);
  assert.equal(voicesOf(scene(1), 0)[3].loudness, 1);
  assert.ok(voicesOf([], 1).every(({ loudness, hz }) => loudness === 0 && Number.isFinite(hz)));
});

test('what does not count is silent', () => {
  assert.ok(voicesOf(scene(0.5), 0.5).every(({ loudness }) => loudness === 0));
  assert.ok(voicesOf(scene(0.5), 0.4).every(({ loudness }) => loudness > 0));
});

test('in words', () => {
  assert.equal(wordsFor(scene(0.1), 0.5), 'Clear.');
  assert.equal(wordsFor(scene(0.1, [0, 4, 0.7]), 0.5), 'Near on the left, low; clear ahead and on the right.');
  assert.equal(wordsFor(scene(0.1, [3, 2, 0.8], [6, 0, 0.6]), 0.5), 'Very near ahead; near on the right, high; clear on the left.');
  assert.equal(wordsFor(scene(0.6), 0.5), 'Near on the left; near ahead; near on the right.', 'a wall is not high');
});

test('the words come at a polite pace, and only when they have settled', () => {
  const announcer = new Announcer();
  assert.equal(announcer.take('Clear.', 0), null);
  assert.equal(announcer.take('Clear.', 100), 'Clear.');
  assert.equal(announcer.take('Near ahead.', 200), null);
  assert.equal(announcer.take('Near ahead.', 300), null, 'too soon');
  assert.equal(announcer.take('Clear.', 4200), null, 'already said');
  assert.equal(announcer.take('Near ahead.', 4300), null, 'not settled');
  assert.equal(announcer.take('Near ahead.', 4400), 'Near ahead.');
});

test('views without depth have nothing to hear', () => {
  assert.equal(depthPart('source'), null);
  assert.equal(depthPart('overlay'), null);
  assert.deepEqual(depthPart('rgbd'), [0.5, 1]);
  assert.deepEqual(depthPart('depth'), [0, 1]);
});
