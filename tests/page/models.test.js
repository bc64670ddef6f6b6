import assert from 'node:assert/strict';
import { test } from 'node:test';

import { modelDetail } from './static/models.js';

const known = {
  name: 'midas_small', title: 'MiDaS', licence: 'MIT', coarse: false, installed: true, built_in: false, official: true,
  size_bytes: 85_761_505, note: 'from https://x', running: false, wanted: false, can_fetch: false, fetch: null,
  measured: { chosen: 'bf16', ms: { fp32: 21.5, bf16: 6.94 } },
};

test('a model that is here says what it costs here', () => {
  assert.equal(modelDetail(known), 'MIT · 85.8 MB · 6.9 ms here');
  const builtIn = { ...known, size_bytes: null, measured: null, coarse: true, built_in: true, official: null };
  assert.equal(modelDetail(builtIn), 'MIT · not measured here yet · coarse · built in');
  assert.equal(modelDetail({ ...known, official: false, measured: null }), 'MIT · 85.8 MB · not measured here yet · not the official file');
});

test('one that is not says what it needs, or how far it is', () => {
  const away = { ...known, installed: false, size_bytes: null, official: null, measured: null, note: 'missing: bring it' };
  assert.equal(modelDetail(away), 'MIT · missing: bring it');
  const offered = { ...away, can_fetch: true, download_bytes: 85_761_505, notice: 'not for sale' };
  assert.equal(modelDetail(offered), 'MIT · 85.8 MB · not for sale');
  const fetch = { active: true, done_bytes: 12_000_000, total_bytes: 85_761_505, error: null };
  assert.equal(modelDetail({ ...away, fetch }), 'MIT · 12.0 MB of 85.8 MB');
  assert.equal(modelDetail({ ...away, fetch: { ...fetch, total_bytes: null } }), 'MIT · 12.0 MB');
  assert.equal(modelDetail({ ...away, fetch: { ...fetch, error: 'offline' } }), 'MIT · could not be fetched: offline');
});
