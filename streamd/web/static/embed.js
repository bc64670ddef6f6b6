// A bare picture for another page's frame: /embed/NAME?view=&palette=. A click opens the whole page in a new tab.

import { DEFAULT_VIEW, VIEWS, addressOf } from './address.js';
import { Clock, ask, at, ofStream } from './api.js';
import { isOver, tileNotice, writeNotice } from './notice.js';
import { DEFAULT_PALETTE, PALETTES, installFilters } from './palettes.js';
import { Player } from './player.js';

const SECOND_MS = 1000;
const HIDDEN_MS = 30_000;

const query = new URLSearchParams(location.search);
const name = decodeURIComponent(location.pathname.split('/').filter(Boolean).at(-1));
const view = query.get('view') in VIEWS ? query.get('view') : DEFAULT_VIEW;
const palette = query.get('palette') in PALETTES ? query.get('palette') : DEFAULT_PALETTE;

const screen = document.getElementById('screen');
const notice = screen.querySelector('.notice');
const open = document.getElementById('open');
let stream = null; // of the API, asked for only while there is no picture
let trouble = null; // why that could not be asked

const player = new Player(screen, new Clock(), render);

function render() {
  const alone = { name, stream, player, large: true, live: true, gone: false };
  writeNotice(notice, trouble && !player.picture ? trouble : tileNotice(alone));
}

async function look() {
  if (document.hidden) return;
  await player.measure();
  if (player.picture) return;
  const before = stream?.state;
  const wasTrouble = trouble;
  try {
    stream = await (await ask(ofStream(name, ''))).json();
    trouble = null;
  } catch (error) {
    stream = null;
    trouble = explain(error);
  }
  if (!trouble && (wasTrouble || (before && before !== stream.state && !isOver(stream)))) player.retry();
  render();
}

function explain(error) {
  if (error.status === 401) return { title: 'Log in to streamd first', text: 'A click opens it.' };
  if (error.status === 404) return { title: `There is no stream “${name}”` };
  return { title: 'streamd does not answer', busy: true };
}

let hiddenTimer;
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(() => player.stop(), HIDDEN_MS);
  else play();
});
window.addEventListener('pagehide', () => player.stop());
window.addEventListener('pageshow', (event) => event.persisted && play());

function play() {
  player.show({ name, view, palette, small: false, still: false });
  player.awake();
}

document.title = `${name} – streamd`;
player.video.dataset.testid = 'video';
open.href = at('') + addressOf({ layout: 'one', stream: name, views: new Map([[name, view]]) });
open.ariaLabel = `Open ${name} in streamd`;
installFilters();
play();
setInterval(look, SECOND_MS);
