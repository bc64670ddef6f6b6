import assert from 'node:assert/strict';
import { test } from 'node:test';

import { labelAt, zoneLabel } from './static/zones.js';

/** @type {import('./static/types.js').Zone} */
const zone = { name: 'door', state: 'clear', area: 0, nearest_share: 0.2, nearest_metres: null, problem: null, polygon: null };

test('what is written at a zone', () => {
  assert.equal(zoneLabel(zone), 'door');
  assert.equal(zoneLabel({ ...zone, state: 'near' }), 'door: near');
  assert.equal(zoneLabel({ ...zone, state: 'near', nearest_metres: 1.234 }), 'door: near, 1.2 m');
  assert.equal(zoneLabel({ ...zone, problem: 'lies outside of the picture' }), 'door: off');
});

test('its label begins at its topmost point', () => {
  assert.deepEqual(labelAt([[0.5, 0.9], [0.9, 0.1], [0.2, 0.1]]), [0.2, 0.1]);
});
