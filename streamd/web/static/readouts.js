// The numbers of the large stream.

/** @import { Player } from './player.js' */
/** @import { Measured, Model, Stream } from './types.js' */

import { $, fixed, isNumber, joined, part, whole, write } from './dom.js';

/**
 * @param {string} id
 * @param {string} value
 */
function readout(id, value) {
  const node = $(id);
  write(part(node, 'b'), value);
  node.classList.toggle('none', value === '–');
}

/**
 * From capture to screen: measured, else the sum of the parts that are known; `text` is those parts.
 * @param {Stream | null} stream
 * @param {Measured | null | undefined} seen
 */
export function estimateLatency(stream, seen) {
  const parts = Object.entries({ server: stream?.latency_ms?.p50, network: seen?.networkMs, browser: seen?.browserMs });
  const known = parts.flatMap(([what, ms]) => (isNumber(ms) ? [{ what, ms }] : []));
  const text = known.map(({ what, ms }) => `${what} ${fixed(ms)}`).join(' + ');
  if (isNumber(seen?.captureMs)) return { ms: seen.captureMs, sign: '', text, measured: true };
  const complete = isNumber(stream?.latency_ms?.p50) && isNumber(seen?.browserMs); // browsers may keep the network's share
  const ms = complete ? known.reduce((sum, each) => sum + each.ms, 0) : null;
  return { ms, sign: known.length === 3 ? '≈ ' : '≥ ', text, measured: false };
}

/**
 * @param {Stream | null} stream
 * @param {Measured | null | undefined} seen
 * @param {Player | undefined} player
 */
export function renderReadouts(stream, seen, player) {
  const jpeg = player?.via === 'mjpeg';
  readout('fps', fixed(seen?.fps, 1));
  const rates = isNumber(stream?.fps_in) && `source ${fixed(stream.fps_in, 1)} → depth ${fixed(stream.fps_out, 1)}`;
  write($('fps-more'), joined(' · ', rates, stillness(stream)));

  const latency = estimateLatency(stream, seen);
  readout('latency', isNumber(latency.ms) ? `${latency.sign}${fixed(latency.ms)}` : '–');
  write($('latency-name'), latency.measured ? 'capture to screen' : isNumber(latency.ms) ? 'capture to screen, estimated' : '');
  write($('latency-parts'), latencyParts(latency, stream));

  const kbps = seen?.kbps;
  readout('bitrate', isNumber(kbps) ? (kbps < 1000 ? fixed(kbps) : fixed(kbps / 1000, 1)) : '–');
  write($('bitrate-unit'), isNumber(kbps) && kbps >= 1000 ? 'Mbit/s' : 'kbit/s');
  write($('bitrate-more'), jpeg ? 'Motion JPEG' : '');

  const skipped = Object.entries(stream?.skipped ?? {}).filter(([, count]) => count > 0);
  readout('skipped', stream?.skipped ? whole(skipped.reduce((sum, [, count]) => sum + count, 0)) : '–');
  write($('skipped-more'), skipped.map(([reason, count]) => `${reason} ${whole(count)}`).join(', '));

  readout('viewers', whole(stream?.viewers));
  readout('size', isNumber(stream?.width) ? `${stream.width} × ${fixed(stream.height)}` : '–');
  write($('source'), stream?.source ?? '');
}

/**
 * How little the network had to see, where that is less than half.
 * @param {Stream | null} stream
 */
export function stillness(stream) {
  const share = stream?.inferred_share;
  return isNumber(share) && share < 0.5 ? `still, ${fixed(share * 100)}\u00a0% inferred` : '';
}

/**
 * @param {ReturnType<typeof estimateLatency>} latency
 * @param {Stream | null} stream
 */
function latencyParts({ measured, text }, stream) {
  const { p50, p95 } = stream?.latency_ms ?? {};
  const server = isNumber(p50) ? `server ${fixed(p50)}` : '';
  const parts = measured ? server : text;
  return joined(', ', parts, isNumber(p95) && `${parts.includes('+') ? 'server ' : ''}p95 ${fixed(p95)}`);
}

/** @param {Model | null | undefined} model */
function inputSize(model) {
  const { input_size: size, full_input_size: full } = model ?? {};
  if (!isNumber(size)) return '';
  return isNumber(full) && full > size ? `${size}\u00a0px, lowered from ${full} to keep the frame rate` : `${size}\u00a0px`;
}

/**
 * @param {Model | null | undefined} model
 * @param {number | null | undefined} flicker
 */
export function renderModel(model, flicker) {
  readout('model', model?.title ?? model?.name ?? '–');
  const unready = model?.state !== 'ready' && model?.state;
  const steadiness = model && isNumber(flicker) && `flicker ${fixed(flicker * 100, 1)}\u00a0%`;
  write($('model-more'), joined(' · ', unready, model?.runtime, model?.precision, inputSize(model), steadiness));
  write($('model-note'), joined(': ', model?.coarse && 'Coarse built-in model', model?.message));
}
