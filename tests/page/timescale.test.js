import assert from 'node:assert/strict';
import { test } from 'node:test';

import { clamped, dateText, dayOf, marks, moved, nextRecorded, union, zoomed } from './static/timescale.js';

const HOUR = 3_600_000;

test('a day is that of this place, however long', () => {
  const noon = new Date(2026, 10, 25, 12).getTime();
  const [from, to] = dayOf(noon);
  assert.equal(dateText(from), '2026-11-25');
  assert.equal(dateText(to), '2026-11-26');
  assert.deepEqual(dayOf(to - 1), [from, to]);
});

test('zooming keeps the time under the hand, and what there is', () => {
  assert.deepEqual(zoomed([0, 24 * HOUR], [0, 24 * HOUR], 0.5, 6 * HOUR), [3 * HOUR, 15 * HOUR]);
  assert.deepEqual(zoomed([0, 12 * HOUR], [0, 24 * HOUR], 4, 0), [0, 24 * HOUR]);
  const [from, to] = zoomed([0, 30_000], [0, 24 * HOUR], 0.1, 15_000);
  assert.equal(to - from, 20_000, 'not without end');
  assert.deepEqual([from, to], [5000, 25_000]);
});

test('moving stops at both ends', () => {
  assert.deepEqual(moved([10, 20], [0, 100], -30), [0, 10]);
  assert.deepEqual(moved([10, 20], [0, 100], 300), [90, 100]);
  assert.deepEqual(moved([10, 20], [0, 100], 5), [15, 25]);
  assert.equal(clamped(5, [10, 20]), 10);
});

test('marks are at round times with room between them', () => {
  const [midnight, next] = dayOf(new Date(2026, 10, 25, 12).getTime());
  const day = marks([midnight, next], 1000);
  assert.equal(day.withSeconds, false);
  assert.deepEqual(day.times.slice(0, 2), [midnight, midnight + 3 * HOUR]);
  const minute = marks([midnight + 7000, midnight + 67_000], 400);
  assert.equal(minute.withSeconds, true);
  assert.deepEqual(minute.times, [15, 30, 45, 60].map((second) => midnight + second * 1000));
});

test('the next moment that was recorded', () => {
  const spans = union([[50, 60], [0, 10], [5, 20]]);
  assert.deepEqual(spans, [[0, 20], [50, 60]]);
  assert.deepEqual([0, 15, 20, 55, 60].map((ms) => nextRecorded(spans, ms)), [0, 15, 50, 55, null]);
});
