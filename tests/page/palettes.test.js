import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import { gradient, paletteNamed, recolour, served, storePalette, storedPalette, lookupTable } from './static/palettes.js';

afterEach(() => {
  delete globalThis.localStorage;
});

/** What a browser that blocks storage does at the mere name. */
function blockStorage() {
  Object.defineProperty(globalThis, 'localStorage', {
    configurable: true,
    get() {
      throw new DOMException('denied', 'SecurityError');
    },
  });
}

test('blocked storage costs nothing but the memory', () => {
  blockStorage();
  assert.equal(storedPalette(), 'inferno');
  storePalette('turbo');
});

test('full storage is no error', () => {
  const setItem = () => {
    throw new DOMException('full', 'QuotaExceededError');
  };
  Object.defineProperty(globalThis, 'localStorage', { configurable: true, value: { setItem, getItem: () => 'viridis' } });
  storePalette('turbo');
  assert.equal(storedPalette(), 'viridis');
});

for (const name of ['constructor', 'toString', '__proto__', 'rainbow', '', null]) {
  test(`${name} is no palette`, () => assert.equal(paletteNamed(name), 'inferno'));
}

test('only depth has palettes, and the server colours only one of them', () => {
  assert.deepEqual(served('depth', 'viridis'), ['gray', 'viridis']);
  assert.deepEqual(served('depth', 'inferno'), ['depth', 'inferno']);
  assert.deepEqual(served('rgbd', 'viridis'), ['rgbd', 'inferno']);
});

test('a table goes through its samples', () => {
  const table = lookupTable([0, 1, 0.5]);
  assert.equal(table.length, 256);
  assert.deepEqual([table[0], table[255]], [0, 128]);
  assert.ok(table[127] >= 254);
});

test('each pixel gets the colour of its gray, and keeps its alpha', () => {
  const pixels = Uint8ClampedArray.from([0, 0, 0, 7, 255, 255, 255, 9]);
  recolour(pixels, [lookupTable([0, 1]), lookupTable([1, 0]), lookupTable([0.2, 0.2])]);
  assert.deepEqual([...pixels], [0, 255, 51, 7, 255, 0, 51, 9]);
});

test('a gradient runs from far to near', () => {
  assert.equal(gradient('to top', 'gray'), 'linear-gradient(to top, #000000, #ffffff)');
});
