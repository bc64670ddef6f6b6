// What opens over the page: the help, the recordings, and the form that asks for a token.

import { ApiError, ask, at, logIn } from './api.js';
import { $, copyOf, isNumber, joined, write } from './dom.js';
import { listShortcuts } from './shortcuts.js';

export function wireDialogs() {
  listShortcuts($('keys'));
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close()); // beside it
  }
}

export const showHelp = () => $('help').showModal();

// --- recordings

export async function showRecordings() {
  const list = $('recording-list');
  list.replaceChildren();
  write($('recordings-note'), 'Loading …');
  $('recordings').showModal();
  try {
    const { recordings } = await (await ask(at('api/v1/recordings'))).json();
    list.replaceChildren(...recordings.map(recordingItem)); // the newest first, a hundred of them
    write($('recordings-note'), recordings.length ? '' : 'Nothing has been recorded yet.');
  } catch (error) {
    write($('recordings-note'), error.status === 404 ? 'This streamd does not list recordings.' : error.message);
  }
}

/** {path, stream, view, started, size_bytes, complete, cut_short} */
function recordingItem({ path, stream, view, started, size_bytes: bytes, complete, cut_short: cutShort }) {
  const item = copyOf('recording');
  const [link, save] = item.querySelectorAll('a');
  link.href = save.href = at(`recordings/${path.split('/').map(encodeURIComponent).join('/')}`);
  save.ariaLabel = `Download ${path}`;
  save.title = 'Download';
  write(item.querySelector('b'), joined(', ', stream, view) || path);
  const when = Date.parse(started);
  write(item.querySelector('small'), joined(
    ' · ',
    when && new Date(when).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
    isNumber(bytes) && sizeOf(bytes),
    complete === false && 'being recorded',
    cutShort && 'cut short',
  ));
  return item;
}

function sizeOf(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

// --- the token

/** onIn() after a token was taken. */
export function wireLogIn(form, onIn) {
  const [input] = form.querySelectorAll('input');
  const button = form.querySelector('button');
  const note = form.querySelector('.form-note');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    write(note, '');
    try {
      await logIn(input.value.trim());
      input.value = '';
      onIn();
    } catch (error) {
      write(note, refusal(error));
      input.select();
    } finally {
      button.disabled = false;
    }
  });
}

function refusal(error) {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 401 || error.status === 403) return 'That is not one of its tokens.';
  if (error.status === 429) return `Too many tries. Again in ${Math.ceil((error.retryAfterMs ?? 10_000) / 1000)} s.`;
  return error.message;
}
