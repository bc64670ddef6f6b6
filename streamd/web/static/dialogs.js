// What opens over the page: the help, the recordings, and the form that asks for a token.

import { ApiError, ask, at, logIn } from './api.js';
import { $, isNumber, joined, write } from './dom.js';
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
    const newest = [...recordings].sort((a, b) => startOf(b) - startOf(a) || String(b.path).localeCompare(String(a.path)));
    list.replaceChildren(...newest.slice(0, 200).map(recordingItem));
    write($('recordings-note'), newest.length ? '' : 'Nothing has been recorded yet.');
  } catch (error) {
    write($('recordings-note'), error.status === 404 ? 'This streamd does not list recordings.' : error.message);
  }
}

const startOf = ({ started, start, modified }) => {
  const value = started ?? start ?? modified ?? 0;
  return isNumber(value) ? value * 1000 : Date.parse(value) || 0;
};

function recordingItem(recording) {
  const item = $('recording').content.firstElementChild.cloneNode(true);
  const link = item.querySelector('a');
  const path = recording.path ?? recording.name;
  link.href = recording.url ? new URL(recording.url, at('')).href : at(`recordings/${path.split('/').map(encodeURIComponent).join('/')}`);
  const name = item.querySelector('b');
  write(name, joined(', ', recording.stream, recording.view) || path);
  const bytes = recording.size_bytes ?? recording.bytes ?? recording.size;
  const seconds = recording.duration_s ?? recording.seconds;
  const began = startOf(recording);
  write(item.querySelector('small'), joined(
    ' · ',
    began && new Date(began).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
    isNumber(seconds) && lengthOf(seconds),
    isNumber(bytes) && sizeOf(bytes),
    (recording.complete === false || recording.recording || recording.open) && 'being recorded',
  ));
  item.querySelector('.save').href = link.href;
  item.querySelector('.save').ariaLabel = `Download ${path}`;
  return item;
}

const lengthOf = (s) => `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, '0')}`;
const sizeOf = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

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
