// The numbers of the large stream.

import { $, fixed, isNumber, joined, whole, write } from './dom.js';

function readout(id, value) {
  const node = $(id);
  write(node.firstElementChild, value);
  node.classList.toggle('none', value === '–');
}

/** {ms, measured, parts}: from capture to screen, measured, else the sum of the parts that are known. */
export function latencyOf(stream, seen) {
  const parts = [['server', stream?.latency_ms?.p50], ['network', seen?.networkMs], ['browser', seen?.browserMs]];
  const known = parts.filter(([, ms]) => isNumber(ms));
  const told = known.map(([what, ms]) => `${what} ${fixed(ms)}`).join(' + ');
  if (isNumber(seen?.captureMs)) return { ms: seen.captureMs, sign: '', told, measured: true };
  const complete = isNumber(stream?.latency_ms?.p50) && isNumber(seen?.browserMs); // browsers may keep the network's share
  const ms = complete ? known.reduce((sum, [, part]) => sum + part, 0) : null;
  return { ms, sign: known.length === 3 ? '≈ ' : '≥ ', told, measured: false };
}

/** stream: of the API, or null; seen: what the player measured, or null. */
export function renderReadouts(stream, seen, player) {
  const jpeg = player?.via === 'mjpeg';
  readout('fps', fixed(seen?.fps, 1));
  const rates = isNumber(stream?.fps_in) && `source ${fixed(stream.fps_in, 1)} → depth ${fixed(stream.fps_out, 1)}`;
  write($('fps-more'), rates || '');

  const latency = latencyOf(stream, seen);
  readout('latency', isNumber(latency.ms) ? `${latency.sign}${fixed(latency.ms)}` : '–');
  write($('latency-name'), latency.measured ? 'capture to screen' : isNumber(latency.ms) ? 'capture to screen, estimated' : '');
  const { p50, p95 } = stream?.latency_ms ?? {};
  const parts = latency.measured ? isNumber(p50) && `server ${fixed(p50)}` : latency.told;
  write($('latency-parts'), joined(', ', parts, isNumber(p95) && `${parts?.includes?.('+') ? 'server ' : ''}p95 ${fixed(p95)}`));

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

export function renderModel(model, flicker) {
  readout('model', model?.title ?? model?.name ?? '–');
  const unready = model?.state !== 'ready' && model?.state;
  const steadiness = model && isNumber(flicker) && `flicker ${fixed(flicker * 100, 1)}\u00a0%`;
  write($('model-more'), joined(' · ', unready, model?.runtime, model?.precision, steadiness));
  write($('model-note'), joined('\n', model?.coarse && 'coarse built-in model', model?.message));
}
