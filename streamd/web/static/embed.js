// A bare picture for another page's frame: /embed/NAME?view=&palette=. A click opens the whole page in a new tab.

/** @import { ApiError } from './api.js' */
/** @import { Notice, Stream } from './types.js' */

import { DEFAULT_VIEW, VIEWS, pageAddress, embeddedName } from './address.js';
import { Clock, asApiError, ask, at, readJson, ofStream } from './api.js';
import { $, has, part } from './dom.js';
import { isOver, tileNotice, writeNotice } from './notice.js';
import { installFilters, paletteNamed } from './palettes.js';
import { Player } from './player.js';

const SECOND_MS = 1000;
const HIDDEN_MS = 30_000;

const query = new URLSearchParams(location.search);
const name = embeddedName(location.pathname);
const asked = query.get('view');
const view = has(VIEWS, asked) ? asked : DEFAULT_VIEW;
const palette = paletteNamed(query.get('palette'));

const screen = $('screen');
const notice = part(screen, '.notice');
const open = $('open', HTMLAnchorElement);
/** @type {Stream | null} */
let stream = null; // of the API, asked for only while there is no picture
/** @type {Notice | null} */
let failure = null; // why that could not be asked

const player = new Player(screen, new Clock(), render);

function render() {
  const alone = { name, stream, player, large: true, live: true, gone: false };
  writeNotice(notice, failure && !player.picture ? failure : tileNotice(alone));
}

async function refresh() {
  if (document.hidden) return;
  await player.measure();
  if (player.picture) return;
  const before = stream?.state;
  const failureBefore = failure;
  try {
    stream = /** @type {Stream} */ (await readJson(await ask(ofStream(name, ''))));
    failure = null;
  } catch (error) {
    stream = null;
    failure = explain(asApiError(error));
  }
  const returned = failureBefore !== null || (before !== undefined && before !== stream?.state && !isOver(stream));
  if (!failure && returned) player.retry();
  render();
}

/**
 * @param {ApiError} error
 * @returns {Notice}
 */
function explain(error) {
  if (error.status === 401) return { title: 'Log in to streamd first', text: 'A click opens it.' };
  if (error.status === 404) return { title: `There is no stream “${name}”` };
  return { title: 'streamd does not answer', busy: true };
}

/** @type {number | undefined} */
let hiddenTimer;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(() => { player.stop(); }, HIDDEN_MS);
  else play();
});
window.addEventListener('pagehide', () => { player.stop(); });
window.addEventListener('pageshow', (event) => {
  if (event.persisted) play();
});

function play() {
  player.show({ name, view, palette, small: false, still: false });
  player.awake();
}

document.title = `${name} – streamd`;
player.video.dataset.testid = 'video';
open.href = at('') + pageAddress({ layout: 'one', stream: name, views: new Map([[name, view]]) });
open.ariaLabel = `Open ${name} in streamd`;
installFilters();
play();
setInterval(() => void refresh(), SECOND_MS);
