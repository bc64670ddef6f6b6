import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fixed, joined, next } from './static/dom.js';
import { Measuring } from './static/measuring.js';
import { estimateLatency, stillness } from './static/readouts.js';

const stream = { latency_ms: { p50: 20, p95: 40 } };

test('a measured latency goes before an estimate', () => {
  const latency = estimateLatency(stream, { captureMs: 90, networkMs: 2, browserMs: 30 });
  assert.deepEqual(latency, { ms: 90, sign: '', text: 'server 20 + network 2 + browser 30', measured: true });
});

test('an estimate is the sum of what is known, and says when it is less than all', () => {
  assert.deepEqual(estimateLatency(stream, { networkMs: 2, browserMs: 30 }).sign, '≈ ');
  const without = estimateLatency(stream, { browserMs: 30 });
  assert.deepEqual([without.ms, without.sign], [50, '≥ ']);
  assert.equal(estimateLatency(stream, null).ms, null);
  assert.equal(estimateLatency(null, null).text, '');
});

test('a still scene is named', () => {
  const shares = [0.03, 0.6, 1, null, undefined].map((share) => stillness({ inferred_share: share }));
  assert.deepEqual(shares, ['still, 3\u00a0% inferred', '', '', '', '']);
});

test('rates are of the time between two reports', () => {
  const report = (timestamp, framesDecoded, bytesReceived) => new Map([
    ['v', { type: 'inbound-rtp', kind: 'video', timestamp, framesDecoded, bytesReceived }],
    ['p', { type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 0.01 }],
  ]);
  const measuring = new Measuring();
  assert.equal(measuring.take(report(1000, 10, 1000)).fps, null);
  const measured = measuring.take(report(2000, 35, 126_000));
  assert.deepEqual([measured.fps, measured.kbps, measured.networkMs, measured.frames], [25, 1000, 5, 35]);
  assert.equal(measured.browserMs, null);
  assert.equal(measuring.take(new Map()).fps, null);
});

test('a slow rate is not shown as none', () => {
  assert.deepEqual([fixed(0.2), fixed(0.04, 1), fixed(0), fixed(24.96, 1), fixed(null)], ['0.2', '0.04', '0', '25.0', '–']);
});

test('lists go round', () => {
  assert.deepEqual([next('abc'.split(''), 'c'), next('abc'.split(''), 'a', -1), next(['a'], 'x')], ['a', 'c', 'a']);
  assert.equal(joined(' · ', 'a', '', null, false, 0, 'b'), 'a · b');
});
