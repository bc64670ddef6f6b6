// What the page asks of the server: the values of a picture once for each model, and files of them.

/** @import { KnownModel, Models } from './types.js' */
/** @import { DepthMap } from './photo-tone.js' */

import { ApiError, asApiError, ask, at, readJson } from './api.js';
import { Npz } from './photo-npz.js';
import { thinned } from './photo-tone.js';

export const MAX_BYTES = 32 * 1024 * 1024; // of a picture, as the server bounds it
export const MAX_SHOWN = 2_000_000; // values of a picture that are kept
const PATIENCE_MS = 120_000; // another model may have to start first
const TRIES = 5;
const AGAIN_MS = 2000;
const MB = 1024 * 1024;

/** Those on this machine, the one of the streams first. */
export async function installedModels() {
  const { models } = /** @type {Models} */ (await readJson(await ask(at('api/v1/models'))));
  const rank = (/** @type {KnownModel} */ { wanted, running }) => (running ? 0 : wanted ? 1 : 2);
  return models.filter(({ installed }) => installed).sort((a, b) => rank(a) - rank(b));
}

/**
 * The values of a picture. `onNote` says how far it is. Raises ApiError.
 * @param {File} file
 * @param {string} model
 * @param {AbortSignal} signal
 * @param {(note: string) => void} onNote
 * @returns {Promise<DepthMap>}
 */
export async function depthOf(file, model, signal, onNote) {
  const response = await post(file, { format: 'npz', ...(model && { model }) }, signal, onNote);
  const npz = new Npz(await received(response, onNote));
  onNote('Reading');
  return thinned(await npz.floats('inverse_depth'), MAX_SHOWN);
}

/**
 * The picture upright, as the server reads it: for kinds that this browser does not show.
 * @param {File} file
 * @param {AbortSignal} signal
 */
export async function sourceOf(file, signal) {
  const response = await post(file, { view: 'source', format: 'jpg' }, signal, () => undefined);
  return createImageBitmap(await response.blob());
}

/**
 * A file of the picture's depth.
 * @param {File} file
 * @param {Record<string, string>} query
 * @param {AbortSignal} signal
 */
export const fileOf = async (file, query, signal) => (await post(file, query, signal, () => undefined)).blob();

/**
 * The answer; where the server is busy it is asked again. Raises ApiError.
 * @param {File} file
 * @param {Record<string, string>} query
 * @param {AbortSignal} signal
 * @param {(note: string) => void} onNote
 */
async function post(file, query, signal, onNote) {
  if (file.size > MAX_BYTES) throw new ApiError(`is too large: ${megabytes(file.size)}, and ${megabytes(MAX_BYTES)} is the most`, { code: 'too_large' });
  const type = file.type.startsWith('image/') ? file.type : 'application/octet-stream';
  for (let left = TRIES; ; left--) {
    onNote('Looking');
    try {
      const either = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      return await ask(at('api/v1/depth', query), { method: 'POST', body: file, headers: { 'Content-Type': type }, signal: either });
    } catch (thrown) {
      const error = asApiError(thrown);
      signal.throwIfAborted();
      if (error.status !== 503 || left <= 1) throw error;
      const waitMs = error.retryAfterMs ?? AGAIN_MS;
      onNote(`streamd is busy; again in ${Math.ceil(waitMs / 1000)} s`);
      await rest(waitMs, signal);
    }
  }
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
const rest = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

/**
 * @param {Response} response
 * @param {(note: string) => void} onNote
 */
async function received(response, onNote) {
  const total = Number(response.headers.get('Content-Length')) || 0;
  if (!response.body || !total) return response.arrayBuffer();
  const whole = new Uint8Array(total);
  let count = 0;
  const reader = response.body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    whole.set(piece.value, count);
    count += piece.value.length;
    onNote(`Receiving ${Math.round((100 * count) / total)} %`);
  }
  return whole.buffer;
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / MB).toFixed(0)} MB`;

/**
 * Whether it may go well another time.
 * @param {unknown} thrown
 */
export function canPass(thrown) {
  const { status, code } = asApiError(thrown);
  return ![413, 415, 422].includes(status) && code !== 'too_large';
}

/**
 * What went wrong, in words for who looks at the page. Raises nothing.
 * @param {unknown} thrown
 */
export function explained(thrown) {
  const error = asApiError(thrown);
  if (error.status === 401) return 'needs a token: log in on the page of live depth first';
  if (error.status === 413) return `is too large: ${megabytes(MAX_BYTES)} is the most`;
  if (error.status === 503) return `could not be had: streamd is busy, or its model is not ready yet. Try again in a moment`;
  if (error.status === 0 && error.code === 'network') return 'could not be had: streamd does not answer';
  return error.message;
}
