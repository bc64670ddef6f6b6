import assert from 'node:assert/strict';
import { test } from 'node:test';

import { areasOf, settingsOf } from './static/areas.js';
import { distance } from './static/calibrating.js';
import { plainly, suggestedName } from './static/cameras.js';
import { valueText } from './static/cursor.js';
import { inside } from './static/easel.js';

/** @typedef {[number, number][]} Polygon */

test('a name is suggested from what tells cameras apart, and is free', () => {
  /** @type {[string, string][]} */
  const cases = [
    ['rtsp://user:pass@192.168.1.20/stream1', '192.168.1.20'],
    ['rtsp://user:p@ss/w@cam.local:8554/x', 'cam.local'],
    ['https://host/live.m3u8', 'host'],
    ['/dev/video0', 'video0'],
    ['v4l2:/dev/v4l/by-id/usb-Logi_C920-index0', 'usb-Logi_C920-index0'],
    ['/media/front door.mp4', 'front-door'],
    ['HD Webcam C525', 'HD-Webcam-C525'],
    ['rtsp://[fe80::1]/x', 'fe80-1'],
    ['rtsp://u:se?cret@host/x', 'camera'],
    ['http://host/x?key=se@cret', 'camera'],
    ['demo:', 'camera'],
    ['', ''],
  ];
  for (const [source, name] of cases) assert.equal(suggestedName(source, []), name, source);
  assert.equal(suggestedName('/dev/video0', ['video0', 'video0-2']), 'video0-3');
});

test('what is wrong comes with what to do about it', () => {
  assert.equal(
    plainly({ code: 'rejected', message: 'rtsp://***@h/: access refused' }),
    'The camera refuses the user or the password. rtsp://***@h/: access refused',
  );
  assert.equal(plainly({ code: 'bad_value', message: 'streams.a.source: must not be empty' }), 'streams.a.source: must not be empty');
});

test('distances have their uncertainty', () => {
  assert.equal(distance({ metres: 2.041, uncertainty_metres: 0.061, interval_metres: null }), '2.04 ± 0.06 m');
  assert.equal(distance({ metres: 22.04, uncertainty_metres: null, interval_metres: null }), '22.0 m');
  assert.equal(distance({ metres: null, uncertainty_metres: null, interval_metres: null }), '');
  const unknown = { metres: null, uncertainty_metres: null, interval_metres: null };
  assert.equal(valueText({ ...unknown, share: 0.631, inverse_depth: 312.345 }), '63 % near · inverse depth 312.3');
});

test('points stay in the picture', () => {
  assert.deepEqual(inside([-0.2, 1.7]), [0, 1]);
  assert.deepEqual(inside([1 / 3, 0.5]), [0.3333, 0.5]);
});

test('areas in pixels become shares, and go back with their settings', () => {
  /** @type {Polygon} */
  const shares = [[0, 0], [0.5, 0], [0.5, 1]];
  /** @type {Polygon} */
  const pixels = [[0, 0], [640, 0], [640, 720]];
  const zone = { name: 'door', metres: 1.5, hold_s: 2 };
  const stream = /** @type {const} */ ({ name: 'a', state: 'running', width: 1280, height: 720 });
  const areas = areasOf({ ...stream, settings: { masks: [shares, pixels], zones: [{ ...zone, polygon: shares }] } });
  assert.deepEqual(areas.map(({ kind, points }) => [kind, points]), [['mask', shares], ['mask', shares], ['zone', shares]]);
  assert.deepEqual(settingsOf(areas, true), { body: { masks: [shares, shares], zones: [{ ...zone, polygon: shares }] } });
  assert.deepEqual(settingsOf(areas, false), { body: { masks: [shares, shares] } });
});

test('what cannot be saved is said', () => {
  assert.match(settingsOf([{ kind: 'mask', points: [[0, 0], [1, 1]] }], true).wrong ?? '', /Area 1 needs three points/);
  assert.match(settingsOf([{ kind: 'zone', points: [[0, 0], [1, 1], [0, 1]], zone: {} }], true).wrong ?? '', /name/);
  assert.deepEqual(settingsOf([{ kind: 'mask', points: [] }], false), { body: { masks: [] } });
});
