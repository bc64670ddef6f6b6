import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';

import { ApiError } from './static/api.js';
import { explained } from './static/photo-ask.js';
import { Npz } from './static/photo-npz.js';
import { coloured, shareOf, thinned, toned, valueAt } from './static/photo-tone.js';

const FLOATS = Float32Array.from([-1.5, 0, 0.25, 3.0000002, 1e-20, 7]);

/** As NumPy writes it. */
function npy(descr, shape, body) {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }\n`;
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header), body]);
}

/** A zip of these files, of which some are deflated, with an extra field as zipfile's force_zip64 leaves it. */
function zip(files) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const [name, data, method] of files) {
    const packed = method === 8 ? deflateRawSync(data) : data;
    const extra = Buffer.alloc(20);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(extra.length, 28);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt32LE(at, 42);
    parts.push(local, Buffer.from(name), extra, packed);
    directory.push(entry, Buffer.from(name));
    at += 30 + name.length + extra.length + packed.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(at, 16);
  const whole = Buffer.concat([...parts, ...directory, end]);
  return whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length);
}

const name = Buffer.from(Uint32Array.from([...'embedded'].map((letter) => letter.codePointAt(0))).buffer);
const ARRAYS = zip([
  ['inverse_depth.npy', npy('<f4', '2, 3', Buffer.from(FLOATS.buffer)), 8],
  ['model.npy', npy('<U8', '', name), 0],
  ['counts.npy', npy('<i8', '1,', Buffer.alloc(8)), 0],
]);

test('arrays come out bit by bit', async () => {
  assert.deepEqual(await new Npz(ARRAYS).floats('inverse_depth'), { shape: [2, 3], values: FLOATS });
  assert.equal(await new Npz(ARRAYS).text('model'), 'embedded');
});

test('what is no such array is refused', async () => {
  const npz = new Npz(ARRAYS);
  await assert.rejects(npz.floats('counts'), /holds <i8, not float32/);
  await assert.rejects(npz.floats('network_output'), /has no network_output/);
  for (const broken of [new ArrayBuffer(0), new ArrayBuffer(200), ARRAYS.slice(0, -1)]) {
    assert.throws(() => new Npz(broken), TypeError);
  }
});

const MAP = { width: 3, height: 2, values: FLOATS, low: -1.5, high: 7 };

test('a large map is thinned to values of its own, and keeps its range', () => {
  const values = Float32Array.from({ length: 48 }, (_, i) => i);
  assert.deepEqual(thinned({ shape: [6, 8], values }, 48), { width: 8, height: 6, values, low: 0, high: 47 });
  assert.deepEqual(thinned({ shape: [6, 8], values }, 12), { width: 4, height: 3, values: Float32Array.of(0, 2, 4, 6, 16, 18, 20, 22, 32, 34, 36, 38), low: 0, high: 47 });
});

test('a value is that of the pixel at this place, at the edges too', () => {
  assert.equal(valueAt(MAP, 0, 0), -1.5);
  assert.equal(valueAt(MAP, 0.5, 0.49), 0);
  assert.equal(valueAt(MAP, 1, 1), 7);
  assert.deepEqual([-1.5, 7, 2.75].map((value) => shareOf(MAP, value)), [0, 1, 0.5]);
});

test('the ends of what is shown clip, and the curve keeps them', () => {
  const map = { width: 5, height: 1, values: Float32Array.of(0, 1, 2, 3, 4), low: 0, high: 4 };
  assert.deepEqual([...toned(map, { far: 0, near: 1, log: false })], [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual([...toned(map, { far: 0.25, near: 0.75, log: false })], [0, 0, 0.5, 1, 1]);
  const log = toned(map, { far: 0, near: 1, log: true });
  assert.deepEqual([log[0], log[4]], [0, 1]);
  assert.ok(Math.abs((log[2] ?? 0) - Math.log1p(4.5) / Math.log1p(9)) < 1e-6, 'as the server has it');
});

test('a flat map is no division by nothing', () => {
  const flat = { width: 2, height: 1, values: Float32Array.of(3, 3), low: 3, high: 3 };
  assert.deepEqual([...toned(flat, { far: 0, near: 1, log: false })], [0, 0]);
  assert.equal(shareOf(flat, 3), 0);
});

test('colours are those of the palette, opaque', () => {
  const [red, green, blue] = [1, 2, 3].map((by) => Uint8ClampedArray.from({ length: 256 }, (_, i) => i / by));
  assert.deepEqual([...coloured(Float32Array.of(0, 0.5, 1), [red, green, blue])], [0, 0, 0, 255, 128, 64, 43, 255, 255, 128, 85, 255]);
});

for (const [error, words] of [
  [new ApiError('', { status: 413, code: 'too_large' }), /too large: 32 MB/],
  [new ApiError('', { status: 401 }), /needs a token/],
  [new ApiError('', { status: 503 }), /busy, or its model is not ready yet/],
  [new ApiError('streamd does not answer.'), /does not answer/],
  [new ApiError('is a RAW picture: convert it', { status: 422, code: 'bad_picture' }), /^is a RAW picture: convert it$/],
  [new TypeError('The answer is no npz file.'), /no npz/],
]) {
  test(`plain words for ${error.status ?? error.name} ${error.code ?? ''}`, () => assert.match(explained(error), words));
}
