// What the buttons do to a stream, and to the screen.

/** @import { ApiError } from './api.js' */
/** @import { Player } from './player.js' */
/** @import { Page, Palette, Stream, View } from './types.js' */

import { asApiError, ask, ofStream } from './api.js';
import { $, saveAs, toast } from './dom.js';
import { DEFAULT_PALETTE, colour, served } from './palettes.js';

/**
 * What is shown, in its palette, as PNG.
 * @param {string} name
 * @param {View} view
 * @param {Palette} palette
 */
export async function saveSnapshot(name, view, palette) {
  const [asked, paintIn] = served(view, palette);
  try {
    const signal = AbortSignal.timeout(15_000); // the server waits up to 10 s for a frame
    const blob = await (await ask(ofStream(name, '/snapshot', { view: asked, format: 'png' }), { signal })).blob();
    const time = new Date().toISOString().slice(0, 19).replace(/\D/g, '');
    const file = `${name}-${view}-${time}.png`;
    saveAs(paintIn === DEFAULT_PALETTE ? blob : await colour(blob, paintIn), file);
    toast(`Saved ${file}`);
  } catch (error) {
    toast(`No snapshot: ${asApiError(error).message}`);
  }
}

let underWay = false;

/**
 * Start or stop recording the view that is shown, and no other; onDone() afterwards.
 * @param {Pick<Stream, 'name' | 'recording_views'>} stream
 * @param {View} view
 * @param {() => void} onDone
 */
export async function toggleRecording({ name, recording_views: wanted = [] }, view, onDone) {
  if (underWay) return;
  underWay = true;
  const isWanted = wanted.includes(view);
  const signal = AbortSignal.timeout(20_000); // stopping waits until the file is complete
  const body = JSON.stringify({ views: [view] });
  const headers = { 'Content-Type': 'application/json' };
  try {
    await ask(ofStream(name, '/recording'), { method: isWanted ? 'DELETE' : 'PUT', body, headers, signal });
    toast(isWanted ? `The recording of ${name} is complete` : `Recording ${name}`);
  } catch (error) {
    toast(`${isWanted ? 'Still recording' : 'Not recording'}: ${whyNot(asApiError(error))}`);
  } finally {
    underWay = false;
    onDone();
  }
}

/** @param {ApiError} error */
function whyNot(error) {
  if (error.status === 403) return 'this token may only view.';
  if (error.status === 404) return 'this streamd does not record.';
  return error.message; // 409: no directory is configured
}

/**
 * Open its dialog. What it needs is loaded only now: three.js is larger than the page.
 * @param {string} name
 * @param {Page} page
 */
export async function showSpace(name, page) {
  try {
    const { openSpace } = await import('./space-dialog.js');
    await openSpace(name, page);
  } catch (error) {
    toast(`No 3-D: ${asApiError(error).message}`);
  }
}

/**
 * Begin or end to sound what is near.
 * @param {Page} page
 * @param {() => Player | null} player gives that of the large tile, if there is one
 */
export async function toggleSound(page, player) {
  try {
    const { toggle } = await import('./listen.js');
    await toggle(page, player);
  } catch (error) {
    toast(`No sound: ${asApiError(error).message}`);
  }
}

/** @typedef {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} AppleVideo */

export function toggleFullScreen() {
  const stage = $('stage');
  const video = /** @type {AppleVideo | null} */ (stage.querySelector('.large video'));
  const enter = async () => stage.requestFullscreen();
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (!document.fullscreenEnabled && video?.webkitEnterFullscreen) video.webkitEnterFullscreen(); // iPhone
  else enter().catch(() => { toast('Full screen is not allowed here.'); });
}
