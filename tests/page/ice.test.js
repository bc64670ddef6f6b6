import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseLinks } from './static/ice.js';

test('servers with their credentials', () => {
  const header = '<stun:a.example:3478>; rel="ice-server", <turn:b.example?transport=udp>; rel="ice-server"; '
    + 'username="u,1"; credential="c\\"2"; credential-type="password"';
  assert.deepEqual(parseLinks(header), [
    { urls: 'stun:a.example:3478' },
    { urls: 'turn:b.example?transport=udp', username: 'u,1', credential: 'c"2' },
  ]);
});

test('other links are left out', () => {
  assert.deepEqual(parseLinks('</whep>; rel="self", <stun:a>; rel=ice-server'), [{ urls: 'stun:a' }]);
  assert.deepEqual(parseLinks(''), []);
  assert.deepEqual(parseLinks('nonsense'), []);
});
