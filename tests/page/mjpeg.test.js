import assert from 'node:assert/strict';
import { test } from 'node:test';

import { jpegs } from './static/mjpeg.js';

const part = (text) => `--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ${text.length}\r\n\r\n${text}\r\n`;

/** The texts of the pictures in a body that arrives in these pieces. */
async function read(pieces) {
  const found = [];
  const body = new Response(new Blob(pieces)).body;
  for await (const blob of jpegs(body)) found.push(await blob.text());
  return found;
}

/** The same, `size` bytes at a time. */
function inPieces(text, size) {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(at, (at += size)));
    },
  });
}

test('each picture as it is', async () => {
  assert.deepEqual(await read([part('one'), part('\r\n\r\n'), part('three')]), ['one', '\r\n\r\n', 'three']);
});

for (const size of [1, 2, 7, 64]) {
  test(`in pieces of ${size} bytes`, async () => {
    const found = [];
    for await (const blob of jpegs(inPieces(part('one') + part('two'), size))) found.push(await blob.text());
    assert.deepEqual(found, ['one', 'two']);
  });
}

test('what is cut off is left out', async () => {
  assert.deepEqual(await read([part('one'), part('two').slice(0, -4)]), ['one']);
});

test('a part without its length is an error', async () => {
  await assert.rejects(read(['--frame\r\nContent-Type: image/jpeg\r\n\r\nxyz']), /without its length/);
});
