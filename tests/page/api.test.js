import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiError, Clock, asApiError, errorFrom, waitMs } from './static/api.js';

test('Retry-After is seconds or a date, a minute at most', () => {
  assert.equal(waitMs(null), null);
  assert.equal(waitMs('3'), 3000);
  assert.equal(waitMs('-3'), 0);
  assert.equal(waitMs('86400'), 60_000);
  assert.equal(waitMs('soon'), null);
  assert.equal(waitMs(new Date(Date.now() - 5000).toUTCString()), 0);
  assert.ok(waitMs(new Date(Date.now() + 30_000).toUTCString()) > 25_000);
});

test('a refusal has the message and the code of the server', async () => {
  const body = JSON.stringify({ error: { code: 'busy', message: 'Later.' } });
  const error = await errorFrom(new Response(body, { status: 503, headers: { 'Retry-After': '2' } }));
  assert.deepEqual([error.message, error.code, error.status, error.retryAfterMs], ['Later.', 'busy', 503, 2000]);
});

for (const body of ['', 'null', '[]', '"no"', '{"error": null}', '{"error": "no"}', '<html>']) {
  test(`a refusal with the body ${body} is one all the same`, async () => {
    const error = await errorFrom(new Response(body, { status: 502 }));
    assert.deepEqual([error.message, error.code], ['The server answered 502.', 'http']);
  });
}

test('whatever is thrown has a message', () => {
  const ours = new ApiError('ours');
  assert.equal(asApiError(ours), ours);
  assert.equal(asApiError(new TypeError('theirs')).message, 'theirs');
  assert.equal(asApiError('text').message, 'text');
});

test('of the clock samples the one of the shortest round trip counts', () => {
  const clock = new Clock();
  assert.equal(clock.best, null);
  assert.equal(clock.settled, false);
  clock.add(0, 100, 1050);
  clock.add(200, 220, 1215);
  clock.add(300, 400, 1900);
  assert.deepEqual(clock.best, { roundTripMs: 20, aheadMs: 1005 });
  assert.equal(clock.settled, false);
  clock.add(500, 504, 1507);
  assert.equal(clock.settled, true);
});
