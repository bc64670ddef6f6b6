import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isOver, pageNotice, tileNotice } from './static/notice.js';

const playing = { picture: true, shows: true, phase: 'connected', via: 'webrtc', blocked: false, error: null };
const tile = (change) => ({ name: 'porch', stream: { state: 'running' }, player: playing, large: true, live: true, gone: false, ...change });
const news = (change) => ({ locked: false, gone: false, answer: null, stream: () => null, ...change });

test('what plays has no notice', () => {
  assert.equal(tileNotice(tile({})), null);
});

test('a stream that has failed says why', () => {
  const player = { ...playing, picture: false, shows: false };
  const notice = tileNotice(tile({ player, stream: { state: 'failed', reason: 'no such file' } }));
  assert.deepEqual(notice, { title: 'porch has failed', text: 'no such file' });
});

test('a state of a newer streamd is none that we know', () => {
  for (const state of ['constructor', 'toString', 'resting']) assert.equal(isOver({ state }), false);
  assert.equal(isOver(null), false);
});

test('the page asks for a token, says that streamd is away, or that there is nothing', () => {
  assert.equal(pageNotice(news({ locked: true }), null).form, true);
  assert.match(pageNotice(news({ gone: true }), null).title, /does not answer/);
  assert.match(pageNotice(news({ answer: { streams: [] } }), null).title, /No streams/);
  assert.match(pageNotice(news({ answer: { streams: [{}] } }), 'porch').title, /no stream “porch”/);
});
